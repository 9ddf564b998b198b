use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::scan::{
    BadPixels, Channel, DType, Encoding, FrameBatch, I0, Outcome, Pixels, Remark, SampleBatch, ScanUpdate,
    test_plan,
};

fn pinned() -> Pinned {
    Pinned {
        format: FORMAT.to_owned(),
        version: "1.2.3".to_owned(),
        scan_id: "test".to_owned(),
        source: "beam".to_owned(),
        plan: Some((0, test_plan(2, 3, 4))),
        created: DateTime::UNIX_EPOCH,
        references: "ab".to_owned(),
        model: None,
        frames: serde_json::Value::Null,
        recipe: serde_json::json!({ "min": 0.95_f32 }),
        settings: serde_json::json!({}),
    }
}

fn time(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap()
}

fn line(seq: u64, what: What) -> Line {
    Line { seq, received: time(1_700_000_000_000_000 + seq as i64), what }
}

fn batch(seq: u64) -> SampleBatch {
    let values: Vec<f32> = (0..3).map(|i| seq as f32 + 0.1 * i as f32).collect();
    SampleBatch {
        energy_index: seq as u32 % 4,
        pixels: if seq.is_multiple_of(3) {
            Pixels::List(vec![5, 0, 2])
        } else {
            Pixels::Run { first: 3, count: 3 }
        },
        channel: Channel::Intensity,
        values,
        i0: match seq % 4 {
            0 => I0::None,
            1 => I0::One(1e4),
            _ => I0::Each(vec![1.0, 2.5, 3.0e7]),
        },
        ring_current_ma: seq.is_multiple_of(2).then_some(499.123_456_789),
        energy_ev: (!seq.is_multiple_of(5)).then_some(515.300_000_1),
        time: (!seq.is_multiple_of(7)).then(|| time(-5 + seq as i64)),
    }
}

fn samples(seq: u64) -> Line {
    line(seq, What::Update(ScanUpdate::Samples(batch(seq))))
}

/// One of each kind.
fn every_kind() -> Vec<Line> {
    let bad = BadPixels { dead: vec![1], hot: vec![7, 9] };
    let blank = || SampleBatch { values: Vec::new(), ..batch(3) };
    let frames = FrameBatch::raw(blank(), DType::Uint16, &Bytes::from(vec![1, 2, 3, 4, 5, 6]));
    let packed = FrameBatch {
        batch: blank(),
        dtype: DType::Uint32,
        encoding: Encoding::Bslz4,
        frames: vec![Bytes::from_static(&[1, 2]), Bytes::new(), Bytes::from_static(&[3])],
    };
    let updates = vec![
        ScanUpdate::Started(Box::new(test_plan(2, 3, 4))),
        ScanUpdate::Samples(SampleBatch { values: vec![f32::NAN, 1.5, -0.0], ..batch(2) }),
        ScanUpdate::Reduced(batch(4), bad),
        ScanUpdate::Reduced(batch(5), BadPixels::default()),
        ScanUpdate::Frames(frames),
        ScanUpdate::Frames(packed),
        ScanUpdate::Extended { energies_ev: vec![531.1], dwell_ms: Some(vec![0.1]), flux_ph_per_s: None },
        ScanUpdate::Paused,
        ScanUpdate::Resumed,
        ScanUpdate::Ended(Outcome::Aborted { reason: Some("beam dump \"quoted\"".to_owned()) }),
        ScanUpdate::Skipped,
        ScanUpdate::Remarked(Remark { text: "lines by order of arrival".to_owned(), untrusted: true }),
    ];
    let updates = updates.into_iter().map(What::Update);
    let all = updates.chain([What::Closed(Outcome::Partial { reason: "silent".to_owned() })]);
    all.enumerate().map(|(seq, what)| line(seq as u64, what)).collect()
}

/// Lines as text, since neither plans nor NaN compare as they should.
fn told(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| format!("{line:?}")).collect()
}

fn read_all(folder: &Path) -> (Vec<String>, Contents) {
    let mut lines = Vec::new();
    let contents = read(folder, |line| lines.push(line)).unwrap();
    (told(&lines), contents)
}

/// Appends lines, `per_batch` in each batch.
fn append(folder: &Path, lines: &[Line], per_batch: usize) {
    let mut writer = ScanWriter::new(folder.to_owned(), pinned()).unwrap();
    for lines in lines.chunks(per_batch) {
        lines.iter().for_each(|line| writer.push(line));
        assert!(writer.commit().unwrap().bytes > 0);
    }
}

fn journal(lines: &[Line], per_batch: usize) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("journal/test");
    append(&folder, lines, per_batch);
    (dir, folder)
}

#[test]
fn every_kind_of_line_comes_back_as_it_was() {
    let lines = every_kind();
    for per_batch in [1, 4, 100] {
        let (_dir, folder) = journal(&lines, per_batch);
        let (read, contents) = read_all(&folder);
        assert_eq!(read, told(&lines));
        assert_eq!(contents.damaged, Vec::<String>::new());
        assert_eq!(contents.lines, lines.len() as u64);
        assert!(contents.has_plan);
        assert!(matches!(&contents.closed, Some((Outcome::Partial { reason }, _)) if reason == "silent"));
        assert_eq!(told(&[last_line(&folder).unwrap().unwrap()]), read[read.len() - 1..]);
        assert_eq!(Pinned::read(&folder).unwrap(), pinned());
    }
}

#[test]
fn any_arrow_reader_takes_the_events() {
    let (_dir, folder) = journal(&every_kind(), 4);
    let file = std::fs::File::open(folder.join(EVENTS)).unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(file, None).unwrap();
    assert_eq!(reader.schema().metadata()["phasewatch.format"], FORMAT);
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), every_kind().len());
}

#[test]
fn lines_behind_a_closing_open_the_scan_again() {
    let mut lines = every_kind();
    // The line of a closing has its number for its seq, and is the last one here.
    let closings = lines[lines.len() - 1].seq as u32;
    lines.push(samples(40));
    let (_dir, folder) = journal(&lines, 3);
    let (_, contents) = read_all(&folder);
    assert_eq!((contents.closings, contents.closed), (closings, None));
}

#[test]
fn another_writer_goes_on_where_one_ended() {
    let lines: Vec<Line> = (0..20).map(samples).collect();
    let (_dir, folder) = journal(&lines[..9], 2);
    append(&folder, &lines[9..15], 100);
    append(&folder, &lines[15..], 1);
    let (read, contents) = read_all(&folder);
    assert_eq!(read, told(&lines));
    assert!(contents.damaged.is_empty());
}

#[test]
fn a_journal_that_is_cut_anywhere_gives_what_is_whole_and_goes_on() {
    let lines: Vec<Line> = (0..6).map(samples).collect();
    let (_dir, whole) = journal(&lines, 1);
    let [events, ledger] = [EVENTS, LEDGER].map(|name| std::fs::read(whole.join(name)).unwrap());
    let ends: Vec<usize> = ledger
        .chunks(32)
        .map(|record| u64::from_le_bytes(record[8..16].try_into().unwrap()) as usize)
        .collect();
    let cut = |events_end: usize, ledger_end: usize| {
        let (dir, folder) = journal(&[], 1);
        std::fs::create_dir_all(&folder).unwrap();
        pinned().write(&folder).unwrap();
        std::fs::write(folder.join(EVENTS), &events[..events_end]).unwrap();
        std::fs::write(folder.join(LEDGER), &ledger[..ledger_end]).unwrap();
        // A message counts when it is whole and has its record, or one behind it that vouches for it.
        let whole = ends.iter().filter(|end| **end <= events_end).count();
        let whole = if ledger_end / 32 >= whole { whole } else { whole - 1 }.saturating_sub(1);
        let (read, _) = read_all(&folder);
        assert_eq!(read, told(&lines[..whole]), "{events_end}, {ledger_end}");
        append(&folder, &lines[5..], 1);
        let (read, contents) = read_all(&folder);
        let expected = [&lines[..whole], &lines[5..]].concat();
        assert_eq!(read, told(&expected), "{events_end}, {ledger_end}");
        assert_eq!(contents.damaged, Vec::<String>::new(), "{events_end}, {ledger_end}");
        drop(dir);
    };
    (0..=events.len()).step_by(7).for_each(|end| cut(end, ledger.len()));
    (0..=ledger.len()).step_by(5).for_each(|end| cut(events.len(), end));
    ends.iter().enumerate().for_each(|(n, end)| cut(*end, 32 * n));
}

#[test]
fn a_flipped_bit_costs_its_message_and_is_named() {
    let lines: Vec<Line> = (0..5).map(samples).collect();
    let (_dir, folder) = journal(&lines, 1);
    let events = std::fs::read(folder.join(EVENTS)).unwrap();
    let all = told(&lines);
    for at in (0..events.len()).step_by(11) {
        let mut flipped = events.clone();
        flipped[at] ^= 0x10;
        std::fs::write(folder.join(EVENTS), &flipped).unwrap();
        let (read, contents) = read_all(&folder);
        assert_eq!(contents.damaged.len(), 1, "byte {at}");
        assert!(read.len() >= 4 && read.iter().all(|line| all.contains(line)), "byte {at}");
    }
}

#[test]
fn a_damaged_or_absent_ledger_costs_the_last_message_at_most() {
    let lines: Vec<Line> = (0..7).map(samples).collect();
    let (_dir, folder) = journal(&lines, 1);
    let ledger = std::fs::read(folder.join(LEDGER)).unwrap();
    for at in 0..ledger.len() {
        let mut flipped = ledger.clone();
        flipped[at] ^= 1;
        std::fs::write(folder.join(LEDGER), &flipped).unwrap();
        let vouched = if at / 32 == 7 { 6 } else { 7 };
        assert_eq!(read_all(&folder).0, told(&lines[..vouched]), "byte {at}");
    }
    std::fs::write(folder.join(LEDGER), vec![0; 640]).unwrap();
    assert_eq!(read_all(&folder).0, told(&lines[..6]));
    std::fs::remove_file(folder.join(LEDGER)).unwrap();
    assert_eq!(read_all(&folder).0, told(&lines[..6]));
    // Whoever goes on makes it anew.
    append(&folder, &[samples(9)], 1);
    assert_eq!(std::fs::read(folder.join(LEDGER)).unwrap()[..32 * 7], ledger[..32 * 7]);
    assert_eq!(read_all(&folder).0, told(&[&lines[..6], &[samples(9)]].concat()));
}

#[test]
fn a_message_behind_a_damaged_one_is_still_read_when_their_records_are_gone() {
    let lines: Vec<Line> = (0..6).map(samples).collect();
    let (_dir, folder) = journal(&lines, 1);
    let [mut events, mut ledger] = [EVENTS, LEDGER].map(|name| std::fs::read(folder.join(name)).unwrap());
    let end = u64::from_le_bytes(ledger[32 + 8..32 + 16].try_into().unwrap()) as usize;
    // The second message and its record.
    events[end..end + 40].fill(0);
    ledger[64..96].fill(0);
    std::fs::write(folder.join(EVENTS), events).unwrap();
    std::fs::write(folder.join(LEDGER), ledger).unwrap();
    let (read, contents) = read_all(&folder);
    assert_eq!(read, told(&[&lines[..1], &lines[3..]].concat()), "{:?}", contents.damaged);
    assert_eq!(contents.damaged.len(), 2);
    append(&folder, &[samples(9)], 1);
    assert_eq!(read_all(&folder).0, told(&[&lines[..1], &lines[3..], &[samples(9)]].concat()));
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let (_dir, folder) = journal(&every_kind(), 4);
    let newer =
        std::fs::read_to_string(folder.join("pinned.json")).unwrap().replace("journal/1", "journal/9");
    std::fs::write(folder.join("pinned.json"), newer).unwrap();
    assert!(matches!(read(&folder, |_| {}), Err(JournalError::Format { .. })));
}

#[test]
fn what_cannot_be_written_is_kept_and_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("journal/test");
    // A file stands where the folder is to be.
    std::fs::create_dir_all(dir.path().join("journal")).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let mut writer = ScanWriter::new(folder.clone(), pinned()).unwrap();
    let lines: Vec<Line> = (0..3).map(samples).collect();
    for line in &lines {
        writer.push(line);
        assert!(writer.commit().is_err() && writer.unwritten_bytes() > 0);
    }
    std::fs::remove_file(&folder).unwrap();
    writer.commit().unwrap();
    assert_eq!(writer.unwritten_bytes(), 0);
    assert_eq!(read_all(&folder).0, told(&lines));
}

#[test]
fn a_state_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn content_is_kept_once_and_as_long_as_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = store.keep(&serde_json::json!([1, 2])).unwrap();
    assert_eq!(store.keep(&serde_json::json!([1, 2])).unwrap(), one);
    let other = store.keep_bytes(b"model", "onnx").unwrap();
    let folder = store.folder(Place::Scans, "scan");
    let paths = [(&one, "json"), (&other, "onnx")].map(|(sha, e)| Store::content(&folder, sha, e).unwrap());
    assert_eq!(std::fs::read(&paths[1]).unwrap(), b"model");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    for path in &paths {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    store.release_content(&[one]).unwrap();
    assert!(paths[0].exists() && !paths[1].exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is done to the files, reading ends, makes no line up, and what is written afterwards is read.
    #[test]
    fn damage_is_survived(
        sizes in prop::collection::vec(1_usize..4, 1..6),
        edits in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of((any::<bool>(), any::<prop::sample::Index>())),
    ) {
        let lines: Vec<Line> = (0..sizes.iter().sum::<usize>() as u64).map(samples).collect();
        let (_dir, folder) = journal(&[], 1);
        let mut first = 0;
        for size in &sizes {
            append(&folder, &lines[first..first + size], 100);
            first += size;
        }
        for (ledger, at, value) in edits {
            let path = folder.join(if ledger { LEDGER } else { EVENTS });
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = value;
            std::fs::write(path, bytes).unwrap();
        }
        if let Some((ledger, at)) = cut {
            let path = folder.join(if ledger { LEDGER } else { EVENTS });
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..at.index(bytes.len())]).unwrap();
        }
        let all = told(&lines);
        let (before, _) = read_all(&folder);
        prop_assert!(before.iter().all(|line| all.contains(line)));
        append(&folder, &[samples(99)], 1);
        let (after, _) = read_all(&folder);
        let last = told(&[samples(99)]);
        prop_assert_eq!(after.last(), last.first());
        prop_assert_eq!(&after[..after.len() - 1], &before[..]);
    }
}
