//! Drift: where the sample lies in each image, and the stack as if it had lain still.
//!
//! A zone plate that moves with the energy, a stage that creeps: over a stack the sample wanders by pixels. Every image
//! of a scan is held against the others, and its displacement against the first image of the acquisition is told to a
//! small part of a pixel, with an error. Then the counts are interpolated as if the sample had not moved; what was not
//! in an image is not measured.
//!
//! - `prepared`: the logarithm of the values, band-passed, so that only edges count: they stay where they are
//!   while the contrast between phases grows, falls or changes its sign across an absorption edge.
//! - `coarse`: correlation with a running reference of gradient magnitudes, image by image in the order of acquisition.
//! - `components`, `fine`: each image fitted by a few components of the others and their gradients, to a part of a pixel.
//! - `smooth`: images without contrast borrow from their neighbours in time.
//! - `trust`: whether to believe it. What is not trusted is not applied, and says why.
//! - `resample`: the registered stack.
//!
//! It needs whole images, or most of their lines: lists of pixels and few lines are not registered. Rotation, scale and
//! what moves within an image are not looked for. Everything is a pure function of the stack, in a fixed order.

mod coarse;
mod components;
mod drift;
mod estimate;
mod fine;
mod kernel;
mod prepared;
mod registrar;
mod resample;
mod smooth;
mod trust;

pub use drift::{Drift, DriftSummary, EnergyShift, RegistrationMode, Shift, Verdict};
pub use estimate::estimate;
pub use registrar::{Moved, Registrar, Step};
pub use resample::register;

#[cfg(test)]
mod tests;
