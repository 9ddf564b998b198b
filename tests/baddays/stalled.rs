//! The archive does not answer: neither yes nor no.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::feed::Feed;
use crate::look::{assert_same, folder, good_day, is_whole, messages, place, setup, wait_trouble, wait_well};
use crate::rig::{Ended, Rig, Setup, until};
use crate::script::Script;
use crate::yard::{Yard, skip};

fn impatient() -> Setup {
    setup().set("daemon", "stalled_s = 0.1\ndrain_s = 1")
}

/// With one scan stuck, another is received and mapped, and ends.
fn goes_on(rig: &Rig) {
    wait_trouble(rig, "archive stalled", "does the disk or mount of archive.root answer?");
    let mut second = Script::new("second");
    let messages = second.whole();
    let mut feed = Feed::push(rig.source());
    feed.send_all(&messages[..40]);
    rig.wait_scan("second", "mapped live", |scan| {
        scan["measured_values"] == 39 * 6 && scan["generation"] != 0
    });
    feed.send_all(&messages[40..]);
    rig.wait_scan("second", "ended", |scan| scan["state"] == "ended");
}

fn stops_in_time(rig: Rig) -> tempfile::TempDir {
    let Ended { code, log, dir } = rig.stop("TERM");
    assert_eq!(code, Some(0), "{}", log.text());
    assert!(log.text().contains("not everything was archived within 1 s"), "{}", log.text());
    dir
}

/// Whoever holds the lock of the archive holds the archiving thread: a stall that every machine can have.
#[test]
fn a_stalled_archive_holds_nobody_up_and_the_next_start_archives() {
    let messages = messages();
    let rig = impatient().start();
    let root = rig.dir().join("archive");
    until("the archive", || root.is_dir().then_some(()));
    let lock = File::open(&root).unwrap();
    lock.lock().unwrap();
    Feed::push(rig.source()).send_all(&messages);
    goes_on(&rig);
    let rig = impatient().start_in(stops_in_time(rig));
    wait_trouble(&rig, "archive stalled", "archiving scan same");
    lock.unlock().unwrap();
    for scan_id in ["same", "second"] {
        rig.wait_scan(scan_id, "whole", is_whole);
    }
    wait_well(&rig);
    assert_same(&good_day(&messages, "same"), &place(&root, "same"));
}

/// A mount whose server is stopped in its tracks, as a network file system whose host is gone.
#[test]
fn a_mount_that_does_not_answer_holds_nobody_up_not_even_a_start() {
    let dir = folder();
    let (root, behind) = (dir.path().join("archive"), dir.path().join("behind"));
    let Some((yard, server)) = served(&root, &behind) else { return };
    let rig = impatient().through(&yard.inside()).start_in(dir);
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("before").whole());
    rig.wait_scan("before", "whole", is_whole);
    server.signal("STOP");
    let messages = messages();
    feed.send_all(&messages);
    goes_on(&rig);
    let dir = stops_in_time(rig);
    // Still gone: the daemon is ready to receive all the same.
    let rig = impatient().through(&yard.inside()).start_in(dir);
    wait_trouble(&rig, "archive stalled", "looking at the archive");
    let third = Script::new("third").whole();
    Feed::push(rig.source()).send_all(&third);
    rig.wait_scan("third", "ended", |scan| scan["state"] == "ended");
    server.signal("CONT");
    for scan_id in ["same", "second", "third"] {
        rig.wait_scan(scan_id, "whole", is_whole);
    }
    wait_well(&rig);
    assert_same(&good_day(&messages, "same"), &place(&behind, "same"));
}

#[test]
fn a_state_directory_that_does_not_answer_is_told_of_and_nothing_is_lost() {
    let dir = folder();
    let (state, behind) = (dir.path().join("state"), dir.path().join("behind"));
    let Some((yard, server)) = served(&state, &behind) else { return };
    let rig = impatient().through(&yard.inside()).start_in(dir);
    let messages = messages();
    let mut feed = Feed::push(rig.source());
    feed.send_all(&messages[..20]);
    rig.received(20);
    server.signal("STOP");
    feed.send_all(&messages[20..]);
    wait_trouble(&rig, "journal stalled", "does the disk or mount of daemon.state_dir answer?");
    server.signal("CONT");
    rig.wait_scan("same", "whole", is_whole);
    wait_well(&rig);
    assert_same(&good_day(&messages, "same"), &place(&rig.dir().join("archive"), "same"));
}

/// A mount of `behind` at `at`, both made, through a process that can be stopped.
fn served(at: &Path, behind: &Path) -> Option<(Yard, Server)> {
    if Command::new("bindfs").arg("--version").stdout(Stdio::null()).status().is_err() {
        skip("bindfs (Debian: bindfs) is not here");
        return None;
    }
    let pid = behind.with_extension("pid");
    let script = format!(
        "mkdir -p '{at}' '{behind}'\nbindfs -f '{behind}' '{at}' >/dev/null & echo $! > '{pid}'\n\
         for i in $(seq 200); do mountpoint -q '{at}' && break; sleep 0.05; done\nmountpoint -q '{at}'",
        at = at.display(),
        behind = behind.display(),
        pid = pid.display()
    );
    let yard = Yard::new(&script)?;
    Some((yard, Server(std::fs::read_to_string(pid).unwrap().trim().to_owned())))
}

/// The process behind the mount.
struct Server(String);

impl Server {
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([&format!("-{signal}"), &self.0]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody may be left waiting for it.
        drop(Command::new("kill").args(["-KILL", &self.0]).status());
    }
}
