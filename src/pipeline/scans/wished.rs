//! What operators wish of scans.

use std::time::Instant;

use super::{Scans, lock};
use crate::scan::Outcome;

impl Scans {
    /// Ends a scan that goes on, for the archive's sake: as if its sender had fallen silent. What comes later opens it again.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn archive_now(&mut self, scan_id: &str, now: Instant) -> Result<(), &'static str> {
        let scan = self.scans.get_mut(scan_id).ok_or("this scan is not in memory")?;
        if !scan.is_open() {
            return Err("this scan has ended: it is archived, or about to be");
        }
        if scan.stack().is_none_or(|stack| lock(stack).measured() == 0) {
            return Err("nothing of this scan is measured yet");
        }
        scan.close(
            now,
            Outcome::Partial { reason: "archived as it was, on request".to_owned() },
            &mut self.out,
        );
        Ok(())
    }
}
