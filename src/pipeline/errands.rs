//! What operators wish of scans that are received: to the receiving thread and back.
//!
//! The way there holds [`MOST`] wishes; one more is refused. The receiving thread looks when it has taken in what came, at least twice a second; who wishes waits
//! for its answer, for [`PATIENCE`].

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::keeper::Pins;
use super::shelf::{Checked, Shelf};
use crate::classify::Recipe;
use crate::publish::http::Wishes;

/// Wishes on their way, at most.
const MOST: usize = 16;
/// Longest wait for an answer: a disk that stalls may keep the receiving thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// A wish.
#[derive(Debug)]
pub enum Errand {
    /// A scan is to be archived as it is.
    Archive {
        /// The scan.
        scan_id: String,
        /// Where the answer goes: nothing, or why not.
        answer: SyncSender<Result<(), String>>,
    },
    /// Scans that begin from now on are to be mapped otherwise.
    Renew(Box<Renewed>),
}

/// Another recipe, and what goes into the journals of scans that are mapped with it.
#[derive(Debug)]
pub struct Renewed {
    /// The recipe.
    pub recipe: Recipe,
    /// What goes into journals; where there are any.
    pub pins: Option<Pins>,
    /// Told when it is taken, which is when no scan is open. A later wish takes the place of one that waits.
    pub answer: SyncSender<()>,
}

/// The hand that HTTP has on the daemon.
#[derive(Debug)]
pub struct OperatorsHand {
    errands: SyncSender<Errand>,
    shelf: Arc<Shelf>,
}

impl OperatorsHand {
    /// The hand, and the receiving thread's end of the way.
    #[must_use]
    pub fn new(shelf: Arc<Shelf>) -> (Self, Receiver<Errand>) {
        let (errands, taken) = sync_channel(MOST);
        (Self { errands, shelf }, taken)
    }

    /// Where wishes are put.
    #[must_use]
    pub fn errands(&self) -> SyncSender<Errand> {
        self.errands.clone()
    }
}

impl Wishes for OperatorsHand {
    fn load_model(&self) -> Result<String, String> {
        match self.shelf.check() {
            Checked::Swapped { sha256, .. } => Ok(format!("another model is in use: {sha256}")),
            Checked::Unchanged => self
                .shelf
                .trouble()
                .map_or_else(|| Ok("the model in use is the one in the file".to_owned()), Err),
            Checked::Refused(why) => Err(why),
        }
    }

    fn archive_now(&self, scan_id: &str) -> Result<String, String> {
        let (answer, answered) = sync_channel(1);
        let errand = Errand::Archive { scan_id: scan_id.to_owned(), answer };
        self.errands.try_send(errand).map_err(|_| "too much is wished at once; try again".to_owned())?;
        let late = |_| "the daemon is busy; the scan is archived when it gets to it".to_owned();
        answered.recv_timeout(PATIENCE).map_err(late)??;
        Ok("what there is of the scan is being archived; the scan goes on, and its whole archive takes the place of this one".to_owned())
    }
}
