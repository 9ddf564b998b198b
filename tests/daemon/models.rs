//! The model: absent, broken, of another set of references, and put in place while a scan runs.

use std::path::{Path, PathBuf};

use arrow::ipc::reader::StreamReader;
use serde_json::Value;
use tempfile::TempDir;

use crate::feed::Feed;
use crate::rig::{Rig, Setup, references, until};
use crate::script::Script;
use crate::table::{self, folder, manifest};

fn good_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/models/nvpf.onnx")
}

fn setup(dir: &TempDir) -> Setup {
    let model = dir.path().join("model.onnx");
    Setup::new().set("model", &format!("path = {model:?}\nbackend = \"tract\""))
}

/// A file in place of another at once, as a careful operator would.
fn put(path: &Path, content: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Metadata of the latest live map.
fn metadata(rig: &Rig, scan_id: &str, key: &str) -> String {
    let bytes = rig.get(&format!("/api/v1/scans/{scan_id}/phase_map.arrow"));
    let reader = StreamReader::try_new(&bytes[..], None).unwrap();
    reader.schema().metadata()[&format!("phasewatch.{key}")].clone()
}

fn mentions(line: &Value, words: &str) -> bool {
    line["message"].as_str().is_some_and(|message| message.contains(words))
}

/// A whole scan with a model that is no use: it is mapped all the same, and says so.
fn goes_without(rig: &Rig, cause: &str) {
    rig.log.wait("the refusal", |line| {
        line["level"] == "ERROR" && mentions(line, "model refused") && mentions(line, cause)
    });
    let mut script = Script::new("without");
    let mut feed = Feed::push(rig.source());
    feed.send(&script.start());
    feed.send_all(&script.lines(0..11));
    rig.wait_scan("without", "mapped", |scan| scan["generation"].as_u64() > Some(0));
    feed.send_all(&script.lines(11..12));
    feed.send(&script.end());
    let scan = rig.archived("without");
    let notes = scan["notes"].to_string();
    assert!(notes.contains("without a GMVAE") && notes.contains(cause), "{notes}");
    assert_eq!(manifest(&folder(&scan))["map"]["model_sha256"], "");
    assert!(scan["status_counts"]["classified"].as_u64() > Some(0), "{scan}");
}

#[test]
fn a_missing_model_is_said_and_one_put_in_place_is_used_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.onnx");
    let rig = setup(&dir).start_in(dir);
    goes_without(&rig, "model.onnx");
    let mut script = Script::new("with");
    let mut feed = Feed::push(rig.source());
    feed.send(&script.start());
    feed.send_all(&script.lines(0..11));
    rig.wait_scan("with", "mapped", |scan| scan["generation"].as_u64() > Some(0));
    assert_eq!(metadata(&rig, "with", "model_sha256"), "");
    put(&model, &std::fs::read(good_model()).unwrap());
    let sha256 = rig.log.wait("the swap", |line| line["message"] == "model in use")["sha256"].clone();
    until("a generation made with it", || (metadata(&rig, "with", "model_sha256") == sha256).then_some(()));
    assert_eq!(metadata(&rig, "with", "revision_reason"), "model");
    assert_ne!(metadata(&rig, "with", "clusters"), "[]");
    // What is put there next is no model: the good one stays.
    put(&model, b"not a model");
    rig.log.wait("the refusal", |line| mentions(line, "model refused, the one before stays in use"));
    feed.send_all(&script.lines(11..12));
    feed.send(&script.end());
    let archived = folder(&rig.archived("with"));
    assert_eq!(manifest(&archived)["map"]["model_sha256"], sha256);
    let methods = table::words(&table::phase_map(&archived), "method");
    assert!(methods.iter().any(|method| method == "pearson"), "{methods:?}");
}

#[test]
fn a_file_that_is_no_model_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.onnx"), vec![0xaa; 5000]).unwrap();
    goes_without(&setup(&dir).start_in(dir), "model.onnx");
}

#[test]
fn a_model_of_other_references_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(good_model(), dir.path().join("model.onnx")).unwrap();
    let others = dir.path().join("references");
    std::fs::create_dir(&others).unwrap();
    for entry in std::fs::read_dir(references()).unwrap() {
        let path = entry.unwrap().path();
        let mut text = std::fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "csv") {
            text.insert_str(0, "# another set\n");
        }
        std::fs::write(others.join(path.file_name().unwrap()), text).unwrap();
    }
    let setup = setup(&dir).set("references", &format!("dir = {others:?}"));
    goes_without(&setup.start_in(dir), "references");
}
