//! The order of pixels along a curve that fills the plane and leaves neighbours together (Hilbert's).

/// The ways to lay the curve: four turns, each of them mirrored.
pub(super) const WAYS: usize = 8;

/// Where a place lies along the curve, laid in one of [`WAYS`] ways over a square of `side` (a power of two) pixels.
pub(super) fn along(mut y: u32, mut x: u32, side: u32, way: usize) -> u64 {
    if way & 1 != 0 {
        y = side - 1 - y;
    }
    if way & 2 != 0 {
        x = side - 1 - x;
    }
    if way & 4 != 0 {
        std::mem::swap(&mut y, &mut x);
    }
    let (mut at, mut half) = (0_u64, side / 2);
    while half > 0 {
        let (right, up) = (u32::from(x & half > 0), u32::from(y & half > 0));
        at += u64::from(half) * u64::from(half) * u64::from((3 * right) ^ up);
        // Turned so that the parts join.
        if up == 0 {
            if right == 1 {
                (x, y) = (side - 1 - x, side - 1 - y);
            }
            std::mem::swap(&mut x, &mut y);
        }
        half /= 2;
    }
    at
}

/// Indices of `places` (row, column) in the order of the curve.
pub(super) fn order(places: &[(u32, u32)], way: usize) -> Vec<u32> {
    let low = |of: &dyn Fn(&(u32, u32)) -> u32| places.iter().map(of).min().unwrap_or(0);
    let (from_y, from_x) = (low(&|place| place.0), low(&|place| place.1));
    let most = places.iter().map(|&(y, x)| (y - from_y).max(x - from_x)).max().unwrap_or(0);
    let side = (most + 1).next_power_of_two();
    let mut keyed: Vec<(u64, u32)> = places
        .iter()
        .zip(0..)
        .map(|(&(y, x), index)| (along(y - from_y, x - from_x, side, way), index))
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, index)| index).collect()
}
