//! Where a model earns its place: what it says of its own accuracy beside a fit's, by counts and number of energies.

use serde::{Deserialize, Serialize};

/// Fewest pixels that a cell says anything with.
const FEWEST_PIXELS: usize = 30;

/// How a model and a weighted fit did on held-out spectra of the same counts and number of energies. Pixels are ambiguous ones: the
/// evidence between their two best single references is below 9.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompetenceCell {
    /// Incident counts per pixel.
    pub counts: f64,
    /// Number of energies.
    pub energies: usize,
    /// Number of ambiguous pixels of one phase.
    pub pixels: usize,
    /// Share of them whose phase the model got right.
    pub gmvae: f64,
    /// Share of them whose phase a weighted non-negative fit got right.
    pub fit: f64,
    /// Of mixtures and pure pixels in equal parts, ambiguous or not, the share that the model called rightly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixtures_gmvae: Option<f64>,
    /// Same of a fit of two phases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixtures_fit: Option<f64>,
}

impl CompetenceCell {
    /// Whether every number is one that can be.
    fn is_sound(&self) -> bool {
        let shares = [Some(self.gmvae), Some(self.fit), self.mixtures_gmvae, self.mixtures_fit];
        self.counts.is_finite()
            && self.counts > 0.0
            && self.energies > 0
            && shares.into_iter().flatten().all(|share| (0.0..=1.0).contains(&share))
    }

    /// Better in one thing, and in the other not worse by more than a point.
    fn earns_place(&self) -> bool {
        let phases = self.gmvae - self.fit;
        let mixtures = match (self.mixtures_gmvae, self.mixtures_fit) {
            (Some(model), Some(fit)) => model - fit,
            _ => 0.0,
        };
        phases > 0.0 || (phases >= -0.01 && mixtures > 0.01)
    }
}

/// Whether every cell is sound.
pub(super) fn are_sound(cells: &[CompetenceCell]) -> bool {
    cells.iter().all(CompetenceCell::is_sound)
}

/// Whether the model is better than a fit at the cell nearest to `energies` and `counts`, by the logarithms of both; `None` where
/// there is no cell with enough pixels, or no sense in the question.
pub(super) fn earns_place(cells: &[CompetenceCell], energies: usize, counts: f64) -> Option<bool> {
    if energies == 0 || !counts.is_finite() || counts <= 0.0 {
        return None;
    }
    let distance = |cell: &CompetenceCell| {
        (cell.counts / counts).ln().powi(2) + (cell.energies as f64 / energies as f64).ln().powi(2)
    };
    let able = cells.iter().filter(|cell| cell.pixels >= FEWEST_PIXELS);
    able.min_by(|a, b| distance(a).total_cmp(&distance(b))).map(CompetenceCell::earns_place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(counts: f64, energies: usize, gmvae: f64, fit: f64) -> CompetenceCell {
        CompetenceCell { counts, energies, pixels: 100, gmvae, fit, mixtures_gmvae: None, mixtures_fit: None }
    }

    #[test]
    fn the_nearest_cell_decides_and_few_pixels_decide_nothing() {
        let cells = [cell(300.0, 8, 0.6, 0.7), cell(3000.0, 30, 0.8, 0.7)];
        assert_eq!(earns_place(&cells, 9, 500.0), Some(false));
        assert_eq!(earns_place(&cells, 40, 20_000.0), Some(true));
        assert_eq!(earns_place(&[], 9, 500.0), None);
        assert_eq!(earns_place(&cells, 9, f64::NAN), None);
        let few = CompetenceCell { pixels: 3, ..cells[0] };
        assert_eq!(earns_place(&[few], 9, 500.0), None);
    }

    #[test]
    fn finding_mixtures_counts_where_the_phases_are_a_draw() {
        let mixed = |gmvae, fit| CompetenceCell {
            mixtures_gmvae: Some(gmvae),
            mixtures_fit: Some(fit),
            ..cell(1000.0, 12, 0.7, 0.7)
        };
        assert_eq!(earns_place(&[mixed(0.8, 0.7)], 12, 1000.0), Some(true));
        assert_eq!(earns_place(&[mixed(0.7, 0.7)], 12, 1000.0), Some(false));
    }
}
