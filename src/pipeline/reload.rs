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
    pub(super) settings: Settings,
    pub(super) in_use: Arc<InUse>,
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
        let in_use = self.in_use.recipe();
        let renewed = if references == *in_use.references {
            None
        } else {
            let recipe = Recipe { references: Arc::new(references), ..in_use };
            Some((self.pins(&recipe, &settings)?, recipe))
        };
        let changed = changed(&self.settings, &settings);
        let (taken, left): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|key| TAKEN.iter().any(|taken| key.starts_with(taken)));
        self.relevel.to(settings.log.level)?;
        self.routes.take(settings.alerts.clone());
        self.shelf.set_path(settings.model.path.clone());
        self.settings.references = settings.references.clone();
        self.settings.alerts = settings.alerts.clone();
        self.settings.model.path = settings.model.path.clone();
        self.settings.log.level = settings.log.level;
        tracing::info!(
            taken = taken.join(", "),
            references = if renewed.is_some() { "others" } else { "the same" },
            "configuration reloaded"
        );
        if !left.is_empty() {
            tracing::warn!("changed, and not taken before a restart: {}", left.join(", "));
        }
        let Some((pins, recipe)) = renewed else {
            super::household::tell(&self.shelf.check());
            return Ok(None);
        };
        let (answer, answered) = sync_channel(1);
        let wish = Renewed { recipe: recipe.clone(), pins: pins.clone(), answer };
        let sent = self.errands.try_send(Errand::Renew(Box::new(wish)));
        sent.map_err(|_| "too much is wished at once; try again".to_owned())?;
        tracing::info!("the references are taken when no scan is open");
        Ok(Some(Waits { recipe, pins, answered }))
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

    /// The references are in use.
    fn took(&mut self, (recipe, pins): (Recipe, Option<Pins>)) {
        self.in_use.set(recipe.clone(), pins.as_ref().map(|pins| pins.references.clone()));
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
    recipe: Recipe,
    pins: Option<Pins>,
    answered: std::sync::mpsc::Receiver<()>,
}

impl Waits {
    /// What is to be taken, once it may be; none where the daemon stops, or others came.
    fn wait(self) -> Option<(Recipe, Option<Pins>)> {
        self.answered.recv().ok().map(|()| (self.recipe, self.pins))
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
        let Ok(waits) = waits else {
            tracing::error!("the reload broke; this is a bug");
            continue;
        };
        supervisor::tell(Word::Ready(&shows));
        if let Some(waits) = waits {
            let own = Arc::clone(&reloader);
            // References may have to wait for the end of a scan; another reload meanwhile takes its place.
            tokio::task::spawn_blocking(move || {
                if let Some(renewed) = waits.wait() {
                    own.lock().unwrap_or_else(PoisonError::into_inner).took(renewed);
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
