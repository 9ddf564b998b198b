//! The disk is full: of the state directory, of the archive, of both.

use std::path::{Path, PathBuf};

use crate::feed::Feed;
use crate::look::{
    LINE, assert_same, folder, good_day, is_whole, messages, names, place, setup, wait_trouble, wait_well,
};
use crate::rig::{Rig, phasewatch, until};
use crate::script::Script;
use crate::yard::Yard;

const UNWRITTEN: &str = "phasewatch_journal_unwritten_bytes";

fn wait_written(rig: &Rig) {
    until("everything written", || (rig.metric(UNWRITTEN, &[]) == 0.0).then_some(()));
    wait_well(rig);
}

#[test]
fn a_scan_goes_on_in_memory_while_the_journal_has_no_room_and_is_written_when_it_has() {
    let messages = messages();
    let dir = folder();
    let state = dir.path().join("state");
    let Some(yard) = Yard::small(&state, "2m") else { return };
    let rig = setup().through(&yard.inside()).start_in(dir);
    let mut feed = Feed::push(rig.source());
    feed.send_all(&messages[..20]);
    rig.received(20);
    let ballast = yard.fill(&state);
    feed.send_all(&messages[20..45]);
    let what = wait_trouble(&rig, "journal", "No space left");
    assert!(what.contains("make room") && what.contains("limits.queue_bytes"), "{what}");
    // Mapped all the same, and the operator sees how much is at risk.
    rig.wait_scan("same", "mapped", |scan| scan["measured_values"] == 44 * LINE);
    assert!(rig.metric(UNWRITTEN, &[]) > 0.0);
    assert!(rig.metric("phasewatch_journal_failures_total", &[]) > 0.0);
    std::fs::remove_file(ballast).unwrap();
    wait_written(&rig);
    rig.received(45);
    // All of it: what is killed now comes back.
    let rig = setup().through(&yard.inside()).start_in(rig.kill());
    rig.wait_scan("same", "back", |scan| scan["measured_values"] == 44 * LINE);
    Feed::push(rig.source()).send_all(&messages[45..]);
    rig.wait_scan("same", "whole", is_whole);
    assert_same(&good_day(&messages, "same"), &place(&rig.dir().join("archive"), "same"));
}

#[test]
fn receiving_stops_when_too_much_waits_for_room_and_nothing_is_lost() {
    let energies: Vec<f64> = (0..24).map(|index| 508.0 + f64::from(index)).collect();
    let mut script = Script::new("large").grid(300, 300).energies(&energies);
    let mut messages = vec![script.start()];
    messages.extend((0..energies.len()).map(|energy| script.run(energy, 0, 300 * 300)));
    messages.push(script.end());
    let dir = folder();
    let state = dir.path().join("state");
    let Some(yard) = Yard::small(&state, "1m") else { return };
    let small = || setup().set("limits", "queue_bytes = 2_097_152").through(&yard.inside());
    let rig = small().start_in(dir);
    let ballast = yard.fill(&state);
    let address = rig.source().to_owned();
    let sent = messages.clone();
    // It has to wait.
    let sender = std::thread::spawn(move || Feed::push(&address).send_all(&sent));
    wait_trouble(&rig, "journal", "No space left");
    until("a full queue", || {
        let waits = rig.metric("phasewatch_queue_bytes", &["receive"]);
        (rig.metric(UNWRITTEN, &[]) > 2_097_152.0 && waits > 1_000_000.0).then_some(())
    });
    let unwritten = rig.metric(UNWRITTEN, &[]);
    assert!(unwritten < 6.0 * 2_097_152.0, "{unwritten} bytes");
    assert!(rig.metric("phasewatch_messages_received_total", &[]) < 20.0, "receiving has stopped");
    std::fs::remove_file(ballast).unwrap();
    yard.run(&format!("mount -o remount,size=64m '{}'", state.display()));
    sender.join().unwrap();
    rig.received(messages.len() as u64);
    wait_written(&rig);
    let rig = small().start_in(rig.kill());
    let root = rig.dir().join("archive");
    // Archived before the kill, or after it.
    until("the archive", || place(&root, "large").join("manifest.json").exists().then_some(()));
    assert_same(&good_day(&messages, "large"), &place(&root, "large"));
}

#[test]
fn an_archive_without_room_is_tried_again_and_leaves_nothing_half_written() {
    let messages = messages();
    let dir = folder();
    let root = dir.path().join("archive");
    let Some(yard) = Yard::small(&root, "1m") else { return };
    let rig = setup().through(&yard.inside()).start_in(dir);
    let ballast = yard.fill(&root);
    Feed::push(rig.source()).send_all(&messages);
    let what = wait_trouble(&rig, "archive", "has room?");
    assert!(what.contains("same"), "{what}");
    assert_eq!(names(&yard.seen(&root)), ["ballast"]);
    assert_eq!(rig.metric("phasewatch_archive_waiting", &[]), 1.0);
    let scan = rig.scan("same").unwrap();
    assert!(scan["notes"].to_string().contains("not archived yet"), "{scan}");
    std::fs::remove_file(ballast).unwrap();
    rig.wait_scan("same", "whole", is_whole);
    wait_well(&rig);
    assert_eq!(names(&yard.seen(&root)), ["beamline=test-1"]);
    assert_same(&good_day(&messages, "same"), &place(&yard.seen(&root), "same"));
}

/// Both lie on one small disk.
fn both(name: &str) -> Option<(tempfile::TempDir, PathBuf, Yard)> {
    let dir = folder();
    let disk = dir.path().join(name);
    let yard = Yard::small(&disk, "4m")?;
    Some((dir, disk, yard))
}

fn on(disk: &Path, yard: &Yard) -> crate::rig::Setup {
    setup().through(&yard.inside()).state_dir(&disk.join("state")).archive_root(&disk.join("archive"))
}

#[test]
fn a_scan_that_ends_while_neither_journal_nor_archive_has_room_is_archived_whole_later() {
    let messages = messages();
    let Some((dir, disk, yard)) = both("disk") else { return };
    let rig = on(&disk, &yard).start_in(dir);
    let mut feed = Feed::push(rig.source());
    feed.send_all(&messages[..20]);
    rig.received(20);
    let ballast = yard.fill(&disk);
    feed.send_all(&messages[20..]);
    wait_trouble(&rig, "journal", "No space left");
    wait_trouble(&rig, "archive", "has room?");
    std::fs::remove_file(ballast).unwrap();
    let scan = rig.wait_scan("same", "archived", |scan| scan["state"] == "archived");
    assert!(is_whole(&scan), "what was in memory only belongs to it: {scan}");
    wait_written(&rig);
    let place = place(&yard.seen(&disk.join("archive")), "same");
    let good = good_day(&messages, "same");
    assert_same(&good, &place);
    // And it is done: the next start finds nothing to do.
    let rig = on(&disk, &yard).start_in(rig.kill());
    assert!(rig.scan("same").is_none());
    assert_same(&good, &place);
}

#[test]
fn a_daemon_starts_and_resumes_on_a_full_disk() {
    let messages = messages();
    let Some((dir, disk, yard)) = both("disk") else { return };
    let rig = on(&disk, &yard).start_in(dir);
    Feed::push(rig.source()).send_all(&messages[..20]);
    rig.received(20);
    let dir = rig.kill();
    let ballast = yard.fill(&disk);
    let rig = on(&disk, &yard).start_in(dir);
    rig.wait_scan("same", "back", |scan| scan["measured_values"] == 19 * LINE);
    Feed::push(rig.source()).send_all(&messages[20..]);
    wait_trouble(&rig, "journal", "No space left");
    std::fs::remove_file(ballast).unwrap();
    rig.wait_scan("same", "whole", is_whole);
    wait_written(&rig);
    assert_same(&good_day(&messages, "same"), &place(&yard.seen(&disk.join("archive")), "same"));
}

#[test]
fn a_state_directory_that_cannot_be_made_keeps_the_daemon_from_starting_and_says_what_to_do() {
    let rig = setup().start();
    let config = rig.dir().join("phasewatch.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let dir = rig.kill();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let inside = dir.path().join("file/state");
    let config = dir.path().join("other.toml");
    let state = format!("state_dir = {:?}", dir.path().join("state"));
    std::fs::write(&config, text.replace(&state, &format!("state_dir = {inside:?}"))).unwrap();
    let output = phasewatch(&["run", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("daemon.state_dir") && said.contains("file/state"), "{said}");
    assert!(said.contains("name a directory that can be made and written to"), "{said}");
}
