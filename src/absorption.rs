//! Counts to optical density: `OD = ln((I0 - dark) / (I - dark))`, with its noise, and what cannot have one.
//!
//! I0 comes from the stream, from an empty region of the field, or from a separate spectrum; [`I0Mode::Auto`]
//! takes the first of these that there is. A value that screening found flawed, that is saturated, at or below dark, or
//! thicker than can be trusted is masked: it never becomes a number. I and I0 are compared in the same unit and dwell, and
//! dead time is taken out of both.
//!
//! Stream and region I0 carry the ring current already, so it only ever scales a spectrum, and only where it is known
//! for both. A monitor upstream is not I0: its transfer depends on energy. It is used for what the beam does within an
//! image, beside an I0 from a region or a spectrum.
//!
//! Everything here is a pure function of a stack; [`Intensity`] can be made anew from it at any time.

mod beam;
mod conversion;
mod intensity;
mod noise;
mod region;
mod report;
mod spectrum;
mod summary;

pub use beam::Beam;
pub use conversion::{Conversion, Density, Treatment, energies_ev};
pub use intensity::{AbsorptionSettings, I0Mode, I0Source, Intensity, PlaneIntensity, RegionBox};
pub use noise::noise_factor;
pub use region::{EmptyRegion, find_empty_region};
pub use spectrum::{I0Spectrum, SpectrumUnit};
pub use summary::{IncidentCurve, IncidentSummary, mean_i0};
