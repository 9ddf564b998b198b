//! The other commands, on what the daemon archived; and the exit codes.

use std::path::Path;

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

    assert!(ends(0, &["archive", "list", "--root", text(&root)]).contains("live"));
    assert!(ends(0, &["archive", "show", "live", "--root", text(&root)]).contains("complete"));
    ends(0, &["archive", "verify", "--root", text(&root)]);
    ends(69, &["archive", "show", "absent", "--root", text(&root)]);
    for file in ["stack.parquet", "phase_map.parquet", "spectra.parquet", "energies.parquet", "phase_map.png"]
    {
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
    assert!(said.contains(&taken.to_string()), "{said}");
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
