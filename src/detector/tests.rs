use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;

use super::compressed::{Element, bslz4, lz4};
use super::*;
use crate::scan::{
    BadPixels, Channel, DType, DetectorKind, Encoding, FrameBatch, I0, Pixels, SampleBatch, ScanPlan,
};
use crate::stack::test_plan;

fn area(saturation: Option<f64>) -> ScanPlan {
    let mut plan = test_plan(1, 2, 1);
    plan.detector.kind = DetectorKind::Area;
    plan.detector.frame_shape = Some([1, 3]);
    plan.detector.dark = 2.0;
    plan.detector.saturation = saturation;
    plan
}

fn blank(count: u32) -> SampleBatch {
    SampleBatch {
        energy_index: 0,
        pixels: Pixels::Run { first: 0, count },
        channel: Channel::Intensity,
        others: Vec::new(),
        values: Vec::new(),
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    }
}

fn frames(dtype: DType, bytes: Vec<u8>) -> FrameBatch {
    FrameBatch::raw(blank(2), dtype, &Bytes::from(bytes))
}

fn reduce(plan: &ScanPlan, settings: FrameSettings, frames: FrameBatch) -> Result<Reduction, DetectorError> {
    FrameStage::new(settings.into()).reduce(plan, frames)
}

fn sums(plan: &ScanPlan, frames: FrameBatch) -> Vec<f32> {
    reduce(plan, FrameSettings::default(), frames).unwrap().batch.values
}

fn u16s(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn a_masked_pixel_counts_as_dark_too() {
    let settings = FrameSettings { mask: vec![[0, 1], [7, 7]], ..FrameSettings::default() };
    let bytes = u16s(&[5, 6, 100, 7, 8, 9]);
    let done = reduce(&area(Some(100.0)), settings, frames(DType::Uint16, bytes.clone())).unwrap();
    assert_eq!(done.batch.values, [9.0, 18.0]);
    let mut plan = area(Some(100.0));
    plan.detector.left_out = vec![[1, 1]];
    assert_eq!(sums(&plan, frames(DType::Uint16, bytes)), [9.0, 18.0]);
}

#[test]
fn a_saturated_pixel_counts_as_dark_and_so_does_one_without_a_value() {
    let bytes = u16s(&[5, 6, 100, 7, 8, 9]);
    assert_eq!(sums(&area(Some(100.0)), frames(DType::Uint16, bytes.clone())), [13.0, 24.0]);
    assert_eq!(sums(&area(None), frames(DType::Uint16, bytes)), [111.0, 24.0]);
    assert_eq!(sums(&area(None), frames(DType::Uint8, vec![5, 255, 6, 7, 8, 254])), [13.0, 269.0]);
    let bytes: Vec<u8> =
        [1, 2, u32::MAX, 4, u32::MAX - 1, 6].iter().flat_map(|v: &u32| v.to_le_bytes()).collect();
    assert_eq!(sums(&area(None), frames(DType::Uint32, bytes)), [5.0, 12.0]);
}

#[test]
fn a_frame_without_a_good_pixel_is_not_measured() {
    let sums = sums(&area(Some(9.0)), frames(DType::Uint8, vec![9, 9, 9, 1, 1, 1]));
    assert!(sums[0].is_nan() && sums[1] == 3.0);
}

#[test]
fn floats_leave_nan_out_and_refuse_infinities() {
    let bytes = |values: [f32; 6]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let good = frames(DType::Float32, bytes([1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(sums(&area(None), good), [6.0, 15.0]);
    let bad = frames(DType::Float32, bytes([1.0, f32::INFINITY, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(reduce(&area(None), FrameSettings::default(), bad).unwrap_err(), DetectorError::Infinite);
}

#[test]
fn another_size_is_refused_where_all_have_it() {
    let error = reduce(&area(None), FrameSettings::default(), frames(DType::Uint8, vec![1; 8])).unwrap_err();
    assert_eq!(error, DetectorError::Shape { found: 8, pixels: 2, wanted: 6 });
    let one = FrameBatch {
        frames: vec![Bytes::from_static(&[1; 4]), Bytes::from_static(&[1; 3])],
        ..frames(DType::Uint8, vec![])
    };
    let done = reduce(&area(None), FrameSettings::default(), one).unwrap();
    assert!(done.batch.values[0].is_nan() && done.batch.values[1] == 3.0);
    assert_eq!(done.drops.by_cause().collect::<Vec<_>>(), [("size", 1)]);
    let few = FrameBatch { frames: vec![Bytes::from_static(&[1; 3])], ..frames(DType::Uint8, vec![]) };
    let error = reduce(&area(None), FrameSettings::default(), few).unwrap_err();
    assert_eq!(error, DetectorError::Shape { found: 3, pixels: 2, wanted: 6 });
}

#[test]
fn a_broken_frame_is_not_measured_and_the_others_count() {
    let good = lz4(&[1, 2, 3], 3);
    let cut = good[..good.len() - 1].to_vec();
    let batch = FrameBatch {
        encoding: Encoding::Lz4,
        frames: vec![cut.into(), good.into()],
        ..frames(DType::Uint8, vec![])
    };
    let settings = FrameSettings { moments: true, ..FrameSettings::default() };
    let done = reduce(&area(None), settings, batch).unwrap();
    assert!(done.batch.values[0].is_nan() && done.batch.values[1] == 6.0);
    assert!(done.batch.others.iter().all(|(_, values)| values[0].is_nan()));
    assert_eq!(done.drops.by_cause().collect::<Vec<_>>(), [("cut", 1)]);
    assert_eq!((done.drops.reduced, done.drops.bytes), (1, 3));
}

#[test]
fn pixels_that_turn_out_bad_are_left_out_from_then_on() {
    let mut plan = area(None);
    plan.detector.frame_shape = Some([8, 8]);
    plan.detector.dark = 0.0;
    let settings = FrameSettings { find_bad_pixels: true, ..FrameSettings::default() };
    let mut frame = vec![10_u8; 64];
    frame[27] = 250;
    for (encoding, packed) in
        [(Encoding::Raw, frame.clone()), (Encoding::Bslz4, bslz4(Element::U8, &frame, 64))]
    {
        let mut stage = FrameStage::new(settings.clone().into());
        let mut found = Vec::new();
        for _ in 0..5 {
            let frames = vec![Bytes::from(packed.clone()); 4];
            let frames = FrameBatch { batch: blank(4), dtype: DType::Uint8, encoding, frames };
            let done = stage.reduce(&plan, frames).unwrap();
            stage.note(&plan, &done.bad, Some(&done.drops), Instant::now());
            found.push(done.batch.values[3]);
        }
        assert_eq!(found, [880.0, 880.0, 880.0, 630.0, 630.0], "{encoding:?}");
    }
}

/// What sums have to be: `[sum, kept, moments]` of the pixels of a region.
fn naive(frame: &[u32], width: usize, limit: f64, is_in: impl Fn(usize) -> bool) -> [f64; 4] {
    let kept = frame.iter().enumerate().filter(|(pixel, value)| is_in(*pixel) && f64::from(**value) < limit);
    kept.fold([0.0; 4], |[sum, count, y, x], (pixel, value)| {
        let value = f64::from(*value);
        let (row, column) = ((pixel / width) as f64, (pixel % width) as f64);
        [sum + value, count + 1.0, y + row * value, x + column * value]
    })
}

fn same(found: f32, wanted: f64) -> bool {
    (found.is_nan() && wanted.is_nan()) || (f64::from(found) - wanted).abs() <= 1e-6 * wanted.abs().max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// However frames are packed, channels are those of a plain sum; on one thread and on several.
    #[test]
    fn any_encoding_gives_the_same_channels(
        shape in (1_usize..40, 1_usize..40),
        kind in 0_usize..4,
        // Enough for several threads at times.
        many in prop::bool::weighted(0.1),
        seed in any::<u64>(),
        dark in prop::sample::select(vec![0.0, 1.5]),
        saturation in prop::sample::select(vec![None, Some(6.0), Some(200.5)]),
        block in 1_usize..3000,
    ) {
        let (height, width) = shape;
        let dtype = [DType::Uint8, DType::Uint16, DType::Uint32, DType::Float32][kind];
        let pixels = height * width;
        let count = if many { ((1 << 20) / (pixels * dtype.size())).min(3000) + 2 } else { 3 };
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as u32
        };
        let values: Vec<Vec<u32>> = (0..count)
            .map(|frame| (0..pixels).map(|_| if frame == 1 { 0 } else { random() % 9 }).collect())
            .collect();
        let bytes = |values: &Vec<u32>| -> Vec<u8> {
            let value = |value: &u32| match dtype {
                DType::Float32 => (*value as f32).to_le_bytes().to_vec(),
                _ => value.to_le_bytes()[..dtype.size()].to_vec(),
            };
            values.iter().flat_map(value).collect()
        };
        let mut plan = test_plan(1, count, 1);
        plan.detector.kind = DetectorKind::Area;
        plan.detector.frame_shape = Some([height, width]);
        plan.detector.dark = dark;
        plan.detector.saturation = saturation;
        plan.detector.left_out = vec![[0, 1]];
        let centre = [height as f64 / 2.0, width as f64 / 3.0];
        let settings = FrameSettings {
            mask: vec![[height / 2, width / 2]],
            bright_field: Some(FrameArea::Annulus { centre, inner: 0.0, outer: 5.0 }),
            dark_field: Some(FrameArea::Rectangle { y: [0, height / 2], x: [width / 2, 50] }),
            moments: true,
            ..FrameSettings::default()
        };
        let bright = settings.bright_field.as_ref().unwrap().mask([height, width]);
        let dark_field = settings.dark_field.as_ref().unwrap().mask([height, width]);
        let out = |pixel: usize| pixel == 0 || pixel == height / 2 * width + width / 2;
        let limit = saturation.unwrap_or(f64::INFINITY);
        let whole: Vec<Bytes> = values.iter().map(|values| bytes(values).into()).collect();
        let element = [Element::U8, Element::U16, Element::U32, Element::U32][kind];
        for encoding in [Encoding::Raw, Encoding::Bslz4, Encoding::Lz4] {
            let frames = whole.iter().map(|frame| match encoding {
                Encoding::Bslz4 => bslz4(element, frame, block).into(),
                Encoding::Lz4 => lz4(frame, block).into(),
                _ => frame.clone(),
            });
            let batch = FrameBatch { batch: blank(count as u32), dtype, encoding, frames: frames.collect() };
            let done = reduce(&plan, settings.clone(), batch).unwrap();
            prop_assert_eq!(done.drops.dropped(), 0);
            prop_assert_eq!(&done.bad, &BadPixels::default());
            let channels: Vec<_> = done.batch.others.iter().map(|(channel, _)| *channel).collect();
            prop_assert_eq!(channels, Channel::OTHERS);
            for (index, values) in values.iter().enumerate() {
                let [sum, kept, y, x] = naive(values, width, limit, |p| bright.has(p) && !out(p));
                let level = |sum: f64, kept: f64, pixels: u64| {
                    if kept == 0.0 { f64::NAN } else { sum + dark * (pixels as f64 - kept) }
                };
                prop_assert!(same(done.batch.values[index], level(sum, kept, pixels as u64)), "{encoding:?} {index}");
                let [far, far_kept, ..] = naive(values, width, limit, |p| dark_field.has(p) && !out(p));
                let wanted = level(far, far_kept, dark_field.count());
                prop_assert!(same(done.batch.others[0].1[index], wanted), "{encoding:?} {index}");
                let moments = [(y, 1), (x, 2)];
                // With a dark level what is saturated is not known as well.
                for (moment, channel) in moments.into_iter().filter(|_| dark == 0.0 || saturation != Some(6.0)) {
                    let all = |value: f64| naive(&vec![1; pixels], width, 2.0, |p| bright.has(p) && !out(p))
                        [if channel == 1 { 2 } else { 3 }] * value;
                    let light = sum - dark * kept;
                    let wanted = if light > 0.0 { (moment - all(dark)) / light } else { f64::NAN };
                    let found = done.batch.others[channel].1[index];
                    prop_assert!((found.is_nan() && wanted.is_nan()) || (f64::from(found) - wanted).abs() < 1e-3
                        * wanted.abs().max(1.0), "{encoding:?} {index}: {found} {wanted}");
                }
            }
        }
    }
}
