//! Raw wire messages on disk, for debugging: what came, byte for byte, and when.
//!
//! An Arrow IPC stream of `received` (timestamp) and `parts` (list of binary), a batch for each round of receiving; the schema's
//! metadata tell whether the first part is a topic. A file that grows beyond half of what is allowed becomes `<name>.old.arrows`, in
//! place of the one before. It is no journal: nothing waits for it, and where it cannot be written it is given up.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, ListArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use chrono::{DateTime, Utc};

/// One message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// When it was taken off the socket.
    pub received: DateTime<Utc>,
    /// Its parts, without the topic of a PUB.
    pub parts: Vec<Bytes>,
}

/// Records the messages of one source.
pub struct RawLog {
    path: PathBuf,
    schema: SchemaRef,
    has_topic: bool,
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
    /// A log in `folder`, which is made; `limit_bytes` for both files together.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn create(folder: &Path, source: &str, has_topic: bool, limit_bytes: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let name: String = source
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
            .collect();
        let part = Field::new("item", DataType::Binary, false);
        let stamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = vec![
            Field::new("received", stamp, false),
            Field::new("parts", DataType::List(Arc::new(part)), false),
        ];
        let metadata = [
            ("phasewatch.format", "phasewatch-raw/1".to_owned()),
            ("phasewatch.topic", has_topic.to_string()),
            ("phasewatch.source", source.to_owned()),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        let mut log = Self {
            path: folder.join(format!("{name}.arrows")),
            schema: Arc::new(Schema::new(fields).with_metadata(metadata)),
            has_topic,
            limit_bytes,
            writer: None,
            written: 0,
            received: Vec::new(),
            parts: Vec::new(),
            bytes: 0,
        };
        log.rotate().map_err(std::io::Error::other)?;
        Ok(log)
    }

    /// Takes a message; it is written with the next [`RawLog::flush`].
    pub fn push(&mut self, received: DateTime<Utc>, parts: &[Bytes]) {
        self.received.push(received.timestamp_micros());
        let parts = if self.has_topic { parts.get(1..).unwrap_or_default() } else { parts };
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

/// Reads a recording, as far as it is whole.
///
/// # Errors
/// Where it is not one. A torn end ends it.
pub fn read_raw(path: &Path) -> Result<impl Iterator<Item = RawRecord> + Send + use<>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let reader = StreamReader::try_new(BufReader::new(file), None)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if reader.schema().metadata().get("phasewatch.format").map(String::as_str) != Some("phasewatch-raw/1") {
        return Err(format!("{} is no recording of the wire", path.display()));
    }
    Ok(reader.map_while(Result::ok).flat_map(|batch| records(&batch)))
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

    fn log(folder: &Path, limit_bytes: u64) -> RawLog {
        RawLog::create(folder, "beam/1", true, limit_bytes).unwrap()
    }

    fn time(us: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(us).unwrap()
    }

    #[test]
    fn what_came_is_read_back_without_its_topic_also_after_a_crash() {
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
            RawRecord { received: time(3), parts: vec![Bytes::from("header 3"), Bytes::new()] }
        );
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
}
