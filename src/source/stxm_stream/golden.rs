//! The golden messages of `proto/golden/`: one of each kind, byte for byte, for whoever writes a sender or a
//! receiver. This test makes them from the header types and compares; with `PHASEWATCH_UPDATE_GOLDEN` set it
//! writes them instead (look at the difference before committing it).
//!
//! `<name>.json` is the header followed by one line feed that is not part of it; `<name>.part<N>.hex` is the
//! N-th payload part, counted from 1, in hexadecimal, 16 bytes a line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::*;
use crate::detector::FrameStage;
use crate::detector::compressed::{self, Element};
use crate::scan::{
    Axis, DetectorKind, Grid, I0, I0Kind, Pixels, Polarization, PolarizationKind, ScanKind, ScanUpdate,
    Signal, ValueUnit,
};

/// A message: its name, its header, its payload parts.
type Golden = (&'static str, Header, Vec<Vec<u8>>);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/golden")
}

fn header(scan_id: &str, seq: u64, body: HeaderBody) -> Header {
    let time = format!("2026-11-22T09:30:{:02}.250Z", seq);
    Header { stream: STREAM.to_owned(), scan_id: scan_id.to_owned(), seq, time, body }
}

fn point_plan() -> ScanStartHeader {
    ScanStartHeader {
        scan_kind: ScanKind::Stack,
        grid: Grid {
            shape: [2, 3],
            x: Axis { start: -0.1, step: 0.05 },
            y: Axis { start: 12.0, step: -0.05 },
            unit: "um".to_owned(),
        },
        energies_ev: vec![512.0, 515.4, 518.3],
        dwell_ms: PerEnergy::One(1.5),
        value_unit: ValueUnit::Counts,
        detector: DetectorHeader::default(),
        i0_kind: I0Kind::OpenBeam,
        beamline: None,
        sample: None,
        region: None,
        operator: None,
        proposal: None,
        group: None,
        region_index: None,
        polarization: None,
        state_of_charge: None,
        context: None,
        flux_ph_per_s: None,
        simulated: false,
        resend: None,
    }
}

fn area_plan() -> ScanStartHeader {
    ScanStartHeader {
        dwell_ms: PerEnergy::Each(vec![1.5, 2.0, 2.0]),
        value_unit: ValueUnit::Counts,
        detector: DetectorHeader {
            kind: DetectorKind::Area,
            frame_shape: Some([2, 4]),
            signal: Signal::Transmission,
            dark: Some(0.5),
            saturation: Some(250.0),
            dead_time_s: Some(2e-7),
            counts_per_photon: Some(PerEnergy::One(1.2)),
            efficiency: Some(0.8),
        },
        i0_kind: I0Kind::Monitor,
        beamline: Some("example-1".to_owned()),
        sample: Some("cell 7".to_owned()),
        region: Some("particle A".to_owned()),
        operator: Some("someone".to_owned()),
        proposal: Some("2026-0042".to_owned()),
        group: Some("tiles".to_owned()),
        region_index: Some(3),
        polarization: Some(Polarization { kind: PolarizationKind::Linear, angle_deg: Some(45.0) }),
        state_of_charge: Some(0.4),
        context: Some(serde_json::json!({"in_situ": true, "potential_v": 3.9})),
        flux_ph_per_s: Some(PerEnergy::One(2e8)),
        simulated: true,
        resend: Some("tcp://192.0.2.7:5560".to_owned()),
        ..point_plan()
    }
}

fn samples(energy_index: u32, first_pixel: u32, count: u32, dtype: DType) -> SamplesHeader {
    SamplesHeader {
        energy_index,
        first_pixel,
        count,
        pixel_part: false,
        dtype,
        encoding: Encoding::Raw,
        i0: None,
        i0_part: false,
        ring_current_ma: None,
        energy_ev: None,
    }
}

/// A frame in the lz4 framing: total size, block size, then one block of that size, which is stored as it is.
fn lz4_stored(frame: &[u8]) -> Vec<u8> {
    let size = frame.len() as u32;
    [&u64::from(size).to_be_bytes()[..], &size.to_be_bytes(), &size.to_be_bytes(), frame].concat()
}

/// A frame of eight bytes in the bslz4 framing: total size, block size, then one bit-shuffled block (plane by
/// plane, the lowest bit first) as an LZ4 block of eight literals.
fn bslz4_of_8(frame: [u8; 8]) -> Vec<u8> {
    let plane =
        |bit: usize| frame.iter().enumerate().map(|(index, value)| ((value >> bit) & 1) << index).sum::<u8>();
    let planes: Vec<u8> = (0..8).map(plane).collect();
    [&8_u64.to_be_bytes()[..], &8192_u32.to_be_bytes(), &9_u32.to_be_bytes(), &[0x80], &planes].concat()
}

fn bytes<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    values.into_iter().flatten().collect()
}

fn goldens() -> Vec<Golden> {
    let point = |seq, body| header("2026-11-22-001", seq, body);
    let area = |seq, body| header("2026-11-22-002", seq, body);
    let frames: [[u8; 8]; 2] = [[1, 2, 3, 4, 5, 6, 7, 8], [255, 0, 128, 64, 32, 16, 8, 4]];
    let run = SamplesHeader { i0: Some(1050.5), ..samples(1, 3, 3, DType::Uint16) };
    let floats = SamplesHeader {
        ring_current_ma: Some(333.25),
        energy_ev: Some(518.31),
        ..samples(2, 0, 2, DType::Float32)
    };
    let list = SamplesHeader { pixel_part: true, i0_part: true, ..samples(0, 0, 2, DType::Uint32) };
    let area_samples = |encoding| SamplesHeader { encoding, ..samples(0, 4, 2, DType::Uint8) };
    vec![
        ("scan_start_point", point(0, HeaderBody::ScanStart(Box::new(point_plan()))), vec![]),
        (
            "samples_run",
            point(1, HeaderBody::Samples(run)),
            vec![bytes([900_u16, 901, 65535].map(u16::to_le_bytes))],
        ),
        (
            "samples_not_measured",
            point(2, HeaderBody::Samples(floats)),
            vec![bytes([0x4461_0000_u32, 0x7fc0_0000].map(u32::to_le_bytes))],
        ),
        (
            "samples_sparse",
            point(3, HeaderBody::Samples(list)),
            vec![
                bytes([70_000_u32, 80_000].map(u32::to_le_bytes)),
                bytes([5_u32, 2].map(u32::to_le_bytes)),
                bytes([100_000_f32, 100_250.5].map(f32::to_le_bytes)),
            ],
        ),
        ("scan_pause", point(4, HeaderBody::ScanPause), vec![]),
        ("scan_resume", point(5, HeaderBody::ScanResume), vec![]),
        (
            "plan_extend",
            point(
                6,
                HeaderBody::PlanExtend(PlanExtendHeader {
                    energies_ev: vec![515.4, 516.6],
                    dwell_ms: Some(PerEnergy::One(3.0)),
                    flux_ph_per_s: None,
                }),
            ),
            vec![],
        ),
        (
            "scan_end_complete",
            point(7, HeaderBody::ScanEnd(ScanEndHeader { status: EndStatus::Complete, reason: None })),
            vec![],
        ),
        ("scan_start_area", area(0, HeaderBody::ScanStart(Box::new(area_plan()))), vec![]),
        (
            "samples_area_raw",
            area(1, HeaderBody::Samples(area_samples(Encoding::Raw))),
            vec![frames.concat()],
        ),
        (
            "samples_area_lz4",
            area(2, HeaderBody::Samples(area_samples(Encoding::Lz4))),
            frames.iter().map(|frame| lz4_stored(frame)).collect(),
        ),
        (
            "samples_area_bslz4",
            area(3, HeaderBody::Samples(area_samples(Encoding::Bslz4))),
            frames.iter().map(|frame| bslz4_of_8(*frame)).collect(),
        ),
        (
            "scan_end_aborted",
            area(
                4,
                HeaderBody::ScanEnd(ScanEndHeader {
                    status: EndStatus::Aborted,
                    reason: Some("beam lost".to_owned()),
                }),
            ),
            vec![],
        ),
    ]
}

fn hex(part: &[u8]) -> String {
    let line =
        |chunk: &[u8]| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ") + "\n";
    part.chunks(16).map(line).collect()
}

/// File name and content of all golden files.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (name, header, parts) in goldens() {
        files.insert(format!("{name}.json"), serde_json::to_string(&header).unwrap() + "\n");
        for (index, part) in parts.iter().enumerate() {
            files.insert(format!("{name}.part{}.hex", index + 1), hex(part));
        }
    }
    files
}

#[test]
fn golden_messages_are_as_committed() {
    if std::env::var_os("PHASEWATCH_UPDATE_GOLDEN").is_some() {
        for (name, content) in files() {
            std::fs::write(directory().join(name), content).unwrap();
        }
    }
    let committed: BTreeMap<String, String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&files()));
    for (name, content) in files() {
        assert_eq!(committed[&name], content, "{name} is not what the header types make");
    }
}

#[test]
fn golden_headers_read_back_as_they_were() {
    for (name, header, _) in goldens() {
        let text = serde_json::to_string(&header).unwrap();
        assert_eq!(serde_json::from_str::<Header>(&text).unwrap(), header, "{name}");
        assert!(text.len() <= MAX_HEADER_BYTES, "{name}");
    }
}

/// What the three golden messages with the same frames become: raw, lz4, bslz4.
#[test]
fn golden_frames_have_the_same_sums_however_they_are_packed() {
    let event = |wanted: &str| {
        let (_, header, parts) = goldens().into_iter().find(|(name, ..)| *name == wanted).unwrap();
        let header = serde_json::to_vec(&header).unwrap();
        let parts: Vec<Bytes> = [header].into_iter().chain(parts).map(Bytes::from).collect();
        decode(&parts, Framing::Bare, None).unwrap().update
    };
    let ScanUpdate::Started(plan) = event("scan_start_area") else { panic!("no plan") };
    for name in ["samples_area_raw", "samples_area_lz4", "samples_area_bslz4"] {
        let ScanUpdate::Frames(frames) = event(name) else { panic!("{name} are no frames") };
        assert_eq!(frames.frames.len(), 2, "{name}");
        let batch = FrameStage::default().reduce(&plan, frames).unwrap().batch;
        // 255 is saturated, and counts as the dark level of half a count.
        assert_eq!(batch.values, [36.0, 252.5], "{name}");
        assert_eq!(batch.pixels, Pixels::Run { first: 4, count: 2 });
    }
}

/// Packed values of a point detector, with pixels and i0 behind them; one value is no frame.
#[test]
fn packed_values_of_a_point_detector_are_unpacked() {
    for count in [1_usize, 7, 40] {
        let values: Vec<u16> = (0..count).map(|i| (i * 3 % 11) as u16).collect();
        let raw = bytes(values.iter().map(|value| value.to_le_bytes()));
        let list = bytes((0..count as u32).rev().map(u32::to_le_bytes));
        let i0 = bytes((0..count).map(|i| (100.0 + i as f32).to_le_bytes()));
        for (encoding, packed) in [
            (Encoding::Lz4, compressed::lz4(&raw, 16)),
            (Encoding::Bslz4, compressed::bslz4(Element::U16, &raw, 16)),
        ] {
            let body = SamplesHeader {
                pixel_part: true,
                i0_part: true,
                encoding,
                ..samples(0, 0, count as u32, DType::Uint16)
            };
            let header = serde_json::to_vec(&header("s", 1, HeaderBody::Samples(body))).unwrap();
            let parts: Vec<Bytes> =
                [header, packed.clone(), list.clone(), i0.clone()].map(Bytes::from).into();
            let update = decode(&parts, Framing::Bare, None).unwrap().update;
            let ScanUpdate::Samples(batch) = update else { panic!("{count} {encoding:?}: no samples") };
            assert_eq!(batch.values, values.iter().map(|value| f32::from(*value)).collect::<Vec<_>>());
            assert!(matches!(&batch.i0, I0::Each(list) if list.len() == count));
            let mut broken = packed;
            broken.pop();
            let parts = [parts[0].clone(), broken.into(), parts[2].clone(), parts[3].clone()];
            let refusal = decode(&parts, Framing::Bare, None).map(|event| event.update);
            // A part of one pixel that announces one value is one.
            assert!(matches!(refusal, Err(Refusal::Packed(_))), "{count} {encoding:?}: {refusal:?}");
        }
    }
}
