//! Messages as DECTRIS detectors send them: for the simulator, and for tests.

use bytes::Bytes;
use minicbor::data::Tag;
use minicbor::encode::{Encoder, Error};
use serde_json::{Value, json};

use crate::detector::compressed::{self, Element, bslz4, lz4};
use crate::scan::{DType, Encoding};

/// Bytes of a block, as the detectors have it.
const BLOCK: usize = 8192;
/// The channel of the first threshold.
const CHANNEL: &str = "threshold_1";

/// A series as it is announced.
#[derive(Clone, Debug, PartialEq)]
pub struct Announced {
    /// Its number.
    pub series: u64,
    /// What tells it from those of the same number.
    pub unique: String,
    /// Images that it is going to have.
    pub images: u64,
    /// Height and width of a frame.
    pub shape: [usize; 2],
    /// Type of the values.
    pub dtype: DType,
    /// The smallest value that is saturated.
    pub saturation: u32,
    /// Frame pixels that the mask names, row-major.
    pub masked: Vec<usize>,
    /// Exposure of a frame, s.
    pub count_time_s: f64,
    /// Energy of the beam, as the detector was told, eV.
    pub energy_ev: f64,
    /// RFC 3339.
    pub armed: String,
    /// What goes with it.
    pub note: Option<Value>,
}

/// Why a message cannot be written.
pub type EncodeError = Error<std::convert::Infallible>;

type Written = Result<Bytes, EncodeError>;

impl Announced {
    fn mask(&self) -> Vec<u8> {
        let mut mask = vec![0; 4 * self.shape[0] * self.shape[1]];
        for pixel in &self.masked {
            if let Some(value) = mask.get_mut(4 * pixel) {
                *value = 1;
            }
        }
        mask
    }
}

/// `start` of the second stream.
///
/// # Errors
/// None is known.
pub fn start(series: &Announced) -> Written {
    let [height, width] = series.shape;
    let mut to = begin(if series.note.is_some() { 15 } else { 14 })?;
    to.str("type")?.str("start")?;
    identify(&mut to, series.series, &series.unique)?;
    to.str("number_of_images")?.u64(series.images)?;
    to.str("image_size_x")?.u64(width as u64)?.str("image_size_y")?.u64(height as u64)?;
    to.str("image_dtype")?.str(dtype_name(series.dtype))?;
    to.str("channels")?.array(1)?.str(CHANNEL)?;
    to.str("pixel_mask_enabled")?.bool(true)?;
    to.str("pixel_mask")?.map(1)?.str(CHANNEL)?;
    array(
        &mut to,
        series.shape,
        DType::Uint32,
        Encoding::Bslz4,
        &bslz4(Element::U32, &series.mask(), BLOCK),
    )?;
    to.str("saturation_value")?.u32(series.saturation)?;
    to.str("count_time")?.f64(series.count_time_s)?;
    to.str("incident_energy")?.f64(series.energy_ev)?;
    to.str("arm_date")?.tag(Tag::new(0))?.str(&series.armed)?;
    if let Some(note) = &series.note {
        to.str("user_data")?.str(&note.to_string())?;
    }
    Ok(to.into_writer().into())
}

/// `image` of the second stream; `start_ns` after arming.
///
/// # Errors
/// None is known.
pub fn image(series: &Announced, number: u64, start_ns: u64, frame: &Packed) -> Written {
    let mut to = begin(8)?;
    to.str("type")?.str("image")?;
    identify(&mut to, series.series, &series.unique)?;
    to.str("image_id")?.u64(number)?;
    let exposure_ns = (series.count_time_s * 1e9) as u64;
    for (key, value) in
        [("real_time", exposure_ns), ("start_time", start_ns), ("stop_time", start_ns + exposure_ns)]
    {
        to.str(key)?.array(2)?.u64(value)?.u64(1_000_000_000)?;
    }
    to.str("data")?.map(1)?.str(CHANNEL)?;
    array(&mut to, series.shape, series.dtype, frame.encoding, &frame.bytes)?;
    Ok(to.into_writer().into())
}

/// `end` of the second stream.
///
/// # Errors
/// None is known.
pub fn end(series: &Announced) -> Written {
    let mut to = begin(3)?;
    to.str("type")?.str("end")?;
    identify(&mut to, series.series, &series.unique)?;
    Ok(to.into_writer().into())
}

fn begin(fields: u64) -> Result<Encoder<Vec<u8>>, EncodeError> {
    let mut to = Encoder::new(Vec::new());
    to.tag(Tag::new(55_799))?.map(fields)?;
    Ok(to)
}

fn identify(to: &mut Encoder<Vec<u8>>, series: u64, unique: &str) -> Result<(), EncodeError> {
    to.str("series_id")?.u64(series)?.str("series_unique_id")?.str(unique)?;
    Ok(())
}

fn array(
    to: &mut Encoder<Vec<u8>>,
    shape: [usize; 2],
    dtype: DType,
    encoding: Encoding,
    bytes: &[u8],
) -> Result<(), EncodeError> {
    let tag = match dtype {
        DType::Uint8 => 64,
        DType::Uint16 => 69,
        DType::Uint32 => 70,
        DType::Float32 => 85,
        DType::Float64 => 86,
    };
    to.tag(Tag::new(40))?
        .array(2)?
        .array(2)?
        .u64(shape[0] as u64)?
        .u64(shape[1] as u64)?
        .tag(Tag::new(tag))?;
    match encoding {
        Encoding::Raw | Encoding::Lz4Block => {}
        Encoding::Bslz4 => {
            to.tag(Tag::new(56_500))?.array(3)?.str("bslz4")?.u64(dtype.size() as u64)?;
        }
        Encoding::Lz4 => {
            to.tag(Tag::new(56_500))?.array(3)?.str("lz4")?.u64(dtype.size() as u64)?;
        }
    }
    to.bytes(bytes)?;
    Ok(())
}

fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Uint8 => "uint8",
        DType::Uint16 => "uint16",
        DType::Uint32 => "uint32",
        DType::Float32 => "float32",
        DType::Float64 => "float64",
    }
}

/// A frame as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// How it is packed.
    pub encoding: Encoding,
    /// It.
    pub bytes: Vec<u8>,
}

impl Packed {
    /// Packs the values of a frame, little-endian. What cannot be bit-shuffled is left as it is.
    #[must_use]
    pub fn new(dtype: DType, encoding: Encoding, frame: &[u8]) -> Self {
        match (encoding, Element::of(dtype)) {
            (Encoding::Bslz4, Some(element)) => Self { encoding, bytes: bslz4(element, frame, BLOCK) },
            (Encoding::Lz4, _) => Self { encoding, bytes: lz4(frame, BLOCK) },
            (Encoding::Lz4Block, _) => Self { encoding, bytes: compressed::packed(frame) },
            _ => Self { encoding: Encoding::Raw, bytes: frame.to_vec() },
        }
    }
}

/// The messages of the first stream, each with its parts.
pub mod first {
    use super::{Announced, Bytes, Encoding, Packed, Value, dtype_name, json};

    fn text(value: &Value) -> Bytes {
        Bytes::from(value.to_string())
    }

    /// What begins a series.
    #[must_use]
    pub fn start(series: &Announced) -> Vec<Bytes> {
        let [height, width] = series.shape;
        let config = json!({
            "nimages": series.images,
            "ntrigger": 1,
            "x_pixels_in_detector": width,
            "y_pixels_in_detector": height,
            "countrate_correction_count_cutoff": series.saturation,
            "count_time": series.count_time_s,
            "photon_energy": series.energy_ev,
        });
        let mut parts = vec![
            text(&json!({ "htype": "dheader-1.0", "series": series.series, "header_detail": "all" })),
            text(&config),
            text(&json!({ "htype": "dpixelmask-1.0", "shape": [width, height], "type": "uint32" })),
            Bytes::from(series.mask()),
        ];
        parts.extend(series.note.as_ref().map(text));
        parts
    }

    /// A frame; `start_ns` after arming.
    #[must_use]
    pub fn image(series: &Announced, number: u64, start_ns: u64, frame: &Packed) -> Vec<Bytes> {
        let [height, width] = series.shape;
        let encoding = match frame.encoding {
            Encoding::Raw | Encoding::Lz4 => "<".to_owned(),
            Encoding::Lz4Block => "lz4<".to_owned(),
            Encoding::Bslz4 => format!("bs{}-lz4<", 8 * series.dtype.size()),
        };
        let exposure_ns = (series.count_time_s * 1e9) as u64;
        vec![
            text(&json!({ "htype": "dimage-1.0", "series": series.series, "frame": number, "hash": "" })),
            text(&json!({
                "htype": "dimage_d-1.0", "shape": [width, height], "type": dtype_name(series.dtype),
                "encoding": encoding, "size": frame.bytes.len(),
            })),
            Bytes::from(frame.bytes.clone()),
            text(&json!({
                "htype": "dconfig-1.0", "start_time": start_ns, "stop_time": start_ns + exposure_ns,
                "real_time": exposure_ns,
            })),
        ]
    }

    /// What ends it.
    #[must_use]
    pub fn end(series: &Announced) -> Vec<Bytes> {
        vec![text(&json!({ "htype": "dseries_end-1.0", "series": series.series }))]
    }
}
