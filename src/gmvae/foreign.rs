//! Spectra that are in no reference: made of peaks and steps, or of a reference that is out of place, upside down, or not alone.

use rand::Rng;
use rand_distr::StandardNormal;

use super::curve::Curves;

/// A peak, or a step.
pub(super) struct Peak {
    centre_ev: f64,
    width_ev: f64,
    height: f64,
    is_step: bool,
}

impl Peak {
    pub(super) fn at(&self, energy_ev: f64) -> f64 {
        let z = (energy_ev - self.centre_ev) / self.width_ev;
        let form = if self.is_step {
            0.5 + z.atan() / std::f64::consts::PI
        } else {
            0.5 / (1.0 + z * z) + 0.5 * (-z * z * std::f64::consts::LN_2).exp()
        };
        self.height * form
    }
}

/// A spectrum: phases with share and shift (eV), and peaks that are added to them.
type Foreign = (Vec<(usize, f32, f64)>, Vec<Peak>);

/// Draws one. In half of them it is one to six peaks and a step anywhere, about as high as the references; else no edge at all, a
/// reference shifted by 1 to 3 eV, one with a large peak that it should not have, or one upside down.
pub(super) fn draw(rng: &mut impl Rng, curves: &Curves) -> Foreign {
    let scale = f64::from(curves.spread_od);
    let height = (2.0 + rng.sample::<f64, _>(StandardNormal)).abs() * scale;
    let phase = rng.random_range(0..curves.curves.len());
    match rng.random_range(0..10) {
        0..5 => {
            let mut peaks = vec![step(rng, curves, 0.3..2.0)];
            (0..rng.random_range(1..6)).for_each(|_| peaks.push(peak(rng, curves, height)));
            (Vec::new(), peaks)
        }
        // Something light, or another edge far away: a smooth rise or fall.
        5 => (Vec::new(), vec![step(rng, curves, 3.0..15.0), step(rng, curves, 0.3..15.0)]),
        6..8 => {
            let far_ev = rng.random_range(1.0..3.0);
            (vec![(phase, 1.0, if rng.random_bool(0.5) { far_ev } else { -far_ev })], Vec::new())
        }
        8 => {
            let mut peaks = vec![peak(rng, curves, 3.0 * height.max(scale))];
            peaks.push(peak(rng, curves, height));
            (vec![(phase, rng.random_range(0.2..1.0), 0.0)], peaks)
        }
        _ => {
            // A reference that falls where it should rise, on top of something that absorbs.
            let rise =
                Peak { centre_ev: curves.from_ev - 50.0, width_ev: 0.1, height: 6.0 * scale, is_step: true };
            (vec![(phase, -1.0, 0.0)], vec![rise])
        }
    }
}

fn step(rng: &mut impl Rng, curves: &Curves, width_ev: std::ops::Range<f64>) -> Peak {
    Peak {
        centre_ev: rng.random_range(curves.from_ev..curves.to_ev),
        width_ev: rng.random_range(width_ev),
        height: rng.random_range(-0.5..2.0) * f64::from(curves.spread_od),
        is_step: true,
    }
}

fn peak(rng: &mut impl Rng, curves: &Curves, height: f64) -> Peak {
    // Peaks are put where the references tell something: outside nobody measures.
    let (from_ev, to_ev) = curves.telling_range_ev();
    Peak {
        centre_ev: rng.random_range(from_ev..to_ev),
        width_ev: rng.random_range(0.4..2.0),
        height: height * rng.random_range(0.3..1.0),
        is_step: false,
    }
}
