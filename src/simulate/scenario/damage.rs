//! `[damage]`: what the beam does to the specimen, and what the specimen does by itself. Without the section nothing is
//! counted and nothing changes.
//!
//! Only the accumulated dose counts, never how fast it came. The dose is that of the field: every image gives the
//! whole specimen the same, also pixels that a sparse scan leaves out, and the ring current does not enter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{check, is_share, not_negative, positive};
use crate::simulate::SimulationError;

/// How what is left of a phase falls with the dose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kinetics {
    /// exp(-D/D_c).
    #[default]
    FirstOrder,
    /// 1/(1 + D/D_c).
    Hyperbolic,
}

impl Kinetics {
    /// The share that is left at a dose of so many critical doses.
    #[must_use]
    pub fn left(self, critical_doses: f64) -> f64 {
        match self {
            Self::FirstOrder => (-critical_doses).exp(),
            Self::Hyperbolic => 1.0 / (1.0 + critical_doses),
        }
    }

    /// How fast that falls, per critical dose.
    #[must_use]
    pub fn fall(self, critical_doses: f64) -> f64 {
        match self {
            Self::FirstOrder => (-critical_doses).exp(),
            Self::Hyperbolic => (1.0 + critical_doses).powi(-2),
        }
    }

    /// The dose, in critical doses, at which this share is left, above 0 to 1.
    #[must_use]
    pub fn critical_doses_at(self, left: f64) -> f64 {
        match self {
            Self::FirstOrder => -left.ln(),
            Self::Hyperbolic => 1.0 / left - 1.0,
        }
    }
}

/// Dose and damage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DamageSettings {
    /// Dose of an image at the middle of the scan's range, MGy; other energies by flux, exposure and energy. Where it
    /// is missing, it follows from the flux of the plan: at the front surface, by the mean of the references.
    pub dose_per_energy_mgy: Option<f64>,
    /// Dose that the specimen had before the scan, MGy.
    pub dose_before_mgy: f64,
    /// How what is left falls with the dose.
    pub kinetics: Kinetics,
    /// Critical dose of a phase whose factor is 1, MGy; where it is missing, nothing is reduced.
    pub critical_dose_mgy: Option<f64>,
    /// Share of each phase that is never reduced.
    pub plateau: f64,
    /// Factors on the rate, by phase; 1 where a phase is not named. What is reduced already does not change.
    pub rates: BTreeMap<String, f64>,
    /// The phase that all others are reduced to; that with the largest `state` where it is not named.
    pub reduced: Option<String>,
    /// Share of the thickness that is lost in the end.
    pub mass_loss: f64,
    /// Critical dose of that, MGy; first order.
    pub mass_critical_dose_mgy: f64,
    /// Evolution of its own, by time and not by dose: rate at which every phase goes over to `chemistry_to`, per hour;
    /// first order.
    pub chemistry_per_h: f64,
    /// The phase that the evolution goes to; what the beam reduces to where it is not named.
    pub chemistry_to: Option<String>,
    /// For how long that had gone on before the scan, hours.
    pub chemistry_before_h: f64,
}

impl Default for DamageSettings {
    fn default() -> Self {
        Self {
            dose_per_energy_mgy: None,
            dose_before_mgy: 0.0,
            kinetics: Kinetics::default(),
            critical_dose_mgy: None,
            plateau: 0.0,
            rates: BTreeMap::new(),
            reduced: None,
            mass_loss: 0.0,
            mass_critical_dose_mgy: 100.0,
            chemistry_per_h: 0.0,
            chemistry_to: None,
            chemistry_before_h: 0.0,
        }
    }
}

impl DamageSettings {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        let dose = self.dose_per_energy_mgy.is_none_or(not_negative);
        check("damage.dose_per_energy_mgy", dose, "0 or more")?;
        check("damage.dose_before_mgy", not_negative(self.dose_before_mgy), "0 or more")?;
        check("damage.critical_dose_mgy", self.critical_dose_mgy.is_none_or(positive), "above 0")?;
        check("damage.plateau", is_share(self.plateau), "0 to 1")?;
        check("damage.rates", self.rates.values().all(|&rate| not_negative(rate)), "factors of 0 or more")?;
        check("damage.mass_loss", is_share(self.mass_loss), "0 to 1")?;
        check("damage.mass_critical_dose_mgy", positive(self.mass_critical_dose_mgy), "above 0")?;
        check("damage.chemistry_per_h", not_negative(self.chemistry_per_h), "0 or more")?;
        check("damage.chemistry_before_h", not_negative(self.chemistry_before_h), "0 or more")
    }
}
