//! Measures what the verdict is worth on whole simulated scans: accuracy, coverage, calibration of `confidence`,
//! mixtures, foreign spectra. The constants of `classify::confidence` were chosen with what this prints.
//!
//! `cargo run --example calibration -- [pure|mixed|twin|foreign|stack|latency] [scans] [first]`

// A program for developers: what goes wrong stops it, and what it prints is what it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod latency;
mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{TimeZone as _, Utc};
use phasewatch::absorption::AbsorptionSettings;
use phasewatch::classify::correlation::Baseline;
use phasewatch::classify::{NO_PHASE, PhaseMap, Recipe, Status, TriageSettings, settle};
use phasewatch::reference::{Reference, ReferenceSet};
use phasewatch::simulate::{EnergyRun, Microscope, Scenario, Specimen, Truth, nvpf};
use phasewatch::stack::Stack;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const FROM_EV: f64 = 508.0;
const TO_EV: f64 = 535.0;

/// The references as another sample would have them: every phase shifted by up to 0.1 eV, its amplitude changed
/// smoothly over energy by up to 10 %.
fn jittered(set: &ReferenceSet, rng: &mut ChaCha8Rng) -> ReferenceSet {
    let mut other = set.clone();
    for reference in &mut other.references {
        let shift_ev: f64 = rng.random_range(-0.1..0.1);
        let waves: Vec<[f64; 3]> = (0..3)
            .map(|_| [rng.random_range(0.03..0.35), rng.random_range(0.0..6.3), rng.random_range(-1.0..1.0)])
            .collect();
        let floor = reference.od.iter().copied().fold(f64::INFINITY, f64::min);
        let source = reference.clone();
        for (e, od) in reference.energies_ev.iter().zip(&mut reference.od) {
            let wave: f64 =
                waves.iter().map(|[k, p, a]| a / 3.0 * (std::f64::consts::TAU * k * e + p).cos()).sum();
            let value = source.od_at(e - shift_ev).unwrap_or(*od);
            *od = floor + (value - floor) * (1.0 + 0.1 * 1.7 * wave);
        }
    }
    other
}

/// A set with one phase more that the classifier does not know.
fn with_foreign(set: &ReferenceSet, rng: &mut ChaCha8Rng) -> ReferenceSet {
    let mut other = set.clone();
    let mut reference: Reference = set.references[0].clone();
    reference.label.id = "foreign".to_owned();
    let peaks: Vec<[f64; 3]> = (0..rng.random_range(1..5))
        .map(|_| [rng.random_range(512.0..530.0), rng.random_range(0.5..2.0), rng.random_range(0.3..1.0)])
        .collect();
    if rng.random_bool(0.3) {
        // A known shape at a wrong place.
        let far_ev = rng.random_range(1.0..3.0) * if rng.random_bool(0.5) { 1.0 } else { -1.0 };
        let source = set.references[rng.random_range(0..set.len())].clone();
        for (e, od) in reference.energies_ev.iter().zip(&mut reference.od) {
            *od = source.od_at((e - far_ev).clamp(505.0, 560.0)).unwrap_or(*od);
        }
        other.references.push(reference);
        return other;
    }
    let step: f64 = rng.random_range(512.0..522.0);
    let (height, floor): (f64, f64) = (rng.random_range(0.0..0.5), 0.24);
    for (e, od) in reference.energies_ev.iter().zip(&mut reference.od) {
        let lines: f64 = peaks.iter().map(|[c, w, h]| h / (1.0 + ((e - c) / w).powi(2))).sum();
        *od = floor + lines + height * (0.5 + (e - step).atan() / std::f64::consts::PI);
    }
    other.references.push(reference);
    other
}

struct Scan {
    map: PhaseMap,
    truth: Truth,
}

fn scenario(counts: f64, energies: usize, seed: u64, boundary_px: f64) -> Scenario {
    let mut scenario = Scenario::demo().unwrap();
    scenario.seed = seed;
    let step_ev = (TO_EV - FROM_EV) / (energies - 1) as f64;
    scenario.scan.energies = vec![EnergyRun { from_ev: FROM_EV, to_ev: TO_EV + 1e-3, step_ev }];
    scenario.scan.shape = [80, 80];
    scenario.beam.photons = counts;
    scenario.beam.second_order = 0.0;
    scenario.detector.dark = 0.0;
    scenario.specimen =
        Specimen { particles: 12, thickness_nm: [120.0, 360.0], boundary_px, ..scenario.specimen };
    scenario
}

fn scan(sample: &ReferenceSet, known: &ReferenceSet, scenario: Scenario) -> Scan {
    let started = Utc.timestamp_opt(0, 0).unwrap();
    let microscope = Microscope::new(scenario, sample, "calibration", started).unwrap();
    let mut stack = Stack::new(microscope.plan().clone());
    let ny = microscope.plan().grid.ny();
    for energy in 0..microscope.plan().energies_ev.len() {
        for row in 0..ny {
            let batch = microscope.line(energy, row);
            stack.push((energy * ny + row + 1) as u64, &batch).unwrap();
        }
    }
    let map = settle(&stack, &recipe(known), None).map;
    Scan { map, truth: microscope.truth().clone() }
}

fn recipe(known: &ReferenceSet) -> Recipe {
    Recipe {
        references: Arc::new(known.clone()),
        absorption: AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings { min_correlation: 0.8, ..TriageSettings::default() },
    }
}

/// Confidence against what came true.
#[derive(Default)]
struct Reliability {
    bins: [(usize, f64, usize); 10],
}

impl Reliability {
    fn add(&mut self, confidence: f32, right: bool) {
        if confidence.is_nan() {
            return;
        }
        let bin = &mut self.bins[((confidence * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1, bin.1 + f64::from(confidence), bin.2 + usize::from(right));
    }

    fn error(&self) -> f64 {
        let all: usize = self.bins.iter().map(|b| b.0).sum();
        self.bins.iter().map(|b| (b.1 - b.2 as f64).abs()).sum::<f64>() / all.max(1) as f64
    }

    fn curve(&self) -> String {
        let bins = self.bins.iter().filter(|b| b.0 > 0);
        let words: Vec<String> = bins
            .map(|b| format!("{:.2}>{:.2}({})", b.1 / b.0 as f64, b.2 as f64 / b.0 as f64, b.0))
            .collect();
        words.join(" ")
    }
}

/// Share of the most confident pixels that can be called with 97 % of them right.
fn coverage(mut pixels: Vec<(f32, bool)>) -> f64 {
    pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut best) = (0, 0);
    for (i, (_, r)) in pixels.iter().enumerate() {
        right += usize::from(*r);
        if right as f64 >= 0.97 * (i + 1) as f64 {
            best = i + 1;
        }
    }
    best as f64 / pixels.len().max(1) as f64
}

fn pearson(map: &PhaseMap, pixel: usize) -> usize {
    let k = map.phases.len();
    let r = &map.correlations[pixel * k..(pixel + 1) * k];
    (0..k).filter(|&i| !r[i].is_nan()).max_by(|&a, &b| r[a].total_cmp(&r[b])).unwrap_or(usize::MAX)
}

fn pure(scans: u64, first: u64) {
    let set = nvpf::reference_set();
    println!(
        "refs      counts   n | pixels pearson  best | classified right | mixture unknown | ECE  coverage97"
    );
    for mismatched in [false, true] {
        for counts in [300.0, 1000.0, 3000.0, 10_000.0] {
            for energies in [8, 12, 30, 75] {
                let mut rng = ChaCha8Rng::seed_from_u64(first + counts as u64 + energies as u64);
                let mut reliability = Reliability::default();
                let (mut n, mut p, mut b, mut c, mut cr, mut m, mut u) = (0, 0, 0, 0, 0, 0, 0);
                let mut pixels = Vec::new();
                for seed in 0..scans {
                    let sample = if mismatched { jittered(&set, &mut rng) } else { set.clone() };
                    let scan = scan(&sample, &set, scenario(counts, energies, 1000 + first + seed, 0.0));
                    for (pixel, &truth) in scan.truth.phase.iter().enumerate() {
                        let status = scan.map.status[pixel];
                        if truth < 0
                            || status == Status::Background
                            || scan.map.phase[pixel] == NO_PHASE && status != Status::Unknown
                        {
                            n += usize::from(truth >= 0);
                            continue;
                        }
                        let right = scan.map.phase[pixel] as i16 == truth && status != Status::Mixture;
                        n += 1;
                        p += usize::from(pearson(&scan.map, pixel) as i16 == truth);
                        b += usize::from(scan.map.phase[pixel] as i16 == truth);
                        c += usize::from(status == Status::Classified);
                        cr += usize::from(status == Status::Classified && right);
                        m += usize::from(status == Status::Mixture);
                        u += usize::from(status == Status::Unknown);
                        let right = right && status != Status::Unknown;
                        reliability.add(scan.map.confidence[pixel], right);
                        pixels.push((scan.map.confidence[pixel], right));
                    }
                }
                let share = |part: usize| part as f64 / n as f64;
                println!(
                    "{} {counts:6} {energies:3} | {n:6} {:.4} {:.4} | {:.3} {:.4} | {:.4} {:.4} | {:.3} {:.3} {}",
                    if mismatched { "mismatched" } else { "exact     " },
                    share(p),
                    share(b),
                    share(c),
                    cr as f64 / c.max(1) as f64,
                    share(m),
                    share(u),
                    reliability.error(),
                    coverage(pixels),
                    reliability.curve()
                );
            }
        }
    }
}

fn mixed(scans: u64) {
    let set = nvpf::reference_set();
    for (mismatched, counts, energies) in
        [(false, 3000.0, 30), (false, 1000.0, 30), (false, 10_000.0, 30), (true, 3000.0, 30)]
    {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut pairs: BTreeMap<(i16, i16), [usize; 8]> = BTreeMap::new();
        let mut pure = [0_usize; 5];
        let mut reliability = Reliability::default();
        for seed in 0..scans {
            let sample = if mismatched { jittered(&set, &mut rng) } else { set.clone() };
            let scan = scan(&sample, &set, scenario(counts, energies, 2000 + seed, 3.0));
            let map = &scan.map;
            for (pixel, &truth) in scan.truth.phase.iter().enumerate() {
                if truth < 0 || map.status[pixel] == Status::Background {
                    continue;
                }
                let (share, second) = (scan.truth.share[pixel], scan.truth.second[pixel]);
                let said = [map.phase[pixel] as i16, map.runner_up[pixel] as i16];
                let status = map.status[pixel];
                let pair_right = said.contains(&truth) && said.contains(&second);
                let right = if status == Status::Mixture {
                    pair_right
                } else {
                    said[0] == truth && status != Status::Unknown
                };
                reliability.add(map.confidence[pixel], right);
                if share > 0.99 {
                    let bin = match status {
                        Status::Classified if said[0] == truth => 0,
                        Status::Classified => 1,
                        Status::Mixture => 2,
                        Status::Unknown => 3,
                        _ => 4,
                    };
                    pure[bin] += 1;
                }
                if share > 0.7 || second < 0 {
                    continue;
                }
                let entry = pairs.entry((truth.min(second), truth.max(second))).or_default();
                entry[0] += 1;
                entry[1] += usize::from(status == Status::Mixture && pair_right);
                entry[2] += usize::from(status == Status::Mixture && !pair_right);
                entry[3] +=
                    usize::from(status == Status::Classified && (said[0] == truth || said[0] == second));
                entry[4] +=
                    usize::from(status == Status::Classified && said[0] != truth && said[0] != second);
                entry[5] += usize::from(status == Status::Ambiguous);
                entry[6] += usize::from(status == Status::Unknown);
                entry[7] += usize::from(map.readings.get(pixel).is_some_and(|r| r[0] != NO_PHASE));
            }
        }
        println!(
            "mismatched {mismatched} counts {counts} energies {energies}: ECE {:.3} {}",
            reliability.error(),
            reliability.curve()
        );
        println!(
            "  pure: right {} wrong {} mixture {} unknown {} ambiguous {}",
            pure[0], pure[1], pure[2], pure[3], pure[4]
        );
        println!("  pair    pixels  right-pair wrong-pair one-of-both third ambiguous unknown readings");
        for (pair, e) in pairs {
            let share = |i: usize| e[i] as f64 / e[0] as f64;
            println!(
                "  {pair:?} {:6}  {:.3}  {:.3}  {:.3}  {:.3}  {:.3}  {:.3}  {:.3}",
                e[0],
                share(1),
                share(2),
                share(3),
                share(4),
                share(5),
                share(6),
                share(7)
            );
        }
    }
}

/// What becomes of a phase that a mixture of two others looks exactly like, and of that mixture.
fn twin(scans: u64) {
    let mut set = nvpf::reference_set();
    let mixed: Vec<f64> =
        set.references[0].od.iter().zip(&set.references[2].od).map(|(a, b)| 0.4 * a + 0.6 * b).collect();
    set.references[1].od = mixed;
    let (mut phase, mut pair) = (BTreeMap::new(), BTreeMap::new());
    for seed in 0..scans {
        let scan = scan(&set, &set, scenario(3000.0, 30, 4000 + seed, 3.0));
        let map = &scan.map;
        for (pixel, &truth) in scan.truth.phase.iter().enumerate() {
            let (share, second) = (scan.truth.share[pixel], scan.truth.second[pixel]);
            let named = map.readings[pixel][0] != NO_PHASE;
            let word = format!(
                "{} phase {} ambiguity {} readings {named}",
                map.status[pixel].name(),
                map.phase[pixel],
                map.ambiguity[pixel].name()
            );
            let entry = match (truth, second) {
                (1, _) if share > 0.99 => phase.entry(word).or_insert((0, 0.0)),
                (0, 2) | (2, 0) if share < 0.7 => pair.entry(word).or_insert((0, 0.0)),
                _ => continue,
            };
            *entry = (entry.0 + 1, entry.1 + map.confidence[pixel]);
        }
    }
    for (name, list) in [("the phase itself", phase), ("the mixture that looks like it, 0.3 to 0.7", pair)] {
        println!("{name}:");
        for (word, (n, confidence)) in list {
            println!("  {n:6} {word}, mean confidence {:.2}", confidence / n as f32);
        }
    }
}

fn auc(foreign: &[f32], known: &[f32]) -> f64 {
    let mut all: Vec<(f32, bool)> =
        foreign.iter().map(|&s| (s, true)).chain(known.iter().map(|&s| (s, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut sum) = (0_f64, 0_f64);
    for (_, is_foreign) in all {
        if is_foreign {
            sum += below;
        } else {
            below += 1.0;
        }
    }
    sum / (foreign.len() as f64 * known.len() as f64)
}

fn foreign(scans: u64) {
    let set = nvpf::reference_set();
    for (mismatched, counts) in [(false, 3000.0), (true, 3000.0)] {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let (mut of_foreign, mut of_known, mut by_r) = (Vec::new(), Vec::new(), (Vec::new(), Vec::new()));
        let (mut unknown, mut false_unknown) = (0, 0);
        for seed in 0..scans {
            let sample = if mismatched { jittered(&set, &mut rng) } else { set.clone() };
            let sample = with_foreign(&sample, &mut rng);
            let scan = scan(&sample, &set, scenario(counts, 30, 3000 + seed, 2.0));
            let map = &scan.map;
            for (pixel, &truth) in scan.truth.phase.iter().enumerate() {
                if truth < 0 || map.status[pixel] == Status::Background {
                    continue;
                }
                let second = scan.truth.second[pixel];
                let is_unknown = map.status[pixel] == Status::Unknown;
                if truth == 5 && second < 0 {
                    of_foreign.push(map.fit_chi2[pixel]);
                    by_r.0.push(-map.correlation[pixel]);
                    unknown += usize::from(is_unknown);
                } else if truth != 5 && second != 5 {
                    of_known.push(map.fit_chi2[pixel]);
                    by_r.1.push(-map.correlation[pixel]);
                    false_unknown += usize::from(is_unknown);
                }
            }
        }
        println!(
            "mismatched {mismatched}: {} foreign, {} known; AUC by fit_chi2 {:.4}, by correlation {:.4}; unknown {:.3} of foreign, {:.4} of known",
            of_foreign.len(),
            of_known.len(),
            auc(&of_foreign, &of_known),
            auc(&by_r.0, &by_r.1),
            unknown as f64 / of_foreign.len() as f64,
            false_unknown as f64 / of_known.len() as f64,
        );
    }
}

fn main() {
    let what = std::env::args().nth(1).unwrap_or_else(|| "pure".to_owned());
    let scans = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(4);
    // The constants were chosen with first = 0; any other number gives scans that nothing was fitted to.
    let first = std::env::args().nth(3).and_then(|n| n.parse().ok()).unwrap_or(0);
    match what.as_str() {
        "pure" => pure(scans, first),
        "mixed" => mixed(scans),
        "latency" => latency::latency(),
        "twin" => twin(scans),
        "foreign" => foreign(scans),
        _ => recorded::real_stack(),
    }
}
