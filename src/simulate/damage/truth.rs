//! What dose and time really did, told energy by energy.

use serde::{Deserialize, Serialize};

use super::Change;

/// How much the specimen has gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::simulate) struct Exposed {
    /// Accumulated dose, MGy.
    pub(in crate::simulate) dose_mgy: f64,
    /// Time since the start of the scan, hours.
    pub(in crate::simulate) hours: f64,
}

/// What dose and time did. The *white line* is the optical density at `white_line_ev` less that at `pre_edge_ev`, of
/// so much of a phase as there was before any dose; its change is the share of it that is lost, below 0 where it grew.
/// Of the field it is the sum over the phases, each with as much as there is of it. Lists are one per energy of the plan,
/// lists of lists one per phase and energy; all of them hold after the image of the energy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DamageTruth {
    /// Energy before the edge, eV, a set-point: a repeated one in the window where there is one.
    pub pre_edge_ev: f64,
    /// Energy on the white line, eV: a repeated one in the window where there is one, else that at which most is lost.
    pub white_line_ev: f64,
    /// Dose of each image, MGy.
    pub dose_of_energy_mgy: Vec<f64>,
    /// Accumulated dose, that before the scan included, MGy.
    pub dose_mgy: Vec<f64>,
    /// Share of each phase that the beam has reduced.
    pub converted: Vec<Vec<f64>>,
    /// The same of all that can be reduced, in the shares of the matter there is.
    pub converted_of_field: Vec<f64>,
    /// Change of the white line of each phase.
    pub white_line_change: Vec<Vec<f64>>,
    /// Change of the white line of the field.
    pub white_line_change_of_field: Vec<f64>,
    /// Change of the white line of each phase after any dose: all that the beam can do.
    pub white_line_change_in_the_end: Vec<f64>,
    /// The same of the field.
    pub white_line_change_of_field_in_the_end: f64,
    /// Share of the thickness that is lost.
    pub mass_lost: Vec<f64>,
    /// Share of each phase that has gone over to another by itself.
    pub reacted: Vec<f64>,
    /// Initial rate: share of its white line at the start of the scan that each phase loses per MGy then.
    pub initial_rate_per_mgy: Vec<f64>,
    /// The same of the field.
    pub initial_rate_of_field_per_mgy: f64,
    /// Critical dose of each phase, MGy; none where it is not reduced.
    pub critical_dose_mgy: Vec<Option<f64>>,
    /// Critical dose of the field, MGy: all that its white line can lose to reduction over how fast it loses it at first. Where all phases have the same
    /// it is that; none where nothing is reduced.
    pub critical_dose_of_field_mgy: Option<f64>,
    /// What is left in the end.
    pub plateau: f64,
}

impl DamageTruth {
    /// Share of all that the beam can do to the white line of the field which is done, per energy; 0 where it can do nothing.
    #[must_use]
    pub fn share_of_white_line_change(&self) -> Vec<f64> {
        let whole = self.white_line_change_of_field_in_the_end;
        let share = |change: &f64| if whole == 0.0 { 0.0 } else { change / whole };
        self.white_line_change_of_field.iter().map(share).collect()
    }
}

/// What the truth is told of.
#[derive(Clone, Debug)]
pub(in crate::simulate) struct Witness<'a> {
    /// Set-point and optical density of each phase before the edge.
    pub(in crate::simulate) pre_edge: (f64, Vec<f64>),
    /// The same on the white line.
    pub(in crate::simulate) white_line: (f64, Vec<f64>),
    /// How much there is of each phase.
    pub(in crate::simulate) amounts: &'a [f64],
    /// Dose of each image, MGy.
    pub(in crate::simulate) doses_mgy: Vec<f64>,
    /// What the specimen had gone through at the start, and after each image.
    pub(in crate::simulate) start: Exposed,
    /// See `start`.
    pub(in crate::simulate) after: &'a [Exposed],
}

/// Tells the truth of a change.
pub(in crate::simulate) fn tell(change: &Change<'_>, witness: Witness<'_>) -> DamageTruth {
    let Witness { pre_edge, white_line, amounts, doses_mgy, start, after } = witness;
    let line: Vec<f64> = white_line.1.iter().zip(&pre_edge.1).map(|(white, pre)| white - pre).collect();
    let of_field = |values: &[f64]| values.iter().zip(amounts).map(|(v, amount)| v * amount).sum::<f64>();
    let phases = line.len();
    let lost = |now: f64, whole: f64| if whole == 0.0 { 0.0 } else { 1.0 - now / whole };
    let lines: Vec<Vec<f64>> = after.iter().map(|&state| change.of(&line, state)).collect();
    let per_phase = |of: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
        (0..phases).map(|phase| (0..after.len()).map(|energy| of(phase, energy)).collect()).collect()
    };
    let end = change.of(&line, Exposed { dose_mgy: f64::INFINITY, hours: start.hours });
    let converted = per_phase(&|phase, energy| 1.0 - change.left(phase, after[energy].dose_mgy));
    let critical: Vec<Option<f64>> = (0..phases).map(|phase| change.critical_dose_mgy(phase)).collect();
    let can_be: f64 = (0..phases).filter(|&k| critical[k].is_some()).map(|k| amounts[k]).sum();
    let can_be_lost: Vec<f64> = line
        .iter()
        .zip(amounts)
        .map(|(line_of, amount)| amount * (line_of - line[change.reduced()]))
        .collect();
    let converted_of_field = (0..after.len())
        .map(|energy| {
            let all: f64 = converted.iter().zip(amounts).map(|(of, amount)| of[energy] * amount).sum();
            if can_be > 0.0 { all / can_be } else { 0.0 }
        })
        .collect();
    let (at_start, slope) = (change.of(&line, start), change.slope(&line, start));
    let rate = |slope: f64, now: f64| if now == 0.0 { 0.0 } else { (0.0 - slope) / now };
    DamageTruth {
        pre_edge_ev: pre_edge.0,
        white_line_ev: white_line.0,
        dose_of_energy_mgy: doses_mgy,
        dose_mgy: after.iter().map(|state| state.dose_mgy).collect(),
        converted,
        converted_of_field,
        white_line_change: per_phase(&|phase, energy| lost(lines[energy][phase], line[phase])),
        white_line_change_of_field: lines.iter().map(|now| lost(of_field(now), of_field(&line))).collect(),
        white_line_change_in_the_end: (0..phases).map(|phase| lost(end[phase], line[phase])).collect(),
        white_line_change_of_field_in_the_end: lost(of_field(&end), of_field(&line)),
        mass_lost: after.iter().map(|state| 1.0 - change.thickness(state.dose_mgy)).collect(),
        reacted: after.iter().map(|state| change.reacted(state.hours)).collect(),
        initial_rate_per_mgy: slope.iter().zip(&at_start).map(|(slope, now)| rate(*slope, *now)).collect(),
        initial_rate_of_field_per_mgy: rate(of_field(&slope), of_field(&at_start)),
        critical_dose_of_field_mgy: of_mixture(&critical, &can_be_lost)
            .or_else(|| of_mixture(&critical, amounts)),
        critical_dose_mgy: critical,
        plateau: change.settings.plateau,
    }
}

/// The critical dose of a mixture of phases, each of which can lose so much; none where nothing can be lost.
fn of_mixture(critical: &[Option<f64>], can_be_lost: &[f64]) -> Option<f64> {
    let (mut whole, mut per_mgy) = (0.0, 0.0);
    for (critical_mgy, lost) in critical.iter().zip(can_be_lost) {
        if let Some(critical_mgy) = critical_mgy {
            (whole, per_mgy) = (whole + lost, per_mgy + lost / critical_mgy);
        }
    }
    Some(whole / per_mgy).filter(|mgy| mgy.is_finite() && *mgy > 0.0)
}
