//! The targets: everything that phasewatch reads and did not write a moment ago. Each takes bytes, never fails for what they
//! say, and panics where a promise is broken.
//!
//! An input of several parts (messages, files) has them one after the other, with a line `====` between; where there are several
//! messages, a line `####` stands between those. So seeds can be read, and mutations of one part leave the others alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use phasewatch::journal;
use phasewatch::model::{BackendChoice, Metadata, Model};
use phasewatch::recording::Recording;
use phasewatch::reference::ReferenceSet;
use phasewatch::scan::{Encoding, ScanPlan, ScanUpdate};
use phasewatch::settings::Settings;
use phasewatch::source::adapter::{Adapter, Naming};
use phasewatch::source::bluesky::Bluesky;
use phasewatch::source::dectris::{Dectris, Knowledge};
use phasewatch::source::desy::Desy;
use phasewatch::source::pixelator::Pixelator;
use phasewatch::source::pystxmcontrol::Pystxmcontrol;
use phasewatch::source::raw_log::read_raw;
use phasewatch::source::sniff::Sniffer;
use phasewatch::source::stxm_stream::{Framing, ResendAnswer, ResendRequest, decode, encode};
use phasewatch::stack::Stack;
use phasewatch::zmtp;

/// Between parts.
const PART: &[u8] = b"\n====\n";
/// Between messages.
const MESSAGE: &[u8] = b"\n####\n";

/// Something that is fuzzed.
pub struct Target {
    /// Its name, and that of its folder of inputs.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&[u8]),
    /// The most bytes that it may ask for at once for an input of so many.
    pub most_bytes: fn(usize) -> usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "stxm_stream", run: stxm_stream, most_bytes: |_| 1 << 24 },
    // What a list of MessagePack makes room for before it reads it.
    Target { name: "formats", run: formats, most_bytes: |bytes| 64 * bytes + (1 << 22) },
    Target { name: "zmtp", run: zmtp, most_bytes: |_| 1 << 22 },
    Target { name: "journal", run: journal, most_bytes: |bytes| 64 * bytes + (1 << 20) },
    Target { name: "settings", run: settings, most_bytes: |bytes| 64 * bytes + (1 << 20) },
    Target { name: "references", run: references, most_bytes: |bytes| 64 * bytes + (1 << 20) },
    Target { name: "als", run: als, most_bytes: |bytes| 64 * bytes + (1 << 20) },
    // What deflate can pack into a file of this length; a vector that grows asks for twice of what it holds. And a node of a symbol
    // table, whose entries, 65 535 at most, the reader makes room for before it reads them.
    Target { name: "hdf5", run: hdf5, most_bytes: |bytes| 2 * (1032 * bytes + 64 * 1024) + 65_535 * 144 },
    Target { name: "metadata", run: metadata, most_bytes: |bytes| 64 * bytes + (1 << 20) },
    Target { name: "model", run: model, most_bytes: |bytes| 64 * bytes + (1 << 24) },
    Target { name: "raw_log", run: raw_log, most_bytes: |bytes| 64 * bytes + (1 << 20) },
];

/// The parts of an input.
pub fn split(data: &[u8]) -> Vec<&[u8]> {
    split_at(data, PART)
}

fn split_at<'a>(mut data: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = data.windows(mark.len()).position(|window| window == mark) {
        parts.push(&data[..at]);
        data = &data[at + mark.len()..];
    }
    parts.push(data);
    parts
}

/// Runs `read` in a folder that holds just these files.
fn with_files<T>(files: &[(&str, &[u8])], read: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        // One for each thread: making and removing folders takes longer than most targets.
        static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    FOLDER.with_borrow_mut(|folder| {
        let memory = Path::new("/dev/shm");
        let new =
            || if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let folder = folder.get_or_insert_with(new).path();
        for entry in std::fs::read_dir(folder).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        files.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
        read(folder)
    })
}

/// An error has to be tellable, in one piece that an operator can be shown.
fn told(error: &dyn std::error::Error) {
    assert!(!error.to_string().is_empty());
}

/// The name of a format, and messages in it. What is said of a scan has to fit what was said of it before.
fn formats(data: &[u8]) {
    let mut messages = split_at(data, MESSAGE).into_iter();
    let mut adapter = match messages.next() {
        Some(b"pixelator") => Adapter::Pixelator(Box::new(Pixelator::new(Naming::default()))),
        Some(b"desy") => {
            let geometry = serde_json::json!({ "energies_ev": [510.0, 512.0] });
            Adapter::Desy(Box::new(Desy::new(Naming::default(), geometry, 1 << 20)))
        }
        Some(b"bluesky") => Adapter::Bluesky(Box::new(Bluesky::new(Naming::default()))),
        Some(b"dectris") => {
            Adapter::Dectris(Box::new(Dectris::new(Naming::default(), Knowledge::Told(None), 1 << 20)))
        }
        _ => Adapter::Pystxmcontrol(Box::new(Pystxmcontrol::new(Naming::default()))),
    };
    let mut plans: BTreeMap<String, ScanPlan> = BTreeMap::new();
    // Who does not know the format sees the same.
    let mut sniffer = Sniffer::new();
    for message in messages {
        let parts: Vec<Bytes> = split(message).into_iter().map(Bytes::copy_from_slice).collect();
        sniffer.push(&parts, Default::default());
        let mut events = Vec::new();
        if let Err(refusal) = adapter.push(&parts, Default::default(), &mut events) {
            told(&refusal);
        }
        adapter.flush(&mut events);
        for event in events {
            match event.update {
                ScanUpdate::Started(plan) => {
                    plan.validate().unwrap();
                    plans.insert(event.scan_id, *plan);
                }
                ScanUpdate::Samples(batch) => {
                    let plan = &plans[&event.scan_id];
                    assert!((batch.energy_index as usize) < plan.energies_ev.len());
                    assert!(batch.pixels.last().unwrap() < plan.grid.pixels() as u64);
                    assert_eq!(batch.values.len(), batch.pixels.len());
                    assert!(batch.values.iter().all(|value| !value.is_infinite()));
                }
                ScanUpdate::Frames(frames) => {
                    let plan = &plans[&event.scan_id];
                    assert!((frames.batch.energy_index as usize) < plan.energies_ev.len());
                    assert!(frames.batch.pixels.last().unwrap() < plan.grid.pixels() as u64);
                    assert_eq!(frames.frames.len(), frames.batch.pixels.len());
                }
                ScanUpdate::Remarked(_) | ScanUpdate::Ended(_) | ScanUpdate::Paused | ScanUpdate::Resumed => {
                    assert!(plans.contains_key(&event.scan_id));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let finding = sniffer.finding();
    assert!(finding.scans.iter().all(|scan| scan.progress.is_none_or(|share| (0.0..=1.0).contains(&share))));
}

/// Messages, each of parts: the first is `topic` or anything else, for a PUB or a PUSH; then header and payloads. What is accepted goes
/// into a stack, as it would behind the socket.
fn stxm_stream(data: &[u8]) {
    let mut stack: Option<Stack> = None;
    for message in split_at(data, MESSAGE) {
        let parts: Vec<Bytes> = split(message).into_iter().map(Bytes::copy_from_slice).collect();
        let framing = if parts[0].starts_with(b"topic") { Framing::Topic } else { Framing::Bare };
        let wire = if framing == Framing::Topic { &parts[..] } else { &parts[1..] };
        // Not theirs, but no worse for it.
        let (_request, _answer) = (ResendRequest::parse(wire), ResendAnswer::parse(wire));
        let event = match decode(wire, framing, None) {
            Ok(event) => event,
            Err(refusal) => {
                told(&refusal);
                continue;
            }
        };
        let seq = event.seq.unwrap_or_default();
        match event.update {
            ScanUpdate::Started(plan) => {
                repeats(&plan, seq);
                // A stack takes no memory for what was not measured, but this is about a great many of them.
                stack = (plan.grid.pixels() <= 1 << 16).then(|| Stack::new(*plan));
            }
            ScanUpdate::Samples(batch) => {
                assert_eq!(batch.values.len(), batch.pixels.len());
                assert!(batch.values.iter().all(|value| !value.is_infinite()));
                if let Some(stack) = &mut stack {
                    let is_new = stack.note_seq(seq);
                    if let Err(error) = stack.push(seq, &batch) {
                        told(&error);
                    } else {
                        assert!(is_new || seq < u64::from(u32::MAX));
                    }
                }
            }
            ScanUpdate::Frames(frames) => {
                let each = frames.batch.pixels.len() * frames.dtype.size();
                assert_eq!(frames.frames.len(), frames.batch.pixels.len());
                if frames.encoding == Encoding::Raw {
                    assert!(frames.bytes() > each && frames.bytes().is_multiple_of(each));
                }
            }
            ScanUpdate::Extended { energies_ev, dwell_ms, flux_ph_per_s } => {
                if let Some(stack) = &mut stack {
                    let extended = stack.extend(&energies_ev, dwell_ms.as_deref(), flux_ph_per_s.as_deref());
                    stack.plan().validate().unwrap();
                    if let Err(error) = extended {
                        told(&error);
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(mut stack) = stack {
        let values = stack.plan().planned_values();
        assert!(stack.measured() <= values);
        let _changes = stack.take_changes();
        assert!(!stack.has_changes());
    }
}

/// A plan that was accepted comes back the same from our own encoder.
fn repeats(plan: &ScanPlan, seq: u64) {
    // Too long a header is the only reason not to.
    let Ok(parts) = encode::scan_start(plan, seq) else { return };
    match decode(&parts, Framing::Bare, None).map(|event| event.update) {
        Ok(ScanUpdate::Started(again)) => assert_eq!(format!("{again:?}"), format!("{plan:?}")),
        other => panic!("a plan was accepted, and not accepted again: {other:?}"),
    }
}

/// One side of a connection; the first byte says which, and in what pieces the bytes come. See [`zmtp::drive`].
fn zmtp(data: &[u8]) {
    let driven = zmtp::drive(data);
    assert!(driven.held_bytes <= driven.allowed_bytes, "{} > {}", driven.held_bytes, driven.allowed_bytes);
    if let Some(error) = &driven.error {
        told(error);
    }
    let Some((first, rest)) = data.split_first() else { return };
    // The same role, all in one piece.
    let whole = zmtp::drive(&[&[first % 3 + 63][..], rest].concat());
    assert_eq!(driven.events, whole.events);
    let kind = |error: &zmtp::ZmtpError| std::mem::discriminant(error);
    assert_eq!(driven.error.as_ref().map(kind), whole.error.as_ref().map(kind));
}

/// `pinned.json`, the ledger, and the messages of the stream, each a part. An empty ledger stands for the right one, which no
/// mutation would ever hit upon, for its checksums.
fn journal(data: &[u8]) {
    let parts = split(data);
    let pinned = parts[0];
    let messages = parts.get(2..).unwrap_or_default();
    let ledger = match parts.get(1) {
        Some(ledger) if !ledger.is_empty() => ledger.to_vec(),
        _ => right_ledger(messages),
    };
    let files = [("pinned.json", pinned), ("ledger", &ledger), ("events.arrows", &messages.concat())];
    with_files(&files, |folder| {
        let read = || {
            let mut lines = Vec::new();
            journal::read(folder, |line| lines.push(format!("{line:?}"))).map(|contents| (lines, contents))
        };
        match read() {
            Ok((lines, contents)) => {
                assert_eq!(lines.len() as u64, contents.lines);
                assert_eq!(read().unwrap().0, lines);
            }
            Err(error) => told(&error),
        }
        if let Err(error) = journal::last_line(folder) {
            told(&error);
        }
    });
}

/// 32 bytes a message: number, end, rows so far (nobody asks), CRC-32 of the message and of the record.
fn right_ledger(messages: &[&[u8]]) -> Vec<u8> {
    let (mut ledger, mut end) = (Vec::new(), 0);
    for (number, message) in messages.iter().enumerate() {
        end += message.len() as u64;
        let mut record = Vec::new();
        [number as u64, end, 0].iter().for_each(|field| record.extend(field.to_le_bytes()));
        record.extend(crc32fast::hash(message).to_le_bytes());
        record.extend(crc32fast::hash(&record).to_le_bytes());
        ledger.extend(record);
    }
    ledger
}

/// A file, and `NAME=value` lines of the environment.
fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (file, environment) = text.split_once("\n====\n").unwrap_or((&text, ""));
    let variables: Vec<(String, String)> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("PHASEWATCH__{name}"), value.to_owned()))
        .collect();
    match Settings::from_layers(&[(PathBuf::from("/etc/fuzz.toml"), file.to_owned())], variables) {
        Ok(settings) => {
            assert!(!settings.provenance().is_empty());
            // It goes into every manifest.
            serde_json::to_string(&settings).unwrap();
        }
        Err(error) => told(&error),
    }
}

/// `references.toml`, none where it is empty, and spectra: `.csv` where there is a comma in it, else `.r`.
fn references(data: &[u8]) {
    let parts = split(data);
    let mut files = BTreeMap::new();
    if !parts[0].is_empty() {
        files.insert("references.toml".to_owned(), parts[0]);
    }
    for (number, part) in parts[1..].iter().enumerate().take(80) {
        let extension = if part.contains(&b',') { "csv" } else { "r" };
        files.insert(format!("p{number}.{extension}"), part);
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    with_files(&files, |folder| match ReferenceSet::load(folder) {
        Ok(set) => {
            assert!((2..=64).contains(&set.len()));
            for reference in &set.references {
                assert!(reference.energies_ev.is_sorted_by(|one, other| one < other));
                assert!(reference.od.iter().all(|od| od.is_finite()));
            }
            // The journal keeps it as JSON.
            let kept = serde_json::to_string(&set).unwrap();
            assert_eq!(serde_json::from_str::<ReferenceSet>(&kept).unwrap(), set);
        }
        Err(error) => told(&error),
    });
}

/// The header, `i0.xsp` (none where it is empty), and the images.
fn als(data: &[u8]) {
    let parts = split(data);
    let mut files = BTreeMap::from([("scan.hdr".to_owned(), parts[0])]);
    if let Some(i0) = parts.get(1).filter(|part| !part.is_empty()) {
        files.insert("i0.xsp".to_owned(), i0);
    }
    for (number, part) in parts.iter().skip(2).enumerate() {
        files.insert(format!("scan_a{number:03}.xim"), part);
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    with_files(&files, |folder| recording(&folder.join("scan.hdr")));
}

/// NXstxm, or the HDF5 of Mantis.
fn hdf5(data: &[u8]) {
    with_files(&[("scan.nxs", data)], |folder| recording(&folder.join("scan.nxs")));
}

fn recording(path: &Path) {
    match Recording::load(path) {
        Ok(recording) => {
            recording.plan.validate().unwrap();
            assert_eq!(recording.planes.len(), recording.plan.energies_ev.len());
            let mut stack = Stack::new(recording.plan.clone());
            for (seq, batch) in recording.batches() {
                // Dark and I0 may contradict each other; pixels and energies may not.
                drop(stack.push(seq, &batch));
            }
            drop(recording.subset(&[0, 1, 7]));
        }
        Err(error) => told(&error),
    }
}

/// A model file: what it says of itself.
fn metadata(data: &[u8]) {
    if let Err(error) = Metadata::read(data) {
        told(&error);
    }
}

/// A model file, opened and asked.
fn model(data: &[u8]) {
    if let Err(error) = Model::load(data, &BackendChoice::tract(), None) {
        told(&error);
    }
}

/// A recording of the wire.
fn raw_log(data: &[u8]) {
    with_files(&[("raw.arrows", data)], |folder| match read_raw(&folder.join("raw.arrows")) {
        Ok(records) => {
            let bytes: usize = records.flat_map(|record| record.parts).map(|part| part.len()).sum();
            assert!(bytes <= data.len());
        }
        Err(error) => assert!(!error.is_empty()),
    });
}
