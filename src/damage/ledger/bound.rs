//! A bound on the layers of a region, however many grids its scans have.
//!
//! Layers on one grid become one by themselves; on many grids they do not, and each question reads them all. Where more than [`MOST_LAYERS`] can be added up,
//! the oldest of them, whatever their grids, become one on a lattice of the finest step that covers all, coarser where that would have
//! more than [`MOST_CELLS`] rectangles. Totals are conserved; what is finer than that lattice is lost, as are spots narrower than
//! the step. What comes for one of these scans after that is not counted, as with any base layer.

use std::path::Path;

use super::super::Lattice;
use super::super::record::{Record, RecordError, digest};
use super::{BASE, EXTENSION, Entry, Header};

/// Layers of a region that stay by themselves.
pub(super) const MOST_LAYERS: usize = 64;
/// As many are left when they have become more.
const LEFT: usize = 48;
/// Most rectangles of what they become.
const MOST_CELLS: f64 = 16e6;

/// Adds up the oldest layers of the kind of `latest`, where there are too many; returns how many.
pub(super) fn bound(entries: &[Entry], folder: &Path, latest: &Header) -> Result<usize, RecordError> {
    let is_alike = |entry: &&Entry| {
        let own = &entry.header;
        own.kind == latest.kind && own.basis == latest.basis && own.region == latest.region
    };
    let mut alike: Vec<&Entry> = entries.iter().filter(is_alike).collect();
    if alike.len() <= MOST_LAYERS {
        return Ok(0);
    }
    alike.sort_by(|one, other| one.last().cmp(&other.last()));
    alike.truncate(alike.len() - LEFT);
    let Some(lattice) = common(alike.iter().filter_map(|entry| entry.header.lattice)) else { return Ok(0) };
    let mut sums = vec![0.0_f64; lattice.cells()];
    let mut scans = Vec::new();
    // In the order of time, so that sums come out the same.
    alike.sort_by(|one, other| one.header.scans.first().cmp(&other.header.scans.first()));
    for entry in &alike {
        let record = Record::read(&entry.path)?;
        scans.extend(record.header.scans.clone());
        if let Some(layer) = record.layer() {
            sums.iter_mut().zip(&layer.onto(&lattice)).for_each(|(sum, dose)| *sum += f64::from(*dose));
        }
    }
    scans.sort();
    scans.dedup();
    let accumulated =
        alike.iter().max_by_key(|entry| entry.last()).and_then(|entry| entry.header.accumulated);
    let header = Header { scans, accumulated, lattice: Some(lattice), ..latest.clone() };
    let names = serde_json::json!([header.lattice, header.kind, header.basis, header.scans]).to_string();
    let name = format!("{BASE}{}.{EXTENSION}", digest(names.as_bytes(), 6));
    let dose = sums.into_iter().map(|dose| dose as f32).collect();
    Record { header, dose }.write(folder, &name)?;
    // The layers go when the folder is read again, which is next.
    Ok(alike.len())
}

/// Squares side by side that cover all lattices, as fine as the finest; `None` where there is none.
fn common(lattices: impl Iterator<Item = Lattice>) -> Option<Lattice> {
    let (mut low, mut high, mut step) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2], f64::INFINITY);
    for lattice in lattices {
        for axis in [0, 1] {
            let first = lattice.start_um[axis];
            let last = first + lattice.step_um[axis] * lattice.shape[axis].saturating_sub(1) as f64;
            let half = 0.5 * lattice.cell_um[axis];
            low[axis] = low[axis].min(first.min(last) - half);
            high[axis] = high[axis].max(first.max(last) + half);
            step = step.min(lattice.step_um[axis].abs());
        }
    }
    let span = [0, 1].map(|axis| high[axis] - low[axis]);
    let is_sound = step > 0.0 && span.iter().all(|span| span.is_finite() && *span > 0.0);
    if !is_sound {
        return None;
    }
    let counts = |step: f64| span.map(|span| (span / step - 1e-9).ceil().max(1.0));
    // Each round takes off what is too much; a round or two do, since counts are rounded up.
    while counts(step).iter().product::<f64>() > MOST_CELLS {
        step *= 1.01 * (counts(step).iter().product::<f64>() / MOST_CELLS).sqrt().min(1e3);
    }
    let shape = counts(step).map(|count| count as usize);
    Some(Lattice { shape, start_um: low.map(|low| low + 0.5 * step), step_um: [step; 2], cell_um: [step; 2] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lattice(shape: [usize; 2], start: f64, step: f64) -> Lattice {
        Lattice { shape, start_um: [start; 2], step_um: [step; 2], cell_um: [step.abs(); 2] }
    }

    #[test]
    fn what_is_common_covers_all_as_finely_as_the_finest_and_is_bounded() {
        let [a, b] = [lattice([10, 10], 0.0, 0.1), lattice([4, 4], 2.0, -0.03)];
        let common = super::common([a, b].into_iter()).unwrap();
        assert!((common.step_um[0] - 0.03).abs() < 1e-12, "{common:?}");
        let end = common.start_um[0] + common.step_um[0] * (common.shape[0] as f64 - 0.5);
        assert!(common.start_um[0] - 0.015 <= -0.05 + 1e-12 && end >= 2.015 - 1e-9, "{common:?}");
        let far = lattice([2, 2], 1e6, 0.1);
        let wide = super::common([a, far].into_iter()).unwrap();
        assert!(wide.cells() as f64 <= MOST_CELLS && wide.is_sound(), "{wide:?}");
        assert_eq!(super::common(std::iter::empty()), None);
    }
}
