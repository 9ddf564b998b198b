use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::scan::{Detector, DetectorKind, test_plan};

const NY: usize = 3;
const NX: usize = 4;
const ENERGIES: usize = 3;
const FRAME: [usize; 2] = [2, 5];

fn plan() -> ScanPlan {
    let mut plan = test_plan(NY, NX, ENERGIES);
    plan.grid.y.step = -0.1;
    plan.dwell_ms = vec![2.5; ENERGIES];
    plan.detector = Detector { kind: DetectorKind::Area, frame_shape: Some(FRAME), ..Detector::default() };
    plan
}

fn new() -> Desy {
    let naming = Naming { source: "p04".to_owned(), ..Naming::default() };
    Desy::new(naming, json!({ "energies_ev": plan().energies_ev, "sample": "drawn" }), 1 << 20)
}

fn frame(energy: usize, pixel: usize) -> Vec<Bytes> {
    encode::frame(FRAME, &[(100 * energy + pixel) as u16; 10])
}

fn image(energy: usize) -> Vec<Vec<Bytes>> {
    let frames = (0..NY * NX).map(|pixel| frame(energy, pixel));
    std::iter::once(encode::metadata(&plan(), energy)).chain(frames).collect()
}

fn whole() -> Vec<Vec<Bytes>> {
    (0..ENERGIES).flat_map(image).collect()
}

#[derive(Debug, Default)]
struct Heard {
    plans: Vec<ScanPlan>,
    /// What the frames of a pixel were filled with, by scan, energy and pixel.
    values: BTreeMap<(String, u32, usize), u16>,
    outcomes: Vec<Outcome>,
    remarks: Vec<String>,
    refused: Vec<&'static str>,
}

fn listen_at(adapter: &mut Desy, messages: &[Vec<Bytes>], time: DateTime<Utc>) -> Heard {
    let mut heard = Heard::default();
    for message in messages {
        let mut events = Vec::new();
        if let Err(refusal) = adapter.push(message, time, &mut events) {
            heard.refused.push(refusal.reason());
        }
        for event in events {
            match event.update {
                ScanUpdate::Started(plan) => {
                    plan.validate().unwrap();
                    heard.plans.push(*plan);
                }
                ScanUpdate::Frames(frames) => {
                    for (pixel, frame) in frames.batch.pixels.iter().zip(&frames.frames) {
                        assert_eq!(frame.len(), 20);
                        let value = u16::from_le_bytes([frame[0], frame[1]]);
                        heard.values.insert((event.scan_id.clone(), frames.batch.energy_index, pixel), value);
                    }
                }
                ScanUpdate::Ended(outcome) => heard.outcomes.push(outcome),
                ScanUpdate::Remarked(remark) => {
                    assert!(remark.untrusted);
                    heard.remarks.push(remark.text);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    heard
}

fn listen(adapter: &mut Desy, messages: &[Vec<Bytes>]) -> Heard {
    listen_at(adapter, messages, DateTime::UNIX_EPOCH)
}

#[test]
fn images_become_energies_and_the_scan_is_not_trusted() {
    let heard = listen(&mut new(), &whole());
    let [found] = &heard.plans[..] else { panic!("{heard:?}") };
    let wanted = plan();
    assert_eq!((&found.energies_ev, &found.dwell_ms), (&wanted.energies_ev, &wanted.dwell_ms));
    assert_eq!((found.grid.shape, found.detector.frame_shape), ([NY, NX], Some(FRAME)));
    assert!((found.grid.y.step - wanted.grid.y.step).abs() < 1e-12 && found.simulated);
    assert_eq!(found.sample.as_deref(), Some("drawn"));
    assert_eq!(heard.values.len(), NY * NX * ENERGIES);
    for ((_, energy, pixel), value) in &heard.values {
        assert_eq!(usize::from(*value), 100 * *energy as usize + pixel);
    }
    assert_eq!((&heard.outcomes[..], heard.remarks.len()), (&[Outcome::Complete][..], 1));
    assert!(heard.refused.is_empty() && heard.remarks[0].contains("no ids"));
}

#[test]
fn the_path_of_the_geometry_is_followed() {
    let geometry = json!({ "energies_ev": [510.0], "meander": true });
    let mut adapter = Desy::new(Naming::default(), geometry, 1 << 20);
    let heard = listen(&mut adapter, &image(0));
    let of = |pixel: usize| heard.values.iter().find(|((.., at), _)| *at == pixel).map(|(_, value)| *value);
    assert_eq!([of(3), of(4), of(7)], [Some(3), Some(7), Some(4)], "the second line runs backwards");
}

#[test]
fn a_lost_frame_is_told_with_the_next_image() {
    let mut all = whole();
    drop(all.remove(5));
    let heard = listen(&mut new(), &all);
    assert!(heard.remarks[1].starts_with("of the 12 frames of energy 0 only 11 came"), "{heard:?}");
    assert!(matches!(&heard.outcomes[..], [Outcome::Partial { .. }]), "{heard:?}");
    // Nothing of the images behind it is moved.
    assert!(
        heard
            .values
            .iter()
            .filter(|((_, energy, _), _)| *energy > 0)
            .all(|((_, energy, pixel), value)| { usize::from(*value) == 100 * *energy as usize + pixel })
    );
}

#[test]
fn metadata_that_overtake_frames_move_one_image_and_not_the_next() {
    let mut all = whole();
    // The second image's come three frames too early.
    let early = all.remove(NY * NX + 1);
    all.insert(NY * NX + 1 - 3, early);
    let heard = listen(&mut new(), &all);
    assert_eq!(heard.refused, ["surplus"; 3]);
    assert!(heard.remarks.iter().any(|text| text.contains("overtook frames")), "{heard:?}");
    let right = |of: u32| {
        let mut image = heard.values.iter().filter(|((_, energy, _), _)| *energy == of);
        image.all(|((.., pixel), value)| usize::from(*value) == 100 * of as usize + pixel)
    };
    assert_eq!([right(0), right(1), right(2)], [true, false, true]);
}

#[test]
fn another_grid_is_another_scan_and_so_are_more_images_than_energies() {
    let mut all = [whole(), image(0)].concat();
    let heard = listen(&mut new(), &all);
    assert_eq!((heard.plans.len(), &heard.outcomes[..]), (2, &[Outcome::Complete][..]));
    let other = ScanPlan { grid: crate::scan::Grid { shape: [2, 2], ..plan().grid }, ..plan() };
    all =
        [image(0), vec![encode::metadata(&other, 0)], (0..4).map(|pixel| frame(0, pixel)).collect()].concat();
    let heard = listen(&mut new(), &all);
    assert_eq!((heard.plans.len(), heard.plans[1].grid.shape), (2, [2, 2]));
    assert!(matches!(&heard.outcomes[..], [Outcome::Partial { .. }]), "{heard:?}");
    // The same metadata once more are no other image.
    let repeated = [vec![encode::metadata(&plan(), 0)], image(0)].concat();
    let heard = listen(&mut new(), &repeated);
    assert_eq!((heard.plans.len(), heard.values.len(), heard.remarks.len()), (1, NY * NX, 1));
}

#[test]
fn frames_overtake_their_metadata_but_not_by_much() {
    let mut raced = whole();
    // Metadata and first frames change places, in each image.
    for energy in 0..ENERGIES {
        raced[energy * (NY * NX + 1)..][..4].rotate_left(1);
    }
    let heard = listen(&mut new(), &raced);
    assert_eq!(heard.values, listen(&mut new(), &whole()).values);
    assert_eq!((&heard.outcomes[..], heard.refused.len()), (&[Outcome::Complete][..], 0));
    // Who joins late has frames of an image that nobody knows.
    let mut adapter = new();
    let early = listen(&mut adapter, &whole()[3..6]);
    assert!(early.values.is_empty());
    let late = listen_at(&mut adapter, &whole()[6..], DateTime::UNIX_EPOCH + TimeDelta::seconds(2));
    assert_eq!(late.refused, ["no_start"; 7]);
    assert_eq!(late.values.len(), NY * NX * (ENERGIES - 1));
    assert!(
        late.values.iter().all(|((_, energy, pixel), value)| {
            usize::from(*value) == 100 * (*energy as usize + 1) + pixel
        }),
        "the first image that is heard is the first energy: the settings' energies begin there"
    );
}

#[test]
fn what_is_wrong_takes_its_turn_if_it_is_a_frame() {
    let head = |text: &str| Bytes::from(text.to_owned());
    let mut all = image(0);
    let bytes = all[3][1].clone();
    all[3] = vec![head(r#"{"dtype":"uint16","shape":[5,2]}"#), bytes.clone()];
    all[4] = vec![head(r#"{"dtype":"int64","shape":[2,5]}"#), bytes.clone()];
    all[5] = vec![head(r#"{"dtype":"uint16","shape":[2,5]}"#), bytes.slice(1..)];
    all.insert(6, vec![head("{"), bytes.clone()]);
    all.insert(6, vec![head("GET / HTTP/1.1")]);
    all.insert(6, vec![]);
    all.insert(
        6,
        vec![head(r#"{"dtype":"uint16","shape":[18446744073709551615,18446744073709551615,2]}"#), bytes],
    );
    let heard = listen(&mut new(), &all);
    assert_eq!(heard.refused, ["size", "dtype", "size", "header", "parts", "header", "header"]);
    assert_eq!(heard.values.len(), NY * NX - 3);
    assert!(heard.values.iter().all(|((.., pixel), value)| usize::from(*value) == *pixel), "{heard:?}");
}

#[test]
fn after_a_restart_the_next_image_is_the_next_energy() {
    let all = whole();
    let at = NY * NX + 1 + 6;
    let before = listen(&mut new(), &all[..at]);
    let mut restarted = new();
    restarted.recall(&Recalled {
        plan: &before.plans[0],
        heard_last: DateTime::UNIX_EPOCH,
        reached: Some(1),
        doubt: None,
        ended: None,
        energies_ev: &[],
    });
    let after = listen(&mut restarted, &all[at..]);
    assert_eq!(after.refused, ["no_start"; 7]);
    assert!(after.plans.is_empty() && after.remarks[0].contains("missed while"), "{after:?}");
    assert_eq!(after.values.len(), NY * NX);
    assert!(
        after
            .values
            .iter()
            .all(|((_, energy, pixel), value)| *energy == 2 && usize::from(*value) == 200 + pixel)
    );
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_misplace_energies(
        at in any::<usize>(), part in any::<usize>(), place in any::<usize>(), byte in any::<u8>(), lost in any::<usize>(), cut in any::<bool>(),
    ) {
        let mut all = whole();
        drop(all.remove(lost % all.len()));
        let at = at % all.len();
        let part = part % all[at].len();
        let mut bytes = all[at][part].to_vec();
        let place = place % bytes.len();
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] = byte;
        }
        all[at][part] = Bytes::from(bytes);
        let heard = listen(&mut new(), &all);
        prop_assert!(heard.plans.iter().all(|plan| plan.validate().is_ok()));
        prop_assert!(heard.values.keys().all(|(_, energy, _)| (*energy as usize) < ENERGIES));
    }
}
