//! The inputs that fuzzing starts from: the golden messages, references, configuration and HDF5 fixtures of the project, and what its own
//! writers write.

use std::path::Path;

use bytes::Bytes;
use chrono::DateTime;
use phasewatch::journal::{EVENTS, FORMAT, LEDGER, Line, Pinned, ScanWriter, What};
use phasewatch::scan::{
    Axis, BadPixels, Channel, DType, Detector, DetectorKind, Encoding, FrameBatch, Grid, I0, Outcome, Pixels,
    SampleBatch, ScanPlan, ScanUpdate,
};
use phasewatch::source::bluesky::encode as bluesky;
use phasewatch::source::dectris::encode::{self as dectris, Announced, Packed};
use phasewatch::source::desy::encode as desy;
use phasewatch::source::pixelator::encode as pixelator;
use phasewatch::source::pystxmcontrol::encode as pystxmcontrol;
use phasewatch::source::raw_log::{RawLog, Recorded};
use prost::Message as _;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};

/// What the file system says.
type Outcomes = std::io::Result<()>;

/// Writes `<to>/<target>/…`; `project` is where the repository is.
pub fn write(to: &Path, project: &Path) -> Outcomes {
    let scratch = tempfile::tempdir()?;
    messages(to, project)?;
    formats(to, project)?;
    zmtp(to, project)?;
    journal(to, scratch.path())?;
    settings(to, project)?;
    references(to, project)?;
    als(to)?;
    for entry in std::fs::read_dir(project.join("tests/fixtures/hdf5"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension != "md") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            put(to, "hdf5", &name, &std::fs::read(&path)?)?;
        }
    }
    for (name, bytes) in models() {
        put(to, "metadata", name, &bytes)?;
        put(to, "model", name, &bytes)?;
    }
    raw_log(to, scratch.path())
}

fn put(to: &Path, target: &str, name: &str, bytes: &[u8]) -> Outcomes {
    let folder = to.join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(name), bytes)
}

/// The golden messages, as their parts.
fn golden(project: &Path) -> std::io::Result<Vec<(String, Vec<Vec<u8>>)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(project.join("proto/golden"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = vec![std::fs::read(&path)?.trim_ascii_end().to_vec()];
        for part in 1.. {
            let Ok(hex) = std::fs::read_to_string(path.with_file_name(format!("{name}.part{part}.hex")))
            else {
                break;
            };
            let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
            let byte =
                |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).unwrap_or_default();
            parts.push(digits.chunks(2).map(byte).collect());
        }
        all.push((name, parts));
    }
    all.sort();
    Ok(all)
}

const PART: &[u8] = b"\n====\n";
const MESSAGE: &[u8] = b"\n####\n";

fn messages(to: &Path, project: &Path) -> Outcomes {
    let mut whole: [Vec<Vec<u8>>; 2] = Default::default();
    for (name, parts) in golden(project)? {
        for framing in [&b"bare"[..], b"topic"] {
            let mut all = vec![framing.to_vec()];
            all.extend(parts.iter().cloned());
            put(to, "stxm_stream", &format!("{name}-{}", String::from_utf8_lossy(framing)), &all.join(PART))?;
            if framing == b"bare" {
                let is_start = name.starts_with("scan_start");
                for (at, which) in ["point", "area"].iter().enumerate() {
                    if is_start && name.ends_with(which) {
                        whole[at].insert(0, all.join(PART));
                    } else if !is_start {
                        whole[at].push(all.join(PART));
                    }
                }
            }
        }
    }
    put(to, "stxm_stream", "scan-point", &whole[0].join(MESSAGE))?;
    put(to, "stxm_stream", "scan-area", &whole[1].join(MESSAGE))?;
    let request = [&b"bare"[..], br#"{"scan_id": "a", "seq": [[0, 7], [9, 4294967294]]}"#].join(PART);
    put(to, "stxm_stream", "resend-request", &request)?;
    put(to, "stxm_stream", "resend-sent", &[&b"bare"[..], br#"{"sent": 7}"#].join(PART))?;
    put(to, "stxm_stream", "resend-refused", &[&b"bare"[..], br#"{"error": "unknown scan"}"#].join(PART))
}

/// A small scan in each of the formats of others, and what CPython writes.
fn formats(to: &Path, project: &Path) -> Outcomes {
    let axis = Axis { start: 0.0, step: 0.1 };
    let grid = Grid { shape: [2, 3], x: axis, y: axis, unit: "um".to_owned() };
    let plan = ScanPlan::of_stack("seed".to_owned(), grid, vec![510.0, 512.0], 1.0);
    let whole = |format: &str, messages: Vec<Vec<Vec<u8>>>| {
        let messages = messages.into_iter().map(|parts| parts.join(PART));
        let all: Vec<_> = std::iter::once(format.as_bytes().to_vec()).chain(messages).collect();
        put(to, "formats", format, &all.join(MESSAGE))
    };
    let definition = pystxmcontrol::definition(&plan);
    let line = |energy: usize, row: usize| pystxmcontrol::line(&plan, &definition, energy, row, &[7.0; 6]);
    let pickles = [pystxmcontrol::idle(), line(0, 0), line(1, 1), pystxmcontrol::complete()];
    whole("pystxmcontrol", pickles.into_iter().map(|pickle| vec![pickle]).collect())?;
    let texts = [
        pixelator::channels(&["Counter1"]),
        pixelator::started(&pixelator::request(&plan)),
        pixelator::status("running", 0, 0, &plan),
        pixelator::line([0, 0, 0, 0], [0, 0], [1, 3], &[1.0, f32::NAN, 3.0]),
        pixelator::line([0, 1, 0, 0], [0, 1], [2, 2], &[1.0; 4]),
        pixelator::status("paused", 1, 0, &plan),
        pixelator::aborted(),
    ];
    let bytes = |parts: &Vec<Bytes>| -> Vec<Vec<u8>> { parts.iter().map(|part| part.to_vec()).collect() };
    whole("pixelator", texts.iter().map(bytes).collect())?;
    let document = |name: &str, body: &serde_json::Value| bluesky::message(name, body.to_string().as_bytes());
    let documents = [
        document("start", &bluesky::start(&plan)),
        document("descriptor", &bluesky::descriptor(&plan)),
        bluesky::message("event", &bluesky::event(&plan, 0, 1, &[1.0, f32::NAN, 3.0], DateTime::UNIX_EPOCH)),
        document("stop", &bluesky::stop(&plan, "success")),
    ];
    whole("bluesky", documents.into_iter().map(|document| vec![document]).collect())?;
    let note = serde_json::json!({"stxm": {
        "shape": [2, 3], "x": axis, "y": axis, "energies_ev": [510.0, 512.0], "series": "stack",
    }});
    let series = Announced {
        series: 3,
        unique: "01SEED".to_owned(),
        images: 12,
        shape: [4, 8],
        dtype: DType::Uint16,
        saturation: 1000,
        masked: vec![3, 4],
        count_time_s: 0.001,
        energy_ev: 510.0,
        armed: "2026-05-04T03:02:01Z".to_owned(),
        note: Some(note),
    };
    let frame: Vec<u8> = (0..32_u16).flat_map(|value| (value % 5).to_le_bytes()).collect();
    let packed = Packed::new(DType::Uint16, Encoding::Bslz4, &frame);
    let written =
        |message: Result<Bytes, _>| message.map(|part| vec![vec![part.to_vec()]]).unwrap_or_default();
    let second = [
        dectris::start(&series),
        dectris::image(&series, 0, 0, &packed),
        dectris::image(&series, 7, 7_000_000, &Packed::new(DType::Uint16, Encoding::Lz4, &frame)),
        dectris::end(&series),
    ];
    whole("dectris", second.into_iter().flat_map(written).collect())?;
    let first = [
        dectris::first::start(&series),
        dectris::first::image(&series, 1, 0, &packed),
        dectris::first::image(&series, 5, 0, &Packed::new(DType::Uint16, Encoding::Lz4Block, &frame)),
        dectris::first::end(&series),
    ];
    let messages: Vec<_> = first.iter().map(bytes).collect();
    let all: Vec<_> =
        std::iter::once(b"dectris".to_vec()).chain(messages.iter().map(|parts| parts.join(PART))).collect();
    put(to, "formats", "dectris-first", &all.join(MESSAGE))?;
    let detector = Detector { kind: DetectorKind::Area, frame_shape: Some([1, 2]), ..Detector::default() };
    let of_area = ScanPlan { detector, ..plan.clone() };
    let image = |energy: usize| {
        let frames = (0..6).map(|pixel| desy::frame([1, 2], &[pixel; 2]));
        std::iter::once(desy::metadata(&of_area, energy)).chain(frames).collect::<Vec<_>>()
    };
    whole("desy", [image(0), image(1)].concat().iter().map(bytes).collect())?;
    for entry in std::fs::read_dir(project.join("tests/fixtures/pickle"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let all = [b"pystxmcontrol".to_vec(), std::fs::read(&path)?].join(MESSAGE);
        put(to, "formats", &name, &all)?;
    }
    Ok(())
}

/// What a peer of `socket_type` says first.
fn greeting(socket_type: &str) -> Vec<u8> {
    let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    bytes.extend(b"NULL");
    bytes.resize(64, 0);
    let mut ready = b"\x05READY\x0bSocket-Type".to_vec();
    ready.extend((socket_type.len() as u32).to_be_bytes());
    ready.extend(socket_type.as_bytes());
    ready.extend(b"\x08Identity\x00\x00\x00\x00");
    bytes.extend([4, ready.len() as u8]);
    bytes.extend(ready);
    bytes
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![flags];
    match u8::try_from(body.len()) {
        Ok(short) => bytes.push(short),
        Err(_) => {
            bytes[0] |= 2;
            bytes.extend((body.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(body);
    bytes
}

fn zmtp(to: &Path, project: &Path) -> Outcomes {
    let ping = frame(4, b"\x04PING\x00\x0acontext");
    for (role, kind) in ["PUSH", "PUB", "SUB"].iter().enumerate() {
        let mut bytes = vec![role as u8 + 3 * 5];
        bytes.extend(greeting(kind));
        if *kind == "SUB" {
            bytes.extend(frame(4, b"\x09SUBSCRIBEphase"));
            bytes.extend(&ping);
            bytes.extend(frame(0, b"\x01events"));
            bytes.extend(frame(0, b"\x00events"));
            bytes.extend(frame(4, b"\x06CANCELphase"));
            put(to, "zmtp", "subscriber", &bytes)?;
            continue;
        }
        for (number, (_, parts)) in golden(project)?.into_iter().enumerate() {
            if *kind == "PUB" {
                bytes.extend(frame(1, b"stxm"));
            }
            let last = parts.len() - 1;
            let frames = parts.iter().enumerate().map(|(at, part)| frame(u8::from(at < last), part));
            bytes.extend(frames.flatten());
            if number.is_multiple_of(3) {
                bytes.extend(&ping);
            }
        }
        put(to, "zmtp", &kind.to_lowercase(), &bytes)?;
        let mut giant = vec![role as u8 + 3 * 12];
        giant.extend(greeting(kind));
        giant.extend([2]);
        giant.extend((1_u64 << 62).to_be_bytes());
        giant.extend(frame(2, &[7; 40]));
        put(to, "zmtp", &format!("{}-giant", kind.to_lowercase()), &giant)?;
        let mut large = vec![role as u8 + 3 * 9];
        large.extend(greeting(kind));
        large.extend(frame(1, &[7; 300]));
        large.extend(frame(1, &[]));
        large.extend(frame(0, &[8; 20_000]));
        large.extend(frame(4, b"\x05ERROR\x03why"));
        put(to, "zmtp", &format!("{}-large", kind.to_lowercase()), &large)?;
    }
    Ok(())
}

fn plan() -> ScanPlan {
    let axis = Axis { start: 0.0, step: 0.5 };
    let grid = Grid { shape: [2, 3], x: axis, y: axis, unit: "um".to_owned() };
    ScanPlan::of_stack("test".to_owned(), grid, vec![512.0, 515.4], 1.0)
}

fn lines() -> Vec<Line> {
    let batch = |list: bool, i0| SampleBatch {
        energy_index: 1,
        pixels: if list { Pixels::List(vec![5, 0, 2]) } else { Pixels::Run { first: 3, count: 3 } },
        channel: Channel::Intensity,
        others: Vec::new(),
        values: vec![1.0, f32::NAN, 3.5],
        i0,
        ring_current_ma: list.then_some(499.1),
        energy_ev: Some(515.3),
        time: DateTime::from_timestamp_micros(7),
    };
    let blank = SampleBatch { values: Vec::new(), ..batch(false, I0::None) };
    let frames = FrameBatch::raw(blank, DType::Uint16, &Bytes::from_static(&[1, 2, 3, 4, 5, 6]));
    let updates = [
        ScanUpdate::Started(Box::new(plan())),
        ScanUpdate::Samples(batch(true, I0::Each(vec![1.0, 2.5, 3.0e7]))),
        ScanUpdate::Samples(batch(false, I0::One(1e4))),
        ScanUpdate::Reduced(batch(false, I0::None), BadPixels { dead: vec![1], hot: vec![7, 9] }),
        ScanUpdate::Frames(frames),
        ScanUpdate::Extended { energies_ev: vec![531.1], dwell_ms: Some(vec![0.1]), flux_ph_per_s: None },
        ScanUpdate::Paused,
        ScanUpdate::Resumed,
        ScanUpdate::Ended(Outcome::Aborted { reason: Some("beam dump".to_owned()) }),
        ScanUpdate::Skipped,
    ];
    let all = updates.into_iter().map(What::Update).chain([What::Closed(Outcome::Complete)]);
    let received = DateTime::UNIX_EPOCH;
    all.enumerate().map(|(seq, what)| Line { seq: seq as u64, received, what }).collect()
}

fn journal(to: &Path, scratch: &Path) -> Outcomes {
    let pinned = Pinned {
        format: FORMAT.to_owned(),
        version: "1.2.3".to_owned(),
        scan_id: "test".to_owned(),
        source: "beam".to_owned(),
        plan: Some((0, plan())),
        created: DateTime::UNIX_EPOCH,
        references: "ab".to_owned(),
        model: None,
        frames: serde_json::Value::Null,
        recipe: serde_json::json!({ "min": 0.95 }),
        settings: serde_json::json!({}),
    };
    for per_batch in [1, 4, 100] {
        let folder = scratch.join(format!("journal{per_batch}"));
        let mut writer = ScanWriter::new(folder.clone(), pinned.clone()).map_err(std::io::Error::other)?;
        for lines in lines().chunks(per_batch) {
            lines.iter().for_each(|line| writer.push(line));
            writer.commit().map_err(std::io::Error::other)?;
        }
        let pinned = std::fs::read(folder.join("pinned.json"))?;
        let ledger = std::fs::read(folder.join(LEDGER))?;
        let events = std::fs::read(folder.join(EVENTS))?;
        // Where each message ends is in its record.
        let (mut messages, mut from) = (Vec::new(), 0);
        for record in ledger.chunks(32) {
            let end = u64::from_le_bytes(std::array::from_fn(|at| record[8 + at])) as usize;
            messages.push(&events[from..end]);
            from = end;
        }
        let with =
            |ledger: &[u8], messages: &[&[u8]]| [&[&pinned[..], ledger][..], messages].concat().join(PART);
        let name = |kind: &str| format!("{kind}-{per_batch}");
        put(to, "journal", &name("own"), &with(&ledger, &messages))?;
        put(to, "journal", &name("right"), &with(b"", &messages))?;
        put(to, "journal", &name("none"), &with(b"none", &messages))?;
        let mut torn = ledger.clone();
        torn[40] ^= 1;
        put(to, "journal", &name("torn"), &with(&torn[..ledger.len() - 5], &messages))?;
    }
    Ok(())
}

fn settings(to: &Path, project: &Path) -> Outcomes {
    let defaults = std::fs::read_to_string(project.join("config/default.toml"))?;
    // Without the comments: they are most of it, and no use.
    let bare = |text: &str| -> String {
        let lines =
            text.lines().map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(line));
        lines
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect()
    };
    put(to, "settings", "defaults", bare(&defaults).as_bytes())?;
    for (number, section) in bare(&defaults).split("\n[").enumerate() {
        put(
            to,
            "settings",
            &format!("section-{number:02}"),
            format!("[{}", section.trim_start_matches('[')).as_bytes(),
        )?;
    }
    let site = std::fs::read_to_string(project.join("config/sites/example.toml"))?;
    put(to, "settings", "site", bare(&site).as_bytes())?;
    let source = "[[source]]\nname = \"beam\"\nkind = \"stxm-stream\"\nconnect = \"tcp://127.0.0.1:5555\"\npattern = \"sub\"\n\
                  topic = \"x\"\n[[source]]\nname = \"b\"\nkind = \"stxm-stream\"\nbind = \"tcp://*:5\"\npattern = \"pull\"\n";
    put(to, "settings", "sources", source.as_bytes())?;
    let environment = "[daemon]\nstate_dir = \"a\"\n====\nDAEMON__DRAIN_S=7\nHTTP__BIND=\nSOURCE=[{name=\"a\"}]\nARCHIVE__DIR=/x\n";
    put(to, "settings", "environment", environment.as_bytes())
}

fn references(to: &Path, project: &Path) -> Outcomes {
    let folder = project.join("config/references/nvpf");
    let description = std::fs::read(folder.join("references.toml"))?;
    let mut spectra = Vec::new();
    for name in ["na1.0", "na2.0", "na3.0"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.csv")))?;
        // Every eighth line: the shape is what counts.
        let lines = text
            .lines()
            .enumerate()
            .filter(|(at, line)| at % 8 == 0 || line.starts_with("energy") || *at < 3);
        spectra.push(lines.map(|(_, line)| format!("{line}\n")).collect::<String>());
    }
    let with = |description: &[u8], spectra: &[String]| {
        let spectra = spectra.iter().map(|text| text.as_bytes());
        [description].into_iter().chain(spectra).collect::<Vec<_>>().join(PART)
    };
    let named = String::from_utf8_lossy(&description).replace("na1.0", "p0").replace("na2.0", "p1");
    put(to, "references", "plain", &with(b"", &spectra))?;
    put(to, "references", "described", &with(named.as_bytes(), &spectra))?;
    let columns: Vec<String> = spectra
        .iter()
        .map(|text| {
            text.lines()
                .filter(|line| line.starts_with('5'))
                .map(|l| format!(" {}\n", l.replace(',', "   ")))
                .collect()
        })
        .collect();
    put(to, "references", "columns", &with(b"", &columns))?;
    let short = "[edge]\npre_edge = [510, 511]\nwhite_line = [512.0, 515.0]\n[phase.p0]\ntitle = \"A\"\ncolour = \"#ff0080\"\norder = 2\n\
                 [phase.p0.provenance]\nbeamline = \"x\"\nresolution_ev = 0.1\n[phase.p1]\norder = 1\n";
    let two = [
        "energy_ev,od\n510,0.1\n512,0.5\n515,0.9\n520,0.6\n",
        "energy_ev,od\n509,0.2\n511,0.3\n514,1.9\n521,0.7\n",
    ];
    put(to, "references", "short", &with(short.as_bytes(), &two.map(str::to_owned)))?;
    put(to, "references", "two", &with(b"", &two.map(str::to_owned)))
}

fn als(to: &Path) -> Outcomes {
    let header = "ScanDefinition = { Label = \"t.hdr\"; Dwell = 0.5;\n\tRegions = (1,\n{\n\
        PAxis = { Name = \"Sample X\"; Unit = \"um\"; Points = (3, 1.0, 1.1, 1.2); };\n\
        QAxis = { Unit = \"um\"; Points = (2, 5, 4);};\n});\n\
        StackAxis = { Name = \"Energy\"; Points = (3, 700, 700.5, 702);};\n};\n\
        Time = \"2007 December 14 18:52:00\"; StorageRingCurrent = 333.4;\n\
        Image2 = {StorageRingCurrent = 333.1; Time = \"2007 December 14 18:52:26\";};\n\
        Image003 = {StorageRingCurrent = 332.8; Time = \"2007 December 14 18:53:05\";};\n";
    let spectrum = "*********************  X-ray Absorption Data  ********************\n*\n* Formula: \n\
        *-----------------------------------------------------------\n700.0, 1.5e4\n701, 1.4e4\n702, 1.2e4\n";
    let images = ["1.0\t2\t3\n4\tnan\t6\n\n", "7\t8\t9\n10\t11\t12\n", "-1e3 2 3\n4 5 6"];
    let all: Vec<&str> = [header, spectrum].into_iter().chain(images).collect();
    put(to, "als", "whole", all.join("\n====\n").as_bytes())?;
    put(to, "als", "no-i0", [header, "", images[0]].join("\n====\n").as_bytes())?;
    put(to, "als", "i0", [header, "700 1\n701 2\n", images[1]].join("\n====\n").as_bytes())
}

fn port(name: &str, rest: &[i64]) -> ValueInfoProto {
    let batch = dimension::Value::DimParam("batch".to_owned());
    let rest = rest.iter().map(|&size| dimension::Value::DimValue(size));
    let dim = std::iter::once(batch)
        .chain(rest)
        .map(|value| Dimension { value: Some(value), ..Dimension::default() })
        .collect();
    let tensor = Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
}

fn weights(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: data.to_vec(),
        ..TensorProto::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// Models of four energies that keep the contract: the least, and one with every input and output.
fn models() -> Vec<(&'static str, Vec<u8>)> {
    let least = GraphProto {
        name: "least".to_owned(),
        node: vec![
            node("MatMul", &["spectrum", "w"], "logits"),
            node("Softmax", &["logits"], "cluster_posterior"),
            node("Mul", &["spectrum", "mask"], "seen"),
            node("MatMul", &["seen", "v"], "latent_mean"),
        ],
        initializer: vec![
            weights("w", &[4, 3], &[0.5, -0.5, 0.1, 0.2, 0.3, -0.9, 1.0, 0.0, 0.4, -0.2, 0.7, 0.6]),
            weights("v", &[4, 2], &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5, -1.0, 0.25]),
        ],
        input: vec![port("spectrum", &[4]), port("mask", &[4])],
        output: vec![port("cluster_posterior", &[3]), port("latent_mean", &[2])],
        ..GraphProto::default()
    };
    let mut most = least.clone();
    most.input.push(port("sigma", &[4]));
    most.output.extend([port("reconstruction", &[4]), port("log_density", &[])]);
    most.initializer.extend([weights("u", &[2, 4], &[0.25; 8]), weights("b", &[4], &[0.1, 0.2, 0.3, 0.4])]);
    most.node.extend([
        node("Gemm", &["latent_mean", "u", "b"], "hidden"),
        node("Relu", &["hidden"], "reconstruction"),
        node("Div", &["seen", "sigma"], "scaled"),
        node("ReduceMean", &["scaled"], "mean"),
        node("Squeeze", &["mean"], "log_density"),
    ]);
    let axes = tract_onnx::pb::AttributeProto {
        name: "axes".to_owned(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Ints as i32,
        ints: vec![1],
        ..Default::default()
    };
    let keep = tract_onnx::pb::AttributeProto {
        name: "keepdims".to_owned(),
        r#type: tract_onnx::pb::attribute_proto::AttributeType::Int as i32,
        i: 0,
        ..Default::default()
    };
    let last = most.node.len();
    most.node[last - 2].attribute = vec![axes, keep];
    most.node[last - 2].output = vec!["log_density".to_owned()];
    most.node.pop();
    [("least", least), ("most", most)]
        .map(|(name, graph)| {
            let prop = |(key, value): (&str, &str)| StringStringEntryProto {
                key: key.to_owned(),
                value: value.to_owned(),
            };
            let competence = r#"[{"counts": 1000, "energies": 4, "pixels": 50, "gmvae": 0.9, "fit": 0.8}]"#;
            let props = [
                ("phasewatch.contract", "1"),
                ("phasewatch.energies_ev", "[510.0, 510.1, 510.2, 510.3]"),
                ("phasewatch.clusters", r#"["a", "b", "mixture"]"#),
                ("phasewatch.max_gap_ev", "0.5"),
                (
                    "phasewatch.references_sha256",
                    "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
                ),
                ("phasewatch.trained_with", "a seed"),
                ("phasewatch.competence", competence),
            ];
            let model = ModelProto {
                ir_version: 8,
                opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
                graph: Some(graph),
                metadata_props: props.into_iter().map(prop).collect(),
                ..ModelProto::default()
            };
            (name, model.encode_to_vec())
        })
        .to_vec()
}

fn raw_log(to: &Path, scratch: &Path) -> Outcomes {
    for has_topic in [true, false] {
        let folder = scratch.join(format!("raw-{has_topic}"));
        let socket = if has_topic { "sub" } else { "pull" };
        let recorded = Recorded {
            source: "beam".to_owned(),
            socket: socket.to_owned(),
            kind: Some("stxm-stream".to_owned()),
        };
        let mut log = RawLog::create(&folder, &recorded, 1 << 20)?;
        for at in 0..3 {
            let parts = [
                Bytes::from("topic"),
                Bytes::from(format!("header {at}")),
                Bytes::from(vec![7; at as usize]),
            ];
            log.push(DateTime::from_timestamp_micros(at).unwrap_or_default(), &parts);
            if at != 1 {
                log.flush().map_err(std::io::Error::other)?;
            }
        }
        drop(log);
        put(to, "raw_log", &format!("topic-{has_topic}"), &std::fs::read(folder.join("beam.arrows"))?)?;
    }
    Ok(())
}
