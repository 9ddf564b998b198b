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
