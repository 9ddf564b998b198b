//! The other commands, on what the daemon archived; and the exit codes.

use std::path::Path;

use phasewatch::recording::Recording;

use crate::feed::Feed;
use crate::rig::{Setup, phasewatch, references};
use crate::script::Script;
use crate::table::{self, differences, folder};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command that has to end with `code`; returns what it said on both outputs.
fn ends(code: i32, args: &[&str]) -> String {
    let output = phasewatch(args);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "phasewatch {args:?}:\n{said}");
    said
}

#[test]
fn classify_repeats_the_live_map_and_the_archive_notices_a_flipped_byte() {
    let rig = Setup::new().start();
    Feed::push(rig.source()).send_all(&Script::new("live").whole());
    let live = folder(&rig.archived("live"));
    let root = rig.dir().join("archive");
    let out = rig.dir().join("again");
    let (references, live_text, out_text) = (references(), text(&live), text(&out));
    ends(0, &["classify", live_text, "--references", text(&references), "--out", out_text]);
    let differ = differences(&table::phase_map(&live), &table::phase_map(&out));
    assert!(differ.is_empty(), "{differ:?}");
    assert_eq!(table::stack_bytes(&live), table::stack_bytes(&out));
    // The stack alone, without its folder, is enough as well.
    let stack = live.join("stack.parquet");
    let again = rig.dir().join("again-2");
    ends(0, &["classify", text(&stack), "--references", text(&references), "--out", text(&again)]);

    // So is the NeXus file.
    let nexus = rig.dir().join("elsewhere.nxs");
    std::fs::copy(live.join("scan.nxs"), &nexus).unwrap();
    let again = rig.dir().join("again-3");
    ends(0, &["classify", text(&nexus), "--references", text(&references), "--out", text(&again)]);
    let differ = differences(&table::phase_map(&live), &table::phase_map(&again));
    assert!(differ.is_empty(), "{differ:?}");
    assert_eq!(table::stack_bytes(&live), table::stack_bytes(&again));

    assert!(ends(0, &["archive", "list", "--root", text(&root)]).contains("live"));
    assert!(ends(0, &["archive", "show", "live", "--root", text(&root)]).contains("complete"));
    ends(0, &["archive", "verify", "--root", text(&root)]);
    ends(69, &["archive", "show", "absent", "--root", text(&root)]);
    let files = [
        "stack.parquet",
        "scan.nxs",
        "phase_map.parquet",
        "spectra.parquet",
        "energies.parquet",
        "particles.parquet",
        "findings.json",
        "phase_map.png",
    ];
    for file in files {
        let path = live.join(file);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let said = ends(65, &["archive", "verify", "--root", text(&root)]);
        assert!(said.contains(file), "{said}");
        std::fs::write(&path, good).unwrap();
    }
    std::fs::remove_file(live.join("spectra.parquet")).unwrap();
    assert!(ends(65, &["archive", "verify", "--root", text(&root)]).contains("spectra.parquet"));
    std::fs::write(live.join("manifest.json"), "{").unwrap();
    ends(65, &["archive", "verify", "--root", text(&root)]);
    ends(
        65,
        &["classify", live_text, "--references", text(&references), "--out", text(&rig.dir().join("never"))],
    );
}

/// The fluorescence stack of an iron sample, as Mantis saved it, with two made-up references.
#[test]
fn classify_maps_a_fluorescence_stack_of_mantis() {
    let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/dls-fe-k-ds4/DS4.hdf5");
    if !stack.exists() {
        eprintln!("SKIPPED: {} is not there", stack.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let references = dir.path().join("references");
    std::fs::create_dir(&references).unwrap();
    // An edge with a white line, 4 eV apart, about where that of the sample is.
    for (name, edge_ev) in [("low", 7127.0), ("high", 7131.0)] {
        let od = |energy_ev: f64| {
            let beyond = energy_ev - edge_ev;
            0.1 + 1.0 / (1.0 + (-beyond / 1.5).exp()) + 0.6 * (-((beyond - 5.0) / 4.0).powi(2)).exp()
        };
        let rows = (0..700).map(|step| 6985.0 + 0.5 * f64::from(step));
        let rows: String = rows.map(|energy_ev| format!("{energy_ev},{:.6}\n", od(energy_ev))).collect();
        std::fs::write(references.join(format!("{name}.csv")), format!("energy_ev,od\n{rows}")).unwrap();
    }
    let out = dir.path().join("out");
    let said = ends(0, &["classify", text(&stack), "--references", text(&references), "--out", text(&out)]);
    assert!(said.contains("taken as fluorescence") && said.contains("1 ms is assumed"), "{said}");
    let manifest = table::manifest(&out);
    let plan = &manifest["plan"];
    assert_eq!(plan["detector"]["signal"], "fluorescence");
    assert_eq!(plan["grid"]["shape"], serde_json::json!([40, 40]));
    assert_eq!(plan["energies_ev"].as_array().unwrap().len(), 152);
    assert_eq!(plan["started"], "2012-07-11T09:15:00Z");
    let map = table::phase_map(&out);
    let classified = table::words(&map, "status").iter().filter(|status| *status == "classified").count();
    assert!(classified > 400, "{classified} of 1600 pixels: {said}");
    // What was read is what was measured.
    let written = Recording::load(&out.join("scan.nxs")).unwrap();
    let read = Recording::load(&stack).unwrap();
    assert_eq!(written.plan, read.plan);
    assert!(written.planes.iter().zip(&read.planes).all(|(one, other)| one.values == other.values));
    assert!(written.planes.iter().all(|plane| plane.i0.iter().all(|i0| *i0 == 1.0)));
}

#[test]
fn exit_codes_say_what_was_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let references = references();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let good = format!(
        "[[source]]\nkind = \"stxm-stream\"\nbind = \"tcp://127.0.0.1:0\"\n[publish]\nbind = \"tcp://127.0.0.1:0\"\n\
         [archive]\nroot = {:?}\n",
        dir.path().join("archive")
    );
    let with = |more: String| {
        std::fs::write(&config, format!("{good}{more}")).unwrap();
        text(&config)
    };
    let known = format!("[references]\ndir = {references:?}\n");
    ends(0, &["--version"]);
    ends(0, &["--help"]);
    ends(64, &[]);
    ends(64, &["frobnicate"]);
    ends(64, &["run"]);
    ends(64, &["run", "--config", text(&dir.path().join("absent.toml"))]);
    let said = ends(64, &["run", "--config", with(format!("{known}[http]\nlisten_on = 1\n"))]);
    assert!(said.contains("listen"), "the nearest known key is named: {said}");
    ends(64, &["run", "--config", with(String::new())]);
    let said = ends(65, &["run", "--config", with(format!("[references]\ndir = {:?}\n", dir.path()))]);
    assert!(said.contains("reference"), "{said}");
    let said = ends(69, &["run", "--config", with(format!("{known}[http]\nlisten = \"{taken}\"\n"))]);
    assert!(said.contains(&taken.to_string()) && said.contains("PHASEWATCH__HTTP__LISTEN"), "{said}");
    let busy = good
        .replace("[publish]\nbind = \"tcp://127.0.0.1:0\"", &format!("[publish]\nbind = \"tcp://{taken}\""));
    std::fs::write(&config, format!("{busy}{known}")).unwrap();
    assert!(ends(69, &["run", "--config", text(&config)]).contains("PHASEWATCH__PUBLISH__BIND"));
    let said = ends(65, &["config", "check", with(format!("[references]\ndir = {:?}\n", dir.path()))]);
    assert!(said.contains("reference"), "as `run` says: {said}");
    let said = ends(0, &["config", "check", with(format!("{known}[model]\npath = \"absent.onnx\"\n"))]);
    assert!(said.contains("warning: model.path"), "{said}");
    ends(0, &["config", "check", with(known.clone())]);
    ends(64, &["config", "check", with("[archive\n".to_owned())]);
    ends(64, &["classify", "--references", text(&references)]);
    let absent = dir.path().join("absent.hdr");
    let out = dir.path().join("out");
    let code =
        phasewatch(&["classify", text(&absent), "--references", text(&references), "--out", text(&out)]);
    assert!([65, 69].map(Some).contains(&code.status.code()), "{:?}", code.status);
    assert!(!out.exists());
    ends(69, &["archive", "list", "--root", text(&dir.path().join("absent"))]);
}
