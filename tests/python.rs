//! What others see of us through Python's own readers: examples, golden messages, tables, archive, model.
//!
//! The tests make themselves a virtual environment below the target directory, once. Where that is not possible they
//! fail; `PHASEWATCH_SKIP_PYTHON=1` skips them.

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

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::channel;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Float32Type;
use phasewatch::recording::{RecordedPlane, Recording};
use phasewatch::reference::ReferenceSet;
use serde_json::{Value, json};

use feed::Feed;
use rig::{PATIENCE, PHASEWATCH, Setup, references};
use script::{I0, Message, Script, floats};
use venv::{ALONE, PACKAGES};

/// For pickles as numpy wrote them before its version 2.
const OLD_PACKAGES: [&str; 2] = ["numpy<2", "pyzmq"];

static OLD_PYTHON: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| venv::environment("python-numpy1", &OLD_PACKAGES, &[]));

static PYTHON: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| venv::environment("python", &PACKAGES, &ALONE));

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter; `None` where these tests are to be skipped.
fn python() -> Option<&'static Path> {
    venv::interpreter(&PYTHON, &PACKAGES)
}

/// Runs a script to its end and returns what it printed.
fn run(python: &Path, script: &str, args: &[&str]) -> String {
    let output = Command::new(python).arg(repository().join(script)).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{script}: {}\n{said}", output.status);
    said
}

#[test]
fn the_readme_shows_the_examples_as_they_are() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for example in ["subscribe", "publish"] {
        let code = std::fs::read_to_string(repository().join(format!("examples/{example}.py"))).unwrap();
        assert!(readme.contains(&format!("```python\n{code}```\n")), "README.md shows another {example}.py");
    }
}

#[test]
fn the_golden_messages_keep_their_schema() {
    let Some(python) = python() else { return };
    run(python, "tests/python/check_golden.py", &[repository().join("proto").to_str().unwrap()]);
}

#[test]
fn other_readers_take_the_channels_of_an_area_detector() {
    let Some(python) = python() else { return };
    let regions = "bright_field = { centre = [3.5, 3.5], outer = 4 }\ndark_field = { y = [0, 1], x = [0, 1] }\nmoments = true";
    let rig = Setup::new().set("detector", regions).start();
    let scenario = rig.dir().join("area.toml");
    let text = "seed = 3\nbeamline = \"simulated\"\nsample = \"drawn\"\n[scan]\nshape = [9, 11]\n\
                energies = [{ from_ev = 510.0, to_ev = 526.0, step_ev = 2.0 }]\n[beam]\nphotons = 3000.0\n\
                [detector]\nkind = \"area\"\nframe_shape = [8, 8]\n";
    std::fs::write(&scenario, text).unwrap();
    let args = ["simulate", "--connect", rig.source(), "--speed", "0", "--scan-id", "packed"];
    let args = args.into_iter().chain(["--encoding", "bslz4", "--scenario", scenario.to_str().unwrap()]);
    let output = Command::new(PHASEWATCH).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let scan = rig.archived("packed");
    assert_eq!(scan["outcome"]["status"], "complete", "{scan}");
    assert_eq!(rig.metric("phasewatch_frames_reduced_total", &[]), 9.0 * 99.0);
    run(python, "tests/python/check_channels.py", &[table::folder(&scan).to_str().unwrap()]);
}

#[test]
fn the_examples_talk_to_the_daemon() {
    let Some(python) = python() else { return };
    let rig = Setup::new().start();
    let mut subscriber = Command::new(python)
        .arg(repository().join("examples/subscribe.py"))
        .arg(&rig.publish)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (lines, seen) = channel();
    let stdout = subscriber.stdout.take().unwrap();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).all(|line| lines.send(line).is_ok())
    });
    assert!(seen.recv_timeout(PATIENCE).unwrap().starts_with("waiting for phase maps"));
    // What is published before the subscription has arrived is gone: scans are published until one is seen.
    let heard = (0..20).find_map(|number| {
        let scan_id = format!("example-{number}");
        run(python, "examples/publish.py", &[rig.source(), &scan_id]);
        let scan = rig.archived(&scan_id);
        assert_eq!(scan["outcome"]["status"], "complete", "{scan}");
        let mut said = Vec::new();
        while let Ok(line) = seen.recv_timeout(std::time::Duration::from_millis(500)) {
            said.push(line);
        }
        (!said.is_empty()).then(|| said.join("\n"))
    });
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
    let heard = heard.unwrap();
    assert!(heard.contains("12 of 12 energies"), "{heard}");
    assert!(heard.contains("'na2.4': ") && heard.contains("'classified': "), "{heard}");
}

#[test]
fn zmq_http_and_archive_give_other_readers_the_same_tables() {
    let Some(python) = python() else { return };
    let rig = Setup::new().start();
    let (http, archive) = (rig.http.to_string(), rig.dir().join("archive"));
    let args = [rig.source(), &rig.publish, &http, archive.to_str().unwrap()];
    run(python, "tests/python/check_tables.py", &args);
    let ended = rig.stop("TERM");
    assert_eq!(ended.code, Some(0), "{}", ended.log.text());
}

/// libzmq with heartbeats that have to be answered before the next, as the sender of a whole scan and as a listener:
/// no connection breaks, and nothing is lost.
#[test]
fn heartbeats_of_libzmq_cost_nothing() {
    let Some(python) = python() else { return };
    let (pull, sub) =
        ("bind = \"tcp://127.0.0.1:0\"", "socket = \"sub\"\ntopic = \"stxm\"\nbind = \"tcp://127.0.0.1:0\"");
    let rig = Setup::bare()
        .source("push-100", pull)
        .source("push-300", pull)
        .source("pub-100", sub)
        .source("pub-300", sub)
        .start();
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for (kind, interval_ms) in [("push", "100"), ("push", "300"), ("pub", "100"), ("pub", "300")] {
            let (rig, dir) = (&rig, dir.path());
            scope.spawn(move || {
                let scan_id = format!("{kind}-{interval_ms}");
                let hex =
                    |part: &bytes::Bytes| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                let messages: Vec<Vec<String>> = Script::new(&scan_id)
                    .whole()
                    .iter()
                    .map(|message| message.parts.iter().map(hex).collect())
                    .collect();
                let path = dir.join(&scan_id);
                std::fs::write(&path, json!(messages).to_string()).unwrap();
                let path = path.to_str().unwrap();
                let args = [path, kind, &rig.sources[&scan_id], &rig.publish, &scan_id, interval_ms];
                run(python, "tests/python/heartbeats.py", &args);
                let scan = rig.archived(&scan_id);
                assert_eq!(
                    (&scan["outcome"]["status"], &scan["gaps"], &scan["measured_values"]),
                    (&json!("complete"), &json!([]), &json!(12 * 24)),
                    "{scan}"
                );
            });
        }
    });
    for metric in ["phasewatch_source_peer_errors_total", "phasewatch_source_reconnects_total"] {
        assert_eq!(rig.metric(metric, &[]), 0.0, "{metric}");
    }
}

#[test]
fn a_sender_in_python_is_asked_for_what_it_lost() {
    let Some(python) = python() else { return };
    let rig = Setup::new().set("source", "grace_s = 0.3\nresend_after_s = 1.5").start();
    let said = run(python, "tests/python/check_resend.py", &[rig.source(), "from-python"]);
    assert!(said.starts_with("11 messages were lost and asked for in "), "{said}");
    let scan = rig.archived("from-python");
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    assert_eq!(scan["measured_values"], 8 * 24);
}

#[test]
fn h5py_and_mantis_read_the_archived_scan() {
    let Some(python) = python() else { return };
    let rig = Setup::new().start();
    // A line is missing, and what came differs in its I0.
    let messages: Vec<_> =
        Script::new("nexus")
            .whole()
            .into_iter()
            .enumerate()
            .filter(|(index, _)| *index != 7)
            .map(|(index, message)| {
                if message.parts.len() == 1 { message } else { message.with("i0", json!(I0 + index as f32)) }
            })
            .collect();
    Feed::push(rig.source()).send_all(&messages);
    let scan = rig.archived("nexus");
    let folder = table::folder(&scan);
    run(python, "tests/python/check_nexus.py", &[folder.to_str().unwrap()]);
}

#[test]
fn files_of_others_are_read_or_refused_by_name() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    run(python, "tests/python/write_nexus.py", &[dir.path().to_str().unwrap()]);
    let expected = std::fs::read(dir.path().join("expected.json")).unwrap();
    let expected: Vec<Value> = serde_json::from_slice(&expected).unwrap();
    assert!(expected.len() > 100);
    for wanted in &expected {
        let file = wanted["file"].as_str().unwrap();
        let read = Recording::load(&dir.path().join(file));
        if let Some(words) = wanted["error"].as_array() {
            let Err(error) = read else { panic!("{file} is accepted") };
            let error = error.to_string();
            for word in words {
                assert!(error.contains(word.as_str().unwrap()), "{file}: {error}");
            }
        } else {
            let read = read.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_read(file, &read, wanted);
        }
    }
}

/// Compares a recording with what was to be read; what `wanted` does not name is not there.
fn assert_read(file: &str, read: &Recording, wanted: &Value) {
    let values = |of: fn(&RecordedPlane) -> &Vec<f32>| -> Vec<Option<f32>> {
        let pixels = read.plan.grid.pixels();
        let value =
            |plane: &RecordedPlane, pixel: usize| of(plane).get(pixel).copied().filter(|v| !v.is_nan());
        read.planes.iter().flat_map(|plane| (0..pixels).map(move |pixel| value(plane, pixel))).collect()
    };
    let same = |what: &str, found: &Value, wanted: &Value| {
        let near = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * b.abs().max(1e-3),
            _ => a == b,
        };
        let same = match (found, wanted) {
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b))
            }
            (a, b) => near(a, b),
        };
        assert!(same, "{file}: {what} is {found} instead of {wanted}");
    };
    let plan = &read.plan;
    same("counts", &json!(values(|plane| &plane.values)), &wanted["counts"]);
    let i0 = values(|plane| &plane.i0);
    let nothing = json!(vec![Value::Null; i0.len()]);
    same("i0", &json!(i0), if wanted["i0"].is_null() { &nothing } else { &wanted["i0"] });
    same("energies", &json!(plan.energies_ev), &wanted["energies_ev"]);
    same("dwell", &json!(plan.dwell_ms), &wanted["dwell_ms"]);
    same("x", &json!([plan.grid.x.start, plan.grid.x.step]), &wanted["x"]);
    same("y", &json!([plan.grid.y.start, plan.grid.y.step]), &wanted["y"]);
    same("unit", &json!(plan.grid.unit), &wanted["unit"]);
    same("signal", &json!(plan.detector.signal), &wanted["signal"]);
    same("beamline", &json!(plan.beamline), &wanted["beamline"]);
    same("start", &json!(plan.started), &wanted["started"]);
    let kind = if wanted["i0_kind"].is_null() { json!("open_beam") } else { wanted["i0_kind"].clone() };
    same("kind of I0", &json!(plan.i0_kind), &kind);
    let current: Vec<_> = read.planes.iter().map(|plane| plane.ring_current_ma).collect();
    let nothing = json!(vec![Value::Null; current.len()]);
    let wanted_current =
        if wanted["ring_current_ma"].is_null() { &nothing } else { &wanted["ring_current_ma"] };
    same("ring current", &json!(current), wanted_current);
    let warnings = wanted["warnings"].as_array().unwrap();
    assert_eq!(read.warnings.len(), warnings.len(), "{file}: {:?}", read.warnings);
    for (found, wanted) in read.warnings.iter().zip(warnings) {
        assert!(found.contains(wanted.as_str().unwrap()), "{file}: {found}");
    }
}

/// Spectra of the references and of mixtures, with a few values missing.
fn spectra() -> Value {
    let set = ReferenceSet::load(&references()).unwrap();
    let energies_ev: Vec<f64> = (0..40).map(|index| 508.0 + 0.6 * f64::from(index)).collect();
    let mut od = Vec::new();
    for first in 0..set.len() {
        for second in 0..set.len() {
            let value = |(index, energy_ev): (usize, &f64)| {
                let all = set.od_at(*energy_ev)?;
                let noise = ((index * 37 + first * 11 + second * 5) % 17) as f64 / 17.0 - 0.5;
                (index % 7 != second).then_some(0.7 * all[first] + 0.3 * all[second] + 0.01 * noise)
            };
            od.push(energies_ev.iter().enumerate().map(value).collect::<Vec<_>>());
        }
    }
    let sigma: Vec<Vec<_>> = od.iter().map(|row| row.iter().map(|od| od.map(|_| 0.01)).collect()).collect();
    json!({ "energies_ev": energies_ev, "od": od, "sigma": sigma })
}

fn library(python: &Path) -> PathBuf {
    let find = "import glob, onnxruntime, os; \
                print(sorted(glob.glob(os.path.dirname(onnxruntime.__file__) + '/capi/libonnxruntime.so.*'))[0])";
    let output = Command::new(python).args(["-c", find]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn answers(model: &Path, input: &Path, more: &[&str]) -> (String, Value) {
    let output = Command::new(PHASEWATCH)
        .args(["model", "run"])
        .arg(model)
        .arg("--input")
        .arg(input)
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn largest_difference(one: &Value, other: &Value) -> f64 {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len());
            one.iter().zip(other).map(|(one, other)| largest_difference(one, other)).fold(0.0, f64::max)
        }
        (Value::Null, Value::Null) => 0.0,
        _ => (one.as_f64().unwrap() - other.as_f64().unwrap()).abs(),
    }
}

/// The archived map of a faint scan, whose pixels are doubtful, and what ran the model.
fn faint_map(model_settings: &str) -> (RecordBatch, String) {
    let model = repository().join("config/models/nvpf.onnx");
    let rig = Setup::new().set("model", &format!("path = {model:?}\n{model_settings}")).start();
    let line = rig.log.wait("the model", |line| line["message"] == "model in use");
    // A hundredth of the light: the phases can hardly be told apart.
    let faint = |message: &Message| {
        if message.parts.len() == 1 {
            return message.clone();
        }
        let values: Vec<f32> =
            message.parts[1].as_chunks().0.iter().map(|b| (f32::from_le_bytes(*b) / 100.0).round()).collect();
        message.clone().part(1, floats(&values)).with("i0", json!(I0 / 100.0))
    };
    let messages: Vec<_> = Script::new("faint").whole().iter().map(faint).collect();
    Feed::push(rig.source()).send_all(&messages);
    let scan = rig.archived("faint");
    (table::phase_map(&table::folder(&scan)), line["engine"].as_str().unwrap().to_owned())
}

#[test]
fn the_daemon_makes_the_same_map_with_either_engine() {
    let Some(python) = python() else { return };
    let runtime = format!("backend = \"onnxruntime\"\nlibrary = {:?}", library(python));
    let (one, tract) = faint_map("backend = \"tract\"");
    let (other, runtime) = faint_map(&runtime);
    assert_ne!(tract, runtime);
    for column in ["status", "phase", "method"] {
        assert_eq!(table::words(&one, column), table::words(&other, column), "{column}");
    }
    let posterior = |table: &RecordBatch| -> Vec<Option<f32>> {
        let lists = table.column_by_name("posterior").unwrap().as_list::<i32>();
        lists.values().as_primitive::<Float32Type>().iter().collect()
    };
    let (one, other) = (posterior(&one), posterior(&other));
    assert!(!one.is_empty(), "the model was not asked");
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(&other) {
        assert!((one.unwrap() - other.unwrap()).abs() < 1e-5, "{one:?} {other:?}");
    }
}

#[test]
fn onnx_runtime_and_tract_give_the_same_answers() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let model = repository().join("config/models/nvpf.onnx");
    let input = dir.path().join("spectra.json");
    std::fs::write(&input, spectra().to_string()).unwrap();
    let library = library(python);
    let (text, tract) = answers(&model, &input, &["--backend", "tract"]);
    let runtime = ["--backend", "onnxruntime", "--library", library.to_str().unwrap()];
    let (_, runtime) = answers(&model, &input, &runtime);
    assert_ne!(tract["engine"], runtime["engine"]);
    assert!(tract["cluster_posterior"].as_array().unwrap().iter().all(Value::is_array), "all were asked");
    for output in ["cluster_posterior", "latent_mean"] {
        let difference = largest_difference(&tract[output], &runtime[output]);
        assert!(difference < 1e-5, "{output}: {difference}");
    }
    let kept = dir.path().join("answers.json");
    std::fs::write(&kept, text).unwrap();
    run(python, "tests/python/check_model.py", &[model.to_str().unwrap(), kept.to_str().unwrap()]);
}

#[test]
fn the_api_is_as_it_is_described() {
    let Some(python) = python() else { return };
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("described").whole());
    rig.archived("described");
    let said =
        run(python, "tests/python/openapi.py", &[&format!("http://{}", rig.http), &rig.token(), "described"]);
    assert!(said.contains("paths"), "{said}");
}

/// CPython's own pickles, of numpy 1 and 2, over libzmq: into the archive, value by value.
#[test]
fn pickles_of_a_sender_in_python_become_a_scan() {
    let (Some(new), Some(old)) = (python(), venv::interpreter(&OLD_PYTHON, &OLD_PACKAGES)) else { return };
    for (python, protocol) in [(new, "4"), (new, "5"), (old, "4"), (old, "5"), (old, "2")] {
        let mut peer = Command::new(python)
            .arg(repository().join("tests/python/speak_pystxmcontrol.py"))
            .arg(protocol)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let address = BufReader::new(peer.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let rig = Setup::bare().source_of("pystxmcontrol", "stxm", &format!("connect = {address:?}")).start();
        let scan = rig.archived("NS_1-20260504T030201-500");
        assert_eq!(scan["outcome"]["status"], "complete", "{scan}");
        // One line of the six images was missed.
        assert_eq!((&scan["measured_values"], &scan["sample"]), (&json!(6 * 20 - 5), &json!("from Python")));
        assert_eq!((&scan["simulated"], &scan["untrusted"]), (&json!(false), &Value::Null), "{scan}");
        let folder = table::folder(&scan);
        let plan = &table::manifest(&folder)["plan"];
        assert_eq!(plan["energies_ev"], json!([510.0, 512.0, 514.0, 516.0, 518.0, 523.0]));
        assert_eq!(plan["dwell_ms"], json!([1.5, 1.5, 1.5, 1.5, 2.5, 2.5]));
        assert_eq!(plan["grid"]["y"]["start"], 0.15);
        assert!((plan["grid"]["y"]["step"].as_f64().unwrap() + 0.1).abs() < 1e-9, "{plan}");
        let stack = table::read(&folder.join("stack.parquet"));
        let counts = stack.column_by_name("counts").unwrap().as_list::<i32>();
        for pixel in 0..20 {
            let found: Vec<_> = counts.value(pixel).as_primitive::<Float32Type>().iter().collect();
            let (row, column) = (pixel / 5, pixel % 5);
            let wanted = |energy: usize| {
                ((energy, row) != (3, 1)).then_some((1000 * (energy + 1) + 10 * row + column) as f32)
            };
            assert_eq!(found, (0..6).map(wanted).collect::<Vec<_>>(), "pixel {pixel}");
        }
        assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0);
        drop(rig);
        peer.kill().unwrap();
        peer.wait().unwrap();
    }
}

/// Frames packed and written by other people's libraries, over libzmq: into the archive, value by value.
#[test]
fn frames_of_a_detector_in_python_become_a_scan() {
    let Some(python) = python() else { return };
    for (dtype, block) in
        [("uint8", "0"), ("uint16", "0"), ("uint16", "64"), ("uint32", "0"), ("uint32", "24")]
    {
        let mut peer = Command::new(python)
            .arg(repository().join("tests/python/speak_dectris.py"))
            .args([dtype, block])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let address = BufReader::new(peer.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let rig = Setup::bare()
            .source_of("dectris", "detector", &format!("connect = {address:?}\ngrace_s = 0.5"))
            .start();
        let scan = rig.archived("from-python");
        assert_eq!(
            (&scan["measured_values"], &scan["sample"]),
            (&json!(17), &json!("from Python")),
            "{scan}"
        );
        assert_eq!(
            (&scan["outcome"]["status"], &scan["untrusted"]),
            (&json!("complete"), &Value::Null),
            "{scan}"
        );
        let folder = table::folder(&scan);
        let plan = &table::manifest(&folder)["plan"];
        assert_eq!((&plan["dwell_ms"], &plan["grid"]["y"]["step"]), (&json!([1.5, 1.5, 1.5]), &json!(-0.1)));
        let stack = table::read(&folder.join("stack.parquet"));
        let counts = stack.column_by_name("counts").unwrap().as_list::<i32>();
        for pixel in 0..6 {
            let found: Vec<_> = counts.value(pixel).as_primitive::<Float32Type>().iter().collect();
            // Masked, saturated and without data: left out.
            let sum = |number: usize| {
                (0..13 * 11)
                    .filter(|pixel| ![5, 9, 11].contains(pixel))
                    .map(|pixel| (number + pixel) % 7)
                    .sum::<usize>()
            };
            let wanted = |energy: usize| {
                let number = energy * 6 + pixel;
                (number != 7).then_some(sum(number) as f32)
            };
            assert_eq!(found, (0..3).map(wanted).collect::<Vec<_>>(), "{dtype} pixel {pixel}");
        }
        // The one that strayed in from a series nobody heard of.
        assert_eq!(rig.metric("phasewatch_messages_refused_total", &["reason=\"no_start\""]), 1.0);
        assert_eq!(rig.metric("phasewatch_frames_dropped_total", &[]), 1.0);
        drop(rig);
        peer.kill().unwrap();
        peer.wait().unwrap();
    }
}

#[test]
fn a_tee_hands_the_messages_of_libzmq_to_libzmq() {
    let Some(python) = python() else { return };
    let any = "tcp://127.0.0.1:0";
    let mut tee = Command::new(PHASEWATCH)
        .args(["tee", "--from", any, "--bind-from", "--to", any, "--to", any])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tee.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = |prefix: &str| {
        let line = lines.find_map(|line| line.strip_prefix(prefix).map(str::to_owned)).unwrap();
        line.split(' ').next().unwrap().to_owned()
    };
    let [one, other, input] = ["output ", "output ", "input "].map(&mut said);
    std::thread::spawn(move || lines.for_each(drop));
    run(python, "tests/python/check_tee.py", &[&input, &one, &other]);
    let sent = Command::new("kill").arg("-TERM").arg(tee.id().to_string()).status();
    assert!(sent.unwrap().success());
    let output = tee.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.matches("delivered 500 messages").count() == 2, "{told}");
}

#[test]
fn the_notebook_reads_the_findings_of_an_archive() {
    let Some(python) = python() else { return };
    let rig = Setup::new().start();
    Feed::push(rig.source()).send_all(&Script::new("notebook").whole());
    rig.archived("notebook");
    let (archive, out) = (rig.dir().join("archive"), rig.dir().join("figures"));
    run(python, "examples/findings.py", &[archive.to_str().unwrap(), out.to_str().unwrap()]);
    for figure in ["particles.svg", "boundaries.svg", "particles.csv", "boundaries.csv"] {
        assert!(std::fs::metadata(out.join(figure)).unwrap().len() > 0, "{figure}");
    }
}
