//! Which values of a raw stack are no measurement of the sample, and why: before anything else looks at them.
//!
//! A [`Screen`] names, energy by energy, what the detector or the beam spoilt: single values that are saturated or
//! beyond what the detector counts in proportion, and whole lines that are stuck (the same number throughout, or a
//! copy of another line where photons would differ), out of line (a level that no neighbour in space or energy
//! shares), or without beam. Such values are masked: they were measured, but are not usable. They never become
//! opaque pixels, and they never enter I0.
//!
//! A line is a row of the grid. Assumptions: rows are what an acquisition hiccup spoils; a disturbed row differs
//! from the same row at the energies beside it over its whole width, which a sample does not, whatever its shape
//! (see `lines`). Data without noise, where whole rows repeat by nature, have no stuck lines; a stack of fewer than
//! three energies has no bad ones. Yields and optical densities are only checked for stuck lines and, where an
//! incident intensity came along, for lost beam.
//!
//! Everything follows from the content of the stack; [`Screen::refresh`] looks at the planes that changed, and at
//! those that were compared with them, and ends where [`Screen::of`] would.

mod flaws;
mod lines;
mod response;

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use flaws::{Flaw, FlawCounts, PlaneFlaws};
pub use response::Response;

use crate::scan::Signal;
use crate::stack::{Plane, PlaneI0, Stack};

/// What is known of the detector beyond what a stream says, and whether lines are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorSettings {
    /// Dead time of a counting detector, s; wins over the stream's, 0 says that there is none.
    pub dead_time_s: Option<f64>,
    /// Value at and above which the detector is saturated, in the unit of the values; wins over the stream's.
    pub saturation: Option<f64>,
    /// Rate above which it no longer counts in proportion, counts/s.
    pub linear_to_hz: Option<f64>,
    /// Whether stuck lines, bad lines and lost beam are looked for.
    pub screen_lines: bool,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self { dead_time_s: None, saturation: None, linear_to_hz: None, screen_lines: true }
    }
}

/// Level of a plane, against the planes around it in energy, below which there was no beam.
const LOST_PLANE: f64 = 0.05;
/// Planes on either side in energy that a plane's level is held against.
const LEVEL_REACH: usize = 4;

/// The flawed values of a stack.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    planes: Vec<Option<Arc<PlaneFlaws>>>,
    /// Bright level of each plane per ms, NaN where nothing was measured.
    levels: Vec<f64>,
    /// The planes each one was compared with.
    peers: Vec<lines::Peers>,
    lost: Vec<bool>,
    /// Planes of a registered stack that were moved: what is flawed of them was left out of it.
    moved: Vec<bool>,
}

impl Screen {
    /// Screens the whole stack.
    #[must_use]
    pub fn of(stack: &Stack, settings: &DetectorSettings) -> Self {
        let mut screen = Self::default();
        screen.refresh(stack, settings, &[]);
        screen
    }

    /// Screens the planes `changed` anew, and those that were compared with them; all of them where the plan has
    /// grown. Returns the planes whose flaws are others than before.
    pub fn refresh(&mut self, stack: &Stack, settings: &DetectorSettings, changed: &[usize]) -> Vec<usize> {
        let energies = stack.plan().energies_ev.len();
        let all = self.planes.len() != energies;
        if all {
            *self = Self {
                planes: vec![None; energies],
                levels: vec![f64::NAN; energies],
                peers: vec![lines::Peers::default(); energies],
                lost: vec![false; energies],
                moved: Vec::new(),
            };
        }
        let touched: Vec<usize> = if all { (0..energies).collect() } else { changed.to_vec() };
        let responses: Vec<Response> =
            (0..energies).map(|energy| Response::of(stack.plan(), energy, settings)).collect();
        let level = |&energy: &usize| lines::level(stack.plane(energy), &responses[energy]);
        let levels: Vec<f64> = touched.par_iter().map(level).collect();
        for (&energy, level) in touched.iter().zip(levels) {
            self.levels[energy] = level / stack.plan().dwell_ms[energy];
        }
        let order = by_energy(stack);
        let lost = if settings.screen_lines && stack.plan().detector.signal == Signal::Transmission {
            lost_planes(&order, &self.levels)
        } else {
            vec![false; energies]
        };
        let peers = lines::peers(stack, &order, &lost);
        let due = |energy: &usize| {
            let concerned = |other: &usize| *other == *energy || peers[*energy].contains(*other);
            all || touched.iter().any(concerned)
                || peers[*energy] != self.peers[*energy]
                || lost[*energy] != self.lost[*energy]
        };
        let due: Vec<usize> = (0..energies).filter(due).collect();
        let judge = |&energy: &usize| {
            let scene = lines::Scene { stack, responses: &responses, energy, peers: &peers[energy] };
            judge(&scene, settings, lost[energy])
        };
        let judged: Vec<Option<PlaneFlaws>> = due.par_iter().map(judge).collect();
        (self.peers, self.lost) = (peers, lost);
        let mut others = Vec::new();
        for (energy, flaws) in due.into_iter().zip(judged) {
            if self.planes[energy].as_deref() != flaws.as_ref() {
                self.planes[energy] = flaws.map(Arc::new);
                others.push(energy);
            }
        }
        others
    }

    /// The same for the registered `stack` that was made of `raw`, in which the flawed values of moved planes are missing
    /// already; for `raw` itself nothing changes.
    #[must_use]
    pub fn on(&self, raw: &Stack, stack: &Stack) -> Self {
        let pairs = raw.planes().iter().zip(stack.planes());
        Self { moved: pairs.map(|(raw, plane)| !Arc::ptr_eq(raw, plane)).collect(), ..self.clone() }
    }

    /// Whether the value of `pixel` at `energy`, as it was measured, may be used; true also where nothing was.
    #[must_use]
    #[inline]
    pub fn usable(&self, energy: usize, pixel: usize) -> bool {
        self.found(energy).is_none_or(|flaws| !flaws.contains(pixel))
    }

    /// The flaws that were found in a plane as it was measured; `None` where there are none.
    #[must_use]
    #[inline]
    pub fn found(&self, energy: usize) -> Option<&Arc<PlaneFlaws>> {
        self.planes.get(energy)?.as_ref()
    }

    /// The flaws that are to be masked in a plane; `None` where there are none, or where they are missing already.
    #[must_use]
    #[inline]
    pub fn flaws(&self, energy: usize) -> Option<&Arc<PlaneFlaws>> {
        if self.moved.get(energy).copied().unwrap_or(false) { None } else { self.found(energy) }
    }

    /// What was found, over all planes.
    #[must_use]
    pub fn counts(&self) -> FlawCounts {
        let mut counts = FlawCounts::default();
        self.planes.iter().flatten().for_each(|flaws| counts.add(flaws));
        counts
    }
}

/// The planes in order of energy, those with nothing in them left out.
fn by_energy(stack: &Stack) -> Vec<usize> {
    let energies_ev = &stack.plan().energies_ev;
    let mut order: Vec<usize> =
        (0..energies_ev.len()).filter(|&energy| stack.plane(energy).measured() > 0).collect();
    order.sort_by(|&a, &b| energies_ev[a].total_cmp(&energies_ev[b]).then(a.cmp(&b)));
    order
}

/// The planes whose level is next to nothing against the planes around them in energy.
fn lost_planes(order: &[usize], levels: &[f64]) -> Vec<bool> {
    let mut lost = vec![false; levels.len()];
    for (place, &energy) in order.iter().enumerate() {
        let (from, to) = (place.saturating_sub(LEVEL_REACH), (place + LEVEL_REACH + 1).min(order.len()));
        let mut around: Vec<f64> = (from..to).filter(|&p| p != place).map(|p| levels[order[p]]).collect();
        around.retain(|level| level.is_finite());
        if levels[energy] <= 0.0 || around.len() < 2 {
            // Nothing above dark needs no comparison.
            lost[energy] = levels[energy] <= 0.0;
            continue;
        }
        around.sort_by(f64::total_cmp);
        // Of an even number the upper one: so are two lost neighbours outvoted by two good ones.
        let usual = around[around.len() / 2];
        lost[energy] = usual > 0.0 && levels[energy] < LOST_PLANE * usual;
    }
    lost
}

/// The flaws of one plane.
fn judge(scene: &lines::Scene<'_>, settings: &DetectorSettings, lost: bool) -> Option<PlaneFlaws> {
    let plane = scene.plane();
    if plane.measured() == 0 {
        return None;
    }
    let [ny, nx] = scene.stack.plan().grid.shape;
    let mut flaws = PlaneFlaws::new(ny, nx);
    if lost {
        (0..ny).for_each(|y| flaws.add_line(plane, y, Flaw::BeamLoss));
        return Some(flaws);
    }
    if settings.screen_lines {
        lines::find(scene, &mut flaws);
        lost_i0(plane, scene.response(), &mut flaws);
    }
    single_values(plane, scene.response(), &mut flaws);
    (flaws.values() > 0).then_some(flaws)
}

/// Marks what is saturated or beyond proportion.
fn single_values(plane: &Plane, response: &Response, flaws: &mut PlaneFlaws) {
    let limit = response.ceiling();
    if limit == f64::INFINITY {
        return;
    }
    for (pixel, &value) in plane.values().iter().enumerate() {
        if f64::from(value) >= limit {
            let flaw =
                if f64::from(value) >= response.saturation { Flaw::Saturated } else { Flaw::Nonlinear };
            flaws.add(pixel, flaw);
        }
    }
}

/// Marks the values whose own incident intensity says that there was no beam.
fn lost_i0(plane: &Plane, response: &Response, flaws: &mut PlaneFlaws) {
    let PlaneI0::Each(list) = plane.i0() else { return };
    let stride = list.len().div_ceil(4096);
    let mut some: Vec<f32> = list.iter().copied().step_by(stride).filter(|i0| !i0.is_nan()).collect();
    if some.is_empty() {
        return;
    }
    let place = some.len() * 9 / 10;
    let (_, high, _) = some.select_nth_unstable_by(place, f32::total_cmp);
    let limit = response.dark + LOST_PLANE * (f64::from(*high) - response.dark);
    for (pixel, &i0) in list.iter().enumerate() {
        if f64::from(i0) < limit && !plane.value(pixel).is_nan() {
            flaws.add(pixel, Flaw::BeamLoss);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
