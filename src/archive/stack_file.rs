//! `stack.parquet`: what was measured, one row per pixel, row-major.
//!
//! Columns `y`, `x` (uint32), `counts` (list of float32, as long as the plan has energies, null where not
//! measured) and `i0` (the same, of the incident intensity that came with each value; a null list where none
//! came with any value of the pixel). The stack is never copied as a whole: a few thousand pixels at a time are
//! turned round and written, and a row group ends after about a million values.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, RecordBatch, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::publish::parquet as file;
use crate::publish::table::{floats, item_field};
use crate::stack::Stack;

/// Values in one batch, and in one row group.
const BATCH_VALUES: usize = 128 * 1024;
const GROUP_VALUES: usize = 1024 * 1024;

/// Writes the stack to `sink` and returns it.
pub(super) fn write<W: Write + Send>(sink: W, stack: &Stack) -> Result<W, ParquetError> {
    write_pixels(sink, stack, &schema(), [BATCH_VALUES, GROUP_VALUES], batch)
}

/// Writes one row per pixel, a batch of pixels (from, up to) at a time; `most` values of one column in a batch, and in a row group.
pub(super) fn write_pixels<W: Write + Send>(
    sink: W,
    stack: &Stack,
    schema: &SchemaRef,
    most: [usize; 2],
    batch: impl Fn(&Stack, usize, usize, SchemaRef) -> Result<RecordBatch, ArrowError>,
) -> Result<W, ParquetError> {
    let energies = stack.planes().len().max(1);
    let [rows, group] = most.map(|values| (values / energies).max(1));
    let mut writer = file::writer(sink, Arc::clone(schema), group)?;
    let pixels = stack.plan().grid.pixels();
    let mut first = 0;
    while first < pixels {
        let end = (first + rows).min(pixels);
        writer.write(&batch(stack, first, end, Arc::clone(schema))?)?;
        first = end;
    }
    writer.into_inner()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("y", DataType::UInt32, false),
        Field::new("x", DataType::UInt32, false),
        Field::new("counts", DataType::List(item_field()), false),
        Field::new("i0", DataType::List(item_field()), true),
    ]))
}

fn batch(stack: &Stack, first: usize, end: usize, schema: SchemaRef) -> Result<RecordBatch, ArrowError> {
    let (energies, nx) = (stack.planes().len(), stack.plan().grid.nx() as u32);
    let mut counts = Vec::with_capacity((end - first) * energies);
    let mut i0 = Vec::with_capacity((end - first) * energies);
    let mut has_i0 = Vec::with_capacity(end - first);
    let mut lengths = Vec::with_capacity(end - first);
    for pixel in first..end {
        let start = i0.len();
        for plane in stack.planes() {
            let value = plane.value(pixel);
            counts.push(value);
            // A plane's one I0 holds for what was measured only.
            i0.push(if value.is_nan() { f32::NAN } else { plane.i0_at(pixel) });
        }
        let any = i0[start..].iter().any(|i0| !i0.is_nan());
        if !any {
            i0.truncate(start);
        }
        has_i0.push(any);
        lengths.push(i0.len() - start);
    }
    let list = |values: &[f32], offsets, nulls| -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(ListArray::try_new(item_field(), offsets, floats(values), nulls)?))
    };
    let pixels = first as u32..end as u32;
    RecordBatch::try_new(
        schema,
        vec![
            Arc::new(UInt32Array::from_iter_values(pixels.clone().map(|p| p / nx))),
            Arc::new(UInt32Array::from_iter_values(pixels.map(|p| p % nx))),
            list(&counts, OffsetBuffer::from_repeated_length(energies, end - first), None)?,
            list(&i0, OffsetBuffer::from_lengths(lengths), Some(NullBuffer::from(has_i0)))?,
        ],
    )
}
