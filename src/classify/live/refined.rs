//! The drift of the sample in a live map: followed image by image, and estimated anew in a second step.
//!
//! Where one image lies follows from a few transforms, and the map does not wait longer. All displacements together
//! take longer the more images there are; where that is due, the map is made first, and [`LiveMap::refine`] makes up for
//! it when the map is out. After that a whole scan is registered as the settled map registers it.

use super::LiveMap;
use crate::classify::RevisionReason;
use crate::registration::{Moved, Step};
use crate::stack::{PlaneChange, Stack};

/// Stacks of so many values are registered while the map waits: sixteen images of 256×256 pixels take some 50 ms.
const AT_ONCE: usize = 16 * 256 * 256;

impl LiveMap {
    /// Follows the drift of the sample. Returns what that did to the planes.
    pub(super) fn register(&mut self, raw: &Stack, late: bool, changed: &[usize]) -> Moved {
        let (measured, due) = self.due(raw, late);
        let now = due && measured <= AT_ONCE;
        if due && !now {
            self.overdue.get_or_insert_default().extend(changed);
        }
        self.step(raw, changed, now)
    }

    /// One step of the registration; `due`: with all displacements estimated anew.
    pub(super) fn step(&mut self, raw: &Stack, changed: &[usize], due: bool) -> Moved {
        if due {
            self.overdue = None;
        }
        let screen = &self.screen;
        let usable = |energy: usize, pixel: usize| screen.usable(energy, pixel);
        self.registrar.advance(raw, Step { changed, due, whole: raw.is_full() }, &usable)
    }

    /// Makes up for what the last generation did not wait for; `stack` as in the last [`LiveMap::advance`]. Returns why
    /// another generation is called for, `None` where none is.
    pub fn refine(&mut self, stack: &Stack) -> Option<RevisionReason> {
        let changed = self.overdue.take()?;
        let before = self.registrar.drift().describe();
        let moved = self.step(stack, &changed, true);
        let planes: Vec<usize> = match &moved {
            Moved::Nothing => {
                // Nothing to be seen but the words; of a whole scan they are to be those of the settled map.
                let told_else = stack.is_full() && self.registrar.drift().describe() != before;
                return told_else.then_some(RevisionReason::Registration);
            }
            Moved::Planes(planes) if planes.is_empty() => return None,
            Moved::Planes(planes) => planes.iter().map(|(energy, _)| *energy).collect(),
            Moved::Everything => (0..self.applied.len()).collect(),
        };
        // Other planes, other estimates: as if nothing had been searched yet.
        self.searched_at = 0;
        self.take_in(stack, &[], &moved, &planes);
        Some(RevisionReason::Registration)
    }

    /// Brings estimates and sums up to date with `changes` and with what the registration moved; `changed`: all the
    /// energies concerned. Returns why the next generation will differ.
    pub(super) fn take_in(
        &mut self,
        stack: &Stack,
        changes: &[PlaneChange],
        moved: &Moved,
        changed: &[usize],
    ) -> RevisionReason {
        let late = changes.iter().any(|change| !change.displaced.is_empty());
        let replaced = self.estimate(stack, late, changed);
        if let Some(correction) = self.other_correction(stack) {
            self.rebuild(stack, &correction);
            return RevisionReason::Offset;
        }
        let shifted = match moved {
            Moved::Everything => {
                let correction = self.targets.correction.clone();
                self.rebuild(stack, &correction);
                return RevisionReason::Registration;
            }
            Moved::Planes(planes) => {
                planes.iter().any(|(e, _)| changes.iter().all(|change| change.energy != *e))
            }
            Moved::Nothing => false,
        };
        self.apply(stack, changes, moved);
        match (replaced, shifted, late) {
            (true, ..) => RevisionReason::I0,
            (false, true, _) => RevisionReason::Registration,
            (false, false, true) => RevisionReason::LateData,
            (false, false, false) => RevisionReason::Energy,
        }
    }
}
