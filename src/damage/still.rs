//! Images of one energy, brought to where the first of them has the sample.
//!
//! Registration takes the drift out as well as images of different energies tell it. Images of the *same* energy tell it better: they differ by
//! noise, by a displacement, and by what happened to the sample. So the difference of each to the first is fitted by the slopes of the first (a
//! displacement), by the first itself (all of it grew or shrank) and by a constant; the image is moved back by what comes out, and again, since a
//! large displacement is no slope. A slope at a pixel is taken from its neighbours, whose noise has nothing to do with that of the pixel.
//!
//! Pixels without a value stay without; where a neighbour that is needed has none, so does the result.

/// Times that a displacement is fitted.
const ROUNDS: usize = 6;
/// A displacement that is not worth moving an image for, pixels.
const LEAST_PX: f64 = 0.003;
/// Largest displacement that is believed, pixels.
const MOST_PX: f64 = 4.0;
/// Pixels with slopes that a fit needs.
const LEAST_PIXELS: usize = 60;

/// An image that lies still.
pub(super) struct Still {
    /// Optical density.
    pub(super) od: Vec<f32>,
    /// How far it was moved, pixels, down and to the right.
    #[cfg(test)]
    pub(super) moved_px: [f64; 2],
    /// Standard error of that, along the worse axis.
    pub(super) error_px: f64,
}

/// Brings `image` to where `first` has the sample; both have `columns`, and `pixels` hold it, with a rim.
pub(super) fn settle(first: &[f32], image: Vec<f32>, columns: usize, pixels: &[usize]) -> Still {
    let mut total = [0.0; 2];
    let mut error_px = f64::NAN;
    let mut moved = None;
    for _ in 0..ROUNDS {
        let now = moved.as_ref().unwrap_or(&image);
        let Some((step, error)) = displacement(first, now, columns, pixels) else { break };
        error_px = error;
        let next = [total[0] + step[0], total[1] + step[1]];
        if next[0].hypot(next[1]) > MOST_PX || step[0].hypot(step[1]) < LEAST_PX {
            break;
        }
        total = next;
        moved = Some(brought_back(first, &image, total, columns));
    }
    Still {
        od: moved.unwrap_or(image),
        #[cfg(test)]
        moved_px: total,
        error_px,
    }
}

/// By how much `image` lies further down and to the right than `first`, and the error; `None` where there is nothing to tell it by.
fn displacement(first: &[f32], image: &[f32], columns: usize, pixels: &[usize]) -> Option<([f64; 2], f64)> {
    const N: usize = 4;
    let (mut m, mut h, mut square, mut count) = ([[0.0; N]; N], [0.0; N], 0.0, 0_usize);
    for &pixel in pixels {
        let Some([down, right]) = slopes(first, pixel, columns) else { continue };
        let difference = f64::from(image[pixel]) - f64::from(first[pixel]);
        if difference.is_nan() {
            continue;
        }
        // The mean of both has no noise in common with their difference, as long as both are as noisy.
        let level = 0.5 * (f64::from(image[pixel]) + f64::from(first[pixel]));
        // What lies further down has at a pixel the value of the pixel above.
        let of = [-down, -right, level, 1.0];
        for (row, a) in m.iter_mut().zip(of) {
            row.iter_mut().zip(of).for_each(|(sum, b)| *sum += a * b);
        }
        h.iter_mut().zip(of).for_each(|(sum, a)| *sum += a * difference);
        square += difference * difference;
        count += 1;
    }
    if count < LEAST_PIXELS {
        return None;
    }
    let inverse = inverse(m)?;
    let solution: [f64; N] = std::array::from_fn(|i| (0..N).map(|j| inverse[i][j] * h[j]).sum());
    let explained: f64 = solution.iter().zip(h).map(|(a, b)| a * b).sum();
    let variance = (square - explained).max(0.0) / (count - N) as f64;
    let error = (inverse[0][0].max(inverse[1][1]).max(0.0) * variance).sqrt();
    (solution[0].is_finite() && solution[1].is_finite()).then_some(([solution[0], solution[1]], error))
}

/// Slope of an image at a pixel, down and to the right; `None` at the border and beside pixels without a value.
pub(super) fn slopes(image: &[f32], pixel: usize, columns: usize) -> Option<[f64; 2]> {
    let column = pixel % columns;
    let inside = pixel >= columns && pixel + columns < image.len() && column > 0 && column + 1 < columns;
    if !inside {
        return None;
    }
    let half = |after: usize, before: usize| 0.5 * (f64::from(image[after]) - f64::from(image[before]));
    let slopes = [half(pixel + columns, pixel - columns), half(pixel + 1, pixel - 1)];
    slopes.iter().all(|slope| slope.is_finite()).then_some(slopes)
}

/// An image whose content lies `by` pixels further up and to the left than before: by whole pixels as it is, by what is left along the mean slope of
/// itself and of `first`, which is right to the second order. Interpolating would blur it, and a blurred image has less at every edge.
fn brought_back(first: &[f32], image: &[f32], by: [f64; 2], columns: usize) -> Vec<f32> {
    let whole = by.map(f64::round);
    let rest = [by[0] - whole[0], by[1] - whole[1]];
    let (width, height) = (columns as isize, (image.len() / columns.max(1)) as isize);
    let moved: Vec<f32> = (0..image.len() as isize)
        .map(|pixel| {
            let (y, x) = (pixel / width + whole[0] as isize, pixel % width + whole[1] as isize);
            let inside = (0..height).contains(&y) && (0..width).contains(&x);
            if inside { image[(y * width + x) as usize] } else { f32::NAN }
        })
        .collect();
    let along = |pixel: usize| -> f64 {
        let both = slopes(first, pixel, columns).zip(slopes(&moved, pixel, columns));
        both.map_or(0.0, |(a, b)| 0.5 * (rest[0] * (a[0] + b[0]) + rest[1] * (a[1] + b[1])))
    };
    (0..moved.len()).map(|pixel| moved[pixel] + along(pixel) as f32).collect()
}

/// The inverse of a symmetric matrix, by elimination with the largest pivot; `None` where there is none.
fn inverse<const N: usize>(mut m: [[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let mut inverse: [[f64; N]; N] =
        std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for column in 0..N {
        let pivot = (column..N).max_by(|&a, &b| m[a][column].abs().total_cmp(&m[b][column].abs()))?;
        let scale = m[pivot][column];
        if scale.is_nan() || scale.abs() < 1e-12 {
            return None;
        }
        m.swap(column, pivot);
        inverse.swap(column, pivot);
        for j in 0..N {
            m[column][j] /= scale;
            inverse[column][j] /= scale;
        }
        for i in (0..N).filter(|&i| i != column) {
            let factor = m[i][column];
            for j in 0..N {
                m[i][j] -= factor * m[column][j];
                inverse[i][j] -= factor * inverse[column][j];
            }
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    use super::*;

    const N: usize = 40;

    /// A soft disc, displaced, scaled, and noisy.
    fn image(at: [f64; 2], scale: f64, sigma: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
        (0..N * N)
            .map(|pixel| {
                let (y, x) = ((pixel / N) as f64 - 19.0 - at[0], (pixel % N) as f64 - 21.0 - at[1]);
                let edge = 1.0 / (1.0 + ((y.hypot(x) - 9.0) / 0.5).exp());
                (0.6 * scale * edge + sigma * rng.sample::<f64, _>(StandardNormal)) as f32
            })
            .collect()
    }

    #[test]
    fn a_displacement_is_found_whatever_else_happened_and_taken_out() {
        let all: Vec<usize> = (0..N * N).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let first = image([0.0; 2], 1.0, 0.03, &mut rng);
        for at in [[0.0, 0.0], [0.2, -0.3], [-1.4, 0.9], [2.0, 1.5]] {
            let still = settle(&first, image(at, 0.85, 0.03, &mut rng), N, &all);
            for axis in 0..2 {
                assert!((still.moved_px[axis] - at[axis]).abs() < 0.08, "{at:?}: {:?}", still.moved_px);
            }
            assert!(still.error_px < 0.04, "{}", still.error_px);
            // A narrow strip along one edge: its mean would tell the displacement before all else.
            let strip: Vec<usize> =
                (N * 15..N * 23).filter(|pixel| (11..14).contains(&(pixel % N))).collect();
            let mean =
                |image: &[f32]| strip.iter().map(|&p| f64::from(image[p])).sum::<f64>() / strip.len() as f64;
            let wanted = 0.85 * mean(&first);
            assert!((mean(&still.od) - wanted).abs() < 0.02, "{at:?}: {} is not {wanted}", mean(&still.od));
        }
    }

    #[test]
    fn an_image_of_nothing_stays_where_it_is() {
        let all: Vec<usize> = (0..N * N).collect();
        let first = vec![0.0; N * N];
        let still = settle(&first, vec![0.1; N * N], N, &all);
        assert_eq!((still.moved_px, still.od), ([0.0; 2], vec![0.1; N * N]));
        let few = settle(&first, vec![f32::NAN; N * N], N, &all);
        assert!(few.od.iter().all(|od| od.is_nan()) && few.error_px.is_nan());
    }

    #[test]
    fn a_move_by_whole_pixels_is_exact_and_what_comes_from_outside_has_no_value() {
        let image: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let moved = brought_back(&image, &image, [1.0, -1.0], 4);
        assert_eq!(&moved[1..4], [4.0, 5.0, 6.0]);
        assert!(moved[0].is_nan() && moved[8..].iter().all(|value| value.is_nan()));
        // Along a slope of 4 down and 1 to the right.
        assert_eq!(brought_back(&image, &image, [0.25, 0.5], 4)[5], 5.0 + 1.0 + 0.5);
    }

    #[test]
    fn a_move_by_parts_of_a_pixel_takes_nothing_from_an_edge() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let first = image([0.0; 2], 1.0, 0.0, &mut rng);
        let inside: Vec<usize> = (0..N * N).filter(|&pixel| first[pixel] > 0.3).collect();
        let mean =
            |image: &[f32]| inside.iter().map(|&p| f64::from(image[p])).sum::<f64>() / inside.len() as f64;
        for at in [[0.5, 0.0], [0.3, -0.4], [1.5, 0.5]] {
            let back = brought_back(&first, &image(at, 1.0, 0.0, &mut rng), at, N);
            assert!(
                (mean(&back) / mean(&first) - 1.0).abs() < 0.004,
                "{at:?}: {}",
                mean(&back) / mean(&first)
            );
        }
    }
}
