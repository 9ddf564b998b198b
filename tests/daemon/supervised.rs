//! The daemon as whoever supervises it sees it: ready, alive, reloading, stopping; and what a reload takes.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::http;
use crate::rig::{PATIENCE, Rig, Setup, references, until};
use crate::script::Script;
use crate::table::{folder, manifest};

/// The supervisor's end.
struct Supervisor(UnixDatagram);

impl Supervisor {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next thing it is told that is not the watchdog's, unless it is asked for.
    fn hears(&self, wanted: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let n = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("never told {wanted}: {error}"));
            let text = String::from_utf8(bytes[..n].to_vec()).unwrap();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
            assert!(text.starts_with("WATCHDOG=1"), "{text:?} before {wanted:?}");
        }
    }
}

fn hang_up(rig: &Rig) {
    assert!(Command::new("kill").arg("-HUP").arg(rig.pid().to_string()).status().unwrap().success());
}

fn says(rig: &Rig, text: &str) -> Value {
    rig.log.wait(text, |line| line["message"].as_str().is_some_and(|message| message.contains(text)))
}

/// How far every thread of a process stands back.
fn nice_of(process: &str) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // A thread may end while this looks.
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok());
    // Behind the name, which may hold anything, the state is the third field and this the nineteenth.
    let field =
        |stat: String| stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().to_owned();
    stats.map(|stat| field(stat).parse().unwrap()).collect()
}

#[test]
fn every_thread_stands_back_behind_the_acquisition_and_never_steps_forward() {
    let own = nice_of("self")[0];
    let started_at = |more: i32| ["nice", "-n", &more.to_string()].map(str::to_owned).to_vec();
    for (setup, wanted) in [
        (Setup::new(), own.max(5)),
        (Setup::new().set("daemon", "nice = 12"), own.max(12)),
        (Setup::new().set("daemon", "nice = 0"), own.max(0)),
        // It was told to stand back farther.
        (Setup::new().through(&started_at(10)), (own + 10).clamp(5, 19)),
    ] {
        let rig = setup.start();
        let threads = nice_of(&rig.pid().to_string());
        assert!(threads.len() > 4, "{threads:?}");
        assert!(threads.iter().all(|nice| *nice == wanted), "{wanted}: {threads:?}");
    }
}

#[test]
fn it_says_when_it_is_ready_alive_reloading_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let supervisor = Supervisor::new(&path);
    let mut rig = Setup::new()
        .variable("NOTIFY_SOCKET", path.to_str().unwrap())
        .variable("WATCHDOG_USEC", "300000")
        .launch_in(tempfile::tempdir().unwrap());
    let ready = supervisor.hears("READY=1");
    assert!(ready.contains("STATUS=http://127.0.0.1:"), "{ready}");
    rig.wait_ready();
    assert_eq!(http::get(rig.http, "/readyz").status, 200);
    supervisor.hears("WATCHDOG=1");
    supervisor.hears("WATCHDOG=1");
    hang_up(&rig);
    let reloading = supervisor.hears("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    supervisor.hears("READY=1");
    supervisor.hears("WATCHDOG=1");
    let ended = rig.stop("TERM");
    supervisor.hears("STOPPING=1");
    assert_eq!(ended.code, Some(0), "{}", ended.log.text());
}

/// The references of the repository, but those of `but`.
fn copy_references(to: &Path, but: Option<&str>) {
    drop(std::fs::remove_dir_all(to));
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(references()).unwrap() {
        let from = entry.unwrap().path();
        let name = from.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "references.toml" {
            let text = std::fs::read_to_string(&from).unwrap();
            // Tables of one phase follow each other, up to those of the next.
            let mut is_kept = true;
            let kept = text.lines().filter(|line| {
                if line.starts_with('[') {
                    is_kept = but.is_none_or(|id| !line.contains(&format!("\"{id}\"")));
                }
                is_kept
            });
            std::fs::write(to.join(name), kept.collect::<Vec<_>>().join("\n")).unwrap();
        } else if but.is_none_or(|id| name != format!("{id}.csv")) {
            std::fs::copy(&from, to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_reload_takes_what_it_can_names_what_it_cannot_and_open_scans_keep_their_references() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("references");
    copy_references(&kept, None);
    let rig = Setup::new().set("references", &format!("dir = {kept:?}")).start_in(dir);
    let mut feed = Feed::push(rig.source());
    let mut open = Script::new("open");
    feed.send(&open.start());
    feed.send_all(&open.lines(0..5));
    rig.received(1 + 20);
    let before = rig.get("/api/v1/system");
    let phases = |system: &[u8]| {
        let system: Value = serde_json::from_slice(system).unwrap();
        system["references"]["phases"].as_array().unwrap().len()
    };
    assert_eq!(phases(&before), 5);
    // Other references, another level, and something that needs a restart.
    copy_references(&kept, Some("na2.4"));
    let config = rig.dir().join("phasewatch.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("level = \"debug\"", "level = \"info\"");
    std::fs::write(&config, format!("{text}\n[limits]\nopen_scans = 7\n")).unwrap();
    hang_up(&rig);
    let reloaded = says(&rig, "configuration reloaded");
    assert_eq!((&reloaded["taken"], &reloaded["references"]), (&json!("log.level"), &json!("others")));
    says(&rig, "not taken before a restart: limits.open_scans");
    says(&rig, "when no scan is open");
    assert_eq!(phases(&rig.get("/api/v1/system")), 5, "a scan is open");
    feed.send_all(&open.lines(5..12));
    feed.send(&open.end());
    let scan = rig.archived("open");
    let fractions = |scan: &Value| manifest(&folder(scan))["map"]["fractions"].as_object().unwrap().len();
    assert_eq!(fractions(&scan), 5, "it keeps what it began with");
    says(&rig, "references in use");
    until("four phases", || (phases(&rig.get("/api/v1/system")) == 4).then_some(()));
    feed.send_all(&Script::new("next").whole());
    let next = rig.archived("next");
    assert_eq!(fractions(&next), 4);
    // A configuration that is wrong changes nothing, and is told until it is right again.
    std::fs::write(&config, "[limits]\nopen_scans = \"many\"\n").unwrap();
    hang_up(&rig);
    says(&rig, "nothing of it is taken");
    let troubles = || String::from_utf8(http::get(rig.http, "/readyz").body).unwrap();
    until("a trouble", || troubles().contains("not reloaded").then_some(()));
    assert_eq!(http::get(rig.http, "/readyz").status, 200, "it does its job");
    std::fs::write(&config, text).unwrap();
    hang_up(&rig);
    until("no trouble", || (!troubles().contains("not reloaded")).then_some(()));
    // The daemon that follows goes on with the journals of both.
    let ended = rig.stop("TERM");
    assert_eq!(ended.code, Some(0), "{}", ended.log.text());
}

#[test]
fn references_that_were_taken_back_while_a_scan_was_open_never_come_into_use() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("references");
    copy_references(&kept, None);
    let rig = Setup::new().set("references", &format!("dir = {kept:?}")).start_in(dir);
    let mut feed = Feed::push(rig.source());
    let mut open = Script::new("open");
    feed.send(&open.start());
    feed.send_all(&open.lines(0..5));
    rig.received(1 + 20);
    let reload = |times: usize| {
        hang_up(&rig);
        let told = || rig.log.text().matches("configuration reloaded").count();
        until("a reload", || (told() == times).then_some(()));
    };
    copy_references(&kept, Some("na2.4"));
    reload(1);
    let troubles = || String::from_utf8(http::get(rig.http, "/readyz").body).unwrap();
    assert!(troubles().contains("wait until no scan is open"), "{}", troubles());
    copy_references(&kept, None);
    reload(2);
    feed.send_all(&open.lines(5..12));
    feed.send(&open.end());
    rig.archived("open");
    until("nothing waits", || (!troubles().contains("wait until no scan is open")).then_some(()));
    feed.send_all(&Script::new("next").whole());
    let next = rig.archived("next");
    assert_eq!(manifest(&folder(&next))["map"]["fractions"].as_object().unwrap().len(), 5);
}

#[test]
fn a_reload_takes_other_titles_of_the_same_spectra() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("references");
    copy_references(&kept, None);
    let rig = Setup::new().set("references", &format!("dir = {kept:?}")).start_in(dir);
    let file = kept.join("references.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("title = \"x =", "title = \"renamed x =", 1)).unwrap();
    hang_up(&rig);
    assert_eq!(says(&rig, "configuration reloaded")["references"], "others");
    says(&rig, "references in use");
    Feed::push(rig.source()).send_all(&Script::new("next").whole());
    let scan = rig.archived("next");
    assert!(scan["fractions"].to_string().contains("renamed "), "{scan}");
}

#[test]
fn a_reload_takes_nothing_that_the_next_start_would_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("references");
    copy_references(&kept, None);
    let setup = Setup::new().set("references", &format!("dir = {kept:?}"));
    let rig = setup.set("damage", "reduces_to = \"na2.4\"").start_in(dir);
    copy_references(&kept, Some("na2.4"));
    hang_up(&rig);
    says(&rig, "nothing of it is taken: damage.reduces_to = \"na2.4\" is no reference");
    assert_eq!(http::get(rig.http, "/readyz").status, 200, "it goes on with those that it has");
}

#[test]
fn alerts_go_where_the_reloaded_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let heard = dir.path().join("heard");
    let rig = Setup::new().start_in(dir);
    let config = rig.dir().join("phasewatch.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let route = format!(
        "[[alerts.command]]\nname = \"bell\"\nprogram = \"sh\"\nargs = [\"-c\", \"cat > {}\"]\n",
        heard.display()
    );
    std::fs::write(&config, format!("{text}\n{route}")).unwrap();
    hang_up(&rig);
    let reloaded = says(&rig, "configuration reloaded");
    assert!(reloaded["taken"].as_str().unwrap().contains("alerts.command"), "{reloaded}");
    let wish = json!({ "level": "critical", "name": "reload" }).to_string();
    until("an alert", || {
        let answer = http::post(rig.http, "/api/v1/alerts/test", &[&rig.bearer()], &wish);
        assert!(answer.status < 300, "{}", String::from_utf8_lossy(&answer.body));
        std::fs::read_to_string(&heard).ok().filter(|text| text.contains("critical"))
    });
}
