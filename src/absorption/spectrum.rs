//! A spectrum of incident intensity that was taken apart from the scan.

use serde::{Deserialize, Serialize};

use crate::scan::{ScanPlan, ValueUnit};

/// Unit of a separate I0 spectrum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpectrumUnit {
    /// Counts per millisecond.
    #[default]
    CountsPerMs,
    /// Counts within the scan's own dwell.
    Counts,
}

/// A separate I0 spectrum, dark included as in the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct I0Spectrum {
    /// Energy, eV, ascending, and intensity.
    pub points: Vec<(f64, f64)>,
    /// Unit of the intensity.
    pub unit: SpectrumUnit,
    /// Ring current at which it was taken, mA; `None` where nobody said, or where it follows that of the scan already.
    pub ring_current_ma: Option<f64>,
}

impl I0Spectrum {
    /// Intensity at `energy_ev`, interpolated; `None` outside the spectrum.
    #[must_use]
    pub fn at(&self, energy_ev: f64) -> Option<f64> {
        let upper = self.points.partition_point(|&(e, _)| e < energy_ev);
        let &(e1, i1) = self.points.get(upper)?;
        if e1 == energy_ev {
            return Some(i1);
        }
        let &(e0, i0) = self.points.get(upper.checked_sub(1)?)?;
        Some(i0 + (i1 - i0) * (energy_ev - e0) / (e1 - e0))
    }

    /// Intensity at an energy of a plan, in the unit of its values, dark included.
    #[must_use]
    pub fn value_at(&self, plan: &ScanPlan, energy: usize) -> Option<f64> {
        let exposure = match (self.unit, plan.value_unit) {
            (SpectrumUnit::Counts, _) => 1.0,
            (SpectrumUnit::CountsPerMs, ValueUnit::Counts) => plan.dwell_ms[energy],
            (SpectrumUnit::CountsPerMs, ValueUnit::CountsPerS) => 1000.0,
        };
        Some(self.at(plan.energies_ev[energy])? * exposure)
    }
}
