//! When to kill, and where that was.

use std::fmt;
use std::time::{Duration, Instant};

use phasewatch::journal::{self, Archived, What};
use phasewatch::scan::ScanUpdate;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::daemon::{Daemon, Log, Site};
use super::judge::settled;

/// After so long a daemon is killed whether what was waited for came or not.
const LONGEST: Duration = Duration::from_secs(4);

/// What to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// Nothing but time.
    Start,
    /// A line of the log.
    Said(&'static str),
    /// The journal of the scan has its first bytes.
    Journal,
    /// The journal has grown by this share of a whole scan's.
    Grown,
    /// Messages are held whose scan has not started.
    Held,
    /// The end of the scan came.
    Ended,
    /// A folder of the archive is being written.
    Writing,
    /// The scan lies in the archive.
    Placed,
}

/// When to kill a daemon.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub sign: Sign,
    pub then: Duration,
}

impl Moment {
    /// A random one. Where the scan has to be `known` before, the journal is waited for.
    pub fn random(rng: &mut ChaCha8Rng, known: bool) -> Self {
        let mut within = |ms: f64| Duration::from_secs_f64(rng.random::<f64>() * ms / 1e3);
        let (soon, later) = (within(8.0), within(1200.0));
        let (short, start) = (within(100.0), within(400.0));
        let choices: &[(Sign, Duration)] = if known {
            &[
                (Sign::Journal, soon),
                (Sign::Journal, later),
                (Sign::Journal, later),
                (Sign::Journal, later),
                (Sign::Grown, short),
                (Sign::Ended, soon),
                (Sign::Writing, soon),
            ]
        } else {
            &[
                (Sign::Start, start),
                (Sign::Start, start),
                (Sign::Start, later),
                (Sign::Said("ready"), soon),
                (Sign::Said("scan is back"), soon),
                (Sign::Held, soon),
                (Sign::Held, short),
                (Sign::Journal, later),
                (Sign::Grown, short),
                (Sign::Ended, soon),
                (Sign::Ended, short),
                (Sign::Said("asking for messages"), soon),
                (Sign::Said("scan ended"), soon),
                (Sign::Writing, soon),
                (Sign::Writing, soon),
                (Sign::Placed, Duration::ZERO),
                (Sign::Placed, soon),
                (Sign::Said("scan archived"), short),
            ]
        };
        let (sign, then) = choices[rng.random_range(0..choices.len())];
        Self { sign, then }
    }

    /// Waits for it.
    pub fn wait(self, daemon: &Daemon, site: &Site, scan_id: &str) {
        let events = site.journal(scan_id).join(journal::EVENTS);
        let size = || std::fs::metadata(&events).map_or(0, |meta| meta.len());
        let before = size();
        let deadline = Instant::now() + LONGEST;
        let is_there = || match self.sign {
            Sign::Start => true,
            Sign::Said(message) => daemon.log.time(message).is_some(),
            Sign::Journal => size() > 0,
            Sign::Grown => size() > before,
            Sign::Held => is_held(site),
            Sign::Ended => size() > 0 && has_ended(site, scan_id),
            Sign::Writing => is_writing(site),
            Sign::Placed => !site.archived().is_empty(),
        };
        // A scan that is archived gives no other sign.
        let is_over =
            || settled(site, scan_id).is_some() && !matches!(self.sign, Sign::Said("scan archived"));
        while !is_there() && !is_over() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_micros(200));
        }
        let until = Instant::now() + self.then;
        while Instant::now() < until {
            std::thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} + {:.0} ms", self.sign, self.then.as_secs_f64() * 1e3)
    }
}

fn is_held(site: &Site) -> bool {
    let held = std::fs::read_dir(site.path().join("state/held"));
    held.is_ok_and(|mut held| held.next().is_some())
}

fn has_ended(site: &Site, scan_id: &str) -> bool {
    let mut has_end = false;
    let read = journal::read(&site.journal(scan_id), |line| {
        has_end |= matches!(line.what, What::Update(ScanUpdate::Ended(_)));
    });
    read.is_ok() && has_end
}

fn is_writing(site: &Site) -> bool {
    let entries = std::fs::read_dir(site.archive()).into_iter().flatten();
    entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with(".tmp-"))
}

/// Where a daemon was killed, told from what it left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    Starting,
    Resuming,
    BeforeTheScan,
    Held,
    Stream,
    Asking,
    Grace,
    Ended,
    Writing,
    PlacedUnmarked,
    Archived,
}

impl Point {
    /// What it is called in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting, nothing received yet",
            Self::Resuming => "resuming from the journal",
            Self::BeforeTheScan => "ready, before the scan",
            Self::Held => "messages held, their scan not started",
            Self::Stream => "in the stream",
            Self::Asking => "in the stream, messages asked for again",
            Self::Grace => "after the end, waiting for late messages",
            Self::Ended => "closed, mapping or waiting for the archive",
            Self::Writing => "writing the archive",
            Self::PlacedUnmarked => "placed in the archive, the journal not told",
            Self::Archived => "archived",
        }
    }

    /// Looks at what a killed daemon left.
    pub fn of(site: &Site, scan_id: &str, log: &Log) -> Self {
        let folder = site.journal(scan_id);
        let is_known = folder.join(journal::EVENTS).exists();
        let is_ready = log.time("ready").is_some();
        if !is_ready && settled(site, scan_id).is_none() {
            return if is_known { Self::Resuming } else { Self::Starting };
        }
        if !is_known {
            return if is_held(site) { Self::Held } else { Self::BeforeTheScan };
        }
        let (mut has_end, mut closing) = (false, None);
        let read = journal::read(&folder, |line| match line.what {
            What::Update(ScanUpdate::Ended(_)) => has_end = true,
            What::Closed(_) => closing = Some(line.seq),
            What::Update(_) => closing = None,
        });
        if let (Ok(_), Some(closing)) = (read, closing) {
            if Archived::read(&folder).is_some_and(|archived| u64::from(archived.closing) == closing) {
                return Self::Archived;
            }
            if is_writing(site) {
                return Self::Writing;
            }
            // Of an earlier closing there may be one, too.
            return if closing == 1 && !site.archived().is_empty() {
                Self::PlacedUnmarked
            } else {
                Self::Ended
            };
        }
        match (has_end, log.time("asking for messages")) {
            (true, _) => Self::Grace,
            (_, Some(_)) => Self::Asking,
            _ => Self::Stream,
        }
    }
}
