//! A table as the bytes of an Arrow IPC stream: schema, dictionaries, one record batch, end marker.
//!
//! The format is the one of `pyarrow.ipc.open_stream`; it is not compressed, so that any reader takes it.

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use super::PublishError;

/// The bytes of an Arrow IPC stream of `batch`.
///
/// # Errors
/// [`PublishError::Arrow`].
pub fn stream(batch: &RecordBatch) -> Result<Bytes, PublishError> {
    // The columns dominate; what the framing adds is small beside the slack.
    let mut bytes = Vec::with_capacity(batch.get_array_memory_size() + 8 * 1024);
    let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(Bytes::from(bytes))
}
