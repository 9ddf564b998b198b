//! `energies.parquet`: one row per energy of the plan, what was set, read back, assumed and measured at it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;

use crate::registration::Shift;
use crate::stack::Stack;

/// What the estimates say of one energy; `None` where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnergyRow {
    /// Incident intensity that the map was made with, in the unit of the values; where it differs from pixel to
    /// pixel, its mean.
    pub i0: Option<f64>,
    /// Where that came from: `stream`, `region`, `spectrum`, …
    pub i0_source: Option<String>,
    /// I0 less dark, per ms: to be compared from energy to energy whatever the dwell.
    pub i0_per_ms: Option<f64>,
    /// Relative scatter of the beam from line to line that was taken out.
    pub flicker: Option<f64>,
    /// Values that are not usable: without beam, stuck, out of line, saturated, not linear.
    pub flawed: u32,
    /// Energy offset as it was estimated, eV: energy of the references less that of the scan.
    pub offset_ev: Option<f64>,
    /// Energy at which the references were taken, eV.
    pub corrected_ev: Option<f64>,
    /// Displacement of the sample against the first image, as it was estimated, taken out or not: pixels.
    pub shift: Option<Shift>,
}

/// The table; `rows` is as long as the plan has energies.
pub(super) fn table(stack: &Stack, rows: &[EnergyRow]) -> Result<RecordBatch, ArrowError> {
    let plan = stack.plan();
    let pixels = plan.grid.pixels().max(1) as f64;
    let planes = stack.planes();
    let optional = |values: &mut dyn Iterator<Item = Option<f64>>| -> ArrayRef {
        Arc::new(values.map(|v| v.filter(|v| !v.is_nan())).collect::<Float64Array>())
    };
    let time = planes.iter().map(|plane| plane.first_time().map(|time| time.timestamp_micros()));
    let number = |name: &str, nullable| Field::new(name, DataType::Float64, nullable);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("index", DataType::UInt32, false),
            Arc::new(UInt32Array::from_iter_values(0..planes.len() as u32)),
        ),
        (number("energy_ev", false), Arc::new(Float64Array::from(plan.energies_ev.clone()))),
        (number("read_back_ev", true), optional(&mut planes.iter().map(|plane| plane.read_back_ev()))),
        (number("offset_ev", true), optional(&mut rows.iter().map(|row| row.offset_ev))),
        (number("corrected_ev", true), optional(&mut rows.iter().map(|row| row.corrected_ev))),
        (number("dwell_ms", false), Arc::new(Float64Array::from(plan.dwell_ms.clone()))),
        (number("i0", true), optional(&mut rows.iter().map(|row| row.i0))),
        (
            Field::new("i0_source", DataType::Utf8, true),
            Arc::new(rows.iter().map(|row| row.i0_source.as_deref()).collect::<StringArray>()),
        ),
        (number("ring_current_ma", true), optional(&mut planes.iter().map(|plane| plane.ring_current_ma()))),
        (number("dark", false), Arc::new(Float64Array::from(vec![plan.dark(); planes.len()]))),
        (number("shift_x", true), optional(&mut rows.iter().map(|row| Some(row.shift?.x)))),
        (number("shift_y", true), optional(&mut rows.iter().map(|row| Some(row.shift?.y)))),
        (number("shift_error_x", true), optional(&mut rows.iter().map(|row| Some(row.shift?.error_x)))),
        (number("shift_error_y", true), optional(&mut rows.iter().map(|row| Some(row.shift?.error_y)))),
        (
            Field::new("time", utc, true),
            Arc::new(time.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ),
        (
            number("coverage", false),
            Arc::new(Float64Array::from_iter_values(planes.iter().map(|p| p.measured() as f64 / pixels))),
        ),
        (number("i0_per_ms", true), optional(&mut rows.iter().map(|row| row.i0_per_ms))),
        (number("beam_flicker", true), optional(&mut rows.iter().map(|row| row.flicker))),
        (
            Field::new("flawed", DataType::UInt32, false),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.flawed))),
        ),
    ];
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
