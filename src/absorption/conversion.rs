//! One value to one optical density.

use std::sync::Arc;

use super::{Beam, PlaneIntensity};
use crate::scan::{ScanPlan, Signal};
use crate::screening::{DetectorSettings, PlaneFlaws, Response};
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

/// How the values of one plane are treated: its I0, and which of them are not usable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Treatment {
    /// The incident intensity.
    pub intensity: PlaneIntensity,
    /// The values that screening masks.
    pub flaws: Option<Arc<PlaneFlaws>>,
    /// Whether the dark level is a constant without noise.
    pub quiet_dark: bool,
}

/// Relative variances of a value and of its I0, for a noise factor of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Noise {
    /// Of the signal: with a dark level as noisy as counts, and with one that is constant.
    pub signal: [f64; 2],
    /// Of the incident intensity.
    pub i0: f64,
}

/// How the values of one plane become optical densities.
#[derive(Clone, Debug)]
pub struct Conversion {
    signal: Signal,
    response: Response,
    ceiling: f64,
    max_od: f64,
    /// Signal below which the noise leaves nothing of an optical density.
    least_signal: f64,
    /// Variance of a value of 1.
    variance_per_value: f64,
    /// Variance of a value over that of one that was counted.
    interpolated: f64,
    columns: usize,
    /// The one I0 of the plane where there is one, less dark, and its relative variance.
    steady: (f64, f64),
    treatment: Treatment,
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
    /// The conversion of plane `energy` under a treatment. Optical densities above `max_od` are masked.
    #[must_use]
    pub fn new(
        plan: &ScanPlan,
        energy: usize,
        treatment: Treatment,
        detector: &DetectorSettings,
        max_od: f64,
    ) -> Self {
        let counts_per_photon = plan.detector.counts_per_photon.as_ref().map_or(1.0, |list| list[energy]);
        let response = Response::of(plan, energy, detector);
        let mut conversion = Self {
            signal: plan.detector.signal,
            response,
            ceiling: response.ceiling(),
            max_od,
            least_signal: least_signal(plan, energy),
            variance_per_value: counts_per_photon / response.counts_per_value,
            interpolated: 1.0,
            columns: plan.grid.nx(),
            steady: (f64::NAN, f64::NAN),
            treatment,
        };
        if let PlaneIntensity::One { i0, pixels, .. } = conversion.treatment.intensity {
            conversion.steady = conversion.light_of(i0, pixels);
        }
        conversion
    }

    /// The same for a plane whose values may have been interpolated: see [`Plane::variance_factor`].
    #[must_use]
    pub fn of_plane(self, plane: &Plane) -> Self {
        Self { interpolated: plane.variance_factor(), ..self }
    }

    /// Relative variance of the I0 that all pixels of the plane have in common, for a noise factor of 1; 0 where each has its own.
    #[must_use]
    pub fn common_variance(&self) -> f64 {
        if self.steady.1.is_finite() { self.steady.1 } else { 0.0 }
    }

    /// Whether any value of the plane can be converted.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.signal == Signal::OpticalDensity || self.treatment.intensity != PlaneIntensity::Unknown
    }

    /// Whether screening masks the value of `pixel`.
    #[must_use]
    #[inline]
    pub fn is_flawed(&self, pixel: usize) -> bool {
        self.treatment.flaws.as_ref().is_some_and(|flaws| flaws.contains(pixel))
    }

    /// The optical density of `value`, measured at `pixel` together with `stream_i0` (NaN where none came).
    #[must_use]
    #[inline]
    pub fn apply(&self, pixel: usize, value: f32, stream_i0: f32) -> Density {
        let value = f64::from(value);
        if value.is_nan() || value >= self.ceiling || self.is_flawed(pixel) {
            return Density::MASKED;
        }
        if self.signal == Signal::OpticalDensity {
            return if value > self.max_od {
                Density::MASKED
            } else {
                Density { od: value as f32, variance: self.interpolated as f32 }
            };
        }
        let (incident, relative_i0) = self.incident(pixel, f64::from(stream_i0));
        if incident <= 0.0 || incident.is_nan() {
            return Density::MASKED;
        }
        // Dead time stretches a value and its scatter alike.
        let seen = self.response.linear(value);
        let signal = seen - self.response.dark;
        let stretch = if seen == value { 1.0 } else { seen / value };
        let noisy = self.noisy(value)[usize::from(self.treatment.quiet_dark)];
        if self.signal == Signal::Transmission {
            if signal <= self.least_signal {
                return Density::MASKED;
            }
            let od = (incident / signal).ln();
            if od > self.max_od {
                return Density::MASKED;
            }
            let variance = self.interpolated * self.variance_per_value * noisy * stretch * stretch
                / (signal * signal)
                + relative_i0;
            return Density { od: od as f32, variance: variance as f32 };
        }
        let ratio = signal / incident;
        // One photon at least: a yield of nothing is a measurement, and has an error.
        let counts = noisy.max(self.variance_per_value) * stretch * stretch;
        let own = self.interpolated * self.variance_per_value * counts / (incident * incident);
        let variance = own + ratio * ratio * relative_i0;
        Density { od: ratio as f32, variance: variance as f32 }
    }

    /// What of a value scatters as counts do: with a dark level that does, and with one that is constant.
    #[inline]
    fn noisy(&self, value: f64) -> [f64; 2] {
        // At least one photon: who counts none has not measured that there is none.
        [value, (value - self.response.dark).max(self.variance_per_value)]
    }

    /// The noise of a transmitted value under both assumptions on the dark level; for values that have an optical density.
    pub(super) fn noise(&self, pixel: usize, value: f32, stream_i0: f32) -> Noise {
        let value = f64::from(value);
        let (incident, i0) = self.incident(pixel, f64::from(stream_i0));
        let seen = self.response.linear(value);
        let stretch = if seen == value { 1.0 } else { seen / value };
        let light = if self.signal == Signal::Transmission { seen - self.response.dark } else { incident };
        let scale = self.interpolated * self.variance_per_value * stretch * stretch / (light * light);
        Noise { signal: self.noisy(value).map(|noisy| noisy * scale), i0 }
    }

    /// Incident intensity at a pixel, dark taken off, and its relative variance; NaN where there is none.
    #[inline]
    fn incident(&self, pixel: usize, stream_i0: f64) -> (f64, f64) {
        match &self.treatment.intensity {
            PlaneIntensity::Unknown => (f64::NAN, f64::NAN),
            PlaneIntensity::Stream => {
                self.light_of(self.response.linear_i0(stream_i0).unwrap_or(f64::NAN), 1.0)
            }
            PlaneIntensity::One { beam: Beam::Steady, .. } => self.steady,
            PlaneIntensity::One { beam, .. } => {
                let factor = beam.factor(pixel / self.columns, stream_i0 - self.response.dark);
                (self.steady.0 * factor, self.steady.1)
            }
        }
    }

    /// An I0, dark included, that is the mean of `pixels` values: less dark, and its relative variance.
    #[inline]
    fn light_of(&self, i0: f64, pixels: f64) -> (f64, f64) {
        let light = i0 - self.response.dark;
        (light, self.variance_per_value * i0 / (light * light * pixels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::ValueUnit;
    use crate::stack::test_plan;

    fn convert(plan: &ScanPlan, intensity: PlaneIntensity) -> Conversion {
        let treatment = Treatment { intensity, ..Treatment::default() };
        Conversion::new(plan, 0, treatment, &DetectorSettings::default(), 4.0)
    }

    fn steady(i0: f64) -> PlaneIntensity {
        PlaneIntensity::One { i0, pixels: 1.0, beam: Beam::Steady }
    }

    fn conversion(intensity: PlaneIntensity) -> Conversion {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.dark = 10.0;
        plan.detector.saturation = Some(5000.0);
        convert(&plan, intensity)
    }

    #[test]
    fn density_and_noise_follow_the_formula() {
        let one = conversion(steady(1010.0));
        let density = one.apply(0, 110.0, f32::NAN);
        assert!((f64::from(density.od) - 10_f64.ln()).abs() < 1e-6);
        let expected = 110.0 / 100.0_f64.powi(2) + 1010.0 / 1000.0_f64.powi(2);
        assert!((f64::from(density.variance) - expected).abs() < 1e-7);
    }

    #[test]
    fn without_dark_the_noise_is_that_of_the_literature() {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.dark = 0.0;
        let one = convert(&plan, steady(1e4));
        for (od, sigma) in [(1.0_f64, 0.0193), (2.0, 0.0290), (3.0, 0.0459)] {
            let density = one.apply(0, (1e4 * (-od).exp()) as f32, f32::NAN);
            assert!((f64::from(density.variance).sqrt() - sigma).abs() < 1e-4);
        }
    }

    #[test]
    fn what_has_no_density_is_masked_not_zero() {
        let one = conversion(steady(1010.0));
        for value in [10.0, 0.0, f32::NAN, 5000.0, 10.5] {
            assert!(one.apply(0, value, f32::NAN).od.is_nan(), "{value}");
        }
        assert!(conversion(PlaneIntensity::Unknown).apply(0, 100.0, 1000.0).od.is_nan());
        assert!(conversion(PlaneIntensity::Stream).apply(0, 100.0, f32::NAN).od.is_nan());
        assert!(conversion(PlaneIntensity::Stream).apply(0, 100.0, 1000.0).od > 2.0);
    }

    #[test]
    fn what_is_within_its_noise_has_no_density() {
        let mut plan = test_plan(1, 1, 1);
        let conversion_of = |plan: &ScanPlan| {
            let intensity = PlaneIntensity::One { i0: 1020.0, pixels: 1e6, beam: Beam::Steady };
            let treatment = Treatment { intensity, ..Treatment::default() };
            Conversion::new(plan, 0, treatment, &DetectorSettings::default(), 9.0)
        };
        (plan.detector.dark, plan.detector.counts_per_photon) = (20.0, Some(vec![1.0]));
        let one = conversion_of(&plan);
        // Two deviations of 11.1 photons on 20 dark counts are 11.2.
        assert!(one.apply(0, 31.0, f32::NAN).od.is_nan());
        let density = one.apply(0, 32.0, f32::NAN);
        assert!(density.od > 4.0 && density.variance.sqrt() < 0.5);
        plan.detector.counts_per_photon = None;
        let unknown = conversion_of(&plan);
        assert!(!unknown.apply(0, 21.0, f32::NAN).od.is_nan(), "nobody knows the noise");
    }

    #[test]
    fn yields_have_no_logarithm() {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.signal = Signal::Fluorescence;
        plan.detector.dark = 0.0;
        let yields = convert(&plan, steady(100.0));
        assert_eq!(yields.apply(0, 25.0, f32::NAN).od, 0.25);
        assert_eq!(yields.apply(0, 0.0, f32::NAN).od, 0.0);
    }

    #[test]
    fn a_yield_that_was_divided_before_has_the_noise_of_its_counts_alone() {
        use crate::absorption::{AbsorptionSettings, Intensity};
        use crate::scan::{Channel, I0, Pixels, SampleBatch};
        let density = |signal: Signal, i0: f32| {
            let mut plan = test_plan(1, 2, 1);
            (plan.detector.signal, plan.detector.dark) = (signal, 0.0);
            let mut stack = Stack::new(plan);
            let batch = SampleBatch {
                energy_index: 0,
                pixels: Pixels::Run { first: 0, count: 2 },
                channel: Channel::Intensity,
                others: Vec::new(),
                values: vec![25.0, 36.0],
                i0: I0::One(i0),
                ring_current_ma: None,
                energy_ev: None,
                time: None,
            };
            stack.push(0, &batch).unwrap();
            let settings = AbsorptionSettings { max_od: 3.0, ..AbsorptionSettings::default() };
            let intensity = Intensity::estimate(&stack, &crate::screening::Screen::default(), &settings);
            intensity.conversion(stack.plan(), 0, 3.0).apply(0, 25.0, i0)
        };
        assert_eq!(density(Signal::Fluorescence, 1.0), Density { od: 25.0, variance: 25.0 });
        // An I0 that was counted brings its own: 25/4, and 1/2 of (25/2)².
        assert_eq!(density(Signal::Fluorescence, 2.0), Density { od: 12.5, variance: 6.25 + 78.125 });
        let transmitted = density(Signal::Transmission, 1.0);
        assert!((transmitted.variance - (1.0 / 25.0 + 1.0)).abs() < 1e-6, "{transmitted:?}");
    }

    #[test]
    fn dead_time_is_taken_out_of_both_and_the_noise_is_that_of_what_was_seen() {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.dark = 0.0;
        plan.detector.dead_time_s = Some(1e-8);
        // 1e7 photons/s for 1 ms: 10 % of the time is dead; the sample lets a tenth through.
        let seen = |photons: f64| photons / (1.0 + photons * 1e-5);
        let one = convert(&plan, PlaneIntensity::Stream);
        let density = one.apply(0, seen(1000.0) as f32, seen(1e4) as f32);
        assert!((f64::from(density.od) - 10_f64.ln()).abs() < 1e-6, "{density:?}");
        let poisson = 1.0 / seen(1000.0);
        assert!((f64::from(density.variance) - poisson - 1.1 / 1e4).abs() < 0.02 * poisson);
        plan.detector.dead_time_s = None;
        let without = convert(&plan, PlaneIntensity::Stream).apply(0, seen(1000.0) as f32, seen(1e4) as f32);
        assert!((f64::from(without.od) - 10_f64.ln()).abs() > 0.08);
    }

    #[test]
    fn rates_have_the_noise_of_their_counts() {
        let mut plan = test_plan(1, 1, 1);
        plan.detector.dark = 0.0;
        plan.value_unit = ValueUnit::CountsPerS;
        plan.dwell_ms = vec![2.0];
        let one = convert(&plan, PlaneIntensity::One { i0: 1e6, pixels: f64::INFINITY, beam: Beam::Steady });
        // 5e5 a second are 1000 in 2 ms.
        assert!((f64::from(one.apply(0, 5e5, f32::NAN).variance) - 1e-3).abs() < 1e-9);
    }
}
