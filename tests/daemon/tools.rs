//! What is run beside the daemon: `sniff`, `replay` of recordings, `tee`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::feed::{Feed, Pull};
use crate::formats::{ENERGIES, Emulator, NX, NY, archived, counts, rig, truth};
use crate::raw::Raw;
use crate::rig::{PATIENCE, PHASEWATCH, Setup, phasewatch, references};
use crate::script::Message;
use crate::table::folder;

/// A command that runs; it is killed when it is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(PHASEWATCH)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Nobody may want them any more.
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Self { child, lines }
    }

    /// What follows `prefix` in the next line on standard error that begins with it.
    fn said(&self, prefix: &str) -> String {
        self.wait(prefix, |line| line.strip_prefix(prefix).map(str::to_owned))
    }

    fn wait<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("not said: {what}"));
            if let Some(found) = wanted(&line) {
                return found;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end: exit code and standard output.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().code(), out)
    }
}

/// What a recording makes, sent to a daemon as its sender did.
fn replayed(kind: &str, recording: &Path) -> Vec<Vec<Option<f32>>> {
    let replay = Running::start(&[
        "replay",
        recording.to_str().unwrap(),
        "--bind",
        "tcp://127.0.0.1:0",
        "--speed",
        "0",
    ]);
    let rig = rig(kind, &replay.said("bound to "));
    counts(&folder(&archived(&rig)))
}

#[test]
fn what_sniff_records_makes_the_same_map() {
    let truth = truth();
    let dir = tempfile::tempdir().unwrap();
    let lines = NY * ENERGIES;
    for (kind, messages) in [
        ("stxm-stream", lines + 2),
        ("pystxmcontrol", lines + 4),
        ("pixelator", 2 * lines + 5),
        ("bluesky", lines + 3),
    ] {
        let speaks = if kind == "stxm-stream" { vec![] } else { vec!["--as", kind] };
        let emulator = Emulator::start(&speaks);
        let recording = dir.path().join(format!("{kind}.arrows"));
        let messages = messages.to_string();
        let mut args = vec![
            "sniff",
            &emulator.address,
            "--json",
            "--messages",
            &messages,
            "--record",
            recording.to_str().unwrap(),
        ];
        args.extend((kind == "stxm-stream").then_some("--pull"));
        let output = phasewatch(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {said}");
        let finding: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(finding["formats"][0]["kind"], kind, "{finding}");
        let scan = &finding["scans"][0];
        assert_eq!(
            (&scan["shape"], &scan["energies"], &scan["progress"]),
            (&json!([NY, NX]), &json!(ENERGIES), &json!(1.0)),
            "{finding}"
        );
        assert_eq!((&finding["problems"], &finding["unknown"]), (&json!([]), &json!(0)), "{finding}");
        assert_eq!(replayed(kind, &recording), truth, "{kind}");
    }
    // And in a daemon of its own.
    for kind in ["stxm-stream", "pixelator"] {
        let out = dir.path().join(format!("{kind}-archive"));
        let recording = dir.path().join(format!("{kind}.arrows"));
        let paths = [&recording, &references(), &out].map(|path| path.to_str().unwrap().to_owned());
        let output =
            phasewatch(&["replay", &paths[0], "--speed", "0", "--references", &paths[1], "--out", &paths[2]]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found =
            std::process::Command::new("find").arg(&out).args(["-name", "stack.parquet"]).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        let [stack] = found.lines().collect::<Vec<_>>()[..] else { panic!("{kind}: {found}") };
        assert_eq!(counts(Path::new(stack).parent().unwrap()), truth, "{kind}");
    }
}

#[test]
fn what_the_daemon_records_of_the_wire_makes_the_same_map() {
    let truth = truth();
    for kind in ["pixelator", "stxm-stream"] {
        let emulator = if kind == "stxm-stream" {
            // Published, with a topic.
            Emulator::start(&["--pub"])
        } else {
            Emulator::start(&["--as", kind])
        };
        let mut lines = format!("connect = {:?}\ngrace_s = 0.5", emulator.address);
        if kind == "stxm-stream" {
            lines += "\nsocket = \"sub\"";
        }
        let rig = Setup::bare()
            .source_of(kind, "beam", &lines)
            .set("journal", "record_bytes = 100_000_000")
            .start();
        assert_eq!(counts(&folder(&archived(&rig))), truth, "{kind}");
        let ended = rig.stop("TERM");
        let recording = ended.dir.path().join("state/raw/beam.arrows");
        if kind == "stxm-stream" {
            let out = ended.dir.path().join("again");
            let paths = [&recording, &references(), &out].map(|path| path.to_str().unwrap().to_owned());
            let output = phasewatch(&[
                "replay",
                &paths[0],
                "--speed",
                "0",
                "--references",
                &paths[1],
                "--out",
                &paths[2],
            ]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(out.join("index.parquet").is_file() || std::fs::read_dir(&out).unwrap().count() > 0);
        } else {
            assert_eq!(replayed(kind, &recording), truth, "{kind}");
        }
    }
}

#[test]
fn sniff_leaves_a_push_alone_unless_it_is_told_to_pull() {
    let emulator = Emulator::start(&[]);
    let output = phasewatch(&["sniff", &emulator.address]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("a PUSH sends there") && said.contains("phasewatch tee"), "{said}");
    // Nothing was taken away.
    let rig = rig("stxm-stream", &emulator.address);
    let scan = archived(&rig);
    assert_eq!(scan["measured_values"], json!(NY * NX * ENERGIES), "{scan}");
}

#[test]
fn sniff_says_that_garbage_is_garbage() {
    let (mut feed, address) = Feed::as_is_at("tcp://127.0.0.1:0");
    let mut sniff = Running::start(&["sniff", &address, "--messages", "3"]);
    let garbage = Message { parts: vec![Bytes::from_static(b"GET / HTTP/1.1")] };
    while sniff.child.try_wait().unwrap().is_none() {
        feed.send(&garbage);
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    let (code, out) = sniff.end();
    assert_eq!(code, Some(65), "{out}");
    assert!(out.contains("3 messages of no known format") && out.contains("GET / HTTP/1.1"), "{out}");
}

/// Messages of several parts, an empty one among them; each tells its number.
fn numbered(number: usize) -> Message {
    let body = vec![number as u8; 100_000];
    Message { parts: vec![Bytes::from(number.to_string()), Bytes::new(), Bytes::from(body)] }
}

/// A tee that is bound on all sides: its input and its outputs.
fn tee(args: &[&str]) -> (Running, String, Vec<String>) {
    let all = [&["--log-format", "json", "tee", "--from", "tcp://127.0.0.1:0", "--bind-from"], args].concat();
    let tee = Running::start(&all);
    let outputs = args.iter().filter(|arg| arg.starts_with("tcp://")).count();
    let address = |line: String| line.split(' ').next().unwrap().to_owned();
    let outputs = (0..outputs).map(|_| address(tee.said("output "))).collect();
    let input = tee.said("input ");
    (tee, input, outputs)
}

/// What the tee says of an output now and then.
fn waits(tee: &Running, what: &str, wanted: impl Fn(&Value) -> bool) {
    tee.wait(what, |line| serde_json::from_str(line).ok().filter(&wanted));
}

#[test]
fn a_tee_gives_all_to_all_and_the_slowest_sets_the_pace() {
    const MESSAGES: usize = 600;
    let bound = "tcp://127.0.0.1:0";
    let (mut tee, input, outputs) =
        tee(&["--to", bound, "--to", bound, "--queue-bytes", "1000000", "--report", "0.1"]);
    let [fast, slow] = [&outputs[0], &outputs[1]].map(|address| Pull::connect(address));
    let sender = std::thread::spawn(move || {
        let mut feed = Feed::push(&input);
        (0..MESSAGES).for_each(|number| feed.send(&numbered(number)));
        // The socket has a queue of its own, which goes with it.
        feed
    });
    let all = |mut pull: Pull| {
        for number in 0..MESSAGES {
            assert_eq!(pull.message(), numbered(number).parts, "{number}");
        }
    };
    let fast = std::thread::spawn(move || all(fast));
    // 60 MB do not fit into what the slow one leaves lying: the fast one has to wait, too.
    waits(&tee, "full", |line| {
        line["output"] == json!(outputs[1]) && line["waiting_bytes"].as_u64() > Some(850_000)
    });
    assert!(!fast.is_finished());
    all(slow);
    fast.join().unwrap();
    drop(sender.join().unwrap());
    tee.signal("TERM");
    let (code, out) = tee.end();
    assert_eq!(code, Some(0), "{out}");
    for output in outputs {
        let told = format!("{output} delivered {MESSAGES} messages, ");
        assert!(out.contains(&told) && out.contains("dropped 0; not delivered 0"), "{out}");
    }
}

#[test]
fn who_may_lose_messages_holds_nobody_back() {
    const MESSAGES: usize = 300;
    let bound = "tcp://127.0.0.1:0";
    let (mut tee, input, outputs) = tee(&["--to", bound, "--may-drop", bound, "--queue-bytes", "1000000"]);
    let [mut writer, mut live] = [&outputs[0], &outputs[1]].map(|address| Pull::connect(address));
    let mut feed = Feed::push(&input);
    let sender = std::thread::spawn(move || {
        (0..MESSAGES).for_each(|number| feed.send(&numbered(number)));
        feed
    });
    for number in 0..MESSAGES {
        assert_eq!(writer.message(), numbered(number).parts, "{number}");
    }
    drop(sender.join().unwrap());
    tee.signal("TERM");
    // What it still has is delivered, in order, and the rest counted.
    let mut got: Vec<usize> = Vec::new();
    while got.last() != Some(&(MESSAGES - 1)) {
        let message = live.message();
        let number = std::str::from_utf8(&message[0]).unwrap().parse().unwrap();
        assert_eq!(message, numbered(number).parts);
        got.push(number);
    }
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]));
    let (code, out) = tee.end();
    let told = format!("{} delivered {} messages, ", outputs[1], got.len());
    assert!(out.contains(&told), "{out}");
    assert!(out.contains(&format!("dropped {}; not delivered 0", MESSAGES - got.len())), "{out}");
    assert!(code == Some(0) && got.len() < MESSAGES, "{code:?} {}", got.len());
}

#[test]
fn a_stopped_tee_delivers_what_it_has_and_says_what_it_could_not() {
    for comes in [true, false] {
        let linger = if comes { "40" } else { "0.2" };
        let (mut tee, input, outputs) =
            tee(&["--to", "tcp://127.0.0.1:0", "--report", "0.1", "--linger", linger]);
        let mut feed = Feed::push(&input);
        (0..20).for_each(|number| feed.send(&numbered(number)));
        waits(&tee, "20 wait", |line| line["waiting"] == 20);
        tee.signal("TERM");
        if comes {
            let mut late = Pull::connect(&outputs[0]);
            (0..20).for_each(|number| assert_eq!(late.message(), numbered(number).parts));
            let (code, out) = tee.end();
            assert!(code == Some(0) && out.contains("delivered 20 messages"), "{code:?} {out}");
        } else {
            let (code, out) = tee.end();
            assert!(code == Some(69) && out.contains("not delivered 20"), "{code:?} {out}");
        }
    }
}

#[test]
fn a_second_receiver_of_one_output_is_refused_and_the_next_one_goes_on() {
    let (tee, input, outputs) = tee(&["--to", "tcp://127.0.0.1:0"]);
    let mut feed = Feed::push(&input);
    let mut first = Raw::shaken(&outputs[0], "PULL");
    feed.send(&numbered(0));
    for part in numbered(0).parts {
        assert_eq!(first.read_frame().1, part);
    }
    Raw::shaken(&outputs[0], "PULL").wait_end();
    drop(first);
    let gone =
        |line: &Value| line["message"].as_str().is_some_and(|told| told.starts_with("a receiver is gone"));
    waits(&tee, "gone", gone);
    feed.send(&numbered(1));
    let mut next = Pull::connect(&outputs[0]);
    assert_eq!(next.message(), numbered(1).parts);
}
