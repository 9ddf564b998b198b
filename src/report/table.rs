//! The numbers of a figure, as CSV and as Parquet.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{Field, Schema};

use super::ReportError;
use crate::publish::parquet;

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Column {
    Text(Vec<Option<String>>),
    Number(Vec<Option<f64>>),
    Count(Vec<u32>),
    Is(Vec<bool>),
}

/// A table: its columns have one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<(String, Column)>,
}

impl Table {
    pub(super) fn text(self, name: &str, values: impl Iterator<Item = impl Into<String>>) -> Self {
        self.with(name, Column::Text(values.map(|value| Some(value.into())).collect()))
    }

    pub(super) fn texts(self, name: &str, values: impl Iterator<Item = Option<String>>) -> Self {
        self.with(name, Column::Text(values.collect()))
    }

    pub(super) fn number(self, name: &str, values: impl Iterator<Item = f64>) -> Self {
        self.numbers(name, values.map(Some))
    }

    /// What is not finite is not there.
    pub(super) fn numbers(self, name: &str, values: impl Iterator<Item = Option<f64>>) -> Self {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        self.with(name, Column::Number(values.map(finite).collect()))
    }

    pub(super) fn count(self, name: &str, values: impl Iterator<Item = usize>) -> Self {
        self.with(name, Column::Count(values.map(|value| value as u32).collect()))
    }

    pub(super) fn is(self, name: &str, values: impl Iterator<Item = bool>) -> Self {
        self.with(name, Column::Is(values.collect()))
    }

    fn with(mut self, name: &str, column: Column) -> Self {
        self.columns.push((name.to_owned(), column));
        self
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| match column {
            Column::Text(values) => values.len(),
            Column::Number(values) => values.len(),
            Column::Count(values) => values.len(),
            Column::Is(values) => values.len(),
        })
    }

    /// A header and a line for each row; what is not there is empty.
    pub(super) fn csv(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| quoted(name)).collect();
        let mut lines = vec![names.join(",")];
        for row in 0..self.rows() {
            let cell = |(_, column): &(String, Column)| match column {
                Column::Text(values) => values[row].as_deref().map_or_else(String::new, quoted),
                Column::Number(values) => values[row].map_or_else(String::new, |value| value.to_string()),
                Column::Count(values) => values[row].to_string(),
                Column::Is(values) => values[row].to_string(),
            };
            lines.push(self.columns.iter().map(cell).collect::<Vec<_>>().join(","));
        }
        lines.join("\n") + "\n"
    }

    fn batch(&self) -> Result<RecordBatch, arrow::error::ArrowError> {
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = self
            .columns
            .iter()
            .map(|(name, column)| {
                let array: ArrayRef = match column {
                    Column::Text(values) => Arc::new(values.iter().cloned().collect::<StringArray>()),
                    Column::Number(values) => Arc::new(values.iter().copied().collect::<Float64Array>()),
                    Column::Count(values) => Arc::new(UInt32Array::from(values.clone())),
                    Column::Is(values) => Arc::new(BooleanArray::from(values.clone())),
                };
                (Field::new(name, array.data_type().clone(), true), array)
            })
            .unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
    }

    /// Writes `<name>.csv` and `<name>.parquet` into `folder`.
    pub(super) fn write(&self, folder: &Path, name: &str) -> Result<(), ReportError> {
        let path = folder.join(format!("{name}.csv"));
        let mut file = File::create(&path).map_err(ReportError::io(&path))?;
        file.write_all(self.csv().as_bytes()).map_err(ReportError::io(&path))?;
        let path = folder.join(format!("{name}.parquet"));
        let table = |problem: String| ReportError::Table { path: path.clone(), problem };
        let batch = self.batch().map_err(|error| table(error.to_string()))?;
        let file = File::create(&path).map_err(ReportError::io(&path))?;
        parquet::write(file, &batch).map_err(|error| table(error.to_string()))
    }
}

fn quoted(text: &str) -> String {
    // A spreadsheet takes what begins so for a formula.
    let text = if text.starts_with(['=', '+', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_empty_and_texts_are_quoted() {
        let table = Table::default()
            .text("scan, id", ["a\"b", "=c"].into_iter())
            .numbers("x", [Some(1.5), Some(f64::NAN)].into_iter())
            .is("is", [true, false].into_iter());
        assert_eq!(table.csv(), "\"scan, id\",x,is\n\"a\"\"b\",1.5,true\n'=c,,false\n");
        assert_eq!(table.batch().unwrap().num_rows(), 2);
        let dir = tempfile::tempdir().unwrap();
        table.write(dir.path(), "figure").unwrap();
        assert!(dir.path().join("figure.parquet").exists() && dir.path().join("figure.csv").exists());
        assert!(Table::default().csv().starts_with('\n'));
    }
}
