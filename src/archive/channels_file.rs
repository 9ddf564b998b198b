//! `channels.parquet`: what was measured beside the intensity, one row per pixel, row-major; only where anything was.
//!
//! Columns `y` and `x` (grid position, uint32), and `dark_field`, `com_y`, `com_x` (list of float32, one item per energy, null = not
//! measured; a null list where none came for the pixel): always these, whatever came. Written some thousand pixels at a time, as
//! `stack.parquet` is.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, ListArray, RecordBatch, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::OpenError;
use super::stack_file::write_pixels;
use crate::publish::table::{floats, item_field};
use crate::scan::{Channel, ScanPlan};
use crate::stack::Stack;

/// Its name.
pub(super) const NAME: &str = "channels.parquet";
/// Values of a channel in one batch, and in one row group.
const BATCH_VALUES: usize = 64 * 1024;
const GROUP_VALUES: usize = 512 * 1024;

/// Writes what else was measured to `sink` and returns it.
pub(super) fn write<W: Write + Send>(sink: W, stack: &Stack) -> Result<W, ParquetError> {
    write_pixels(sink, stack, &schema(), [BATCH_VALUES, GROUP_VALUES], batch)
}

fn schema() -> SchemaRef {
    let position = |name: &str| Field::new(name, DataType::UInt32, false);
    let channels =
        Channel::OTHERS.map(|channel| Field::new(channel.name(), DataType::List(item_field()), true));
    Arc::new(Schema::new([position("y"), position("x")].into_iter().chain(channels).collect::<Vec<_>>()))
}

fn batch(stack: &Stack, first: usize, end: usize, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let nx = stack.plan().grid.nx() as u32;
    let pixels = first as u32..end as u32;
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(pixels.clone().map(|p| p / nx))),
        Arc::new(UInt32Array::from_iter_values(pixels.map(|p| p % nx))),
    ];
    for channel in Channel::OTHERS {
        let planes: Vec<&[f32]> = stack.planes().iter().map(|plane| plane.other(channel)).collect();
        let (mut values, mut lengths, mut is_there) = (Vec::new(), Vec::new(), Vec::new());
        for pixel in first..end {
            let start = values.len();
            values.extend(planes.iter().map(|plane| plane.get(pixel).copied().unwrap_or(f32::NAN)));
            let any = values[start..].iter().any(|value| !value.is_nan());
            if !any {
                values.truncate(start);
            }
            is_there.push(any);
            lengths.push(values.len() - start);
        }
        let (offsets, nulls) = (OffsetBuffer::from_lengths(lengths), Some(NullBuffer::from(is_there)));
        columns.push(Arc::new(ListArray::try_new(item_field(), offsets, floats(&values), nulls)?));
    }
    RecordBatch::try_new(schema, columns)
}

/// The values of a channel at one energy of an archived scan, row-major, NaN where not measured.
///
/// # Errors
/// [`OpenError`]: the file is not there, or is not what it should be.
pub fn open_channel(
    folder: &Path,
    plan: &ScanPlan,
    channel: Channel,
    energy: usize,
) -> Result<Vec<f32>, OpenError> {
    let path = folder.join(NAME);
    let content = |problem: String| OpenError::Content { path: path.display().to_string(), problem };
    let opened = File::open(&path);
    let file = opened.map_err(|error| OpenError::Io { path: path.display().to_string(), error })?;
    let broken = |error: &dyn std::fmt::Display| content(error.to_string());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| broken(&error))?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["y", "x", channel.name()]);
    let reader = builder.with_projection(columns).build().map_err(|error| broken(&error))?;
    let [ny, nx] = plan.grid.shape;
    let mut values = vec![f32::NAN; plan.grid.pixels()];
    for batch in reader {
        let batch = batch.map_err(|error| broken(&error))?;
        let axis = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
        let lists = batch.column_by_name(channel.name()).and_then(|column| column.as_list_opt::<i32>());
        let (Some(y), Some(x), Some(lists)) = (axis("y"), axis("x"), lists) else {
            return Err(content(format!("no columns y, x and {}", channel.name())));
        };
        for row in 0..batch.num_rows() {
            let (y, x) = (y.value(row) as usize, x.value(row) as usize);
            if y >= ny || x >= nx {
                return Err(content(format!("pixel y {y}, x {x} is outside the grid")));
            }
            let list = lists.is_valid(row).then(|| lists.value(row));
            let Some(list) = list.as_ref().and_then(|list| list.as_primitive_opt::<Float32Type>()) else {
                continue;
            };
            if energy < list.len() && list.is_valid(energy) {
                values[y * nx + x] = list.value(energy);
            }
        }
    }
    Ok(values)
}
