//! SIGKILL at random moments: with a sender that sends again, the archive is that of an undisturbed run, to the byte; without,
//! exactly what was lost is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use phasewatch::recording::Recording;
use phasewatch::simulate::{
    Endpoint, MessageSettings, PublishSettings, ScanMessages, ScanSource, SocketKind, publish,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::daemon::{Daemon, PATIENCE, Site, free_address, seen};
use super::judge::{
    Files, differences, files, leftovers, manifest, missing, received, replayed, settled, verified, whole,
};
use super::moment::{Moment, Point};
use super::number;
use super::sender::{MESSAGES, Sender, write_scenario};

const SCAN: &str = "killed";
/// What is always said of a source.
const PATIENT: &str = "grace_s = 0.3\nresend_after_s = 0.1\n";

/// The small scan as a recording, which has its own times: each replay of it is the same scan. And its undisturbed archive.
struct Recorded {
    _site: Site,
    stack: PathBuf,
    undisturbed: Files,
}

static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let address = free_address();
        let site = Site::new(&source(&format!("bind = {address:?}\nsilence_s = 60\n{PATIENT}")), "");
        let daemon = site.start();
        let common = ["--connect", &address, "--speed", "0", "--scan-id", SCAN];
        Sender::start(common.into_iter().chain(args.iter().copied())).end();
        let folder = seen(PATIENCE, || whole(&site, SCAN)).unwrap_or_else(|| panic!("{}", daemon.log.text()));
        (site, folder)
    };
    let (_site, folder) = run(&["--scenario", &write_scenario(dir.path())]);
    let stack = folder.join("stack.parquet");
    let (_undisturbed, folder) = run(&["--stack", stack.to_str().unwrap()]);
    Recorded { undisturbed: files(&folder), _site, stack }
});

fn source(lines: &str) -> String {
    format!("[[source]]\nkind = \"stxm-stream\"\nname = \"beam\"\n{lines}")
}

/// How the two are connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    SenderConnects,
    DaemonConnects,
    /// PUB and SUB: whatever is sent while no daemon is there is lost.
    Subscribes,
}

/// How the two are connected, and what goes wrong beside the kills.
struct Course {
    way: Way,
    faults: bool,
    /// Whether the first messages, `scan_start` among them, are lost.
    late: bool,
    /// Whether the settings say whom to ask; otherwise only `scan_start` does, and has to come through.
    told: bool,
    offers: bool,
    speed: f64,
    address: String,
    offer: String,
}

impl Course {
    fn random(rng: &mut ChaCha8Rng, offers: bool) -> Self {
        let way = [Way::SenderConnects, Way::DaemonConnects, Way::Subscribes][rng.random_range(0..3)];
        let told = offers && rng.random();
        // Where all of a scan went by or lay in buffers when the daemon died, the next one cannot know that there was a scan:
        // as fast as possible, only where it is killed later.
        let speeds: &[f64] = match way {
            Way::Subscribes => &[3.0],
            _ if told => &[3.0, 6.0, 20.0],
            _ => &[0.0, 3.0, 6.0, 20.0],
        };
        Self {
            way,
            faults: rng.random(),
            late: told && rng.random_bool(0.3),
            told,
            offers,
            speed: speeds[rng.random_range(0..speeds.len())],
            address: free_address(),
            offer: free_address(),
        }
    }

    /// Whether the daemon may be killed before it has heard of the scan.
    fn at_any_time(&self) -> bool {
        self.told && self.way != Way::Subscribes
    }

    fn source(&self) -> String {
        let way = match self.way {
            Way::SenderConnects => "bind",
            Way::DaemonConnects => "connect",
            Way::Subscribes => "socket = \"sub\"\nconnect",
        };
        let resend = if self.told { format!("resend = {:?}\n", self.offer) } else { String::new() };
        // An end that is lost is noticed by the silence after it.
        let silence_s = if self.offers { 6 } else { 3 };
        source(&format!("{way} = {:?}\nsilence_s = {silence_s}\n{PATIENT}{resend}", self.address))
    }

    fn sender(&self, seed: u64) -> Sender {
        let (speed, seed) = (self.speed.to_string(), seed.to_string());
        let way = if self.way == Way::SenderConnects { "--connect" } else { "--bind" };
        let stack = RECORDED.stack.to_str().unwrap();
        let mut args =
            vec![way, &self.address, "--speed", &speed, "--seed", &seed, "--scan-id", SCAN, "--stack", stack];
        if self.offers {
            args.extend(["--resend", &self.offer, "--linger", "600"]);
        }
        if self.way == Way::Subscribes {
            args.push("--pub");
        }
        if self.late {
            args.extend(["--late-start", "4"]);
        }
        if self.faults {
            args.extend(["--drop", "0.1", "--duplicate", "0.1", "--reorder", "6", "--garbage", "0.3"]);
        }
        Sender::start(args)
    }

    fn words(&self) -> String {
        let way = match self.way {
            Way::SenderConnects => "sender connects",
            Way::DaemonConnects => "daemon connects",
            Way::Subscribes => "daemon subscribes",
        };
        let late = if self.late { ", joined late" } else { "" };
        let faults = if self.faults { ", faults" } else { "" };
        let told = if self.told { ", settings say whom to ask" } else { "" };
        format!("{way}{faults}{late}{told}, speed {}", self.speed)
    }
}

/// What was seen over all rounds.
#[derive(Default)]
struct Tally {
    kills: u64,
    rounds: u64,
    by_point: BTreeMap<Point, u64>,
    ready_ms: BTreeMap<bool, Vec<f64>>,
    lost: u64,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    fn note_ready(&mut self, daemon: &Daemon, resumes: bool) {
        if let Some(at) = daemon.log.time("ready") {
            let ms = at.duration_since(daemon.started).as_secs_f64() * 1e3;
            self.ready_ms.entry(resumes).or_default().push(ms);
        }
    }

    fn note_errors(&mut self, log: &super::daemon::Log) {
        for line in log.errors() {
            let line: Value = serde_json::from_str(&line).unwrap_or(Value::String(line));
            let what = line["message"].as_str().or(line.as_str()).unwrap_or_default();
            *self.errors.entry(what.chars().take(100).collect()).or_default() += 1;
        }
    }

    fn print(&self, what: &str, seed: u64, took: Duration) {
        let mut text = format!(
            "\n## {what}\n\n{} kills in {} scans, seed {seed}, {:.0} s.\n\n| killed | times |\n| --- | ---: |\n",
            self.kills,
            self.rounds,
            took.as_secs_f64()
        );
        for (point, times) in &self.by_point {
            writeln!(text, "| {} | {times} |", point.name()).unwrap();
        }
        for (resumes, times) in &self.ready_ms {
            let mut times = times.clone();
            times.sort_by(f64::total_cmp);
            let what = if *resumes { "with a journal to resume" } else { "with nothing to resume" };
            let (middle, most) = (times[times.len() / 2], times[times.len() - 1]);
            let count = times.len();
            writeln!(
                text,
                "\nStart to ready {what}: median {middle:.0} ms, at most {most:.0} ms ({count} starts)."
            )
            .unwrap();
        }
        if self.lost > 0 {
            writeln!(text, "\nMessages that were lost: {}, each of them known.", self.lost).unwrap();
        }
        for (error, times) in &self.errors {
            writeln!(text, "\nSaid as an error {times} times: {error}").unwrap();
        }
        println!("{text}");
        // A batch of which only a part was written is one; nothing else is.
        let unexpected = self.errors.keys().filter(|error| !error.starts_with("damaged, left out"));
        assert_eq!(unexpected.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

/// One scan, and a daemon that is killed while it comes in.
struct Round {
    site: Site,
    daemon: Daemon,
    sender: Sender,
    words: String,
}

/// Kills the daemon of one scan a few times, at most `kills`; the last life goes on.
fn disturb(course: &Course, kills: u64, rng: &mut ChaCha8Rng, tally: &mut Tally) -> Round {
    tally.rounds += 1;
    let site = Site::new(&course.source(), "");
    let mut daemon = site.start();
    if course.at_any_time() && rng.random() {
        // So that there is a time before the scan.
        daemon.ready();
    }
    let sender = course.sender(rng.random());
    let words = course.words();
    for _ in 0..rng.random_range(1..=kills.min(6)) {
        let events = site.journal(SCAN).join(phasewatch::journal::EVENTS);
        let moment = Moment::random(rng, !course.at_any_time() && !events.exists());
        moment.wait(&daemon, &site, SCAN);
        if !course.at_any_time() {
            seen(PATIENCE, || events.exists().then_some(())).expect("a journal");
        }
        let resumes = daemon.log.time("scan is back").is_some();
        tally.note_ready(&daemon, resumes);
        let log = daemon.kill();
        tally.note_errors(&log);
        let point = Point::of(&site, SCAN, &log);
        tally.kills += 1;
        *tally.by_point.entry(point).or_default() += 1;
        println!(
            "kill {:3}  scan {:3}  {words:70}  {moment:28}  {}",
            tally.kills,
            tally.rounds,
            point.name()
        );
        let down = Instant::now() + Duration::from_millis(rng.random_range(0..200));
        while Instant::now() < down {
            std::thread::park_timeout(down.saturating_duration_since(Instant::now()));
        }
        daemon = site.start();
        if point == Point::Archived {
            break;
        }
    }
    Round { site, daemon, sender, words }
}

/// Says what became of a scan that did not end as it has to, and keeps its files.
fn fail(round: Round, what: &str) -> ! {
    let Round { site, daemon, words, .. } = round;
    let text = daemon.log.text();
    let manifests = site.archived().iter().filter_map(|folder| manifest(folder)).collect::<Vec<_>>();
    let told = manifests.iter().map(|m| format!("{} {}", m["outcome"], m["gaps"])).collect::<Vec<_>>();
    drop(daemon.kill());
    panic!("{what}\n{words}\narchived: {told:?}\nkept in {}\n{text}", site.keep().display());
}

/// Stops the last daemon, and looks at what is true of any scan in the end. Returns the files.
fn finish(round: Round, tally: &mut Tally, seed_words: &str) -> (Site, Files) {
    round.daemon.ready();
    tally.note_ready(&round.daemon, round.daemon.log.time("scan is back").is_some());
    tally.note_errors(&round.daemon.log);
    let Round { site, daemon, words, .. } = round;
    let log = daemon.log.clone();
    assert_eq!(daemon.stop(), Some(0), "{seed_words}, {words}: {}", log.text());
    let problem = format!("{seed_words}, {words}:\n{}", log.text());
    assert_eq!(verified(&site), Ok(()), "{problem}");
    assert_eq!(leftovers(&site), Vec::<PathBuf>::new(), "{problem}");
    let archived = site.archived();
    assert_eq!(archived.len(), 1, "{archived:?}; {problem}");
    assert_eq!(settled(&site, SCAN).as_ref(), archived.first(), "{problem}");
    let files = files(&archived[0]);
    assert_eq!(differences(&files, &replayed(&site, SCAN)), Vec::<&str>::new(), "the replay; {problem}");
    (site, files)
}

#[test]
fn with_a_sender_that_sends_again_the_archive_is_that_of_an_undisturbed_run() {
    let (kills, seed) = (number("PHASEWATCH_KILLS", 6) * 2 / 3, number("PHASEWATCH_SEED", 1_u64));
    let (mut rng, mut tally, began) = (ChaCha8Rng::seed_from_u64(seed), Tally::default(), Instant::now());
    while tally.kills < kills {
        let course = Course::random(&mut rng, true);
        let round = disturb(&course, kills - tally.kills, &mut rng, &mut tally);
        if seen(PATIENCE, || whole(&round.site, SCAN)).is_none() {
            fail(round, "it does not become whole");
        }
        let which = format!("seed {seed}, scan {}", tally.rounds);
        let (_site, files) = finish(round, &mut tally, &which);
        assert_eq!(differences(&files, &RECORDED.undisturbed), Vec::<&str>::new(), "{which}");
    }
    tally.print("With a sender that sends again", seed, began.elapsed());
}

#[test]
fn with_one_that_does_not_exactly_what_was_lost_is_missing() {
    let (kills, seed) = (number("PHASEWATCH_KILLS", 6_u64).div_ceil(3), number("PHASEWATCH_SEED", 1_u64));
    let (mut rng, mut tally, began) =
        (ChaCha8Rng::seed_from_u64(seed ^ 0x10_55), Tally::default(), Instant::now());
    while tally.kills < kills {
        let course = Course::random(&mut rng, false);
        let mut round = disturb(&course, kills - tally.kills, &mut rng, &mut tally);
        let is_over = |round: &mut Round| (round.sender.has_ended()).then(|| settled(&round.site, SCAN))?;
        if seen(PATIENCE, || is_over(&mut round)).is_none() {
            fail(round, "it is not archived");
        }
        let which = format!("seed {seed}, scan {}", tally.rounds);
        let (site, files) = finish(round, &mut tally, &which);
        let manifest = manifest(&site.archived()[0]).unwrap();
        let received = received(&site.journal(SCAN));
        let highest = *received.last().unwrap();
        let lost: BTreeSet<u64> = (0..=highest).filter(|seq| !received.contains(seq)).collect();
        assert_eq!(missing(&manifest), lost, "{which}");
        tally.lost += MESSAGES - received.len() as u64;
        let straight = run_of(&received);
        assert_eq!(differences(&files, &straight), Vec::<&str>::new(), "{which}");
    }
    tally.print("With a sender that does not send again", seed, began.elapsed());
}

/// The archive of an undisturbed run of these messages only.
fn run_of(seqs: &BTreeSet<u64>) -> Files {
    let address = free_address();
    let site = Site::new(&source(&format!("bind = {address:?}\nsilence_s = 3\n{PATIENT}")), "");
    let daemon = site.start();
    let mut recording = Recording::load(&RECORDED.stack).unwrap();
    SCAN.clone_into(&mut recording.plan.scan_id);
    let messages = ScanMessages::new(ScanSource::Recording(Box::new(recording)), MessageSettings::default());
    let seqs = seqs.clone();
    let chosen = (0..).zip(messages).filter(move |(seq, _)| seqs.contains(seq)).map(|(_, message)| message);
    let settings = PublishSettings {
        data: None,
        endpoint: Endpoint::Connect(address),
        socket: SocketKind::Push,
        speed: 0.0,
        wait_for_peer: true,
        linger: Duration::from_secs(2),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(publish(settings, chosen, CancellationToken::new(), |_| {})).unwrap();
    let folder = seen(PATIENCE, || settled(&site, SCAN)).unwrap_or_else(|| panic!("{}", daemon.log.text()));
    files(&folder)
}
