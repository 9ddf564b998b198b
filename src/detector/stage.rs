//! Frames of one scan to its channels. What that takes is built once, and kept from message to message.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::compressed::{
    Element, FrameError, FrameReducer, PixelMask, Reduced, Region, RegionSum, Regions, decode,
};
use super::drops::{Drops, Teller};
use super::{DetectorError, FrameSettings, Tally, bad_pixels, floats};
use crate::scan::{BadPixels, Channel, DType, Encoding, FrameBatch, SampleBatch, ScanPlan};

/// Unpacked bytes of a message from which several threads are worth waking.
const WORTH_THREADS: usize = 1 << 20;

/// Threads that sum frames and do nothing else: on a pool that maps are made on, receiving would wait for these. `None` where the
/// system gives none.
fn pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let build = || ThreadPoolBuilder::new().thread_name(|index| format!("frames-{index}")).build().ok();
    POOL.get_or_init(build).as_ref()
}

/// What a message of frames became.
#[derive(Clone, Debug)]
pub struct Reduction {
    /// Intensity and other channels; NaN where a frame could not be read.
    pub batch: SampleBatch,
    /// Detector pixels that were found bad.
    pub bad: BadPixels,
    /// How many frames were read, and what was wrong with the others.
    pub drops: Drops,
}

/// What one frame has in one region.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) sum: f64,
    pub(super) kept: u64,
    pub(super) moments: [f64; 2],
}

impl From<&RegionSum> for Sum {
    fn from(sum: &RegionSum) -> Self {
        Self { sum: sum.sum as f64, kept: sum.kept, moments: sum.moments.map(|moment| moment as f64) }
    }
}

/// The frames of one scan.
#[derive(Debug, Default)]
pub struct FrameStage {
    settings: Arc<FrameSettings>,
    tally: Tally,
    built: Option<Built>,
    reduced: Reduced,
    teller: Teller,
}

/// What is made of plan, settings and bad pixels.
#[derive(Debug)]
struct Built {
    /// What it was made for.
    dtype: DType,
    named: usize,
    /// The regions, bright field first, without what is left out.
    regions: Vec<Region>,
    /// Pixels whose dark level each channel's sum has: of all of the frame for the intensity, as the plan says.
    pixels: [u64; 2],
    /// Pixels of the bright field that may be kept, and sums of their coordinates.
    bright: u64,
    bright_moments: [f64; 2],
    /// For integers.
    reducer: Option<FrameReducer>,
}

impl FrameStage {
    /// Nothing summed yet.
    #[must_use]
    pub fn new(settings: Arc<FrameSettings>) -> Self {
        Self { settings, ..Self::default() }
    }

    /// From here on with these settings.
    pub fn set(&mut self, settings: FrameSettings) {
        self.settings = Arc::new(settings);
        self.built = None;
    }

    /// What is summed.
    #[must_use]
    pub fn settings(&self) -> &FrameSettings {
        &self.settings
    }

    /// Counts what a message showed, once it is known to be used.
    pub fn note(&mut self, plan: &ScanPlan, bad: &BadPixels, drops: Option<&Drops>, now: Instant) {
        self.tally.note(&plan.scan_id, plan.detector.frame_shape, bad);
        if let Some(drops) = drops {
            self.teller.tell(&plan.scan_id, drops, now);
        }
    }

    /// Sums each frame of a message, on several threads where there is much of it, and tells which pixels it finds bad where
    /// it is time to look. A frame that cannot be read is not measured.
    ///
    /// # Errors
    /// Where no frame has the size that the plan says, there are not as many frames as pixels, or a frame of floats holds an infinity.
    pub fn reduce(&mut self, plan: &ScanPlan, frames: FrameBatch) -> Result<Reduction, DetectorError> {
        let FrameBatch { mut batch, dtype, encoding, frames } = frames;
        let per_frame = plan.summed_pixels();
        let wanted = per_frame * dtype.size();
        if frames.len() != batch.pixels.len() {
            let pixels = batch.pixels.len();
            let found = frames.len().saturating_mul(per_frame);
            return Err(DetectorError::Shape { found, pixels, wanted: pixels.saturating_mul(per_frame) });
        }
        let named = self.tally.named_count();
        if self.built.as_ref().is_none_or(|built| built.dtype != dtype || built.named != named) {
            self.built = Built::new(plan, &self.settings, &self.tally, dtype);
        }
        let Some(built) = &self.built else {
            return Err(DetectorError::Regions(plan.detector.frame_shape.unwrap_or([1, 1])));
        };
        let mut out = Outcome::new(built, plan, &self.settings, frames.len());
        match &built.reducer {
            Some(reducer) => {
                let parallel = frames.len() > 1 && frames.len().saturating_mul(wanted) >= WORTH_THREADS;
                let reduced = &mut self.reduced;
                match pool().filter(|_| parallel) {
                    Some(pool) => pool.install(|| reducer.reduce(encoding, &frames, reduced)),
                    None => reducer.reduce_here(encoding, &frames, reduced),
                }
                for sums in self.reduced.frames() {
                    match sums {
                        Ok(sums) => out.push(|region| sums.get(region).map(Sum::from)),
                        Err(error) => out.drop(error),
                    }
                }
            }
            None => out.floats(encoding, dtype, &frames, wanted)?,
        }
        let drops = out.finish(&mut batch, wanted);
        if let Some((_, FrameError::Size { .. })) = drops.first
            && drops.by_cause().eq([("size", frames.len() as u64)])
        {
            let (found, pixels) =
                (frames.iter().map(|f| f.len()).sum::<usize>() / dtype.size(), frames.len());
            return Err(DetectorError::Shape { found, pixels, wanted: pixels.saturating_mul(per_frame) });
        }
        let bad = self.look(plan, dtype, encoding, &frames);
        Ok(Reduction { batch, bad, drops })
    }

    /// Looks for bad pixels, where it is time to.
    fn look(&self, plan: &ScanPlan, dtype: DType, encoding: Encoding, frames: &[bytes::Bytes]) -> BadPixels {
        if !self.settings.find_bad_pixels || !self.tally.is_due() {
            return BadPixels::default();
        }
        let shape = plan.detector.frame_shape.unwrap_or([1, 1]);
        let wanted = plan.summed_pixels() * dtype.size();
        let (dark, known) = (plan.detector.dark, &plan.detector.left_out);
        let used = bad_pixels::spread(frames.len()).filter_map(|index| frames.get(index));
        if encoding == Encoding::Raw {
            let frames: Vec<&[u8]> =
                used.filter(|frame| frame.len() == wanted).map(|frame| &frame[..]).collect();
            return bad_pixels::find(dtype, &frames, shape, dark, known);
        }
        let Some(element) = sized_as(dtype) else { return BadPixels::default() };
        let whole = |frame: &bytes::Bytes| {
            let mut whole = Vec::new();
            decode(encoding, element, frame, wanted, &mut whole).is_ok().then_some(whole)
        };
        let frames: Vec<Vec<u8>> = used.filter_map(whole).collect();
        bad_pixels::find(dtype, &frames, shape, dark, known)
    }
}

impl Built {
    /// `None` where frames are too large to be summed.
    fn new(plan: &ScanPlan, settings: &FrameSettings, tally: &Tally, dtype: DType) -> Option<Self> {
        let shape = plan.detector.frame_shape.unwrap_or([1, 1]);
        let [height, width] = shape;
        let area = |area: &super::FrameArea| Some(area.mask(shape)).filter(|mask| mask.count() > 0);
        let bright = settings.bright_field.as_ref().and_then(area);
        let bright = bright.unwrap_or_else(|| PixelMask::everything(shape));
        let dark = settings.dark_field.as_ref().and_then(area);
        let pixels = [(height * width) as u64, dark.as_ref().map_or(0, PixelMask::count)];
        let mut regions = vec![Region { mask: bright, moments: settings.moments }];
        regions.extend(dark.map(|mask| Region { mask, moments: false }));
        let masked =
            settings.mask.iter().filter(|[y, x]| *y < height && *x < width).map(|[y, x]| y * width + x);
        let runs = plan.detector.left_out.iter();
        let runs = runs
            .flat_map(|[first, count]| *first as usize..(*first as usize).saturating_add(*count as usize));
        for pixel in masked.chain(tally.named()).chain(runs.take_while(|pixel| *pixel < height * width)) {
            regions.iter_mut().for_each(|region| region.mask.remove(pixel));
        }
        let bright = regions[0].mask.count();
        let mut bright_moments = [0.0; 2];
        if settings.moments && plan.detector.dark > 0.0 {
            for pixel in (0..height * width).filter(|pixel| regions[0].mask.has(*pixel)) {
                bright_moments[0] += (pixel / width) as f64;
                bright_moments[1] += (pixel % width) as f64;
            }
        }
        let reducer = match Element::of(dtype) {
            Some(element) => {
                let list = regions.clone();
                Some(FrameReducer::new(
                    Regions::new(shape, element, plan.detector.saturation, list, &[]).ok()?,
                ))
            }
            None => None,
        };
        Some(Self { dtype, named: tally.named_count(), regions, pixels, bright, bright_moments, reducer })
    }

    /// The centre of mass of the light, `[y, x]`; NaN where none was counted. What is saturated is taken as lying evenly over the region.
    fn centre(&self, sum: &Sum, dark: f64) -> [f64; 2] {
        let light = sum.sum - dark * sum.kept as f64;
        if sum.kept == 0 || light <= 0.0 {
            return [f64::NAN; 2];
        }
        let share = sum.kept as f64 / self.bright as f64;
        [0, 1].map(|axis| (sum.moments[axis] - dark * share * self.bright_moments[axis]) / light)
    }
}

/// The type whose values are as long, where bits can be put back into it.
fn sized_as(dtype: DType) -> Option<Element> {
    Element::of(dtype).or((dtype == DType::Float32).then_some(Element::U32))
}

/// The channels of a message, frame by frame.
struct Outcome<'a> {
    built: &'a Built,
    plan: &'a ScanPlan,
    intensity: Vec<f32>,
    others: Vec<(Channel, Vec<f32>)>,
    drops: Drops,
}

impl<'a> Outcome<'a> {
    fn new(built: &'a Built, plan: &'a ScanPlan, settings: &FrameSettings, frames: usize) -> Self {
        let there = |channel: &Channel| *channel != Channel::DarkField || built.regions.len() > 1;
        let list = |channel| (channel, Vec::with_capacity(frames));
        let others = settings.channels().filter(there).map(list).collect();
        Self { built, plan, intensity: Vec::with_capacity(frames), others, drops: Drops::default() }
    }

    /// A frame that was summed.
    fn push(&mut self, sum: impl Fn(usize) -> Option<Sum>) {
        let dark = self.plan.detector.dark;
        let bright = sum(0).unwrap_or_default();
        let level = |sum: &Sum, pixels: u64| {
            let out = pixels.saturating_sub(sum.kept) as f64;
            if sum.kept == 0 { f32::NAN } else { (sum.sum + dark * out) as f32 }
        };
        self.intensity.push(level(&bright, self.built.pixels[0]));
        let centre = self.built.centre(&bright, dark);
        for (channel, values) in &mut self.others {
            values.push(match channel {
                Channel::Intensity => f32::NAN,
                Channel::DarkField => level(&sum(1).unwrap_or_default(), self.built.pixels[1]),
                Channel::ComY => centre[0] as f32,
                Channel::ComX => centre[1] as f32,
            });
        }
        self.drops.reduced += 1;
    }

    /// A frame that cannot be read.
    fn drop(&mut self, error: &FrameError) {
        self.drops.note(self.intensity.len(), error);
        self.intensity.push(f32::NAN);
        self.others.iter_mut().for_each(|(_, values)| values.push(f32::NAN));
    }

    /// Sums frames of floats.
    fn floats(
        &mut self,
        encoding: Encoding,
        dtype: DType,
        frames: &[bytes::Bytes],
        wanted: usize,
    ) -> Result<(), DetectorError> {
        let shape = self.plan.detector.frame_shape.unwrap_or([1, 1]);
        let limit = self.plan.detector.saturation.unwrap_or(f64::INFINITY);
        let regions = &self.built.regions;
        let mut sums = vec![Sum::default(); regions.len()];
        let mut whole = Vec::new();
        for frame in frames {
            let unpacked = match (encoding, sized_as(dtype)) {
                (Encoding::Raw, _) if frame.len() == wanted => Ok(&frame[..]),
                (Encoding::Raw, _) => Err(FrameError::Size { found: frame.len() as u64, wanted }),
                (Encoding::Bslz4, None) => Err(FrameError::Encoding),
                (_, element) => {
                    // Without shuffled bits the type makes no difference.
                    let element = element.unwrap_or(Element::U32);
                    decode(encoding, element, frame, wanted, &mut whole).map(|()| &whole[..])
                }
            };
            match unpacked {
                Ok(frame) => {
                    floats::sum(dtype, frame, shape, limit, regions, &mut sums)?;
                    self.push(|region| sums.get(region).copied());
                }
                Err(error) => self.drop(&error),
            }
        }
        Ok(())
    }

    fn finish(mut self, batch: &mut SampleBatch, frame_bytes: usize) -> Drops {
        batch.values = self.intensity;
        batch.others = self.others;
        self.drops.bytes = self.drops.reduced.saturating_mul(frame_bytes as u64);
        self.drops
    }
}
