//! A block of values.

use bytes::Bytes;

use crate::scan::MAX_AXIS;
use crate::source::adapter::AdapterRefusal;
use crate::source::text::integers;

/// What `scanLineData` says.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) polarization: usize,
    pub(super) outer: usize,
    pub(super) inner: usize,
    pub(super) channel: usize,
    /// Indices along the first and the second inner axis at which the block begins.
    pub(super) start: [usize; 2],
    /// Its extent along them.
    pub(super) shape: [usize; 2],
    /// Second axis fastest; NaN where nothing was measured.
    pub(super) values: Vec<f32>,
}

impl Line {
    pub(super) fn read(
        indices: &Bytes,
        start: &Bytes,
        shape: &Bytes,
        values: &Bytes,
    ) -> Result<Self, AdapterRefusal> {
        let [polarization, outer, inner, channel] = integers("indices of a line", indices)?;
        let start = integers("start of a line", start)?;
        let shape: [usize; 2] = integers("shape of a line", shape)?;
        if shape.iter().chain(&start).any(|n| *n > MAX_AXIS) || shape.contains(&0) {
            return Err(AdapterRefusal::new("size", format_args!("a block of {shape:?} at {start:?}")));
        }
        let values = numbers(values, shape[0] * shape[1])?;
        Ok(Self { polarization, outer, inner, channel, start, shape, values })
    }
}

/// `[v, v, …]`, `count` of them.
fn numbers(text: &Bytes, count: usize) -> Result<Vec<f32>, AdapterRefusal> {
    // Each takes a digit and, but the last, a comma: nothing is made room for that the text cannot hold.
    let found = 1 + text.iter().filter(|byte| **byte == b',').count();
    if found != count {
        return Err(AdapterRefusal::new("size", format_args!("{found} values where {count} belong")));
    }
    let wrong = |what: &str| AdapterRefusal::new("values", format_args!("values of a line: {what}"));
    let text = std::str::from_utf8(text).map_err(|_| wrong("no UTF-8"))?.trim();
    let inside =
        text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or_else(|| wrong("no [list]"))?;
    let number = |text: &str| match text.trim().parse::<f32>() {
        Ok(number) if number.is_infinite() => Err(wrong("one is infinite")),
        Ok(number) => Ok(number),
        Err(_) => Err(wrong("one is no number")),
    };
    inside.split(',').map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_text_and_as_many_as_the_block_holds() {
        let line = |indices: &'static str, start: &'static str, shape: &'static str, values: &'static str| {
            let [indices, start, shape, values] = [indices, start, shape, values].map(Bytes::from_static_str);
            Line::read(&indices, &start, &shape, &values).map_err(|refusal| refusal.reason())
        };
        let good = line("0 3 1 2 ", "7 0 ", "1 3 ", "[1, nan, 2.5e3]").unwrap();
        assert_eq!((good.outer, good.inner, good.channel, good.start), (3, 1, 2, [7, 0]));
        assert!(good.values[0] == 1.0 && good.values[1].is_nan() && good.values[2] == 2500.0);
        for (bad, reason) in [
            (line("0 3 1", "7 0", "1 3", "[1, 2, 3]"), "header"),
            (line("0 3 1 2", "7 0", "1 4", "[1, 2, 3]"), "size"),
            (line("0 3 1 2", "7 0", "16384 16384", "[1]"), "size"),
            (line("0 3 1 2", "7 0", "0 3", "[]"), "size"),
            (line("0 3 1 2", "99999 0", "1 1", "[1]"), "size"),
            (line("0 3 1 2", "7 0", "1 1", "1"), "values"),
            (line("0 3 1 2", "7 0", "1 2", "[1, ]"), "values"),
            (line("0 3 1 2", "7 0", "1 1", "[inf]"), "values"),
            (line("0 3 1 2", "7 0", "1 1", "[1e99]"), "values"),
        ] {
            assert_eq!(bad.unwrap_err(), reason);
        }
    }

    trait FromText {
        fn from_static_str(text: &'static str) -> Self;
    }

    impl FromText for Bytes {
        fn from_static_str(text: &'static str) -> Self {
            Self::from_static(text.as_bytes())
        }
    }
}
