//! Columns as lines again. A row that is no line is left out and counted; of one with another table of columns none is.

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    Float32Type, Float64Type, TimestampMicrosecondType, UInt8Type, UInt32Type, UInt64Type,
};
use chrono::{DateTime, Utc};

use super::{Beside, Extension, Kind, Packing, SCHEMA};
use crate::journal::{Line, What};
use crate::scan::{BadPixels, Channel, I0, Outcome, Pixels, SampleBatch, ScanUpdate};

/// The lines of a batch; those that are none are left out and counted.
pub(in crate::journal) fn lines(batch: &RecordBatch) -> (Vec<Line>, usize) {
    if batch.schema_ref().fields() != SCHEMA.fields() {
        return (Vec::new(), batch.num_rows());
    }
    let rows = Rows { batch };
    let lines: Vec<Line> = (0..batch.num_rows()).filter_map(|row| rows.line(row)).collect();
    let bad = batch.num_rows() - lines.len();
    (lines, bad)
}

/// Reads rows of a batch that has the columns of [`SCHEMA`].
struct Rows<'a> {
    batch: &'a RecordBatch,
}

impl Rows<'_> {
    fn column(&self, name: &str) -> &ArrayRef {
        // The fields were compared, so that the column is there and of its type.
        &self.batch.columns()[SCHEMA.index_of(name).unwrap_or_default()]
    }

    fn u32(&self, name: &str, row: usize) -> u32 {
        self.column(name).as_primitive::<UInt32Type>().value(row)
    }

    fn f64(&self, name: &str, row: usize) -> Option<f64> {
        let column = self.column(name).as_primitive::<Float64Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    fn stamp(&self, name: &str, row: usize) -> Option<DateTime<Utc>> {
        let column = self.column(name).as_primitive::<TimestampMicrosecondType>();
        column.is_valid(row).then(|| column.value(row)).and_then(DateTime::from_timestamp_micros)
    }

    fn floats(&self, name: &str, row: usize) -> Vec<f32> {
        let list = self.column(name).as_list::<i32>().value(row);
        list.as_primitive::<Float32Type>().values().to_vec()
    }

    fn text(&self, row: usize) -> Option<&str> {
        let column = self.column("text").as_string::<i32>();
        column.is_valid(row).then(|| column.value(row))
    }

    fn line(&self, row: usize) -> Option<Line> {
        let kind = self.column("kind").as_primitive::<UInt8Type>().value(row);
        let parsed = || self.text(row);
        let update = match *Kind::ALL.get(usize::from(kind))? {
            Kind::Started => ScanUpdate::Started(serde_json::from_str(parsed()?).ok()?),
            Kind::Samples => ScanUpdate::Samples(self.channels(row)?.0),
            Kind::Reduced => {
                let (batch, bad) = self.channels(row)?;
                ScanUpdate::Reduced(batch, bad)
            }
            Kind::Frames => {
                let payload = self.column("payload").as_binary::<i32>();
                let packing: Packing = serde_json::from_str(parsed()?).ok()?;
                let bytes = payload.is_valid(row).then(|| payload.value(row))?;
                ScanUpdate::Frames(packing.unpack(self.samples(row, false)?, bytes)?)
            }
            Kind::Extended => {
                let Extension { energies_ev, dwell_ms, flux_ph_per_s } =
                    serde_json::from_str(parsed()?).ok()?;
                ScanUpdate::Extended { energies_ev, dwell_ms, flux_ph_per_s }
            }
            Kind::Paused => ScanUpdate::Paused,
            Kind::Resumed => ScanUpdate::Resumed,
            Kind::Ended => ScanUpdate::Ended(serde_json::from_str(parsed()?).ok()?),
            Kind::Skipped => ScanUpdate::Skipped,
            Kind::Remarked => ScanUpdate::Remarked(serde_json::from_str(parsed()?).ok()?),
            Kind::Closed => {
                let outcome: Outcome = serde_json::from_str(parsed()?).ok()?;
                return self.stamped(row, What::Closed(outcome));
            }
        };
        self.stamped(row, What::Update(update))
    }

    fn stamped(&self, row: usize, what: What) -> Option<Line> {
        let seq = self.column("seq").as_primitive::<UInt64Type>().value(row);
        Some(Line { seq, received: self.stamp("received", row)?, what })
    }

    /// Samples with all their channels.
    fn channels(&self, row: usize) -> Option<(SampleBatch, BadPixels)> {
        let beside =
            self.text(row).map_or(Some(Beside::default()), |text| serde_json::from_str(text).ok())?;
        let mut batch = self.samples(row, true)?;
        let count = batch.values.len();
        if !beside.channels.is_empty() {
            let payload = self.column("payload").as_binary::<i32>();
            let (values, rest) = payload.is_valid(row).then(|| payload.value(row))?.as_chunks();
            let values: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let twice = |(index, channel): (usize, &Channel)| beside.channels[..index].contains(channel);
            let is_good = rest.is_empty()
                && count.checked_mul(beside.channels.len()) == Some(values.len())
                && !beside.channels.contains(&batch.channel)
                && !beside.channels.iter().enumerate().any(twice);
            let lists = is_good.then(|| values.chunks(count.max(1)).map(<[f32]>::to_vec))?;
            batch.others = beside.channels.into_iter().zip(lists).collect();
        }
        Some((batch, beside.bad))
    }

    fn samples(&self, row: usize, with_values: bool) -> Option<SampleBatch> {
        let listed = self.column("pixels").as_list::<i32>().value(row);
        let listed = listed.as_primitive::<UInt32Type>().values();
        let count = self.u32("count", row);
        let pixels = if listed.is_empty() {
            let first = self.u32("first_pixel", row);
            first.checked_add(count)?;
            Pixels::Run { first, count }
        } else {
            Pixels::List(listed.to_vec())
        };
        let one = self.column("i0").as_primitive::<Float32Type>();
        let each = self.floats("i0_each", row);
        let i0 = match one.is_valid(row).then(|| one.value(row)) {
            Some(i0) => I0::One(i0),
            None if each.is_empty() => I0::None,
            None => I0::Each(each),
        };
        let values = self.floats("values", row);
        let fits = |found: usize| found == count as usize;
        let good = pixels.len() == count as usize
            && (if with_values { fits(values.len()) } else { values.is_empty() })
            && !matches!(&i0, I0::Each(list) if !fits(list.len()));
        good.then(|| SampleBatch {
            energy_index: self.u32("energy_index", row),
            pixels,
            channel: Channel::Intensity,
            others: Vec::new(),
            values,
            i0,
            ring_current_ma: self.f64("ring_current_ma", row),
            energy_ev: self.f64("energy_ev", row),
            time: self.stamp("time", row),
        })
    }
}
