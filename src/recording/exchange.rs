//! Stacks in Mantis' own HDF5, the APS Data Exchange: `/exchange/data` over x, y and energy.
//!
//! `/exchange/energy` has the energies (eV, or keV where `units` says so), `/exchange/x` and `y` the positions, or only
//! numbers of pixels. `/spectromicroscopy/normalization/white_spectrum` is the incident intensity, at the energies of
//! `white_spectrum_energy`; it becomes the I0 of every value. A white spectrum of nothing but ones says that the data
//! have been divided: where they exceed it, more light than came in, they are no transmission but a yield, and are taken as
//! fluorescence, without logarithm; with a warning, as everything that is assumed: a dwell of 1 ms, which the format has no
//! place for.
//!
//! What is missing or contradictory is an error that names the path inside the file.

use std::path::Path;

use super::hdf5::{Dimension, Hdf5File, Place, Values};
use super::nexus::{ev, even, kind, read_planes, time};
use super::{RecordedPlane, Recording, RecordingError, scan_id};
use crate::scan::{Axis, Detector, Grid, MAX_ENERGIES, ScanPlan, Signal};

/// Dwell that is assumed, ms.
const DWELL_MS: f64 = 1.0;
/// The order of dimensions that Mantis writes.
const ORDER: [Dimension; 3] = [Dimension::X, Dimension::Y, Dimension::Energy];

/// The `exchange` group of a file that has one.
pub(super) fn find<'a>(root: &Place<'a>) -> Result<Option<Place<'a>>, RecordingError> {
    root.group("exchange")
}

pub(super) fn load(path: &Path, file: &Hdf5File, exchange: &Place<'_>) -> Result<Recording, RecordingError> {
    let root = file.root()?;
    let needed = |name: &str| -> Result<Values<'_>, RecordingError> {
        exchange.dataset(name)?.ok_or_else(|| exchange.error(name, "it is not there"))
    };
    let data = needed("data")?;
    let [energies, ny, nx] = data.cube(ORDER)?;
    let energies_ev = ev(&needed("energy")?, energies)?;
    let axis = |name: &str, pixels: usize| -> Result<(Axis, Option<String>), RecordingError> {
        let Some(values) = exchange.dataset(name)? else { return Ok((Axis { start: 0.0, step: 1.0 }, None)) };
        Ok((even(&values, pixels)?, values.text_attribute("units")))
    };
    let (x, unit) = axis("x", nx)?;
    let (y, _) = axis("y", ny)?;
    let grid = Grid { shape: [ny, nx], x, y, unit: unit.unwrap_or_else(|| "pixel".to_owned()) };
    let mut warnings = vec![format!("the file has no dwell; {DWELL_MS} ms is assumed")];

    let mut plan = ScanPlan::of_stack(scan_id(path), grid, energies_ev, DWELL_MS);
    if let Some(information) = root.group("information")? {
        let made = information.dataset("file_creation_datetime")?;
        let made = made.map(|values| values.text()).transpose()?.flatten();
        plan.started = made.and_then(|text| time(&text)).unwrap_or_default();
    }
    plan.validate().map_err(|source| RecordingError::Plan { path: path.to_owned(), source })?;
    let mut planes = read_planes(&data, ORDER, &plan, |plane| &mut plane.values)?;
    if planes.iter().all(|plane| plane.values.is_empty()) {
        return Err(data.error("not one value is a number"));
    }
    let words = ["description", "detector"].iter().filter_map(|name| data.text_attribute(name));
    let mut signal = kind(&words.collect::<Vec<_>>().join(" "));
    if let Some((at, white)) = white(&root, &plan)? {
        let is_unit = white.iter().all(|value| *value == 1.0);
        if is_unit && signal == Signal::Transmission && planes.iter().any(is_brighter_than_white) {
            signal = Signal::Fluorescence;
            let problem = format!("it exceeds {at}, which is 1 throughout");
            warnings.push(format!("{} is taken as fluorescence: {problem}", data.at()));
        }
        incident(&mut planes, &white);
    }
    plan.detector = Detector { signal, ..Detector::default() };
    Ok(Recording { plan, planes, i0: None, warnings })
}

/// Whether a value exceeds 1.
fn is_brighter_than_white(plane: &RecordedPlane) -> bool {
    plane.values.iter().any(|value| *value > 1.0)
}

/// Gives every value of an image its incident intensity.
fn incident(planes: &mut [RecordedPlane], white: &[f64]) {
    for (plane, white) in planes.iter_mut().zip(white) {
        if *white > 0.0 {
            plane.i0 = vec![*white as f32; plane.values.len()];
        }
    }
}

/// The white spectrum at the energies of the plan, and where it stands; `None` where there is none.
fn white(root: &Place<'_>, plan: &ScanPlan) -> Result<Option<(String, Vec<f64>)>, RecordingError> {
    let mut place = Some(root.group("spectromicroscopy")?);
    place = place.flatten().map(|place| place.group("normalization")).transpose()?;
    let Some(normalization) = place.flatten() else { return Ok(None) };
    let Some(values) = normalization.dataset("white_spectrum")? else { return Ok(None) };
    let white = values.numbers(MAX_ENERGIES)?;
    let at = match normalization.dataset("white_spectrum_energy")? {
        Some(energies) => ev(&energies, white.len())?,
        None => plan.energies_ev.clone(),
    };
    if white.len() != at.len() || white.is_empty() {
        return Err(values.error(format_args!("{} values for {} energies", white.len(), at.len())));
    }
    let mut spectrum: Vec<_> = at.into_iter().zip(white).collect();
    spectrum.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = plan.energies_ev.iter().map(|energy_ev| interpolated(&spectrum, *energy_ev)).collect();
    Ok(Some((values.at().to_owned(), at)))
}

/// Value of a spectrum, ascending, at an energy; that of its end outside.
fn interpolated(spectrum: &[(f64, f64)], energy_ev: f64) -> f64 {
    let after = spectrum.partition_point(|(at, _)| *at < energy_ev);
    match (after.checked_sub(1).and_then(|before| spectrum.get(before)), spectrum.get(after)) {
        (Some(before), Some(after)) => {
            let share = (energy_ev - before.0) / (after.0 - before.0);
            before.1 + share * (after.1 - before.1)
        }
        (Some(only), None) | (None, Some(only)) => only.1,
        (None, None) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrum_is_interpolated_and_goes_on_level() {
        let spectrum = [(700.0, 10.0), (701.0, 20.0), (703.0, 40.0)];
        let at = |energy_ev| interpolated(&spectrum, energy_ev);
        assert_eq!(
            [at(699.0), at(700.0), at(700.5), at(702.0), at(703.0), at(800.0)],
            [10.0, 10.0, 15.0, 30.0, 40.0, 40.0]
        );
        assert!(interpolated(&[], 1.0).is_nan());
    }
}
