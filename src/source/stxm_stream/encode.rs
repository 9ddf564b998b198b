//! Builds the parts of `stxm-stream/1` messages: header and payload, without the topic of PUB.
//!
//! What a receiver would have to refuse is refused here: values that the number type cannot hold, lists of
//! other lengths, numbers that JSON does not know, headers beyond the limits.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    DType, DetectorHeader, Encoding, EndStatus, Header, HeaderBody, MAX_HEADER_BYTES, MAX_PLAN_BYTES,
    PerEnergy, PlanExtendHeader, STREAM, SamplesHeader, ScanEndHeader, ScanStartHeader,
};
use crate::detector::compressed;
use crate::scan::{I0, Pixels, SampleBatch, ScanPlan};

/// Why a message cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The header is no JSON object that the format allows.
    #[error("header of message {seq} of {scan_id}: {problem}")]
    Header {
        /// The scan.
        scan_id: String,
        /// The message.
        seq: u64,
        /// What is wrong.
        problem: String,
    },
    /// A value does not fit its number type.
    #[error("value {value} does not fit {dtype:?}")]
    Value {
        /// The value.
        value: f32,
        /// The number type.
        dtype: DType,
    },
    /// Pixels, values and incident intensities are not equally many, or there are none.
    #[error(
        "{values} values and {i0} incident intensities for {pixels} pixels; they must be as many, and some"
    )]
    Lengths {
        /// Number of pixels.
        pixels: usize,
        /// Number of values.
        values: usize,
        /// Number of incident intensities.
        i0: usize,
    },
}

/// What every message says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The scan.
    pub scan_id: &'a str,
    /// One more for each message of the scan, from 0.
    pub seq: u64,
    /// Time of the message; of samples, the start of exposure of their first pixel.
    pub time: DateTime<Utc>,
}

/// Values of an area detector: frames one after the other, each row-major.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    /// One number per frame pixel.
    pub values: &'a [u16],
    /// Frame pixels of a frame.
    pub frame_pixels: usize,
    /// How frames are packed.
    pub encoding: Encoding,
}

/// Bytes of an unpacked block, as most senders have it.
const BLOCK: usize = 8192;

/// `scan_start`. The time of the message is that of the plan.
///
/// # Errors
/// A header beyond [`MAX_PLAN_BYTES`].
pub fn scan_start(plan: &ScanPlan, seq: u64) -> Result<Vec<Bytes>, EncodeError> {
    let detector = &plan.detector;
    let body = ScanStartHeader {
        scan_kind: plan.scan_kind,
        grid: plan.grid.clone(),
        energies_ev: plan.energies_ev.clone(),
        dwell_ms: per_energy(&plan.dwell_ms),
        value_unit: plan.value_unit,
        detector: DetectorHeader {
            kind: detector.kind,
            frame_shape: detector.frame_shape,
            signal: detector.signal,
            dark: Some(detector.dark),
            saturation: detector.saturation,
            dead_time_s: detector.dead_time_s,
            counts_per_photon: detector.counts_per_photon.as_deref().map(per_energy),
            efficiency: detector.efficiency,
        },
        i0_kind: plan.i0_kind,
        beamline: Some(plan.beamline.clone()),
        sample: plan.sample.clone(),
        region: plan.region.clone(),
        operator: plan.operator.clone(),
        proposal: plan.proposal.clone(),
        group: plan.group.clone(),
        region_index: plan.region_index,
        polarization: plan.polarization,
        state_of_charge: plan.state_of_charge,
        context: plan.context.clone(),
        flux_ph_per_s: plan.flux_ph_per_s.as_deref().map(per_energy),
        simulated: plan.simulated,
        resend: plan.resend.clone(),
    };
    let stamp = Stamp { scan_id: &plan.scan_id, seq, time: plan.started };
    Ok(vec![header(stamp, HeaderBody::ScanStart(Box::new(body)), MAX_PLAN_BYTES)?])
}

/// `samples` of a point detector.
///
/// # Errors
/// See [`EncodeError`].
pub fn samples(stamp: Stamp<'_>, batch: &SampleBatch, dtype: DType) -> Result<Vec<Bytes>, EncodeError> {
    check_lengths(batch, batch.values.len())?;
    let values = payload(&batch.values, dtype)?;
    message(stamp, batch, dtype, Encoding::Raw, vec![values])
}

/// `samples` of an area detector, uint16, raw or packed; the values of `batch` are not looked at.
///
/// # Errors
/// See [`EncodeError`].
pub fn frame_samples(
    stamp: Stamp<'_>,
    batch: &SampleBatch,
    frames: Frames<'_>,
) -> Result<Vec<Bytes>, EncodeError> {
    let whole = frames.values.len().checked_rem(frames.frame_pixels) == Some(0);
    let count = if whole { frames.values.len() / frames.frame_pixels } else { 0 };
    check_lengths(batch, count)?;
    let bytes = |values: &[u16]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let each = frames.values.chunks(frames.frame_pixels.max(1));
    let values = match frames.encoding {
        Encoding::Raw => vec![bytes(frames.values)],
        Encoding::Lz4 => each.map(|frame| compressed::lz4(&bytes(frame), BLOCK)).collect(),
        Encoding::Bslz4 => {
            each.map(|frame| compressed::bslz4(compressed::Element::U16, &bytes(frame), BLOCK)).collect()
        }
    };
    message(stamp, batch, DType::Uint16, frames.encoding, values)
}

/// `plan_extend`: the energies of `plan` from index `first` on are added.
///
/// # Errors
/// A header beyond [`MAX_PLAN_BYTES`].
pub fn plan_extend(stamp: Stamp<'_>, plan: &ScanPlan, first: usize) -> Result<Vec<Bytes>, EncodeError> {
    let rest = |list: &[f64]| list.get(first..).unwrap_or_default().to_vec();
    let body = PlanExtendHeader {
        energies_ev: rest(&plan.energies_ev),
        dwell_ms: Some(per_energy(&rest(&plan.dwell_ms))),
        flux_ph_per_s: plan.flux_ph_per_s.as_deref().map(|list| per_energy(&rest(list))),
    };
    Ok(vec![header(stamp, HeaderBody::PlanExtend(body), MAX_PLAN_BYTES)?])
}

/// `scan_end`.
///
/// # Errors
/// A header beyond [`MAX_HEADER_BYTES`].
pub fn scan_end(
    stamp: Stamp<'_>,
    status: EndStatus,
    reason: Option<&str>,
) -> Result<Vec<Bytes>, EncodeError> {
    let body = ScanEndHeader { status, reason: reason.map(str::to_owned) };
    Ok(vec![header(stamp, HeaderBody::ScanEnd(body), MAX_HEADER_BYTES)?])
}

/// `scan_pause`, or `scan_resume` where the scan goes on.
///
/// # Errors
/// Where the header would be too long.
pub fn scan_pause(stamp: Stamp<'_>, goes_on: bool) -> Result<Vec<Bytes>, EncodeError> {
    let body = if goes_on { HeaderBody::ScanResume } else { HeaderBody::ScanPause };
    Ok(vec![header(stamp, body, MAX_HEADER_BYTES)?])
}

fn per_energy(list: &[f64]) -> PerEnergy {
    match list.split_first() {
        Some((first, rest)) if rest.iter().all(|value| value == first) => PerEnergy::One(*first),
        _ => PerEnergy::Each(list.to_vec()),
    }
}

fn check_lengths(batch: &SampleBatch, values: usize) -> Result<(), EncodeError> {
    let pixels = batch.pixels.len();
    let i0 = if let I0::Each(list) = &batch.i0 { list.len() } else { pixels };
    if pixels == 0 || values != pixels || i0 != pixels {
        return Err(EncodeError::Lengths { pixels, values, i0 });
    }
    Ok(())
}

fn message(
    stamp: Stamp<'_>,
    batch: &SampleBatch,
    dtype: DType,
    encoding: Encoding,
    values: Vec<Vec<u8>>,
) -> Result<Vec<Bytes>, EncodeError> {
    let (first_pixel, list) = match &batch.pixels {
        Pixels::Run { first, .. } => (*first, None),
        Pixels::List(list) => (0, Some(list)),
    };
    let body = SamplesHeader {
        energy_index: batch.energy_index,
        first_pixel,
        count: batch.pixels.len() as u32,
        pixel_part: list.is_some(),
        dtype,
        encoding,
        i0: if let I0::One(i0) = &batch.i0 { Some(f64::from(*i0)) } else { None },
        i0_part: matches!(batch.i0, I0::Each(_)),
        ring_current_ma: batch.ring_current_ma,
        energy_ev: batch.energy_ev,
    };
    let numbers = [body.i0, body.ring_current_ma, body.energy_ev];
    if numbers.into_iter().flatten().any(|number| !number.is_finite()) {
        return Err(header_error(stamp, "i0, ring_current_ma and energy_ev must be finite"));
    }
    let mut parts = vec![header(stamp, HeaderBody::Samples(body), MAX_HEADER_BYTES)?];
    parts.extend(values.into_iter().map(Bytes::from));
    if let Some(list) = list {
        parts.push(list.iter().flat_map(|pixel| pixel.to_le_bytes()).collect());
    }
    if let I0::Each(list) = &batch.i0 {
        parts.push(payload(list, DType::Float32)?.into());
    }
    Ok(parts)
}

fn header(stamp: Stamp<'_>, body: HeaderBody, limit: usize) -> Result<Bytes, EncodeError> {
    let header = Header {
        stream: STREAM.to_owned(),
        scan_id: stamp.scan_id.to_owned(),
        seq: stamp.seq,
        time: stamp.time.to_rfc3339_opts(SecondsFormat::Micros, true),
        body,
    };
    let text = serde_json::to_vec(&header).map_err(|error| header_error(stamp, error))?;
    if text.len() > limit {
        return Err(header_error(stamp, format_args!("{} bytes; at most {limit} are allowed", text.len())));
    }
    Ok(text.into())
}

fn header_error(stamp: Stamp<'_>, problem: impl std::fmt::Display) -> EncodeError {
    EncodeError::Header { scan_id: stamp.scan_id.to_owned(), seq: stamp.seq, problem: problem.to_string() }
}

/// The values as little-endian bytes. NaN means not measured, which only float types can say.
fn payload(values: &[f32], dtype: DType) -> Result<Vec<u8>, EncodeError> {
    let highest = match dtype {
        DType::Uint8 => f64::from(u8::MAX),
        DType::Uint16 => f64::from(u16::MAX),
        DType::Uint32 => f64::from(u32::MAX),
        DType::Float32 | DType::Float64 => f64::INFINITY,
    };
    let fits = |value: f32| match dtype {
        DType::Float32 | DType::Float64 => !value.is_infinite(),
        _ => value.fract() == 0.0 && (0.0..=highest).contains(&f64::from(value)),
    };
    if let Some(&value) = values.iter().find(|&&value| !fits(value)) {
        return Err(EncodeError::Value { value, dtype });
    }
    let values = values.iter();
    Ok(match dtype {
        DType::Uint8 => values.map(|&value| value as u8).collect(),
        DType::Uint16 => values.flat_map(|&value| (value as u16).to_le_bytes()).collect(),
        DType::Uint32 => values.flat_map(|&value| (value as u32).to_le_bytes()).collect(),
        DType::Float32 => values.flat_map(|value| value.to_le_bytes()).collect(),
        DType::Float64 => values.flat_map(|&value| f64::from(value).to_le_bytes()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Channel;

    fn batch(pixels: Pixels, values: Vec<f32>, i0: I0) -> SampleBatch {
        SampleBatch {
            energy_index: 3,
            pixels,
            channel: Channel::Intensity,
            others: Vec::new(),
            values,
            i0,
            ring_current_ma: Some(400.25),
            energy_ev: Some(515.42),
            time: None,
        }
    }

    fn stamp() -> Stamp<'static> {
        Stamp { scan_id: "s-1", seq: 9, time: DateTime::from_timestamp(1_700_000_000, 0).unwrap() }
    }

    fn header_of(parts: &[Bytes]) -> Header {
        serde_json::from_slice(&parts[0]).unwrap()
    }

    #[test]
    fn a_header_comes_back_as_it_was() {
        let run = batch(Pixels::Run { first: 6, count: 2 }, vec![1.0, 65535.0], I0::One(70.0));
        let parts = samples(stamp(), &run, DType::Uint16).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(&parts[1][..], [1, 0, 255, 255]);
        let header = header_of(&parts);
        assert_eq!((header.stream.as_str(), header.scan_id.as_str(), header.seq), (STREAM, "s-1", 9));
        assert_eq!(header.time, "2023-11-14T22:13:20.000000Z");
        let HeaderBody::Samples(body) = header.body else { panic!("{:?}", header.body) };
        assert_eq!((body.energy_index, body.first_pixel, body.count), (3, 6, 2));
        assert_eq!((body.i0, body.i0_part, body.pixel_part), (Some(70.0), false, false));
        assert_eq!((body.ring_current_ma, body.energy_ev), (Some(400.25), Some(515.42)));
    }

    #[test]
    fn parts_come_in_the_order_values_pixels_i0() {
        let list = batch(Pixels::List(vec![9, 258]), vec![f32::NAN, 2.0], I0::Each(vec![5.0, 6.0]));
        let parts = samples(stamp(), &list, DType::Float32).unwrap();
        assert_eq!(parts.iter().map(Bytes::len).skip(1).collect::<Vec<_>>(), [8, 8, 8]);
        assert_eq!(&parts[2][..], [9, 0, 0, 0, 2, 1, 0, 0]);
        assert_eq!(&parts[3][4..], 6_f32.to_le_bytes());
    }

    #[test]
    fn every_number_type_has_its_size() {
        let run = batch(Pixels::Run { first: 0, count: 3 }, vec![0.0, 7.0, 255.0], I0::None);
        for dtype in [DType::Uint8, DType::Uint16, DType::Uint32, DType::Float32, DType::Float64] {
            let parts = samples(stamp(), &run, dtype).unwrap();
            assert_eq!(parts[1].len(), 3 * dtype.size(), "{dtype:?}");
        }
        let parts = samples(stamp(), &run, DType::Float64).unwrap();
        assert_eq!(&parts[1][16..], 255_f64.to_le_bytes());
    }

    #[test]
    fn frames_are_counted_whole() {
        let run = batch(Pixels::Run { first: 0, count: 2 }, Vec::new(), I0::None);
        let values = [1, 2, 3, 4, 5, 6, 7, 8];
        let parts = frame_samples(
            stamp(),
            &run,
            Frames { values: &values, frame_pixels: 4, encoding: Encoding::Raw },
        )
        .unwrap();
        assert_eq!(parts[1].len(), 16);
        assert!(
            frame_samples(
                stamp(),
                &run,
                Frames { values: &values[..6], frame_pixels: 4, encoding: Encoding::Raw }
            )
            .is_err()
        );
        assert!(
            frame_samples(
                stamp(),
                &run,
                Frames { values: &values, frame_pixels: 0, encoding: Encoding::Raw }
            )
            .is_err()
        );
    }

    #[test]
    fn refuses_what_a_receiver_would_refuse() {
        let refused =
            |pixels, values, i0, dtype| samples(stamp(), &batch(pixels, values, i0), dtype).is_err();
        let run = |count| Pixels::Run { first: 0, count };
        assert!(refused(run(1), vec![-1.0], I0::None, DType::Uint16));
        assert!(refused(run(1), vec![1.5], I0::None, DType::Uint16));
        assert!(refused(run(1), vec![65536.0], I0::None, DType::Uint16));
        assert!(refused(run(1), vec![f32::NAN], I0::None, DType::Uint32));
        assert!(refused(run(1), vec![f32::INFINITY], I0::None, DType::Float32));
        assert!(refused(run(2), vec![1.0], I0::None, DType::Float32));
        assert!(refused(run(0), vec![], I0::None, DType::Float32));
        assert!(refused(run(1), vec![1.0], I0::Each(vec![]), DType::Float32));
        assert!(refused(run(1), vec![1.0], I0::One(f32::NAN), DType::Float32));
    }
}
