//! What is added to the energies of a scan before they are compared with references.
//!
//! A correction is a straight line in energy, the same for all references, and possibly a small displacement of each
//! reference of its own. It comes from the fit of the offset, or from a measured calibration. The energies of the
//! scan themselves stay as they were measured.

use serde::{Deserialize, Serialize};

/// What is added to the energies of a scan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// What is added at `middle_ev`, eV.
    pub offset_ev: f64,
    /// How much more is added per eV above that.
    pub slope: f64,
    /// The energy, eV, at which `offset_ev` holds.
    pub middle_ev: f64,
    /// What is added for each reference besides, eV, in their order; empty where there is nothing.
    pub own_ev: Vec<f64>,
}

impl Correction {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The same for all energies and references.
    #[must_use]
    pub fn constant(offset_ev: f64) -> Self {
        Self { offset_ev, ..Self::default() }
    }

    /// The correction that measured points ask for, each a nominal and a true energy, eV: one point is an offset, two are a
    /// straight line, more are its least squares. `None` of no points, and of several at the same nominal energy.
    #[must_use]
    pub fn calibrated(points: &[[f64; 2]]) -> Option<Self> {
        let n = points.len() as f64;
        let middle_ev = points.iter().map(|[nominal_ev, _]| nominal_ev).sum::<f64>() / n;
        let offset_ev = points.iter().map(|[nominal_ev, true_ev]| true_ev - nominal_ev).sum::<f64>() / n;
        let (mut squares, mut products) = (0.0, 0.0);
        for &[nominal_ev, true_ev] in points {
            squares += (nominal_ev - middle_ev).powi(2);
            products += (nominal_ev - middle_ev) * (true_ev - nominal_ev - offset_ev);
        }
        match points {
            [] => None,
            [_] => Some(Self { offset_ev, middle_ev, ..Self::default() }),
            _ if squares > 0.0 => {
                Some(Self { offset_ev, slope: products / squares, middle_ev, own_ev: Vec::new() })
            }
            _ => None,
        }
    }

    /// What is added at `energy_ev`, eV, for all references alike.
    #[must_use]
    pub fn at(&self, energy_ev: f64) -> f64 {
        self.offset_ev + self.slope * (energy_ev - self.middle_ev)
    }

    /// What is added for reference `phase` besides, eV.
    #[must_use]
    pub fn own(&self, phase: usize) -> f64 {
        self.own_ev.get(phase).copied().unwrap_or(0.0)
    }

    /// Whether nothing is added.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.offset_ev == 0.0 && self.slope == 0.0 && self.own_ev.iter().all(|own| *own == 0.0)
    }

    /// The energies with it, eV.
    #[must_use]
    pub fn apply(&self, energies_ev: &[f64]) -> Vec<f64> {
        energies_ev.iter().map(|&energy_ev| energy_ev + self.at(energy_ev)).collect()
    }

    /// The largest difference from another one over `energies_ev` and all references, eV.
    #[must_use]
    pub fn distance_ev(&self, other: &Self, energies_ev: &[f64]) -> f64 {
        let phases = self.own_ev.len().max(other.own_ev.len());
        let own = (0..phases).map(|k| (self.own(k) - other.own(k)).abs()).fold(0.0, f64::max);
        let of = |&energy_ev: &f64| (self.at(energy_ev) - other.at(energy_ev)).abs();
        energies_ev.iter().map(of).fold(0.0, f64::max) + own
    }

    /// Rounded to 1 meV, and the slope to what 1 meV is over 10 eV.
    pub(super) fn rounded(&self) -> Self {
        let milli = |value: f64| (value * 1e3).round() / 1e3;
        Self {
            offset_ev: milli(self.offset_ev),
            slope: (self.slope * 1e4).round() / 1e4,
            middle_ev: milli(self.middle_ev),
            own_ev: self.own_ev.iter().copied().map(milli).collect(),
        }
    }

    /// In words: `+0.210 eV`, with the slope and the references' own where there are any; empty for none.
    #[must_use]
    pub fn describe(&self) -> String {
        if self.is_none() {
            return String::new();
        }
        let mut text = format!("{:+.3} eV", self.offset_ev);
        if self.slope != 0.0 {
            text += &format!(" at {:.2} eV and {:+.4} eV per eV", self.middle_ev, self.slope);
        }
        if self.own_ev.iter().any(|own| *own != 0.0) {
            let list: Vec<String> = self.own_ev.iter().map(|own| format!("{own:+.3}")).collect();
            text += &format!(", and for each reference {}", list.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_point_is_an_offset_and_two_are_a_line() {
        let one = Correction::calibrated(&[[515.0, 515.2]]).unwrap();
        assert!((one.at(530.0) - 0.2).abs() < 1e-9 && one.slope == 0.0);
        let two = Correction::calibrated(&[[510.0, 510.1], [530.0, 530.3]]).unwrap();
        for (nominal_ev, by_ev) in [(510.0, 0.1), (520.0, 0.2), (530.0, 0.3)] {
            assert!((two.at(nominal_ev) - by_ev).abs() < 1e-9, "{two:?}");
        }
        assert_eq!(two.apply(&[510.0]).len(), 1);
        // Three points that lie on no line: the least squares.
        let three = Correction::calibrated(&[[510.0, 510.0], [520.0, 520.3], [530.0, 530.0]]).unwrap();
        assert!(three.slope.abs() < 1e-9 && (three.offset_ev - 0.1).abs() < 1e-9);
    }

    #[test]
    fn points_that_make_no_line_are_none() {
        assert_eq!(Correction::calibrated(&[]), None);
        assert_eq!(Correction::calibrated(&[[515.0, 515.1], [515.0, 515.3]]), None);
    }

    #[test]
    fn the_distance_is_that_of_the_farthest_energy() {
        let line = Correction { offset_ev: 0.1, slope: 0.01, middle_ev: 520.0, own_ev: vec![0.0, 0.02] };
        assert!((line.distance_ev(&Correction::none(), &[510.0, 530.0]) - 0.22).abs() < 1e-9);
        assert!(Correction::none().is_none() && !line.is_none());
        assert_eq!(
            line.describe(),
            "+0.100 eV at 520.00 eV and +0.0100 eV per eV, and for each reference +0.000 +0.020"
        );
    }
}
