//! Lines as columns, and back.

mod rows;

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray as _, BinaryArray, BinaryBuilder, Float32Array, Float64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt32Type};
use arrow::error::ArrowError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(super) use self::rows::lines;
use super::{Line, What};
use crate::scan::{BadPixels, Channel, DType, Encoding, FrameBatch, I0, Pixels, SampleBatch, ScanUpdate};

/// The columns.
pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let stamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, false)));
    let fields = vec![
        Field::new("batch", DataType::UInt32, false),
        Field::new("previous_crc", DataType::UInt32, false),
        Field::new("kind", DataType::UInt8, false),
        Field::new("seq", DataType::UInt64, false),
        Field::new("received", stamp.clone(), false),
        Field::new("time", stamp, true),
        Field::new("energy_index", DataType::UInt32, false),
        Field::new("first_pixel", DataType::UInt32, false),
        Field::new("count", DataType::UInt32, false),
        Field::new("pixels", list(DataType::UInt32), false),
        Field::new("values", list(DataType::Float32), false),
        Field::new("i0", DataType::Float32, true),
        Field::new("i0_each", list(DataType::Float32), false),
        Field::new("ring_current_ma", DataType::Float64, true),
        Field::new("energy_ev", DataType::Float64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("payload", DataType::Binary, true),
    ];
    let meaning = "0 started, 1 samples, 2 reduced from frames, 3 frames, 4 extended, 5 paused, 6 resumed, 7 ended, 8 skipped, 9 closed, 10 remarked";
    let metadata = [("phasewatch.format", super::FORMAT), ("phasewatch.kind", meaning)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Arc::new(Schema::new(fields).with_metadata(metadata))
});

/// What the column `kind` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Started,
    Samples,
    Reduced,
    Frames,
    Extended,
    Paused,
    Resumed,
    Ended,
    Skipped,
    Closed,
    Remarked,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Started,
        Self::Samples,
        Self::Reduced,
        Self::Frames,
        Self::Extended,
        Self::Paused,
        Self::Resumed,
        Self::Ended,
        Self::Skipped,
        Self::Closed,
        Self::Remarked,
    ];
}

/// What the column `text` holds, as JSON, of a line that is no samples.
#[derive(Serialize, Deserialize)]
struct Extension {
    energies_ev: Vec<f64>,
    dwell_ms: Option<Vec<f64>>,
    flux_ph_per_s: Option<Vec<f64>>,
}

/// What the column `text` says of frames.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Packing {
    /// Raw ones of one size.
    Even(DType),
    /// Any others.
    Each { dtype: DType, encoding: Encoding, sizes: Vec<usize> },
}

impl Packing {
    fn of(batch: &FrameBatch) -> Self {
        let (FrameBatch { dtype, encoding, frames, .. }, first) = (batch, batch.frames.first());
        let even = frames.iter().all(|frame| Some(frame.len()) == first.map(Bytes::len));
        if even && *encoding == Encoding::Raw {
            return Self::Even(*dtype);
        }
        let sizes = frames.iter().map(Bytes::len).collect();
        Self::Each { dtype: *dtype, encoding: *encoding, sizes }
    }

    /// The frames that a payload holds.
    fn unpack(self, batch: SampleBatch, payload: &[u8]) -> Option<FrameBatch> {
        let whole = Bytes::copy_from_slice(payload);
        let (dtype, encoding, sizes) = match self {
            Self::Even(dtype) => return Some(FrameBatch::raw(batch, dtype, &whole)),
            Self::Each { dtype, encoding, sizes } => (dtype, encoding, sizes),
        };
        let mut end = 0_usize;
        let frame = |size: usize| {
            let start = end;
            end = start.checked_add(size).filter(|end| *end <= whole.len())?;
            Some(whole.slice(start..end))
        };
        let frames: Vec<Bytes> = sizes.into_iter().map(frame).collect::<Option<_>>()?;
        (frames.len() == batch.pixels.len()).then_some(FrameBatch { batch, dtype, encoding, frames })
    }
}

/// What the column `text` says of samples: detector pixels found bad, and the channels whose values are the payload, one after the other.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Beside {
    #[serde(flatten)]
    bad: BadPixels,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<Channel>,
}

/// Lines that are becoming a batch.
#[derive(Debug, Default)]
pub(super) struct Columns {
    kind: Vec<u8>,
    seq: Vec<u64>,
    received: Vec<i64>,
    time: Vec<Option<i64>>,
    energy_index: Vec<u32>,
    first_pixel: Vec<u32>,
    count: Vec<u32>,
    pixels: Lists<u32>,
    values: Lists<f32>,
    i0: Vec<Option<f32>>,
    i0_each: Lists<f32>,
    ring_current_ma: Vec<Option<f64>>,
    energy_ev: Vec<Option<f64>>,
    text: Vec<Option<String>>,
    payload: Vec<Option<Vec<Bytes>>>,
    bytes: usize,
}

/// A column of lists.
#[derive(Debug)]
struct Lists<T> {
    ends: Vec<i32>,
    items: Vec<T>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { ends: vec![0], items: Vec::new() }
    }
}

impl<T: Copy> Lists<T> {
    fn push(&mut self, items: &[T]) {
        self.items.extend_from_slice(items);
        // A batch is closed long before it has so many; `Columns::bytes` says when.
        self.ends.push(self.items.len() as i32);
    }

    fn finish(
        self,
        array: impl FnOnce(ScalarBuffer<T>) -> ArrayRef,
        item: DataType,
    ) -> Result<ArrayRef, ArrowError>
    where
        T: arrow::datatypes::ArrowNativeType,
    {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        let field = Arc::new(Field::new("item", item, false));
        Ok(Arc::new(ListArray::try_new(field, offsets, array(ScalarBuffer::from(self.items)), None)?))
    }
}

impl Columns {
    pub(super) fn rows(&self) -> usize {
        self.kind.len()
    }

    /// No lines, with room for as many as these are, within reason.
    pub(super) fn with_the_same_room(&self) -> Self {
        const MOST_VALUES: usize = 1 << 19;
        let rows = self.rows().min(1 << 14);
        let lists = |values: usize| Lists {
            ends: {
                let mut ends = Vec::with_capacity(rows + 1);
                ends.push(0);
                ends
            },
            items: Vec::with_capacity(values),
        };
        Self {
            kind: Vec::with_capacity(rows),
            seq: Vec::with_capacity(rows),
            received: Vec::with_capacity(rows),
            time: Vec::with_capacity(rows),
            energy_index: Vec::with_capacity(rows),
            first_pixel: Vec::with_capacity(rows),
            count: Vec::with_capacity(rows),
            pixels: Lists { ends: lists(0).ends, items: Vec::new() },
            values: lists(self.values.items.len().min(MOST_VALUES)),
            i0: Vec::with_capacity(rows),
            i0_each: lists(self.i0_each.items.len().min(MOST_VALUES)),
            ring_current_ma: Vec::with_capacity(rows),
            energy_ev: Vec::with_capacity(rows),
            text: Vec::with_capacity(rows),
            payload: Vec::with_capacity(rows),
            bytes: 0,
        }
    }

    /// About the bytes they will take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, line: &Line) {
        self.bytes += line.what.bytes();
        self.seq.push(line.seq);
        self.received.push(line.received.timestamp_micros());
        let (kind, text) = match &line.what {
            What::Update(ScanUpdate::Samples(batch)) => {
                self.samples(batch, &batch.values);
                return self.finish_samples(Kind::Samples, batch, &BadPixels::default());
            }
            What::Update(ScanUpdate::Reduced(batch, bad)) => {
                self.samples(batch, &batch.values);
                return self.finish_samples(Kind::Reduced, batch, bad);
            }
            What::Update(ScanUpdate::Frames(frames)) => {
                self.samples(&frames.batch, &[]);
                let packing = json(&Packing::of(frames));
                self.bytes += packing.len();
                return self.finish_row(Kind::Frames, Some(packing), Some(frames.frames.clone()));
            }
            What::Update(ScanUpdate::Started(plan)) => (Kind::Started, Some(json(plan))),
            What::Update(ScanUpdate::Extended { energies_ev, dwell_ms, flux_ph_per_s }) => {
                let extension = Extension {
                    energies_ev: energies_ev.clone(),
                    dwell_ms: dwell_ms.clone(),
                    flux_ph_per_s: flux_ph_per_s.clone(),
                };
                (Kind::Extended, Some(json(&extension)))
            }
            What::Update(ScanUpdate::Paused) => (Kind::Paused, None),
            What::Update(ScanUpdate::Resumed) => (Kind::Resumed, None),
            What::Update(ScanUpdate::Skipped) => (Kind::Skipped, None),
            What::Update(ScanUpdate::Ended(outcome)) => (Kind::Ended, Some(json(outcome))),
            What::Update(ScanUpdate::Remarked(remark)) => (Kind::Remarked, Some(json(remark))),
            What::Closed(outcome) => (Kind::Closed, Some(json(outcome))),
        };
        self.bytes += text.as_ref().map_or(0, String::len);
        self.no_samples();
        self.finish_row(kind, text, None);
    }

    fn samples(&mut self, batch: &SampleBatch, values: &[f32]) {
        self.time.push(batch.time.map(|time| time.timestamp_micros()));
        self.energy_index.push(batch.energy_index);
        let (first, count, list) = match &batch.pixels {
            Pixels::Run { first, count } => (*first, *count, &[][..]),
            Pixels::List(list) => (0, list.len() as u32, list.as_slice()),
        };
        self.first_pixel.push(first);
        self.count.push(count);
        self.pixels.push(list);
        self.values.push(values);
        let (one, each) = match &batch.i0 {
            I0::None => (None, &[][..]),
            I0::One(i0) => (Some(*i0), &[][..]),
            I0::Each(list) => (None, list.as_slice()),
        };
        self.i0.push(one);
        self.i0_each.push(each);
        self.ring_current_ma.push(batch.ring_current_ma);
        self.energy_ev.push(batch.energy_ev);
        self.bytes += 4 * (list.len() + each.len());
    }

    fn no_samples(&mut self) {
        self.time.push(None);
        self.energy_index.push(0);
        self.first_pixel.push(0);
        self.count.push(0);
        self.pixels.push(&[]);
        self.values.push(&[]);
        self.i0.push(None);
        self.i0_each.push(&[]);
        self.ring_current_ma.push(None);
        self.energy_ev.push(None);
    }

    fn finish_samples(&mut self, kind: Kind, batch: &SampleBatch, bad: &BadPixels) {
        let channels = batch.others.iter().map(|(channel, _)| *channel).collect();
        let beside = Beside { bad: bad.clone(), channels };
        let text = (beside != Beside::default()).then(|| json(&beside));
        let values = |values: &Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let payload = batch.others.iter().map(|(_, list)| values(list)).collect();
        self.finish_row(kind, text, (!batch.others.is_empty()).then_some(payload));
    }

    fn finish_row(&mut self, kind: Kind, text: Option<String>, payload: Option<Vec<Bytes>>) {
        self.kind.push(kind as u8);
        self.text.push(text);
        self.payload.push(payload);
    }

    /// All of it as batch `number`, behind a message of that checksum.
    pub(super) fn finish(self, number: u32, previous_crc: u32) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows();
        let stamps = |array: TimestampMicrosecondArray| Arc::new(array.with_timezone("UTC")) as ArrayRef;
        let floats = |items| Arc::new(Float32Array::new(items, None)) as ArrayRef;
        let pixels = |items| Arc::new(UInt32Array::new(items, None)) as ArrayRef;
        RecordBatch::try_new(
            Arc::clone(&SCHEMA),
            vec![
                Arc::new(UInt32Array::from_value(number, rows)),
                Arc::new(UInt32Array::from_value(previous_crc, rows)),
                Arc::new(UInt8Array::from(self.kind)),
                Arc::new(UInt64Array::from(self.seq)),
                stamps(self.received.into()),
                stamps(self.time.into()),
                Arc::new(UInt32Array::from(self.energy_index)),
                Arc::new(UInt32Array::from(self.first_pixel)),
                Arc::new(UInt32Array::from(self.count)),
                self.pixels.finish(pixels, DataType::UInt32)?,
                self.values.finish(floats, DataType::Float32)?,
                Arc::new(Float32Array::from(self.i0)),
                self.i0_each.finish(floats, DataType::Float32)?,
                Arc::new(Float64Array::from(self.ring_current_ma)),
                Arc::new(Float64Array::from(self.energy_ev)),
                Arc::new(StringArray::from(self.text)),
                Arc::new(binary(self.payload)),
            ],
        )
    }
}

/// A column of bytes, each value made of its pieces.
fn binary(column: Vec<Option<Vec<Bytes>>>) -> BinaryArray {
    let mut builder = BinaryBuilder::with_capacity(column.len(), 0);
    for value in column {
        match value {
            Some(pieces) => builder.append_value(pieces.concat()),
            None => builder.append_null(),
        }
    }
    builder.finish()
}

fn json(value: &impl Serialize) -> String {
    // Plans, outcomes and lists of numbers have no keys that JSON could not write.
    serde_json::to_string(value).unwrap_or_default()
}

/// The checksum that a batch says the message before it has.
pub(super) fn previous_crc(batch: &RecordBatch) -> Option<u32> {
    let column = batch.column_by_name("previous_crc")?.as_primitive_opt::<UInt32Type>()?;
    (!column.is_empty()).then(|| column.value(0))
}
