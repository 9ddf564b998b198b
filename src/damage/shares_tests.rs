use std::sync::Arc;

use chrono::DateTime;

use super::*;
use crate::classify::{Origin, settle};
use crate::reference::PhaseLabel;
use crate::scan::{SampleBatch, ScanPlan, test_plan};
use crate::simulate::{Microscope, Scenario, nvpf};
use crate::stack::Stack;

fn map(pixels: &[(Status, u8, u8, f32)]) -> PhaseMap {
    let label = |id: &str| PhaseLabel { id: id.to_owned(), title: id.to_owned(), colour: [0; 3] };
    let phases: Arc<[PhaseLabel]> = ["a", "b", "c"].map(label).into();
    let mut map = PhaseMap::unmeasured(Arc::new(test_plan(1, pixels.len(), 1)), phases, Origin::default());
    for (pixel, &(status, phase, runner_up, value)) in pixels.iter().enumerate() {
        (map.status[pixel], map.phase[pixel], map.runner_up[pixel]) = (status, phase, runner_up);
        if status == Status::Mixture {
            (map.share[pixel], map.share_error[pixel]) = (value, 0.02);
        } else {
            map.confidence[pixel] = value;
        }
    }
    map
}

#[test]
fn a_share_is_what_is_believed_and_its_error_grows_with_the_doubt() {
    use Status::{Ambiguous, Background, Classified, Mixture, Unknown};
    let sure = map(&[
        (Classified, 0, 1, 1.0),
        (Classified, 1, 0, 1.0),
        (Unknown, 2, 0, 1.0),
        (Background, 255, 255, f32::NAN),
    ]);
    let pixels: Vec<usize> = (0..4).collect();
    let found = shares(&sure, &pixels);
    assert_eq!(found.iter().map(|share| share.value).collect::<Vec<_>>(), [0.5, 0.5, 0.0]);
    let doubtful = map(&[(Ambiguous, 0, 1, 0.6), (Mixture, 1, 2, 0.75)]);
    let doubt = shares(&doubtful, &[0, 1]);
    for (found, wanted) in doubt.iter().zip([0.3, 0.2 + 0.375, 0.125]) {
        assert!((found.value - wanted).abs() < 1e-6, "{doubt:?}");
    }
    assert!(doubt[0].sigma > 2.0 * found[0].sigma, "{doubt:?} {found:?}");
    assert_eq!(shares(&sure, &[2, 3]), []);
}

#[test]
fn neighbours_are_not_counted_as_so_many_witnesses() {
    // Ninety pixels in a row: thirty blocks of three.
    let row = map(&[(Status::Ambiguous, 0, 1, 0.5); 90]);
    let found = shares(&row, &(0..90).collect::<Vec<_>>());
    let chance = (30.0 * 1.5_f64.powi(2)).sqrt() / 90.0;
    assert!(found[0].sigma > chance && chance > 0.5 / 90_f64.sqrt(), "{found:?} {chance}");
}

/// A scan of one specimen; `scan` makes it another scan of it.
pub(in crate::damage) fn measured(
    specimen: u64,
    scan: u64,
    shape: usize,
    change: impl Fn(&mut Scenario),
) -> Microscope {
    let (_, mut scenario) =
        Scenario::library().unwrap().into_iter().find(|(name, _)| *name == "damage-none").unwrap();
    (scenario.seed, scenario.specimen.seed) = (1000 * specimen + scan, Some(specimen));
    scenario.scan.shape = [shape; 2];
    change(&mut scenario);
    Microscope::new(scenario, &nvpf::reference_set(), "s", DateTime::UNIX_EPOCH).unwrap()
}

/// The settled map of a scan whose lines are these, after so many energies.
pub(in crate::damage) fn settled_map(
    plan: &ScanPlan,
    energies: usize,
    line: impl Fn(usize, usize) -> SampleBatch,
) -> PhaseMap {
    let mut stack = Stack::new(plan.clone());
    let lines = (0..energies.min(plan.energies_ev.len()))
        .flat_map(|energy| (0..plan.grid.ny()).map(move |row| (energy, row)));
    for (seq, (energy, row)) in (1..).zip(lines) {
        stack.push(seq, &line(energy, row)).unwrap();
    }
    let settings = crate::settings::Settings::defaults().unwrap();
    let recipe = crate::pipeline::recipe(&settings, Arc::new(nvpf::reference_set())).unwrap();
    settle(&stack, &recipe, None).map
}

/// How far two scans of undamaged places lie apart, in their errors: of field, particles and phases.
fn apart(places: std::ops::Range<u64>, shape: usize) -> Vec<f64> {
    use rand::{Rng as _, SeedableRng as _};
    let mut all = Vec::new();
    for place in places {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(place);
        let off = if rng.random() { (0.05, 0.05) } else { (0.0, 0.0) };
        let maps = [1, 2].map(|scan| {
            let offset_ev = rng.random_range(-0.2..0.2);
            let microscope = measured(place, scan, shape, |scenario| {
                scenario.beam.energy_offset_ev = offset_ev;
                (scenario.specimen.mismatch_ev, scenario.specimen.mismatch) = off;
            });
            settled_map(microscope.plan(), usize::MAX, |energy, row| microscope.line(energy, row))
        });
        let labels = crate::damage::Labels::of(&maps[0], &crate::damage::Groups::of(&maps[0], 40));
        let groups = maps.each_ref().map(|map| labels.on(map));
        for ((of, first), (_, second)) in groups[0].iter().zip(&groups[1]) {
            if of.starts_with("phase") {
                continue;
            }
            let found = [shares(&maps[0], first), shares(&maps[1], second)];
            for (phase, (a, b)) in found[0].iter().zip(&found[1]).enumerate() {
                if a.value + b.value > 0.02 {
                    let z = (b.value - a.value) / a.sigma.hypot(b.sigma);
                    if z.abs() > 2.0 {
                        eprintln!("{place} {of} {phase} {a:?} {b:?} {z:.2} off {off:?}");
                    }
                    all.push(z);
                }
            }
        }
    }
    all
}

#[test]
#[ignore = "minutes: what the errors are worth, for the report"]
fn two_scans_of_many_undamaged_places_differ_by_no_more_than_their_errors_say() {
    let all = apart(0..40, 64);
    let rms = (all.iter().map(|z| z * z).sum::<f64>() / all.len() as f64).sqrt();
    let beyond = |limit: f64| all.iter().filter(|z| z.abs() > limit).count();
    eprintln!(
        "{} shares: rms {rms:.2}; beyond 2: {}, 3: {}, 4: {}",
        all.len(),
        beyond(2.0),
        beyond(3.0),
        beyond(4.0)
    );
    assert!(rms < 1.0 && beyond(4.0) == 0);
}
