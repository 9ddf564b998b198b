//! Area detectors that stream frames and know no scan: from the emulator, or from senders of our own, into the archive.

use bytes::Bytes;
use phasewatch::scan::{DType, Encoding};
use phasewatch::source::dectris::encode::{self, Announced, Packed};
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::formats::{ENERGIES, Emulator, NX, NY, archived, counts, only, refused};
use crate::rig::{Rig, Setup, until};
use crate::script::Message;
use crate::table::{self, folder};

fn setup(address: &str, geometry: &str) -> Setup {
    // What looks for bad pixels takes them out in the middle of a scan: sums would differ with the order of messages.
    Setup::bare()
        .source_of("dectris", "detector", &format!("connect = {address:?}\ngrace_s = 0.5\n{geometry}"))
        .set("detector", "find_bad_pixels = false")
}

/// What our own format says of the same scan.
fn truth() -> Vec<Vec<Option<f32>>> {
    let emulator = Emulator::start(&["--detector", "area"]);
    let rig = Setup::bare()
        .source_of("stxm-stream", "beam", &format!("connect = {:?}", emulator.address))
        .set("detector", "find_bad_pixels = false")
        .start();
    let counts = counts(&folder(&archived(&rig)));
    assert_eq!((counts.len(), counts[0].len()), (NY * NX, ENERGIES));
    counts
}

#[test]
fn both_versions_give_the_sums_that_our_own_format_gives_whatever_a_series_holds() {
    let truth = truth();
    for (format, series) in [
        ("dectris", "stack"),
        ("dectris", "energy"),
        ("dectris", "line"),
        ("dectris-v1", "stack"),
        ("dectris-v1", "energy"),
    ] {
        let emulator = Emulator::start(&["--as", format, "--series", series, "--duplicate", "0.2"]);
        let rig = setup(&emulator.address, "").start();
        let scan = archived(&rig);
        assert_eq!(scan["outcome"]["status"], "complete", "{format} {series}: {scan}");
        assert_eq!(
            (&scan["simulated"], &scan["untrusted"]),
            (&json!(true), &Value::Null),
            "{format} {series}: {scan}"
        );
        assert_eq!(counts(&folder(&scan)), truth, "{format} {series}");
        assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0, "{format} {series}");
        let manifest = table::manifest(&folder(&scan));
        assert_eq!(manifest["plan"]["detector"]["frame_shape"], json!([16, 16]), "{manifest}");
        assert_eq!(rig.stop("TERM").code, Some(0));
    }
}

#[test]
fn frames_that_are_lost_or_late_are_missing_and_nothing_is_misplaced() {
    let truth = truth();
    for series in ["stack", "energy"] {
        let faults = [
            "--as",
            "dectris",
            "--series",
            series,
            "--drop",
            "0.1",
            "--reorder",
            "5",
            "--garbage",
            "0.2",
            "--seed",
            "7",
        ];
        let emulator = Emulator::start(&faults);
        let rig = setup(&emulator.address, "").start();
        let scan = archived(&rig);
        let found = counts(&folder(&scan));
        let mut missing = 0;
        for (found, truth) in found.iter().flatten().zip(truth.iter().flatten()) {
            missing += usize::from(found.is_none());
            assert!(found.is_none() || found == truth, "{series}");
        }
        assert!(missing > 0 && missing < NY * NX * ENERGIES / 2, "{series}: {missing}");
        assert_eq!(scan["measured_values"], json!(NY * NX * ENERGIES - missing), "{scan}");
        assert!(rig.metric("phasewatch_messages_refused_total", &[]) > 50.0);
    }
}

#[test]
fn the_settings_say_what_is_scanned_where_the_detector_does_not() {
    let truth = truth();
    let geometry = "[source.geometry]\nshape = [12, 10]\nx = { start = 0.0, step = 0.05 }\ny = { start = 0.0, step = 0.05 }\n\
        energies_ev = [510.0, 512.0, 514.0, 516.0, 518.0, 520.0, 522.0, 524.0]\nsample = \"drawn\"\n";
    let emulator = Emulator::start(&["--as", "dectris", "--series", "energy", "--no-geometry"]);
    let rig = setup(&emulator.address, geometry).start();
    let scan = archived(&rig);
    assert_eq!(
        (&scan["outcome"]["status"], &scan["untrusted"]),
        (&json!("complete"), &Value::Null),
        "{scan}"
    );
    assert_eq!(counts(&folder(&scan)), truth);
    // Without them nothing is guessed.
    let emulator = Emulator::start(&["--as", "dectris", "--no-geometry"]);
    let rig = setup(&emulator.address, "").start();
    until("all refused", || (refused(&rig, "geometry") > 900.0).then_some(()));
    assert_eq!(rig.get("/api/v1/scans"), b"[]");
}

const SHAPE: [usize; 2] = [8, 16];

fn series(number: u64) -> Announced {
    Announced {
        series: number,
        unique: format!("01HAND{number}"),
        images: 6,
        shape: SHAPE,
        dtype: DType::Uint16,
        saturation: 60_000,
        masked: vec![5],
        count_time_s: 0.001,
        energy_ev: 0.0,
        armed: "2026-05-04T03:02:01Z".to_owned(),
        note: None,
    }
}

fn one(part: Bytes) -> Message {
    Message { parts: vec![part] }
}

/// The messages of a series whose frame `n` has `10 * (series * 6 + n)` counts in each pixel but the masked one, which is hot.
fn frames(number: u64, encoding: Encoding) -> Vec<Message> {
    let series = series(number);
    let image = |image: u64| {
        let value = 10 * (number * 6 + image) as u16;
        let mut frame = vec![value; SHAPE[0] * SHAPE[1]];
        frame[5] = 50_000;
        let bytes: Vec<u8> = frame.iter().flat_map(|value| value.to_le_bytes()).collect();
        one(encode::image(&series, image, 0, &Packed::new(DType::Uint16, encoding, &bytes)).unwrap())
    };
    let mut messages = vec![one(encode::start(&series).unwrap())];
    messages.extend((0..6).map(image));
    messages.push(one(encode::end(&series).unwrap()));
    messages
}

fn scan_start() -> Message {
    Message::new(
        &json!({
            "stream": "stxm-stream/1", "type": "scan_start", "scan_id": "known", "seq": 0, "time": "2026-05-04T03:02:01Z",
            "grid": {"shape": [2, 3], "x": {"start": 0.0, "step": 0.1}, "y": {"start": 0.0, "step": 0.1}},
            "energies_ev": [510.0, 515.0, 520.0], "dwell_ms": 1.0, "detector": {"kind": "point", "dark": 3.0},
        }),
        Vec::new(),
    )
}

fn scan_end() -> Message {
    Message::new(
        &json!({"stream": "stxm-stream/1", "type": "scan_end", "scan_id": "known", "seq": 1, "time": "2026-05-04T03:02:09Z", "status": "complete"}),
        Vec::new(),
    )
}

fn joined() -> (Rig, Feed, Feed) {
    let (microscope, knows) = Feed::push_at("tcp://127.0.0.1:0");
    let (detector, address) = Feed::push_at("tcp://127.0.0.1:0");
    let rig = setup(&address, "geometry_from = \"microscope\"")
        .source_of("stxm-stream", "microscope", &format!("connect = {knows:?}\ngrace_s = 0.5"))
        .start();
    (rig, microscope, detector)
}

/// The pixels that were not left out, times what each has.
fn expected(energy: usize, pixel: usize) -> f32 {
    (10 * (energy * 6 + pixel) * (SHAPE[0] * SHAPE[1] - 1)) as f32
}

#[test]
fn a_scan_that_another_source_knows_gets_its_frames_whichever_comes_first() {
    for frames_first in [false, true] {
        let (rig, mut microscope, mut detector) = joined();
        let received = |count: f64| {
            until("received", || {
                (rig.metric("phasewatch_messages_received_total", &[]) >= count).then_some(())
            });
        };
        if !frames_first {
            microscope.send(&scan_start());
            received(1.0);
        }
        detector.send_all(&frames(0, Encoding::Bslz4));
        received(if frames_first { 8.0 } else { 9.0 });
        if frames_first {
            microscope.send(&scan_start());
            received(9.0);
        }
        detector.send_all(&frames(1, Encoding::Lz4));
        received(17.0);
        microscope.send(&scan_end());
        received(18.0);
        // Behind the end, on another socket.
        detector.send_all(&frames(2, Encoding::Raw));
        let scan =
            only(&rig, "archived", |scan| scan["state"] == "archived" && scan["measured_values"] == 18);
        assert_eq!((&scan["scan_id"], &scan["untrusted"]), (&json!("known"), &Value::Null), "{scan}");
        let counts = counts(&folder(&scan));
        for (pixel, values) in counts.iter().enumerate() {
            for (energy, value) in values.iter().enumerate() {
                assert_eq!(*value, Some(expected(energy, pixel)), "pixel {pixel} energy {energy}");
            }
        }
        assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0);
    }
}

#[test]
fn garbage_of_every_kind_is_refused_and_the_series_goes_on() {
    let (rig, mut microscope, mut detector) = joined();
    let mut rig = rig;
    microscope.send(&scan_start());
    let mut messages = frames(0, Encoding::Bslz4);
    let mut corrupt = messages[3].clone();
    let at = corrupt.parts[0].len() - 12;
    corrupt.parts[0] = [&messages[3].parts[0][..at], &[0xff; 12]].concat().into();
    messages[3] = corrupt;
    for rubbish in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"",
        b"{\"htype\": 3}",
        b"\xd9\xd9\xf7\xa1\x64type\x65image",
        &[0x9f; 4000],
    ] {
        messages.insert(2, one(Bytes::copy_from_slice(rubbish)));
    }
    detector.send_all(&messages);
    until("five refused", || (rig.metric("phasewatch_messages_refused_total", &[]) == 5.0).then_some(()));
    let scan = only(&rig, "five frames", |scan| scan["measured_values"] == 5);
    // The corrupt frame is not measured; it is no number.
    assert_eq!(scan["scan_id"], "known");
    until("counted", || (rig.metric("phasewatch_frames_dropped_total", &[]) == 1.0).then_some(()));
    assert!(rig.is_alive());
}

#[test]
fn a_series_goes_on_after_the_daemon_was_killed() {
    let (mut detector, address) = Feed::push_at("tcp://127.0.0.1:0");
    let block = json!({ "stxm": {
        "scan_id": "told", "shape": [1, 3], "x": {"start": 0.0, "step": 0.1}, "y": {"start": 0.0, "step": 0.1},
        "energies_ev": [510.0, 515.0],
    }});
    let series = Announced { note: Some(block), ..series(0) };
    let mut messages = frames(0, Encoding::Bslz4);
    messages[0] = one(encode::start(&series).unwrap());
    let before = setup(&address, "").start();
    detector.send_all(&messages[..4]);
    only(&before, "three frames", |scan| scan["measured_values"] == 3);
    let dir = before.kill();
    // What lies with a connection that broke is lost, as with any PUSH.
    drop(detector);
    let mut detector = until("the address free again", || Feed::try_push_at(&address));
    let after = setup(&address, "").start_in(dir);
    detector.send_all(&messages[4..]);
    let scan = archived(&after);
    assert_eq!(
        (&scan["scan_id"], &scan["measured_values"], &scan["untrusted"]),
        (&json!("told"), &json!(6), &Value::Null),
        "{scan}"
    );
    // Also without the hot pixel that only the start told of.
    let counts = counts(&folder(&scan));
    for (pixel, values) in counts.iter().enumerate() {
        assert_eq!(values, &[Some(expected(0, pixel)), Some(expected(0, pixel + 3))]);
    }
}

#[test]
fn joined_sources_go_on_after_the_daemon_was_killed() {
    let (mut microscope, knows) = Feed::push_at("tcp://127.0.0.1:0");
    let (mut detector, address) = Feed::push_at("tcp://127.0.0.1:0");
    let both = || {
        setup(&address, "geometry_from = \"microscope\"").source_of(
            "stxm-stream",
            "microscope",
            &format!("connect = {knows:?}\ngrace_s = 0.5"),
        )
    };
    let before = both().start();
    microscope.send(&scan_start());
    until("the start heard", || {
        (before.metric("phasewatch_messages_received_total", &[]) >= 1.0).then_some(())
    });
    detector.send_all(&frames(0, Encoding::Bslz4));
    detector.send_all(&frames(1, Encoding::Bslz4)[..3]);
    only(&before, "eight frames", |scan| scan["measured_values"] == 8);
    let dir = before.kill();
    drop((microscope, detector));
    let mut microscope = until("the address free again", || Feed::try_push_at(&knows));
    let mut detector = until("the address free again", || Feed::try_push_at(&address));
    let after = both().start_in(dir);
    detector.send_all(&frames(1, Encoding::Bslz4)[3..]);
    detector.send_all(&frames(2, Encoding::Bslz4));
    only(&after, "all frames", |scan| scan["measured_values"] == 18);
    microscope.send(&scan_end());
    let scan = archived(&after);
    assert_eq!((&scan["scan_id"], &scan["untrusted"]), (&json!("known"), &Value::Null), "{scan}");
    for (pixel, values) in counts(&folder(&scan)).iter().enumerate() {
        assert!(values.iter().enumerate().all(|(energy, value)| *value == Some(expected(energy, pixel))));
    }
}
