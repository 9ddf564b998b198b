//! Particles: the pieces of matter in the field, and what each of them holds.
//!
//! - [`Amounts`]: how much matter lies in each pixel, from the mean optical density of the registered stack.
//! - [`Labels`]: which pixel belongs to which particle: a threshold from background and noise, and a watershed on the distance to the rim
//!   between particles that touch; and which of them lie over each other, as steps of density inside say.
//! - [`Particle`]: place, area, thickness, shares of the phases, mean state with its interval, heterogeneity; [`Particles`]: all of a map.
//! - [`Follower`]: the same numbers from one generation of a map to the next; [`matched`]: the same particles in two scans of one region.
//!
//! Everything here is a pure function of a map, of the optical densities that it was made of, and of the references: no clock, no socket,
//! no chance, so that the same stack gives the same particles to the byte. The stack is registered before it is
//! mapped, so that one outline holds at all its energies.
//!
//! A map without matter has no particles. A pixel without an optical density (opaque, not measured) takes part by its status only; pieces of
//! fewer than [`LEAST_PIXELS`] pixels are counted, not described.

mod amounts;
mod coverage;
mod follow;
mod labels;
mod measure;
mod overlaps;
mod state;
#[cfg(test)]
mod tests;
mod thickness;
mod watershed;

use serde::Serialize;

use crate::classify::{DensityView, PhaseMap};
pub use crate::damage::{Estimate, Interval};
use crate::reference::ReferenceSet;

pub use amounts::{Amounts, Empty};
pub use follow::{Follower, Match, matched};
pub use labels::{Labels, LeftOut};
pub use state::{PixelState, States};
pub(crate) use watershed::distances;

/// Pixels of matter from which a piece is a particle.
pub const LEAST_PIXELS: usize = 12;

/// One particle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Particle {
    /// Its number, from 1: the largest first in a map by itself, kept from generation to generation by a [`Follower`].
    pub id: u32,
    /// Its pixels, ascending, row-major.
    #[serde(skip)]
    pub pixels: Vec<u32>,
    /// Its centre, row and column, pixels.
    pub centre_px: [f64; 2],
    /// Its centre, y and x, in the unit of the grid.
    pub centre: [f64; 2],
    /// Its area: pixels within, and of those at its rim the part that it covers.
    pub area_px: Estimate,
    /// The same in µm²; none where the unit of the grid is not a length.
    pub area_um2: Option<Estimate>,
    /// Whether the field cuts it off: area and shares are then those of the part that is seen.
    pub at_border: bool,
    /// The particles that it touches, by number, ascending: the cut between them is a guess.
    pub touches: Vec<u32>,
    /// Whether it lies over another particle or under one, as a step of density inside says: area, thickness and x are then of what lies there together,
    /// not of one particle.
    pub overlaps: bool,
    /// Mean optical density over the energies of the scan, less that of the empty field.
    pub mean_od: Estimate,
    /// Mean thickness, nm, where composition and density of its phases are known, and an energy before the edge was measured.
    pub thickness_nm: Option<Estimate>,
    /// Share of each phase in the pixels that can be named, in the order of the map's phases; empty where none can.
    pub shares: Vec<Estimate>,
    /// Mean of the state variable (the sodium content x), each pixel by its amount of matter, with 90 %; none where the references have none,
    /// or no pixel can be named. Pixels that are not classified widen it.
    pub x: Option<Interval>,
    /// Part of its matter that no phase could be given, 0 to 1.
    pub unknown: f64,
    /// Standard deviation of the state variable from pixel to pixel, less what the beliefs are off by.
    pub x_spread: Option<f64>,
    /// Entropy of the shares, bits: 0 where all is one phase, log2 of their number where all are alike.
    pub entropy_bits: Option<f64>,
    /// Number of its pixels of each status, in the order of [`crate::classify::Status::ALL`].
    pub status_counts: [usize; 7],
}

/// The particles of a map, and what they say together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Particles {
    /// The scan.
    pub scan_id: String,
    /// Generation of the map; 0 of a settled one.
    pub generation: u64,
    /// Identifiers of the phases, in the order of the shares.
    pub phases: Vec<String>,
    /// Name of the state variable, `na_x`.
    pub variable: Option<String>,
    /// The particles, in the order of their labels.
    pub particles: Vec<Particle>,
    /// Which pixel belongs to which.
    #[serde(skip)]
    pub labels: Labels,
    /// How much matter lies in each pixel.
    #[serde(skip)]
    pub amounts: Amounts,
    /// Pieces of matter that are too small.
    pub left_out: LeftOut,
    /// The empty field.
    pub empty: Empty,
    /// Standard deviation of the state variable within particles, and between their means; of two or more particles.
    pub spread: Option<Spread>,
}

/// How far the state variable differs inside of particles, and from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Root mean square of the spreads inside.
    pub within: f64,
    /// Standard deviation of the means, less what these are off by.
    pub between: f64,
    /// Part of the whole variance that lies inside, 0 to 1; none where nothing differs.
    pub share_within: Option<f64>,
}

impl Particles {
    /// The particles of a map; `view` has the optical densities it was made of.
    #[must_use]
    pub fn of(map: &PhaseMap, view: &DensityView<'_>, references: &ReferenceSet) -> Self {
        let amounts = Amounts::of(map, view);
        let thickness = thickness::Thickness::of(map, view, references);
        Self::measured(map, amounts, &thickness, references)
    }

    /// The particles of a map whose amounts are known; without a thickness.
    #[must_use]
    pub fn of_amounts(map: &PhaseMap, amounts: Amounts, references: &ReferenceSet) -> Self {
        Self::measured(map, amounts, &thickness::Thickness::default(), references)
    }
}
