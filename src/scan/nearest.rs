//! The nearest pixel that has something, for every pixel that has not.

/// For each pixel of a grid of `ny` by `nx` the nearest one for which `has` is true, itself where it is; `None` where
/// there is none at all. Distances are steps from pixel to pixel along rows and columns; of equally near ones it is
/// the first to be reached from the upper left.
///
/// # Panics
/// Where `has` is not as long as the grid has pixels.
#[must_use]
pub fn nearest(has: &[bool], [ny, nx]: [usize; 2]) -> Vec<Option<u32>> {
    assert_eq!(has.len(), ny * nx, "one flag for each pixel");
    let mut nearest: Vec<Option<u32>> =
        has.iter().enumerate().map(|(pixel, &has)| has.then_some(pixel as u32)).collect();
    let mut front: Vec<usize> = (0..has.len()).filter(|&pixel| has[pixel]).collect();
    let mut next = Vec::new();
    while !front.is_empty() {
        for pixel in front.drain(..) {
            let (y, x) = (pixel / nx, pixel % nx);
            let around = [
                (y > 0).then(|| pixel - nx),
                (x > 0).then(|| pixel - 1),
                (x + 1 < nx).then(|| pixel + 1),
                (y + 1 < ny).then(|| pixel + nx),
            ];
            for near in around.into_iter().flatten() {
                if nearest[near].is_none() {
                    nearest[near] = nearest[pixel];
                    next.push(near);
                }
            }
        }
        std::mem::swap(&mut front, &mut next);
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_near_where_there_is_nothing() {
        assert!(nearest(&[false; 6], [2, 3]).iter().all(Option::is_none));
        assert!(nearest(&[], [0, 3]).is_empty());
    }

    proptest! {
        #[test]
        fn no_other_pixel_is_nearer(has in prop::collection::vec(prop::bool::weighted(0.1), 9 * 7)) {
            let found = nearest(&has, [9, 7]);
            let steps = |a: usize, b: usize| (a / 7).abs_diff(b / 7) + (a % 7).abs_diff(b % 7);
            for (pixel, found) in found.into_iter().enumerate() {
                let least = (0..63).filter(|&other| has[other]).map(|other| steps(pixel, other)).min();
                prop_assert_eq!(found.map(|found| steps(pixel, found as usize)), least);
                prop_assert!(found.is_none_or(|found| has[found as usize]));
            }
        }
    }
}
