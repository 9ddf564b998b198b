use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::classify::Status;
use crate::damage::shares::tests::{measured, settled_map};
use crate::simulate::nvpf;

/// Where an earlier scan was.
fn patch(rng: &mut ChaCha8Rng, n: usize) -> Vec<bool> {
    let cut = |rng: &mut ChaCha8Rng| rng.random_range(n / 4..3 * n / 4);
    let (kind, a, b) = (rng.random_range(0..3), cut(rng), cut(rng));
    let inside = |pixel: usize| match (kind, pixel / n, pixel % n) {
        (0, _, x) => x < a,
        (1, y, _) => y < a,
        // A square in a corner.
        (_, y, x) => y < a.max(n / 3) && x < b.max(n / 3),
    };
    (0..n * n).map(inside).collect()
}

/// Compares on a map with that earlier dose, MGy, and one of this scan, both less where the sample is thick.
fn compare(mut map: PhaseMap, patch: &[bool], dose: f32) -> Option<Contrast> {
    let references = nvpf::reference_set();
    // As the mean over the depth falls with the thickness.
    let depth = |jump: f32| 1.0 / (1.0 + jump.clamp(0.0, 2.0));
    let factor: Vec<f32> =
        map.edge_jump.iter().map(|&jump| if jump.is_finite() { depth(jump) } else { 1.0 }).collect();
    let before: Vec<f32> =
        patch.iter().zip(&factor).map(|(&is, factor)| if is { dose * factor } else { 0.0 }).collect();
    map.dose_mgy = before.iter().zip(&factor).map(|(before, factor)| before + 30.0 * factor).collect();
    Contrast::of(&ByPlace {
        map: &map,
        before: &before,
        unit: DoseUnit::Mgy,
        references: &references,
        reduced_state: Some(3.0),
        false_alarms: 0.0005,
    })
}

/// The second of two scans: what the first one covered was reduced by it, by so much of all that can be.
fn spoilt(place: u64, n: usize, patch: &[bool], reduced: f64) -> PhaseMap {
    let change = |dose_before_mgy: f64| {
        move |scenario: &mut crate::simulate::Scenario| {
            let damage = scenario.damage.get_or_insert_default();
            // The scan itself does nothing to speak of.
            damage.dose_per_energy_mgy = Some(1e-6);
            (damage.critical_dose_mgy, damage.dose_before_mgy) = (Some(1.0), dose_before_mgy);
        }
    };
    let [fresh, spoilt] = [0.0, -(1.0 - reduced).ln()].map(|before| measured(place, 1, n, change(before)));
    settled_map(fresh.plan(), usize::MAX, |energy, row| {
        let mut line = fresh.line(energy, row);
        for (column, value) in spoilt.line(energy, row).values.into_iter().enumerate() {
            if patch[row * n + column] {
                line.values[column] = value;
            }
        }
        line
    })
}

fn quiet_map(place: u64, n: usize, energies: usize) -> PhaseMap {
    let microscope = measured(place, 1, n, |scenario| {
        // Every other one off its references.
        let off = if place.is_multiple_of(2) { (0.05, 0.05) } else { (0.0, 0.0) };
        (scenario.specimen.mismatch_ev, scenario.specimen.mismatch) = off;
    });
    settled_map(microscope.plan(), energies, |energy, row| microscope.line(energy, row))
}

fn summary(found: &[Option<Contrast>]) -> String {
    let paired: Vec<&Contrast> = found.iter().flatten().filter(|own| own.is_paired).collect();
    let z = |own: &&Contrast| own.z;
    let rms = (paired.iter().map(z).map(|z| z * z).sum::<f64>() / paired.len().max(1) as f64).sqrt();
    let beyond = |limit: f64| paired.iter().map(z).filter(|z| z.abs() > limit).count();
    let mut sigmas: Vec<f64> = paired.iter().map(|own| own.sigma).collect();
    sigmas.sort_by(f64::total_cmp);
    format!(
        "{} of {} compared within particles, {} between; rms z {rms:.2}, beyond 2: {}, 3: {}, 4: {}; real {}; median sigma {:.3}, mean {:.3}",
        paired.len(),
        found.len(),
        found.iter().flatten().count() - paired.len(),
        beyond(2.0),
        beyond(3.0),
        beyond(4.0),
        paired.iter().filter(|own| own.is_real).count(),
        sigmas.get(sigmas.len() / 2).copied().unwrap_or(f64::NAN),
        paired.iter().map(|own| own.further).sum::<f64>() / paired.len().max(1) as f64,
    )
}

/// Rows and columns of what is drawn.
const N: usize = 160;

/// Round particles of domains, drawn; in `patch` so much of each pixel is reduced.
fn drawn(rng: &mut ChaCha8Rng, domains: usize, patch: &[bool], reduced: f64) -> PhaseMap {
    let n = N;
    let references = nvpf::reference_set();
    let states = references.references.iter().map(|own| own.composition.state.as_ref().unwrap().1);
    let last = states.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0 as u8;
    let labels = references.labels().iter().cloned().collect();
    let plan = std::sync::Arc::new(crate::scan::test_plan(n, n, 1));
    let mut map = PhaseMap::unmeasured(plan, labels, crate::classify::Origin::default());
    map.status.fill(Status::Background);
    map.edge_jump.fill(0.0);
    for _ in 0..12 {
        let radius = n as f64 * rng.random_range(0.1..0.2);
        let centre = [0, 1].map(|_| rng.random_range(0.0..n as f64));
        let domains: Vec<([f64; 2], u8)> = (0..domains)
            .map(|_| {
                let at = centre.map(|at| at + radius * rng.random_range(-1.0..1.0));
                (at, rng.random_range(0..references.len() as u8))
            })
            .collect();
        for (pixel, &is_reduced) in patch.iter().enumerate() {
            let far = |at: &[f64; 2]| (at[0] - (pixel / n) as f64).hypot(at[1] - (pixel % n) as f64);
            if far(&centre) > radius {
                continue;
            }
            let domain = domains.iter().min_by(|a, b| far(&a.0).total_cmp(&far(&b.0))).unwrap();
            let is_mixture = is_reduced && reduced > 0.0 && domain.1 != last;
            map.status[pixel] = if is_mixture { Status::Mixture } else { Status::Classified };
            (map.phase[pixel], map.runner_up[pixel]) = (domain.1, last);
            map.confidence[pixel] = rng.random_range(0.9..1.0);
            map.share[pixel] = (1.0 - reduced + rng.random_range(-0.1..0.1)).clamp(0.0, 1.0) as f32;
            map.edge_jump[pixel] = (1.0 - far(&centre) / radius) as f32;
        }
    }
    map
}

#[test]
fn two_hundred_fields_with_an_earlier_dose_that_did_nothing_stay_quiet() {
    let found: Vec<Option<Contrast>> = (0..200)
        .map(|place| {
            let mut rng = ChaCha8Rng::seed_from_u64(place);
            let patch = patch(&mut rng, N);
            compare(drawn(&mut rng, 4, &patch, 0.0), &patch, 20.0)
        })
        .collect();
    let said = summary(&found);
    assert!(found.iter().flatten().filter(|own| own.is_paired).count() > 60, "{said}");
    assert!(!found.iter().flatten().any(|own| own.is_real), "{said}");
}

#[test]
fn what_was_reduced_where_more_went_in_is_found_and_measured() {
    let found: Vec<Option<Contrast>> = (0..40)
        .map(|place| {
            let mut rng = ChaCha8Rng::seed_from_u64(place);
            let patch = patch(&mut rng, N);
            compare(drawn(&mut rng, 1, &patch, 0.5), &patch, 20.0)
        })
        .collect();
    let said = summary(&found);
    let real: Vec<&Contrast> = found.iter().flatten().filter(|own| own.is_real).collect();
    assert!(real.len() >= 10, "{said}");
    let share = real.iter().map(|own| own.further / own.whole).sum::<f64>() / real.len() as f64;
    assert!((0.35..0.65).contains(&share), "{share} {said}");
    let own = real[0];
    assert!(own.dose_less == 0.0 && own.dose_more > 5.0, "{own:?}");
    assert!(own.text.contains("where ") && own.text.contains(" MGy went in before"), "{own:?}");
}

#[test]
fn an_earlier_scan_of_all_of_it_leaves_nothing_to_compare_however_thick_the_sample_is() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let all = vec![true; N * N];
    let map = drawn(&mut rng, 2, &all, 0.5);
    assert_eq!(compare(map.clone(), &all, 20.0), None);
    assert_eq!(compare(map, &vec![false; N * N], 20.0), None);
}

#[test]
fn what_it_says_of_the_beam_depends_on_what_the_beam_would_have_made() {
    let contrast = |further: f64| {
        let is_real = further > 0.1;
        Contrast {
            unit: DoseUnit::Mgy,
            dose_more: 2.1,
            dose_less: 0.0,
            variable: "na_x".to_owned(),
            further,
            sigma: 0.01,
            whole: 1.0,
            is_paired: true,
            pieces: 6,
            particles: 4,
            z: further / 0.01,
            z_limit: 3.3,
            is_real,
            text: String::new(),
        }
    };
    assert_eq!(contrast(0.2).speaks(None), Speaks::ForBeam);
    assert_eq!(contrast(0.2).speaks(Some((0.1, 2.1))), Speaks::ForBeam);
    assert_eq!(contrast(0.2).speaks(Some((0.6, 2.1))), Speaks::Partly);
    assert_eq!(contrast(0.0).speaks(Some((0.1, 2.1))), Speaks::AgainstBeam);
    // So little would not be seen; and of what is not known nothing follows.
    assert_eq!(contrast(0.0).speaks(Some((0.02, 2.1))), Speaks::Nothing);
    assert_eq!(contrast(0.0).speaks(None), Speaks::Nothing);
    let whole = Contrast { is_paired: false, is_real: false, ..contrast(0.2) };
    assert_eq!((whole.speaks(None), whole.is_further()), (Speaks::Nothing, true));
    let words = contrast(0.21).words();
    assert_eq!(
        words,
        "where 2.100 MGy went in before, the sample is further reduced by 0.210 ± 0.010 in na_x than where none did, within the same particles (6 places in 4)"
    );
    assert!(contrast(0.0).words().contains("less than 0.016"), "{}", contrast(0.0).words());
}

#[test]
#[ignore = "minutes: what the comparison is worth, for the report"]
fn what_it_is_worth() {
    let n = 96;
    // Live maps are looked at each time another energy is complete: the first that tell phases, and the last.
    for energies in [8, 14, usize::MAX] {
        let mut quiet = Vec::new();
        for place in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(place);
            let map = quiet_map(place, n, energies);
            for _ in 0..3 {
                let patch = patch(&mut rng, n);
                let found = compare(map.clone(), &patch, 30.0);
                if let Some(own) = found.as_ref().filter(|own| own.is_paired && own.z.abs() > 3.0) {
                    eprintln!("{place} {own:?}");
                }
                quiet.push(found);
            }
        }
        eprintln!("{energies} energies: nothing: {}", summary(&quiet));
    }
    for reduced in [0.2, 0.4, 0.6] {
        let found: Vec<Option<Contrast>> = (0..60)
            .map(|place| {
                let mut rng = ChaCha8Rng::seed_from_u64(place);
                let patch = patch(&mut rng, n);
                compare(spoilt(place, n, &patch, reduced), &patch, 30.0)
            })
            .collect();
        let paired = || found.iter().flatten().filter(|own| own.is_paired);
        let share = paired().map(|own| own.further / own.whole).sum::<f64>() / paired().count().max(1) as f64;
        eprintln!("{reduced} reduced, {share:.2} measured: {}", summary(&found));
    }
}
