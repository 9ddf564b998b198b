//! Finds the pre-edge and white-line windows of a set of references that does not name them.
//!
//! Works on the mean of the references over the energies they share, so all of them get the same windows, and
//! in fixed steps, so the same references always give the same windows:
//! 1. The edge is where the mean rises most over 1 eV.
//! 2. The base is the median of the mean over the lower half of what lies before the edge; the top is the
//!    maximum from the edge to 10 eV above it (further up other edges begin).
//! 3. The pre-edge ends before the mean first leaves the base for good by more than 2 % of top less base, and
//!    a quarter of the way from the start is kept free as a margin for energy offsets.
//! 4. The white line is the run of energies around the top above 60 % of the way from base to top; dips of up
//!    to 1 eV, between the peaks of a multiplet, belong to it.
//!
//! A spectrum without a rise, or without anything before it, has no such windows: an error that says to name
//! them in `references.toml`.

use super::{Reference, Window};

/// Width over which the rise is measured, eV.
const RISE_EV: f64 = 1.0;
/// How far above the edge the white line may have its maximum, eV.
const WHITE_LINE_EV: f64 = 10.0;
/// Share of the edge's height at which the spectrum has left the base.
const ONSET: f64 = 0.02;
/// Share of the pre-edge that is kept free below the onset.
const MARGIN: f64 = 0.25;
/// Share of the edge's height above which the white line counts.
const LEVEL: f64 = 0.6;
/// Widest dip within the white line, eV.
const DIP_EV: f64 = 1.0;

/// The pre-edge and the white-line window of `references`, or why there are none.
pub(super) fn find(references: &[Reference]) -> Result<(Window, Window), &'static str> {
    let mean = mean_spectrum(references).ok_or("the references share no range of energies")?;
    let at_edge = steepest(&mean).ok_or("the mean of the references does not rise anywhere")?;
    let edge_ev = mean[at_edge].0;
    let start_ev = mean[0].0;
    let mut before: Vec<f64> = mean
        .iter()
        .filter(|(energy, _)| *energy <= start_ev + (edge_ev - start_ev) / 2.0 && *energy < edge_ev)
        .map(|point| point.1)
        .collect();
    if before.is_empty() || edge_ev - start_ev < RISE_EV {
        return Err("the references begin at the edge, there is nothing before it");
    }
    before.sort_by(f64::total_cmp);
    let base = before[before.len() / 2];
    let top = (at_edge..mean.len())
        .take_while(|&i| mean[i].0 <= edge_ev + WHITE_LINE_EV)
        .max_by(|&a, &b| mean[a].1.total_cmp(&mean[b].1))
        .unwrap_or(at_edge);
    let height = mean[top].1 - base;
    if height <= 0.0 {
        return Err("the mean of the references does not rise above what lies before its edge");
    }
    Ok((pre_edge(&mean[..=at_edge], base + ONSET * height), white_line(&mean, top, base + LEVEL * height)))
}

/// Energy and mean over all references, at every energy of any of them that all reach.
fn mean_spectrum(references: &[Reference]) -> Option<Vec<(f64, f64)>> {
    let mut energies: Vec<f64> = references.iter().flat_map(|r| r.energies_ev.iter().copied()).collect();
    energies.sort_by(f64::total_cmp);
    energies.dedup();
    let mean: Vec<_> = energies
        .into_iter()
        .filter_map(|energy| {
            let od: Option<Vec<f64>> = references.iter().map(|r| r.od_at(energy)).collect();
            od.map(|od| (energy, od.iter().sum::<f64>() / od.len() as f64))
        })
        .collect();
    (mean.len() >= 2).then_some(mean)
}

/// Index of the energy around which the spectrum rises most; the first of equals.
fn steepest(mean: &[(f64, f64)]) -> Option<usize> {
    let mut best = (0.0, None);
    for (index, &(energy, _)) in mean.iter().enumerate() {
        let rise = interpolate(mean, energy + RISE_EV / 2.0) - interpolate(mean, energy - RISE_EV / 2.0);
        if rise > best.0 {
            best = (rise, Some(index));
        }
    }
    best.1
}

/// The mean at any energy, continued flat beyond its ends.
fn interpolate(mean: &[(f64, f64)], energy: f64) -> f64 {
    let upper = mean.partition_point(|point| point.0 < energy).min(mean.len() - 1);
    let (e0, y0) = mean[upper.saturating_sub(1)];
    let (e1, y1) = mean[upper];
    if e1 == e0 { y1 } else { y0 + (y1 - y0) * ((energy - e0) / (e1 - e0)).clamp(0.0, 1.0) }
}

fn pre_edge(before: &[(f64, f64)], limit: f64) -> Window {
    let start = before[0].0;
    // From the edge down: the first energy that is back at the base.
    let onset = before.iter().rev().find(|point| point.1 <= limit).map_or(start, |point| point.0);
    Window { from_ev: start, to_ev: onset - MARGIN * (onset - start) }
}

fn white_line(mean: &[(f64, f64)], top: usize, level: f64) -> Window {
    let grow = |order: &mut dyn Iterator<Item = usize>| {
        let mut end = mean[top].0;
        for index in order {
            let (energy, od) = mean[index];
            if (energy - end).abs() > DIP_EV && od < level {
                break;
            }
            if od >= level {
                end = energy;
            }
        }
        end
    };
    Window { from_ev: grow(&mut (0..top).rev()), to_ev: grow(&mut (top + 1..mean.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::PhaseLabel;

    /// A Lorentzian: centre, full width at half maximum, height.
    fn peak(energy: f64, (centre, width, height): (f64, f64, f64)) -> f64 {
        height / (1.0 + ((energy - centre) / (width / 2.0)).powi(2))
    }

    fn step(energy: f64, centre: f64, height: f64) -> f64 {
        height * (0.5 + (energy - centre).atan() / std::f64::consts::PI)
    }

    fn reference(id: &str, od: impl Fn(f64) -> f64) -> Reference {
        let energies_ev: Vec<f64> = (0..400).map(|index| 505.0 + 0.1 * f64::from(index)).collect();
        Reference {
            label: PhaseLabel { id: id.to_owned(), title: id.to_owned(), colour: [0; 3] },
            od: energies_ev.iter().map(|&energy| od(energy)).collect(),
            energies_ev,
            provenance: Default::default(),
            composition: Default::default(),
        }
    }

    /// Vanadium and oxygen in one spectrum: the oxygen edge is higher, but the vanadium line comes first.
    fn vanadium_and_oxygen(shift_ev: f64) -> impl Fn(f64) -> f64 {
        move |energy| {
            let lines = [
                (515.4 + shift_ev, 1.6, 0.75),
                (516.6 + shift_ev, 1.6, 0.55),
                (522.4 + shift_ev, 2.6, 0.55),
                (537.5, 3.5, 0.30),
            ];
            let steps = [(520.0, 0.20), (527.0, 0.10), (536.5, 0.32)];
            0.24 + lines.iter().map(|&line| peak(energy, line)).sum::<f64>()
                + steps.iter().map(|&(centre, height)| step(energy, centre, height)).sum::<f64>()
        }
    }

    #[test]
    fn the_first_line_counts_where_a_second_edge_follows() {
        let references = [reference("a", vanadium_and_oxygen(0.0)), reference("b", vanadium_and_oxygen(1.2))];
        let (pre_edge, white_line) = find(&references).unwrap();
        assert_eq!(pre_edge.from_ev, 505.0);
        assert!(pre_edge.to_ev > 507.0 && pre_edge.to_ev < 513.0, "{pre_edge:?}");
        assert!(white_line.from_ev > 514.0 && white_line.to_ev < 519.5, "{white_line:?}");
        assert!(white_line.contains(516.5));
    }

    #[test]
    fn a_spectrum_that_begins_at_the_edge_has_no_pre_edge() {
        let rising = [reference("a", |energy| energy.min(506.0)), reference("b", |energy| energy.min(505.5))];
        assert!(find(&rising).unwrap_err().contains("nothing before it"));
    }

    #[test]
    fn noise_before_the_edge_does_not_move_the_windows_much() {
        let noisy = |shift| {
            let clean = vanadium_and_oxygen(shift);
            // A fixed pseudo-random sequence of about 1 % of the edge's height.
            move |energy: f64| clean(energy) + 0.01 * ((energy * 7919.0).sin() * 43_758.545).fract()
        };
        let clean =
            find(&[reference("a", vanadium_and_oxygen(0.0)), reference("b", vanadium_and_oxygen(1.2))]);
        let rough = find(&[reference("a", noisy(0.0)), reference("b", noisy(1.2))]);
        let (clean, rough) = (clean.unwrap(), rough.unwrap());
        assert!((clean.0.to_ev - rough.0.to_ev).abs() < 1.5, "{clean:?} {rough:?}");
        assert!((clean.1.from_ev - rough.1.from_ev).abs() < 0.3, "{clean:?} {rough:?}");
        assert!((clean.1.to_ev - rough.1.to_ev).abs() < 0.3, "{clean:?} {rough:?}");
    }
}
