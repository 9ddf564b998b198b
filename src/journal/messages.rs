//! The stream as messages: their bytes made, and their ends found where no ledger tells of them.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::ipc::{MessageHeader, MetadataVersion, root_as_message};

use super::table::SCHEMA;

/// What every message begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Turns batches into messages of one stream.
pub(super) struct Encoder {
    encoder: StreamEncoder,
    schema: Vec<u8>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    pub(super) fn new() -> Result<Self, ArrowError> {
        // Not 64: batches are small, and padding would be half of them.
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
        let empty = StreamEncoder::try_new_with_options(&SCHEMA, options.clone())?.finish()?;
        let mut schema: Vec<u8> = empty.iter().flat_map(|buffer| buffer.as_slice().iter().copied()).collect();
        // Without the end marker, which is 8 bytes: the stream goes on.
        schema.truncate(schema.len().saturating_sub(8));
        let mut encoder = StreamEncoder::try_new_with_options(&SCHEMA, options)?;
        // The first batch would bring the schema with it; it is written by itself.
        encoder.encode(&RecordBatch::new_empty(SCHEMA.clone()))?;
        Ok(Self { encoder, schema })
    }

    /// The message that every stream begins with.
    pub(super) fn schema(&self) -> &[u8] {
        &self.schema
    }

    /// Appends the message of `batch`.
    pub(super) fn encode(&mut self, batch: &RecordBatch, into: &mut Vec<u8>) -> Result<(), ArrowError> {
        for buffer in self.encoder.encode(batch)? {
            into.extend_from_slice(buffer.as_slice());
        }
        Ok(())
    }
}

/// Turns messages into batches, each by itself.
#[derive(Debug)]
pub(super) struct Decoder {
    schema: Buffer,
}

impl Decoder {
    pub(super) fn new() -> Result<Self, ArrowError> {
        Ok(Self { schema: Buffer::from(Encoder::new()?.schema) })
    }

    /// The batch of a message, if it is one of our columns.
    pub(super) fn decode(&self, message: Vec<u8>) -> Option<RecordBatch> {
        if !matches!(end_of_message(&message), Some(end) if end == message.len()) {
            return None;
        }
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut self.schema.clone()).ok()?;
        decoder.decode(&mut Buffer::from(message)).ok()?
    }
}

/// Where the message at the start of `bytes` ends, if a whole one of a batch stands there whose parts lie within it.
pub(super) fn end_of_message(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(&CONTINUATION)?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let metadata = rest.get(..length)?;
    let message = root_as_message(metadata).ok()?;
    if message.header_type() != MessageHeader::RecordBatch {
        return None;
    }
    let body = usize::try_from(message.bodyLength()).ok()?;
    let end = length.checked_add(8)?.checked_add(body)?;
    bytes.get(..end)?;
    // The decoder trusts where its buffers lie.
    let batch = message.header_as_record_batch()?;
    let inside = |offset: i64, length: i64| {
        let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
        (offset.checked_add(length)? <= body).then_some(())
    };
    for buffer in batch.buffers()? {
        inside(buffer.offset(), buffer.length())?;
    }
    let rows = batch.length();
    let sane = |count: i64| (0..=i64::from(i32::MAX)).contains(&count);
    (sane(rows) && batch.nodes()?.iter().all(|node| sane(node.length()) && sane(node.null_count())))
        .then_some(end)
}
