//! Stacks in the text format of the ALS microscopes: a `.hdr`, and beside it one `<stem>_aNNN.xim` per energy.
//!
//! The header gives the axes (`PAxis` is x, `QAxis` is y, `StackAxis` the energies, each with a list of points
//! that starts with their number), the dwell in ms, and the ring current and time of every image: of the first
//! at the top level, of image n as `ImageN`. Times are taken as UTC: the header does not name a time zone. An
//! image is one line of white-space separated numbers per row, row 0 first; `nan` means not measured. The
//! beamline is not in the header, so it is `unknown`.
//!
//! A missing image is a gap. All images missing, a row or an image of another length, several regions, or a
//! declared number of points that is not theirs, are errors.

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::als_header::{Value, parse};
use super::{MAX_VALUES, RecordedPlane, Recording, RecordingError, read_spectrum, read_text, scan_id};
use crate::scan::{Axis, Grid, MAX_AXIS, MAX_ENERGIES, ScanPlan};

/// Longest header, bytes.
const MAX_HEADER_BYTES: u64 = 16 * 1024 * 1024;
/// Longest text of one value in an image, bytes.
const MAX_VALUE_BYTES: u64 = 64;

pub(super) fn load(path: &Path) -> Result<Recording, RecordingError> {
    let text = read_text(path, MAX_HEADER_BYTES)?;
    let header = parse(&text).map_err(|(line, problem)| RecordingError::Text {
        path: path.to_owned(),
        line,
        problem,
    })?;
    let plan = plan(path, &header)?;
    plan.validate().map_err(|source| RecordingError::Plan { path: path.to_owned(), source })?;
    if plan.planned_values() > MAX_VALUES {
        let problem = format!("{} values; at most {MAX_VALUES} are read", plan.planned_values());
        return Err(RecordingError::content(path, problem));
    }
    let mut planes = Vec::new();
    for energy in 0..plan.energies_ev.len() {
        let image = image_path(path, energy);
        let values = if image.exists() { read_image(&image, &plan.grid)? } else { Vec::new() };
        let at = image_block(&header, energy);
        planes.push(RecordedPlane {
            values,
            i0: Vec::new(),
            ring_current_ma: at.and_then(|at| at.get("StorageRingCurrent")).and_then(Value::number),
            read_back_ev: None,
            time: at.and_then(time),
        });
    }
    if planes.iter().all(|plane| plane.values.is_empty()) {
        let problem = format!("none of its images is there, such as {}", image_path(path, 0).display());
        return Err(RecordingError::content(path, problem));
    }
    let beside = path.with_file_name("i0.xsp");
    let i0 = if beside.exists() { Some(read_spectrum(&beside)?) } else { None };
    Ok(Recording { plan, planes, i0, warnings: Vec::new() })
}

fn image_path(header: &Path, energy: usize) -> PathBuf {
    let stem = header.file_stem().unwrap_or_default().to_string_lossy();
    header.with_file_name(format!("{stem}_a{energy:03}.xim"))
}

/// Where ring current and time of an image stand: those of the first at the top level.
fn image_block(header: &Value, energy: usize) -> Option<&Value> {
    let block = header
        .get(&format!("Image{}", energy + 1))
        .or_else(|| header.get(&format!("Image{:03}", energy + 1)));
    block.or(if energy == 0 { Some(header) } else { None })
}

fn time(block: &Value) -> Option<DateTime<Utc>> {
    let text = block.get("Time").and_then(Value::text)?;
    NaiveDateTime::parse_from_str(text, "%Y %B %d %H:%M:%S").ok().map(|time| time.and_utc())
}

fn plan(path: &Path, header: &Value) -> Result<ScanPlan, RecordingError> {
    let regions = header.find("Regions").and_then(Value::counted).map_or(0, <[_]>::len);
    if regions != 1 {
        let problem = format!("{regions} readable regions; only a stack of one region is read");
        return Err(RecordingError::content(path, problem));
    }
    let x = points(path, header, "PAxis", MAX_AXIS)?;
    let y = points(path, header, "QAxis", MAX_AXIS)?;
    let energies_ev = points(path, header, "StackAxis", MAX_ENERGIES)?;
    let dwell_ms = header.get("ScanDefinition").and_then(|scan| scan.find("Dwell")).and_then(Value::number);
    let dwell_ms = dwell_ms.ok_or_else(|| RecordingError::content(path, "no Dwell in ScanDefinition"))?;
    let unit = header.find("PAxis").and_then(|axis| axis.get("Unit")).and_then(Value::text).unwrap_or("um");
    let grid =
        Grid { shape: [y.len(), x.len()], x: Axis::through(&x), y: Axis::through(&y), unit: unit.to_owned() };
    let started = time(header).or_else(|| image_block(header, 0).and_then(time)).unwrap_or_default();
    Ok(ScanPlan { started, ..ScanPlan::of_stack(scan_id(path), grid, energies_ev, dwell_ms) })
}

/// The points of an axis, whose declared number has to be theirs.
fn points(path: &Path, header: &Value, axis: &str, limit: usize) -> Result<Vec<f64>, RecordingError> {
    let list = header.find(axis).and_then(|block| block.get("Points"));
    let list = list.ok_or_else(|| RecordingError::content(path, format_args!("no {axis} with Points")))?;
    let members = list.counted().filter(|members| (1..=limit).contains(&members.len()));
    members.and_then(|members| members.iter().map(Value::number).collect()).ok_or_else(|| {
        let problem =
            format!("{axis}.Points must be a number from 1 to {limit} and as many numbers as it says");
        RecordingError::content(path, problem)
    })
}

fn read_image(path: &Path, grid: &Grid) -> Result<Vec<f32>, RecordingError> {
    let [ny, nx] = grid.shape;
    let text = read_text(path, (ny * nx) as u64 * MAX_VALUE_BYTES + 4096)?;
    let error = |line: usize, problem: String| RecordingError::Text { path: path.to_owned(), line, problem };
    let mut values = Vec::with_capacity(ny * nx);
    let mut rows = 0;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        rows += 1;
        if rows > ny {
            return Err(error(index + 1, format!("more rows than the {ny} of the header")));
        }
        let before = values.len();
        for word in line.split_whitespace().take(nx + 1) {
            let value = word.parse::<f32>().ok().filter(|value| !value.is_infinite());
            values.push(value.ok_or_else(|| error(index + 1, format!("{word:?} is no finite number")))?);
        }
        if values.len() - before != nx {
            let found = line.split_whitespace().count();
            return Err(error(index + 1, format!("{found} values; the header has {nx} points in x")));
        }
    }
    if rows != ny {
        return Err(RecordingError::content(
            path,
            format_args!("{rows} rows; the header has {ny} points in y"),
        ));
    }
    Ok(values)
}
