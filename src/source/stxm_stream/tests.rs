use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::scan::{I0, Pixels, PlanError, ScanUpdate};

fn start() -> Value {
    json!({
        "stream": STREAM, "type": "scan_start", "scan_id": "a1", "seq": 0, "time": "2026-01-02T03:04:05Z",
        "grid": {"shape": [2, 3], "x": {"start": 0, "step": 0.1}, "y": {"start": 1, "step": -0.1}},
        "energies_ev": [510, 520.5], "dwell_ms": 1, "an_unknown_field": {"is": "ignored"},
    })
}

fn samples() -> Value {
    json!({
        "stream": STREAM, "type": "samples", "scan_id": "a1", "seq": 1, "time": "2026-01-02T03:04:06+01:00",
        "energy_index": 1, "first_pixel": 3, "count": 2, "dtype": "uint16",
    })
}

fn with(mut header: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        header[key] = value.clone();
    }
    header
}

fn send(header: &Value, payload: &[&[u8]]) -> Result<crate::scan::ScanEvent, Refusal> {
    let mut parts = vec![Bytes::from(header.to_string())];
    parts.extend(payload.iter().map(|part| Bytes::copy_from_slice(part)));
    decode(&parts, Framing::Bare, None)
}

#[test]
fn reads_a_plan_with_its_defaults() {
    let event = send(&start(), &[]).unwrap();
    let ScanUpdate::Started(plan) = event.update else { panic!("not a plan") };
    assert_eq!(plan.dwell_ms, [1.0, 1.0]);
    assert_eq!((plan.beamline.as_str(), plan.grid.unit.as_str()), ("unknown", "um"));
    assert!(!plan.simulated && plan.detector.counts_per_photon.is_none());
}

#[test]
fn a_configured_beamline_wins() {
    let parts = [Bytes::from("topic"), Bytes::from(with(start(), json!({"beamline": "x"})).to_string())];
    let event = decode(&parts, Framing::Topic, Some("bl1")).unwrap();
    let ScanUpdate::Started(plan) = event.update else { panic!("not a plan") };
    assert_eq!(plan.beamline, "bl1");
}

#[test]
fn reads_values_of_every_type() {
    let cases: [(&str, Vec<u8>); 5] = [
        ("uint8", vec![7, 9]),
        ("uint16", [7_u16, 9].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("uint32", [7_u32, 9].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("float32", [7_f32, 9.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("float64", [7_f64, 9.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
    ];
    for (dtype, bytes) in cases {
        let event = send(&with(samples(), json!({"dtype": dtype})), &[&bytes]).unwrap();
        let ScanUpdate::Samples(batch) = event.update else { panic!("not samples") };
        assert_eq!(batch.values, [7.0, 9.0], "{dtype}");
        assert_eq!(batch.pixels, Pixels::Run { first: 3, count: 2 });
    }
}

#[test]
fn reads_pixel_lists_and_i0_lists_in_their_order() {
    let header = with(samples(), json!({"pixel_part": true, "i0_part": true, "dtype": "uint8"}));
    let pixels: Vec<u8> = [5_u32, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let i0: Vec<u8> = [50_f32, 60.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let event = send(&header, &[&[1, 2], &pixels, &i0]).unwrap();
    let ScanUpdate::Samples(batch) = event.update else { panic!("not samples") };
    assert_eq!(batch.pixels, Pixels::List(vec![5, 0]));
    assert_eq!(batch.i0, I0::Each(vec![50.0, 60.0]));
}

#[test]
fn several_values_a_pixel_are_frames() {
    let event = send(&samples(), &[&[0; 24]]).unwrap();
    assert!(
        matches!(event.update, ScanUpdate::Frames(frames) if frames.frames.len() == 2 && frames.bytes() == 24)
    );
}

#[test]
fn an_unknown_type_is_skipped_and_keeps_its_place() {
    let event = send(&with(start(), json!({"type": "weather", "seq": 9})), &[b"any"]).unwrap();
    assert!(matches!(event.update, ScanUpdate::Skipped));
    assert_eq!(event.seq, Some(9));
}

#[test]
fn names_the_rule_a_message_breaks() {
    let inf = f32::INFINITY.to_le_bytes();
    let cases: Vec<(Value, Vec<&[u8]>, &str)> = vec![
        (samples(), vec![], "parts"),
        (samples(), vec![&[0; 4], &[0; 4]], "parts"),
        (start(), vec![b"extra"], "parts"),
        (samples(), vec![&[0; 5]], "size"),
        (samples(), vec![&[]], "size"),
        (with(samples(), json!({"pixel_part": true})), vec![&[0; 4], &[0; 4]], "size"),
        (with(samples(), json!({"i0_part": true})), vec![&[0; 4], &[0; 9]], "size"),
        (with(samples(), json!({"count": 0})), vec![&[]], "count_zero"),
        (with(samples(), json!({"i0": 5, "i0_part": true})), vec![&[0; 4], &[0; 8]], "i0_twice"),
        (with(samples(), json!({"i0": 1e300})), vec![&[0; 4]], "i0_not_finite"),
        (with(samples(), json!({"count": 1, "dtype": "float32"})), vec![&inf], "infinite"),
        (with(samples(), json!({"encoding": "lz4"})), vec![&[0; 4]], "encoding"),
        (with(samples(), json!({"encoding": "bslz4"})), vec![&[0; 4]], "encoding"),
        (with(samples(), json!({"encoding": "zip"})), vec![&[0; 4]], "header"),
        (with(samples(), json!({"dtype": "int64"})), vec![&[0; 4]], "header"),
        (with(samples(), json!({"energy_index": -1})), vec![&[0; 4]], "header"),
        (with(samples(), json!({"stream": "stxm-stream/2"})), vec![&[0; 4]], "stream"),
        (with(samples(), json!({"scan_id": "../x"})), vec![&[0; 4]], "scan_id"),
        (with(samples(), json!({"scan_id": ""})), vec![&[0; 4]], "scan_id"),
        (with(samples(), json!({"time": "yesterday"})), vec![&[0; 4]], "time"),
        (with(samples(), json!({"padding": "x".repeat(MAX_HEADER_BYTES)})), vec![&[0; 4]], "header_size"),
        (with(start(), json!({"padding": "x".repeat(MAX_PLAN_BYTES)})), vec![], "header_size"),
        (with(start(), json!({"energies_ev": []})), vec![], "plan"),
        (with(start(), json!({"energies_ev": [510, -1]})), vec![], "plan"),
        (with(start(), json!({"dwell_ms": [1, 2, 3]})), vec![], "plan"),
        (with(start(), json!({"beamline": "a/b"})), vec![], "plan"),
        (with(start(), json!({"detector": {"kind": "area"}})), vec![], "plan"),
        (with(start(), json!({"detector": {"kind": "cloud"}})), vec![], "header"),
        (with(start(), json!({"seq": -4})), vec![], "header"),
    ];
    for (header, payload, reason) in cases {
        let refusal = send(&header, &payload).unwrap_err();
        assert_eq!(refusal.reason(), reason, "{refusal}");
    }
    let nan = Bytes::from(samples().to_string().replace("\"count\":2", "\"count\":NaN"));
    assert_eq!(
        decode(&[nan, Bytes::from_static(&[0; 4])], Framing::Bare, None).unwrap_err().reason(),
        "header"
    );
    let shape =
        json!({"grid": {"shape": [0, 3], "x": {"start": 0, "step": 1}, "y": {"start": 0, "step": 1}}});
    let refusal = send(&with(start(), shape), &[]).unwrap_err();
    assert_eq!(refusal, Refusal::Plan(PlanError::Shape { ny: 0, nx: 3 }));
    assert_eq!(decode(&[], Framing::Topic, None).unwrap_err().reason(), "parts");
}

proptest! {
    #[test]
    fn garbage_never_panics(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
        topic in any::<bool>(),
    ) {
        let parts: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
        let framing = if topic { Framing::Topic } else { Framing::Bare };
        prop_assert!(decode(&parts, framing, None).is_err());
    }

    #[test]
    fn a_damaged_header_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), plan in any::<bool>()) {
        let header = if plan { start() } else { samples() };
        let mut bytes = header.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut parts = vec![Bytes::from(bytes)];
        if !plan {
            parts.push(Bytes::from_static(&[1, 0, 2, 0]));
        }
        drop(decode(&parts, Framing::Bare, None));
    }
}
