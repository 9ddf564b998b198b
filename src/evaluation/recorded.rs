//! A recorded stack without known answers: how well few of its energies reproduce what all of them say.
//!
//! Truth is the label of an unweighted, non-negative fit of the references and a free constant to all energies: the reference of the
//! largest amount. For it I0 is the mean, energy by energy, of the brightest 15 % of the field, and scored are all pixels with an edge
//! jump above 0.1. Pearson, the fit (same fit, few energies) and the fit after a Gaussian of 0.7 pixel on the optical densities use
//! that I0, too; the pipeline makes its own, as the daemon would. Classes may be unequal: balanced accuracy is the mean over the phases of
//! the share of their pixels that is right. The ceiling is how far fits of the odd and of the even energies agree.

use rayon::prelude::*;
use serde::Serialize;

use super::EvaluationError;
use super::cells::RIGHT;
use super::draw::od_near;
use super::methods::{self, Scratch, Shapes};
use super::metrics::{Reliability, RiskCoverage, quantile, ratio};
use super::nonnegative::Moments;
use super::subject::Subject;
use crate::classify::{NO_PHASE, PosteriorModel as _, Status};
use crate::recording::{Recording, select_energies};
use crate::reference::ReferenceSet;
use crate::scan::Signal;
use crate::stack::Stack;

/// Share of the field that is taken to be empty: its brightest part.
const BRIGHTEST: f64 = 0.15;
/// Least edge jump of a pixel that is scored, OD.
const EDGE_JUMP: f64 = 0.1;
/// Standard deviation of the Gaussian, pixels, and where it is cut, in deviations.
const GAUSSIAN: (f64, f64) = (0.7, 4.0);
/// Least difference of the two largest amounts over their sum: all pixels, and those that are clear.
const CLEAR: [f64; 2] = [0.0, 0.2];
/// Points of a curve in the report.
const CURVE: usize = 40;

/// What a recorded stack says.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedReport {
    /// Identifier of the scan.
    pub scan_id: String,
    /// Energies it has.
    pub energies: usize,
    /// Identifiers of the phases.
    pub phases: Vec<String>,
    /// Share of the scored pixels that truth gives to each phase.
    pub shares: Vec<f64>,
    /// Share of the scored pixels in which odd and even energies agree.
    pub ceiling: f64,
    /// What `confidence` was calibrated with, as the maps say.
    pub calibrated_on: String,
    /// All pixels that are scored, by number of energies.
    pub rows: Vec<RecordedRow>,
    /// Only those whose two largest amounts in the full fit differ by more than a fifth of their sum.
    pub clear_rows: Vec<RecordedRow>,
}

/// So many energies of a recorded stack.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedRow {
    /// How many energies, evenly spaced by index.
    pub energies: usize,
    /// Pixels that are scored.
    pub pixels: usize,
    /// The methods.
    pub methods: Vec<RecordedMethod>,
    /// How right the pipeline's `confidence` is.
    pub reliability: Reliability,
}

/// One method on a recorded stack.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedMethod {
    /// Its name.
    pub method: &'static str,
    /// Share of pixels that agree with truth.
    pub plain: f64,
    /// Mean over the phases of the share of their pixels that agree.
    pub balanced: f64,
    /// Largest share of pixels, surest first, of which 97 % agree.
    pub coverage_at_97: f64,
    /// Share of pixels called classified; NaN for what classifies everything.
    pub classified: f64,
    /// Share of those that agree.
    pub right_of_classified: f64,
    /// Share of pixels without a phase, such as those called background; they count as wrong.
    pub unnamed: f64,
    /// Share of the others that agree.
    pub right_of_named: f64,
    /// Coverage and agreement, surest first.
    pub risk_coverage: Vec<[f64; 2]>,
}

/// How far above the limit an edge jump is clear of it.
const CLEAR_OF_LIMIT: f64 = 0.02;

/// What one method says of every pixel of the field.
struct Said {
    method: &'static str,
    phase: Vec<u8>,
    sureness: Vec<f32>,
    classified: Option<Vec<bool>>,
}

/// Amounts of the references, pixel by pixel, and what they add up to.
pub(super) struct Amounts {
    pub(super) phase: Vec<u8>,
    pub(super) difference: Vec<f64>,
    pub(super) sum: Vec<f64>,
}

/// Scores the methods on a recorded stack at each of `counts` numbers of energies.
///
/// # Errors
/// A stack that is no transmission stack, has no edge in the references' windows or fewer energies than asked for; a model that
/// fails.
pub fn recorded(
    subject: &mut Subject,
    recording: &Recording,
    counts: &[usize],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<RecordedReport, EvaluationError> {
    let references = std::sync::Arc::clone(&subject.recipe.references);
    let image = Images::new(recording, &references)?;
    let all: Vec<usize> = (0..recording.planes.len()).collect();
    let full = image.fit(&image.od, &all);
    let every = |parity: usize| all.iter().copied().filter(|e| e % 2 == parity).collect::<Vec<_>>();
    let (odd, even) = (image.fit(&image.od, &every(1)), image.fit(&image.od, &every(0)));
    let agree = image.scored.iter().filter(|&&p| odd.phase[p] == even.phase[p]).count();
    let share = |phase: usize| {
        let own = image.scored.iter().filter(|&&p| usize::from(full.phase[p]) == phase).count();
        ratio(own, image.scored.len())
    };
    let mut report = RecordedReport {
        scan_id: recording.plan.scan_id.clone(),
        energies: all.len(),
        phases: references.references.iter().map(|r| r.label.id.clone()).collect(),
        shares: (0..references.len()).map(share).collect(),
        ceiling: ratio(agree, image.scored.len()),
        calibrated_on: String::new(),
        rows: Vec::new(),
        clear_rows: Vec::new(),
    };
    for (done, &count) in counts.iter().enumerate() {
        progress(done, counts.len());
        let indices = select_energies(&recording.plan.energies_ev, &format!("count:{count}"))
            .map_err(|error| EvaluationError::Recording(error.to_string()))?;
        let mut said = image.baselines(&indices);
        let stack = stack_of(&recording.subset(&indices))?;
        said.extend(image.gmvae(subject, &indices, &stack)?);
        let map = subject.map(&stack)?;
        report.calibrated_on.clone_from(&map.origin.calibrated_on);
        said.push(Said {
            method: "pipeline",
            phase: map.phase.clone(),
            sureness: map.confidence.clone(),
            classified: Some(map.status.iter().map(|status| *status == Status::Classified).collect()),
        });
        for (rows, clear) in [&mut report.rows, &mut report.clear_rows].into_iter().zip(CLEAR) {
            let is_clear = |p: &usize| full.difference[*p] > clear * full.sum[*p] || clear == 0.0;
            let scored: Vec<usize> = image.scored.iter().copied().filter(is_clear).collect();
            rows.push(row(count, &scored, &full.phase, &said, references.len()));
        }
    }
    progress(counts.len(), counts.len());
    Ok(report)
}

fn row(energies: usize, scored: &[usize], truth: &[u8], said: &[Said], phases: usize) -> RecordedRow {
    let mut reliability = Reliability::default();
    let mut methods = Vec::new();
    for said in said {
        let right = |p: usize| said.phase[p] == truth[p];
        let recall = |phase: usize| {
            let own: Vec<usize> =
                scored.iter().copied().filter(|&p| usize::from(truth[p]) == phase).collect();
            ratio(own.iter().filter(|&&p| right(p)).count(), own.len())
        };
        let recalls: Vec<f64> = (0..phases).map(recall).filter(|r| !r.is_nan()).collect();
        let sure = |p: usize| if said.phase[p] == NO_PHASE { f32::NAN } else { said.sureness[p] };
        let curve = RiskCoverage::new(scored.iter().map(|&p| (sure(p), right(p))).collect());
        let classified: Vec<usize> = match &said.classified {
            None => Vec::new(),
            Some(list) => scored.iter().copied().filter(|&p| list[p]).collect(),
        };
        if said.method == "pipeline" {
            scored.iter().for_each(|&p| reliability.push(f64::from(sure(p)), right(p)));
        }
        let won = scored.iter().filter(|&&p| right(p)).count();
        let named = scored.iter().filter(|&&p| said.phase[p] != NO_PHASE).count();
        methods.push(RecordedMethod {
            method: said.method,
            plain: ratio(won, scored.len()),
            unnamed: 1.0 - ratio(named, scored.len()),
            right_of_named: ratio(won, named),
            balanced: recalls.iter().sum::<f64>() / recalls.len() as f64,
            coverage_at_97: curve.coverage_at(RIGHT),
            classified: said.classified.as_ref().map_or(f64::NAN, |_| ratio(classified.len(), scored.len())),
            right_of_classified: ratio(classified.iter().filter(|&&p| right(p)).count(), classified.len()),
            risk_coverage: curve.thinned(CURVE),
        });
    }
    RecordedRow { energies, pixels: scored.len(), methods, reliability }
}

/// The stack that a recording makes, as a live scan would have filled it.
pub(super) fn stack_of(recording: &Recording) -> Result<Stack, EvaluationError> {
    let mut stack = Stack::new(recording.plan.clone());
    stack.note_seq(0);
    for (seq, batch) in recording.batches() {
        stack.note_seq(seq);
        stack.push(seq, &batch)?;
    }
    Ok(stack)
}

/// A recording as optical densities, and the pixels that are scored.
pub(super) struct Images<'a> {
    references: &'a ReferenceSet,
    energies_ev: Vec<f64>,
    shape: [usize; 2],
    /// `[energy][pixel]`, NaN where there is none.
    pub(super) od: Vec<Vec<f64>>,
    pub(super) scored: Vec<usize>,
    /// Those whose edge jump is clear of the limit.
    pub(super) clear_of_limit: Vec<usize>,
}

impl<'a> Images<'a> {
    pub(super) fn new(recording: &Recording, references: &'a ReferenceSet) -> Result<Self, EvaluationError> {
        let plan = &recording.plan;
        if plan.detector.signal != Signal::Transmission {
            return Err(EvaluationError::Recording("the stack is not one of transmission".to_owned()));
        }
        let pixels = plan.grid.pixels();
        let value = |energy: usize, pixel: usize| {
            let plane = &recording.planes[energy].values;
            plane.get(pixel).map_or(f64::NAN, |value| f64::from(*value) - plan.dark())
        };
        let energies = recording.planes.len();
        let mean: Vec<f64> = (0..pixels)
            .map(|p| {
                let seen: Vec<f64> = (0..energies).map(|e| value(e, p)).filter(|v| !v.is_nan()).collect();
                seen.iter().sum::<f64>() / seen.len() as f64
            })
            .collect();
        let finite: Vec<f64> = mean.iter().copied().filter(|v| v.is_finite()).collect();
        let limit = quantile(&finite, 1.0 - BRIGHTEST);
        let bright: Vec<usize> = (0..pixels).filter(|&p| mean[p] >= limit).collect();
        let od: Vec<Vec<f64>> = (0..energies)
            .map(|e| {
                let seen: Vec<f64> = bright.iter().map(|&p| value(e, p)).filter(|v| !v.is_nan()).collect();
                let i0 = seen.iter().sum::<f64>() / seen.len() as f64;
                let od = |p: usize| if value(e, p) > 0.0 { (i0 / value(e, p)).ln() } else { f64::NAN };
                (0..pixels).map(od).collect()
            })
            .collect();
        let within = |window: crate::reference::Window| -> Vec<usize> {
            (0..energies).filter(|&e| window.contains(plan.energies_ev[e])).collect()
        };
        let (before, white) = (within(references.pre_edge), within(references.white_line));
        if before.is_empty() || white.is_empty() {
            let text = "the stack has no energy in the references' pre-edge or white-line window".to_owned();
            return Err(EvaluationError::Recording(text));
        }
        let over = |list: &[usize], p: usize| list.iter().map(|&e| od[e][p]).sum::<f64>() / list.len() as f64;
        let above = |limit: f64| -> Vec<usize> {
            (0..pixels).filter(|&p| over(&white, p) - over(&before, p) > limit).collect()
        };
        let (scored, clear_of_limit) = (above(EDGE_JUMP), above(EDGE_JUMP + CLEAR_OF_LIMIT));
        let (energies_ev, shape) = (plan.energies_ev.clone(), plan.grid.shape);
        Ok(Self { references, energies_ev, shape, od, scored, clear_of_limit })
    }

    /// Fits the references to each pixel of `od` at some energies.
    pub(super) fn fit(&self, od: &[Vec<f64>], indices: &[usize]) -> Amounts {
        let columns: Vec<Vec<f64>> = self
            .references
            .references
            .iter()
            .map(|r| indices.iter().map(|&e| od_near(r, self.energies_ev[e])).collect())
            .collect();
        let of_pixel = |pixel: usize| {
            let weights: Vec<f64> =
                indices.iter().map(|&e| if od[e][pixel].is_nan() { 0.0 } else { 1.0 }).collect();
            let x: Vec<f64> =
                indices.iter().map(|&e| if od[e][pixel].is_nan() { 0.0 } else { od[e][pixel] }).collect();
            let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            let amounts = Moments::new(&x, &weights, &columns).fit().amounts;
            let mut order: Vec<usize> = (0..amounts.len()).collect();
            order.sort_by(|&a, &b| amounts[b].total_cmp(&amounts[a]));
            (order[0] as u8, amounts[order[0]] - amounts[order[1]], amounts[order[0]] + amounts[order[1]])
        };
        let fitted: Vec<(u8, f64, f64)> =
            (0..self.shape[0] * self.shape[1]).into_par_iter().map(of_pixel).collect();
        Amounts {
            phase: fitted.iter().map(|f| f.0).collect(),
            difference: fitted.iter().map(|f| f.1).collect(),
            sum: fitted.iter().map(|f| f.2).collect(),
        }
    }

    /// Pearson, the fit, and the fit after smoothing.
    fn baselines(&self, indices: &[usize]) -> Vec<Said> {
        let smooth: Vec<Vec<f64>> = self
            .od
            .par_iter()
            .enumerate()
            .map(|(e, plane)| if indices.contains(&e) { gaussian(plane, self.shape) } else { Vec::new() })
            .collect();
        let said = |method: &'static str, amounts: Amounts| Said {
            method,
            phase: amounts.phase,
            sureness: amounts.difference.iter().map(|d| *d as f32).collect(),
            classified: None,
        };
        vec![
            self.pearson(indices),
            said("fit", self.fit(&self.od, indices)),
            said("smoothed_fit", self.fit(&smooth, indices)),
        ]
    }

    fn pearson(&self, indices: &[usize]) -> Said {
        let energies_ev: Vec<f64> = indices.iter().map(|&e| self.energies_ev[e]).collect();
        let shapes = Shapes::new(self.references, &energies_ev, 0.0);
        let of_pixel = |scratch: &mut Scratch, pixel: usize| {
            let od: Vec<f32> = indices.iter().map(|&e| self.od[e][pixel] as f32).collect();
            if !scratch.project(&od, &vec![1.0; od.len()], &shapes, false) {
                return (NO_PHASE, f32::NAN);
            }
            let mut sorted = scratch.projection.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            (scratch.best(), ((sorted[0] - sorted[1]) / scratch.flat_chi2.sqrt().max(1e-12)) as f32)
        };
        let pixels = self.shape[0] * self.shape[1];
        let all: Vec<(u8, f32)> = (0..pixels).into_par_iter().map_init(Scratch::default, of_pixel).collect();
        let (phase, sureness) = all.into_iter().unzip();
        Said { method: "pearson", phase, sureness, classified: None }
    }

    /// The model alone, with the daemon's optical densities.
    fn gmvae(
        &self,
        subject: &mut Subject,
        indices: &[usize],
        stack: &Stack,
    ) -> Result<Option<Said>, EvaluationError> {
        let densities = methods::Densities::new(stack, &subject.recipe);
        let Some(oracle) = &mut subject.oracle else { return Ok(None) };
        debug_assert_eq!(densities.energies_ev.len(), indices.len());
        let pixels: Vec<usize> = (0..self.shape[0] * self.shape[1]).collect();
        let posteriors = methods::posteriors(&densities, &pixels, oracle).map_err(EvaluationError::Engine)?;
        let clusters = oracle.clusters().len().max(1);
        let phase = methods::winners(&posteriors, oracle.clusters(), self.references);
        let highest = |row: &[f32]| row.iter().copied().fold(f32::NAN, f32::max);
        let sureness = posteriors.chunks_exact(clusters).map(highest).collect();
        Ok(Some(Said { method: "gmvae", phase, sureness, classified: None }))
    }
}

/// A plane after a Gaussian; the field is mirrored at its edges, what has no value counts nothing.
fn gaussian(plane: &[f64], [ny, nx]: [usize; 2]) -> Vec<f64> {
    let (deviation, cut) = GAUSSIAN;
    let reach = (deviation * cut + 0.5) as isize;
    let kernel: Vec<f64> = (-reach..=reach).map(|i| (-0.5 * (i as f64 / deviation).powi(2)).exp()).collect();
    let mirrored = |i: isize, n: usize| {
        let period = 2 * n as isize;
        let i = i.rem_euclid(period);
        (if i < n as isize { i } else { period - 1 - i }) as usize
    };
    let along = |values: &[f64], weights: &[f64], index: &dyn Fn(usize, isize) -> usize| {
        let pass = |list: &[f64]| -> Vec<f64> {
            (0..list.len())
                .map(|p| kernel.iter().zip(-reach..).map(|(k, i)| k * list[index(p, i)]).sum())
                .collect()
        };
        (pass(values), pass(weights))
    };
    let values: Vec<f64> = plane.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
    let weights: Vec<f64> = plane.iter().map(|v| if v.is_nan() { 0.0 } else { 1.0 }).collect();
    let (values, weights) =
        along(&values, &weights, &|p, i| p / nx * nx + mirrored((p % nx) as isize + i, nx));
    let (values, weights) =
        along(&values, &weights, &|p, i| mirrored((p / nx) as isize + i, ny) * nx + p % nx);
    values.iter().zip(&weights).map(|(v, w)| if *w > 0.0 { v / w } else { f64::NAN }).collect()
}

#[cfg(test)]
mod tests;
