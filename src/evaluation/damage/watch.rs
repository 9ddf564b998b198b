//! The monitor as the daemon has it, as a judge.

use std::sync::Arc;

use super::judge::{Estimate, Judge, Look, Opinion};
use crate::damage::{self, DoseUnit, Interval, Monitor, MonitorSettings, Signal};
use crate::reference::ReferenceSet;

/// A monitor that looks at one scan.
#[derive(Clone, Debug)]
pub struct Watch {
    monitor: Monitor,
    /// One that is told what all ends as; it is asked in the end.
    knowing: Monitor,
}

impl Watch {
    /// One that has not looked yet.
    #[must_use]
    pub fn new(settings: MonitorSettings, references: Arc<ReferenceSet>) -> Self {
        let knowing = MonitorSettings { plateau_known: true, ..settings.clone() };
        let knowing = Monitor::new(knowing, Arc::clone(&references));
        Self { monitor: Monitor::new(settings, references), knowing }
    }
}

impl Judge for Watch {
    fn look(&mut self, look: &Look<'_>) -> Opinion {
        let plan = look.stack.plan();
        let measured = |energy: usize| {
            if look.is_in_place[energy] { look.stack.plane(energy).measured() } else { 0 }
        };
        if !look.over && !self.monitor.is_due(plan, &look.view.first_entries(), &measured) {
            return Opinion::default();
        }
        let doses = |_: &[usize]| look.dose_mgy.to_vec();
        let elapsed_s = |energy: usize| (measured(energy) > 0).then(|| look.time_s[energy]);
        let seen = damage::Look {
            view: look.view,
            map: look.map,
            doses: &doses,
            unit: DoseUnit::Mgy,
            elapsed_s: &elapsed_s,
            measured: &measured,
        };
        let alerts = self.monitor.look(&seen, look.now);
        if look.over {
            self.knowing.look(&seen, look.now);
        }
        let known = |of: &str| {
            let mut lines = self.knowing.findings().iter().filter(|found| found.signal == Signal::WhiteLine);
            lines.find(|found| found.of == of).and_then(|found| found.critical_dose)
        };
        let lines = self.monitor.findings().iter().filter(|found| found.signal == Signal::WhiteLine);
        let estimates = lines
            .map(|found| {
                let share = |od: f64| od / found.scale.abs();
                let Interval { low, middle, high } = found.initial_rate;
                Estimate {
                    of: found.of.clone(),
                    initial_rate_per_mgy: Some(Interval {
                        low: share(low),
                        middle: share(middle),
                        high: share(high),
                    }),
                    critical_dose_mgy: found.critical_dose,
                    known_plateau_mgy: known(&found.of),
                }
            })
            .collect();
        Opinion { alerts, estimates }
    }
}
