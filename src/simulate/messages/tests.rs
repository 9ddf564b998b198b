use super::*;
use crate::recording::RecordedPlane;
use crate::simulate::{Scenario, nvpf};
use crate::source::stxm_stream::{Header, HeaderBody};

fn microscope(change: impl FnOnce(&mut Scenario)) -> ScanSource {
    let mut scenario = Scenario::demo().unwrap();
    scenario.scan.shape = [12, 10];
    scenario.specimen.particles = 1;
    change(&mut scenario);
    let started = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let microscope = Microscope::new(scenario, &nvpf::reference_set(), "m-1", started).unwrap();
    ScanSource::Microscope(Box::new(microscope))
}

fn all(source: ScanSource, settings: MessageSettings) -> Vec<(Header, WireMessage)> {
    ScanMessages::new(source, settings)
        .map(|message| {
            let message = message.unwrap();
            (serde_json::from_slice(&message.parts[0]).unwrap(), message)
        })
        .collect()
}

fn energies(messages: &[(Header, WireMessage)]) -> std::collections::BTreeSet<u32> {
    messages
        .iter()
        .filter_map(|(_, m)| {
            if let MessageKind::Samples { energy_index } = m.kind { Some(energy_index) } else { None }
        })
        .collect()
}

#[test]
fn a_scan_is_start_lines_end_numbered_without_a_gap() {
    let messages = all(microscope(|_| {}), MessageSettings::default());
    assert_eq!(messages.len(), 1 + 40 * 12 + 1);
    assert!(messages.iter().zip(0..).all(|((header, _), seq)| header.seq == seq && header.scan_id == "m-1"));
    let HeaderBody::ScanStart(start) = &messages[0].0.body else { panic!("no start") };
    assert!(start.simulated && start.energies_ev.len() == 40 && start.flux_ph_per_s.is_some());
    let HeaderBody::Samples(line) = &messages[13].0.body else { panic!("no line") };
    assert_eq!((line.energy_index, line.first_pixel, line.count, line.dtype), (1, 0, 10, DType::Uint32));
    assert_eq!(messages[13].1.parts[1].len(), 40);
    assert!(
        (line.energy_ev.unwrap() - 509.0).abs() < 0.05 && line.ring_current_ma.is_some() && line.i0.is_none()
    );
    let HeaderBody::ScanEnd(end) = &messages[481].0.body else { panic!("no end") };
    assert_eq!(end.status, EndStatus::Complete);
    let times: Vec<DateTime<Utc>> = messages.iter().map(|(header, _)| header.time.parse().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
    let total_ms: f64 = messages.iter().map(|(_, message)| message.exposure_ms).sum();
    assert!(((times[481] - times[0]).num_milliseconds() as f64 - total_ms).abs() < 1.0);
}

#[test]
fn the_values_are_those_of_the_microscope() {
    let source = microscope(|_| {});
    let ScanSource::Microscope(inner) = &source else { unreachable!() };
    let expected = inner.line(2, 5).values;
    let messages = all(source, MessageSettings::default());
    let payload = &messages[1 + 2 * 12 + 5].1.parts[1];
    let values: Vec<_> =
        payload.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()) as f32).collect();
    assert_eq!(values, expected);
}

#[test]
fn aborts_and_falls_silent_on_demand() {
    let aborted = all(microscope(|_| {}), MessageSettings { abort_after: Some(7), ..Default::default() });
    assert_eq!(energies(&aborted).len(), 7);
    let HeaderBody::ScanEnd(end) = &aborted.last().unwrap().0.body else { panic!("no end") };
    assert_eq!(end.status, EndStatus::Aborted);
    let silent = all(microscope(|_| {}), MessageSettings { no_end: true, ..Default::default() });
    assert!(matches!(silent.last().unwrap().1.kind, MessageKind::Samples { energy_index: 39 }));
    let nothing = all(microscope(|_| {}), MessageSettings { abort_after: Some(0), ..Default::default() });
    assert_eq!(
        nothing.iter().map(|(_, m)| m.kind).collect::<Vec<_>>(),
        [MessageKind::Start, MessageKind::End]
    );
}

#[test]
fn repeats_the_plan_for_late_joiners() {
    // A line takes 10 ms and 20 ms of turnaround.
    let messages =
        all(microscope(|_| {}), MessageSettings { repeat_start_ms: Some(300.0), ..Default::default() });
    let starts: Vec<_> = messages
        .iter()
        .filter(|(_, message)| message.kind == MessageKind::Start)
        .map(|(h, _)| h.seq)
        .collect();
    assert_eq!(&starts[..3], [0, 11, 22]);
    assert!(messages.iter().zip(0..).all(|((header, _), seq)| header.seq == seq));
    let plan = |index: usize| match &messages[index].0.body {
        HeaderBody::ScanStart(start) => start.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(plan(0), plan(11));
    assert_eq!(messages[0].0.time, messages[11].0.time, "the time of scan_start is the start of exposure");
}

#[test]
fn area_frames_are_sent_whole() {
    let area = microscope(|scenario| {
        scenario.detector.kind = DetectorKind::Area;
        scenario.detector.frame_shape = [8, 6];
    });
    let settings = MessageSettings { abort_after: Some(1), ..Default::default() };
    let messages = all(area, settings);
    let HeaderBody::ScanStart(start) = &messages[0].0.body else { panic!("no start") };
    assert_eq!(start.detector.frame_shape, Some([8, 6]));
    assert_eq!(messages[1].1.parts[1].len(), 10 * 48 * 2);
}

#[test]
fn a_recording_is_sent_as_it_was_measured() {
    let ScanSource::Microscope(microscope) = microscope(|_| {}) else { unreachable!() };
    let mut plan = microscope.plan().clone();
    plan.simulated = false;
    plan.detector.kind = DetectorKind::Area;
    plan.detector.frame_shape = Some([2, 2]);
    plan.detector.dark = 0.5;
    plan.detector.saturation = Some(10.0);
    let mut planes = vec![RecordedPlane::default(); 40];
    let mut values = vec![1.5_f32; 120];
    values[15] = f32::NAN;
    values[20..30].fill(f32::NAN);
    planes[4] = RecordedPlane { values, time: DateTime::from_timestamp(50, 0), ..Default::default() };
    let source = ScanSource::Recording(Box::new(Recording { plan, planes, i0: None, warnings: Vec::new() }));
    let messages = all(source, MessageSettings::default());
    let HeaderBody::ScanStart(start) = &messages[0].0.body else { panic!("no start") };
    assert!(!start.simulated);
    assert_eq!((start.detector.kind, start.detector.frame_shape), (DetectorKind::Point, None));
    assert_eq!((start.detector.dark, start.detector.saturation), (Some(2.0), None));
    assert_eq!(messages.len(), 1 + 11 + 1, "a line of nothing is not sent");
    let HeaderBody::Samples(line) = &messages[2].0.body else { panic!("no line") };
    assert!(line.pixel_part && line.count == 9 && line.dtype == DType::Float32);
    assert_eq!(messages[2].1.parts.len(), 3);
    assert_eq!(messages[2].0.time, "1970-01-01T00:00:50.010000Z");
}

#[test]
fn a_second_pass_is_announced_when_it_comes() {
    let second = |scenario: &mut Scenario| {
        scenario.scan.then = vec![crate::simulate::EnergyRun { from_ev: 514.2, to_ev: 516.2, step_ev: 1.0 }];
    };
    let messages = all(microscope(second), MessageSettings::default());
    assert_eq!(messages.len(), 1 + 40 * 12 + 1 + 3 * 12 + 1);
    let HeaderBody::ScanStart(start) = &messages[0].0.body else { panic!("no start") };
    assert_eq!((start.energies_ev.len(), messages[481].1.kind), (40, MessageKind::Extend));
    let HeaderBody::PlanExtend(more) = &messages[481].0.body else { panic!("no extension") };
    assert_eq!(more.energies_ev, [514.2, 515.2, 516.2]);
    assert!(messages.iter().zip(0..).all(|((header, _), seq)| header.seq == seq));
}

#[test]
fn lines_without_a_pixel_are_not_sent() {
    let sparse = |scenario: &mut Scenario| scenario.sampling.pixels = 0.03;
    let messages = all(microscope(sparse), MessageSettings::default());
    let sent = messages.iter().filter(|(_, m)| matches!(m.kind, MessageKind::Samples { .. }));
    assert!(sent.clone().count() <= 4 * 40);
    let pixels: u32 = sent
        .map(|(header, _)| match &header.body {
            HeaderBody::Samples(samples) => samples.count,
            _ => 0,
        })
        .sum();
    assert_eq!(pixels, 4 * 40);
}
