//! The figures that the requirements name, once each, with the machine they were measured on. Run with
//! `cargo bench --profile dev --bench report`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "figures/daemon.rs"]
mod daemon;
#[path = "figures/frames.rs"]
mod frames;
#[path = "figures/idle.rs"]
mod idle;
#[path = "figures/ingest.rs"]
mod ingest;
#[path = "figures/kernel.rs"]
mod kernel;
#[path = "figures/latency.rs"]
mod latency;
#[path = "figures/memory.rs"]
mod memory;
#[path = "figures/process.rs"]
mod process;
#[path = "figures/scene.rs"]
mod scene;
#[path = "figures/stream.rs"]
mod stream;

use std::time::{Duration, Instant};

use daemon::Daemon;
use phasewatch::scan::ScanPlan;
use phasewatch::settings::ModelBackend;
use phasewatch::telemetry::{self, MetricsHandle};
use scene::Scene;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && first == stream::EMULATOR
    {
        return stream::emulate(rest);
    }
    machine();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    if wants("kernel") {
        correlation();
    }
    if wants("latency") {
        map();
    }
    if wants("app") || wants("ingest") || wants("journal") || wants("stream") {
        let metrics = telemetry::install().unwrap();
        if wants("app") {
            published(&metrics);
        }
        if wants("ingest") {
            ingested(&metrics);
        }
        if wants("journal") {
            journalled(&metrics);
        }
        if wants("stream") {
            streamed(&metrics);
        }
    }
    if wants("frames") {
        summed();
    }
    if wants("idle") {
        at_rest();
    }
    if wants("memory") {
        resident();
    }
}

fn at_rest() {
    let span = Duration::from_secs(60);
    let model = format!("[model]\npath = \"{}/config/models/nvpf.onnx\"\n", env!("CARGO_MANIFEST_DIR"));
    for (what, more, page) in [
        ("no page", "", idle::Page::None),
        ("the page open", "", idle::Page::Open),
        ("the page's view of the system", "", idle::Page::System),
        ("no page, the built-in model", model.as_str(), idle::Page::None),
        ("the page open, the built-in model", model.as_str(), idle::Page::Open),
    ] {
        let idle = idle::measure(more, page, span);
        println!(
            "idle, a sender connected, {what}: {:.3} % of a core over {} s (1 allowed), {:.1} MB resident (60 allowed)",
            100.0 * idle.cores,
            span.as_secs(),
            idle.resident_mb
        );
    }
}

fn machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "machine: {}, {cores} cores, load {}",
        model.trim_matches([' ', '\t', ':']),
        read("/proc/loadavg").trim()
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Median of `count` runs.
fn timed(count: usize, mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    median((0..count).map(time).collect())
}

fn correlation() {
    let (least, update) = kernel::on_one_thread(|| {
        let (mut stream, mut kernel) = (kernel::Stream::new(), kernel::Kernel::new());
        (timed(301, || stream.pass()), timed(301, || kernel.add()))
    });
    println!(
        "1. correlation update, 512x512 x 5, one energy, one thread: {:.2} ms (4 allowed); least traffic {:.2} ms \
         ({:.1} GB/s), ratio {:.2} (1.5 allowed)",
        ms(update),
        ms(least),
        kernel::Stream::BYTES as f64 / least.as_secs_f64() / 1e9,
        update.as_secs_f64() / least.as_secs_f64(),
    );
}

fn map() {
    for photons in [3000.0, 300.0] {
        let sha256 = phasewatch::simulate::nvpf::reference_set().sha256;
        let mut arrival = latency::Arrival::new(Scene::new(256, 75, photons), 60);
        breakdown(&format!("{photons} photons, no model"), || arrival.next(None));
        if let Some(mut model) = scene::model() {
            breakdown(&format!("{photons} photons, GMVAE"), || arrival.next(model.model_of(&sha256)));
        }
    }
}

fn breakdown(what: &str, mut next: impl FnMut() -> latency::Steps) {
    let steps: Vec<_> = (0..30).map(|_| next()).collect();
    let of = |step: fn(&latency::Steps) -> Duration| ms(median(steps.iter().map(step).collect()));
    println!(
        "2. last message to published map, 256x256 x 5 x 75, {what}: median {:.1} ms (150 allowed), slowest {:.1} ms; take \
         {:.2}, advance {:.1}, judge and consult {:.1}, encode {:.1}; {} pixels ambiguous after it",
        of(|s| s.total()),
        ms(steps.iter().map(latency::Steps::total).max().unwrap_or_default()),
        of(|s| s.stack),
        of(|s| s.advance),
        of(|s| s.generation),
        of(|s| s.encode),
        steps.iter().map(|s| s.open).max().unwrap_or_default(),
    );
}

fn published(metrics: &MetricsHandle) {
    let scene = Scene::new(256, 75, 3000.0);
    let path = Some(scene::model_path()).filter(|path| path.exists());
    let with = if path.is_some() { "GMVAE" } else { "no model" };
    let mut daemon = Daemon::start(metrics, |settings| {
        settings.model.path = path;
        settings.model.backend = ModelBackend::Tract;
    });
    let mut sub = daemon.subscribe("live");
    daemon.send(
        std::iter::once(scene.start("live")).chain((0..55).flat_map(|energy| scene.image("live", energy))),
    );
    daemon.wait("live", |summary| summary.measured_values == 55 * 256 * 256);
    let times: Vec<_> = (55..75)
        .map(|energy| {
            let lines = scene.image("live", energy);
            daemon.image(&mut sub, lines, Duration::from_millis(730), energy as u64 + 1)
        })
        .collect();
    daemon.send([scene.end("live")]);
    daemon.wait_for_end("live");
    let slowest = times.iter().max().copied().unwrap_or_default();
    println!(
        "2. the same through the daemon, sender and subscriber over loopback, {with}: median {:.1} ms (150 allowed), \
         slowest of {} {:.1} ms",
        ms(median(times.clone())),
        times.len(),
        ms(slowest),
    );
    daemon.stop();
}

fn ingested(metrics: &MetricsHandle) {
    let template = Scene::new(8, 300, 3000.0).plan;
    let mut daemon = Daemon::start(metrics, |_| {});
    let points = ingest::points(&mut daemon, &template, 1000);
    let [messages, bytes] = points.per_s();
    println!(
        "3. point lines of 250 pixels: {messages:.0} messages/s (60000 wanted), {:.0} MB/s, {} messages in {:.2} s, nothing \
         missing",
        bytes / 1e6,
        points.messages,
        points.time.as_secs_f64(),
    );
    daemon.stop();
    let mut daemon = Daemon::start(metrics, |_| {});
    let frames = ingest::frames(&mut daemon, &template, 1000);
    let [messages, bytes] = frames.per_s();
    println!(
        "3. area frames of 256x256 uint16, 8 a message: {:.2} GB/s (1 wanted), {messages:.0} messages/s, {:.1} GB in \
         {:.2} s, nothing missing",
        bytes / 1e9,
        frames.bytes as f64 / 1e9,
        frames.time.as_secs_f64(),
    );
    daemon.stop();
}

/// What the journal costs on the way in: the same messages with and without it, in turn.
fn journalled(metrics: &MetricsHandle) {
    const ROUNDS: usize = 7;
    let template = Scene::new(8, 300, 3000.0).plan;
    type Measure = fn(&mut Daemon, &ScanPlan, usize) -> ingest::Ingested;
    let kinds: [(&str, usize, Measure); 2] = [
        ("point lines of 250 pixels", 250, ingest::points),
        ("area frames of 256x256 uint16", 250, ingest::frames),
    ];
    for (what, rows, measure) in kinds {
        let run = |enabled: bool| {
            let mut daemon = Daemon::start(metrics, |settings| settings.journal.enabled = enabled);
            let ingested = measure(&mut daemon, &template, rows);
            daemon.stop();
            ingested
        };
        let rounds: Vec<_> = (0..ROUNDS).map(|_| [run(true), run(false)]).collect();
        let time =
            |with: usize| median(rounds.iter().map(|round| round[with].received).collect()).as_secs_f64();
        let mut ratios: Vec<_> = rounds
            .iter()
            .map(|[with, without]| with.received.as_secs_f64() / without.received.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "5. {what}, {} messages: {:.0} messages/s with the journal, {:.0} without; time with over without, pair by pair: median \
             {:.3} (1.15 allowed), {:.3} to {:.3}",
            rounds[0][0].messages,
            rounds[0][0].messages as f64 / time(0),
            rounds[0][0].messages as f64 / time(1),
            ratios[ROUNDS / 2],
            ratios[0],
            ratios[ROUNDS - 1],
        );
    }
}

/// Compressed frames, on one thread each way; set `PHASEWATCH_PYTHON` to have Python's beside ours (`scripts/frames.sh`).
fn summed() {
    let mut python = frames::Python::start();
    for set in frames::sets() {
        println!("6. {}", set.name);
        println!(
            "   | way | µs a frame | frames/s | GB/s decoded | over LZ4 alone (quartiles) | Python over it |"
        );
        println!("   | --- | ---: | ---: | ---: | ---: | ---: |");
        for taken in frames::measure(&set, python.as_mut()) {
            let [low, median, high] = taken.over_floor;
            println!(
                "   | {} | {:.2} | {:.0} | {:.2} | {median:.2} ({low:.2} to {high:.2}) | {:.1} |",
                taken.name,
                taken.frame_us,
                1e6 / taken.frame_us,
                taken.gb_per_s,
                taken.under_python,
            );
        }
        let (frames_per_s, threads) = frames::on_all_threads(&set);
        println!(
            "   bright and dark field and moments on {threads} threads at once, the best of 50 runs: {frames_per_s:.0} frames/s"
        );
    }
}

/// A detector's stream from a process of its own, through the daemon, on all the cores there are.
fn streamed(metrics: &MetricsHandle) {
    let small = |set| stream::Stream { set, grid: [200, 200], energies: 5 };
    let large = |set| stream::Stream { set, grid: [100, 100], energies: 3 };
    let eiger = |set| stream::Stream { set, grid: [40, 40], energies: 2 };
    let disc = "bright_field = { centre = [96, 96], outer = 38 }";
    let all = "bright_field = { centre = [96, 96], outer = 38 }\ndark_field = { centre = [96, 96], inner = 38, outer = 300 }\nmoments = true";
    for (stream, what, regions) in [
        (small(0), "192x192 u16, mean 0.5 everywhere, sum of the frame", ""),
        (small(0), "the same, bright field", disc),
        (small(1), "192x192 u16, disc, mean 0.5, bright field", disc),
        (small(1), "the same, bright and dark field, moments", all),
        (large(5), "512x512 u16, disc, mean 0.5, sum of the frame", ""),
        (eiger(7), "1028x1062 u32, disc, mean 0.5, sum of the frame", ""),
    ] {
        let came = stream::run(metrics, stream, regions);
        let s = came.time.as_secs_f64();
        println!(
            "7. {what}: {:.0} frames/s, {:.2} GB/s decoded, {:.0} MB/s on the wire ({} frames in {s:.2} s, nothing lost); last frame to map \
             {:.0} ms",
            stream.images() as f64 / s,
            came.decoded_bytes as f64 / s / 1e9,
            came.wire_bytes as f64 / s / 1e6,
            stream.images(),
            ms(came.to_map),
        );
    }
}

fn resident() {
    let all = memory::in_a_row(10);
    let allowed = 3.0 * memory::stack_mb() + 200.0;
    println!(
        "4. resident memory, 512x512 x 100 (stack as float32: {:.0} MB; allowed {allowed:.0} MB)",
        memory::stack_mb()
    );
    for (scan, memory) in all.iter().enumerate() {
        let of = if scan == 0 { "before".to_owned() } else { format!("scan {scan}") };
        println!("   {of}: at most {:.0} MB, afterwards {:.0} MB", memory.peak_mb, memory.now_mb);
    }
    let most = all.iter().map(|memory| memory.peak_mb).fold(0.0, f64::max);
    println!("   over all of them: at most {most:.0} MB");
}
