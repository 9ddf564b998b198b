//! The formats of others, from the emulator or from a sender of our own over real sockets, through the daemon into the archive.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Float32Type;
use phasewatch::source::pixelator::encode;
use phasewatch::source::pystxmcontrol;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::rig::{PHASEWATCH, Rig, Setup, until};
use crate::script::Message;
use crate::table::{self, folder};

pub const NY: usize = 12;
pub const NX: usize = 10;
pub const ENERGIES: usize = 8;

const SCENARIO: &str = "seed = 7\nbeamline = \"simulated\"\nsample = \"drawn\"\n\
    [scan]\nshape = [12, 10]\nenergies = [{ from_ev = 510.0, to_ev = 524.0, step_ev = 2.0 }]\n\
    [specimen]\nsubpixels = 2\n";

/// A microscope that speaks another format; it is killed when it is dropped.
pub struct Emulator {
    child: Child,
    pub address: String,
    _dir: tempfile::TempDir,
}

impl Emulator {
    pub fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let scenario = dir.path().join("scenario.toml");
        std::fs::write(&scenario, SCENARIO).unwrap();
        let mut child = Command::new(PHASEWATCH)
            .args([
                "simulate",
                "--bind",
                "tcp://127.0.0.1:0",
                "--speed",
                "0",
                "--scan-id",
                "drawn",
                "--scenario",
            ])
            .arg(&scenario)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("bound to ").map(str::to_owned)).unwrap();
        // What else it says is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _dir: dir }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn rig(kind: &str, address: &str) -> Rig {
    Setup::bare().source_of(kind, "beam", &format!("connect = {address:?}\ngrace_s = 0.5")).start()
}

/// The only scan there is, once it is as wanted.
pub fn only(rig: &Rig, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(what, || {
        let list: Value = serde_json::from_slice(&rig.get("/api/v1/scans")).unwrap();
        let [scan] = &list.as_array().unwrap()[..] else { return None };
        wanted(scan).then(|| scan.clone())
    })
}

pub fn archived(rig: &Rig) -> Value {
    only(rig, "archived", |scan| scan["state"] == "archived")
}

/// The counts of a scan, pixel by pixel; absent where not measured.
pub fn counts(folder: &Path) -> Vec<Vec<Option<f32>>> {
    let table = table::read(&folder.join("stack.parquet"));
    let lists = table.column_by_name("counts").unwrap().as_list::<i32>().clone();
    (0..lists.len()).map(|row| lists.value(row).as_primitive::<Float32Type>().iter().collect()).collect()
}

pub fn refused(rig: &Rig, reason: &str) -> f64 {
    rig.metric("phasewatch_messages_refused_total", &[&format!("reason=\"{reason}\"")])
}

/// What our own format says of the same scan.
pub fn truth() -> Vec<Vec<Option<f32>>> {
    let emulator = Emulator::start(&[]);
    let rig = rig("stxm-stream", &emulator.address);
    let counts = counts(&folder(&archived(&rig)));
    assert_eq!((counts.len(), counts[0].len()), (NY * NX, ENERGIES));
    counts
}

#[test]
fn every_format_gives_the_counts_that_ours_gives() {
    let truth = truth();
    for format in ["pystxmcontrol", "pixelator", "bluesky"] {
        let emulator = Emulator::start(&["--as", format, "--duplicate", "0.2"]);
        let rig = rig(format, &emulator.address);
        let scan = archived(&rig);
        assert_eq!(scan["outcome"]["status"], "complete", "{format}: {scan}");
        assert_eq!(
            (&scan["simulated"], &scan["untrusted"]),
            (&json!(true), &Value::Null),
            "{format}: {scan}"
        );
        assert_eq!(counts(&folder(&scan)), truth, "{format}");
        assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0, "{format}");
        let manifest = table::manifest(&folder(&scan));
        assert_eq!(manifest["plan"]["context"]["format"], format, "{manifest}");
        assert_eq!(rig.stop("TERM").code, Some(0));
    }
}

#[test]
fn lines_of_pystxmcontrol_that_were_lost_come_with_the_next() {
    let truth = truth();
    let emulator =
        Emulator::start(&["--as", "pystxmcontrol", "--drop", "0.3", "--garbage", "0.5", "--seed", "7"]);
    let rig = rig("pystxmcontrol", &emulator.address);
    let scan = archived(&rig);
    let found = counts(&folder(&scan));
    for (pixel, (found, truth)) in found.iter().zip(&truth).enumerate() {
        for (energy, (found, truth)) in found.iter().zip(truth).enumerate() {
            assert!(found.is_none() || found == truth, "{pixel} {energy}");
        }
    }
    // Only the last lines of an energy have nobody behind them; of the first ones none may be missing.
    assert!((0..ENERGIES).all(|energy| found[..NX].iter().all(|pixel| pixel[energy].is_some())), "{found:?}");
    assert!(rig.metric("phasewatch_messages_refused_total", &[]) > 10.0);
}

#[test]
fn lines_of_pixelator_that_were_lost_are_missing_and_nothing_is_misplaced() {
    let truth = truth();
    let emulator = Emulator::start(&["--as", "pixelator", "--drop", "0.2", "--seed", "7"]);
    let rig = rig("pixelator", &emulator.address);
    let scan = archived(&rig);
    let found = counts(&folder(&scan));
    let mut missing = 0;
    for (found, truth) in found.iter().flatten().zip(truth.iter().flatten()) {
        missing += usize::from(found.is_none());
        assert!(found.is_none() || found == truth);
    }
    assert!(missing > 0 && missing < NY * NX * ENERGIES / 2 && missing % NX == 0, "{missing}");
    assert_eq!(scan["measured_values"], json!(NY * NX * ENERGIES - missing));
}

#[test]
fn events_of_bluesky_in_any_order_are_placed_by_number_and_gaps_are_told() {
    let truth = truth();
    let emulator = Emulator::start(&[
        "--as",
        "bluesky",
        "--drop",
        "0.1",
        "--reorder",
        "4",
        "--garbage",
        "0.3",
        "--seed",
        "7",
    ]);
    let rig = rig("bluesky", &emulator.address);
    let scan = archived(&rig);
    let found = counts(&folder(&scan));
    let mut missing = 0;
    for (found, truth) in found.iter().flatten().zip(truth.iter().flatten()) {
        missing += usize::from(found.is_none());
        assert!(found.is_none() || found == truth);
    }
    let gap = |gap: &Value| {
        let [first, last] = ["first", "last"].map(|key| gap[key].as_u64().unwrap());
        last + 1 - first
    };
    let told: u64 = scan["gaps"].as_array().unwrap().iter().map(gap).sum();
    assert!(missing > 0 && missing == told as usize * NX, "{missing}: {scan}");
}

#[test]
fn who_joins_late_gets_what_the_format_can_tell() {
    // In the middle of the third energy: all of it is in the next image.
    let late = (3 + 2 * NY + 5).to_string();
    let emulator = Emulator::start(&["--as", "pystxmcontrol", "--late-start", &late]);
    let rig_of_pickles = rig("pystxmcontrol", &emulator.address);
    let scan = archived(&rig_of_pickles);
    assert_eq!(
        (&scan["energies_done"], &scan["outcome"]["status"]),
        (&json!(ENERGIES - 2), &json!("complete"))
    );
    assert_eq!(scan["measured_values"], json!((ENERGIES - 2) * NY * NX), "{scan}");
    // Without its start a scan of Pixelator has neither grid nor energies.
    let emulator = Emulator::start(&["--as", "pixelator", "--late-start", "20"]);
    let rig_of_texts = rig("pixelator", &emulator.address);
    until("lines refused", || (refused(&rig_of_texts, "no_start") > 50.0).then_some(()));
    assert_eq!(rig_of_texts.get("/api/v1/scans"), b"[]");
}

#[test]
fn a_scan_that_was_given_up_is_aborted() {
    for format in ["pystxmcontrol", "pixelator", "bluesky"] {
        let emulator = Emulator::start(&["--as", format, "--abort-after", "3"]);
        let rig = rig(format, &emulator.address);
        let scan = archived(&rig);
        assert_eq!(scan["outcome"]["status"], "aborted", "{format}: {scan}");
        assert_eq!(scan["measured_values"], json!(3 * NY * NX), "{format}");
    }
}

fn message(parts: Vec<bytes::Bytes>) -> Message {
    Message { parts }
}

fn plan() -> phasewatch::scan::ScanPlan {
    use phasewatch::scan::{Axis, Grid, ScanPlan};
    let axis = Axis { start: 0.0, step: 0.1 };
    let grid = Grid { shape: [2, 3], x: axis, y: axis, unit: "um".to_owned() };
    ScanPlan::of_stack("crafted".to_owned(), grid, vec![510.0, 515.0, 520.0], 1.0)
}

#[test]
fn a_scan_of_pixelator_whose_order_is_doubtful_is_marked_and_says_why() {
    let (mut feed, address) = Feed::as_is_at("tcp://127.0.0.1:0");
    let mut rig = rig("pixelator", &address);
    let plan = plan();
    let line =
        |outer: usize, row: usize| message(encode::line([0, outer, 0, 0], [row, 0], [1, 3], &[1000.0; 3]));
    feed.greet(&rig, &message(encode::channels(&["Counter1"])));
    feed.send(&message(encode::started(&encode::request(&plan))));
    feed.send(&message(encode::status("running", 0, 0, &plan)));
    feed.send_all(&[line(0, 0), line(0, 1), line(2, 0), line(2, 1)]);
    let scan = only(&rig, "untrusted", |scan| scan["untrusted"] == true);
    assert!(scan["notes"].to_string().contains("a line of outer region 2 while scanStatus says 0"), "{scan}");
    // Rubbish of every kind, also under good topics.
    for rubbish in [
        vec!["scanLineData", "0 0 0 0 ", "0 0 ", "9 9 ", "[1, 2"],
        vec!["scanLineData"],
        vec!["scanStatus", "{"],
        vec!["GET / HTTP/1.1"],
        vec!["", "", ""],
    ] {
        feed.send(&message(rubbish.into_iter().map(|part| bytes::Bytes::from(part.to_owned())).collect()));
    }
    feed.send(&message(encode::finished(&plan)));
    let scan = archived(&rig);
    assert_eq!((&scan["measured_values"], &scan["untrusted"]), (&json!(6), &json!(true)), "{scan}");
    let manifest = table::manifest(&folder(&scan));
    assert_eq!(manifest["remarks"][0]["untrusted"], true, "{manifest}");
    assert_eq!(refused(&rig, "untrusted"), 2.0);
    assert!(rig.is_alive());
}

#[test]
fn a_scan_goes_on_after_the_daemon_was_killed() {
    let (mut feed, address) = Feed::as_is_at("tcp://127.0.0.1:0");
    let raw = |bytes: Vec<u8>| message(vec![bytes::Bytes::from(bytes)]);
    let idle = raw(pystxmcontrol::encode::idle());
    let plan = plan();
    let definition = pystxmcontrol::encode::definition(&plan);
    let line = |energy: usize, row: usize| {
        let measured = |pixel: usize| if pixel / 3 <= row { 1000.0 + pixel as f64 } else { 0.0 };
        raw(pystxmcontrol::encode::line(
            &plan,
            &definition,
            energy,
            row,
            &(0..6).map(measured).collect::<Vec<_>>(),
        ))
    };
    let before = rig("pystxmcontrol", &address);
    feed.greet(&before, &idle);
    feed.send_all(&[line(0, 0), line(0, 1), line(1, 0)]);
    let scan = only(&before, "measured", |scan| scan["measured_values"] == json!(9));
    let dir = before.kill();
    let after = Setup::bare()
        .source_of("pystxmcontrol", "beam", &format!("connect = {address:?}\ngrace_s = 0.5"))
        .start_in(dir);
    feed.greet(&after, &idle);
    feed.send_all(&[line(1, 1), line(2, 1), raw(pystxmcontrol::encode::complete())]);
    let again = archived(&after);
    assert_eq!(again["scan_id"], scan["scan_id"], "the same scan goes on");
    assert_eq!(
        (&again["measured_values"], &again["outcome"]["status"]),
        (&json!(18), &json!("complete")),
        "{again}"
    );
}

/// Sends a scan whose daemon is killed in the middle and started again; returns what is archived.
fn killed_in_mid_scan(kind: &str, says_nothing: &Message, before: &[Message], after: &[Message]) -> Value {
    let (mut feed, address) = Feed::as_is_at("tcp://127.0.0.1:0");
    let first = rig(kind, &address);
    feed.greet(&first, says_nothing);
    feed.send_all(before);
    let scan = only(&first, "measured", |scan| scan["measured_values"] == json!(9));
    let dir = first.kill();
    let setup = Setup::bare().source_of(kind, "beam", &format!("connect = {address:?}\ngrace_s = 0.5"));
    let second = setup.start_in(dir);
    feed.greet(&second, says_nothing);
    feed.send_all(after);
    let again = archived(&second);
    assert_eq!(again["scan_id"], scan["scan_id"], "the same scan goes on");
    assert_eq!(second.metric("phasewatch_messages_refused_total", &[]), 0.0, "{again}");
    // What the adapter remembers is nobody else's.
    assert!(!std::fs::read_to_string(folder(&again).join("manifest.json")).unwrap().contains("recall"));
    again
}

#[test]
fn a_scan_whose_start_is_told_once_goes_on_after_the_daemon_was_killed() {
    let plan = plan();
    let line =
        |outer: usize, row: usize| message(encode::line([0, outer, 0, 0], [row, 0], [1, 3], &[1000.0; 3]));
    let status = |outer: usize| message(encode::status("running", outer, 0, &plan));
    let of_pixelator = killed_in_mid_scan(
        "pixelator",
        &message(encode::channels(&["Counter1"])),
        &[message(encode::started(&encode::request(&plan))), status(0), line(0, 0), line(0, 1), line(1, 0)],
        &[line(1, 1), status(2), line(2, 0), line(2, 1), message(encode::finished(&plan))],
    );
    use phasewatch::source::bluesky::encode as documents;
    let document = |name: &str, body: &Value| {
        message(vec![bytes::Bytes::from(documents::message(name, body.to_string().as_bytes()))])
    };
    let event = |energy: usize, row: usize| {
        let event = documents::event(&plan, energy, row, &[1000.0; 3], plan.started);
        message(vec![bytes::Bytes::from(documents::message("event", &event))])
    };
    let of_bluesky = killed_in_mid_scan(
        "bluesky",
        &document("resource", &json!({})),
        &[
            document("start", &documents::start(&plan)),
            document("descriptor", &documents::descriptor(&plan)),
            event(0, 0),
            event(0, 1),
            event(1, 0),
        ],
        &[event(1, 1), event(2, 0), event(2, 1), document("stop", &documents::stop(&plan, "success"))],
    );
    for scan in [of_pixelator, of_bluesky] {
        assert_eq!(
            (&scan["measured_values"], &scan["outcome"]["status"], &scan["untrusted"]),
            (&json!(18), &json!("complete"), &Value::Null),
            "{scan}"
        );
    }
}

const ENERGIES_OF_THE_PAIR: &str = "energies_ev = [510.0, 512.0, 514.0, 516.0, 518.0, 520.0, 522.0, 524.0]";

#[test]
fn the_emulated_pair_of_desy_is_mapped_and_marked() {
    let emulator = Emulator::start(&["--as", "desy"]);
    let lines =
        format!("connect = {:?}\ngrace_s = 0.5\ngeometry = {{ {ENERGIES_OF_THE_PAIR} }}", emulator.address);
    let rig = Setup::bare().source_of("desy", "beam", &lines).start();
    let scan = archived(&rig);
    assert_eq!(
        (&scan["measured_values"], &scan["outcome"]["status"], &scan["untrusted"], &scan["simulated"]),
        (&json!(NY * NX * ENERGIES), &json!("complete"), &json!(true), &json!(true)),
        "{scan}"
    );
    assert!(scan["notes"].to_string().contains("counted by arrival"), "{scan}");
    assert!(counts(&folder(&scan)).iter().flatten().all(|count| count.is_some_and(|count| count > 0.0)));
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0);
}

#[test]
fn the_two_sockets_of_desy_are_one_source_and_a_lost_frame_is_told() {
    use phasewatch::scan::{Detector, DetectorKind};
    use phasewatch::source::desy::encode as pair;
    const FRAME: [usize; 2] = [2, 5];
    let detector = Detector { kind: DetectorKind::Area, frame_shape: Some(FRAME), ..Detector::default() };
    let plan = phasewatch::scan::ScanPlan { detector, ..plan() };
    let (mut says, metadata) = Feed::as_is_at("tcp://127.0.0.1:0");
    let (mut frames, data) = Feed::as_is_at("tcp://127.0.0.1:0");
    let rig = Setup::bare()
        .source_of("desy", "beam", "grace_s = 0.5\ngeometry = { energies_ev = [510.0, 515.0, 520.0] }")
        .set(
            "source",
            &format!(
                "[[source.sockets]]\nrole = \"metadata\"\nconnect = {metadata:?}\n\
                 [[source.sockets]]\nrole = \"data\"\nconnect = {data:?}"
            ),
        )
        .start();
    let garbage = |parts: usize| message(vec![bytes::Bytes::from_static(b"x"); parts]);
    // Until both are heard.
    for (feed, parts, reason) in [(&mut says, 1, "header"), (&mut frames, 3, "parts")] {
        until(reason, || {
            feed.send(&garbage(parts));
            (refused(&rig, reason) > 0.0).then_some(())
        });
    }
    let mut measured = 0;
    for energy in 0..3_usize {
        says.send(&message(pair::metadata(&plan, energy)));
        if energy == 2 {
            // A frame that overtook these metadata would be taken for the one that is missing.
            only(&rig, "told", |scan| scan["notes"].to_string().contains("only 5 came"));
        }
        // One of the second image is lost; the others move up.
        for pixel in (0..6_usize).filter(|pixel| (energy, *pixel) != (1, 2)) {
            frames.send(&message(pair::frame(FRAME, &[(100 * energy + pixel + 1) as u16; 10])));
            measured += 1;
        }
        only(&rig, "an image", |scan| scan["measured_values"] == json!(measured));
    }
    let scan = archived(&rig);
    assert_eq!((&scan["untrusted"], &scan["outcome"]["status"]), (&json!(true), &json!("partial")), "{scan}");
    assert!(scan["notes"].to_string().contains("of the 6 frames of energy 1 only 5 came"), "{scan}");
    let counts = counts(&folder(&scan));
    let of = |energy: usize| counts.iter().map(|pixel| pixel[energy]).collect::<Vec<_>>();
    let sums = |list: &[usize]| list.iter().map(|value| Some(10.0 * *value as f32)).collect::<Vec<_>>();
    assert_eq!(of(0), sums(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(of(1), [sums(&[101, 102, 104, 105, 106]), vec![None]].concat());
    assert_eq!(of(2), sums(&[201, 202, 203, 204, 205, 206]));
}

#[test]
fn hostile_pickles_are_refused_by_name_and_nothing_of_them_is_done() {
    let (mut feed, address) = Feed::as_is_at("tcp://127.0.0.1:0");
    let mut rig = rig("pystxmcontrol", &address);
    let trap = rig.dir().join("trap");
    let raw = |bytes: Vec<u8>| message(vec![bytes::Bytes::from(bytes)]);
    feed.greet(&rig, &raw(pystxmcontrol::encode::idle()));
    let command = format!("touch {}", trap.display());
    let call = [
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c",
        &[command.len() as u8][..],
        command.as_bytes(),
        b"\x85R.",
    ]
    .concat();
    let giant = [b"\x80\x05\x8e".as_slice(), &u64::MAX.to_le_bytes()].concat();
    let deep = [b"\x80\x04".to_vec(), vec![b']'; 3_000_000], b".".to_vec()].concat();
    feed.send_all(&[
        raw(call),
        raw(giant),
        raw(deep),
        raw(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        raw(Vec::new()),
    ]);
    until("four refused as pickles", || (refused(&rig, "pickle") == 4.0).then_some(()));
    until("the call is no message", || (refused(&rig, "header") == 1.0).then_some(()));
    assert!(!trap.exists());
    // And a scan is read as if nothing had been.
    let plan = plan();
    let definition = pystxmcontrol::encode::definition(&plan);
    for energy in 0..3 {
        let image = vec![1000.0; 6];
        feed.send(&raw(pystxmcontrol::encode::line(&plan, &definition, energy, 1, &image)));
    }
    feed.send(&raw(pystxmcontrol::encode::complete()));
    let scan = archived(&rig);
    assert_eq!((&scan["measured_values"], &scan["simulated"]), (&json!(18), &json!(false)), "{scan}");
    assert!(rig.is_alive() && rig.peak_bytes() < 2 << 30);
}

#[test]
fn the_examples_of_sites_are_good() {
    for site in ["pystxmcontrol", "pixelator", "bluesky", "dectris", "dectris-pixelator", "desy"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/sites/{site}.toml"));
        let output = crate::rig::phasewatch(&["config", "check", path.to_str().unwrap()]);
        assert!(output.status.success(), "{site}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
