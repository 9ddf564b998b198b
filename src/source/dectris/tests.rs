//! What both versions say becomes the same scan, whatever is lost, comes twice or late.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::encode::{self, Announced, Packed};
use super::*;
use crate::detector::compressed::{Element, decode};
use crate::scan::{DType, Encoding, Grid, Outcome, Remark, SampleBatch};
use crate::source::geometry::{Layout, Order, Span};

const SHAPE: [usize; 2] = [4, 8];

fn announced(series: u64, images: u64, energy_ev: f64, note: Option<Value>) -> Announced {
    Announced {
        series,
        unique: format!("01TEST{series}"),
        images,
        shape: SHAPE,
        dtype: DType::Uint16,
        saturation: 1000,
        masked: vec![3, 4, 9],
        count_time_s: 0.001,
        energy_ev,
        armed: "2026-05-04T03:02:01Z".to_owned(),
        note,
    }
}

/// Every pixel of a frame has the number of the image.
fn frame(number: u64) -> Vec<u8> {
    (number as u16).to_le_bytes().repeat(SHAPE[0] * SHAPE[1])
}

fn block() -> Value {
    json!({
        "scan_id": "scan-1", "shape": [2, 3], "x": {"start": 0.0, "step": 0.1}, "y": {"start": 0.0, "step": 0.1},
        "energies_ev": [510.0, 511.0], "dwell_ms": 1.0,
    })
}

fn note() -> Option<Value> {
    Some(json!({ "stxm": block() }))
}

fn naming() -> Naming {
    Naming { source: "detector".to_owned(), ..Naming::default() }
}

fn told(settings: Option<Value>) -> Dectris {
    let settings = settings.map(|settings| Told::read(settings).unwrap());
    Dectris::new(naming(), Knowledge::Told(settings), 1 << 20)
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_777_000_000, 0).unwrap()
}

/// The messages of a series in the second version.
fn second(series: &Announced, encoding: Encoding) -> Vec<Vec<Bytes>> {
    let image = |number: u64| {
        let packed = Packed::new(series.dtype, encoding, &frame(number));
        encode::image(series, number, number * 1_000_000, &packed).unwrap()
    };
    let start = encode::start(series).unwrap();
    let images = (0..series.images).map(image);
    std::iter::once(start)
        .chain(images)
        .chain([encode::end(series).unwrap()])
        .map(|part| vec![part])
        .collect()
}

/// And in the first.
fn first(series: &Announced, encoding: Encoding) -> Vec<Vec<Bytes>> {
    let image = |number: u64| {
        let packed = Packed::new(series.dtype, encoding, &frame(number));
        encode::first::image(series, number, number * 1_000_000, &packed)
    };
    let images = (0..series.images).map(image);
    std::iter::once(encode::first::start(series)).chain(images).chain([encode::first::end(series)]).collect()
}

/// What came of messages: by energy and pixel the value that the frame had; plans, remarks, outcomes.
#[derive(Debug, Default, PartialEq)]
struct Came {
    values: BTreeMap<(u32, usize), u16>,
    plans: Vec<ScanPlan>,
    remarks: Vec<Remark>,
    ends: Vec<Outcome>,
    refused: Vec<&'static str>,
}

impl Came {
    fn take(&mut self, events: Vec<ScanEvent>) {
        for event in events {
            match event.update {
                ScanUpdate::Started(plan) => self.plans.push(*plan),
                ScanUpdate::Frames(frames) => {
                    let SampleBatch { energy_index, pixels, .. } = &frames.batch;
                    assert_eq!(pixels.len(), frames.frames.len());
                    for (pixel, bytes) in pixels.iter().zip(&frames.frames) {
                        let mut out = Vec::new();
                        let wanted = 2 * SHAPE[0] * SHAPE[1];
                        decode(frames.encoding, Element::U16, bytes, wanted, &mut out).unwrap();
                        self.values.insert((*energy_index, pixel), u16::from_le_bytes([out[0], out[1]]));
                    }
                }
                ScanUpdate::Remarked(remark) => self.remarks.push(remark),
                ScanUpdate::Ended(outcome) => self.ends.push(outcome),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn push(adapter: &mut Dectris, messages: &[Vec<Bytes>]) -> Came {
    let mut came = Came::default();
    for message in messages {
        let mut events = Vec::new();
        if let Err(refusal) = adapter.push(message, now(), &mut events) {
            came.refused.push(refusal.reason());
        }
        came.take(events);
    }
    let mut events = Vec::new();
    adapter.flush(&mut events);
    came.take(events);
    came
}

#[test]
fn both_versions_and_all_ways_of_packing_give_the_same_scan() {
    let series = announced(7, 12, 510.0, note());
    let mut all = Vec::new();
    for encoding in [Encoding::Raw, Encoding::Bslz4, Encoding::Lz4] {
        all.push(push(&mut told(None), &second(&series, encoding)));
        // The first version has LZ4 without a header.
        let encoding = if encoding == Encoding::Lz4 { Encoding::Lz4Block } else { encoding };
        all.push(push(&mut told(None), &first(&series, encoding)));
    }
    for came in &mut all {
        let plan = came.plans.pop().unwrap();
        assert_eq!((&*plan.scan_id, plan.detector.frame_shape), ("scan-1", Some(SHAPE)));
        assert_eq!(
            (plan.detector.saturation, &plan.detector.left_out[..]),
            (Some(1000.0), &[[3, 2], [9, 1]][..])
        );
        assert_eq!(came.values.len(), 12);
        assert!(
            came.values
                .iter()
                .all(|((energy, pixel), value)| *value as usize == *energy as usize * 6 + pixel)
        );
        assert_eq!(came.ends, [Outcome::Complete]);
        assert_eq!((&came.remarks[..], &came.refused[..], came.plans.len()), (&[][..], &[][..], 0));
    }
}

#[test]
fn a_prefix_may_be_absent() {
    let series = announced(7, 12, 510.0, note());
    let bare = |message: &Vec<Bytes>| vec![message[0].slice(3..)];
    let came = push(&mut told(None), &second(&series, Encoding::Bslz4).iter().map(bare).collect::<Vec<_>>());
    assert_eq!(came.values.len(), 12);
}

#[test]
fn without_a_geometry_nothing_is_guessed() {
    let came = push(&mut told(None), &second(&announced(7, 12, 510.0, None), Encoding::Raw));
    assert_eq!((came.values.len(), came.plans.len()), (0, 0));
    assert_eq!(came.refused, ["geometry"; 13]);
}

#[test]
fn one_series_for_each_energy_by_the_settings() {
    let mut adapter = told(Some(block()));
    let mut came = Came::default();
    for (number, energy) in [(20, 510.0), (21, 511.0)] {
        let part = push(&mut adapter, &second(&announced(number, 6, energy, None), Encoding::Bslz4));
        came.values.extend(part.values.iter().map(|((energy, pixel), value)| ((*energy, *pixel), *value)));
        came.plans.extend(part.plans);
        came.ends.extend(part.ends);
        assert!(part.remarks.is_empty(), "{:?}", part.remarks);
    }
    assert_eq!((came.plans.len(), came.values.len(), came.ends), (1, 12, vec![Outcome::Complete]));
    assert_eq!(came.values[&(1, 4)], 4);
    // The next one is another scan, here under the name that the settings have.
    assert_eq!(push(&mut adapter, &second(&announced(22, 6, 510.0, None), Encoding::Raw)).plans.len(), 1);
}

#[test]
fn stray_frames_of_an_aborted_series_go_where_they_belong() {
    let mut adapter = told(None);
    let [one, other] = [7, 8].map(|number| {
        let mut block = block();
        block["scan_id"] = json!(format!("scan-{number}"));
        second(&announced(number, 12, 510.0, Some(json!({ "stxm": block }))), Encoding::Raw)
    });
    let aborted = push(&mut adapter, &[&one[..5], &one[13..]].concat());
    assert!(matches!(&aborted.ends[..], [Outcome::Partial { reason }] if reason.contains("4 of 12")));
    // The start of the next one, then two of the old, then all the others.
    let mut events = Vec::new();
    for message in [&other[0], &one[5], &one[6], &other[1]] {
        adapter.push(message, now(), &mut events).unwrap();
    }
    adapter.flush(&mut events);
    let of = |id: &str| {
        events
            .iter()
            .filter(|event| event.scan_id == id && matches!(event.update, ScanUpdate::Frames(_)))
            .count()
    };
    assert_eq!((of("scan-7"), of("scan-8")), (1, 1));
}

#[test]
fn an_end_that_comes_too_early_is_made_good() {
    let series = announced(7, 12, 510.0, note());
    let mut messages = second(&series, Encoding::Raw);
    let end = messages.pop().unwrap();
    messages.insert(6, end);
    let came = push(&mut told(None), &messages);
    assert_eq!(came.values.len(), 12);
    assert!(matches!(&came.ends[..], [Outcome::Partial { .. }, Outcome::Complete]));
}

#[test]
fn somebody_else_who_pulls_is_noticed() {
    let mut wide = block();
    wide["shape"] = json!([10, 10]);
    let series = announced(7, 200, 510.0, Some(json!({ "stxm": wide })));
    let messages = second(&series, Encoding::Raw);
    let shared: Vec<_> = messages
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 2 == 0)
        .map(|(_, message)| message.clone())
        .collect();
    let came = push(&mut told(None), &shared);
    assert!(
        matches!(&came.remarks[..], [remark] if remark.text.contains("one of 2 frames") && !remark.untrusted),
        "{:?}",
        came.remarks
    );
    assert_eq!(came.values.len(), 100);
}

#[test]
fn whoever_joins_late_needs_the_settings() {
    let messages = second(&announced(7, 12, 510.0, note()), Encoding::Bslz4);
    assert_eq!(push(&mut told(None), &messages[3..]).refused, ["no_start"; 10]);
    let mut whole = block();
    whole["series"] = json!("stack");
    let came = push(&mut told(Some(whole)), &messages[3..]);
    assert_eq!((came.values.len(), came.plans.len()), (10, 1));
    assert!(came.remarks.iter().all(|remark| remark.untrusted) && came.remarks.len() == 1);
}

#[test]
fn frames_of_another_shape_and_beyond_the_series_are_refused() {
    let series = announced(7, 12, 510.0, note());
    let mut adapter = told(None);
    push(&mut adapter, &second(&series, Encoding::Raw)[..1]);
    let packed = Packed::new(DType::Uint16, Encoding::Raw, &frame(0));
    let other = Announced { shape: [8, 4], ..series.clone() };
    let messages = [
        vec![encode::image(&other, 0, 0, &packed).unwrap()],
        vec![encode::image(&series, 12, 0, &packed).unwrap()],
        vec![Bytes::from_static(b"GET / HTTP/1.1")],
        vec![Bytes::new()],
        vec![Bytes::from_static(b"{\"htype\": \"dimage-1.0\"}")],
    ];
    assert_eq!(push(&mut adapter, &messages).refused, ["shape", "outside", "cbor", "cbor", "header"]);
}

fn plan(scan_id: &str) -> ScanPlan {
    let axis = crate::scan::Axis { start: 0.0, step: 0.1 };
    let grid = Grid { shape: [2, 3], x: axis, y: axis, unit: "um".to_owned() };
    ScanPlan::of_stack(scan_id.to_owned(), grid, vec![510.0, 511.0], 1.0)
}

fn joined() -> Dectris {
    Dectris::new(naming(), Knowledge::Joined(Box::new(Join::new(None, Order::default()))), 1 << 20)
}

fn hear(adapter: &mut Dectris, scan_id: &str, update: ScanUpdate) -> Came {
    let (mut came, mut events) = (Came::default(), Vec::new());
    adapter.hear(event(scan_id, update), now(), &mut events);
    adapter.flush(&mut events);
    came.take(events);
    came
}

#[test]
fn another_source_knows_the_scan_whichever_comes_first() {
    for plan_first in [true, false] {
        let mut adapter = joined();
        let start = || ScanUpdate::Started(Box::new(plan("other-1")));
        let mut all = Came::default();
        let mut add = |came: Came| {
            all.values.extend(came.values);
            all.plans.extend(came.plans);
            all.ends.extend(came.ends);
            all.remarks.extend(came.remarks);
        };
        if plan_first {
            add(hear(&mut adapter, "other-1", start()));
        }
        add(push(&mut adapter, &second(&announced(4, 6, 0.0, None), Encoding::Bslz4)));
        if !plan_first {
            add(hear(&mut adapter, "other-1", start()));
        }
        add(push(&mut adapter, &second(&announced(5, 6, 0.0, None), Encoding::Bslz4)));
        add(hear(&mut adapter, "other-1", ScanUpdate::Ended(Outcome::Complete)));
        assert_eq!((all.values.len(), all.plans.len(), &all.ends[..]), (12, 1, &[Outcome::Complete][..]));
        assert_eq!(all.plans[0].detector.frame_shape, Some(SHAPE));
        assert!(all.remarks.is_empty(), "{:?}", all.remarks);
        // Frames of a series after it wait for the next scan.
        let waiting = push(&mut adapter, &second(&announced(6, 6, 0.0, None), Encoding::Bslz4));
        assert_eq!(waiting, Came::default());
        let next = hear(&mut adapter, "other-2", ScanUpdate::Started(Box::new(plan("other-2"))));
        assert_eq!((next.plans.len(), next.values.len()), (1, 6));
    }
}

#[test]
fn two_sources_that_disagree_are_not_believed() {
    let mut adapter = joined();
    let mut long = plan("other-1");
    long.energies_ev = vec![510.0, 511.0, 512.0, 513.0];
    long.dwell_ms = vec![1.0; 4];
    hear(&mut adapter, "other-1", ScanUpdate::Started(Box::new(long)));
    push(&mut adapter, &second(&announced(4, 6, 0.0, None), Encoding::Raw));
    let samples = |energy_index| {
        ScanUpdate::Samples(SampleBatch {
            energy_index,
            pixels: crate::scan::Pixels::Run { first: 0, count: 1 },
            channel: crate::scan::Channel::Intensity,
            values: vec![1.0],
            others: Vec::new(),
            i0: crate::scan::I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: None,
        })
    };
    assert_eq!(hear(&mut adapter, "other-1", samples(1)), Came::default());
    let remarks = hear(&mut adapter, "other-1", samples(3)).remarks;
    assert!(matches!(&remarks[..], [remark] if remark.untrusted && remark.text.contains("energy 3")));
}

#[test]
fn frames_that_wait_are_bounded() {
    let mut adapter =
        Dectris::new(naming(), Knowledge::Joined(Box::new(Join::new(None, Order::default()))), 600);
    let came = push(&mut adapter, &second(&announced(4, 6, 0.0, None), Encoding::Raw));
    assert_eq!(came.refused, ["held"; 3]);
}

#[test]
fn a_series_may_say_where_it_belongs() {
    let mut adapter = told(None);
    let mut came = Came::default();
    for energy in [1, 0] {
        let mut block = block();
        (block["energy_index"], block["series"]) = (json!(energy), json!("energy"));
        let series = announced(30 - energy, 6, 0.0, Some(json!({ "stxm": block })));
        let part = push(&mut adapter, &second(&series, Encoding::Raw));
        came.values.extend(part.values);
        came.plans.extend(part.plans);
        came.remarks.extend(part.remarks);
    }
    assert_eq!((came.values.len(), came.plans.len(), came.remarks.len()), (12, 1, 0));
}

proptest! {
    #[test]
    fn any_order_loss_and_repetition_puts_every_frame_where_it_belongs(
        (order, lost) in (Just((1..13_usize).collect::<Vec<_>>()).prop_shuffle(), prop::collection::hash_set(1..13_usize, 0..6)),
        twice in prop::collection::vec(1..13_usize, 0..4),
        meander in any::<bool>(), y_fast in any::<bool>(),
    ) {
        let mut block = block();
        block["meander"] = json!(meander);
        block["fast_axis"] = json!(if y_fast { "y" } else { "x" });
        let messages = second(&announced(7, 12, 510.0, Some(json!({ "stxm": block }))), Encoding::Bslz4);
        let sent: Vec<usize> = order.into_iter().filter(|at| !lost.contains(at)).chain(twice).collect();
        let mut all = vec![messages[0].clone()];
        all.extend(sent.iter().map(|at| messages[*at].clone()));
        let came = push(&mut told(None), &all);
        let layout = Layout { shape: [2, 3], order: Order { meander, y_fast } };
        let wanted: BTreeMap<_, _> = sent.iter().map(|at| {
            let (energy, pixel) = layout.place(*at as u64 - 1);
            ((energy as u32, pixel as usize), *at as u16 - 1)
        }).collect();
        prop_assert_eq!(came.values, wanted);
        prop_assert!(came.refused.is_empty());
    }

    #[test]
    fn nothing_panics_and_what_was_good_stays(
        flips in prop::collection::vec((0..14_usize, any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<bool>(), old in any::<bool>(),
    ) {
        let series = announced(7, 12, 510.0, note());
        let mut messages = if old { first(&series, Encoding::Bslz4) } else { second(&series, Encoding::Bslz4) };
        for (at, index, value) in flips {
            let part = index.index(messages[at].len());
            let mut bytes = messages[at][part].to_vec();
            if bytes.is_empty() {
                continue;
            }
            let byte = index.index(bytes.len());
            bytes[byte] = value;
            if cut {
                bytes.truncate(byte);
            }
            messages[at][part] = bytes.into();
        }
        let (mut adapter, mut events) = (told(None), Vec::new());
        for message in &messages {
            _ = adapter.push(message, now(), &mut events);
        }
        adapter.flush(&mut events);
        let series = announced(8, 12, 510.0, note());
        // Whatever came, the next series is read as if nothing had been.
        let came = push(&mut adapter, &second(&series, Encoding::Raw));
        prop_assert_eq!(came.values.len(), 12);
    }
}

#[test]
fn a_span_that_is_told_needs_no_number_of_images() {
    let told = Told::read(json!({ "series": "line" })).unwrap();
    assert_eq!(told.span(), Some(Span::Line));
}

fn started(scan_id: &str) -> ScanUpdate {
    ScanUpdate::Started(Box::new(plan(scan_id)))
}

fn samples(energy_index: u32, count: u32) -> ScanUpdate {
    ScanUpdate::Samples(SampleBatch {
        energy_index,
        pixels: crate::scan::Pixels::Run { first: 0, count },
        channel: crate::scan::Channel::Intensity,
        values: vec![1.0; count as usize],
        others: Vec::new(),
        i0: crate::scan::I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    })
}

#[test]
fn a_shift_by_one_energy_is_noticed_within_it() {
    let mut adapter = joined();
    hear(&mut adapter, "other-1", started("other-1"));
    // The first series was never heard of: what is taken for energy 0 is energy 1.
    push(&mut adapter, &second(&announced(5, 6, 0.0, None), Encoding::Raw)[..4]);
    assert!(hear(&mut adapter, "other-1", samples(0, 3)).remarks.is_empty());
    assert!(hear(&mut adapter, "other-1", samples(1, 3)).remarks.is_empty());
    let remarks = hear(&mut adapter, "other-1", samples(1, 3)).remarks;
    assert!(matches!(&remarks[..], [remark] if remark.untrusted), "{remarks:?}");
}

#[test]
fn a_series_whose_start_was_lost_counts_all_the_same() {
    let mut adapter = joined();
    hear(&mut adapter, "other-1", started("other-1"));
    let first = push(&mut adapter, &second(&announced(4, 6, 0.0, None), Encoding::Raw)[1..]);
    assert_eq!((first.values.len(), &first.refused[..]), (0, &[][..]), "they wait");
    let came = push(&mut adapter, &second(&announced(5, 6, 0.0, None), Encoding::Raw));
    assert_eq!((came.values.len(), came.plans.len()), (12, 1), "{came:?}");
    assert_eq!((came.values[&(0, 3)], came.values[&(1, 3)]), (3, 3));
    assert!(came.remarks.iter().all(|remark| !remark.untrusted), "{:?}", came.remarks);
}

#[test]
fn series_between_scans_are_of_none() {
    let mut adapter = joined();
    // A dark frame, an hour before; a focus scan; then the scan.
    push(&mut adapter, &second(&announced(1, 6, 0.0, None), Encoding::Raw));
    let later = now() + TimeDelta::hours(1);
    let mut events = Vec::new();
    for message in second(&announced(2, 6, 0.0, None), Encoding::Raw) {
        adapter.push(&message, later, &mut events).unwrap();
    }
    adapter.hear(event("other-1", started("other-1")), later, &mut events);
    adapter.flush(&mut events);
    let mut came = Came::default();
    came.take(events);
    assert_eq!((came.values.len(), came.values.keys().next()), (6, Some(&(0, 0))));
    assert!(came.remarks.is_empty());
    // Where two were there just before, nobody knows which was its first.
    let mut adapter = joined();
    for number in [1, 2] {
        push(&mut adapter, &second(&announced(number, 6, 0.0, None), Encoding::Raw));
    }
    let came = hear(&mut adapter, "other-1", started("other-1"));
    assert!(came.remarks.iter().any(|remark| remark.untrusted), "{came:?}");
}

#[test]
fn a_scan_that_was_given_up_before_its_frames_takes_none_of_the_next() {
    let mut adapter = joined();
    hear(&mut adapter, "other-1", started("other-1"));
    hear(&mut adapter, "other-1", ScanUpdate::Ended(Outcome::Aborted { reason: None }));
    assert_eq!(push(&mut adapter, &second(&announced(5, 6, 0.0, None), Encoding::Raw)), Came::default());
    let came = hear(&mut adapter, "other-2", started("other-2"));
    let ids: Vec<_> = came.plans.iter().map(|plan| &*plan.scan_id).collect();
    assert_eq!((ids, came.values.len()), (vec!["other-1", "other-2"], 6));
}

#[test]
fn a_plan_that_is_told_twice_to_grow_grows_once() {
    let mut adapter = joined();
    hear(&mut adapter, "other-1", started("other-1"));
    push(&mut adapter, &second(&announced(5, 6, 0.0, None), Encoding::Raw));
    let grown = ScanUpdate::Extended { energies_ev: vec![512.0], dwell_ms: None, flux_ph_per_s: None };
    let mut events = Vec::new();
    for _ in 0..2 {
        let said = ScanEvent { seq: Some(9), ..event("other-1", grown.clone()) };
        adapter.hear(said, now(), &mut events);
    }
    assert_eq!(events.len(), 1);
    for number in [6, 7] {
        assert_eq!(
            push(&mut adapter, &second(&announced(number, 6, 0.0, None), Encoding::Raw)).values.len(),
            6
        );
    }
    assert_eq!(push(&mut adapter, &second(&announced(8, 6, 0.0, None), Encoding::Raw)).values.len(), 0);
}

#[test]
fn numbers_that_begin_anew_are_of_another_series() {
    let mut adapter = told(None);
    let series = |scan: &str| {
        let mut block = block();
        block["scan_id"] = json!(scan);
        announced(1, 12, 510.0, Some(json!({ "stxm": block })))
    };
    assert_eq!(push(&mut adapter, &first(&series("one"), Encoding::Raw)).plans[0].scan_id, "one");
    // The detector was started anew.
    let came = push(&mut adapter, &first(&series("two"), Encoding::Raw));
    assert_eq!((&*came.plans[0].scan_id, came.values.len()), ("two", 12));
}

#[test]
fn a_name_that_was_not_renewed_makes_no_two_scans_one() {
    let mut adapter = told(None);
    let one = push(&mut adapter, &second(&announced(1, 12, 510.0, note()), Encoding::Raw));
    let other = push(&mut adapter, &second(&announced(2, 12, 510.0, note()), Encoding::Raw));
    assert_eq!((&*one.plans[0].scan_id, &*other.plans[0].scan_id), ("scan-1", "scan-1-s2"));
    assert!(other.remarks[0].text.contains("kept under another"));
}

#[test]
fn a_place_that_is_taken_is_of_another_scan() {
    let mut adapter = told(None);
    let series = |number: u64, energy: u64| {
        let mut block = block();
        block.as_object_mut().unwrap().remove("scan_id");
        (block["energy_index"], block["series"]) = (json!(energy), json!("energy"));
        second(&announced(number, 6, 0.0, Some(json!({ "stxm": block }))), Encoding::Raw)
    };
    assert_eq!(push(&mut adapter, &series(1, 0)).plans.len(), 1);
    assert_eq!(push(&mut adapter, &series(2, 1)).plans.len(), 0);
    assert_eq!(push(&mut adapter, &series(3, 0)).plans.len(), 1);
    // One whose start was not heard says no place.
    assert_eq!(push(&mut adapter, &series(4, 1)[1..]).refused, ["no_start"; 6]);
}

#[test]
fn the_last_energy_that_ends_early_is_partial() {
    let mut adapter = told(Some(block()));
    push(&mut adapter, &second(&announced(20, 6, 510.0, None), Encoding::Raw));
    let messages = second(&announced(21, 6, 511.0, None), Encoding::Raw);
    let came = push(&mut adapter, &[&messages[..3], &messages[7..]].concat());
    assert!(matches!(&came.ends[..], [Outcome::Partial { reason }] if reason.contains("2 of 6")), "{came:?}");
}

#[test]
fn a_detector_that_nobody_tells_the_energy_is_no_reason_for_doubt_where_another_source_knows_it() {
    let mut adapter = joined();
    hear(&mut adapter, "other-1", started("other-1"));
    for number in [4, 5] {
        let came = push(&mut adapter, &second(&announced(number, 6, 8040.0, None), Encoding::Raw));
        assert!(came.remarks.is_empty() && came.values.len() == 6, "{came:?}");
    }
}

#[test]
fn after_a_restart_the_next_scan_is_another_one() {
    let mut before = told(Some(block()));
    let one = push(&mut before, &second(&announced(20, 6, 510.0, None), Encoding::Raw));
    push(&mut before, &second(&announced(21, 6, 511.0, None), Encoding::Raw)[..3]);
    let mut restarted = told(Some(block()));
    restarted.recall(&Recalled {
        plan: &one.plans[0],
        heard_last: now(),
        reached: Some(1),
        doubt: None,
        energies_ev: &[510.0, 511.0],
        ended: None,
    });
    let rest = push(&mut restarted, &second(&announced(21, 6, 511.0, None), Encoding::Raw)[3..]);
    assert_eq!(
        (rest.values.len(), rest.plans.len(), &rest.ends[..]),
        (4, 0, &[Outcome::Complete][..]),
        "{rest:?}"
    );
    assert!(rest.remarks.iter().all(|remark| !remark.untrusted), "{:?}", rest.remarks);
    let next = push(&mut restarted, &second(&announced(22, 6, 510.0, None), Encoding::Raw));
    assert_eq!((next.plans.len(), next.values.len()), (1, 6));
    assert_ne!(next.plans[0].scan_id, one.plans[0].scan_id);
}
