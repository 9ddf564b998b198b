//! numpy's arrays and numbers.

use super::Id;

/// Most dimensions of an array, as numpy has it.
const MAX_DIMENSIONS: usize = 64;

/// How a number is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DType {
    /// `b` (truth), `i`, `u`, `f`, or anything else, which is not read.
    pub kind: u8,
    /// Bytes of a number; 0 where it is not known.
    pub size: usize,
    /// Whether its first byte is the highest.
    pub big_endian: bool,
}

impl DType {
    /// As numpy names it, for those who have it from elsewhere.
    pub(in crate::source) fn named(name: &str) -> Self {
        Self::parse(name)
    }

    /// The number that these bytes are.
    pub(in crate::source) fn number(self, bytes: &[u8]) -> Option<f64> {
        self.read(bytes).filter(|_| bytes.len() == self.size)
    }

    /// As numpy names it, such as `f8` or `>u2`.
    pub(super) fn parse(name: &str) -> Self {
        let (big_endian, name) = match name.as_bytes().first() {
            Some(b'>') => (true, name.get(1..)),
            Some(b'<' | b'|' | b'=') => (false, name.get(1..)),
            _ => (false, Some(name)),
        };
        let name = name.unwrap_or_default();
        let kind = name.bytes().next().unwrap_or(b'?');
        let size = name.get(1..).and_then(|size| size.parse().ok()).unwrap_or(0);
        let known = matches!((kind, size), (b'b', 1) | (b'i' | b'u', 1 | 2 | 4 | 8) | (b'f', 2 | 4 | 8));
        Self { kind, size: if known { size } else { 0 }, big_endian }
    }

    /// Whether its numbers can be read.
    pub(super) fn is_number(self) -> bool {
        self.size > 0
    }

    /// The number in the first bytes, which have to be as many as it takes.
    pub(super) fn read(self, bytes: &[u8]) -> Option<f64> {
        let mut word = [0; 8];
        let bytes = bytes.get(..self.size)?;
        // Little-endian, at the low end of the word.
        for (index, byte) in bytes.iter().enumerate() {
            let at = if self.big_endian { self.size - 1 - index } else { index };
            *word.get_mut(at)? = *byte;
        }
        let word = u64::from_le_bytes(word);
        let unused_bits = 64 - 8 * self.size as u32;
        Some(match (self.kind, self.size) {
            (b'b', 1) => f64::from(u8::from(word != 0)),
            (b'u', 1..) => word as f64,
            (b'i', 1..) => ((word << unused_bits) as i64 >> unused_bits) as f64,
            (b'f', 2) => half::f16::from_bits(word as u16).to_f64(),
            (b'f', 4) => f64::from(f32::from_bits(word as u32)),
            (b'f', 8) => f64::from_bits(word),
            _ => return None,
        })
    }
}

/// An array: its bytes are another value of the pickle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array {
    /// Its numbers.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether the first index runs fastest.
    pub fortran: bool,
    /// Its bytes; none where it was not filled, or does not hold numbers.
    pub(super) data: Option<Id>,
}

impl Array {
    /// An array of which the bytes lie elsewhere, last index fastest.
    pub(in crate::source) fn of(dtype: DType, shape: Vec<usize>) -> Self {
        Self { dtype, shape, fortran: false, data: None }
    }

    /// Its numbers in these bytes, which have to be as many as shape and dtype say.
    pub(in crate::source) fn read(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        self.numbers(bytes)
    }

    /// Number of elements.
    pub(super) fn len(shape: &[usize]) -> Option<usize> {
        if shape.len() > MAX_DIMENSIONS {
            return None;
        }
        shape.iter().try_fold(1_usize, |product, n| product.checked_mul(*n))
    }

    /// Its numbers, last index fastest; `bytes` are as long as shape and dtype say.
    pub(super) fn numbers(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let size = self.dtype.size;
        let all = Self::len(&self.shape)?;
        if size == 0 || bytes.len() != all.checked_mul(size)? {
            return None;
        }
        let read = |index: usize| self.dtype.read(bytes.get(index * size..)?).map(|value| value as f32);
        if !self.fortran || self.shape.len() < 2 {
            return (0..all).map(read).collect();
        }
        // Strides of the first-index-fastest order, walked in the other.
        let mut strides = Vec::with_capacity(self.shape.len());
        let mut stride = 1;
        for n in &self.shape {
            strides.push(stride);
            stride *= n;
        }
        let place = |mut index: usize| {
            let mut place = 0;
            for (n, stride) in self.shape.iter().zip(&strides).rev() {
                place += index % n * stride;
                index /= n;
            }
            place
        };
        (0..all).map(|index| read(place(index))).collect()
    }
}
