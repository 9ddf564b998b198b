//! Lines that go wrong, drawn line by line.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::scenario::FlawSettings;
use super::specimen::{FlawedLine, LineFlaw};

/// Random stream of the flaws.
const STREAM: u64 = u64::MAX - 3;
/// Factors of lines that are wrong by one, either way.
const FACTORS: std::ops::Range<f64> = 1.15..1.6;

/// The lines that go wrong in a scan of so many energies and rows, in order.
pub(super) fn draw(settings: &FlawSettings, energies: usize, rows: usize, seed: u64) -> Vec<FlawedLine> {
    let [loss, stuck, bad] = [settings.beam_loss, settings.stuck, settings.bad];
    if loss + stuck + bad <= 0.0 {
        return Vec::new();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let mut flaws = Vec::new();
    for (energy, row) in (0..energies).flat_map(|energy| (0..rows).map(move |row| (energy, row))) {
        let (place, repeated): (f64, bool) = (rng.random(), rng.random());
        let flaw = match place {
            place if place < loss => LineFlaw::BeamLoss,
            // The first line has none before it.
            place if place < loss + stuck && repeated && row > 0 => LineFlaw::Repeated,
            place if place < loss + stuck => LineFlaw::Constant,
            place if place < loss + stuck + bad => LineFlaw::Factor,
            _ => continue,
        };
        flaws.push(FlawedLine { energy, row, flaw });
    }
    flaws
}

/// The factor of a line that is wrong by one.
pub(super) fn factor(rng: &mut ChaCha8Rng) -> f64 {
    let factor = rng.random_range(FACTORS);
    if rng.random() { factor } else { 1.0 / factor }
}
