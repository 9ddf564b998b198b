//! Mixtures, pair by pair: whether the right two are found, or what the pixels are called instead.
//!
//! Which pairs can be found at all is told by distances in chi², without noise, at the noise of the cell and a thickness of 1.2: that of
//! the mixture to the nearest single reference, and to the nearest other pair, each with free amounts that are not negative and a free
//! constant, the smallest over shares of 0.3 to 0.7. A pair is separable where the nearest single reference is at least 16 away: an ideal
//! method then knows that it is a mixture, at 4 standard deviations. Which mixture is another question: at a distance d² of the nearest
//! other pair even an ideal method takes the wrong one in Φ(-d/2) of the pixels, 13 % at a chi² of 5. So there is also a
//! yardstick on the same pixels, `pair_fit`: the best pair by chi² after the offset was estimated, if it is better by 9 than any single.

use serde::Serialize;

use super::EvaluationError;
use super::draw::{Conditions, Drawer, ScanDraw, Truth};
use super::methods::{self, Scratch, Shapes};
use super::metrics::ratio;
use super::nonnegative::Moments;
use super::subject::{Readings, Subject};
use crate::classify::{Ambiguity, Status};
use crate::reference::ReferenceSet;

/// Least distance, chi², of a separable pair.
const SEPARABLE: f64 = 16.0;
const THICKNESS: f64 = 1.2;
const SHARES: [f64; 5] = [0.3, 0.4, 0.5, 0.6, 0.7];

/// What becomes of the mixtures of one pair; shares of its pixels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairRow {
    /// How the scans were drawn.
    pub conditions: Conditions,
    /// The two phases.
    pub pair: [String; 2],
    /// Pixels.
    pub pixels: usize,
    /// Called a mixture of the right two.
    pub found: f64,
    /// Called a mixture of others.
    pub other_pair: f64,
    /// Called one phase, which is neither of the two.
    pub called_third: f64,
    /// Called one phase, one of the two.
    pub called_one_of_two: f64,
    /// Called indistinguishable, and neither reading taken is the right pair.
    pub indistinguishable: f64,
    /// Called indistinguishable, whichever reading was taken, with the right pair among the two that are named.
    pub both_named: f64,
    /// Ambiguous for another reason.
    pub ambiguous: f64,
    /// Called unknown.
    pub unknown: f64,
    /// Whose best guess by Pearson is neither of the two.
    pub pearson_third: f64,
    /// Found by the yardstick, `pair_fit`.
    pub pair_fit_found: f64,
    /// Root mean square error of the share, of those found.
    pub share_error: f64,
    /// Root mean square of that error over the error that is told: 1 where it is told rightly.
    pub share_pull: f64,
    /// Distance to the nearest single reference, chi².
    pub single_chi2: f64,
    /// Which that is.
    pub nearest_single: String,
    /// Distance to the nearest other pair, chi².
    pub pair_chi2: f64,
    /// Which that is.
    pub nearest_pair: [String; 2],
    /// Whether the nearest single reference is at least 16 away.
    pub separable: bool,
}

/// The mixtures of one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixtureCell {
    /// How the scans were drawn.
    pub conditions: Conditions,
    /// Share of the pure pixels of the same scans that are called a mixture.
    pub false_mixture: f64,
    /// Share of them that the yardstick takes for one.
    pub pair_fit_false: f64,
    /// One row per pair.
    pub pairs: Vec<PairRow>,
}

#[derive(Clone, Default)]
struct Tally {
    pixels: usize,
    found: usize,
    other_pair: usize,
    called_third: usize,
    called_one_of_two: usize,
    indistinguishable: usize,
    both_named: usize,
    ambiguous: usize,
    unknown: usize,
    pearson_third: usize,
    pair_fit_found: usize,
    square: f64,
    pull: (f64, usize),
}

impl Tally {
    fn add(&mut self, scan: &ScanDraw, readings: &Readings, index: usize) {
        let (map, pixel) = (&readings.map, readings.pixels[index]);
        let Truth::Mixture { pair, share } = scan.truth[pixel] else { return };
        let named = [map.phase[pixel], map.runner_up[pixel]];
        let [first, second] = named;
        self.pixels += 1;
        let [a, b, c, d] = map.readings[pixel];
        let is_right = |one: u8, two: u8| pair == [one, two] || pair == [two, one];
        let named_both =
            map.ambiguity[pixel] == Ambiguity::Indistinguishable && (is_right(a, b) || is_right(c, d));
        self.both_named += usize::from(named_both);
        let pearson = readings.named[0].as_ref().map_or(first, |named| named[index]);
        self.pearson_third += usize::from(!pair.contains(&pearson));
        match map.status[pixel] {
            Status::Mixture if named == pair || [second, first] == pair => {
                self.found += 1;
                let told = if first == pair[0] { map.share[pixel] } else { 1.0 - map.share[pixel] };
                let error = f64::from(told - share);
                self.square += error * error;
                let sigma = f64::from(map.share_error[pixel]);
                if sigma > 0.0 {
                    self.pull = (self.pull.0 + (error / sigma).powi(2), self.pull.1 + 1);
                }
            }
            _ if map.ambiguity[pixel] == Ambiguity::Indistinguishable => self.indistinguishable += 1,
            Status::Mixture => self.other_pair += 1,
            Status::Classified if pair.contains(&first) => self.called_one_of_two += 1,
            Status::Classified => self.called_third += 1,
            Status::Unknown => self.unknown += 1,
            _ => self.ambiguous += 1,
        }
    }
}

/// Measures the mixtures of one cell.
pub(super) fn measure(
    subject: &mut Subject,
    drawer: &Drawer<'_>,
    conditions: Conditions,
    seeds: &[u64],
    tick: &mut dyn FnMut(),
) -> Result<MixtureCell, EvaluationError> {
    let phases = subject.recipe.references.len();
    let pairs: Vec<[u8; 2]> =
        (0..phases).flat_map(|a| (a + 1..phases).map(move |b| [a as u8, b as u8])).collect();
    let mut tallies = vec![Tally::default(); pairs.len()];
    let mut pure = (0, 0, 0);
    for &seed in seeds {
        let scan = drawer.draw(&conditions, seed)?;
        let readings = subject.read(&scan, false)?;
        let fitted = methods::best_pairs(&readings.densities, &readings.pixels, &readings.shifted);
        for (index, &pixel) in readings.pixels.iter().enumerate() {
            match scan.truth[pixel] {
                Truth::Mixture { pair, .. } => {
                    if let Some(place) = pairs.iter().position(|p| *p == pair) {
                        tallies[place].add(&scan, &readings, index);
                        tallies[place].pair_fit_found += usize::from(fitted[index] == Some(pair));
                    }
                }
                _ => {
                    pure.0 += usize::from(readings.map.status[pixel] == Status::Mixture);
                    pure.1 += usize::from(fitted[index].is_some());
                    pure.2 += 1;
                }
            }
        }
        tick();
    }
    let references = &subject.recipe.references;
    let energies_ev = drawer.energies_ev(conditions.energies);
    let rows = pairs.iter().zip(tallies).map(|(&pair, tally)| {
        let nearest =
            Nearest::of(references, &energies_ev, conditions.counts, THICKNESS * drawer.thin(), pair);
        row(conditions, references, pair, &tally, &nearest)
    });
    Ok(MixtureCell {
        conditions,
        false_mixture: ratio(pure.0, pure.2),
        pair_fit_false: ratio(pure.1, pure.2),
        pairs: rows.collect(),
    })
}

fn row(
    conditions: Conditions,
    references: &ReferenceSet,
    pair: [u8; 2],
    tally: &Tally,
    nearest: &Nearest,
) -> PairRow {
    let id = |phase: u8| references.references[usize::from(phase)].label.id.clone();
    let share = |part: usize| ratio(part, tally.pixels);
    PairRow {
        conditions,
        pair: pair.map(id),
        pixels: tally.pixels,
        found: share(tally.found),
        other_pair: share(tally.other_pair),
        called_third: share(tally.called_third),
        called_one_of_two: share(tally.called_one_of_two),
        indistinguishable: share(tally.indistinguishable),
        both_named: share(tally.both_named),
        ambiguous: share(tally.ambiguous),
        unknown: share(tally.unknown),
        pearson_third: share(tally.pearson_third),
        pair_fit_found: share(tally.pair_fit_found),
        share_error: (tally.square / tally.found as f64).sqrt(),
        share_pull: (tally.pull.0 / tally.pull.1 as f64).sqrt(),
        single_chi2: nearest.single.0,
        nearest_single: id(nearest.single.1),
        pair_chi2: nearest.pair.0,
        nearest_pair: nearest.pair.1.map(id),
        separable: nearest.single.0 >= SEPARABLE,
    }
}

/// The readings nearest to a mixture, and their distances in chi².
struct Nearest {
    single: (f64, u8),
    pair: (f64, [u8; 2]),
}

impl Nearest {
    fn of(
        references: &ReferenceSet,
        energies_ev: &[f64],
        counts: f64,
        thickness: f64,
        pair: [u8; 2],
    ) -> Self {
        let phases = references.len();
        let shapes = Shapes::new(references, energies_ev, 0.0);
        let columns: Vec<Vec<f64>> = (0..phases).map(|phase| shapes.column(phase)).collect();
        let (mut single, mut other) = ((f64::INFINITY, pair[0]), (f64::INFINITY, pair));
        let mut scratch = Scratch::default();
        for share in SHARES {
            let [a, b] = pair.map(|phase| &columns[usize::from(phase)]);
            let od: Vec<f64> =
                a.iter().zip(b).map(|(x, y)| thickness * (share * x + (1.0 - share) * y)).collect();
            let sigma: Vec<f64> = od.iter().map(|od| (od.exp() / counts).sqrt()).collect();
            let narrow = |list: &[f64]| -> Vec<f32> { list.iter().map(|v| *v as f32).collect() };
            if !scratch.project(&narrow(&od), &narrow(&sigma), &shapes, true) {
                continue;
            }
            for (phase, projection) in (0_u8..).zip(&scratch.projection) {
                let chi2 = (scratch.flat_chi2 - projection.max(0.0).powi(2)).max(0.0);
                if chi2 < single.0 {
                    single = (chi2, phase);
                }
            }
            let weights: Vec<f64> = sigma.iter().map(|s| 1.0 / (s * s)).collect();
            for i in 0..phases {
                for j in i + 1..phases {
                    let candidate = [i as u8, j as u8];
                    if candidate == pair {
                        continue;
                    }
                    let fit = Moments::new(&od, &weights, &[&columns[i], &columns[j]]).fit();
                    if fit.chi2 < other.0 {
                        other = (fit.chi2, candidate);
                    }
                }
            }
        }
        Self { single, pair: other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::nvpf::reference_set;

    #[test]
    fn neighbours_are_nearer_than_the_ends_and_distances_grow_with_counts() {
        let references = reference_set();
        let energies_ev = Drawer::new(&references).unwrap().energies_ev(30);
        let of = |counts: f64, pair: [u8; 2]| Nearest::of(&references, &energies_ev, counts, THICKNESS, pair);
        let (near, far) = (of(3000.0, [0, 1]), of(3000.0, [0, 4]));
        assert!(near.single.0 < far.single.0, "{} {}", near.single.0, far.single.0);
        let more = of(9000.0, [0, 4]);
        assert!((more.single.0 / far.single.0 - 3.0).abs() < 0.01, "chi2 is proportional to counts");
        // x = 3 with x = 2 is nearly x = 2.4.
        assert_eq!(of(3000.0, [0, 2]).single.1, 1);
    }
}
