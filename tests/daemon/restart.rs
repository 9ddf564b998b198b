//! Another run of the daemon over the same archive, and pressure on its queue.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::feed::Feed;
use crate::http;
use crate::rig::{Ended, Rig, Setup, until};
use crate::script::Script;
use crate::table::{folder, manifest};

const BIND: &str = "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.2";

fn start(dir: TempDir) -> Rig {
    Setup::bare().source("beam", BIND).start_in(dir)
}

fn stop(rig: Rig) -> TempDir {
    let Ended { code, log, dir } = rig.stop("TERM");
    assert_eq!(code, Some(0), "{}", log.text());
    dir
}

#[test]
fn a_scan_that_was_cut_short_is_replaced_and_a_finished_one_never() {
    let rig = start(tempfile::tempdir().unwrap());
    let mut feed = Feed::push(rig.source());
    let mut cut = Script::new("cut");
    feed.send(&cut.start());
    feed.send_all(&cut.lines(0..5));
    feed.send_all(&Script::new("whole").whole());
    let whole = folder(&rig.archived("whole"));
    rig.received(1 + 20 + 50);
    let rig = start(stop(rig));
    let cut = whole.with_file_name("scan=cut");
    assert_eq!(manifest(&cut)["provisional"], true);
    let written = std::fs::read(whole.join("manifest.json")).unwrap();
    // The sender, too, begins again.
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("cut").whole());
    // It was archived before, and is so again until what comes opens it.
    let scan = rig.wait_scan("cut", "archived whole", |scan| {
        scan["state"] == "archived" && scan["outcome"]["status"] == "complete"
    });
    assert_eq!((folder(&scan), &manifest(&cut)["provisional"]), (cut.clone(), &json!(false)));
    // The same scan once more leaves what is there alone; another under its id goes beside it.
    let again = Script::new("whole").whole();
    feed.send_all(&again);
    let repeated = || rig.metric("phasewatch_messages_duplicate_total", &["source=\"beam\""]);
    until("all of it", || (repeated() >= again.len() as f64).then_some(()));
    assert_eq!(rig.scan("whole"), None, "it was archived before this start");
    assert_eq!(std::fs::read(whole.join("manifest.json")).unwrap(), written);
    let rig = start(stop(rig));
    Feed::push(rig.source()).send_all(&Script::new("whole").grid(2, 3).whole());
    let second = folder(&rig.archived("whole"));
    assert_eq!(second, whole.with_file_name("scan=whole~2"));
    assert_eq!(std::fs::read(whole.join("manifest.json")).unwrap(), written);
}

#[test]
fn a_full_queue_makes_the_sender_wait_and_loses_nothing() {
    let rig = Setup::new().set("limits", "queue_bytes = 2_097_152").start();
    let energies: Vec<f64> = (0..8).map(|index| 510.0 + 2.0 * f64::from(index)).collect();
    // Each message is larger than the whole queue may be.
    let mut script = Script::new("large").grid(800, 800).energies(&energies);
    let mut feed = Feed::push(rig.source());
    feed.send(&script.start());
    for energy in 0..energies.len() {
        feed.send(&script.run(energy, 0, 800 * 800));
    }
    feed.send(&script.end());
    let scan = rig.wait_scan("large", "complete", |scan| scan["outcome"]["status"] == "complete");
    assert_eq!((&scan["measured_values"], &scan["gaps"]), (&json!(8 * 800 * 800), &json!([])));
    assert_eq!(rig.metric("phasewatch_messages_received_total", &[]), 10.0);
}

#[test]
fn http_answers_whatever_is_asked() {
    let mut rig = Setup::new().start();
    let status = |path: &str| http::get(rig.http, path).status;
    assert_eq!(status("/healthz"), 200);
    assert_eq!(status("/"), 200);
    assert_eq!(status("/nowhere"), 404);
    assert_eq!(status("/api/v1/scans/absent"), 404);
    assert_eq!(status("/api/v1/scans/..%2f..%2fetc"), 400);
    assert_eq!(status(&format!("/api/v1/scans/{}", "a".repeat(2000))), 400);
    assert_eq!(rig.get("/api/v1/scans"), b"[]");
    Feed::push(rig.source()).send_all(&Script::new("asked").whole());
    rig.archived("asked");
    let list: Value = serde_json::from_slice(&rig.get("/api/v1/scans")).unwrap();
    assert_eq!(list[0]["scan_id"], "asked");
    for (asset, magic) in [
        ("phase_map.png", &b"\x89PNG"[..]),
        ("phase_map.parquet", b"PAR1"),
        ("phase_map.arrow", b"\xff\xff\xff\xff"),
        ("spectra.arrow", b"\xff\xff\xff\xff"),
    ] {
        assert!(rig.get(&format!("/api/v1/scans/asked/{asset}")).starts_with(magic), "{asset}");
    }
    assert_eq!(http::get(rig.http, "/api/v1/scans/asked/secret.txt").status, 404);
    assert!(rig.is_alive());
}

#[test]
fn an_energy_of_no_plan_that_waited_for_an_extension_is_counted_when_none_comes() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("waited");
    feed.send(&script.start());
    let lines = script.lines(0..12);
    feed.send_all(&lines[1..]);
    feed.send(&script.clone().line(0, 0).with("energy_index", json!(12)));
    rig.received(1 + 47 + 1);
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0, "an extension may be under way");
    feed.send(&lines[0]);
    until("the refusal", || {
        (rig.metric("phasewatch_messages_refused_total", &["reason=\"energy_index\""]) == 1.0).then_some(())
    });
    feed.send(&script.end());
    assert_eq!(rig.archived("waited")["gaps"], json!([]));
}
