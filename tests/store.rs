//! The second copy of the archive, through the real daemon and a server that speaks S3 (moto, from Python): a server that is
//! down, a daemon that is killed, objects that are damaged, and what may be removed when.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "these are tests"
)]

#[path = "daemon/feed.rs"]
mod feed;
#[path = "daemon/http.rs"]
mod http;
#[path = "daemon/rig.rs"]
mod rig;
#[path = "daemon/script.rs"]
mod script;
#[path = "daemon/table.rs"]
mod table;
#[path = "python/venv.rs"]
mod venv;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use feed::Feed;
use rig::{Ended, PHASEWATCH, Rig, Setup, until};
use script::Script;
use table::{folder, manifest};

/// moto's server, without what it needs for the services that are not S3.
const PACKAGES: [&str; 3] = ["flask", "flask-cors", "moto[s3]"];
const SECRET: &str = "wJalrXUtnFEMI-K7MDENG";
const REMOTE: &str = "s3://archive/pw";

static PYTHON: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| venv::environment("s3", &PACKAGES, &[]));

/// A server on a port that is known before it runs. It ends with this.
struct Server {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Server {
    fn start(python: &Path, port: u16) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/s3_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .args([&port.to_string(), "archive"])
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, commands, answers };
        assert_eq!(server.answer(), "ready");
        server
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the S3 server said {line:?}: {error}"))
    }

    fn ask(&mut self, command: Value) -> Value {
        writeln!(self.commands, "{command}").unwrap();
        self.answer()
    }

    /// Sizes by key.
    fn objects(&mut self) -> BTreeMap<String, u64> {
        serde_json::from_value(self.ask(json!({ "do": "list" }))).unwrap()
    }

    /// Keys written since this was asked last.
    fn written(&mut self) -> Vec<String> {
        serde_json::from_value(self.ask(json!({ "do": "puts" }))).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A beamline with a daemon that is started again and again, and a server that may be there.
struct Site {
    python: &'static Path,
    port: u16,
    dir: Option<TempDir>,
}

impl Site {
    fn new() -> Option<Self> {
        let python = venv::interpreter(&PYTHON, &PACKAGES)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Self { python, port, dir: Some(tempfile::tempdir().unwrap()) })
    }

    fn server(&self) -> Server {
        Server::start(self.python, self.port)
    }

    fn remote(&self) -> String {
        let port = self.port;
        format!(
            "remote = \"{REMOTE}\"\nremote_endpoint = \"http://127.0.0.1:{port}\"\nremote_allow_http = true\nremote_credentials = \"SITE\""
        )
    }

    fn daemon(&mut self, rules: &str) -> Rig {
        Setup::bare()
            .source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.2")
            .set("archive", &self.remote())
            .set("archive", rules)
            .variable("SITE_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .variable("SITE_SECRET_ACCESS_KEY", SECRET)
            .variable("NO_PROXY", "127.0.0.1")
            .start_in(self.dir.take().unwrap())
    }

    /// Ends a daemon; its log never has the secret.
    fn end(&mut self, rig: Rig, signal: &str) {
        let Ended { code, log, dir } = rig.stop(signal);
        assert_eq!(code, (signal == "TERM").then_some(0), "{}", log.text());
        assert!(!log.text().contains(SECRET));
        self.dir = Some(dir);
    }

    fn root(&self) -> PathBuf {
        self.dir.as_ref().unwrap().path().join("archive")
    }

    /// Runs `phasewatch archive` with the daemon's configuration; returns exit code and all it said.
    fn archive(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(PHASEWATCH)
            .arg("archive")
            .args(args)
            .arg("--config")
            .arg(dir.join("phasewatch.toml"))
            .env("SITE_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("SITE_SECRET_ACCESS_KEY", SECRET)
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains(SECRET));
        (output.status.code(), said)
    }

    fn ends(&self, code: i32, args: &[&str]) -> String {
        let (found, said) = Self::archive(self.dir.as_ref().unwrap().path(), args);
        assert_eq!(found, Some(code), "archive {args:?}:\n{said}");
        said
    }
}

fn uploaded(rig: &Rig, scans: usize) {
    until(&format!("{scans} scans copied"), || {
        let done = rig.metric("phasewatch_scans_uploaded_total", &[]) == scans as f64;
        (done && rig.metric("phasewatch_uploads_pending", &[]) == 0.0).then_some(())
    });
}

fn troubles(rig: &Rig) -> (u16, String) {
    let answer = http::get(rig.http, "/readyz");
    (answer.status, String::from_utf8(answer.body).unwrap())
}

fn key(folder: &Path, name: &str) -> String {
    let parts: Vec<_> =
        folder.components().rev().take(3).map(|part| part.as_os_str().to_str().unwrap()).collect();
    format!("pw/{}/{}/{}/{name}", parts[2], parts[1], parts[0])
}

/// Sends a whole scan that was archived before the daemon started, and waits until all of it is known as a repetition.
fn repeat(rig: &Rig, scan_id: &str) {
    let messages = Script::new(scan_id).whole();
    Feed::push(rig.source()).send_all(&messages);
    let repeated = || rig.metric("phasewatch_messages_duplicate_total", &["source=\"beam\""]);
    until("a repetition", || (repeated() >= messages.len() as f64).then_some(()));
    assert_eq!(rig.scan(scan_id), None, "it is archived already");
}

#[test]
fn uploads_wait_for_a_server_survive_kill_9_and_end_with_a_whole_copy() {
    let Some(mut site) = Site::new() else { return };
    // No server: the archive does not mind, and people are told.
    let rig = site.daemon("");
    Feed::push(rig.source()).send_all(&Script::new("first").whole());
    let first = folder(&rig.archived("first"));
    until("a trouble", || troubles(&rig).1.contains("uploads").then_some(()));
    let (status, said) = troubles(&rig);
    assert_eq!(status, 200, "{said}");
    assert!(said.contains(REMOTE), "{said}");
    assert_eq!(rig.metric("phasewatch_uploads_pending", &[]), 1.0);
    assert!(rig.metric("phasewatch_upload_failures_total", &["cause=\"remote\""]) >= 3.0);
    Feed::push(rig.source()).send_all(&Script::new("second").whole());
    rig.archived("second");
    site.end(rig, "KILL");
    assert!(site.ends(0, &["list"]).contains("failing"));
    site.ends(69, &["verify", "--remote"]);

    // A server that takes everything but manifests; killed in between.
    let mut server = site.server();
    server.ask(json!({ "do": "refuse", "ending": "manifest.json" }));
    let rig = site.daemon("");
    let files = manifest(&first)["files"].as_object().unwrap().len();
    until("all files of a scan", || (server.objects().len() >= files).then_some(()));
    assert!(!server.objects().keys().any(|key| key.ends_with("manifest.json")), "the manifest is last");
    site.end(rig, "KILL");
    let there = server.objects();
    server.written();
    server.ask(json!({ "do": "refuse", "ending": null }));
    let rig = site.daemon("");
    uploaded(&rig, 2);
    assert!(!troubles(&rig).1.contains("uploads"));
    assert!(rig.metric("phasewatch_upload_last_success_timestamp_seconds", &[]) > 1.7e9);
    assert_eq!(server.objects().len(), 2 * (files + 1));
    let written = server.written();
    assert!(!written.iter().any(|key| there.contains_key(key)), "sent again: {written:?}");
    assert_eq!(written.last().unwrap().rsplit('/').next(), Some("manifest.json"));
    assert_eq!(
        server.objects()[&key(&first, "stack.parquet")],
        first.join("stack.parquet").metadata().unwrap().len()
    );

    // While it runs: at once. A scan that was cut short goes as it is, and is replaced when the whole one comes.
    let mut feed = Feed::push(rig.source());
    let mut cut = Script::new("cut");
    feed.send(&cut.start());
    feed.send_all(&cut.lines(0..5));
    rig.received(1 + 20);
    site.end(rig, "TERM");
    let rig = site.daemon("");
    uploaded(&rig, 1);
    server.written();
    Feed::push(rig.source()).send_all(&Script::new("cut").whole());
    let cut = folder(&rig.archived("cut"));
    uploaded(&rig, 2);
    assert_eq!(manifest(&cut)["provisional"], false);
    assert_eq!(server.written().last(), Some(&key(&cut, "manifest.json")));
    // The same scan once more neither doubles nor is sent.
    repeat(&rig, "first");
    site.end(rig, "TERM");
    assert_eq!((server.objects().len(), server.written()), (3 * (files + 1), vec![]));
    let said = site.ends(0, &["verify", "--remote"]);
    assert!(said.contains(&format!("3 copies at {REMOTE} are whole")), "{said}");
    assert_eq!(site.ends(0, &["list"]).matches("verified").count(), 3);
    for folder in [&first, &cut] {
        let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        assert!(text.contains(REMOTE) && !text.contains(SECRET) && !text.contains("AKIDEXAMPLE"));
    }
}

#[test]
fn a_damaged_copy_is_found_and_sent_again_and_nothing_goes_here_before() {
    let Some(mut site) = Site::new() else { return };
    let mut server = site.server();
    let rig = site.daemon("");
    Feed::push(rig.source()).send_all(&Script::new("scan").whole());
    let scan = folder(&rig.archived("scan"));
    uploaded(&rig, 1);
    site.end(rig, "TERM");
    let stack = key(&scan, "stack.parquet");
    let damage = |server: &mut Server, key: &str| drop(server.ask(json!({ "do": "damage", "key": key })));

    // By hand.
    damage(&mut server, &stack);
    let said = site.ends(65, &["verify", "--remote"]);
    assert!(said.contains("stack.parquet: has SHA-256"), "{said}");
    assert!(site.ends(0, &["list"]).contains("failing"));
    site.ends(0, &["push"]);
    assert_eq!(server.written(), std::slice::from_ref(&stack));
    site.ends(0, &["verify", "--remote"]);

    // By the daemon, a manifest this time.
    damage(&mut server, &key(&scan, "manifest.json"));
    let rig = site.daemon("verify_every_days = 0.00001");
    rig.log.wait("the damage", |line| {
        line["message"].as_str().is_some_and(|said| said.contains("copy damaged"))
    });
    uploaded(&rig, 1);
    site.end(rig, "TERM");
    site.ends(0, &["verify", "--remote"]);

    // Old enough to be pruned, but the copy is gone: the file stays, the copy is made again.
    let prune = "prune_stacks_after_days = 0.0000001";
    server.ask(json!({ "do": "delete", "key": stack }));
    let rig = site.daemon(prune);
    rig.log.wait("a prune that is not done", |line| {
        line["error"].as_str().is_some_and(|said| said.contains("its copy is not whole"))
    });
    uploaded(&rig, 1);
    site.end(rig, "TERM");
    assert!(scan.join("stack.parquet").exists());
    // No server at all.
    drop(server);
    let rig = site.daemon(prune);
    rig.log.wait("a prune that is not done", |line| {
        line["message"].as_str().is_some_and(|said| said.starts_with("not done: prune"))
    });
    site.end(rig, "TERM");
    assert!(scan.join("stack.parquet").exists());
    let said = site.ends(0, &["prune", "--dry-run"]);
    assert!(said.contains("prune beamline=") && said.contains("nothing was touched"), "{said}");

    // A server that lost everything: sent anew, and only then removed here.
    let mut server = site.server();
    site.ends(69, &["prune"]);
    assert!(scan.join("stack.parquet").exists());
    let rig = site.daemon("");
    uploaded(&rig, 1);
    site.end(rig, "TERM");
    let rig = site.daemon(prune);
    until("the prune", || (!scan.join("stack.parquet").exists()).then_some(()));
    rig.log.wait("the prune", |line| {
        line["message"].as_str().is_some_and(|said| said.starts_with("done: prune"))
            && line["path"].is_string()
    });
    assert!(rig.metric("phasewatch_archive_pruned_bytes_total", &[]) > 0.0);
    // The same scan comes again: it is archived, and stays pruned.
    repeat(&rig, "scan");
    site.end(rig, "TERM");
    assert!(!scan.join("stack.parquet").exists() && server.objects().contains_key(&stack));
    let said = site.ends(0, &["verify", "--remote"]);
    assert!(said.contains("(pruned ") && said.contains(REMOTE), "{said}");
    assert!(site.ends(0, &["list"]).contains(", pruned  "));
    assert!(site.ends(0, &["show", "scan"]).contains("a whole copy at s3://"));
    // What is pruned and lost there is said, and cannot be sent again.
    damage(&mut server, &stack);
    site.ends(65, &["verify", "--remote"]);
    let said = site.ends(65, &["push"]);
    assert!(said.contains("it is lost unless there is another copy"), "{said}");
}

#[test]
fn a_damaged_scan_goes_to_the_quarantine_if_told_and_its_good_copy_stays() {
    let Some(mut site) = Site::new() else { return };
    let mut server = site.server();
    let rig = site.daemon("");
    Feed::push(rig.source()).send_all(&Script::new("scan").whole());
    let scan = folder(&rig.archived("scan"));
    uploaded(&rig, 1);
    site.end(rig, "TERM");
    let (path, good) = (scan.join("stack.parquet"), std::fs::read(scan.join("stack.parquet")).unwrap());
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&path, bad).unwrap();

    // Only told at first.
    let rig = site.daemon("verify_every_days = 30");
    until("a trouble", || troubles(&rig).1.contains("retention").then_some(()));
    assert_eq!(troubles(&rig).0, 200);
    assert_eq!(rig.metric("phasewatch_archive_damaged_scans", &[]), 1.0);
    site.end(rig, "TERM");
    assert!(path.exists());
    let there = server.objects();
    server.written();
    // With its journal the daemon would know every message of the scan that comes again.
    let dir = scan.ancestors().nth(4).unwrap();
    std::fs::remove_dir_all(dir.join("state/journal/scan")).unwrap();
    let rig = site.daemon("quarantine_damaged = true");
    let moved = site_quarantine(&rig, &scan);
    until("the quarantine", || moved.join("manifest.json").exists().then_some(()));
    // The scan comes again: beside the name that its good copy has.
    Feed::push(rig.source()).send_all(&Script::new("scan").whole());
    let again = folder(&rig.archived("scan"));
    assert_eq!(again, scan.with_file_name("scan=scan~2"));
    uploaded(&rig, 1);
    site.end(rig, "TERM");
    assert!(server.written().iter().all(|key| key.contains("scan=scan~2/")), "the good copy is not touched");
    assert!(there.keys().all(|key| server.objects().contains_key(key)));
    let said = site.ends(0, &["list"]);
    assert!(said.contains("quarantined"), "{said}");
    assert!(site.ends(0, &["verify"]).contains("AWAY"));
}

fn site_quarantine(rig: &Rig, scan: &Path) -> PathBuf {
    let root = rig.dir().join("archive");
    root.join("quarantine").join(scan.strip_prefix(&root).unwrap())
}

#[test]
fn large_files_go_in_parts_and_a_missing_key_is_no_reason_not_to_archive() {
    let Some(mut site) = Site::new() else { return };
    let mut server = site.server();
    // Without credentials: mapped and archived all the same, and told.
    let rig = Setup::new().set("archive", &site.remote()).start_in(site.dir.take().unwrap());
    Feed::push(rig.source()).send_all(&Script::new("large").whole());
    let scan = folder(&rig.archived("large"));
    let (status, said) = troubles(&rig);
    assert!(status == 200 && said.contains("SITE_ACCESS_KEY_ID is not set"), "{status} {said}");
    site.end(rig, "TERM");
    // A stack of 20 MB.
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(scan.join("stack.parquet"), &large).unwrap();
    let mut text = manifest(&scan);
    let digest = Sha256::digest(&large).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    text["files"]["stack.parquet"] = json!({ "bytes": large.len(), "sha256": digest });
    std::fs::write(scan.join("manifest.json"), serde_json::to_vec_pretty(&text).unwrap()).unwrap();
    let said = site.ends(0, &["push"]);
    assert!(said.contains("copied") && said.contains("every file read back"), "{said}");
    assert_eq!(server.objects()[&key(&scan, "stack.parquet")], large.len() as u64);
    site.ends(0, &["verify", "--remote"]);
}
