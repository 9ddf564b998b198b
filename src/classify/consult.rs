//! The second look at ambiguous and doubtful pixels: a fit of every pair of phases, and the GMVAE where there is one.
//!
//! What comes back: *classified* where the GMVAE is sure of one phase and that phase correlates well enough;
//! *mixture* where it says mixture and a pair of references describes the spectrum better than any one;
//! *unknown* where it says that the spectrum is none of the references; else still *ambiguous*, now with the
//! cause. A model that fails is told to the caller and changes nothing.

use rayon::prelude::*;

use super::judged::set_verdict;
use super::mixture::{MixtureFit, PairFit};
use super::spectrum::Spectrum;
use super::view::DensityView;
use super::{Ambiguity, Method, NO_PHASE, PhaseMap, Status, Targets, TriageSettings, Verdict};

/// chi² (scaled) by which a pair has to be better than one phase before it counts as a mixture: what 3 sigma
/// would be for the one parameter more.
const PAIR_GAIN: f32 = 9.0;

/// Whoever can say which cluster a spectrum belongs to.
pub trait PosteriorModel: Send {
    /// Names of the clusters: phase ids first, then any of `mixture`, `damaged`, `other:<name>`.
    fn clusters(&self) -> &[String];

    /// Digest of the model.
    fn sha256(&self) -> &str;

    /// Posteriors of several pixels, `[pixel * clusters + cluster]`, NaN for a pixel with too few values.
    /// `od` and `sigma` hold one row of `energies_ev.len()` per pixel, NaN where there is no value.
    ///
    /// # Errors
    /// What the model's engine says.
    fn posteriors(&mut self, energies_ev: &[f64], od: &[f32], sigma: &[f32]) -> Result<Vec<f32>, String>;
}

/// Looks again at `open` pixels of `map`.
///
/// # Errors
/// What the model says where it fails; the fits are done all the same.
pub(super) fn consult(
    map: &mut PhaseMap,
    open: &[usize],
    view: &DensityView<'_>,
    targets: &Targets,
    settings: &TriageSettings,
    model: Option<&mut (dyn PosteriorModel + '_)>,
) -> Result<(), String> {
    let fits: Vec<Fits> = open
        .par_iter()
        .map_init(
            || (Spectrum::default(), MixtureFit::default()),
            |(spectrum, fit), &pixel| {
                view.gather(pixel, spectrum);
                let pair = [map.phase[pixel], map.runner_up[pixel]];
                Fits::new(spectrum, fit, targets, pair)
            },
        )
        .collect();
    let posteriors = match model {
        Some(model) if !open.is_empty() => Some(ask(map, open, view, targets, model)),
        _ => None,
    };
    let (clusters, posteriors, outcome) = match posteriors {
        Some(Ok(posteriors)) => (map.origin.clusters.clone(), posteriors, Ok(())),
        Some(Err(error)) => (Vec::new(), Vec::new(), Err(error)),
        None => (Vec::new(), Vec::new(), Ok(())),
    };
    for (index, (&pixel, fits)) in open.iter().zip(&fits).enumerate() {
        let posterior = posteriors.get(index * clusters.len()..(index + 1) * clusters.len()).unwrap_or(&[]);
        decide(map, pixel, fits, posterior, &clusters, settings);
    }
    outcome
}

/// The fits of one pixel.
struct Fits {
    best: Option<PairFit>,
    best_reduced: f32,
    /// The fit of `phase` and `runner_up`.
    own: Option<PairFit>,
}

impl Fits {
    fn new(spectrum: &Spectrum, fit: &mut MixtureFit, targets: &Targets, [phase, second]: [u8; 2]) -> Self {
        if !fit.load(spectrum, targets) {
            return Self { best: None, best_reduced: f32::NAN, own: None };
        }
        let best = fit.best();
        let best_reduced = best.map_or(f32::NAN, |best| fit.reduced(&best));
        Self { best, best_reduced, own: fit.pair(phase as usize, second as usize) }
    }
}

fn ask(
    map: &mut PhaseMap,
    open: &[usize],
    view: &DensityView<'_>,
    targets: &Targets,
    model: &mut dyn PosteriorModel,
) -> Result<Vec<f32>, String> {
    /// Rows per call: bounds the memory, and keeps the batches the same from run to run.
    const ROWS: usize = 4096;
    let (energies, clusters) = (view.energies(), map.origin.clusters.len());
    let mut posteriors = Vec::with_capacity(open.len() * clusters);
    let (mut od, mut sigma) = (Vec::new(), Vec::new());
    for rows in open.chunks(ROWS) {
        od.clear();
        od.resize(rows.len() * energies, f32::NAN);
        sigma.clear();
        sigma.resize(rows.len() * energies, f32::NAN);
        od.par_chunks_mut(energies).zip(sigma.par_chunks_mut(energies)).zip(rows).for_each_init(
            Spectrum::default,
            |spectrum, ((od, sigma), &pixel)| {
                view.gather(pixel, spectrum);
                for i in 0..spectrum.len() {
                    od[spectrum.energies[i]] = spectrum.od[i] as f32;
                    sigma[spectrum.energies[i]] = spectrum.variance[i].sqrt() as f32;
                }
            },
        );
        posteriors.extend(model.posteriors(&targets.energies_ev, &od, &sigma)?);
    }
    if posteriors.len() != open.len() * clusters {
        return Err(format!(
            "{} posteriors for {} pixels and {clusters} clusters",
            posteriors.len(),
            open.len()
        ));
    }
    for (row, &pixel) in posteriors.chunks_exact(clusters).zip(open) {
        map.posterior[pixel * clusters..(pixel + 1) * clusters].copy_from_slice(row);
    }
    Ok(posteriors)
}

fn decide(
    map: &mut PhaseMap,
    pixel: usize,
    fits: &Fits,
    posterior: &[f32],
    clusters: &[String],
    settings: &TriageSettings,
) {
    let phases = map.phases.len();
    let energies = f32::from(map.energies_seen[pixel]);
    // chi² of the best single phase, unscaled again.
    let single = map.fit_chi2[pixel] * (energies - 2.0).max(1.0);
    let mixed = fits.best.filter(|best| {
        (single - best.chi2) / fits.best_reduced.max(1.0) >= PAIR_GAIN && best.share + best.share_error < 1.0
    });
    if map.status[pixel] == Status::Classified && mixed.is_none() {
        // Doubtful, but no pair does better: the references are at fault, and that is in `fit_chi2`.
        return;
    }
    let mut verdict = Verdict {
        status: Status::Ambiguous,
        phase: map.phase[pixel],
        runner_up: map.runner_up[pixel],
        method: map.method[pixel],
        delta_chi2: map.delta_chi2[pixel],
        confidence: map.confidence[pixel],
        fit_chi2: map.fit_chi2[pixel],
        ambiguity: if mixed.is_some() { Ambiguity::Mixture } else { map.ambiguity[pixel] },
        doubtful: false,
    };
    let mut pair = fits.own;
    let winner = posterior.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).filter(|(_, p)| !p.is_nan());
    if let Some((cluster, &p)) = winner {
        let name = clusters[cluster].as_str();
        let phase = map.phases.iter().position(|label| label.id == name);
        match (phase, mixed) {
            (Some(phase), _)
                if p >= settings.min_posterior
                    && map.correlations[pixel * phases + phase] >= settings.min_correlation =>
            {
                verdict.status = Status::Classified;
                verdict.method = Method::Gmvae;
                verdict.ambiguity = Ambiguity::None;
                verdict.confidence = p;
                if verdict.phase != phase as u8 {
                    // The evidence was that of the other phase over this one.
                    let swapped = verdict.runner_up == phase as u8;
                    verdict.delta_chi2 = if swapped { -verdict.delta_chi2 } else { f32::NAN };
                    verdict.runner_up = verdict.phase;
                    verdict.phase = phase as u8;
                }
            }
            (None, Some(best)) if name == "mixture" && p >= 0.5 => {
                verdict.status = Status::Mixture;
                verdict.method = Method::Gmvae;
                verdict.confidence = p;
                [verdict.phase, verdict.runner_up] = best.pair;
                verdict.delta_chi2 = f32::NAN;
                verdict.fit_chi2 = fits.best_reduced;
                pair = Some(best);
            }
            (None, _) if name != "mixture" && p >= settings.min_posterior => {
                verdict.status = Status::Unknown;
                verdict.method = Method::Gmvae;
                verdict.confidence = p;
                verdict.ambiguity = Ambiguity::Reference;
            }
            _ => {}
        }
    }
    set_verdict(map, pixel, &verdict);
    if let Some(pair) = pair
        && verdict.phase != NO_PHASE
        && pair.pair.contains(&verdict.phase)
        && pair.pair.contains(&verdict.runner_up)
    {
        let first = pair.pair[0] == verdict.phase;
        map.share[pixel] = if first { pair.share } else { 1.0 - pair.share };
        map.share_error[pixel] = pair.share_error;
    }
}
