//! What a bad day is looked at with: `/readyz`, and the archive of one scan to the byte.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::feed::Feed;
use crate::http;
use crate::rig::{Rig, Setup, until};
use crate::script::{Message, Script};

/// A source whose scans end soon after their end.
pub const BIND: &str = "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3";

/// Files of an archived scan.
const FILES: [&str; 8] = [
    "energies.parquet",
    "findings.json",
    "particles.parquet",
    "phase_map.parquet",
    "phase_map.png",
    "scan.nxs",
    "spectra.parquet",
    "stack.parquet",
];

/// A daemon to be, with one source.
pub fn setup() -> Setup {
    Setup::bare().source("beam", BIND)
}

/// A folder.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Values of a line of that scan: so many that a few lines are more than what is left of a block of a full disk.
pub const LINE: u64 = 120;

/// The messages of the scan that most days begin with: its start, 48 lines, its end.
pub fn messages() -> Vec<Message> {
    Script::new("same").grid(4, LINE as usize).whole()
}

/// The files of an archived scan.
pub fn files(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let read = |file: &'static str| {
        let path = folder.join(file);
        (file, std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    FILES.into_iter().map(read).collect()
}

/// Where a scan of this script lies in an archive, if it is there.
pub fn place(archive: &Path, scan_id: &str) -> std::path::PathBuf {
    archive.join(format!("beamline=test-1/date=2026-05-04/scan={scan_id}"))
}

/// The files of `messages` on a good day.
pub fn good_day(messages: &[Message], scan_id: &str) -> Vec<(&'static str, Vec<u8>)> {
    let rig = setup().start();
    Feed::push(rig.source()).send_all(messages);
    rig.wait_scan(scan_id, "archived whole", is_whole);
    files(&place(&rig.dir().join("archive"), scan_id))
}

/// Whether a scan is archived, complete and with nothing missing.
pub fn is_whole(scan: &Value) -> bool {
    scan["state"] == "archived"
        && scan["outcome"]["status"] == "complete"
        && scan["gaps"] == serde_json::json!([])
}

/// Asserts that a scan's files are those of a good day.
pub fn assert_same(good: &[(&'static str, Vec<u8>)], folder: &Path) {
    for ((file, good), (_, own)) in good.iter().zip(files(folder)) {
        assert!(*good == own, "{file} differs in {}", folder.display());
    }
}

/// What `/readyz` says: the status code and the troubles, in words.
pub fn readyz(rig: &Rig) -> (u16, Vec<(String, String)>) {
    let answer = http::get(rig.http, "/readyz");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let word = |trouble: &Value, key: &str| trouble[key].as_str().unwrap().to_owned();
    let troubles = body["troubles"].as_array().unwrap();
    (answer.status, troubles.iter().map(|trouble| (word(trouble, "part"), word(trouble, "what"))).collect())
}

/// Waits until `/readyz` answers 503 and a part says something with these words; returns all of that. `/healthz` stays well.
pub fn wait_trouble(rig: &Rig, part: &str, words: &str) -> String {
    let what = until(&format!("trouble of {part}"), || {
        let (code, troubles) = readyz(rig);
        let (_, what) = troubles.into_iter().find(|(own, _)| own == part)?;
        (code == 503).then_some(what)
    });
    assert!(what.contains(words), "{what}");
    assert_eq!(http::get(rig.http, "/healthz").status, 200, "it is alive");
    what
}

/// Waits until nothing troubles it.
pub fn wait_well(rig: &Rig) {
    until("no trouble", || (readyz(rig) == (200, Vec::new())).then_some(()));
}

/// Names in a folder, sorted; none where it is not there.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
