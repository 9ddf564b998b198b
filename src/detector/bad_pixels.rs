//! Dead and hot pixels of an area detector, found in the frames of one message.
//!
//! Up to sixteen frames, evenly spread over the message, are averaged. A pixel is *hot* where its mean, dark taken off, is
//! beyond five times that of the second brightest of its eight neighbours and beyond eight standard errors of it: one wild
//! pixel, not the edge of the bright disc, nor a spot that is wider than a pixel. It is *dead* where it has less than a
//! twentieth of the second darkest neighbour, and that one at least thirty photons in all. Messages of fewer than four
//! frames say nothing. A spot that carries half of the light is the beam itself, and is kept: then nothing is called hot.

use std::collections::BTreeMap;

use crate::scan::{BadPixels, DType};
use crate::telemetry::names;

/// Frames of a message that are averaged: fewest, most.
const FRAMES: (usize, usize) = (4, 16);
/// Factor on the second brightest neighbour, and standard errors above it.
const HOT: (f64, f64) = (5.0, 8.0);
/// Share of the second darkest neighbour, and the photons it has at least.
const DEAD: (f64, f64) = (0.05, 30.0);
/// Messages a pixel has to be found in before it is named.
const NAMED_AFTER: u64 = 3;
/// The first messages of a scan are all looked at, later ones at this distance: looking takes ten times as long as summing, and
/// pixels do not go bad by the minute.
const LOOKED_AT: (u64, u64) = (8, 32);

/// How often each pixel of a scan's frames was found bad; names those that stay so, once each, in the log.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By pixel: messages that it was found in.
    messages: BTreeMap<usize, u64>,
    /// Messages of the scan.
    seen: u64,
}

impl Tally {
    /// Whether the next message is one to look for bad pixels in.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let (first, every) = LOOKED_AT;
        self.seen < first || self.seen.is_multiple_of(every)
    }

    /// Counts what one message showed.
    pub fn note(&mut self, scan_id: &str, frame_shape: Option<[usize; 2]>, bad: &BadPixels) {
        self.seen += 1;
        let width = frame_shape.map_or(1, |[_, width]| width.max(1));
        for (kind, list) in [("dead", &bad.dead), ("hot", &bad.hot)] {
            if list.is_empty() {
                continue;
            }
            metrics::counter!(names::DETECTOR_PIXELS_LEFT_OUT, "kind" => kind).increment(list.len() as u64);
            for &pixel in list {
                let messages = self.messages.entry(pixel).or_default();
                *messages += 1;
                if *messages == NAMED_AFTER {
                    let (y, x) = (pixel / width, pixel % width);
                    tracing::warn!(
                        scan_id,
                        kind,
                        y,
                        x,
                        "a detector pixel is left out of the sums from here on; put it into detector.mask"
                    );
                }
            }
        }
    }

    /// The pixels that were found bad in several messages, row-major indices, ascending.
    #[must_use]
    pub fn named(&self) -> Vec<usize> {
        let often = self.messages.iter().filter(|(_, messages)| **messages >= NAMED_AFTER);
        often.map(|(pixel, _)| *pixel).collect()
    }
}

/// The value of one pixel of a frame.
pub(super) fn value(dtype: DType, frame: &[u8], pixel: usize) -> f64 {
    let bytes = frame.get(pixel * dtype.size()..).unwrap_or_default();
    match dtype {
        DType::Uint8 => bytes.first().map_or(f64::NAN, |b| f64::from(*b)),
        DType::Uint16 => bytes.first_chunk().map_or(f64::NAN, |b| f64::from(u16::from_le_bytes(*b))),
        DType::Uint32 => bytes.first_chunk().map_or(f64::NAN, |b| f64::from(u32::from_le_bytes(*b))),
        DType::Float32 => bytes.first_chunk().map_or(f64::NAN, |b| f64::from(f32::from_le_bytes(*b))),
        DType::Float64 => bytes.first_chunk().map_or(f64::NAN, |b| f64::from_le_bytes(*b)),
    }
}

/// Finds the bad pixels of a message whose frames have the given height and width.
pub(super) fn find<F: AsRef<[u8]>>(
    dtype: DType,
    frames: &[F],
    [height, width]: [usize; 2],
    dark: f64,
) -> BadPixels {
    if frames.len() < FRAMES.0 || height < 3 || width < 3 {
        return BadPixels::default();
    }
    let used = frames.len().min(FRAMES.1);
    let mut mean = vec![0.0_f32; height * width];
    for index in 0..used {
        let frame = frames[index * frames.len() / used].as_ref();
        match dtype {
            DType::Uint8 => add(&mut mean, frame, |&b| f32::from(b)),
            DType::Uint16 => add(&mut mean, frame.as_chunks().0, |b| f32::from(u16::from_le_bytes(*b))),
            DType::Uint32 => add(&mut mean, frame.as_chunks().0, |b| u32::from_le_bytes(*b) as f32),
            DType::Float32 => add(&mut mean, frame.as_chunks().0, |b| f32::from_le_bytes(*b)),
            DType::Float64 => add(&mut mean, frame.as_chunks().0, |b| f64::from_le_bytes(*b) as f32),
        }
    }
    let mut light = 0.0;
    for value in &mut mean {
        *value = *value / used as f32 - dark as f32;
        light += f64::from(value.max(0.0));
    }
    judge(&mean, [height, width], used as f64, light)
}

fn add<T>(mean: &mut [f32], frame: &[T], read: impl Fn(&T) -> f32) {
    mean.iter_mut().zip(frame).for_each(|(sum, value)| *sum += read(value));
}

/// Judges the pixels of a mean frame, dark taken off.
fn judge(mean: &[f32], [height, width]: [usize; 2], frames: f64, light: f64) -> BadPixels {
    let mut bad = BadPixels::default();
    let mut hot_light = 0.0;
    for y in 0..height {
        for x in 0..width {
            let pixel = y * width + x;
            let value = mean[pixel];
            // Most pixels are like a neighbour in their line, and need no further look. NaN passes as ordinary.
            let beside = [x.checked_sub(1), Some(x + 1).filter(|x| *x < width)]
                .map(|x| x.map(|x| mean[y * width + x]));
            let brighter = beside.iter().flatten().any(|b| 2.0 * b >= value);
            let darker = beside.iter().flatten().any(|b| 0.5 * b <= value);
            if brighter && darker {
                continue;
            }
            let Some((second_dark, second_bright)) = seconds(mean, [height, width], [y, x]) else { continue };
            let value = f64::from(value);
            let error = (second_bright.max(1.0) / frames).sqrt();
            if value > HOT.0 * second_bright.max(0.0) + HOT.1 * error {
                bad.hot.push(pixel);
                hot_light += value;
            } else if value < DEAD.0 * second_dark && second_dark * frames >= DEAD.1 {
                bad.dead.push(pixel);
            }
        }
    }
    if hot_light > 0.5 * light {
        bad.hot.clear();
    }
    bad
}

/// Of the neighbours of a pixel the second darkest and the second brightest.
fn seconds(mean: &[f32], [height, width]: [usize; 2], [y, x]: [usize; 2]) -> Option<(f64, f64)> {
    let mut near = [0.0_f32; 8];
    let mut count = 0;
    for v in y.saturating_sub(1)..(y + 2).min(height) {
        for u in x.saturating_sub(1)..(x + 2).min(width) {
            if (v, u) != (y, x) && !mean[v * width + u].is_nan() {
                near[count] = mean[v * width + u];
                count += 1;
            }
        }
    }
    let near = &mut near[..count];
    near.sort_by(f32::total_cmp);
    (count >= 3).then(|| (f64::from(near[1]), f64::from(near[count - 2])))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, Poisson};

    use super::*;

    /// Frames of a disc with a soft rim on a dark level of 2, as u16, with some pixels set.
    fn frames(count: usize, photons: f64, set: &[(usize, u16)], seed: u64) -> Vec<Vec<u8>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut frames = Vec::new();
        for frame in 0..count {
            let mut bytes = Vec::new();
            let beam = photons * (1.0 - 0.5 * frame as f64 / count as f64);
            for pixel in 0..20 * 24_usize {
                let (y, x) = ((pixel / 24) as f64 - 9.5, (pixel % 24) as f64 - 11.5);
                let mean = 2.0 + beam / (1.0 + (y.hypot(x) - 6.0).exp());
                let drawn: f64 = Poisson::new(mean).unwrap().sample(&mut rng);
                let value = set.iter().find(|(p, _)| *p == pixel).map_or(drawn as u16, |(_, v)| *v);
                bytes.extend(value.to_le_bytes());
            }
            frames.push(bytes);
        }
        frames
    }

    #[test]
    fn finds_what_is_dead_and_hot_and_nothing_else() {
        let centre = 10 * 24 + 12;
        let set = [(centre, 0), (30, 900), (5 * 24 + 5, 2000)];
        let found = find(DType::Uint16, &frames(40, 50.0, &set, 1), [20, 24], 2.0);
        assert_eq!(found, BadPixels { dead: vec![centre], hot: vec![30, 5 * 24 + 5] });
        for seed in 0..50 {
            for photons in [0.3, 5.0, 200.0] {
                let frames = frames(20, photons, &[], seed);
                assert_eq!(find(DType::Uint16, &frames, [20, 24], 2.0), BadPixels::default(), "{photons}");
            }
        }
    }

    #[test]
    fn few_frames_say_nothing_and_a_focused_beam_stays() {
        assert_eq!(
            find(DType::Uint16, &frames(3, 50.0, &[(30, 900)], 2), [20, 24], 2.0),
            BadPixels::default()
        );
        let beam = frames(20, 0.1, &[(10 * 24 + 12, 5000)], 3);
        assert_eq!(find(DType::Uint16, &beam, [20, 24], 2.0), BadPixels::default());
    }

    #[test]
    fn the_tally_names_what_comes_again() {
        let mut tally = Tally::default();
        let bad = BadPixels { dead: vec![7], hot: vec![9] };
        tally.note("s", Some([2, 8]), &bad);
        tally.note("s", Some([2, 8]), &BadPixels { hot: vec![9], ..BadPixels::default() });
        tally.note("s", Some([2, 8]), &BadPixels { hot: vec![9], ..BadPixels::default() });
        assert_eq!(tally.named(), [9]);
    }

    #[test]
    fn the_first_messages_are_looked_at_and_some_later_ones() {
        let mut tally = Tally::default();
        let due: Vec<u64> = (0..100)
            .filter(|_| {
                let due = tally.is_due();
                tally.note("s", None, &BadPixels::default());
                due
            })
            .collect();
        assert_eq!(due, [0, 1, 2, 3, 4, 5, 6, 7, 32, 64, 96]);
    }
}
