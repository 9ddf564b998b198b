//! One value to one optical density.

use std::sync::Arc;

use super::PlaneIntensity;
use crate::scan::{ScanPlan, Signal};
use crate::stack::{Plane, Stack};

/// Optical density and its variance for a noise factor of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Density {
    /// Optical density; for yields the yield over I0.
    pub od: f32,
    /// Variance of `od`: Poisson, from counts and counts per photon. Where counts are not photons it is to be
    /// multiplied by the [`noise_factor`](super::noise_factor).
    pub variance: f32,
}

impl Density {
    /// What cannot have an optical density.
    pub const MASKED: Self = Self { od: f32::NAN, variance: f32::NAN };
}

/// Energies at which the values of a stack are compared with references, eV: the set-points, or with `read_back`
/// the mean read-back of each plane that has one.
#[must_use]
pub fn energies_ev(stack: &Stack, read_back: bool) -> Vec<f64> {
    let set_points = &stack.plan().energies_ev;
    if !read_back {
        return set_points.clone();
    }
    let energy = |(set_point, plane): (&f64, &Arc<Plane>)| plane.read_back_ev().unwrap_or(*set_point);
    set_points.iter().zip(stack.planes()).map(energy).collect()
}

/// How the values of one plane become optical densities.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    signal: Signal,
    dark: f64,
    saturation: f64,
    max_od: f64,
    counts_per_photon: f64,
    /// Signal below which the noise leaves nothing of an optical density.
    least_signal: f64,
    /// Variance of a value over that of one that was counted.
    interpolated: f64,
    intensity: PlaneIntensity,
}

/// Standard deviations that a transmitted signal must be above zero: with less the error of its optical density is
/// above a half.
const LEAST_DEVIATIONS: f64 = 2.0;

/// The signal that is so many deviations above zero, on a dark level that scatters as counts do; 0 where nobody says
/// how many counts a photon makes.
fn least_signal(plan: &ScanPlan, energy: usize) -> f64 {
    let Some(list) = &plan.detector.counts_per_photon else { return 0.0 };
    // s = k sqrt(g (s + dark)), solved for s.
    let k2g = LEAST_DEVIATIONS * LEAST_DEVIATIONS * list[energy];
    0.5 * (k2g + (k2g * k2g + 4.0 * k2g * plan.dark()).sqrt())
}

impl Conversion {
    /// The conversion of plane `energy` with the given I0. Values above `max_od` are masked.
    #[must_use]
    pub fn new(plan: &ScanPlan, energy: usize, intensity: PlaneIntensity, max_od: f64) -> Self {
        let counts_per_photon = plan.detector.counts_per_photon.as_ref().map_or(1.0, |list| list[energy]);
        // Saturated pixels of a frame were left out of its sum already.
        let saturation = if plan.summed_pixels() == 1 { plan.detector.saturation } else { None };
        Self {
            signal: plan.detector.signal,
            dark: plan.dark(),
            saturation: saturation.unwrap_or(f64::INFINITY),
            max_od,
            counts_per_photon,
            least_signal: least_signal(plan, energy),
            interpolated: 1.0,
            intensity,
        }
    }

    /// The same for a plane whose values may have been interpolated: see [`Plane::variance_factor`].
    #[must_use]
    pub fn of_plane(self, plane: &Plane) -> Self {
        Self { interpolated: plane.variance_factor(), ..self }
    }

    /// Whether any value of the plane can be converted.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.signal == Signal::OpticalDensity || self.intensity != PlaneIntensity::Unknown
    }

    /// The optical density of `value`, measured together with `stream_i0` (NaN where none came).
    #[must_use]
    #[inline]
    pub fn apply(&self, value: f32, stream_i0: f32) -> Density {
        let value = f64::from(value);
        if value.is_nan() || value >= self.saturation {
            return Density::MASKED;
        }
        if self.signal == Signal::OpticalDensity {
            return if value > self.max_od {
                Density::MASKED
            } else {
                Density { od: value as f32, variance: self.interpolated as f32 }
            };
        }
        let (i0, pixels) = match self.intensity {
            PlaneIntensity::Unknown => return Density::MASKED,
            PlaneIntensity::Stream => (f64::from(stream_i0), 1.0),
            PlaneIntensity::One { i0, pixels } => (i0, pixels),
        };
        let (signal, incident) = (value - self.dark, i0 - self.dark);
        if incident <= 0.0 || incident.is_nan() {
            return Density::MASKED;
        }
        // Relative variances of signal and incident beam; the dark counts are noise, too.
        let relative_i0 = self.counts_per_photon * i0 / (incident * incident * pixels);
        if self.signal == Signal::Transmission {
            if signal <= self.least_signal {
                return Density::MASKED;
            }
            let od = (incident / signal).ln();
            if od > self.max_od {
                return Density::MASKED;
            }
            let variance =
                self.interpolated * self.counts_per_photon * value / (signal * signal) + relative_i0;
            return Density { od: od as f32, variance: variance as f32 };
        }
        let ratio = signal / incident;
        // One count at least: a yield of nothing is a measurement, and has an error.
        let counts = value.max(self.counts_per_photon);
        let own = self.interpolated * self.counts_per_photon * counts / (incident * incident);
        let variance = own + ratio * ratio * relative_i0;
        Density { od: ratio as f32, variance: variance as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::test_plan;

    fn conversion(intensity: PlaneIntensity) -> Conversion {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.dark = 10.0;
        plan.detector.saturation = Some(5000.0);
        Conversion::new(&plan, 0, intensity, 4.0)
    }

    #[test]
    fn density_and_noise_follow_the_formula() {
        let one = conversion(PlaneIntensity::One { i0: 1010.0, pixels: 1.0 });
        let density = one.apply(110.0, f32::NAN);
        assert!((f64::from(density.od) - 10_f64.ln()).abs() < 1e-6);
        let expected = 110.0 / 100.0_f64.powi(2) + 1010.0 / 1000.0_f64.powi(2);
        assert!((f64::from(density.variance) - expected).abs() < 1e-7);
    }

    #[test]
    fn without_dark_the_noise_is_that_of_the_literature() {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.dark = 0.0;
        let one = Conversion::new(&plan, 0, PlaneIntensity::One { i0: 1e4, pixels: 1.0 }, 4.0);
        for (od, sigma) in [(1.0_f64, 0.0193), (2.0, 0.0290), (3.0, 0.0459)] {
            let density = one.apply((1e4 * (-od).exp()) as f32, f32::NAN);
            assert!((f64::from(density.variance).sqrt() - sigma).abs() < 1e-4);
        }
    }

    #[test]
    fn what_has_no_density_is_masked_not_zero() {
        let one = conversion(PlaneIntensity::One { i0: 1010.0, pixels: 1.0 });
        for value in [10.0, 0.0, f32::NAN, 5000.0, 10.5] {
            assert!(one.apply(value, f32::NAN).od.is_nan(), "{value}");
        }
        assert!(conversion(PlaneIntensity::Unknown).apply(100.0, 1000.0).od.is_nan());
        assert!(conversion(PlaneIntensity::Stream).apply(100.0, f32::NAN).od.is_nan());
        assert!(conversion(PlaneIntensity::Stream).apply(100.0, 1000.0).od > 2.0);
    }

    #[test]
    fn what_is_within_its_noise_has_no_density() {
        let mut plan = test_plan(1, 1, 1);
        (plan.detector.dark, plan.detector.counts_per_photon) = (20.0, Some(vec![1.0]));
        let one = Conversion::new(&plan, 0, PlaneIntensity::One { i0: 1020.0, pixels: 1e6 }, 9.0);
        // Two deviations of 11.1 photons on 20 dark counts are 11.2.
        assert!(one.apply(31.0, f32::NAN).od.is_nan());
        let density = one.apply(32.0, f32::NAN);
        assert!(density.od > 4.0 && density.variance.sqrt() < 0.5);
        plan.detector.counts_per_photon = None;
        let unknown = Conversion::new(&plan, 0, PlaneIntensity::One { i0: 1020.0, pixels: 1e6 }, 9.0);
        assert!(!unknown.apply(21.0, f32::NAN).od.is_nan(), "nobody knows the noise");
    }

    #[test]
    fn yields_have_no_logarithm() {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.signal = Signal::Fluorescence;
        plan.detector.dark = 0.0;
        let yields = Conversion::new(&plan, 0, PlaneIntensity::One { i0: 100.0, pixels: 1.0 }, 4.0);
        assert_eq!(yields.apply(25.0, f32::NAN).od, 0.25);
        assert_eq!(yields.apply(0.0, f32::NAN).od, 0.0);
    }
}
