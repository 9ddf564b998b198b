//! The files of an archived scan, read back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// A scan's folder in the archive, as the API names it.
pub fn folder(scan: &Value) -> PathBuf {
    PathBuf::from(scan["archive_path"].as_str().unwrap())
}

/// A whole Parquet file.
pub fn read(path: &Path) -> RecordBatch {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    // The batches come without the metadata.
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let table = concat_batches(&batches[0].schema(), &batches).unwrap();
    table.with_schema(schema).unwrap()
}

/// The phase map of a scan's folder.
pub fn phase_map(folder: &Path) -> RecordBatch {
    read(&folder.join("phase_map.parquet"))
}

/// The bytes of the stack of a scan's folder.
pub fn stack_bytes(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("stack.parquet")).unwrap()
}

/// The manifest of a scan's folder.
pub fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// A column of words, null as an empty one.
pub fn words(table: &RecordBatch, column: &str) -> Vec<String> {
    let column: ArrayRef = cast(table.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().map(|word| word.unwrap_or_default().to_owned()).collect()
}

/// Asserts that two maps say the same of every pixel, in every column but those named.
pub fn assert_same_map(one: &RecordBatch, other: &RecordBatch, but: &[&str]) {
    assert_eq!(one.schema().fields(), other.schema().fields());
    assert_eq!(one.num_rows(), other.num_rows());
    for field in one.schema().fields().iter().filter(|field| !but.contains(&field.name().as_str())) {
        let [a, b] = [one, other].map(|table| table.column_by_name(field.name()).unwrap());
        assert!(a.to_data() == b.to_data() || a == b, "column {} differs:\n{a:?}\n{b:?}", field.name());
    }
}

/// Names of the columns in which two maps differ, and of the metadata.
pub fn differences(one: &RecordBatch, other: &RecordBatch) -> Vec<String> {
    let columns = one.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let mut differ: Vec<String> = columns
        .into_iter()
        .filter(|name| one.column_by_name(name).unwrap() != other.column_by_name(name).unwrap())
        .collect();
    for (key, value) in one.schema().metadata() {
        if key.starts_with("phasewatch.") && other.schema().metadata().get(key) != Some(value) {
            differ.push(key.clone());
        }
    }
    differ.sort();
    differ
}
