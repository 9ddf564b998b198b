//! Figure 1: one energy into the correlation of 512×512 pixels with 5 references, on one thread; beside it what
//! the memory allows for the least such an update has to move.

use phasewatch::classify::Targets;
use phasewatch::classify::correlation::{BLOCK, Baseline, Correlator};
use phasewatch::simulate::nvpf;
use rayon::ThreadPoolBuilder;

pub(crate) const PIXELS: usize = 512 * 512;
const ENERGIES: usize = 64;
const PHASES: usize = 5;

/// Runs `work` where one thread is all there is.
pub(crate) fn on_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

/// A correlator that takes one energy after the other, and begins anew when it has had all.
pub(crate) struct Kernel {
    targets: Targets,
    correlator: Correlator,
    planes: Vec<Vec<f32>>,
    energy: usize,
}

impl Kernel {
    pub(crate) fn new() -> Self {
        let energies_ev: Vec<f64> = (0..ENERGIES).map(|i| 508.0 + 0.4 * i as f64).collect();
        let targets = Targets::new(&nvpf::reference_set(), &energies_ev);
        assert_eq!(targets.phases(), PHASES);
        assert!(targets.used.iter().all(|used| *used));
        let value = |energy: usize, pixel: usize| {
            let hash = (energy * PIXELS + pixel).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            if hash.is_multiple_of(97) { f32::NAN } else { hash as f32 / (1 << 24) as f32 }
        };
        let planes = (0..8).map(|energy| (0..PIXELS).map(|pixel| value(energy, pixel)).collect()).collect();
        let correlator = Correlator::new(PIXELS, &targets, Baseline::None);
        let mut kernel = Self { targets, correlator, planes, energy: 0 };
        // The first touch of the memory is not an update.
        kernel.add();
        kernel
    }

    /// Adds the next energy.
    pub(crate) fn add(&mut self) {
        let Self { targets, correlator, planes, energy } = self;
        correlator.add(targets, *energy, &planes[*energy % planes.len()]);
        // Sums may go round and round: what is measured is the update.
        *energy = (*energy + 1) % ENERGIES;
    }
}

/// The least traffic: one plane of optical densities read; the number of values, the sums of x, x² and of x with
/// each reference read and written, all in `f32`.
pub(crate) struct Stream {
    od: Vec<f32>,
    sums: Vec<Vec<f32>>,
}

impl Stream {
    /// Bytes that one pass moves.
    pub(crate) const BYTES: usize = PIXELS * 4 * (1 + 2 * (3 + PHASES));

    pub(crate) fn new() -> Self {
        Self { od: vec![0.5; PIXELS], sums: vec![vec![1.0; PIXELS]; 3 + PHASES] }
    }

    pub(crate) fn pass(&mut self) {
        for (block, od) in self.od.chunks_exact(BLOCK).enumerate() {
            for sum in &mut self.sums {
                let sum = &mut sum[block * BLOCK..(block + 1) * BLOCK];
                sum.iter_mut().zip(od).for_each(|(sum, od)| *sum += *od);
            }
        }
    }
}
