use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::scan::{ScanPlan, test_plan};

const NY: usize = 3;
const NX: usize = 4;
const ENERGIES: usize = 5;

fn plan() -> ScanPlan {
    let mut plan = test_plan(NY, NX, ENERGIES);
    plan.grid.x.step = -0.2;
    plan.dwell_ms = vec![2.5; ENERGIES];
    plan
}

fn value(energy: usize, pixel: usize) -> f32 {
    (100 * energy + pixel) as f32
}

fn line(energy: usize, row: usize) -> Vec<Bytes> {
    let values: Vec<f32> = (0..NX).map(|column| value(energy, row * NX + column)).collect();
    encode::line([0, energy, 0, 0], [row, 0], [1, NX], &values)
}

fn lines() -> Vec<Vec<Bytes>> {
    (0..ENERGIES).flat_map(|energy| (0..NY).map(move |row| line(energy, row))).collect()
}

fn whole() -> Vec<Vec<Bytes>> {
    let mut all = vec![encode::started(&encode::request(&plan()))];
    for energy in 0..ENERGIES {
        // The status follows the scan.
        all.push(encode::status("running", energy, 0, &plan()));
        all.extend((0..NY).map(|row| line(energy, row)));
    }
    all.push(encode::finished(&plan()));
    all
}

#[derive(Debug, Default)]
struct Heard {
    plans: Vec<ScanPlan>,
    values: BTreeMap<(String, u32, usize), f32>,
    outcomes: Vec<Outcome>,
    states: Vec<&'static str>,
    untrusted: Vec<String>,
    remarks: Vec<String>,
    refused: Vec<&'static str>,
}

fn listen_at(adapter: &mut Pixelator, messages: &[Vec<Bytes>], time: DateTime<Utc>) -> Heard {
    let mut heard = Heard::default();
    for message in messages {
        let mut events = Vec::new();
        if let Err(refusal) = adapter.push(message, time, &mut events) {
            heard.refused.push(refusal.reason());
        }
        for event in events {
            match event.update {
                ScanUpdate::Started(plan) => {
                    plan.validate().unwrap();
                    heard.plans.push(*plan);
                }
                ScanUpdate::Samples(batch) => {
                    assert_eq!(batch.values.len(), batch.pixels.len());
                    for (pixel, value) in batch.pixels.iter().zip(&batch.values) {
                        assert!(!value.is_infinite());
                        heard.values.insert((event.scan_id.clone(), batch.energy_index, pixel), *value);
                    }
                }
                ScanUpdate::Ended(outcome) => heard.outcomes.push(outcome),
                ScanUpdate::Paused => heard.states.push("paused"),
                ScanUpdate::Resumed => heard.states.push("resumed"),
                ScanUpdate::Remarked(remark) if remark.untrusted => heard.untrusted.push(remark.text),
                ScanUpdate::Remarked(remark) => heard.remarks.push(remark.text),
                other => panic!("{other:?}"),
            }
        }
    }
    heard
}

fn listen(adapter: &mut Pixelator, messages: &[Vec<Bytes>]) -> Heard {
    listen_at(adapter, messages, DateTime::UNIX_EPOCH)
}

fn new() -> Pixelator {
    Pixelator::new(Naming { source: "pollux".to_owned(), ..Naming::default() })
}

#[test]
fn a_scan_is_read_as_it_was_asked_for() {
    let heard = listen(&mut new(), &whole());
    let [found] = &heard.plans[..] else { panic!("{heard:?}") };
    let wanted = plan();
    assert_eq!(found.scan_id, "pollux-19700101T000000-000");
    assert_eq!((found.grid.shape, &found.energies_ev), ([NY, NX], &wanted.energies_ev));
    for (found, wanted) in [(found.grid.x, wanted.grid.x), (found.grid.y, wanted.grid.y)] {
        assert!((found.start - wanted.start).abs() < 1e-9 && (found.step - wanted.step).abs() < 1e-9);
    }
    assert!(
        found.dwell_ms.iter().all(|dwell_ms| (dwell_ms - 2.5).abs() < 1e-9),
        "seconds become milliseconds"
    );
    assert!(found.simulated);
    assert_eq!(heard.values.len(), ENERGIES * NY * NX);
    assert!(heard.values.iter().all(|((_, energy, pixel), found)| *found == value(*energy as usize, *pixel)));
    assert_eq!(heard.outcomes, [Outcome::Complete]);
    assert!(heard.refused.is_empty() && heard.untrusted.is_empty() && heard.remarks.is_empty(), "{heard:?}");
}

#[test]
fn lines_whose_start_was_not_heard_are_nobodys() {
    let heard = listen(&mut new(), &whole()[1..]);
    assert!(heard.plans.is_empty() && heard.values.is_empty() && heard.outcomes.is_empty());
    assert_eq!(heard.refused, ["no_start"; ENERGIES * NY]);
}

#[test]
fn the_same_request_told_again_is_the_same_scan_and_after_its_end_another() {
    let mut all = whole();
    all.insert(6, all[0].clone());
    let twice = [all, whole()].concat();
    let heard = listen(&mut new(), &twice);
    let ids: Vec<_> = heard.plans.iter().map(|plan| plan.scan_id.as_str()).collect();
    assert_eq!(ids, ["pollux-19700101T000000-000", "pollux-19700101T000000-000-2"]);
    assert_eq!(heard.outcomes.len(), 2);
}

#[test]
fn the_status_pauses_resumes_and_stands_in_for_an_end() {
    let plan = plan();
    let mut all = whole()[..4].to_vec();
    all.push(encode::status("paused", 0, 2, &plan));
    all.push(encode::status("paused", 0, 2, &plan));
    all.push(encode::status("running", 0, 2, &plan));
    all.push(encode::status("idle", 0, 0, &plan));
    // What is heard then is another scan's.
    all.push(encode::status("idle", 0, 0, &plan));
    let mut adapter = new();
    let heard = listen(&mut adapter, &all);
    assert_eq!(heard.states, ["paused", "resumed"]);
    assert!(
        matches!(&heard.outcomes[..], [Outcome::Partial { reason }] if reason.contains("idle")),
        "{heard:?}"
    );
    let later = DateTime::from_timestamp(60, 0).unwrap();
    let heard = listen_at(&mut adapter, &[encode::status("running", 3, 0, &plan), line(3, 0)], later);
    assert_eq!((heard.refused, heard.values.len()), (vec!["no_start"], 0));
    let mut adapter = new();
    let all = [whole()[..3].to_vec(), vec![encode::aborted(), encode::finished(&plan)]].concat();
    assert_eq!(listen(&mut adapter, &all).outcomes, [Outcome::Aborted { reason: None }]);
}

#[test]
fn where_index_and_status_disagree_nothing_is_guessed() {
    let begin = whole()[..3].to_vec();
    let fewer = ScanPlan { energies_ev: vec![510.0], dwell_ms: vec![1.0], ..plan() };
    for (odd, why) in [
        (vec![encode::status("running", 0, 0, &fewer), line(1, 0)], "scanStatus counts 1 outer regions"),
        (vec![encode::status("running", 4, 0, &plan()), line(1, 0)], "while scanStatus says 4"),
        (vec![line(1, 0), encode::line([0, 5, 0, 0], [0, 0], [1, 1], &[1.0])], "outer region 5 where"),
        (vec![encode::status("running", 1, 0, &plan()), line(2, 0), line(0, 0)], "after 2"),
    ] {
        let all = [begin.clone(), odd, vec![line(1, 1)]].concat();
        let heard = listen(&mut new(), &all);
        assert_eq!(heard.untrusted.len(), 1, "{why}: {heard:?}");
        assert!(heard.untrusted[0].contains(why), "{why}: {heard:?}");
        assert!(heard.refused.contains(&"untrusted"));
        assert!(heard.values.keys().all(|(_, energy, pixel)| (*energy, pixel / NX) != (1, 1)));
    }
    // An axis beside the energy.
    let mut request = encode::request(&plan());
    request["outerRegions"][0]["axes"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "nPoints": 3, "trajectories": [] }));
    let heard = listen(&mut new(), &[vec![encode::started(&request)], lines()].concat());
    assert!(heard.untrusted[0].contains("an axis beside the energy") && heard.values.is_empty(), "{heard:?}");
}

#[test]
fn the_fast_axis_may_be_y_and_blocks_may_be_any_rectangle() {
    let mut request = encode::request(&plan());
    request["innerRegions"][0]["axes"].as_array_mut().unwrap().reverse();
    let block = encode::line([0, 0, 0, 0], [1, 0], [2, 3], &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    let heard = listen(&mut new(), &[encode::started(&request), block.clone()]);
    let by_pixel: Vec<_> = heard.values.iter().map(|((_, _, pixel), value)| (*pixel, *value)).collect();
    // Columns 1 and 2 of all three rows.
    assert_eq!(by_pixel, [(1, 4.0), (2, 7.0), (5, 5.0), (6, 8.0), (9, 6.0), (10, 9.0)]);
    let heard = listen(&mut new(), &[encode::started(&encode::request(&plan())), block]);
    let by_pixel: Vec<_> = heard.values.keys().map(|(_, _, pixel)| *pixel).collect();
    assert_eq!(by_pixel, [4, 5, 6, 8, 9, 10]);
    let beyond = encode::line([0, 0, 0, 0], [2, 0], [2, 3], &[1.0; 6]);
    assert_eq!(listen(&mut new(), &[encode::started(&encode::request(&plan())), beyond]).refused, ["pixel"]);
}

#[test]
fn regions_polarisations_and_channels_are_told_apart() {
    let mut request = encode::request(&plan());
    let inner = request["innerRegions"][0].clone();
    request["innerRegions"].as_array_mut().unwrap().push(inner);
    request["polarization"] = json!({ "active": 1, "types": ["C+", "C-"] });
    request["meander"] = json!(1);
    let at = |indices: [usize; 4]| encode::line(indices, [0, 0], [1, 1], &[indices[3] as f32]);
    let all = [
        encode::started(&request),
        encode::channels(&["Counter1", "PMT"]),
        at([0, 0, 0, 0]),
        at([0, 0, 0, 1]),
        at([1, 0, 1, 1]),
        at([0, 0, 7, 1]),
        at([2, 0, 0, 1]),
        encode::finished(&plan()),
    ];
    let named = |channel: &str| {
        let naming =
            Naming { source: "a".to_owned(), channel: Some(channel.to_owned()), ..Naming::default() };
        listen(&mut Pixelator::new(naming), &all)
    };
    for heard in [named("PMT"), named("1")] {
        let ids: Vec<_> =
            heard.plans.iter().map(|plan| plan.scan_id.trim_start_matches("a-19700101T000000-000")).collect();
        assert_eq!(ids, ["-r1-p1", "-r2-p2"]);
        assert!(heard.plans.iter().all(|plan| plan.group.as_deref() == Some("a-19700101T000000-000")));
        assert_eq!(heard.plans[1].context.as_ref().unwrap()["polarization"], "C-");
        assert_eq!(heard.values.values().collect::<Vec<_>>(), [&1.0, &1.0]);
        assert_eq!(heard.refused, ["region", "region"]);
        assert_eq!((heard.outcomes.len(), heard.remarks.len()), (2, 2), "{:?}", heard.remarks);
    }
    assert_eq!(named("none").refused, ["channel"; 5]);
}

#[test]
fn what_is_no_stack_of_images_is_left_alone() {
    for (field, other) in
        [("spatialType", json!("Line")), ("spatialType", json!("Point")), ("outerRegions", json!([]))]
    {
        let mut request = encode::request(&plan());
        request[field] = other;
        let heard = listen(&mut new(), &[vec![encode::started(&request)], lines()].concat());
        assert!(heard.plans.is_empty() && heard.values.is_empty(), "{heard:?}");
    }
    let mut request = encode::request(&plan());
    request["scanType"] = json!("Focus");
    let heard = listen(&mut new(), &[encode::started(&request), line(0, 0)]);
    assert_eq!(heard.plans[0].scan_kind, crate::scan::ScanKind::Focus);
}

#[test]
fn topics_are_matched_whole() {
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let heard = listen(
        &mut new(),
        &[vec![text("scanStartedAgain"), text("{")], vec![text("positionerStatus"), text("x")]],
    );
    assert!(heard.refused.is_empty());
    let bad = [
        vec![],
        vec![text("")],
        vec![text("\u{1}\u{2}")],
        vec![text("scanStarted")],
        vec![text("scanStarted"), text("{")],
    ];
    assert_eq!(listen(&mut new(), &bad).refused, ["parts", "topic", "topic", "parts", "header"]);
}

proptest! {
    #[test]
    fn loss_and_doubles_put_nothing_at_a_wrong_place(
        kept in proptest::collection::vec(0..3_usize, ENERGIES * NY),
    ) {
        let mut all = whole()[..2].to_vec();
        let mut wanted = 0;
        for (line, times) in lines().into_iter().zip(&kept) {
            wanted += usize::from(*times > 0) * NX;
            all.extend(std::iter::repeat_n(line, *times));
        }
        // Without a status there is nothing to hold it against.
        all.remove(1);
        let heard = listen(&mut new(), &all);
        prop_assert_eq!(heard.values.len(), wanted);
        prop_assert!(heard.untrusted.is_empty());
        prop_assert!(heard.values.iter().all(|((_, energy, pixel), found)| *found == value(*energy as usize, *pixel)));
    }

    #[test]
    fn in_any_order_a_scan_is_right_or_says_that_it_is_not(order in proptest::collection::vec(0..ENERGIES * NY, 1..40)) {
        let lines = lines();
        let all: Vec<_> = std::iter::once(whole()[0].clone()).chain(order.iter().map(|index| lines[*index].clone())).collect();
        let heard = listen(&mut new(), &all);
        prop_assert!(heard.values.iter().all(|((_, energy, pixel), found)| *found == value(*energy as usize, *pixel)));
    }

    #[test]
    fn damage_breaks_nothing(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut all = whole();
        for (message, part, at, byte) in hits {
            let message = message.get_mut(&mut all);
            let part = part.get_mut(message);
            if !part.is_empty() {
                let mut bytes = part.to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                *part = Bytes::from(bytes);
            }
        }
        let mut adapter = new();
        listen(&mut adapter, &all);
        let later = DateTime::from_timestamp(60, 0).unwrap();
        let heard = listen_at(&mut adapter, &[vec![encode::aborted()], whole()].concat(), later);
        prop_assert_eq!(heard.values.len(), ENERGIES * NY * NX);
    }
}

fn recalled<'a>(heard: &'a Heard, heard_last: DateTime<Utc>) -> Recalled<'a> {
    let reached = heard.values.keys().map(|(_, energy, _)| *energy as usize).max();
    let doubt = heard.untrusted.first().map(String::as_str);
    Recalled {
        plan: &heard.plans[0],
        heard_last,
        reached,
        doubt,
        ended: heard.outcomes.last(),
        energies_ev: &[],
    }
}

proptest! {
    #[test]
    fn a_scan_goes_on_after_a_restart_wherever_that_is(at in 2..17_usize, away_s in 0..60_i64) {
        let all = whole();
        let mut before = listen(&mut new(), &all[..at]);
        prop_assume!(!before.plans.is_empty());
        let mut restarted = new();
        restarted.recall(&recalled(&before, DateTime::UNIX_EPOCH));
        let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(away_s);
        let after = listen_at(&mut restarted, &all[at..], time);
        prop_assert!(after.plans.is_empty() && after.refused.is_empty() && after.untrusted.is_empty(), "{after:?}");
        before.values.extend(after.values);
        prop_assert_eq!(before.values, listen(&mut new(), &whole()).values);
        prop_assert_eq!(after.outcomes, [Outcome::Complete]);
    }
}

#[test]
fn what_a_restart_makes_doubtful_is_not_taken() {
    let all = whole();
    let before = listen(&mut new(), &all[..6]);
    // The whole scan takes 0.15 s: in ten minutes there may have been another.
    let mut restarted = new();
    restarted.recall(&recalled(&before, DateTime::UNIX_EPOCH));
    let late = listen_at(&mut restarted, &all[6..], DateTime::UNIX_EPOCH + TimeDelta::minutes(10));
    assert!(late.values.is_empty() && late.untrusted[0].contains("600 s"), "{late:?}");
    // One that was doubted stays so, and what is another format's is left alone.
    let doubted =
        Heard { untrusted: vec!["doubted".to_owned()], plans: before.plans.clone(), ..Heard::default() };
    let mut restarted = new();
    restarted.recall(&recalled(&doubted, DateTime::UNIX_EPOCH));
    assert_eq!(listen(&mut restarted, &[line(1, 0)]).refused, ["untrusted"]);
    for recall in [None, Some("{}"), Some(r#"{"format":"bluesky","of":{"uid":"1","data_field":"a"}}"#)] {
        let plans = vec![ScanPlan { recall: recall.map(str::to_owned), ..before.plans[0].clone() }];
        let mut restarted = new();
        restarted.recall(&recalled(&Heard { plans, ..Heard::default() }, DateTime::UNIX_EPOCH));
        assert_eq!(listen(&mut restarted, &[line(1, 0)]).refused, ["no_start"]);
    }
}
