//! Stacks of our own archive: `stack.parquet`, with `manifest.json` and `energies.parquet` beside it.
//!
//! `manifest.json` holds the plan. `stack.parquet` has one row per pixel, in any order: `y` and `x` (uint32),
//! `counts` (list of float32, one per energy of the plan, null where not measured), and optionally `i0` (the
//! same shape). `energies.parquet` adds ring current, read-back and time where it is there. A pixel outside the
//! grid, or that comes twice, or a list of another length, is an error that names the row.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType, UInt32Type};
use chrono::{DateTime, Utc};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{MAX_VALUES, RecordedPlane, Recording, RecordingError, read_text};
use crate::scan::{PixelSet, ScanPlan};

/// Longest manifest, bytes.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

pub(super) fn load(path: &Path) -> Result<Recording, RecordingError> {
    let plan = read_plan(&path.with_file_name("manifest.json"))?;
    let (reader, rows) = open(path)?;
    if rows != plan.grid.pixels() {
        let problem = format!("{rows} rows; the plan has {} pixels", plan.grid.pixels());
        return Err(RecordingError::content(path, problem));
    }
    let mut filler = Filler::new(path, &plan);
    for batch in reader {
        filler.take(&batch.map_err(|error| RecordingError::content(path, error))?)?;
    }
    let mut planes = filler.planes;
    let beside = path.with_file_name("energies.parquet");
    if beside.exists() {
        read_energies(&beside, &mut planes)?;
    }
    Ok(Recording { plan, planes, i0: None, warnings: Vec::new() })
}

fn read_plan(path: &Path) -> Result<ScanPlan, RecordingError> {
    /// What is needed of the manifest; the rest is for other readers.
    #[derive(serde::Deserialize)]
    struct Manifest {
        plan: ScanPlan,
    }
    let text = read_text(path, MAX_MANIFEST_BYTES)?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| RecordingError::content(path, error))?;
    let plan = manifest.plan;
    plan.validate().map_err(|source| RecordingError::Plan { path: path.to_owned(), source })?;
    if plan.planned_values() > MAX_VALUES {
        let problem = format!("{} values; at most {MAX_VALUES} are read", plan.planned_values());
        return Err(RecordingError::content(path, problem));
    }
    Ok(plan)
}

/// A reader, and how many rows the file says it has.
fn open(path: &Path) -> Result<(ParquetRecordBatchReader, usize), RecordingError> {
    let file = File::open(path).map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| RecordingError::content(path, error))?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    let reader =
        builder.with_batch_size(1024).build().map_err(|error| RecordingError::content(path, error))?;
    Ok((reader, rows))
}

/// Sorts rows of pixels into planes of energies.
struct Filler<'a> {
    path: &'a Path,
    plan: &'a ScanPlan,
    planes: Vec<RecordedPlane>,
    seen: PixelSet,
    rows: usize,
}

impl<'a> Filler<'a> {
    fn new(path: &'a Path, plan: &'a ScanPlan) -> Self {
        let planes = vec![RecordedPlane::default(); plan.energies_ev.len()];
        Self { path, plan, planes, seen: PixelSet::new(plan.grid.pixels()), rows: 0 }
    }

    fn error(&self, problem: impl std::fmt::Display) -> RecordingError {
        RecordingError::content(self.path, problem)
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), RecordingError> {
        let y = self.column(batch, "y", &DataType::UInt32)?;
        let x = self.column(batch, "x", &DataType::UInt32)?;
        let counts = self.lists(batch, "counts")?;
        let i0 = batch.column_by_name("i0").map(|_| self.lists(batch, "i0")).transpose()?;
        let (y, x) = (y.as_primitive::<UInt32Type>(), x.as_primitive::<UInt32Type>());
        for row in 0..batch.num_rows() {
            let [ny, nx] = self.plan.grid.shape;
            let (iy, ix) = (y.value(row) as usize, x.value(row) as usize);
            let pixel = iy.saturating_mul(nx).saturating_add(ix);
            if iy >= ny || ix >= nx || !self.seen.insert(pixel) {
                return Err(self.error(format_args!(
                    "row {}: pixel y {iy}, x {ix} is outside the {ny}×{nx} grid or comes twice",
                    self.rows + row
                )));
            }
            self.fill(row, pixel, &counts, |plane| &mut plane.values)?;
            if let Some(i0) = &i0 {
                self.fill(row, pixel, i0, |plane| &mut plane.i0)?;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    fn fill(
        &mut self,
        row: usize,
        pixel: usize,
        lists: &ListArray,
        column: impl Fn(&mut RecordedPlane) -> &mut Vec<f32>,
    ) -> Result<(), RecordingError> {
        if lists.is_null(row) {
            return Ok(());
        }
        let list = lists.value(row);
        if list.len() != self.planes.len() {
            return Err(self.error(format_args!(
                "row {}: a list of {} values for {} energies",
                self.rows + row,
                list.len(),
                self.planes.len()
            )));
        }
        let list: &Float32Array = list.as_primitive::<Float32Type>();
        let pixels = self.plan.grid.pixels();
        for (plane, value) in self.planes.iter_mut().zip(list) {
            if let Some(value) = value.filter(|value| !value.is_nan()) {
                let values = column(plane);
                if values.is_empty() {
                    *values = vec![f32::NAN; pixels];
                }
                values[pixel] = value;
            }
        }
        Ok(())
    }

    fn column(&self, batch: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef, RecordingError> {
        let column =
            batch.column_by_name(name).ok_or_else(|| self.error(format_args!("no column {name}")))?;
        if column.data_type() != wanted || column.null_count() > 0 {
            return Err(self.error(format_args!("column {name} must be {wanted} without nulls")));
        }
        Ok(column.clone())
    }

    /// A column of lists of float32, whatever its items are called.
    fn lists(&self, batch: &RecordBatch, name: &str) -> Result<ListArray, RecordingError> {
        let column =
            batch.column_by_name(name).ok_or_else(|| self.error(format_args!("no column {name}")))?;
        match column.data_type() {
            DataType::List(item) if item.data_type() == &DataType::Float32 => {
                Ok(column.as_list::<i32>().clone())
            }
            other => Err(self.error(format_args!("column {name} is {other}; expected list<float32>"))),
        }
    }
}

/// Adds ring current, read-back and time to the planes; columns that are missing stay unknown.
fn read_energies(path: &Path, planes: &mut [RecordedPlane]) -> Result<(), RecordingError> {
    let (reader, rows) = open(path)?;
    if rows != planes.len() {
        let problem = format!("{rows} rows; the plan has {} energies", planes.len());
        return Err(RecordingError::content(path, problem));
    }
    let mut first = 0;
    for batch in reader {
        let batch = batch.map_err(|error| RecordingError::content(path, error))?;
        let numbers = |name: &str| column_as(&batch, name, &DataType::Float64);
        let (ring, read_back) =
            (numbers("ring_current_ma"), numbers("read_back_ev").or_else(|| numbers("readback_ev")));
        let microseconds = DataType::Timestamp(TimeUnit::Microsecond, None);
        let time = column_as(&batch, "time", &microseconds);
        for (row, plane) in planes.iter_mut().skip(first).take(batch.num_rows()).enumerate() {
            let number = |column: &Option<ArrayRef>| {
                let column = column.as_ref()?.as_primitive::<Float64Type>();
                column.is_valid(row).then(|| column.value(row)).filter(|value| value.is_finite())
            };
            plane.ring_current_ma = number(&ring);
            plane.read_back_ev = number(&read_back);
            plane.time = time.as_ref().and_then(|time| {
                let time = time.as_primitive::<TimestampMicrosecondType>();
                time.is_valid(row).then(|| DateTime::<Utc>::from_timestamp_micros(time.value(row))).flatten()
            });
        }
        first += batch.num_rows();
    }
    Ok(())
}

fn column_as(batch: &RecordBatch, name: &str, wanted: &DataType) -> Option<ArrayRef> {
    cast(batch.column_by_name(name)?, wanted).ok()
}
