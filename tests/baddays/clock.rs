//! The calendar's clock jumps by years, forward and back, while a scan runs and while the daemon is down.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::feed::Feed;
use crate::look::{LINE, assert_same, folder, good_day, is_whole, messages, names, place, setup};
use crate::rig::{Rig, Setup};
use crate::script::Script;
use crate::yard::skip;

/// The library that lies about the time.
fn library() -> Option<PathBuf> {
    let beside = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    let found = std::fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| beside(entry.path()))
        .find(|path| path.exists());
    if found.is_none() {
        skip("libfaketime (Debian: faketime) is not here");
    }
    found
}

/// How far the daemon's calendar is off, as the library reads it.
fn jump(dir: &Path, by: &str) {
    let [now, next] = ["clock", "clock.next"].map(|name| dir.join(name));
    std::fs::write(&next, format!("{by}\n")).unwrap();
    std::fs::rename(next, now).unwrap();
}

fn start_in(library: &Path, dir: TempDir) -> Rig {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let lying: Setup = setup()
        .variable("LD_PRELOAD", &text(library))
        .variable("FAKETIME_TIMESTAMP_FILE", &text(&dir.path().join("clock")))
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("DONT_FAKE_MONOTONIC", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .variable("NO_FAKE_STAT", "1");
    lying.start_in(dir)
}

fn year(scan: &Value) -> i32 {
    scan["last_update"].as_str().unwrap()[..4].parse().unwrap()
}

#[test]
fn a_clock_that_jumps_by_years_ends_no_scan_and_moves_no_archive() {
    let Some(library) = library() else { return };
    let messages = messages();
    let dir = folder();
    jump(dir.path(), "+0d");
    let rig = start_in(&library, dir);
    let mut feed = Feed::push(rig.source());
    let (mut sent, mut generation) = (0, 0);
    let mut years = Vec::new();
    for (by, next) in [("+0d", 20), ("+3650d", 30), ("-3650d", 40), ("+7300d", 45)] {
        jump(rig.dir(), by);
        feed.send_all(&messages[sent..next]);
        sent = next;
        let scan =
            rig.wait_scan("same", "mapped", |scan| scan["measured_values"] == (next as u64 - 1) * LINE);
        assert_eq!(scan["state"], "running", "{scan}");
        assert!(scan["generation"].as_u64().unwrap() >= generation, "{scan}");
        generation = scan["generation"].as_u64().unwrap();
        years.push(year(&scan));
    }
    assert!(
        years[1] > years[0] + 8 && years[2] < years[0] - 8 && years[3] > years[0] + 18,
        "the clock: {years:?}"
    );
    jump(rig.dir(), "-3650d");
    feed.send_all(&messages[sent..]);
    rig.wait_scan("same", "whole", is_whole);
    // Under the day of its start, as the sender's clock says.
    assert_same(&good_day(&messages, "same"), &place(&rig.dir().join("archive"), "same"));
}

#[test]
fn a_clock_that_jumps_while_the_daemon_is_down_costs_no_journal() {
    let Some(library) = library() else { return };
    let messages = messages();
    let good = good_day(&messages, "same");
    // Set right, and set wrong.
    for (before, after) in [("+3650d", "-3650d"), ("-3650d", "+3650d")] {
        let dir = folder();
        jump(dir.path(), before);
        let rig = start_in(&library, dir);
        let mut feed = Feed::push(rig.source());
        feed.send_all(&Script::new("done").whole());
        rig.wait_scan("done", "whole", is_whole);
        feed.send_all(&messages[..20]);
        rig.received(50 + 20);
        let dir = rig.kill();
        jump(dir.path(), after);
        let rig = start_in(&library, dir);
        // The open one is back, and not ended for its age.
        let scan = rig.wait_scan("same", "back", |scan| scan["measured_values"] == 19 * LINE);
        assert_eq!(scan["state"], "running", "{scan}");
        assert!(names(&rig.dir().join("state/journal")).contains(&"same".to_owned()));
        Feed::push(rig.source()).send_all(&messages[20..]);
        rig.wait_scan("same", "whole", is_whole);
        assert_same(&good, &place(&rig.dir().join("archive"), "same"));
    }
}
