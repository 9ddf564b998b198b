//! Every rule of the wire format, broken once over a real socket in the middle of a good scan.
//!
//! The cases are dealt out to several sources of one daemon so that each source sees every reason at most once:
//! its counters and its log can then be read exactly. The archived scan has to be that of the good messages alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::rig::{Rig, Setup, until};
use crate::script::{DARK, Message, Script, floats};
use crate::table::{self, assert_same_map, folder};

/// A broken rule: the reason it is counted under, what the log has to name, and the message.
struct Case {
    reason: &'static str,
    names: &'static str,
    make: Box<dyn Fn(&Script) -> Message>,
}

fn case(reason: &'static str, names: &'static str, make: impl Fn(&Script) -> Message + 'static) -> Case {
    Case { reason, names, make: Box::new(make) }
}

/// A good line, not counted, to be broken.
fn line(script: &Script) -> Message {
    script.draft(|script| script.line(5, 1))
}

/// A good line whose pixels are listed.
fn listed(script: &Script, pixels: &[u32]) -> Message {
    let bytes = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    let values = floats(&vec![900.0; pixels.len()]);
    line(script)
        .with("count", json!(pixels.len()))
        .with("pixel_part", json!(true))
        .part(1, values)
        .and_part(bytes)
}

/// A good line with an incident intensity for each pixel.
fn monitored(script: &Script, i0: &[f32]) -> Message {
    line(script).with("i0", Value::Null).with("i0_part", json!(true)).and_part(floats(i0))
}

/// The start of another scan, to be broken.
fn start(script: &Script) -> Message {
    let mut other = Script::new(&format!("{}-bad", script.scan_id));
    other.seq = script.seq;
    other.start()
}

fn headers() -> Vec<Case> {
    let plain = |kind: &'static str| move |script: &Script| script.draft(|script| script.plain(kind));
    vec![
        case("header", "EOF", |_| Message::raw("{", vec![])),
        case("header", "expected", |s| line(s).replace("\"i0\":20000.0", "\"i0\":NaN")),
        case("header", "missing field `scan_id`", |s| line(s).with("scan_id", Value::Null)),
        case("header", "missing field `seq`", |s| line(s).with("seq", Value::Null)),
        case("header", "missing field `time`", move |s| plain("scan_pause")(s).with("time", Value::Null)),
        case("header", "invalid value", |s| line(s).with("seq", json!(-1))),
        case("header", "u64", |s| line(s).with("seq", json!(1.5))),
        case("header", "invalid type", |s| line(s).with("count", json!("6"))),
        case("header", "u32", |s| line(s).with("energy_index", json!(-1))),
        case("header", "int8", |s| line(s).with("dtype", json!("int8"))),
        case("header", "zstd", |s| line(s).with("encoding", json!("zstd"))),
        case("header", "number out of range", |s| line(s).replace("\"i0\":20000.0", "\"i0\":1e999")),
        case("header", "done", move |s| plain("scan_end")(s).with("status", json!("done"))),
        case("header", "", |_| Message::raw([0xff, 0xfe, b'{'], vec![vec![0; 24]])),
        case("header", "expected", |_| Message::raw("stxm", vec![vec![0; 24]])),
        case("header_size", "65536", |s| line(s).with("note", json!("x".repeat(64 * 1024)))),
        case("header_size", "1048576", |s| start(s).with("note", json!("x".repeat(1024 * 1024)))),
        case("stream", "stxm-stream/2", |s| line(s).with("stream", json!("stxm-stream/2"))),
        case("scan_id", "../../etc", |s| line(s).with("scan_id", json!("../../etc"))),
        case("scan_id", "", |s| line(s).with("scan_id", json!(""))),
        case("scan_id", ".hidden", |s| line(s).with("scan_id", json!(".hidden"))),
        case("scan_id", "128", |s| start(s).with("scan_id", json!("a".repeat(129)))),
        case("time", "yesterday", |s| line(s).with("time", json!("yesterday"))),
        case("time", "2026-05-04 03", move |s| plain("scan_resume")(s).with("time", json!("2026-05-04 03"))),
    ]
}

fn payloads() -> Vec<Case> {
    let plain = |kind: &'static str| move |script: &Script| script.draft(|script| script.plain(kind));
    let end = |script: &Script| script.draft(Script::end);
    let extend = |script: &Script| script.draft(|script| script.extend(&[540.0]));
    vec![
        case("parts", "3 message parts where 2", |s| line(s).and_part(vec![0; 4])),
        case("parts", "1 message parts where 2", |s| line(s).cut()),
        case("parts", "2 message parts where 1", move |s| plain("scan_pause")(s).and_part(vec![1])),
        case("parts", "2 message parts where 1", move |s| plain("scan_resume")(s).and_part(vec![])),
        case("parts", "2 message parts where 1", move |s| end(s).and_part(vec![1])),
        case("parts", "2 message parts where 1", move |s| extend(s).and_part(vec![1])),
        case("parts", "2 message parts where 1", |s| start(s).and_part(vec![1])),
        case("parts", "2 message parts where 3", |s| monitored(s, &[9e3; 6]).cut()),
        case("parts", "2 message parts where 3", |s| listed(s, &[1, 2]).cut()),
        case("parts", "4 message parts where 3", |s| listed(s, &[1, 2]).and_part(vec![0; 8])),
        case("size", "20 bytes where 24", |s| line(s).part(1, vec![0; 20])),
        case("size", "25 bytes where 24", |s| line(s).part(1, vec![0; 25])),
        case("size", "0 bytes where 24", |s| line(s).part(1, vec![])),
        case("size", "24 bytes where 17179869180", |s| line(s).with("count", json!(u32::MAX))),
        case("size", "12 values for 6 pixels", |s| line(s).part(1, vec![0; 48])),
        case("size", "the pixel part has 4 bytes where 8", |s| listed(s, &[1, 2]).part(2, vec![0; 4])),
        case("size", "the i0 part has 20 bytes where 24", |s| monitored(s, &[9e3; 5])),
        case("count_zero", "count is 0", |s| line(s).with("count", json!(0)).part(1, vec![])),
        case("packed", "announces, or has", |s| line(s).with("encoding", json!("lz4"))),
        case("parts", "3 message parts where 7", |s| line(s).with("encoding", json!("lz4")).and_part(vec![])),
        case("encoding", "bslz4 of float64 is not supported", |s| {
            line(s).with("encoding", json!("bslz4")).with("dtype", json!("float64"))
        }),
        case("size", "one message may have", |s| {
            line(s).with("encoding", json!("lz4")).with("count", json!(u32::MAX))
        }),
        case("infinite", "value 2 is infinite", |s| {
            line(s).part(1, floats(&[1.0, 1.0, f32::INFINITY, 1.0, 1.0, 1.0]))
        }),
        case("infinite", "value 0 is infinite", |s| line(s).part(1, floats(&[f32::NEG_INFINITY; 6]))),
        case("infinite", "value 1 is infinite", |s| {
            let doubles = [1.0, 1e300, 1.0, 1.0, 1.0, 1.0_f64].iter().flat_map(|v| v.to_le_bytes()).collect();
            line(s).with("dtype", json!("float64")).part(1, doubles)
        }),
        case("i0_twice", "both i0 and i0_part", |s| monitored(s, &[9e3; 6]).with("i0", json!(9e3))),
        case("i0_not_finite", "i0 is not finite", |s| monitored(s, &[9e3, 9e3, f32::NAN, 9e3, 9e3, 9e3])),
        case("i0_not_finite", "i0 is not finite", |s| monitored(s, &[f32::INFINITY; 6])),
        case("i0_not_finite", "i0 is not finite", |s| line(s).with("i0", json!(1e300))),
        case("i0_below_dark", "not above the dark level", |s| line(s).with("i0", json!(DARK))),
        case("i0_below_dark", "not above the dark level", |s| line(s).with("i0", json!(-9e3))),
        case("i0_below_dark", "not above the dark level", |s| monitored(s, &[9e3, 9e3, 9e3, 9e3, 9e3, DARK])),
    ]
}

fn places() -> Vec<Case> {
    vec![
        case("pixel", "pixel 24 is not below the grid's 24", |s| line(s).with("first_pixel", json!(19))),
        case("pixel", "pixel 4294967300", |s| line(s).with("first_pixel", json!(u32::MAX))),
        case("pixel", "pixel 24 is not below", |s| listed(s, &[0, 24, 1])),
        case("pixel", "pixel 4294967295", |s| listed(s, &[u32::MAX])),
        case("energy_index", "energy_index 12 is not below", |s| line(s).with("energy_index", json!(12))),
        case("energy_index", "4294967295", |s| line(s).with("energy_index", json!(u32::MAX))),
        case("seq", "4294967295", |s| line(s).with("seq", json!(u32::MAX))),
        case("seq", "18446744073709551615", |s| {
            s.draft(|s| s.plain("scan_pause")).with("seq", json!(u64::MAX))
        }),
        case("seq", "18446744073709551615", |s| s.draft(|s| s.plain("noise")).with("seq", json!(u64::MAX))),
        case("seq", "18446744073709551615", |s| s.draft(Script::start).with("seq", json!(u64::MAX))),
        case("seq", "18446744073709551615", |s| s.draft(Script::end).with("seq", json!(u64::MAX))),
        case("seq", "18446744073709551615", |s| start(s).with("seq", json!(u64::MAX))),
        case("other_plan", "the first stands", |s| s.draft(|s| s.clone().grid(5, 6).start())),
        case("other_plan", "plan_extend", |s| s.draft(|s| s.clone().energies(&[510.0, 515.0]).start())),
    ]
}

fn plans() -> Vec<Case> {
    let axis = |start: f64, step: f64| json!({ "start": start, "step": step });
    let grid = move |shape: Value, x: Value| json!({ "shape": shape, "x": x, "y": axis(0.0, 1.0) });
    let good = move || axis(0.0, 1.0);
    let detector = |value: Value| move |s: &Script| start(s).with("detector", value.clone());
    let extend = |fields: Value| {
        move |s: &Script| {
            let mut message = s.draft(|s| s.extend(&[540.0]));
            for (field, value) in fields.as_object().unwrap() {
                message = message.with(field, value.clone());
            }
            message
        }
    };
    vec![
        case("plan", "0×6", move |s| start(s).with("grid", grid(json!([0, 6]), good()))),
        case("plan", "16385×1", move |s| start(s).with("grid", grid(json!([16385, 1]), good()))),
        // 10^9 pixels.
        case("plan", "31623×31623", move |s| start(s).with("grid", grid(json!([31623, 31623]), good()))),
        case("plan", "grid.x is 0", move |s| start(s).with("grid", grid(json!([4, 6]), axis(0.0, 0.0)))),
        case("plan", "0 energies", |s| start(s).with("energies_ev", json!([]))),
        case("plan", "4097 energies", |s| start(s).with("energies_ev", json!(vec![500.0; 4097]))),
        case("plan", "energies_ev is -5", |s| start(s).with("energies_ev", json!([500.0, -5.0]))),
        case("plan", "energies_ev is 0", |s| start(s).with("energies_ev", json!([0.0]))),
        case("plan", "dwell_ms has 2 values for 12", |s| start(s).with("dwell_ms", json!([1.0, 2.0]))),
        case("plan", "dwell_ms is 0", |s| start(s).with("dwell_ms", json!(0.0))),
        case("plan", "flux_ph_per_s has 1", |s| start(s).with("flux_ph_per_s", json!([1e9]))),
        case("plan", "beamline \"a/b\"", |s| start(s).with("beamline", json!("a/b"))),
        case("plan", "only for an area", detector(json!({ "kind": "point", "frame_shape": [2, 2] }))),
        case("plan", "missing for an area", detector(json!({ "kind": "area" }))),
        case("plan", "outside 1 to 16384", detector(json!({ "kind": "area", "frame_shape": [0, 2] }))),
        case("plan", "detector.dark is -1", detector(json!({ "dark": -1.0 }))),
        case("plan", "detector.saturation is 0", detector(json!({ "saturation": 0.0 }))),
        case("plan", "counts_per_photon has 2", detector(json!({ "counts_per_photon": [1.0, 1.0] }))),
        case("plan", "0 energies", extend(json!({ "energies_ev": [] }))),
        case("plan", "energies_ev is -1", extend(json!({ "energies_ev": [-1.0] }))),
        case("plan", "dwell_ms has 14", extend(json!({ "dwell_ms": [1.0, 2.0] }))),
        case("header", "missing field `grid`", |s| start(s).with("grid", Value::Null)),
        case("header", "missing field `energies_ev`", |s| start(s).with("energies_ev", Value::Null)),
        case("header", "missing field `energies_ev`", extend(json!({ "energies_ev": null }))),
    ]
}

/// Deals the cases out so that no hand holds two of one reason.
fn deal(cases: Vec<Case>) -> Vec<Vec<Case>> {
    let mut seen = BTreeMap::new();
    let mut hands: Vec<Vec<Case>> = Vec::new();
    for case in cases {
        let hand = seen.entry(case.reason).or_insert(0_usize);
        if hands.len() <= *hand {
            hands.push(Vec::new());
        }
        hands[*hand].push(case);
        *hand += 1;
    }
    hands
}

fn refused(rig: &Rig, labels: &[&str]) -> f64 {
    rig.metric("phasewatch_messages_refused_total", labels)
}

#[test]
fn every_broken_rule_is_counted_named_and_does_no_harm() {
    let cases = [headers(), payloads(), places(), plans()].into_iter().flatten().collect();
    let hands = deal(cases);
    let name = |hand: usize| format!("s{hand}");
    let bind = "bind = \"tcp://127.0.0.1:0\"";
    let mut setup = Setup::bare().source("good", bind).set("limits", "open_scans = 64");
    for hand in 0..hands.len() {
        setup = setup.source(&name(hand), bind);
    }
    let mut rig = setup.start();
    Feed::push(&rig.sources["good"]).send_all(&Script::new("good").whole());
    for (hand, cases) in hands.iter().enumerate() {
        let mut feed = Feed::push(&rig.sources[&name(hand)]);
        let mut script = Script::new(&format!("tried-{hand}"));
        let mut bad = cases.iter();
        feed.send(&script.start());
        for energy in 0..script.energies_ev.len() {
            for row in 0..script.ny {
                if let Some(case) = bad.next() {
                    feed.send(&(case.make)(&script));
                }
                feed.send(&script.line(energy, row));
            }
        }
        assert!(bad.next().is_none(), "more cases than lines");
        feed.send(&script.end());
    }
    let wanted = folder(&rig.archived("good"));
    for (hand, cases) in hands.iter().enumerate() {
        let scan_id = format!("tried-{hand}");
        let source = format!("source=\"{}\"", name(hand));
        let scan = rig.archived(&scan_id);
        assert_eq!(scan["outcome"]["status"], "complete", "{scan}");
        assert_eq!(scan["gaps"], json!([]), "a refused message takes no seq");
        for case in cases {
            let reason = format!("reason=\"{}\"", case.reason);
            assert_eq!(
                refused(&rig, &[&source, &reason]),
                1.0,
                "{} of {scan_id}: {}",
                case.reason,
                case.names
            );
            rig.log.wait(&format!("{} ({}) of {scan_id}", case.reason, case.names), |line| {
                line["source"] == name(hand)
                    && line["reason"] == case.reason
                    && line["message"].as_str().is_some_and(|text| text.contains(case.names))
            });
        }
        assert_eq!(refused(&rig, &[&source]), cases.len() as f64, "nothing else was refused");
        let found = folder(&scan);
        assert_eq!(table::stack_bytes(&found), table::stack_bytes(&wanted), "{scan_id}");
        assert_same_map(&table::phase_map(&found), &table::phase_map(&wanted), &["scan_id"]);
    }
    assert_eq!(refused(&rig, &["source=\"good\""]), 0.0);
    assert!(rig.is_alive());
    assert_eq!(rig.stop("TERM").code, Some(0));
}

#[test]
fn garbage_on_the_port_disturbs_nobody() {
    use std::io::Write as _;

    let mut rig = Setup::new().start();
    let address = rig.source().strip_prefix("tcp://").unwrap().to_owned();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("kept");
    feed.send(&script.start());
    let greeting = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0][..], b"NULL", &[0; 48]].concat();
    let long_frame = [&greeting[..], &[2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 400], &[0xff; 400], &greeting, &long_frame] {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        // It may be cut off while it is still talking.
        drop(stream.write_all(garbage));
    }
    until("trouble in the metrics", || {
        (rig.metric("phasewatch_source_peer_errors_total", &["cause=\"handshake\""]) >= 3.0).then_some(())
    });
    rig.log.wait("trouble in the log", |line| line["message"] == "trouble with a sender");
    feed.send_all(&script.lines(0..12));
    feed.send(&script.end());
    assert_eq!(rig.archived("kept")["measured_values"], 12 * 24);
    assert!(rig.is_alive());
}

#[test]
fn unknown_types_and_fields_and_duplicates_change_nothing() {
    let mut rig = Setup::bare()
        .source("good", "bind = \"tcp://127.0.0.1:0\"")
        .source("odd", "bind = \"tcp://127.0.0.1:0\"")
        .start();
    Feed::push(&rig.sources["good"]).send_all(&Script::new("good").whole());
    let mut feed = Feed::push(&rig.sources["odd"]);
    let mut script = Script::new("odd");
    let mut sent = vec![script.start().with("colour", json!({ "of": ["the", "cover"] }))];
    sent.push(script.plain("temperature").with("kelvin", json!(290)).and_part(vec![1, 2]).and_part(vec![]));
    sent.extend(script.lines(0..12).into_iter().map(|line| line.with("extra", json!([1, null]))));
    feed.send_all(&sent);
    // All of it once more, then the end, twice.
    feed.send_all(&sent);
    let end = script.end();
    feed.send_all([&end, &end]);
    let scan = rig.archived("odd");
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    until("all messages", || {
        (rig.metric("phasewatch_messages_received_total", &["odd"]) == 2.0 * sent.len() as f64 + 2.0)
            .then_some(())
    });
    assert_eq!(rig.metric("phasewatch_messages_skipped_total", &["odd"]), 1.0);
    assert_eq!(rig.metric("phasewatch_messages_duplicate_total", &["odd"]), sent.len() as f64 + 1.0);
    assert_eq!(refused(&rig, &[]), 0.0);
    let [good, odd] = [folder(&rig.archived("good")), folder(&scan)];
    assert_eq!(table::stack_bytes(&good), table::stack_bytes(&odd));
    assert_same_map(&table::phase_map(&good), &table::phase_map(&odd), &["scan_id"]);
    assert!(rig.is_alive());
}
