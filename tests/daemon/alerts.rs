//! Alerts on their way out, through the real program: everybody who is to be told is, whoever fails and whenever the daemon is
//! killed; and operators, and nobody else, have their say.
//!
//! Most alerts are made by hand here, by `POST /api/v1/alerts/test`, which goes the way of every alert from the desk on; the last test has a
//! scan spoilt.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::listener::Listener;
use crate::receiver::Receiver;
use crate::rig::{Rig, Setup, phasewatch, until};

const TEST: &str = "/api/v1/alerts/test";

fn setup(alerts: &str) -> Setup {
    Setup::new().set("alerts", alerts)
}

fn webhook(receiver: &Receiver, path: &str, lines: &str) -> String {
    format!("[[alerts.webhook]]\nurl = \"{}\"\n{lines}\n", receiver.url(path))
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Posts with the token that the daemon made for itself.
fn post(rig: &Rig, path: &str, headers: &[&str], body: &str) -> Answer {
    let bearer = rig.bearer();
    let headers: Vec<&str> = headers.iter().copied().chain([bearer.as_str()]).collect();
    http::post(rig.http, path, &headers, body)
}

/// Has the daemon tell an alert; returns its identifier.
fn tell(rig: &Rig, name: &str, level: &str) -> String {
    let answer = post(rig, TEST, &[], &json!({ "name": name, "level": level }).to_string());
    assert_eq!(answer.status, 200, "{}", json(&answer));
    json(&answer)["id"].as_str().unwrap().to_owned()
}

fn alerts(rig: &Rig, query: &str) -> Vec<Value> {
    serde_json::from_slice(&rig.get(&format!("/api/v1/alerts{query}"))).unwrap()
}

/// Where an operator has a say about an alert.
fn at(id: &str, what: &str) -> String {
    format!("/api/v1/alerts/{}/{what}", id.replace(':', "%3A").replace('/', "%2F"))
}

fn told(rig: &Rig, level: &str, occasion: &str) -> f64 {
    let labels = [format!("level=\"{level}\""), format!("occasion=\"{occasion}\"")];
    rig.metric("phasewatch_alerts_told_total", &[&labels[0], &labels[1]])
}

#[test]
fn an_alert_arrives_in_spite_of_failures_and_a_kill_and_is_not_told_again() {
    let restarted = Arc::new(AtomicBool::new(false));
    let (after, limited) = (Arc::clone(&restarted), AtomicBool::new(false));
    let receiver = Receiver::new(move |_| match after.load(Ordering::SeqCst) {
        false => "503 Service Unavailable",
        true if !limited.swap(true, Ordering::SeqCst) => "429 Too Many Requests\r\nRetry-After: 1",
        true => "200 OK",
    });
    let alerts =
        webhook(&receiver, "hooks/s3cr3t", "name = \"chat\"\nheaders_env = { Authorization = \"CHAT\" }");
    let setup = || setup(&alerts).variable("CHAT", "Bearer t0k3n").variable("NO_PROXY", "127.0.0.1");
    let rig = setup().start();
    let mut listener = Listener::new(&rig.publish, "alert");
    until("a subscriber", || (rig.metric("phasewatch_publish_subscribers", &[]) == 1.0).then_some(()));
    let id = tell(&rig, "a", "critical");
    let header = listener.wait("the alert", |header| header["id"] == id.as_str());
    assert_eq!(
        (&header["level"], &header["occasion"], &header["test"]),
        (&json!("critical"), &json!("raised"), &json!(true))
    );
    receiver.wait(1);
    let ready = until("the failure under /readyz", || {
        let ready: Value = serde_json::from_slice(&rig.get("/readyz")).unwrap();
        let parts = ready["troubles"].as_array().unwrap();
        parts.iter().any(|trouble| trouble["part"] == "alerts").then_some(ready)
    });
    assert!(ready["troubles"][0]["what"].as_str().unwrap().contains("chat fails: status 503"), "{ready}");
    let first_log = rig.log.text();
    let dir = rig.kill();
    restarted.store(true, Ordering::SeqCst);
    let failed = receiver.seen().len();
    let rig = setup().start_in(dir);
    let requests = receiver.wait(failed + 2);
    until("nothing waits", || (rig.metric("phasewatch_alert_outbox", &["chat"]) == 0.0).then_some(()));
    assert_eq!(rig.metric("phasewatch_alert_deliveries_total", &["output=\"chat\""]), 1.0);
    for request in &requests {
        assert_eq!(request.path, "/hooks/s3cr3t");
        assert_eq!(request.headers["authorization"], "Bearer t0k3n");
        assert_eq!(request.headers["idempotency-key"], requests[0].headers["idempotency-key"]);
        assert_eq!(request.body["idempotency_key"], format!("{id}:critical"));
    }
    // As a replay of its scan would say it again.
    assert_eq!(tell(&rig, "a", "critical"), id);
    assert_eq!(told(&rig, "critical", "raised"), 0.0, "this run of the daemon told nothing");
    assert_eq!(receiver.seen().len(), failed + 2);
    until("no trouble", || {
        let ready: Value = serde_json::from_slice(&rig.get("/readyz")).unwrap();
        ready["troubles"].as_array().unwrap().is_empty().then_some(())
    });
    let metrics = String::from_utf8(rig.get("/metrics")).unwrap();
    let said = first_log + &rig.log.text() + &metrics;
    assert!(!said.contains("s3cr3t") && !said.contains("t0k3n"), "{said}");
}

#[test]
fn who_wants_what_is_urgent_is_told_that_only() {
    let receiver = Receiver::new(|_| "204 No Content");
    let alerts = webhook(&receiver, "all", "min_level = \"notice\"")
        + &webhook(&receiver, "slack", "format = \"slack\"\nmin_level = \"critical\"");
    let rig = setup(&alerts).variable("NO_PROXY", "127.0.0.1").start();
    tell(&rig, "a", "notice");
    assert_eq!(receiver.wait(1)[0].path, "/all");
    tell(&rig, "a", "critical");
    let requests = receiver.wait(3);
    let slack = requests.iter().find(|request| request.path == "/slack").unwrap();
    assert!(slack.body["text"].as_str().unwrap().starts_with("TEST, CRITICAL"), "{slack:?}");
    assert_eq!(requests.iter().filter(|request| request.path == "/slack").count(), 1);
}

#[test]
fn operators_acknowledge_and_silence_and_that_outlives_a_restart() {
    let rig = setup("remind_s = 1").start();
    let id = tell(&rig, "a", "critical");
    until("a reminder", || (told(&rig, "critical", "reminder") >= 1.0).then_some(()));
    let body = json!({ "by": "ops", "note": "beam is off" }).to_string();
    let answer = post(&rig, &at(&id, "acknowledge"), &[], &body);
    assert_eq!((answer.status, &json(&answer)["acknowledgement"]["by"]), (200, &json!("ops")));
    let reminders = told(&rig, "critical", "reminder");
    let other = tell(&rig, "b", "notice");
    let body = json!({ "by": "ops", "for_s": 3600, "scope": ["rule"] }).to_string();
    let silence = post(&rig, &at(&other, "silence"), &[], &body);
    assert_eq!((silence.status, &json(&silence)["what"]["rule"]), (200, &json!("test/b")));
    let rig = Setup::new().set("alerts", "remind_s = 1").start_in(rig.kill());
    tell(&rig, "b", "critical");
    tell(&rig, "c", "critical");
    // A reminder of this one says that the time for the others is over as well.
    until("a reminder", || (told(&rig, "critical", "reminder") >= 1.0).then_some(()));
    assert_eq!(told(&rig, "critical", "raised"), 1.0, "that of c alone");
    assert!(reminders >= 1.0);
    let open = alerts(&rig, "?open=true&level=critical");
    let of = |id: &str| open.iter().find(|alert| alert["id"] == id).unwrap();
    assert_eq!((&of(&id)["acknowledged"], &of(&other)["silenced"]), (&json!(true), &json!(true)));
    assert_eq!(rig.metric("phasewatch_alerts_open", &["critical"]), 3.0);
    assert_eq!(rig.metric("phasewatch_alerts_unattended", &["critical"]), 1.0);
    assert_eq!(rig.metric("phasewatch_alerts_silenced", &[]), 1.0);
    let number = &json(&silence)["number"];
    assert_eq!(post(&rig, &format!("/api/v1/silences/{number}/lift"), &[], "{}").status, 200);
    until("b is told", || (told(&rig, "critical", "raised") == 2.0).then_some(()));
    assert_eq!(alerts(&rig, "?scan=absent").len(), 0);
    assert_eq!(http::get(rig.http, "/api/v1/alerts?loud=1").status, 400);
}

#[test]
fn what_another_site_sends_through_the_operators_browser_is_refused() {
    let rig = setup("").start();
    let id = tell(&rig, "a", "warning");
    let body = json!({ "by": "evil" }).to_string();
    for (headers, status) in [
        (&["Origin: https://evil.example"][..], 403),
        (&["Origin: null"], 403),
        (&["Sec-Fetch-Site: cross-site"], 403),
        (&["Content-Type: text/plain"], 415),
        (&["Content-Type: application/x-www-form-urlencoded"], 415),
        (&["Host: evil.example", "Origin: http://evil.example"], 421),
    ] {
        for (path, body) in
            [(at(&id, "acknowledge"), &body), (at(&id, "silence"), &body), (TEST.to_owned(), &body)]
        {
            let answer = post(&rig, &path, headers, body);
            assert_eq!(answer.status, status, "{path} {headers:?}");
        }
    }
    let alert = &alerts(&rig, "")[0];
    assert_eq!((&alert["acknowledged"], &alert["silenced"]), (&json!(false), &json!(false)));
    let own = format!("Origin: http://{}", rig.http);
    let answer = post(&rig, &at(&id, "acknowledge"), &[&own], &body);
    assert_eq!(answer.status, 200, "its own page may");
    let huge = json!({ "by": "x".repeat(20_000) }).to_string();
    assert_eq!(post(&rig, &at(&id, "acknowledge"), &[], &huge).status, 413);
    for wrong in ["{}", "[]", "{\"by\":\" \"}", "{\"by\":\"a\",\"more\":1}"] {
        assert_eq!(post(&rig, &at(&id, "acknowledge"), &[], wrong).status, 400, "{wrong}");
    }
    assert_eq!(post(&rig, &at("a:b:1", "acknowledge"), &[], "{\"by\":\"a\"}").status, 404);
}

#[test]
fn where_a_token_is_set_nobody_changes_anything_without_it() {
    let rig = setup("token_env = \"PW_TOKEN\"").variable("PW_TOKEN", "t0k3n").start();
    let body = "{\"level\":\"notice\",\"name\":\"a\"}";
    assert_eq!(http::post(rig.http, TEST, &[], body).status, 401);
    assert_eq!(http::post(rig.http, TEST, &["Authorization: Bearer guess"], body).status, 403);
    assert_eq!(http::post(rig.http, TEST, &["Authorization: Bearer t0k3n"], body).status, 200);
    assert_eq!(alerts(&rig, "").len(), 1, "reading is free");
    // Without one in the settings the daemon makes its own, for whoever may read its state directory.
    let own = setup("").start();
    assert_eq!(http::post(own.http, TEST, &[], body).status, 401);
    assert_eq!(post(&own, TEST, &[], body).status, 200);
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(own.dir().join("state/http-token")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!own.log.text().contains(&own.token()), "it is not logged");
    let unset = setup("token_env = \"PW_ABSENT\"").start();
    assert_eq!(http::post(unset.http, TEST, &["Authorization: Bearer "], body).status, 403);
}

fn script(dir: &Path, text: &str) -> String {
    let path = dir.join("script");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_command_gets_the_alert_and_one_that_fails_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let program = script(dir.path(), "cat > \"$1.part\" && mv \"$1.part\" \"$1\"; test \"$2\" != fail");
    let command = |name: &str, more: &str| {
        let out = out.with_file_name(format!("out-{name}"));
        format!("[[alerts.command]]\nname = \"{name}\"\nprogram = {program:?}\nargs = [{out:?}, {more:?}]\n")
    };
    let rig = setup(&(command("lamp", "ok") + &command("siren", "fail"))).start();
    let id = tell(&rig, "a", "warning");
    let alert: Value = until("its output", || {
        serde_json::from_slice(&std::fs::read(out.with_file_name("out-lamp")).ok()?).ok()
    });
    assert_eq!((&alert["id"], &alert["state"]), (&json!(id), &json!("raised")));
    let name = "phasewatch_alert_given_up_total";
    until("a failure", || (rig.metric(name, &["output=\"siren\"", "cause=\"failed\""]) == 1.0).then_some(()));
    // The two are run side by side: whoever is done first says nothing of the other.
    let delivered = || rig.metric("phasewatch_alert_deliveries_total", &["output=\"lamp\""]);
    until("a delivery", || (delivered() >= 1.0).then_some(()));
    until("nothing waits", || (rig.metric("phasewatch_alert_outbox", &[]) == 0.0).then_some(()));
    assert_eq!(delivered(), 1.0, "once");
}

#[test]
fn outputs_can_be_tried_by_hand() {
    let receiver = Receiver::new(|_| "200 OK");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("site.toml");
    let good = webhook(&receiver, "hooks/s3cr3t", "name = \"chat\"\nformat = \"mattermost\"");
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&config, text).unwrap();
        let config = config.display().to_string();
        let output = phasewatch(&[&["alerts", "test", "--config", &config], more].concat());
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains("s3cr3t"), "{said}");
        (output.status.code(), said)
    };
    let (code, said) = run(&good, &[]);
    assert_eq!((code, said.trim()), (Some(0), "chat: delivered (status 200)"));
    assert!(receiver.wait(1)[0].body["text"].as_str().unwrap().contains("TEST"));
    let bad =
        "[[alerts.webhook]]\nurl = \"http://127.0.0.1:9/s3cr3t\"\n[[alerts.command]]\nprogram = \"false\"\n";
    let (code, said) = run(&(good + bad), &[]);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("chat: delivered") && said.contains("webhook-2: FAILED"), "{said}");
    assert!(
        said.contains("command-1: FAILED (exit code 1)") && said.contains("2 of 3 outputs failed"),
        "{said}"
    );
    let (code, said) = run("[alerts]\nremind_s = \"often\"\n", &[]);
    assert!(code == Some(64) && said.contains("line 2: alerts.remind_s"), "{said}");
    let rig = setup("").start();
    let daemon = format!("http://{}", rig.http);
    let through = ["--through-daemon", "--daemon", &daemon, "--level", "notice"];
    assert_eq!(run("", &through).0, Some(69), "it has no token of that daemon");
    let own = format!("[daemon]\nstate_dir = {:?}\n", rig.dir().join("state"));
    let (code, said) = run(&own, &through);
    assert_eq!(code, Some(0), "{said}");
    let alert = &alerts(&rig, "")[0];
    assert!(said.contains(alert["id"].as_str().unwrap()) && alert["level"] == "notice", "{said}");
    let (code, said) = run("", &["--through-daemon", "--daemon", "http://127.0.0.1:9"]);
    assert!(code == Some(69) && said.contains("does not answer"), "{said}");
}

/// Sends a scenario of the simulator as fast as it can.
fn simulate(rig: &Rig, scenario: &str, scan_id: &str) {
    let said = phasewatch(&[
        "simulate",
        "--connect",
        rig.source(),
        "--speed",
        "0",
        "--scenario",
        scenario,
        "--scan-id",
        scan_id,
    ]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_sample_that_the_beam_spoils_is_told_with_its_cause_and_one_that_holds_is_not() {
    let rig = setup("").start();
    let mut listener = Listener::new(&rig.publish, "alert");
    until("a subscriber", || (rig.metric("phasewatch_publish_subscribers", &[]) == 1.0).then_some(()));
    simulate(&rig, "damage-none", "sound");
    rig.archived("sound");
    simulate(&rig, "damage", "spoilt");
    let header = listener.wait("the alert", |header| header["scan_id"] == "spoilt");
    assert_eq!((&header["signal"], &header["simulated"]), (&json!("white_line"), &json!(true)), "{header}");
    assert!(header["numbers"]["dose_mgy"].as_f64().unwrap() > 0.0, "{header}");
    assert!(header["picture"].as_str().unwrap().ends_with("/api/v1/scans/spoilt/phase_map.png"), "{header}");
    let scan = rig.archived("spoilt");
    let all = until("the end of it", || {
        let all = alerts(&rig, "?scan=spoilt");
        all.iter().any(|alert| alert["state"] == "over").then_some(all)
    });
    let alert = all.iter().find(|alert| alert["signal"] == "white_line").unwrap();
    assert_eq!((&alert["level"], &alert["verdict"]), (&json!("critical"), &json!("beam")), "{alert}");
    assert!(alert["text"].as_str().unwrap().starts_with("the scan has ended: white line of "), "{alert}");
    assert!(
        !alert["evidence_for"].as_array().unwrap().is_empty()
            && !alert["advice"].as_str().unwrap().is_empty()
    );
    assert_eq!(alerts(&rig, "?scan=sound"), Vec::<Value>::new());
    // What lies behind it is in the archive, and was there live.
    let folder = Path::new(scan["archive_path"].as_str().unwrap());
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("damage.json")).unwrap()).unwrap();
    let live: Value = serde_json::from_slice(&rig.get("/api/v1/scans/spoilt/damage.json")).unwrap();
    assert_eq!((&report, &report["unit"]), (&live, &json!("mgy")));
    let findings = report["findings"].as_array().unwrap();
    let field = findings.iter().find(|own| own["of"] == "field" && own["signal"] == "white_line").unwrap();
    assert_eq!((&field["is_real"], field["series"]["readings"].as_array().unwrap().len()), (&json!(true), 6));
    // The place remembers both; nothing of it says that the second one was worse than the first.
    let root = rig.dir().join("state/damage");
    let places: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(places.len(), 2, "{places:?}");
}

#[test]
fn a_reduced_reference_that_is_not_there_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("phasewatch.toml");
    let run = |lines: &str| {
        let dirs = format!(
            "[references]\ndir = {:?}\n[daemon]\nstate_dir = {:?}\n[archive]\nroot = {:?}\n",
            crate::rig::references(),
            dir.path().join("state"),
            dir.path().join("archive")
        );
        let source = "[[source]]\nkind = \"stxm-stream\"\nname = \"beam\"\nbind = \"tcp://127.0.0.1:0\"\n";
        std::fs::write(&config, source.to_owned() + &dirs + lines).unwrap();
        let output = phasewatch(&["run", "--config", config.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run("[damage]\nreduces_to = \"na9\"\n");
    assert!(
        code == Some(64)
            && said.contains("damage.reduces_to = \"na9\" is no reference")
            && said.contains("na3.0"),
        "{said}"
    );
    let (code, said) = run("[damage]\ncritical_loss = 0.05\n");
    assert!(code == Some(64) && said.contains("damage.critical_loss"), "{said}");
}
