//! What is missing is asked for: with the program's own simulator as the sender, with a sender of the tests' own that
//! knows the protocol, and with some that do not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::feed::{Desk, Feed};
use crate::order::files;
use crate::rig::{PATIENCE, PHASEWATCH, Rig, Setup, until};
use crate::script::{Message, Script};
use crate::table::{folder, manifest};

/// Messages of the small scan: its start, a line for each row of each energy, its end.
const MESSAGES: u64 = 1 + 12 * 4 + 1;

fn rig(lines: &str) -> Rig {
    rig_that_asks_after(0.1, lines)
}

fn rig_that_asks_after(after_s: f64, lines: &str) -> Rig {
    let source =
        format!("bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3\nresend_after_s = {after_s:?}\n{lines}");
    Setup::bare().source("beam", &source).start()
}

fn resend_metric(rig: &Rig, what: &str, labels: &[&str]) -> f64 {
    rig.metric(&format!("phasewatch_resend_{what}_total"), labels)
}

/// All the messages that the gaps of a scan stand for.
fn missing(scan: &Value) -> BTreeSet<u64> {
    let gaps = scan["gaps"].as_array().unwrap();
    let range = |gap: &Value| gap["first"].as_u64().unwrap()..=gap["last"].as_u64().unwrap();
    gaps.iter().flat_map(range).collect()
}

/// `phasewatch simulate`, replaying a recorded stack as fast as it can.
struct Simulator(Child);

impl Simulator {
    fn start(rig: &Rig, stack: &Path, more: &[&str]) -> Self {
        let child = Command::new(PHASEWATCH)
            .args(["simulate", "--connect", rig.source(), "--speed", "0", "--seed", "5", "--stack"])
            .arg(stack)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Tells one that stays for requests to go; returns what it says then.
    fn interrupt(self) -> String {
        let sent = Command::new("kill").arg("-INT").arg(self.0.id().to_string()).status();
        assert!(sent.unwrap().success());
        self.end()
    }

    /// What it says once it has ended.
    fn end(mut self) -> String {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.0.stdout.take().unwrap(), &mut said).unwrap();
        assert!(self.0.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A recorded stack to replay: it has its own times, so that two replays are the same scan.
fn recorded() -> (Rig, PathBuf) {
    let rig = rig("");
    Feed::push(rig.source()).send_all(&Script::new("replayed").whole());
    let stack = folder(&rig.archived("replayed")).join("stack.parquet");
    (rig, stack)
}

#[test]
fn what_was_lost_on_the_way_is_sent_again_and_archives_the_same_bytes() {
    let (_keeps_the_files, stack) = recorded();
    let parts = |rig: &Rig| {
        let scan = rig.archived("replayed");
        assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
        let folder = folder(&scan);
        let mut manifest = manifest(&folder);
        // Where it could have been asked for is the only difference.
        manifest["plan"].as_object_mut().unwrap().remove("resend");
        (files(&folder), ["plan", "map", "gaps", "files"].map(|key| manifest[key].clone()))
    };
    let undisturbed = {
        let rig = rig("");
        Simulator::start(&rig, &stack, &[]).end();
        parts(&rig)
    };
    let rig = rig("");
    let faults = ["--drop", "0.4", "--reorder", "3", "--duplicate", "0.1"];
    let offer = ["--resend", "tcp://127.0.0.1:0", "--linger", "600"];
    let simulator = Simulator::start(&rig, &stack, &[&faults[..], &offer].concat());
    let healed = parts(&rig);
    let said = simulator.interrupt();
    assert!(said.contains(" messages again"), "nothing was lost, so this shows nothing: {said}");
    for ((file, one), (_, other)) in undisturbed.0.iter().zip(&healed.0) {
        assert!(one == other, "{file} differs");
    }
    assert_eq!(undisturbed.1, healed.1);
    assert!(resend_metric(&rig, "requests", &["source=\"beam\""]) >= 1.0);
    assert_eq!(resend_metric(&rig, "messages_given_up", &[]), 0.0);
    assert_eq!(rig.metric("phasewatch_messages_missing_total", &[]), 0.0);
}

#[test]
fn without_an_offer_what_was_lost_is_exactly_known() {
    let (_keeps_the_files, stack) = recorded();
    let rig = rig("");
    let said = Simulator::start(&rig, &stack, &["--drop", "0.4"]).end();
    let sent: u64 = said.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(sent < MESSAGES, "{said}");
    let scan = rig.archived("replayed");
    assert_eq!(missing(&scan).len() as u64, MESSAGES - sent);
    assert_eq!(rig.metric("phasewatch_messages_missing_total", &[]), (MESSAGES - sent) as f64);
    assert_eq!(resend_metric(&rig, "requests", &[]), 0.0);
}

#[test]
fn what_the_simulator_no_longer_keeps_stays_a_gap() {
    let (_keeps_the_files, stack) = recorded();
    let rig = rig("");
    // Nothing is kept: each request is answered with 0.
    let offer = ["--resend", "tcp://127.0.0.1:0", "--linger", "600", "--keep-bytes", "100", "--drop", "0.4"];
    let simulator = Simulator::start(&rig, &stack, &offer);
    let missing = missing(&rig.archived("replayed")).len() as f64;
    let said = simulator.interrupt();
    assert!(!said.contains(" messages again"), "{said}");
    assert!(missing > 0.0);
    assert_eq!(resend_metric(&rig, "messages_given_up", &[]), missing);
    assert_eq!(resend_metric(&rig, "messages_sent", &[]), 0.0);
}

/// What was asked for, in one request.
type Asked = (String, Vec<[u64; 2]>);

fn read(request: &[u8]) -> Asked {
    let request: Value = serde_json::from_slice(request).unwrap();
    let fields: Vec<_> = request.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["scan_id", "seq"]);
    (request["scan_id"].as_str().unwrap().to_owned(), serde_json::from_value(request["seq"].clone()).unwrap())
}

/// Sends again what is asked for; tells what that was.
fn honest(mut desk: Desk, mut feed: Feed, messages: Vec<Message>) -> Receiver<Asked> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        loop {
            let (scan_id, seq) = read(&desk.request());
            let is_asked = |message: &&Message| {
                let header = message.header();
                let number = header["seq"].as_u64().unwrap();
                header["scan_id"] == *scan_id && seq.iter().any(|[a, b]| (*a..=*b).contains(&number))
            };
            let chosen: Vec<_> = messages.iter().filter(is_asked).collect();
            feed.send_all(chosen.iter().copied());
            desk.answer(json!({ "sent": chosen.len() }).to_string());
            if tell.send((scan_id, seq)).is_err() {
                return;
            }
        }
    });
    told
}

fn offering(address: &str) -> Vec<Message> {
    let mut messages = Script::new("asked").whole();
    messages[0] = messages[0].clone().with("resend", json!(address));
    messages
}

fn lost(messages: &[Message], lost: &[usize]) -> Vec<Message> {
    let kept = messages.iter().enumerate().filter(|(seq, _)| !lost.contains(seq));
    kept.map(|(_, message)| message.clone()).collect()
}

#[test]
fn a_gap_is_asked_for_once_and_closed_before_the_end() {
    let (desk, address) = Desk::bind();
    // Long enough for what was sent again to be here before it would be asked for once more.
    let rig = rig_that_asks_after(1.5, "");
    let messages = offering(&address);
    let asked = honest(desk, Feed::push(rig.source()), messages.clone());
    let mut feed = Feed::push(rig.source());
    feed.send_all(&lost(&messages[..30], &[3, 4, 5, 9, 20]));
    rig.wait_scan("asked", "healed", |scan| scan["gaps"] == json!([]) && scan["measured_values"] == 29 * 6);
    feed.send_all(&messages[30..]);
    let scan = rig.archived("asked");
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    let asked: Vec<_> = asked.try_iter().collect();
    assert!(asked.iter().all(|(scan_id, _)| scan_id == "asked"), "{asked:?}");
    let ranges: Vec<_> = asked.into_iter().flat_map(|(_, seq)| seq).collect();
    assert_eq!(ranges, [[3, 5], [9, 9], [20, 20]], "nothing that had come, nothing twice");
    assert_eq!(rig.metric("phasewatch_messages_duplicate_total", &[]), 0.0);
}

#[test]
fn where_even_the_start_was_lost_the_settings_say_whom_to_ask() {
    let (desk, address) = Desk::bind();
    let rig = rig(&format!("resend = {address:?}"));
    let messages = Script::new("asked").whole();
    let asked = honest(desk, Feed::push(rig.source()), messages.clone());
    Feed::push(rig.source()).send_all(&messages[5..]);
    let scan = rig.archived("asked");
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), ("asked".to_owned(), vec![[0, 4]]));
}

#[test]
fn a_start_that_was_lost_is_asked_for_after_a_crash_too() {
    let (mut desk, address) = Desk::bind();
    let start = |dir| {
        let lines = format!(
            "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3\nresend_after_s = 0.1\nresend = {address:?}"
        );
        Setup::bare().source("beam", &lines).start_in(dir)
    };
    let messages = Script::new("asked").whole();
    let rig = start(tempfile::tempdir().unwrap());
    // Its end is lost as well.
    let came = &messages[5..messages.len() - 1];
    Feed::push(rig.source()).send_all(came);
    rig.received(came.len() as u64);
    // Nobody answers before the daemon dies.
    desk.request();
    let rig = start(rig.kill());
    let asked = honest(desk, Feed::push(rig.source()), messages.clone());
    let scan = rig.archived("asked");
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    let asked: BTreeSet<_> = std::iter::from_fn(|| asked.try_recv().ok()).flat_map(|(_, seq)| seq).collect();
    let above = [messages.len() as u64 - 1, 4_294_967_294];
    assert!(asked.contains(&[0, 4]) && asked.contains(&above), "{asked:?}");
}

#[test]
fn an_end_that_was_lost_is_asked_for_when_another_scan_begins() {
    let (desk, address) = Desk::bind();
    let rig = rig("");
    let messages = offering(&address);
    let asked = honest(desk, Feed::push(rig.source()), messages.clone());
    let mut feed = Feed::push(rig.source());
    let last = messages.len() - 2;
    feed.send_all(&messages[..last]);
    feed.send(&Script::new("next").start());
    let scan = rig.archived("asked");
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    let open = [last as u64, 4_294_967_294];
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap().1, [open]);
}

/// What a sender that does not keep its word does with a request.
type Manner = fn(&mut Desk);

/// A scan with a gap, sent by one who offers to send again and does as `manner` says: it ends all the same, with its
/// gaps. Returns the daemon.
fn ends_with_gaps(lines: &str, manner: Manner) -> Rig {
    let (mut desk, address) = Desk::bind();
    let rig = rig(lines);
    let messages = offering(&address);
    std::thread::spawn(move || {
        loop {
            read(&desk.request());
            manner(&mut desk);
        }
    });
    Feed::push(rig.source()).send_all(&lost(&messages, &[7, 8, 9]));
    let scan = rig.archived("asked");
    assert_eq!(missing(&scan), BTreeSet::from([7, 8, 9]));
    assert_eq!(scan["outcome"]["status"], "complete");
    rig
}

#[test]
fn a_sender_that_never_answers_is_waited_for_only_so_long() {
    let began = Instant::now();
    let rig = ends_with_gaps("resend_wait_s = 1", |_| {
        std::thread::park_timeout(PATIENCE);
    });
    assert!(began.elapsed() >= Duration::from_secs(1), "it was waited for");
    assert_eq!(
        resend_metric(&rig, "requests", &[]),
        1.0,
        "it is not asked again before the first request is done"
    );
    // The request that is under way does no harm to what comes then.
    Feed::push(rig.source()).send_all(&Script::new("after").whole());
    assert_eq!(rig.archived("after")["gaps"], json!([]));
}

#[test]
fn nonsense_and_lies_are_given_up_after_a_few_attempts() {
    let rig = ends_with_gaps("", |desk| desk.answer(&b"\xff\xfe nonsense"[..]));
    assert_eq!(resend_metric(&rig, "failed", &["cause=\"answer\""]), 5.0);
    assert_eq!(resend_metric(&rig, "messages_given_up", &[]), 3.0);
    let rig = ends_with_gaps("", |desk| desk.answer(r#"{"sent": 3}"#));
    assert_eq!(resend_metric(&rig, "requests", &[]), 5.0);
    assert_eq!(resend_metric(&rig, "messages_asked", &[]), 15.0);
    assert_eq!(resend_metric(&rig, "messages_given_up", &[]), 3.0);
    let rig = ends_with_gaps("", |desk| desk.answer(r#"{"error": "not today"}"#));
    assert_eq!(resend_metric(&rig, "failed", &["cause=\"refused\""]), 5.0);
    rig.log.wait("the reason", |line| line["reason"] == "not today");
}

#[test]
fn a_stream_cannot_have_us_call_where_the_source_is_not() {
    for (address, lines) in [
        ("tcp://192.0.2.7:5560", ""),
        ("tcp://127.0.0.1:0", ""),
        ("ipc:///tmp/x", ""),
        ("tcp://127.0.0.1:5560", "resend = \"off\""),
    ] {
        let rig = rig(lines);
        Feed::push(rig.source()).send_all(&lost(&offering(address), &[7]));
        let scan = rig.archived("asked");
        assert_eq!(missing(&scan), BTreeSet::from([7]));
        assert_eq!(resend_metric(&rig, "requests", &[]), 0.0, "{address}");
        let refused = f64::from(u8::from(lines.is_empty()));
        until("the refusal", || {
            (resend_metric(&rig, "failed", &["cause=\"address\""]) == refused).then_some(())
        });
    }
}
