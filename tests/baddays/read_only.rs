//! The archive is read-only: when the daemon starts, and from one moment on.

use crate::feed::Feed;
use crate::look::{
    assert_same, folder, good_day, is_whole, messages, names, place, setup, wait_trouble, wait_well,
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
