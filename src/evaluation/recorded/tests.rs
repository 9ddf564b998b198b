use super::*;

#[test]
fn the_gaussian_keeps_sums_and_passes_over_what_is_missing() {
    let mut plane = vec![0.0; 49];
    plane[24] = 1.0;
    let smooth = gaussian(&plane, [7, 7]);
    assert!((smooth.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    // (sum over i of exp(-i²/(2·0.49)))^-2 at the centre.
    let norm: f64 = (-3..=3).map(|i| (-0.5 * (f64::from(i) / 0.7).powi(2)).exp()).sum();
    assert!((smooth[24] - 1.0 / (norm * norm)).abs() < 1e-12);
    assert!((smooth[23] - smooth[17]).abs() < 1e-12, "the same in x and y");
    let constant = vec![2.0, f64::NAN, 2.0, 2.0];
    assert!(gaussian(&constant, [2, 2]).iter().all(|v| (v - 2.0).abs() < 1e-12));
}

#[test]
fn balanced_agreement_counts_phases_not_pixels() {
    let said = Said {
        method: "pipeline",
        phase: vec![0, 0, 0, 0, NO_PHASE],
        sureness: vec![0.9, 0.9, 0.9, 0.5, 0.9],
        classified: Some(vec![true, true, false, true, true]),
    };
    let row = row(8, &[0, 1, 2, 3], &[0, 0, 0, 1, 0], &[said], 2);
    let method = &row.methods[0];
    assert_eq!((method.plain, method.balanced), (0.75, 0.5));
    assert_eq!((method.classified, method.coverage_at_97), (0.75, 0.75));
    assert!((method.right_of_classified - 2.0 / 3.0).abs() < 1e-12);
}

/// The figures published for the stack at hand.
#[test]
fn the_baselines_reproduce_the_published_figures() {
    let folder =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/als-fe-l-71214078"));
    if !folder.exists() {
        eprintln!("SKIPPED: {} is not there", folder.display());
        return;
    }
    let recording = Recording::load(&folder.join("71214078.hdr")).unwrap();
    let mut references = ReferenceSet::load(folder).unwrap();
    references.pre_edge = crate::reference::Window { from_ev: 700.0, to_ev: 703.999 };
    references.white_line = crate::reference::Window { from_ev: 707.5, to_ev: 710.5 };
    let image = Images::new(&recording, &references).unwrap();
    assert_eq!(image.scored.len(), 4223);
    let all: Vec<usize> = (0..123).collect();
    let full = image.fit(&image.od, &all);
    let published = [(8, [0.705, 0.725, 0.766]), (20, [0.920, 0.915, 0.940])];
    for (count, figures) in published {
        let indices = select_energies(&recording.plan.energies_ev, &format!("count:{count}")).unwrap();
        let said = image.baselines(&indices);
        let row = row(count, &image.scored, &full.phase, &said, 2);
        for (method, figure) in row.methods.iter().zip(figures) {
            assert!((method.plain - figure).abs() < 0.0015, "{} at {count}: {}", method.method, method.plain);
        }
    }
}
