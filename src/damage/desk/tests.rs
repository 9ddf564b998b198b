use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::damage::{AlertKey, Verdict};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
}

fn alert(scan_id: &str, episode: u32, level: Level, state: AlertState, second: i64) -> Alert {
    Alert {
        key: AlertKey { scan_id: scan_id.into(), rule: "white_line/field".into(), episode },
        level,
        state,
        time: at(second),
        sample: Some("sample 1".into()),
        region: Some("region 1".into()),
        signal: "white_line".into(),
        of: "field".into(),
        text: "the white line falls".into(),
        verdict: Verdict::Beam,
        evidence_for: vec!["it goes with dose".into()],
        evidence_against: vec![],
        advice: "stop".into(),
        numbers: Map::new(),
        simulated: false,
    }
}

fn raised(level: Level, second: i64) -> Alert {
    alert("s1", 1, level, AlertState::Raised, second)
}

fn over(second: i64) -> Alert {
    alert("s1", 1, Level::Critical, AlertState::Over, second)
}

fn rules() -> Rules {
    let output = |name: &str, min_level, retries| OutputRule { name: name.into(), min_level, retries };
    Rules {
        remind_after: Some(TimeDelta::seconds(600)),
        keep: TimeDelta::days(30),
        outputs: vec![output("chat", Level::Warning, true), output("script", Level::Critical, false)],
    }
}

fn desk() -> Desk {
    Desk::new(rules(), Vec::new(), Vec::new())
}

/// What a restart leaves: what was written down.
fn restarted(desk: &mut Desk, disk: &mut BTreeMap<String, Record>) -> Desk {
    let changes = desk.take_changes();
    disk.extend(changes.records.into_iter().map(|record| (record.id(), record)));
    changes.removed.iter().for_each(|id| drop(disk.remove(id)));
    let text = serde_json::to_string(&disk.values().collect::<Vec<_>>()).unwrap();
    Desk::new(rules(), serde_json::from_str(&text).unwrap(), desk.silences())
}

fn told(desk: &mut Desk) -> Vec<String> {
    desk.take_tellings().iter().map(|told| told.view.key(told.occasion)).collect()
}

#[test]
fn each_level_is_told_once_and_the_end_once() {
    let mut desk = desk();
    for second in 0..5 {
        desk.hear(raised(Level::Notice, second), at(second));
    }
    assert_eq!(told(&mut desk), ["s1:white_line/field:1:notice"]);
    let mut newer = raised(Level::Notice, 6);
    newer.text = "it falls faster".into();
    desk.hear(newer, at(6));
    assert_eq!(told(&mut desk), [""; 0], "newer numbers are no news");
    assert_eq!(desk.views(at(6))[0].text, "it falls faster", "and are shown");
    desk.hear(raised(Level::Critical, 7), at(7));
    desk.hear(raised(Level::Notice, 8), at(8));
    desk.hear(over(9), at(9));
    desk.hear(over(10), at(10));
    desk.hear(raised(Level::Warning, 3), at(11));
    assert_eq!(told(&mut desk), ["s1:white_line/field:1:critical", "s1:white_line/field:1:over"]);
    assert!(!desk.views(at(11))[0].is_open());
}

#[test]
fn an_end_of_what_nobody_was_told_is_not_told() {
    let mut desk = desk();
    desk.hear(over(1), at(1));
    assert_eq!(told(&mut desk), [""; 0]);
}

#[test]
fn letters_go_to_who_wants_the_level_and_to_who_was_told_that_it_is_over() {
    let mut desk = desk();
    desk.hear(raised(Level::Notice, 0), at(0));
    assert!(desk.take_parcel("chat", at(0)).is_none());
    desk.hear(raised(Level::Warning, 1), at(1));
    desk.hear(over(2), at(2));
    let first = desk.take_parcel("chat", at(2)).unwrap();
    assert_eq!((first.key.as_str(), first.occasion), ("s1:white_line/field:1:warning", Occasion::Raised));
    assert_eq!(first.view.state, AlertState::Raised, "as it was when it was told");
    assert!(desk.take_parcel("chat", at(2)).is_none(), "one at a time");
    desk.settle("chat", &Outcome::Delivered, at(2), 0.5);
    assert_eq!(desk.take_parcel("chat", at(2)).unwrap().occasion, Occasion::Over);
    desk.settle("chat", &Outcome::Delivered, at(2), 0.5);
    assert!(desk.take_parcel("chat", at(2)).is_none());
    assert!(desk.take_parcel("script", at(2)).is_none(), "it heard of nothing");
}

#[test]
fn a_failing_output_is_left_alone_ever_longer_and_as_long_as_it_asks_for() {
    let mut desk = desk();
    desk.hear(raised(Level::Critical, 0), at(0));
    let failed = |seconds: Option<i64>| Outcome::Failed {
        retry_after: seconds.map(TimeDelta::seconds),
        error: "status 503".into(),
    };
    let mut now = at(0);
    for pause_s in [1, 2, 4, 8, 16] {
        desk.take_parcel("chat", now).unwrap();
        desk.settle("chat", &failed(None), now, 0.5);
        assert!(desk.take_parcel("chat", now).is_none());
        assert_eq!(desk.next_delivery(), Some(now + TimeDelta::seconds(pause_s)));
        now += TimeDelta::seconds(pause_s);
    }
    desk.take_parcel("chat", now).unwrap();
    desk.settle("chat", &failed(Some(300)), now, 0.0);
    assert_eq!(desk.next_delivery(), Some(now + TimeDelta::seconds(300)));
    now += TimeDelta::seconds(300);
    desk.take_parcel("chat", now).unwrap();
    desk.settle("chat", &failed(Some(86_400)), now, 1.0);
    assert_eq!(desk.next_delivery(), Some(now + LONGEST_S), "nobody is waited for longer");
    assert_eq!(desk.depths()[0].failures, 7);
    assert_eq!(desk.depths()[0].last_error.as_deref(), Some("status 503"));
}
const LONGEST_S: TimeDelta = TimeDelta::hours(1);

#[test]
fn a_letter_is_given_up_after_a_day_and_one_that_is_refused_at_once() {
    let mut desk = desk();
    desk.hear(raised(Level::Warning, 0), at(0));
    desk.hear(raised(Level::Critical, 1), at(1));
    desk.take_parcel("chat", at(1)).unwrap();
    desk.settle("chat", &Outcome::Refused { error: "status 400".into() }, at(1), 0.5);
    let gone = desk.take_given_up();
    assert_eq!((gone.len(), gone[0].why), (1, Why::Refused));
    let parcel = desk.take_parcel("chat", at(1)).unwrap();
    assert_eq!(parcel.view.level, Level::Critical, "the next one goes on at once");
    let failed = Outcome::Failed { retry_after: None, error: "gone".into() };
    desk.settle("chat", &failed, at(1), 0.5);
    assert!(desk.take_given_up().is_empty());
    desk.take_parcel("chat", at(86_500)).unwrap();
    desk.settle("chat", &failed, at(86_500), 0.5);
    assert_eq!(desk.take_given_up()[0].why, Why::Age);
    assert_eq!((desk.depths()[0].waiting, desk.depths()[0].given_up), (0, 2));
    desk.take_parcel("script", at(86_500)).unwrap();
    desk.settle("script", &failed, at(86_500), 0.5);
    assert_eq!(desk.take_given_up()[0].why, Why::Failed, "a command is run once");
}

#[test]
fn a_critical_alert_is_told_again_until_somebody_acknowledges_it() {
    let mut desk = desk();
    desk.hear(raised(Level::Critical, 0), at(0));
    told(&mut desk);
    desk.tick(at(599));
    assert_eq!(told(&mut desk), [""; 0]);
    desk.tick(at(600));
    desk.tick(at(601));
    desk.tick(at(1200));
    assert_eq!(told(&mut desk), ["s1:white_line/field:1:reminder:1", "s1:white_line/field:1:reminder:2"]);
    assert_eq!(desk.depths()[0].waiting, 2, "the alert and the latest reminder");
    let seen = desk.acknowledge("s1:white_line/field:1", "ops".into(), None, at(1300)).unwrap();
    assert!(seen.acknowledged && seen.is_open());
    assert_eq!(told(&mut desk), ["s1:white_line/field:1:acknowledged"]);
    assert_eq!(desk.depths()[0].waiting, 1);
    desk.tick(at(9000));
    assert_eq!(told(&mut desk), [""; 0]);
    assert_eq!(desk.acknowledge("s1:other:1", "ops".into(), None, at(1)), Err(DeskError::NoAlert));
}

#[test]
fn a_higher_level_is_not_acknowledged_with_the_lower() {
    let mut desk = desk();
    desk.hear(raised(Level::Warning, 0), at(0));
    desk.acknowledge("s1:white_line/field:1", "ops".into(), Some("seen".into()), at(1)).unwrap();
    desk.hear(raised(Level::Critical, 2), at(2));
    assert!(!desk.views(at(2))[0].acknowledged);
    told(&mut desk);
    desk.tick(at(602));
    assert_eq!(told(&mut desk), ["s1:white_line/field:1:reminder:1"]);
}

#[test]
fn what_is_silenced_is_shown_and_told_when_the_silence_is_over_and_it_holds_still() {
    let mut desk = desk();
    let what = Matcher { sample: Some("sample 1".into()), ..Matcher::default() };
    desk.silence(what.clone(), Some(at(100)), "ops".into(), None, at(0)).unwrap();
    desk.hear(raised(Level::Warning, 1), at(1));
    let mut other = alert("s2", 1, Level::Warning, AlertState::Raised, 1);
    other.sample = None;
    desk.hear(other, at(1));
    assert_eq!(told(&mut desk), ["s2:white_line/field:1:warning"]);
    assert!(desk.views(at(1)).iter().any(|view| view.silenced && view.scan_id == "s1"));
    desk.tick(at(99));
    assert_eq!(told(&mut desk), [""; 0]);
    desk.tick(at(100));
    assert_eq!(told(&mut desk), ["s1:white_line/field:1:warning"]);
    assert!(desk.silences().is_empty());
    assert_eq!(desk.silence(what.clone(), None, "o".into(), None, at(0)), Err(DeskError::Boundless));
    assert_eq!(desk.silence(what, Some(at(0)), "o".into(), None, at(0)), Err(DeskError::Past));
    let all = Matcher::default();
    assert_eq!(desk.silence(all, Some(at(9)), "o".into(), None, at(0)), Err(DeskError::Boundless));
    let scan = Matcher { scan_id: Some("s1".into()), ..Matcher::default() };
    let silence = desk.silence(scan, None, "o".into(), None, at(101)).unwrap();
    desk.hear(raised(Level::Critical, 102), at(102));
    assert_eq!(told(&mut desk), [""; 0]);
    desk.lift(silence.number).unwrap();
    assert_eq!(desk.lift(silence.number), Err(DeskError::NoSilence));
    desk.tick(at(103));
    assert_eq!(told(&mut desk), ["s1:white_line/field:1:critical"]);
}

#[test]
fn what_nobody_speaks_of_is_not_open_and_what_is_over_is_forgotten_in_the_end() {
    let mut desk = desk();
    desk.hear(raised(Level::Critical, 0), at(0));
    desk.tick(at(90_000));
    assert!(!desk.views(at(90_000))[0].is_open());
    told(&mut desk);
    desk.tick(at(91_000));
    assert_eq!(told(&mut desk), [""; 0], "no reminder");
    desk.tick(at(31 * 86_400));
    assert!(desk.views(at(0)).is_empty());
    assert_eq!(desk.take_changes().removed, ["s1:white_line/field:1"]);
}

#[test]
fn there_is_an_end_to_records_letters_and_texts() {
    let mut desk = desk();
    let first = alert("first", 1, Level::Critical, AlertState::Raised, 0);
    desk.hear(first, at(0));
    for number in 0..MOST_RECORDS as u32 {
        desk.hear(alert("s", number, Level::Warning, AlertState::Raised, 1), at(1));
    }
    assert_eq!(desk.views(at(1)).len(), MOST_RECORDS);
    assert!(desk.alert("first:white_line/field:1").is_some(), "the most urgent stays");
    assert_eq!(desk.depths()[0].waiting, MOST_WAITING);
    assert!(desk.take_given_up().iter().all(|gone| gone.why == Why::Overflow));
    let mut long = raised(Level::Notice, 2);
    long.text = format!("a\nb{}", "x".repeat(100_000));
    long.evidence_for = vec!["y".repeat(100_000); 1000];
    desk.hear(long, at(2));
    let kept = desk.alert("s1:white_line/field:1");
    assert!(kept.is_none_or(|kept| serde_json::to_vec(kept).unwrap().len() < 64 * 1024));
    assert_eq!(record::one_line("a\nb\u{1b}c", 10), "a b c");
}

#[test]
fn a_header_has_the_fields_of_the_contract() {
    let mut desk = desk();
    desk.hear(raised(Level::Warning, 0), at(0));
    let telling = desk.take_tellings().remove(0);
    let view = telling.view.with_picture("http://127.0.0.1:8787");
    let header = view.header(telling.occasion, &view.key(telling.occasion));
    for field in [
        "id",
        "level",
        "scan_id",
        "sample",
        "region",
        "signal",
        "of",
        "text",
        "numbers",
        "advice",
        "state",
        "verdict",
        "evidence_for",
        "evidence_against",
        "time",
        "picture",
        "simulated",
        "acknowledged",
    ] {
        assert!(!header[field].is_null(), "{field}: {header}");
    }
    assert_eq!(header["picture"], "http://127.0.0.1:8787/api/v1/scans/s1/phase_map.png");
    assert_eq!((&header["occasion"], &header["level"]), (&"raised".into(), &"warning".into()));
    assert_eq!(header["idempotency_key"], "s1:white_line/field:1:warning");
}

/// What may happen to a desk.
#[derive(Clone, Debug)]
enum Step {
    Hear { episode: u32, level: Level, over: bool, second: i64 },
    Tick(i64),
    Restart,
    Deliver { fails: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let level = prop::sample::select(Level::ALL.to_vec());
    let step = prop_oneof![
        6 => (1..3_u32, level, prop::bool::weighted(0.15), 0..50_i64)
            .prop_map(|(episode, level, over, second)| Step::Hear { episode, level, over, second }),
        1 => (0..500_i64).prop_map(Step::Tick),
        2 => Just(Step::Restart),
        2 => any::<bool>().prop_map(|fails| Step::Deliver { fails }),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// In any order, any number of times, with restarts between: each level is told once at most, and exactly once where it was
    /// heard before the end; so is the end.
    #[test]
    fn nothing_is_told_twice_and_no_level_is_left_out(steps in steps()) {
        let (mut desk, mut disk) = (desk(), BTreeMap::new());
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut heard: BTreeSet<String> = BTreeSet::new();
        let mut over: BTreeSet<u32> = BTreeSet::new();
        let mut delivered: BTreeSet<String> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Hear { episode, level, over: ends, second } => {
                    let state = if ends { AlertState::Over } else { AlertState::Raised };
                    if ends {
                        over.insert(episode);
                    } else if !over.contains(&episode) {
                        heard.insert(format!("s1:white_line/field:{episode}:{}", level.name()));
                    }
                    desk.hear(alert("s1", episode, level, state, second), at(second));
                }
                Step::Tick(second) => desk.tick(at(second)),
                Step::Restart => desk = restarted(&mut desk, &mut disk),
                Step::Deliver { fails } => {
                    if let Some(parcel) = desk.take_parcel("chat", at(100_000)) {
                        let outcome = if fails {
                            Outcome::Failed { retry_after: None, error: String::new() }
                        } else {
                            prop_assert!(delivered.insert(parcel.key.clone()), "twice: {}", parcel.key);
                            Outcome::Delivered
                        };
                        desk.settle("chat", &outcome, at(200), 0.5);
                    }
                }
            }
            // What was told is written down before anything else happens; that is what the clerk sees to.
            for key in told(&mut desk) {
                *seen.entry(key).or_default() += 1;
            }
            let changes = desk.take_changes();
            disk.extend(changes.records.into_iter().map(|record| (record.id(), record)));
            changes.removed.iter().for_each(|id| drop(disk.remove(id)));
        }
        for (key, times) in &seen {
            prop_assert_eq!(*times, 1, "{}", key);
        }
        for key in &heard {
            prop_assert!(seen.contains_key(key), "not told: {}", key);
        }
    }
}
