//! What was done to make optical densities of counts, in words: the `normalisation` of the metadata.

use super::intensity::ring_factor;
use super::{AbsorptionSettings, Beam, I0Source, Intensity, PlaneIntensity};
use crate::scan::{I0Kind, Signal, ValueUnit};
use crate::screening::Response;
use crate::stack::{PlaneI0, Stack};

/// Each thing that was done, or was not, and how.
pub(super) fn normalisation(
    intensity: &Intensity,
    stack: &Stack,
    settings: &AbsorptionSettings,
) -> Vec<(&'static str, String)> {
    vec![
        ("i0", i0(intensity, stack)),
        ("dark", dark(intensity, stack)),
        ("ring_current", ring_current(intensity, stack, settings)),
        ("beam", beam(intensity)),
        ("dead_time", dead_time(stack, settings)),
        ("limits", limits(stack, settings)),
        ("screening", screening(intensity, settings)),
    ]
}

fn dark(intensity: &Intensity, stack: &Stack) -> String {
    let noise = if intensity.dark_is_noise() { "" } else { ", without noise of its own" };
    format!("{} subtracted{noise}", stack.plan().dark())
}

fn i0(intensity: &Intensity, stack: &Stack) -> String {
    let mut text = intensity.describe();
    let plan = stack.plan();
    let carries_monitor =
        plan.i0_kind == I0Kind::Monitor && stack.planes().iter().any(|plane| plane.i0() != PlaneI0::None);
    if let Some(problem) = intensity.problem() {
        text = format!("none: {problem}");
    }
    if carries_monitor {
        text.push_str("; the stream's i0 is a monitor, which is no open beam");
    }
    if intensity.source() == I0Source::Spectrum && plan.value_unit == ValueUnit::Counts {
        text.push_str(", per dwell");
    }
    text
}

fn ring_current(intensity: &Intensity, stack: &Stack, settings: &AbsorptionSettings) -> String {
    match intensity.source() {
        I0Source::Stream => return "not applied: the stream's i0 carries it".to_owned(),
        I0Source::Region => return "not applied: the empty region carries it".to_owned(),
        I0Source::None | I0Source::NotNeeded => return "not applied".to_owned(),
        I0Source::Spectrum => {}
    }
    let Some(spectrum) = &settings.spectrum else { return "not applied".to_owned() };
    let Some(then) = spectrum.ring_current_ma else {
        return "not applied: the spectrum does not say at which current it was taken".to_owned();
    };
    let measured = stack.planes().iter().filter(|plane| plane.measured() > 0);
    let (all, known) = measured.fold((0, 0), |(all, known), plane| {
        (all + 1, known + usize::from(ring_factor(spectrum, plane).is_some()))
    });
    format!("applied to the spectrum of {then} mA at {known} of {all} energies")
}

fn beam(intensity: &Intensity) -> String {
    let (mut lines, mut monitored, mut share) = (0, 0, 0.0);
    for energy in 0..intensity.energies() {
        match intensity.plane(energy) {
            PlaneIntensity::One { beam: Beam::Lines(_), .. } => lines += 1,
            PlaneIntensity::One { beam: Beam::Monitor { share: own, .. }, .. } => {
                (monitored, share) = (monitored + 1, share + own);
            }
            PlaneIntensity::One { .. } | PlaneIntensity::Stream | PlaneIntensity::Unknown => {}
        }
    }
    match (lines, monitored) {
        (0, 0) if intensity.source() == I0Source::Stream => "as the stream's i0".to_owned(),
        (0, 0) => "taken as steady within each image".to_owned(),
        (_, 0) => format!("lines corrected by the empty region at {lines} energies"),
        (..) => {
            let mean = share / f64::from(monitored);
            format!("within images by the monitor at {monitored} energies, at {mean:.2} of its fluctuations")
        }
    }
}

fn dead_time(stack: &Stack, settings: &AbsorptionSettings) -> String {
    let plan = stack.plan();
    let dead_time_s = settings.detector.dead_time_s.or(plan.detector.dead_time_s).unwrap_or(0.0);
    if dead_time_s <= 0.0 {
        "not applied".to_owned()
    } else if plan.summed_pixels() > 1 {
        "not applied: the values are sums of frames".to_owned()
    } else {
        format!("{} us corrected", dead_time_s * 1e6)
    }
}

fn limits(stack: &Stack, settings: &AbsorptionSettings) -> String {
    let response = Response::of(stack.plan(), 0, &settings.detector);
    let mut parts = Vec::new();
    if response.saturation.is_finite() {
        parts.push(format!("saturated from {}", response.saturation));
    }
    if let Some(rate) = settings.detector.linear_to_hz.filter(|_| response.linear_to.is_finite()) {
        parts.push(format!("not linear above {rate} counts/s"));
    }
    // A yield has no limit: nothing of it is lost in noise as of a thick sample's light.
    match stack.plan().detector.signal {
        Signal::Transmission | Signal::OpticalDensity => {
            parts.push(format!("optical density up to {}", settings.max_od));
        }
        Signal::Fluorescence | Signal::ElectronYield if parts.is_empty() => parts.push("none".to_owned()),
        Signal::Fluorescence | Signal::ElectronYield => {}
    }
    parts.join(", ")
}

fn screening(intensity: &Intensity, settings: &AbsorptionSettings) -> String {
    let found = intensity.screen().counts().describe();
    if settings.detector.screen_lines { found } else { format!("{found}; lines not looked at") }
}
