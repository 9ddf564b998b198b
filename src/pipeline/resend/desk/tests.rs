use proptest::prelude::*;

use super::*;
use crate::stack::Sequence;

const AFTER: Duration = Duration::from_millis(500);
const A: &str = "tcp://a:1";

fn desk() -> Desk {
    Desk::new(vec![AFTER, AFTER])
}

fn sequence(came: impl IntoIterator<Item = u64>) -> Sequence {
    let mut sequence = Sequence::default();
    came.into_iter().for_each(|seq| {
        sequence.insert(seq);
    });
    sequence
}

fn view_at(scan_id: &str, address: &str, came: &Sequence) -> ScanView {
    ScanView {
        scan_id: scan_id.into(),
        source: 0,
        address: address.into(),
        gaps: came.gaps(),
        highest: came.highest(),
        ended: false,
        quiet: false,
    }
}

fn view(came: impl IntoIterator<Item = u64>) -> ScanView {
    view_at("s", A, &sequence(came))
}

/// What is asked for now, the views being these.
fn asked(desk: &mut Desk, views: &[ScanView], now: Instant) -> Vec<Vec<[u64; 2]>> {
    desk.look(views, now);
    desk.take_due(now).into_iter().map(|errand| errand.request.seq).collect()
}

#[test]
fn a_gap_is_asked_for_when_it_is_old_enough_and_what_has_come_is_not() {
    let (mut desk, now) = (desk(), Instant::now());
    assert!(asked(&mut desk, &[view([0, 1, 5, 8])], now).is_empty());
    assert_eq!(desk.next_due(), Some(now + AFTER));
    assert!(desk.has_hope("s"));
    assert_eq!(asked(&mut desk, &[view([0, 1, 3, 5, 8])], now + AFTER), [[[2, 2], [4, 4], [6, 7]]]);
    assert!(asked(&mut desk, &[view([0, 1, 3, 5, 8])], now + AFTER * 20).is_empty(), "one is under way");
    desk.done(0, Some(4), now + AFTER);
    assert!(asked(&mut desk, &[view(0..9)], now + AFTER * 9).is_empty());
    assert!(!desk.has_hope("s") && desk.next_due().is_none());
}

#[test]
fn what_does_not_come_is_asked_for_again_with_doubling_waits_and_given_up() {
    let (mut desk, mut now) = (desk(), Instant::now());
    let views = [view([0, 3])];
    asked(&mut desk, &views, now);
    let mut waits = Vec::new();
    for id in 0..u64::from(MOST_ATTEMPTS) {
        let due = desk.next_due().unwrap();
        waits.push(due - now);
        assert!(asked(&mut desk, &views, due - Duration::from_millis(1)).is_empty());
        assert_eq!(asked(&mut desk, &views, due), [[[1, 2]]]);
        now = due;
        // Whether it was answered, and what, makes no difference to a gap.
        desk.done(id, (id % 2 == 0).then_some(2), now);
    }
    assert_eq!(waits, [1, 1, 2, 4, 8].map(|times| AFTER * times));
    let later = desk.next_due().unwrap();
    assert!(desk.has_hope("s"), "it may be on its way");
    let given_up = desk.look(&views, later);
    assert_eq!(given_up, [GivenUp { scan_id: "s".into(), source: 0, messages: 2 }]);
    assert!(!desk.has_hope("s") && desk.next_due().is_none());
    assert!(desk.look(&views, later + AFTER * 100).is_empty(), "once");
    // It does not spoil the chances of what is lost later.
    let more = [view([0, 3, 5])];
    asked(&mut desk, &more, later);
    assert_eq!(asked(&mut desk, &more, later + AFTER), [[[4, 4]]]);
}

#[test]
fn one_request_is_under_way_per_address_and_who_waited_longest_comes_first() {
    let (mut desk, now) = (desk(), Instant::now());
    let gap = sequence([0, 2]);
    let views = [view_at("p", A, &gap), view_at("q", A, &gap), view_at("r", "tcp://b:1", &gap)];
    desk.look(&views[1..], now);
    desk.look(&views, now + AFTER / 2);
    let due = now + AFTER * 2;
    let errands = desk.take_due(due);
    let scans: Vec<_> = errands.iter().map(|errand| &*errand.request.scan_id).collect();
    assert_eq!((scans, desk.under_way()), (vec!["q", "r"], 2));
    assert!(desk.take_due(due).is_empty());
    desk.done(errands[0].id, None, due);
    assert_eq!(desk.take_due(due)[0].request.scan_id, "p");
}

#[test]
fn requests_are_bounded_and_the_rest_follows_at_once() {
    let (mut desk, now) = (desk(), Instant::now());
    let long = [view([5000])];
    asked(&mut desk, &long, now);
    assert_eq!(asked(&mut desk, &long, now + AFTER), [[[0, MOST_MESSAGES - 1]]]);
    desk.done(0, Some(1), now + AFTER);
    assert_eq!(asked(&mut desk, &long, now + AFTER), [[[MOST_MESSAGES, 2 * MOST_MESSAGES - 1]]]);
    let mut desk = Desk::new(vec![AFTER]);
    let ragged = [view((0..10_000).step_by(2))];
    asked(&mut desk, &ragged, now);
    let first = asked(&mut desk, &ragged, now + AFTER);
    assert_eq!((first[0].len(), first[0][0]), (MOST_RANGES, [1, 1]));
    desk.done(0, None, now + AFTER);
    assert!(asked(&mut desk, &ragged, now + AFTER).is_empty(), "that brought nothing");
    let second = asked(&mut desk, &ragged, now + AFTER * 2);
    assert_eq!(second[0][0], [2 * MOST_RANGES as u64 + 1; 2], "what was asked for waits its time");
}

#[test]
fn a_gap_of_millions_is_not_a_flood_of_requests() {
    let (mut desk, now) = (desk(), Instant::now());
    let jump = [view([0, LAST_SEQ])];
    let mut requests = 0;
    for step in 0..800 {
        let now = now + AFTER * step;
        desk.look(&jump, now);
        for errand in desk.take_due(now) {
            requests += 1;
            desk.done(errand.id, Some(0), now);
        }
    }
    // 400 s, and at last one every 4 s.
    assert!((100..110).contains(&requests), "{requests}");
}

#[test]
fn after_a_restart_all_above_is_asked_for_until_nothing_more_is_sent() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.restarted("s");
    desk.restarted("unknown");
    assert_eq!(asked(&mut desk, &[view([0, 1])], now), [[[2, LAST_SEQ]]]);
    assert!(desk.has_hope("s"));
    desk.done(0, Some(2), now);
    assert_eq!(asked(&mut desk, &[view(0..4)], now + AFTER), [[[4, LAST_SEQ]]]);
    desk.done(1, None, now);
    assert_eq!(asked(&mut desk, &[view(0..4)], now + AFTER * 2), [[[4, LAST_SEQ]]], "no answer, again");
    desk.done(2, Some(0), now);
    assert!(asked(&mut desk, &[view(0..4)], now + AFTER * 99).is_empty() && !desk.has_hope("s"));
    // With the end nothing can follow, and beyond the last number nothing is.
    desk.restarted("s");
    let ended = ScanView { ended: true, ..view(0..5) };
    assert!(asked(&mut desk, &[ended], now).is_empty() && !desk.has_hope("s"));
    desk.restarted("s");
    let mut full = view(0..5);
    full.highest = Some(LAST_SEQ);
    assert!(asked(&mut desk, &[full], now).is_empty());
    // A sender that always says it has sent something is believed so often.
    desk.restarted("s");
    let mut requests = 0;
    for step in 0..200 {
        let now = now + AFTER * step;
        desk.look(&[view(0..5)], now);
        for errand in desk.take_due(now) {
            requests += 1;
            desk.done(errand.id, Some(7), now);
        }
    }
    assert_eq!(requests, MOST_ATTEMPTS);
}

#[test]
fn a_quiet_scan_is_asked_about_once_for_each_silence() {
    let (mut desk, now) = (desk(), Instant::now());
    let quiet = |came| ScanView { quiet: true, ..view(came) };
    assert_eq!(asked(&mut desk, &[quiet(0..3)], now), [[[3, LAST_SEQ]]]);
    desk.done(0, Some(0), now);
    assert!(asked(&mut desk, &[quiet(0..3)], now + AFTER).is_empty());
    assert!(asked(&mut desk, &[view(0..4)], now + AFTER).is_empty());
    assert_eq!(asked(&mut desk, &[quiet(0..4)], now + AFTER), [[[4, LAST_SEQ]]]);
}

#[test]
fn what_came_and_was_refused_is_not_asked_for() {
    let (mut desk, now) = (desk(), Instant::now());
    desk.look(&[view([0])], now);
    desk.refused("s", 2);
    asked(&mut desk, &[view([0, 4])], now);
    desk.refused("s", 3);
    assert_eq!(asked(&mut desk, &[view([0, 4])], now + AFTER), [[[1, 1]]]);
    desk.done(0, Some(1), now + AFTER);
    desk.look(&[view([0, 1, 4])], now + AFTER);
    assert!(!desk.has_hope("s"), "the others would be refused again");
}

#[test]
fn a_scan_that_is_gone_is_forgotten_and_its_address_is_free_when_the_answer_comes() {
    let (mut desk, now) = (desk(), Instant::now());
    asked(&mut desk, &[view([0, 2])], now);
    assert_eq!(asked(&mut desk, &[view([0, 2])], now + AFTER), [[[1, 1]]]);
    desk.look(&[], now + AFTER);
    assert!(!desk.has_hope("s"));
    // Opened again before the old answer is here: that one is not taken for its own.
    desk.look(&[view([0, 2])], now + AFTER);
    assert!(desk.take_due(now + AFTER * 2).is_empty());
    desk.done(0, None, now + AFTER * 2);
    assert_eq!(desk.under_way(), 0);
    assert_eq!(asked(&mut desk, &[view([0, 2])], now + AFTER * 2), [[[1, 1]]]);
}

/// One step of what may happen to a scan.
#[derive(Clone, Debug)]
enum Happens {
    Comes(u64),
    Refused(u64),
    Time(u32),
    Answer(Option<u64>),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0_u64..60).prop_map(Happens::Comes),
        1 => (0_u64..60).prop_map(Happens::Refused),
        3 => (1_u32..2000).prop_map(Happens::Time),
        3 => prop::option::of(0_u64..5).prop_map(Happens::Answer),
    ]
}

proptest! {
    #[test]
    fn asks_for_what_is_missing_only_and_often_enough_only(steps in prop::collection::vec(happens(), 1..200)) {
        let (mut desk, mut now) = (desk(), Instant::now());
        let mut came = Sequence::default();
        let mut refused = std::collections::BTreeSet::new();
        let mut times = std::collections::BTreeMap::<u64, u32>::new();
        let mut first_missing = std::collections::BTreeMap::<u64, Instant>::new();
        let mut under_way = Vec::new();
        let mut given_up = 0;
        // At the end there is time enough for every attempt.
        let rest = std::iter::repeat_n([Happens::Answer(None), Happens::Time(8000)], 40).flatten();
        for step in steps.into_iter().chain(rest) {
            match step {
                Happens::Comes(seq) if !refused.contains(&seq) => drop(Some(came.insert(seq))),
                Happens::Comes(_) => {}
                Happens::Refused(seq) if !came.contains(seq) => {
                    refused.insert(seq);
                    desk.refused("s", seq);
                }
                Happens::Refused(_) => {}
                Happens::Time(ms) => now += Duration::from_millis(ms.into()),
                Happens::Answer(sent) => under_way.drain(..).for_each(|id| desk.done(id, sent, now)),
            }
            given_up += desk.look(&[view_at("s", A, &came)], now).iter().map(|g| g.messages).sum::<u64>();
            for gap in came.gaps() {
                (gap.first..=gap.last).for_each(|seq| {
                    first_missing.entry(seq).or_insert(now);
                });
            }
            for errand in desk.take_due(now) {
                under_way.push(errand.id);
                prop_assert!(errand.request.seq.len() <= MOST_RANGES && errand.messages() <= MOST_MESSAGES);
                prop_assert!(errand.request.seq.windows(2).all(|pair| pair[0][1] + 1 < pair[1][0]), "joined, in order");
                for seq in errand.request.seq.iter().flat_map(|[first, last]| *first..=*last) {
                    prop_assert!(!came.contains(seq) && !refused.contains(&seq), "{seq} has come");
                    prop_assert!(Some(seq) < came.highest(), "{seq} is no gap");
                    prop_assert!(now >= first_missing[&seq] + AFTER, "{seq} is not missing for long");
                    *times.entry(seq).or_default() += 1;
                }
            }
            prop_assert!(under_way.len() <= 1);
        }
        prop_assert!(times.values().all(|times| *times <= MOST_ATTEMPTS));
        // What is still missing was asked for as often as may be, and given up.
        let open = came.gaps().iter().flat_map(|gap| gap.first..=gap.last).filter(|seq| !refused.contains(seq)).count();
        for gap in came.gaps() {
            for seq in (gap.first..=gap.last).filter(|seq| !refused.contains(seq)) {
                prop_assert_eq!(times.get(&seq), Some(&MOST_ATTEMPTS), "{}", seq);
            }
        }
        prop_assert!(given_up >= open as u64);
        prop_assert!(!desk.has_hope("s"));
    }
}
