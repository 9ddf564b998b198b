use std::sync::Arc;

use super::*;
use crate::classify::{NO_PHASE, Origin};
use crate::reference::PhaseLabel;
use crate::scan::test_plan;

/// A square of matter with its corner at a row and column, on a grid of that many pixels a side and step.
fn map(n: usize, step: f64, start: f64, corner: [f64; 2], side: f64) -> PhaseMap {
    let mut plan = test_plan(n, n, 1);
    for axis in [&mut plan.grid.x, &mut plan.grid.y] {
        (axis.start, axis.step) = (start, step);
    }
    let label = PhaseLabel { id: "a".to_owned(), title: "a".to_owned(), colour: [0; 3] };
    let mut map = PhaseMap::unmeasured(Arc::new(plan), [label].into(), Origin::default());
    for pixel in 0..n * n {
        let at = |i: usize| start + step * i as f64;
        let (y, x) = (at(pixel / n), at(pixel % n));
        let inside =
            [(y, corner[0]), (x, corner[1])].iter().all(|&(at, from)| (from..from + side).contains(&at));
        (map.status[pixel], map.phase[pixel]) =
            if inside { (Status::Classified, 0) } else { (Status::Background, NO_PHASE) };
    }
    map
}

#[test]
fn groups_are_found_again_on_another_grid_and_where_the_sample_was_moved() {
    let first = map(40, 0.1, 0.0, [1.0, 1.0], 1.05);
    let labels = Labels::of(&first, &Groups::of(&first, 10));
    assert_eq!(
        labels.groups.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["field", "phase a", "particle 1"]
    );
    let same = labels.on(&first);
    // Eleven by eleven, without their borders.
    assert_eq!(same[1].1.len(), 81);
    // Half the step, another start, and the sample 0.3 µm lower and 0.2 µm to the left.
    let second = map(100, 0.05, -0.4, [1.3, 0.8], 1.05);
    let found = labels.on(&second);
    let matter = found[1].1.iter().filter(|&&pixel| second.status[pixel] == Status::Classified).count();
    assert!(
        matter as f64 > 0.9 * found[1].1.len() as f64 && matter > 280,
        "{matter} of {}",
        found[1].1.len()
    );
}

fn at(minutes: i64) -> DateTime<chrono::Utc> {
    DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minutes)
}

fn record(scan_id: &str, minutes: i64, dose: f64, white_line: f64) -> ScanRecord {
    let estimate = |value| Some(Estimate { value, sigma: 0.001 });
    ScanRecord {
        scan_id: scan_id.to_owned(),
        started: at(minutes),
        unit: DoseUnit::Mgy,
        window_ev: vec![509.0, 516.0],
        references_sha256: "r".to_owned(),
        phases: vec!["a".to_owned()],
        offset_ev: Some((0.0, 0.01)),
        empty: None,
        operando: false,
        groups: vec![GroupRecord {
            of: "field".to_owned(),
            pixels: 100,
            dose,
            mass: estimate(0.3),
            white_line: estimate(white_line),
            state: estimate(2.0),
            residual: estimate(1.0),
            fractions: vec![1.0],
            fraction_errors: vec![0.01],
        }],
    }
}

fn history() -> History {
    let first = map(20, 0.1, 0.0, [0.5, 0.5], 0.9);
    History { labels: Labels::of(&first, &Groups::of(&first, 10)), records: Vec::new() }
}

#[test]
fn a_white_line_that_falls_from_scan_to_scan_is_found_and_what_holds_is_not() {
    let mut history = history();
    for scan in 0..5 {
        let dose = 10.0 * f64::from(scan + 1);
        history.take(record(&format!("s{scan}"), 30 * i64::from(scan), dose, 0.6 * (-dose / 100.0).exp()));
    }
    let findings = history.findings(("s4", at(120)), 0.005);
    let real: Vec<&str> =
        findings.iter().filter(|finding| finding.is_real).map(|finding| finding.signal.name()).collect();
    assert_eq!(real, ["white_line"]);
    let white_line = &findings[0];
    let truth = 0.6 / 100.0;
    assert!(white_line.initial_rate.low < truth && truth < white_line.initial_rate.high, "{white_line:?}");
    assert!(
        history.findings(("s0", at(0)), 0.005).is_empty()
            && history.findings(("nobody", at(0)), 0.005).is_empty()
    );
}

#[test]
fn a_scan_counts_once_and_the_order_in_which_scans_come_does_not_matter() {
    let (mut one, mut other) = (history(), history());
    let records: Vec<ScanRecord> =
        (0..4).map(|i| record(&format!("s{i}"), i64::from(i), f64::from(i), 0.6)).collect();
    records.iter().for_each(|record| one.take(record.clone()));
    records.iter().rev().chain(&records).for_each(|record| other.take(record.clone()));
    assert_eq!(one, other);
}

#[test]
fn other_energies_other_references_and_other_units_are_not_compared() {
    let mut history = history();
    history.take(record("a", 0, 1.0, 0.6));
    let mut other = record("b", 1, 2.0, 0.3);
    other.window_ev = vec![509.0, 517.0];
    history.take(other);
    assert!(history.findings(("b", at(1)), 0.005).is_empty());
    let mut relative = record("c", 2, 2.0, 0.3);
    relative.unit = DoseUnit::Relative;
    history.take(relative);
    assert!(history.findings(("c", at(2)), 0.005).is_empty());
}

#[test]
fn what_is_kept_is_bounded_and_keeps_the_first() {
    let mut history = history();
    for scan in 0..MOST_RECORDS + 20 {
        history.take(record(&format!("s{scan}"), scan as i64, scan as f64, 0.6));
    }
    assert_eq!(history.records.len(), MOST_RECORDS);
    assert_eq!(history.records[0].scan_id, "s0");
}

#[test]
fn a_place_that_is_reduced_from_scan_to_scan_is_told_with_what_speaks_for_the_beam() {
    use crate::damage::{AlertState, Level, MonitorSettings, Verdict};
    let references = crate::simulate::nvpf::reference_set();
    let of_scan = |scan: i32, reduced: f64, minutes: i64| {
        let mut record = record(&format!("s{scan}"), minutes, 20.0 * f64::from(scan + 1), 0.5);
        record.references_sha256.clone_from(&references.sha256);
        record.empty = Some(Estimate { value: 0.001, sigma: 0.001 });
        let template = record.groups[0].clone();
        record.groups = [("na3.0", 3.0), ("na2.0", 2.0), ("na1.0", 1.0)]
            .into_iter()
            .map(|(id, na_x)| {
                let state = Some(Estimate { value: na_x + reduced * (3.0 - na_x), sigma: 0.01 });
                GroupRecord { of: format!("phase {id}"), state, ..template.clone() }
            })
            .collect();
        record
    };
    let plan = |scan: i64| crate::scan::ScanPlan {
        scan_id: format!("s{scan}"),
        started: at(30 * scan),
        ..test_plan(4, 4, 1)
    };
    let settings = MonitorSettings::default();
    let mut history = history();
    for scan in 0..4 {
        history.take(of_scan(scan, 0.15 * f64::from(scan), 30 * i64::from(scan)));
    }
    let alerts = history.alerts(&plan(3), &references, &settings, None, DateTime::UNIX_EPOCH);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(
        (alert.key.rule.as_str(), alert.verdict, alert.state),
        ("scans/state", Verdict::Beam, AlertState::Raised)
    );
    assert!(
        alert.level >= Level::Warning && alert.text.starts_with("over 4 scans of this place: "),
        "{alert:?}"
    );
    assert!(alert.evidence_for.iter().any(|text| text.contains("reduction toward x = 3.0")), "{alert:?}");
    // The first scan has nothing to be held against, and scans that find the same tell nothing.
    assert!(history.alerts(&plan(0), &references, &settings, None, DateTime::UNIX_EPOCH).is_empty());
    let mut same = self::history();
    (0..4).for_each(|scan| same.take(of_scan(scan, 0.1, 30 * i64::from(scan))));
    assert!(same.alerts(&plan(3), &references, &settings, None, DateTime::UNIX_EPOCH).is_empty());
}

#[test]
fn shares_that_change_are_found_named_with_the_state_and_raise_nothing_themselves() {
    use crate::damage::MonitorSettings;
    let references = crate::simulate::nvpf::reference_set();
    let ids: Vec<String> = references.references.iter().map(|own| own.label.id.clone()).collect();
    let (from, to) = (0, ids.len() - 1);
    let of_scan = |scan: i32, moved: f64, state: f64| {
        let mut record = record(&format!("s{scan}"), 30 * i64::from(scan), 20.0 * f64::from(scan + 1), 0.5);
        record.references_sha256.clone_from(&references.sha256);
        record.phases.clone_from(&ids);
        let group = &mut record.groups[0];
        group.state = Some(Estimate { value: state, sigma: 0.01 });
        group.fractions = vec![0.0; ids.len()];
        (group.fractions[from], group.fractions[to]) = (0.62 - moved, 0.38 + moved);
        group.fraction_errors = vec![0.02; ids.len()];
        let of_phase = GroupRecord { of: "phase na1.0".to_owned(), ..group.clone() };
        record.groups.push(of_phase);
        record
    };
    let plan = crate::scan::ScanPlan { scan_id: "s3".to_owned(), started: at(90), ..test_plan(4, 4, 1) };
    let settings = MonitorSettings::default();
    let mut history = history();
    (0..4).for_each(|scan| {
        let moved = 0.07 * f64::from(scan);
        history.take(of_scan(scan, moved, 1.5 + 2.0 * moved));
    });
    let findings = history.findings(("s3", at(90)), 0.005);
    let shares: Vec<&Finding> = findings.iter().filter(|own| own.signal == Signal::Fraction).collect();
    assert!(shares.iter().all(|own| own.of == "field"), "of a phase there is none: {shares:?}");
    let real: Vec<String> = shares.iter().filter(|own| own.is_real).map(|own| own.course()).collect();
    assert_eq!(
        real,
        [format!("{} falls from 62 to 41 %", ids[from]), format!("{} grows from 38 to 59 %", ids[to])]
    );
    let told = history.alerts(&plan, &references, &settings, None, DateTime::UNIX_EPOCH);
    let [alert] = &told[..] else { panic!("{told:?}") };
    assert!(alert.key.rule == "scans/state" && alert.text.contains(&real.join(", ")), "{alert:?}");
    assert!(alert.numbers[&format!("share_{}_now_percent", ids[from])].as_f64().unwrap() > 40.0);
    // The state being as it was, nothing is told, whatever the shares do.
    let mut balanced = self::history();
    (0..4).for_each(|scan| balanced.take(of_scan(scan, 0.07 * f64::from(scan), 1.5)));
    assert!(balanced.alerts(&plan, &references, &settings, None, DateTime::UNIX_EPOCH).is_empty());
}

#[test]
fn records_of_earlier_versions_are_read_and_their_shares_have_no_course() {
    let mut old = serde_json::to_value(record("a", 0, 1.0, 0.6)).unwrap();
    old.as_object_mut().unwrap().remove("phases");
    old["groups"][0].as_object_mut().unwrap().remove("fraction_errors");
    let old: ScanRecord = serde_json::from_value(old).unwrap();
    assert_eq!((old.groups[0].fractions.as_slice(), old.groups[0].fraction(0)), ([1.0].as_slice(), None));
    let mut history = history();
    history.take(old);
    history.take(record("b", 1, 2.0, 0.6));
    let findings = history.findings(("b", at(1)), 0.005);
    assert!(findings.iter().any(|own| own.signal == Signal::WhiteLine));
    assert!(findings.iter().all(|own| own.signal != Signal::Fraction), "one reading is no course");
}

#[test]
fn a_scan_that_has_the_name_of_another_does_not_take_its_place() {
    let mut history = history();
    history.take(record("a", 0, 1.0, 0.6));
    history.take(record("a", 1, 2.0, 0.6));
    assert_eq!(history.records.len(), 2);
    history.take(record("a", 1, 2.0, 0.5));
    assert_eq!(history.records.len(), 2);
    assert_eq!(history.clone().before("a", at(1)).records, history.records[..1]);
}
