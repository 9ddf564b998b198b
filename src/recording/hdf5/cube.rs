//! A stack in a file: three dimensions in any order, read slab by slab.

use hdf5_reader::{SliceInfo, SliceInfoElem};

use super::number::{self, Real};
use super::{RecordingError, Values};
use crate::recording::MAX_VALUES;

/// Values of a slab that is not bound to chunks.
const SLAB_VALUES: u64 = 1 << 20;

/// What a dimension of a stack runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::recording) enum Dimension {
    /// Energies.
    Energy,
    /// Rows.
    Y,
    /// Columns.
    X,
}

impl Values<'_> {
    /// Lengths of a stack whose dimensions run over `order`: energies, rows and columns.
    ///
    /// # Errors
    /// Where it has not three dimensions, one of them is empty, it is not of numbers, or more than a file of this length can
    /// hold.
    pub(in crate::recording) fn cube(&self, order: [Dimension; 3]) -> Result<[usize; 3], RecordingError> {
        if !number::is_number(self.dataset.dtype()) {
            return Err(self.error("these are no numbers"));
        }
        let &[a, b, c] = self.shape() else {
            let problem = format!("{} dimensions; a stack has three", self.shape().len());
            return Err(self.error(problem));
        };
        let values = a.checked_mul(b).and_then(|values| values.checked_mul(c)).filter(|&values| values > 0);
        let Some(values) =
            values.and_then(|values| usize::try_from(values).ok()).filter(|v| *v <= MAX_VALUES)
        else {
            return Err(self.error(format_args!("{a}×{b}×{c} values; 1 to {MAX_VALUES} are read")));
        };
        let bytes = self.dataset.raw_element_size().map_err(|error| self.error(error))?;
        if values.saturating_mul(bytes) > self.file.budget {
            return Err(
                self.error(format_args!("{a}×{b}×{c} values are more than a file of this length can hold"))
            );
        }
        let mut lengths = [0; 3];
        for (length, dimension) in [a, b, c].into_iter().zip(order) {
            lengths[dimension as usize] = length as usize;
        }
        Ok(lengths)
    }

    /// Hands every value of a stack to `take`: energy, pixel (row-major), value.
    pub(in crate::recording) fn each(
        &self,
        order: [Dimension; 3],
        mut take: impl FnMut(usize, usize, f64),
    ) -> Result<(), RecordingError> {
        let lengths = self.cube(order)?;
        let [outer, middle, inner] = order.map(|dimension| lengths[dimension as usize]);
        let thickness = self.thickness(outer as u64, (middle * inner) as u64);
        let mut first = 0;
        while first < outer as u64 {
            let end = (first + thickness).min(outer as u64);
            let whole = |length: usize| SliceInfoElem::Slice { start: 0, end: length as u64, step: 1 };
            let slab = SliceInfoElem::Slice { start: first, end, step: 1 };
            let selection = SliceInfo { selections: vec![slab, whole(middle), whole(inner)] };
            let values = self.dataset.read_slice::<Real>(&selection).map_err(|error| self.error(error))?;
            let mut values = values.into_iter();
            for a in first as usize..end as usize {
                for b in 0..middle {
                    for (c, value) in values.by_ref().take(inner).enumerate() {
                        let mut place = [0; 3];
                        for (index, dimension) in [a, b, c].into_iter().zip(order) {
                            place[dimension as usize] = index;
                        }
                        let [energy, y, x] = place;
                        take(energy, y * lengths[Dimension::X as usize] + x, value.get());
                    }
                }
            }
            first = end;
        }
        Ok(())
    }

    /// Thickness of a slab: whole chunks, so that each is unpacked once.
    fn thickness(&self, outer: u64, layer: u64) -> u64 {
        let wanted = (SLAB_VALUES / layer.max(1)).clamp(1, outer);
        let chunk = self.dataset.chunks().and_then(|chunk| chunk.first().copied()).map_or(1, u64::from);
        wanted.next_multiple_of(chunk.clamp(1, outer)).min(outer)
    }
}
