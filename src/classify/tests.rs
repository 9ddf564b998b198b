//! The running sums against the two-pass values.

use std::sync::Arc;

use proptest::prelude::*;

use super::correlation::{Baseline, Correlator};
use super::evidence::{Evidence, Values};
use super::spectrum::Spectrum;
use super::{OffsetMode, Recipe, Targets, TriageSettings};
use crate::absorption::AbsorptionSettings;
use crate::classify::PhaseLabel;
use crate::reference::{Composition, Provenance, Reference, ReferenceSet, Window};

/// How maps of the built-in references are made: nothing corrected, nothing registered.
pub(crate) fn recipe() -> Recipe {
    Recipe {
        references: Arc::new(crate::simulate::nvpf::reference_set()),
        absorption: AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings::default(),
        offset: OffsetMode::Report,
        calibration: None,
        registration: crate::registration::RegistrationMode::Off,
    }
}

/// Three references with an edge at 515 eV and peaks 0.8 eV apart.
pub(crate) fn references() -> ReferenceSet {
    let reference = |index: usize| {
        let energies_ev: Vec<f64> = (0..=300).map(|i| 505.0 + 0.1 * f64::from(i)).collect();
        let centre = 515.5 + 0.8 * index as f64;
        let od = energies_ev
            .iter()
            .map(|e| {
                let step = 0.25 * (((e - 514.5) * 2.0).atan() / std::f64::consts::PI + 0.5);
                0.2 + step + 0.7 / (1.0 + ((e - centre) / 0.8).powi(2))
            })
            .collect();
        Reference {
            label: PhaseLabel { id: format!("p{index}"), title: format!("P{index}"), colour: [0; 3] },
            energies_ev,
            od,
            provenance: Provenance::default(),
            composition: Composition::default(),
        }
    };
    ReferenceSet {
        references: (0..3).map(reference).collect(),
        pre_edge: Window { from_ev: 505.0, to_ev: 512.0 },
        white_line: Window { from_ev: 515.0, to_ev: 518.0 },
        sha256: String::new(),
    }
}

const PIXELS: usize = 40;

/// What each pixel holds at each energy: OD and variance, NaN for none.
type Table = Vec<Vec<(f32, f32)>>;

/// Each pixel's first value: the sums hold all others less that one.
type Firsts = Vec<Option<f32>>;

fn check(
    targets: &Targets,
    correlator: &Correlator,
    evidence: &Evidence,
    (table, firsts): (&Table, &Firsts),
    baseline: Baseline,
) -> Result<(), TestCaseError> {
    let mut reader = correlator.reader(targets);
    for pixel in 0..PIXELS {
        let mut spectrum = Spectrum::default();
        for (energy, plane) in table.iter().enumerate() {
            if !plane[pixel].0.is_nan() {
                spectrum.push(energy, f64::from(plane[pixel].0), f64::from(plane[pixel].1));
            }
        }
        let (mut r, mut chi2) = ([0.0_f32; 3], [0.0_f32; 3]);
        let (mut exact_r, mut exact_chi2) = ([0.0_f32; 3], [0.0_f32; 3]);
        let sums = reader.read(pixel, &mut r);
        evidence.read(pixel, &mut chi2);
        let exact = spectrum.read(targets, baseline, &mut exact_r, &mut exact_chi2);
        prop_assert_eq!(sums.energies, exact.energies);
        prop_assert_eq!(sums.sides, exact.sides);
        let enough = exact.energies >= 5;
        // The digits of `f32`: where the first value was on a peak, was taken out again, and all others lie beside it, their
        // sum is large beside chi².
        let first = f64::from(firsts[pixel].unwrap_or(0.0));
        let values = spectrum.od.iter().zip(&spectrum.variance);
        let digits = 4e-7 * values.map(|(od, variance)| (od - first).powi(2) / variance).sum::<f64>() as f32;
        // The same of r, whose sums of squares are taken less the first value, and are small about the mean.
        let mean = spectrum.od.iter().sum::<f64>() / spectrum.od.len().max(1) as f64;
        let squares = |from: f64| spectrum.od.iter().map(|od| (od - from).powi(2)).sum::<f64>();
        let digits_of_r = 4e-7 * (squares(first) / squares(mean).max(1e-12)) as f32;
        for k in 0..3 {
            if enough {
                let allowed = 1e-5 + digits_of_r;
                prop_assert!((r[k] - exact_r[k]).abs() < allowed, "pixel {} r {:?} {:?}", pixel, r, exact_r);
                let scale = exact_chi2.iter().fold(1.0_f32, |a, b| a.max(*b));
                prop_assert!(
                    (chi2[k] - exact_chi2[k]).abs() < 2e-3 * scale + digits,
                    "{:?} {:?}",
                    chi2,
                    exact_chi2
                );
            }
        }
        if !exact.edge_jump.is_nan() {
            prop_assert!((sums.edge_jump - exact.edge_jump).abs() < 1e-5);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order, replacement and sparse coverage: the running sums give the two-pass value.
    #[test]
    fn incremental_equals_two_pass(
        visits in prop::collection::vec((0_usize..14, 0_usize..PIXELS, 1_usize..PIXELS, any::<u64>()), 5..60),
        background in 0.0_f32..3.0,
        thickness in 0.02_f32..2.0,
        linear in any::<bool>(),
        full_first in any::<bool>(),
    ) {
        let set = references();
        // One energy lies outside the references and must not count.
        let energies: Vec<f64> = (0..13).map(|i| 508.0 + 1.1 * f64::from(i)).chain([600.0]).collect();
        let targets = Targets::new(&set, &energies);
        let baseline = if linear { Baseline::Linear } else { Baseline::None };
        let mut correlator = Correlator::new(PIXELS, &targets, baseline);
        let mut evidence = Evidence::new(PIXELS, 3);
        let mut table: Table = vec![vec![(f32::NAN, f32::NAN); PIXELS]; energies.len()];
        let mut firsts: Firsts = vec![None; PIXELS];
        let mut visits = visits;
        if full_first {
            visits.splice(0..0, (0..13).map(|e| (e, 0, PIXELS, e as u64 * 77)));
        }
        for (energy, first, count, seed) in visits {
            let count = count.min(PIXELS - first);
            let mut state = seed | 1;
            let new: Vec<(f32, f32)> = (0..count).map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let noise = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
                let r = set.references[(first + i) % 3].od_at(energies[energy]).unwrap_or(0.3) as f32;
                if state.is_multiple_of(11) {
                    (f32::NAN, f32::NAN)
                } else {
                    (background + thickness * r + 0.05 * noise, 0.0004 * (1.0 + r))
                }
            }).collect();
            let columns = |values: &[(f32, f32)]| -> (Vec<f32>, Vec<f32>) { values.iter().copied().unzip() };
            let (old_od, old_variance) = columns(&table[energy][first..first + count]);
            let (od, variance) = columns(&new);
            correlator.replace(&targets, energy, first, &old_od, &od);
            let old = Values { od: &old_od, variance: &old_variance };
            evidence.replace(&targets, energy, first, Some(old), Values { od: &od, variance: &variance });
            for (pixel, (od, _)) in (first..).zip(&new).filter(|(_, (od, _))| !od.is_nan() && targets.used[energy]) {
                firsts[pixel].get_or_insert(*od);
            }
            table[energy][first..first + count].copy_from_slice(&new);
        }
        check(&targets, &correlator, &evidence, (&table, &firsts), baseline)?;
    }
}

#[test]
fn crosses_block_borders() {
    let set = references();
    let targets = Targets::new(&set, &[508.0, 514.0, 515.5, 516.3, 520.0]);
    let pixels = 2500;
    let mut whole = Correlator::new(pixels, &targets, Baseline::None);
    let mut parts = Correlator::new(pixels, &targets, Baseline::None);
    for energy in 0..5 {
        let od: Vec<f32> = (0..pixels).map(|p| ((p * 31 + energy * 17) % 100) as f32 / 50.0).collect();
        whole.add(&targets, energy, &od);
        for start in (0..pixels).step_by(700).rev() {
            let end = (start + 700).min(pixels);
            parts.replace(&targets, energy, start, &[], &od[start..end]);
        }
    }
    let (mut one, mut other) = (whole.reader(&targets), parts.reader(&targets));
    for pixel in 0..pixels {
        let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
        assert_eq!(one.read(pixel, &mut a), other.read(pixel, &mut b));
        assert_eq!(a, b);
    }
}

#[test]
fn a_reference_correlates_with_itself() {
    let set = references();
    let energies: Vec<f64> = (0..20).map(|i| 507.0 + f64::from(i)).collect();
    let targets = Targets::new(&set, &energies);
    let mut correlator = Correlator::new(1, &targets, Baseline::None);
    for (energy, &e) in energies.iter().enumerate() {
        correlator.add(&targets, energy, &[0.5 + 0.3 * set.references[1].od_at(e).unwrap() as f32]);
    }
    let mut r = [0.0; 3];
    let sums = correlator.reader(&targets).read(0, &mut r);
    assert!((r[1] - 1.0).abs() < 1e-6 && r[0] < 0.95 && r[2] < 0.95, "{r:?}");
    assert!((f64::from(sums.edge_jump) - 0.3 * targets.edge_jump[1]).abs() < 1e-6);
}
