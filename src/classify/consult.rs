//! The second look at ambiguous and doubtful pixels: a fit of every pair of phases, and the GMVAE where there is one.
//!
//! What comes back: *classified* where the GMVAE is sure of one phase and that phase correlates well enough;
//! *mixture* where it says mixture and a pair of references describes the spectrum better than any one;
//! *unknown* where it says that the spectrum is none of the references; else still *ambiguous*, now with the
//! cause. A model that fails is told to the caller and changes nothing.

use rayon::prelude::*;

use super::judged::{MeasuredPixels, set_verdict};
use super::mixture::{MixtureFit, PairFit};
use super::readings::{MIXTURE_PRIOR, Readings, mixture_prior};
use super::spectrum::Spectrum;
use super::triage::Rule;
use super::view::DensityView;
use super::{
    Ambiguity, Method, NO_PHASE, NO_READINGS, PhaseMap, Reading, Status, Targets, TriageSettings, Verdict,
    judge,
};

/// Probability that the fits must give a pair before the model's word makes it a mixture.
const MODEL_PAIR: f64 = 0.3;

/// Most confidence of a reading that another one equals: between them only the prior decides, and that is a guess.
const MATTER_OF_PRIOR: f32 = 0.9;

/// Probability of a mixture from which a pixel is not called one phase.
const MIXED: f64 = 0.4;

/// Pixels that are asked how common mixtures are.
const PRIOR_PIXELS: usize = 1024;

/// Whoever can say which cluster a spectrum belongs to.
pub trait PosteriorModel: Send {
    /// Names of the clusters: phase ids first, then any of `mixture`, `damaged`, `other:<name>`.
    fn clusters(&self) -> &[String];

    /// Digest of the model.
    fn sha256(&self) -> &str;

    /// Whether its training found the model better than the fits at this many energies and incident counts; `None`
    /// where it does not say. Where it is no better it is not asked.
    fn earns_place(&self, _energies: usize, _counts: f64) -> Option<bool> {
        None
    }

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
    measured: &MeasuredPixels,
    view: &DensityView<'_>,
    targets: &Targets,
    settings: &TriageSettings,
    model: Option<&mut (dyn PosteriorModel + '_)>,
) -> Result<(), String> {
    let look = |pixels: Vec<usize>, mixture_prior: f64| -> Vec<Look> {
        pixels
            .into_par_iter()
            .with_min_len(64)
            .map_init(Instruments::default, |instruments, pixel| {
                view.gather(pixel, &mut instruments.spectrum);
                instruments.look(measured, targets, settings, mixture_prior, pixel)
            })
            .collect()
    };
    // A part of the pixels, evenly spread, tells how common mixtures are in this scan.
    let asked = open.iter().copied().step_by(open.len().div_ceil(PRIOR_PIXELS).max(1)).collect();
    let odds: Vec<f64> = look(asked, MIXTURE_PRIOR)
        .iter()
        .map(|look| look.mixture_odds)
        .filter(|odds| !odds.is_nan())
        .collect();
    let own_parts = own_parts(open, view, targets);
    let shown: &PhaseMap = map;
    let doubtful = |&pixel: &usize| !is_plain(shown, measured, &own_parts, pixel);
    let open: Vec<usize> = open.iter().copied().filter(doubtful).collect();
    let looks = look(open.clone(), mixture_prior(&odds));
    for (&pixel, look) in open.iter().zip(&looks) {
        set_verdict(map, pixel, &look.verdict);
        set_share(map, pixel, look.pair.as_ref());
    }
    let Some(model) = model else { return Ok(()) };
    let undecided: Vec<usize> =
        (0..open.len()).filter(|&index| looks[index].verdict.status == Status::Ambiguous).collect();
    let counts = median(undecided.iter().map(|&index| looks[index].counts).collect());
    let energies = undecided.iter().map(|&index| map.energies_seen[open[index]]).max().unwrap_or(0);
    if undecided.is_empty() || model.earns_place(usize::from(energies), counts) == Some(false) {
        return Ok(());
    }
    let pixels: Vec<usize> = undecided.iter().map(|&index| open[index]).collect();
    let posteriors = ask(map, &pixels, view, targets, model)?;
    let clusters = map.origin.clusters.clone();
    for (posterior, index) in posteriors.chunks_exact(clusters.len().max(1)).zip(undecided) {
        hear(map, open[index], &looks[index], posterior, &clusters, settings);
    }
    Ok(())
}

/// What each phase has that no mixture of two others has, as a share of its variance, at the energies and with the
/// noise of the first pixel: near enough for all.
fn own_parts(open: &[usize], view: &DensityView<'_>, targets: &Targets) -> Vec<f64> {
    let (mut spectrum, mut fit) = (Spectrum::default(), MixtureFit::default());
    if let Some(&first) = open.first() {
        view.gather(first, &mut spectrum);
    }
    let phases = targets.phases();
    if !fit.load(&spectrum, targets) {
        return vec![0.0; phases];
    }
    let own = |k: usize| {
        let others =
            (0..phases).flat_map(|i| (i + 1..phases).map(move |j| [i, j])).filter(|pair| !pair.contains(&k));
        others.map(|pair| fit.own_part(&[(k, 1.0)], pair)).fold(1.0, f64::min)
    };
    (0..phases).map(own).collect()
}

/// Whether there is nothing to look for in a pixel: one phase, beyond doubt, that leaves no more than the noise and
/// that no mixture looks like. Half of the pixels of one phase are so, and spared the fits.
fn is_plain(map: &PhaseMap, measured: &MeasuredPixels, own_parts: &[f64], pixel: usize) -> bool {
    /// Least confidence, and chi² by which every mixture of others has to be worse.
    const BEYOND_DOUBT: (f32, f64) = (0.9999, 25.0);
    let (status, phase) = (map.status[pixel], usize::from(map.phase[pixel]));
    if status != Status::Classified || map.confidence[pixel] < BEYOND_DOUBT.0 || map.fit_chi2[pixel] > 1.0 {
        return false;
    }
    let reading = measured.reading(pixel);
    let explained = f64::from(reading.sums.signal) - f64::from(reading.chi2[phase]);
    own_parts[phase] * explained > BEYOND_DOUBT.1
}

/// What one thread needs to look at one pixel after the other.
#[derive(Default)]
struct Instruments {
    spectrum: Spectrum,
    fit: MixtureFit,
    readings: Readings,
    chi2: Vec<f32>,
}

/// What the fits say of one pixel.
struct Look {
    verdict: Verdict,
    /// The fit of the verdict's two phases.
    pair: Option<PairFit>,
    /// The best pair and its probability.
    best: Option<(PairFit, f64)>,
    best_reduced: f32,
    /// Log odds of a mixture over one phase, both equally likely beforehand; NaN where it is neither.
    mixture_odds: f64,
    /// Incident counts, from the noise.
    counts: f64,
}

impl Instruments {
    fn look(
        &mut self,
        measured: &MeasuredPixels,
        targets: &Targets,
        settings: &TriageSettings,
        mixture_prior: f64,
        pixel: usize,
    ) -> Look {
        let counts = self.spectrum.incident_counts();
        let mut reading = measured.reading(pixel);
        self.spectrum.blur(reading.misfit);
        if !self.fit.load(&self.spectrum, targets) {
            let verdict = judge(&reading, targets, settings);
            let (best_reduced, mixture_odds) = (f32::NAN, f64::NAN);
            return Look { verdict, pair: None, best: None, best_reduced, mixture_odds, counts };
        }
        self.chi2.clear();
        self.chi2.extend((0..targets.phases()).map(|k| self.fit.single(k) as f32));
        (reading.chi2, reading.sums.signal) = (&self.chi2, self.fit.signal() as f32);
        let mut verdict = judge(&reading, targets, settings);
        self.readings.weigh(&self.fit, &reading.scale(), reading.log_prior, targets.phases(), mixture_prior);
        let best = self.readings.best_pair();
        let best_reduced = self.readings.best_reduced as f32;
        if settings.rule == Rule::Evidence || verdict.status == Status::Ambiguous {
            self.decide(&mut verdict, best, &reading, settings);
        }
        let (i, j) = (verdict.phase, verdict.runner_up);
        let pair = (j != NO_PHASE).then(|| self.fit.pair(i.into(), j.into())).flatten();
        let odds = self.readings.mixture_odds(mixture_prior);
        let mixture_odds = if self.readings.is_unknown(reading.misfit) { f64::NAN } else { odds };
        Look { verdict, pair, best, best_reduced, mixture_odds, counts }
    }

    /// The verdict after the fits.
    fn decide(
        &self,
        verdict: &mut Verdict,
        best: Option<(PairFit, f64)>,
        reading: &Reading<'_>,
        settings: &TriageSettings,
    ) {
        let (readings, misfit, sums) = (&self.readings, reading.misfit, &reading.sums);
        if readings.is_unknown(misfit) {
            verdict.status = Status::Unknown;
            verdict.ambiguity = Ambiguity::Reference;
            verdict.fit_chi2 = readings.best_reduced as f32;
            verdict.confidence = confidence_of_unknown(readings.deviations);
            return;
        }
        verdict.confidence = readings.mostly(verdict.phase) as f32;
        let pair = best.filter(|(pair, score)| {
            sums.white_line
                && score.exp() >= f64::from(settings.min_mixture)
                && pair.share + pair.share_error < 1.0
        });
        if let Some((pair, score)) = pair {
            verdict.status = Status::Mixture;
            verdict.ambiguity = Ambiguity::None;
            verdict.confidence = score.exp() as f32;
            [verdict.phase, verdict.runner_up] = pair.pair;
            verdict.delta_chi2 = f32::NAN;
            verdict.fit_chi2 = readings.best_reduced as f32;
            verdict.readings = readings.alternatives(pair.pair);
            if verdict.readings != NO_READINGS
                && !readings.distinguishable(&self.fit, verdict.readings, misfit)
            {
                verdict.ambiguity = Ambiguity::Indistinguishable;
            }
            return;
        }
        let mixed = readings.mixed() > MIXED;
        if let Some((pair, _)) = best.filter(|_| mixed) {
            // The best guess is then the larger part of the likeliest pair.
            let [larger, smaller] = pair.pair;
            if [larger, smaller] != [verdict.phase, verdict.runner_up] {
                let swapped = [smaller, larger] == [verdict.phase, verdict.runner_up];
                verdict.delta_chi2 = if swapped { -verdict.delta_chi2 } else { f32::NAN };
                [verdict.phase, verdict.runner_up] = pair.pair;
            }
            verdict.confidence = readings.mostly(larger) as f32;
        }
        verdict.readings = match best {
            Some((pair, _)) if mixed => readings.alternatives(pair.pair),
            _ => readings.alternatives([verdict.phase, NO_PHASE]),
        };
        let clear = verdict.confidence >= settings.min_confidence;
        if verdict.ambiguity != Ambiguity::Reference && (mixed || !clear) {
            verdict.status = Status::Ambiguous;
            verdict.ambiguity = if mixed { Ambiguity::Mixture } else { Ambiguity::Noise };
        }
        // Of a classified pixel, too: the simpler reading is taken, and the other one told.
        if verdict.readings != NO_READINGS && !readings.distinguishable(&self.fit, verdict.readings, misfit) {
            verdict.ambiguity = Ambiguity::Indistinguishable;
            verdict.confidence = verdict.confidence.min(MATTER_OF_PRIOR);
        }
    }
}

/// Rises with what is left over; one half where the limit is.
fn confidence_of_unknown(deviations: f64) -> f32 {
    (1.0 - 0.5 * (-(deviations - 6.0).max(0.0) / 6.0).exp()) as f32
}

/// Writes the share of the map's phase, where `pair` is the fit of its phase and its runner-up.
fn set_share(map: &mut PhaseMap, pixel: usize, pair: Option<&PairFit>) {
    let said = [map.phase[pixel], map.runner_up[pixel]];
    let fitted = pair.filter(|pair| said == pair.pair || said == [pair.pair[1], pair.pair[0]]);
    (map.share[pixel], map.share_error[pixel]) = match fitted {
        Some(pair) if pair.pair[0] == said[0] => (pair.share, pair.share_error),
        Some(pair) => (1.0 - pair.share, pair.share_error),
        None => (f32::NAN, f32::NAN),
    };
}

/// The middle value; NaN of none.
fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
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

/// Takes in what the model says of an undecided pixel.
fn hear(
    map: &mut PhaseMap,
    pixel: usize,
    look: &Look,
    posterior: &[f32],
    clusters: &[String],
    settings: &TriageSettings,
) {
    let winner = posterior.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).filter(|(_, p)| !p.is_nan());
    let Some((cluster, &p)) = winner else { return };
    let phases = map.phases.len();
    let name = clusters[cluster].as_str();
    let mut verdict = look.verdict;
    let mut pair = look.pair;
    match (map.phases.iter().position(|label| label.id == name), look.best) {
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
                pair = pair.filter(|_| swapped);
                verdict.runner_up = verdict.phase;
                verdict.phase = phase as u8;
            }
        }
        (None, Some((best, score))) if name == "mixture" && p >= 0.5 && score.exp() >= MODEL_PAIR => {
            verdict.status = Status::Mixture;
            verdict.method = Method::Gmvae;
            verdict.ambiguity = Ambiguity::None;
            verdict.confidence = score.exp() as f32;
            [verdict.phase, verdict.runner_up] = best.pair;
            verdict.delta_chi2 = f32::NAN;
            verdict.fit_chi2 = look.best_reduced;
            pair = Some(best);
        }
        (None, _) if name != "mixture" && p >= settings.min_posterior => {
            verdict.status = Status::Unknown;
            verdict.method = Method::Gmvae;
            verdict.confidence = p;
            verdict.ambiguity = Ambiguity::Reference;
        }
        _ => return,
    }
    set_verdict(map, pixel, &verdict);
    set_share(map, pixel, pair.as_ref());
}
