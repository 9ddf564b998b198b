//! The shell of a particle: what lies between its outline and a front below it.

use std::f64::consts::TAU;

use super::domain::Mixture;
use super::particle::Particle;

/// Points of the outline.
const POINTS: usize = 256;
/// Of these one in so many is looked at first.
const COARSE: usize = 8;

/// Two phases with a front between them.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    /// Those of shell and core.
    phases: [usize; 2],
    /// How deep the front lies, pixels; `None`: there is no shell.
    pub(super) front_px: Option<f64>,
    pub(super) is_lagging: bool,
    outline: Vec<(f64, f64)>,
}

impl Shell {
    pub(super) fn of(
        particle: &Particle,
        phases: [usize; 2],
        front_px: Option<f64>,
        is_lagging: bool,
    ) -> Self {
        let turn = |i: usize| i as f64 / POINTS as f64 * TAU;
        let outline = (0..POINTS).map(|i| particle.outline_at(turn(i))).collect();
        Self { phases, front_px, is_lagging, outline }
    }

    /// What lies at a point of the particle; within `boundary_px` of the front both lie over each other.
    pub(super) fn mixture(&self, y: f64, x: f64, boundary_px: f64) -> Mixture {
        let [shell, core] = self.phases;
        let Some(front_px) = self.front_px else { return Mixture { phase: core, second: None, share: 1.0 } };
        let beyond_px = self.depth_px(y, x) - front_px;
        let (phase, other) = if beyond_px > 0.0 { (core, shell) } else { (shell, core) };
        if beyond_px.abs() >= boundary_px || phase == other {
            return Mixture { phase, second: None, share: 1.0 };
        }
        Mixture { phase, second: Some(other), share: 0.5 + 0.5 * beyond_px.abs() / boundary_px }
    }

    /// Distance of a point inside from the outline.
    pub(super) fn depth_px(&self, y: f64, x: f64) -> f64 {
        let square = |i: usize| {
            let (py, px) = self.outline[i % POINTS];
            (py - y).powi(2) + (px - x).powi(2)
        };
        let nearest = |some: &mut dyn Iterator<Item = usize>| {
            some.min_by(|&a, &b| square(a).total_cmp(&square(b))).unwrap_or(0)
        };
        let coarse = nearest(&mut (0..POINTS).step_by(COARSE)) + POINTS;
        let near = nearest(&mut (coarse - COARSE..=coarse + COARSE));
        self.to_side(near - 1, (y, x)).min(self.to_side(near, (y, x)))
    }

    /// Distance from the side of the outline between a point and the next.
    fn to_side(&self, i: usize, (y, x): (f64, f64)) -> f64 {
        let [(ay, ax), (by, bx)] = [i, i + 1].map(|i| self.outline[i % POINTS]);
        let (dy, dx) = (by - ay, bx - ax);
        let along = (((y - ay) * dy + (x - ax) * dx) / (dy * dy + dx * dx).max(1e-12)).clamp(0.0, 1.0);
        (y - ay - along * dy).hypot(x - ax - along * dx)
    }
}
