use std::collections::BTreeMap;

use super::*;
use crate::scan::{Channel, I0, Pixels, test_plan as plan};
use proptest::prelude::*;

fn batch(energy_index: u32, first: u32, values: Vec<f32>, i0: I0) -> SampleBatch {
    SampleBatch {
        energy_index,
        pixels: Pixels::Run { first, count: values.len() as u32 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values,
        i0,
        ring_current_ma: Some(300.0 + f64::from(first)),
        energy_ev: None,
        time: None,
    }
}

fn feed(stack: &mut Stack, messages: &[(u64, SampleBatch)]) {
    for (seq, batch) in messages {
        if stack.note_seq(*seq) {
            stack.push(*seq, batch).unwrap();
        }
    }
}

/// What came of other channels, by energy and pixel.
fn layers(stack: &Stack) -> Vec<Vec<u32>> {
    let plane = |plane: &std::sync::Arc<Plane>| {
        let bits = |channel| plane.other(channel).iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        plane.others().flat_map(bits).collect()
    };
    stack.planes().iter().map(plane).collect()
}

#[test]
fn other_channels_keep_the_rules_each_by_itself() {
    let with = |values: [f32; 2], other: [f32; 2]| SampleBatch {
        others: vec![(Channel::ComX, other.to_vec())],
        ..batch(0, 0, values.to_vec(), I0::None)
    };
    let mut stack = Stack::new(plan(1, 2, 2));
    let bytes = stack.bytes();
    stack.push(5, &with([1.0, 2.0], [7.0, f32::NAN])).unwrap();
    stack.push(6, &with([3.0, f32::NAN], [f32::NAN, f32::NAN])).unwrap();
    stack.push(4, &with([8.0, 9.0], [8.0, 9.0])).unwrap();
    assert_eq!(stack.plane(0).values(), [3.0, 2.0]);
    assert_eq!(stack.plane(0).other(Channel::ComX), [7.0, 9.0]);
    assert_eq!((stack.others(), stack.plane(1).other(Channel::ComX).len()), (vec![Channel::ComX], 0));
    assert!(stack.bytes() >= bytes + 16, "{}", stack.bytes());
    // What was resampled has no other channels: they are as they were measured.
    assert_eq!(stack.plane(0).resampled(vec![1.0, 2.0], None, 0.5).others().count(), 0);
}

fn content(stack: &Stack) -> Vec<(u32, u32, Option<u64>)> {
    let pixels = stack.plan().grid.pixels();
    stack
        .planes()
        .iter()
        .flat_map(|plane| {
            let ring = plane.ring_current_ma().map(f64::to_bits);
            (0..pixels).map(move |p| (plane.value(p).to_bits(), plane.i0_at(p).to_bits(), ring))
        })
        .collect()
}

#[test]
fn refuses_what_does_not_fit_and_keeps_what_was() {
    let mut stack = Stack::new(plan(2, 3, 2));
    stack.push(1, &batch(0, 0, vec![5.0; 6], I0::None)).unwrap();
    let before = content(&stack);
    let wrong = [
        (batch(2, 0, vec![1.0], I0::None), StackError::Energy { index: 2, energies: 2 }),
        (batch(1, 4, vec![1.0; 3], I0::None), StackError::Pixel { pixel: 6, pixels: 6 }),
        (batch(1, 0, vec![1.0], I0::One(1.0)), StackError::I0BelowDark),
    ];
    for (batch, error) in wrong {
        assert_eq!(stack.push(2, &batch), Err(error));
    }
    assert_eq!(content(&stack), before);
}

#[test]
fn nan_is_not_measured_and_replaces_nothing() {
    let mut stack = Stack::new(plan(1, 2, 1));
    stack.push(5, &batch(0, 0, vec![7.0, f32::NAN], I0::None)).unwrap();
    stack.push(6, &batch(0, 0, vec![f32::NAN, f32::NAN], I0::None)).unwrap();
    assert_eq!(stack.plane(0).value(0), 7.0);
    assert_eq!((stack.measured(), stack.counters().not_measured), (1, 3));
    stack.push(2, &batch(0, 1, vec![3.0], I0::None)).unwrap();
    assert!(stack.is_full(), "a value of a lower seq fills what NaN left open");
}

#[test]
fn hands_out_changes_once_with_what_they_displaced() {
    let mut stack = Stack::new(plan(1, 3, 1));
    stack.push(0, &batch(0, 0, vec![1.0, 2.0], I0::One(10.0))).unwrap();
    assert_eq!(stack.take_changes()[0].pixels.len(), 2);
    assert!(!stack.has_changes());
    stack.push(1, &batch(0, 1, vec![5.0, 6.0], I0::One(20.0))).unwrap();
    stack.push(2, &batch(0, 1, vec![8.0], I0::One(30.0))).unwrap();
    let change = stack.take_changes().remove(0);
    assert_eq!(change.pixels.iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(change.displaced, [Displaced { pixel: 1, value: 2.0, i0: 10.0 }]);
}

#[test]
fn lines_take_four_bytes_a_value_and_scattered_pixels_eight() {
    let (ny, nx) = (64, 128);
    let (mut lines, mut scattered) = (Stack::new(plan(ny, nx, 1)), Stack::new(plan(ny, nx, 1)));
    for row in 0..ny {
        let values = vec![row as f32; nx];
        lines.push(row as u64, &batch(0, (row * nx) as u32, values.clone(), I0::One(50.0))).unwrap();
        let list = (0..nx).map(|i| ((i * ny + row) % (ny * nx)) as u32).collect();
        let batch = SampleBatch { pixels: Pixels::List(list), ..batch(0, 0, values, I0::One(50.0)) };
        scattered.push(row as u64, &batch).unwrap();
    }
    assert!(lines.is_full() && scattered.is_full());
    assert_eq!(lines.bytes(), 4 * ny * nx + 8 * ny);
    assert_eq!(scattered.bytes(), 8 * ny * nx);
}

#[test]
fn grows_by_extension() {
    let mut stack = Stack::new(plan(1, 1, 1));
    stack.extend(&[530.0, 531.0], None, None).unwrap();
    assert_eq!(stack.plan().dwell_ms, [1.0, 1.0, 1.0]);
    assert!(stack.extend(&[532.0], Some(&[1.0, 2.0]), None).is_err());
    assert!(stack.extend(&[-1.0], None, None).is_err());
    assert_eq!(stack.planes().len(), 3);
}

proptest! {
    /// Any order, duplication and late arrival of the same messages ends in the same content.
    #[test]
    fn content_depends_on_the_set_of_messages_only(
        raw in prop::collection::vec((0_u32..3, 0_u32..10, 1_usize..6, 0_u8..3, any::<u32>()), 1..40),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let messages: Vec<_> = raw.iter().enumerate().map(|(seq, &(energy, first, count, kind, value))| {
            let count = count.min(12 - first as usize);
            let values = (0..count)
                .map(|i| if (value >> i) & 7 == 0 { f32::NAN } else { (value % 1000) as f32 + i as f32 })
                .collect();
            let i0 = match kind {
                0 => I0::None,
                1 => I0::One(50.0 + (value % 2) as f32),
                _ => I0::Each((0..count).map(|i| 60.0 + i as f32).collect()),
            };
            // Some messages have other channels, whose gaps are their own.
            let other = |shift: u32| {
                let value = |i| if (value >> i >> shift) & 3 == 0 { f32::NAN } else { (value % 77) as f32 - i as f32 };
                (0..count).map(value).collect()
            };
            let others = match value % 3 {
                0 => vec![],
                1 => vec![(Channel::DarkField, other(3))],
                _ => vec![(Channel::ComX, other(5)), (Channel::ComY, other(9))],
            };
            (seq as u64, SampleBatch { others, ..batch(energy, first, values, i0) })
        }).collect();
        let mut shuffled = messages.clone();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        shuffled.push(messages[order.index(messages.len())].clone());
        let (mut one, mut other) = (Stack::new(plan(3, 4, 3)), Stack::new(plan(3, 4, 3)));
        feed(&mut one, &messages);
        feed(&mut other, &shuffled);
        other.take_changes();
        prop_assert_eq!(content(&one), content(&other));
        prop_assert_eq!(layers(&one), layers(&other));
        prop_assert_eq!(one.measured(), other.measured());
    }

    /// The same values, counters and changes as a table with one entry a pixel says: lines, images, scattered pixels in
    /// any order, overlaps and messages that come twice.
    #[test]
    fn agrees_with_one_entry_a_pixel(
        raw in prop::collection::vec((0_u64..60, 0_u32..2, 0_u32..1200, 0_u32..400, 1_u32..40, any::<u8>()), 1..40),
    ) {
        const PIXELS: u32 = 1200;
        let mut stack = Stack::new(plan(30, 40, 2));
        let mut model: BTreeMap<(u32, u32), (u64, f32)> = BTreeMap::new();
        let mut counters = StackCounters::default();
        for (index, &(seq, energy_index, first, count, step, kind)) in raw.iter().enumerate() {
            let pixels = match kind % 4 {
                0 => Pixels::Run { first, count: count.min(PIXELS - first) },
                1 => Pixels::Run { first: first / 40 * 40, count: 40 },
                2 => Pixels::List((first..PIXELS).step_by(step as usize).collect()),
                _ => Pixels::List((0..count).map(|i| (first + i * 37 * step) % PIXELS).rev().collect()),
            };
            let values: Vec<f32> = (0..pixels.len())
                .map(|i| if kind > 200 && i % 5 == 0 { f32::NAN } else { (index * 2000 + i) as f32 })
                .collect();
            for (pixel, &value) in pixels.iter().zip(&values) {
                let held = model.get(&(energy_index, pixel as u32)).copied();
                match held {
                    _ if value.is_nan() => counters.not_measured += 1,
                    Some((held, _)) if held > seq => counters.outdated += 1,
                    _ => {
                        if held.is_some() { counters.replaced += 1 } else { counters.stored += 1 }
                        model.insert((energy_index, pixel as u32), (seq, value));
                    }
                }
            }
            let batch = SampleBatch { pixels, values, ..batch(energy_index, 0, Vec::new(), I0::None) };
            stack.push(seq, &batch).unwrap();
        }
        prop_assert_eq!(stack.counters(), counters);
        prop_assert_eq!(stack.measured(), model.len());
        for energy in 0..2 {
            for pixel in 0..PIXELS {
                let wanted = model.get(&(energy, pixel)).map_or(f32::NAN, |(_, value)| *value);
                let found = stack.plane(energy as usize).value(pixel as usize);
                prop_assert_eq!(found.to_bits(), wanted.to_bits(), "energy {} pixel {}", energy, pixel);
            }
        }
    }
}
