use super::*;
use crate::simulate::nvpf;

fn microscope(change: impl FnOnce(&mut Scenario)) -> Microscope {
    let mut scenario = Scenario::demo().unwrap();
    scenario.scan.shape = [48, 40];
    change(&mut scenario);
    let started = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    Microscope::new(scenario, &nvpf::reference_set(), "test-1", started).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_counts_in_any_order() {
    let (a, b) = (microscope(|_| {}), microscope(|_| {}));
    let last = a.line(39, 47).values;
    let first = a.line(0, 0).values;
    assert_eq!(b.line(0, 0).values, first);
    assert_eq!(b.line(39, 47).values, last);
    assert_eq!(a.truth(), b.truth());
    let c = microscope(|scenario| scenario.seed += 1);
    assert_ne!(c.line(0, 0).values, first);
    assert_ne!(c.truth().phase, a.truth().phase);
}

#[test]
fn counts_have_the_mean_and_the_variance_of_poisson() {
    let m = microscope(|scenario| scenario.scan.shape = [100, 100]);
    for energy in [0, 10, 39] {
        let mut pulls = Vec::new();
        for row in 0..100 {
            let batch = m.line(energy, row);
            for (pixel, value) in batch.pixels.iter().zip(&batch.values) {
                let mean = m.expected(energy, pixel);
                pulls.push((f64::from(*value) - mean) / mean.sqrt());
            }
        }
        let n = pulls.len() as f64;
        let mean = pulls.iter().sum::<f64>() / n;
        let variance = pulls.iter().map(|pull| (pull - mean).powi(2)).sum::<f64>() / n;
        // Standard errors of 10 000 pulls: 0.01 and 0.014; five of them.
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.07, "{energy}: {mean} {variance}");
    }
}

#[test]
fn an_empty_pixel_shows_the_open_beam_and_the_dark() {
    let m = microscope(|_| {});
    let empty = m.truth().phase.iter().position(|&phase| phase < 0).unwrap();
    let row = empty / 40;
    assert!((m.expected(5, empty) - m.open_beam(5, row) - 20.0).abs() < 1e-9);
    assert!(m.open_beam(0, 0) > 2000.0 && m.open_beam(0, 0) <= 3000.0);
}

#[test]
fn optical_density_is_that_of_the_references_scaled_by_thickness_and_share() {
    let m = microscope(|scenario| scenario.beam.second_order = 0.0);
    let truth = m.truth();
    let set = nvpf::reference_set();
    let mixed = truth.second.iter().position(|&second| second >= 0).expect("a grain boundary");
    let share = f64::from(truth.share[mixed]);
    let energy = 8;
    let energy_ev = m.plan().energies_ev[energy];
    let od = |phase: i16| set.references[phase as usize].od_at(energy_ev).unwrap();
    let expected = (share * od(truth.phase[mixed]) + (1.0 - share) * od(truth.second[mixed]))
        * f64::from(truth.thickness_nm[mixed])
        / 200.0;
    let light = m.expected(energy, mixed) - 20.0;
    let seen = -(light / m.open_beam(energy, mixed / 40)).ln();
    assert!((seen - expected).abs() < 1e-9, "{seen} {expected}");
}

#[test]
fn second_order_light_makes_thick_pixels_look_thin() {
    let clean = microscope(|scenario| scenario.beam.second_order = 0.0);
    let dirty = microscope(|scenario| scenario.beam.second_order = 0.1);
    let thickest = (0..clean.truth().phase.len())
        .max_by(|a, b| clean.truth().thickness_nm[*a].total_cmp(&clean.truth().thickness_nm[*b]))
        .unwrap();
    assert!(dirty.expected(9, thickest) > clean.expected(9, thickest));
}

#[test]
fn the_ring_decays_and_the_light_with_it() {
    let m = microscope(|scenario| scenario.beam.ring_lifetime_h = 0.01);
    let batch = m.line(39, 0);
    let expected = 400.0 * (-m.line_start_ms(39, 0) / 36_000.0_f64).exp();
    assert!((batch.ring_current_ma.unwrap() - expected).abs() < 1e-3);
    assert!(m.ring_current_ma(39, 0) < 0.5 * m.ring_current_ma(0, 0));
    assert!(m.open_beam(1, 40) < m.open_beam(1, 0));
}

#[test]
fn the_truth_tells_what_was_asked_for() {
    let m = microscope(|scenario| scenario.scan.shape = [128, 128]);
    let truth = m.truth();
    let pixels = 128 * 128;
    assert_eq!((truth.scan_id.as_str(), truth.ny, truth.nx, truth.phase.len()), ("test-1", 128, 128, pixels));
    let share = truth.covered() as f64 / pixels as f64;
    assert!((0.15..0.6).contains(&share), "covered: {share}");
    for phase in 0..5 {
        let count = truth.phase.iter().filter(|&&held| held == phase).count();
        assert!(count > 500, "{}: {count} pixels", truth.phases[phase as usize]);
    }
    let mixed = truth.second.iter().filter(|&&second| second >= 0).count();
    assert!((100..truth.covered() / 2).contains(&mixed), "{mixed} mixed");
    for pixel in 0..pixels {
        let (phase, second) = (truth.phase[pixel], truth.second[pixel]);
        let (share, thickness_nm) = (truth.share[pixel], truth.thickness_nm[pixel]);
        if phase < 0 {
            assert_eq!((second, share, thickness_nm), (-1, 0.0, 0.0));
        } else {
            assert!((50.0..=400.0).contains(&thickness_nm));
            assert!(second != phase && (0.5..=1.0).contains(&share) && (second >= 0) == (share < 1.0));
        }
    }
    let text = serde_json::to_string(truth).unwrap();
    assert_eq!(&serde_json::from_str::<Truth>(&text).unwrap(), truth);
}

#[test]
fn an_area_detector_sums_to_what_a_point_detector_counts() {
    let m = microscope(|scenario| scenario.detector.kind = DetectorKind::Area);
    assert_eq!(m.plan().detector.frame_shape, Some([16, 16]));
    assert!((m.plan().dark() - 20.0).abs() < 1e-9);
    let mut sums = (0.0, 0.0);
    for row in 0..48 {
        let batch = m.line(0, row);
        assert_eq!(m.frames(0, row).len(), 40 * 256);
        sums.0 += batch.values.iter().map(|&value| f64::from(value)).sum::<f64>();
        sums.1 += batch.pixels.iter().map(|pixel| m.expected(0, pixel)).sum::<f64>();
    }
    assert!((sums.0 - sums.1).abs() < 5.0 * sums.1.sqrt(), "{sums:?}");
    let frame = &m.frames(0, 0)[..256];
    assert!(frame[8 * 16 + 8] > 10 && frame[0] <= 3, "bright in the middle, dark in the corner");
}

#[test]
fn an_open_beam_monitor_comes_when_asked_for() {
    let m = microscope(|scenario| scenario.detector.send_i0 = true);
    let I0::One(i0) = m.line(3, 7).i0 else { panic!("no i0") };
    let mean = m.open_beam(3, 7) + 20.0;
    assert!((f64::from(i0) - mean).abs() < 5.0 * (mean / 40.0).sqrt() && f64::from(i0) != mean);
    assert_eq!(microscope(|_| {}).line(3, 7).i0, I0::None);
}

#[test]
fn refuses_energies_that_the_references_do_not_reach() {
    let mut scenario = Scenario::demo().unwrap();
    scenario.scan.energies[0].from_ev = 490.0;
    let error = Microscope::new(scenario, &nvpf::reference_set(), "x", DateTime::UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().contains("490"), "{error}");
}
