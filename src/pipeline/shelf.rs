//! The model in use, and how another takes its place while scans run.
//!
//! A model file is loaded, checked and probed beside the one in use, once for each thread that asks it; only then
//! are they swapped, each thread taking its new one when it next needs a model. A file that breaks the contract
//! is refused with the reason and the old model stays; without any, the maps are Pearson's alone and say so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::classify::{Oracle, PosteriorModel};
use crate::journal::Store;
use crate::model::{BackendChoice, Model};

/// Who asks models: one slot each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The live maps.
    Live,
    /// The archive's.
    Archive,
}

/// Where models are put for those who ask them.
#[derive(Debug)]
pub struct Shelf {
    choice: BackendChoice,
    wanted: Mutex<Wanted>,
    rows: usize,
    slots: [Mutex<Slot>; 2],
    state: Mutex<State>,
    /// Where a copy of each model that comes into use is kept, for replays.
    store: Option<Arc<Store>>,
}

/// Which model, and of which references.
#[derive(Clone, Debug)]
struct Wanted {
    path: Option<PathBuf>,
    references_sha256: String,
}

#[derive(Debug, Default)]
struct Slot {
    fresh: Option<Oracle>,
}

#[derive(Debug, Default)]
struct State {
    /// Size and time of the file at the last try.
    seen: Option<(u64, SystemTime)>,
    /// Digest of the model in use.
    in_use: Option<String>,
    /// Its clusters.
    clusters: Vec<String>,
    /// Why there is none, or why the last file was refused.
    trouble: Option<String>,
}

/// What a look at the file led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing new.
    Unchanged,
    /// Another model is in use now.
    Swapped {
        /// Its digest.
        sha256: String,
        /// What runs it.
        engine: String,
    },
    /// The file was refused.
    Refused(String),
}

impl Shelf {
    /// An empty shelf for the model at `path`.
    #[must_use]
    pub fn new(path: Option<PathBuf>, choice: BackendChoice, references_sha256: String, rows: usize) -> Self {
        let state = State {
            trouble: path.is_none().then(|| "no model is configured".to_owned()),
            ..State::default()
        };
        let wanted = Mutex::new(Wanted { path, references_sha256 });
        Self { choice, wanted, rows, slots: Default::default(), state: Mutex::new(state), store: None }
    }

    /// The same, keeping a copy of each model that comes into use.
    #[must_use]
    pub fn keeping(self, store: Option<Arc<Store>>) -> Self {
        Self { store, ..self }
    }

    /// The model is looked for there from now on.
    pub fn set_path(&self, path: Option<PathBuf>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.path != path {
            wanted.path = path;
            drop(wanted);
            self.lock().seen = None;
        }
    }

    /// Other references are in use: the model has to be of these. The one before is asked about scans of its own references only, if any are still open.
    pub fn renew_references(&self, references_sha256: String) -> Checked {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).references_sha256 = references_sha256;
        let mut state = self.lock();
        *state = State {
            trouble: state.in_use.is_none().then(|| state.trouble.clone()).flatten(),
            ..State::default()
        };
        drop(state);
        self.check()
    }

    fn wanted(&self) -> Wanted {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the file if it is new. Takes as long as loading takes: not for a thread that has to keep up.
    pub fn check(&self) -> Checked {
        let Wanted { path, references_sha256 } = self.wanted();
        let Some(path) = &path else { return Checked::Unchanged };
        let seen = std::fs::metadata(path).and_then(|meta| Ok((meta.len(), meta.modified()?)));
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => return self.refused(None, format!("{}: {error}", path.display())),
        };
        if self.lock().seen == Some(seen) {
            return Checked::Unchanged;
        }
        match self.load(path, &references_sha256) {
            Ok([live, archive]) => {
                let sha256 = live.model().sha256().to_owned();
                let engine = live.model().engine().to_owned();
                let clusters = live.model().metadata().clusters.clone();
                for (slot, oracle) in self.slots.iter().zip([live, archive]) {
                    slot.lock().unwrap_or_else(PoisonError::into_inner).fresh = Some(oracle);
                }
                let (in_use, clusters) = (Some(sha256.clone()), clusters);
                self.keep(path, &sha256);
                *self.lock() = State { seen: Some(seen), in_use, clusters, trouble: None };
                Checked::Swapped { sha256, engine }
            }
            Err(reason) => self.refused(Some(seen), format!("{}: {reason}", path.display())),
        }
    }

    /// Keeps a copy of the model, which was just loaded from `path`.
    fn keep(&self, path: &Path, sha256: &str) {
        let Some(store) = &self.store else { return };
        let kept = std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| store.keep_bytes(&bytes, "onnx").map_err(|error| error.to_string()));
        match kept {
            Ok(kept) if kept == sha256 => {}
            Ok(_) => {
                tracing::warn!(sha256, "no copy of the model is kept: its file changed while it was loaded")
            }
            Err(error) => {
                tracing::warn!("no copy of the model is kept, so that replays cannot ask it: {error}");
            }
        }
    }

    fn load(&self, path: &Path, references_sha256: &str) -> Result<[Oracle; 2], String> {
        /// More copies of a model than this are not worth their memory.
        const MOST_COPIES: usize = 4;
        let open =
            || Model::open(path, &self.choice, Some(references_sha256)).map_err(|error| error.to_string());
        let mut live = Oracle::new(open()?, self.rows);
        // Whoever looks at a running scan waits for the map; the archive has time.
        for _ in 1..rayon::current_num_threads().min(MOST_COPIES) {
            live = live.with_copy(open()?);
        }
        Ok([live, Oracle::new(open()?, self.rows)])
    }

    /// Another copy of the model at the path; it may be newer than the one in use.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(&self) -> Result<Model, String> {
        let Wanted { path, references_sha256 } = self.wanted();
        let path = path.as_ref().ok_or("no model is configured")?;
        Model::open(path, &self.choice, Some(&references_sha256)).map_err(|error| error.to_string())
    }

    /// Where it is looked for.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.wanted().path
    }

    /// What the model is called: its file, less the ending.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        Some(self.wanted().path.as_ref()?.file_stem()?.to_string_lossy().into_owned())
    }

    /// Clusters of the model in use.
    #[must_use]
    pub fn clusters(&self) -> Vec<String> {
        self.lock().clusters.clone()
    }

    /// Rows that go through the engine at a time.
    pub(super) fn rows(&self) -> usize {
        self.rows.max(1)
    }

    fn refused(&self, seen: Option<(u64, SystemTime)>, reason: String) -> Checked {
        let mut state = self.lock();
        let known = state.trouble.as_ref() == Some(&reason);
        state.seen = seen;
        state.trouble = Some(reason.clone());
        if known { Checked::Unchanged } else { Checked::Refused(reason) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What people should know: nothing while the configured model is in use.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// Digest of the model in use.
    #[must_use]
    pub fn in_use(&self) -> Option<String> {
        self.lock().in_use.clone()
    }
}

/// One thread's hold on the shelf.
#[derive(Debug)]
pub struct ModelHand {
    shelf: Arc<Shelf>,
    reader: Reader,
    oracle: Option<Oracle>,
}

impl ModelHand {
    /// A hold for `reader`.
    #[must_use]
    pub fn new(shelf: Arc<Shelf>, reader: Reader) -> Self {
        Self { shelf, reader, oracle: None }
    }

    /// Takes a new model if there is one; returns whether it did.
    pub fn renew(&mut self) -> bool {
        let slot = &self.shelf.slots[self.reader as usize];
        let fresh = slot.lock().unwrap_or_else(PoisonError::into_inner).fresh.take();
        let renewed = fresh.is_some();
        if renewed {
            self.oracle = fresh;
        }
        renewed
    }

    /// Whether another model waits to be taken.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        let slot = &self.shelf.slots[self.reader as usize];
        slot.lock().unwrap_or_else(PoisonError::into_inner).fresh.is_some()
    }

    /// The model in hand, if it is one of the references with this digest.
    pub fn model_of(&mut self, references_sha256: &str) -> Option<&mut dyn PosteriorModel> {
        let is_of = |oracle: &&mut Oracle| {
            oracle.model().metadata().references_sha256.eq_ignore_ascii_case(references_sha256)
        };
        self.oracle.as_mut().filter(is_of).map(|oracle| oracle as &mut dyn PosteriorModel)
    }

    /// The shelf.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }
}
