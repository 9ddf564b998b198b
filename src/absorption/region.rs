//! The empty region of a field: where there is nothing but beam.
//!
//! The brightest pixels of each image would do for the eye, but picking by brightness picks the noise as well and
//! biases I0 upward. So one region serves all energies: the log intensity is averaged over energies, split in two
//! by Otsu's threshold (N. Otsu, IEEE Trans. SMC 9, 62 (1979)), and the bright part is narrowed to its plateau: what
//! lies above the most frequent brightness is noise, so as much below it is noise, too, and the rest is thin
//! material. The largest connected part of that, less its rim, is the region. A field whose brightness does not fall into two classes has no
//! such region, and says so.
//!
//! A beam that changes from line to line makes some lines of the mean image brighter than the plateau of others. Where the
//! region is missing from lines that have bright values, the lines are brought to one level first.
//!
//! While a scan grows the image gets better and the region with it. A region that was found is kept as long as its pixels still
//! belong to the bright part, are as flat as an empty field, and no region twice as large is found, so that maps do not change with every energy
//! for nothing.

use rayon::prelude::*;

use crate::scan::{PixelSet, nearest};
use crate::screening::{PlaneFlaws, Screen};
use crate::stack::{Plane, Stack};

/// Share of the variance that the two classes have to explain before they are believed to be two.
const MIN_SEPARABILITY: f64 = 0.6;
/// Difference of the class means, in log intensity, below which an edge would not be seen anyway.
const MIN_CONTRAST: f64 = 0.05;
/// Fewer pixels than this make a poor mean.
const MIN_PIXELS: usize = 12;
const BINS: usize = 256;
/// Fewest bright values of a line that tell its level, and most that are looked at for what the beam does.
const LINE: usize = 8;
const LOOKED_AT: usize = 32;
/// Deviations of what the beam does to a line of the mean image that one is levelled by at most.
const LEVELLED: f64 = 3.0;
/// Variance of a median over that of a mean.
const MEDIAN: f64 = std::f64::consts::FRAC_PI_2;
/// Factor by which a region of levelled lines has to be larger.
const WIDER: f64 = 1.3;
/// Relative differences between the pixels of an empty field, beyond noise, that are allowed: a good field has less than
/// a tenth of it.
const FLAT: f64 = 0.015;
/// Most images that this is looked for in.
const FLAT_IMAGES: usize = 32;
/// Share of a region's pixels that have to be bright still for it to be kept.
const KEPT: f64 = 0.9;
/// Pixels that one thread takes at a time. The sums are added up in the order of these parts, so that they are the
/// same however many threads there are.
const PART: usize = 4096;

/// The empty region that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct EmptyRegion {
    /// Its pixels.
    pub pixels: PixelSet,
    /// Share of the variance of the mean image that the split into empty and sample explains, 0 to 1.
    pub separability: f64,
}

impl EmptyRegion {
    /// Whether the region is as good as one that was found later, of `found` pixels, in an image whose bright part is
    /// what `is_bright` says.
    fn holds(&self, found: usize, is_bright: impl Fn(usize) -> bool) -> bool {
        let bright = self.pixels.iter().filter(|&pixel| is_bright(pixel)).count();
        bright as f64 >= KEPT * self.pixels.len() as f64 && found < 2 * self.pixels.len()
    }
}

/// Finds the empty region of a transmission stack, from every energy measured so far, without the values that `screen`
/// masks. The region `before` is kept where it still holds and is flat.
///
/// Returns `None` while no energy has been measured everywhere a neighbour was, or where the field has no two
/// classes of brightness, or no connected bright part of a dozen pixels that is flat, and `before` is none either.
#[must_use]
pub fn find_empty_region(
    stack: &Stack,
    screen: &Screen,
    before: Option<&EmptyRegion>,
) -> Option<EmptyRegion> {
    let [ny, nx] = stack.plan().grid.shape;
    let image = mean_log_image(stack, screen);
    // What looked empty in a few images may be seen to be material in more.
    let before = before.filter(|before| is_flat(stack, screen, &before.pixels));
    let Some((threshold, separability)) = otsu(&image) else { return before.cloned() };
    let (mut bright, mut region) = flat_part(&image, threshold, [ny, nx]);
    if !spans(&region, &image, threshold, [ny, nx]) {
        // Lines that had more beam than others hide a region that is as empty; level them and look again.
        let most = beam_in_mean(stack, screen, &image, threshold);
        let (levelled, wider) = flat_part(&level_lines(&image, threshold, nx, most), threshold, [ny, nx]);
        if wider.len() as f64 > WIDER * region.len() as f64 {
            (bright, region) = (levelled, wider);
        }
    }
    if let Some(before) = before.filter(|before| before.holds(region.len(), |pixel| bright[pixel])) {
        return Some(EmptyRegion { pixels: before.pixels.clone(), separability });
    }
    (region.len() >= MIN_PIXELS && is_flat(stack, screen, &region))
        .then_some(EmptyRegion { pixels: region, separability })
}

/// Whether the pixels of a region differ within their lines by no more than noise and a little: nothing is as flat as an
/// empty field. A film that covers everything has a bright part, too, and a thickness of its own at every pixel. True where
/// that cannot be told, for want of images that have the whole region.
fn is_flat(stack: &Stack, screen: &Screen, region: &PixelSet) -> bool {
    let (nx, dark) = (stack.plan().grid.nx(), stack.plan().dark());
    let pixels: Vec<usize> = region.iter().collect();
    let lines: Vec<&[usize]> =
        pixels.chunk_by(|a, b| a / nx == b / nx).filter(|line| line.len() >= 3).collect();
    let freedom: usize = lines.iter().map(|line| line.len() - 1).sum();
    let sound = |energy: usize, pixel: usize| {
        !stack.plane(energy).value(pixel).is_nan()
            && screen.flaws(energy).is_none_or(|flaws| !flaws.contains(pixel))
    };
    let whole: Vec<usize> = (0..stack.planes().len())
        .filter(|&e| lines.iter().all(|line| line.iter().all(|&p| sound(e, p))))
        .collect();
    let stride = whole.len().div_ceil(FLAT_IMAGES).max(1);
    let images: Vec<usize> = whole.into_iter().step_by(stride).collect();
    if images.len() < 3 || freedom == 0 {
        return true;
    }
    // What each pixel is off the mean of its line, in one image.
    let off = |&energy: &usize| {
        let plane = stack.plane(energy);
        let mut off = Vec::with_capacity(pixels.len());
        for line in &lines {
            let logs = line.iter().map(|&p| (f64::from(plane.value(p)) - dark).max(0.5).ln());
            let mean = logs.clone().sum::<f64>() / line.len() as f64;
            off.extend(logs.map(|log| log - mean));
        }
        off
    };
    let offs: Vec<Vec<f64>> = images.par_iter().map(off).collect();
    let (count, freedom) = (images.len() as f64, freedom as f64);
    let single = offs.iter().flatten().map(|off| off * off).sum::<f64>() / freedom / count;
    let of_mean = |i: usize| (offs.iter().map(|off| off[i]).sum::<f64>() / count).powi(2);
    let mean = (0..offs[0].len()).map(of_mean).sum::<f64>() / freedom;
    // Of the squares of one image a share is structure; the mean of all images has that, and less noise.
    let structure = (mean - single / count) / (1.0 - 1.0 / count);
    let noise = (single - structure).max(0.0) / count;
    structure <= FLAT * FLAT || mean <= noise * (1.0 + 5.0 * (2.0 / freedom).sqrt())
}

/// The plateau of the values above `threshold`, and the region it makes.
fn flat_part(image: &[f64], threshold: f64, [ny, nx]: [usize; 2]) -> (Vec<bool>, PixelSet) {
    let threshold = threshold.max(plateau(image, threshold));
    let bright: Vec<bool> = image.iter().map(|&value| value > threshold).collect();
    let connected = across_gaps(&bright, image, [ny, nx]);
    let largest = largest_part(&connected, ny, nx);
    let eroded = measured_of(&erode(&largest, ny, nx), image);
    let largest = measured_of(&largest, image);
    let region = if eroded.len() >= MIN_PIXELS { eroded } else { largest };
    (bright, region)
}

/// Whether a region has pixels in nine of ten lines that have bright ones.
fn spans(region: &PixelSet, image: &[f64], threshold: f64, [ny, nx]: [usize; 2]) -> bool {
    let bright = |y: &usize| image[y * nx..(y + 1) * nx].iter().filter(|v| **v > threshold).count() >= LINE;
    let with_bright: Vec<usize> = (0..ny).filter(bright).collect();
    let reached =
        with_bright.iter().filter(|y| (**y * nx..(**y + 1) * nx).any(|p| region.contains(p))).count();
    reached * 10 >= with_bright.len() * 9
}

/// How far a line of the mean image may be off its level by what the beam does. That is what the bright part of the lines of
/// single images does against the mean image, which no sample does: their scatter, less what noise makes of it, and
/// over the number of images.
fn beam_in_mean(stack: &Stack, screen: &Screen, image: &[f64], threshold: f64) -> f64 {
    let nx = stack.plan().grid.nx();
    let bright: Vec<Vec<usize>> = (0..image.len() / nx)
        .map(|y| {
            let all: Vec<usize> = (y * nx..(y + 1) * nx).filter(|p| image[*p] > threshold).collect();
            let stride = all.len().div_ceil(LOOKED_AT).max(1);
            all.into_iter().step_by(stride).collect()
        })
        .collect();
    let dark = stack.plan().dark();
    let excess = |energy: usize| {
        let plane = stack.plane(energy);
        let lines: Vec<(f64, f64)> = bright
            .iter()
            .filter_map(|pixels| {
                let usable = pixels.iter().filter(|p| {
                    !plane.value(**p).is_nan() && screen.flaws(energy).is_none_or(|f| !f.contains(**p))
                });
                let mut off: Vec<f64> =
                    usable.map(|&p| (f64::from(plane.value(p)) - dark).max(0.5).ln() - image[p]).collect();
                let level = middle(&mut off).filter(|_| off.len() >= LINE)?;
                let mut away: Vec<f64> = off.iter().map(|v| (v - level).abs()).collect();
                let sigma = middle(&mut away)? / 0.6745;
                Some((level, MEDIAN * sigma * sigma / off.len() as f64))
            })
            .collect();
        let usual = middle(&mut lines.iter().map(|(level, _)| *level).collect::<Vec<_>>()).unwrap_or(0.0);
        let sum: f64 = lines.iter().map(|(level, noise)| (level - usual).powi(2) - noise).sum();
        (sum, lines.len())
    };
    let all: Vec<(f64, usize)> = (0..stack.planes().len()).into_par_iter().map(excess).collect();
    let (sum, count) = all.iter().fold((0.0, 0), |(sum, count), (s, n)| (sum + s, count + n));
    let images = all.iter().filter(|(_, lines)| *lines > 0).count();
    if count == 0 { 0.0 } else { LEVELLED * (sum.max(0.0) / count as f64 / images as f64).sqrt() }
}

/// The median of a list, which is put in another order; `None` of an empty one.
fn middle(list: &mut [f64]) -> Option<f64> {
    let place = list.len() / 2;
    (!list.is_empty()).then(|| *list.select_nth_unstable_by(place, f64::total_cmp).1)
}

/// The image with the upper quartile of the bright values of each line brought to the same level, where it is off by no more
/// than `most`.
fn level_lines(image: &[f64], threshold: f64, nx: usize, most: f64) -> Vec<f64> {
    let quartile = |line: &[f64]| {
        let mut bright: Vec<f64> = line.iter().copied().filter(|value| *value > threshold).collect();
        let place = bright.len() * 3 / 4;
        (bright.len() >= LINE).then(|| *bright.select_nth_unstable_by(place, f64::total_cmp).1)
    };
    let levels: Vec<Option<f64>> = image.chunks(nx).map(quartile).collect();
    let mut known: Vec<f64> = levels.iter().flatten().copied().collect();
    let mut levelled = image.to_vec();
    let Some(usual) = middle(&mut known) else { return levelled };
    for (line, level) in levelled.chunks_mut(nx).zip(&levels) {
        let off = level.map_or(0.0, |level| level - usual);
        if off.abs() <= most {
            line.iter_mut().for_each(|value| *value -= off);
        }
    }
    levelled
}

/// Mean over energies of the log intensity, each energy less its own mean; NaN where nothing was measured. Energies of
/// which less than half is there, against the fullest, wait: their mean is not that of the field.
fn mean_log_image(stack: &Stack, screen: &Screen) -> Vec<f64> {
    let fullest = stack.planes().iter().map(|plane| plane.measured()).max().unwrap_or(0);
    let planes: Vec<(&Plane, Option<&PlaneFlaws>)> = stack
        .planes()
        .iter()
        .enumerate()
        .filter(|(_, plane)| plane.measured() > 0 && plane.measured() * 2 >= fullest)
        .map(|(energy, plane)| (&**plane, screen.flaws(energy).map(|flaws| &**flaws)))
        .collect();
    let usable = |(plane, flaws): &(&Plane, Option<&PlaneFlaws>), pixel: usize| {
        !plane.values()[pixel].is_nan() && flaws.is_none_or(|flaws| !flaws.contains(pixel))
    };
    let pixels = stack.plan().grid.pixels();
    let dark = stack.plan().dark();
    // Half a count stands in for no signal: such a pixel is as dark as can be, and must not look empty.
    let log = |value: f32| (f64::from(value) - dark).max(0.5).ln();
    let mut image = vec![0.0_f64; pixels];
    let sums: Vec<Vec<(f64, u32)>> = image
        .par_chunks_mut(PART)
        .enumerate()
        .map(|(part, image)| {
            let sum = |plane: &(&Plane, Option<&PlaneFlaws>)| {
                let (mut sum, mut count) = (0.0, 0_u32);
                for (i, mean) in image.iter_mut().enumerate() {
                    let pixel = part * PART + i;
                    if usable(plane, pixel) {
                        let log = log(plane.0.values()[pixel]);
                        *mean += log;
                        (sum, count) = (sum + log, count + 1);
                    }
                }
                (sum, count)
            };
            planes.iter().map(sum).collect()
        })
        .collect();
    let mean = |index: usize| {
        let all = sums.iter().map(|sums| sums[index]);
        let (sum, count) = all.fold((0.0, 0), |(sum, count), (s, n)| (sum + s, count + n));
        sum / f64::from(count)
    };
    let means: Vec<f64> = (0..planes.len()).map(mean).collect();
    image.par_chunks_mut(PART).enumerate().for_each(|(part, image)| {
        for (i, sum) in image.iter_mut().enumerate() {
            let (mut count, mut expected) = (0_u32, 0.0);
            for (plane, mean) in planes.iter().zip(&means) {
                if usable(plane, part * PART + i) {
                    (count, expected) = (count + 1, expected + mean);
                }
            }
            *sum = (*sum - expected) / f64::from(count);
        }
    });
    image
}

/// The bright pixels of a sparse scan with what lies between them: a pixel that was not measured is what the nearest
/// measured one is.
fn across_gaps(bright: &[bool], image: &[f64], shape: [usize; 2]) -> Vec<bool> {
    let measured: Vec<bool> = image.iter().map(|value| value.is_finite()).collect();
    if measured.iter().all(|&measured| measured) {
        return bright.to_vec();
    }
    nearest(&measured, shape).into_iter().map(|near| near.is_some_and(|near| bright[near as usize])).collect()
}

/// The pixels of a set that were measured.
fn measured_of(set: &PixelSet, image: &[f64]) -> PixelSet {
    let mut measured = PixelSet::new(image.len());
    set.iter().filter(|&pixel| image[pixel].is_finite()).for_each(|pixel| _ = measured.insert(pixel));
    measured
}

/// Otsu's threshold of the finite values and how well it separates; `None` where it does not.
fn otsu(image: &[f64]) -> Option<(f64, f64)> {
    let finite = || image.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let width = (high - low) / BINS as f64;
    if width <= 0.0 || !width.is_finite() {
        return None;
    }
    let mut histogram = [0_u64; BINS];
    for value in finite() {
        histogram[(((value - low) / width) as usize).min(BINS - 1)] += 1;
    }
    let total: u64 = histogram.iter().sum();
    let centre = |bin: usize| low + (bin as f64 + 0.5) * width;
    let weighted = |power: i32| -> f64 {
        histogram.iter().enumerate().map(|(bin, &n)| n as f64 * centre(bin).powi(power)).sum()
    };
    let mean = weighted(1) / total as f64;
    let variance = weighted(2) / total as f64 - mean * mean;
    let (mut below, mut sum_below) = (0_u64, 0.0);
    let (mut best, mut best_bin, mut best_contrast) = (-1.0, 0, 0.0);
    for (bin, &n) in histogram.iter().enumerate().take(BINS - 1) {
        below += n;
        sum_below += n as f64 * centre(bin);
        if below == 0 || below == total {
            continue;
        }
        let (dim, bright) =
            (sum_below / below as f64, (mean * total as f64 - sum_below) / (total - below) as f64);
        let share = below as f64 / total as f64;
        let between = share * (1.0 - share) * (bright - dim) * (bright - dim);
        if between > best {
            (best, best_bin, best_contrast) = (between, bin, bright - dim);
        }
    }
    let separability = best / variance;
    let believed = separability >= MIN_SEPARABILITY && best_contrast >= MIN_CONTRAST;
    believed.then_some((low + (best_bin as f64 + 1.0) * width, separability))
}

/// Lower end of the plateau of the values above `threshold`: two deviations below the mode, the deviation being
/// that of the values above the mode.
fn plateau(image: &[f64], threshold: f64) -> f64 {
    let bright = || image.iter().copied().filter(|&value| value > threshold);
    let high = bright().fold(threshold, f64::max);
    let width = (high - threshold) / BINS as f64;
    if width <= 0.0 {
        return threshold;
    }
    let mut histogram = [0_u64; BINS];
    for value in bright() {
        histogram[(((value - threshold) / width) as usize).min(BINS - 1)] += 1;
    }
    // Five bins together, so that the mode is not that of counting noise.
    let around = |bin: usize| histogram[bin.saturating_sub(2)..(bin + 3).min(BINS)].iter().sum::<u64>();
    let mode_bin = (0..BINS).rev().max_by_key(|&bin| around(bin)).unwrap_or(0);
    let mode = threshold + (mode_bin as f64 + 0.5) * width;
    let (sum, count) =
        bright().filter(|&v| v > mode).fold((0.0, 0_usize), |(sum, n), v| (sum + (v - mode).powi(2), n + 1));
    mode - 2.0 * (sum / count.max(1) as f64).sqrt() - width
}

/// The largest 4-connected part of a mask; of equal ones the first in row-major order.
fn largest_part(mask: &[bool], ny: usize, nx: usize) -> PixelSet {
    let mut visited = vec![false; mask.len()];
    let (mut largest, mut part, mut stack) = (Vec::new(), Vec::new(), Vec::new());
    for start in 0..mask.len() {
        if !mask[start] || visited[start] {
            continue;
        }
        part.clear();
        visited[start] = true;
        stack.push(start);
        while let Some(pixel) = stack.pop() {
            part.push(pixel);
            for near in neighbours(pixel, ny, nx) {
                if mask[near] && !visited[near] {
                    visited[near] = true;
                    stack.push(near);
                }
            }
        }
        if part.len() > largest.len() {
            std::mem::swap(&mut part, &mut largest);
        }
    }
    let mut set = PixelSet::new(mask.len());
    largest.iter().for_each(|&pixel| _ = set.insert(pixel));
    set
}

/// The pixels all of whose neighbours on the grid belong to the set as well.
fn erode(set: &PixelSet, ny: usize, nx: usize) -> PixelSet {
    let mut inner = PixelSet::new(ny * nx);
    for pixel in set.iter().filter(|&pixel| neighbours(pixel, ny, nx).all(|near| set.contains(near))) {
        inner.insert(pixel);
    }
    inner
}

fn neighbours(pixel: usize, ny: usize, nx: usize) -> impl Iterator<Item = usize> {
    let (y, x) = (pixel / nx, pixel % nx);
    let up = (y > 0).then(|| pixel - nx);
    let down = (y + 1 < ny).then(|| pixel + nx);
    let left = (x > 0).then(|| pixel - 1);
    let right = (x + 1 < nx).then(|| pixel + 1);
    [up, down, left, right].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Channel, I0, Pixels, SampleBatch};
    use crate::stack::test_plan;

    fn stack(ny: usize, nx: usize, value: impl Fn(usize, usize) -> f32) -> Stack {
        let mut stack = Stack::new(test_plan(ny, nx, 1));
        let values = (0..ny * nx).map(|p| value(p / nx, p % nx)).collect();
        let batch = SampleBatch {
            energy_index: 0,
            pixels: Pixels::Run { first: 0, count: (ny * nx) as u32 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values,
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: None,
        };
        stack.push(0, &batch).unwrap();
        stack
    }

    #[test]
    fn takes_the_largest_bright_part_less_its_rim() {
        // Left of column 12: empty; a sample with one small hole at the right.
        let stack = stack(20, 24, |y, x| {
            let hole = (8..11).contains(&y) && (18..21).contains(&x);
            (if x < 12 || hole { 1000.0 } else { 300.0 }) + ((y * 7 + x * 3) % 11) as f32
        });
        let region = find_empty_region(&stack, &Screen::default(), None).unwrap();
        assert!(region.pixels.iter().all(|pixel| pixel % 24 < 11), "neither rim nor hole");
        assert_eq!(region.pixels.len(), 20 * 11);
    }

    #[test]
    fn a_field_full_of_sample_has_none() {
        let stack = stack(20, 20, |y, x| 500.0 + ((y * 131 + x * 57) % 97) as f32 / 8.0);
        assert_eq!(find_empty_region(&stack, &Screen::default(), None), None);
    }

    #[test]
    fn a_film_that_is_thin_in_places_is_no_empty_field() {
        let plan = test_plan(40, 48, 6);
        let mut film = Stack::new(plan.clone());
        let mut empty = Stack::new(plan);
        let mut followed = [None, None];
        for energy in 0..6 {
            let value = |p: usize, flat: bool| {
                let (y, x) = ((p / 48) as f64, (p % 48) as f64);
                // Thick at the right; at the left either nothing, or a film that goes up and down.
                let thin = if flat { 0.0 } else { 0.15 + 0.1 * (x / 2.5).sin() * (y / 3.0).cos() };
                let od = if x < 24.0 { thin } else { 1.0 };
                let noise = ((p * 7919 + energy * 104_729) % 101) as f64 / 50.0 - 1.0;
                (2000.0 * (-od * (1.0 + 0.1 * energy as f64)).exp() * (1.0 + 0.03 * noise)) as f32
            };
            for ((stack, flat), followed) in
                [(&mut film, false), (&mut empty, true)].into_iter().zip(&mut followed)
            {
                let values = (0..40 * 48).map(|p| value(p, flat)).collect();
                crate::screening::tests::push(stack, energy, values, I0::None);
                *followed = find_empty_region(stack, &Screen::default(), followed.as_ref());
                // With fewer images nobody can tell; after that it is not held on to.
                assert!(energy < 2 || followed.is_some() == flat, "energy {energy}, flat {flat}");
            }
        }
        assert_eq!(find_empty_region(&film, &Screen::default(), None), None);
        assert!(find_empty_region(&empty, &Screen::default(), None).unwrap().pixels.len() > 600);
    }

    #[test]
    fn a_sparse_scan_has_one_across_its_gaps() {
        // One pixel in five, none beside another.
        let stack = stack(30, 40, |y, x| match (x + 2 * y) % 5 {
            0 => (if x < 16 { 1000.0 } else { 300.0 }) + ((y * 7 + x * 3) % 11) as f32,
            _ => f32::NAN,
        });
        let region = find_empty_region(&stack, &Screen::default(), None).unwrap();
        assert!(region.pixels.len() > 60, "{}", region.pixels.len());
        assert!(
            region.pixels.iter().all(|pixel| pixel % 40 < 16 && (pixel % 40 + 2 * (pixel / 40)) % 5 == 0)
        );
    }

    #[test]
    fn nothing_measured_has_none() {
        assert_eq!(find_empty_region(&Stack::new(test_plan(4, 4, 2)), &Screen::default(), None), None);
    }
}
