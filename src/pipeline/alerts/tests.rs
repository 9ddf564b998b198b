//! The way from [`AlertHand::tell`] to an output, as the map thread and the archive thread use it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::damage::{Alert, AlertKey, AlertState, Level, Verdict};
use crate::settings::Settings;

fn alert(level: Level, state: AlertState, time: DateTime<Utc>) -> Alert {
    Alert {
        key: AlertKey { scan_id: "NVPF_0042".into(), rule: "white_line/phase/na2.0".into(), episode: 1 },
        level,
        state,
        time,
        sample: Some("NVPF-12".into()),
        region: None,
        signal: "white_line".into(),
        of: "phase na2.0".into(),
        text: "10 % of the white line is lost at energy 41 of 75, in 12 minutes".into(),
        verdict: Verdict::Beam,
        evidence_for: vec!["it goes with dose".into()],
        evidence_against: vec![],
        advice: "halve the dwell".into(),
        numbers: serde_json::Map::new(),
        simulated: true,
    }
}

/// A desk whose only output is a command that writes down what it is run for.
fn settings(dir: &Path) -> AlertsSettings {
    let program = dir.join("note");
    std::fs::write(&program, "#!/bin/sh\necho \"$PHASEWATCH_ALERT_KEY\" >> \"$1\"\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let out = dir.join("out");
    let text =
        format!("[[alerts.command]]\nprogram = {program:?}\nargs = [{out:?}]\nmin_level = \"notice\"\n");
    Settings::from_layers(&[("/site/pw.toml".into(), text)], []).unwrap().alerts
}

fn around(dir: &Path) -> Surroundings<'_> {
    Surroundings {
        state_dir: Some(dir),
        public_url: "http://127.0.0.1:8787".into(),
        publisher: PublisherHandle::nowhere(),
        health: Health::default(),
    }
}

/// Opens the desk, has `tell` tell what it likes, and stops it as the daemon does.
async fn session(dir: &Path, tell: impl FnOnce(&AlertHand)) -> AlertHand {
    let settings = settings(dir);
    let (hand, clerk) = open(&settings, around(dir));
    let runtime = Handle::current();
    let thread = std::thread::spawn(move || clerk.run(&runtime));
    tell(&hand);
    hand.close();
    tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    hand
}

fn told(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("out")).unwrap_or_default();
    text.lines()
        .map(|line| line.trim_start_matches("NVPF_0042:white_line/phase/na2.0:1:").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_thread_tells_arrives_once_and_not_again_when_a_replay_says_it() {
    let dir = tempfile::tempdir().unwrap();
    let now = Utc::now();
    let later = |seconds| now + TimeDelta::seconds(seconds);
    let scan = |hand: &AlertHand| {
        for generation in 0..20 {
            hand.tell(alert(Level::Notice, AlertState::Raised, later(generation)));
        }
        hand.tell(alert(Level::Warning, AlertState::Raised, later(21)));
    };
    let hand = session(dir.path(), scan).await;
    assert_eq!(told(dir.path()), ["notice", "warning"]);
    let view = hand.shown().alerts[0].clone();
    assert_eq!((view.level, view.sample.as_deref()), (Level::Warning, Some("NVPF-12")));
    let picture = "http://127.0.0.1:8787/api/v1/scans/NVPF_0042/phase_map.png";
    assert_eq!(view.picture.as_deref(), Some(picture));
    // The next start reads the journal again, and the scan goes on to its end.
    let hand = session(dir.path(), |hand| {
        scan(hand);
        hand.tell(alert(Level::Warning, AlertState::Over, later(30)));
    })
    .await;
    assert_eq!(told(dir.path()), ["notice", "warning", "over"]);
    assert!(!hand.shown().alerts[0].is_open());
    session(dir.path(), scan).await;
    assert_eq!(told(dir.path()).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_go_out_where_nothing_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("alerts"), "no folder").unwrap();
    let now = Utc::now();
    let settings = settings(dir.path());
    let surroundings = around(dir.path());
    let health = surroundings.health.clone();
    drop(open(&settings, surroundings));
    assert_eq!(health.troubles()[0].part, "alerts kept");
    session(dir.path(), |hand| hand.tell(alert(Level::Critical, AlertState::Raised, now))).await;
    assert_eq!(told(dir.path()), ["critical"]);
}
