//! What operators wish of scans.

use super::{ScanNotice, Scans, lock};

impl Scans {
    /// Tells that what there is of a scan is to be archived, provisionally. The scan itself goes on as if nothing had been said.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn archive_now(&mut self, scan_id: &str) -> Result<(), &'static str> {
        let scan = self.scans.get_mut(scan_id).ok_or("this scan is not in memory")?;
        if !scan.is_open() {
            return Err("this scan has ended: it is archived, or about to be");
        }
        if scan.reopened {
            return Err("this scan was archived before, and is archived anew when it ends");
        }
        if scan.stack().is_none_or(|stack| lock(stack).measured() == 0) {
            return Err("nothing of this scan is measured yet");
        }
        self.out.notices.push(ScanNotice::Wanted(scan_id.to_owned()));
        Ok(())
    }
}
