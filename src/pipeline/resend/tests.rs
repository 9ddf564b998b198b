use tokio::sync::mpsc;

use super::*;
use crate::pipeline::scans::{Patience, ScanLimits};
use crate::scan::{Channel, I0, Outcome, Pixels, SampleBatch, ScanEvent, ScanUpdate};
use crate::settings::Settings;
use crate::source::stxm_stream::LAST_SEQ;
use crate::stack::test_plan;

const AFTER: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_secs(10);

fn scans() -> Scans {
    let most = 1 << 20;
    let limits = ScanLimits {
        pixels: most,
        stack_bytes: most,
        total_bytes: most,
        open_scans: 8,
        held_bytes: most,
        kept_bytes: most,
    };
    let patience = Patience { silence: GRACE * 100, grace: GRACE, reopen: GRACE, resend: GRACE * 6 };
    Scans::new(limits, vec![patience])
}

/// An office for a source with these lines, its requests, and where answers go in.
fn office(lines: &str) -> (Office, mpsc::Receiver<Errand>, std::sync::mpsc::SyncSender<Report>) {
    let text = format!("[[source]]\nkind = \"stxm-stream\"\nbind = \"tcp://127.0.0.1:0\"\n{lines}\n");
    let settings = Settings::from_layers(&[("x.toml".into(), text)], []).unwrap();
    let rule = ResendRule::of(&settings.sources[0]);
    let (errands, asked) = mpsc::channel(2);
    let (answer, reports) = std::sync::mpsc::sync_channel(2);
    (
        Office::new(vec![ResendLine { name: "beam".into(), rule, after: AFTER }], errands, reports),
        asked,
        answer,
    )
}

fn push(scans: &mut Scans, seq: u64, update: ScanUpdate, now: Instant) {
    let event = ScanEvent { scan_id: "a".into(), seq: Some(seq), time: None, update };
    scans.push(0, event, 1, now).unwrap();
}

fn start(scans: &mut Scans, now: Instant) {
    let mut plan = test_plan(1, 4, 3);
    plan.scan_id = "a".into();
    plan.resend = Some("tcp://127.0.0.1:5560".into());
    push(scans, 0, ScanUpdate::Started(Box::new(plan)), now);
}

fn samples(energy_index: u32) -> ScanUpdate {
    ScanUpdate::Samples(SampleBatch {
        energy_index,
        pixels: Pixels::Run { first: 0, count: 4 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values: vec![1.0; 4],
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    })
}

#[test]
fn what_is_missing_is_asked_for_and_the_end_waits_for_it() {
    let (mut office, mut asked, answer) = office("");
    let (mut scans, now) = (scans(), Instant::now());
    start(&mut scans, now);
    push(&mut scans, 1, samples(0), now);
    push(&mut scans, 3, samples(2), now);
    push(&mut scans, 4, ScanUpdate::Ended(Outcome::Complete), now);
    office.turn(&mut scans, now);
    assert!(asked.try_recv().is_err(), "too soon");
    assert_eq!(office.next_turn(), Some(now + AFTER));
    office.turn(&mut scans, now + AFTER);
    let errand = asked.try_recv().unwrap();
    assert_eq!((&*errand.address, &errand.request.seq[..]), ("tcp://127.0.0.1:5560", &[[2, 2]][..]));
    assert_eq!(scans.next_deadline(), Some(now + GRACE * 6), "longer than its grace");
    answer.send(Report { errand, result: Ok(ResendAnswer::Sent(1)) }).unwrap();
    let later = now + AFTER * 2;
    push(&mut scans, 2, samples(1), later);
    office.turn(&mut scans, later);
    assert_eq!(scans.next_deadline(), Some(later), "nothing is missing: it ends now");
    office.turn(&mut scans, later + GRACE);
    assert!(asked.try_recv().is_err());
}

#[test]
fn after_a_restart_what_was_on_its_way_is_asked_for() {
    let (mut office, mut asked, answer) = office("");
    let (mut scans, now) = (scans(), Instant::now());
    start(&mut scans, now);
    push(&mut scans, 1, samples(0), now);
    office.restarted("a");
    office.turn(&mut scans, now);
    let errand = asked.try_recv().unwrap();
    assert_eq!(errand.request.seq, [[2, LAST_SEQ]]);
    answer.send(Report { errand, result: Ok(ResendAnswer::Sent(0)) }).unwrap();
    for step in 1..100 {
        office.turn(&mut scans, now + AFTER * step);
    }
    assert!(asked.try_recv().is_err(), "there is nothing more");
}

#[test]
fn a_request_that_cannot_be_handed_on_is_made_again() {
    let (mut office, mut asked, _answer) = office("");
    let (mut scans, now) = (scans(), Instant::now());
    start(&mut scans, now);
    push(&mut scans, 2, samples(0), now);
    let errand = |id| Errand {
        id,
        source: 0,
        address: "x".into(),
        request: crate::source::stxm_stream::ResendRequest { scan_id: "b".into(), seq: vec![[0, 0]] },
        is_first: false,
    };
    // Nobody takes them out.
    office.errands.try_send(errand(100)).unwrap();
    office.errands.try_send(errand(101)).unwrap();
    office.turn(&mut scans, now);
    office.turn(&mut scans, now + AFTER);
    asked.try_recv().unwrap();
    asked.try_recv().unwrap();
    assert!(asked.try_recv().is_err());
    office.turn(&mut scans, now + AFTER * 2);
    assert_eq!(asked.try_recv().unwrap().request.seq, [[1, 1]]);
}

#[test]
fn nobody_is_asked_whom_the_rule_does_not_allow() {
    let (mut office, mut asked, _answer) = office("resend = \"off\"");
    let (mut scans, now) = (scans(), Instant::now());
    start(&mut scans, now);
    push(&mut scans, 2, samples(0), now);
    for step in 0..100 {
        office.held(0, "held", 3, now);
        office.turn(&mut scans, now + AFTER * step);
    }
    assert!(asked.try_recv().is_err());
    assert!(office.held.views(|_| Some("x")).next().is_none(), "and nothing is noted for it");
}
