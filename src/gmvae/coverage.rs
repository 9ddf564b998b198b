//! Which energies a scan has, and which of them a pixel has so far: the masks of real life.

use rand::Rng;

use super::curve::Curves;

/// Energies of a made-up scan, eV, ascending.
pub(super) fn energies(rng: &mut impl Rng, curves: &Curves, telling_ev: (f64, f64)) -> Vec<f64> {
    let n = rng.random_range(8_f64.ln()..123_f64.ln()).exp() as usize;
    // Scans cover about all of the range, or about the part where the references differ.
    let whole_ev = (curves.from_ev, curves.to_ev);
    let (low_ev, high_ev) = if rng.random_bool(0.5) { telling_ev } else { whole_ev };
    let span_ev = high_ev - low_ev;
    let from_ev = (low_ev + span_ev * rng.random_range(-0.1..0.12)).max(curves.from_ev);
    let to_ev = (high_ev - span_ev * rng.random_range(-0.1..0.3)).min(curves.to_ev);
    let mut energies_ev: Vec<f64> = match rng.random_range(0..10) {
        0..6 => even(from_ev, to_ev, n),
        6..8 => {
            // Dense over a window, coarse around it.
            let centre_ev = rng.random_range(from_ev..to_ev);
            let half_ev = span_ev * rng.random_range(0.05..0.2);
            let (low, high) = ((centre_ev - half_ev).max(from_ev), (centre_ev + half_ev).min(to_ev));
            let dense = n * 2 / 3;
            [even(from_ev, to_ev, n - dense), even(low, high, dense)].concat()
        }
        _ => {
            // Where the references differ.
            let mut picked = Vec::with_capacity(n);
            let most = (0..40).map(|i| curves.contrast(from_ev + (to_ev - from_ev) * f64::from(i) / 39.0).0);
            let most = most.fold(1e-6_f32, f32::max);
            while picked.len() < n {
                let energy_ev = rng.random_range(from_ev..to_ev);
                if rng.random::<f32>() < 0.15 + curves.contrast(energy_ev).0 / most {
                    picked.push(energy_ev);
                }
            }
            picked
        }
    };
    for energy_ev in &mut energies_ev {
        *energy_ev = (*energy_ev + rng.random_range(-0.02..0.02)).clamp(curves.from_ev, curves.to_ev);
    }
    energies_ev.sort_by(f64::total_cmp);
    energies_ev
}

/// `n` energies, evenly spaced, both ends included.
pub(crate) fn even(from_ev: f64, to_ev: f64, n: usize) -> Vec<f64> {
    let last = n.saturating_sub(1).max(1) as f64;
    (0..n).map(|i| from_ev + (to_ev - from_ev) * i as f64 / last).collect()
}

/// Takes out of `od` what a pixel has not seen: nothing (half of the time), all but a prefix of a scan that goes up, down, or in
/// interleaved passes, all but an evenly declared subset, missing lines (single ones, or a stretch), or what is saturated.
pub(super) fn cover(rng: &mut impl Rng, od: &mut [f32]) {
    let n = od.len();
    match rng.random_range(0..100) {
        0..48 => {}
        48..62 => {
            let seen = rng.random_range(4..=n.max(4));
            let down = rng.random_bool(0.2);
            let lost = |i: usize| if down { i + seen < n } else { i >= seen };
            blank(od, lost);
        }
        62..74 => {
            let passes = rng.random_range(2..=3);
            let order: Vec<usize> = (0..passes).flat_map(|pass| (pass..n).step_by(passes)).collect();
            let seen = rng.random_range(4..=n.max(4)).min(n);
            order[seen..].iter().for_each(|&i| od[i] = f32::NAN);
        }
        74..82 => {
            let kept = rng.random_range(6..=n.max(6)).min(n);
            let mut keep = vec![false; n];
            (0..kept).for_each(|i| keep[(i * (n - 1) + (kept - 1) / 2) / (kept - 1).max(1)] = true);
            blank(od, |i| !keep[i]);
        }
        82..88 => {
            let length = rng.random_range(1..=(n / 3).max(1));
            let first = rng.random_range(0..=n - length);
            blank(od, |i| (first..first + length).contains(&i));
        }
        88..95 => {
            let share = rng.random_range(0.05..0.4);
            od.iter_mut().filter(|_| rng.random_bool(share)).for_each(|v| *v = f32::NAN);
        }
        _ => {
            let top = od.iter().copied().filter(|v| v.is_finite()).fold(0.0, f32::max);
            let limit = top * rng.random_range(0.6..1.0);
            od.iter_mut().filter(|v| **v > limit).for_each(|v| *v = f32::NAN);
        }
    }
}

fn blank(od: &mut [f32], lost: impl Fn(usize) -> bool) {
    od.iter_mut().enumerate().filter(|(i, _)| lost(*i)).for_each(|(_, v)| *v = f32::NAN);
}
