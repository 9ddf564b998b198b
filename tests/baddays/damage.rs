//! Damaged files: the configuration, and what lies in the state directory.

use std::path::Path;

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::look::{LINE, assert_same, folder, good_day, is_whole, messages, place, readyz, setup};
use crate::rig::{Rig, phasewatch};
use crate::script::Script;

/// Runs with a configuration that has to be refused; returns what was said.
fn refused(path: &Path, text: &[u8]) -> String {
    std::fs::write(path, text).unwrap();
    let config = path.to_str().unwrap();
    let said = [["run", "--config", config], ["config", "check", config]].map(|args| {
        let output = phasewatch(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {said}");
        said
    });
    assert!(said[0].contains("site.toml"), "{}", said[0]);
    said[0].clone()
}

#[test]
fn a_damaged_configuration_is_refused_with_file_and_line() {
    let dir = folder();
    let path = dir.path().join("site.toml");
    let good = "[journal]\nsync_s = 1.0\n[archive]\nroot = \"/data\"\n[[source]]\nkind = \"stxm-stream\"\nbind = \"tcp://127.0.0.1:0\"\n";
    // Cut anywhere within its last lines.
    let cut = good.find("\"stxm-").unwrap() + 5;
    assert!(refused(&path, &good.as_bytes()[..cut]).contains("line 6"));
    let binary: Vec<u8> = [b"[journal]\n".to_vec(), (0..10).collect()].concat();
    assert!(refused(&path, &binary).contains("line 2"), "control characters");
    assert!(refused(&path, b"[journal]\nsync_s = 1.0\n# \xff\xfe\n").contains("line 3"), "not UTF-8");
    assert!(
        refused(&path, &[0; 4096]).contains("line 1"),
        "a file that was never written, as after a power cut"
    );
    for (wrong, key) in [
        (good.replace("1.0", "\"soon\""), "journal.sync_s"),
        (good.replace("\"/data\"", "[1, 2]"), "archive.root"),
        (good.replace("[journal]\nsync_s = 1.0", "journal = 1\n"), "journal"),
        (good.replace("\"tcp://127.0.0.1:0\"", "{ a = 1 }"), "bind"),
    ] {
        let said = refused(&path, wrong.as_bytes());
        assert!(said.contains("line ") && said.contains(key), "{said}");
    }
    let enormous = format!("{good}# {}\n", "x".repeat(40_000_000));
    assert!(refused(&path, enormous.as_bytes()).contains("no configuration is"));
    let nested = format!("a = {}", "[".repeat(1_000_000));
    assert!(refused(&path, nested.as_bytes()).contains("line 1"));
}

/// A daemon that had one scan archived, `done`, and one under way, `same`, and was killed.
fn killed() -> (Rig, tempfile::TempDir) {
    let rig = setup().start();
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("done").whole());
    rig.wait_scan("done", "whole", is_whole);
    feed.send_all(&messages()[..20]);
    rig.received(50 + 20);
    (setup().start(), rig.kill())
}

fn said(rig: &Rig) -> String {
    let (code, troubles) = readyz(rig);
    assert_eq!(code, 200, "told, and ready: {troubles:?}");
    troubles.into_iter().map(|(_, what)| what).collect()
}

#[test]
fn damaged_state_is_left_alone_and_listed_and_everything_else_goes_on() {
    let messages = messages();
    let (_other, dir) = killed();
    let journals = dir.path().join("state/journal");
    let copy = |to: &str| {
        let to = journals.join(to);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(journals.join("same")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        to
    };
    std::fs::write(copy("garbled").join("pinned.json"), [0xff, 0, 7]).unwrap();
    let newer = copy("newer").join("pinned.json");
    let mut pinned: Value = serde_json::from_slice(&std::fs::read(&newer).unwrap()).unwrap();
    pinned["format"] = json!("phasewatch-journal/2");
    std::fs::write(&newer, pinned.to_string()).unwrap();
    std::fs::write(copy("shredded").join("pinned.json"), "").unwrap();
    std::fs::create_dir(journals.join("not a journal")).unwrap();
    std::fs::write(journals.join("not a journal/notes.txt"), "mine").unwrap();
    std::fs::write(journals.join("core"), [0; 100]).unwrap();
    std::fs::create_dir(journals.join("empty")).unwrap();
    std::fs::write(dir.path().join("state/lock"), [0xff; 5000]).unwrap();
    std::fs::write(journals.join("done/archived.json"), "{\"closing\": -1").unwrap();
    for entry in std::fs::read_dir(dir.path().join("state/content")).unwrap() {
        std::fs::write(entry.unwrap().path(), "[]").unwrap();
    }
    let archived = place(&dir.path().join("archive"), "done");
    let before = std::fs::read(archived.join("manifest.json")).unwrap();

    let rig = setup().start_in(dir);
    let said = said(&rig);
    for name in ["garbled", "newer", "shredded", "not a journal", "core"] {
        assert!(said.contains(&format!("journal/{name}")), "{name}: {said}");
    }
    assert!(said.contains("a newer phasewatch wrote it") && !said.contains("journal/empty"), "{said}");
    assert!(rig.metric("phasewatch_journal_damaged_total", &[]) >= 3.0);
    let journals = rig.dir().join("state/journal");
    for name in
        ["garbled/events.arrows", "newer/ledger", "shredded/pinned.json", "not a journal/notes.txt", "core"]
    {
        assert!(journals.join(name).exists(), "{name} was left alone");
    }
    // The good journal is resumed; the archived one is archived once more, and found to be there.
    rig.wait_scan("same", "back", |scan| scan["measured_values"] == 19 * LINE);
    rig.wait_scan("done", "there", |scan| scan["state"] == "archived");
    assert_eq!(std::fs::read(archived.join("manifest.json")).unwrap(), before);
    assert_eq!(std::fs::read_dir(archived.parent().unwrap()).unwrap().count(), 1);
    Feed::push(rig.source()).send_all(&messages[20..]);
    rig.wait_scan("same", "whole", is_whole);
    assert_same(&good_day(&messages, "same"), &place(&rig.dir().join("archive"), "same"));
    // The copy of the references was damaged as well, and is put right where they are in use.
    let copies = std::fs::read_dir(rig.dir().join("state/content")).unwrap();
    assert!(copies.flatten().all(|entry| entry.metadata().unwrap().len() > 100));
}

#[test]
fn a_lock_that_cannot_be_taken_is_said_and_nothing_is_touched() {
    let (_other, dir) = killed();
    let lock = dir.path().join("state/lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    let config = dir.path().join("phasewatch.toml");
    let output = phasewatch(&["run", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("locking") && said.contains("state/lock"), "{said}");
    std::fs::remove_dir(&lock).unwrap();
    let rig = setup().start_in(dir);
    rig.wait_scan("same", "back", |scan| scan["measured_values"] == 19 * LINE);
}
