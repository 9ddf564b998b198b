//! Raw wire messages on disk, for debugging: what came, byte for byte, and when.
//!
//! An Arrow IPC stream of `received` (timestamp) and `parts` (list of binary), a batch for each round of receiving; the schema's
//! metadata tell source, socket and format. All parts are there, a topic with them (recordings of version 0.1.0 before that lack it and say so). A
//! file that grows beyond half of what is allowed becomes `<name>.old.arrows`, in
//! place of the one before. It is no journal: nothing waits for it, and where it cannot be written it is given up.
//!
//! Bad input: what is no recording is refused; a recording that is torn or damaged ends there, and nothing is allocated for bytes
//! that the file does not have.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, ListArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{formats, ipc};

/// Name and version of the format.
const FORMAT: &str = "phasewatch-raw/1";

fn columns() -> Vec<Field> {
    let part = Field::new("item", DataType::Binary, false);
    let stamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    vec![Field::new("received", stamp, false), Field::new("parts", DataType::List(Arc::new(part)), false)]
}

/// One message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// When it was taken off the socket.
    pub received: DateTime<Utc>,
    /// Its parts.
    pub parts: Vec<Bytes>,
}

/// What a recording says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Name, or address, of the source.
    pub source: String,
    /// What the messages were received with: `pull` or `sub`.
    pub socket: String,
    /// `kind` of the source, where it was known.
    pub kind: Option<String>,
}

impl Recorded {
    fn metadata(&self) -> HashMap<String, String> {
        let known = [
            ("phasewatch.format", Some(FORMAT)),
            ("phasewatch.parts", Some("all")),
            ("phasewatch.source", Some(self.source.as_str())),
            ("phasewatch.socket", Some(self.socket.as_str())),
            ("phasewatch.kind", self.kind.as_deref()),
        ];
        known.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.to_owned()))).collect()
    }
}

/// Records the messages of one source.
pub struct RawLog {
    path: PathBuf,
    schema: SchemaRef,
    limit_bytes: u64,
    writer: Option<StreamWriter<File>>,
    written: u64,
    received: Vec<i64>,
    parts: Vec<Vec<Bytes>>,
    bytes: u64,
}

impl std::fmt::Debug for RawLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawLog").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RawLog {
    /// A log in `folder`, which is made, under the name of the source; `limit_bytes` for both files together.
    ///
    /// # Errors
    /// What the operating system says, or that a newer phasewatch wrote what is there: it would be written over.
    pub fn create(folder: &Path, recorded: &Recorded, limit_bytes: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let name: String = recorded
            .source
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
            .collect();
        let mut log = Self::new(folder.join(format!("{name}.arrows")), recorded, limit_bytes);
        for path in [log.path.clone(), log.path.with_extension("old.arrows")] {
            check_format(&path).map_err(std::io::Error::other)?;
        }
        log.rotate().map_err(std::io::Error::other)?;
        Ok(log)
    }

    /// A log in one file without a limit, which must not be there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn create_file(path: &Path, recorded: &Recorded) -> std::io::Result<Self> {
        let file = File::create_new(path)?;
        let mut log = Self::new(path.to_owned(), recorded, u64::MAX);
        log.writer = Some(StreamWriter::try_new(file, &log.schema).map_err(std::io::Error::other)?);
        Ok(log)
    }

    fn new(path: PathBuf, recorded: &Recorded, limit_bytes: u64) -> Self {
        Self {
            path,
            schema: Arc::new(Schema::new(columns()).with_metadata(recorded.metadata())),
            limit_bytes,
            writer: None,
            written: 0,
            received: Vec::new(),
            parts: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes a message; it is written with the next [`RawLog::flush`].
    pub fn push(&mut self, received: DateTime<Utc>, parts: &[Bytes]) {
        self.received.push(received.timestamp_micros());
        self.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.parts.push(parts.to_vec());
    }

    /// Whether much waits to be written.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.bytes > 1 << 20
    }

    /// Writes what was taken.
    ///
    /// # Errors
    /// What Arrow or the operating system says; the log is of no use any more.
    pub fn flush(&mut self) -> Result<(), ArrowError> {
        if self.received.is_empty() {
            return Ok(());
        }
        let batch = self.batch()?;
        if self.written > self.limit_bytes / 2 {
            self.rotate()?;
        }
        self.written += std::mem::take(&mut self.bytes);
        match &mut self.writer {
            Some(writer) => writer.write(&batch),
            None => Ok(()),
        }
    }

    /// Writes what was taken, and the end. A recording without it is as good.
    ///
    /// # Errors
    /// As [`RawLog::flush`].
    pub fn finish(&mut self) -> Result<(), ArrowError> {
        self.flush()?;
        self.writer.take().map_or(Ok(()), |mut writer| writer.finish())
    }

    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let received =
            TimestampMicrosecondArray::from(std::mem::take(&mut self.received)).with_timezone("UTC");
        let messages = std::mem::take(&mut self.parts);
        let offsets = OffsetBuffer::from_lengths(messages.iter().map(Vec::len));
        let flat: Vec<&Bytes> = messages.iter().flatten().collect();
        let parts = BinaryArray::from_iter_values(flat);
        let item = Arc::new(Field::new("item", DataType::Binary, false));
        let parts: ArrayRef = Arc::new(ListArray::try_new(item, offsets, Arc::new(parts), None)?);
        RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(received), parts])
    }

    /// Begins a file; the one there becomes the old one.
    fn rotate(&mut self) -> Result<(), ArrowError> {
        if let Some(mut writer) = self.writer.take() {
            writer.finish()?;
        }
        if self.path.exists() {
            std::fs::rename(&self.path, self.path.with_extension("old.arrows"))?;
        }
        self.writer = Some(StreamWriter::try_new(File::create(&self.path)?, &self.schema)?);
        self.written = 0;
        Ok(())
    }
}

/// Reads a recording, as far as it is whole. Memory for one batch at a time.
///
/// # Errors
/// Where it is not one. A torn end, or damage, ends it.
pub fn read_raw(path: &Path) -> Result<impl Iterator<Item = RawRecord> + Send + use<>, String> {
    Ok(read_recording(path)?.1)
}

/// The same, with what it says of itself.
///
/// # Errors
/// As [`read_raw`].
pub fn read_recording(
    path: &Path,
) -> Result<(Recorded, impl Iterator<Item = RawRecord> + Send + use<>), String> {
    let told = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    check_format(path)?;
    let file = File::open(path).map_err(|error| told(&error))?;
    let left = file.metadata().map_err(|error| told(&error))?.len();
    let mut messages = Messages { file: BufReader::new(file), left };
    let first = messages.next().unwrap_or_default();
    let is_ours = ipc::end_of_schema(&first, "phasewatch.format").is_some_and(|(end, _)| end == first.len());
    if !is_ours {
        return Err(format!("{} is no recording of the wire", path.display()));
    }
    let says = |key: &str| ipc::end_of_schema(&first, key).map(|(_, value)| value.to_owned());
    // Before all parts were kept only stxm-stream could be told from the others, by its topic that was left out.
    let is_bare = says("phasewatch.parts").is_none() && says("phasewatch.topic").as_deref() == Some("true");
    let recorded = Recorded {
        source: says("phasewatch.source").unwrap_or_default(),
        socket: says("phasewatch.socket").filter(|_| !is_bare).unwrap_or_else(|| "pull".to_owned()),
        kind: says("phasewatch.kind"),
    };
    // Its own would be taken at its word; the columns of a recording are known.
    let (columns, known) = known_schema().map_err(|error| told(&error))?;
    let batch = move |message: Vec<u8>| {
        let is_whole = ipc::end_of_batch(&message, &columns) == Some(message.len());
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut known.clone()).ok()?;
        if is_whole { decoder.decode(&mut Buffer::from(message)).ok()? } else { None }
    };
    Ok((recorded, messages.map_while(batch).flat_map(|batch| records(&batch))))
}

/// Whether a newer phasewatch wrote that recording. What is not there, or none, is not judged.
fn check_format(path: &Path) -> Result<(), String> {
    let Ok(file) = File::open(path) else { return Ok(()) };
    let left = file.metadata().map_or(0, |metadata| metadata.len());
    let first = Messages { file: BufReader::new(file), left }.next().unwrap_or_default();
    match ipc::end_of_schema(&first, "phasewatch.format") {
        Some((_, found)) => {
            formats::check(found, FORMAT).map_err(|error| format!("{}: {error}", path.display()))
        }
        None => Ok(()),
    }
}

/// The columns of a recording, and the message that tells of them.
fn known_schema() -> Result<(Fields, Buffer), ArrowError> {
    let (schema, mut stream) = (Schema::new(columns()), Vec::new());
    drop(StreamWriter::try_new(&mut stream, &schema)?);
    Ok((schema.fields, Buffer::from(stream)))
}

/// The messages of a stream, as far as the file has all of their bytes.
struct Messages {
    file: BufReader<File>,
    left: u64,
}

impl Messages {
    /// Appends so many bytes to `message`, if the file has them.
    fn take(&mut self, bytes: u64, message: &mut Vec<u8>) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        let read = self.file.by_ref().take(bytes).read_to_end(message).ok()?;
        (read as u64 == bytes).then_some(())
    }
}

impl Iterator for Messages {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        self.take(8, &mut message)?;
        self.take(ipc::metadata_bytes(&message)?, &mut message)?;
        self.take(ipc::body_bytes(&message)?, &mut message)?;
        Some(message)
    }
}

fn records(batch: &RecordBatch) -> Vec<RawRecord> {
    let received = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let parts = batch.column(1).as_list::<i32>();
    let record = |row: usize| {
        let parts = parts.value(row);
        let parts = parts.as_binary::<i32>();
        let received = DateTime::from_timestamp_micros(received.value(row))?;
        let parts = (0..parts.len()).map(|part| Bytes::copy_from_slice(parts.value(part))).collect();
        Some(RawRecord { received, parts })
    };
    (0..batch.num_rows()).filter_map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Recorded {
        Recorded {
            source: "beam/1".to_owned(),
            socket: "sub".to_owned(),
            kind: Some("stxm-stream".to_owned()),
        }
    }

    fn log(folder: &Path, limit_bytes: u64) -> RawLog {
        RawLog::create(folder, &recorded(), limit_bytes).unwrap()
    }

    fn time(us: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(us).unwrap()
    }

    #[test]
    fn what_came_is_read_back_with_its_topic_also_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), 1 << 20);
        for at in 0..5 {
            log.push(time(at), &[Bytes::from("topic"), Bytes::from(format!("header {at}")), Bytes::new()]);
            log.flush().unwrap();
        }
        let path = dir.path().join("beam_1.arrows");
        let all: Vec<_> = read_raw(&path).unwrap().collect();
        assert_eq!(all.len(), 5);
        assert_eq!(
            all[3],
            RawRecord {
                received: time(3),
                parts: vec![Bytes::from("topic"), Bytes::from("header 3"), Bytes::new()]
            }
        );
        assert_eq!(read_recording(&path).unwrap().0, recorded());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(read_raw(&path).unwrap().count(), 4);
    }

    #[test]
    fn it_does_not_grow_beyond_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(dir.path(), 10_000);
        for at in 0..100 {
            log.push(time(at), &[Bytes::from("topic"), Bytes::from(vec![7; 1000])]);
            log.flush().unwrap();
        }
        drop(log);
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), 2);
        let newest = read_raw(&dir.path().join("beam_1.arrows")).unwrap().last().unwrap();
        assert_eq!(newest.received, time(99));
        assert!(files.iter().all(|file| file.metadata().unwrap().len() < 12_000));
    }

    #[test]
    fn a_recording_of_one_file_takes_the_place_of_none_and_older_ones_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wire.arrows");
        let of_sniff = Recorded { kind: None, ..recorded() };
        let mut log = RawLog::create_file(&path, &of_sniff).unwrap();
        log.push(time(1), &[Bytes::from("header")]);
        log.finish().unwrap();
        assert!(RawLog::create_file(&path, &of_sniff).is_err(), "it is there");
        let (says, records) = read_recording(&path).unwrap();
        assert_eq!((says, records.count()), (of_sniff, 1));
        // As it was written before: the topic is left out.
        let metadata =
            [("phasewatch.format", FORMAT), ("phasewatch.topic", "true"), ("phasewatch.source", "beam")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let schema = Arc::new(Schema::new(columns()).with_metadata(HashMap::from(metadata)));
        let path = dir.path().join("older.arrows");
        let mut older = RawLog::new(path.clone(), &recorded(), 1 << 20);
        (older.schema, older.writer) = (
            Arc::clone(&schema),
            Some(StreamWriter::try_new(File::create(&path).unwrap(), &schema).unwrap()),
        );
        older.push(time(1), &[Bytes::from("header")]);
        older.finish().unwrap();
        let (says, records) = read_recording(&path).unwrap();
        let bare = Recorded { source: "beam".to_owned(), socket: "pull".to_owned(), kind: None };
        assert_eq!((says, records.count()), (bare, 1));
    }

    #[test]
    fn a_recording_of_a_newer_format_is_neither_read_nor_written_over() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["beam_1.arrows", "beam_1.old.arrows"] {
            let path = dir.path().join(name);
            drop(log(dir.path(), 1 << 20));
            let format = [("phasewatch.format".to_owned(), "phasewatch-raw/2".to_owned())];
            let schema = Schema::new(columns()).with_metadata(format.into());
            drop(StreamWriter::try_new(File::create(&path).unwrap(), &schema).unwrap());
            let before = std::fs::read(&path).unwrap();
            assert!(read_raw(&path).err().unwrap().contains("newer phasewatch"));
            let recorded = Recorded { source: "beam/1".to_owned(), ..Recorded::default() };
            let refused = RawLog::create(dir.path(), &recorded, 1 << 20).unwrap_err();
            assert!(refused.to_string().contains("newer phasewatch"), "{refused}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_and_damage_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beam.arrows");
        let schema = Schema::new(vec![Field::new("received", DataType::UInt8, false)]);
        for metadata in [None, Some(FORMAT)] {
            let metadata = metadata.map(|format| ("phasewatch.format".to_owned(), format.to_owned()));
            let schema = Arc::new(schema.clone().with_metadata(metadata.clone().into_iter().collect()));
            let column: ArrayRef = Arc::new(arrow::array::UInt8Array::from(vec![7]));
            let mut writer = StreamWriter::try_new(File::create(&path).unwrap(), &schema).unwrap();
            writer.write(&RecordBatch::try_new(schema, vec![column]).unwrap()).unwrap();
            drop(writer);
            // Other columns under our name are no messages.
            let read = read_raw(&path).map(Iterator::count);
            assert_eq!(read.ok(), metadata.map(|_| 0));
        }
        let mut log = log(dir.path(), 1 << 20);
        for at in 0..3 {
            log.push(time(at), &[Bytes::from("topic"), Bytes::from("header")]);
            log.flush().unwrap();
        }
        let path = dir.path().join("beam_1.arrows");
        let good = std::fs::read(&path).unwrap();
        let mut counts = [0; 4];
        for at in 0..good.len() {
            for value in [0x00, 0xff, good[at] ^ 1] {
                let mut bad = good.clone();
                bad[at] = value;
                std::fs::write(&path, &bad).unwrap();
                counts[read_raw(&path).map_or(0, Iterator::count)] += 1;
            }
        }
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    }
}
