//! `phasewatch simulate`: publishes a simulated or recorded scan over `stxm-stream/1`, with faults on demand.
//!
//! The scan is built in (`config/scenarios/demo.toml`), described by a scenario, or recorded in a stack. A
//! simulated scan says so in its plan; a recorded one does not, unless it was simulated when it was recorded.

mod scans;
mod spoken;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use scans::Scans;
pub(super) use scans::read_scenario;
use spoken::{DetectorArg, EncodingArg, FormatArg, SeriesArg};

use super::{Failure, print, say};
use crate::simulate::{
    Emulated, Endpoint, Faults, Faulty, Format, Keeping, MessageKind, MessageSettings, Offer, PublishError,
    PublishEvent, PublishReport, PublishSettings, ScanMessages, ScanSource, SocketKind, WireMessage, nvpf,
    publish_offering,
};
use crate::source::stxm_stream::encode::EncodeError;

/// Real time between two repeats of `scan_start` on PUB; the format wants one every 5 s at least.
const REPEAT_START_MS: f64 = 2000.0;
/// How long to wait after an interrupt until what was sent is written out.
const LINGER: Duration = Duration::from_secs(2);

/// Options of `phasewatch simulate`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("where").args(["bind", "connect", "write_references"]).required(true)))]
pub struct SimulateArgs {
    /// Replay this recorded stack: an ALS .hdr, an NXstxm or Mantis HDF5, or a stack.parquet of the archive.
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    stack: Option<PathBuf>,
    /// Simulate this scenario (a TOML file, or the name of one that is built in) instead of the demo's; where it has a series, all scans of
    /// it, one after the other.
    #[arg(long, value_name = "FILE|NAME")]
    scenario: Option<PathBuf>,
    /// Bind to this address, such as tcp://127.0.0.1:5555; port 0 takes any free one.
    #[arg(long, value_name = "ADDR")]
    bind: Option<String>,
    /// Bind this address, too, for the frames of --as desy.
    #[arg(long, value_name = "ADDR", requires = "bind")]
    bind_data: Option<String>,
    /// Connect to this address.
    #[arg(long, value_name = "ADDR")]
    connect: Option<String>,
    /// Use PUB instead of PUSH.
    #[arg(long = "pub")]
    publish: bool,
    /// Speak as this does instead, over the socket that it has; see docs/formats.
    #[arg(long = "as", value_enum, value_name = "FORMAT", conflicts_with = "resend")]
    speak_as: Option<FormatArg>,
    /// What one series of an emulated area detector holds.
    #[arg(long, value_enum, value_name = "WHAT", requires = "speak_as", default_value = "stack")]
    series: SeriesArg,
    /// The emulated area detector says nothing of the scan: that is for the settings, or another source.
    #[arg(long, requires = "speak_as")]
    no_geometry: bool,
    /// 1: as fast as the microscope; X: so many times faster; 0: as fast as possible.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
    /// Detector of the simulated microscope.
    #[arg(long, value_enum, conflicts_with = "stack")]
    detector: Option<DetectorArg>,
    /// How the frames of an area detector are packed.
    #[arg(long, value_enum, default_value = "raw", conflicts_with_all = ["stack", "speak_as"])]
    encoding: EncodingArg,
    /// Seed of specimen, noise and faults.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Identifier of the scan; with --repeat, and in a series, -1, -2 and so on follow it.
    #[arg(long, value_name = "ID")]
    scan_id: Option<String>,
    /// Replay only these energies of the stack: eV values separated by commas, or count:N.
    #[arg(long, value_name = "LIST", requires = "stack")]
    energies: Option<String>,
    /// Write what is really in the specimen, pixel by pixel, into this JSON file; in a series into one for each scan (truth-1.json).
    #[arg(long, value_name = "FILE", conflicts_with = "stack")]
    truth: Option<PathBuf>,
    /// Send so many scans, one after the other. Where the scenario has damage, each scans the same specimen again, with
    /// the dose of those before.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    #[command(flatten)]
    offer: OfferArgs,
    #[command(flatten)]
    faults: FaultArgs,
    /// Write the synthetic NVPF reference spectra into DIR, and do nothing else. A file that says something else is not overwritten.
    #[arg(long, value_name = "DIR")]
    write_references: Option<PathBuf>,
}

/// Whether messages can be asked for again.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sending again")]
struct OfferArgs {
    /// Offer to send messages again: bind a REP socket to this address, such as tcp://127.0.0.1:0, and name it in
    /// scan_start. What the faults lose can be asked for there.
    #[arg(long, value_name = "ADDR")]
    resend: Option<String>,
    /// After the last message, stay until so many seconds have passed without a request.
    #[arg(long, value_name = "S", default_value_t = 10.0, requires = "resend")]
    linger: f64,
    /// Keep at most so many bytes of messages; the oldest give way.
    #[arg(long, value_name = "N", default_value_t = 268_435_456, requires = "resend")]
    keep_bytes: usize,
}

impl OfferArgs {
    fn check(&self) -> Result<(), Failure> {
        let is_open = |address: &str| {
            ["tcp://*", "tcp://0.0.0.0:", "tcp://[::]:"].iter().any(|open| address.starts_with(open))
        };
        if let Some(address) = self.resend.as_deref().filter(|address| is_open(address)) {
            return Err(Failure::usage(format_args!(
                "--resend {address} must name the address that receivers are to connect to"
            )));
        }
        if !(0.0..=86_400.0).contains(&self.linger) {
            return Err(Failure::usage(format_args!("--linger {} must be 0 to 86400", self.linger)));
        }
        Ok(())
    }

    async fn bind(&self) -> Result<Option<Offer>, Failure> {
        let Some(address) = &self.resend else { return Ok(None) };
        let linger = Duration::from_secs_f64(self.linger);
        let offer = Offer::bind(address, self.keep_bytes, linger).await.map_err(|error| failure(&error))?;
        say(format_args!("sends again what is asked for at {}", offer.address()));
        Ok(Some(offer))
    }
}

/// What goes wrong on the way.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Faults")]
struct FaultArgs {
    /// Share of messages that are lost, 0 to 1.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    drop: f64,
    /// Share of messages that come twice, 0 to 1.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    duplicate: f64,
    /// Shuffle messages within a window of so many.
    #[arg(long, value_name = "N", default_value_t = 0)]
    reorder: usize,
    /// Abort the scan after so many energies.
    #[arg(long, value_name = "N")]
    abort_after: Option<usize>,
    /// Send no scan_end.
    #[arg(long)]
    no_end: bool,
    /// Lose the first messages, as a receiver does that joins late.
    #[arg(long, value_name = "N", default_value_t = 0)]
    late_start: usize,
    /// So many messages of garbage for each real one.
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    garbage: f64,
}

/// Runs the command.
///
/// # Errors
/// What the exit codes of [`Failure`] tell apart.
pub fn run(args: &SimulateArgs) -> Result<(), Failure> {
    if let Some(dir) = &args.write_references {
        let written = nvpf::write(dir)
            .map_err(|error| Failure::unavailable(format_args!("cannot write references: {error}")))?;
        say(format_args!("wrote {written} references to {}", dir.display()));
        return Ok(());
    }
    check_addresses(args)?;
    args.faults.check()?;
    args.offer.check()?;
    let mut scans = Scans::load(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unavailable(format_args!("no runtime: {error}")))?;
    let result = runtime.block_on(send_all(args, &mut scans));
    // Threads that still make messages nobody wants end with the process.
    runtime.shutdown_background();
    result
}

/// What is no address is said at once, not after a wait for somebody there.
fn check_addresses(args: &SimulateArgs) -> Result<(), Failure> {
    let given = [("--bind", &args.bind), ("--bind-data", &args.bind_data), ("--connect", &args.connect)];
    for (name, address) in given {
        let Some(address) = address else { continue };
        let port =
            address.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).map(|(_, port)| port);
        if port.is_none_or(|port| port.parse::<u16>().is_err()) {
            return Err(Failure::usage(format_args!(
                "{name} {address} is no address: it looks like tcp://127.0.0.1:5555"
            )));
        }
    }
    Ok(())
}

impl FaultArgs {
    fn check(self) -> Result<(), Failure> {
        for (name, share, most) in [
            ("--drop", self.drop, 1.0),
            ("--duplicate", self.duplicate, 1.0),
            ("--garbage", self.garbage, 1000.0),
        ] {
            if !(0.0..=most).contains(&share) {
                return Err(Failure::usage(format_args!("{name} {share} must be 0 to {most}")));
            }
        }
        if self.reorder > 100_000 {
            return Err(Failure::usage(format_args!("--reorder {} must be at most 100000", self.reorder)));
        }
        Ok(())
    }

    fn faults(self) -> Faults {
        Faults {
            drop: self.drop,
            duplicate: self.duplicate,
            reorder: self.reorder,
            late_start: self.late_start,
            garbage: self.garbage,
        }
    }
}

async fn send_all(args: &SimulateArgs, scans: &mut Scans) -> Result<(), Failure> {
    let cancel = CancellationToken::new();
    let on_interrupt = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_interrupt.cancel();
        }
    });
    let offer = args.offer.bind().await?;
    let resend = offer.as_ref().map(|offer| offer.address().to_owned());
    let (mut messages, mut ids, mut all_energies) = (Vec::new(), Vec::new(), 0);
    let mut started = Utc::now();
    for number in 1..=scans.count(args) {
        let scan_id = scans.scan_id(args, number, started)?;
        let source = scans.source(args, (&scan_id, number), started)?;
        if let ScanSource::Microscope(microscope) = &source
            && args.speed > 0.0
            && !scans.is_series()
        {
            // The next scan starts when this one is over.
            let scan_ms = microscope.line_start_ms(microscope.plan().energies_ev.len(), 0) / args.speed;
            started += TimeDelta::milliseconds(scan_ms as i64);
        }
        ids.push(scan_id);
        let (energies, scan) = scan_messages(args, source, resend.clone());
        all_energies += energies;
        messages.push(scan);
    }
    let seed = args.seed.unwrap_or_default();
    let faults = args.faults.faults();
    let keeper = offer.as_ref().map(Offer::keeper);
    // Every scan has faults of its own, a late start too. They lose messages on the way: kept are all.
    let with_faults = (0..).zip(messages).flat_map(move |(number, scan)| {
        Faulty::new(Keeping::new(scan, keeper.clone()), faults, seed.wrapping_add(number))
    });
    let settings = publish_settings(args);
    let mut progress = Progress::new(all_energies, settings.endpoint.address());
    let on_progress = move |event| progress.note(&event);
    let report = publish_offering(settings, with_faults, offer, cancel, on_progress).await;
    tell(&report.map_err(|error| failure(&error))?, &ids);
    Ok(())
}

/// The messages of one scan, without faults.
type Messages = Box<dyn Iterator<Item = Result<WireMessage, EncodeError>> + Send>;

/// The number of energies that will be sent, and all messages.
fn scan_messages(args: &SimulateArgs, source: ScanSource, resend: Option<String>) -> (usize, Messages) {
    // As fast as possible, exposure tells nothing of real time: repeat with every ten thousand dwells.
    let speed = if args.speed > 0.0 { args.speed } else { 5.0 };
    let settings = MessageSettings {
        repeat_start_ms: args.publish.then_some(REPEAT_START_MS * speed),
        abort_after: args.faults.abort_after,
        no_end: args.faults.no_end,
        encoding: args.encoding.into(),
    };
    match args.format() {
        Some(format) => {
            let messages = Emulated::new(source, format, settings);
            (messages.energies(), Box::new(messages))
        }
        None => {
            let messages = ScanMessages::new(source, settings).with_resend(resend);
            (messages.energies(), Box::new(messages))
        }
    }
}

fn publish_settings(args: &SimulateArgs) -> PublishSettings {
    let endpoint = match (&args.bind, &args.connect) {
        (Some(address), _) => Endpoint::Bind(address.clone()),
        (None, address) => Endpoint::Connect(address.clone().unwrap_or_default()),
    };
    PublishSettings {
        endpoint,
        data: args.bind_data.clone().map(Endpoint::Bind),
        socket: match (args.format(), args.publish) {
            (Some(Format::Desy), _) => SocketKind::PubAsIs,
            (Some(format), _) if format.has_frames() => SocketKind::Push,
            (Some(_), _) => SocketKind::PubAsIs,
            (None, true) => SocketKind::Pub,
            (None, false) => SocketKind::Push,
        },
        speed: args.speed,
        wait_for_peer: true,
        linger: LINGER,
    }
}

fn failure(error: &PublishError) -> Failure {
    match error {
        PublishError::Endpoint { .. } => Failure::unavailable(error),
        PublishError::Speed(_) => Failure::usage(error),
        PublishError::Encode(_) => Failure::data(error),
        PublishError::Maker(_) => Failure::bug(error),
    }
}

fn tell(report: &PublishReport, ids: &[String]) {
    let how = if report.cancelled { "interrupted; sent" } else { "sent" };
    print(format_args!("{how} {} messages, {} bytes, of {}", report.messages, report.bytes, ids.join(", ")));
    if report.resent > 0 {
        print(format_args!("sent {} messages again", report.resent));
    }
    if report.unsent_bytes > 0 {
        say(format_args!("{} bytes had not left when we stopped waiting", report.unsent_bytes));
    }
}

/// A bar on a terminal; elsewhere only the lines that matter.
struct Progress {
    bar: ProgressBar,
    /// Where a receiver is waited for.
    address: String,
    energy: Option<u32>,
}

impl Progress {
    fn new(energies: usize, address: &str) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(energies as u64)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} energy {pos} of {len}  {elapsed_precise}  {msg}")
        {
            bar.set_style(style);
        }
        Self { bar, address: address.to_owned(), energy: None }
    }

    fn note(&mut self, event: &PublishEvent) {
        match event {
            PublishEvent::Bound(address) => {
                self.bar.suspend(|| say(format_args!("bound to {address}")));
                // With the port that was taken.
                self.address.clone_from(address);
            }
            PublishEvent::Waiting => {
                self.bar.suspend(|| say(format_args!("waiting for a receiver at {}", self.address)));
            }
            PublishEvent::Sent { kind: MessageKind::Samples { energy_index }, .. } => {
                if self.energy.replace(*energy_index).is_some_and(|held| held != *energy_index) {
                    self.bar.inc(1);
                }
            }
            PublishEvent::Sent { kind: MessageKind::End, .. } => {
                self.energy = None;
                self.bar.inc(1);
            }
            PublishEvent::Lingering => self.bar.suspend(|| say("all was sent; waiting for requests")),
            PublishEvent::Resent { messages } => {
                self.bar.suspend(|| say(format_args!("sent {messages} messages again")));
            }
            PublishEvent::Sent { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(line: &str) -> Result<SimulateArgs, clap::Error> {
        Line::try_parse_from(std::iter::once("simulate").chain(line.split_whitespace())).map(|line| line.args)
    }

    #[test]
    fn wants_to_know_where() {
        assert!(parse("").is_err());
        assert!(parse("--bind tcp://127.0.0.1:0 --connect tcp://127.0.0.1:1").is_err());
        assert!(parse("--bind tcp://127.0.0.1:0 --stack a.hdr --scenario b.toml").is_err());
        parse("--bind tcp://127.0.0.1:0 --pub --speed 0 --drop 0.1").unwrap();
    }

    #[test]
    fn refuses_shares_and_identifiers_that_make_no_sense() {
        let refused =
            |line: &str| run(&parse(&format!("--bind tcp://127.0.0.1:0 {line}")).unwrap()).unwrap_err();
        assert_eq!(refused("--drop 1.5").code, 64);
        assert_eq!(refused("--garbage nan").code, 64);
        assert!(refused("--resend tcp://*:5560").message.contains("receivers are to connect"));
        assert_eq!(refused("--resend tcp://127.0.0.1:0 --linger=-1").code, 64);
        assert!(refused("--scan-id ../x").message.contains("../x"));
        assert_eq!(refused("--scenario /nowhere.toml").code, 64);
        let unknown = refused("--scenario nope");
        assert!(unknown.code == 64 && unknown.message.contains("clean, "), "{unknown}");
        for address in ["127.0.0.1:5555", "tcp://127.0.0.1", "tcp://host:port", "udp://127.0.0.1:5555"] {
            let failure = run(&parse(&format!("--connect {address}")).unwrap()).unwrap_err();
            assert_eq!(failure.code, 64, "{address}");
            assert!(failure.message.contains("looks like tcp://127.0.0.1:5555"), "{failure}");
        }
        assert!(refused("--scenario fronts --repeat 2").message.contains("series"));
        assert_eq!(refused("--stack /nowhere.hdr").code, 65);
    }
}
