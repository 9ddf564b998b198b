//! How far apart two references are over a set of energies, when what a fit is free to choose has been taken out.
//!
//! A pixel of phase a is compared with reference b. The fit is free to scale b, to add a constant, and, because the
//! energy axis is never quite known, b may lie a little off: so of the difference a - b only that counts which
//! amplitude, constant and a small shift of b cannot take up. All three have a normal prior (100 % of the amplitude,
//! 1 OD, [`SHIFT_EV`]); without them the first energies would tell nothing, and with no limit on the shift the edge's
//! flank would tell nothing either. The distance is the generalised least squares residual; an energy more is the
//! recursive update of such a fit: innovation² · weight / (1 + weight · variance of the prediction).

/// What is still unknown of the energy axis of one pixel, eV.
const SHIFT_EV: f64 = 0.05;
/// Prior variances of scale (relative), constant (OD per unit of amplitude) and shift (eV²).
const PRIOR: [f64; 3] = [1.0, 1.0, SHIFT_EV * SHIFT_EV];

/// One energy as a pair of references sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sight {
    /// First reference less second, OD.
    pub difference: f64,
    /// Second reference, OD.
    pub second: f64,
    /// Its slope, OD per eV.
    pub slope: f64,
    /// Amplitude² over variance of the optical density.
    pub weight: f64,
}

impl Sight {
    fn free(&self) -> [f64; 3] {
        [self.second, 1.0, self.slope]
    }
}

/// The distance of two references over the energies measured so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Contrast {
    /// Covariance of the three free parameters.
    covariance: [[f64; 3]; 3],
    parameters: [f64; 3],
    /// In chi².
    distance: f64,
}

impl Default for Contrast {
    fn default() -> Self {
        let mut covariance = [[0.0; 3]; 3];
        (0..3).for_each(|i| covariance[i][i] = PRIOR[i]);
        Self { covariance, parameters: [0.0; 3], distance: 0.0 }
    }
}

impl Contrast {
    /// The distance so far.
    pub(super) fn distance(&self) -> f64 {
        self.distance
    }

    /// By how much `sight` would add to the distance.
    pub(super) fn gain(&self, sight: &Sight) -> f64 {
        let (_, innovation, spread) = self.predict(sight);
        sight.weight * innovation * innovation / (1.0 + sight.weight * spread)
    }

    /// Takes `sight` in; returns by how much it added to the distance.
    pub(super) fn add(&mut self, sight: &Sight) -> f64 {
        let (along, innovation, spread) = self.predict(sight);
        let scale = sight.weight / (1.0 + sight.weight * spread);
        for i in 0..3 {
            self.parameters[i] += along[i] * innovation * scale;
            for j in 0..3 {
                self.covariance[i][j] -= along[i] * along[j] * scale;
            }
        }
        let gain = innovation * innovation * scale;
        self.distance += gain;
        gain
    }

    /// Covariance times what is free, what the fit so far does not predict, and the variance of that prediction.
    fn predict(&self, sight: &Sight) -> ([f64; 3], f64, f64) {
        let free = sight.free();
        let along = self.covariance.map(|row| row.iter().zip(free).map(|(c, x)| c * x).sum::<f64>());
        let predicted: f64 = self.parameters.iter().zip(free).map(|(p, x)| p * x).sum();
        let spread: f64 = along.iter().zip(free).map(|(a, x)| a * x).sum();
        (along, sight.difference - predicted, spread.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(difference: f64, second: f64, slope: f64) -> Sight {
        Sight { difference, second, slope, weight: 1e4 }
    }

    fn after(sights: &[Sight]) -> Contrast {
        let mut contrast = Contrast::default();
        sights.iter().for_each(|sight| _ = contrast.add(sight));
        contrast
    }

    #[test]
    fn what_scale_and_constant_take_up_does_not_count() {
        // The difference is 0.3 of the second reference and 0.1 more: the same shape.
        let shape = [0.2, 0.3, 1.1, 0.7, 0.5];
        let same: Vec<Sight> = shape.iter().map(|&r| sight(0.3 * r + 0.1, r, 0.0)).collect();
        let other: Vec<Sight> =
            shape.iter().zip([0.0, 0.0, 0.0, 0.3, 0.0]).map(|(&r, d)| sight(d, r, 0.0)).collect();
        // Only the priors of 0.3 and 0.1 are left.
        assert!(after(&same).distance() < 0.11, "{:?}", after(&same));
        assert!(after(&other).distance() > 100.0);
    }

    #[test]
    fn what_a_small_shift_takes_up_hardly_counts() {
        let base = [sight(0.0, 0.2, 0.0), sight(0.0, 0.9, 0.0), sight(0.0, 0.6, 0.0)];
        let flank = after(&base).gain(&sight(0.05, 0.5, 1.0));
        let plateau = after(&base).gain(&sight(0.05, 0.5, 0.0));
        assert!(flank < plateau / 5.0, "{flank} {plateau}");
    }

    #[test]
    fn the_order_does_not_matter_and_the_gain_is_what_is_added() {
        let mut sights = vec![
            sight(0.0, 0.2, 0.1),
            sight(0.2, 0.9, -0.5),
            sight(-0.1, 0.6, 0.4),
            sight(0.15, 0.4, 0.0),
            sight(0.02, 0.3, 0.2),
        ];
        let forward = after(&sights).distance();
        let before = after(&sights[..4]);
        assert!((before.distance() + before.gain(&sights[4]) - forward).abs() < 1e-9);
        sights.reverse();
        assert!((after(&sights).distance() - forward).abs() < 1e-6 * forward);
    }

    #[test]
    fn a_measured_neighbourhood_lowers_the_gain() {
        let base = [sight(0.0, 0.2, 0.0), sight(0.0, 0.9, 0.0), sight(0.0, 0.6, 0.0)];
        let peak = sight(0.2, 0.8, 0.0);
        let fresh = after(&base).gain(&peak);
        let mut contrast = after(&base);
        contrast.add(&peak);
        let again = contrast.gain(&peak);
        // Twice the exposure of the same is worth about as much again; what counts is what it resolves, see `next`.
        assert!(again < fresh, "{again} {fresh}");
    }
}
