//! `phasewatch tee`: stands between one PUSH and many receivers, and gives each of them every message.

use std::time::{Duration, Instant};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::run::{runtime, stop_on_signal};
use super::{Failure, print, say};
use crate::source::frames::{Attach, Endpoint, FrameError, SocketKind, SourceNotice, ZmqFrameSource};
use crate::tee::backlog::Counts;
use crate::tee::outlet::{Outlet, Side};
use crate::tee::{Received, Tee};
use crate::telemetry::{self, LogFormat, LogLevel, LogPriority};

/// Arguments of `phasewatch tee`.
///
/// A PUSH deals its messages out among all who pull: two receivers get a half each. The tee is the only receiver, and hands each message
/// to every output, byte for byte, in order. What it has received and not delivered is lost when it is killed (SIGKILL) or the machine stops.
#[derive(Debug, Args)]
pub struct TeeArgs {
    /// The sender, such as tcp://detector:31001.
    #[arg(long, value_name = "ADDR")]
    from: String,
    /// Bind the address of --from instead of connecting to it: for senders that connect.
    #[arg(long)]
    bind_from: bool,
    /// An output that loses nothing, such as tcp://0.0.0.0:31001; its receiver connects there. May be given several times. One that is slow holds back the sender,
    /// and all others with it.
    #[arg(long, value_name = "ADDR")]
    to: Vec<String>,
    /// An output that loses its oldest messages where its receiver is too slow, or not there, and holds nobody back. May be given several times.
    #[arg(long, value_name = "ADDR")]
    may_drop: Vec<String>,
    /// Connect to the addresses of the outputs instead of binding them.
    #[arg(long)]
    connect_to: bool,
    /// Most bytes that wait for one output.
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    queue_bytes: usize,
    /// Larger messages, all parts together, are passed over, bytes.
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    message_bytes: usize,
    /// Say how it goes every so many seconds.
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    report: f64,
    /// When stopped (SIGTERM, Ctrl-C), wait so many seconds for receivers to take what was received.
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    linger: f64,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// [`Failure`]: an address that is none, or is taken; 69 where not all could be delivered at the end.
pub(super) fn run(args: &TeeArgs, log_format: Option<LogFormat>) -> Result<(), Failure> {
    let [report, linger] = [("--report", args.report), ("--linger", args.linger)].map(|(name, seconds)| {
        let good = (0.0..=86_400.0).contains(&seconds);
        good.then(|| Duration::from_secs_f64(seconds))
            .ok_or_else(|| Failure::usage(format_args!("{name} {seconds} must be 0 to 86400")))
    });
    let (report, linger) = (report?, linger?);
    if args.to.is_empty() && args.may_drop.is_empty() {
        return Err(Failure::usage("give at least one output: --to or --may-drop"));
    }
    if args.to.is_empty() {
        say(
            "no output with --to: nothing holds the sender back, and what no --may-drop output takes in time is lost",
        );
    }
    telemetry::init(LogLevel::Info, log_format.unwrap_or(LogFormat::Text), LogPriority::Auto)
        .map_err(Failure::bug)?;
    let runtime = runtime()?;
    let result = runtime.block_on(serve(args, report, linger));
    runtime.shutdown_background();
    result
}

async fn serve(args: &TeeArgs, report: Duration, linger: Duration) -> Result<(), Failure> {
    let attach = match args.bind_from {
        true => Attach::Bind(args.from.clone()),
        false => Attach::Connect(args.from.clone()),
    };
    let (mut outlets, mut tasks) = (Vec::new(), Vec::new());
    let all = args.to.iter().map(|to| (to, false)).chain(args.may_drop.iter().map(|to| (to, true)));
    for (address, may_drop) in all {
        let Some(bare) = address.strip_prefix("tcp://").filter(|bare| bare.contains(':')) else {
            return Err(Failure::usage(format_args!("{address:?} is not of the form tcp://host:port")));
        };
        let side = if args.connect_to { Side::Connect } else { Side::Bind };
        let opened = Outlet::open(side(bare.to_owned()), may_drop, args.queue_bytes).await;
        let (outlet, socket) =
            opened.map_err(|error| Failure::unavailable(format_args!("{address}: {error}")))?;
        let how = if may_drop { "may drop" } else { "lossless" };
        say(format_args!("output {} ({how})", outlet.name()));
        tasks.push(tokio::spawn(socket.run()));
        outlets.push(outlet);
    }
    let endpoint =
        Endpoint { max_message_bytes: args.message_bytes, ..Endpoint::new(SocketKind::Pull, attach) };
    let (source, shown) = ZmqFrameSource::open(endpoint).await.map_err(|error| match error {
        FrameError::Address { .. } => Failure::usage(error),
        FrameError::Bind { .. } => Failure::unavailable(error),
    })?;
    say(format_args!("input {shown}"));
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    let tee = Tee::new(outlets);
    let mut clock = Clock { last: Instant::now(), told: Received::default(), counts: Vec::new() };
    let mut trouble = None;
    let mut tick = tokio::time::interval(report.max(Duration::from_millis(100)));
    let running = tee.run(source, &stop, |notice| news(&notice, &mut trouble));
    tokio::pin!(running);
    loop {
        tokio::select! {
            () = &mut running => break,
            _ = tick.tick() => clock.tell(&tee),
        }
    }
    let received = tee.received();
    let undelivered = tee.drain(linger).await;
    // Those that have a receiver hang up in good order; those that wait for one have nothing to lose.
    for task in tasks {
        let abort = task.abort_handle();
        if tokio::time::timeout(Duration::from_secs(1), task).await.is_err() {
            abort.abort();
        }
    }
    print(format_args!("received {} messages, {} bytes", received.messages, received.bytes));
    for (name, _, counts) in tee.counts() {
        print(format_args!(
            "{name} delivered {} messages, {} bytes; dropped {}; not delivered {}",
            counts.delivered, counts.bytes, counts.dropped, counts.waiting
        ));
    }
    if received.oversize > 0 {
        print(format_args!("passed over {} messages above --message-bytes", received.oversize));
    }
    let lossless: u64 =
        tee.counts().filter(|(_, may_drop, _)| !may_drop).map(|(.., counts)| counts.waiting).sum();
    if lossless > 0 {
        return Err(Failure::unavailable(format_args!(
            "{lossless} of {undelivered} messages that nobody took within {} s were to be lossless, and are lost",
            linger.as_secs_f64()
        )));
    }
    Ok(())
}

/// Says now and then how it goes.
struct Clock {
    last: Instant,
    told: Received,
    counts: Vec<Counts>,
}

impl Clock {
    fn tell(&mut self, tee: &Tee) {
        let (received, passed) = (tee.received(), self.last.elapsed());
        let counts: Vec<_> = tee.counts().map(|(.., counts)| counts).collect();
        if received == self.told && counts == self.counts {
            return;
        }
        let mb_per_s = (received.bytes - self.told.bytes) as f64 / 1e6 / passed.as_secs_f64();
        tracing::info!(
            messages = received.messages,
            bytes = received.bytes,
            mb_per_s = format_args!("{mb_per_s:.1}"),
            "received"
        );
        for (output, _, counts) in tee.counts() {
            tracing::info!(
                output,
                delivered = counts.delivered,
                waiting = counts.waiting,
                waiting_bytes = counts.waiting_bytes,
                dropped = counts.dropped,
                "an output"
            );
        }
        (self.last, self.told, self.counts) = (Instant::now(), received, counts);
    }
}

/// Tells what the source says; the same trouble once.
fn news(notice: &SourceNotice, trouble: &mut Option<String>) {
    match notice {
        SourceNotice::Connected { address, .. } => {
            *trouble = None;
            tracing::info!(address, "the sender is connected");
        }
        SourceNotice::Disconnected { peers } => tracing::warn!(peers, "a sender is gone"),
        SourceNotice::Oversize { bytes } => {
            tracing::error!(bytes, "a message above --message-bytes was passed over: nobody gets it");
        }
        SourceNotice::PeerError { detail, .. } if trouble.as_ref() != Some(detail) => {
            tracing::warn!("trouble with the sender: {detail}");
            *trouble = Some(detail.clone());
        }
        SourceNotice::PeerError { .. } => {}
        SourceNotice::Idle { .. } | SourceNotice::Message(_) => {}
    }
}
