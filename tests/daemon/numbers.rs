//! The numbers at `/metrics` that the rules for Prometheus (deploy/prometheus) rest on, as the daemon has them.

use crate::feed::Feed;
use crate::rig::{Rig, Setup, until};
use crate::script::Script;

const BIND: &str = "bind = \"tcp://127.0.0.1:0\"";

/// The value of the series with exactly these labels, if it is there.
fn series(rig: &Rig, series: &str) -> Option<f64> {
    let text = String::from_utf8(rig.get("/metrics")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn counters_that_a_rule_watches_begin_at_0_with_the_daemon() {
    // Nobody is there, and nobody is told anything.
    let webhook = "[[alerts.webhook]]\nname = \"chat\"\nurl = \"http://127.0.0.1:9/\"";
    let rig = Setup::bare().source("beam", BIND).source("spare", BIND).set("alerts", webhook).start();
    let of_sources = ["beam", "spare"].into_iter().flat_map(|source| {
        let refused =
            ["size", "plan", "limit", "held", "held_too_long", "pickle", "extension"].map(|reason| {
                format!("phasewatch_messages_refused_total{{source=\"{source}\",reason=\"{reason}\"}}")
            });
        let missing = format!("phasewatch_messages_missing_total{{source=\"{source}\"}}");
        let open = format!("phasewatch_source_scans_open{{source=\"{source}\"}}");
        let connected = format!("phasewatch_source_connected{{source=\"{source}\"}}");
        refused.into_iter().chain([missing, open, connected])
    });
    let of_outputs = ["age", "refused", "failed", "overflow"]
        .map(|cause| format!("phasewatch_alert_given_up_total{{output=\"chat\",cause=\"{cause}\"}}"));
    let others = ["journal_damaged", "journal_failures", "alerts_dropped"]
        .map(|name| format!("phasewatch_{name}_total"));
    for name in of_sources.chain(of_outputs).chain(others) {
        // Alerts have a thread of their own, which may be a moment behind.
        assert_eq!(until(&name, || series(&rig, &name)), 0.0, "{name}");
    }
}

#[test]
fn a_scan_is_open_at_its_own_source() {
    let rig = Setup::bare().source("beam", BIND).source("spare", BIND).start();
    let open = |source: &str| series(&rig, &format!("phasewatch_source_scans_open{{source=\"{source}\"}}"));
    let mut feed = Feed::push(&rig.sources["beam"]);
    let messages = Script::new("own").whole();
    let (last, before) = messages.split_last().unwrap();
    feed.send_all(before);
    until("an open scan", || (open("beam") == Some(1.0)).then_some(()));
    assert_eq!(open("spare"), Some(0.0));
    assert_eq!(series(&rig, "phasewatch_scans_open"), Some(1.0));
    feed.send(last);
    rig.archived("own");
    until("no open scan", || (open("beam") == Some(0.0)).then_some(()));
}
