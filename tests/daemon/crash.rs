//! Killed at any point, the daemon goes on where it was, and ends with the same archive, to the byte.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::feed::Feed;
use crate::http;
use crate::order::{archived, assert_same, files, messages, straight};
use crate::rig::{Ended, Rig, Setup, phasewatch, references, until};
use crate::script::{Message, Script};
use crate::table::{folder, manifest};

const BIND: &str = "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3";

fn start_in(dir: TempDir) -> Rig {
    Setup::bare().source("beam", BIND).start_in(dir)
}

fn start() -> Rig {
    start_in(tempfile::tempdir().unwrap())
}

/// Sends some messages, waits until they count as received, and kills the daemon.
fn send_and_kill(rig: Rig, messages: &[Message]) -> TempDir {
    let mut feed = Feed::push(rig.source());
    feed.send_all(messages);
    rig.received(messages.len() as u64);
    rig.kill()
}

fn journal(dir: &Path, scan_id: &str) -> PathBuf {
    dir.join("state/journal").join(scan_id)
}

#[test]
fn a_daemon_that_is_killed_again_and_again_archives_the_same_bytes() {
    let messages = messages();
    let mut dir = tempfile::tempdir().unwrap();
    let mut sent = 0;
    for next in [1, 2, 3, 20, 48, 49] {
        dir = send_and_kill(start_in(dir), &messages[sent..next]);
        sent = next;
    }
    let rig = start_in(dir);
    assert_eq!(rig.metric("phasewatch_scans_resumed_total", &[]), 1.0);
    Feed::push(rig.source()).send_all(&messages[sent..]);
    assert_same(&straight(), &archived(&rig));
}

#[test]
fn messages_in_any_order_survive_with_what_waits_and_what_is_held() {
    let mut script = Script::new("same");
    let (first, last) = (vec![script.start()], script.lines(0..12));
    let extend = script.extend(&[535.0]);
    let more = script.lines(12..13);
    let end = script.end();
    let all = [&first[..], &last[..], std::slice::from_ref(&extend), &more[..], std::slice::from_ref(&end)]
        .concat();
    let undisturbed = start();
    Feed::push(undisturbed.source()).send_all(&all);
    let whole = |scan: &Value| scan["state"] == "archived" && scan["measured_values"] == 13 * 24;
    let scan = undisturbed.wait_scan("same", "whole", whole);
    let straight = files(&folder(&scan));
    // Samples before their start, the second energies before their extension, the end before its samples.
    let parts = [&more[..2], &last[20..], &[end][..], &first[..], &more[2..], &[extend][..], &last[..20]];
    let mut dir = tempfile::tempdir().unwrap();
    for part in &parts[..6] {
        dir = send_and_kill(start_in(dir), part);
    }
    let rig = start_in(dir);
    Feed::push(rig.source()).send_all(parts[6]);
    let scan = rig.wait_scan("same", "whole", whole);
    assert_eq!(files(&folder(&scan)), straight);
    // What was held is not any more.
    until("no held journal", || {
        std::fs::read_dir(rig.dir().join("state/held")).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn what_comes_after_the_archive_and_a_crash_opens_the_scan_again() {
    let messages = messages();
    let rig = start();
    let mut feed = Feed::push(rig.source());
    let is_lost = |index: usize| index % 5 == 3 && index + 1 < messages.len();
    let part =
        |lost: bool| messages.iter().enumerate().filter(move |(i, _)| is_lost(*i) == lost).map(|(_, m)| m);
    feed.send_all(part(false));
    let first = folder(&rig.archived("same"));
    let before = files(&first);
    let rig = start_in(rig.kill());
    assert!(rig.scan("same").is_none(), "archived and done: it is not loaded again");
    assert_eq!(files(&first), before);
    let mut feed = Feed::push(rig.source());
    feed.send_all(part(true));
    assert_same(&straight(), &archived(&rig));
    assert_eq!(std::fs::read_dir(first.parent().unwrap()).unwrap().count(), 1, "archived twice, there once");
}

#[test]
fn what_was_archived_and_comes_a_second_time_after_a_restart_changes_nothing() {
    let messages = messages();
    let rig = start();
    Feed::push(rig.source()).send_all(&messages);
    let folder = folder(&rig.archived("same"));
    let before = files(&folder);
    let rig = start_in(rig.kill());
    Feed::push(rig.source()).send_all(&messages);
    rig.received(messages.len() as u64);
    rig.log.wait("a look", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("ended scan looked at again"))
    });
    // Whatever is said of it is true: nothing, as of any archived scan after a start.
    Feed::push(rig.source()).send_all(&Script::new("next").whole());
    rig.archived("next");
    assert_eq!(rig.scan("same"), None);
    assert_eq!(files(&folder), before);
}

#[test]
fn a_stopped_daemon_archives_what_there_is_and_goes_on_with_it_later() {
    let messages = messages();
    let rig = start();
    Feed::push(rig.source()).send_all(&messages[..17]);
    rig.received(17);
    let Ended { code, log, dir } = rig.stop("TERM");
    assert_eq!(code, Some(0), "{}", log.text());
    let partial = dir.path().join("archive/beamline=test-1/date=2026-05-04/scan=same");
    assert_eq!(manifest(&partial)["provisional"], true);
    let rig = start_in(dir);
    rig.wait_scan("same", "running", |scan| scan["state"] == "running");
    Feed::push(rig.source()).send_all(&messages[17..]);
    assert_same(&straight(), &archived(&rig));
}

#[test]
fn an_archive_that_was_not_made_is_made_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the folder of the beamline is to be: nothing can be archived.
    std::fs::create_dir_all(dir.path().join("archive")).unwrap();
    let in_the_way = dir.path().join("archive/beamline=test-1");
    std::fs::write(&in_the_way, "").unwrap();
    let rig = start_in(dir);
    Feed::push(rig.source()).send_all(&messages());
    rig.log.wait("not archived", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("not archived"))
    });
    let answer = until("trouble", || {
        let answer = http::get(rig.http, "/readyz");
        (answer.status == 503).then_some(answer)
    });
    assert!(String::from_utf8_lossy(&answer.body).contains("archive.root"), "{answer:?}");
    assert_eq!(http::get(rig.http, "/healthz").status, 200);
    let dir = rig.kill();
    std::fs::remove_file(&in_the_way).unwrap();
    assert_same(&straight(), &archived(&start_in(dir)));
}

#[test]
fn an_archive_that_could_not_be_made_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("archive")).unwrap();
    let in_the_way = dir.path().join("archive/beamline=test-1");
    std::fs::write(&in_the_way, "").unwrap();
    let rig = start_in(dir);
    Feed::push(rig.source()).send_all(&messages());
    until("trouble", || (http::get(rig.http, "/readyz").status == 503).then_some(()));
    std::fs::remove_file(&in_the_way).unwrap();
    assert_same(&straight(), &archived(&rig));
    until("no trouble", || (http::get(rig.http, "/readyz").status == 200).then_some(()));
}

#[test]
fn two_daemons_do_not_share_a_state_directory() {
    let rig = start();
    let config = rig.dir().join("phasewatch.toml");
    let second = phasewatch(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(69));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use by another phasewatch (process"), "{said}");
    // The first is not disturbed, and when it is gone its place is free at once.
    Feed::push(rig.source()).send_all(&messages());
    rig.archived("same");
    start_in(rig.kill());
}

#[test]
fn a_damaged_journal_costs_what_is_damaged_and_says_so() {
    let messages = messages();
    let mut dir = tempfile::tempdir().unwrap();
    // A commit each.
    for (index, message) in messages[..6].iter().enumerate() {
        dir = send_and_kill(start_in(dir), std::slice::from_ref(message));
        assert!(journal(dir.path(), "same").join("events.arrows").exists(), "{index}");
    }
    let events = journal(dir.path(), "same").join("events.arrows");
    let ledger = std::fs::read(journal(dir.path(), "same").join("ledger")).unwrap();
    assert_eq!(ledger.len(), 7 * 32);
    let end = |number: usize| {
        u64::from_le_bytes(ledger[number * 32 + 8..number * 32 + 16].try_into().unwrap()) as usize
    };
    let mut bytes = std::fs::read(&events).unwrap();
    // In the middle: the batch of message 3. At the end: half of that of message 5.
    bytes[end(3) + 700] ^= 0xff;
    bytes.truncate(end(5) + (end(6) - end(5)) / 2);
    std::fs::write(&events, bytes).unwrap();
    let rig = start_in(dir);
    let scan = rig.wait_scan("same", "resumed", |scan| scan["measured_values"] == 18);
    assert_eq!(scan["gaps"], json!([{"first": 3, "last": 3}]));
    let readyz = http::get(rig.http, "/readyz");
    assert!(readyz.status == 200 && String::from_utf8_lossy(&readyz.body).contains("damaged"), "{readyz:?}");
    assert!(rig.metric("phasewatch_journal_damaged_total", &[]) >= 2.0);
    // What was damaged counts as not received: sent again it heals the scan.
    let mut feed = Feed::push(rig.source());
    feed.send_all([&messages[3], &messages[5]]);
    feed.send_all(&messages[6..]);
    assert_same(&straight(), &archived(&rig));
}

#[test]
fn frames_are_journalled_as_their_sums_and_bad_pixels_stay_found() {
    let frame = |seed: usize| -> Vec<u8> {
        let pixel = |p: usize| if p == 27 { 60_000_u16 } else { 100 + ((seed * 31 + p * 17) % 40) as u16 };
        (0..64).flat_map(|p| pixel(p).to_le_bytes()).collect()
    };
    let detector = json!({ "kind": "area", "frame_shape": [8, 8] });
    let mut script = Script::new("same");
    let mut messages = vec![script.start().with("detector", detector)];
    for (index, line) in script.lines(0..12).into_iter().enumerate() {
        let frames: Vec<u8> = (0..6).flat_map(|x| frame(index * 6 + x)).collect();
        messages.push(line.with("dtype", json!("uint16")).with("i0", json!(null)).part(1, frames));
    }
    messages.push(script.end());
    let undisturbed = start();
    Feed::push(undisturbed.source()).send_all(&messages);
    let straight = archived(&undisturbed);
    let mut dir = tempfile::tempdir().unwrap();
    let mut sent = 0;
    // In the midst of the messages that bad pixels are looked for in.
    for next in [2, 3, 5, 30] {
        dir = send_and_kill(start_in(dir), &messages[sent..next]);
        sent = next;
    }
    let size = std::fs::metadata(journal(dir.path(), "same").join("events.arrows")).unwrap().len();
    let rig = start_in(dir);
    Feed::push(rig.source()).send_all(&messages[sent..]);
    assert_same(&straight, &archived(&rig));
    assert!(size < 30 * 6 * 128, "{size} bytes: frames were kept whole");
}

#[test]
fn a_scan_keeps_the_settings_and_references_it_began_with() {
    let copy = |dir: &Path, take: usize| {
        std::fs::create_dir_all(dir).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(references()).unwrap().map(|e| e.unwrap().path()).collect();
        names.retain(|path| path.extension().is_some_and(|e| e == "csv"));
        names.sort();
        for path in names.iter().take(take) {
            std::fs::copy(path, dir.join(path.file_name().unwrap())).unwrap();
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let references = dir.path().join("references");
    copy(&references, 5);
    let setup = |dir: TempDir, min_energies: u32| {
        Setup::bare()
            .source("beam", BIND)
            .set("references", &format!("dir = {references:?}"))
            .set("classify", &format!("min_energies = {min_energies}"))
            .start_in(dir)
    };
    let messages = messages();
    let undisturbed = setup(tempfile::tempdir().unwrap(), 6);
    Feed::push(undisturbed.source()).send_all(&messages);
    let straight = archived(&undisturbed);
    let dir = send_and_kill(setup(dir, 6), &messages[..20]);
    std::fs::remove_dir_all(&references).unwrap();
    copy(&references, 3);
    let rig = setup(dir, 12);
    Feed::push(rig.source()).send_all(&messages[20..]);
    assert_same(&straight, &archived(&rig));
    // The next scan takes what is in use now.
    let mut next = Script::new("next");
    Feed::push(rig.source()).send_all(&next.whole());
    let next = manifest(&folder(&rig.archived("next")));
    assert_eq!(next["map"]["fractions"].as_object().unwrap().len(), 3);
}

#[test]
fn a_replay_gives_the_same_bytes_at_once_and_through_a_daemon() {
    let rig = Setup::bare().source("beam", BIND).set("journal", "record_bytes = 100_000_000").start();
    Feed::push(rig.source()).send_all(&messages());
    let straight = files(&folder(&archived_scan(&rig)));
    let dir = rig.kill();
    let out = dir.path().join("replayed");
    let out = out.to_str().unwrap();
    let scan = journal(dir.path(), "same");
    let replayed = phasewatch(&["replay", scan.to_str().unwrap(), "--out", out]);
    assert_eq!(replayed.status.code(), Some(0), "{}", String::from_utf8_lossy(&replayed.stderr));
    assert_eq!(files(Path::new(out)), straight);
    let raw = dir.path().join("state/raw/beam.arrows");
    for (journal, speed) in [(&scan, "1000"), (&raw, "0")] {
        let root = dir.path().join(format!("played-{speed}"));
        let references = references();
        let mut args =
            vec!["replay", journal.to_str().unwrap(), "--speed", speed, "--out", root.to_str().unwrap()];
        if journal.is_file() {
            args.extend(["--references", references.to_str().unwrap()]);
        }
        let played = phasewatch(&args);
        assert_eq!(played.status.code(), Some(0), "{}", String::from_utf8_lossy(&played.stderr));
        assert_eq!(files(&root.join("beamline=test-1/date=2026-05-04/scan=same")), straight, "speed {speed}");
    }
    // What is no journal is said to be none.
    let none = phasewatch(&["replay", dir.path().to_str().unwrap(), "--out", out]);
    assert_eq!(none.status.code(), Some(65));
}

fn archived_scan(rig: &Rig) -> Value {
    rig.wait_scan("same", "archived", |scan| scan["state"] == "archived")
}

#[test]
fn what_is_held_for_a_scan_that_never_starts_stays_bounded_on_disk() {
    let rig = Setup::bare().source("beam", BIND).set("limits", "held_bytes = 65_536").start();
    let script = Script::new("never").grid(40, 100);
    let mut feed = Feed::push(rig.source());
    let all: Vec<Message> = (0..12)
        .flat_map(|round| script.clone().lines(0..12).into_iter().map(move |m| (round, m)))
        .map(|(round, m)| {
            let seq = m.header()["seq"].as_u64().unwrap() + 1000 * round;
            m.with("seq", json!(seq))
        })
        .collect();
    feed.send_all(&all);
    rig.received(all.len() as u64);
    let size = || {
        let events = rig.dir().join("state/held/never/events.arrows");
        std::fs::metadata(events).map_or(0, |meta| meta.len())
    };
    until("a small journal of what is held", || (1..4 << 20).contains(&size()).then_some(()));
    assert!(rig.metric("phasewatch_held_bytes", &[]) <= 65_536.0);
    let rig = start_in(rig.kill());
    until("what was held", || (rig.metric("phasewatch_held_bytes", &[]) > 0.0).then_some(()));
}

#[test]
fn a_stop_while_messages_are_missing_leaves_the_scan_open_for_them() {
    let messages = messages();
    let rig = Setup::bare().source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 600").start();
    let mut feed = Feed::push(rig.source());
    feed.send_all(&messages[..20]);
    feed.send_all(&messages[21..]);
    rig.received(messages.len() as u64 - 1);
    let Ended { code, log, dir } = rig.stop("TERM");
    assert_eq!(code, Some(0), "{}", log.text());
    let rig = start_in(dir);
    Feed::push(rig.source()).send(&messages[20]);
    assert_same(&straight(), &archived(&rig));
}
