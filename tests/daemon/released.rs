//! What every released version left on the disk (`tests/fixtures/released`, made by `scripts/released.sh`), read by this one; and what a newer
//! version would leave, left as it is by this one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::feed::Feed;
use crate::http;
use crate::rig::{Rig, Setup, phasewatch, until};
use crate::script::Script;
use crate::table::{folder, manifest, phase_map};

/// The folder of each release.
fn releases() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/released");
    let mut releases: Vec<_> = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    releases.sort();
    assert!(!releases.is_empty());
    releases
}

/// All files below a folder.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

/// A copy of what a release left, where a daemon finds it.
fn copy(release: &Path) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files(release) {
        let to = dir.path().join(path.strip_prefix(release).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, bytes).unwrap();
    }
    dir
}

fn setup() -> Setup {
    Setup::bare()
        .source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.5")
        .set("damage", "least_pixels = 4")
        .set("journal", "record_bytes = 30_000")
}

fn asked(rig: &Rig, path: &str) -> Value {
    serde_json::from_slice(&rig.get(path)).unwrap()
}

fn readyz(rig: &Rig) -> String {
    String::from_utf8(http::get(rig.http, "/readyz").body).unwrap()
}

fn ends(code: i32, args: &[&str]) -> String {
    let output = phasewatch(args);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "phasewatch {args:?}:\n{said}");
    said
}

#[test]
fn a_daemon_goes_on_with_what_every_release_left() {
    for release in releases() {
        let rig = setup().start_in(copy(&release));
        assert_eq!(rig.metric("phasewatch_scans_resumed_total", &[]), 1.0, "{}", release.display());
        assert_eq!(rig.metric("phasewatch_journal_damaged_total", &[]), 0.0);
        let open = rig.wait_scan("open", "running again", |scan| {
            scan["state"] == "running" && scan["measured_values"].as_u64() > Some(0)
        });
        let before = open["measured_values"].as_u64().unwrap();
        // What it knew of alerts and of doses.
        let alerts = until("alerts", || {
            let alerts = asked(&rig, "/api/v1/alerts");
            (!alerts.as_array().unwrap().is_empty()).then_some(alerts)
        });
        assert!(alerts[0]["rule"].as_str().unwrap().contains("released"), "{alerts}");
        assert_eq!(asked(&rig, "/api/v1/silences").as_array().unwrap().len(), 1);
        let doses = asked(&rig, "/api/v1/dose").to_string();
        assert!(doses.contains("\"last_scan\":\"done\""), "{doses}");
        // Its archive, over the API.
        let shelved = asked(&rig, "/api/v1/archive").to_string();
        assert!(shelved.contains("\"done\""), "{shelved}");
        let done = archived_folder(rig.dir(), "done");
        let below = done.strip_prefix(rig.dir().join("archive")).unwrap();
        let part = |name: &str| {
            let part = below.iter().find_map(|part| part.to_str().unwrap().strip_prefix(&format!("{name}=")));
            part.unwrap().to_owned()
        };
        let address = format!("/api/v1/archive/{}/{}/{}", part("beamline"), part("date"), part("scan"));
        let one = asked(&rig, &address).to_string();
        assert!(one.contains("released"), "{one}");
        assert!(asked(&rig, &format!("{address}/pixel.json?row=3&column=3")).is_object());
        // The messages of the open scan once more, those that it has among them, and the rest.
        let messages = rig.dir().join("messages.arrows");
        ends(0, &["replay", messages.to_str().unwrap(), "--connect", rig.source(), "--speed", "0"]);
        let scan = rig.wait_scan("open", "archived whole", |scan| {
            scan["state"] == "archived" && scan["outcome"]["status"] == "complete"
        });
        assert!(scan["measured_values"].as_u64().unwrap() > before);
        let manifest = manifest(&folder(&scan));
        assert_eq!(manifest["gaps"], json!([]));
        let energies = manifest["plan"]["energies_ev"].as_array().unwrap().len();
        assert_eq!(scan["measured_values"], json!(64 * energies));
        // What was known of its place was read, and has both now.
        let places: String = until("both at their place", || {
            let kept = files(&rig.dir().join("state/damage")).into_values();
            let text: String = kept.map(|bytes| String::from_utf8(bytes).unwrap()).collect();
            text.contains("\"open\"").then_some(text)
        });
        assert!(places.contains("\"done\""), "{places}");
        let told = readyz(&rig);
        assert!(!told.contains("newer") && !told.contains("damage"), "{told}");
    }
}

/// The folder of an archived scan below `archive`.
fn archived_folder(dir: &Path, scan_id: &str) -> PathBuf {
    let is_it = |path: &Path| path.ends_with(format!("scan={scan_id}/manifest.json"));
    let found = files(&dir.join("archive")).into_keys().find(|path| is_it(path)).unwrap();
    found.parent().unwrap().to_owned()
}

#[test]
fn commands_read_what_every_release_left_and_change_nothing() {
    for release in releases() {
        let dir = copy(&release);
        let before = files(dir.path());
        let [root, journal] = ["archive", "state/journal/done"].map(|name| dir.path().join(name));
        let root = root.to_str().unwrap();
        let listed = ends(0, &["archive", "list", "--root", root]);
        assert!(listed.contains("done") && listed.contains("complete"), "{listed}");
        ends(0, &["archive", "verify", "--root", root]);
        let out = tempfile::tempdir().unwrap();
        let [page, replayed] = ["page.html", "replayed"].map(|name| out.path().join(name));
        ends(0, &["report", "--archive", root, "--out", page.to_str().unwrap()]);
        assert!(std::fs::read_to_string(page).unwrap().contains("done"));
        ends(0, &["replay", journal.to_str().unwrap(), "--out", replayed.to_str().unwrap()]);
        assert_eq!(
            phase_map(&replayed).num_rows(),
            phase_map(&archived_folder(dir.path(), "done")).num_rows()
        );
        assert!(files(dir.path()) == before, "{}: something was changed", release.display());
    }
}

#[test]
fn a_state_directory_of_a_newer_version_is_refused_and_not_touched() {
    for (release, journal) in releases().iter().flat_map(|release| [(release, true), (release, false)]) {
        let dir = copy(release);
        let state = dir.path().join("state");
        std::fs::write(state.join("format"), "phasewatch-state/9\n").unwrap();
        let before = files(&state);
        let config = dir.path().join("phasewatch.toml");
        let references = crate::rig::references();
        let text = format!(
            "[[source]]\nkind = \"stxm-stream\"\nbind = \"tcp://127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [publish]\nbind = \"tcp://127.0.0.1:0\"\n[references]\ndir = {references:?}\n\
             [journal]\nenabled = {journal}\n[daemon]\nstate_dir = \"state\"\n[archive]\nroot = \"archive\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let said = ends(69, &["run", "--config", config.to_str().unwrap()]);
        assert!(said.contains("phasewatch-state/9") && said.contains("newer phasewatch"), "{said}");
        let said = ends(69, &["doctor", "--config", config.to_str().unwrap()]);
        assert!(said.contains("newer phasewatch"), "{said}");
        assert!(files(&state) == before, "something was changed");
    }
}

/// Puts another number to the format that a file says it has.
fn make_newer(path: &Path, format: &str) {
    let bytes = std::fs::read(path).unwrap();
    let name = format!("{format}/");
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes());
    let at = at.unwrap_or_else(|| panic!("{}: no {name}", path.display())) + name.len();
    assert!(bytes[at].is_ascii_digit() && !bytes[at + 1].is_ascii_digit(), "a number of one digit");
    std::fs::write(path, [&bytes[..at], b"9", &bytes[at + 1..]].concat()).unwrap();
}

#[test]
fn files_of_a_newer_version_stay_as_they_are_and_all_else_goes_on() {
    for release in releases() {
        let dir = copy(&release);
        let mut newer = Vec::new();
        for path in files(dir.path()).into_keys() {
            let below = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
            let name = path.file_name().unwrap().to_str().unwrap();
            let format = match name {
                "archived.json" => "phasewatch-archived",
                "pinned.json" if below.contains("/open/") => "phasewatch-journal",
                "manifest.json" => "phasewatch-archive",
                "beam.arrows" => "phasewatch-raw",
                _ if below.starts_with("state/alerts/") => "phasewatch-alerts",
                _ if below.starts_with("state/damage/") => "phasewatch-places",
                _ if below.starts_with("state/dose/") => "phasewatch-dose",
                _ => continue,
            };
            make_newer(&path, format);
            newer.push(format);
        }
        newer.sort_unstable();
        assert_eq!(newer.len(), 8, "{newer:?}");
        let before = files(dir.path());
        let rig = setup().start_in(dir);
        assert_eq!(rig.metric("phasewatch_scans_resumed_total", &[]), 0.0);
        assert!(rig.scan("open").is_none() && asked(&rig, "/api/v1/alerts") == json!([]));
        assert!(!asked(&rig, "/api/v1/archive").to_string().contains("\"done\""));
        let listed = ends(65, &["archive", "list", "--root", rig.dir().join("archive").to_str().unwrap()]);
        assert!(listed.contains("newer phasewatch"), "{listed}");
        ends(65, &["replay", rig.dir().join("state/journal/open").to_str().unwrap(), "--out", "/nowhere"]);
        // A scan of the same place, and one with the id of the archived one: they are received, mapped, archived.
        let scenario = rig.dir().join("scenario.toml");
        let simulate = |id: &str| {
            let scenario = scenario.to_str().unwrap();
            ends(
                0,
                &[
                    "simulate",
                    "--scenario",
                    scenario,
                    "--connect",
                    rig.source(),
                    "--speed",
                    "0",
                    "--scan-id",
                    id,
                ],
            );
            rig.archived(id)
        };
        simulate("next");
        simulate("done");
        let mut script = Script::new("other");
        Feed::push(rig.source()).send_all(&script.whole());
        rig.archived("other");
        // The alert that a newer version knows is told again, and not kept.
        let bearer = rig.bearer();
        let alert = r#"{"level": "warning", "name": "released"}"#;
        let told = http::post(rig.http, "/api/v1/alerts/test", &[&bearer], alert);
        assert_eq!(told.status, 200, "{told:?}");
        let told = readyz(&rig);
        for what in ["journal/9", "alerts/9", "places/9", "dose/9", "archive/9"] {
            assert!(told.contains(&format!("phasewatch-{what}")), "{what}: {told}");
        }
        assert!(rig.log.text().contains("phasewatch-raw/9"));
        let ended = rig.stop("TERM");
        assert_eq!(ended.code, Some(0), "{}", ended.log.text());
        let mut after = files(ended.dir.path());
        for (path, bytes) in before {
            // The journal of the scan with the id of another was moved aside, with all that it holds.
            let aside = PathBuf::from(path.to_str().unwrap().replace("/journal/done/", "/journal/done~2/"));
            let now = after.remove(&aside).or_else(|| after.remove(&path));
            assert!(now.as_ref() == Some(&bytes), "{} was changed", path.display());
        }
    }
}
