//! What is run by hand: measurements of the screen (`scripts/screen-report.sh`), and the pictures of the documentation
//! (`scripts/screen-pictures.sh`). Neither says whether a number is good enough; `docs/reports/screen.md` does.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::operator::Operator;
use crate::rig::{PHASEWATCH, Rig, Setup};

/// `phasewatch simulate`, killed when it is dropped.
struct Sender(Child);

impl Sender {
    fn start(rig: &Rig, scenario: &str, scan_id: &str, more: &[&str]) -> Self {
        let mut command = Command::new(PHASEWATCH);
        command.args(["simulate", "--connect", rig.source(), "--scenario", scenario, "--scan-id", scan_id]);
        command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A daemon with the built-in model; `interval_ms` between two maps.
fn daemon(interval_ms: u32) -> Rig {
    let model = repository("config/models/nvpf.onnx");
    Setup::new()
        .instead("log", "level = \"info\"")
        .instead("publish", &format!("bind = \"tcp://127.0.0.1:0\"\nmin_interval_ms = {interval_ms}"))
        .set("model", &format!("path = {model:?}"))
        .start()
}

/// An order `name arguments…` of a script: a scan of a scenario is sent.
fn sends<'a>(rig: &'a Rig, senders: &'a mut Vec<Sender>) -> impl FnMut(&str) -> String + 'a {
    move |order| {
        let words: Vec<&str> = order.split(' ').collect();
        match words[..] {
            ["send", scenario, scan_id, speed] => {
                senders.push(Sender::start(rig, scenario, scan_id, &["--speed", speed]));
            }
            ["stop"] => senders.clear(),
            ["archived", scan_id] => drop(rig.archived(scan_id)),
            ["report", scans] => {
                let (root, out) = (rig.dir().join("archive"), rig.dir().join("report.html"));
                let mut command = Command::new(PHASEWATCH);
                command.args(["report", "--scans", scans, "--archive"]).arg(&root).arg("--out").arg(&out);
                assert!(command.output().unwrap().status.success(), "{command:?}");
                return out.display().to_string();
            }
            ["test", level] => {
                let body = json!({ "level": level }).to_string();
                assert_eq!(
                    crate::http::post(rig.http, "/api/v1/alerts/test", &[&rig.bearer()], &body).status,
                    200
                );
            }
            _ => panic!("{order}"),
        }
        String::new()
    }
}

#[test]
#[ignore = "measures; by hand, with scripts/screen-report.sh"]
fn measurements() {
    let Some(operator) = Operator::here() else { return };
    let rig = daemon(1000);
    let demo = std::fs::read_to_string(repository("config/scenarios/demo.toml")).unwrap();
    assert!(demo.contains("shape = [128, 128]"));
    let large = rig.dir().join("large.toml");
    std::fs::write(&large, demo.replace("shape = [128, 128]", "shape = [512, 512]")).unwrap();
    let base = format!("http://{}", rig.http);
    let facts = json!({ "base": base, "pid": rig.pid(), "scenario": large });
    eprintln!("{}", operator.plays("report.py", &facts, sends(&rig, &mut Vec::new())));
}

#[test]
#[ignore = "draws the pictures of the documentation; by hand, with scripts/screen-pictures.sh"]
fn pictures() {
    let Some(operator) = Operator::here() else { return };
    let rig = daemon(200);
    let facts = json!({ "base": format!("http://{}", rig.http), "docs": repository("docs") });
    eprintln!("{}", operator.plays("pictures.py", &facts, sends(&rig, &mut Vec::new())));
}
