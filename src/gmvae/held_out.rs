//! What a trained model is worth on draws it never saw, beside the weighted fit: with references that are exact, and with a sample that
//! is off them (±0.1 eV per phase, ±10 % of amplitude and width, 0.03 eV of offset that remained).
//!
//! [`crate::evaluation`] does more of it, and independently; this is what goes into the model file and decides where it is asked.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::calibration::Calibration;
use super::candidate::Task;
use super::fit::{Fitted, fit};
use super::{Conditions, DAMAGED_FROM, Matter, PURE_SHARE, TrainError, even};
use crate::model::{Batch, CompetenceCell, Model, Output, Projection};

const COUNTS: [f64; 4] = [300.0, 1000.0, 3000.0, 10_000.0];
const ENERGIES: [usize; 3] = [8, 12, 30];
/// Pixels of one phase in a cell, and as many mixtures, at effort 1 and above; fewer below, down to a tenth.
const PIXELS: f64 = 1500.0;
/// Evidence below which a pixel is ambiguous.
const AMBIGUOUS: f64 = 9.0;
/// Added to the seed, so that nothing is drawn twice.
const SEED_SHIFT: u64 = 0x4e1d_0000;

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeldOutCell {
    /// Incident counts.
    pub counts: f64,
    /// Number of energies, evenly spaced where the references differ.
    pub energies: usize,
    /// Whether the sample is off the references.
    pub mismatched: bool,
    /// Pixels of one phase.
    pub pixels: usize,
    /// Share of them whose best weighted fit is their phase.
    pub fit: f64,
    /// Share of them whose most probable phase is.
    pub gmvae: f64,
    /// How many of them are ambiguous: evidence below 9 between the two best fits.
    pub ambiguous: usize,
    /// Share right of the ambiguous, of the fit.
    pub ambiguous_fit: f64,
    /// Share right of the ambiguous, of the model.
    pub ambiguous_gmvae: f64,
    /// Of mixtures (30 to 70 %) and pure pixels in equal parts, the share that the fit of two references calls rightly.
    pub mixtures_fit: f64,
    /// Same of the model.
    pub mixtures_gmvae: f64,
}

/// How well foreign spectra are told from known ones, 3000 counts and 30 energies: area under the curve of hits against false alarms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Foreign {
    /// Whether the known ones are off the references.
    pub mismatched: bool,
    /// By the log density alone.
    pub log_density: f64,
    /// By the probability of the foreign cluster alone.
    pub probability: f64,
    /// By the log odds of the foreign cluster less the log density.
    pub both: f64,
}

/// What a model is worth on draws it never saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// Seed of the draws.
    pub seed: u64,
    /// Accuracies.
    pub cells: Vec<HeldOutCell>,
    /// Foreign spectra, references exact and off.
    pub foreign: Vec<Foreign>,
    /// Expected calibration error of the most probable cluster over all of counts, energies and matter, references exact.
    pub calibration_error_exact: f64,
    /// Same, with a sample that is off the references.
    pub calibration_error_mismatched: f64,
    /// Median log density of known spectra of 3000 counts by number of energies: it should not depend on it much.
    pub log_density_by_energies: Vec<(usize, f64)>,
}

impl HeldOut {
    /// What the model file says of it: exact and mismatched draws together.
    pub(super) fn competence(&self) -> Vec<CompetenceCell> {
        let mut cells: Vec<CompetenceCell> = Vec::new();
        for a in self.cells.iter().filter(|cell| !cell.mismatched) {
            let same = |b: &&HeldOutCell| b.mismatched && b.counts == a.counts && b.energies == a.energies;
            let Some(b) = self.cells.iter().find(same) else { continue };
            let pixels = a.ambiguous + b.ambiguous;
            let mean =
                |x: f64, y: f64| (x * a.ambiguous as f64 + y * b.ambiguous as f64) / pixels.max(1) as f64;
            cells.push(CompetenceCell {
                counts: a.counts,
                energies: a.energies,
                pixels,
                gmvae: rounded(mean(a.ambiguous_gmvae, b.ambiguous_gmvae)),
                fit: rounded(mean(a.ambiguous_fit, b.ambiguous_fit)),
                mixtures_gmvae: Some(rounded(0.5 * (a.mixtures_gmvae + b.mixtures_gmvae))),
                mixtures_fit: Some(rounded(0.5 * (a.mixtures_fit + b.mixtures_fit))),
            });
        }
        cells
    }
}

fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// Measures `model`.
pub(super) fn measure(task: &Task<'_>, model: &mut Model) -> Result<HeldOut, TrainError> {
    let seed = task.seed.wrapping_add(SEED_SHIFT);
    let pixels = (PIXELS * task.effort.clamp(0.1, 1.0)) as usize;
    let mut bench = Bench { task, model, pixels, rng: ChaCha8Rng::seed_from_u64(seed) };
    let mut held_out = HeldOut {
        seed,
        cells: Vec::new(),
        foreign: Vec::new(),
        calibration_error_exact: bench.calibration(false)?,
        calibration_error_mismatched: bench.calibration(true)?,
        log_density_by_energies: Vec::new(),
    };
    for mismatched in [false, true] {
        for energies in ENERGIES {
            for counts in COUNTS {
                held_out.cells.push(bench.cell(counts, energies, mismatched)?);
            }
        }
        held_out.foreign.push(bench.foreign(mismatched)?);
    }
    for energies in [8, 12, 30, 75, 150] {
        held_out.log_density_by_energies.push((energies, bench.median_density(energies)?));
    }
    Ok(held_out)
}

struct Bench<'a> {
    task: &'a Task<'a>,
    model: &'a mut Model,
    pixels: usize,
    rng: ChaCha8Rng,
}

/// Pixels, what the fits say of them, and what the model does.
struct Answers {
    fitted: Vec<Option<Fitted>>,
    output: Output,
}

impl Bench<'_> {
    fn energies(&self, energies: usize) -> Vec<f64> {
        let (from_ev, to_ev) = self.task.synthesis.telling_range_ev();
        even(from_ev, to_ev, energies)
    }

    /// Measures pixels; with `fits`, fits them, too.
    fn ask(
        &mut self,
        (counts, energies, mismatched): (f64, usize, bool),
        matter: &[Matter],
        fits: bool,
    ) -> Result<Answers, TrainError> {
        let energies_ev = self.energies(energies);
        let projection = Projection::new(self.task.axis, &energies_ev)
            .map_err(|error| TrainError::Axis(error.to_string()))?;
        let curves = &self.task.synthesis.curves.curves;
        let shapes: Vec<Vec<f64>> = curves
            .iter()
            .map(|curve| energies_ev.iter().map(|&e| f64::from(curve.at(e, 0.0))).collect())
            .collect();
        let mut batch = Batch::with_capacity(self.task.axis, matter.len());
        let mut fitted = Vec::with_capacity(matter.len());
        for &matter in matter {
            // A pixel without three values is no pixel: it is drawn again.
            for _ in 0..10 {
                let conditions = if mismatched {
                    Conditions::of_mismatch(&mut self.rng, counts)
                } else {
                    Conditions::of_test(&mut self.rng, counts, 0.0)
                };
                let (od, sigma) =
                    self.task.synthesis.measure(&mut self.rng, matter, &conditions, &energies_ev);
                if batch.push(&projection, &od, &sigma) {
                    fitted.push(if fits { fit(&shapes, &od, &sigma) } else { None });
                    break;
                }
            }
        }
        if batch.len() != matter.len() {
            return Err(TrainError::Axis(format!("{energies} energies reach under 3 of its channels")));
        }
        let output = self.model.run(&batch)?;
        Ok(Answers { fitted, output })
    }

    fn cell(&mut self, counts: f64, energies: usize, mismatched: bool) -> Result<HeldOutCell, TrainError> {
        let phases = self.task.synthesis.phases();
        let pixels = self.pixels;
        let mut matter: Vec<Matter> = (0..pixels).map(|i| Matter::Phase(i % phases)).collect();
        for i in 0..pixels {
            let first = i % phases;
            let second = (first + self.rng.random_range(1..phases)) % phases;
            matter.push(Matter::Mixture(first, second, self.rng.random_range(0.3..0.7)));
        }
        let answers = self.ask((counts, energies, mismatched), &matter, true)?;
        let share = |pixels: &[usize], right: &dyn Fn(usize) -> bool| {
            pixels.iter().filter(|&&i| right(i)).count() as f64 / pixels.len().max(1) as f64
        };
        let pure: Vec<usize> = (0..pixels).collect();
        let mixed: Vec<usize> = (pixels..2 * pixels).collect();
        let open = |i: &usize| answers.fitted[*i].is_some_and(|f| f.evidence < AMBIGUOUS);
        let ambiguous: Vec<usize> = pure.iter().copied().filter(open).collect();
        let by_fit = |i: usize| answers.fitted[i].is_some_and(|f| f.phase == i % phases);
        let by_model = |i: usize| winner(&answers.output.posterior_of(i)[..phases]) == i % phases;
        let fit_mixed = |i: usize| answers.fitted[i].is_some_and(|f| f.mixture);
        let model_mixed = |i: usize| winner(answers.output.posterior_of(i)) == phases;
        let balanced =
            |mixture: &dyn Fn(usize) -> bool| 0.5 * (share(&mixed, mixture) + 1.0 - share(&pure, mixture));
        Ok(HeldOutCell {
            counts,
            energies,
            mismatched,
            pixels,
            fit: share(&pure, &by_fit),
            gmvae: share(&pure, &by_model),
            ambiguous: ambiguous.len(),
            ambiguous_fit: share(&ambiguous, &by_fit),
            ambiguous_gmvae: share(&ambiguous, &by_model),
            mixtures_fit: balanced(&fit_mixed),
            mixtures_gmvae: balanced(&model_mixed),
        })
    }

    /// Matter as in training, and its cluster.
    fn matter(&mut self, foreign: bool) -> (Matter, usize) {
        let phases = self.task.synthesis.phases();
        let phase = self.rng.random_range(0..phases);
        match self.rng.random_range(0..if foreign { 100 } else { 88 }) {
            0..52 => (Matter::Phase(phase), phase),
            52..80 => {
                let other = (phase + self.rng.random_range(1..phases)) % phases;
                let share = self.rng.random_range(0.5..1.0);
                (Matter::Mixture(phase, other, share), if share > PURE_SHARE { phase } else { phases })
            }
            80..88 => {
                let extent = self.rng.random_range(0.1..1.0);
                (Matter::Damaged(phase, extent), if extent > DAMAGED_FROM { phases + 1 } else { phase })
            }
            _ => (Matter::Foreign, phases + 2),
        }
    }

    fn calibration(&mut self, mismatched: bool) -> Result<f64, TrainError> {
        let mut calibration = Calibration::default();
        for counts in COUNTS {
            for energies in [8, 12, 30, 75] {
                let drawn: Vec<(Matter, usize)> = (0..self.pixels / 5).map(|_| self.matter(true)).collect();
                let matter: Vec<Matter> = drawn.iter().map(|d| d.0).collect();
                let answers = self.ask((counts, energies, mismatched), &matter, false)?;
                for (row, (_, label)) in drawn.iter().enumerate() {
                    calibration.push(answers.output.posterior_of(row), *label);
                }
            }
        }
        Ok(calibration.error())
    }

    fn foreign(&mut self, mismatched: bool) -> Result<Foreign, TrainError> {
        let known: Vec<Matter> = (0..self.pixels).map(|_| self.matter(false).0).collect();
        let foreign = vec![Matter::Foreign; self.pixels];
        let known = self.ask((3000.0, 30, mismatched), &known, false)?.output;
        let foreign = self.ask((3000.0, 30, mismatched), &foreign, false)?.output;
        let density = |output: &Output, row: usize| {
            output.log_density.as_ref().map_or(0.0, |list| f64::from(list[row]))
        };
        let odds = |output: &Output, row: usize| {
            let p = output.posterior_of(row).last().map_or(0.0, |p| f64::from(*p));
            (p + 1e-9).ln() - (1.0 - p + 1e-9).ln()
        };
        let area = |score: &dyn Fn(&Output, usize) -> f64| {
            let scores =
                |output: &Output| (0..output.rows).map(|row| score(output, row)).collect::<Vec<f64>>();
            area_under_curve(&scores(&foreign), &scores(&known))
        };
        Ok(Foreign {
            mismatched,
            log_density: area(&|output, row| -density(output, row)),
            probability: area(&odds),
            both: area(&|output, row| odds(output, row) - density(output, row)),
        })
    }

    fn median_density(&mut self, energies: usize) -> Result<f64, TrainError> {
        let known: Vec<Matter> = (0..self.pixels / 5).map(|_| self.matter(false).0).collect();
        let output = self.ask((3000.0, energies, false), &known, false)?.output;
        let mut list = output.log_density.unwrap_or_default();
        list.sort_by(f32::total_cmp);
        Ok(list.get(list.len() / 2).map_or(f64::NAN, |v| rounded(f64::from(*v))))
    }
}

fn winner(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0)
}

/// Probability that a positive scores above a negative; ties count half.
fn area_under_curve(positive: &[f64], negative: &[f64]) -> f64 {
    let mut sorted = negative.to_vec();
    sorted.sort_by(f64::total_cmp);
    let above = |score: &f64| {
        let below = sorted.partition_point(|v| v < score);
        let equal = sorted[below..].partition_point(|v| v <= score);
        below as f64 + 0.5 * equal as f64
    };
    positive.iter().map(above).sum::<f64>() / (positive.len() * negative.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_under_the_curve_counts_pairs() {
        assert_eq!(area_under_curve(&[2.0, 3.0], &[0.0, 1.0]), 1.0);
        assert_eq!(area_under_curve(&[0.0, 3.0], &[1.0, 2.0]), 0.5);
        assert_eq!(area_under_curve(&[1.0], &[1.0]), 0.5);
    }
}
