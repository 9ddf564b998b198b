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

    fn columns(&self) -> usize {
        self.offsets.len() * self.phases
    }

    /// The columns at one energy.
    fn at(&self, energy: usize) -> &[f64] {
        &self.od[energy * self.columns()..(energy + 1) * self.columns()]
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
        let columns = shifted.columns();
        let mut each = vec![0.0; sample.pixels() * columns];
        let mut freedoms = vec![0.0; sample.pixels()];
        each.par_chunks_mut(columns).zip(&mut freedoms).enumerate().for_each_init(
            || Sums::new(columns),
            |sums, (pixel, (each, freedom))| {
                sums.clear();
                sample.values(pixel).for_each(|(e, w, wx)| sums.add(w, wx, shifted.at(e)));
                *freedom = sums.finish(each);
            },
        );
        Self::of(shifted, each, &freedoms, form)
    }

    /// The same with one part of the energies left out after the other: `part_of` tells which part of `parts` an energy belongs
    /// to.
    pub(super) fn leaving_out(
        sample: &Sample,
        shifted: &ShiftedReferences,
        form: Form,
        parts: usize,
        part_of: impl Fn(usize) -> usize + Sync,
    ) -> Vec<Self> {
        let columns = shifted.columns();
        let room = || (Sums::new(columns), vec![Sums::new(columns); parts]);
        // Per pixel: the ratios without each part, and the degrees of freedom.
        let pixels: Vec<(Vec<f64>, Vec<f64>)> = (0..sample.pixels())
            .into_par_iter()
            .map_init(room, |(whole, own), pixel| {
                own.iter_mut().for_each(Sums::clear);
                for (e, w, wx) in sample.values(pixel) {
                    own[part_of(e)].add(w, wx, shifted.at(e));
                }
                let mut ratios = vec![0.0; parts * columns];
                let rest = |(left_out, out): (usize, &mut [f64])| {
                    whole.clear();
                    let others = (0..parts).filter(|part| *part != left_out);
                    others.for_each(|part| whole.merge(&own[part]));
                    whole.finish(out)
                };
                let freedoms = ratios.chunks_exact_mut(columns).enumerate().map(rest).collect();
                (ratios, freedoms)
            })
            .collect();
        (0..parts)
            .map(|part| {
                let row = part * columns..(part + 1) * columns;
                let each = pixels.iter().flat_map(|(ratios, _)| &ratios[row.clone()]).copied().collect();
                let freedoms: Vec<f64> = pixels.iter().map(|(_, freedoms)| freedoms[part]).collect();
                Self::of(shifted, each, &freedoms, form)
            })
            .collect()
    }

    /// From chi² over its degrees of freedom, laid out as `each`.
    fn of(shifted: &ShiftedReferences, mut each: Vec<f64>, freedoms: &[f64], form: Form) -> Self {
        let (phases, columns, pixels) = (shifted.phases, shifted.columns(), freedoms.len());
        let scale = least_ratio(&each, columns);
        let log: fn(f64, f64) -> f64 = match form {
            Form::Own => own_log_likelihood,
            Form::Common => common_log_likelihood,
        };
        let unit = if form == Form::Common { scale } else { 1.0 };
        each.par_chunks_mut(columns)
            .zip(freedoms)
            .for_each(|(row, &freedom)| row.iter_mut().for_each(|v| *v = log(*v / unit, freedom)));
        let marginal = (0..shifted.offsets.len())
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

/// Sums of one pixel over energies.
#[derive(Clone)]
struct Sums {
    count: f64,
    w: f64,
    wx: f64,
    wxx: f64,
    /// Per column.
    wr: Vec<f64>,
    wrr: Vec<f64>,
    wxr: Vec<f64>,
}

impl Sums {
    fn new(columns: usize) -> Self {
        let none = vec![0.0; columns];
        Self { count: 0.0, w: 0.0, wx: 0.0, wxx: 0.0, wr: none.clone(), wrr: none.clone(), wxr: none }
    }

    fn clear(&mut self) {
        (self.count, self.w, self.wx, self.wxx) = (0.0, 0.0, 0.0, 0.0);
        [&mut self.wr, &mut self.wrr, &mut self.wxr].into_iter().for_each(|sums| sums.fill(0.0));
    }

    /// Adds an energy: weight, weighted value, the references.
    fn add(&mut self, w: f64, wx: f64, reference: &[f64]) {
        self.count += 1.0;
        self.w += w;
        self.wx += wx;
        self.wxx += wx * wx / w;
        let columns = self.wr.iter_mut().zip(&mut self.wrr).zip(&mut self.wxr);
        for (((wr, wrr), wxr), &r) in columns.zip(reference) {
            *wr += w * r;
            *wrr += w * r * r;
            *wxr += wx * r;
        }
    }

    /// Adds the sums over other energies.
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.w += other.w;
        self.wx += other.wx;
        self.wxx += other.wxx;
        let more = [&other.wr, &other.wrr, &other.wxr];
        for (own, more) in [&mut self.wr, &mut self.wrr, &mut self.wxr].into_iter().zip(more) {
            own.iter_mut().zip(more).for_each(|(own, more)| *own += more);
        }
    }

    /// Writes chi² over its degrees of freedom of each column into `out`; returns these.
    fn finish(&self, out: &mut [f64]) -> f64 {
        let (w, wx) = (self.w, self.wx);
        let c_xx = self.wxx - wx * wx / w;
        let freedom = (self.count - 3.0).max(1.0);
        if w <= 0.0 {
            // Nothing measured, nothing said.
            out.fill(1.0);
            return freedom;
        }
        for (out, ((wr, wrr), wxr)) in out.iter_mut().zip(self.wr.iter().zip(&self.wrr).zip(&self.wxr)) {
            let c_rr = wrr - wr * wr / w;
            let c_xr = (wxr - wr * wx / w).max(0.0);
            let explained = if c_rr > 1e-12 * w { c_xr * c_xr / c_rr } else { 0.0 };
            *out = (c_xx - explained).max(0.0) / freedom;
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
