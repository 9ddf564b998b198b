//! What all pixels of a scan say together: how well the references describe it, how pure its pixels are, how much
//! neighbours have in common.
//!
//! Three numbers, each from a sample of the pixels that is spread evenly over the map and always the same:
//! - the *misfit*: what the references leave over besides noise, in OD; so large that the median chi² of the best
//!   composition is what it should be. Without it a poor reference would pass as precision.
//! - the *purity*: the share of pixels of one phase, the rest being pairs. It weighs the simpler reading against
//!   the richer one where a spectrum cannot tell (expectation-maximisation, one parameter).
//! - the *unrelatedness* of neighbours: the share of neighbours whose composition tells nothing of a pixel's own.
//!   At 1 neighbours are not asked.
//!
//! With too few pixels or energies each takes a careful value: no misfit can be seen, one half, and 1.

use rayon::prelude::*;

use super::Targets;
use super::composition::Compositions;
use super::messages::{Kernel, normalise};
use super::moments::Moments;
use super::spectrum::Spectrum;
use super::view::DensityView;

/// Pixels that the misfit is taken from.
const MISFIT_PIXELS: usize = 400;
/// Pixels that purity and relatedness are taken from.
const SAMPLE_PIXELS: usize = 1600;
/// Fewer say nothing.
const FEWEST_PIXELS: usize = 30;
/// Free values of the best composition: amplitude, share, constant.
const FITTED: usize = 3;
/// Largest misfit looked for, OD.
const LARGEST_MISFIT_OD: f64 = 0.2;
/// Candidates for the unrelatedness; the last one switches neighbours off.
const UNRELATED: [f32; 6] = [0.05, 0.1, 0.2, 0.4, 0.7, 1.0];

/// What the pixels of a scan say together.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Population {
    /// What the references leave over besides noise, OD.
    pub misfit_od: f64,
    /// Share of pixels of one phase, 0.02 to 0.98.
    pub purity: f64,
    /// Share of neighbours whose composition tells nothing, 0.05 to 1.
    pub unrelated: f32,
}

impl Default for Population {
    fn default() -> Self {
        Self { misfit_od: 0.0, purity: 0.5, unrelated: 1.0 }
    }
}

impl Population {
    /// The population of the pixels where `is_particle`, row-major on a grid `nx` wide.
    #[must_use]
    pub fn estimate(
        view: &DensityView<'_>,
        targets: &Targets,
        compositions: &Compositions,
        nx: usize,
        is_particle: &[bool],
    ) -> Self {
        let particle: Vec<usize> = (0..is_particle.len()).filter(|&pixel| is_particle[pixel]).collect();
        if particle.len() < FEWEST_PIXELS {
            return Self::default();
        }
        let misfit_od = misfit(view, targets, compositions, &spread(&particle, MISFIT_PIXELS));
        // Each with its right-hand neighbour, where that is one, too.
        let read = |sample: &mut Sample<'_>, pixel: usize| {
            let first = sample.log_likelihoods(pixel)?;
            let has_next = pixel % nx + 1 < nx && is_particle[pixel + 1];
            Some((first, has_next.then(|| sample.log_likelihoods(pixel + 1)).flatten()))
        };
        let sampled: Vec<_> = spread(&particle, SAMPLE_PIXELS)
            .into_par_iter()
            .map_init(|| Sample::new(view, targets, misfit_od, compositions), read)
            .collect();
        let mut own = Vec::new();
        let mut pairs = Vec::new();
        for (first, next) in sampled.into_iter().flatten() {
            pairs.extend(next.map(|next| (own.len(), next)));
            own.push(first);
        }
        let purity = purity(&own, compositions.phases());
        let unrelated = unrelated(&own, &pairs, compositions, purity);
        Self { misfit_od, purity, unrelated }
    }

    /// Logarithm of the probability of each composition before anything is measured: all phases alike, and all
    /// pairs alike.
    #[must_use]
    pub fn log_prior(&self, compositions: &Compositions) -> Vec<f32> {
        let (pure, mixed) = (compositions.phases(), compositions.len() - compositions.phases());
        let of = |index: usize| {
            if index < pure { self.purity / pure as f64 } else { (1.0 - self.purity) / mixed as f64 }
        };
        (0..compositions.len()).map(|index| of(index).ln() as f32).collect()
    }
}

/// At most `count` of `pixels`, evenly spread.
fn spread(pixels: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(pixels.len());
    (0..count).map(|i| pixels[i * pixels.len() / count]).collect()
}

struct Sample<'a> {
    view: &'a DensityView<'a>,
    targets: &'a Targets,
    misfit_od: f64,
    compositions: &'a Compositions,
    spectrum: Spectrum,
    moments: Moments,
}

impl<'a> Sample<'a> {
    fn new(
        view: &'a DensityView<'a>,
        targets: &'a Targets,
        misfit_od: f64,
        compositions: &'a Compositions,
    ) -> Self {
        let (spectrum, moments) = (Spectrum::default(), Moments::default());
        Self { view, targets, misfit_od, compositions, spectrum, moments }
    }

    fn log_likelihoods(&mut self, pixel: usize) -> Option<Vec<f32>> {
        self.view.gather(pixel, &mut self.spectrum);
        let energies = self.moments.load(&self.spectrum, self.targets, self.misfit_od);
        (energies > FITTED).then(|| {
            let mut out = vec![0.0; self.compositions.len()];
            self.moments.log_likelihoods(self.compositions, &mut out);
            out
        })
    }
}

/// The misfit at which the median of the reduced chi² is that of the distribution; 0 where it is below anyway.
fn misfit(view: &DensityView<'_>, targets: &Targets, compositions: &Compositions, pixels: &[usize]) -> f64 {
    let spectra: Vec<Spectrum> = pixels
        .iter()
        .map(|&pixel| {
            let mut spectrum = Spectrum::default();
            view.gather(pixel, &mut spectrum);
            spectrum
        })
        .collect();
    let excess = |misfit_od: f64| {
        let state = || (Moments::default(), vec![0.0; compositions.len()]);
        let mut ratios: Vec<f64> = spectra
            .par_iter()
            .map_init(state, |(moments, likelihoods), spectrum| {
                let energies = moments.load(spectrum, targets, misfit_od);
                (energies > FITTED).then(|| {
                    let freedom = (energies - FITTED) as f64;
                    // Median of chi² after Wilson and Hilferty (1931).
                    let median = freedom * (1.0 - 2.0 / (9.0 * freedom)).powi(3);
                    moments.log_likelihoods(compositions, likelihoods) / median
                })
            })
            .flatten_iter()
            .collect();
        ratios.sort_by(f64::total_cmp);
        if ratios.len() < FEWEST_PIXELS { 0.0 } else { ratios[ratios.len() / 2] }
    };
    if excess(0.0) <= 1.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, LARGEST_MISFIT_OD);
    for _ in 0..9 {
        let middle = 0.5 * (low + high);
        if excess(middle) > 1.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn purity(likelihoods: &[Vec<f32>], phases: usize) -> f64 {
    if likelihoods.len() < FEWEST_PIXELS {
        return Population::default().purity;
    }
    let mean =
        |list: &[f32]| list.iter().map(|&l| f64::from(l).exp()).sum::<f64>() / list.len().max(1) as f64;
    let odds: Vec<(f64, f64)> =
        likelihoods.iter().map(|l| (mean(&l[..phases]), mean(&l[phases..]))).collect();
    let mut purity = 0.5;
    for _ in 0..40 {
        let one = |&(pure, mixed): &(f64, f64)| purity * pure / (purity * pure + (1.0 - purity) * mixed);
        purity = (odds.iter().map(one).sum::<f64>() / odds.len() as f64).clamp(0.02, 0.98);
    }
    purity
}

/// The candidate under which neighbouring pixels are likeliest.
fn unrelated(own: &[Vec<f32>], pairs: &[(usize, Vec<f32>)], compositions: &Compositions, purity: f64) -> f32 {
    if pairs.len() < FEWEST_PIXELS {
        return 1.0;
    }
    let prior = Population { purity, ..Population::default() }.log_prior(compositions);
    let belief = |likelihood: &[f32]| {
        let mut belief: Vec<f32> = likelihood.iter().zip(&prior).map(|(l, p)| l + p).collect();
        normalise(&mut belief);
        belief
    };
    let pairs: Vec<(Vec<f32>, Vec<f32>)> =
        pairs.iter().map(|(first, next)| (belief(&own[*first]), belief(next))).collect();
    let likelihood = |unrelated: f32| -> f64 {
        let kernel = Kernel::new(compositions, &prior, unrelated);
        let mut message = vec![0.0; compositions.len()];
        let one = |(first, next): &(Vec<f32>, Vec<f32>)| {
            kernel.ratios(next, &mut message);
            let joint: f32 = first.iter().zip(&message).map(|(p, ratio)| p * ratio).sum();
            f64::from(joint).max(1e-12).ln()
        };
        pairs.iter().map(one).sum()
    };
    // From "unrelated" on, so that of equals the more careful one stays.
    let values: Vec<(f64, f32)> =
        UNRELATED.par_iter().rev().map(|&candidate| (likelihood(candidate), candidate)).collect();
    let mut best = (f64::NEG_INFINITY, 1.0);
    for value in values {
        if value.0 > best.0 {
            best = value;
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Likelihoods that name one composition clearly.
    fn clear(compositions: &Compositions, entry: usize) -> Vec<f32> {
        (0..compositions.len()).map(|i| if i == entry { 0.0 } else { -12.0 }).collect()
    }

    #[test]
    fn the_purity_is_the_share_of_pure_pixels() {
        let list = Compositions::new(5);
        let pixels: Vec<Vec<f32>> =
            (0..1000).map(|i| clear(&list, if i % 10 < 7 { i % 5 } else { 5 + i % 50 })).collect();
        let found = purity(&pixels, 5);
        assert!((found - 0.7).abs() < 0.02, "{found}");
        assert_eq!(purity(&pixels[..10], 5), 0.5, "ten pixels say nothing");
    }

    #[test]
    fn neighbours_are_asked_as_far_as_they_agree() {
        let list = Compositions::new(5);
        let agreeing = |of_ten: usize| {
            let own: Vec<Vec<f32>> = (0..500).map(|i| clear(&list, i % 5)).collect();
            let other = |i: usize| if i % 10 < of_ten { i % 5 } else { (i / 10 + i) % 5 };
            let pairs: Vec<_> = (0..500).map(|i| (i, clear(&list, other(i)))).collect();
            unrelated(&own, &pairs, &list, 0.98)
        };
        assert_eq!(agreeing(10), 0.05);
        assert!((0.2..=0.7).contains(&agreeing(5)), "{}", agreeing(5));
        assert_eq!(agreeing(0), 1.0);
    }

    #[test]
    fn the_prior_is_a_distribution() {
        let list = Compositions::new(4);
        let prior = Population { purity: 0.9, ..Population::default() }.log_prior(&list);
        let sum: f32 = prior.iter().map(|p| p.exp()).sum();
        let pure: f32 = prior[..4].iter().map(|p| p.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5 && (pure - 0.9).abs() < 1e-5);
    }

    #[test]
    fn a_sample_is_spread_and_not_larger_than_asked() {
        let pixels: Vec<usize> = (100..200).collect();
        assert_eq!(spread(&pixels, 4), [100, 125, 150, 175]);
        assert_eq!(spread(&pixels, 1000), pixels);
    }
}
