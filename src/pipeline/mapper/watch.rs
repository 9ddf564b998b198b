//! The damage monitor of a scan while it runs.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::dose::LiveDose;
use crate::classify::{LiveMap, PhaseMap, Recipe};
use crate::damage::{Alert, DamageReport, Exposed, Monitor, MonitorSettings, Sentinels};
use crate::pipeline::watch::{Course, is_done, look};
use crate::stack::Stack;

/// The monitor, and what was said last.
#[derive(Debug)]
pub(super) struct LiveWatch {
    monitor: Option<Monitor>,
    open: Vec<Alert>,
}

impl LiveWatch {
    pub(super) fn new(settings: MonitorSettings, recipe: &Recipe) -> Self {
        let monitor = settings.watch.then(|| Monitor::new(settings, Arc::clone(&recipe.references)));
        Self { monitor, open: Vec::new() }
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
        let first_entries = view.first_entries();
        let plan = stack.plan();
        if !monitor.is_due(plan, &first_entries, |energy| is_done(stack, energy)) {
            return None;
        }
        let (model, prior) = dose.known();
        let exposed = Exposed { raw: stack, view: &view, drift: &map.origin.drift };
        let course = Course { model, prior, exposed };
        let alerts = look(monitor, map, &view, &course, now);
        let sentinels = Sentinels::of(&plan.energies_ev, &first_entries, monitor.references());
        let findings = monitor.findings().to_vec();
        let report = DamageReport::new(&plan.scan_id, plan.simulated, course.unit(), &sentinels, findings);
        self.open.clone_from(&alerts);
        Some((alerts, report))
    }

    /// What was said last and holds still.
    pub(super) fn open(&self) -> Vec<Alert> {
        let raised = |alert: &&Alert| alert.state == crate::damage::AlertState::Raised;
        self.open.iter().filter(raised).cloned().collect()
    }
}
