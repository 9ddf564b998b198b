//! How a detector answers to light: what of a value is dark, dead time, and where it ends.
//!
//! Dead time is of the non-paralysable kind: a detector that is blind for τ after each photon shows the rate
//! `m = n / (1 + nτ)` for the rate `n` (G. F. Knoll, Radiation Detection and Measurement, ch. 4), so `n = m / (1 - mτ)`. Its
//! counts scatter less than Poisson's, and the correction stretches them: the relative variance of the corrected number is that
//! of Poisson for the photons that were *seen*. Where half of the time is dead, and beyond, nothing is corrected: the value is
//! not usable. The sums of frames are not corrected: their photons are spread over many pixels, each with a rate of
//! its own.

use super::DetectorSettings;
use crate::scan::{ScanPlan, ValueUnit};

/// Share of dead time beyond which a value says nothing.
const MOST_DEAD: f64 = 0.5;

/// The response at one energy, for values as they come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response {
    /// Dark level of a value.
    pub dark: f64,
    /// Value at and above which the detector is saturated; infinite where unknown.
    pub saturation: f64,
    /// Value above which it does not count in proportion; infinite where unknown.
    pub linear_to: f64,
    /// Share of the time that one unit of a value makes dead.
    pub dead_per_value: f64,
    /// Photons seen in a value of 1, for a detector of one count a photon: 1, or the exposure in s where values are
    /// counts per second.
    pub counts_per_value: f64,
}

impl Response {
    /// The response of the detector of `plan` at `energy`.
    #[must_use]
    pub fn of(plan: &ScanPlan, energy: usize, settings: &DetectorSettings) -> Self {
        let exposure_s = plan.dwell_ms[energy] / 1000.0;
        let (rate_per_value, counts_per_value) = match plan.value_unit {
            ValueUnit::Counts => (1.0 / exposure_s, 1.0),
            ValueUnit::CountsPerS => (1.0, exposure_s),
        };
        let single = plan.summed_pixels() == 1;
        let dead_time_s =
            settings.dead_time_s.or(plan.detector.dead_time_s).filter(|_| single).unwrap_or(0.0);
        // A photon blinds once, however many counts it makes.
        let counts_per_photon = plan.detector.counts_per_photon.as_ref().map_or(1.0, |list| list[energy]);
        let dead_per_value = dead_time_s * rate_per_value / counts_per_photon;
        let saturation = settings.saturation.or(plan.detector.saturation);
        let linear_to = settings.linear_to_hz.map_or(f64::INFINITY, |rate| rate / rate_per_value);
        Self {
            dark: plan.dark(),
            // Saturated pixels of a frame were left out of its sum already.
            saturation: saturation.filter(|_| single).unwrap_or(f64::INFINITY),
            linear_to: if single { linear_to } else { f64::INFINITY },
            dead_per_value,
            counts_per_value,
        }
    }

    /// Value at and above which nothing is usable.
    #[must_use]
    #[inline]
    pub fn ceiling(&self) -> f64 {
        let dead = if self.dead_per_value > 0.0 { MOST_DEAD / self.dead_per_value } else { f64::INFINITY };
        self.saturation.min(self.linear_to).min(dead)
    }

    /// What an incident intensity would be without dead time, dark included; `None` where that is more than half of the
    /// time. It may be beyond what the detector could count: it need not have been counted at once.
    #[must_use]
    #[inline]
    pub fn linear_i0(&self, value: f64) -> Option<f64> {
        (self.dead_per_value * value < MOST_DEAD).then(|| self.linear(value))
    }

    /// What a value would be without dead time, dark included; for values below [`Response::ceiling`].
    #[must_use]
    #[inline]
    pub fn linear(&self, value: f64) -> f64 {
        if self.dead_per_value == 0.0 { value } else { value / (1.0 - self.dead_per_value * value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::test_plan;

    #[test]
    fn dead_time_is_undone_in_either_unit() {
        let mut plan = test_plan(1, 1, 1);
        plan.dwell_ms = vec![2.0];
        plan.detector.dead_time_s = Some(1e-7);
        // 500 000 photons per second: 1000 in 2 ms, 4.76 % of which are lost.
        let seen_hz = 500_000.0 / 1.05;
        let response = Response::of(&plan, 0, &DetectorSettings::default());
        assert!((response.linear(seen_hz * 0.002) - 1000.0).abs() < 1e-9);
        plan.value_unit = ValueUnit::CountsPerS;
        let response = Response::of(&plan, 0, &DetectorSettings::default());
        assert!((response.linear(seen_hz) - 500_000.0).abs() < 1e-6);
        assert_eq!(response.ceiling(), 5e6);
        let none = DetectorSettings { dead_time_s: Some(0.0), ..DetectorSettings::default() };
        assert_eq!(Response::of(&plan, 0, &none).linear(seen_hz), seen_hz);
    }

    #[test]
    fn the_lowest_limit_counts_and_settings_win() {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.saturation = Some(5000.0);
        let limit = |linear_to_hz, saturation| {
            let settings = DetectorSettings { linear_to_hz, saturation, ..DetectorSettings::default() };
            Response::of(&plan, 0, &settings).ceiling()
        };
        assert_eq!(limit(None, None), 5000.0);
        assert_eq!(limit(Some(2e6), None), 2000.0);
        assert_eq!(limit(Some(9e6), Some(4000.0)), 4000.0);
    }
}
