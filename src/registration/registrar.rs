//! Registration while a scan runs: follows the stack as it grows.
//!
//! An image is looked at when all of it is there, or when nothing more came for it; until then its displacement is that
//! of the image before it in time, moved by what the running reference says. All displacements are estimated anew when
//! the owner says that it is due. Planes are interpolated anew when their values or their displacement changed: while the
//! scan grows only by more than [`TOLERANCE`], when it is whole by anything, so that the result is that of
//! [`super::estimate`] and [`super::register`].

use std::sync::Arc;

use super::drift::{Drift, RegistrationMode};
use super::estimate::Estimator;
use super::resample::registered;
use crate::stack::{Plane, Stack};

/// A displacement that moved by less leaves a growing map as it is, pixels.
const TOLERANCE: f64 = 0.05;

/// What a step of the registrar did to the planes.
#[derive(Clone, Debug, Default)]
pub enum Moved {
    /// Nothing is registered: the stack is as it was measured.
    #[default]
    Nothing,
    /// These planes were interpolated anew; each with what it was before.
    Planes(Vec<(usize, Arc<Plane>)>),
    /// So much that everything is to be made anew.
    Everything,
}

/// What a registrar is told at a step.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The energies that have values they did not have before, or others.
    pub changed: &'a [usize],
    /// Whether all displacements are to be estimated anew.
    pub due: bool,
    /// Whether the scan is whole.
    pub whole: bool,
}

/// The registration of a growing stack.
#[derive(Debug, Default)]
pub struct Registrar {
    mode: RegistrationMode,
    estimator: Estimator,
    /// Planes that changed since their image was looked at.
    dirty: Vec<bool>,
    /// Images whose displacement is only that of the running reference.
    guessed: Vec<bool>,
    drift: Drift,
    /// The displacement that each plane of `stack` was made with.
    used: Vec<[f64; 2]>,
    stack: Option<Stack>,
}

impl Registrar {
    /// A registrar for `stack`, which it has not seen anything of.
    #[must_use]
    pub fn new(stack: &Stack, mode: RegistrationMode) -> Self {
        Self {
            mode,
            estimator: Estimator::new(stack),
            dirty: vec![false; stack.planes().len()],
            guessed: vec![false; stack.planes().len()],
            drift: Drift::default(),
            used: Vec::new(),
            stack: None,
        }
    }

    /// The drift as it is estimated now.
    #[must_use]
    pub fn drift(&self) -> &Drift {
        &self.drift
    }

    /// Whether the image at an energy lies where it belongs as well as can be told: not where the image before it does, as until all of it is
    /// there, nor at a first guess. Either may be off by more than is noticed in what comes back to the same energy.
    #[must_use]
    pub fn is_in_place(&self, energy: usize) -> bool {
        let is = |which: &[bool]| which.get(energy).copied().unwrap_or(false);
        let is_guessed = self.drift.is_applied() && is(&self.guessed);
        !is(&self.dirty) && !is_guessed
    }

    /// The registered stack; `None` where nothing is taken out.
    #[must_use]
    pub fn registered(&self) -> Option<&Stack> {
        self.stack.as_ref()
    }

    /// The registered stack, or `raw` where nothing is taken out.
    #[must_use]
    pub fn stack<'a>(&'a self, raw: &'a Stack) -> &'a Stack {
        self.stack.as_ref().unwrap_or(raw)
    }

    /// Takes a step. `usable(energy, pixel)`: whether a value is sound.
    pub fn advance(
        &mut self,
        raw: &Stack,
        step: Step<'_>,
        usable: &(dyn Fn(usize, usize) -> bool + Sync),
    ) -> Moved {
        if self.mode == RegistrationMode::Off {
            return Moved::Nothing;
        }
        step.changed.iter().for_each(|&energy| self.dirty[energy] = true);
        let pixels = raw.plan().grid.pixels();
        let ready: Vec<usize> = (0..self.dirty.len())
            .filter(|&energy| self.dirty[energy])
            .filter(|&e| raw.plane(e).measured() == pixels || (step.due && !step.changed.contains(&e)))
            .collect();
        self.estimator.take(raw, &ready, usable);
        ready.iter().for_each(|&energy| self.dirty[energy] = false);
        let was_applied = self.drift.is_applied();
        if step.due {
            self.drift = self.estimator.drift(raw);
            self.guessed.fill(false);
        } else {
            ready.iter().for_each(|&energy| self.guessed[energy] = true);
            self.estimator.follow(raw, &ready, &mut self.drift);
        }
        if !self.drift.is_applied() {
            self.stack = None;
            return if was_applied { Moved::Everything } else { Moved::Nothing };
        }
        let moved = self.renew(raw, step, usable);
        if was_applied && 2 * moved.len() < raw.planes().len() {
            Moved::Planes(moved)
        } else {
            Moved::Everything
        }
    }

    /// Interpolates what has to be; returns those planes as they were.
    fn renew(
        &mut self,
        raw: &Stack,
        step: Step<'_>,
        usable: &(dyn Fn(usize, usize) -> bool + Sync),
    ) -> Vec<(usize, Arc<Plane>)> {
        use rayon::prelude::*;
        let tolerance = if step.whole { 0.0 } else { TOLERANCE };
        let before = self.stack.take();
        self.used.resize(raw.planes().len(), [0.0; 2]);
        let made: Vec<Option<Arc<Plane>>> = (0..raw.planes().len())
            .into_par_iter()
            .map(|energy| {
                let (now, used) = (self.drift.applied(energy), self.used[energy]);
                let moved = (now[0] - used[0]).abs().max((now[1] - used[1]).abs()) > tolerance;
                let stale = before.is_none() || moved || step.changed.contains(&energy);
                stale.then(|| registered(raw, energy, now, &|pixel| usable(energy, pixel)))
            })
            .collect();
        let mut planes = before.as_ref().map_or_else(|| raw.planes().to_vec(), |old| old.planes().to_vec());
        let mut moved = Vec::new();
        for (energy, plane) in made.into_iter().enumerate() {
            if let Some(plane) = plane {
                self.used[energy] = self.drift.applied(energy);
                moved.push((energy, std::mem::replace(&mut planes[energy], plane)));
            }
        }
        self.stack = Some(raw.with_planes(planes));
        moved
    }
}
