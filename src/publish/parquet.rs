//! Parquet: zstd, one dictionary of rules for every file, and the same bytes for the same table.
//!
//! `created_by` names the version of this program only; nothing in a file depends on the time or the machine.
//! The table's metadata stands both in the Arrow schema and as plain key-value pairs, sorted, for readers that
//! know only these (`parquet_kv_metadata` in DuckDB).

use std::io::Write;
use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

/// Rows of a row group; a reader takes a map in few.
pub const ROW_GROUP_ROWS: usize = 65_536;
/// Rows handed to the writer at once.
const SLICE_ROWS: usize = 16_384;

static CREATED_BY: LazyLock<String> =
    LazyLock::new(|| format!("phasewatch version {}", env!("CARGO_PKG_VERSION")));

/// The properties of a file with the schema `schema`, with `row_group_rows` rows in a row group.
#[must_use]
pub fn properties(schema: &Schema, row_group_rows: usize) -> WriterProperties {
    let mut pairs: Vec<_> = schema.metadata().iter().collect();
    pairs.sort();
    let pairs = pairs.into_iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    // Level 3 is zstd's own default; a level is only refused outside 1 to 22.
    let zstd = ZstdLevel::try_new(3).unwrap_or_default();
    WriterProperties::builder()
        .set_created_by(CREATED_BY.clone())
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(row_group_rows.max(1)))
        .set_key_value_metadata(Some(pairs))
        .build()
}

/// Opens a writer of tables with the schema `schema` on `sink`.
///
/// # Errors
/// What the Parquet writer says.
pub fn writer<W: Write + Send>(
    sink: W,
    schema: SchemaRef,
    row_group_rows: usize,
) -> Result<ArrowWriter<W>, ParquetError> {
    let properties = properties(&schema, row_group_rows);
    ArrowWriter::try_new(sink, schema, Some(properties))
}

/// Writes `batch` as one file on `sink`.
///
/// # Errors
/// What the Parquet writer or the sink says.
pub fn write<W: Write + Send>(sink: W, batch: &RecordBatch) -> Result<(), ParquetError> {
    let mut writer = writer(sink, batch.schema(), ROW_GROUP_ROWS)?;
    // In slices, so that little of it is held twice.
    let mut first = 0;
    while first < batch.num_rows() {
        let rows = SLICE_ROWS.min(batch.num_rows() - first);
        writer.write(&batch.slice(first, rows))?;
        first += rows;
    }
    writer.close().map(|_| ())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::publish::table;

    fn bytes(batch: &RecordBatch) -> Bytes {
        let mut bytes = Vec::new();
        write(&mut bytes, batch).unwrap();
        bytes.into()
    }

    #[test]
    fn comes_back_with_types_and_metadata_and_the_same_bytes() {
        let map = table::tests::map(9, 14, &["a", "b"]);
        let batch = table::phase_map(&map).unwrap();
        assert_eq!(bytes(&batch), bytes(&table::phase_map(&map).unwrap()));
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes(&batch)).unwrap();
        assert_eq!(builder.schema().fields(), table::fields());
        assert_eq!(builder.schema().metadata(), batch.schema().metadata());
        let pairs = builder.metadata().file_metadata().key_value_metadata().unwrap();
        assert!(pairs.iter().any(|pair| pair.key == "phasewatch.phases"));
        let back: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(back.iter().map(RecordBatch::num_rows).sum::<usize>(), map.len());
        assert_eq!(
            &arrow::compute::cast(back[0].column(15), &arrow::datatypes::DataType::Float32).unwrap(),
            batch.column(15)
        );
    }
}
