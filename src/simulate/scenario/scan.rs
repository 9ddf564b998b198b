//! `[scan]`: grid, energies and exposure.

use serde::{Deserialize, Serialize};

use super::{check, not_negative, positive};
use crate::scan::{MAX_AXIS, MAX_ENERGIES};
use crate::simulate::SimulationError;

/// Most energies times pixels of a scenario.
const MAX_VALUES: usize = 1 << 29;
/// Smallest step of energies, eV; set-points are rounded to a thousandth of it.
const MIN_STEP_EV: f64 = 1e-3;

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
    /// In how many interleaved ascending passes the energies are measured: with 3, every third one, then those
    /// after them, then the rest.
    #[serde(default = "default_passes")]
    pub passes: usize,
    /// Energies that are measured again and again, eV: sentinels.
    #[serde(default)]
    pub repeat_ev: Vec<f64>,
    /// After so many energies the sentinels are measured; 0: never.
    #[serde(default)]
    pub repeat_every: usize,
    /// Whether the sentinels are measured before anything else, too.
    #[serde(default)]
    pub repeat_first: bool,
    /// A second pass: runs of energies that the plan gets when the first ones are measured (`plan_extend`).
    #[serde(default)]
    pub then: Vec<EnergyRun>,
    /// Exposure per pixel, ms.
    #[serde(default = "default_dwell_ms")]
    pub dwell_ms: f64,
    /// Time lost per line, ms: turnaround of the stage.
    #[serde(default)]
    pub line_overhead_ms: f64,
    /// When the scan starts, after the start of its series, hours: it is that much later, and fronts are where they are then.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub hours: f64,
    /// What the plan tells of the state of charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_of_charge: Option<f64>,
    /// How far the specimen lies from where it is laid out, rows and columns, pixels.
    #[serde(default, skip_serializing_if = "is_at_home")]
    pub offset_px: [f64; 2],
}

fn is_nothing(value: &f64) -> bool {
    *value == 0.0
}

fn is_at_home(offset_px: &[f64; 2]) -> bool {
    *offset_px == [0.0; 2]
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self {
            shape: default_shape(),
            pixel_um: default_pixel_um(),
            energies: Vec::new(),
            passes: default_passes(),
            repeat_ev: Vec::new(),
            repeat_every: 0,
            repeat_first: false,
            then: Vec::new(),
            dwell_ms: default_dwell_ms(),
            line_overhead_ms: 0.0,
            hours: 0.0,
            state_of_charge: None,
            offset_px: [0.0; 2],
        }
    }
}

fn default_shape() -> [usize; 2] {
    [128, 128]
}

fn default_pixel_um() -> f64 {
    0.05
}

fn default_passes() -> usize {
    1
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

impl EnergyRun {
    fn is_good(&self) -> bool {
        positive(self.from_ev)
            && self.to_ev.is_finite()
            && self.to_ev >= self.from_ev
            && self.step_ev.is_finite()
            && self.step_ev >= MIN_STEP_EV
    }
}

impl ScanSettings {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        const RUNS: &str = "runs with from_ev <= to_ev and step_ev of 0.001 or more";
        let [ny, nx] = self.shape;
        check("scan.shape", [ny, nx].iter().all(|n| (1..=MAX_AXIS).contains(n)), "1 to 16384 each")?;
        check("scan.pixel_um", positive(self.pixel_um), "above 0")?;
        check("scan.dwell_ms", positive(self.dwell_ms), "above 0")?;
        check("scan.line_overhead_ms", not_negative(self.line_overhead_ms), "0 or more")?;
        check("scan.hours", self.hours.abs() <= 1e6, "-1000000 to 1000000")?;
        check("scan.state_of_charge", self.state_of_charge.is_none_or(f64::is_finite), "a number")?;
        check("scan.offset_px", self.offset_px.iter().all(|px| px.is_finite()), "numbers")?;
        check("scan.energies", self.energies.iter().all(EnergyRun::is_good), RUNS)?;
        check("scan.then", self.then.iter().all(EnergyRun::is_good), RUNS)?;
        check("scan.passes", (1..=MAX_ENERGIES).contains(&self.passes), "1 to 4096")?;
        let sentinels = self.repeat_ev.len() <= 64 && self.repeat_ev.iter().all(|&e| positive(e));
        check("scan.repeat_ev", sentinels, "at most 64 energies above 0")?;
        let both = (self.repeat_every == 0) == self.repeat_ev.is_empty();
        check("scan.repeat_every", both, "above 0 where there are repeat_ev, and 0 where there are none")?;
        let first = !self.repeat_first || !self.repeat_ev.is_empty();
        check("scan.repeat_first", first, "false where there are no repeat_ev")?;
        check("scan.energies", self.first_energies() >= 1, "1 energy at least")?;
        let energies = self.energies_ev().len();
        check("scan.energies", (1..=MAX_ENERGIES).contains(&energies), "1 to 4096 energies in all")?;
        check("scan", ny * nx * energies <= MAX_VALUES, "at most 536870912 values in all")
    }

    /// Number of energies of the plan as it is announced, before any second pass.
    pub(in crate::simulate) fn first_energies(&self) -> usize {
        self.first_ev().len()
    }

    fn first_ev(&self) -> Vec<f64> {
        let ascending = run_ev(&self.energies);
        let passes = self.passes.max(1);
        let interleaved = (0..passes)
            .flat_map(|pass| ascending.iter().copied().skip(pass).step_by(passes).collect::<Vec<_>>());
        let mut energies_ev = if self.repeat_first { self.repeat_ev.clone() } else { Vec::new() };
        for (index, energy_ev) in interleaved.enumerate() {
            energies_ev.push(energy_ev);
            if (index + 1).checked_rem(self.repeat_every) == Some(0) {
                energies_ev.extend_from_slice(&self.repeat_ev);
            }
        }
        energies_ev.truncate(MAX_ENERGIES + 1);
        energies_ev
    }

    /// The set-points, eV, in the order in which they are measured.
    pub(super) fn energies_ev(&self) -> Vec<f64> {
        let mut energies_ev = self.first_ev();
        energies_ev.extend(run_ev(&self.then));
        energies_ev.truncate(MAX_ENERGIES + 1);
        energies_ev
    }
}

/// The energies of runs, one after the other.
fn run_ev(runs: &[EnergyRun]) -> Vec<f64> {
    let mut energies_ev: Vec<f64> = Vec::new();
    for run in runs {
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
