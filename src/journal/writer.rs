//! Writes the journal of one scan: lines are gathered, committed as one batch, synced by whoever holds the files.
//!
//! What cannot be written stays in memory and is tried again with the next commit; [`ScanWriter::unwritten_bytes`] says how much
//! that is. A message that was written in part is cut off again before anything else is written.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ledger::{RECORD_BYTES, Record};
use super::messages::Encoder;
use super::table::Columns;
use super::{EVENTS, JournalError, LEDGER, Line, Pinned, reader};

/// The files of one journal, open for appending.
#[derive(Debug)]
struct Files {
    events: Arc<File>,
    ledger: Arc<File>,
    /// Bytes of whole messages in `events`, and of whole records in `ledger`.
    events_end: u64,
    ledger_end: u64,
    /// Number of the next message, and rows so far.
    next: u64,
    rows: u64,
    /// Checksum of the last message.
    last_crc: u32,
    /// Whether something may stand behind the ends, of a write that failed.
    torn: bool,
}

/// A message of the stream.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    rows: u64,
    crc: u32,
}

/// What a commit wrote.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Bytes written.
    pub bytes: u64,
    /// The files to be synced; none where nothing was written.
    pub files: Vec<Arc<File>>,
}

/// The writer of one scan's journal.
#[derive(Debug)]
pub struct ScanWriter {
    folder: PathBuf,
    pinned: Pinned,
    encoder: Encoder,
    columns: Columns,
    /// Encoded and not yet written.
    unwritten: VecDeque<Message>,
    files: Option<Files>,
    /// A buffer to encode into again.
    spare: Vec<u8>,
}

impl ScanWriter {
    /// A writer into `folder`, which is made, with `pinned`, at the first commit. Where there is a journal already it is
    /// continued.
    ///
    /// # Errors
    /// [`JournalError::Arrow`]: a bug.
    pub fn new(folder: PathBuf, pinned: Pinned) -> Result<Self, JournalError> {
        let encoder = Encoder::new().map_err(|error| JournalError::Arrow { path: folder.clone(), error })?;
        Ok(Self {
            folder,
            pinned,
            encoder,
            columns: Columns::default(),
            unwritten: VecDeque::new(),
            files: None,
            spare: Vec::new(),
        })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says that its folder was renamed to `folder`.
    pub fn moved_to(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// What its scan's maps are made with.
    #[must_use]
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// Takes a line; it is written with the next commit.
    pub fn push(&mut self, line: &Line) {
        self.columns.push(line);
    }

    /// Bytes that are gathered or could not be written yet.
    #[must_use]
    pub fn unwritten_bytes(&self) -> usize {
        self.columns.bytes() + self.unwritten.iter().map(|message| message.bytes.len()).sum::<usize>()
    }

    /// Bytes of its events on disk.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.files.as_ref().map_or(0, |files| files.events_end)
    }

    /// Writes everything that was gathered to the operating system.
    ///
    /// # Errors
    /// What it said. Everything that is not written yet is kept for the next call.
    pub fn commit(&mut self) -> Result<Committed, JournalError> {
        let mut done = Committed::default();
        if self.unwritten_bytes() == 0 {
            return Ok(done);
        }
        let mut files = match self.files.take() {
            Some(files) => files,
            None => self.open()?,
        };
        let result = self.encode(&files).and_then(|()| {
            while let Some(message) = self.unwritten.front() {
                files.append(message).map_err(JournalError::io("writing", &self.folder))?;
                done.bytes += (message.bytes.len() + RECORD_BYTES) as u64;
                if let Some(message) = self.unwritten.pop_front() {
                    self.spare = message.bytes;
                }
            }
            Ok(())
        });
        if done.bytes > 0 {
            done.files = vec![Arc::clone(&files.events), Arc::clone(&files.ledger)];
        }
        self.files = Some(files);
        result.map(|()| done)
    }

    /// Makes one message of all gathered lines, the next in `files` or a later one where others wait to be written.
    fn encode(&mut self, files: &Files) -> Result<(), JournalError> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        // A stream goes on as it was: room for as much again saves growing bit by bit.
        let room = self.columns.with_the_same_room();
        let columns = std::mem::replace(&mut self.columns, room);
        let rows = columns.rows() as u64;
        let number = files.next + self.unwritten.len() as u64;
        let previous_crc = self.unwritten.back().map_or(files.last_crc, |message| message.crc);
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let encoded = columns
            .finish(number as u32, previous_crc)
            .and_then(|batch| self.encoder.encode(&batch, &mut bytes));
        encoded.map_err(|error| JournalError::Arrow { path: self.folder.clone(), error })?;
        let crc = crc32fast::hash(&bytes);
        self.unwritten.push_back(Message { bytes, rows, crc });
        Ok(())
    }

    /// Opens the files, or makes them.
    fn open(&self) -> Result<Files, JournalError> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).map_err(JournalError::io("creating", folder))?;
        let [events_path, ledger_path] = [EVENTS, LEDGER].map(|name| folder.join(name));
        let is_new = !events_path.exists();
        if is_new {
            self.pinned.write(folder)?;
        }
        // Told before anything is cut off.
        let contents = if is_new { None } else { Some(reader::survey(folder)?) };
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path);
            file.map(Arc::new).map_err(JournalError::io("opening", path))
        };
        let mut files = Files {
            events: open(&events_path)?,
            ledger: open(&ledger_path)?,
            events_end: 0,
            ledger_end: 0,
            next: 0,
            rows: 0,
            last_crc: 0,
            torn: true,
        };
        let failed = |error| JournalError::io("writing", &events_path)(error);
        if let Some(contents) = &contents {
            files.restore(&contents.records).map_err(failed)?;
        }
        if files.next == 0 {
            let bytes = self.encoder.schema().to_vec();
            let crc = crc32fast::hash(&bytes);
            files.append(&Message { bytes, rows: 0, crc }).map_err(failed)?;
        }
        for parent in folder.ancestors().take(2) {
            let synced = File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(JournalError::io("syncing", parent))?;
        }
        Ok(files)
    }
}

impl Files {
    /// Appends one message, and its record. Where that fails nothing of it counts.
    fn append(&mut self, Message { bytes, rows, crc }: &Message) -> std::io::Result<()> {
        self.mend()?;
        self.torn = true;
        (&*self.events).write_all(bytes)?;
        let end = self.events_end + bytes.len() as u64;
        let record = Record { number: self.next, end, rows: self.rows + rows, crc: *crc };
        (&*self.ledger).write_all(&record.to_bytes())?;
        self.count(record);
        self.torn = false;
        Ok(())
    }

    /// Puts the records of the messages that stand in the stream already into the ledger, where they are not there.
    fn restore(&mut self, records: &[Record]) -> std::io::Result<()> {
        let wanted: Vec<u8> = records.iter().flat_map(|record| record.to_bytes()).collect();
        let mut found = Vec::new();
        (&*self.ledger).read_to_end(&mut found)?;
        if !found.starts_with(&wanted) {
            (&*self.ledger).seek(SeekFrom::Start(0))?;
            (&*self.ledger).write_all(&wanted)?;
        }
        records.iter().for_each(|record| self.count(*record));
        Ok(())
    }

    fn count(&mut self, record: Record) {
        self.events_end = record.end;
        self.ledger_end += RECORD_BYTES as u64;
        (self.next, self.rows, self.last_crc) = (record.number + 1, record.rows, record.crc);
    }

    /// Cuts off what a write that failed, or a crash, left behind the ends.
    fn mend(&mut self) -> std::io::Result<()> {
        if self.torn {
            for (file, end) in [(&self.events, self.events_end), (&self.ledger, self.ledger_end)] {
                file.set_len(end)?;
                (&**file).seek(SeekFrom::Start(end))?;
            }
            self.torn = false;
        }
        Ok(())
    }
}
