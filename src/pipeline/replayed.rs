//! A journal read by itself: the stack of its scan, as the daemon had it.

use std::path::Path;
use std::time::{Duration, Instant};

use super::scans::{Patience, ScanLimits, Scans, lock};
use crate::journal::{self, Contents, JournalError, Pinned, What};
use crate::scan::{Outcome, ScanEvent, ScanUpdate};
use crate::stack::Stack;

/// What a journal holds.
#[derive(Debug)]
pub struct Replayed {
    /// What the scan's maps are made with.
    pub pinned: Pinned,
    /// What was measured; `None` where the journal has no plan.
    pub stack: Option<Stack>,
    /// How the scan ended, as far as the journal knows.
    pub outcome: Outcome,
    /// What was read, and what was damaged.
    pub contents: Contents,
    /// Lines that do not fit the scan.
    pub refused: u64,
}

impl Replayed {
    /// Reads the journal in `folder`.
    ///
    /// # Errors
    /// Where it cannot be read. What is damaged is left out, and said in `contents`.
    pub fn read(folder: &Path) -> Result<Self, JournalError> {
        let pinned = Pinned::read(folder)?;
        // It was accepted within the limits of its daemon; those of this one do not matter.
        let limits = ScanLimits {
            pixels: usize::MAX,
            stack_bytes: usize::MAX,
            total_bytes: usize::MAX,
            open_scans: 1,
            held_bytes: usize::MAX,
            kept_bytes: usize::MAX,
        };
        let for_ever = Duration::from_secs(86_400);
        let patience = Patience { silence: for_ever, grace: for_ever, reopen: for_ever, resend: for_ever };
        let frames = serde_json::from_value(pinned.frames.clone()).unwrap_or_default();
        let mut scans = Scans::new(limits, vec![patience]).with_frames(frames);
        let now = Instant::now();
        let mut outcome = Outcome::Partial { reason: "the journal has no end of the scan".to_owned() };
        let mut refused = 0;
        let mut push = |seq, update| {
            let event = ScanEvent { scan_id: pinned.scan_id.clone(), seq: Some(seq), time: None, update };
            refused += u64::from(scans.push(0, event, 0, now).is_err());
            // Nobody follows.
            scans.take_notices();
        };
        if let Some((seq, plan)) = &pinned.plan {
            push(*seq, ScanUpdate::Started(Box::new(plan.clone())));
        }
        let contents = journal::read(folder, |line| match line.what {
            What::Update(update) => {
                if let ScanUpdate::Ended(ended) = &update {
                    outcome = ended.clone();
                }
                push(line.seq, update);
            }
            What::Closed(closed) => outcome = closed,
        })?;
        let stack = scans.get(&pinned.scan_id).and_then(|scan| scan.stack()).map(|stack| lock(stack).clone());
        Ok(Self { pinned, stack, outcome, contents, refused })
    }
}
