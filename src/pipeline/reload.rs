//! The configuration read again while the daemon runs, at SIGHUP.
//!
//! Taken at once: where alerts go, how much is logged, another model (which is looked for every two seconds anyway). References are taken when no
//! scan is open: a scan keeps those that it began with, and a model is asked about scans of its own references only. Everything else needs a restart, and is
//! named. A configuration with an error, or references that cannot be read, change nothing, and are told in the log and under `/readyz` until the next reload is good.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::alerts::Routes;
use super::errands::{Errand, Renewed};
use super::in_use::InUse;
use super::keeper::Pins;
use super::screen::ArchiveLibrary;
use super::shelf::{Checked, Shelf};
use super::supervisor::{self, Word};
use crate::classify::Recipe;
use crate::journal::Store;
use crate::reference::ReferenceSet;
use crate::settings::{Settings, SettingsError};
use crate::telemetry::{Health, Relevel};

/// The part under `/readyz` that says that a reload was refused.
const PART: &str = "reload";
/// The part that says that references wait.
const WAITING: &str = "references";
/// Keys, or the beginnings of keys, that are taken.
const TAKEN: [&str; 7] = [
    "alerts.webhook",
    "alerts.command",
    "alerts.remind_s",
    "alerts.keep_days",
    "log.level",
    "model.path",
    "references.dir",
];

/// Reads the configuration anew.
pub type Load = Box<dyn Fn() -> Result<Settings, SettingsError> + Send>;

/// What a reload needs of the outside.
pub struct Reloads {
    /// Reads the configuration anew.
    pub load: Load,
    /// Changes how much is logged.
    pub relevel: Relevel,
    /// Somebody wants it read.
    pub wishes: Receiver<()>,
}

/// Reads it, and hands on what changed.
pub(super) struct Reloader {
    pub(super) load: Load,
    pub(super) relevel: Relevel,
    /// Those that the daemon runs by, with what was taken of later ones.
    pub(super) settings: Settings,
    /// Those that were read last.
    pub(super) last: Settings,
    pub(super) in_use: Arc<InUse>,
    /// References that wait until no scan is open.
    pub(super) awaited: Option<Arc<ReferenceSet>>,
    /// How many references were wished for, and which of the wishes was the last that was fulfilled.
    pub(super) renewals: (u64, u64),
    /// Where references are kept, and what goes into every journal.
    pub(super) journal: Option<(Arc<Store>, Pins)>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) library: Arc<ArchiveLibrary>,
    pub(super) errands: SyncSender<Errand>,
    pub(super) routes: Routes,
    pub(super) health: Health,
}

impl Reloader {
    /// Does it, and says what came of it. It waits for files.
    fn reload(&mut self) -> Option<Waits> {
        match self.reloaded() {
            Ok(waits) => {
                self.health.well(PART);
                waits
            }
            Err(error) => {
                let what = format!("the configuration is not reloaded, nothing of it is taken: {error}");
                tracing::error!("{what}");
                self.health.trouble(PART, false, what);
                None
            }
        }
    }

    fn reloaded(&mut self) -> Result<Option<Waits>, String> {
        let settings = (self.load)().map_err(|error| error.to_string())?;
        settings.check_runnable().map_err(|error| error.to_string())?;
        // Everything that may fail comes before anything is taken.
        let dir = settings.references.dir.as_ref().ok_or("references.dir is not set")?;
        let references = ReferenceSet::load(dir).map_err(|error| error.to_string())?;
        for watch in [&self.settings.damage.watch, &settings.damage.watch] {
            // What a running daemon would take, the next start would refuse.
            watch.check(&references)?;
        }
        let in_use = self.in_use.recipe();
        // Those that wait would come into use, also where what is wished now is what is in use still.
        let waits = if references == **self.awaited.as_ref().unwrap_or(&in_use.references) {
            None
        } else {
            Some(self.wish(Recipe { references: Arc::new(references), ..in_use }, &settings)?)
        };
        let is_taken = |key: &String| TAKEN.iter().any(|taken| key.starts_with(taken));
        let mut taken = changed(&self.last, &settings);
        taken.retain(is_taken);
        let mut left = changed(&self.settings, &settings);
        left.retain(|key| !is_taken(key));
        if let Err(error) = self.relevel.to(settings.log.level) {
            tracing::warn!("how much is logged stays as it was: {error}");
        }
        self.routes.take(settings.alerts.clone());
        self.settings.references = settings.references.clone();
        self.settings.alerts = settings.alerts.clone();
        self.settings.model.path = settings.model.path.clone();
        self.settings.log.level = settings.log.level;
        tracing::info!(
            taken = taken.join(", "),
            references = if waits.is_some() { "others" } else { "the same" },
            "configuration reloaded"
        );
        if !left.is_empty() {
            tracing::warn!("changed, and not taken before a restart: {}", left.join(", "));
        }
        self.last = settings;
        if self.awaited.is_some() {
            tracing::info!("the references are taken when no scan is open, and a model of them with them");
        } else {
            // A model is of references: with others it comes when they do.
            self.shelf.set_path(self.settings.model.path.clone());
            super::household::tell(&self.shelf.check());
        }
        Ok(waits)
    }

    /// Wishes for other references.
    fn wish(&mut self, recipe: Recipe, settings: &Settings) -> Result<Waits, String> {
        let pins = self.pins(&recipe, settings)?;
        let (answer, answered) = sync_channel(1);
        let wish = Renewed { recipe: recipe.clone(), pins: pins.clone(), answer };
        let sent = self.errands.try_send(Errand::Renew(Box::new(wish)));
        sent.map_err(|_| "too much is wished at once; try again".to_owned())?;
        self.awaited = Some(Arc::clone(&recipe.references));
        self.in_use.await_copy(pins.as_ref().map(|pins| pins.references.clone()));
        self.renewals.0 += 1;
        let what = "the references of the reloaded configuration wait until no scan is open; scans that begin before that keep those before";
        self.health.trouble(WAITING, false, what);
        Ok(Waits { number: self.renewals.0, recipe, pins, answered })
    }

    /// What goes into journals from then on.
    fn pins(&self, recipe: &Recipe, settings: &Settings) -> Result<Option<Pins>, String> {
        let Some((store, pins)) = &self.journal else { return Ok(None) };
        let mut told = self.settings.clone();
        told.references = settings.references.clone();
        Ok(Some(Pins {
            references: store.keep(&*recipe.references).map_err(|error| error.to_string())?,
            recipe: serde_json::to_value(recipe).unwrap_or_default(),
            settings: serde_json::to_value(&told).unwrap_or_default(),
            ..pins.clone()
        }))
    }

    /// The references of a wish are in use.
    fn took(&mut self, Waits { number, recipe, pins, .. }: Waits) {
        // Two wishes may be fulfilled one after the other, and told of in another order.
        if number < self.renewals.1 {
            return;
        }
        self.renewals.1 = number;
        if number == self.renewals.0 {
            self.awaited = None;
            self.shelf.set_path(self.settings.model.path.clone());
        }
        self.in_use.set(recipe.clone(), pins.as_ref().map(|pins| pins.references.clone()));
        if self.awaited.is_none() {
            self.in_use.await_copy(None);
            self.health.well(WAITING);
        }
        self.library.forget();
        if let (Some((_, own)), Some(pins)) = (&mut self.journal, pins) {
            *own = pins;
        }
        let sha256 = recipe.references.sha256.clone();
        tracing::info!(sha256, phases = recipe.references.len(), "references in use");
        let checked = self.shelf.renew_references(sha256);
        if let Checked::Refused(why) = &checked {
            tracing::warn!("maps are made without a model: {why}");
        } else {
            super::household::tell(&checked);
        }
    }
}

/// References that wait until no scan is open.
struct Waits {
    number: u64,
    recipe: Recipe,
    pins: Option<Pins>,
    answered: std::sync::mpsc::Receiver<()>,
}

impl Waits {
    /// Waits until it is taken; none where the daemon stops, or others came.
    fn wait(self) -> Option<Self> {
        self.answered.recv().ok().map(|()| self)
    }
}

/// Reloads whenever that is wished, until `stop`; `shows` is said to the supervisor when it is done.
pub(super) async fn keep(
    reloader: Reloader,
    mut wishes: Receiver<()>,
    shows: String,
    stop: CancellationToken,
) {
    let reloader = Arc::new(Mutex::new(reloader));
    while let Some(Some(())) = stop.run_until_cancelled(wishes.recv()).await {
        supervisor::tell(Word::Reloading);
        let own = Arc::clone(&reloader);
        let work = move || own.lock().unwrap_or_else(PoisonError::into_inner).reload();
        let waits = tokio::task::spawn_blocking(work).await;
        // However it came out: who waits for the word would wait for ever.
        supervisor::tell(Word::Ready(&shows));
        let Ok(waits) = waits else {
            tracing::error!("the reload broke; this is a bug");
            continue;
        };
        if let Some(waits) = waits {
            let own = Arc::clone(&reloader);
            // References may have to wait for the end of a scan; another reload meanwhile takes its place.
            tokio::task::spawn_blocking(move || {
                if let Some(taken) = waits.wait() {
                    own.lock().unwrap_or_else(PoisonError::into_inner).took(taken);
                }
            });
        }
    }
}

/// The keys whose values differ, or that only one has, in order.
fn changed(before: &Settings, now: &Settings) -> Vec<String> {
    let value = |of: &Settings, key: &str| {
        of.provenance().iter().find(|own| own.key == key).map(|own| own.value.clone())
    };
    let mut keys: Vec<String> =
        before.provenance().iter().chain(now.provenance()).map(|own| own.key.clone()).collect();
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()) && value(before, key) != value(now, key));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::from_layers(&[("a.toml".into(), text.to_owned())], []).unwrap()
    }

    #[test]
    fn what_changed_is_named_by_its_key() {
        let source = "[[source]]\nkind = \"stxm-stream\"\nconnect = \"tcp://127.0.0.1:5555\"\n";
        let before = settings(source);
        assert!(changed(&before, &before).is_empty());
        let now = settings(&format!(
            "[log]\nlevel = \"debug\"\n[limits]\nopen_scans = 3\n[[alerts.command]]\nname = \"a\"\nprogram = \"true\"\n{source}"
        ));
        let keys = changed(&before, &now);
        assert!(
            keys.contains(&"log.level".to_owned()) && keys.contains(&"limits.open_scans".to_owned()),
            "{keys:?}"
        );
        assert!(keys.iter().any(|key| key.starts_with("alerts.command")), "{keys:?}");
        assert!(keys.iter().all(|key| !key.starts_with("source")), "{keys:?}");
    }
}
