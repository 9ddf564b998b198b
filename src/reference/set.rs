//! A set of reference spectra, read and checked.

use serde::{Deserialize, Serialize};

/// What tables and pictures say of a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseLabel {
    /// Identifier: the name of the reference's file without `.csv`.
    pub id: String,
    /// Title for legends.
    pub title: String,
    /// Colour, sRGB.
    pub colour: [u8; 3],
}

/// An energy window, eV, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Lower end, eV.
    pub from_ev: f64,
    /// Upper end, eV.
    pub to_ev: f64,
}

impl Window {
    /// Whether `energy_ev` is inside.
    #[must_use]
    pub fn contains(&self, energy_ev: f64) -> bool {
        (self.from_ev..=self.to_ev).contains(&energy_ev)
    }
}

/// Where a reference comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Beamline, or `synthetic`.
    pub beamline: Option<String>,
    /// Energy resolution, eV.
    pub resolution_ev: Option<f64>,
    /// Polarisation.
    pub polarisation: Option<String>,
    /// How its energy axis was calibrated.
    pub calibration: Option<String>,
}

/// What a phase is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Composition {
    /// Sum formula.
    pub formula: Option<String>,
    /// Density, g/cm³.
    pub density_g_per_cm3: Option<f64>,
    /// Name and value of the state variable, e.g. `na_x` = 2.4.
    pub state: Option<(String, f64)>,
}

/// One reference spectrum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Identifier, title and colour.
    pub label: PhaseLabel,
    /// Energies, eV, strictly ascending, at least two.
    pub energies_ev: Vec<f64>,
    /// Optical density at each energy.
    pub od: Vec<f64>,
    /// Where it comes from.
    pub provenance: Provenance,
    /// What it is made of.
    pub composition: Composition,
}

impl Reference {
    /// Optical density at `energy_ev`, interpolated linearly; `None` outside the reference's range.
    #[must_use]
    pub fn od_at(&self, energy_ev: f64) -> Option<f64> {
        let upper = self.energies_ev.partition_point(|&e| e < energy_ev);
        let e1 = *self.energies_ev.get(upper)?;
        if e1 == energy_ev {
            return Some(self.od[upper]);
        }
        let lower = upper.checked_sub(1)?;
        let t = (energy_ev - self.energies_ev[lower]) / (e1 - self.energies_ev[lower]);
        Some(self.od[lower] + t * (self.od[upper] - self.od[lower]))
    }
}

impl Reference {
    /// Optical density at `energy_ev`, beyond the reference's range that of its nearest end; `None` where it has no
    /// values.
    #[must_use]
    pub fn od_held_at(&self, energy_ev: f64) -> Option<f64> {
        let (first, last) = (*self.energies_ev.first()?, *self.energies_ev.last()?);
        self.od_at(energy_ev.max(first).min(last))
    }
}

/// The references of one edge: at least two, at most 64, with distinct identifiers, in display order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceSet {
    /// The references.
    pub references: Vec<Reference>,
    /// Pre-edge window.
    pub pre_edge: Window,
    /// White-line window.
    pub white_line: Window,
    /// What `LC_ALL=C sha256sum *.csv | sha256sum` prints in the directory, without the trailing ` -`.
    pub sha256: String,
}

impl ReferenceSet {
    /// Labels of the phases, in display order.
    #[must_use]
    pub fn labels(&self) -> std::sync::Arc<[PhaseLabel]> {
        self.references.iter().map(|reference| reference.label.clone()).collect()
    }

    /// Number of phases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether there are none; a loaded set always has at least two.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// Optical density of every reference at `energy_ev`, in display order; `None` where any reference does
    /// not reach.
    #[must_use]
    pub fn od_at(&self, energy_ev: f64) -> Option<Vec<f64>> {
        self.references.iter().map(|reference| reference.od_at(energy_ev)).collect()
    }
}
