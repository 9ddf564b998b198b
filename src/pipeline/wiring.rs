//! From settings to parts: what the app is put together from.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::alerts::{self, Clerk};
use super::errands::OperatorsHand;
use super::ingest::SourceLine;
use super::keeper::Pins;
use super::resend::desk::MOST_UNDER_WAY;
use super::resend::rule::ResendRule;
use super::resend::{Office, ResendLine, client};
use super::scans::{Patience, ScanLimits, Scans};
use super::screen::{Islands, Parts, System};
use super::token::Token;
use crate::classify::Recipe;
use crate::detector::FrameSettings;
use crate::journal::{JournalError, Store};
use crate::publish::Board;
use crate::publish::http::{Alerting, Guard, HttpState, Screen};
use crate::publish::zmq::PublisherHandle;
use crate::reference::{Reference, ReferenceSet};
use crate::settings::{Endpoint as Attachment, Settings, SocketKind as Socket, SourceKind, SourceSettings};
use crate::source::adapter::{Adapter, Naming};
use crate::source::bluesky::Bluesky;
use crate::source::dectris::{Dectris, Knowledge};
use crate::source::desy::Desy;
use crate::source::frames::{Attach, Endpoint, SocketKind, SourceStatus, ZmqFrameSource};
use crate::source::join::Join;
use crate::source::pixelator::Pixelator;
use crate::source::pystxmcontrol::Pystxmcontrol;
use crate::source::raw_log::{RawLog, Recorded};
use crate::source::stxm_stream::Framing;
use crate::source::told::Told;
use crate::telemetry::Health;

/// Opens the state directory, and keeps what scans are going to need of what is in use.
pub(super) fn open_journal(
    settings: &Settings,
    references: &ReferenceSet,
    recipe: &Recipe,
) -> Result<(Arc<Store>, Pins), JournalError> {
    let store = Store::open(&settings.daemon.state_dir)?;
    let pins = Pins {
        references: store.keep(references)?,
        frames: serde_json::to_value(frame_settings(settings)).unwrap_or_default(),
        recipe: serde_json::to_value(recipe).unwrap_or_default(),
        settings: serde_json::to_value(settings).unwrap_or_default(),
        sources: settings.sources.iter().map(|source| source.name.clone()).collect(),
    };
    Ok((Arc::new(store), pins))
}

/// What sees to alerts: the way to it, for HTTP as well, the thread that is to be run, and the token of whoever may change something. People reach HTTP at `listen`, or
/// where the settings say.
pub(super) fn alerting(
    settings: &Settings,
    listen: SocketAddr,
    publisher: &PublisherHandle,
) -> (Alerting, Clerk, Option<String>) {
    let public_url = settings.http.public_url.as_deref();
    let health = Health::default();
    let closed = !settings.http.listen.ip().is_loopback() && !settings.http.open_reading;
    let guard = Guard::new(public_url).with_reading(closed);
    let guard = if settings.http.listen.ip().is_loopback() { guard.known_by_name() } else { guard };
    let (guard, token) = match Token::of(settings) {
        Token::Known(token, kept) => {
            if let Some(path) = &kept {
                tracing::info!(path = %path.display(), "who changes something over HTTP needs the token in this file");
            }
            (guard.with_token(Some(&token)), Some(token))
        }
        Token::Unknown(what) => {
            tracing::error!("{what}");
            health.trouble("http.token_env", false, what);
            (guard.with_token(None), None)
        }
    };
    let around = alerts::Surroundings {
        // Without a journal nothing is kept over a restart, and the directory is not ours alone.
        state_dir: settings.journal.enabled.then_some(settings.daemon.state_dir.as_path()),
        public_url: public_url.map_or_else(|| format!("http://{listen}"), str::to_owned),
        publisher: publisher.clone(),
        health: health.clone(),
    };
    let (alerts, clerk) = alerts::open(&settings.alerts, around);
    (Alerting { alerts, guard, health }, clerk, token)
}

/// What the screen says of the sources.
pub(super) fn source_parts(
    settings: &Settings,
    sources: &[Vec<(ZmqFrameSource, Arc<SourceStatus>)>],
    addresses: &[String],
) -> Vec<(String, &'static str, String, Arc<SourceStatus>)> {
    let socket = |source: &SourceSettings| match (source.kind, source.socket) {
        (SourceKind::StxmStream, Socket::Pull) => "stxm_stream, PULL",
        (SourceKind::StxmStream, Socket::Sub) => "stxm_stream, SUB",
        (SourceKind::Pystxmcontrol, _) => "pystxmcontrol, SUB",
        (SourceKind::Pixelator, _) => "pixelator, SUB",
        (SourceKind::Bluesky, _) => "bluesky, SUB",
        (SourceKind::Dectris, _) => "dectris, PULL",
        (SourceKind::Desy, _) => "desy, SUB",
    };
    let all = settings.sources.iter().zip(sources).zip(addresses);
    // Of a pair of sockets the first one's state is shown.
    all.filter_map(|((source, sockets), address)| {
        let (_, status) = sockets.first()?;
        Some((source.name.clone(), socket(source), address.clone(), Arc::clone(status)))
    })
    .collect()
}

/// What HTTP serves: the board, alerts, the archive, and what the daemon says of itself.
pub(super) fn http_state(board: &Board, alerting: Alerting, parts: Parts, hand: OperatorsHand) -> HttpState {
    let (render, shelf, library) =
        (parts.metrics.clone(), Arc::clone(&parts.shelf), Arc::clone(&parts.library));
    let state =
        |reference: &Reference| Some((reference.label.id.clone(), reference.composition.state.clone()?));
    let in_use = Arc::clone(&parts.in_use);
    let states = Arc::new(move || in_use.recipe().references.references.iter().filter_map(state).collect());
    // Another run of the program, another epoch.
    let epoch = parts.started.timestamp() as u64;
    let system = System::new(parts);
    let screen = Screen {
        states,
        library: Some(library),
        islands: Arc::new(Islands::new(shelf)),
        system: Arc::new(move || system.tell()),
        wishes: Some(Arc::new(hand)),
    };
    HttpState::with_screen(board.clone(), epoch, move || render.render(), alerting, screen)
}

/// The sockets of a source, each with its name: its own, or with a role for a second one.
pub(super) fn endpoints(source: &SourceSettings, message_bytes: usize) -> Vec<(String, Endpoint)> {
    let kind = match source.socket {
        Socket::Pull => SocketKind::Pull,
        Socket::Sub => SocketKind::Sub,
    };
    let endpoint = |attachment: &Attachment| {
        let attach = match attachment {
            Attachment::Connect(address) => Attach::Connect(address.clone()),
            Attachment::Bind(address) => Attach::Bind(address.clone()),
        };
        let topic = source.topic.clone();
        Endpoint { topic, max_message_bytes: message_bytes, ..Endpoint::new(kind, attach) }
    };
    let data = source.data.iter().map(|data| (format!("{}/data", source.name), endpoint(data)));
    std::iter::once((source.name.clone(), endpoint(&source.endpoint))).chain(data).collect()
}

/// Without a journal nobody looks at those that are there.
pub(super) fn warn_of_journals(settings: &Settings) {
    let journals = settings.daemon.state_dir.join("journal");
    let some = std::fs::read_dir(&journals).is_ok_and(|mut entries| entries.next().is_some());
    if some {
        let journals = journals.display();
        tracing::warn!(%journals, "journal.enabled is false: scans that are open or not archived there stay as they are");
    }
}

/// Recordings of the wire; a source that cannot be recorded is received all the same.
pub(super) fn raw_logs(settings: &Settings) -> Vec<Option<RawLog>> {
    let folder = settings.daemon.state_dir.join("raw");
    let log = |source: &SourceSettings| {
        let limit = settings.journal.record_bytes as u64;
        let socket = if source.socket == Socket::Sub { "sub" } else { "pull" };
        let recorded = Recorded {
            source: source.name.clone(),
            socket: socket.to_owned(),
            kind: Some(source.kind.as_str().to_owned()),
        };
        let log = RawLog::create(&folder, &recorded, limit);
        log.inspect_err(|error| tracing::error!(source = source.name, "the wire is not recorded: {error}"))
            .ok()
    };
    settings.sources.iter().map(log).collect()
}

/// What reads the format of a source.
fn adapter(source: &SourceSettings, hold_bytes: usize) -> Adapter {
    let naming = Naming {
        beamline: source.beamline.clone(),
        source: source.name.clone(),
        channel: source.channel.clone(),
    };
    match source.kind {
        SourceKind::StxmStream => Adapter::StxmStream {
            framing: if source.socket == Socket::Sub { Framing::Topic } else { Framing::Bare },
            beamline: source.beamline.clone(),
        },
        SourceKind::Pystxmcontrol => Adapter::Pystxmcontrol(Box::new(Pystxmcontrol::new(naming))),
        SourceKind::Pixelator => Adapter::Pixelator(Box::new(Pixelator::new(naming))),
        SourceKind::Bluesky => Adapter::Bluesky(Box::new(Bluesky::new(naming))),
        SourceKind::Desy => {
            let geometry = source.geometry.clone().unwrap_or_default();
            Adapter::Desy(Box::new(Desy::new(naming, geometry, hold_bytes)))
        }
        SourceKind::Dectris => {
            // It was checked with the settings.
            let told = source.geometry.clone().and_then(|geometry| Told::read(geometry).ok());
            let knowledge = if source.geometry_from.is_some() {
                let (span, order) = told.map_or_else(Default::default, |told| (told.span(), told.order()));
                Knowledge::Joined(Box::new(Join::new(span, order)))
            } else {
                Knowledge::Told(told.filter(Told::is_whole))
            };
            Adapter::Dectris(Box::new(Dectris::new(naming, knowledge, hold_bytes)))
        }
    }
}

pub(super) fn lines(settings: &Settings) -> Vec<SourceLine> {
    let line = |source: &SourceSettings| {
        let wants = |other: &SourceSettings| other.geometry_from.as_deref() == Some(&*source.name);
        SourceLine {
            name: source.name.clone(),
            adapter: adapter(source, settings.limits.held_bytes),
            tells: settings.sources.iter().position(wants),
        }
    };
    settings.sources.iter().map(line).collect()
}

/// Where missing messages are asked for; its client runs in a task, until `stop`.
pub(super) fn resend_office(settings: &Settings, stop: &CancellationToken) -> Office {
    let line = |source: &SourceSettings| ResendLine {
        name: source.name.clone(),
        rule: ResendRule::of(source),
        after: Duration::from_secs_f64(source.resend_after_s),
    };
    let (errands, to_carry) = tokio::sync::mpsc::channel(MOST_UNDER_WAY);
    let (report, reports) = sync_channel(MOST_UNDER_WAY);
    tokio::spawn(client::run(to_carry, report, stop.clone()));
    Office::new(settings.sources.iter().map(line).collect(), errands, reports)
}

pub(super) fn frame_settings(settings: &Settings) -> FrameSettings {
    let detector = &settings.detector;
    FrameSettings {
        mask: detector.mask.clone(),
        find_bad_pixels: detector.find_bad_pixels,
        bright_field: detector.bright_field.clone(),
        dark_field: detector.dark_field.clone(),
        moments: detector.moments,
    }
}

pub(super) fn scans(settings: &Settings) -> Scans {
    let limits = ScanLimits {
        pixels: settings.limits.pixels,
        stack_bytes: settings.limits.stack_bytes,
        total_bytes: settings.limits.total_bytes,
        open_scans: settings.limits.open_scans,
        held_bytes: settings.limits.held_bytes,
        kept_bytes: settings.limits.kept_bytes,
    };
    let patience = |source: &SourceSettings| Patience {
        silence: Duration::from_secs_f64(source.silence_s),
        grace: Duration::from_secs_f64(source.grace_s),
        reopen: Duration::from_secs_f64(source.reopen_s),
        resend: Duration::from_secs_f64(source.resend_wait_s),
    };
    Scans::new(limits, settings.sources.iter().map(patience).collect()).with_frames(frame_settings(settings))
}
