use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::export::EXPORT_TOLERANCE;
use super::*;
use crate::model::{BackendChoice, Batch, Model, Projection};
use crate::reference::PhaseLabel;
use crate::reference::{Composition, Provenance, Reference, Window};

/// Phases whose white line moves up, each a sum of two peaks on a step.
fn references(centres_ev: &[f64]) -> ReferenceSet {
    let reference = |(index, &centre_ev): (usize, &f64)| {
        let energies_ev: Vec<f64> = (0..=150).map(|i| 505.0 + f64::from(i) * 0.2).collect();
        let peak = |e: f64, centre: f64, width: f64| 1.0 / (1.0 + ((e - centre) / width).powi(2));
        let od = |e: f64| {
            0.2 + 0.3 * (0.5 + (e - 519.0).atan() / std::f64::consts::PI)
                + 0.9 * peak(e, centre_ev, 0.8)
                + 0.4 * peak(e, centre_ev + 6.5, 1.2)
        };
        Reference {
            label: PhaseLabel { id: format!("p{index}"), title: String::new(), colour: [0; 3] },
            od: energies_ev.iter().map(|&e| od(e)).collect(),
            energies_ev,
            provenance: Provenance::default(),
            composition: Composition::default(),
        }
    };
    ReferenceSet {
        references: centres_ev.iter().enumerate().map(reference).collect(),
        pre_edge: Window { from_ev: 505.0, to_ev: 510.0 },
        white_line: Window { from_ev: 514.0, to_ev: 520.0 },
        sha256: "ab".repeat(32),
    }
}

fn quick(seed: u64) -> TrainOptions {
    TrainOptions { seed, effort: 0.06, axis: None }
}

#[test]
fn a_short_training_gives_a_model_that_keeps_the_contract_and_knows_its_phases() {
    let set = references(&[515.5, 516.6, 518.0]);
    let mut last = None;
    let trained = train(&set, &quick(3), &mut |progress| last = Some(progress)).unwrap();
    let last = last.unwrap();
    assert_eq!(last.done, last.total);
    assert_eq!(trained.clusters, ["p0", "p1", "p2", "mixture", "damaged", "other:foreign"]);
    assert!(trained.bytes.len() < 2 << 20, "{} bytes", trained.bytes.len());
    assert!(trained.export_difference <= EXPORT_TOLERANCE);
    let mut model = Model::load(&trained.bytes, &BackendChoice::tract(), Some(&set.sha256)).unwrap();
    let metadata = model.metadata().clone();
    assert_eq!(metadata.competence.len(), 12);
    assert_eq!(metadata.competence, trained.held_out.competence());
    let run = &trained.runs[trained.run];
    assert!(run.references_anchored == 3 && run.anchor_distance < 1.0, "{run:?}");
    assert!(metadata.takes_sigma && metadata.gives_reconstruction && metadata.gives_log_density);
    let synthesis = Synthesis::new(&set).unwrap();
    let energies_ev = even(511.0, 527.0, 40);
    let projection = Projection::new(&metadata.axis, &energies_ev).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(99);
    for phase in 0..3 {
        let mut batch = Batch::with_capacity(&metadata.axis, 100);
        for _ in 0..100 {
            let conditions = Conditions::of_test(&mut rng, 5000.0, 0.0);
            let (od, sigma) = synthesis.measure(&mut rng, Matter::Phase(phase), &conditions, &energies_ev);
            assert!(batch.push(&projection, &od, &sigma));
        }
        let output = model.run(&batch).unwrap();
        assert_eq!(output.invalid_rows, 0);
        let right = (0..100).filter(|&row| {
            let posterior = output.posterior_of(row);
            posterior.iter().all(|p| *p <= posterior[phase])
        });
        assert!(right.count() >= 90, "phase {phase}");
    }
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_another() {
    let set = references(&[515.5, 517.5]);
    let bytes = |seed| {
        let options = TrainOptions { seed, effort: 0.02, axis: None };
        train(&set, &options, &mut |_| {}).unwrap().bytes
    };
    assert!(bytes(5) == bytes(5), "two trainings with one seed differ");
    assert!(bytes(5) != bytes(6), "the seed does not matter");
}

#[test]
fn references_that_cannot_be_learnt_from_are_refused_with_the_reason() {
    let reason = |set: &ReferenceSet| train(set, &quick(1), &mut |_| {}).unwrap_err().to_string();
    assert!(reason(&references(&[515.5])).contains("at least two"));
    let same = reason(&references(&[515.5, 517.0, 515.5]));
    assert!(same.contains("`p0` and `p2` are the same"), "{same}");
    let mut apart = references(&[515.5, 517.0]);
    apart.references[1].energies_ev.iter_mut().for_each(|e| *e += 100.0);
    assert!(reason(&apart).contains("share no range"));
    let mut proportional = references(&[515.5, 517.0]);
    proportional.references[1].od = proportional.references[0].od.iter().map(|od| 2.0 * od + 0.1).collect();
    assert!(reason(&proportional).contains("`p0` and `p1` are the same"));
    let mut flat = references(&[515.5, 517.0]);
    flat.references[0].od.fill(0.3);
    assert!(reason(&flat).contains("`p0` is constant"));
}

#[test]
fn damage_goes_toward_the_most_reduced_phase_and_loses_the_white_line() {
    let mut set = references(&[515.5, 516.6, 518.0]);
    let conditions = Conditions::of_reference();
    let shape = |set: &ReferenceSet, matter| {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        Synthesis::new(set).unwrap().shape(&mut rng, matter, &conditions, &[515.5, 518.0])
    };
    let pure = shape(&set, Matter::Phase(2));
    let toward_average = shape(&set, Matter::Damaged(2, 0.6));
    assert!(toward_average[1] < pure[1] && toward_average[0] > pure[0]);
    // With a state variable on every phase the way goes to the highest, here the first.
    for (value, reference) in [3.0, 2.0, 1.0].into_iter().zip(&mut set.references) {
        reference.composition.state = Some(("x".to_owned(), value));
    }
    let toward_first = shape(&set, Matter::Damaged(2, 0.6));
    assert!(toward_first[0] > toward_average[0], "{toward_first:?} {toward_average:?}");
    let gone = shape(&set, Matter::Damaged(0, 1.0));
    assert!(gone[0] < 0.8 * shape(&set, Matter::Phase(0))[0]);
}

#[test]
fn the_evidence_of_a_phase_is_that_of_a_weighted_fit_where_noise_decides() {
    use super::evidence::features;
    let set = references(&[515.5, 516.3, 517.2, 518.0]);
    let synthesis = Synthesis::new(&set).unwrap();
    let axis = channels::choose(&synthesis.curves).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut tape = tape::Tape::new(&weights::initial(&mut rng, &synthesis, &axis, 7)).unwrap();
    let energies_ev = even(511.0, 527.0, 16);
    let projection = Projection::new(&axis, &energies_ev).unwrap();
    let shapes: Vec<Vec<f64>> =
        set.references.iter().map(|r| energies_ev.iter().map(|&e| r.od_at(e).unwrap()).collect()).collect();
    let mut batch = Batch::with_capacity(&axis, 200);
    let mut fitted = Vec::new();
    for pixel in 0..200 {
        let conditions = Conditions::of_test(&mut rng, 500.0, 0.0);
        let (od, sigma) = synthesis.measure(&mut rng, Matter::Phase(pixel % 4), &conditions, &energies_ev);
        assert!(batch.push(&projection, &od, &sigma));
        fitted.push(fit::fit(&shapes, &od, &sigma).unwrap());
    }
    let input = training::input(&batch).unwrap();
    let layout = template::Layout::new(4);
    let evidence: Vec<Vec<f32>> = features(&mut tape, &input, &layout).unwrap().evidence.to_vec2().unwrap();
    let best = |row: &[f32]| (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let same = evidence.iter().zip(&fitted).filter(|(row, fitted)| best(row) == fitted.phase).count();
    assert!(same >= 190, "{same} of 200 pixels have the same best phase");
    // Where the fit is sure, so is the evidence.
    let sure = evidence.iter().zip(&fitted).filter(|(_, fitted)| fitted.evidence > 9.0);
    assert!(sure.clone().count() > 50 && sure.clone().all(|(row, fitted)| best(row) == fitted.phase));
}

#[test]
fn of_several_runs_the_likeliest_is_kept_that_agrees_and_did_not_collapse() {
    let run = |number: usize, loss: f64, accuracy: f64, collapsed: Option<&str>| Candidate {
        weights: weights::Weights::new(),
        winners: Vec::new(),
        run: Run {
            run: number,
            held_out_loss: loss,
            held_out_log_label: -0.5,
            held_out_accuracy: accuracy,
            recall: Vec::new(),
            latent_alive: 6,
            references_anchored: 2,
            anchor_distance: 0.0,
            temperature: 1.0,
            calibration_error_encoder: 0.01,
            calibration_error_mixture: 0.1,
            collapsed: collapsed.map(str::to_owned),
        },
    };
    let lost = run(0, 0.1, 0.99, Some("lost"));
    assert_eq!(choose(&[lost]), None);
    let several = [
        run(0, 0.1, 0.99, Some("lost")),
        run(1, 0.9, 0.801, None),
        run(2, 0.8, 0.80, None),
        run(3, 0.2, 0.7, None),
    ];
    assert_eq!(choose(&several), Some(2));
}

#[test]
fn an_axis_elsewhere_is_refused() {
    let axis = ModelAxis::new(vec![700.0, 701.0, 702.0], 0.5).unwrap();
    let options = TrainOptions { axis: Some(axis), ..quick(1) };
    let error = train(&references(&[515.5, 517.0]), &options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("only 0 of its 3"), "{error}");
}

#[test]
fn the_chosen_axis_is_fine_where_it_matters_and_not_too_long() {
    let synthesis = Synthesis::new(&references(&[515.5, 517.0])).unwrap();
    let axis = channels::choose(&synthesis.curves).unwrap();
    assert!(axis.channels() <= 256);
    let at_line: Vec<f64> =
        axis.energies_ev().iter().copied().filter(|e| (514.5..518.0).contains(e)).collect();
    assert!(at_line.windows(2).all(|pair| pair[1] - pair[0] < 0.1001), "{at_line:?}");
}

#[test]
fn an_axis_is_read_from_a_list_or_from_words() {
    let expected = [510.0, 511.5, 512.0];
    for text in ["[510, 511.5, 512]", "510 511.5,512", "# eV\n510\n511.5 # a comment\n512\n"] {
        assert_eq!(parse_axis(text).unwrap().energies_ev(), expected, "{text}");
    }
    assert!(parse_axis("510\n511\nwide").unwrap_err().contains("line 3"));
    assert!(parse_axis("510, 509, 512").is_err());
}

#[test]
fn synthesised_noise_is_what_it_says_it_is() {
    let synthesis = Synthesis::new(&references(&[515.5, 517.0])).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let conditions = Conditions {
        counts: 900.0,
        thickness: 1.0,
        offset_ev: 0.0,
        broadening: 0.0,
        jitter: 0.0,
        dark: 0.0,
        second_order: 0.0,
        slope_od: 0.0,
        sigma_error: 1.0,
    };
    let energies_ev = [512.0; 4000];
    let (od, sigma) = synthesis.measure(&mut rng, Matter::Phase(0), &conditions, &energies_ev);
    let n = od.len() as f32;
    let mean = od.iter().sum::<f32>() / n;
    let std = (od.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
    let told = sigma.iter().sum::<f32>() / n;
    let truth = synthesis.curves.curves[0].at(512.0, 0.0);
    assert!((mean - truth).abs() < 0.005, "{mean} {truth}");
    assert!((std / told - 1.0).abs() < 0.06, "{std} {told}");
}
