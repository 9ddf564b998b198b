//! Messages of Arrow IPC streams, looked at before Arrow does: its readers take what a message says of its own size, and of where its
//! parts lie, as true, so that a damaged file makes them panic or ask for any amount of memory.
//!
//! A message is `ff ff ff ff`, the length of its metadata (u32, little-endian), the metadata (a flatbuffer), and the body, whose length
//! the metadata say. A length of 0 ends the stream. Bad input is `None`.

use arrow::datatypes::{DataType, Fields};
use arrow::ipc::{FieldNode, Message, root_as_message};

/// What every message begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The message at the start of `bytes`, the offset of its body, and where it ends; its metadata are whole, its body may not be.
fn message(bytes: &[u8]) -> Option<(Message<'_>, usize, usize)> {
    let rest = bytes.strip_prefix(&CONTINUATION)?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let message = root_as_message(rest.get(..length)?).ok()?;
    let body = usize::try_from(message.bodyLength()).ok()?;
    let start = length.checked_add(8)?;
    Some((message, start, start.checked_add(body)?))
}

/// Bytes of the metadata behind the 8 bytes `bytes`; none at the end of the stream.
pub(crate) fn metadata_bytes(bytes: &[u8]) -> Option<u64> {
    let length = u32::from_le_bytes(*bytes.strip_prefix(&CONTINUATION)?.first_chunk()?);
    (length > 0).then_some(u64::from(length))
}

/// Bytes of the body behind `bytes`, which end with the metadata.
pub(crate) fn body_bytes(bytes: &[u8]) -> Option<u64> {
    let (_, start, end) = message(bytes)?;
    Some((end - start) as u64)
}

/// Where the schema at the start of `bytes` ends, if a whole one stands there, and what its metadata say under `key`.
pub(crate) fn end_of_schema<'a>(bytes: &'a [u8], key: &str) -> Option<(usize, &'a str)> {
    let (message, _, end) = message(bytes)?;
    bytes.get(..end)?;
    let metadata = message.header_as_schema()?.custom_metadata()?;
    let value = metadata.iter().find(|pair| pair.key() == Some(key))?.value()?;
    Some((end, value))
}

/// Where the message at the start of `bytes` ends, if a whole batch of these columns stands there, each of whose parts lies within it and is
/// as long as its rows need. What its values are is for Arrow to check.
pub(crate) fn end_of_batch(bytes: &[u8], columns: &Fields) -> Option<usize> {
    let (message, start, end) = message(bytes)?;
    bytes.get(..end)?;
    let batch = message.header_as_record_batch()?;
    if batch.compression().is_some() {
        return None;
    }
    let mut parts =
        Parts { nodes: batch.nodes()?.iter(), buffers: batch.buffers()?.iter(), body: (end - start) as u64 };
    let rows = count(batch.length())?;
    columns.iter().try_for_each(|column| {
        let column_rows = parts.column(column.data_type())?;
        (column_rows == rows).then_some(())
    })?;
    (parts.nodes.next().is_none() && parts.buffers.next().is_none()).then_some(end)
}

/// A number of rows or items that can be one.
fn count(count: i64) -> Option<u64> {
    u64::try_from(count).ok().filter(|&count| count <= i32::MAX as u64)
}

/// The columns of a batch, as its metadata list them: each a node, its buffers, and then those of its items.
struct Parts<N, B> {
    nodes: N,
    buffers: B,
    /// Bytes of the body.
    body: u64,
}

impl<'a, N: Iterator<Item = &'a FieldNode>, B: Iterator<Item = &'a arrow::ipc::Buffer>> Parts<N, B> {
    /// The next column, which is of this type; its rows.
    fn column(&mut self, of: &DataType) -> Option<u64> {
        let node = self.nodes.next()?;
        let (rows, nulls) = (count(node.length())?, count(node.null_count())?);
        self.buffer(if nulls > 0 { rows.div_ceil(8) } else { 0 }, 1)?;
        let offsets = if rows > 0 { rows + 1 } else { 0 };
        match of {
            DataType::Utf8 | DataType::Binary => {
                self.buffer(offsets, 4)?;
                self.buffer(0, 1)?;
            }
            DataType::List(items) => {
                self.buffer(offsets, 4)?;
                self.column(items.data_type())?;
            }
            of => self.buffer(rows, of.primitive_width()? as u64)?,
        }
        Some(rows)
    }

    /// The next buffer, which lies within the body, and has so many items of so many bytes at least, and no part of one.
    fn buffer(&mut self, least: u64, item_bytes: u64) -> Option<()> {
        let buffer = self.buffers.next()?;
        let (offset, length) = (u64::try_from(buffer.offset()).ok()?, u64::try_from(buffer.length()).ok()?);
        let is_long_enough = length >= least * item_bytes && length.is_multiple_of(item_bytes);
        (is_long_enough && offset.checked_add(length)? <= self.body).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::{Field, Float32Type, Schema};
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    /// A stream of one batch: its schema, and its batch without the end marker.
    fn stream() -> (Fields, Vec<u8>, Vec<u8>) {
        let lists = ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(1.0), None]), None]);
        let batch = RecordBatch::try_from_iter([
            ("number", Arc::new(Float32Array::from(vec![Some(1.0), None])) as _),
            ("text", Arc::new(StringArray::from(vec!["a", "bc"])) as _),
            ("lists", Arc::new(lists) as _),
        ])
        .unwrap();
        let metadata = [("format".to_owned(), "test/1".to_owned())].into();
        let schema = Schema::new(batch.schema().fields().clone()).with_metadata(metadata);
        let (mut all, mut start) = (Vec::new(), Vec::new());
        drop(StreamWriter::try_new(&mut start, &schema).unwrap());
        let mut writer = StreamWriter::try_new(&mut all, &schema).unwrap();
        writer.write(&batch.with_schema(Arc::new(schema.clone())).unwrap()).unwrap();
        drop(writer);
        let message = all.split_off(start.len());
        (schema.fields().clone(), start, message)
    }

    #[test]
    fn whole_messages_end_where_they_end() {
        let (columns, schema, batch) = stream();
        assert_eq!(end_of_schema(&schema, "format"), Some((schema.len(), "test/1")));
        assert_eq!(end_of_schema(&schema, "other"), None);
        assert_eq!(end_of_batch(&batch, &columns), Some(batch.len()));
        let longer = [&batch[..], b"more"].concat();
        assert_eq!(end_of_batch(&longer, &columns), Some(batch.len()));
        assert_eq!(end_of_schema(&batch, "format"), None);
        assert_eq!(end_of_batch(&schema, &columns), None);
        let head = 8 + metadata_bytes(&batch).unwrap() as usize;
        assert_eq!(body_bytes(&batch[..head]).unwrap() as usize, batch.len() - head);
        (0..batch.len()).for_each(|end| assert_eq!(end_of_batch(&batch[..end], &columns), None));
    }

    #[test]
    fn a_batch_of_other_columns_is_none() {
        let (columns, _, batch) = stream();
        let fewer = Fields::from(columns[..2].to_vec());
        assert_eq!(end_of_batch(&batch, &fewer), None);
        let wider = Field::new("number", DataType::Float64, true);
        let wider = Fields::from([&[Arc::new(wider)], &columns[1..]].concat());
        assert_eq!(end_of_batch(&batch, &wider), None);
    }

    #[test]
    fn no_damage_to_a_batch_makes_arrow_panic() {
        use arrow::buffer::Buffer;
        use arrow::ipc::reader::StreamDecoder;

        let (columns, schema, batch) = stream();
        let mut refused = 0;
        for at in 0..batch.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff, batch[at] ^ 1] {
                let mut bad = batch.clone();
                bad[at] = value;
                if end_of_batch(&bad, &columns) != Some(bad.len()) {
                    refused += 1;
                    continue;
                }
                let mut decoder = StreamDecoder::new();
                assert!(decoder.decode(&mut Buffer::from(schema.clone())).unwrap().is_none());
                // Accepted or refused: no panic is what counts.
                drop(decoder.decode(&mut Buffer::from(bad)));
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
