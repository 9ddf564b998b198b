use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::scan::{ScanKind, ScanPlan, test_plan};
use crate::source::pickle::write::Pickled;

const NY: usize = 3;
const NX: usize = 4;
const ENERGIES: usize = 5;

fn plan() -> ScanPlan {
    let mut plan = test_plan(NY, NX, ENERGIES);
    plan.grid.y.step = -0.1;
    plan.energies_ev[3] = 519.5;
    plan.scan_id = "NS_1".to_owned();
    plan
}

/// What a pixel counts; the row `(2, 1)` was missed.
fn counts(energy: usize, pixel: usize) -> f64 {
    if (energy, pixel / NX) == (2, 1) { 0.0 } else { (100 * energy + pixel + 1) as f64 }
}

/// All messages of a scan, its end last.
fn messages(plan: &ScanPlan) -> Vec<Vec<u8>> {
    let definition = encode::definition(plan);
    let mut messages = Vec::new();
    for energy in 0..ENERGIES {
        for row in 0..NY {
            let image: Vec<f64> = (0..NY * NX)
                .map(|pixel| if pixel / NX <= row { counts(energy, pixel) } else { 0.0 })
                .collect();
            messages.push(encode::line(plan, &definition, energy, row, &image));
        }
    }
    messages.push(encode::complete());
    messages
}

/// What a row of events makes: values by energy and pixel.
#[derive(Debug, Default)]
struct Heard {
    plans: Vec<ScanPlan>,
    values: BTreeMap<(String, u32, usize), f32>,
    outcomes: Vec<(String, Outcome)>,
    remarks: Vec<String>,
}

fn listen(adapter: &mut Pystxmcontrol, messages: &[Vec<u8>]) -> Heard {
    let mut heard = Heard::default();
    for message in messages {
        let mut events = Vec::new();
        let parts = [Bytes::from(message.clone())];
        drop(adapter.push(&parts, DateTime::UNIX_EPOCH, &mut events));
        for event in events {
            match event.update {
                ScanUpdate::Started(plan) => {
                    plan.validate().unwrap();
                    heard.plans.push(*plan);
                }
                ScanUpdate::Samples(batch) => {
                    assert_eq!(batch.values.len(), batch.pixels.len());
                    assert!(batch.values.iter().all(|value| !value.is_infinite()));
                    for (pixel, value) in batch.pixels.iter().zip(&batch.values) {
                        if !value.is_nan() {
                            heard.values.insert((event.scan_id.clone(), batch.energy_index, pixel), *value);
                        }
                    }
                }
                ScanUpdate::Ended(outcome) => heard.outcomes.push((event.scan_id, outcome)),
                ScanUpdate::Remarked(remark) => heard.remarks.push(remark.text),
                other => panic!("{other:?}"),
            }
        }
    }
    heard
}

fn new() -> Pystxmcontrol {
    Pystxmcontrol::new(Naming::default())
}

fn expected(energies: std::ops::Range<usize>) -> usize {
    energies.map(|energy| if energy == 2 { (NY - 1) * NX } else { NY * NX }).sum()
}

fn assert_true(heard: &Heard) {
    for ((_, energy, pixel), value) in &heard.values {
        assert_eq!(f64::from(*value), counts(*energy as usize, *pixel), "{energy} {pixel}");
    }
}

#[test]
fn a_scan_is_read_as_it_was_planned() {
    let wanted = plan();
    let heard = listen(&mut new(), &messages(&wanted));
    let [found] = &heard.plans[..] else { panic!("{:?}", heard.plans) };
    assert_eq!(found.scan_id, "NS_1-19700101T000000-000");
    assert_eq!((found.scan_kind, found.grid.shape), (ScanKind::Stack, [NY, NX]));
    for (found, wanted) in [(found.grid.x, wanted.grid.x), (found.grid.y, wanted.grid.y)] {
        assert!((found.start - wanted.start).abs() < 1e-9 && (found.step - wanted.step).abs() < 1e-9);
    }
    assert_eq!((&found.energies_ev, &found.dwell_ms), (&wanted.energies_ev, &wanted.dwell_ms));
    assert!(found.simulated);
    assert_eq!(found.context.as_ref().unwrap()["scan"]["synch_event"], serde_json::Value::Null);
    assert_eq!(heard.values.len(), expected(0..ENERGIES), "the missed line is not measured");
    assert_true(&heard);
    assert_eq!(heard.outcomes, [(found.scan_id.clone(), Outcome::Complete)]);
    assert!(heard.remarks.is_empty(), "{:?}", heard.remarks);
}

#[test]
fn whoever_joins_late_knows_all_of_the_energy_that_is_running() {
    let all = messages(&plan());
    // In the last line of the second energy.
    let heard = listen(&mut new(), &all[2 * NY - 1..]);
    assert_eq!(heard.values.len(), expected(1..ENERGIES));
    assert_true(&heard);
    assert_eq!(heard.outcomes[0].1, Outcome::Complete);
}

#[test]
fn an_end_before_the_last_energy_is_an_abort() {
    let all = messages(&plan());
    let mut cut = all[..NY * 2].to_vec();
    cut.push(encode::complete());
    let heard = listen(&mut new(), &cut);
    assert!(
        matches!(&heard.outcomes[0].1, Outcome::Aborted { reason: Some(reason) } if reason.contains("2 of 5"))
    );
    // An end that nothing came before is nobody's, and one told twice is told once.
    assert!(listen(&mut new(), &[encode::complete()]).outcomes.is_empty());
    let heard = listen(&mut new(), &[all, vec![encode::complete()]].concat());
    assert_eq!(heard.outcomes.len(), 1);
}

#[test]
fn another_id_or_start_time_is_another_scan() {
    let first = plan();
    let other_id = ScanPlan { scan_id: "NS_2".to_owned(), ..plan() };
    let again = ScanPlan { started: DateTime::from_timestamp(60, 0).unwrap(), ..plan() };
    let all = [&first, &other_id, &again].map(messages).concat();
    let heard = listen(&mut new(), &all);
    let ids: Vec<_> = heard.plans.iter().map(|plan| plan.scan_id.as_str()).collect();
    assert_eq!(ids, ["NS_1-19700101T000000-000", "NS_2-19700101T000000-000", "NS_1-19700101T000100-000"]);
    assert_eq!(heard.outcomes.len(), 3);
    assert_eq!(heard.values.len(), 3 * expected(0..ENERGIES));
}

#[test]
fn idle_talk_and_events_are_no_scans() {
    let mut adapter = new();
    for message in [
        encode::idle(),
        b"{\"event\": \"stxm\", \"data\": {\"identifier\": \"a\"}}".to_vec(),
        Pickled::dict([("event", Pickled::text("frame"))]).to_bytes(),
        Pickled::text("hello").to_bytes(),
    ] {
        let mut events = Vec::new();
        assert_eq!(adapter.push(&[Bytes::from(message)], DateTime::UNIX_EPOCH, &mut events), Ok(Read::Idle));
        assert!(events.is_empty());
    }
    let mut events = Vec::new();
    let refused = |parts: &[Bytes], adapter: &mut Pystxmcontrol, events: &mut Vec<ScanEvent>| {
        adapter.push(parts, DateTime::UNIX_EPOCH, events).unwrap_err().reason()
    };
    assert_eq!(refused(&[], &mut adapter, &mut events), "parts");
    assert_eq!(refused(&[Bytes::from_static(b"GET /")], &mut adapter, &mut events), "pickle");
    assert_eq!(refused(&[Bytes::from_static(b"\x80\x04K\x01.")], &mut adapter, &mut events), "header");
    assert!(events.is_empty());
}

/// One message of a scan with fields set.
fn with(fields: &[(&str, Pickled)]) -> Vec<u8> {
    let plan = plan();
    let image = (0..NY * NX).map(|pixel| counts(0, pixel)).collect::<Vec<_>>();
    let mut entries = vec![
        ("scan".to_owned(), encode::definition(&plan)),
        ("type".to_owned(), Pickled::text("Image")),
        ("energyIndex".to_owned(), Pickled::Int(0)),
        ("scanID".to_owned(), Pickled::text("NS_1")),
        ("image".to_owned(), Pickled::dict([("default", Pickled::Array(vec![NY, NX], image))])),
    ];
    entries.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Pickled::Dict(entries).to_bytes()
}

#[test]
fn an_energy_that_is_another_ones_makes_the_scan_untrusted_once() {
    let read_back = with(&[("energy", Pickled::Float(510.3))]);
    assert!(listen(&mut new(), &[read_back]).remarks.is_empty(), "that far a monochromator may be off");
    let wrong = with(&[("energy", Pickled::Float(512.0))]);
    let heard = listen(&mut new(), &[wrong.clone(), wrong]);
    assert_eq!(heard.remarks.len(), 1);
    assert!(heard.remarks[0].contains("energyIndex 0 is 510.000 eV"), "{:?}", heard.remarks);
    assert!(heard.values.is_empty(), "and nothing is put where it may not belong");
}

#[test]
fn of_a_row_that_is_measured_point_by_point_only_what_has_come_counts() {
    let mut image = vec![0.0; NY * NX];
    image[..6].copy_from_slice(&[1.0, 0.0, 3.0, 4.0, 5.0, 6.0]);
    let fields = [
        ("mode", Pickled::text("point")),
        ("lineIndex", Pickled::Int(1)),
        ("image", Pickled::dict([("default", Pickled::Array(vec![NY, NX], image))])),
    ];
    let heard = listen(&mut new(), &[with(&fields)]);
    let pixels: Vec<_> = heard.values.keys().map(|(.., pixel)| *pixel).collect();
    assert_eq!(pixels, [0, 1, 2, 3, 4, 5], "a count of 0 in a line that is over is one");
}

#[test]
fn a_line_counts_where_the_image_is_of_another_shape_or_lacks_it() {
    let line = |image: Pickled| {
        with(&[
            ("lineIndex", Pickled::Int(2)),
            ("data", Pickled::dict([("default", Pickled::Array(vec![NX], vec![7.0; NX]))])),
            ("image", Pickled::dict([("default", image)])),
        ])
    };
    for image in [
        Pickled::Array(vec![NY, NX + 1], vec![1.0; NY * (NX + 1)]),
        Pickled::Array(vec![NY, NX], vec![0.0; NY * NX]),
    ] {
        let heard = listen(&mut new(), &[line(image)]);
        assert_eq!(heard.values.values().collect::<Vec<_>>(), [&7.0; NX]);
        assert!(heard.values.keys().all(|(.., pixel)| pixel / NX == 2));
    }
}

#[test]
fn a_detector_may_be_chosen_and_other_kinds_are_left_alone() {
    let image = |value: f64| Pickled::Array(vec![NY, NX], vec![value; NY * NX]);
    let both = with(&[("image", Pickled::dict([("pmt", image(1.0)), ("diode", image(2.0))]))]);
    let chosen = |channel: Option<&str>| {
        let naming = Naming { channel: channel.map(str::to_owned), ..Naming::default() };
        listen(&mut Pystxmcontrol::new(naming), std::slice::from_ref(&both)).values.values().copied().next()
    };
    assert_eq!([chosen(None), chosen(Some("diode")), chosen(Some("none"))], [Some(1.0), Some(2.0), None]);
    let heard = listen(&mut new(), &[with(&[("type", Pickled::text("Focus"))])]);
    assert_eq!((heard.plans[0].scan_kind, heard.values.len()), (ScanKind::Focus, 0));
}

proptest! {
    #[test]
    fn loss_order_and_doubles_change_nothing_that_is_told(
        order in proptest::collection::vec(0..ENERGIES * NY, 1..60),
    ) {
        let all = messages(&plan());
        let some: Vec<_> = order.iter().map(|index| all[*index].clone()).collect();
        let heard = listen(&mut new(), &some);
        assert_true(&heard);
        prop_assert_eq!(heard.plans.len(), 1);
        // The last line of an energy has all of it.
        for energy in 0..ENERGIES {
            if order.contains(&(energy * NY + NY - 1)) {
                let told = heard.values.keys().filter(|(_, told, _)| *told as usize == energy).count();
                prop_assert_eq!(told, expected(energy..energy + 1));
            }
        }
    }

    #[test]
    fn damaged_messages_among_good_ones_break_nothing(
        hits in proptest::collection::vec((0..ENERGIES * NY, any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let good = messages(&plan());
        let mut all = good.clone();
        for (which, at, byte) in hits {
            let at = at.index(all[which].len());
            all[which][at] = byte;
        }
        let mut adapter = new();
        listen(&mut adapter, &all);
        let heard = listen(&mut adapter, &good);
        prop_assert!(heard.values.len() <= expected(0..ENERGIES));
        let fresh = listen(&mut new(), &good);
        prop_assert_eq!(fresh.values.len(), expected(0..ENERGIES));
    }
}

#[test]
fn an_end_after_a_restart_is_that_of_the_scan_that_ran_before() {
    let all = messages(&plan());
    for at in 1..all.len() {
        let before = listen(&mut new(), &all[..at]);
        let reached = before.values.keys().map(|(_, energy, _)| *energy as usize).max();
        let mut restarted = new();
        let heard_last = DateTime::UNIX_EPOCH;
        restarted.recall(&Recalled {
            plan: &before.plans[0],
            heard_last,
            reached,
            doubt: None,
            ended: None,
            energies_ev: &[],
        });
        let after = listen(&mut restarted, &all[at..]);
        assert!(after.plans.is_empty(), "the same scan goes on");
        let outcome = (before.plans[0].scan_id.clone(), Outcome::Complete);
        assert_eq!(after.outcomes, [outcome], "{at}");
    }
}
