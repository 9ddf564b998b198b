//! One scan: measured, mapped as it grows, looked at by a judge, and what was said beside what is true.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use serde::Serialize;

use super::draw::{Class, Draw};
use super::judge::{Estimate, Judge, Look, Opinion};
use crate::classify::{DensityView, LiveMap, PhaseMap, Recipe, settle};
use crate::damage::{Alert, AlertKey, AlertState, Interval, Level, Of, Verdict};
use crate::evaluation::EvaluationError;
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;
use crate::simulate::{DamageTruth, Kinetics, Microscope};
use crate::stack::Stack;

/// An interval that was told, and what is true.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// Of which pixels.
    pub of: String,
    /// What is true.
    pub truth: f64,
    /// What was told; `None` where nothing was.
    pub told: Option<Interval>,
    /// Share of what can be lost that is lost by then.
    pub lost: f64,
}

/// One look at a scan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Asked {
    /// Visits that every sentinel had had by then.
    pub visits: usize,
    /// Images measured by then.
    pub images: usize,
    /// Whether it was the last one, at the settled map.
    pub over: bool,
    /// Share of all that the beam can do to the white line of the field which was done by then.
    pub done: f64,
    /// Initial rate of the field, per MGy.
    pub rate: Verified,
}

/// The first alert of a level or above.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spoken {
    /// At which look, from 0.
    pub look: usize,
    /// Visits that every sentinel had had by then.
    pub visits: usize,
    /// The level.
    pub level: Level,
    /// What was said to lie behind it.
    pub verdict: Verdict,
    /// What was seen to change.
    pub signal: String,
    /// Of what.
    pub of: String,
    /// Share of all that the beam can do to the white line of the field which was done by then.
    pub done: f64,
    /// The same of what was done when the scan was over.
    pub done_of_scan: f64,
    /// Share of the white line of the field that was lost by then.
    pub lost: f64,
}

impl Spoken {
    /// Whether it may be damage by what was said.
    #[must_use]
    pub fn may_be_damage(&self) -> bool {
        matches!(self.verdict, Verdict::Beam | Verdict::Undecided)
    }
}

/// What came of a scan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScanRecord {
    /// What happens to its sample.
    pub class: Class,
    /// Its number among those of its class.
    pub number: usize,
    /// How what is left falls.
    pub kinetics: Kinetics,
    /// Whether each phase has a rate of its own.
    pub own_rates: bool,
    /// Whether mass is lost.
    pub loses_mass: bool,
    /// Whether the phases are off their references.
    pub off_references: bool,
    /// Share of all that the beam can do to the white line of the field which is done in the end.
    pub done: f64,
    /// Change of the white line of the field in the end.
    pub white_line_change: f64,
    /// Every look.
    pub asked: Vec<Asked>,
    /// The first alert of each level or above that may be damage by what it says.
    pub first: [Option<Spoken>; 3],
    /// The first alert of each level or above, whatever it says.
    pub first_of_any: [Option<Spoken>; 3],
    /// What the alert of the highest level said last; of equals the one that came first by its key.
    pub verdict: Option<Verdict>,
    /// Initial rates of the phases in the end, per MGy.
    pub rates_of_phases: Vec<Verified>,
    /// Critical doses in the end, MGy: of the field where it has one, and of the phases.
    pub critical_doses: Vec<Verified>,
    /// The same by who knows what all ends as.
    pub critical_doses_known: Vec<Verified>,
}

/// Measures a scan, and asks about it.
///
/// # Errors
/// See [`super::study`].
pub(super) fn examine<J: Judge>(
    draw: &Draw,
    recipe: &Recipe,
    judge: impl Fn(&ScanPlan) -> J,
) -> Result<ScanRecord, EvaluationError> {
    let microscope =
        Microscope::new(draw.scenario.clone(), &recipe.references, &draw.scan_id(), DateTime::UNIX_EPOCH)?;
    let mut hearing = Hearing::of(draw, &microscope, &recipe.references);
    let mut judge = judge(microscope.plan());
    let mut stack = Stack::new(microscope.plan().clone());
    let mut live = LiveMap::new(&stack, recipe.clone());
    let mut seq = 0;
    stack.note_seq(seq);
    let images = microscope.plan().energies_ev.len();
    for energy in 0..images {
        for row in 0..microscope.plan().grid.ny() {
            seq += 1;
            stack.note_seq(seq);
            stack.push(seq, &microscope.line(energy, row))?;
        }
        let changes = stack.take_changes();
        let snapshot = stack.clone();
        let mut reason = live.advance(&snapshot, &changes);
        reason = live.refine(&snapshot).unwrap_or(reason);
        let is_in_place: Vec<bool> = (0..images).map(|energy| live.is_in_place(energy)).collect();
        if !hearing.has_news(energy, &is_in_place) {
            continue;
        }
        let (map, _) = live.generation_of(&snapshot, reason, None);
        let view = live.view(&snapshot);
        hearing.ask(&mut judge, energy + 1, (&snapshot, &map, &view), &is_in_place, false);
    }
    let settled = settle(&stack, recipe, None);
    let mapped = settled.registered.as_ref().unwrap_or(&stack);
    let view = DensityView::new(mapped, &settled.intensity, recipe.absorption.max_od, settled.noise_factor);
    hearing.ask(&mut judge, stack.planes().len(), (&stack, &settled.map, &view), &vec![true; images], true);
    Ok(hearing.record())
}

/// What is asked and answered about a scan.
struct Hearing<'a> {
    draw: &'a Draw,
    references: &'a ReferenceSet,
    plan: ScanPlan,
    truth: DamageTruth,
    /// Share of all that the beam can do, after each image.
    done: Vec<f64>,
    dose_mgy: Vec<f64>,
    time_s: Vec<f64>,
    image_s: f64,
    /// Visits that could be read at the last image.
    readable: usize,
    asked: Vec<Asked>,
    first: [Option<Spoken>; 3],
    first_of_any: [Option<Spoken>; 3],
    alerts: BTreeMap<AlertKey, Alert>,
    estimates: Vec<Estimate>,
}

impl<'a> Hearing<'a> {
    fn of(draw: &'a Draw, microscope: &Microscope, references: &'a ReferenceSet) -> Self {
        let truth = microscope.truth().damage.clone().unwrap_or_default();
        let images = microscope.plan().energies_ev.len();
        let image_s = microscope.line_start_ms(1, 0) * 1e-3;
        // An image is seen with half of its own dose.
        let middle = |(after, own): (&f64, &f64)| after - 0.5 * own;
        Self {
            draw,
            references,
            plan: microscope.plan().clone(),
            done: truth.share_of_white_line_change(),
            dose_mgy: truth.dose_mgy.iter().zip(&truth.dose_of_energy_mgy).map(middle).collect(),
            time_s: (0..images).map(|image| (image as f64 + 0.5) * image_s).collect(),
            image_s,
            truth,
            readable: 0,
            asked: Vec::new(),
            first: [const { None }; 3],
            first_of_any: [const { None }; 3],
            alerts: BTreeMap::new(),
            estimates: Vec::new(),
        }
    }

    fn sentinels_ev(&self) -> &[f64] {
        &self.draw.scenario.scan.repeat_ev
    }

    /// Whether after an image there are visits of sentinels that can be read now and could not before.
    fn has_news(&mut self, image: usize, is_in_place: &[bool]) -> bool {
        let is_visit = |&image: &usize| self.sentinels_ev().contains(&self.plan.energies_ev[image]);
        let readable = (0..=image).filter(is_visit).filter(|&image| is_in_place[image]).count();
        readable > std::mem::replace(&mut self.readable, readable)
    }

    /// Visits that every sentinel has had after so many images.
    fn visits(&self, images: usize) -> usize {
        let measured = &self.plan.energies_ev[..images];
        let of = |sentinel_ev: &f64| measured.iter().filter(|energy_ev| *energy_ev == sentinel_ev).count();
        self.sentinels_ev().iter().map(of).min().unwrap_or(0)
    }

    fn ask(
        &mut self,
        judge: &mut impl Judge,
        images: usize,
        (stack, map, view): (&Stack, &PhaseMap, &DensityView<'_>),
        is_in_place: &[bool],
        over: bool,
    ) {
        let elapsed = TimeDelta::milliseconds((images as f64 * self.image_s * 1e3) as i64);
        let Opinion { alerts, estimates } = judge.look(&Look {
            stack,
            map,
            view,
            is_in_place,
            references: self.references,
            dose_mgy: &self.dose_mgy,
            time_s: &self.time_s,
            now: self.plan.started + elapsed,
            over,
        });
        let done = self.done[images - 1];
        let look = self.asked.len();
        for alert in alerts {
            if alert.state == AlertState::Raised {
                self.note(look, images, &alert);
            }
            self.alerts.insert(alert.key.clone(), alert);
        }
        let told = find(&estimates, &Of::Field).and_then(|estimate| estimate.initial_rate_per_mgy);
        let truth = self.truth.initial_rate_of_field_per_mgy;
        let rate = Verified { of: Of::Field.to_string(), truth, told, lost: done };
        self.asked.push(Asked { visits: self.visits(images), images, over, done, rate });
        self.estimates = estimates;
    }

    /// Notes an alert where it is the first of a level or above.
    fn note(&mut self, look: usize, images: usize, alert: &Alert) {
        let (visits, done) = (self.visits(images), self.done[images - 1]);
        let whole = self.done.last().copied().unwrap_or_default();
        let spoken = Spoken {
            look,
            visits,
            level: alert.level,
            verdict: alert.verdict,
            signal: alert.signal.clone(),
            of: alert.of.clone(),
            done,
            done_of_scan: if whole > 0.0 { done / whole } else { 0.0 },
            lost: self.truth.white_line_change_of_field[images - 1],
        };
        let may_be = spoken.may_be_damage();
        for (level, index) in Level::ALL.into_iter().zip(0..) {
            if alert.level < level {
                continue;
            }
            self.first_of_any[index].get_or_insert_with(|| spoken.clone());
            if may_be {
                self.first[index].get_or_insert_with(|| spoken.clone());
            }
        }
    }

    fn record(self) -> ScanRecord {
        let last = |values: &Vec<f64>| values.last().copied().unwrap_or_default();
        let damage = self.draw.scenario.damage.clone().unwrap_or_default();
        let truth = &self.truth;
        let ids = self.references.references.iter().map(|reference| &reference.label.id);
        let phases: Vec<(Of, usize)> = ids.enumerate().map(|(k, id)| (Of::Phase(id.clone()), k)).collect();
        let verified = |of: &Of, truth: f64, lost: f64, told: &dyn Fn(&Estimate) -> Option<Interval>| {
            let told = find(&self.estimates, of).and_then(told);
            Verified { of: of.to_string(), truth, told, lost }
        };
        let rate = |(of, k): &(Of, usize)| {
            let told = |estimate: &Estimate| estimate.initial_rate_per_mgy;
            verified(of, truth.initial_rate_per_mgy[*k], last(&truth.converted[*k]), &told)
        };
        let of_field = truth.critical_dose_of_field_mgy.map(|mgy| (&Of::Field, mgy, last(&self.done)));
        let of_phases = phases
            .iter()
            .filter_map(|(of, k)| Some((of, truth.critical_dose_mgy[*k]?, last(&truth.converted[*k]))));
        let all: Vec<(&Of, f64, f64)> = of_field.into_iter().chain(of_phases).collect();
        let critical = |told: &dyn Fn(&Estimate) -> Option<Interval>| {
            all.iter().map(|(of, mgy, lost)| verified(of, *mgy, *lost, told)).collect()
        };
        let critical_doses = critical(&|estimate| estimate.critical_dose_mgy);
        let critical_doses_known = critical(&|estimate| estimate.known_plateau_mgy);
        let loudest = self.alerts.values().rev().max_by_key(|alert| alert.level);
        ScanRecord {
            class: self.draw.class,
            number: self.draw.number,
            kinetics: damage.kinetics,
            own_rates: !damage.rates.is_empty(),
            loses_mass: damage.mass_loss > 0.0,
            off_references: self.draw.scenario.specimen.mismatch > 0.0,
            done: last(&self.done),
            white_line_change: last(&truth.white_line_change_of_field),
            rates_of_phases: phases.iter().map(rate).collect(),
            critical_doses,
            critical_doses_known,
            verdict: loudest.map(|alert| alert.verdict),
            asked: self.asked,
            first: self.first,
            first_of_any: self.first_of_any,
        }
    }
}

fn find<'a>(estimates: &'a [Estimate], of: &Of) -> Option<&'a Estimate> {
    let of = of.to_string();
    estimates.iter().find(|estimate| estimate.of == of)
}
