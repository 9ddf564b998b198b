//! What a pixel may be made of: one phase, or two of them along the beam in one of several shares.
//!
//! The list of compositions is finite, so that probabilities over it can be computed exactly and passed from
//! pixel to pixel. All phases come first, then every pair with evenly spread shares: many shares where there are
//! few phases, few where there are many pairs.

/// One entry of the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Composition {
    /// The phases; twice the same for a pure one.
    pub pair: [u8; 2],
    /// Share of the first, 0 to 1; the rest is the second's.
    pub share: f32,
}

/// All compositions of a number of phases.
#[derive(Clone, Debug)]
pub struct Compositions {
    phases: usize,
    /// Shares of each pair.
    steps: usize,
    entries: Vec<Composition>,
    /// Half the sum of the absolute differences of the shares, 0 to 1: `[a * len + b]`.
    distance: Vec<f32>,
}

/// Shares of a pair: so many that the list stays below some hundred entries.
fn shares(phases: usize) -> usize {
    match phases {
        0..=3 => 19,
        4 => 9,
        5..=6 => 5,
        7..=8 => 3,
        _ => 1,
    }
}

impl Compositions {
    /// The compositions of `phases` phases.
    #[must_use]
    pub fn new(phases: usize) -> Self {
        let pure = (0..phases).map(|k| Composition { pair: [k as u8; 2], share: 1.0 });
        let steps = shares(phases);
        // From 0.2 to 0.8; with 19 shares from 0.05 to 0.95. What lies nearer to an end counts as pure.
        let (from, width) = if steps >= 19 { (0.05, 0.9) } else { (0.2, 0.6) };
        let share = move |step: usize| {
            if steps == 1 { 0.5 } else { from + width * step as f32 / (steps - 1) as f32 }
        };
        let pairs = (0..phases).flat_map(move |i| (i + 1..phases).map(move |j| [i as u8, j as u8]));
        let mixed =
            pairs.flat_map(move |pair| (0..steps).map(move |s| Composition { pair, share: share(s) }));
        let entries: Vec<Composition> = pure.chain(mixed).collect();
        let distance =
            entries.iter().flat_map(|a| entries.iter().map(move |b| half_difference(a, b, phases))).collect();
        Self { phases, steps, entries, distance }
    }

    /// Number of phases.
    #[must_use]
    pub fn phases(&self) -> usize {
        self.phases
    }

    /// The entries: first the pure ones, in the order of the phases.
    #[must_use]
    pub fn entries(&self) -> &[Composition] {
        &self.entries
    }

    /// Number of entries.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there are at least two phases")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries of the pair `i`, `j`, by their indices.
    ///
    /// # Panics
    /// When they are not two phases of the list.
    #[must_use]
    pub fn of_pair(&self, i: usize, j: usize) -> std::ops::Range<usize> {
        let (low, high) = (i.min(j), i.max(j));
        assert!(low < high && high < self.phases, "phases {i} and {j} are no pair");
        // Pairs come in the order (0, 1), (0, 2), .., (1, 2), ..
        let before = low * (2 * self.phases - low - 1) / 2 + high - low - 1;
        let first = self.phases + before * self.steps;
        first..first + self.steps
    }

    /// How far the shares of two entries lie apart, 0 (the same) to 1 (no phase in common).
    #[must_use]
    pub fn distance(&self, a: usize, b: usize) -> f32 {
        self.distance[a * self.len() + b]
    }

    /// Whether two entries have a phase in common.
    #[must_use]
    pub fn share_a_phase(&self, a: usize, b: usize) -> bool {
        let [a, b] = [self.entries[a].pair, self.entries[b].pair];
        a.iter().any(|phase| b.contains(phase))
    }
}

impl Composition {
    /// Whether it is one phase.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        self.pair[0] == self.pair[1]
    }

    /// Share of a phase.
    #[must_use]
    pub fn share_of(&self, phase: usize) -> f32 {
        let of = |own: u8, share: f32| if usize::from(own) == phase { share } else { 0.0 };
        of(self.pair[0], self.share) + of(self.pair[1], 1.0 - self.share)
    }

    /// What part of it counts as dominated by `phase`: 1 for the larger share, one half where both are equal.
    #[must_use]
    pub fn dominated_by(&self, phase: usize) -> f32 {
        let share = self.share_of(phase);
        if (share - 0.5).abs() < 1e-4 { 0.5 } else { f32::from(u8::from(share > 0.5)) }
    }
}

fn half_difference(a: &Composition, b: &Composition, phases: usize) -> f32 {
    (0..phases).map(|k| (a.share_of(k) - b.share_of(k)).abs()).sum::<f32>() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_and_every_pair_is_there() {
        for phases in 2..=12 {
            let list = Compositions::new(phases);
            let pairs = phases * (phases - 1) / 2;
            assert_eq!((list.len() - phases) % pairs, 0);
            assert!(list.len() < 130, "{phases} phases: {}", list.len());
            assert!(list.entries()[..phases].iter().all(Composition::is_pure));
            for (i, j) in (0..phases).flat_map(|j| (0..j).map(move |i| (i, j))) {
                let own: Vec<usize> =
                    (0..list.len()).filter(|&e| list.entries()[e].pair == [i as u8, j as u8]).collect();
                assert!(!own.is_empty() && list.of_pair(j, i).eq(own.iter().copied()), "{i} {j}");
            }
            for entry in list.entries() {
                let sum: f32 = (0..phases).map(|k| entry.share_of(k)).sum();
                let dominated: f32 = (0..phases).map(|k| entry.dominated_by(k)).sum();
                assert!((sum - 1.0).abs() < 1e-6 && (dominated - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn distances_are_those_of_the_shares() {
        let list = Compositions::new(5);
        let at = |pair: [u8; 2], share: f32| {
            list.entries().iter().position(|e| e.pair == pair && (e.share - share).abs() < 1e-3).unwrap()
        };
        assert_eq!(list.distance(0, 1), 1.0);
        assert_eq!(list.distance(3, 3), 0.0);
        assert!((list.distance(0, at([0, 2], 0.8)) - 0.2).abs() < 1e-6);
        assert!((list.distance(at([0, 2], 0.35), at([0, 2], 0.65)) - 0.3).abs() < 1e-6);
        assert!(list.share_a_phase(at([0, 2], 0.5), at([2, 3], 0.5)) && !list.share_a_phase(0, 1));
    }
}
