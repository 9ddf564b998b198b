//! Energies that a plan has more than once: they are one energy, measured again.
//!
//! Two entries of a plan within [`REPEAT_EV`] are repeats of each other: sentinels, or the same energy at other
//! pixels. A pixel's values at them are averaged with weights 1/variance and stand, with the variance of that mean,
//! at the first of them; so a repeat adds precision, but neither another energy nor another vote in a correlation. A
//! pixel that was measured at one of them only has that one.
//!
//! [`Repeats`] says which entries belong together; [`RunningMeans`] keeps the means of a growing map.

/// Entries of a plan closer than this are the same energy, eV: no scan has steps so fine.
pub(super) const REPEAT_EV: f64 = 0.01;

/// For each entry of a plan with these set-points the first entry of the same energy.
#[must_use]
pub fn first_entries(energies_ev: &[f64]) -> Vec<usize> {
    let repeats = Repeats::of(energies_ev);
    (0..energies_ev.len()).map(|entry| repeats.first_of(entry)).collect()
}

/// Which entries of a plan are the same energy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    /// For each entry the first one of its energy; empty where no energy is there twice.
    first: Vec<usize>,
}

impl Repeats {
    /// Looks for them among the set-points of a plan.
    pub(super) fn of(energies_ev: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..energies_ev.len()).collect();
        order.sort_by(|&a, &b| energies_ev[a].total_cmp(&energies_ev[b]).then(a.cmp(&b)));
        let mut first: Vec<usize> = (0..energies_ev.len()).collect();
        let mut rest = order.as_slice();
        while let Some((&lowest, _)) = rest.split_first() {
            let same = rest.partition_point(|&e| energies_ev[e] - energies_ev[lowest] < REPEAT_EV).max(1);
            let (group, others) = rest.split_at(same);
            let earliest = group.iter().copied().min().unwrap_or(lowest);
            group.iter().for_each(|&entry| first[entry] = earliest);
            rest = others;
        }
        let any = first.iter().enumerate().any(|(entry, &first)| entry != first);
        Self { first: if any { first } else { Vec::new() } }
    }

    /// Whether no energy is there twice.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first entry of the energy of `entry`.
    #[inline]
    pub(super) fn first_of(&self, entry: usize) -> usize {
        self.first.get(entry).copied().unwrap_or(entry)
    }

    /// Whether the energy of `entry` is there more than once.
    fn is_repeated(&self, entry: usize) -> bool {
        let first = self.first_of(entry);
        !self.is_empty() && self.first.iter().filter(|&&other| other == first).count() > 1
    }
}

/// Values of some pixels at one entry of the plan: before and now; NaN stands for none.
pub(super) struct Change<'a> {
    pub(super) old_od: &'a mut [f32],
    pub(super) old_variance: &'a mut [f32],
    pub(super) od: &'a mut [f32],
    pub(super) variance: &'a mut [f32],
}

/// The means over repeats, pixel by pixel, as values come, go and change. It takes memory for energies that are there
/// more than once only.
#[derive(Debug, Default)]
pub(super) struct RunningMeans {
    repeats: Repeats,
    pixels: usize,
    /// By the first entry of each repeated energy: sum of the weights, weighted sum of the values, and number of them.
    sums: Vec<Vec<(f64, f64, u16)>>,
    /// By pixel: how many values are repeats of another one.
    excess: Vec<u16>,
}

impl RunningMeans {
    /// Nothing measured yet.
    pub(super) fn new(energies_ev: &[f64], pixels: usize) -> Self {
        let repeats = Repeats::of(energies_ev);
        let sums = if repeats.is_empty() { Vec::new() } else { vec![Vec::new(); energies_ev.len()] };
        let excess = if repeats.is_empty() { Vec::new() } else { vec![0; pixels] };
        Self { repeats, pixels, sums, excess }
    }

    /// How many values of a pixel are repeats of another one.
    #[inline]
    pub(super) fn excess(&self, pixel: usize) -> u16 {
        self.excess.get(pixel).copied().unwrap_or(0)
    }

    /// Takes in a change of the pixels from `start` on at an entry of the plan. Where its energy is there more than
    /// once, the change becomes that of the means. Returns the entry at which it stands.
    pub(super) fn take(&mut self, entry: usize, start: usize, change: Change<'_>) -> usize {
        if !self.repeats.is_repeated(entry) {
            return entry;
        }
        let first = self.repeats.first_of(entry);
        let sums = &mut self.sums[first];
        sums.resize(self.pixels, (0.0, 0.0, 0));
        for i in 0..change.od.len() {
            let (weight, sum, count) = sums[start + i];
            let (mut next_weight, mut next_sum, mut next_count) = (weight, sum, count);
            if !change.old_od[i].is_nan() {
                let w = 1.0 / f64::from(change.old_variance[i]);
                next_weight -= w;
                next_sum -= w * f64::from(change.old_od[i]);
                next_count -= 1;
            }
            if next_count == 0 {
                // What rounding left of sums of nothing.
                (next_weight, next_sum) = (0.0, 0.0);
            }
            if !change.od[i].is_nan() {
                let w = 1.0 / f64::from(change.variance[i]);
                next_weight += w;
                next_sum += w * f64::from(change.od[i]);
                next_count += 1;
            }
            sums[start + i] = (next_weight, next_sum, next_count);
            (change.old_od[i], change.old_variance[i]) = mean(weight, sum, count);
            (change.od[i], change.variance[i]) = mean(next_weight, next_sum, next_count);
            let excess = &mut self.excess[start + i];
            *excess = *excess + next_count.saturating_sub(1) - count.saturating_sub(1);
        }
        first
    }
}

fn mean(weight: f64, sum: f64, count: u16) -> (f32, f32) {
    if count == 0 { (f32::NAN, f32::NAN) } else { ((sum / weight) as f32, (1.0 / weight) as f32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::spectrum::Spectrum;
    use proptest::prelude::*;

    #[test]
    fn entries_within_a_hundredth_of_an_ev_are_one_energy() {
        let repeats = Repeats::of(&[515.0, 520.0, 515.004, 514.0, 519.995]);
        let first: Vec<usize> = (0..5).map(|entry| repeats.first_of(entry)).collect();
        assert_eq!(first, [0, 1, 0, 3, 1]);
        assert!(Repeats::of(&[1.0, 2.0, 3.0]).is_empty() && Repeats::of(&[]).is_empty());
        // A chain is not one energy from end to end.
        let chain = Repeats::of(&[1.0, 1.008, 1.016]);
        assert_eq!((chain.first_of(1), chain.first_of(2)), (0, 2));
    }

    proptest! {
        #[test]
        fn running_means_are_those_of_the_values(
            steps in prop::collection::vec((0_usize..6, 0_usize..3, prop::option::of((0.0_f32..3.0, 0.01_f32..1.0))), 1..60),
        ) {
            let energies_ev = [510.0, 515.0, 510.0, 520.0, 515.001, 510.0];
            let repeats = Repeats::of(&energies_ev);
            let mut means = RunningMeans::new(&energies_ev, 3);
            let mut held: Vec<[Option<(f32, f32)>; 3]> = vec![[None; 3]; 6];
            // What the sums of a map would hold: the last "new" mean, which must be the next "old" one.
            let mut shown = [[f32::NAN; 3]; 6];
            for (entry, pixel, value) in steps {
                let old = std::mem::replace(&mut held[entry][pixel], value);
                let of = |value: Option<(f32, f32)>| value.unwrap_or((f32::NAN, f32::NAN));
                let ((mut old_od, mut old_variance), (mut od, mut variance)) = (of(old), of(value));
                let change = Change {
                    old_od: std::slice::from_mut(&mut old_od), old_variance: std::slice::from_mut(&mut old_variance),
                    od: std::slice::from_mut(&mut od), variance: std::slice::from_mut(&mut variance),
                };
                let at = means.take(entry, pixel, change);
                prop_assert_eq!(at, repeats.first_of(entry));
                prop_assert_eq!(old_od.to_bits(), shown[at][pixel].to_bits());
                shown[at][pixel] = od;
                let mut spectrum = Spectrum::default();
                let values = (0..6).filter_map(|e| Some((e, held[e][pixel]?)));
                values.for_each(|(e, (od, v))| spectrum.add(repeats.first_of(e), od.into(), v.into()));
                let total = held.iter().filter(|held| held[pixel].is_some()).count();
                prop_assert_eq!(usize::from(means.excess(pixel)), total - spectrum.len());
                prop_assert!(spectrum.energies.is_sorted());
                for (e, (od, v)) in spectrum.energies.iter().zip(spectrum.od.iter().zip(&spectrum.variance)) {
                    prop_assert!((f64::from(shown[*e][pixel]) - od).abs() < 1e-5 && *v > 0.0);
                }
            }
        }
    }
}
