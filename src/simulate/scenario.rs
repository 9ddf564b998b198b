//! What to simulate: the specimen, the beam, the detector and the scan, as a TOML file has them.
//!
//! Every key has a default but the list of energies; an unknown key is an error. [`Scenario::demo`] is the
//! scenario that is built in, `config/scenarios/demo.toml`.

use serde::{Deserialize, Serialize};

use super::SimulationError;
use crate::scan::{DetectorKind, MAX_AXIS, MAX_ENERGIES};

/// Most energies times pixels of a scenario.
const MAX_VALUES: usize = 1 << 29;
/// Smallest step of energies, eV; set-points are rounded to a thousandth of it.
const MIN_STEP_EV: f64 = 1e-3;
/// Most particles.
const MAX_PARTICLES: usize = 1000;
/// Most pixels of a frame.
const MAX_FRAME_PIXELS: usize = 1 << 20;
/// Most photons a pixel may have: a value and its noise must fit uint32.
const MAX_PHOTONS: f64 = 1e9;

/// A whole scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Everything random comes from this number.
    #[serde(default)]
    pub seed: u64,
    /// Beamline, in the alphabet of identifiers.
    #[serde(default = "default_beamline")]
    pub beamline: String,
    /// Name of the sample.
    #[serde(default)]
    pub sample: Option<String>,
    /// Name of the region.
    #[serde(default)]
    pub region: Option<String>,
    /// The scan.
    pub scan: ScanSettings,
    /// The beam.
    #[serde(default)]
    pub beam: Beam,
    /// The detector.
    #[serde(default)]
    pub detector: DetectorSettings,
    /// The specimen.
    #[serde(default)]
    pub specimen: Specimen,
}

fn default_beamline() -> String {
    "simulated".to_owned()
}

/// Grid, energies and exposure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanSettings {
    /// Rows and columns.
    #[serde(default = "default_shape")]
    pub shape: [usize; 2],
    /// Distance between pixels, µm.
    #[serde(default = "default_pixel_um")]
    pub pixel_um: f64,
    /// Runs of energies, one after the other; an energy that the next run starts with is taken once.
    pub energies: Vec<EnergyRun>,
    /// Exposure per pixel, ms.
    #[serde(default = "default_dwell_ms")]
    pub dwell_ms: f64,
    /// Time lost per line, ms: turnaround of the stage.
    #[serde(default)]
    pub line_overhead_ms: f64,
}

fn default_shape() -> [usize; 2] {
    [128, 128]
}

fn default_pixel_um() -> f64 {
    0.05
}

fn default_dwell_ms() -> f64 {
    1.0
}

/// Evenly spaced energies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyRun {
    /// First energy, eV.
    pub from_ev: f64,
    /// Last energy, eV: the last one is the last step that does not pass it.
    pub to_ev: f64,
    /// Step, eV, 0.001 or more.
    pub step_ev: f64,
}

/// The beam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Beam {
    /// Detected photons per pixel without sample, at the first ring current and the brightest energy.
    pub photons: f64,
    /// Share of second-order light, 0 to below 1.
    pub second_order: f64,
    /// Ring current at the start, mA.
    pub ring_current_ma: f64,
    /// Time in which the ring current falls to 1/e, hours.
    pub ring_lifetime_h: f64,
    /// True photon energy less set-point, eV: what a wrong calibration hides.
    pub energy_offset_ev: f64,
}

impl Default for Beam {
    fn default() -> Self {
        Self {
            photons: 3000.0,
            second_order: 0.01,
            ring_current_ma: 400.0,
            ring_lifetime_h: 8.0,
            energy_offset_ev: 0.0,
        }
    }
}

/// The detector. One photon makes one count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorSettings {
    /// Point or area.
    pub kind: DetectorKind,
    /// Dark counts per value; for an area detector spread over the frame.
    pub dark: f64,
    /// Share of the photons on the sample side that are detected, above 0 to 1.
    pub efficiency: f64,
    /// `[h, w]` of a frame, for an area detector.
    pub frame_shape: [usize; 2],
    /// Whether every line comes with a noisy incident intensity; otherwise it is in the empty field only.
    pub send_i0: bool,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self { kind: DetectorKind::Point, dark: 20.0, efficiency: 0.3, frame_shape: [16, 16], send_i0: false }
    }
}

/// The specimen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Specimen {
    /// Number of particles; those that find no place are left out.
    pub particles: usize,
    /// Smallest and largest radius, as a share of the shorter side of the field.
    pub radius: [f64; 2],
    /// Thickness at the rim and largest thickness in the middle, nm.
    pub thickness_nm: [f64; 2],
    /// Most domains in a particle.
    pub domains: usize,
    /// Half width of the band in which an inclined grain boundary puts two phases over each other, pixels.
    pub boundary_px: f64,
}

impl Default for Specimen {
    fn default() -> Self {
        Self { particles: 8, radius: [0.09, 0.17], thickness_nm: [50.0, 400.0], domains: 4, boundary_px: 3.0 }
    }
}

impl Scenario {
    /// The scenario that is built in.
    ///
    /// # Errors
    /// Never in a build whose tests pass.
    pub fn demo() -> Result<Self, SimulationError> {
        Self::parse(include_str!("../../config/scenarios/demo.toml"))
    }

    /// Reads and checks a scenario.
    ///
    /// # Errors
    /// Text that is no TOML, an unknown key, or a value out of its range.
    pub fn parse(text: &str) -> Result<Self, SimulationError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first key that is out of range.
    pub fn check(&self) -> Result<(), SimulationError> {
        let [ny, nx] = self.scan.shape;
        check("scan.shape", [ny, nx].iter().all(|n| (1..=MAX_AXIS).contains(n)), "1 to 16384 each")?;
        check("scan.pixel_um", positive(self.scan.pixel_um), "above 0")?;
        check("scan.dwell_ms", positive(self.scan.dwell_ms), "above 0")?;
        check("scan.line_overhead_ms", not_negative(self.scan.line_overhead_ms), "0 or more")?;
        let good = |run: &EnergyRun| {
            positive(run.from_ev)
                && run.to_ev.is_finite()
                && run.to_ev >= run.from_ev
                && run.step_ev.is_finite()
                && run.step_ev >= MIN_STEP_EV
        };
        check(
            "scan.energies",
            self.scan.energies.iter().all(good),
            "runs with from_ev <= to_ev and step_ev of 0.001 or more",
        )?;
        let energies = self.energies_ev().len();
        check("scan.energies", (1..=MAX_ENERGIES).contains(&energies), "1 to 4096 energies in all")?;
        check("scan", ny * nx * energies <= MAX_VALUES, "at most 536870912 values in all")?;
        let beam = &self.beam;
        check("beam.photons", positive(beam.photons) && beam.photons <= MAX_PHOTONS, "above 0, at most 1e9")?;
        check("beam.second_order", (0.0..1.0).contains(&beam.second_order), "0 to below 1")?;
        check("beam.ring_current_ma", positive(beam.ring_current_ma), "above 0")?;
        check("beam.ring_lifetime_h", positive(beam.ring_lifetime_h), "above 0")?;
        check("beam.energy_offset_ev", beam.energy_offset_ev.abs() <= 5.0, "-5 to 5")?;
        self.check_detector()?;
        self.check_specimen()
    }

    fn check_detector(&self) -> Result<(), SimulationError> {
        let detector = &self.detector;
        check("detector.dark", (0.0..=MAX_PHOTONS).contains(&detector.dark), "0 to 1e9")?;
        let [h, w] = detector.frame_shape;
        let frame = h >= 1 && w >= 1 && h.saturating_mul(w) <= MAX_FRAME_PIXELS;
        check("detector.frame_shape", frame, "1 to 1048576 pixels")?;
        check(
            "detector.efficiency",
            positive(detector.efficiency) && detector.efficiency <= 1.0,
            "above 0, at most 1",
        )
    }

    fn check_specimen(&self) -> Result<(), SimulationError> {
        let specimen = &self.specimen;
        check("specimen.particles", specimen.particles <= MAX_PARTICLES, "at most 1000")?;
        check("specimen.domains", (1..=64).contains(&specimen.domains), "1 to 64")?;
        let [small, large] = specimen.radius;
        check(
            "specimen.radius",
            small > 0.0 && small <= large && large <= 0.5,
            "ascending, above 0, at most 0.5",
        )?;
        let [thin, thick] = specimen.thickness_nm;
        let thickness = thin > 0.0 && thin <= thick && thick <= 10_000.0;
        check("specimen.thickness_nm", thickness, "ascending, above 0, at most 10000")?;
        check("specimen.boundary_px", not_negative(specimen.boundary_px), "0 or more")
    }

    /// The set-points, eV, in the order of the runs. Lists that would be longer than any plan are cut.
    #[must_use]
    pub fn energies_ev(&self) -> Vec<f64> {
        let mut energies_ev: Vec<f64> = Vec::new();
        for run in &self.scan.energies {
            // A thousandth of a step: 0.1 eV steps do not end early for want of a bit.
            let steps = ((run.to_ev - run.from_ev) / run.step_ev + 1e-3).floor().max(0.0);
            for step in 0..=(steps as usize).min(MAX_ENERGIES) {
                // Rounded to 1 µeV, so that set-points read as they were meant.
                let energy_ev = ((run.from_ev + step as f64 * run.step_ev) * 1e6).round() / 1e6;
                if energies_ev.last() != Some(&energy_ev) {
                    energies_ev.push(energy_ev);
                }
            }
            energies_ev.truncate(MAX_ENERGIES + 1);
        }
        energies_ev
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn check(key: &'static str, good: bool, wanted: &'static str) -> Result<(), SimulationError> {
    if good { Ok(()) } else { Err(SimulationError::Range { key, wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_scenario_is_a_sensible_stack() {
        let scenario = Scenario::demo().unwrap();
        let energies_ev = scenario.energies_ev();
        assert!((30..=75).contains(&energies_ev.len()), "{}", energies_ev.len());
        assert!(energies_ev.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(energies_ev[0] >= 508.0 && energies_ev[energies_ev.len() - 1] <= 545.0);
        let steps: Vec<_> = energies_ev.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().any(|step| *step < 0.5) && steps.iter().any(|step| *step > 1.0), "irregular");
    }

    #[test]
    fn runs_join_without_repeats() {
        let text = "[scan]\nenergies = [{from_ev=508, to_ev=509, step_ev=0.5}, {from_ev=509, to_ev=509.3, step_ev=0.1}]";
        let energies_ev = Scenario::parse(text).unwrap().energies_ev();
        assert_eq!(energies_ev, [508.0, 508.5, 509.0, 509.1, 509.2, 509.3]);
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        let energies = "energies = [{from_ev=508, to_ev=509, step_ev=0.5}]";
        let error = |text: &str| Scenario::parse(text).unwrap_err().to_string();
        assert!(error(&format!("[scan]\n{energies}\npixels = 3")).contains("pixels"));
        assert!(error(&format!("[scan]\n{energies}\nshape = [0, 5]")).contains("scan.shape"));
        assert!(error(&format!("[scan]\n{energies}\n[beam]\nphotons = -1")).contains("beam.photons"));
        assert!(error(&format!("[scan]\n{energies}\n[beam]\nphotons = nan")).contains("beam.photons"));
        let tiny = "[scan]\nenergies = [{from_ev=1, to_ev=2, step_ev=1e-9}]";
        assert!(error(tiny).contains("0.001 or more"));
        assert!(error("[scan]\nenergies = []").contains("scan.energies"));
        assert!(error("[scan]\nenergies = [{from_ev=1, to_ev=9e9, step_ev=0.5}]").contains("scan.energies"));
        assert!(error(&format!("[scan]\n{energies}\nshape = [16384, 16384]")).contains("values in all"));
    }
}
