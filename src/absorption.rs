//! Counts to optical density: `OD = ln((I0 - dark) / (I - dark))`, with its noise, and what cannot have one.
//!
//! I0 comes from the stream, from an empty region of the field, or from a separate spectrum; [`I0Mode::Auto`]
//! takes the first of these that there is. A value that is saturated, at or below dark, or thicker than can be
//! trusted is masked: it never becomes a number. I and I0 are compared in the same unit and dwell. Ring current
//! is not applied: stream and region I0 carry it already, and a spectrum file does not say at which current it
//! was taken.
//!
//! Everything here is a pure function of a stack; [`Intensity`] can be made anew from it at any time.

mod conversion;
mod intensity;
mod noise;
mod region;

pub use conversion::{Conversion, Density, energies_ev};
pub use intensity::{
    AbsorptionSettings, I0Mode, I0Source, I0Spectrum, Intensity, PlaneIntensity, RegionBox, SpectrumUnit,
};
pub use noise::noise_factor;
pub use region::{EmptyRegion, find_empty_region};
