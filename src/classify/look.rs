//! The second look at one pixel: its belief over compositions and the fits of all pairs, and the verdict they make.
//!
//! The best guess is the phase that is likeliest to be the only one or the larger part. *Classified* where that is
//! clear; *mixture* where two phases are, of which neither makes up four fifths; *unknown* where even the best pair
//! leaves too much; else *ambiguous*, with the cause. The verdict is made twice, from the pixel's own spectrum and
//! with what its neighbours say; where the two differ, the pixel is marked.

use super::composition::Compositions;
use super::judged::MeasuredPixels;
use super::mixture::{MixtureFit, PairFit};
use super::neighbours::Belief;
use super::readings::{PairReading, Readings, same};
use super::triage::Rule;
use super::view::DensityView;
use super::{
    Ambiguity, Method, NO_PHASE, NO_READINGS, Reading, Status, Targets, TriageSettings, Verdict, judge,
};

/// Most confidence of a reading that another one equals: between them only the prior decides, and that is a guess.
const MATTER_OF_PRIOR: f32 = 0.9;
/// Probability of a mixture from which a pixel is not called one phase.
const MIXED: f64 = 0.4;

/// What a look needs beside the pixel.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub measured: &'a MeasuredPixels,
    pub view: &'a DensityView<'a>,
    pub targets: &'a Targets,
    pub compositions: &'a Compositions,
    pub settings: &'a TriageSettings,
}

/// What one thread needs to look at one pixel after the other.
#[derive(Default)]
pub(super) struct Instruments {
    fit: MixtureFit,
    readings: Readings,
    chi2: Vec<f32>,
}

/// What the second look says of one pixel.
pub(super) struct Look {
    pub verdict: Verdict,
    /// The fit of the verdict's two phases.
    pub pair: Option<PairFit>,
    /// Of a pixel that is still open: what a model's word is held against.
    pub rest: Option<Box<Rest>>,
}

/// What the fits and the belief say beyond the verdict.
pub(super) struct Rest {
    /// The likeliest pair.
    pub best: Option<PairReading>,
    /// Reduced chi² of the best fit of all.
    pub best_reduced: f32,
    /// Probability of each phase, alone or as the larger part, by its index.
    pub mostly: Vec<f32>,
}

impl Instruments {
    /// Looks at one pixel; without a belief, which few energies do not allow, the first verdict stays.
    pub(super) fn look(&mut self, scene: &Scene<'_>, pixel: usize, belief: Option<&Belief<'_>>) -> Look {
        let Scene { measured, targets, settings, .. } = *scene;
        let mut reading = measured.reading(pixel);
        let Some(belief) = belief else {
            return Look { verdict: judge(&reading, targets, settings), pair: None, rest: None };
        };
        self.fit.restore(targets.phases(), belief.energies, belief.moments);
        self.chi2.clear();
        self.chi2.extend((0..targets.phases()).map(|k| self.fit.single(k) as f32));
        (reading.chi2, reading.sums.signal) = (&self.chi2, self.fit.signal() as f32);
        let first = judge(&reading, targets, settings);
        self.readings.fit(&self.fit, targets.phases(), reading.scale().freedom);
        let mut verdict = first;
        if settings.rule == Rule::Evidence || first.status == Status::Ambiguous {
            self.readings.believe(belief.own, scene.compositions);
            let alone = self.decide(first, &reading, settings);
            self.readings.believe(belief.joint, scene.compositions);
            verdict = self.decide(first, &reading, settings);
            verdict.smoothed = (verdict.status, verdict.phase) != (alone.status, alone.phase);
            if verdict.smoothed {
                verdict.method = Method::Neighbours;
            }
            keep_both_readings(&mut verdict, &alone);
        } else {
            self.readings.believe(belief.joint, scene.compositions);
        }
        let (i, j) = (verdict.phase, verdict.runner_up);
        let pair = (j != NO_PHASE).then(|| self.fit.pair(i.into(), j.into())).flatten();
        let rest = (verdict.status == Status::Ambiguous).then(|| {
            let phases = 0..targets.phases() as u8;
            Box::new(Rest {
                best: self.readings.best_pair(),
                best_reduced: self.readings.best_reduced as f32,
                mostly: phases.map(|phase| self.readings.mostly(phase) as f32).collect(),
            })
        });
        Look { verdict, pair, rest }
    }

    /// The verdict from the readings as they are weighed now.
    fn decide(&self, first: Verdict, reading: &Reading<'_>, settings: &TriageSettings) -> Verdict {
        let (readings, misfit) = (&self.readings, reading.misfit);
        let mut verdict = first;
        if readings.is_unknown(misfit) {
            verdict.status = Status::Unknown;
            verdict.ambiguity = Ambiguity::Reference;
            verdict.fit_chi2 = readings.best_reduced as f32;
            verdict.confidence = confidence_of_unknown(readings.deviations);
            return verdict;
        }
        let [phase, runner_up] = readings.two_likeliest();
        self.guess(&mut verdict, [phase, runner_up]);
        verdict.confidence = saturated(readings.mostly(phase), reading, [phase, runner_up]) as f32;
        let best = readings.best_pair();
        let mixture = best.filter(|pair| {
            reading.sums.white_line && pair.probability * pair.mixed >= f64::from(settings.min_mixture)
        });
        if let Some(pair) = mixture {
            self.guess(&mut verdict, larger_first(&pair));
            verdict.status = Status::Mixture;
            verdict.ambiguity = Ambiguity::None;
            verdict.confidence =
                saturated(readings.mostly(verdict.phase), reading, [verdict.phase, verdict.runner_up]) as f32;
            verdict.delta_chi2 = f32::NAN;
            verdict.fit_chi2 = readings.best_reduced as f32;
            verdict.readings = readings.alternatives(pair.fit.pair);
            if self.is_indistinguishable(&verdict, misfit) {
                verdict.ambiguity = Ambiguity::Indistinguishable;
            }
            return verdict;
        }
        let mixed = readings.mixed() > MIXED;
        verdict.readings = match best {
            Some(pair) if mixed => readings.alternatives(pair.fit.pair),
            _ => readings.alternatives([phase, NO_PHASE]),
        };
        let clear = verdict.confidence >= settings.min_confidence && reading.sums.white_line;
        (verdict.status, verdict.ambiguity) = match (mixed, clear) {
            (true, _) => (Status::Ambiguous, Ambiguity::Mixture),
            (false, false) => (Status::Ambiguous, Ambiguity::Noise),
            (false, true) if !self.fits(reading, phase, settings) => {
                (Status::Ambiguous, Ambiguity::Reference)
            }
            (false, true) => (Status::Classified, Ambiguity::None),
        };
        // Of a classified pixel, too: the simpler reading is taken, and the other one told.
        if self.is_indistinguishable(&verdict, misfit) {
            verdict.ambiguity = Ambiguity::Indistinguishable;
            verdict.confidence = verdict.confidence.min(MATTER_OF_PRIOR);
        }
        verdict
    }

    /// Whether the phase describes the spectrum: by the coefficient, or, where noise keeps that low, by what the fit
    /// leaves.
    fn fits(&self, reading: &Reading<'_>, phase: u8, settings: &TriageSettings) -> bool {
        let freedom = reading.scale().freedom;
        let reduced = self.fit.single(phase.into()) / freedom;
        reading.correlations[usize::from(phase)] >= settings.min_correlation
            || reduced <= 1.0 + 3.0 * (2.0 / freedom).sqrt()
    }

    fn is_indistinguishable(&self, verdict: &Verdict, misfit: f64) -> bool {
        verdict.readings != NO_READINGS && !self.readings.distinguishable(&self.fit, verdict.readings, misfit)
    }

    /// Makes `phases` the best guess and its runner-up; the evidence becomes that of the one over the other.
    fn guess(&self, verdict: &mut Verdict, phases: [u8; 2]) {
        if phases == [verdict.phase, verdict.runner_up] || phases.contains(&NO_PHASE) {
            return;
        }
        let swapped = [phases[1], phases[0]] == [verdict.phase, verdict.runner_up];
        verdict.delta_chi2 = if swapped { -verdict.delta_chi2 } else { f32::NAN };
        [verdict.phase, verdict.runner_up] = phases;
    }
}

/// Where the spectrum alone cannot tell two readings apart, that stays said whatever the neighbours prefer: what
/// references miss is common to all of them, so their number is no evidence. The preferred reading comes first.
fn keep_both_readings(verdict: &mut Verdict, alone: &Verdict) {
    let [a, b, c, d] = alone.readings;
    let preferred = match (verdict.status, alone.ambiguity) {
        (_, ambiguity) if ambiguity != Ambiguity::Indistinguishable => return,
        (Status::Mixture, _) => [verdict.phase, verdict.runner_up],
        (Status::Classified | Status::Ambiguous, _) => [verdict.phase, NO_PHASE],
        _ => return,
    };
    verdict.readings = match preferred {
        of if same(of, [a, b]) => [a, b, c, d],
        of if same(of, [c, d]) => [c, d, a, b],
        _ => return,
    };
    verdict.ambiguity = Ambiguity::Indistinguishable;
    verdict.confidence = verdict.confidence.min(MATTER_OF_PRIOR);
}

/// The phases of a pair, that with the likelier larger part first.
fn larger_first(pair: &PairReading) -> [u8; 2] {
    let [a, b] = pair.fit.pair;
    if pair.first_larger >= 0.5 { [a, b] } else { [b, a] }
}

/// A probability, less what the energies seen cannot say of one phase over another whatever the counts: log odds
/// saturate as evidence does ([`super::contrast`]).
fn saturated(confidence: f64, reading: &Reading<'_>, [phase, rival]: [u8; 2]) -> f64 {
    let phases = reading.chi2.len();
    let q = reading.contrast.get(usize::from(phase) * phases + usize::from(rival)).copied().unwrap_or(0.0);
    let evidence = 2.0 * (confidence / (1.0 - confidence).max(1e-12)).ln();
    if evidence <= 0.0 || q <= 0.0 {
        return confidence;
    }
    let saturated = if q.is_finite() { evidence / (1.0 + f64::from(q) * evidence) } else { 0.0 };
    1.0 / (1.0 + (-0.5 * saturated).exp())
}

/// Rises with what is left over; one half where the limit is.
fn confidence_of_unknown(deviations: f64) -> f32 {
    (1.0 - 0.5 * (-(deviations - 6.0).max(0.0) / 6.0).exp()) as f32
}
