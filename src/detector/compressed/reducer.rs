//! Frames to sums: one frame into buffers that are used again, many frames on all threads of the pool.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::kernel::{Kernel, Spread};
use super::layout::Layout;
use super::planes::{self, Planes, Room};
use super::regions::{RegionSum, Regions};
use super::stream::Stream;
use super::walk::{SLACK, walk};
use super::{Encoding, FrameError, plain};

/// What a thread works with. It grows to what the largest block and the masks take, and stays so.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// An unpacked block.
    pub(super) block: Vec<u8>,
    layout: Option<Layout>,
    room: Room,
}

/// Sums of many frames, to be used again for the next ones.
#[derive(Clone, Debug, Default)]
pub struct Reduced {
    /// By frame and region; of no meaning where the frame could not be read.
    sums: Vec<RegionSum>,
    outcomes: Vec<Result<(), FrameError>>,
    regions: usize,
}

impl Reduced {
    /// Makes room. Returns whether there is anything to sum.
    fn begin(&mut self, frames: usize, regions: usize) -> bool {
        self.regions = regions;
        self.sums.clear();
        self.sums.resize(frames * regions, RegionSum::default());
        self.outcomes.clear();
        self.outcomes.resize(frames, Ok(()));
        regions > 0
    }

    /// The sums of each frame, one per region, or why there are none.
    pub fn frames(&self) -> impl Iterator<Item = Result<&[RegionSum], &FrameError>> {
        let sums = |frame: usize| &self.sums[frame * self.regions..(frame + 1) * self.regions];
        self.outcomes.iter().enumerate().map(move |(frame, outcome)| outcome.as_ref().map(|()| sums(frame)))
    }
}

/// Sums frames over the regions of a detector.
#[derive(Debug)]
pub struct FrameReducer {
    regions: Regions,
    kernel: Kernel,
    /// One for each thread of the pool.
    scratches: Vec<Mutex<Scratch>>,
}

impl FrameReducer {
    /// With the fastest kernel there is.
    #[must_use]
    pub fn new(regions: Regions) -> Self {
        Self::with_kernel(regions, Kernel::best())
    }

    /// With a kernel of choice; one that the processor does not have is replaced by the portable one.
    #[must_use]
    pub fn with_kernel(regions: Regions, kernel: Kernel) -> Self {
        let scratches = (0..rayon::current_num_threads().max(1)).map(|_| Mutex::default()).collect();
        Self { regions, kernel, scratches }
    }

    /// What is summed.
    #[must_use]
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Sums one frame on this thread into `sums`, one for each region.
    ///
    /// # Errors
    /// Where the frame is not what its encoding and the detector say; `sums` is of no meaning then.
    pub fn reduce_one(
        &self,
        encoding: Encoding,
        frame: &[u8],
        sums: &mut [RegionSum],
    ) -> Result<(), FrameError> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.scratches.len();
        // A thread that panicked left buffers, which are as good as before.
        let mut scratch = self.scratches[thread].lock().unwrap_or_else(PoisonError::into_inner);
        match encoding {
            Encoding::Bslz4 => self.kernel.sum(&self.regions, &mut scratch, frame, sums),
            Encoding::Raw => plain::sum_raw(&self.regions, frame, sums),
            Encoding::Lz4 => plain::sum_lz4(&self.regions, &mut scratch.block, frame, sums),
            Encoding::Lz4Block => plain::sum_block(&self.regions, &mut scratch.block, frame, sums),
        }
    }

    /// Sums frames on the threads of rayon's pool, each where it lies. Without regions none is read.
    pub fn reduce<F: AsRef<[u8]> + Sync>(&self, encoding: Encoding, frames: &[F], into: &mut Reduced) {
        if into.begin(frames.len(), self.regions.count()) {
            let sums = into.sums.par_chunks_exact_mut(into.regions);
            frames.par_iter().zip(sums).zip(&mut into.outcomes).for_each(|((frame, sums), outcome)| {
                *outcome = self.reduce_one(encoding, frame.as_ref(), sums);
            });
        }
    }

    /// The same on this thread.
    pub fn reduce_here<F: AsRef<[u8]>>(&self, encoding: Encoding, frames: &[F], into: &mut Reduced) {
        if into.begin(frames.len(), self.regions.count()) {
            let sums = into.sums.chunks_exact_mut(into.regions);
            frames.iter().zip(sums).zip(&mut into.outcomes).for_each(|((frame, sums), outcome)| {
                *outcome = self.reduce_one(encoding, frame.as_ref(), sums);
            });
        }
    }
}

/// Sums a bit-shuffled frame.
#[inline(always)]
pub(super) fn sum_shuffled(
    regions: &Regions,
    scratch: &mut Scratch,
    bytes: &[u8],
    sums: &mut [RegionSum],
    spread: impl Spread,
) -> Result<(), FrameError> {
    let size = regions.element.size();
    let mut stream = Stream::bit_shuffled(bytes, regions.element, regions.frame_bytes())?;
    let pixels = stream.block / size;
    let Scratch { block: out, layout, room } = scratch;
    if layout.as_ref().is_none_or(|layout| layout.pixels != pixels) {
        *layout = Some(Layout::new(regions, pixels));
    }
    let Some(layout) = layout else { return Ok(()) };
    if out.len() < stream.block + SLACK {
        out.resize(stream.block + SLACK, 0);
    }
    regions.begin(sums);
    let mut first = 0;
    while let Some(block) = stream.next()? {
        let count = 8 * size;
        let plane = block.size / count;
        let Some(zero) = walk(block.rest, block.packed, out, block.size, plane, spread) else {
            return Err(FrameError::Corrupt(block.index));
        };
        let planes = Planes { bytes: out, plane, count, zero };
        planes::add(regions, layout, (block.index, first), &planes, room, sums);
        first += block.size / size;
    }
    regions.add_values(sums, first, stream.tail()?);
    Ok(())
}
