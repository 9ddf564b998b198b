use super::*;
use crate::classify::LiveMap;
use crate::classify::tests::recipe;
use crate::scan::{Channel, I0, Pixels, SampleBatch, Signal, test_plan};
use crate::simulate::nvpf;

/// Four pixels of optical densities: 0.6 of the first reference, 0.4 of the third, both, and nothing.
fn stack(energies: usize) -> Stack {
    let mut plan = test_plan(2, 2, energies);
    plan.detector.signal = Signal::OpticalDensity;
    let references = nvpf::reference_set();
    let energies_ev = plan.energies_ev.clone();
    let mut stack = Stack::new(plan);
    for (energy, &energy_ev) in energies_ev.iter().enumerate() {
        let at = |phase: usize| references.references[phase].od_held_at(energy_ev).unwrap();
        let (one, other) = (0.6 * at(0), 0.4 * at(2));
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: Pixels::Run { first: 0, count: 4 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values: [0.1 + one, other, 0.5 * (one + other), 0.05].map(|od| od as f32).to_vec(),
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: None,
        };
        stack.push(energy as u64, &batch).unwrap();
    }
    stack
}

fn place(stack: &Stack, pixels: &[usize], phases: &[usize]) -> PlaceSpectrum {
    LiveMap::of(stack, recipe(), 0).optics().place(stack, pixels, phases)
}

#[test]
fn a_pixel_is_what_its_reference_says() {
    let stack = stack(12);
    let seen = place(&stack, &[0], &[]);
    assert_eq!((seen.od.len(), seen.pixels.as_slice()), (12, &[1; 12][..]));
    let fit = seen.fit.unwrap();
    assert_eq!(fit.parts.len(), 1, "{:?}", fit.parts);
    assert!(fit.parts[0].0 == 0 && (fit.parts[0].1 - 0.6).abs() < 1e-3, "{:?}", fit.parts);
    assert!((fit.constant - 0.1).abs() < 1e-3);
    assert_eq!((seen.references.len(), seen.references[0].phase), (3, 0));
    for (fitted, od) in fit.od.iter().zip(&seen.od) {
        assert!((fitted - od).abs() < 1e-4);
    }
}

#[test]
fn a_region_is_the_mean_of_its_pixels_and_surer_than_one() {
    let stack = stack(12);
    let (one, both) = (place(&stack, &[0], &[]), place(&stack, &[0, 1], &[]));
    let fit = both.fit.unwrap();
    let mut parts = fit.parts;
    parts.sort_by_key(|(phase, _)| *phase);
    assert_eq!(parts.iter().map(|(phase, _)| *phase).collect::<Vec<_>>(), [0, 2]);
    assert!((parts[0].1 - 0.3).abs() < 2e-3 && (parts[1].1 - 0.2).abs() < 2e-3, "{parts:?}");
    assert_eq!(both.pixels, [2; 12]);
    assert!(both.sigma[5] < one.sigma[5]);
    // What the fit may use is asked for.
    let alone = place(&stack, &[0, 1], &[2]).fit.unwrap();
    assert_eq!(alone.parts.iter().map(|(phase, _)| *phase).collect::<Vec<_>>(), [2]);
    assert!(alone.chi2 > fit.chi2);
}

#[test]
fn nowhere_has_no_spectrum_and_a_plan_that_grew_is_read_as_far_as_it_was_known() {
    let short = stack(5);
    let seen = place(&short, &[], &[]);
    assert!(seen.od.is_empty() && seen.fit.is_none() && seen.references.is_empty());
    assert!(place(&short, &[99], &[]).od.is_empty(), "no such pixel");
    let optics = LiveMap::of(&short, recipe(), 0).optics();
    assert_eq!(optics.place(&stack(12), &[1], &[]).od.len(), 5);
}

#[test]
fn a_whole_stack_looks_the_same_live_and_settled() {
    let stack = stack(12);
    let settled = Optics::of(&stack, &recipe()).place(&stack, &[0, 1], &[]);
    assert_eq!(settled, place(&stack, &[0, 1], &[]));
}
