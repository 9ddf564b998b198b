//! Draws the scans.
//!
//! All: 96 × 96 pixels, up to eight particles of radius 8.6 to 16 pixels in five phases and up to four domains, 1000 counts, 20 energies, drift
//! of some pixels, an energy offset of up to 0.2 eV; half are of phases that are somewhat off their references. A pixel is the mean over
//! 3 × 3 points. *Inclined* ones have boundaries in which two phases lie over each other within 3 pixels on either side; *sharp* ones have boundaries
//! without any width; *single* ones have particles of one phase each, *touching* ones particles of which
//! each touches another one, *overlapping* ones particles that lie over each other anyhow.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::simulate::{Beam, DriftSettings, EnergyRun, ScanSettings, Scenario, Specimen};

/// First and last energy and step, eV: 20 in all.
const RUNS_EV: [(f64, f64, f64); 3] = [(508.0, 511.0, 1.5), (513.6, 520.6, 0.5), (522.4, 525.4, 3.0)];
/// Half width of inclined boundaries, pixels.
pub(super) const INCLINED_PX: f64 = 3.0;
/// Side of the field, pixels.
const SIDE: usize = 96;

/// What a scan or a map is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A scan with inclined boundaries.
    Inclined,
    /// A scan with sharp boundaries: nothing beyond the beam.
    Sharp,
    /// A scan of particles without boundaries.
    Single,
    /// A scan of particles that touch.
    Touching,
    /// A scan of particles that lie over each other.
    Overlapping,
    /// A map whose doubt has nothing to do with its boundaries.
    DrawnNull,
    /// A map with more doubt near its boundaries.
    DrawnEnriched,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Inclined,
        Self::Sharp,
        Self::Single,
        Self::Touching,
        Self::Overlapping,
        Self::DrawnNull,
        Self::DrawnEnriched,
    ];

    /// The word in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inclined => "inclined boundaries",
            Self::Sharp => "sharp boundaries",
            Self::Single => "one phase a particle",
            Self::Touching => "touching particles",
            Self::Overlapping => "overlapping particles",
            Self::DrawnNull => "drawn, no enrichment",
            Self::DrawnEnriched => "drawn, enriched",
        }
    }
}

/// What to simulate, and what is random besides.
#[must_use]
pub fn scenario(class: Class, number: usize, seed: u64) -> (Scenario, ChaCha8Rng) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((class as u64) << 32) + number as u64);
    let run = |(from_ev, to_ev, step_ev)| EnergyRun { from_ev, to_ev, step_ev };
    let off = if rng.random() { (0.05, 0.05) } else { (0.0, 0.0) };
    let scenario = Scenario {
        seed: u64::from(rng.random::<u32>()),
        beamline: "simulated".to_owned(),
        scan: ScanSettings {
            shape: [SIDE, SIDE],
            energies: RUNS_EV.into_iter().map(run).collect(),
            ..ScanSettings::default()
        },
        drift: DriftSettings {
            walk_px: rng.random_range(0.0..0.1),
            run_out_px: rng.random_range(0.0..2.0),
            jitter_px: rng.random_range(0.0..0.1),
            most_px: 4.0,
        },
        beam: Beam { photons: 1000.0, energy_offset_ev: rng.random_range(-0.2..0.2), ..Beam::default() },
        specimen: Specimen {
            domains: if class == Class::Single { 1 } else { 4 },
            boundary_px: if class == Class::Inclined { INCLINED_PX } else { 0.0 },
            overlap: class == Class::Overlapping,
            touch: class == Class::Touching,
            subpixels: 3,
            mismatch_ev: off.0,
            mismatch: off.1,
            ..Specimen::default()
        },
        ..Scenario::default()
    };
    (scenario, rng)
}
