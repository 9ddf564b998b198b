//! How scans begin, wait, end and come back, and how the daemon itself ends.

use std::time::Duration;

use serde_json::json;

use crate::feed::Feed;
use crate::listener::Listener;
use crate::rig::{Setup, until};
use crate::script::Script;
use crate::table::{self, folder, manifest};

const BIND: &str = "bind = \"tcp://127.0.0.1:0\"";

#[test]
fn samples_before_their_start_are_held() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("late-start");
    let messages = script.whole();
    let (start, rest) = messages.split_first().unwrap();
    feed.send_all(rest);
    rig.received(rest.len() as u64);
    until("held bytes", || (rig.metric("phasewatch_held_bytes", &[]) > 0.0).then_some(()));
    assert!(rig.scan("late-start").is_none());
    feed.send(start);
    let scan = rig.archived("late-start");
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    assert_eq!(scan["measured_values"], 12 * 24);
    until("nothing held", || (rig.metric("phasewatch_held_bytes", &[]) == 0.0).then_some(()));
}

#[test]
fn what_is_held_is_bounded_and_the_oldest_gives_way() {
    let rig = Setup::new().set("limits", "held_bytes = 4000").start();
    let mut feed = Feed::push(rig.source());
    let messages = Script::new("flood").whole();
    feed.send_all(&messages[1..]);
    rig.received(49);
    let dropped = rig.metric("phasewatch_messages_refused_total", &["reason=\"held_too_long\""]);
    assert!(dropped > 10.0, "{dropped}");
    rig.log.wait("the limit", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("limits.held_bytes = 4000"))
    });
    until("a bound", || (rig.metric("phasewatch_held_bytes", &[]) <= 4000.0).then_some(()));
    // The sender repeats all of it; nothing is counted twice.
    feed.send_all(&messages);
    let scan = rig.archived("flood");
    assert_eq!((&scan["outcome"]["status"], &scan["measured_values"]), (&json!("complete"), &json!(12 * 24)));
    assert_eq!(rig.metric("phasewatch_samples_replaced_total", &[]), 0.0);
}

#[test]
fn a_paused_scan_outlasts_the_silence_and_goes_on() {
    let rig = Setup::bare()
        .source("waits", &format!("{BIND}\nsilence_s = 0.3\ngrace_s = 0.1"))
        .source("silent", &format!("{BIND}\nsilence_s = 0.3\ngrace_s = 0.1"))
        .start();
    let mut waits = Feed::push(&rig.sources["waits"]);
    let mut script = Script::new("paused");
    waits.send(&script.start());
    waits.send_all(&script.lines(0..3));
    waits.send(&script.plain("scan_pause"));
    rig.wait_scan("paused", "paused", |scan| scan["state"] == "paused");
    // A scan that is silent from now on tells when the silence is over, twice over to be sure.
    for scan_id in ["silent-1", "silent-2"] {
        let mut silent = Script::new(scan_id);
        let mut feed = Feed::push(&rig.sources["silent"]);
        feed.send(&silent.start());
        feed.send_all(&silent.lines(0..2));
        let scan = rig.archived(scan_id);
        assert_eq!(scan["outcome"], json!({ "status": "partial", "reason": "the sender fell silent" }));
        assert_eq!(manifest(&folder(&scan))["provisional"], true);
    }
    assert_eq!(rig.scan("paused").unwrap()["state"], "paused");
    waits.send(&script.plain("scan_resume"));
    rig.wait_scan("paused", "running", |scan| scan["state"] == "running");
    waits.send_all(&script.lines(3..12));
    waits.send(&script.end());
    let scan = rig.wait_scan("paused", "complete", |scan| {
        scan["state"] == "archived" && scan["outcome"]["status"] == "complete"
    });
    assert_eq!(scan["gaps"], json!([]));
}

#[test]
fn energies_are_added_by_plan_extend_also_when_it_comes_after_their_samples() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("extended");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..12));
    let extend = script.extend(&[519.0, 516.0]);
    let lines = script.lines(12..14);
    // The first of the new lines overtake the extension.
    feed.send_all(&lines[..3]);
    rig.received(1 + 48 + 3);
    feed.send(&extend);
    feed.send_all(&lines[3..]);
    feed.send(&script.end());
    let scan = rig.archived("extended");
    assert_eq!(scan["outcome"]["status"], "complete");
    assert_eq!((&scan["energies_total"], &scan["measured_values"]), (&json!(14), &json!(14 * 24)));
    let manifest = manifest(&folder(&scan));
    assert_eq!(manifest["plan"]["energies_ev"].as_array().unwrap().len(), 14);
    assert_eq!(manifest["gaps"], json!([]));
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0);
}

#[test]
fn each_energy_comes_with_advice_in_the_topic_and_in_the_api() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let mut listener = Listener::new(&rig.publish, "scan/");
    // A subscription takes a moment: scans are begun until one is heard of.
    let mut script = until("a subscription", || {
        let scan_id = format!("advised-{}", rig.metric("phasewatch_messages_received_total", &[]));
        let mut script = Script::new(&scan_id);
        feed.send(&script.start());
        feed.send_all(&script.lines(0..1));
        rig.wait_scan(&scan_id, "mapped", |scan| scan["generation"].as_u64() > Some(0));
        let subscribers = rig.metric("phasewatch_publish_subscribers", &[]);
        (subscribers > 0.0).then_some(script)
    });
    feed.send_all(&script.lines(1..9));
    let header = listener.wait("an energy", |header| {
        header["scan_id"] == script.scan_id
            && header["event"] == "energy_done"
            && header["advice"].is_object()
    });
    let advice = &header["advice"];
    assert!(advice["text"].as_str().unwrap().contains("next best"), "{advice}");
    let next = &advice["next"][0];
    let (energy_ev, index) = (next["energy_ev"].as_f64().unwrap(), next["energy_index"].as_u64().unwrap());
    assert_eq!(energy_ev, script.energies_ev[index as usize], "an energy of the plan, still to come");
    assert!(advice["anywhere"][0]["energy_index"].is_null());
    assert!(advice["stop"]["energies_left"].as_u64() > Some(0) && advice["stop"]["stop"].is_boolean());
    let scan = rig.wait_scan(&script.scan_id, "advised", |scan| {
        scan["energies_done"] == 9 && scan["advice"]["energies_done"] == 9
    });
    assert!(scan["advice"]["stop"]["expected_change"].as_f64().unwrap() <= 1.0);
    feed.send_all(&script.lines(9..12));
    feed.send(&script.end());
    let scan = rig.archived(&script.scan_id);
    assert!(scan["advice"].is_null(), "the scan is over: {scan}");
}

#[test]
fn without_advice_nothing_is_said_of_it() {
    let rig = Setup::new().set("advice", "enabled = false").start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("unadvised");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..9));
    let scan = rig.wait_scan("unadvised", "mapped", |scan| scan["energies_done"] == 9);
    assert!(scan["advice"].is_null(), "{scan}");
}

#[test]
fn an_aborted_scan_is_archived_with_its_reason_and_takes_nothing_after_its_grace() {
    let rig = Setup::bare().source("beam", &format!("{BIND}\ngrace_s = 0.2")).start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("aborted");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..5));
    feed.send(&script.abort("shutter fell"));
    let scan = rig.archived("aborted");
    assert_eq!(scan["outcome"], json!({ "status": "aborted", "reason": "shutter fell" }));
    assert_eq!(scan["energies_done"], 5);
    let folder = folder(&scan);
    assert_eq!(manifest(&folder)["provisional"], false);
    let before = table::stack_bytes(&folder);
    feed.send_all(&script.lines(5..6));
    until("stale messages", || (rig.metric("phasewatch_messages_stale_total", &[]) == 4.0).then_some(()));
    assert_eq!(table::stack_bytes(&folder), before);
    assert_eq!(rig.scan("aborted").unwrap()["state"], "archived");
}

#[test]
fn another_scan_of_the_source_ends_the_one_before_after_the_grace() {
    let rig = Setup::bare().source("beam", &format!("{BIND}\ngrace_s = 0.3")).source("else", BIND).start();
    let mut other = Feed::push(&rig.sources["else"]);
    let mut untouched = Script::new("untouched");
    other.send(&untouched.start());
    other.send_all(&untouched.lines(0..4));
    let mut feed = Feed::push(&rig.sources["beam"]);
    let mut first = Script::new("first");
    feed.send(&first.start());
    feed.send_all(&first.lines(0..4));
    feed.send_all(&Script::new("second").whole());
    let scan = rig.archived("first");
    assert_eq!(scan["outcome"], json!({ "status": "partial", "reason": "scan second began" }));
    assert_eq!(rig.archived("second")["outcome"]["status"], "complete");
    let untouched = rig.wait_scan("untouched", "mapped", |scan| scan["generation"].as_u64() > Some(0));
    assert_eq!(untouched["state"], "running", "it is of another source");
}

#[test]
fn late_samples_open_a_scan_again_and_it_is_archived_anew() {
    let rig = Setup::bare().source("beam", &format!("{BIND}\ngrace_s = 0.2\nsilence_s = 0.4")).start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("again");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..6));
    let partial = rig.archived("again");
    let place = folder(&partial);
    assert_eq!(manifest(&place)["provisional"], true);
    let late = script.lines(6..12);
    let (kept_back, end) = (late[7].clone(), script.end());
    feed.send_all(late.iter().enumerate().filter(|(index, _)| *index != 7).map(|(_, line)| line));
    feed.send(&end);
    let full = rig.wait_scan("again", "complete", |scan| {
        scan["state"] == "archived" && scan["outcome"]["status"] == "complete"
    });
    assert_eq!(folder(&full), place, "it replaces the provisional archive");
    assert_eq!(full["measured_values"], 12 * 24 - 6);
    assert_eq!(full["gaps"], json!([{ "first": 32, "last": 32 }]));
    assert!(full["generation"].as_u64() > partial["generation"].as_u64());
    // And once more, although the scan has ended: the line that was lost comes after all.
    feed.send(&kept_back);
    let healed = rig.wait_scan("again", "healed", |scan| {
        scan["state"] == "archived" && scan["measured_values"] == 12 * 24
    });
    assert_eq!((&healed["gaps"], folder(&healed)), (&json!([]), place.clone()));
    let mut alone = Script::new("alone");
    feed.send_all(&alone.whole());
    let alone = folder(&rig.archived("alone"));
    assert_eq!(table::stack_bytes(&place), table::stack_bytes(&alone), "as if it had never been interrupted");
    table::assert_same_map(&table::phase_map(&place), &table::phase_map(&alone), &["scan_id"]);
    let folders = std::fs::read_dir(place.parent().unwrap()).unwrap().count();
    assert_eq!(folders, 2, "nothing else is left beside the two scans");
}

#[test]
fn pull_and_sub_connect_and_bind_all_work_in_one_daemon() {
    let (mut push, push_at) = Feed::push_at("tcp://127.0.0.1:0");
    let (mut publish, publish_at) = Feed::publish_at("tcp://127.0.0.1:0");
    let rig = Setup::bare()
        .source("pull-bind", BIND)
        .source("sub-bind", &format!("{BIND}\nsocket = \"sub\""))
        .source("pull-connect", &format!("connect = \"{push_at}\""))
        .source(
            "sub-connect",
            &format!("connect = \"{publish_at}\"\nsocket = \"sub\"\ntopic = \"stxm\"\nbeamline = \"mine\""),
        )
        .start();
    push.send_all(&Script::new("pull-connect").whole());
    Feed::push(&rig.sources["pull-bind"]).send_all(&Script::new("pull-bind").whole());
    let mut other = Feed::publish(&rig.sources["sub-bind"]);
    for (feed, name) in [(&mut publish, "sub-connect"), (&mut other, "sub-bind")] {
        // A publisher repeats its start until it was heard.
        let mut script = Script::new(name);
        until("the start heard", || {
            feed.send(&script.start());
            rig.scan(name)
        });
        feed.send_all(&script.lines(0..12));
        feed.send(&script.end());
    }
    for name in ["pull-bind", "sub-bind", "pull-connect", "sub-connect"] {
        let scan = rig.wait_scan(name, "archived", |scan| scan["state"] == "archived");
        assert_eq!((&scan["measured_values"], &scan["source"]), (&json!(12 * 24), &json!(name)));
    }
    assert_eq!(rig.scan("sub-connect").unwrap()["beamline"], "mine");
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0);
}

#[test]
fn a_sender_that_restarts_is_found_again() {
    let (mut first, address) = Feed::push_at("tcp://127.0.0.1:0");
    let rig = Setup::bare().source("beam", &format!("connect = \"{address}\"\ngrace_s = 0.3")).start();
    let mut before = Script::new("before");
    first.send(&before.start());
    first.send_all(&before.lines(0..4));
    rig.received(17);
    drop(first);
    rig.log.wait("the loss", |line| line["message"] == "a sender is gone");
    let mut second = until("the port again", || Feed::try_push_at(&address));
    second.send_all(&Script::new("after").whole());
    assert_eq!(rig.archived("after")["outcome"]["status"], "complete");
    assert_eq!(rig.archived("before")["outcome"]["status"], "partial");
    assert_eq!(rig.metric("phasewatch_source_reconnects_total", &["beam"]), 1.0);
}

#[test]
fn a_signal_archives_the_open_scans_and_ends_with_0() {
    for signal in ["TERM", "INT"] {
        let mut rig = Setup::new().start();
        let mut feed = Feed::push(rig.source());
        let mut script = Script::new("open");
        feed.send(&script.start());
        feed.send_all(&script.lines(0..7));
        rig.received(1 + 28);
        assert!(rig.is_alive());
        let ended = rig.stop(signal);
        assert_eq!(ended.code, Some(0), "SIG{signal}:\n{}", ended.log.text());
        let text = ended.log.text();
        assert!(text.contains(&format!("SIG{signal}: stopping")) && text.contains("\"stopped\""), "{text}");
        let place = ended.dir.path().join("archive/beamline=test-1/date=2026-05-04/scan=open");
        let manifest = manifest(&place);
        assert_eq!(manifest["outcome"], json!({ "status": "partial", "reason": "the daemon was stopped" }));
        assert_eq!(manifest["provisional"], true);
        assert_eq!(manifest["map"]["energies_done"], 7);
        assert_eq!(table::phase_map(&place).num_rows(), 24);
    }
}

#[test]
fn an_end_with_something_missing_waits_for_its_grace() {
    let rig = Setup::bare().source("beam", &format!("{BIND}\ngrace_s = 30")).start();
    let mut feed = Feed::push(rig.source());
    let messages = Script::new("overtaken").whole();
    let (late, rest) = (&messages[20], [&messages[..20], &messages[21..]].concat());
    feed.send_all(&rest);
    rig.received(rest.len() as u64);
    let scan = rig.wait_scan("overtaken", "mapped", |scan| scan["measured_values"] == 12 * 24 - 6);
    assert_eq!(scan["state"], "running", "the end overtook a line");
    let begun = std::time::Instant::now();
    feed.send(late);
    let scan = rig.archived("overtaken");
    assert_eq!((&scan["measured_values"], &scan["gaps"]), (&json!(12 * 24), &json!([])));
    assert!(begun.elapsed() < Duration::from_secs(25), "nothing is missing: no need to wait");
}
