use super::*;
use crate::scan::{Channel, I0, Outcome, Pixels, SampleBatch};
use crate::stack::test_plan;

const GRACE: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(1800);
const RESEND: Duration = Duration::from_secs(60);
const REOPEN: Duration = Duration::from_secs(43_200);

fn scans() -> Scans {
    scans_keeping(1 << 20)
}

fn scans_keeping(kept_bytes: usize) -> Scans {
    let limits = ScanLimits {
        pixels: 1000,
        stack_bytes: 10_000,
        total_bytes: 20_000,
        open_scans: 3,
        held_bytes: 1000,
        kept_bytes,
    };
    let patience = Patience { silence: SILENCE, grace: GRACE, reopen: REOPEN, resend: RESEND };
    Scans::new(limits, vec![patience, patience])
}

fn event(scan_id: &str, seq: u64, update: ScanUpdate) -> ScanEvent {
    ScanEvent { scan_id: scan_id.into(), seq: Some(seq), time: None, update }
}

fn start(scan_id: &str) -> ScanEvent {
    let mut plan = test_plan(1, 4, 2);
    plan.scan_id = scan_id.into();
    event(scan_id, 0, ScanUpdate::Started(Box::new(plan)))
}

fn samples(scan_id: &str, seq: u64, energy_index: u32) -> ScanEvent {
    let batch = SampleBatch {
        energy_index,
        pixels: Pixels::Run { first: 0, count: 4 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values: vec![seq as f32; 4],
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    };
    event(scan_id, seq, ScanUpdate::Samples(batch))
}

fn end(scan_id: &str, seq: u64, outcome: Outcome) -> ScanEvent {
    event(scan_id, seq, ScanUpdate::Ended(outcome))
}

fn ends(scans: &mut Scans) -> Vec<(String, Outcome, bool)> {
    let ended = |notice| match notice {
        ScanNotice::Ended { scan_id, outcome, reopened, .. } => Some((scan_id, outcome, reopened)),
        _ => None,
    };
    scans.take_notices().into_iter().filter_map(ended).collect()
}

fn measured(scans: &Scans, scan_id: &str) -> usize {
    lock(scans.get(scan_id).unwrap().stack().unwrap()).measured()
}

#[test]
fn a_complete_scan_with_nothing_missing_ends_at_once() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(0, samples("a", 1, 0), 1, now).unwrap();
    scans.push(0, samples("a", 2, 1), 1, now).unwrap();
    scans.push(0, end("a", 3, Outcome::Complete), 1, now).unwrap();
    scans.poll(now);
    assert_eq!(ends(&mut scans), [("a".into(), Outcome::Complete, false)]);
}

#[test]
fn an_end_with_gaps_waits_for_what_is_late() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(0, samples("a", 2, 1), 1, now).unwrap();
    scans.push(0, end("a", 3, Outcome::Complete), 1, now).unwrap();
    scans.poll(now + GRACE / 2);
    assert_eq!(ends(&mut scans), []);
    scans.push(0, samples("a", 1, 0), 1, now + GRACE / 2).unwrap();
    scans.poll(now + GRACE / 2);
    assert_eq!(ends(&mut scans).len(), 1, "now nothing is missing any more");
}

#[test]
fn what_comes_before_the_start_is_held_and_bounded() {
    let (mut scans, now) = (scans(), Instant::now());
    assert_eq!(scans.push(0, samples("a", 1, 0), 400, now), Ok(Accepted::Held));
    assert_eq!(scans.push(0, samples("a", 2, 1), 400, now), Ok(Accepted::Held));
    assert_eq!(scans.push(0, samples("b", 1, 0), 400, now), Ok(Accepted::Held), "the oldest gives way");
    assert_eq!((scans.held().bytes(), scans.held().take_losses().0), (800, 1));
    scans.push(0, start("a"), 1, now).unwrap();
    assert_eq!((measured(&scans, "a"), scans.held().bytes()), (4, 400));
}

#[test]
fn silence_ends_a_scan_but_not_while_it_is_paused() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(0, event("a", 1, ScanUpdate::Paused), 1, now).unwrap();
    scans.poll(now + SILENCE * 2);
    assert_eq!(ends(&mut scans), []);
    scans.push(0, event("a", 2, ScanUpdate::Resumed), 1, now + SILENCE * 2).unwrap();
    assert_eq!(scans.next_deadline(), Some(now + SILENCE * 3));
    scans.poll(now + SILENCE * 3);
    let outcome = Outcome::Partial { reason: "the sender fell silent".into() };
    assert_eq!(ends(&mut scans), [("a".into(), outcome, false)]);
}

#[test]
fn another_start_of_the_same_source_ends_a_scan_after_its_grace() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(1, start("other-source"), 1, now).unwrap();
    scans.push(0, start("b"), 1, now).unwrap();
    scans.push(0, samples("a", 1, 0), 1, now + GRACE / 2).unwrap();
    scans.poll(now + GRACE);
    assert_eq!(ends(&mut scans), [], "two scans may be interleaved");
    scans.poll(now + GRACE * 2);
    let outcome = Outcome::Partial { reason: "scan b began".into() };
    assert_eq!(ends(&mut scans), [("a".into(), outcome, false)]);
}

#[test]
fn late_samples_open_a_scan_again_but_not_an_aborted_one_nor_for_ever() {
    let (mut scans, now) = (scans(), Instant::now());
    for (scan_id, outcome) in [("a", Outcome::Complete), ("b", Outcome::Aborted { reason: None })] {
        scans.push(0, start(scan_id), 1, now).unwrap();
        scans.push(0, end(scan_id, 2, outcome), 1, now).unwrap();
    }
    let later = now + GRACE;
    scans.poll(later);
    assert_eq!(ends(&mut scans).len(), 2);
    assert_eq!(scans.push(0, samples("b", 1, 0), 1, later), Err(EventRefusal::Stale));
    scans.push(0, samples("a", 1, 0), 1, later).unwrap();
    scans.poll(later + GRACE);
    assert_eq!(ends(&mut scans), [("a".into(), Outcome::Complete, true)]);
    let too_late = later + GRACE + REOPEN + GRACE;
    assert_eq!(scans.push(0, samples("a", 5, 1), 1, too_late), Err(EventRefusal::Stale));
}

#[test]
fn repeats_are_ignored_and_another_plan_is_refused() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    let mut again = start("a");
    again.seq = Some(1);
    assert_eq!(scans.push(0, again, 1, now), Ok(Accepted::Used));
    assert_eq!(scans.push(0, start("a"), 1, now), Ok(Accepted::Duplicate));
    scans.push(0, samples("a", 2, 0), 1, now).unwrap();
    assert_eq!(scans.push(0, samples("a", 2, 0), 1, now), Ok(Accepted::Duplicate));
    let mut other = test_plan(1, 4, 3);
    other.scan_id = "a".into();
    let refused = scans.push(0, event("a", 3, ScanUpdate::Started(Box::new(other))), 1, now);
    assert_eq!(refused, Err(EventRefusal::OtherPlan));
    assert_eq!(measured(&scans, "a"), 4);
}

#[test]
fn samples_wait_for_the_extension_that_is_behind_them() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    assert_eq!(scans.push(0, samples("a", 2, 2), 1, now), Ok(Accepted::Held));
    let extend = ScanUpdate::Extended { energies_ev: vec![600.0], dwell_ms: None, flux_ph_per_s: None };
    scans.push(0, event("a", 1, extend), 1, now).unwrap();
    assert_eq!(measured(&scans, "a"), 4);
    let beyond = scans.push(0, samples("a", 3, 9), 1, now).unwrap_err();
    assert_eq!(beyond.reason(), "energy_index", "no message is missing that could bring it");
}

#[test]
fn a_plan_above_the_limits_is_refused_with_the_setting_to_change() {
    let (mut scans, now) = (scans(), Instant::now());
    let mut plan = test_plan(100, 100, 1);
    plan.scan_id = "big".into();
    let refused = scans.push(0, event("big", 0, ScanUpdate::Started(Box::new(plan))), 1, now).unwrap_err();
    assert_eq!(refused.to_string(), "number of pixels 10000 is above limits.pixels = 1000");
    assert!(matches!(&scans.take_notices()[..], [ScanNotice::Started { stack: None, note: Some(_), .. }]));
    assert_eq!(scans.push(0, samples("big", 1, 0), 1, now), Err(EventRefusal::NotMapped));
    for scan_id in ["a", "b", "c"] {
        scans.push(0, start(scan_id), 1, now).unwrap();
    }
    assert_eq!(scans.push(0, start("d"), 1, now).unwrap_err().reason(), "limit");
}

#[test]
fn open_stacks_are_bounded_together_and_a_scan_fits_once_another_is_over() {
    let (mut scans, now) = (scans(), Instant::now());
    let start = |scan_id: &str| {
        let mut plan = test_plan(1, 100, 10);
        plan.scan_id = scan_id.into();
        event(scan_id, 0, ScanUpdate::Started(Box::new(plan)))
    };
    // Two of 8000 bytes fit into 20,000.
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(1, start("b"), 1, now).unwrap();
    let refused = scans.push(1, start("c"), 1, now).unwrap_err();
    assert!(refused.to_string().contains("limits.total_bytes = 20000"), "{refused}");
    assert_eq!(refused.reason(), "limit");
    scans.push(0, end("a", 1, Outcome::Complete), 1, now).unwrap();
    scans.poll(now + GRACE);
    scans.push(0, start("d"), 1, now + GRACE).unwrap();
}

#[test]
fn stopping_ends_every_open_scan() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(0, start("b"), 1, now).unwrap();
    scans.push(0, end("b", 1, Outcome::Complete), 1, now).unwrap();
    scans.stop(now);
    let stopped = Outcome::Partial { reason: "the daemon was stopped".into() };
    assert_eq!(ends(&mut scans), [("a".into(), stopped, false), ("b".into(), Outcome::Complete, false)]);
}

#[test]
fn stacks_of_ended_scans_are_kept_within_their_limit_once_another_starts() {
    // The stack of one such scan is planned with 64 bytes.
    let (mut scans, now) = (scans_keeping(100), Instant::now());
    for (scan, minute) in [("a", 1), ("b", 2)] {
        let time = now + Duration::from_secs(60) * minute;
        scans.push(0, start(scan), 1, time).unwrap();
        scans.push(0, samples(scan, 1, 0), 1, time).unwrap();
        scans.push(0, end(scan, 3, Outcome::Complete), 1, time).unwrap();
        scans.poll(time + GRACE);
    }
    let later = now + Duration::from_secs(300);
    let is_kept = |scans: &Scans, scan: &str| scans.get(scan).unwrap().stack().is_some();
    assert!(is_kept(&scans, "a") && is_kept(&scans, "b"), "late samples may still come");
    scans.push(0, start("c"), 1, later).unwrap();
    assert!(!is_kept(&scans, "a"), "the oldest gives way");
    assert!(is_kept(&scans, "b") && is_kept(&scans, "c"));
    assert_eq!(scans.push(0, samples("a", 2, 1), 1, later), Err(EventRefusal::Stale));
    assert_eq!(scans.push(0, samples("b", 2, 1), 1, later), Ok(Accepted::Used));
    assert_eq!(scans.totals().0.stored, 12, "what the dropped stack had counted still counts");
}

#[test]
fn an_end_with_gaps_waits_longer_while_there_is_hope_but_not_for_ever() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(0, samples("a", 2, 1), 1, now).unwrap();
    scans.push(0, end("a", 3, Outcome::Complete), 1, now).unwrap();
    let missing = scans.missing("a", now).unwrap();
    assert_eq!((missing.gaps.len(), missing.highest, missing.ended), (1, Some(3), true));
    scans.set_hope("a", true);
    scans.poll(now + GRACE * 2);
    assert_eq!((ends(&mut scans), scans.next_deadline()), (vec![], Some(now + RESEND)));
    scans.set_hope("a", false);
    assert_eq!(scans.next_deadline(), Some(now + GRACE), "given up: the grace is what counts");
    scans.set_hope("a", true);
    scans.poll(now + RESEND);
    assert_eq!(ends(&mut scans).len(), 1);
}

#[test]
fn hope_does_not_keep_a_scan_that_is_whole() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    scans.push(0, samples("a", 2, 1), 1, now).unwrap();
    scans.push(0, end("a", 3, Outcome::Complete), 1, now).unwrap();
    scans.set_hope("a", true);
    scans.push(0, samples("a", 1, 0), 1, now).unwrap();
    scans.poll(now);
    assert_eq!(ends(&mut scans).len(), 1);
}

#[test]
fn a_scan_whose_end_is_overdue_is_quiet_and_waits_while_there_is_hope() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    let quiet = |scans: &Scans, now| scans.missing("a", now).unwrap().quiet;
    assert!(!quiet(&scans, now + SILENCE / 3) && quiet(&scans, now + SILENCE / 2));
    let later = now + GRACE * 3;
    scans.push(0, start("b"), 1, later).unwrap();
    assert!(quiet(&scans, later), "another began, and nothing came for longer than the grace");
    scans.set_hope("a", true);
    scans.poll(later + RESEND - GRACE);
    assert_eq!(ends(&mut scans), []);
    scans.push(0, end("a", 1, Outcome::Complete), 1, later + GRACE).unwrap();
    scans.set_hope("a", false);
    scans.poll(later + GRACE * 2);
    assert_eq!(ends(&mut scans), [("a".into(), Outcome::Complete, false)]);
}

#[test]
fn what_waits_for_an_extension_is_not_missing() {
    let (mut scans, now) = (scans(), Instant::now());
    scans.push(0, start("a"), 1, now).unwrap();
    assert_eq!(scans.push(0, samples("a", 3, 2), 1, now), Ok(Accepted::Held));
    let missing = scans.missing("a", now).unwrap();
    let gap = crate::stack::SeqRange { first: 1, last: 2 };
    assert_eq!((missing.gaps, missing.highest), (vec![gap], Some(3)));
}

#[test]
fn an_operator_has_a_scan_archived_as_it_is_and_it_goes_on() {
    let (mut scans, now) = (scans(), Instant::now());
    assert!(scans.archive_now("a").is_err(), "not there");
    scans.push(0, start("a"), 1, now).unwrap();
    assert!(scans.archive_now("a").is_err(), "nothing is measured");
    scans.push(0, samples("a", 1, 0), 1, now).unwrap();
    scans.take_notices();
    scans.archive_now("a").unwrap();
    assert!(matches!(&scans.take_notices()[..], [ScanNotice::Wanted(id)] if id == "a"));
    assert_eq!(scans.get("a").unwrap().phase(), &Phase::Running);
    // Also while an end waits for what is late: the outcome that came is not lost.
    scans.push(0, end("a", 3, Outcome::Complete), 1, now).unwrap();
    scans.poll(now);
    scans.archive_now("a").unwrap();
    scans.push(0, samples("a", 2, 1), 1, now).unwrap();
    scans.poll(now);
    assert_eq!(ends(&mut scans), [("a".into(), Outcome::Complete, false)]);
    assert!(scans.archive_now("a").is_err(), "it has ended");
}
