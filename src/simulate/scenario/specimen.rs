//! `[specimen]`: what lies under the beam.

use serde::{Deserialize, Serialize};

use super::{Front, check, not_negative};
use crate::scan::MAX_AXIS;
use crate::simulate::SimulationError;

/// Most particles.
const MAX_PARTICLES: usize = 1000;

/// The specimen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Specimen {
    /// What is random in it comes from this number; from that of the scenario where it is missing. Scans of the same
    /// specimen have the same number here and differ in that of the scenario.
    pub seed: Option<u64>,
    /// Rows and columns of the grid on which the specimen is laid out, and in whose pixels its lengths are: that of the
    /// scan where it is missing. Scans of the same field with other pixels have the same grid here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<[usize; 2]>,
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
    /// Whether particles may lie over each other.
    pub overlap: bool,
    /// Whether each particle but the first touches another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub touch: bool,
    /// Smallest and largest thickness of a film that covers the whole field, nm: no pixel is empty; 0 and 0: none.
    pub film_nm: [f64; 2],
    /// Domains of the film.
    pub film_domains: usize,
    /// A pixel is the mean of the light at so many by so many points in it.
    pub subpixels: usize,
    /// Largest shift of a phase's spectrum against its reference, eV, either way.
    pub mismatch_ev: f64,
    /// Largest relative change of a phase's spectrum against its reference, either way; it changes over some eV.
    pub mismatch: f64,
    /// Every particle is of one phase in a shell and of another in its core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front: Option<Front>,
}

impl Default for Specimen {
    fn default() -> Self {
        Self {
            seed: None,
            grid: None,
            particles: 8,
            radius: [0.09, 0.17],
            thickness_nm: [50.0, 400.0],
            domains: 4,
            boundary_px: 3.0,
            overlap: false,
            touch: false,
            film_nm: [0.0, 0.0],
            film_domains: 12,
            subpixels: 1,
            mismatch_ev: 0.0,
            mismatch: 0.0,
            front: None,
        }
    }
}

impl Specimen {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        let grid = self.grid.unwrap_or([1, 1]);
        check("specimen.grid", grid.iter().all(|n| (1..=MAX_AXIS).contains(n)), "1 to 16384 each")?;
        check("specimen.particles", self.particles <= MAX_PARTICLES, "at most 1000")?;
        check("specimen.domains", (1..=64).contains(&self.domains), "1 to 64")?;
        let [small, large] = self.radius;
        let radius = small > 0.0 && small <= large && large <= 0.5;
        check("specimen.radius", radius, "ascending, above 0, at most 0.5")?;
        let [thin, thick] = self.thickness_nm;
        let thickness = thin > 0.0 && thin <= thick && thick <= 10_000.0;
        check("specimen.thickness_nm", thickness, "ascending, above 0, at most 10000")?;
        check("specimen.boundary_px", not_negative(self.boundary_px), "0 or more")?;
        let [thin, thick] = self.film_nm;
        let film = thin >= 0.0 && thin <= thick && thick <= 10_000.0;
        check("specimen.film_nm", film, "ascending, 0 to 10000")?;
        check("specimen.film_domains", (1..=1000).contains(&self.film_domains), "1 to 1000")?;
        check("specimen.subpixels", (1..=8).contains(&self.subpixels), "1 to 8")?;
        check("specimen.mismatch_ev", (0.0..=1.0).contains(&self.mismatch_ev), "0 to 1")?;
        check("specimen.mismatch", (0.0..=0.5).contains(&self.mismatch), "0 to 0.5")?;
        self.front.as_ref().map_or(Ok(()), Front::check)
    }
}
