//! Boundaries: where phases meet within a particle, and its rim; whether ambiguous and mixed pixels gather there.
//!
//! - [`Regions`]: the phase regions of each particle, grown from classified pixels alone, and how far each pixel lies from their boundaries and
//!   from the rim. Pixels that are not classified have no say in where a boundary lies: else each would lie at one of its own making.
//! - [`Enrichment`]: how much likelier ambiguous and mixed pixels are near a boundary than elsewhere in the same particle at the same thickness, as a
//!   function of distance; with an interval, and what chance makes, by moving the verdicts along a curve through each particle, which leaves
//!   neighbours together.
//! - [`Enrichment::explained`]: what a beam of the known width makes of boundaries without any width. What is claimed beyond that is claimed
//!   of the sample.
//! - [`Meeting`]: which phases meet, along what length, and how wide the transition between them is.
//!
//! Pure functions of a map and the optical densities it was made of. What is random (the moves) begins at a fixed seed, so that the same map gives the
//! same numbers to the byte. A map without particles, or whose particles have one phase each, says so in `remarks` and has no
//! enrichment.

mod curve;
mod enrichment;
mod meeting;
mod regions;
mod spot;
mod step;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::classify::{Ambiguity, DensityView, PhaseMap, Status};
use crate::damage::unit_um;
use crate::particles::Particles;
pub use crate::particles::{Estimate, Interval};
use crate::reference::ReferenceSet;

pub use enrichment::{AtDistance, Enrichment};
pub use meeting::{AcrossBoundary, Meeting, Transition};
pub use regions::Regions;
pub use spot::Spot;

/// What is said of the boundaries in a map.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Boundaries {
    /// The width of the beam.
    pub spot: Spot,
    /// Side of a pixel, µm, where it is known and the same along both axes.
    pub pixel_um: Option<f64>,
    /// Near boundaries between phases; none where there are too few of them.
    pub between_phases: Option<Enrichment>,
    /// Near the rims of particles, of pixels whose doubt is not the noise's: rims are thin, and thin pixels are noisy.
    pub at_rim: Option<Enrichment>,
    /// The phases that meet, those that meet along the greatest length first.
    pub meetings: Vec<Meeting>,
    /// What cannot be said, and why.
    pub remarks: Vec<String>,
}

impl Boundaries {
    /// The boundaries in a map with these particles. `view` has the optical densities it was made of; `spot_um` is the width of the
    /// beam at half its height, where it is known.
    #[must_use]
    pub fn of(
        map: &PhaseMap,
        view: &DensityView<'_>,
        references: &ReferenceSet,
        particles: &Particles,
        spot_um: Option<f64>,
    ) -> Self {
        let grid = &map.plan.grid;
        let steps_um = unit_um(&grid.unit).map(|um| [grid.y.step.abs() * um, grid.x.step.abs() * um]);
        // A pixel is as wide as the geometric mean of its sides, where they differ.
        let pixel_um = steps_um.map(|[y, x]| (y * x).sqrt()).filter(|um| *um > 0.0);
        let spot = Spot::of(spot_um.zip(pixel_um).map(|(spot, pixel)| spot / pixel), &map.origin.drift);
        let regions = Regions::of(map, particles);
        let between_phases = Enrichment::between_phases(map, &regions, &particles.amounts, &spot);
        let at_rim = Enrichment::at_rim(map, &regions);
        let meetings = meeting::meetings(map, view, references, &regions, &spot);
        let mut remarks = Vec::new();
        if particles.particles.is_empty() {
            remarks.push("there are no particles".to_owned());
        } else if meetings.is_empty() {
            remarks.push("no two phases meet within a particle".to_owned());
        } else if between_phases.is_none() {
            remarks.push("the boundaries between phases are too short to compare anything".to_owned());
        }
        if !spot.is_known {
            remarks.push(
                "the width of the beam is not known (damage.spot_nm): it is taken to be as wide as a pixel"
                    .to_owned(),
            );
        }
        Self { spot, pixel_um, between_phases, at_rim, meetings, remarks }
    }
}

/// Whether the verdict on a pixel is one of two phases.
fn is_doubtful(map: &PhaseMap, pixel: usize) -> bool {
    matches!(map.status[pixel], Status::Ambiguous | Status::Mixture)
}

/// The same, but not for its noise.
fn is_doubtful_without_noise(map: &PhaseMap, pixel: usize) -> bool {
    is_doubtful(map, pixel) && map.ambiguity[pixel] != Ambiguity::Noise
}
