//! Chemistry or beam? What a change of a signal is compared with.
//!
//! The beam, a shift of the energies, a displacement of the sample and a loss of mass each change every group of pixels by an amount
//! that can be reckoned beforehand, up to one factor that is common to all (two for a displacement). Each is fitted to the changes of all groups; what it leaves
//! unexplained and how large it would have to be speak for it or against it. I0 cannot be the cause where empty pixels of the same images are compared
//! with; what they did is told.
//!
//! What the sample does by itself goes with time, not with dose. Where the two came apart (a pause, a second scan, a place that was exposed before) both are fitted
//! together; where places of one field had different doses before ([`Contrast`]) they are compared; where neither is so, nothing in the data can tell them apart, and then the context of the scan decides whether it is left open.

use super::alert::Verdict;
use super::contrast::{Contrast, Speaks};
use super::series::Series;

/// A shift of the energies that may well happen, eV.
const LIKELY_SHIFT_EV: f64 = 0.15;
/// A displacement within a scan that may well stay unnoticed, pixels.
const LIKELY_DISPLACEMENT_PX: f64 = 0.5;
/// Share of the changes that must be explained.
const EXPLAINED: f64 = 0.8;
/// Correlation of dose and time from which on they cannot be told apart.
const APART: f64 = 0.97;

/// What happened to one group, and what each possible cause would do to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Change of the signal from the first reading to the last.
    pub change: f64,
    /// Its standard error.
    pub sigma: f64,
    /// What complete reduction would do.
    pub reduction: Option<f64>,
    /// What the loss of all mass would do.
    pub loss: f64,
    /// What a shift of the energies by 1 eV would do.
    pub per_ev: Option<f64>,
    /// What a displacement by one pixel would do, down and to the right.
    pub per_px: [f64; 2],
}

/// What is known beside the changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circumstances {
    /// Change of the empty pixels over the same readings, and its error.
    pub empty: Option<(f64, f64)>,
    /// By how much the energies were seen to move, eV, and the error of that.
    pub moved_ev: Option<(f64, f64)>,
    /// Whether the context of the scan says that the sample is being changed.
    pub operando: bool,
    /// Whether drift is taken out.
    pub registered: bool,
    /// Dose and time, where they came apart: standard errors of the change with each, the other being held.
    pub apart: Option<(f64, f64)>,
    /// What a direction toward the reduced phase is called.
    pub toward: String,
    /// Dose from the first reading to the last, where it is known.
    pub span: Option<f64>,
    /// How places that had different doses before differ, where there are such.
    pub contrast: Option<Contrast>,
}

/// What lies behind a change, most likely, and why.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Cause {
    /// The verdict.
    pub verdict: Verdict,
    /// What speaks for it.
    pub evidence_for: Vec<String>,
    /// What speaks against it.
    pub evidence_against: Vec<String>,
}

/// A factor and the share of the changes that it explains.
#[derive(Clone, Copy, Debug)]
struct Fit {
    factor: f64,
    share: f64,
}

/// Fits one factor on what a cause would do; `None` where it would do nothing, or that is not known of every group.
fn fit(changes: &[Change], of: impl Fn(&Change) -> Option<f64>) -> Option<Fit> {
    let templates: Vec<f64> = changes.iter().map(of).collect::<Option<_>>()?;
    let sum = |f: &dyn Fn(usize) -> f64| -> f64 {
        (0..changes.len()).map(|i| f(i) / changes[i].sigma.powi(2)).sum()
    };
    let norm = sum(&|i| templates[i] * templates[i]);
    let along = sum(&|i| templates[i] * changes[i].change);
    let all = sum(&|i| changes[i].change.powi(2));
    (norm > 0.0 && all > 0.0).then(|| Fit { factor: along / norm, share: along * along / (norm * all) })
}

/// The displacement that explains most, pixels down and to the right, and the share.
fn displacement(changes: &[Change]) -> Option<([f64; 2], f64)> {
    let (mut m, mut h, mut all) = ([0.0; 3], [0.0; 2], 0.0);
    for change in changes {
        let (w, [y, x]) = (change.sigma.powi(-2), change.per_px);
        m = [m[0] + w * y * y, m[1] + w * x * x, m[2] + w * x * y];
        h = [h[0] + w * y * change.change, h[1] + w * x * change.change];
        all += w * change.change.powi(2);
    }
    // What is flat in one direction says nothing of a displacement there: a little is added, so that it is not one of miles.
    let (m0, m1) = (m[0] + 1e-6 * (m[0] + m[1]), m[1] + 1e-6 * (m[0] + m[1]));
    let det = m0 * m1 - m[2] * m[2];
    if det.is_nan() || det <= 0.0 || all <= 0.0 {
        return None;
    }
    let shift = [(m1 * h[0] - m[2] * h[1]) / det, (m0 * h[1] - m[2] * h[0]) / det];
    Some((shift, (shift[0] * h[0] + shift[1] * h[1]) / all))
}

/// What dose and time say of a series where they came apart: the change with each in standard errors, the other being held.
#[must_use]
pub fn dose_and_time(series: &Series) -> Option<(f64, f64)> {
    if series.len() < 4 {
        return None;
    }
    let weights: Vec<f64> = series.readings.iter().map(|reading| 1.0 / series.variance(reading)).collect();
    let total: f64 = weights.iter().sum();
    let mean =
        |of: &dyn Fn(usize) -> f64| (0..weights.len()).map(|i| weights[i] * of(i)).sum::<f64>() / total;
    let (dose, time) = (|i: usize| series.readings[i].dose, |i: usize| series.readings[i].time_s);
    let (dose0, time0, value0) = (mean(&dose), mean(&time), mean(&|i| series.readings[i].value));
    let cross = |a: &dyn Fn(usize) -> f64, b: &dyn Fn(usize) -> f64| -> f64 {
        (0..weights.len()).map(|i| weights[i] * a(i) * b(i)).sum()
    };
    let (d, t) = (|i| dose(i) - dose0, |i| time(i) - time0);
    let v = |i: usize| series.readings[i].value - value0;
    let (dd, tt, dt) = (cross(&d, &d), cross(&t, &t), cross(&d, &t));
    let (dv, tv) = (cross(&d, &v), cross(&t, &v));
    if dd <= 0.0 || tt <= 0.0 || dt * dt > APART * APART * dd * tt {
        return None;
    }
    let det = dd * tt - dt * dt;
    Some(((tt * dv - dt * tv) / (det * tt).sqrt(), (dd * tv - dt * dv) / (det * dd).sqrt()))
}

impl Cause {
    /// What lies behind the changes of all groups.
    #[must_use]
    pub fn of(changes: &[Change], circumstances: &Circumstances) -> Self {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let reduction = fit(changes, |change| change.reduction);
        let loss = fit(changes, |change| Some(change.loss));
        let shift = fit(changes, |change| change.per_ev);
        let moved = displacement(changes);
        let is_damage = |fit: &Option<Fit>| fit.is_some_and(|fit| fit.factor > 0.0);
        let by_beam = [reduction, loss]
            .into_iter()
            .filter(is_damage)
            .flatten()
            .map(|fit| fit.share)
            .fold(0.0, f64::max);
        if let Some(fit) = reduction.filter(|fit| fit.share >= EXPLAINED) {
            let (percent, of) = (100.0 * fit.factor, 100.0 * fit.share);
            if fit.factor > 0.0 {
                let toward = &circumstances.toward;
                good.push(format!("{toward} by {percent:.1} % would explain {of:.0} % of it"));
            } else {
                bad.push("it goes away from the reduced phase".to_owned());
            }
        }
        if let Some(fit) = loss.filter(|fit| fit.share >= EXPLAINED && fit.factor > 0.0) {
            good.push(format!(
                "a loss of {:.1} % of the mass would explain {:.0} % of it",
                100.0 * fit.factor,
                100.0 * fit.share
            ));
        }
        // The share that is reduced from the first reading to the last, and within which dose.
        let drift = reduction.filter(|fit| fit.factor > 0.0).map(|fit| fit.factor).zip(circumstances.span);
        let speaks = circumstances.contrast.as_ref().map_or(Speaks::Nothing, |own| own.speaks(drift));
        let mut instrument = false;
        let mut open = false;
        if let Some(fit) = shift {
            let ev = fit.factor.abs();
            let text = format!(
                "a shift of the energies by {ev:.2} eV would explain {:.0} % of it",
                100.0 * fit.share
            );
            let likely_ev = circumstances
                .moved_ev
                .map_or(LIKELY_SHIFT_EV, |(moved, error)| (moved.abs() + 3.0 * error).min(LIKELY_SHIFT_EV));
            if let Some((moved, error)) = circumstances.moved_ev {
                let told =
                    format!("the energies moved by {moved:+.3} eV (error {error:.3}) between the scans");
                if ev > likely_ev { good.push(told) } else { bad.push(told) }
            }
            if ev > likely_ev || fit.share < 0.5 {
                good.push(format!(
                    "{text}, and is {}",
                    if ev > likely_ev { "more than is likely" } else { "not enough" }
                ));
            } else {
                instrument |= fit.share > EXPLAINED && fit.share > by_beam + 0.1;
                open |= fit.share > EXPLAINED;
                bad.push(text);
            }
        }
        if let Some((px, share)) = moved {
            let far = px[0].hypot(px[1]);
            let text =
                format!("a displacement by {far:.2} pixels would explain {:.0} % of it", 100.0 * share);
            let most = if circumstances.registered {
                LIKELY_DISPLACEMENT_PX * 0.5
            } else {
                2.0 * LIKELY_DISPLACEMENT_PX
            };
            if far > most || share < 0.5 {
                let why = if far > most { "more than is likely" } else { "not enough" };
                good.push(format!("{text}, and is {why}"));
            } else {
                instrument |= share > EXPLAINED && share > by_beam + 0.1;
                open |= share > EXPLAINED && changes.len() <= 2;
                bad.push(text);
            }
        }
        match circumstances.empty {
            Some((change, error)) => good.push(format!(
                "not I0: the empty field, which is taken off, moved by {change:+.4} (error {error:.4})"
            )),
            None => bad.push("no empty field to hold I0 against".to_owned()),
        }
        let verdict = match circumstances.apart {
            Some((dose, time)) if dose.abs() >= 3.0 && time.abs() < 2.0 => {
                good.push(format!(
                    "it goes with the dose ({dose:.1} standard errors), not with time ({time:.1})"
                ));
                if instrument { Verdict::Undecided } else { Verdict::Beam }
            }
            Some((dose, time)) if time.abs() >= 3.0 && dose.abs() < 2.0 => {
                let text =
                    format!("it goes with time ({time:.1} standard errors), not with the dose ({dose:.1})");
                good.push(text);
                Verdict::Chemistry
            }
            _ if instrument => Verdict::Instrument,
            // Between places dose and time came apart: all of them have had the same time.
            _ if speaks == Speaks::ForBeam && by_beam >= 0.5 => Verdict::Beam,
            _ if speaks == Speaks::AgainstBeam && circumstances.operando => Verdict::Chemistry,
            _ if circumstances.operando => {
                bad.push("the scan is operando: the sample may do this by itself, and dose and time did not come apart".to_owned());
                Verdict::Undecided
            }
            _ if open || by_beam < 0.5 => Verdict::Undecided,
            _ => Verdict::Beam,
        };
        let verdict = match (verdict, speaks) {
            (Verdict::Beam, Speaks::AgainstBeam) => Verdict::Undecided,
            (verdict, _) => verdict,
        };
        if let Some(contrast) = &circumstances.contrast {
            let is_chemistry = verdict == Verdict::Chemistry;
            match (speaks, drift) {
                (Speaks::AgainstBeam, Some(drift)) => {
                    if is_chemistry { &mut good } else { &mut bad }.push(contrast.words_against(drift));
                }
                // That of whole particles, which may differ for any reason, is told and decides nothing.
                _ if contrast.is_further() => {
                    if is_chemistry { &mut bad } else { &mut good }.push(contrast.text.clone());
                }
                _ => {}
            }
        }
        if verdict == Verdict::Instrument {
            // What speaks for the beam speaks against this, and the other way round.
            std::mem::swap(&mut good, &mut bad);
        }
        Self { verdict, evidence_for: good, evidence_against: bad }
    }
}

/// Whether the context of a scan says that the sample is being changed while it is looked at: `{"operando": true}`, or a
/// `mode`, `experiment` or `environment` that says operando or in situ.
#[must_use]
pub fn is_operando(context: Option<&serde_json::Value>) -> bool {
    let Some(fields) = context.and_then(serde_json::Value::as_object) else { return false };
    fields.iter().any(|(key, value)| {
        let word = value.as_str().unwrap_or_default().to_lowercase().replace(['-', '_'], " ");
        let says = word.contains("operando") || word.contains("in situ");
        match key.as_str() {
            "operando" | "in_situ" => value.as_bool().unwrap_or(says) || says,
            "mode" | "experiment" | "environment" | "kind" => says,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::damage::series::Reading;

    /// Groups of which each cause does something else.
    fn changes(of: impl Fn(&Change) -> f64) -> Vec<Change> {
        [
            (0.0, -0.4, 0.1, [0.01, 0.0]),
            (0.3, -0.5, -0.2, [0.0, -0.02]),
            (-0.2, -0.3, 0.25, [-0.03, 0.01]),
            (-0.5, -0.6, 0.05, [0.0, 0.02]),
        ]
        .into_iter()
        .map(|(reduction, loss, per_ev, per_px)| {
            let change = Change {
                change: 0.0,
                sigma: 0.003,
                reduction: Some(reduction),
                loss,
                per_ev: Some(per_ev),
                per_px,
            };
            Change { change: of(&change), ..change }
        })
        .collect()
    }

    fn circumstances() -> Circumstances {
        Circumstances {
            empty: Some((0.001, 0.001)),
            registered: true,
            toward: "reduction to x = 3.0".into(),
            ..Circumstances::default()
        }
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        let verdict = |of: &dyn Fn(&Change) -> f64| Cause::of(&changes(of), &circumstances()).verdict;
        assert_eq!(verdict(&|change| 0.1 * change.reduction.unwrap()), Verdict::Beam);
        assert_eq!(verdict(&|change| 0.1 * change.loss), Verdict::Beam);
        assert_eq!(verdict(&|change| 0.1 * change.per_ev.unwrap()), Verdict::Instrument);
        assert_eq!(verdict(&|change| 0.2 * change.per_px[0] + 0.1 * change.per_px[1]), Verdict::Instrument);
        // Nothing that is known does this.
        assert_ne!(verdict(&|change| 0.03 * change.sigma.signum()), Verdict::Beam);
    }

    #[test]
    fn the_words_say_what_speaks_for_and_against() {
        let cause = Cause::of(&changes(|change| 0.1 * change.reduction.unwrap()), &circumstances());
        let all = cause.evidence_for.join("\n");
        assert!(all.contains("reduction to x = 3.0 by 10.0 % would explain 100 % of it"), "{all}");
        assert!(all.contains("not I0: the empty field, which is taken off, moved by +0.0010"), "{all}");
        let blind = Circumstances { empty: None, ..circumstances() };
        let cause = Cause::of(&changes(|change| 0.1 * change.reduction.unwrap()), &blind);
        assert!(cause.evidence_against.join("\n").contains("no empty field"), "{cause:?}");
    }

    #[test]
    fn an_operando_scan_leaves_it_open_until_dose_and_time_come_apart() {
        let reduced = changes(|change| 0.1 * change.reduction.unwrap());
        let operando = Circumstances { operando: true, ..circumstances() };
        assert_eq!(Cause::of(&reduced, &operando).verdict, Verdict::Undecided);
        let rested = Circumstances { apart: Some((-8.0, 0.4)), ..operando.clone() };
        assert_eq!(Cause::of(&reduced, &rested).verdict, Verdict::Beam);
        let went_on = Circumstances { apart: Some((0.3, -7.0)), ..operando };
        assert_eq!(Cause::of(&reduced, &went_on).verdict, Verdict::Chemistry);
    }

    #[test]
    fn places_of_different_earlier_dose_tell_beam_from_chemistry() {
        let contrast = |further: f64| Contrast {
            unit: crate::damage::DoseUnit::Mgy,
            dose_more: 10.0,
            dose_less: 0.0,
            variable: "na_x".to_owned(),
            further,
            sigma: 0.01,
            whole: 1.0,
            is_paired: true,
            pieces: 8,
            particles: 4,
            z: further / 0.01,
            z_limit: 3.3,
            is_real: further >= 0.033,
            text: format!("further reduced by {further}"),
        };
        // A tenth is reduced within 10 MGy, as much as the step has.
        let reduced = changes(|change| 0.1 * change.reduction.unwrap());
        let of = |operando: bool, further: f64| {
            let contrast = Some(contrast(further));
            let own = Circumstances { operando, contrast, span: Some(10.0), ..circumstances() };
            Cause::of(&reduced, &own)
        };
        let says = |texts: &[String]| texts.iter().any(|text| text.contains("further reduced by"));
        let beam = of(true, 0.11);
        assert!(beam.verdict == Verdict::Beam && says(&beam.evidence_for), "{beam:?}");
        let chemistry = of(true, 0.0);
        assert!(chemistry.verdict == Verdict::Chemistry && says(&chemistry.evidence_for), "{chemistry:?}");
        let doubt = of(false, 0.0);
        assert!(doubt.verdict == Verdict::Undecided && says(&doubt.evidence_against), "{doubt:?}");
        assert_eq!(of(false, 0.11).verdict, Verdict::Beam);
        // A shift of the energies is one whatever an earlier scan did.
        let shifted = changes(|change| 0.1 * change.per_ev.unwrap());
        let own = Circumstances { contrast: Some(contrast(0.11)), ..circumstances() };
        assert_eq!(Cause::of(&shifted, &own).verdict, Verdict::Instrument);
    }

    #[test]
    fn one_group_alone_is_beam_only_where_nothing_else_is_likely() {
        let one = |per_ev| {
            [Change {
                change: -0.05,
                sigma: 0.003,
                reduction: Some(-0.4),
                loss: -0.6,
                per_ev: Some(per_ev),
                per_px: [0.0, 0.001],
            }]
        };
        assert_eq!(Cause::of(&one(0.01), &circumstances()).verdict, Verdict::Beam);
        assert_eq!(Cause::of(&one(0.8), &circumstances()).verdict, Verdict::Undecided);
    }

    #[test]
    fn dose_and_time_are_told_apart_where_there_was_a_rest() {
        let series = |value: &dyn Fn(f64, f64) -> f64, rest: f64| {
            let reading = |i: usize| {
                let (dose, time_s) = (i as f64, 10.0 * i as f64 + if i >= 3 { rest } else { 0.0 });
                Reading { dose, time_s, value: value(dose, time_s), sigma: 0.01 }
            };
            Series { readings: (0..6).map(reading).collect(), ..Series::default() }
        };
        let (dose, time) = dose_and_time(&series(&|dose, _| -0.1 * dose, 600.0)).unwrap();
        assert!(dose < -3.0 && time.abs() < 1e-6, "{dose} {time}");
        let (dose, time) = dose_and_time(&series(&|_, time| -0.001 * time, 600.0)).unwrap();
        assert!(time < -3.0 && dose.abs() < 1e-6, "{dose} {time}");
        assert_eq!(dose_and_time(&series(&|dose, _| -0.1 * dose, 0.0)), None);
    }

    #[test]
    fn contexts_say_operando_in_several_ways() {
        for context in [
            json!({"operando": true}),
            json!({"mode": "Operando"}),
            json!({"experiment": "in-situ discharge"}),
        ] {
            assert!(is_operando(Some(&context)), "{context}");
        }
        for context in [json!({"operando": false}), json!({"temperature_k": 300}), json!("operando")] {
            assert!(!is_operando(Some(&context)), "{context}");
        }
        assert!(!is_operando(None));
    }
}
