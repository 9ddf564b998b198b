use super::*;
use crate::simulate::nvpf::reference_set;

fn conditions(filling: Filling) -> Conditions {
    Conditions { counts: 1000.0, energies: 12, offset_ev: 0.2, mismatched: false, filling }
}

fn draw(references: &ReferenceSet, conditions: &Conditions, seed: u64) -> ScanDraw {
    Drawer::new(references).unwrap().draw(conditions, seed).unwrap()
}

#[test]
fn a_scan_has_what_it_claims() {
    let scan = draw(&reference_set(), &conditions(Filling::Pure), 1);
    let of = |phase: u8| scan.truth.iter().filter(|t| **t == Truth::Phase(phase)).count();
    let particle: usize = (0..5).map(of).sum();
    assert!(particle >= 5000, "{particle} pixels");
    assert!((0..5).all(|phase| of(phase) > 500), "every phase is there");
    let boundary = scan.boundary.iter().filter(|b| **b).count();
    assert!((particle / 20..particle / 2).contains(&boundary), "{boundary} of {particle} at boundaries");
    assert_eq!(scan.offset_ev.abs(), 0.2);
    assert!(scan.stack.is_full());
    let inside = |pixel: usize| scan.truth[pixel] != Truth::Empty;
    assert!((0..scan.truth.len()).all(|pixel| inside(pixel) || !scan.boundary[pixel]));
}

#[test]
fn the_empty_field_is_poisson() {
    let scan = draw(&reference_set(), &conditions(Filling::Pure), 2);
    let empty: Vec<usize> = (0..scan.truth.len()).filter(|&p| scan.truth[p] == Truth::Empty).collect();
    let values: Vec<f64> = (0..12)
        .flat_map(|e| empty.iter().map(move |&p| (e, p)))
        .map(|(e, p)| f64::from(scan.stack.plane(e).value(p)))
        .collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    // Five standard errors of a mean, and of a variance.
    assert!((mean - 1000.0).abs() < 5.0 * (1000.0 / n).sqrt(), "{mean}");
    assert!((variance / 1000.0 - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{variance}");
}

#[test]
fn the_mean_density_of_a_phase_is_its_reference_at_the_beams_energy() {
    let references = reference_set();
    let conditions = Conditions { counts: 1e6, ..conditions(Filling::Pure) };
    let scan = draw(&references, &conditions, 3);
    let energies_ev = Drawer::new(&references).unwrap().energies_ev(12);
    for phase in 0..5_u8 {
        let pixels: Vec<usize> =
            (0..scan.truth.len()).filter(|&p| scan.truth[p] == Truth::Phase(phase)).collect();
        let mean = |e: usize| {
            let od = |&p: &usize| (1e6 / f64::from(scan.stack.plane(e).value(p))).ln();
            pixels.iter().map(od).sum::<f64>() / pixels.len() as f64
        };
        // The mean thickness cancels in the ratio of two energies.
        let reference = &references.references[usize::from(phase)];
        let at = |e: usize| od_near(reference, energies_ev[e] + scan.offset_ev);
        for e in 1..12 {
            assert!((mean(e) / mean(0) - at(e) / at(0)).abs() < 0.003 * at(e) / at(0), "{phase} at {e}");
        }
    }
}

#[test]
fn the_same_seed_draws_the_same_scan_and_another_does_not() {
    let references = reference_set();
    let values = |seed: u64| {
        let scan = draw(&references, &conditions(Filling::Foreign), seed);
        (scan.stack.plane(3).values().to_vec(), scan.truth)
    };
    assert_eq!(values(5), values(5));
    assert_ne!(values(5).0, values(6).0);
}

#[test]
fn every_other_domain_is_mixed_or_foreign() {
    let references = reference_set();
    let share = |filling: Filling, is: fn(&Truth) -> bool| {
        let truth: Vec<Truth> =
            (1..4).flat_map(|seed| draw(&references, &conditions(filling), seed).truth).collect();
        let all = truth.iter().filter(|t| **t != Truth::Empty).count();
        truth.iter().filter(|t| is(t)).count() as f64 / all as f64
    };
    let mixed = share(Filling::Mixtures, |t| matches!(t, Truth::Mixture { .. }));
    let foreign = share(Filling::Foreign, |t| *t == Truth::Foreign);
    assert!((mixed - 0.5).abs() < 0.15 && (foreign - 0.5).abs() < 0.15, "{mixed} {foreign}");
}

#[test]
fn a_mismatched_sample_differs_within_its_bounds() {
    let references = reference_set();
    let drawer = Drawer::new(&references).unwrap();
    let energies_ev = drawer.energies_ev(75);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let exact = drawer.phase_spectra(&mut rng, false, &energies_ev);
    let jittered = drawer.phase_spectra(&mut rng, true, &energies_ev);
    for (phase, reference) in references.references.iter().enumerate() {
        let floor = reference.od.iter().copied().fold(f64::INFINITY, f64::min);
        let mut largest = 0.0_f64;
        for (e, &energy_ev) in energies_ev.iter().enumerate() {
            // Somewhere within the shift, the reference has to be within 10 % of the jittered value.
            let near = (-10..=10).map(|i| od_near(reference, energy_ev + 0.01 * f64::from(i)) - floor);
            let (low, high) = near.fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
            let value = jittered[phase][e] - floor;
            assert!(value >= 0.9 * low - 1e-4 && value <= 1.1 * high + 1e-4, "{phase} at {energy_ev}");
            largest = largest.max((jittered[phase][e] - exact[phase][e]).abs());
        }
        assert!(largest > 0.01, "phase {phase} is not what it was");
    }
}

#[test]
fn a_scan_begins_before_the_edge_and_a_range_has_to_be_one() {
    let references = reference_set();
    let drawer = Drawer::new(&references).unwrap();
    let energies_ev = drawer.energies_ev(8);
    assert!(references.pre_edge.contains(energies_ev[0]), "{energies_ev:?}");
    let own = Drawer::over(&references, (512.5, 530.0)).unwrap();
    assert_eq!((own.energies_ev(8)[0], own.range_ev()), (512.5, (512.5, 530.0)));
    for range_ev in [(530.0, 512.5), (512.5, 512.6), (f64::NAN, 530.0), (-5.0, 530.0)] {
        assert!(
            matches!(Drawer::over(&references, range_ev), Err(EvaluationError::Range(..))),
            "{range_ev:?}"
        );
    }
}
