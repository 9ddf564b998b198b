//! Everything about one pixel from its whole spectrum, in two passes and `f64`: what the archived map is made of.
//! It gives what [`super::correlation`] and [`super::evidence`] keep incrementally.

use super::Targets;
use super::correlation::{Baseline, PixelSums};

/// The spectrum of one pixel: one entry for each energy that has an optical density, in the order of the plan.
#[derive(Clone, Debug, Default)]
pub struct Spectrum {
    /// Index of the energy in the plan.
    pub energies: Vec<usize>,
    /// Optical density.
    pub od: Vec<f64>,
    /// Variance, the noise factor applied.
    pub variance: Vec<f64>,
}

impl Spectrum {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.energies.clear();
        self.od.clear();
        self.variance.clear();
    }

    /// Appends a value.
    pub fn push(&mut self, energy: usize, od: f64, variance: f64) {
        self.energies.push(energy);
        self.od.push(od);
        self.variance.push(variance);
    }

    /// Adds a value where it belongs in the order of the plan. One that is there already is averaged with it, with
    /// weights 1/variance: the energy was measured again.
    pub fn add(&mut self, energy: usize, od: f64, variance: f64) {
        // Nearly always it comes last.
        if self.energies.last().is_none_or(|&last| last < energy) {
            return self.push(energy, od, variance);
        }
        match self.energies.binary_search(&energy) {
            Ok(i) => {
                let (held, new) = (1.0 / self.variance[i], 1.0 / variance);
                self.od[i] = (held * self.od[i] + new * od) / (held + new);
                self.variance[i] = 1.0 / (held + new);
            }
            Err(i) => {
                self.energies.insert(i, energy);
                self.od.insert(i, od);
                self.variance.insert(i, variance);
            }
        }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.energies.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.energies.is_empty()
    }

    /// Incident counts that the noise of the values stands for: the mean of exp(OD)/variance, NaN of no value.
    #[must_use]
    pub fn incident_counts(&self) -> f64 {
        let counts = self.od.iter().zip(&self.variance).map(|(od, variance)| od.exp() / variance);
        counts.sum::<f64>() / self.len() as f64
    }

    /// Adds to every variance `part` of the variance of the optical densities over the energies: what the references
    /// miss is no smaller where the noise is.
    pub fn blur(&mut self, part: f64) {
        let n = self.len() as f64;
        let mean = self.od.iter().sum::<f64>() / n;
        let spread = self.od.iter().map(|od| (od - mean).powi(2)).sum::<f64>() / n;
        self.variance.iter_mut().for_each(|variance| *variance += part * spread);
    }

    fn used<'a>(&'a self, targets: &'a Targets) -> impl Iterator<Item = (usize, f64, f64)> + 'a {
        (0..self.len())
            .map(|i| (self.energies[i], self.od[i], self.variance[i]))
            .filter(|(energy, _, _)| targets.used[*energy])
    }

    /// Writes the correlation with each reference into `correlations` and the chi² into `chi2`.
    pub fn read(
        &self,
        targets: &Targets,
        baseline: Baseline,
        correlations: &mut [f32],
        chi2: &mut [f32],
    ) -> PixelSums {
        let n = self.used(targets).count();
        let mean = |value: &dyn Fn(usize, f64) -> f64| {
            self.used(targets).map(|(energy, od, _)| value(energy, od)).sum::<f64>() / n as f64
        };
        let (mean_x, mean_e) = (mean(&|_, od| od), mean(&|energy, _| targets.centred_ev(energy)));
        let linear = baseline == Baseline::Linear;
        let (mut c_xx, mut c_xe, mut c_ee) = (0.0, 0.0, 0.0);
        for (energy, od, _) in self.used(targets) {
            let (x, e) = (od - mean_x, targets.centred_ev(energy) - mean_e);
            c_xx += x * x;
            c_xe += x * e;
            c_ee += e * e;
        }
        let (mut signal, mut most, mut amount) = (0.0, -1.0, f64::NAN);
        let weights: f64 = self.used(targets).map(|(_, _, variance)| 1.0 / variance).sum();
        let weighted_x = self.used(targets).map(|(_, od, variance)| od / variance).sum::<f64>() / weights;
        for k in 0..targets.phases() {
            let reference = |energy: usize| targets.at(energy)[k];
            let mean_r = mean(&|energy, _| reference(energy));
            let weighted_r =
                self.used(targets).map(|(energy, _, v)| reference(energy) / v).sum::<f64>() / weights;
            let (mut c_rr, mut c_xr, mut c_re) = (0.0, 0.0, 0.0);
            let (mut w_rr, mut w_xr, mut w_xx) = (0.0, 0.0, 0.0);
            for (energy, od, variance) in self.used(targets) {
                let (x, r) = (od - mean_x, reference(energy) - mean_r);
                c_rr += r * r;
                c_xr += x * r;
                c_re += r * (targets.centred_ev(energy) - mean_e);
                let (wx, wr) = (od - weighted_x, reference(energy) - weighted_r);
                w_rr += wr * wr / variance;
                w_xr += wx * wr / variance;
                w_xx += wx * wx / variance;
            }
            let (rest_xx, rest_rr, rest_xr) = if linear {
                (c_xx - c_xe * c_xe / c_ee, c_rr - c_re * c_re / c_ee, c_xr - c_xe * c_re / c_ee)
            } else {
                (c_xx, c_rr, c_xr)
            };
            let scale = rest_xx * rest_rr;
            let enough = n >= if linear { 4 } else { 3 } && scale > 0.0;
            correlations[k] =
                if enough { (rest_xr / scale.sqrt()).clamp(-1.0, 1.0) as f32 } else { f32::NAN };
            signal = w_xx;
            let explained = if w_rr > 0.0 { w_xr.max(0.0).powi(2) / w_rr } else { 0.0 };
            if explained > most {
                (most, amount) = (explained, w_xr.max(0.0) / w_rr);
            }
            chi2[k] = if weights > 0.0 { (w_xx - explained).max(0.0) as f32 } else { f32::NAN };
        }
        PixelSums { signal: signal as f32, amount: amount as f32, ..self.edge(targets) }
    }

    /// Number of energies, sides of the edge and edge jump.
    #[must_use]
    pub fn edge(&self, targets: &Targets) -> PixelSums {
        let jump =
            self.window_mean(targets, &targets.white_line) - self.window_mean(targets, &targets.pre_edge);
        let sides = targets.sides_of(self.used(targets).map(|(energy, _, _)| energy));
        let white_line = self.used(targets).any(|(energy, _, _)| targets.white_line[energy]);
        PixelSums {
            energies: self.used(targets).count() as u32,
            sides,
            edge_jump: jump as f32,
            white_line,
            signal: f32::NAN,
            amount: f32::NAN,
        }
    }

    fn window_mean(&self, targets: &Targets, window: &[bool]) -> f64 {
        let inside = || self.used(targets).filter(|(energy, _, _)| window[*energy]);
        inside().map(|(_, od, _)| od).sum::<f64>() / inside().count() as f64
    }
}
