//! Frames through the state machine and the journal: their channels depend on the set of messages only.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::detector::FrameArea;
use crate::detector::compressed::{Element, bslz4};
use crate::journal::{FORMAT, Line, Pinned, ScanWriter};
use crate::pipeline::replayed::Replayed;
use crate::scan::{Channel, DType, DetectorKind, Encoding, FrameBatch, I0, Pixels};
use crate::stack::test_plan;

const SHAPE: [usize; 2] = [8, 9];
const PIXELS: usize = 12;

fn settings() -> FrameSettings {
    FrameSettings {
        dark_field: Some(FrameArea::Annulus { centre: [3.5, 4.0], inner: 3.0, outer: 5.0 }),
        bright_field: Some(FrameArea::Annulus { centre: [3.5, 4.0], inner: 0.0, outer: 3.0 }),
        moments: true,
        ..FrameSettings::default()
    }
}

fn scans() -> Scans {
    let limits = ScanLimits {
        pixels: 1000,
        stack_bytes: 1 << 20,
        total_bytes: 1 << 20,
        open_scans: 3,
        held_bytes: 1 << 20,
        kept_bytes: 1 << 20,
    };
    let day = Duration::from_secs(86_400);
    let patience = Patience { silence: day, grace: day, reopen: day, resend: day };
    Scans::new(limits, vec![patience]).with_frames(settings()).with_journal()
}

fn plan() -> ScanPlan {
    let mut plan = test_plan(3, 4, 2);
    plan.detector.kind = DetectorKind::Area;
    plan.detector.frame_shape = Some(SHAPE);
    plan.detector.left_out = vec![[30, 2]];
    plan
}

/// Message `seq`: some pixels of an energy, packed or not, some of them broken.
fn frames(seq: u64, (energy, first, count, kind): (u32, u32, u32, u8)) -> ScanEvent {
    let count = count.min(PIXELS as u32 - first);
    let frame = |index: u32| -> Bytes {
        let value = |pixel: usize| (seq as usize * 7 + index as usize * 3 + pixel * 5) % 11;
        let bytes: Vec<u8> = (0..72).flat_map(|pixel| (value(pixel) as u16).to_le_bytes()).collect();
        let mut bytes = if kind % 2 == 0 { bytes } else { bslz4(Element::U16, &bytes, 64) };
        // The first frame is whole, so that the message is one of this scan.
        if kind > 100 && index % 3 == 1 {
            bytes.pop();
        }
        bytes.into()
    };
    let batch = SampleBatch {
        energy_index: energy,
        pixels: Pixels::Run { first, count },
        channel: Channel::Intensity,
        values: Vec::new(),
        others: Vec::new(),
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    };
    let encoding = if kind % 2 == 0 { Encoding::Raw } else { Encoding::Bslz4 };
    let frames = (0..count).map(frame).collect();
    let update = ScanUpdate::Frames(FrameBatch { batch, dtype: DType::Uint16, encoding, frames });
    ScanEvent { scan_id: "s1".to_owned(), seq: Some(seq), time: None, update }
}

/// Everything that is known of every pixel, as bits.
fn content(stack: &Stack) -> Vec<Vec<u32>> {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let planes = stack.planes().iter();
    planes
        .flat_map(|plane| {
            let others = Channel::OTHERS.map(|channel| bits(plane.other(channel)));
            [bits(plane.values())].into_iter().chain(others)
        })
        .collect()
}

fn stack(scans: &Scans) -> Stack {
    lock(scans.get("s1").unwrap().stack().unwrap()).clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn channels_depend_on_the_set_of_messages_and_a_restart_keeps_them(
        raw in prop::collection::vec((0_u32..2, 0_u32..12, 1_u32..7, any::<u8>()), 1..24),
        keys in prop::collection::vec(any::<u32>(), 48),
        lost in any::<u32>(),
        start in 0_usize..24,
    ) {
        let now = Instant::now();
        let started = || ScanEvent {
            scan_id: "s1".to_owned(),
            seq: Some(0),
            time: None,
            update: ScanUpdate::Started(Box::new(plan())),
        };
        let messages: Vec<ScanEvent> = raw
            .iter()
            .enumerate()
            .filter(|(index, _)| lost >> index & 1 == 0)
            .map(|(index, message)| frames(index as u64 + 1, *message))
            .collect();
        let mut straight = scans();
        straight.push(0, started(), 1, now).unwrap();
        for message in &messages {
            straight.push(0, message.clone(), 1, now).unwrap();
        }
        // Each twice, in an order of its own, the start somewhere.
        let mut mixed: Vec<ScanEvent> = [messages.clone(), messages].concat();
        let mut order: Vec<usize> = (0..mixed.len()).collect();
        order.sort_by_key(|index| keys[*index]);
        mixed = order.into_iter().map(|index| mixed[index].clone()).collect();
        mixed.insert(start.min(mixed.len()), started());
        let mut other = scans();
        for message in mixed {
            other.push(0, message, 1, now).unwrap();
        }
        prop_assert_eq!(content(&stack(&straight)), content(&stack(&other)));
        // The same out of the journal.
        let pinned = Pinned {
            format: FORMAT.to_owned(),
            version: "1".to_owned(),
            scan_id: "s1".to_owned(),
            source: "beam".to_owned(),
            plan: Some((0, plan())),
            created: DateTime::UNIX_EPOCH,
            references: String::new(),
            model: None,
            frames: serde_json::to_value(settings()).unwrap(),
            recipe: serde_json::Value::Null,
            settings: serde_json::Value::Null,
        };
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ScanWriter::new(dir.path().join("s1"), pinned).unwrap();
        for kept in other.take_kept().into_iter().filter(|kept| !kept.held) {
            writer.push(&Line { seq: kept.seq, received: DateTime::<Utc>::UNIX_EPOCH, what: kept.what });
        }
        writer.commit().unwrap();
        let replayed = Replayed::read(&dir.path().join("s1")).unwrap();
        prop_assert_eq!(replayed.refused, 0);
        prop_assert_eq!(content(&replayed.stack.unwrap()), content(&stack(&straight)));
    }
}

#[test]
fn other_channels_count_in_the_limits() {
    let all = planned_bytes(&plan(), &settings());
    assert_eq!(all, 4 * planned_bytes(&plan(), &FrameSettings::default()));
    assert_eq!(planned_bytes(&test_plan(3, 4, 2), &settings()), all / 4, "a point detector has none");
}
