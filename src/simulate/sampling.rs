//! Which pixels a sparse scan measures at which energy.

use rand::seq::{SliceRandom as _, index};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::scenario::Scenario;
use crate::scan::{PixelSet, Pixels};

/// Random stream of the sampling.
const STREAM: u64 = u64::MAX - 2;

/// What is measured.
#[derive(Clone, Debug)]
pub(super) enum Sampling {
    /// Everything.
    All,
    /// One set of pixels for each energy.
    Sets(Vec<PixelSet>),
}

impl Sampling {
    /// What `scenario` asks for.
    pub(super) fn draw(scenario: &Scenario) -> Self {
        let settings = &scenario.sampling;
        if settings.pixels >= 1.0 && settings.energies_per_pixel == 0 {
            return Self::All;
        }
        let (first, all) = (scenario.scan.first_energies(), scenario.energies_ev().len());
        let pixels = scenario.scan.shape[0] * scenario.scan.shape[1];
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        rng.set_stream(STREAM);
        let mut order: Vec<u32> = (0..pixels as u32).collect();
        order.shuffle(&mut rng);
        let chosen = ((settings.pixels * pixels as f64).round() as usize).clamp(1, pixels);
        let (inside, outside) = order.split_at(chosen);
        let mut sets = vec![PixelSet::new(pixels); all];
        for (energy, set) in sets.iter_mut().enumerate() {
            let own = settings.energies_per_pixel > 0 && energy < first;
            let list = if settings.fill_in && energy >= first { outside } else { inside };
            if !own {
                list.iter().for_each(|&pixel| _ = set.insert(pixel as usize));
            }
        }
        if settings.energies_per_pixel > 0 {
            for &pixel in inside {
                for energy in index::sample(&mut rng, first, settings.energies_per_pixel.min(first)) {
                    sets[energy].insert(pixel as usize);
                }
            }
        }
        Self::Sets(sets)
    }

    /// The pixels of a line that are measured at an energy; there may be none.
    pub(super) fn line(&self, energy: usize, row: usize, nx: usize) -> Pixels {
        let first = row * nx;
        let whole = Pixels::Run { first: first as u32, count: nx as u32 };
        let Self::Sets(sets) = self else { return whole };
        let list: Vec<u32> = (first..first + nx)
            .filter(|&pixel| sets[energy].contains(pixel))
            .map(|pixel| pixel as u32)
            .collect();
        if list.len() == nx { whole } else { Pixels::List(list) }
    }
}

/// `count` different numbers below `below`.
pub(super) fn some_of(below: usize, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    // The generator is moved on even where nothing is chosen, so that a scenario's draws stay what they were.
    _ = rng.random::<u64>();
    index::sample(rng, below, count.min(below)).into_vec()
}
