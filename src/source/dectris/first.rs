//! DECTRIS Stream V1: JSON headers, each with the bytes it is about in the part behind it.
//!
//! A header names its kind in `htype`. What begins a series has the configuration in the second part, and perhaps pairs of header
//! and bytes for flat field, mask and count-rate table; whatever was agreed to go with it (`header_appendix`) comes last, as it is. Shapes
//! are `[width, height]`.

use bytes::Bytes;
use serde_json::Value;

use super::message::{Image, Key, Message, SeriesStart, note, runs, shape};
use crate::scan::{DType, Encoding};
use crate::source::adapter::AdapterRefusal;
use crate::source::geometry::SeriesFacts;

/// Longest header that is read, bytes.
const MAX_HEADER: usize = 1 << 20;
/// Most parts of one message.
const MAX_PARTS: usize = 32;

type Read<T> = Result<T, AdapterRefusal>;

/// Whether the first part of a message looks like a header of this stream.
pub(super) fn is_header(part: &[u8]) -> bool {
    part.first() == Some(&b'{')
}

/// Reads a message.
pub(super) fn read(parts: &[Bytes]) -> Read<Message<'_>> {
    if parts.len() > MAX_PARTS {
        return Err(AdapterRefusal::new("parts", format_args!("{} parts are too many", parts.len())));
    }
    let header = json(parts, 0)?;
    let kind = header["htype"].as_str().ok_or_else(|| missing("htype"))?;
    let kind = kind.split_once('-').map_or(kind, |(kind, _)| kind);
    if !matches!(kind, "dheader" | "dimage" | "dseries_end") {
        return Ok(Message::Other);
    }
    let number = header["series"].as_u64().ok_or_else(|| missing("series"))?;
    let key = Key { number, unique: None };
    match kind {
        "dheader" => start(parts, number).map(|start| Message::Start(Box::new(start))),
        "dimage" => image(parts, key, &header).map(Message::Image),
        _ => Ok(Message::End(key)),
    }
}

fn missing(field: &str) -> AdapterRefusal {
    AdapterRefusal::new("header", format_args!("no {field} that can be read"))
}

fn json(parts: &[Bytes], index: usize) -> Read<Value> {
    let part = parts.get(index).ok_or_else(|| {
        AdapterRefusal::new("parts", format_args!("{} parts where more belong", parts.len()))
    })?;
    if part.len() > MAX_HEADER {
        return Err(AdapterRefusal::new("header_size", format_args!("a header of {} bytes", part.len())));
    }
    serde_json::from_slice(part).map_err(|error| AdapterRefusal::new("header", error))
}

fn start(parts: &[Bytes], number: u64) -> Read<SeriesStart> {
    // With no detail there is no configuration, and nobody can say what a frame is.
    let config = json(parts, 1).map_err(|_| {
        AdapterRefusal::new("header", "no configuration: header_detail has to be basic or all")
    })?;
    let side = |key: &str| config[key].as_u64().ok_or_else(|| missing(key));
    let shape = shape(side("y_pixels_in_detector")?, side("x_pixels_in_detector")?)?;
    let number_of = |key: &str| config[key].as_f64().filter(|number| number.is_finite());
    let images = config["nimages"]
        .as_u64()
        .map(|images| images.saturating_mul(config["ntrigger"].as_u64().unwrap_or(1).max(1)));
    let facts = SeriesFacts {
        heard: true,
        number,
        images,
        shape,
        saturation: number_of("countrate_correction_count_cutoff").filter(|level| *level > 0.0),
        count_time_s: number_of("count_time"),
        energy_ev: number_of("photon_energy")
            .or_else(|| number_of("incident_energy"))
            .filter(|energy_ev| *energy_ev > 0.0),
        left_out: Vec::new(),
    };
    let mut start = SeriesStart { facts, ..SeriesStart::default() };
    let mut index = 2;
    while index < parts.len() {
        let header = json(parts, index).ok();
        let kind = header.as_ref().and_then(|header| header["htype"].as_str()).unwrap_or_default();
        if kind.starts_with("dpixelmask-") {
            start.facts.left_out = mask(parts, index + 1, header.as_ref(), shape)?;
        }
        if kind.starts_with("dpixelmask-")
            || kind.starts_with("dflatfield-")
            || kind.starts_with("dcountrate_table-")
        {
            index += 2;
            continue;
        }
        // What is nobody's header is what goes with it.
        let text = String::from_utf8_lossy(&parts[index][..parts[index].len().min(MAX_HEADER)]).into_owned();
        start.note = note(Value::String(text));
        index += 1;
    }
    Ok(start)
}

fn mask(parts: &[Bytes], index: usize, header: Option<&Value>, wanted: [usize; 2]) -> Read<Vec<[u32; 2]>> {
    let wrong = || {
        AdapterRefusal::new("pixel_mask", "the mask is not of 32-bit numbers, one for each pixel of a frame")
    };
    let bytes = parts.get(index).ok_or_else(wrong)?;
    let header = header.ok_or_else(wrong)?;
    let is_fit = header["type"] == "uint32"
        && dimensions(header)? == wanted
        && bytes.len() == 4 * wanted[0] * wanted[1];
    if is_fit { Ok(runs(bytes)) } else { Err(wrong()) }
}

/// Height and width of a `shape`, which has the width first.
fn dimensions(header: &Value) -> Read<[usize; 2]> {
    let side = |index: usize| header["shape"][index].as_u64();
    let (width, height) = side(0).zip(side(1)).ok_or_else(|| missing("shape"))?;
    if header["shape"][2].as_u64().is_some_and(|images| images != 1) {
        return Err(AdapterRefusal::new("shape", "several images in one"));
    }
    shape(height, width)
}

fn image<'b>(parts: &[Bytes], key: Key<'b>, first: &Value) -> Read<Image<'b>> {
    let number = first["frame"].as_u64().ok_or_else(|| missing("frame"))?;
    let header = json(parts, 1)?;
    let dtype = match header["type"].as_str().unwrap_or_default() {
        "uint8" => DType::Uint8,
        "uint16" => DType::Uint16,
        "uint32" => DType::Uint32,
        other => return Err(AdapterRefusal::new("dtype", format_args!("values of type {other:?}"))),
    };
    let packed = header["encoding"].as_str().unwrap_or_default();
    let encoding = match (packed, dtype) {
        ("<" | "", _) => Encoding::Raw,
        ("lz4<", _) => Encoding::Lz4Block,
        ("bs8-lz4<", DType::Uint8) | ("bs16-lz4<", DType::Uint16) | ("bs32-lz4<", DType::Uint32) => {
            Encoding::Bslz4
        }
        _ => {
            let cause = format_args!("{packed:?} is no way of packing {:?} that is known", header["type"])
                .to_string();
            return Err(AdapterRefusal::new("encoding", cause));
        }
    };
    let bytes = parts.get(2).ok_or_else(|| AdapterRefusal::new("parts", "a frame without its bytes"))?;
    if header["size"].as_u64().is_some_and(|size| size != bytes.len() as u64) {
        let cause = format_args!("{} bytes of a frame that has {}", bytes.len(), header["size"]).to_string();
        return Err(AdapterRefusal::new("size", cause));
    }
    let config = json(parts, 3).unwrap_or(Value::Null);
    Ok(Image {
        series: key,
        number,
        shape: dimensions(&header)?,
        dtype,
        encoding,
        bytes: bytes.clone(),
        start_s: config["start_time"].as_f64().map(|ns| ns * 1e-9),
    })
}
