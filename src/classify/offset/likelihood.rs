//! How well each pixel is described by each reference at each offset.

use rayon::prelude::*;

use super::sample::Sample;
use crate::reference::ReferenceSet;

/// Steps toward the most likely shares of the phases.
const SHARE_STEPS: usize = 8;

/// The references on the energies of a scan, moved by offsets `centre + i·step`.
///
/// Where an offset moves an energy past the end of a reference, the value there is taken: the ends are flat.
#[derive(Clone, Debug)]
pub(super) struct ShiftedReferences {
    offsets: Vec<f64>,
    phases: usize,
    /// Optical density less the column's mean: `[energy * columns + offset * phases + phase]`.
    od: Vec<f64>,
}

impl ShiftedReferences {
    pub(super) fn new(
        references: &ReferenceSet,
        energies_ev: &[f64],
        centre_ev: f64,
        step_ev: f64,
        steps: usize,
    ) -> Self {
        let offsets: Vec<f64> =
            (0..=2 * steps).map(|i| centre_ev + (i as f64 - steps as f64) * step_ev).collect();
        let phases = references.len();
        let columns = offsets.len() * phases;
        let mut od = vec![0.0; energies_ev.len() * columns];
        for (row, &energy_ev) in od.chunks_exact_mut(columns.max(1)).zip(energies_ev) {
            for (at, &offset) in offsets.iter().enumerate() {
                for (k, reference) in references.references.iter().enumerate() {
                    row[at * phases + k] = reference.od_held_at(energy_ev + offset).unwrap_or(0.0);
                }
            }
        }
        for column in 0..columns {
            let values = || (0..energies_ev.len()).map(|e| e * columns + column);
            let mean = values().map(|i| od[i]).sum::<f64>() / energies_ev.len() as f64;
            values().for_each(|i| od[i] -= mean);
        }
        Self { offsets, phases, od }
    }
}

/// What the noise of a pixel is beyond that of its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// What the pixel's own fit leaves: a pixel that is described badly says little.
    Own,
    /// What half of the pixels' best fits leave, for all alike: references that miss do not silence their phases. From twice
    /// that on, chi² counts by its logarithm.
    Common,
}

/// chi² over its expectation from which it counts by its logarithm, with [`Form::Common`].
const KNEE: f64 = 2.0;

/// Log-likelihoods, with those of parts of the energies left out.
#[derive(Clone, Debug)]
pub(super) struct Table {
    offsets: Vec<f64>,
    phases: usize,
    /// `[pixel * columns + offset * phases + phase]`.
    each: Vec<f64>,
    /// Averaged over the phases: `[offset * pixels + pixel]`.
    marginal: Vec<f64>,
    pixels: usize,
}

impl Table {
    /// Fits every reference at every offset to every pixel.
    pub(super) fn new(sample: &Sample, shifted: &ShiftedReferences, form: Form) -> Self {
        Self::without(sample, shifted, form, |_| false)
    }

    /// The same, leaving out the energies for which `left_out` is true.
    pub(super) fn without(
        sample: &Sample,
        shifted: &ShiftedReferences,
        form: Form,
        left_out: impl Fn(usize) -> bool + Sync,
    ) -> Self {
        let (phases, n) = (shifted.phases, sample.energies());
        let (pixels, count) = (sample.pixels(), shifted.offsets.len());
        let columns = count * phases;
        let mut each = vec![0.0; pixels * columns];
        let mut freedoms = vec![0.0; pixels];
        each.par_chunks_mut(columns).zip(&mut freedoms).enumerate().for_each_init(
            || Sums::new(columns),
            |sums, (pixel, (each, freedom))| {
                let row = pixel * n..(pixel + 1) * n;
                *freedom = sums.fit(
                    shifted,
                    &sample.weight[row.clone()],
                    &sample.weighted_od[row],
                    sample.sums[pixel],
                    &left_out,
                    each,
                );
            },
        );
        let scale = least_ratio(&each, columns);
        let log: fn(f64, f64) -> f64 = match form {
            Form::Own => own_log_likelihood,
            Form::Common => common_log_likelihood,
        };
        let unit = if form == Form::Common { scale } else { 1.0 };
        each.par_chunks_mut(columns)
            .zip(&freedoms)
            .for_each(|(row, &freedom)| row.iter_mut().for_each(|v| *v = log(*v / unit, freedom)));
        let marginal = (0..count)
            .into_par_iter()
            .flat_map_iter(|offset| average(&each, columns, offset * phases, phases))
            .collect();
        Self { offsets: shifted.offsets.clone(), phases, each, marginal, pixels }
    }

    /// The offsets, eV.
    pub(super) fn offsets(&self) -> &[f64] {
        &self.offsets
    }

    /// Number of pixels.
    pub(super) fn pixels(&self) -> usize {
        self.pixels
    }

    /// Number of phases.
    pub(super) fn phases(&self) -> usize {
        self.phases
    }

    /// Log-likelihood of every pixel at one offset.
    pub(super) fn at(&self, offset: usize) -> &[f64] {
        &self.marginal[offset * self.pixels..(offset + 1) * self.pixels]
    }

    /// Log-likelihood of one pixel, given the phase, at an offset.
    pub(super) fn of_phase(&self, pixel: usize, phase: usize, offset: usize) -> f64 {
        self.each[(pixel * self.offsets.len() + offset) * self.phases + phase]
    }

    /// The phase that suits a pixel best at an offset; of equal ones the first.
    pub(super) fn best_phase(&self, pixel: usize, offset: usize) -> usize {
        let of = |phase: usize| self.of_phase(pixel, phase, offset);
        (1..self.phases).fold(0, |best, phase| if of(phase) > of(best) { phase } else { best })
    }

    /// Summed over the pixels, in their order.
    pub(super) fn total(&self) -> Vec<f64> {
        (0..self.offsets.len()).map(|offset| self.at(offset).iter().sum()).collect()
    }
}

/// Room for the sums of one pixel over its energies.
struct Sums {
    wr: Vec<f64>,
    wrr: Vec<f64>,
    wxr: Vec<f64>,
}

impl Sums {
    fn new(columns: usize) -> Self {
        Self { wr: vec![0.0; columns], wrr: vec![0.0; columns], wxr: vec![0.0; columns] }
    }

    /// Writes chi² over its degrees of freedom of each column into `out`; returns these.
    fn fit(
        &mut self,
        shifted: &ShiftedReferences,
        weight: &[f64],
        weighted_od: &[f64],
        (mut total, mut squares, mut count): (f64, f64, f64),
        left_out: &impl Fn(usize) -> bool,
        out: &mut [f64],
    ) -> f64 {
        let columns = out.len();
        let Self { wr, wrr, wxr } = self;
        wr.fill(0.0);
        wrr.fill(0.0);
        wxr.fill(0.0);
        // The mean that was taken out is that of all energies; with some left out there is a rest.
        let mut rest = 0.0;
        for (e, reference) in shifted.od.chunks_exact(columns).enumerate() {
            let (w, wx) = (weight[e], weighted_od[e]);
            if w == 0.0 {
                continue;
            }
            if left_out(e) {
                total -= w;
                squares -= wx * wx / w;
                count -= 1.0;
                rest -= wx;
                continue;
            }
            for c in 0..columns {
                let r = reference[c];
                wr[c] += w * r;
                wrr[c] += w * r * r;
                wxr[c] += wx * r;
            }
        }
        let c_xx = squares - rest * rest / total;
        let freedom = (count - 3.0).max(1.0);
        for c in 0..columns {
            let c_rr = wrr[c] - wr[c] * wr[c] / total;
            let c_xr = (wxr[c] - wr[c] * rest / total).max(0.0);
            let explained = if c_rr > 1e-12 * total { c_xr * c_xr / c_rr } else { 0.0 };
            let chi2 = (c_xx - explained).max(0.0);
            out[c] = chi2 / freedom;
        }
        freedom
    }
}

/// The median over the pixels of the least ratio of each; at least 1.
fn least_ratio(ratios: &[f64], columns: usize) -> f64 {
    let least = |row: &[f64]| row.iter().copied().fold(f64::INFINITY, f64::min);
    let mut sorted: Vec<f64> = ratios.chunks_exact(columns).map(least).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).map_or(1.0, |ratio| ratio.max(1.0))
}

/// Normal as far as chi² is what noise explains; beyond, that of a pixel whose noise is as large as its misfit.
fn own_log_likelihood(ratio: f64, freedom: f64) -> f64 {
    if ratio <= 1.0 { 0.5 * freedom * (1.0 - ratio) } else { -0.5 * freedom * ratio.ln() }
}

/// Normal up to [`KNEE`], in the unit of all pixels.
fn common_log_likelihood(ratio: f64, freedom: f64) -> f64 {
    let counted = if ratio <= KNEE { ratio } else { KNEE * (1.0 + (ratio / KNEE).ln()) };
    -0.5 * freedom * counted
}

/// For one offset: the logarithm of each pixel's likelihood, averaged over the phases with the shares that make
/// all pixels together most likely.
fn average(each: &[f64], columns: usize, first: usize, phases: usize) -> Vec<f64> {
    let pixels = each.len() / columns;
    let mut tops = Vec::with_capacity(pixels);
    let mut likelihood = vec![0.0; pixels * phases];
    for (pixel, row) in likelihood.chunks_exact_mut(phases).enumerate() {
        let each = &each[pixel * columns + first..pixel * columns + first + phases];
        let top = each.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        tops.push(top);
        for (value, log) in row.iter_mut().zip(each) {
            *value = (log - top).exp();
        }
    }
    let mut shares = vec![1.0 / phases as f64; phases];
    let mut sums = vec![0.0; phases];
    for _ in 0..SHARE_STEPS {
        // Each phase keeps one pixel's worth, so that none is ruled out.
        sums.fill(1.0 / phases as f64);
        for row in likelihood.chunks_exact(phases) {
            let total: f64 = row.iter().zip(&shares).map(|(value, share)| value * share).sum();
            for ((sum, value), share) in sums.iter_mut().zip(row).zip(&shares) {
                *sum += value * share / total;
            }
        }
        for (share, sum) in shares.iter_mut().zip(&sums) {
            *share = sum / (pixels as f64 + 1.0);
        }
    }
    let mean = |row: &[f64]| row.iter().zip(&shares).map(|(value, share)| value * share).sum::<f64>();
    likelihood.chunks_exact(phases).zip(tops).map(|(row, top)| top + mean(row).ln()).collect()
}
