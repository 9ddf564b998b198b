//! What the operator's screen asks of the daemon, over real sockets: a scan from its first energy to the archive, and what an operator may wish.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::http;
use crate::rig::{Rig, Setup, until};
use crate::script::Script;

fn json_of(rig: &Rig, path: &str) -> Value {
    serde_json::from_slice(&rig.get(path)).unwrap()
}

#[test]
fn a_scan_is_seen_from_its_first_energy_to_the_archive() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let messages = Script::new("seen").whole();
    let (some, rest) = messages.split_at(messages.len() / 2);
    feed.send_all(some);
    let base = "/api/v1/scans/seen";
    let view = until("a map", || {
        let answer = http::get(rig.http, &format!("{base}/view.json"));
        (answer.status == 200).then(|| serde_json::from_slice::<Value>(&answer.body).unwrap())
    });
    assert_eq!((&view["live"], &view["spectra"]["available"]), (&json!(true), &json!(true)));
    let [ny, nx] = [0, 1].map(|axis| view["shape"][axis].as_u64().unwrap() as usize);
    assert_eq!(rig.get(&format!("{base}/layers/status.bin")).len(), ny * nx);
    assert_eq!(rig.get(&format!("{base}/layers/od.bin?energy=0")).len(), 4 * ny * nx);
    let live = until("a spectrum of half of the scan", || {
        let pixel = json_of(&rig, &format!("{base}/pixel.json?row=1&column=1"));
        let od = pixel["spectrum"]["od"].as_array().map_or(0, Vec::len);
        (od >= 4).then_some(pixel)
    });
    feed.send_all(rest);
    let scan = rig.archived("seen");
    // What was measured has left the memory of the map; the archive has it.
    let later = json_of(&rig, &format!("{base}/pixel.json?row=1&column=1"));
    let energies = later["spectrum"]["od"].as_array().unwrap().len();
    assert_eq!(energies, scan["energies_total"].as_u64().unwrap() as usize);
    let at = |pixel: &Value| pixel["spectrum"]["od"][0].as_f64().unwrap();
    assert!((at(&live) - at(&later)).abs() < 0.05, "{} {}", at(&live), at(&later));
    let list = json_of(&rig, "/api/v1/archive?search=seen");
    let shelved = list["scans"][0]["base"].as_str().unwrap().to_owned();
    assert_eq!(json_of(&rig, &format!("{shelved}/view.json"))["shape"], view["shape"]);
    for layer in ["phase", "status"] {
        let [board, archive] = [base, &shelved].map(|base| rig.get(&format!("{base}/layers/{layer}.bin")));
        assert_eq!(board, archive, "{layer}");
    }
    for asset in ["phase_map.parquet", "phase_map.png", "phase_map.arrow", "spectra.arrow"] {
        let [board, archive] = [base, &shelved].map(|base| rig.get(&format!("{base}/{asset}")));
        assert!(!archive.is_empty() && archive[..4] == board[..4], "{asset}");
    }
    assert_eq!(http::get(rig.http, &format!("{shelved}/manifest.json")).status, 404, "it is among the files");
    let same = json_of(&rig, &format!("{shelved}/pixel.json?row=1&column=1"));
    assert_eq!(same["spectrum"], later["spectrum"]);
    let files = list["scans"][0]["files"].as_array().unwrap();
    for file in files {
        let name = file["name"].as_str().unwrap();
        let bytes = rig.get(&format!("{shelved}/files/{name}"));
        assert_eq!(bytes.len() as u64, file["bytes"].as_u64().unwrap(), "{name}");
    }
    let points = json_of(&rig, &format!("{base}/trend.json"));
    assert!(!points["points"].as_array().unwrap().is_empty());
    let system = json_of(&rig, "/api/v1/system");
    assert_eq!(
        (&system["status"], &system["sources"][0]["messages"]),
        (&json!("ready"), &json!(messages.len()))
    );
    assert!(system["disk"][0]["free_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn an_operator_has_a_running_scan_archived_and_nothing_is_lost() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let messages = Script::new("now").whole();
    let (some, rest) = messages.split_at(messages.len() / 2);
    feed.send_all(some);
    rig.received(some.len() as u64);
    let path = "/api/v1/scans/now/archive";
    assert_eq!(http::post(rig.http, path, &[], "{}").status, 401);
    let bearer = rig.bearer();
    assert_eq!(http::post(rig.http, path, &[&bearer], "{}").status, 200);
    let early = until("an early archive", || rig.scan("now").filter(|scan| scan["archive_path"].is_string()));
    assert_eq!((&early["state"], &early["outcome"]), (&json!("running"), &Value::Null), "{early}");
    let path_of = |scan: &Value| std::path::PathBuf::from(scan["archive_path"].as_str().unwrap());
    let manifest = crate::table::manifest(&path_of(&early));
    assert_eq!((&manifest["provisional"], &manifest["outcome"]["status"]), (&json!(true), &json!("partial")));
    feed.send_all(rest);
    let whole = until("the whole scan", || {
        rig.scan("now").filter(|scan| scan["state"] == "archived" && scan["outcome"]["status"] == "complete")
    });
    assert_eq!((&whole["measured_values"], &whole["gaps"]), (&whole["planned_values"], &json!([])));
    assert_eq!(whole["archive_path"], early["archive_path"], "it takes the place of the early one");
    assert_eq!(crate::table::manifest(&path_of(&whole))["provisional"], false);
    assert_eq!(http::post(rig.http, path, &[&bearer], "{}").status, 409, "it has ended");
    assert_eq!(http::post(rig.http, "/api/v1/scans/absent/archive", &[&bearer], "{}").status, 409);
    let model = http::post(rig.http, "/api/v1/model", &[&bearer], "{}");
    assert_eq!(model.status, 409, "none is configured, and that is said");
}

#[test]
fn news_end_when_the_daemon_stops() {
    let rig = Setup::new().start();
    let mut stream = TcpStream::connect(rig.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    // Where the process ends right behind it, the connection may be reset.
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("event: health")));
    let ended = rig.stop("TERM");
    assert_eq!(ended.code, Some(0));
    assert!(lines.any(|line| line.contains("event: bye")));
    assert_eq!(lines.filter(|line| line.contains("event:")).count(), 0, "and that is the end");
}

#[test]
fn beyond_this_machine_reading_wants_the_token_unless_it_is_told_otherwise() {
    let setup = |more: &str| {
        let lines = format!("listen = \"0.0.0.0:0\"\nallow_open = true\ntoken_env = \"PW_TOKEN\"\n{more}");
        Setup::new()
            .instead("http", &lines)
            .variable("PW_TOKEN", "t0k3n")
            .launch_in(tempfile::tempdir().unwrap())
    };
    for (more, status) in [("", 401), ("open_reading = true", 200)] {
        let mut rig = setup(more);
        let ready = rig.log.wait("ready", |line| line["message"] == "ready");
        let port = ready["http"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        rig.http = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        for path in ["/api/v1/scans", "/metrics", "/api/v1/archive"] {
            // The folder of the archive is made by a thread of its own; before that nothing is said to be in it.
            let told = || http::get(rig.http, path).status;
            assert_eq!(
                until("an answer", || Some(told()).filter(|told| *told != 503)),
                status,
                "{path} {more}"
            );
        }
        for path in ["/", "/healthz", "/static/page.js"] {
            assert_eq!(http::get(rig.http, path).status, 200, "{path} {more}");
        }
    }
}

#[test]
fn a_terminal_shows_the_map() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("shown").whole());
    rig.archived("shown");
    let url = format!("http://{}", rig.http);
    let watch = |more: &[&str]| {
        let mut command = std::process::Command::new(crate::rig::PHASEWATCH);
        command.args(["watch", &url, "--once", "--size", "90x30"]).args(more).output().unwrap()
    };
    let output = watch(&["--no-colour"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for wanted in ["shown", "archived", "100 %", "classified"] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    let coloured = String::from_utf8(watch(&[]).stdout).unwrap();
    assert!(coloured.contains("\u{1b}[38;2;"), "{coloured}");
    let absent = watch(&["--scan", "absent"]);
    assert!(String::from_utf8_lossy(&absent.stderr).contains("no scan absent"));
    drop(rig);
    let gone = watch(&[]);
    assert_eq!(gone.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("does not answer"));
}
