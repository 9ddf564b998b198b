//! `phasewatch sniff ADDR`: listens, and tells which format speaks there, which scans it tells of, and what is wrong with them.
//!
//! It subscribes. A PUSH is told from a PUB by what it says of itself in the handshake, and left alone: a PULL takes its share of the
//! messages away from whoever else pulls, so that has to be asked for (`--pull`).

mod report;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::run::{runtime, stop_on_signal};
use super::{Failure, print, say};
use crate::source::frames::{
    Attach, Endpoint, FrameSource as _, PeerCause, SocketKind, SourceNotice, ZmqFrameSource,
};
use crate::source::raw_log::{RawLog, Recorded};
use crate::source::sniff::Sniffer;

/// Notices that wait to be looked at; then the socket is not read.
const AHEAD: usize = 64;
/// Between two lines of progress where nobody looks at a terminal, and between two looks of one who does.
const PLAIN_EVERY: Duration = Duration::from_secs(2);
const LIVE_EVERY: Duration = Duration::from_millis(200);
/// Between two writes to a recording.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `phasewatch sniff`.
#[derive(Debug, Args)]
pub struct SniffArgs {
    /// Where somebody speaks, such as tcp://scan-server:9998; with --bind the address that senders connect to.
    address: String,
    /// Bind the address instead of connecting to it: for senders that connect.
    #[arg(long)]
    bind: bool,
    /// Receive what is pushed (PULL) instead of what is published (SUB). Beside a file writer this takes messages away from
    /// it: each message goes to one of those who pull. Use it on a test bench, or behind `phasewatch tee`. Without it, a PUSH is
    /// recognised, told, and left alone.
    #[arg(long)]
    pull: bool,
    /// Listen for so many seconds; without it until interrupted (Ctrl-C).
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Stop after so many messages.
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
    /// Record every message into this file, which `phasewatch replay` plays. It must not be there yet.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Larger messages, all parts together, are passed over, bytes.
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    message_bytes: usize,
}

/// A notice, and when it came.
type Heard = (SourceNotice, DateTime<Utc>);

/// Sniffs.
///
/// # Errors
/// [`Failure`]: 64 for an address that is none, 69 where nothing came, 65 where all that came is garbage.
pub(super) fn run(args: &SniffArgs) -> Result<(), Failure> {
    if args.seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= 1e9)) {
        return Err(Failure::usage("--seconds must be above 0"));
    }
    let log = match &args.record {
        None => None,
        Some(path) => {
            let socket = if args.pull { "pull" } else { "sub" };
            let recorded = Recorded { source: args.address.clone(), socket: socket.to_owned(), kind: None };
            let log = RawLog::create_file(path, &recorded);
            Some(log.map_err(|error| Failure::unavailable(format_args!("{}: {error}", path.display())))?)
        }
    };
    let runtime = runtime()?;
    let session = runtime.block_on(listen(args, log))?;
    runtime.shutdown_background();
    session.end(args)
}

/// Listens until it is enough. What comes is looked into on this thread, not on one of those that wait for sockets.
async fn listen(args: &SniffArgs, log: Option<RawLog>) -> Result<Session, Failure> {
    let kind = if args.pull { SocketKind::Pull } else { SocketKind::Sub };
    let address = args.address.clone();
    let attach = if args.bind { Attach::Bind(address) } else { Attach::Connect(address) };
    let endpoint = Endpoint { max_message_bytes: args.message_bytes, ..Endpoint::new(kind, attach) };
    let (source, shown) = ZmqFrameSource::open(endpoint).await.map_err(|error| match error {
        crate::source::frames::FrameError::Address { .. } => Failure::usage(error),
        crate::source::frames::FrameError::Bind { .. } => Failure::unavailable(error),
    })?;
    let how = if args.pull { "PULL" } else { "SUB" };
    say(format_args!("{} {shown} ({how})", if args.bind { "bound to" } else { "listening to" }));
    if args.pull {
        say("PULL takes messages away from every other receiver of the same sender; see `phasewatch tee`");
    }
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let (sender, mut notices) = mpsc::channel(AHEAD);
    tokio::spawn(forward(source, sender));
    let mut session = Session::new(log);
    let until = args.seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let every = if session.bar.is_hidden() { PLAIN_EVERY } else { LIVE_EVERY };
    let mut tick = tokio::time::interval(every.min(FLUSH_EVERY));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_told = Instant::now() + every;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = at(until) => break,
            _ = tick.tick() => {
                session.flush()?;
                if Instant::now() >= next_told {
                    next_told = Instant::now() + every;
                    session.progress();
                }
            }
            heard = notices.recv() => {
                let Some((notice, time)) = heard else { break };
                session.notice(notice, time);
                // It is not going to become another socket.
                if session.pushes.is_some() && !args.bind {
                    break;
                }
                if args.messages.is_some_and(|most| session.messages >= most) {
                    break;
                }
                if session.log.as_ref().is_some_and(RawLog::is_due) {
                    session.flush()?;
                }
            }
        }
    }
    session.flush()?;
    session.bar.finish_and_clear();
    Ok(session)
}

/// Hands notices over; while nobody takes them, the socket is held.
async fn forward(mut source: ZmqFrameSource, sender: mpsc::Sender<Heard>) {
    loop {
        let heard = (source.next().await, Utc::now());
        let sent = tokio::select! {
            sent = sender.send(heard) => sent,
            () = source.hold() => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// One listening.
struct Session {
    sniffer: Sniffer,
    log: Option<RawLog>,
    bar: ProgressBar,
    messages: u64,
    recorded: u64,
    oversize: u64,
    /// What a peer says that is no PUB, once.
    pushes: Option<String>,
    trouble: Option<String>,
    told: u64,
}

impl Session {
    fn new(log: Option<RawLog>) -> Self {
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}") {
            bar.set_style(style);
        }
        Self {
            sniffer: Sniffer::new(),
            log,
            bar,
            messages: 0,
            recorded: 0,
            oversize: 0,
            pushes: None,
            trouble: None,
            told: 0,
        }
    }

    fn notice(&mut self, notice: SourceNotice, time: DateTime<Utc>) {
        match notice {
            SourceNotice::Message(parts) => {
                self.messages += 1;
                self.sniffer.push(&parts, time);
                if let Some(log) = &mut self.log {
                    log.push(time, &parts);
                    self.recorded += 1;
                }
            }
            SourceNotice::Oversize { .. } => self.oversize += 1,
            SourceNotice::Connected { address, .. } => self.tell(format_args!("connected: {address}")),
            SourceNotice::Disconnected { .. } => self.tell("the sender is gone; waiting for it"),
            SourceNotice::Idle { .. } => {}
            SourceNotice::PeerError { cause, detail } => {
                let wrong_socket = cause == PeerCause::Handshake && detail.contains(" socket; ");
                if wrong_socket && self.pushes.is_none() {
                    self.tell(&detail);
                    self.pushes = Some(detail.clone());
                }
                if self.trouble.as_ref() != Some(&detail) && !wrong_socket {
                    self.tell(format_args!("cannot connect, trying again: {detail}"));
                }
                self.trouble = Some(detail);
            }
        }
    }

    fn tell(&self, what: impl std::fmt::Display) {
        self.bar.suspend(|| say(what));
    }

    fn progress(&mut self) {
        let line = report::progress(&self.sniffer.finding());
        if !self.bar.is_hidden() {
            self.bar.set_message(line);
            self.bar.tick();
        } else if self.messages != self.told {
            self.told = self.messages;
            say(line);
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let Some(log) = &mut self.log else { return Ok(()) };
        log.flush().map_err(|error| Failure::unavailable(format_args!("the recording: {error}")))
    }

    /// Says what was found.
    fn end(mut self, args: &SniffArgs) -> Result<(), Failure> {
        if let Some(log) = &mut self.log {
            log.finish().map_err(|error| Failure::unavailable(format_args!("the recording: {error}")))?;
        }
        let finding = self.sniffer.finding();
        if args.json {
            print(serde_json::to_string_pretty(&finding).map_err(Failure::bug)?);
        } else if finding.messages > 0 {
            for line in report::lines(&finding, &args.address, args.bind, args.pull) {
                print(line);
            }
        }
        if let Some(path) = args.record.as_ref().filter(|_| self.recorded > 0) {
            say(format_args!("{} messages recorded in {}", self.recorded, path.display()));
        }
        if self.oversize > 0 {
            say(format_args!("{} messages above --message-bytes were passed over", self.oversize));
        }
        if finding.messages == 0 {
            return Err(Failure::unavailable(match (&self.pushes, &self.trouble) {
                (Some(what), _) if !args.pull && what.contains("PUSH") => format!(
                    "a PUSH sends there ({what}). With --pull it can be listened to, which takes messages away from whoever else pulls: \
                     a file writer loses its share. Put `phasewatch tee` between, see docs/tee.md"
                ),
                (Some(what), _) if args.pull => {
                    format!("no PUSH sends there ({what}): leave --pull out")
                }
                (_, Some(trouble)) => format!("nothing came from {}: {trouble}", args.address),
                _ => format!("nothing came from {}: nobody spoke", args.address),
            }));
        }
        if finding.formats.is_empty() {
            return Err(Failure::data("all that came is garbage to phasewatch: no format that it knows"));
        }
        Ok(())
    }
}
