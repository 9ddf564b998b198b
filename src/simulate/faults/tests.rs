use super::*;
use crate::source::stxm_stream::Header;

fn numbered(count: usize) -> impl Iterator<Item = Result<WireMessage, EncodeError>> {
    (0..count).map(move |index| {
        let kind = match index {
            0 => MessageKind::Start,
            i if i + 1 == count => MessageKind::End,
            i => MessageKind::Samples { energy_index: i as u32 },
        };
        Ok(WireMessage { kind, parts: vec![Bytes::from(index.to_string())], exposure_ms: 1.0 })
    })
}

fn run(count: usize, faults: Faults, seed: u64) -> (Vec<WireMessage>, FaultCounters) {
    let mut faulty = Faulty::new(numbered(count), faults, seed);
    let messages = faulty.by_ref().map(Result::unwrap).collect();
    (messages, faulty.counters())
}

fn number(message: &WireMessage) -> usize {
    std::str::from_utf8(&message.parts[0]).unwrap().parse().unwrap()
}

#[test]
fn without_faults_nothing_changes() {
    let (messages, counters) = run(100, Faults::default(), 1);
    assert_eq!(messages.iter().map(number).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(counters, FaultCounters::default());
}

#[test]
fn loses_its_share_but_neither_start_nor_end() {
    let (messages, counters) = run(10_000, Faults { drop: 0.2, ..Default::default() }, 2);
    assert_eq!(messages.len() as u64 + counters.dropped, 10_000);
    assert!((1800..2200).contains(&counters.dropped), "{counters:?}");
    assert_eq!((number(&messages[0]), number(messages.last().unwrap())), (0, 9999));
    let total_ms: f64 = messages.iter().map(|message| message.exposure_ms).sum();
    assert!((total_ms - 10_000.0).abs() < 1e-6, "a lost message takes its time");
}

#[test]
fn doubles_its_share() {
    let (messages, counters) = run(10_000, Faults { duplicate: 0.1, ..Default::default() }, 3);
    assert_eq!(messages.len() as u64, 10_000 + counters.duplicated);
    assert!((850..1150).contains(&counters.duplicated), "{counters:?}");
    let twice = messages.windows(2).filter(|pair| pair[0].parts == pair[1].parts).count() as u64;
    assert_eq!(twice, counters.duplicated);
}

#[test]
fn reorders_within_its_window_and_loses_nothing() {
    let (messages, _) = run(2000, Faults { reorder: 8, ..Default::default() }, 4);
    let numbers: Vec<_> = messages.iter().map(number).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..2000).collect::<Vec<_>>());
    assert_ne!(numbers, sorted);
    for (place, &number) in numbers.iter().enumerate() {
        assert!(place.abs_diff(number) <= 8 * 2, "message {number} at place {place}");
    }
}

#[test]
fn joins_late() {
    let (messages, counters) = run(50, Faults { late_start: 7, ..Default::default() }, 5);
    assert_eq!((messages.len(), number(&messages[0]), counters.dropped), (43, 7, 7));
}

#[test]
fn garbage_is_never_a_message() {
    let header = "{\"stream\":\"stxm-stream/1\",\"scan_id\":\"a\",\"seq\":1,\
        \"time\":\"2026-01-01T00:00:00Z\",\"type\":\"scan_pause\"}";
    let message = WireMessage {
        kind: MessageKind::Samples { energy_index: 0 },
        parts: vec![Bytes::from_static(header.as_bytes())],
        exposure_ms: 0.0,
    };
    serde_json::from_slice::<Header>(&message.parts[0]).expect("the model is good");
    let source = std::iter::repeat_n(message.clone(), 500).map(Ok);
    let mut faulty = Faulty::new(source, Faults { garbage: 1.5, ..Default::default() }, 6);
    let messages: Vec<_> = faulty.by_ref().map(Result::unwrap).collect();
    let counters = faulty.counters();
    assert!((650..850).contains(&counters.garbage), "{counters:?}");
    assert_eq!(messages.len() as u64, 500 + counters.garbage);
    for garbage in messages.iter().filter(|message| message.kind == MessageKind::Garbage) {
        let good_header = serde_json::from_slice::<Header>(&garbage.parts[0]).is_ok();
        assert!(!good_header || garbage.parts.len() > message.parts.len(), "{garbage:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_faults() {
    let faults = Faults { drop: 0.1, duplicate: 0.1, reorder: 5, late_start: 2, garbage: 0.2 };
    assert_eq!(run(500, faults, 7), run(500, faults, 7));
    assert_ne!(run(500, faults, 7).0, run(500, faults, 8).0);
}
