use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::scan::{Outcome, ScanPlan, ScanUpdate, test_plan};
use crate::source::pickle::write::Pickled;

const NY: usize = 3;
const NX: usize = 4;
const ENERGIES: usize = 5;

fn plan() -> ScanPlan {
    ScanPlan { scan_id: "0f3c2d1e-uid".to_owned(), ..test_plan(NY, NX, ENERGIES) }
}

fn value(energy: usize, pixel: usize) -> f32 {
    (100 * energy + pixel) as f32
}

fn event(energy: usize, row: usize) -> Vec<u8> {
    let values: Vec<f32> = (0..NX).map(|column| value(energy, row * NX + column)).collect();
    encode::message("event", &encode::event(&plan(), energy, row, &values, DateTime::UNIX_EPOCH))
}

fn json_message(name: &str, document: &Value) -> Vec<u8> {
    encode::message(name, document.to_string().as_bytes())
}

fn events() -> Vec<Vec<u8>> {
    (0..ENERGIES).flat_map(|energy| (0..NY).map(move |row| event(energy, row))).collect()
}

fn begin() -> Vec<Vec<u8>> {
    vec![
        json_message("start", &encode::start(&plan())),
        json_message("descriptor", &encode::descriptor(&plan())),
    ]
}

fn end() -> Vec<u8> {
    json_message("stop", &encode::stop(&plan(), "success"))
}

#[derive(Debug, Default)]
struct Heard {
    plans: Vec<ScanPlan>,
    values: BTreeMap<(u32, usize), f32>,
    seqs: Vec<Option<u64>>,
    outcomes: Vec<Outcome>,
    refused: Vec<&'static str>,
}

fn listen(adapter: &mut Bluesky, messages: &[Vec<u8>]) -> Heard {
    let mut heard = Heard::default();
    for message in messages {
        let mut events = Vec::new();
        let parts = [Bytes::from(message.clone())];
        if let Err(refusal) = adapter.push(&parts, DateTime::UNIX_EPOCH, &mut events) {
            heard.refused.push(refusal.reason());
        }
        for event in events {
            heard.seqs.push(event.seq);
            match event.update {
                ScanUpdate::Started(plan) => {
                    plan.validate().unwrap();
                    heard.plans.push(*plan);
                }
                ScanUpdate::Samples(batch) => {
                    for (pixel, value) in batch.pixels.iter().zip(&batch.values) {
                        assert!(!value.is_infinite());
                        if !value.is_nan() {
                            heard.values.insert((batch.energy_index, pixel), *value);
                        }
                    }
                }
                ScanUpdate::Ended(outcome) => heard.outcomes.push(outcome),
                other => panic!("{other:?}"),
            }
        }
    }
    heard
}

fn new() -> Bluesky {
    Bluesky::new(Naming::default())
}

#[test]
fn a_run_is_read_as_it_was_planned() {
    let all = [begin(), events(), vec![end(), end()]].concat();
    let heard = listen(&mut new(), &all);
    let [found] = &heard.plans[..] else { panic!("{heard:?}") };
    let wanted = plan();
    assert_eq!((&found.scan_id, found.grid.shape), (&wanted.scan_id, [NY, NX]));
    assert_eq!((&found.energies_ev, &found.dwell_ms), (&wanted.energies_ev, &wanted.dwell_ms));
    assert!((found.grid.x.step - wanted.grid.x.step).abs() < 1e-9 && found.simulated);
    assert_eq!(heard.values.len(), ENERGIES * NY * NX);
    assert!(heard.values.iter().all(|((energy, pixel), found)| *found == value(*energy as usize, *pixel)));
    assert_eq!(heard.outcomes, [Outcome::Complete]);
    let numbers: Vec<_> = (0..=(ENERGIES * NY + 1) as u64).map(Some).collect();
    assert_eq!(heard.seqs, numbers, "what is missing is known by number");
    assert!(heard.refused.is_empty());
}

#[test]
fn pages_nan_and_other_streams() {
    let page = json!({
        "descriptor": "0f3c2d1e-uid-primary", "seq_num": [1, 2, 99, 3], "time": [1.0, 2.0, 3.0, 4.0],
        "data": { "counter": [[1, 2, 3, 4], [null, 6, 7, "x"], [1, 2, 3, 4], [1, 2]], "energy": [510.0, 510.0, 510.0, 510.0] },
    });
    let baseline = json!({ "descriptor": "another", "seq_num": 1, "data": { "ring_current": 400.0 } });
    let nan = encode::message(
        "event",
        &encode::event(&plan(), 1, 0, &[f32::NAN, 1.0, 2.0, 3.0], DateTime::UNIX_EPOCH),
    );
    let all =
        [begin(), vec![json_message("event_page", &page), json_message("event", &baseline), nan]].concat();
    let heard = listen(&mut new(), &all);
    let pixels: Vec<_> = heard.values.keys().copied().collect();
    assert_eq!(pixels, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 5), (0, 6), (1, 1), (1, 2), (1, 3)]);
    assert_eq!(heard.refused, ["size"], "one reason for a page");
}

/// A document as msgpack.
fn packed(document: &Value) -> Vec<u8> {
    fn pack(value: &Value) -> rmpv::Value {
        match value {
            Value::Null => rmpv::Value::Nil,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => match number.as_i64() {
                Some(number) => number.into(),
                None => number.as_f64().unwrap().into(),
            },
            Value::String(text) => text.as_str().into(),
            Value::Array(items) => rmpv::Value::Array(items.iter().map(pack).collect()),
            Value::Object(entries) => rmpv::Value::Map(
                entries.iter().map(|(key, value)| (key.as_str().into(), pack(value))).collect(),
            ),
        }
    }
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &pack(document)).unwrap();
    bytes
}

fn pickled(value: &Value) -> Pickled {
    match value {
        Value::Null => Pickled::None,
        Value::Bool(value) => Pickled::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Pickled::Int(number),
            None => Pickled::Float(number.as_f64().unwrap()),
        },
        Value::String(text) => Pickled::text(text.clone()),
        Value::Array(items) => Pickled::List(items.iter().map(pickled).collect()),
        Value::Object(entries) => {
            Pickled::dict(entries.iter().map(|(key, value)| (key.clone(), pickled(value))))
        }
    }
}

#[test]
fn messagepack_and_pickles_say_the_same_as_json() {
    let event = |energy: usize, row: usize| {
        let values: Vec<f32> = (0..NX).map(|column| value(energy, row * NX + column)).collect();
        serde_json::from_slice(&encode::event(&plan(), energy, row, &values, DateTime::UNIX_EPOCH)).unwrap()
    };
    let mut documents = vec![("start", encode::start(&plan())), ("descriptor", encode::descriptor(&plan()))];
    documents.extend((0..ENERGIES * NY).map(|line| ("event", event(line / NY, line % NY))));
    documents.push(("stop", encode::stop(&plan(), "success")));
    let wanted = listen(&mut new(), &[begin(), events(), vec![end()]].concat());
    let packing: [fn(&Value) -> Vec<u8>; 2] = [packed, |document| pickled(document).to_bytes()];
    for pack in packing {
        let all: Vec<_> =
            documents.iter().map(|(name, document)| encode::message(name, &pack(document))).collect();
        let heard = listen(&mut new(), &all);
        assert_eq!(
            (heard.plans, heard.values, heard.seqs),
            (wanted.plans.clone(), wanted.values.clone(), wanted.seqs.clone())
        );
    }
    // Arrays as msgpack-numpy writes them.
    let data: Vec<u8> = [1.5_f32, 2.5, 3.5, 4.5].iter().flat_map(|value| value.to_be_bytes()).collect();
    let key = |name: &str| rmpv::Value::Binary(name.as_bytes().to_vec());
    let array = rmpv::Value::Map(vec![
        (key("nd"), true.into()),
        (key("type"), ">f4".into()),
        (key("kind"), key("")),
        (key("shape"), rmpv::Value::Array(vec![4.into()])),
        (key("data"), rmpv::Value::Binary(data)),
    ]);
    let event = rmpv::Value::Map(vec![
        ("seq_num".into(), 2.into()),
        ("data".into(), rmpv::Value::Map(vec![("counter".into(), array)])),
    ]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &event).unwrap();
    let heard = listen(&mut new(), &[begin(), vec![encode::message("event", &bytes)]].concat());
    assert_eq!(
        heard.values.into_iter().collect::<Vec<_>>(),
        [((0, 4), 1.5), ((0, 5), 2.5), ((0, 6), 3.5), ((0, 7), 4.5)]
    );
}

#[test]
fn other_plans_are_skipped_and_runs_without_a_start_refused() {
    let other = json!({ "uid": "a", "plan_name": "count" });
    let heard = listen(&mut new(), &[vec![json_message("start", &other)], events(), vec![end()]].concat());
    assert!(heard.plans.is_empty() && heard.outcomes.is_empty());
    assert_eq!(heard.refused, ["no_start"; ENERGIES * NY]);
    let mut version = encode::start(&plan());
    version["stxm"]["contract_version"] = json!(2);
    assert_eq!(listen(&mut new(), &[json_message("start", &version)]).refused, ["contract"]);
    for (key, wrong) in [
        ("shape", json!([5, 3])),
        ("energies", json!([510.0])),
        ("x_extent", json!([0.0])),
        ("data_field", json!(null)),
        ("shape", json!([5, 1e9, 1e9])),
    ] {
        let mut start = encode::start(&plan());
        start["stxm"][key] = wrong;
        let heard = listen(&mut new(), &[json_message("start", &start)]);
        assert!(heard.plans.is_empty() && heard.refused.len() == 1, "{key}: {heard:?}");
    }
    let failed = json_message("stop", &encode::stop(&plan(), "abort"));
    let heard = listen(&mut new(), &[begin(), vec![event(0, 0), failed]].concat());
    assert_eq!(heard.outcomes, [Outcome::Aborted { reason: Some("abort".to_owned()) }]);
}

#[test]
fn two_runs_at_once_are_told_apart_by_their_descriptors() {
    let other = ScanPlan { scan_id: "second".to_owned(), ..plan() };
    let start = json_message("start", &encode::start(&other));
    let lost = encode::event(&other, 0, 0, &[9.0; NX], DateTime::UNIX_EPOCH);
    let lost = encode::message("event", &lost);
    // Its descriptor did not come, and two runs are open.
    let all = [begin(), vec![start, lost, event(0, 0)]].concat();
    let heard = listen(&mut new(), &all);
    assert_eq!((heard.refused, heard.values.get(&(0, 0))), (vec!["no_start"], Some(&0.0)));
}

#[test]
fn garbage_is_refused_by_name() {
    for (bytes, reason) in [
        (&b""[..], "header"),
        (b"stxm start", "header"),
        (b"GET / HTTP/1.1", "header"),
        (b"stxm start {", "header"),
        (b"stxm start [1]", "msgpack"),
        (b"stxm event \x80\x04c", "pickle"),
        (b"stxm event \xdd\xff\xff\xff\xff", "msgpack"),
        (b"stxm event \x80\x80", "msgpack"),
        (b"stxm event \xc0", "header"),
    ] {
        assert_eq!(listen(&mut new(), &[bytes.to_vec()]).refused, [reason], "{bytes:?}");
    }
    let deep = [b"stxm event ".to_vec(), vec![0x91; 100_000]].concat();
    assert_eq!(listen(&mut new(), &[deep]).refused, ["msgpack"]);
    assert_eq!(listen(&mut new(), &[b"stxm resource {}".to_vec()]).refused.len(), 0);
}

proptest! {
    #[test]
    fn any_order_loss_and_doubles_leave_every_line_in_its_place(order in proptest::collection::vec(0..ENERGIES * NY, 1..60)) {
        let events = events();
        let all: Vec<_> = begin().into_iter().chain(order.iter().map(|index| events[*index].clone())).collect();
        let heard = listen(&mut new(), &all);
        let told: std::collections::BTreeSet<_> = order.iter().collect();
        prop_assert_eq!(heard.values.len(), told.len() * NX);
        prop_assert!(heard.values.iter().all(|((energy, pixel), found)| *found == value(*energy as usize, *pixel)));
    }

    #[test]
    fn damage_breaks_nothing(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
        packs in any::<bool>(),
    ) {
        let mut all = [begin(), events(), vec![end()]].concat();
        if packs {
            all.push(encode::message("start", &packed(&encode::start(&plan()))));
        }
        for (message, at, byte) in hits {
            let message = message.get_mut(&mut all);
            let at = at.index(message.len());
            message[at] = byte;
        }
        listen(&mut new(), &all);
    }
}

#[test]
fn a_run_goes_on_after_a_restart_wherever_that_is() {
    let all = [begin(), events(), vec![end()]].concat();
    let whole = listen(&mut new(), &all);
    for at in 1..all.len() {
        let mut before = listen(&mut new(), &all[..at]);
        let mut restarted = new();
        restarted.recall(&Recalled {
            plan: &before.plans[0],
            heard_last: DateTime::UNIX_EPOCH,
            reached: None,
            doubt: None,
            ended: None,
            energies_ev: &[],
        });
        let after = listen(&mut restarted, &all[at..]);
        assert!(after.plans.is_empty() && after.refused.is_empty(), "{at}: {after:?}");
        before.values.extend(after.values);
        assert_eq!((&before.values, &after.outcomes), (&whole.values, &whole.outcomes), "{at}");
    }
}
