//! A map against the truth of the simulation it was made from.

use crate::classify::{PhaseMap, Status};
use crate::simulate::Truth;

/// Share from which a pixel counts as one phase.
const PURE: f32 = 0.95;

/// Lines about how right the map is.
pub(super) fn compare(map: &PhaseMap, truth: &Truth) -> Vec<String> {
    let index_of = |phase: i16| {
        let id = usize::try_from(phase).ok().and_then(|phase| truth.phases.get(phase))?;
        map.phases.iter().position(|label| label.id == *id)
    };
    let (mut pure, mut classified, mut right) = (0_usize, 0_usize, 0_usize);
    let (mut mixed, mut called_mixed, mut called_one, mut called_third) = (0_usize, 0, 0, 0);
    let (mut empty, mut called_empty) = (0_usize, 0_usize);
    for (pixel, &phase) in truth.phase.iter().enumerate() {
        let (Some(status), said) = (map.status.get(pixel), map.phase.get(pixel).map(|&p| p as usize)) else {
            continue;
        };
        match index_of(phase) {
            None => {
                empty += 1;
                called_empty += usize::from(*status == Status::Background);
            }
            Some(phase) if truth.share[pixel] >= PURE => {
                pure += 1;
                classified += usize::from(*status == Status::Classified);
                right += usize::from(*status == Status::Classified && said == Some(phase));
            }
            Some(phase) => {
                mixed += 1;
                called_mixed += usize::from(matches!(status, Status::Mixture | Status::Ambiguous));
                if *status == Status::Classified {
                    called_one += 1;
                    let second = index_of(truth.second[pixel]);
                    called_third += usize::from(said != Some(phase) && said != second);
                }
            }
        }
    }
    let percent = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;
    vec![
        format!(
            "truth: {pure} pixels of one phase: {:.1} % classified, {:.1} % of those right",
            percent(classified, pure),
            percent(right, classified)
        ),
        format!(
            "       {mixed} pixels of two phases: {:.1} % called mixture or ambiguous, {:.1} % one phase, \
             {:.1} % a phase that is not there",
            percent(called_mixed, mixed),
            percent(called_one, mixed),
            percent(called_third, mixed)
        ),
        format!("       {empty} empty pixels: {:.1} % called background", percent(called_empty, empty)),
    ]
}
