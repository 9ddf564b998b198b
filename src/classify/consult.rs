//! The second look at every pixel with a best guess ([`super::look`]), and the GMVAE where there is one.
//!
//! What comes back: *classified* where the GMVAE is sure of one phase and that phase correlates well enough;
//! *mixture* where it says mixture and a pair of references describes the spectrum better than any one;
//! *unknown* where it says that the spectrum is none of the references; else still *ambiguous*, now with the
//! cause. A model that fails is told to the caller and changes nothing.

use rayon::prelude::*;

use super::judged::{MeasuredPixels, set_verdict};
use super::look::{Instruments, Look, Scene};
use super::mixture::{MixtureFit, PairFit};
use super::neighbours::{Beliefs, Speaker};
use super::population::Population;
use super::spectrum::Spectrum;
use super::view::DensityView;
use super::{Ambiguity, Method, PhaseMap, Status, Targets, TriageSettings};

/// Probability that a phase or a pair must have by the spectrum and the neighbours before the model's word makes
/// it the verdict.
const HEARD: f64 = 0.3;

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

/// Looks again at `open` pixels of `map`. What the pixels say together is estimated where `population` does not have
/// it yet.
///
/// # Errors
/// What the model says where it fails; the fits are done all the same.
pub(super) fn consult(
    map: &mut PhaseMap,
    open: &[usize],
    population: &mut Option<Population>,
    scene: &Scene<'_>,
    model: Option<&mut (dyn PosteriorModel + '_)>,
) -> Result<(), String> {
    let Scene { view, targets, settings, .. } = *scene;
    let (open, looks) = look_at(map, open, population, scene);
    for (&pixel, look) in open.iter().zip(&looks) {
        set_verdict(map, pixel, &look.verdict);
        set_share(map, pixel, look.pair.as_ref());
    }
    let Some(model) = model else { return Ok(()) };
    let undecided: Vec<usize> =
        (0..open.len()).filter(|&index| looks[index].verdict.status == Status::Ambiguous).collect();
    let pixels: Vec<usize> = undecided.iter().map(|&index| open[index]).collect();
    let counts = median(incident_counts(&pixels, view));
    let energies = undecided.iter().map(|&index| map.energies_seen[open[index]]).max().unwrap_or(0);
    if undecided.is_empty() || model.earns_place(usize::from(energies), counts) == Some(false) {
        return Ok(());
    }
    let posteriors = ask(map, &pixels, view, targets, model)?;
    let clusters = map.origin.clusters.clone();
    for (posterior, index) in posteriors.chunks_exact(clusters.len().max(1)).zip(undecided) {
        hear(map, open[index], &looks[index], posterior, &clusters, settings);
    }
    Ok(())
}

/// Looks at every open pixel that leaves a doubt: those, in their order, and what was seen. All open ones speak to
/// their neighbours.
fn look_at(
    map: &mut PhaseMap,
    open: &[usize],
    population: &mut Option<Population>,
    scene: &Scene<'_>,
) -> (Vec<usize>, Vec<Look>) {
    let nx = map.plan.grid.nx();
    let estimate = || {
        let mut is_particle = vec![false; map.len()];
        open.iter().for_each(|&pixel| is_particle[pixel] = true);
        Population::estimate(scene.view, scene.targets, scene.compositions, nx, &is_particle)
    };
    let mut population = *population.get_or_insert_with(estimate);
    if !scene.settings.neighbours {
        population.unrelated = 1.0;
    }
    map.origin.population = population;
    let own_parts = own_parts(open, scene.view, scene.targets);
    let mut wanted = vec![false; map.len()];
    let mut speakers = vec![Speaker::Silent; map.len()];
    for &pixel in open {
        wanted[pixel] = !is_plain(map, scene.measured, &own_parts, pixel);
        speakers[pixel] = if wanted[pixel] { Speaker::Open } else { Speaker::Sure(map.phase[pixel]) };
    }
    let open: Vec<usize> = open.iter().copied().filter(|&pixel| wanted[pixel]).collect();
    let Scene { view, targets, compositions, .. } = *scene;
    let misfit = scene.measured.misfit;
    let beliefs = Beliefs { view, targets, compositions, population, misfit, nx };
    let looks = beliefs.collect(&wanted, &speakers, Instruments::default, |instruments, belief| {
        instruments.look(scene, belief.pixel, Some(belief))
    });
    let mut looks = looks.into_iter().peekable();
    let mut instruments = Instruments::default();
    let looks = open
        .iter()
        .map(|&pixel| match looks.next_if(|(believed, _)| *believed == pixel) {
            Some((_, look)) => look,
            None => instruments.look(scene, pixel, None),
        })
        .collect();
    (open, looks)
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
    let reading = measured.reading(pixel);
    // Deviations of chi² that the noise may make.
    let most = 1.0 + 2.0 * (2.0 / reading.scale().freedom).sqrt() as f32;
    if status != Status::Classified || map.confidence[pixel] < BEYOND_DOUBT.0 || map.fit_chi2[pixel] > most {
        return false;
    }
    let explained = f64::from(reading.sums.signal) - f64::from(reading.chi2[phase]);
    own_parts[phase] * explained > BEYOND_DOUBT.1
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

/// Incident counts of each pixel, from the noise.
fn incident_counts(pixels: &[usize], view: &DensityView<'_>) -> Vec<f64> {
    let counts = |spectrum: &mut Spectrum, &pixel: &usize| {
        view.gather(pixel, spectrum);
        spectrum.incident_counts()
    };
    pixels.par_iter().map_init(Spectrum::default, counts).collect()
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
    if clusters == 0 {
        return Err("the model has no clusters".to_owned());
    }
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
    // Only where a model was asked: most maps do without.
    map.posterior.resize(map.status.len() * clusters, f32::NAN);
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
    let Some(rest) = &look.rest else { return };
    match (map.phases.iter().position(|label| label.id == name), rest.best) {
        (Some(phase), _)
            if p >= settings.min_posterior
                && rest.mostly.get(phase).is_none_or(|&own| f64::from(own) >= HEARD)
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
        (None, Some(best)) if name == "mixture" && p >= 0.5 && best.probability >= HEARD => {
            verdict.status = Status::Mixture;
            verdict.method = Method::Gmvae;
            verdict.ambiguity = Ambiguity::None;
            verdict.confidence = rest.mostly.get(usize::from(best.fit.pair[0])).copied().unwrap_or(f32::NAN);
            [verdict.phase, verdict.runner_up] = best.fit.pair;
            verdict.delta_chi2 = f32::NAN;
            verdict.fit_chi2 = rest.best_reduced;
            pair = Some(best.fit);
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
