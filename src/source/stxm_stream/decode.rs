//! One multipart message in, one event out.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::Deserialize;

use super::header::{
    DType, Encoding, EndStatus, MAX_HEADER_BYTES, MAX_PLAN_BYTES, PlanExtendHeader, STREAM, SamplesHeader,
    ScanEndHeader, ScanStartHeader,
};
use super::{PerEnergy, Refusal};
use crate::scan::{
    Channel, Detector, FrameBatch, I0, MAX_ENERGIES, Outcome, Pixels, PlanError, SampleBatch, ScanEvent,
    ScanPlan, ScanUpdate, is_valid_id,
};

/// What stands before the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: PUSH to PULL.
    Bare,
    /// A topic: PUB to SUB.
    Topic,
}

/// The fields every header has.
#[derive(Deserialize)]
struct Common<'a> {
    #[serde(borrow)]
    stream: std::borrow::Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    scan_id: std::borrow::Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    time: Option<std::borrow::Cow<'a, str>>,
}

/// Decodes one message. `beamline`, where configured, wins over the stream's.
///
/// # Errors
/// The first rule the message breaks.
pub fn decode(parts: &[Bytes], framing: Framing, beamline: Option<&str>) -> Result<ScanEvent, Refusal> {
    let skip = usize::from(framing == Framing::Topic);
    let Some((header, payload)) = parts.get(skip..).and_then(<[Bytes]>::split_first) else {
        return Err(Refusal::Parts { found: parts.len(), wanted: skip + 1 });
    };
    if header.len() > MAX_PLAN_BYTES {
        return Err(Refusal::HeaderSize { found: header.len(), limit: MAX_PLAN_BYTES });
    }
    let common: Common = json(header)?;
    if common.stream != STREAM {
        return Err(Refusal::Stream(common.stream.chars().take(64).collect()));
    }
    if !is_valid_id(&common.scan_id) {
        return Err(Refusal::ScanId(common.scan_id.chars().take(128).collect()));
    }
    let long_header = matches!(&*common.kind, "scan_start" | "plan_extend");
    if !long_header && header.len() > MAX_HEADER_BYTES {
        return Err(Refusal::HeaderSize { found: header.len(), limit: MAX_HEADER_BYTES });
    }
    let time = match &common.time {
        Some(text) => Some(
            DateTime::parse_from_rfc3339(text)
                .map_err(|_| Refusal::Time(text.chars().take(64).collect()))?
                .with_timezone(&Utc)
                // As far as journal and tables keep it, so that what is read back is the same.
                .trunc_subsecs(6),
        ),
        // Samples may do without; elsewhere it is one of the common fields.
        None if common.kind == "samples" => None,
        None => return Err(Refusal::Header("missing field `time`".to_owned())),
    };
    let update = match &*common.kind {
        "samples" => samples(json(header)?, payload, time)?,
        "scan_start" => {
            no_payload(payload)?;
            ScanUpdate::Started(Box::new(plan(
                json(header)?,
                &common.scan_id,
                time.unwrap_or_default(),
                beamline,
            )?))
        }
        "plan_extend" => {
            no_payload(payload)?;
            extension(json(header)?)?
        }
        "scan_pause" => no_payload(payload).map(|()| ScanUpdate::Paused)?,
        "scan_resume" => no_payload(payload).map(|()| ScanUpdate::Resumed)?,
        "scan_end" => {
            no_payload(payload)?;
            let end: ScanEndHeader = json(header)?;
            ScanUpdate::Ended(match end.status {
                EndStatus::Complete => Outcome::Complete,
                EndStatus::Aborted => Outcome::Aborted { reason: end.reason },
            })
        }
        _ => ScanUpdate::Skipped,
    };
    Ok(ScanEvent { scan_id: common.scan_id.into_owned(), seq: Some(common.seq), time, update })
}

fn json<'a, T: Deserialize<'a>>(header: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(header).map_err(|error| Refusal::Header(error.to_string()))
}

fn no_payload(payload: &[Bytes]) -> Result<(), Refusal> {
    if payload.is_empty() { Ok(()) } else { Err(Refusal::Parts { found: payload.len() + 1, wanted: 1 }) }
}

fn plan(
    header: ScanStartHeader,
    scan_id: &str,
    started: DateTime<Utc>,
    beamline: Option<&str>,
) -> Result<ScanPlan, Refusal> {
    let energies = header.energies_ev.len();
    // Before a single number is repeated for each of them.
    if !(1..=MAX_ENERGIES).contains(&energies) {
        return Err(PlanError::Energies { count: energies }.into());
    }
    let per_energy = |field: Option<&PerEnergy>| field.map(|field| field.to_list(energies));
    let detector = Detector {
        kind: header.detector.kind,
        frame_shape: header.detector.frame_shape,
        signal: header.detector.signal,
        dark: header.detector.dark.unwrap_or(0.0),
        saturation: header.detector.saturation,
        dead_time_s: header.detector.dead_time_s,
        counts_per_photon: per_energy(header.detector.counts_per_photon.as_ref()),
        efficiency: header.detector.efficiency,
        left_out: Vec::new(),
    };
    let beamline = beamline.map(str::to_owned).or(header.beamline).unwrap_or_else(|| "unknown".to_owned());
    let plan = ScanPlan {
        scan_id: scan_id.to_owned(),
        scan_kind: header.scan_kind,
        grid: header.grid,
        dwell_ms: header.dwell_ms.to_list(energies),
        flux_ph_per_s: per_energy(header.flux_ph_per_s.as_ref()),
        energies_ev: header.energies_ev,
        value_unit: header.value_unit,
        detector,
        i0_kind: header.i0_kind,
        beamline,
        sample: header.sample,
        region: header.region,
        operator: header.operator,
        proposal: header.proposal,
        group: header.group,
        region_index: header.region_index,
        polarization: header.polarization,
        state_of_charge: header.state_of_charge,
        context: header.context,
        simulated: header.simulated,
        started,
        // A stream that repeats its plan needs nothing.
        recall: None,
        resend: header.resend,
    };
    plan.validate()?;
    Ok(plan)
}

fn extension(header: PlanExtendHeader) -> Result<ScanUpdate, Refusal> {
    let energies = header.energies_ev.len();
    if !(1..=MAX_ENERGIES).contains(&energies) {
        return Err(PlanError::Energies { count: energies }.into());
    }
    Ok(ScanUpdate::Extended {
        dwell_ms: header.dwell_ms.map(|dwell| dwell.to_list(energies)),
        flux_ph_per_s: header.flux_ph_per_s.map(|flux| flux.to_list(energies)),
        energies_ev: header.energies_ev,
    })
}

fn samples(
    header: SamplesHeader,
    payload: &[Bytes],
    time: Option<DateTime<Utc>>,
) -> Result<ScanUpdate, Refusal> {
    match header.encoding {
        Encoding::Raw => {}
        Encoding::Lz4 => return Err(Refusal::Encoding("lz4")),
        Encoding::Bslz4 => return Err(Refusal::Encoding("bslz4")),
    }
    if header.count == 0 {
        return Err(Refusal::CountZero);
    }
    if header.i0.is_some() && header.i0_part {
        return Err(Refusal::I0Twice);
    }
    let wanted = 1 + usize::from(header.pixel_part) + usize::from(header.i0_part);
    if payload.len() != wanted {
        return Err(Refusal::Parts { found: payload.len() + 1, wanted: wanted + 1 });
    }
    let count = header.count as usize;
    let pixels = if header.pixel_part {
        sized("pixel", &payload[1], count, 4)?;
        Pixels::List(payload[1].as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    } else {
        Pixels::Run { first: header.first_pixel, count: header.count }
    };
    let i0 = match (header.i0, header.i0_part) {
        (Some(i0), _) => I0::One(finite_i0(i0 as f32)?),
        (None, true) => {
            let part = &payload[wanted - 1];
            sized("i0", part, count, 4)?;
            let values = part.as_chunks().0.iter().map(|b| finite_i0(f32::from_le_bytes(*b)));
            I0::Each(values.collect::<Result<_, _>>()?)
        }
        (None, false) => I0::None,
    };
    let batch = SampleBatch {
        energy_index: header.energy_index,
        pixels,
        channel: Channel::Intensity,
        values: Vec::new(),
        i0,
        ring_current_ma: finite("ring_current_ma", header.ring_current_ma)?,
        energy_ev: finite("energy_ev", header.energy_ev)?,
        time,
    };
    values(header.dtype, &payload[0], batch)
}

/// One value per pixel makes samples; a whole number of values per pixel makes frames. Which of the two the plan
/// asks for is for the stages behind to say: it may not be known yet.
fn values(dtype: DType, part: &Bytes, mut batch: SampleBatch) -> Result<ScanUpdate, Refusal> {
    let one_each = batch.pixels.len() as u64 * dtype.size() as u64;
    if part.is_empty() || !(part.len() as u64).is_multiple_of(one_each) {
        return Err(Refusal::Size { part: "value", found: part.len(), wanted: one_each });
    }
    if part.len() as u64 > one_each {
        return Ok(ScanUpdate::Frames(FrameBatch::raw(batch, dtype, part)));
    }
    batch.values = numbers(dtype, part);
    match batch.values.iter().position(|value| value.is_infinite()) {
        Some(index) => Err(Refusal::Infinite { index }),
        None => Ok(ScanUpdate::Samples(batch)),
    }
}

/// Little-endian numbers as `f32`: exact for integers up to 2^24, to seven digits beyond. A double too large
/// for `f32` becomes infinite, and is refused as such.
fn numbers(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::Uint8 => bytes.iter().map(|&byte| f32::from(byte)).collect(),
        DType::Uint16 => bytes.as_chunks().0.iter().map(|b| f32::from(u16::from_le_bytes(*b))).collect(),
        DType::Uint32 => bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b) as f32).collect(),
        DType::Float32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        DType::Float64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
    }
}

fn sized(part: &'static str, bytes: &Bytes, count: usize, size: usize) -> Result<(), Refusal> {
    let wanted = count as u64 * size as u64;
    if bytes.len() as u64 == wanted {
        return Ok(());
    }
    Err(Refusal::Size { part, found: bytes.len(), wanted })
}

fn finite_i0(i0: f32) -> Result<f32, Refusal> {
    if i0.is_finite() { Ok(i0) } else { Err(Refusal::I0NotFinite) }
}

fn finite(field: &'static str, value: Option<f64>) -> Result<Option<f64>, Refusal> {
    match value {
        Some(value) if !value.is_finite() => Err(Refusal::NotFinite(field)),
        value => Ok(value),
    }
}
