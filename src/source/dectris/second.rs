//! DECTRIS Stream V2: one CBOR item for each message.
//!
//! Fields are found by their names, in any order; unknown ones are passed over. Arrays are typed arrays with dimensions (tags 40 and
//! 64 to 87), whose bytes may be packed (tag 56500). The bytes of a frame are a slice of the message, never copied. What is
//! announced takes no memory before it is there: only masks are unpacked here, and their size has to be that of the frame.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};
use serde_json::{Map, Value};

use super::message::{Image, Key, Message, SeriesStart, note, runs, shape};
use crate::detector::compressed::{Element, decode};
use crate::scan::{DType, Encoding};
use crate::source::adapter::AdapterRefusal;
use crate::source::geometry::SeriesFacts;

/// What a self-described message begins with.
const SELF_DESCRIBED: u64 = 55_799;
const MULTI_DIMENSIONAL: u64 = 40;
const PACKED: u64 = 56_500;
/// Longest note of others that is read, bytes.
const MAX_NOTE: usize = 1 << 20;
/// Deepest nesting that is read of what others put into a series.
const DEEPEST: usize = 16;

type Read<T> = Result<T, AdapterRefusal>;

/// Reads a message; `channel` names the one of several whose frames count, the first where nothing is said.
pub(super) fn read<'b>(message: &'b Bytes, channel: Option<&str>) -> Read<Message<'b>> {
    let mut fields = Fields::default();
    fields.read(message, channel).map_err(wrong)?;
    let key = Key { number: fields.series.ok_or_else(|| missing("series_id"))?, unique: fields.unique };
    match fields.kind {
        Some("start") => fields.start(key).map(|start| Message::Start(Box::new(start))),
        Some("image") => fields.image(key, message).map(Message::Image),
        Some("end") => Ok(Message::End(key)),
        Some(_) => Ok(Message::Other),
        None => Err(missing("type")),
    }
}

/// What a message is, as far as that can be seen without its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Outer<'b> {
    /// `type`.
    pub(in crate::source) kind: &'b str,
    /// `series_id`.
    pub(in crate::source) series: Option<u64>,
    /// `image_id`.
    pub(in crate::source) image: Option<u64>,
    /// `number_of_images`.
    pub(in crate::source) images: Option<u64>,
}

/// Looks at a message; `None` where it is none of this stream.
pub(in crate::source) fn outer(message: &[u8]) -> Option<Outer<'_>> {
    let mut fields = Fields::default();
    fields.read(message, None).ok()?;
    let kind = fields.kind?;
    Some(Outer { kind, series: fields.series, image: fields.number, images: fields.images })
}

fn wrong(error: Error) -> AdapterRefusal {
    AdapterRefusal::new("cbor", error)
}

fn missing(field: &str) -> AdapterRefusal {
    AdapterRefusal::new("header", format_args!("no {field} that can be read"))
}

/// The fields that matter, as far as they are there.
#[derive(Debug, Default)]
struct Fields<'b> {
    kind: Option<&'b str>,
    series: Option<u64>,
    unique: Option<&'b str>,
    number: Option<u64>,
    images: Option<u64>,
    width: Option<u64>,
    height: Option<u64>,
    saturation: Option<f64>,
    count_time_s: Option<f64>,
    energy_ev: Option<f64>,
    armed: Option<DateTime<Utc>>,
    start_s: Option<f64>,
    note: Option<&'b [u8]>,
    mask: Option<Array<'b>>,
    data: Option<Array<'b>>,
}

/// A typed array of two dimensions.
#[derive(Clone, Copy, Debug)]
struct Array<'b> {
    shape: [u64; 2],
    dtype: Option<DType>,
    encoding: Encoding,
    bytes: &'b [u8],
}

impl<'b> Fields<'b> {
    fn read(&mut self, message: &'b [u8], channel: Option<&str>) -> Result<(), Error> {
        let mut from = Decoder::new(message);
        if from.datatype()? == Type::Tag {
            let tag = from.tag()?.as_u64();
            if tag != SELF_DESCRIBED {
                return Err(Error::message(format!("tag {tag} is not that of a self-described item")));
            }
        }
        let mut left = from.map()?;
        while more(&mut from, &mut left)? {
            match from.str()? {
                "type" => self.kind = Some(from.str()?),
                "series_id" => self.series = Some(from.u64()?),
                "series_unique_id" => self.unique = text(&mut from)?,
                "image_id" => self.number = Some(from.u64()?),
                "number_of_images" => self.images = number(&mut from)?.map(|count| count as u64),
                "image_size_x" => self.width = Some(from.u64()?),
                "image_size_y" => self.height = Some(from.u64()?),
                "saturation_value" => self.saturation = number(&mut from)?,
                "count_time" => self.count_time_s = number(&mut from)?,
                "incident_energy" => self.energy_ev = number(&mut from)?,
                "arm_date" => self.armed = date(&mut from)?,
                "start_time" => self.start_s = ratio(&mut from)?,
                "user_data" => {
                    let begin = from.position();
                    from.skip()?;
                    self.note = message.get(begin..from.position());
                }
                "pixel_mask" => self.mask = of_channel(&mut from, channel)?,
                "data" => self.data = of_channel(&mut from, channel)?,
                _ => from.skip()?,
            }
        }
        Ok(())
    }

    fn start(self, key: Key<'_>) -> Read<SeriesStart> {
        let (height, width) = self.height.zip(self.width).ok_or_else(|| missing("image_size"))?;
        let shape = shape(height, width)?;
        let facts = SeriesFacts {
            heard: true,
            number: key.number,
            images: self.images,
            energy_ev: self.energy_ev.filter(|energy_ev| *energy_ev > 0.0),
            shape,
            saturation: self.saturation.filter(|level| *level > 0.0),
            left_out: self.mask.map(|mask| mask.left_out(shape)).transpose()?.unwrap_or_default(),
            count_time_s: self.count_time_s,
        };
        let said =
            self.note.filter(|note| note.len() <= MAX_NOTE).map(|note| json(&mut Decoder::new(note), 0));
        let said = said.transpose().map_err(wrong)?.and_then(note);
        Ok(SeriesStart { facts, unique: key.unique.map(str::to_owned), armed: self.armed, note: said })
    }

    fn image(self, key: Key<'b>, message: &Bytes) -> Read<Image<'b>> {
        let data = self.data.ok_or_else(|| missing("data of the channel"))?;
        let dtype = data.dtype.ok_or_else(|| {
            AdapterRefusal::new(
                "dtype",
                "values of a frame have to be unsigned and little-endian, of 8, 16 or 32 bits",
            )
        })?;
        Ok(Image {
            series: key,
            number: self.number.ok_or_else(|| missing("image_id"))?,
            shape: shape(data.shape[0], data.shape[1])?,
            dtype,
            encoding: data.encoding,
            bytes: message.slice_ref(data.bytes),
            start_s: self.start_s,
        })
    }
}

impl Array<'_> {
    /// The pixels that it names, where it is a mask of such frames.
    fn left_out(self, shape: [usize; 2]) -> Read<Vec<[u32; 2]>> {
        let wrong = |what: &dyn std::fmt::Display| AdapterRefusal::new("pixel_mask", what);
        if self.dtype != Some(DType::Uint32) || self.shape.map(|side| side as usize) != shape {
            return Err(wrong(&"the mask is not of 32-bit numbers, one for each pixel of a frame"));
        }
        if self.encoding == Encoding::Raw {
            if self.bytes.len() != 4 * shape[0] * shape[1] {
                return Err(wrong(&"the mask has another size than its dimensions"));
            }
            return Ok(runs(self.bytes));
        }
        // Before room is made for it: LZ4 packs at most 255 to 1.
        if (4 * shape[0] * shape[1]) / 255 > self.bytes.len() {
            return Err(wrong(&"the mask cannot have as many values as it announces"));
        }
        let mut mask = Vec::new();
        decode(self.encoding, Element::U32, self.bytes, 4 * shape[0] * shape[1], &mut mask)
            .map_err(|error| wrong(&error))?;
        Ok(runs(&mask))
    }
}

/// Whether an array or map has something more, of a length that was told or not.
fn more(from: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Error> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None if from.datatype()? == Type::Break => from.skip().map(|()| false),
        None => Ok(true),
    }
}

/// A number of any type; `None` where there is something else.
fn number(from: &mut Decoder<'_>) -> Result<Option<f64>, Error> {
    let number = match from.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => from.u64()? as f64,
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => from.i64()? as f64,
        Type::F16 => f64::from(from.f16()?),
        Type::F32 => f64::from(from.f32()?),
        Type::F64 => from.f64()?,
        _ => return from.skip().map(|()| None),
    };
    Ok(Some(number).filter(|number| number.is_finite()))
}

fn text<'b>(from: &mut Decoder<'b>) -> Result<Option<&'b str>, Error> {
    if from.datatype()? == Type::String { from.str().map(Some) } else { from.skip().map(|()| None) }
}

/// A date as text, with or without its tag.
fn date(from: &mut Decoder<'_>) -> Result<Option<DateTime<Utc>>, Error> {
    if from.datatype()? == Type::Tag {
        from.tag()?;
    }
    let text = text(from)?;
    Ok(text.and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|time| time.with_timezone(&Utc)))
}

/// `[numerator, denominator]`.
fn ratio(from: &mut Decoder<'_>) -> Result<Option<f64>, Error> {
    if !matches!(from.datatype()?, Type::Array) {
        return from.skip().map(|()| None);
    }
    let (mut left, mut values) = (from.array()?, Vec::with_capacity(2));
    while more(from, &mut left)? {
        let value = number(from)?;
        if values.len() < 2 {
            values.push(value);
        }
    }
    Ok(match values[..] {
        [Some(above), Some(below)] if below > 0.0 => Some(above / below),
        _ => None,
    })
}

/// The array of the channel that is wanted, in a map by channel.
fn of_channel<'b>(from: &mut Decoder<'b>, wanted: Option<&str>) -> Result<Option<Array<'b>>, Error> {
    if !matches!(from.datatype()?, Type::Map | Type::MapIndef) {
        return from.skip().map(|()| None);
    }
    let (mut left, mut found) = (from.map()?, None);
    while more(from, &mut left)? {
        let name = from.str()?;
        if found.is_none() && wanted.is_none_or(|wanted| wanted == name) {
            found = Some(array(from)?);
        } else {
            from.skip()?;
        }
    }
    Ok(found)
}

/// A multi-dimensional array of two dimensions, or of three with one image.
fn array<'b>(from: &mut Decoder<'b>) -> Result<Array<'b>, Error> {
    let two = |what: &str| Error::message(format!("an array of two dimensions belongs where {what} came"));
    let tag = from.tag()?.as_u64();
    if tag != MULTI_DIMENSIONAL || from.array()? != Some(2) {
        return Err(two("something else"));
    }
    let (mut left, mut shape) = (from.array()?, [1, 1]);
    let mut sides = 0_usize;
    while more(from, &mut left)? {
        sides += 1;
        shape = [shape[1], from.u64()?];
        if sides > 3 {
            return Err(two("more than three"));
        }
    }
    if sides < 2 {
        return Err(two("less"));
    }
    let tag = from.tag()?.as_u64();
    let dtype = match tag {
        64 | 68 => Some(DType::Uint8),
        69 => Some(DType::Uint16),
        70 => Some(DType::Uint32),
        _ => None,
    };
    let mut array = Array { shape, dtype, encoding: Encoding::Raw, bytes: &[] };
    if from.datatype()? != Type::Tag {
        array.bytes = from.bytes()?;
        return Ok(array);
    }
    if from.tag()?.as_u64() != PACKED || from.array()? != Some(3) {
        return Err(Error::message("bytes, or packed bytes, belong into a typed array"));
    }
    array.encoding = match from.str()? {
        "bslz4" => Encoding::Bslz4,
        "lz4" => Encoding::Lz4,
        other => return Err(Error::message(format!("{other:?} is no way of packing that is known"))),
    };
    let element = from.u64()?;
    if array.encoding == Encoding::Bslz4 && dtype.is_some_and(|dtype| dtype.size() as u64 != element) {
        return Err(Error::message(format!("elements of {element} bytes are not those of the array")));
    }
    array.bytes = from.bytes()?;
    Ok(array)
}

/// What others put in, as JSON; bytes and what has no counterpart become null.
fn json(from: &mut Decoder<'_>, depth: usize) -> Result<Value, Error> {
    if depth > DEEPEST {
        return from.skip().map(|()| Value::Null);
    }
    Ok(match from.datatype()? {
        Type::Bool => Value::Bool(from.bool()?),
        Type::String => Value::String(from.str()?.to_owned()),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => from.u64()?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => from.i64()?.into(),
        Type::F16 | Type::F32 | Type::F64 => number(from)?.map_or(Value::Null, Value::from),
        Type::Tag => {
            from.tag()?;
            json(from, depth + 1)?
        }
        Type::Array | Type::ArrayIndef => {
            let (mut left, mut list) = (from.array()?, Vec::new());
            while more(from, &mut left)? {
                list.push(json(from, depth + 1)?);
            }
            Value::Array(list)
        }
        Type::Map | Type::MapIndef => {
            let (mut left, mut map) = (from.map()?, Map::new());
            while more(from, &mut left)? {
                let key = match json(from, depth + 1)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                map.insert(key, json(from, depth + 1)?);
            }
            Value::Object(map)
        }
        _ => from.skip().map(|()| Value::Null)?,
    })
}
