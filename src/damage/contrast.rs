//! Places of one field that had different doses before: does the one that had more look further reduced?
//!
//! An earlier scan that covered a part of a field, or had a finer grid or a longer dwell there, leaves a step of dose that has nothing to do with
//! the sample. What the beam did shows as a step of the state variable at the same place; what the sample does by itself does not. No energy has to
//! be repeated for that: the first map that tells phases will do.
//!
//! **Where.** What was deposited before is held against what this scan deposits in the same pixel, so that thickness cancels. Two classes are
//! made of it (Otsu); pixels between them, and those of which the map believes nothing, are left out.
//!
//! **Paired.** On both sides of the step pixels are compared that lie 3 to 7 pixels from it, along the matter of one particle, in pieces of the step some [`TILE`]
//! pixels long, taken together by two and two. So neither particles that differ by themselves count, nor domains that go on across the step. The guard of two pixels takes
//! up a sample that was moved a little, and the width of the beam.
//!
//! **Error.** Domains end somewhere, and now and then at the step. How often that is, and by how much they differ then, the same sample says: it
//! is cut by straight lines into stripes, and differences across these cuts, away from the true step, scatter as those at the step do if the dose did nothing.
//! That is what a difference has to exceed, also without any one part of the step. Its own error is the larger of this scatter and that of the parts themselves.
//!
//! **Whole particles only.** Where no particle lies across a step, whole particles are compared, with the scatter between them as the error. Particles may
//! differ for other reasons, so that this is told, and decides nothing.

mod sample;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::alert::{Alert, AlertKey, AlertState, Level, Verdict};
use super::finding::DoseUnit;
use super::groups::Of;
use super::normal::exceeded_with;
use super::sentinels::Signal;
use crate::classify::PhaseMap;
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;
use sample::{Compared, Sample};

/// Pixels on either side of the step that are left out, and the farthest that are compared.
const BAND: (u16, u16) = (2, 7);
/// Length of a piece of the step, pixels.
const TILE: usize = 8;
/// Pixels that a piece must have on either side.
const LEAST_PIXELS: usize = 8;
/// Pixels of matter that a class must have.
const LEAST_CLASS: usize = 40;
/// Parts of the step that are needed to compare.
const LEAST_PIECES: usize = 3;
/// Particles on either side that are needed where whole ones are compared.
const LEAST_WHOLE: usize = 5;
/// The lesser earlier dose is at most this share of the greater.
const UNEVEN: f64 = 0.7;
/// What of the way from one class to the other belongs to neither, on either side of its middle.
const BETWEEN: f64 = 0.2;
/// Width of the stripes that the sample is cut into.
const STRIPE: usize = 18;
/// What two sides differ by though nothing is there, as a share of what reduction would do.
const FLOOR: f64 = 0.005;
/// Standard errors below which a difference may as well be none: one side, 5 %.
const SURE: f64 = 1.645;
/// What of the limit has to be reached still without any one part of the step: no single domain that ends there shall do.
const WITHOUT: f64 = 0.7;
/// By how much few parts raise the limit, over their number: ends of domains are rare and large, and no normal error.
const FEW: f64 = 4.0;
/// Bins of the histogram of earlier doses.
const BINS: usize = 128;

/// How places of different earlier dose differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contrast {
    /// What doses are counted in.
    pub unit: DoseUnit,
    /// Mean earlier dose of the places that had more.
    pub dose_more: f64,
    /// Mean earlier dose of the places that had less.
    pub dose_less: f64,
    /// The state variable, e.g. `na_x`.
    pub variable: String,
    /// By how much it lies closer to that of the most reduced phase where more went in before.
    pub further: f64,
    /// Standard error of that.
    pub sigma: f64,
    /// What complete reduction would do to it, where less went in before.
    pub whole: f64,
    /// Whether it is compared within the same particles; else between whole ones.
    pub is_paired: bool,
    /// Parts of the step that were compared, each in one particle; or particles on either side, the fewer.
    pub pieces: usize,
    /// Particles that lie across the step, or whole ones in all.
    pub particles: usize,
    /// `further` in the standard errors that it would have, were there no difference, and how many there must be.
    pub z: f64,
    /// See `z`.
    pub z_limit: f64,
    /// Whether what had more is further reduced beyond chance: only where it is paired.
    pub is_real: bool,
    /// The same in words.
    pub text: String,
}

/// The rule of an alert of it.
pub(super) const RULE: &str = "places/state";

/// What a step of the dose says of the beam.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Where more went in the sample is further reduced.
    ForBeam,
    /// It is, but by less than half of what the beam would have done there, did it make all of the change that is seen now.
    Partly,
    /// It is not, though the beam, if it did what is seen now, would have made it so.
    AgainstBeam,
    /// Neither.
    Nothing,
}

/// What is compared.
#[derive(Clone, Copy)]
pub struct ByPlace<'a> {
    /// The map.
    pub map: &'a PhaseMap,
    /// What was deposited before this scan, by pixel, in `unit`; empty where nothing was.
    pub before: &'a [f32],
    /// What doses are counted in.
    pub unit: DoseUnit,
    /// The references that it was mapped with.
    pub references: &'a ReferenceSet,
    /// The state variable of the most reduced of them.
    pub reduced_state: Option<f64>,
    /// Probability of a false one.
    pub false_alarms: f64,
}

impl Contrast {
    /// Compares; `None` where the earlier dose is even, or nothing can be compared.
    #[must_use]
    pub fn of(places: &ByPlace<'_>) -> Option<Self> {
        let map = places.map;
        let total = match places.unit {
            DoseUnit::Mgy => &map.dose_mgy,
            DoseUnit::Relative => &map.dose_relative,
            DoseUnit::Seconds => return None,
        };
        if places.before.len() != map.len() || total.len() != map.len() {
            return None;
        }
        let sample = Sample::of(places)?;
        let class = classes(&exposures(map, places.before, total))?;
        let mean_dose = |wanted: bool| {
            let of = (0..map.len()).filter(|&pixel| class[pixel] == Some(wanted) && sample.is_known(pixel));
            mean(of.map(|pixel| f64::from(places.before[pixel])))
        };
        let (dose_more, dose_less) = (mean_dose(true)?, mean_dose(false)?);
        let known = (0..map.len()).filter(|&pixel| class[pixel] == Some(false));
        let state = mean(known.map(|pixel| sample.state[pixel]).filter(|state| state.is_finite()))?;
        let whole = places.reduced_state? - state;
        let compared = sample.across(&class, whole.abs()).or_else(|| sample.between(&class))?;
        if whole == 0.0 || dose_more <= dose_less {
            return None;
        }
        let Compared { difference, sigma, z, least, pieces, particles, is_paired } = compared;
        let further = difference * whole.signum();
        let few = 1.0 + FEW / pieces as f64;
        let (z, z_limit) = (z * whole.signum(), few * exceeded_with(places.false_alarms.clamp(1e-12, 0.5)));
        let mut contrast = Self {
            unit: places.unit,
            dose_more,
            dose_less,
            variable: sample.variable,
            further,
            sigma,
            whole: whole.abs(),
            is_paired,
            pieces,
            particles,
            z,
            z_limit,
            is_real: is_paired && z >= z_limit && least * whole.signum() >= WITHOUT * z_limit,
            text: String::new(),
        };
        contrast.text = contrast.words();
        Some(contrast)
    }

    /// What more went in before.
    #[must_use]
    pub fn step(&self) -> f64 {
        self.dose_more - self.dose_less
    }

    /// What it says of a change by which so much of all that can be reduced is reduced within `span` of dose; where that is not known, of any.
    #[must_use]
    pub fn speaks(&self, change: Option<(f64, f64)>) -> Speaks {
        // What damages less and less damaged most at first: this is the least that there would be.
        let needed = change.and_then(|(share, span)| self.needed(share, span));
        let is_less = self.is_paired && needed.is_some_and(|needed| self.most() < 0.5 * needed);
        match (self.is_real, is_less) {
            (true, false) => Speaks::ForBeam,
            (true, true) => Speaks::Partly,
            (false, true) => Speaks::AgainstBeam,
            (false, false) => Speaks::Nothing,
        }
    }

    /// Whether what had more looks further reduced: paired beyond chance, else by as much as is seldom chance.
    #[must_use]
    pub fn is_further(&self) -> bool {
        self.is_real || (!self.is_paired && self.z >= self.z_limit)
    }

    /// By how much the state would differ, did the beam make a change as that.
    fn needed(&self, share: f64, span: f64) -> Option<f64> {
        let share = share * self.step() / span;
        (share.is_finite() && share > 0.0).then(|| self.whole * share.min(1.0))
    }

    /// What the difference is at most, one side, 95 %.
    fn most(&self) -> f64 {
        (self.further + SURE * self.sigma).max(SURE * self.sigma)
    }

    /// What is told where the sample is further reduced beyond chance: that it was damaged before this scan.
    pub(super) fn alert(
        &self,
        key: AlertKey,
        state: AlertState,
        plan: &ScanPlan,
        now: DateTime<Utc>,
    ) -> Alert {
        let numbers = [
            ("dose_before_more", self.dose_more),
            ("dose_before_less", self.dose_less),
            ("further_reduced", self.further),
            ("further_reduced_error", self.sigma),
            ("standard_errors", self.z),
            ("standard_errors_limit", self.z_limit),
        ];
        let numbers = numbers.into_iter().map(|(name, value)| (name.to_owned(), serde_json::json!(value)));
        let over = if state == AlertState::Over { "over: " } else { "" };
        Alert {
            key,
            level: Level::Notice,
            state,
            time: now,
            sample: plan.sample.clone(),
            region: plan.region.clone(),
            signal: Signal::State.name().to_owned(),
            of: Of::Field.to_string(),
            text: format!("{over}a part of this field was damaged before this scan: {}", self.text),
            verdict: Verdict::Beam,
            evidence_for: vec![self.text.clone()],
            evidence_against: vec!["only the state by the map is compared: what else changes there by itself is not known".to_owned()],
            advice: "take what was exposed before as damaged, or go on at a fresh region; less dose in earlier scans of a place spares the later ones (`phasewatch dose`)".to_owned(),
            numbers: numbers.collect(),
            simulated: plan.simulated,
        }
    }

    fn words(&self) -> String {
        let (unit, step) = (self.unit.name(), self.step());
        let less = if self.dose_less < 0.02 * self.dose_more { "none" } else { "less" };
        let so_much =
            if less == "none" { format!("{step:.3} {unit}") } else { format!("{step:.3} {unit} more") };
        let how = if self.is_paired {
            format!("within the same particles ({} places in {})", self.pieces, self.particles)
        } else {
            "between whole particles, which may differ by themselves".to_owned()
        };
        let Self { variable, further, sigma, .. } = self;
        if self.z >= self.z_limit {
            format!(
                "where {so_much} went in before, the sample is further reduced by {further:.3} ± {sigma:.3} in {variable} than where {less} did, {how}"
            )
        } else {
            let most = self.most();
            format!(
                "not beyond chance further reduced where {so_much} went in before than where {less} did: by {further:+.3} ± {sigma:.3}, less than {most:.3}, in {variable}, {how}"
            )
        }
    }

    /// The same, with what would be if the beam did what is seen now.
    #[must_use]
    pub fn words_against(&self, (share, span): (f64, f64)) -> String {
        let needed = self.needed(share, span).unwrap_or(0.0);
        format!("{}; did the beam make the change seen now, it would be {needed:.3} at least", self.text)
    }
}

/// What was deposited before over what this scan deposits there; NaN where that is not known, or no sample.
fn exposures(map: &PhaseMap, before: &[f32], total: &[f32]) -> Vec<f64> {
    let own = |pixel: usize| f64::from(total[pixel]) - f64::from(before[pixel]);
    let is_sample = |pixel: &usize| map.status[*pixel].is_sample() && own(*pixel) > 0.0;
    let mut owns: Vec<f64> = (0..map.len()).filter(is_sample).map(own).collect();
    owns.sort_by(f64::total_cmp);
    let usual = owns.get(owns.len() / 2).copied().unwrap_or(f64::INFINITY);
    // What this scan has hardly been at yet says nothing of how thick it is.
    (0..map.len())
        .map(|pixel| {
            let known = is_sample(&pixel) && own(pixel) > 0.3 * usual;
            if known { f64::from(before[pixel]) / own(pixel) } else { f64::NAN }
        })
        .collect()
}

/// Which pixels had much and which had little; `None` where the dose is even.
fn classes(exposure: &[f64]) -> Option<Vec<Option<bool>>> {
    let known = || exposure.iter().copied().filter(|value| value.is_finite());
    let (low, high) = known().fold((f64::INFINITY, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
    if high.is_nan() || high <= low {
        return None;
    }
    let mut bins = [(0.0, 0.0); BINS];
    let bin = |value: f64| (((value - low) / (high - low) * BINS as f64) as usize).min(BINS - 1);
    for value in known() {
        let bin = &mut bins[bin(value)];
        *bin = (bin.0 + 1.0, bin.1 + value);
    }
    let all = bins.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1));
    let mut below = (0.0, 0.0);
    let mut best: Option<(f64, f64, f64)> = None;
    for bin in &bins[..BINS - 1] {
        below = (below.0 + bin.0, below.1 + bin.1);
        let above = (all.0 - below.0, all.1 - below.1);
        if below.0 < 1.0 || above.0 < 1.0 {
            continue;
        }
        let (less, more) = (below.1 / below.0, above.1 / above.0);
        let between = below.0 * above.0 * (more - less).powi(2);
        if best.is_none_or(|(most, ..)| between > most) {
            best = Some((between, less, more));
        }
    }
    let (_, less, more) = best.filter(|(_, less, more)| *less <= UNEVEN * more)?;
    let part = |value: f64| (value - less) / (more - less);
    let class = |value: &f64| match part(*value) {
        part if part.is_nan() => None,
        part if part <= 0.5 - BETWEEN => Some(false),
        part if part >= 0.5 + BETWEEN => Some(true),
        _ => None,
    };
    let classes: Vec<Option<bool>> = exposure.iter().map(class).collect();
    let enough = |wanted| classes.iter().filter(|class| **class == Some(wanted)).count() >= LEAST_CLASS;
    (enough(false) && enough(true)).then_some(classes)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
#[path = "contrast_tests.rs"]
mod tests;
