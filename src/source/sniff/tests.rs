use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::scan::{Channel, DType, I0, Outcome, Pixels, SampleBatch, ScanPlan, test_plan};
use crate::source::stxm_stream::EndStatus;
use crate::source::stxm_stream::encode::{self as ours, Stamp};
use crate::source::{bluesky, pixelator, pystxmcontrol};

const NY: usize = 3;
const NX: usize = 4;
const ENERGIES: usize = 5;

type Messages = Vec<Vec<Bytes>>;

fn plan() -> ScanPlan {
    test_plan(NY, NX, ENERGIES)
}

/// Energy, row, values.
fn lines() -> impl Iterator<Item = (usize, usize, Vec<f32>)> {
    let line =
        |energy, row| (energy, row, (0..NX).map(|x| (1 + 100 * energy + row * NX + x) as f32).collect());
    (0..ENERGIES).flat_map(move |energy| (0..NY).map(move |row| line(energy, row)))
}

fn batch(energy: usize, row: usize, values: Vec<f32>) -> SampleBatch {
    SampleBatch {
        energy_index: energy as u32,
        pixels: Pixels::Run { first: (row * NX) as u32, count: NX as u32 },
        channel: Channel::Intensity,
        values,
        others: Vec::new(),
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    }
}

fn of_ours(change: impl Fn(usize, &mut Vec<f32>)) -> Messages {
    let plan = plan();
    let stamp = |seq| Stamp { scan_id: &plan.scan_id, seq, time: plan.started };
    let mut all = vec![ours::scan_start(&plan, 0).unwrap()];
    for (number, (energy, row, mut values)) in lines().enumerate() {
        change(number, &mut values);
        let seq = number as u64 + 1;
        all.push(ours::samples(stamp(seq), &batch(energy, row, values), DType::Float32).unwrap());
    }
    all.push(ours::scan_end(stamp(all.len() as u64), EndStatus::Complete, None).unwrap());
    all
}

fn with_topic(messages: Messages) -> Messages {
    let topic = Bytes::from_static(b"beam");
    messages.into_iter().map(|parts| [vec![topic.clone()], parts].concat()).collect()
}

fn of_pixelator() -> Messages {
    let plan = plan();
    let mut all = vec![pixelator::encode::started(&pixelator::encode::request(&plan))];
    all.extend(
        lines().map(|(energy, row, values)| {
            pixelator::encode::line([0, energy, 0, 0], [row, 0], [1, NX], &values)
        }),
    );
    all.push(pixelator::encode::finished(&plan));
    all
}

fn of_pystxmcontrol(missed: Option<usize>) -> Messages {
    let plan = plan();
    let definition = pystxmcontrol::encode::definition(&plan);
    let mut image = vec![0.0; NY * NX];
    let line = |(number, (energy, row, values)): (usize, (usize, usize, Vec<f32>))| {
        if row == 0 {
            image.fill(0.0);
        }
        if missed != Some(number) {
            image[row * NX..][..NX].iter_mut().zip(values).for_each(|(to, from)| *to = f64::from(from));
        }
        vec![Bytes::from(pystxmcontrol::encode::line(&plan, &definition, energy, row, &image))]
    };
    let mut all: Messages = lines().enumerate().map(line).collect();
    all.push(vec![Bytes::from(pystxmcontrol::encode::complete())]);
    all
}

fn of_bluesky() -> Messages {
    use bluesky::encode::{descriptor, event, message, start, stop};
    let plan = plan();
    let document =
        |name: &str, body: serde_json::Value| vec![Bytes::from(message(name, body.to_string().as_bytes()))];
    let mut all = vec![document("start", start(&plan)), document("descriptor", descriptor(&plan))];
    all.extend(lines().map(|(energy, row, values)| {
        vec![Bytes::from(message("event", &event(&plan, energy, row, &values, plan.started)))]
    }));
    all.push(document("stop", stop(&plan, "success")));
    all
}

fn text(part: &str) -> Bytes {
    Bytes::from(part.to_owned())
}

fn sniff(messages: &[Vec<Bytes>]) -> Finding {
    let mut sniffer = Sniffer::new();
    for (number, parts) in messages.iter().enumerate() {
        sniffer.push(parts, DateTime::UNIX_EPOCH + TimeDelta::milliseconds(number as i64 * 10));
    }
    sniffer.finding()
}

fn problems(finding: &Finding) -> Vec<(&'static str, u64)> {
    finding.problems.iter().map(|problem| (problem.what, problem.count)).collect()
}

#[test]
fn every_format_is_recognised_and_its_scan_told() {
    for (messages, format, kind) in [
        (of_ours(|_, _| {}), "stxm-stream/1", "stxm-stream"),
        (with_topic(of_ours(|_, _| {})), "stxm-stream/1 with a topic", "stxm-stream"),
        (of_pixelator(), "Pixelator", "pixelator"),
        (of_pystxmcontrol(None), "pystxmcontrol (pickles)", "pystxmcontrol"),
        (of_bluesky(), "bluesky documents, JSON", "bluesky"),
    ] {
        let finding = sniff(&messages);
        let told = FormatFinding { format: format.to_owned(), kind, messages: messages.len() as u64 };
        assert_eq!(finding.formats, [told]);
        assert_eq!(problems(&finding), [], "{format}");
        let [scan] = &finding.scans[..] else { panic!("{format}: {finding:?}") };
        assert_eq!((scan.shape, scan.energies), (Some([NY, NX]), Some(ENERGIES)), "{format}");
        assert_eq!((scan.progress, scan.at_energy), (Some(1.0), Some(ENERGIES - 1)), "{format}");
        assert_eq!(scan.outcome, Some(Outcome::Complete), "{format}");
        assert_eq!(scan.energy_range_ev.map(|[first, _]| first), Some(plan().energies_ev[0]), "{format}");
        assert_eq!(scan.values, (NY * NX * ENERGIES) as u64, "{format}");
        assert!((finding.seconds - 0.01 * (messages.len() - 1) as f64).abs() < 1e-9);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_number() {
    let lost = |mut messages: Messages| {
        drop(messages.drain(3..5));
        messages
    };
    assert_eq!(problems(&sniff(&lost(of_ours(|_, _| {})))), [("gaps", 2)]);
    let doubled: Messages =
        of_ours(|_, _| {}).into_iter().flat_map(|message| [message.clone(), message]).collect();
    assert_eq!(problems(&sniff(&doubled)), [("duplicates", ENERGIES as u64 * NY as u64 + 2)]);
    let dark = of_ours(|number, values| {
        if number == 4 {
            values.fill(0.0)
        }
    });
    assert_eq!(problems(&sniff(&dark)), [("zero_lines", 1)]);
    let finding = sniff(&of_ours(|number, values| {
        if number == 4 {
            values[1..].fill(f32::NAN)
        }
    }));
    assert_eq!(problems(&finding), [("nan", 3)]);
    assert!(finding.problems[0].text.starts_with("5.0 %"), "{finding:?}");
    assert_eq!(problems(&sniff(&of_pystxmcontrol(Some(4)))), [("zero_lines", 1)]);
    // Who comes late.
    let late = sniff(&of_ours(|_, _| {})[3..]);
    assert_eq!(problems(&late), [("missing_start", (ENERGIES * NY - 2) as u64)]);
    assert_eq!((late.scans[0].missing, late.scans[0].progress), (0, None));
    assert_eq!(problems(&sniff(&of_pixelator()[2..])), [("missing_start", (ENERGIES * NY - 1) as u64)]);
    // A scan whose order is doubtful.
    let status = pixelator::encode::status("running", 4, 0, &plan());
    let doubted = [vec![of_pixelator()[0].clone(), status], of_pixelator()[1..3].to_vec()].concat();
    assert_eq!(problems(&sniff(&doubted)), [("untrusted", 1), ("refused", 2)]);
}

#[test]
fn garbage_is_said_to_be_garbage() {
    let garbage: Messages = vec![
        vec![text("GET / HTTP/1.1\r\n\r\n")],
        vec![Bytes::from_static(&[0x80, 4, b'K', 1, b'.'])],
        vec![text(r#"{"hello": "world"}"#)],
        vec![Bytes::new()],
        vec![],
        vec![text("scanLineDatA"), text("x")],
        vec![text("a b c")],
    ];
    let finding = sniff(&garbage);
    assert!(finding.formats.is_empty() && finding.scans.is_empty());
    assert_eq!(problems(&finding), [("unknown_format", 7)]);
    assert!(finding.unknown_example.unwrap().contains("GET / HTTP/1.1\\r\\n"));
    // Among what is good, too; a topic of Pixelator that says nothing of scans is none.
    let among =
        [of_pixelator(), garbage[..1].to_vec(), vec![vec![text("positionerStatus"), text("{}")]]].concat();
    let finding = sniff(&among);
    assert_eq!((problems(&finding), finding.idle), (vec![("unknown_format", 1)], 1));
}

fn image(series: u64, id: u64) -> Vec<Bytes> {
    let head = json!({ "htype": "dimage-1.0", "series": series, "frame": id, "hash": "" });
    vec![text(&head.to_string()), text(r#"{"htype":"dimage_d-1.0"}"#), text("…"), text("{}")]
}

#[test]
fn a_stride_of_image_ids_tells_that_somebody_else_pulls() {
    let mut all = vec![vec![text(r#"{"htype":"dheader-1.0","series":7,"header_detail":"none"}"#)]];
    all.extend((0..10).map(|number| image(7, 2 * number)));
    all.push(vec![text(r#"{"htype":"dseries_end-1.0","series":7}"#)]);
    let finding = sniff(&all);
    assert_eq!(finding.formats[0].format, "DECTRIS Stream V1");
    // No frame that could be read is among them; that is told, too.
    let problems = |finding: &Finding| -> Vec<_> {
        problems(finding).into_iter().filter(|(what, _)| *what != "refused").collect()
    };
    assert_eq!(problems(&finding), [("stride", 2)]);
    assert_eq!((finding.series[0].images, finding.series[0].ended), (10, true));
    let whole: Messages = all[..1].iter().cloned().chain((0..10).map(|number| image(7, number))).collect();
    assert_eq!(problems(&sniff(&whole)), []);
    let holes: Messages =
        all[..1].iter().cloned().chain([0, 1, 2, 5, 6].map(|number| image(7, number))).collect();
    assert_eq!(problems(&sniff(&holes)), [("gaps", 2)]);
    assert_eq!(problems(&sniff(&[image(7, 3), image(7, 4)])), [("missing_start", 2)]);
}

#[test]
fn the_pair_of_desy_and_dectris_v2_are_known() {
    let metadata = vec![text(r#"{"x_start":0,"x_stop":1,"x_num":4,"y_num":3}"#)];
    let frame = vec![text(r#"{"dtype":"uint16","shape":[2,2]}"#), Bytes::from_static(&[0; 8])];
    assert_eq!(recognise(&metadata), Some(Spoken::Desy { data: false }));
    assert_eq!(recognise(&frame), Some(Spoken::Desy { data: true }));
    // {"type": "end", "series_id": 3}
    let end = b"\xd9\xd9\xf7\xa2\x64type\x63end\x69series_id\x03";
    assert_eq!(recognise(&[Bytes::from_static(end)]), Some(Spoken::DectrisV2));
    assert_eq!(sniff(&[vec![Bytes::from_static(end)]]).series[0].series, 3);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(which in 0..5_usize, at in any::<usize>(), part in any::<usize>(), byte in any::<u8>(), cut in any::<bool>(), place in any::<usize>()) {
        let mut all = match which {
            0 => of_ours(|_, _| {}),
            1 => with_topic(of_ours(|_, _| {})),
            2 => of_pixelator(),
            3 => of_pystxmcontrol(None),
            _ => of_bluesky(),
        };
        let at = at % all.len();
        let part = part % all[at].len();
        let mut bytes = all[at][part].to_vec();
        let place = place % bytes.len().max(1);
        if cut {
            bytes.truncate(place);
        } else if let Some(old) = bytes.get_mut(place) {
            *old = byte;
        }
        all[at][part] = Bytes::from(bytes);
        let finding = sniff(&all);
        let known: u64 = finding.formats.iter().map(|format| format.messages).sum();
        prop_assert_eq!(known + finding.unknown, all.len() as u64);
        prop_assert!(finding.scans.iter().all(|scan| scan.progress.is_none_or(|share| share <= 1.0)));
    }
}
