//! The plan of a scan from a NeXus file.

use std::path::Path;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::choice::{self, Choice};
use super::{is_per_energy, per_energy};
use crate::recording::hdf5::{Dimension, Place, Values};
use crate::recording::{RecordingError, identifier, scan_id};
use crate::scan::{Axis, Detector, Grid, MAX_AXIS, MAX_ENERGIES, ScanPlan};

/// Dwell where a file says none, ms.
const ASSUMED_DWELL_MS: f64 = 1.0;

/// The plan; `own` is the group of ours in the entry.
pub(super) fn read(
    path: &Path,
    choice: &Choice<'_>,
    lengths: [usize; 3],
    own: Option<&Place<'_>>,
    warnings: &mut Vec<String>,
) -> Result<ScanPlan, RecordingError> {
    let [energies, ny, nx] = lengths;
    let energies_ev = energies_ev(choice, energies)?;
    if let Some(values) = own.map(|own| own.dataset("plan")).transpose()?.flatten() {
        let plan = values.text()?.and_then(|json| serde_json::from_str::<ScanPlan>(&json).ok());
        match plan.filter(|plan| plan.grid.shape == [ny, nx] && plan.energies_ev == energies_ev) {
            Some(plan) => return Ok(plan),
            None => warnings.push(format!("{} is left aside: it does not fit the data", values.at())),
        }
    }
    let (x, unit) = positions(choice, Dimension::X, nx)?;
    let (y, _) = positions(choice, Dimension::Y, ny)?;
    let grid = Grid { shape: [ny, nx], x, y, unit };
    let instrument = choice.instrument()?;
    let dwell_ms = dwell_ms(choice, instrument.as_ref(), energies, warnings)?;
    let text = |place: Option<&Place<'_>>, name: &str| -> Result<Option<String>, RecordingError> {
        let values = place.map(|place| place.dataset(name)).transpose()?.flatten();
        let text = values.map(|values| values.text()).transpose()?.flatten();
        Ok(text.filter(|text| !text.is_empty()))
    };
    let sample = choice::of_class(&choice.entry, "NXsample")?;
    let started = text(Some(&choice.entry), "start_time")?.and_then(|text| time(&text));
    let beamline = text(instrument.as_ref(), "name")?;
    Ok(ScanPlan {
        started: started.unwrap_or_default(),
        dwell_ms,
        beamline: identifier(beamline.as_deref().unwrap_or_default(), "unknown"),
        sample: text(sample.as_ref(), "name")?,
        detector: Detector { signal: choice.kind, ..Detector::default() },
        ..ScanPlan::of_stack(scan_id(path), grid, energies_ev, ASSUMED_DWELL_MS)
    })
}

/// The energies, one for each image.
fn energies_ev(choice: &Choice<'_>, images: usize) -> Result<Vec<f64>, RecordingError> {
    let values = match choice.axis(Dimension::Energy)? {
        Some(values) => Some(values),
        None => match choice.instrument()? {
            Some(instrument) => choice::of_class(&instrument, "NXmonochromator")?
                .map(|monochromator| monochromator.dataset("energy"))
                .transpose()?
                .flatten(),
            None => None,
        },
    };
    ev(&values.ok_or_else(|| choice.data.error("energy", "there are no photon energies"))?, images)
}

/// Photon energies, eV, as many as are wanted.
pub(in crate::recording) fn ev(values: &Values<'_>, wanted: usize) -> Result<Vec<f64>, RecordingError> {
    let numbers = points(values, wanted, MAX_ENERGIES)?;
    if let Some(number) = numbers.iter().find(|number| **number <= 0.0) {
        return Err(values.error(format_args!("{number} is no photon energy")));
    }
    let unit = values.text_attribute("units").unwrap_or_default();
    let scale = if unit.eq_ignore_ascii_case("kev") { 1000.0 } else { 1.0 };
    Ok(numbers.into_iter().map(|number| number * scale).collect())
}

/// The points of an axis, as many as the signal has in its dimension.
fn points(values: &Values<'_>, wanted: usize, most: usize) -> Result<Vec<f64>, RecordingError> {
    let numbers = values.numbers(most)?;
    if numbers.len() != wanted {
        return Err(values.error(format_args!("{} values; the data have {wanted}", numbers.len())));
    }
    match numbers.iter().find(|number| !number.is_finite()) {
        Some(number) => Err(values.error(format_args!("{number} is no place on an axis"))),
        None => Ok(numbers),
    }
}

/// The even axis through the first and the last position.
pub(in crate::recording) fn even(values: &Values<'_>, pixels: usize) -> Result<Axis, RecordingError> {
    let axis = Axis::through(&points(values, pixels, MAX_AXIS)?);
    if axis.step == 0.0 {
        return Err(values.error("the first and the last position are the same"));
    }
    Ok(axis)
}

/// The even axis through the positions of a dimension, and its unit: micrometres where the file's is known.
fn positions(
    choice: &Choice<'_>,
    dimension: Dimension,
    pixels: usize,
) -> Result<(Axis, String), RecordingError> {
    let name = if dimension == Dimension::X { "sample_x" } else { "sample_y" };
    let values = choice.axis(dimension)?.ok_or_else(|| choice.data.error(name, "there are no positions"))?;
    let axis = even(&values, pixels)?;
    let unit = values.text_attribute("units").unwrap_or_else(|| "um".to_owned());
    let (scale, unit) = match unit.as_str() {
        "um" | "µm" | "μm" | "micron" | "microns" | "micrometer" | "micrometre" => (1.0, "um".to_owned()),
        "m" => (1e6, "um".to_owned()),
        "mm" => (1e3, "um".to_owned()),
        _ => (1.0, unit),
    };
    Ok((Axis { start: scale * axis.start, step: scale * axis.step }, unit))
}

/// Dwell of each energy.
fn dwell_ms(
    choice: &Choice<'_>,
    instrument: Option<&Place<'_>>,
    energies: usize,
    warnings: &mut Vec<String>,
) -> Result<Vec<f64>, RecordingError> {
    let mut values = choice.data.first_of(&["count_time", "dwell_time", "dwell"])?;
    if let (None, Some(instrument)) = (&values, instrument) {
        let detector = choice::of_class(instrument, "NXdetector")?;
        values = detector.map(|detector| detector.dataset("count_time")).transpose()?.flatten();
    }
    let Some(values) = values else {
        let missing = format!("{}/count_time", choice.data.at());
        warnings.push(format!("{missing} is not there; a dwell of {ASSUMED_DWELL_MS} ms is assumed"));
        return Ok(vec![ASSUMED_DWELL_MS; energies]);
    };
    let times = if values.shape() == choice.signal.shape() {
        means(&values, choice, energies)?
    } else if is_per_energy(&values, energies) {
        per_energy(&values, energies)?
    } else {
        vec![None; energies]
    };
    let unit = values.text_attribute("units").unwrap_or_default();
    let scale = match unit.as_str() {
        "ms" | "msec" | "millisecond" | "milliseconds" => 1.0,
        "us" | "µs" | "μs" | "microsecond" | "microseconds" => 1e-3,
        _ => 1e3,
    };
    if unit.is_empty() {
        warnings.push(format!("{} has no unit; taken as s", values.at()));
    }
    let known = times.iter().flatten().any(|time| *time > 0.0);
    if !known || times.iter().any(|time| time.is_none_or(|time| time <= 0.0)) {
        let how_much = if known { "in part " } else { "" };
        warnings.push(format!(
            "{} is {how_much}no exposure of an image; a dwell of {ASSUMED_DWELL_MS} ms is assumed there",
            values.at()
        ));
    }
    let dwell =
        |time: Option<f64>| time.filter(|time| *time > 0.0).map_or(ASSUMED_DWELL_MS, |time| scale * time);
    Ok(times.into_iter().map(dwell).collect())
}

/// Means over the images of what is finite.
fn means(
    values: &Values<'_>,
    choice: &Choice<'_>,
    energies: usize,
) -> Result<Vec<Option<f64>>, RecordingError> {
    let mut sums = vec![(0.0, 0_u32); energies];
    values.each(choice.order, |energy, _, value| {
        if value.is_finite() {
            sums[energy].0 += value;
            sums[energy].1 += 1;
        }
    })?;
    Ok(sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f64::from(count))).collect())
}

/// A time as files have it: with an offset, or without, which is taken as UTC.
pub(in crate::recording) fn time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return Some(time.to_utc());
    }
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_many_forms() {
        let utc = |text: &str| time(text).map(|time| time.to_rfc3339());
        assert_eq!(utc("2026-09-21T10:00:00+02:00").unwrap(), "2026-09-21T08:00:00+00:00");
        assert_eq!(utc("2026-09-21T10:00:00+0200").unwrap(), "2026-09-21T08:00:00+00:00");
        assert_eq!(utc("2026-09-21 10:00:00.5").unwrap(), "2026-09-21T10:00:00.500+00:00");
        assert_eq!(utc("2012-07-11T09:15").unwrap(), "2012-07-11T09:15:00+00:00");
        assert_eq!(utc("yesterday"), None);
    }
}
