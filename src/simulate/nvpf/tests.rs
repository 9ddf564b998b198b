use super::*;

fn committed() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/references/nvpf")
}

/// Pearson coefficient.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let dot = |p: &[f64], mp: f64, q: &[f64], mq: f64| -> f64 {
        p.iter().zip(q).map(|(x, y)| (x - mp) * (y - mq)).sum()
    };
    dot(a, ma, b, mb) / (dot(a, ma, a, ma) * dot(b, mb, b, mb)).sqrt()
}

#[test]
fn the_committed_files_are_what_the_recipe_writes() {
    for (name, text) in files() {
        let path = committed().join(&name);
        let held = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            held, text,
            "{name}: remove the files and run `phasewatch simulate --write-references config/references/nvpf`"
        );
    }
    let csvs = std::fs::read_dir(committed())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "csv"))
        .count();
    assert_eq!(csvs, RECIPES.len(), "no other file may change references_sha256");
}

#[test]
fn what_somebody_wrote_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(write(dir.path()).unwrap(), RECIPES.len());
    assert_eq!(write(dir.path()).unwrap(), RECIPES.len(), "the same once more changes nothing");
    let own = dir.path().join("references.toml");
    std::fs::write(&own, "title = \"mine\"\n").unwrap();
    std::fs::remove_file(dir.path().join("na2.0.csv")).unwrap();
    let error = write(dir.path()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("references.toml"), "{error}");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "title = \"mine\"\n");
    assert!(!dir.path().join("na2.0.csv").exists(), "nothing was written");
}

#[test]
fn the_set_in_memory_is_the_set_on_disk() {
    for reference in reference_set().references {
        let text = std::fs::read_to_string(committed().join(format!("{}.csv", reference.label.id))).unwrap();
        let mut lines = text.lines().skip_while(|line| line.starts_with('#'));
        assert_eq!(lines.next(), Some("energy_ev,od"));
        let rows: Vec<(f64, f64)> = lines
            .map(|line| {
                let (energy_ev, od) = line.split_once(',').unwrap();
                (energy_ev.parse().unwrap(), od.parse().unwrap())
            })
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0].0 < pair[1].0), "ascending");
        let held: Vec<_> = reference.energies_ev.iter().copied().zip(reference.od.iter().copied()).collect();
        assert_eq!(rows, held);
    }
}

#[test]
fn every_file_says_that_it_is_synthetic() {
    assert!(files().iter().all(|(_, text)| text.lines().next().unwrap().contains("Synthetic")));
}

#[test]
fn phases_are_alike_as_measured_ones_are_but_not_the_same() {
    let set = reference_set();
    for (i, a) in set.references.iter().enumerate() {
        for b in &set.references[..i] {
            let r = correlation(&a.od, &b.od);
            assert!((0.6..0.995).contains(&r), "{} and {}: {r}", a.label.id, b.label.id);
        }
    }
}

#[test]
fn x_2_4_is_no_mixture_of_its_neighbours() {
    let set = reference_set();
    let od: Vec<_> = set.references[..3].iter().map(|reference| &reference.od).collect();
    // The best share by a scan of all of them: residual rms above the noise of 3000 counts in 40 energies.
    let rms = (0..=100)
        .map(|percent| {
            let share = f64::from(percent) / 100.0;
            let sum: f64 = (0..od[0].len())
                .map(|i| (od[1][i] - share * od[0][i] - (1.0 - share) * od[2][i]).powi(2))
                .sum();
            (sum / od[0].len() as f64).sqrt()
        })
        .fold(f64::INFINITY, f64::min);
    assert!(rms > 0.005, "rms {rms}");
}

#[test]
fn the_digest_is_that_of_the_shell_command() {
    let Ok(output) = std::process::Command::new("sh")
        .args(["-c", "LC_ALL=C sha256sum *.csv | sha256sum"])
        .current_dir(committed())
        .output()
    else {
        eprintln!("SKIPPED: no shell to compare the digest with");
        return;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.split_whitespace().next(), Some(reference_set().sha256.as_str()));
}
