//! What the width of the beam makes of a boundary that has none.
//!
//! A pixel sees the sample through the beam (a Gaussian), over its own width, and at places that registration left somewhat off. A pixel whose middle lies
//! `d` from a sharp boundary has so much of the other phase as of that blur lies beyond it. Where exactly the boundary runs within a pixel is not known; all
//! places are taken as equally likely. A pixel of which more than [`SEEN`] is of the other phase counts as one whose verdict the
//! beam puts in doubt: rather too many than too few, so that what is claimed beyond it is the sample's.

use serde::Serialize;

use crate::registration::{Drift, Verdict};

/// Part of another phase from which a verdict may be in doubt. A mixture is called one where neither phase is four fifths.
const SEEN: f64 = 0.1;
/// From the width at half height of a Gaussian to its standard deviation.
const SIGMA_OF_FWHM: f64 = 0.424_66;
/// Places of a boundary within a pixel that are tried.
const PLACES: usize = 41;

/// The width of the beam.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spot {
    /// At half its height, pixels.
    pub fwhm_px: f64,
    /// Whether that is known; else it is a pixel.
    pub is_known: bool,
    /// What is left of the drift, as a standard deviation, pixels.
    pub drift_px: f64,
}

impl Spot {
    /// Of a beam of known width, or one that is taken to be as wide as a pixel.
    #[must_use]
    pub fn of(fwhm_px: Option<f64>, drift: &Drift) -> Self {
        let fwhm_px = fwhm_px.filter(|px| px.is_finite() && *px >= 0.0);
        let errors: Vec<f64> = drift
            .shifts
            .iter()
            .flatten()
            .filter(|_| drift.verdict == Verdict::Applied)
            .map(|shift| 0.5 * (shift.error_x.powi(2) + shift.error_y.powi(2)))
            .filter(|square| square.is_finite())
            .collect();
        let drift_px =
            if errors.is_empty() { 0.0 } else { (errors.iter().sum::<f64>() / errors.len() as f64).sqrt() };
        Self { fwhm_px: fwhm_px.unwrap_or(1.0), is_known: fwhm_px.is_some(), drift_px }
    }

    /// Standard deviation of beam and drift together, pixels.
    #[must_use]
    pub fn sigma_px(&self) -> f64 {
        (SIGMA_OF_FWHM * self.fwhm_px).hypot(self.drift_px)
    }

    /// Standard deviation of all that widens a sharp boundary in a map: beam, drift, the pixel, and where in it the boundary is.
    #[must_use]
    pub fn of_map_px(&self) -> f64 {
        (self.sigma_px().powi(2) + 1.0 / 6.0).sqrt()
    }

    /// Part of a pixel that lies beyond a sharp boundary whose distance from its middle is `distance_px`.
    #[must_use]
    pub fn part_beyond(&self, distance_px: f64) -> f64 {
        let sigma = self.sigma_px();
        if sigma < 1e-3 {
            return (0.5 - distance_px).clamp(0.0, 1.0);
        }
        // The mean of the normal distribution over the pixel.
        let integral = |z: f64| z * normal(z) + (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        let (from, to) = ((-distance_px - 0.5) / sigma, (-distance_px + 0.5) / sigma);
        sigma * (integral(to) - integral(from))
    }

    /// Probability that the beam puts the verdict on a pixel in doubt that lies `distance_px` from where a boundary is drawn.
    #[must_use]
    pub fn doubt(&self, distance_px: f64) -> f64 {
        let place = |index: usize| (index as f64 + 0.5) / PLACES as f64 - 0.5;
        let is_seen = |at: f64| self.part_beyond((distance_px + at).abs()) > SEEN;
        (0..PLACES).filter(|&index| is_seen(place(index))).count() as f64 / PLACES as f64
    }
}

/// The normal distribution below `z`; to 1e-7 (Abramowitz and Stegun 26.2.17).
pub(super) fn normal(z: f64) -> f64 {
    const B: [f64; 5] = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let tail = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt()
        * t
        * (B[0] + t * (B[1] + t * (B[2] + t * (B[3] + t * B[4]))));
    if z < 0.0 { tail } else { 1.0 - tail }
}
