//! The archive is read-only: when the daemon starts, and from one moment on. And journals are.

use crate::feed::Feed;
use crate::look::{
    LINE, assert_same, folder, good_day, is_whole, messages, names, place, setup, wait_trouble, wait_well,
};
use crate::script::Script;
use crate::yard::Yard;

#[test]
fn a_read_only_archive_is_told_of_at_the_start_and_scans_wait_in_their_journals() {
    let messages = messages();
    let dir = folder();
    let root = dir.path().join("archive");
    let Some(yard) = Yard::small(&root, "4m") else { return };
    let shown = root.display();
    yard.run(&format!("mount -o remount,ro '{shown}'"));
    let rig = setup().through(&yard.inside()).start_in(dir);
    // Before any scan has ended.
    let what = wait_trouble(&rig, "archive root", "Read-only");
    assert!(what.contains("archive.root"), "{what}");
    Feed::push(rig.source()).send_all(&messages);
    wait_trouble(&rig, "archive", "archive.root writable");
    // Neither a kill nor a restart changes that.
    let rig = setup().through(&yard.inside()).start_in(rig.kill());
    wait_trouble(&rig, "archive", "archive.root writable");
    assert_eq!(names(&yard.seen(&root)), [""; 0]);
    yard.run(&format!("mount -o remount,rw '{shown}'"));
    rig.wait_scan("same", "whole", is_whole);
    wait_well(&rig);
    assert_same(&good_day(&messages, "same"), &place(&yard.seen(&root), "same"));
}

#[test]
fn an_archive_that_turns_read_only_keeps_what_it_has_and_takes_the_rest_later() {
    let dir = folder();
    let root = dir.path().join("archive");
    let Some(yard) = Yard::small(&root, "4m") else { return };
    let rig = setup().through(&yard.inside()).start_in(dir);
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("before").whole());
    rig.wait_scan("before", "whole", is_whole);
    yard.run(&format!("mount -o remount,ro '{}'", root.display()));
    let during = Script::new("during").whole();
    feed.send_all(&during);
    wait_trouble(&rig, "archive", "archive.root writable");
    assert_eq!(names(&yard.seen(&root)), ["beamline=test-1"]);
    yard.run(&format!("mount -o remount,rw '{}'", root.display()));
    rig.wait_scan("during", "whole", is_whole);
    wait_well(&rig);
    assert_same(&good_day(&during, "during"), &place(&yard.seen(&root), "during"));
}

/// The journals' folder is read-only when a scan begins that was given the id of an earlier one: what is kept of it must not get
/// into the earlier one's journal.
#[test]
fn a_scan_with_the_id_of_another_waits_for_its_journal_in_memory_and_the_two_stay_apart() {
    let dir = folder();
    let Some(yard) = Yard::new("") else { return };
    let journals = dir.path().join("state/journal");
    let shown = journals.display();
    let rig = setup().through(&yard.inside()).start_in(dir);
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("same").whole());
    rig.wait_scan("same", "whole", is_whole);
    // Within one run the first plan stands; the next run may give the id to another.
    let rig = setup().through(&yard.inside()).start_in(rig.kill());
    let mut feed = Feed::push(rig.source());
    yard.run(&format!("mount --bind '{shown}' '{shown}'; mount -o remount,bind,ro '{shown}'"));
    let messages = messages();
    feed.send_all(&messages[..20]);
    wait_trouble(&rig, "journal", "Read-only");
    yard.run(&format!("umount '{shown}'"));
    wait_well(&rig);
    rig.received(20);
    let rig = setup().through(&yard.inside()).start_in(rig.kill());
    rig.wait_scan("same", "back", |scan| scan["measured_values"] == 19 * LINE);
    assert_eq!(names(&journals), ["same", "same~2"]);
    Feed::push(rig.source()).send_all(&messages[20..]);
    rig.wait_scan("same", "whole", is_whole);
    let place = place(&rig.dir().join("archive"), "same").with_file_name("scan=same~2");
    assert_same(&good_day(&messages, "same"), &place);
}
