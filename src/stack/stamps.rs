//! Which message each value of a plane is from.
//!
//! A message is a line or an image, so its values lie side by side. Stamps are therefore kept as runs: 8 bytes a
//! message instead of 4 a value. What the stamp of a pixel without a value is does not matter, so a run may reach
//! over such pixels, and whatever comes in order adds one run a message. Scattered pixels make many runs; beyond
//! one in [`PIXELS_PER_RUN`] pixels one stamp a pixel is kept instead, which is smaller in the end and no longer
//! has to be searched.

/// Runs are given up where there are more than one for this many pixels: an insertion moves those behind it.
const PIXELS_PER_RUN: usize = 32;
/// So many runs are kept on any grid.
const FEWEST_RUNS: usize = 16;

/// The stamps of one plane.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamps {
    pixels: usize,
    /// One past the highest pixel that was ever set.
    end: usize,
    store: Store,
}

#[derive(Clone, Debug)]
enum Store {
    /// Ascending; each reaches to the next.
    Runs(Vec<Run>),
    Each(Vec<u32>),
}

impl Default for Store {
    fn default() -> Self {
        Self::Runs(Vec::new())
    }
}

#[derive(Clone, Copy, Debug)]
struct Run {
    first: u32,
    stamp: u32,
}

impl Stamps {
    /// No stamps, for `pixels` pixels.
    pub(super) fn new(pixels: usize) -> Self {
        Self { pixels, ..Self::default() }
    }

    /// The stamp of a pixel that was set; of any other it means nothing.
    pub(super) fn get(&self, pixel: usize) -> u32 {
        match &self.store {
            Store::Runs(runs) => {
                let behind = runs.partition_point(|run| run.first as usize <= pixel);
                behind.checked_sub(1).map_or(0, |index| runs[index].stamp)
            }
            Store::Each(stamps) => stamps[pixel],
        }
    }

    /// Sets the stamp of a run of pixels.
    pub(super) fn set(&mut self, pixels: std::ops::Range<usize>, stamp: u32) {
        if pixels.is_empty() {
            return;
        }
        // Behind the last pixel that was set there is nothing to be restored.
        let behind = (pixels.end < self.end).then(|| self.get(pixels.end));
        self.end = self.end.max(pixels.end);
        let runs = match &mut self.store {
            Store::Runs(runs) => runs,
            Store::Each(stamps) => return stamps[pixels].fill(stamp),
        };
        let from = runs.partition_point(|run| (run.first as usize) < pixels.start);
        let to = runs.partition_point(|run| run.first as usize <= pixels.end);
        let before = from.checked_sub(1).map(|index| runs[index].stamp);
        let own = (before != Some(stamp)).then_some(Run { first: pixels.start as u32, stamp });
        let behind = behind.filter(|&behind| behind != stamp);
        let behind = behind.map(|stamp| Run { first: pixels.end as u32, stamp });
        runs.splice(from..to, own.into_iter().chain(behind));
        if runs.len() > (self.pixels / PIXELS_PER_RUN).max(FEWEST_RUNS) {
            self.spread();
        }
    }

    /// Bytes they take.
    pub(super) fn bytes(&self) -> usize {
        match &self.store {
            Store::Runs(runs) => size_of_val(&runs[..]),
            Store::Each(stamps) => size_of_val(&stamps[..]),
        }
    }

    fn spread(&mut self) {
        let Store::Runs(runs) = &self.store else { return };
        let mut stamps = vec![0; self.pixels];
        for (index, run) in runs.iter().enumerate() {
            let end = runs.get(index + 1).map_or(self.pixels, |next| next.first as usize);
            stamps[run.first as usize..end].fill(run.stamp);
        }
        self.store = Store::Each(stamps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_in_order_are_one_run_each() {
        let mut stamps = Stamps::new(4000);
        (0..100).for_each(|line| stamps.set(line * 40..(line + 1) * 40, line as u32 + 1));
        assert_eq!(stamps.bytes(), 100 * 8);
        // In the opposite order, and again by a later message.
        let mut back = Stamps::new(4000);
        (0..100).rev().for_each(|line| back.set(line * 40..(line + 1) * 40, line as u32 + 1));
        assert_eq!(back.bytes(), 100 * 8);
        back.set(0..4000, 200);
        assert_eq!(back.bytes(), 8);
    }

    #[test]
    fn scattered_pixels_take_no_more_than_one_stamp_each() {
        let mut stamps = Stamps::new(4000);
        (0..4000).for_each(|i| stamps.set(i * 7 % 4000..i * 7 % 4000 + 1, i as u32 + 1));
        assert_eq!(stamps.bytes(), 4000 * 4);
        assert!((0..4000).all(|i| stamps.get(i * 7 % 4000) == i as u32 + 1));
    }

    proptest! {
        #[test]
        fn agrees_with_one_stamp_a_pixel(
            sets in prop::collection::vec((0_usize..300, 0_usize..80, 1_u32..6), 0..60),
        ) {
            const PIXELS: usize = 300;
            let (mut stamps, mut plain) = (Stamps::new(PIXELS), vec![0; PIXELS]);
            for (first, count, stamp) in sets {
                // Half of them single pixels.
                let end = (first + if count < 40 { 1 } else { count - 40 }).min(PIXELS);
                stamps.set(first..end, stamp);
                plain[first..end].fill(stamp);
                for (pixel, &stamp) in plain.iter().enumerate().filter(|(_, stamp)| **stamp != 0) {
                    prop_assert_eq!(stamps.get(pixel), stamp, "{}", pixel);
                }
            }
        }
    }
}
