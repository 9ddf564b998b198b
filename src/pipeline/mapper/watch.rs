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
    /// When it looked last, and how long that took.
    last: Option<(Instant, Duration)>,
    /// Whether anything was shown.
    shown: bool,
}

impl LiveWatch {
    pub(super) fn new(settings: MonitorSettings, recipe: &Recipe) -> Self {
        let monitor = settings.watch.then(|| Monitor::new(settings, Arc::clone(&recipe.references)));
        Self { monitor, open: Vec::new(), last: None, shown: false }
    }

    /// Looks where another visit of a sentinel is complete; returns what is to be told, and what is to be shown.
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
        if !rested || !monitor.is_due(plan, &first_entries, &measured) {
            // Before anything can be seen it is said what could be.
            let first = !std::mem::replace(&mut self.shown, true);
            return first.then(|| (Vec::new(), monitor.report(plan, &first_entries, course.unit())));
        }
        let at = Instant::now();
        let alerts = look(monitor, map, &view, &course, now);
        self.last = Some((at, at.elapsed()));
        self.shown = true;
        self.open.clone_from(&alerts);
        Some((alerts, monitor.report(plan, &first_entries, course.unit())))
    }

    /// What was said last and holds still.
    pub(super) fn open(&self) -> Vec<Alert> {
        let raised = |alert: &&Alert| alert.state == crate::damage::AlertState::Raised;
        self.open.iter().filter(raised).cloned().collect()
    }
}
