//! What the screen needs beside the board: the archive, a model that shows its islands, what the daemon says of itself, and hands for what may be wished.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answers::Answers;
use super::events::Streams;
use super::islands::{Latents, NoLatents};
use super::shown::TURNS;
use crate::publish::library::Library;

/// What may be wished of the daemon, beyond alerts. Both may take a while and belong on a thread that may wait.
pub trait Wishes: Send + Sync {
    /// Looks at the model file again, and takes it where it is new: what came of it.
    ///
    /// # Errors
    /// Why the file is not used.
    fn load_model(&self) -> Result<String, String>;

    /// Archives what there is of a scan that is measured now; its whole archive takes the place of this one later.
    ///
    /// # Errors
    /// Why it cannot be.
    fn archive_now(&self, scan_id: &str) -> Result<String, String>;
}

/// Name and value of the state variable of each phase, by its id.
pub type States = std::collections::BTreeMap<String, (String, f64)>;

/// What the screen needs.
#[derive(Clone)]
pub struct Screen {
    /// The state variables of the phases.
    pub states: Arc<dyn Fn() -> States + Send + Sync>,
    /// The archive.
    pub library: Option<Arc<dyn Library>>,
    /// The model's islands.
    pub islands: Arc<dyn Latents>,
    /// What the daemon says of itself, `/api/v1/system`.
    pub system: Arc<dyn Fn() -> Value + Send + Sync>,
    /// What may be wished.
    pub wishes: Option<Arc<dyn Wishes>>,
}

impl Default for Screen {
    fn default() -> Self {
        let system = Arc::new(|| json!({ "version": env!("CARGO_PKG_VERSION") }));
        let states = Arc::new(States::new);
        Self { states, library: None, islands: Arc::new(NoLatents), system, wishes: None }
    }
}

/// The same with what is counted.
pub(super) struct Staged {
    pub states: Arc<dyn Fn() -> States + Send + Sync>,
    pub library: Option<Arc<dyn Library>>,
    pub islands: Arc<dyn Latents>,
    pub system: Arc<dyn Fn() -> Value + Send + Sync>,
    pub wishes: Option<Arc<dyn Wishes>>,
    /// Turns of each [`super::shown::Room`].
    pub turns: [Arc<Semaphore>; 3],
    pub streams: Streams,
    /// What was asked for, for others who ask the same.
    pub answers: Answers,
    /// The daemon stops: streams end.
    pub closing: CancellationToken,
}

impl From<Screen> for Staged {
    fn from(screen: Screen) -> Self {
        let Screen { states, library, islands, system, wishes } = screen;
        let turns = TURNS.map(|turns| Arc::new(Semaphore::new(turns)));
        Self {
            states,
            library,
            islands,
            system,
            wishes,
            turns,
            streams: Streams::default(),
            answers: Answers::default(),
            closing: CancellationToken::new(),
        }
    }
}
