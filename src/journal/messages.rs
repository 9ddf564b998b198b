//! The stream as messages: their bytes made, and batches made of them.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};

use super::table::SCHEMA;
use crate::ipc::end_of_batch;

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
        if !matches!(end_of_batch(&message, SCHEMA.fields()), Some(end) if end == message.len()) {
            return None;
        }
        let mut decoder = StreamDecoder::new();
        decoder.decode(&mut self.schema.clone()).ok()?;
        decoder.decode(&mut Buffer::from(message)).ok()?
    }
}
