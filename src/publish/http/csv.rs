//! Spectra as CSV, for a spreadsheet: one row per energy, what is not known left empty.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::classify::{Optics, PlaceSpectrum};
use crate::publish::MeanSpectra;

/// A CSV file to be kept. `name` is of the letters that identifiers have.
pub(super) fn file(name: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    (
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ],
        text,
    )
        .into_response()
}

/// The spectrum of a place.
pub(super) fn spectrum(place: &PlaceSpectrum, optics: &Optics) -> String {
    let mut text = "energy_ev,corrected_ev,od,sigma,pixels,fit_od".to_owned();
    let id = |phase: usize| {
        optics.references().references.get(phase).map_or("?", |reference| reference.label.id.as_str())
    };
    for single in &place.references {
        _ = write!(text, ",{}_od", id(single.phase));
    }
    text.push('\n');
    for row in 0..place.od.len() {
        let fit = place.fit.as_ref().map_or(f64::NAN, |fit| fit.od[row]);
        let known = [place.energy_ev[row], place.corrected_ev[row], place.od[row], place.sigma[row]];
        known.into_iter().for_each(|value| number(&mut text, value));
        _ = write!(text, "{},", place.pixels[row]);
        number(&mut text, fit);
        place.references.iter().for_each(|single| number(&mut text, single.od[row]));
        text.pop();
        text.push('\n');
    }
    text
}

/// Mean spectra, one row per phase and energy.
pub(super) fn mean_spectra(spectra: &MeanSpectra) -> String {
    let mut text = "phase,energy_ev,od_mean,od_std,pixels\n".to_owned();
    for (row, &phase) in spectra.phase.iter().enumerate() {
        let name = spectra.names.get(usize::from(phase)).map_or("?", String::as_str);
        _ = write!(text, "{name},");
        number(&mut text, spectra.energy_ev[row]);
        number(&mut text, f64::from(spectra.od_mean[row]));
        number(&mut text, f64::from(spectra.od_std[row]));
        _ = writeln!(text, "{}", spectra.pixels[row]);
    }
    text
}

/// A number and a comma; a comma alone where it is none.
fn number(text: &mut String, value: f64) {
    if value.is_finite() {
        // Six digits are more than a spectrum has.
        _ = write!(
            text,
            "{}",
            format_args!("{:.6}", value).to_string().trim_end_matches('0').trim_end_matches('.')
        );
    }
    text.push(',');
}
