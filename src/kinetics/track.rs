//! The same particle over several scans.
//!
//! Only scans of one region are laid over each other. The stage does not come back to the same place exactly: the shift, in whole pixels, is the one in
//! which most pixels of particles agree. A particle that is missing in one scan may be found again in the next.

use serde::Serialize;

use super::Moment;
use crate::particles::{Labels, matched};

/// How far the field may have moved from one scan to another, pixels.
const REACH: isize = 12;

/// One particle over the scans in which it is seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Track {
    /// Its number, from 1, in the order in which they are seen first.
    pub id: u32,
    /// The region.
    pub region: Option<String>,
    /// Where it is seen, in the order of the scans.
    pub members: Vec<Member>,
}

/// A particle in one scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The scan, by its place in the series.
    pub scan: usize,
    /// Its label in the scan, from 1.
    pub label: u32,
}

impl Track {
    /// The label in a scan.
    #[must_use]
    pub fn label(&self, scan: usize) -> Option<u32> {
        self.members.iter().find(|own| own.scan == scan).map(|own| own.label)
    }
}

pub(super) fn tracks(moments: &[Moment<'_>], remarks: &mut Vec<String>) -> Vec<Track> {
    let mut tracks: Vec<Track> = Vec::new();
    let mut lost = 0;
    for (scan, moment) in moments.iter().enumerate() {
        let plan = &moment.map.plan;
        let mut taken = vec![false; moment.particles.particles.len()];
        for earlier in (0..scan).rev() {
            let before = &moments[earlier];
            let is_same = plan.region.is_some() && plan.region == before.map.plan.region;
            if !is_same || taken.iter().all(|taken| *taken) {
                continue;
            }
            let grids = (&before.map.plan.grid, &plan.grid);
            let shift = shift_px(&before.particles.labels, &moment.particles.labels);
            let shift = [shift[0] as f64 * grids.1.y.step, shift[1] as f64 * grids.1.x.step];
            let [old, new] = [&before.particles.labels, &moment.particles.labels];
            for found in matched((old, grids.0), (new, grids.1), shift) {
                let is_taken = &mut taken[found.now as usize - 1];
                let track = tracks
                    .iter_mut()
                    .find(|own| own.label(earlier) == Some(found.before) && own.label(scan).is_none());
                if let (false, Some(track)) = (*is_taken, track) {
                    track.members.push(Member { scan, label: found.now });
                    *is_taken = true;
                }
            }
        }
        let others = moments[..scan].iter().any(|own| own.map.plan.region == plan.region);
        lost += usize::from(others && !taken.is_empty() && taken.iter().all(|taken| !taken));
        for (label, _) in (1..).zip(&taken).filter(|(_, taken)| !**taken) {
            let id = tracks.len() as u32 + 1;
            let members = vec![Member { scan, label }];
            tracks.push(Track { id, region: plan.region.clone(), members });
        }
    }
    if lost > 0 {
        remarks.push(format!(
            "in {lost} scans no particle could be found again in an earlier scan of the region"
        ));
    }
    tracks
}

/// By how many rows and columns the particles lie farther along in the later one.
fn shift_px(old: &Labels, new: &Labels) -> [isize; 2] {
    if old.shape != new.shape {
        return [0; 2];
    }
    let [ny, nx] = new.shape.map(|n| n as isize);
    let inside: Vec<(isize, isize)> = (0..new.of_pixel.len())
        .filter(|&pixel| new.of_pixel[pixel] > 0)
        .map(|pixel| (pixel as isize / nx, pixel as isize % nx))
        .collect();
    // A hundredth of large fields is enough to find it.
    let step = inside.len().div_ceil(4000).max(1);
    let common = |dy: isize, dx: isize| {
        let is_common = |&&(y, x): &&(isize, isize)| {
            let (y, x) = (y - dy, x - dx);
            (0..ny).contains(&y) && (0..nx).contains(&x) && old.of_pixel[(y * nx + x) as usize] > 0
        };
        inside.iter().step_by(step).filter(is_common).count()
    };
    let tried = (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| [dy, dx]));
    // The least shift of those that are as good.
    let best = tried.max_by_key(|&[dy, dx]| (common(dy, dx), -(dy * dy + dx * dx)));
    best.unwrap_or_default()
}
