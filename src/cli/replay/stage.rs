//! What a replay needs: recipe and model as they were, or as they are asked for, and the messages.

use std::path::Path;
use std::sync::Arc;

use super::ReplayArgs;
use super::wire::Wire;
use crate::classify::{Oracle, Recipe};
use crate::cli::Failure;
use crate::damage::{DoseSettings, MonitorSettings};
use crate::journal::{Archived, Pinned, Store};
use crate::model::Model;
use crate::pipeline::resume::recipe_of;
use crate::pipeline::{backend, dose, monitor, pinned_dose, pinned_watch, recipe};
use crate::reference::ReferenceSet;
use crate::settings::{Settings, SourceKind};
use crate::simulate::{Playback, SocketKind, WireMessage};
use crate::source::stxm_stream::encode::EncodeError;

type Messages = Box<dyn Iterator<Item = Result<WireMessage, EncodeError>> + Send>;

/// What a replay needs.
pub(super) struct Stage {
    /// The scan, where it is known beforehand.
    pub(super) scan_id: Option<String>,
    pub(super) energies: usize,
    pub(super) recipe: Recipe,
    pub(super) dose: DoseSettings,
    /// What damage is watched with.
    pub(super) watch: MonitorSettings,
    pub(super) oracle: Option<Oracle>,
    pub(super) settings: Settings,
    pub(super) messages: Messages,
    /// What they are sent over.
    pub(super) socket: SocketKind,
}

impl Stage {
    /// For a journal or a recording, with its messages.
    pub(super) fn of(args: &ReplayArgs) -> Result<Self, Failure> {
        if !args.journal.is_file() {
            let pinned = Pinned::read(&args.journal).map_err(Failure::data)?;
            let mut stage = Self::of_journal(args, &pinned)?;
            let playback = Playback::open(&args.journal).map_err(Failure::data)?;
            stage.energies = playback.plan().energies_ev.len();
            stage.scan_id = Some(pinned.scan_id);
            stage.messages = Box::new(playback);
            return Ok(stage);
        }
        let Some(dir) = &args.references else {
            return Err(Failure::usage(
                "a recording of the wire does not tell its references: give --references",
            ));
        };
        let wire = Wire::open(&args.journal).map_err(Failure::data)?;
        let settings = settings(args, args.model.as_deref(), wire.kind())?;
        let references = Arc::new(ReferenceSet::load(dir).map_err(Failure::data)?);
        let recipe = recipe(&settings, references).map_err(Failure::data)?;
        let socket = wire.to_a_daemon();
        let messages = Box::new(wire.messages(true));
        let (dose, watch) = (dose(&settings), monitor(&settings));
        Ok(Self { scan_id: None, energies: 0, recipe, dose, watch, oracle: None, settings, messages, socket })
    }

    /// For a journal, without its messages.
    pub(super) fn of_journal(args: &ReplayArgs, pinned: &Pinned) -> Result<Self, Failure> {
        let asked =
            Archived::read(&args.journal).map_or_else(|| pinned.model.clone(), |archived| archived.model);
        let kept = asked.map(|sha256| {
            let copy = Store::content(&args.journal, &sha256, "onnx").filter(|copy| copy.is_file());
            copy.ok_or_else(|| {
                Failure::data(format_args!(
                    "the model {sha256} that was asked is not kept beside the journal: give --model"
                ))
            })
        });
        let model = match (&args.model, kept) {
            (Some(model), _) => Some(model.clone()),
            (None, kept) => kept.transpose()?,
        };
        let settings = settings(args, model.as_deref(), "stxm-stream")?;
        let mut used = recipe_of(&args.journal, pinned).or_else(|error| match &args.references {
            // They are given: what was kept is not needed.
            Some(_) => serde_json::from_value(pinned.recipe.clone()).map_err(Failure::data),
            None => Err(Failure::data(format_args!("{error}; give --references"))),
        })?;
        if let Some(dir) = &args.references {
            used.references = Arc::new(ReferenceSet::load(dir).map_err(Failure::data)?);
        }
        if args.config.is_some() {
            used = recipe(&settings, Arc::clone(&used.references)).map_err(Failure::data)?;
        }
        let oracle = match &model {
            Some(path) => {
                let model = Model::open(path, &backend(&settings.model), Some(&used.references.sha256));
                let model =
                    model.map_err(|error| Failure::data(format_args!("{}: {error}", path.display())))?;
                Some(Oracle::new(model, settings.model.batch))
            }
            None => None,
        };
        let messages: Messages = Box::new(std::iter::empty());
        let began_with = pinned_dose(pinned).filter(|_| args.config.is_none());
        let dose = began_with.unwrap_or_else(|| dose(&settings));
        let watched = pinned_watch(pinned).filter(|_| args.config.is_none());
        let watch = watched.unwrap_or_else(|| monitor(&settings));
        let socket = SocketKind::Push;
        Ok(Self { scan_id: None, energies: 0, recipe: used, dose, watch, oracle, settings, messages, socket })
    }
}

/// Settings of a daemon that listens to nobody but the replay.
fn settings(args: &ReplayArgs, model: Option<&Path>, kind: &str) -> Result<Settings, Failure> {
    let mut settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    // Which has to stand there, and gives way to what is configured.
    let geometry = if kind == "desy" { "geometry = { energies_ev = [1.0] }" } else { "" };
    let source = format!(
        "[[source]]\nkind = {kind:?}\nname = \"replay\"\nbind = \"tcp://127.0.0.1:1\"\ngrace_s = 2\n{geometry}\n"
    );
    let mut own = Settings::from_layers(&[("replay.toml".into(), source)], []).map_err(Failure::data)?;
    // What the site says of a source of this kind is true of its recording.
    let configured = std::mem::take(&mut settings.sources);
    settings.sources = std::mem::take(&mut own.sources);
    for source in &mut settings.sources {
        if let Some(configured) = configured.iter().find(|configured| configured.kind == source.kind) {
            source.channel.clone_from(&configured.channel);
            source.beamline.clone_from(&configured.beamline);
            source.geometry.clone_from(&configured.geometry);
        } else if source.kind == SourceKind::Desy {
            return Err(Failure::usage(
                "a recording of this format does not say its energies: give --config with a [[source]] of its kind",
            ));
        }
        source.endpoint = crate::settings::Endpoint::Bind("tcp://127.0.0.1:0".to_owned());
    }
    settings.publish.bind = "tcp://127.0.0.1:0".to_owned();
    settings.http.listen.set_port(super::super::demo::free_or_any(settings.http.listen.port()));
    settings.journal.enabled = false;
    settings.journal.record_bytes = 0;
    // What is replayed is no archive of the site's: nothing is sent anywhere, and no rule of keeping applies.
    settings.archive = own.archive;
    // What was told once in the world is not told again: no webhook is called, no command run.
    settings.alerts = own.alerts;
    settings.archive.root.clone_from(&args.out);
    settings.model.path = model.map(Path::to_owned);
    Ok(settings)
}
