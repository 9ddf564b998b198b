//! Which frames of a series came.

use crate::stack::Sequence;

/// So many numbers are looked at before a stride is believed.
const BELIEVED: u64 = 32;

/// What is known of the numbers that came.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    came: Sequence,
    count: u64,
    /// The number before.
    before: Option<u64>,
    /// Greatest common divisor of the steps from number to number.
    stride: u64,
    is_told: bool,
}

impl Seen {
    /// Notes a number, which is one of the series. Returns the stride of all of them where it is above 1 and believed, once.
    pub(super) fn note(&mut self, number: u64) -> Option<u64> {
        if !self.came.insert(number) {
            return None;
        }
        self.count += 1;
        if let Some(before) = self.before.replace(number) {
            self.stride = gcd(before.abs_diff(number), self.stride);
        }
        let is_news = !self.is_told && self.count >= BELIEVED && self.stride > 1;
        self.is_told |= is_news;
        is_news.then_some(self.stride)
    }

    /// How many different ones came.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The highest.
    pub(super) fn last(&self) -> Option<u64> {
        self.came.highest()
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_is_told_once_and_only_where_there_is_one() {
        let told = |numbers: &mut dyn Iterator<Item = u64>| {
            let mut seen = Seen::default();
            numbers.filter_map(|number| seen.note(number)).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut (0..500).map(|number| 3 * number + 1)), [3]);
        assert_eq!(told(&mut (0..500)), [0_u64; 0]);
        // Losses are no stride.
        assert_eq!(told(&mut (0..500).filter(|number| number % 7 != 3)), [0_u64; 0]);
        assert_eq!(told(&mut std::iter::repeat_n(4, 100)), [0_u64; 0]);
    }

    #[test]
    fn numbers_count_once() {
        let mut seen = Seen::default();
        for number in [0, 5, 5, 3, 0] {
            seen.note(number);
        }
        assert_eq!((seen.count(), seen.last()), (3, Some(5)));
    }
}
