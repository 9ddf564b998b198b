//! What a beam or a detector that is not perfect costs a map, and what of that is won back: drawn scans, spoilt in one way
//! each, through the settled pipeline with and without what is there against it. And how well spoilt lines are told from good
//! ones.
//!
//! Registration is off: nothing moves here, and its share in the work is measured by itself ([`super::drift`]).

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::Serialize;

use super::field::{NX, NY};
use super::{Conditions, Drawer, EvaluationError, Filling, Subject, Truth};
use crate::absorption::{AbsorptionSettings, I0Mode, I0Spectrum, RegionBox, SpectrumUnit};
use crate::classify::{Recipe, Status, settle};
use crate::reference::ReferenceSet;
use crate::registration::RegistrationMode;
use crate::scan::{Channel, I0, I0Kind, Pixels, SampleBatch, ScanPlan};
use crate::screening::{DetectorSettings, Flaw, Screen};
use crate::stack::Stack;

/// Counts of the empty beam and numbers of energies.
const CONDITIONS: [(f64, usize); 3] = [(1000.0, 12), (1000.0, 30), (3000.0, 8)];
/// By how much the level of a line is wrong that is to be found, either way.
const OFF_BY: f64 = 1.25;

/// One effect under one set of conditions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BeamRow {
    /// What went wrong.
    pub effect: &'static str,
    /// Counts of the empty beam.
    pub counts: f64,
    /// Energies of the scan.
    pub energies: usize,
    /// The map without what is there against it.
    pub before: Worth,
    /// The map with it.
    pub after: Worth,
}

/// How lines were judged under one set of conditions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineRow {
    /// Counts of the empty beam.
    pub counts: f64,
    /// Energies of the scan.
    pub energies: usize,
    /// Good lines.
    pub clean: usize,
    /// Of those the ones that were masked.
    pub masked: usize,
    /// Lines whose level was wrong by a quarter.
    pub spoilt: usize,
    /// Of those the ones that were found.
    pub found: usize,
}

/// What was measured of beam and detector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BeamReport {
    /// Scans of each row.
    pub draws: usize,
    /// What each effect costs.
    pub effects: Vec<BeamRow>,
    /// How lines are judged.
    pub lines: Vec<LineRow>,
}

/// One plane as it is to be sent.
#[derive(Default)]
struct Image {
    values: Vec<f32>,
    i0: Vec<f32>,
    ring_current_ma: Option<f64>,
}

/// A drawn scan, spoilt.
struct Spoilt {
    stack: Stack,
    truth: Vec<Truth>,
}

fn spoil(
    references: &ReferenceSet,
    conditions: &Conditions,
    seed: u64,
    plan: impl Fn(&mut ScanPlan),
    mut image: impl FnMut(&mut ChaCha8Rng, usize, &mut Image),
) -> Result<Spoilt, EvaluationError> {
    let drawn = Drawer::new(references)?.draw(conditions, seed)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1000);
    let mut own = drawn.stack.plan().as_ref().clone();
    plan(&mut own);
    let mut stack = Stack::new(own);
    for (energy, plane) in drawn.stack.planes().iter().enumerate() {
        let mut sent = Image { values: plane.values().to_vec(), ..Image::default() };
        image(&mut rng, energy, &mut sent);
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: Pixels::Run { first: 0, count: sent.values.len() as u32 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values: sent.values,
            i0: if sent.i0.is_empty() { I0::None } else { I0::Each(sent.i0) },
            ring_current_ma: sent.ring_current_ma,
            energy_ev: None,
            time: None,
        };
        stack.push(energy as u64, &batch)?;
    }
    Ok(Spoilt { stack, truth: drawn.truth })
}

/// What a map is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Worth {
    /// Share of the particle pixels whose best guess is right.
    pub right: f64,
    /// Share of them that is classified.
    pub classified: f64,
    /// Of the classified, the share that is right.
    pub right_of_classified: f64,
    /// Mean confidence less the share that is right.
    pub overconfident: f64,
    /// Mean of the magnitude of the optical density of the empty field, energy by energy.
    pub empty_od: f64,
}

impl Worth {
    /// Adds `share` of another one.
    fn add(&mut self, other: &Self, share: f64) {
        self.right += share * other.right;
        self.classified += share * other.classified;
        self.right_of_classified += share * other.right_of_classified;
        self.overconfident += share * other.overconfident;
        self.empty_od += share * other.empty_od;
    }
}

fn worth(recipe: &Recipe, spoilt: &Spoilt, absorption: AbsorptionSettings) -> Worth {
    let max_od = absorption.max_od;
    let recipe = Recipe { absorption, registration: RegistrationMode::Off, ..recipe.clone() };
    let settled = settle(&spoilt.stack, &recipe, None);
    let (mut all, mut right, mut classified, mut both, mut confidence) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (pixel, truth) in spoilt.truth.iter().enumerate() {
        let Truth::Phase(phase) = truth else { continue };
        let is_right = f64::from(settled.map.phase[pixel] == *phase);
        let is_classified = f64::from(settled.map.status[pixel] == Status::Classified);
        let sure = f64::from(settled.map.confidence[pixel]);
        all += 1.0;
        right += is_right;
        classified += is_classified;
        both += is_right * is_classified;
        confidence += if sure.is_nan() { 0.0 } else { sure };
    }
    let energies = spoilt.stack.planes().len();
    let empty = |energy: usize| {
        let conversion = settled.intensity.conversion(spoilt.stack.plan(), energy, max_od);
        let plane = spoilt.stack.plane(energy);
        let od = (0..NY * NX)
            .filter(|pixel| pixel % NX < 18)
            .map(|p| f64::from(conversion.apply(p, plane.value(p), plane.i0_at(p)).od))
            .filter(|od| !od.is_nan());
        let (sum, count) = od.fold((0.0, 0), |(sum, count), od| (sum + od, count + 1));
        if count == 0 { 0.0 } else { (sum / f64::from(count)).abs() }
    };
    Worth {
        right: right / all,
        classified: classified / all,
        right_of_classified: both / f64::max(classified, 1.0),
        overconfident: (confidence - right) / all,
        empty_od: (0..energies).map(empty).sum::<f64>() / energies as f64,
    }
}

/// An effect: a scan that suffers from it, and the settings without and with what is there against it.
struct Effect {
    name: &'static str,
    spoilt: Spoilt,
    before: AbsorptionSettings,
    after: AbsorptionSettings,
}

fn scale(values: &mut [f32], factor: f64) {
    values.iter_mut().for_each(|value| *value *= factor as f32);
}

/// Rows chosen with a chance of 2 %.
fn some_rows(rng: &mut ChaCha8Rng) -> Vec<usize> {
    (1..NY).filter(|_| rng.random_bool(0.02)).collect()
}

#[expect(clippy::too_many_lines, reason = "a list of effects")]
fn effects(recipe: &Recipe, conditions: &Conditions, seed: u64) -> Result<Vec<Effect>, EvaluationError> {
    let references = &*recipe.references;
    let usual = || AbsorptionSettings { mode: I0Mode::Auto, ..recipe.absorption.clone() };
    let detector = |change: &dyn Fn(&mut DetectorSettings)| {
        let mut settings = usual();
        change(&mut settings.detector);
        settings
    };
    let unscreened = || detector(&|detector| detector.screen_lines = false);
    let last = (conditions.energies - 1) as f64;
    let spectrum = |ring_current_ma| AbsorptionSettings {
        mode: I0Mode::Spectrum,
        spectrum: Some(I0Spectrum {
            points: vec![(1.0, conditions.counts), (1e4, conditions.counts)],
            unit: SpectrumUnit::CountsPerMs,
            ring_current_ma,
        }),
        ..usual()
    };
    let steady = AbsorptionSettings {
        mode: I0Mode::Region,
        // Too few lines for the beam within an image to be followed.
        region: Some(RegionBox { x: [0, 18], y: [0, 60] }),
        ..usual()
    };
    let plain = |_: &mut ScanPlan| {};
    let top_up = spoil(references, conditions, seed, plain, |rng, energy, image| {
        if energy % 3 == 1 {
            let row = rng.random_range(10..90);
            scale(&mut image.values[row * NX..], 1.1);
        }
    });
    let flicker = |kind: Option<I0Kind>| {
        let set = move |plan: &mut ScanPlan| plan.i0_kind = kind.unwrap_or_default();
        spoil(references, conditions, seed, set, move |rng, energy, image| {
            let transfer = 5e3 * (1.2 + (energy as f64 * 1.7).sin());
            for y in 0..NY {
                let beam = 1.0 + rng.random_range(-0.1..0.1);
                scale(&mut image.values[y * NX..(y + 1) * NX], beam);
                if kind.is_some() {
                    image.i0.extend((0..NX).map(|_| (transfer * beam) as f32));
                }
            }
        })
    };
    let decay = spoil(references, conditions, seed, plain, |_, energy, image| {
        let factor = 1.0 - 0.1 * energy as f64 / last;
        scale(&mut image.values, factor);
        image.ring_current_ma = Some(500.0 * factor);
    });
    // 5 % of the time is dead at the rate of the empty field.
    let dead_time_s = 0.05 * 1e-3 / conditions.counts;
    let dead = |_: &mut ChaCha8Rng, _: usize, image: &mut Image| {
        let seen = |v: f64| v / (1.0 + v * dead_time_s * 1e3);
        image.values.iter_mut().for_each(|v| *v = seen(f64::from(*v)).round() as f32);
    };
    let dead_spectrum = |dead_time_s| detector(&|detector| detector.dead_time_s = dead_time_s);
    let stuck = spoil(references, conditions, seed, plain, |rng, _, image| {
        for y in some_rows(rng) {
            if rng.random_bool(0.5) {
                let held = image.values[y * NX + 40];
                image.values[y * NX..(y + 1) * NX].fill(held);
            } else {
                image.values.copy_within((y - 1) * NX..y * NX, y * NX);
            }
        }
    });
    let bad = spoil(references, conditions, seed, plain, |rng, _, image| {
        for y in some_rows(rng) {
            let factor = if rng.random_bool(0.5) { 0.6 } else { 1.5 };
            scale(&mut image.values[y * NX..(y + 1) * NX], factor);
        }
    });
    let lost = spoil(references, conditions, seed, plain, |rng, energy, image| {
        let rows = if energy == conditions.energies / 2 {
            0..NY
        } else if energy % 4 == 1 {
            let first = rng.random_range(0..NY - 3);
            first..first + 3
        } else {
            0..0
        };
        for value in &mut image.values[rows.start * NX..rows.end * NX] {
            *value = if rng.random_bool(0.3) { 1.0 } else { 0.0 };
        }
    });
    let gain = 0.07;
    let amplified = |known: bool| {
        let set = move |plan: &mut ScanPlan| {
            plan.detector.counts_per_photon = known.then(|| vec![1.0; plan.energies_ev.len()]);
        };
        spoil(references, conditions, seed, set, move |_, _, image| scale(&mut image.values, gain))
    };
    let noisy = |known: bool| {
        let set = move |plan: &mut ScanPlan| {
            plan.detector.counts_per_photon = known.then(|| vec![1.0; plan.energies_ev.len()]);
        };
        spoil(references, conditions, seed, set, move |rng, _, image| {
            // Ten counts a photon, and as many photons: the noise is that of the photons.
            let read = |rng: &mut ChaCha8Rng| 5.0 * rng.sample::<f32, _>(StandardNormal);
            image.values.iter_mut().for_each(|v| *v = *v * 10.0 + read(rng));
        })
    };
    let effect = |name, spoilt: Result<Spoilt, EvaluationError>, before, after| {
        spoilt.map(|spoilt| Effect { name, spoilt, before, after })
    };
    [
        effect("nothing", spoil(references, conditions, seed, plain, |_, _, _| {}), unscreened(), usual()),
        effect("ring decay 10 %, spectrum", decay, spectrum(None), spectrum(Some(500.0))),
        effect("top-up 10 % in every third image", top_up, steady.clone(), usual()),
        effect("flicker 10 %, region", flicker(None), steady, usual()),
        effect(
            "flicker 10 %, monitor",
            flicker(Some(I0Kind::Monitor)),
            AbsorptionSettings {
                mode: I0Mode::Region,
                region: Some(RegionBox { x: [0, 18], y: [0, 60] }),
                ..usual()
            },
            usual(),
        ),
        effect("monitor taken for open beam", flicker(Some(I0Kind::OpenBeam)), usual(), usual()),
        effect(
            "dead time 5 %",
            spoil(references, conditions, seed, plain, dead),
            dead_spectrum(None),
            dead_spectrum(Some(dead_time_s)),
        ),
        effect("stuck lines 2 %", stuck, unscreened(), usual()),
        effect("bad lines 2 %", bad, unscreened(), usual()),
        effect("beam loss: 3 lines of each 4th image, one image", lost, unscreened(), usual()),
        effect("gain 0.07 taken for photons", amplified(true), usual(), usual()),
        effect("gain 0.07, estimated", amplified(false), usual(), usual()),
        effect("gain 10 taken for photons", noisy(true), usual(), usual()),
        effect("gain 10, estimated", noisy(false), usual(), usual()),
    ]
    .into_iter()
    .collect()
}

/// Measures every effect, and how lines are judged; `progress(done, total)` is told after each scan.
///
/// # Errors
/// Where scans cannot be drawn from the references.
pub fn beam(
    subject: &Subject,
    draws: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<BeamReport, EvaluationError> {
    let recipe = &subject.recipe;
    let (mut report, total) =
        (BeamReport { draws, effects: Vec::new(), lines: Vec::new() }, CONDITIONS.len() * draws);
    for (index, (counts, energies)) in CONDITIONS.into_iter().enumerate() {
        let conditions =
            Conditions { counts, energies, offset_ev: 0.0, mismatched: false, filling: Filling::Pure };
        let first = report.effects.len();
        let mut lines = LineRow { counts, energies, clean: 0, masked: 0, spoilt: 0, found: 0 };
        for draw in 0..draws {
            let seed = seed + draw as u64;
            for (place, effect) in effects(recipe, &conditions, seed)?.into_iter().enumerate() {
                if draw == 0 {
                    let [before, after] = [Worth::default(); 2];
                    report.effects.push(BeamRow { effect: effect.name, counts, energies, before, after });
                }
                let row = &mut report.effects[first + place];
                let share = 1.0 / draws as f64;
                row.before.add(&worth(recipe, &effect.spoilt, effect.before), share);
                row.after.add(&worth(recipe, &effect.spoilt, effect.after), share);
            }
            judge_lines(recipe, &conditions, seed, &mut lines)?;
            progress(index * draws + draw + 1, total);
        }
        report.lines.push(lines);
    }
    Ok(report)
}

/// Screens a clean scan, and one of whose lines some have a wrong level.
fn judge_lines(
    recipe: &Recipe,
    conditions: &Conditions,
    seed: u64,
    row: &mut LineRow,
) -> Result<(), EvaluationError> {
    let (references, detector) = (&*recipe.references, &recipe.absorption.detector);
    let clean = spoil(references, conditions, seed, |_| {}, |_, _, _| {})?;
    row.clean += conditions.energies * NY;
    row.masked += Screen::of(&clean.stack, detector).counts().lines.iter().sum::<usize>();
    let mut wrong = Vec::new();
    let spoilt = spoil(
        references,
        conditions,
        seed,
        |_| {},
        |rng, energy, image| {
            for y in some_rows(rng) {
                let factor = if rng.random_bool(0.5) { 1.0 / OFF_BY } else { OFF_BY };
                scale(&mut image.values[y * NX..(y + 1) * NX], factor);
                wrong.push((energy, y));
            }
        },
    )?;
    let screen = Screen::of(&spoilt.stack, detector);
    let is_found = |(energy, y): &&(usize, usize)| {
        screen.found(*energy).is_some_and(|flaws| flaws.lines().contains(&(*y, Flaw::BadLine)))
    };
    row.spoilt += wrong.len();
    row.found += wrong.iter().filter(is_found).count();
    Ok(())
}

impl BeamReport {
    /// The report as a page of tables.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Beam and detector\n\nDrawn scans, {} for each row, before -> after what is there against the effect: share right, share \
             classified, right of these, confidence less right, |OD| of the empty field.\n\n\
             | effect | counts | energies | right | classified | right of these | overconfident | empty OD |\n\
             |---|---|---|---|---|---|---|---|\n",
            self.draws
        );
        for row in &self.effects {
            let (a, b) = (&row.before, &row.after);
            text.push_str(&format!(
                "| {} | {} | {} | {:.4} -> {:.4} | {:.3} -> {:.3} | {:.4} -> {:.4} | {:+.3} -> {:+.3} | {:.4} -> {:.4} |\n",
                row.effect,
                row.counts,
                row.energies,
                a.right,
                b.right,
                a.classified,
                b.classified,
                a.right_of_classified,
                b.right_of_classified,
                a.overconfident,
                b.overconfident,
                a.empty_od,
                b.empty_od
            ));
        }
        text.push_str("\n## Lines\n\n| counts | energies | clean lines masked | lines off by a quarter found |\n|---|---|---|---|\n");
        for row in &self.lines {
            text.push_str(&format!(
                "| {} | {} | {} of {} | {} of {} |\n",
                row.counts, row.energies, row.masked, row.clean, row.found, row.spoilt
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::simulate::nvpf::reference_set;

    #[test]
    fn what_spoils_a_scan_costs_no_more_than_a_point() {
        let settings = crate::settings::Settings::defaults().unwrap();
        let recipe = crate::pipeline::recipe(&settings, Arc::new(reference_set())).unwrap();
        let conditions = Conditions {
            counts: 1000.0,
            energies: 12,
            offset_ev: 0.0,
            mismatched: false,
            filling: Filling::Pure,
        };
        let mut effects = effects(&recipe, &conditions, 50).unwrap().into_iter();
        let clean = effects.next().map(|effect| worth(&recipe, &effect.spoilt, effect.after)).unwrap();
        for effect in effects.filter(|effect| !effect.name.contains("taken for")) {
            let worth = worth(&recipe, &effect.spoilt, effect.after);
            assert!(worth.right > clean.right - 0.01, "{}: {worth:?} against {clean:?}", effect.name);
            assert!(worth.empty_od < 0.01, "{}: {worth:?}", effect.name);
        }
    }
}
