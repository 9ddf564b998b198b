//! The truth about a simulated scan: what is in every pixel, and everything that an analysis has to find out.

use serde::{Deserialize, Serialize};

use super::{Matter, Part};
use crate::reference::ReferenceSet;
use crate::simulate::damage::DamageTruth;

/// What is really there, pixel by pixel, row-major, and how it was measured, energy by energy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The scan.
    pub scan_id: String,
    /// Identifiers of the phases.
    pub phases: Vec<String>,
    /// Rows.
    pub ny: usize,
    /// Columns.
    pub nx: usize,
    /// Index of the phase with the larger share; -1: nothing there.
    pub phase: Vec<i16>,
    /// Index of the next phase along the beam; -1: none.
    pub second: Vec<i16>,
    /// Share of `phase`, above 0 to 1; 0 where nothing is.
    pub share: Vec<f32>,
    /// Thickness, nm; 0 where nothing is.
    pub thickness_nm: Vec<f32>,
    /// The energies of the plan, eV, those of a second pass included.
    #[serde(default)]
    pub energies_ev: Vec<f64>,
    /// True photon energy less set-point, eV, per energy.
    #[serde(default)]
    pub energy_offset_ev: Vec<f64>,
    /// How far what lies at a pixel at the start has moved, pixels, rows and columns, per energy.
    #[serde(default)]
    pub drift_px: Vec<[f64; 2]>,
    /// Counts of a pixel without sample at the start of each image, dark included.
    #[serde(default)]
    pub i0: Vec<f64>,
    /// The same at the first ring current, in counts per ms: a separate I0 spectrum.
    #[serde(default)]
    pub i0_spectrum: Vec<f64>,
    /// Lines that went wrong.
    #[serde(default)]
    pub flaws: Vec<FlawedLine>,
    /// What dose and time did, where the scenario says anything of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<DamageTruth>,
    /// What the scan shows of a series, where the specimen has a front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesTruth>,
}

/// One scan of a series as it really is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesTruth {
    /// Since the start of the series.
    pub hours: f64,
    /// What the plan tells of the state of charge, true or not.
    pub state_of_charge: Option<f64>,
    /// How far the specimen lies from where it is laid out, rows and columns, pixels.
    pub offset_px: [f64; 2],
    /// The particles, in the order in which they were placed.
    pub particles: Vec<ParticleTruth>,
    /// Mean state variable of each; none where one of its phases has none.
    pub states: Vec<Option<f64>>,
    /// The same of all together.
    pub mean_state: Option<f64>,
}

/// A particle as it really is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParticleTruth {
    /// Its centre of area, row and column, pixels.
    pub centre_px: [f64; 2],
    /// Its area, pixels.
    pub area_px: f64,
    /// How much there is of each phase, nm times pixels.
    pub amounts: Vec<f64>,
    /// Where its front lies below its outline, pixels; none without a shell. A front below [`Self::depth_px`] has swept all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front_px: Option<f64>,
    /// Greatest distance of a point inside from its outline, pixels; only where the specimen has a front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth_px: Option<f64>,
    /// Whether it is behind the others.
    #[serde(default)]
    pub is_lagging: bool,
}

impl ParticleTruth {
    /// Its mean state variable, by amount; none where one of its phases has none.
    #[must_use]
    pub fn state(&self, references: &ReferenceSet) -> Option<f64> {
        mean_state(&self.amounts, references)
    }
}

/// The mean state variable of so much of each phase.
pub(in crate::simulate) fn mean_state(amounts: &[f64], references: &ReferenceSet) -> Option<f64> {
    let (mut sum, mut whole) = (0.0, 0.0);
    for (amount, reference) in amounts.iter().zip(&references.references).filter(|(amount, _)| **amount > 0.0)
    {
        let (_, x) = reference.composition.state.as_ref()?;
        (sum, whole) = (sum + amount * x, whole + amount);
    }
    (whole > 0.0).then(|| sum / whole)
}

/// What went wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFlaw {
    /// There was no beam, or little.
    BeamLoss,
    /// One value all along.
    Constant,
    /// The line before once more.
    Repeated,
    /// All values are wrong by a factor.
    Factor,
}

/// A line that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlawedLine {
    /// Index of the energy.
    pub energy: usize,
    /// The row.
    pub row: usize,
    /// What went wrong.
    pub flaw: LineFlaw,
}

impl Truth {
    /// What lies at each pixel of a specimen that has moved by `shift_px`.
    pub(in crate::simulate) fn of(
        matter: &Matter,
        phases: Vec<String>,
        [ny, nx]: [usize; 2],
        shift_px: [f64; 2],
    ) -> Self {
        let n = ny * nx;
        let count = phases.len();
        let mut truth = Self {
            phases,
            ny,
            nx,
            phase: vec![-1; n],
            second: vec![-1; n],
            share: vec![0.0; n],
            thickness_nm: vec![0.0; n],
            ..Self::default()
        };
        let mut parts = Vec::new();
        let mut of_phases = vec![0.0; count];
        for pixel in 0..n {
            let (y, x) = ((pixel / nx) as f64 - shift_px[0], (pixel % nx) as f64 - shift_px[1]);
            parts.clear();
            for point in 0..matter.points() {
                let (y, x) = matter.point(point, y, x);
                matter.along_beam(y, x, &mut parts);
            }
            of_phases.fill(0.0);
            parts.iter().for_each(|Part { phase, thickness_nm }| of_phases[*phase] += thickness_nm);
            truth.note(pixel, &of_phases, matter.points());
        }
        truth
    }

    /// Takes in the thickness of each phase, summed over `points` points.
    fn note(&mut self, pixel: usize, of_phases: &[f64], points: usize) {
        let total: f64 = of_phases.iter().sum();
        let largest = |but: Option<usize>| {
            let others = (0..of_phases.len()).filter(|&k| Some(k) != but && of_phases[k] > 0.0);
            others.max_by(|&a, &b| of_phases[a].total_cmp(&of_phases[b]).then(b.cmp(&a)))
        };
        let Some(first) = largest(None) else { return };
        self.phase[pixel] = first as i16;
        self.second[pixel] = largest(Some(first)).map_or(-1, |second| second as i16);
        self.share[pixel] = (of_phases[first] / total) as f32;
        self.thickness_nm[pixel] = (total / points as f64) as f32;
    }

    /// Number of pixels with anything in them.
    #[must_use]
    pub fn covered(&self) -> usize {
        self.phase.iter().filter(|&&phase| phase >= 0).count()
    }
}
