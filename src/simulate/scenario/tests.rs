use super::*;

#[test]
fn the_built_in_scenario_is_a_sensible_stack() {
    let scenario = Scenario::demo().unwrap();
    let energies_ev = scenario.energies_ev();
    assert!((30..=75).contains(&energies_ev.len()), "{}", energies_ev.len());
    assert!(energies_ev.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(energies_ev[0] >= 508.0 && energies_ev[energies_ev.len() - 1] <= 545.0);
    let steps: Vec<_> = energies_ev.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().any(|step| *step < 0.5) && steps.iter().any(|step| *step > 1.0), "irregular");
}

#[test]
fn runs_join_without_repeats() {
    let text =
        "[scan]\nenergies = [{from_ev=508, to_ev=509, step_ev=0.5}, {from_ev=509, to_ev=509.3, step_ev=0.1}]";
    let energies_ev = Scenario::parse(text).unwrap().energies_ev();
    assert_eq!(energies_ev, [508.0, 508.5, 509.0, 509.1, 509.2, 509.3]);
}

#[test]
fn names_the_key_that_is_wrong() {
    let energies = "energies = [{from_ev=508, to_ev=509, step_ev=0.5}]";
    let error = |text: &str| Scenario::parse(text).unwrap_err().to_string();
    assert!(error(&format!("[scan]\n{energies}\npixels = 3")).contains("pixels"));
    assert!(error(&format!("[scan]\n{energies}\nshape = [0, 5]")).contains("scan.shape"));
    assert!(error(&format!("[scan]\n{energies}\n[beam]\nphotons = -1")).contains("beam.photons"));
    assert!(error(&format!("[scan]\n{energies}\n[beam]\nphotons = nan")).contains("beam.photons"));
    let tiny = "[scan]\nenergies = [{from_ev=1, to_ev=2, step_ev=1e-9}]";
    assert!(error(tiny).contains("0.001 or more"));
    assert!(error("[scan]\nenergies = []").contains("scan.energies"));
    assert!(error("[scan]\nenergies = [{from_ev=1, to_ev=9e9, step_ev=0.5}]").contains("scan.energies"));
    assert!(error(&format!("[scan]\n{energies}\nshape = [16384, 16384]")).contains("values in all"));
}

#[test]
fn every_scenario_of_the_folder_is_built_in_and_says_what_it_is() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/scenarios");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "demo")
        .collect();
    files.sort();
    let library = Scenario::library().unwrap();
    let mut names: Vec<&str> = library.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(names, files);
    for (name, scenario) in &library {
        assert!(!scenario.about.is_empty(), "{name} does not say what it is about");
    }
}

#[test]
fn every_key_that_goes_wrong_is_named() {
    let wrong = [
        ("[beam]\ntop_up_min = -1", "beam.top_up_min"),
        ("[beam]\nflicker = 0.5", "beam.flicker"),
        ("[beam]\nenergy_slope = 2", "beam.energy_slope"),
        ("[beam]\nsecond_order = 1.0", "beam.second_order"),
        ("[drift]\nwalk_px = -0.1", "drift.walk_px"),
        ("[drift]\nrun_out_px = nan", "drift.run_out_px"),
        ("[drift]\njitter_px = inf", "drift.jitter_px"),
        ("[drift]\nmost_px = -8", "drift.most_px"),
        ("[flaws]\nbeam_loss = 1.5", "flaws.beam_loss"),
        ("[flaws]\nstuck = 0.6\nbad = 0.6", "flaws"),
        ("[sampling]\npixels = 0", "sampling.pixels"),
        ("[sampling]\nenergies_per_pixel = 99", "sampling.energies_per_pixel"),
        ("[sampling]\nfill_in = true", "sampling.fill_in"),
        ("[detector]\ngain = 0", "detector.gain"),
        ("[detector]\nkind = \"area\"\ngain = 2.0", "detector.gain"),
        ("[detector]\nkind = \"area\"\ndead_time_s = 1e-7", "detector.dead_time_s"),
        ("[detector]\nexcess_noise = -1", "detector.excess_noise"),
        ("[detector]\nsaturation = -5", "detector.saturation"),
        ("[detector]\nhot_pixels = 1", "detector.hot_pixels"),
        ("[detector]\nmonitor_slope = 3", "detector.monitor_slope"),
        ("[damage]\ncritical_dose_mgy = 0", "damage.critical_dose_mgy"),
        ("[damage]\ndose_per_energy_mgy = -1", "damage.dose_per_energy_mgy"),
        ("[damage]\ndose_before_mgy = inf", "damage.dose_before_mgy"),
        ("[damage]\nplateau = 1.5", "damage.plateau"),
        ("[damage]\nrates = { a = -1 }", "damage.rates"),
        ("[damage]\nmass_loss = 2", "damage.mass_loss"),
        ("[damage]\nmass_critical_dose_mgy = 0", "damage.mass_critical_dose_mgy"),
        ("[damage]\nchemistry_per_h = nan", "damage.chemistry_per_h"),
        ("[damage]\nchemistry_before_h = -1", "damage.chemistry_before_h"),
        ("[specimen]\nfilm_nm = [50, 20]", "specimen.film_nm"),
        ("[specimen]\nsubpixels = 0", "specimen.subpixels"),
        ("[specimen]\nmismatch_ev = 5", "specimen.mismatch_ev"),
        ("[specimen]\nmismatch = 0.9", "specimen.mismatch"),
        ("[specimen.front]\nshell = \"a\"\ncore = \"b\"\ndepth_px = nan", "specimen.front.depth_px"),
        (
            "[specimen.front]\nshell = \"a\"\ncore = \"b\"\nspeed_px_per_h = inf",
            "specimen.front.speed_px_per_h",
        ),
        ("[specimen.front]\nshell = \"a\"\ncore = \"b\"\nlag_px = nan", "specimen.front.lag_px"),
        ("[series]\nhours = []", "series.hours"),
        ("[series]\nhours = [1, 1]", "series.hours"),
        ("[series]\nhours = [0, 1]\nstate_of_charge = [0.5]", "series.state_of_charge"),
        ("[series]\nhours = [0, 1]\nstage_px = -1", "series.stage_px"),
    ];
    for (text, key) in wrong {
        let scan = "[scan]\nenergies = [{from_ev=508, to_ev=509, step_ev=0.5}]";
        let error = Scenario::parse(&format!("{scan}\n{text}")).unwrap_err().to_string();
        assert!(error.contains(&format!("{key} must be")), "{text}: {error}");
    }
    let unknown = "[scan]\nenergies = [{from_ev=508, to_ev=509, step_ev=0.5}]\n[flaws]\nstuk = 0.1";
    assert!(Scenario::parse(unknown).unwrap_err().to_string().contains("stuk"));
    let wrong = [
        ("passes = 0", "scan.passes"),
        ("repeat_ev = [515]", "scan.repeat_every"),
        ("repeat_first = true", "scan.repeat_first"),
    ];
    for (text, key) in wrong {
        let text = format!("[scan]\nenergies = [{{from_ev=508, to_ev=509, step_ev=0.5}}]\n{text}");
        assert!(Scenario::parse(&text).unwrap_err().to_string().contains(key));
    }
}

#[test]
fn energies_come_in_passes_with_sentinels_and_a_second_pass() {
    let text = "[scan]\nenergies = [{from_ev=1, to_ev=6, step_ev=1}]\npasses = 2\nrepeat_ev = [3.5]\nrepeat_every = 3\n\
                then = [{from_ev=1, to_ev=2, step_ev=1}]";
    let scenario = Scenario::parse(text).unwrap();
    assert_eq!(scenario.energies_ev(), [1.0, 3.0, 5.0, 3.5, 2.0, 4.0, 6.0, 3.5, 1.0, 2.0]);
    assert_eq!(scenario.scan.first_energies(), 8);
}

#[test]
fn two_sentinels_come_at_the_start_and_five_times_again() {
    let text = "context = { operando = true }\n[scan]\nenergies = [{from_ev=1, to_ev=20, step_ev=1}]\n\
                repeat_ev = [100, 200]\nrepeat_every = 4\nrepeat_first = true";
    let scenario = Scenario::parse(text).unwrap();
    let energies_ev = scenario.energies_ev();
    let visits: Vec<usize> = (0..energies_ev.len()).filter(|&i| energies_ev[i] == 200.0).collect();
    assert_eq!((energies_ev.len(), visits), (32, vec![1, 7, 13, 19, 25, 31]));
    assert!(visits_are_pairs(&energies_ev));
    assert_eq!(scenario.context, Some(serde_json::json!({ "operando": true })));
}

/// Whether 200 always comes right after 100.
fn visits_are_pairs(energies_ev: &[f64]) -> bool {
    energies_ev.windows(2).all(|pair| (pair[0] == 100.0) == (pair[1] == 200.0))
}

#[test]
fn a_series_is_one_specimen_at_several_times() {
    let (_, scenario) = Scenario::library().unwrap().into_iter().find(|(name, _)| *name == "fronts").unwrap();
    let scans = scenario.scans();
    assert_eq!(scans.iter().map(|own| own.scan.hours).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
    assert_eq!(scans[2].scan.state_of_charge, Some(0.9));
    assert_eq!(scans[0].scan.offset_px, [0.0; 2]);
    for own in &scans {
        assert!(own.series.is_none() && own.specimen.seed == Some(scenario.seed), "{own:?}");
        assert!(own.scan.offset_px[0].hypot(own.scan.offset_px[1]) <= 2.0);
    }
    assert!(scans[1].scan.offset_px != scans[2].scan.offset_px && scans[1].seed != scans[2].seed);
    let alone = Scenario::demo().unwrap();
    assert_eq!(alone.scans(), [alone]);
}
