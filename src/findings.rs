//! What a map says of the sample: its particles and the boundaries in them.
//!
//! [`Findings::of`] is a pure function of a map and of the optical densities it was made of, for settled and for live maps. In the archive they are
//! `particles.parquet` and `findings.json`; docs/findings.md says what each number means, and when not to believe it.

mod outline;
mod summary;

use serde::Serialize;

use crate::boundaries::Boundaries;
use crate::classify::{DensityView, PhaseMap};
use crate::particles::{Interval, Particles};
use crate::reference::ReferenceSet;
pub use outline::{Polygon, outline, outlined};
pub use summary::{Gathering, SUMMARY_FORMAT, Summary};

/// Name and version of the format of `findings.json`.
pub const FORMAT: &str = "phasewatch-findings/1";

/// The findings of a map.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Findings {
    /// [`FORMAT`].
    pub format: &'static str,
    /// Whether the scan was simulated.
    pub simulated: bool,
    /// All of it in words; claims only what the intervals allow.
    pub text: String,
    /// Mean of the state variable over all particles, with 90 %.
    pub x: Option<Interval>,
    /// The particles.
    #[serde(flatten)]
    pub particles: Particles,
    /// The boundaries.
    pub boundaries: Boundaries,
}

impl Findings {
    /// Of a map; `view` has the optical densities it was made of, `spot_nm` is the width of the beam where it is known.
    #[must_use]
    pub fn of(
        map: &PhaseMap,
        view: &DensityView<'_>,
        references: &ReferenceSet,
        spot_nm: Option<f64>,
    ) -> Self {
        let particles = Particles::of(map, view, references);
        let boundaries = Boundaries::of(map, view, references, &particles, spot_nm.map(|nm| nm * 1e-3));
        let x = summary::mean(map, &particles, references);
        let text = summary::text(&particles, x, boundaries.between_phases.as_ref());
        Self { format: FORMAT, simulated: map.plan.simulated, text, x, particles, boundaries }
    }

    /// As JSON for who draws it: as it is archived, with outlines.
    ///
    /// # Errors
    /// Where it cannot be written as JSON; not for findings of a map.
    pub fn to_outlined_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&outlined(serde_json::to_value(self)?, &self.particles))
    }

    /// As JSON, as it is archived.
    ///
    /// # Errors
    /// Where it cannot be written as JSON; not for findings of a map.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}
