//! The damage monitor of a scan while it runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::dose::LiveDose;
use crate::classify::{LiveMap, PhaseMap, Recipe};
use crate::damage::{Alert, DamageReport, Exposed, Monitor, MonitorSettings};
use crate::pipeline::watch::{Course, look};
use crate::stack::Stack;

/// As many times as long as a look took the next one has to wait: maps go first.
const WAIT: u32 = 4;

/// The monitor, and what was said last.
#[derive(Debug)]
pub(super) struct LiveWatch {
    monitor: Option<Monitor>,
    open: Vec<Alert>,
    /// What was said last of places that had different doses before.
    of_places: Option<Alert>,
    /// Energies that were complete when these were compared last.
    compared: usize,
    /// When it looked last, and how long that took.
    last: Option<(Instant, Duration)>,
    /// Whether anything was shown.
    shown: bool,
}

impl LiveWatch {
    pub(super) fn new(settings: MonitorSettings, recipe: &Recipe) -> Self {
        let monitor = settings.watch.then(|| Monitor::new(settings, Arc::clone(&recipe.references)));
        Self { monitor, open: Vec::new(), of_places: None, compared: 0, last: None, shown: false }
    }

    /// Looks where another visit of a sentinel is complete, and compares places where another energy is; returns what is to be told, and what is to be shown.
    pub(super) fn look(
        &mut self,
        map: &PhaseMap,
        stack: &Stack,
        live: &LiveMap,
        dose: &LiveDose,
        now: DateTime<Utc>,
    ) -> Option<(Vec<Alert>, DamageReport)> {
        let monitor = self.monitor.as_mut()?;
        let view = live.view(stack);
        let (first_entries, plan) = (view.first_entries(), stack.plan());
        let (model, prior) = dose.known();
        let course =
            Course { model, prior, exposed: Exposed { raw: stack, view: &view, drift: &map.origin.drift } };
        let rested = self.last.is_none_or(|(at, took)| at.elapsed() >= took * WAIT);
        let measured = |energy: usize| stack.plane(energy).measured();
        let complete = (0..stack.planes().len()).filter(|&energy| measured(energy) == map.len()).count();
        // What an image is off by before it is registered, or by a first guess, would look like a change of the sample.
        let in_place = |energy: usize| if live.is_in_place(energy) { measured(energy) } else { 0 };
        let is_due = rested && monitor.is_due(plan, &first_entries, &in_place);
        let compares = rested && !prior.is_empty() && complete > self.compared;
        if !is_due && !compares {
            // Before anything can be seen it is said what could be.
            let first = !std::mem::replace(&mut self.shown, true);
            return first.then(|| (Vec::new(), monitor.report(plan, &first_entries, course.unit())));
        }
        let at = Instant::now();
        let mut alerts = Vec::new();
        if compares {
            self.compared = complete;
            self.of_places = monitor.compare(map, (prior, course.unit()), now);
            alerts.extend(self.of_places.clone());
        }
        if is_due {
            self.open = look(monitor, (map, &view), &course, &in_place, now);
            alerts.extend(self.open.iter().cloned());
        }
        self.last = Some((at, at.elapsed()));
        self.shown = true;
        Some((alerts, monitor.report(plan, &first_entries, course.unit())))
    }

    /// What was said last and holds still.
    pub(super) fn open(&self) -> Vec<Alert> {
        let raised = |alert: &&Alert| alert.state == crate::damage::AlertState::Raised;
        self.open.iter().chain(&self.of_places).filter(raised).cloned().collect()
    }
}
