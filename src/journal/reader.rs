//! Reads a journal, whatever state it is in.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use super::ledger::{RECORD_BYTES, Record};
use super::messages::Decoder;
use super::{EVENTS, JournalError, LEDGER, Line, Pinned, What, table};
use crate::ipc::end_of_batch;
use crate::scan::{Outcome, ScanUpdate};

/// Messages larger than this are nobody's: a message of the wire is 256 MiB at most, and its values may double.
const MOST_MESSAGE_BYTES: u64 = 1 << 31;

/// What a journal holds.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Lines that were read.
    pub lines: u64,
    /// What was damaged and left out, in words, with its place; empty where all is well.
    pub damaged: Vec<String>,
    /// How often the scan was closed.
    pub closings: u32,
    /// The outcome and time of the last closing, where no line follows it: the scan is closed.
    pub closed: Option<(Outcome, DateTime<Utc>)>,
    /// Whether the journal has a plan.
    pub has_plan: bool,
    /// The messages that count, the schema first. Numbers that lack are of messages that were lost.
    pub(super) records: Vec<Record>,
}

impl Contents {
    /// Number of the next message.
    fn next(&self) -> u64 {
        self.records.last().map_or(0, |record| record.number + 1)
    }
}

/// Reads the journal in `folder`, line by line in the order in which they were written. Memory for one batch at a time.
///
/// # Errors
/// Where its files cannot be read, or a newer phasewatch wrote it. What is damaged is left out, and said.
pub fn read(folder: &Path, mut each: impl FnMut(Line)) -> Result<Contents, JournalError> {
    // For its format.
    Pinned::read(folder)?;
    let mut contents = Contents::default();
    walk(folder, true, &mut contents, &mut |line, contents| {
        contents.lines += 1;
        contents.closed = None;
        match &line.what {
            What::Update(ScanUpdate::Started(_)) => contents.has_plan = true,
            What::Update(_) => {}
            What::Closed(outcome) => {
                contents.closings = u32::try_from(line.seq).unwrap_or(u32::MAX);
                contents.closed = Some((outcome.clone(), line.received));
            }
        }
        each(line);
    })?;
    Ok(contents)
}

/// The last line of the journal in `folder`, without reading the others; none where the last message is damaged.
///
/// # Errors
/// As [`read`].
pub fn last_line(folder: &Path) -> Result<Option<Line>, JournalError> {
    let contents = survey(folder)?;
    let ends = contents.records.iter().rev().map(|record| record.end);
    let (Some(end), Some(start)) = (ends.clone().next(), ends.clone().nth(1)) else { return Ok(None) };
    let path = folder.join(EVENTS);
    let read = |path: &Path| {
        let mut events = File::open(path)?;
        let mut message = vec![0; end.saturating_sub(start).min(MOST_MESSAGE_BYTES) as usize];
        events.seek(SeekFrom::Start(start))?;
        events.read_exact(&mut message)?;
        Ok(message)
    };
    let message = read(&path).map_err(JournalError::io("reading", &path))?;
    let crc = contents.records.last().map(|record| record.crc);
    if crc != Some(crc32fast::hash(&message)) || events_len(&path)? != end {
        return Ok(None);
    }
    let decoder = Decoder::new().map_err(|error| JournalError::Arrow { path, error })?;
    Ok(decoder.decode(message).and_then(|batch| table::lines(&batch).0.pop()))
}

fn events_len(path: &Path) -> Result<u64, JournalError> {
    Ok(std::fs::metadata(path).map_err(JournalError::io("looking at", path))?.len())
}

/// Which messages of the journal in `folder` count, without reading their lines.
pub(super) fn survey(folder: &Path) -> Result<Contents, JournalError> {
    let mut contents = Contents::default();
    walk(folder, false, &mut contents, &mut |_, _| {})?;
    Ok(contents)
}

/// The stream, message by message.
struct Stream<'a> {
    events: BufReader<File>,
    length: u64,
    at: u64,
    path: &'a Path,
    decoder: Decoder,
    /// Whether lines are wanted.
    decode: bool,
}

fn walk(
    folder: &Path,
    decode: bool,
    contents: &mut Contents,
    each: &mut dyn FnMut(Line, &mut Contents),
) -> Result<(), JournalError> {
    let path = folder.join(EVENTS);
    let events = File::open(&path).map_err(JournalError::io("opening", &path))?;
    let length = events.metadata().map_err(JournalError::io("looking at", &path))?.len();
    let decoder = Decoder::new().map_err(|error| JournalError::Arrow { path: path.clone(), error })?;
    let mut stream = Stream {
        events: BufReader::with_capacity(1 << 18, events),
        length,
        at: 0,
        path: &path,
        decoder,
        decode,
    };
    let ledger_path = folder.join(LEDGER);
    let mut ledger = match File::open(&ledger_path) {
        Ok(ledger) => Some(BufReader::new(ledger)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(JournalError::io("opening", &ledger_path)(error)),
    };
    let mut bytes = [0; RECORD_BYTES];
    // A record that is torn off, or absent with the whole ledger, ends it: the stream is then followed by itself.
    while let Some(file) = &mut ledger
        && file.read_exact(&mut bytes).is_ok()
    {
        let next = contents.next();
        match Record::from_bytes(&bytes) {
            Some(record) if record.number >= next && (stream.at..=stream.length).contains(&record.end) => {
                if record.number == next {
                    stream.message(record, contents, each)?;
                    continue;
                }
                // Records between were damaged; what they told of is followed without them.
                let lost = record.number - next;
                contents
                    .damaged
                    .push(format!("{lost} records of the ledger before message {}", record.number));
                stream.follow(record.end, Some(record), contents, each)?;
                if stream.at != record.end {
                    contents.damaged.push(format!("bytes {} to {}", stream.at, record.end));
                    stream.skip_to(record.end)?;
                    contents.records.push(record);
                }
            }
            Some(record) if record.end > stream.length => {
                contents.damaged.push(format!("message {} ends behind the end of the file", record.number));
                break;
            }
            _ => {}
        }
    }
    stream.follow(length, None, contents, each)?;
    if stream.at < length {
        contents.damaged.push(format!("{} bytes behind the last whole message", length - stream.at));
    }
    Ok(())
}

impl Stream<'_> {
    fn take(&mut self, bytes: u64) -> Result<Vec<u8>, JournalError> {
        let mut message = vec![0; bytes as usize];
        self.events.read_exact(&mut message).map_err(JournalError::io("reading", self.path))?;
        self.at += bytes;
        Ok(message)
    }

    fn skip_to(&mut self, end: u64) -> Result<(), JournalError> {
        let distance = i64::try_from(end.saturating_sub(self.at)).unwrap_or(i64::MAX);
        self.events.seek_relative(distance).map_err(JournalError::io("reading", self.path))?;
        self.at = end;
        Ok(())
    }

    /// A message that has its record.
    fn message(
        &mut self,
        record: Record,
        contents: &mut Contents,
        each: &mut dyn FnMut(Line, &mut Contents),
    ) -> Result<(), JournalError> {
        let (from, size) = (self.at, record.end - self.at);
        if !self.decode || size > MOST_MESSAGE_BYTES {
            self.skip_to(record.end)?;
        } else {
            let message = self.take(size)?;
            let is_good = crc32fast::hash(&message) == record.crc;
            if record.number > 0 {
                let batch = if is_good { self.decoder.decode(message) } else { None };
                match batch {
                    Some(batch) => self.lines(&batch, record.number, contents, each),
                    None => contents.damaged.push(format!(
                        "message {} at byte {from}, {size} bytes: wrong checksum",
                        record.number
                    )),
                }
            } else if !is_good {
                contents.damaged.push("the schema; the known one is used".to_owned());
            }
        }
        contents.records.push(record);
        Ok(())
    }

    fn lines(
        &self,
        batch: &RecordBatch,
        number: u64,
        contents: &mut Contents,
        each: &mut dyn FnMut(Line, &mut Contents),
    ) {
        let (lines, bad) = table::lines(batch);
        if bad > 0 {
            contents.damaged.push(format!("{bad} lines of message {number}"));
        }
        for line in lines {
            each(line, contents);
        }
    }

    /// Follows the stream without records up to `end`, and makes those that lack. A message is believed if the next one names its
    /// checksum, or `last`, the record that ends here, has it: values that nothing vouches for are no measurement.
    fn follow(
        &mut self,
        end: u64,
        last: Option<Record>,
        contents: &mut Contents,
        each: &mut dyn FnMut(Line, &mut Contents),
    ) -> Result<(), JournalError> {
        if self.at == 0 && end > 0 && !self.schema(end, contents)? {
            return Ok(());
        }
        let mut waiting: Option<(Record, RecordBatch)> = None;
        let mut at = self.at;
        while at < end
            && let Some(message) = self.peek(end)?
        {
            let (size, crc) = (message.len() as u64, crc32fast::hash(&message));
            let Some(batch) = self.decoder.decode(message) else { break };
            if let Some((record, before)) = waiting.take() {
                self.believe(
                    record,
                    &before,
                    table::previous_crc(&batch) == Some(record.crc),
                    contents,
                    each,
                );
            }
            self.skip_to(at + size)?;
            at = self.at;
            let rows = contents.records.last().map_or(0, |record| record.rows) + batch.num_rows() as u64;
            waiting = Some((Record { number: contents.next(), end: at, rows, crc }, batch));
        }
        match (waiting, last) {
            (Some((record, batch)), Some(last)) if last.end == record.end => {
                let is_good = last.crc == record.crc;
                self.believe(Record { number: last.number, ..record }, &batch, is_good, contents, each);
            }
            // Where nothing vouches for it, it does not count.
            (Some(_), _) => self.back_to(contents.records.last().map_or(0, |record| record.end))?,
            (None, _) => {}
        }
        Ok(())
    }

    fn believe(
        &self,
        record: Record,
        batch: &RecordBatch,
        is_good: bool,
        contents: &mut Contents,
        each: &mut dyn FnMut(Line, &mut Contents),
    ) {
        if is_good {
            contents.records.push(record);
            if self.decode {
                self.lines(batch, record.number, contents, each);
            }
        } else {
            contents.damaged.push(format!("message {}: nothing vouches for it", record.number));
            // With another checksum, so that its record does not vouch for it from now on.
            contents.records.push(Record { crc: !record.crc, ..record });
        }
    }

    fn back_to(&mut self, at: u64) -> Result<(), JournalError> {
        let back = -i64::try_from(self.at.saturating_sub(at)).unwrap_or(0);
        self.events.seek_relative(back).map_err(JournalError::io("reading", self.path))?;
        self.at = at;
        Ok(())
    }

    /// The schema at the start, if it is ours.
    fn schema(&mut self, end: u64, contents: &mut Contents) -> Result<bool, JournalError> {
        let known = super::messages::Encoder::new()
            .map_err(|error| JournalError::Arrow { path: self.path.to_owned(), error })?;
        let known = known.schema();
        if (known.len() as u64) > end || self.take(known.len() as u64)? != known {
            self.back_to(0)?;
            return Ok(false);
        }
        contents.records.push(Record { number: 0, end: self.at, rows: 0, crc: crc32fast::hash(known) });
        Ok(true)
    }

    /// The whole message that stands here, without going on behind it.
    fn peek(&mut self, end: u64) -> Result<Option<Vec<u8>>, JournalError> {
        // Enough for the metadata first: its length says how much of the file is to be looked at.
        let mut size = (end - self.at).min(64 * 1024);
        loop {
            let from = self.at;
            let message = self.take(size)?;
            self.back_to(from)?;
            if let Some(found) = end_of_batch(&message, table::SCHEMA.fields()) {
                return Ok(Some(message[..found].to_vec()));
            }
            let all = (end - self.at).min(MOST_MESSAGE_BYTES);
            if size >= all || !message.starts_with(&[0xff; 4]) {
                return Ok(None);
            }
            size = (size * 4).min(all);
        }
    }
}
