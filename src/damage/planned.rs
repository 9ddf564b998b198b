//! The dose of a scan before it is measured: what its plan will deposit, energy by energy and pass by pass.
//!
//! Nothing was measured yet, so that the optical density is that of the references: their mean at each energy, times the thickness of the
//! sample in thicknesses of theirs. The dose of an energy is that of one exposure ([`DoseModel`]); what beam and drift move is not
//! reckoned. Energies beyond the references have the optical density of their nearest end.
//!
//! Energies that the plan has more often than the others are *sentinels*. The others go up, or down, in *passes*: a new one begins where they
//! turn back. Fewer than [`LEAST_IN_PASS`] energies are no pass, and an order that has such turns is one pass as a whole.

use super::kinetics::Law;
use super::model::{DoseModel, depth_mean};
use super::{DoseDepth, Lattice};
use crate::classify::first_entries;
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;

/// Energies that a pass has at least.
const LEAST_IN_PASS: usize = 3;
/// Energies at which references are compared with the absorption tables.
const SAMPLES: u32 = 200;
/// By how much a spot may differ from the step, as a share of it, and still be taken as the same.
const ALIKE: f64 = 0.02;

/// The order in which a plan measures its energies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// For each entry of the plan the first entry of its energy.
    pub first: Vec<usize>,
    /// For each first entry all entries of its energy; nothing for the others.
    entries: Vec<Vec<usize>>,
    /// Whether it is a sentinel's.
    pub is_sentinel: Vec<bool>,
    /// In which pass it is measured, from 0.
    pub pass: Vec<usize>,
    /// How often the energies that are no sentinels are measured: the lower median over them.
    pub visits: usize,
}

impl Outline {
    /// That of a plan with these set-points.
    #[must_use]
    pub fn of(energies_ev: &[f64]) -> Self {
        let first = first_entries(energies_ev);
        let mut entries: Vec<Vec<usize>> = vec![Vec::new(); first.len()];
        for (entry, &first) in first.iter().enumerate() {
            entries[first].push(entry);
        }
        let mut counts: Vec<usize> = entries.iter().map(Vec::len).filter(|count| *count > 0).collect();
        counts.sort_unstable();
        let visits = counts.get(counts.len().saturating_sub(1) / 2).copied().unwrap_or(0);
        let is_sentinel: Vec<bool> = first.iter().map(|&first| entries[first].len() > visits).collect();
        let pass = passes(energies_ev, &is_sentinel);
        Self { first, entries, is_sentinel, pass, visits }
    }

    /// Number of passes.
    #[must_use]
    pub fn passes(&self) -> usize {
        self.pass.last().map_or(0, |last| last + 1)
    }

    /// First entries of the sentinels, in the order of the plan.
    #[must_use]
    pub fn sentinels(&self) -> Vec<usize> {
        (0..self.first.len()).filter(|&entry| self.is_sentinel[entry] && self.first[entry] == entry).collect()
    }

    /// First entries of the other energies, in the order of the plan.
    #[must_use]
    pub fn others(&self) -> Vec<usize> {
        (0..self.first.len())
            .filter(|&entry| !self.is_sentinel[entry] && self.first[entry] == entry)
            .collect()
    }

    /// The entries of one energy, by its first one.
    #[must_use]
    pub fn entries(&self, first: usize) -> &[usize] {
        self.entries.get(first).map_or(&[], Vec::as_slice)
    }
}

/// In which pass each entry is.
fn passes(energies_ev: &[f64], is_sentinel: &[bool]) -> Vec<usize> {
    let others: Vec<usize> = (0..energies_ev.len()).filter(|&entry| !is_sentinel[entry]).collect();
    let steps = || others.windows(2).map(|pair| energies_ev[pair[1]] - energies_ev[pair[0]]);
    let rising = steps().filter(|step| *step > 0.0).count();
    let falling = steps().filter(|step| *step < 0.0).count();
    let sign = if falling > rising { -1.0 } else { 1.0 };
    let mut starts: Vec<usize> = steps()
        .zip(&others[1.min(others.len())..])
        .filter(|(step, _)| step * sign < 0.0)
        .map(|(_, entry)| *entry)
        .collect();
    let in_pass = |pass: usize| {
        let from = pass.checked_sub(1).map_or(0, |before| starts[before]);
        let to = starts.get(pass).copied().unwrap_or(usize::MAX);
        others.iter().filter(|entry| (from..to).contains(*entry)).count()
    };
    if (0..=starts.len()).any(|pass| in_pass(pass) < LEAST_IN_PASS) {
        starts.clear();
    }
    (0..energies_ev.len()).map(|entry| starts.partition_point(|start| *start <= entry)).collect()
}

/// A dose at the front surface, and its mean over the depth; MGy or relative.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Depths {
    /// At the front.
    pub surface: f64,
    /// Over the depth, in the mean.
    pub mean: f64,
}

impl Depths {
    /// At the depth at which doses are told.
    #[must_use]
    pub fn at(&self, depth: DoseDepth) -> f64 {
        match depth {
            DoseDepth::Surface => self.surface,
            DoseDepth::Mean => self.mean,
        }
    }
}

/// The dose of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedDose {
    /// What one exposure deposits.
    pub model: DoseModel,
    /// In which order.
    pub outline: Outline,
    /// Typical optical density at each energy of the plan.
    pub od: Vec<f64>,
    /// Dose of each exposure.
    pub per_energy: Vec<Depths>,
}

impl PlannedDose {
    /// The dose of a plan; `thickness`: that of the sample, over that of the references.
    #[must_use]
    pub fn of(plan: &ScanPlan, model: DoseModel, references: &ReferenceSet, thickness: f64) -> Self {
        let od: Vec<f64> =
            plan.energies_ev.iter().map(|energy_ev| thickness * mean_od(references, *energy_ev)).collect();
        let of = |(surface, od): (&f64, &f64)| {
            let factor = if model.transmitted { depth_mean(*od as f32) } else { 1.0 };
            Depths { surface: *surface, mean: surface * factor }
        };
        let per_energy = model.per_energy.iter().zip(&od).map(of).collect();
        Self { outline: Outline::of(&plan.energies_ev), od, per_energy, model }
    }

    /// Thickness of the references by the absorption tables, nm, over the range that they have in common; `None` where no density
    /// or composition is known. The tables know no white lines: see docs/dose.md.
    #[must_use]
    pub fn thickness_nm(&self, references: &ReferenceSet) -> Option<f64> {
        let (from_ev, to_ev) = references.shared_range_ev()?;
        let energies_ev: Vec<f64> = (0..SAMPLES)
            .map(|i| from_ev + (to_ev - from_ev) * f64::from(i) / f64::from(SAMPLES - 1))
            .collect();
        let per_um = self.model.material.as_ref()?.absorption_per_um(&energies_ev).ok()??;
        let od: f64 = energies_ev.iter().map(|energy_ev| mean_od(references, *energy_ev)).sum();
        let per_um: f64 = per_um.iter().sum();
        (per_um > 0.0).then(|| 1e3 * od / per_um)
    }

    /// The dose of some exposures, by their entries in the plan.
    #[must_use]
    pub fn sum(&self, entries: impl IntoIterator<Item = usize>) -> Depths {
        entries.into_iter().fold(Depths::default(), |sum, entry| {
            let one = self.per_energy.get(entry).copied().unwrap_or_default();
            Depths { surface: sum.surface + one.surface, mean: sum.mean + one.mean }
        })
    }

    /// The dose of the whole scan.
    #[must_use]
    pub fn total(&self) -> Depths {
        self.sum(0..self.per_energy.len())
    }

    /// The dose of each pass, sentinels within it included.
    #[must_use]
    pub fn per_pass(&self) -> Vec<Depths> {
        let of = |pass: usize| {
            self.sum((0..self.per_energy.len()).filter(|&entry| self.outline.pass[entry] == pass))
        };
        (0..self.outline.passes()).map(of).collect()
    }

    /// The dose of the sentinels.
    #[must_use]
    pub fn of_sentinels(&self) -> Depths {
        self.sum((0..self.per_energy.len()).filter(|&entry| self.outline.is_sentinel[entry]))
    }

    /// The least and the largest dose of an energy, at the front and in the mean over the depth.
    #[must_use]
    pub fn range(&self) -> [Depths; 2] {
        let ends = |of: &dyn Fn(&Depths) -> f64| {
            self.per_energy
                .iter()
                .map(of)
                .fold([f64::INFINITY, 0.0_f64], |[low, high], dose| [low.min(dose), high.max(dose)])
        };
        let (surface, mean) = (ends(&|dose| dose.surface), ends(&|dose| dose.mean));
        [0, 1].map(|end| Depths { surface: surface[end], mean: mean[end] })
    }
}

/// The mean of the references at an energy, held at their ends; below 0 it counts as 0.
fn mean_od(references: &ReferenceSet, energy_ev: f64) -> f64 {
    let known: Vec<f64> = references.references.iter().filter_map(|one| one.od_held_at(energy_ev)).collect();
    (known.iter().sum::<f64>() / known.len().max(1) as f64).max(0.0)
}

/// Time for which the field is in the beam, s: every pixel at every energy, for the dwell times `exposure_factor`.
#[must_use]
pub fn exposure_s(plan: &ScanPlan, exposure_factor: f64) -> f64 {
    plan.dwell_ms.iter().sum::<f64>() * 1e-3 * exposure_factor * plan.grid.pixels() as f64
}

/// Time that the monochromator takes from energy to energy, s.
#[must_use]
pub fn moves_s(energies_ev: &[f64], move_ms_per_ev: f64, settle_ms: f64) -> f64 {
    let way_ev: f64 = energies_ev.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
    1e-3 * (way_ev * move_ms_per_ev + energies_ev.len() as f64 * settle_ms)
}

/// Share of a white line that a dose takes by first-order kinetics with this critical dose, where nothing is spared.
#[must_use]
pub fn lost(dose_mgy: f64, critical_mgy: f64) -> f64 {
    1.0 - Law::FirstOrder.left(dose_mgy / critical_mgy)
}

/// What a spot of another size than the step means, in words; `None` where they are alike, or no spot is known.
#[must_use]
pub fn spot_warning(lattice: &Lattice, spot_nm: Option<f64>) -> Option<String> {
    let spot_nm = spot_nm?;
    let step_nm = lattice.step_um.map(|step| step.abs() * 1e3);
    let (short, long) = (step_nm[0].min(step_nm[1]), step_nm[0].max(step_nm[1]));
    let (times_y, times_x) = (spot_nm / step_nm[0], spot_nm / step_nm[1]);
    if spot_nm < long * (1.0 - ALIKE) {
        let share = 100.0 * times_y.min(1.0) * times_x.min(1.0);
        return Some(format!(
            "the spot ({spot_nm:.0} nm) is smaller than the step ({long:.0} nm): {share:.0} % of the area takes the dose told here, \
             what lies between takes none"
        ));
    }
    (spot_nm > short * (1.0 + ALIKE)).then(|| {
        format!(
            "the spot ({spot_nm:.0} nm) is larger than the step ({short:.0} nm): each place is hit from {:.1} pixels, which the dose \
             told here includes; a border of {:.0} nm around the field takes part of it",
            times_y.max(1.0) * times_x.max(1.0),
            0.5 * (spot_nm - short)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::DoseSettings;
    use crate::scan::{Axis, test_plan};
    use crate::simulate::nvpf;

    fn planned(energies_ev: Vec<f64>, dwell_ms: f64, thickness: f64) -> PlannedDose {
        let mut plan = test_plan(10, 20, energies_ev.len());
        let axis = Axis { start: 0.0, step: 0.05 };
        (plan.grid.x, plan.grid.y) = (axis, axis);
        plan.dwell_ms = vec![dwell_ms; energies_ev.len()];
        plan.energies_ev = energies_ev;
        let settings = DoseSettings {
            composition: Some("Na3V2(PO4)2F3".into()),
            density_g_per_cm3: Some(3.16),
            flux_ph_per_s: Some(1e7),
            ..DoseSettings::default()
        };
        let set = nvpf::reference_set();
        let model = DoseModel::new(&plan, &[], &set, &settings).unwrap();
        assert!((exposure_s(&plan, 1.5) - 0.2 * 1.5 * dwell_ms * plan.energies_ev.len() as f64).abs() < 1e-9);
        PlannedDose::of(&plan, model, &set, thickness)
    }

    #[test]
    fn the_dose_of_a_plan_is_that_of_a_calculation_by_hand() {
        // 1e7/s for 2 ms are 20 000 photons, of 8.33e-17 J at 520 eV and 8.81e-17 J at 550 eV, on 2.5e-15 m².
        let planned = planned(vec![520.0, 550.0], 2.0, 1.0);
        let set = nvpf::reference_set();
        let mut surface = 0.0;
        let mut mean = 0.0;
        for (energy, energy_ev) in [520.0, 550.0].into_iter().enumerate() {
            let joule_per_m2 = 2e4 * energy_ev * 1.602_176_634e-19 / 2.5e-15;
            let dose_mgy = joule_per_m2 * planned.model.mass_absorption[energy] * 0.1 * 1e-6;
            let od = set.od_at(energy_ev).unwrap().iter().sum::<f64>() / 5.0;
            surface += dose_mgy;
            mean += dose_mgy * (1.0 - (-od).exp()) / od;
        }
        let total = planned.total();
        assert!((total.surface / surface - 1.0).abs() < 1e-9, "{total:?} {surface}");
        assert!((total.mean / mean - 1.0).abs() < 1e-6, "{total:?} {mean}");
        // NVPF on (50 nm)² with 33 333 photons takes about 1 MGy an energy (docs/dose.md): 0.6 of that here.
        assert!((0.4..0.8).contains(&planned.per_energy[0].surface), "{:?}", planned.per_energy);
        let [low, high] = planned.range();
        assert!(low.surface < high.surface && (low.surface + high.surface - surface).abs() < 1e-9);
    }

    #[test]
    fn a_thicker_sample_takes_less_in_the_mean_and_as_much_at_its_front() {
        let [one, two] = [1.0, 2.0].map(|thickness| planned(vec![530.0], 1.0, thickness));
        assert_eq!(one.total().surface, two.total().surface);
        assert!(two.total().mean < one.total().mean && (two.od[0] / one.od[0] - 2.0).abs() < 1e-12);
        assert_eq!(two.total().at(DoseDepth::Mean), two.total().mean);
        // Beyond the references their nearest end.
        assert_eq!(planned(vec![900.0], 1.0, 1.0).od, planned(vec![560.0], 1.0, 1.0).od);
    }

    #[test]
    fn the_references_are_about_as_thick_as_they_were_made() {
        let nm = planned(vec![530.0], 1.0, 1.0).thickness_nm(&nvpf::reference_set());
        assert!(nm.is_some_and(|nm| (nm / 200.0 - 1.0).abs() < 0.2), "{nm:?}");
    }

    #[test]
    fn sentinels_and_passes_are_told_from_the_order_alone() {
        let interleaved =
            [508.0, 517.0, 510.0, 513.0, 516.0, 508.0, 517.0, 511.0, 514.0, 518.0, 508.0, 517.0];
        let outline = Outline::of(&interleaved);
        assert_eq!(outline.sentinels(), [0, 1]);
        assert_eq!(outline.others(), [2, 3, 4, 7, 8, 9]);
        assert_eq!(outline.entries(1), [1, 6, 11]);
        assert_eq!((outline.passes(), outline.visits), (2, 1));
        assert_eq!(outline.pass, [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
        let planned = planned(interleaved.to_vec(), 1.0, 1.0);
        let passes = planned.per_pass();
        assert!((passes[0].mean + passes[1].mean - planned.total().mean).abs() < 1e-9);
        assert!((planned.of_sentinels().mean - planned.sum([0, 1, 5, 6, 10, 11]).mean).abs() < 1e-9);

        // All of it twice: two passes, and nobody is a sentinel.
        let twice = Outline::of(&[510.0, 515.0, 520.0, 510.0, 515.0, 520.0]);
        assert_eq!((twice.passes(), twice.visits, twice.sentinels().len()), (2, 2, 0));
        // Downwards is one pass, and so is an order without any.
        assert_eq!(Outline::of(&[520.0, 515.0, 510.0, 505.0]).passes(), 1);
        assert_eq!(Outline::of(&[520.0, 505.0, 530.0, 510.0, 525.0]).passes(), 1);
        assert_eq!(Outline::of(&[520.0]).passes(), 1);
        assert_eq!(Outline::of(&[]).passes(), 0);
    }

    #[test]
    fn first_order_kinetics_lose_what_they_do() {
        assert!((lost(10.0, 10.0) - (1.0 - (-1.0_f64).exp())).abs() < 1e-12);
        assert_eq!(lost(0.0, 10.0), 0.0);
        assert!((moves_s(&[510.0, 512.0, 511.0], 50.0, 500.0) - 1.65).abs() < 1e-12);
    }

    #[test]
    fn a_spot_that_differs_from_the_step_is_told() {
        let step = 0.05;
        let lattice =
            Lattice { shape: [4, 4], start_um: [0.0; 2], step_um: [step, -step], cell_um: [step; 2] };
        assert_eq!(spot_warning(&lattice, None), None);
        assert_eq!(spot_warning(&lattice, Some(50.0)), None);
        let small = spot_warning(&lattice, Some(25.0)).unwrap();
        assert!(small.contains("smaller") && small.contains("25 % of the area"), "{small}");
        let large = spot_warning(&lattice, Some(100.0)).unwrap();
        assert!(
            large.contains("larger") && large.contains("4.0 pixels") && large.contains("25 nm"),
            "{large}"
        );
    }
}
