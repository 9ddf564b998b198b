//! Sets of pixels, one bit each.

/// A set of pixel indices below a fixed size, stored as one bit a pixel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PixelSet {
    words: Vec<u64>,
    size: usize,
    count: usize,
}

impl PixelSet {
    /// An empty set for pixels `0..size`.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { words: vec![0; size.div_ceil(64)], size, count: 0 }
    }

    /// Adds `pixel`; returns whether it was new. A pixel outside the set is not added.
    #[inline]
    pub fn insert(&mut self, pixel: usize) -> bool {
        if pixel >= self.size {
            return false;
        }
        let bit = 1_u64 << (pixel % 64);
        let word = &mut self.words[pixel / 64];
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }

    /// Adds a run of pixels; those outside the set are not added.
    pub fn insert_run(&mut self, pixels: std::ops::Range<usize>) {
        let end = pixels.end.min(self.size);
        let mut next = pixels.start;
        while next < end {
            let (word, bit) = (next / 64, next % 64);
            let take = (64 - bit).min(end - next);
            let run = (u64::MAX >> (64 - take)) << bit;
            self.count += (run & !self.words[word]).count_ones() as usize;
            self.words[word] |= run;
            next += take;
        }
    }

    /// Whether `pixel` is in the set.
    #[must_use]
    #[inline]
    pub fn contains(&self, pixel: usize) -> bool {
        self.words.get(pixel / 64).is_some_and(|word| word & (1 << (pixel % 64)) != 0)
    }

    /// Number of pixels there are, in the set or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of pixels in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no pixel is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether every pixel is in the set.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count == self.size
    }

    /// Takes every pixel out.
    pub fn clear(&mut self) {
        self.words.fill(0);
        self.count = 0;
    }

    /// The pixels in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_each_pixel_once_and_in_order() {
        let mut set = PixelSet::new(130);
        assert!(set.insert(129) && set.insert(0) && set.insert(64) && !set.insert(64));
        assert!(!set.insert(130), "outside the grid");
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 129]);
        assert_eq!(set.len(), 3);
        set.clear();
        assert!(set.is_empty() && !set.contains(0));
    }

    #[test]
    fn a_run_is_its_pixels() {
        for run in [0..0, 3..3, 5..64, 60..70, 63..129, 0..130, 64..128, 120..500] {
            let (mut at_once, mut one_by_one) = (PixelSet::new(130), PixelSet::new(130));
            for set in [&mut at_once, &mut one_by_one] {
                [1, 62, 64, 129].into_iter().for_each(|pixel| _ = set.insert(pixel));
            }
            at_once.insert_run(run.clone());
            run.for_each(|pixel| _ = one_by_one.insert(pixel));
            assert_eq!(at_once, one_by_one);
        }
    }

    #[test]
    fn knows_when_it_is_full() {
        let mut set = PixelSet::new(65);
        (0..65).for_each(|pixel| _ = set.insert(pixel));
        assert!(set.is_full());
    }
}
