//! Figure 6: compressed frames to sums, on one thread, beside LZ4 decoding alone and beside Python (`scripts/frames.py`), in
//! turn on the same frames. Every frame is another one: a processor learns the branches of a few by heart.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use phasewatch::detector::compressed::{
    Element, Encoding, FrameReducer, Kernel, PixelMask, Reduced, Region, RegionSum, Regions, bslz4,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson};

/// Block size of the filter, in bytes; what detectors send.
const BLOCK: usize = 8192;
/// Decoded bytes of a set, and of what is measured at a time.
const SET: usize = 72 << 20;
/// Short, so that most slices run from end to end undisturbed on a machine that has other work as well.
const SLICE: usize = 1 << 20;
const ROUNDS: usize = 3;

/// Counts a pixel.
#[derive(Clone, Copy)]
pub(crate) enum Light {
    /// The same mean everywhere.
    Even(f64),
    /// A mean of 0.5 over the frame, nine tenths of it in a disc whose radius is a fifth of the frame's shorter side.
    Disc,
    /// That, and rows that have no data across the middle, as between two modules.
    Gap,
}

/// Frames of one kind, packed.
pub(crate) struct Set {
    pub(crate) name: String,
    shape: [usize; 2],
    element: Element,
    frames: Vec<Vec<u8>>,
}

impl Set {
    fn new(shape: [usize; 2], element: Element, light: Light) -> Self {
        let [height, width] = shape;
        let bits = 8 * element.size();
        let what = match light {
            Light::Even(mean) => format!("Poisson, mean {mean} everywhere"),
            Light::Disc => "Poisson, disc, mean 0.5".to_owned(),
            Light::Gap => "Poisson, disc, mean 0.5, 38 rows without data".to_owned(),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let means: Vec<_> =
            (0..height * width).map(|pixel| mean(shape, light, pixel)).map(Poisson::new).collect();
        let value = |(pixel, mean): (usize, &Result<Poisson<f64>, _>), rng: &mut ChaCha8Rng| {
            let no_data = matches!(light, Light::Gap) && (514..552).contains(&(pixel / width));
            let drawn = mean.as_ref().map_or(0.0, |mean| mean.sample(rng));
            let value = if no_data { u64::MAX } else { drawn as u64 };
            value.to_le_bytes()
        };
        let frame = |_| {
            let values =
                means.iter().enumerate().flat_map(|mean| value(mean, &mut rng).into_iter().take(bits / 8));
            bslz4(element, &values.collect::<Vec<_>>(), BLOCK)
        };
        let frames = (0..SET / (height * width * bits / 8)).map(frame).collect();
        Self { name: format!("{height}x{width} u{bits}, {what}"), shape, element, frames }
    }

    pub(crate) fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(crate) fn element_size(&self) -> usize {
        self.element.size()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.shape[0] * self.shape[1] * self.element.size()
    }

    /// Centre and radius of the disc.
    fn disc(&self) -> ([f64; 2], f64) {
        disc(self.shape)
    }

    fn bright(&self) -> PixelMask {
        let (centre, radius) = self.disc();
        PixelMask::annulus(self.shape, centre, 0.0, radius)
    }

    fn regions(&self, list: Vec<Region>) -> Regions {
        Regions::new(self.shape, self.element, None, list, &[]).unwrap()
    }

    fn all_regions(&self) -> Regions {
        let (centre, radius) = self.disc();
        let dark = PixelMask::annulus(self.shape, centre, radius, f64::INFINITY);
        let all = PixelMask::everything(self.shape);
        self.regions(vec![
            Region { mask: self.bright(), moments: false },
            Region { mask: dark, moments: false },
            Region { mask: all, moments: true },
        ])
    }
}

fn disc([height, width]: [usize; 2]) -> ([f64; 2], f64) {
    ([height as f64 / 2.0, width as f64 / 2.0], 0.2 * height.min(width) as f64)
}

fn mean(shape: [usize; 2], light: Light, pixel: usize) -> f64 {
    if let Light::Even(mean) = light {
        return mean;
    }
    let (centre, radius) = disc(shape);
    let (all, bright) = ((shape[0] * shape[1]) as f64, std::f64::consts::PI * radius * radius);
    let away = ((pixel / shape[1]) as f64 - centre[0]).hypot((pixel % shape[1]) as f64 - centre[1]);
    0.5 * if away < radius { 0.9 * all / bright } else { 0.1 * all / (all - bright) }
}

/// The sets that are measured.
pub(crate) fn sets() -> impl Iterator<Item = Set> {
    let small = [192, 192];
    let (large, eiger) = ([512, 512], [1028, 1062]);
    [
        (small, Element::U16, Light::Even(0.5)),
        (small, Element::U16, Light::Disc),
        (small, Element::U16, Light::Even(0.05)),
        (small, Element::U16, Light::Even(5.0)),
        (large, Element::U16, Light::Even(0.5)),
        (large, Element::U16, Light::Disc),
        (eiger, Element::U32, Light::Even(0.5)),
        (eiger, Element::U32, Light::Disc),
        (eiger, Element::U32, Light::Gap),
    ]
    .into_iter()
    .map(|(shape, element, light)| Set::new(shape, element, light))
}

/// A way to sum frames; seconds that some frames of the set take.
type Way<'a> = Box<dyn FnMut(std::ops::Range<usize>) -> f64 + 'a>;

/// What a way took, frame by frame.
pub(crate) struct Taken {
    pub(crate) name: String,
    /// Lower quartile over the slices, in µs: what disturbs a slice only ever makes it longer.
    pub(crate) frame_us: f64,
    /// Time over that of LZ4 alone, slice by slice: quartiles.
    pub(crate) over_floor: [f64; 3],
    /// Python's time over this one's, both lower quartiles; NaN without Python.
    pub(crate) under_python: f64,
    pub(crate) gb_per_s: f64,
}

/// All ways in turn, on slice after slice of the frames; the order goes round.
pub(crate) fn measure(set: &Set, python: Option<&mut Python>) -> Vec<Taken> {
    let python_there = python.is_some();
    let mut ways: Vec<(String, Way<'_>)> =
        vec![("LZ4 of the C library alone".to_owned(), Box::new(|range| floor(set, range)))];
    for kernel in Kernel::available() {
        let bright = set.regions(vec![Region { mask: set.bright(), moments: false }]);
        ways.push((format!("bright field, {kernel:?}"), summed(set, bright, kernel)));
    }
    let best = Kernel::best();
    ways.push((format!("bright and dark field, moments, {best:?}"), summed(set, set.all_regions(), best)));
    if let Some(python) = python {
        let way = python.load(set);
        ways.push((format!("Python, {way}"), Box::new(|range| python.sum(range))));
    }
    let step = (SLICE / set.bytes()).max(1);
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..ROUNDS {
        for first in (0..set.frames.len()).step_by(step) {
            let range = first..(first + step).min(set.frames.len());
            for turn in 0..ways.len() {
                let way = (turn + round) % ways.len();
                times[way].push(ways[way].1(range.clone()) / range.len() as f64);
            }
        }
    }
    let ratio = |one: &[f64], other: &[f64]| {
        quartiles(one.iter().zip(other).map(|(one, other)| one / other).collect())
    };
    let names = ways.iter().map(|(name, _)| name.clone());
    let taken = |(name, time): (String, &Vec<f64>)| {
        let [low, ..] = quartiles(time.clone());
        let python = times.last().filter(|_| python_there).map(|times| quartiles(times.clone())[0]);
        Taken {
            name,
            frame_us: 1e6 * low,
            over_floor: ratio(time, &times[0]),
            under_python: python.map_or(f64::NAN, |python| python / low),
            gb_per_s: set.bytes() as f64 / low / 1e9,
        }
    };
    names.zip(&times).map(taken).collect()
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() * quarter / 4).min(values.len() - 1)])
}

fn summed<'a>(set: &'a Set, regions: Regions, kernel: Kernel) -> Way<'a> {
    let mut sums = vec![RegionSum::default(); regions.count()];
    let reducer = FrameReducer::with_kernel(regions, kernel);
    Box::new(move |range| {
        let start = Instant::now();
        for frame in &set.frames[range] {
            reducer.reduce_one(Encoding::Bslz4, frame, &mut sums).unwrap();
        }
        start.elapsed().as_secs_f64()
    })
}

/// LZ4 alone: every block into the same buffer.
fn floor(set: &Set, range: std::ops::Range<usize>) -> f64 {
    let mut block = [0_u8; BLOCK];
    let start = Instant::now();
    for frame in &set.frames[range] {
        let (mut rest, mut left) = (&frame[12..], set.bytes() - set.bytes() % (8 * set.element.size()));
        while left > 0 {
            let (length, packed) = rest.split_first_chunk().unwrap();
            let (packed, behind) = packed.split_at(u32::from_be_bytes(*length) as usize);
            // SAFETY: at most as many bytes are read and written as the two slices have, whose lengths are given.
            let written = unsafe {
                lz4_sys::LZ4_decompress_safe(
                    packed.as_ptr().cast(),
                    block.as_mut_ptr().cast(),
                    packed.len() as i32,
                    BLOCK as i32,
                )
            };
            left -= usize::try_from(written).unwrap();
            rest = behind;
        }
    }
    start.elapsed().as_secs_f64()
}

/// Frames a second on all threads of the pool, the best of many runs, and how many threads these are.
pub(crate) fn on_all_threads(set: &Set) -> (f64, usize) {
    let reducer = FrameReducer::new(set.all_regions());
    let mut reduced = Reduced::default();
    let mut time = || {
        let start = Instant::now();
        reducer.reduce(Encoding::Bslz4, &set.frames, &mut reduced);
        assert!(reduced.frames().all(|frame| frame.is_ok()));
        set.frames.len() as f64 / start.elapsed().as_secs_f64()
    };
    let best = (0..50).map(|_| time()).fold(0.0, f64::max);
    (best, rayon::current_num_threads())
}

/// Python with `bitshuffle` and numpy, in a process of its own that keeps its own time.
pub(crate) struct Python {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Python {
    /// The interpreter that `PHASEWATCH_PYTHON` names; `None` where there is none, or it has not the packages.
    pub(crate) fn start() -> Option<Self> {
        let python = std::env::var_os("PHASEWATCH_PYTHON")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/frames.py");
        let mut child =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (ask, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, ask, answers, folder: tempfile::tempdir().unwrap() })
    }

    /// Hands over the frames of a set; which of the ways to sum is the fastest there. Its sums have to be ours.
    fn load(&mut self, set: &Set) -> String {
        let path = self.folder.path().join("frames");
        let mut bytes = Vec::new();
        for frame in &set.frames {
            bytes.extend((frame.len() as u32).to_le_bytes());
            bytes.extend(frame);
        }
        std::fs::write(&path, bytes).unwrap();
        let mask = self.folder.path().join("mask");
        let bright = set.bright();
        let pixels = set.shape[0] * set.shape[1];
        std::fs::write(&mask, (0..pixels).map(|pixel| u8::from(bright.has(pixel))).collect::<Vec<_>>())
            .unwrap();
        let [height, width] = set.shape;
        let answer = self.answer(&format!(
            "load {} {} {height} {width} {}",
            path.display(),
            mask.display(),
            set.element.size()
        ));
        let (sum, way) = answer.split_once(' ').unwrap();
        let reducer = FrameReducer::new(set.regions(vec![Region { mask: bright, moments: false }]));
        let mut sums = [RegionSum::default()];
        reducer.reduce_one(Encoding::Bslz4, &set.frames[0], &mut sums).unwrap();
        if !set.name.contains("without data") {
            assert_eq!(sum.parse(), Ok(sums[0].sum));
        }
        way.to_owned()
    }

    fn sum(&mut self, range: std::ops::Range<usize>) -> f64 {
        self.answer(&format!("sum {} {}", range.start, range.end)).parse().unwrap()
    }

    fn answer(&mut self, question: &str) -> String {
        writeln!(self.ask, "{question}").unwrap();
        self.ask.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
