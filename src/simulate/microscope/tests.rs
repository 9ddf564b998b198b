use super::*;
use crate::scan::{DetectorKind, I0, I0Kind};
use crate::simulate::nvpf;
use crate::simulate::{DriftSettings, FlawSettings, Front, IncidentSource};

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
    // The truth is told in f32.
    assert!((seen - expected).abs() < 1e-6, "{seen} {expected}");
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
    let m = microscope(|scenario| scenario.detector.i0 = IncidentSource::Stream);
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

#[test]
fn a_drifted_specimen_is_the_same_specimen_elsewhere() {
    let one_particle = |seed: u64, drift: DriftSettings| {
        microscope(|scenario| {
            scenario.seed = seed;
            scenario.scan.shape = [64, 64];
            scenario.specimen.particles = 1;
            scenario.specimen.radius = [0.12, 0.12];
            scenario.specimen.subpixels = 3;
            scenario.drift = drift;
        })
    };
    let drift = DriftSettings { walk_px: 0.6, run_out_px: 5.0, jitter_px: 0.1, most_px: 8.0 };
    let last = 39;
    let inside = |m: &Microscope| {
        let rim = |i: usize| [i, 63 * 64 + i, 64 * i, 64 * i + 63];
        (0..64).flat_map(rim).all(|pixel| m.optical_density(last, pixel) == 0.0)
    };
    let (still, moved) = (0..40)
        .map(|seed| (one_particle(seed, DriftSettings::default()), one_particle(seed, drift)))
        .find(|(_, moved)| inside(moved))
        .unwrap();
    let [dy, dx] = moved.truth().drift_px[last];
    assert!(dy.hypot(dx) > 2.0, "{dy} {dx}");
    // The centre of mass of the optical density moves by the drift.
    let centre = |m: &Microscope| {
        let (mut sum, mut y, mut x) = (0.0, 0.0, 0.0);
        for pixel in 0..64 * 64 {
            let od = m.optical_density(last, pixel);
            sum += od;
            y += od * (pixel / 64) as f64;
            x += od * (pixel % 64) as f64;
        }
        (y / sum, x / sum)
    };
    let (before, after) = (centre(&still), centre(&moved));
    let error = (after.0 - before.0 - dy).hypot(after.1 - before.1 - dx);
    assert!(error < 0.05, "{error}");
    let there = moved.truth_at([dy, dx]);
    let differs = |pixel: &usize| {
        (f64::from(there.thickness_nm[*pixel]) > 0.0) != (moved.optical_density(last, *pixel) > 0.0)
    };
    assert_eq!((0..64 * 64).filter(differs).count(), 0, "the truth at the drift is what the image shows");
    assert_eq!(moved.truth().phase, still.truth().phase);
}

#[test]
fn the_offset_may_grow_with_the_energy() {
    let m = microscope(|scenario| (scenario.beam.energy_offset_ev, scenario.beam.energy_slope) = (0.2, 0.01));
    let truth = m.truth();
    let (low, high) = (truth.energies_ev[0], truth.energies_ev[39]);
    assert!((truth.energy_offset_ev[0] - (0.2 - 0.005 * (high - low))).abs() < 1e-12);
    assert!((truth.energy_offset_ev[39] - (0.2 + 0.005 * (high - low))).abs() < 1e-12);
}

#[test]
fn the_ring_is_topped_up() {
    let m = microscope(|scenario| {
        (scenario.beam.ring_lifetime_h, scenario.beam.top_up_min) = (0.01, 0.05);
    });
    let lowest = (0..40).map(|energy| m.ring_current_ma(energy, 0)).fold(f64::INFINITY, f64::min);
    assert!(lowest > 400.0 * (-0.05_f64 / 0.6).exp() - 1e-9, "{lowest}");
    assert!(m.ring_current_ma(0, 47) < 400.0);
}

#[test]
fn a_monitor_is_no_open_beam() {
    let m = microscope(|scenario| scenario.detector.i0 = IncidentSource::Monitor);
    assert_eq!(m.plan().i0_kind, I0Kind::Monitor);
    let transfer = |energy: usize| {
        let I0::One(i0) = m.line(energy, 0).i0 else { panic!("no monitor") };
        f64::from(i0) / m.open_beam(energy, 0)
    };
    assert!((transfer(39) / transfer(0) - 1.1 / 0.9).abs() < 0.03);
}

#[test]
fn the_truth_tells_the_spectrum_of_the_empty_beam() {
    let m = microscope(|scenario| {
        scenario.detector.i0 = IncidentSource::Spectrum;
        scenario.beam.ring_lifetime_h = 0.1;
    });
    assert_eq!(m.line(3, 3).i0, I0::None);
    let truth = m.truth();
    assert!((truth.i0[39] - m.open_beam(39, 0) - 20.0).abs() < 1e-9);
    assert!(truth.i0_spectrum[39] > truth.i0[39], "the spectrum is that of the first ring current");
}

#[test]
fn dead_time_and_saturation_take_the_brightest_down_and_the_plan_may_say_so() {
    let empty = |m: &Microscope| {
        let mean: f64 = (0..48).map(|row| f64::from(m.line(9, row).values[0])).sum();
        mean / 48.0
    };
    let clean = empty(&microscope(|_| {}));
    let slow = microscope(|scenario| scenario.detector.dead_time_s = 1e-7);
    let expected = clean / (1.0 + clean * 1e-4);
    assert!((empty(&slow) - expected).abs() < 30.0, "{} {expected}", empty(&slow));
    assert_eq!(slow.plan().detector.dead_time_s, Some(1e-7));
    let full = microscope(|scenario| {
        (scenario.detector.saturation, scenario.detector.saturation_known) = (1000.0, false);
    });
    assert_eq!((empty(&full), full.plan().detector.saturation), (1000.0, None));
}

#[test]
fn values_that_are_no_photons_have_the_noise_of_their_photons() {
    let m = microscope(|scenario| {
        scenario.scan.shape = [60, 60];
        scenario.specimen.particles = 0;
        scenario.beam.photons = 20_000.0;
        let detector = &mut scenario.detector;
        (detector.dark, detector.gain, detector.excess_noise, detector.gain_known) = (0.0, 0.073, 0.5, false);
    });
    assert_eq!(m.plan().detector.counts_per_photon, None);
    let values: Vec<f64> = (0..60).flat_map(|row| m.line(5, row).values).map(f64::from).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    assert!((mean / (0.073 * m.open_beam(5, 30)) - 1.0).abs() < 0.002);
    // Gain times one plus the square of the excess: 0.30 sqrt(N) instead of sqrt(N).
    assert!((variance / mean / (0.073 * 1.25) - 1.0).abs() < 0.15, "{}", variance / mean);
}

#[test]
fn broken_frame_pixels_say_the_same_whatever_the_light() {
    let m = microscope(|scenario| {
        scenario.detector.kind = DetectorKind::Area;
        scenario.detector.frame_shape = [6, 6];
        (scenario.detector.hot_pixels, scenario.detector.dead_pixels) = (1, 2);
    });
    let frames = m.frames(7, 20);
    let column =
        |index: usize| frames.iter().skip(index).step_by(36).map(|&v| f64::from(v)).sum::<f64>() / 40.0;
    let hot: Vec<usize> = (0..36).filter(|&index| (column(index) - 1000.0).abs() < 50.0).collect();
    let dead: Vec<usize> = (0..36).filter(|&index| column(index) == 0.0).collect();
    assert_eq!((hot.len(), dead.len()), (1, 2), "{hot:?} {dead:?}");
}

#[test]
fn lines_go_wrong_as_the_truth_says() {
    let flaws = FlawSettings { beam_loss: 0.05, stuck: 0.1, bad: 0.05, ..FlawSettings::default() };
    let (m, clean) = (microscope(|scenario| scenario.flaws = flaws), microscope(|_| {}));
    let listed = &m.truth().flaws;
    let share = listed.len() as f64 / (40.0 * 48.0);
    assert!((0.15..0.25).contains(&share), "{share}");
    let flawed = |energy, row| listed.iter().any(|line| (line.energy, line.row) == (energy, row));
    for line in listed {
        let (values, good) = (m.line(line.energy, line.row).values, clean.line(line.energy, line.row).values);
        match line.flaw {
            LineFlaw::BeamLoss => assert!(values.iter().all(|&value| value < 60.0)),
            LineFlaw::Constant => assert!(values.iter().all(|&value| value == values[0])),
            LineFlaw::Repeated if flawed(line.energy, line.row - 1) => {}
            LineFlaw::Repeated => assert_eq!(values, clean.line(line.energy, line.row - 1).values),
            LineFlaw::Factor => {
                let ratio = f64::from(values[0] / good[0]);
                assert!(!(0.9..=1.1).contains(&ratio), "{ratio}");
            }
        }
    }
    let plain = (0..48).find(|&row| !flawed(3, row)).unwrap();
    assert_eq!(m.line(3, plain).values, clean.line(3, plain).values, "the others are what they were");
}

#[test]
fn sparse_lines_hold_what_the_sampling_chose() {
    let m = microscope(|scenario| scenario.sampling.pixels = 0.25);
    let of = |energy: usize| -> Vec<usize> {
        (0..48).flat_map(|row| m.line(energy, row).pixels.iter().collect::<Vec<_>>()).collect()
    };
    assert_eq!(of(0).len(), 480);
    assert_eq!(of(0), of(39), "the same pixels at every energy");
    assert!((0..48).all(|row| m.line(2, row).values.len() == m.line(2, row).pixels.len()));

    let own = microscope(|scenario| scenario.sampling.energies_per_pixel = 7);
    let mut seen = vec![0; 48 * 40];
    for (energy, row) in (0..40).flat_map(|energy| (0..48).map(move |row| (energy, row))) {
        own.line(energy, row).pixels.iter().for_each(|pixel| seen[pixel] += 1);
    }
    assert!(seen.iter().all(|&count| count == 7), "each pixel at seven energies");

    let filled = microscope(|scenario| {
        (scenario.sampling.pixels, scenario.sampling.fill_in) = (0.5, true);
        scenario.scan.then = scenario.scan.energies.clone();
    });
    let pixels = |energy: usize| -> Vec<usize> {
        (0..48).flat_map(|row| filled.line(energy, row).pixels.iter().collect::<Vec<_>>()).collect()
    };
    let mut both = [pixels(0), pixels(40)].concat();
    both.sort_unstable();
    assert_eq!(both, (0..48 * 40).collect::<Vec<_>>(), "the second pass measures the rest");
    assert_eq!((filled.first_energies(), filled.announced_plan().energies_ev.len()), (40, 40));
    assert_eq!(filled.plan().energies_ev.len(), 80);
}

#[test]
fn a_film_leaves_no_pixel_empty_and_particles_may_lie_over_each_other() {
    let film = microscope(|scenario| scenario.specimen.film_nm = [40.0, 200.0]);
    assert!(film.truth().thickness_nm.iter().all(|&nm| nm >= 40.0));
    let heap = microscope(|scenario| {
        (scenario.specimen.overlap, scenario.specimen.particles) = (true, 30);
        scenario.specimen.thickness_nm = [100.0, 100.0];
    });
    assert!(heap.truth().thickness_nm.iter().any(|&nm| nm > 199.0));
}

#[test]
fn a_sample_may_be_off_its_references() {
    let (exact, off) = (microscope(|_| {}), microscope(|scenario| scenario.specimen.mismatch = 0.1));
    let pixel = exact.truth().phase.iter().position(|&phase| phase >= 0).unwrap();
    let ratios: Vec<f64> = (0..40)
        .map(|energy| off.optical_density(energy, pixel) / exact.optical_density(energy, pixel))
        .collect();
    assert!(ratios.iter().all(|ratio| (0.89..=1.11).contains(ratio)));
    assert!(ratios.iter().any(|ratio| (ratio - 1.0).abs() > 0.02));
    assert_eq!(exact.truth().phase, off.truth().phase);
}

#[test]
fn the_same_specimen_is_seen_with_larger_pixels() {
    let seen = |shape: [usize; 2]| {
        microscope(|scenario| {
            scenario.scan.shape = shape;
            scenario.specimen.grid = Some([60, 60]);
        })
    };
    let (fine, coarse) = (seen([60, 60]), seen([20, 20]));
    assert_eq!(fine.truth().phase, microscope(|scenario| scenario.scan.shape = [60, 60]).truth().phase);
    // The middle of each 3 x 3 pixels is where the large one looks.
    let middle = |pixel: usize| (pixel / 20 * 3 + 1) * 60 + pixel % 20 * 3 + 1;
    let alike = (0..400).filter(|&pixel| coarse.truth().phase[pixel] == fine.truth().phase[middle(pixel)]);
    let alike = alike.count();
    assert!(alike > 380, "{alike} of 400");
}

#[test]
fn photons_that_are_given_are_those_of_the_empty_beam() {
    let plain = microscope(|scenario| scenario.beam.second_order = 0.0);
    let given = plain.clone().with_photons(vec![500.0, 70.0]);
    assert_eq!((given.open_beam(0, 0), given.truth().i0[0]), (500.0, 520.0));
    let decay = given.ring_current_ma(1, 0) / given.ring_current_ma(0, 0);
    assert!((given.open_beam(1, 0) - 70.0 * decay).abs() < 1e-9);
    assert_eq!(given.open_beam(2, 0), plain.open_beam(2, 0));
}

#[test]
fn a_plan_needs_no_specimen() {
    let scenario = Scenario::demo().unwrap();
    let started = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let whole = Microscope::new(scenario.clone(), &nvpf::reference_set(), "test-1", started).unwrap();
    assert_eq!(scenario.plan("test-1", started).unwrap(), *whole.plan());
    assert!(scenario.plan("no name", started).is_err());
}

#[test]
fn a_front_goes_round_below_the_outline_and_is_told() {
    let at = |hours: f64, offset_px: [f64; 2]| {
        microscope(|scenario| {
            scenario.specimen.particles = 3;
            scenario.specimen.radius = [0.15, 0.17];
            scenario.specimen.boundary_px = 0.0;
            scenario.specimen.front = Some(Front {
                shell: "na1.0".to_owned(),
                core: "na3.0".to_owned(),
                depth_px: 1.0,
                speed_px_per_h: 1.5,
                lagging: 1,
                lag_px: None,
            });
            (scenario.scan.hours, scenario.scan.state_of_charge) = (hours, Some(0.25));
            scenario.scan.offset_px = offset_px;
        })
    };
    let (first, later) = (at(0.0, [0.0; 2]), at(1.0, [0.0; 2]));
    assert_eq!((later.plan().started - first.plan().started).num_minutes(), 60);
    assert_eq!(later.plan().state_of_charge, Some(0.25));
    let [before, after] = [&first, &later].map(|own| own.truth().series.clone().unwrap());
    assert_eq!((after.hours, after.particles.len()), (1.0, 3));
    let without = microscope(|scenario| {
        (scenario.specimen.particles, scenario.specimen.radius) = (3, [0.15, 0.17]);
    });
    assert_eq!(
        without.truth().thickness_nm,
        first.truth().thickness_nm,
        "the same particles without a front"
    );
    assert!(without.truth().series.is_none());
    for (index, (old, new)) in before.particles.iter().zip(&after.particles).enumerate() {
        assert_eq!((old.area_px, old.centre_px), (new.area_px, new.centre_px));
        assert_eq!(old.is_lagging, index == 0);
        let x = |own: &SeriesTruth| own.states[index].unwrap();
        if old.is_lagging {
            assert_eq!((old.front_px, new.front_px, x(&before), x(&after)), (None, None, 3.0, 3.0));
            continue;
        }
        assert_eq!((old.front_px, new.front_px), (Some(1.0), Some(2.5)));
        assert!(x(&after) < x(&before) - 0.1 && x(&before) < 3.0, "{before:?}, {after:?}");
        // Nearest to its rim all is shell, in its middle all is core.
        let truth = later.truth();
        let (y, x) = (new.centre_px[0].round() as usize, new.centre_px[1].round() as usize);
        let phase_at = |x: usize| truth.phase[y * truth.nx + x];
        let rim = (x..truth.nx).take_while(|&x| phase_at(x) >= 0).last().unwrap();
        assert_eq!(
            [truth.phases[phase_at(rim) as usize].as_str(), &truth.phases[phase_at(x) as usize]],
            ["na1.0", "na3.0"]
        );
        assert!(new.depth_px.unwrap() > 4.0 && new.depth_px.unwrap() < 0.17 * 40.0 * 1.3);
    }
    assert!(after.mean_state.unwrap() < before.mean_state.unwrap());
    let moved = at(1.0, [2.0, -1.0]).truth().series.clone().unwrap();
    let [there, here] = [&moved, &after].map(|own| own.particles[1].centre_px);
    assert!((there[0] - here[0] - 2.0).abs() < 1e-9 && (there[1] - here[1] + 1.0).abs() < 1e-9);
    let wrong = Microscope::new(
        Scenario {
            specimen: crate::simulate::Specimen {
                front: Some(Front {
                    shell: "na9".to_owned(),
                    ..later.scenario().specimen.front.clone().unwrap()
                }),
                ..later.scenario().specimen.clone()
            },
            ..later.scenario().clone()
        },
        &nvpf::reference_set(),
        "s",
        DateTime::UNIX_EPOCH,
    );
    assert!(wrong.unwrap_err().to_string().contains("na9"));
}
