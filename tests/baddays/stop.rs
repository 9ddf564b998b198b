//! SIGTERM at every stage: the daemon ends with 0 within `daemon.drain_s`, and the next start has everything.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::feed::Feed;
use crate::look::{
    LINE, assert_same, folder, good_day, is_whole, messages, names, place, setup, wait_trouble,
};
use crate::rig::{Ended, Rig, Setup, until};
use crate::script::Script;
use crate::table::manifest;
use crate::yard::Yard;

/// Stops a daemon, which has to end well; returns its folder and what it said.
fn stop(rig: Rig) -> (TempDir, String) {
    let Ended { code, log, dir } = rig.stop("TERM");
    assert_eq!(code, Some(0), "{}", log.text());
    (dir, log.text())
}

/// Sends the rest to a daemon started anew, and compares with a good day.
fn heals(setup: Setup, dir: TempDir, rest: &[crate::script::Message]) {
    let rig = setup.start_in(dir);
    Feed::push(rig.source()).send_all(rest);
    rig.wait_scan("same", "whole", is_whole);
    let place = place(&rig.dir().join("archive"), "same");
    assert_same(&good_day(&messages(), "same"), &place);
    assert_eq!(names(place.parent().unwrap()), ["scan=same"], "there once");
}

#[test]
fn before_any_message() {
    let (dir, _) = stop(setup().start());
    heals(setup(), dir, &messages());
}

#[test]
fn while_samples_are_held_for_their_start() {
    let messages = messages();
    let rig = setup().start();
    Feed::push(rig.source()).send_all(&messages[1..20]);
    rig.received(19);
    let (dir, _) = stop(rig);
    heals(setup(), dir, &[&messages[..1], &messages[20..]].concat());
}

#[test]
fn in_the_middle_of_a_scan_and_of_the_next() {
    let messages = messages();
    let mut dir = folder();
    for (from, to) in [(0, 1), (1, 17), (17, 49)] {
        let rig = setup().start_in(dir);
        Feed::push(rig.source()).send_all(&messages[from..to]);
        rig.received((to - from) as u64);
        dir = stop(rig).0;
        assert_eq!(manifest(&place(&dir.path().join("archive"), "same"))["provisional"], true);
    }
    heals(setup(), dir, &messages[49..]);
}

#[test]
fn in_the_grace_after_the_end() {
    let messages = messages();
    let patient = || Setup::bare().source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 600");
    let rig = patient().start();
    let lost = 30;
    Feed::push(rig.source()).send_all(&[&messages[..lost], &messages[lost + 1..]].concat());
    rig.received(messages.len() as u64 - 1);
    let (dir, _) = stop(rig);
    assert_eq!(manifest(&place(&dir.path().join("archive"), "same"))["gaps"][0]["first"], lost);
    heals(setup(), dir, &messages[lost..=lost]);
}

#[test]
fn while_a_scan_is_archived() {
    let mut script = Script::new("large").grid(120, 120);
    let mut messages = vec![script.start()];
    messages.extend((0..12).map(|energy| script.run(energy, 0, 120 * 120)));
    messages.push(script.end());
    let rig = setup().start();
    Feed::push(rig.source()).send_all(&messages);
    rig.wait_scan("large", "ended", |scan| scan["state"] == "ended" || scan["state"] == "archived");
    let (dir, _) = stop(rig);
    let root = dir.path().join("archive");
    assert_same(&good_day(&messages, "large"), &place(&root, "large"));
    assert_eq!(names(&root), ["beamline=test-1"]);
}

/// A journal that does not come to an end: resuming takes longer than anybody has.
#[test]
fn while_scans_are_resumed() {
    let messages = messages();
    let rig = setup().start();
    Feed::push(rig.source()).send_all(&messages[..20]);
    rig.received(20);
    let dir = rig.kill();
    let slow = dir.path().join("state/journal/zzz");
    std::fs::create_dir(&slow).unwrap();
    std::fs::write(slow.join("events.arrows"), "").unwrap();
    assert!(Command::new("mkfifo").arg(slow.join("pinned.json")).status().unwrap().success());
    let rig = setup().set("daemon", "drain_s = 1").launch_in(dir);
    // Its last word before it resumes.
    let serves = |line: &serde_json::Value| line["message"] == "listening to the beamline";
    rig.log.wait("listening", serves);
    until("resuming", || is_waiting_for(rig.pid(), &slow).then_some(()));
    let (dir, said) = stop(rig);
    assert!(said.contains("not everything was archived within 1 s"), "{said}");
    std::fs::remove_dir_all(dir.path().join("state/journal/zzz")).unwrap();
    heals(setup(), dir, &messages[20..]);
}

/// Whether a thread of the process is opening a pipe that nobody writes to.
fn is_waiting_for(pid: u32, _pipe: &Path) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().any(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let stands = std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
        name.trim() == "receive" && (stands.contains("wait_for_partner") || stands.contains("fifo"))
    })
}

#[test]
fn while_the_journal_cannot_be_written() {
    let messages = messages();
    let dir = folder();
    let state = dir.path().join("state");
    let Some(yard) = Yard::small(&state, "2m") else { return };
    let inside = || setup().through(&yard.inside());
    let rig = inside().start_in(dir);
    let mut feed = Feed::push(rig.source());
    feed.send_all(&messages[..10]);
    rig.received(10);
    let ballast = yard.fill(&state);
    feed.send_all(&messages[10..30]);
    wait_trouble(&rig, "journal", "No space left");
    rig.wait_scan("same", "mapped", |scan| scan["measured_values"] == 29 * LINE);
    let (dir, said) = stop(rig);
    assert!(said.contains("the journal lacks what came last"), "{said}");
    let place = place(&dir.path().join("archive"), "same");
    let everything = |folder: &Path| manifest(folder)["counters"]["stored"].as_u64().unwrap();
    assert_eq!(everything(&place), 29 * LINE, "what the journal could not take is in the archive");
    // The next start knows of less, and what it archives does not take the place of more.
    std::fs::remove_file(&ballast).unwrap();
    let rig = inside().start_in(dir);
    let back = rig.wait_scan("same", "back", |scan| scan["state"] == "running");
    assert!(back["measured_values"].as_u64().unwrap() < 29 * LINE, "{back}");
    let (dir, said) = stop(rig);
    assert_eq!(everything(&place), 29 * LINE, "{said}");
    assert!(place.with_file_name("scan=same~2").is_dir(), "beside it: {said}");
    // Once the sender has sent it again it is whole, in one place.
    let rig = inside().start_in(dir);
    Feed::push(rig.source()).send_all(&messages[10..]);
    let scan = rig.wait_scan("same", "whole", is_whole);
    assert_same(&good_day(&messages, "same"), Path::new(scan["archive_path"].as_str().unwrap()));
}
