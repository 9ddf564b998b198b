//! Layers that add up, take their own place, and survive.

use proptest::prelude::*;

use super::*;
use crate::scan::{Axis, ScanPlan, test_plan};

const BASIS: &str = "MGy, mean";

/// A scan of `sample` that starts `hour` hours after the epoch, on a grid of 0.1 µm from `x` on.
fn plan(scan_id: &str, hour: i64, x: f64) -> ScanPlan {
    let mut plan = test_plan(2, 4, 1);
    plan.scan_id = scan_id.into();
    plan.sample = Some("NVPF / 7".into());
    plan.grid.x = Axis { start: x, step: 0.1 };
    plan.started = DateTime::UNIX_EPOCH + TimeDelta::hours(hour);
    plan
}

fn lattice(plan: &ScanPlan) -> Lattice {
    Lattice::of_grid(&plan.grid, None).unwrap()
}

fn put(ledger: &Ledger, plan: &ScanPlan, dose: f32) {
    put_as(ledger, plan, dose, (DoseKind::Absolute, BASIS));
}

fn put_as(ledger: &Ledger, plan: &ScanPlan, dose: f32, (kind, basis): (DoseKind, &str)) {
    let lattice = lattice(plan);
    let layer = Layer { lattice, dose: vec![dose; lattice.cells()] };
    let numbers = DoseNumbers { mean: f64::from(dose), max: f64::from(dose) };
    let region = Region::of(plan).unwrap();
    ledger.put(&region, &ScanRef::of(plan), (kind, basis.to_owned()), layer, Some(numbers)).unwrap();
}

fn prior(ledger: &Ledger, plan: &ScanPlan) -> Prior {
    ledger.prior(&Question {
        region: &Region::of(plan).unwrap(),
        scan: &ScanRef::of(plan),
        kind: DoseKind::Absolute,
        basis: BASIS,
        lattice: &lattice(plan),
    })
}

fn near(found: &[f32], wanted: &[f32]) -> bool {
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn scans_before_count_by_place_once_each_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("dose");
    let ledger = Ledger::open(root.clone());
    let [a, b, c] = [plan("a", 1, 0.0), plan("b", 2, 0.2), plan("c", 3, 0.05)];
    assert_eq!(prior(&ledger, &a), Prior::default());
    put(&ledger, &a, 1.0);
    put(&ledger, &b, 2.0);
    // Archived once more, with a late value: in the same place.
    put(&ledger, &a, 1.5);
    let row = [1.5_f32, 0.5 * (1.5 + 3.5), 3.5, 0.5 * (3.5 + 2.0)];
    let wanted = [row, row].concat();
    for ledger in [&ledger, &Ledger::open(root.clone())] {
        let found = prior(ledger, &c);
        assert!(near(&found.dose, &wanted), "{found:?}");
        assert!(found.scans == [&a, &b].map(ScanRef::of) && found.remarks.is_empty(), "{found:?}");
        assert_eq!(prior(ledger, &b).scans, [ScanRef::of(&a)], "a later one does not count");
        assert!(prior(ledger, &a).dose.is_empty(), "nor does it itself");
    }
    let regions = ledger.regions();
    assert_eq!((regions.len(), regions[0].scans, regions[0].last_scan.as_str()), (1, 2, "b"));
    assert_eq!(regions[0].accumulated.unwrap().max, 2.0);
    // Another region, and the same scan identifier at another time.
    let elsewhere = ScanPlan { region: Some("r2".into()), ..c.clone() };
    assert_eq!(prior(&ledger, &elsewhere), Prior::default());
    put(&ledger, &plan("a", 0, 0.0), 10.0);
    assert!(near(&prior(&ledger, &a).dose, &[10.0; 8]));
}

#[test]
fn doses_and_what_is_none_are_not_added_up_and_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path().to_owned());
    put_as(&ledger, &plan("a", 1, 0.0), 5.0, (DoseKind::Relative, "relative, mean, X"));
    let found = prior(&ledger, &plan("b", 2, 0.0));
    assert!(found.dose.is_empty() && found.scans.is_empty());
    assert!(found.remarks[0].contains("another kind"), "{found:?}");
}

#[test]
fn a_damaged_layer_is_named_left_alone_and_counts_as_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path().to_owned());
    let [a, b, c] = [plan("a", 1, 0.0), plan("b", 2, 0.0), plan("c", 3, 0.0)];
    put(&ledger, &a, 1.0);
    put(&ledger, &b, 2.0);
    let file = |plan: &ScanPlan| {
        let scan = ScanRef::of(plan);
        let name = format!("{}~{}.dose", scan.scan_id, scan.identity);
        dir.path().join(Region::of(plan).unwrap().folder()).join(name)
    };
    let mut bytes = std::fs::read(file(&a)).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 8;
    std::fs::write(file(&a), &bytes).unwrap();
    std::fs::write(file(&b), "{").unwrap();
    let ledger = Ledger::open(dir.path().to_owned());
    let found = prior(&ledger, &c);
    assert!(found.dose.is_empty() && found.remarks.len() == 1, "{found:?}");
    let damaged = ledger.damaged();
    assert!(damaged.len() == 2 && damaged.iter().all(|what| what.contains(".dose")), "{damaged:?}");
    assert_eq!(std::fs::read(file(&a)).unwrap(), bytes, "it is left as it is");
    // Archived again it is whole again.
    put(&ledger, &a, 1.0);
    assert!(near(&prior(&ledger, &c).dose, &[1.0; 8]));
    assert_eq!(ledger.damaged().len(), 1, "{:?}", ledger.damaged());
}

#[test]
fn old_layers_become_one_and_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path().to_owned());
    let count = MOST_SETTLED as i64 + 3;
    for hour in 0..count {
        put(&ledger, &plan(&format!("s{hour}"), hour, 0.0), 1.0);
    }
    let late = plan("late", 24 * (SETTLED_DAYS + 10), 0.0);
    assert!(near(&prior(&ledger, &late).dose, &[count as f32; 8]));
    put(&ledger, &late, 1.0);
    let folder = dir.path().join(Region::of(&late).unwrap().folder());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "a base and the latest");
    let last = plan("last", 24 * (SETTLED_DAYS + 11), 0.0);
    for ledger in [&ledger, &Ledger::open(dir.path().to_owned())] {
        let found = prior(ledger, &last);
        assert!(near(&found.dose, &[count as f32 + 1.0; 8]), "{found:?}");
        assert_eq!(found.scans.len(), count as usize + 1);
        assert_eq!(ledger.regions()[0].scans, count as usize + 1);
    }
    // One of them is archived again: what it deposited is in there already.
    put(&ledger, &plan("s3", 3, 0.0), 1.0);
    assert!(near(&prior(&ledger, &last).dose, &[count as f32 + 1.0; 8]));
    // One that was there before some of them cannot tell which.
    let found = prior(&ledger, &plan("between", 2, 0.0));
    assert!(found.dose.is_empty() && found.remarks[0].contains("came later"), "{found:?}");
}

#[test]
fn what_a_crash_left_between_adding_up_and_removing_is_not_counted_twice() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path().to_owned());
    let one = plan("s0", 0, 0.0);
    put(&ledger, &one, 1.0);
    let scan = ScanRef::of(&one);
    let folder = dir.path().join(Region::of(&one).unwrap().folder());
    let kept = folder.join(format!("s0~{}.dose", scan.identity));
    let bytes = std::fs::read(&kept).unwrap();
    for hour in 1..=MOST_SETTLED as i64 {
        put(&ledger, &plan(&format!("s{hour}"), hour, 0.0), 1.0);
    }
    let late = plan("late", 24 * (SETTLED_DAYS + 10), 0.0);
    put(&ledger, &late, 1.0);
    assert!(!kept.exists());
    std::fs::write(&kept, bytes).unwrap();
    // Who only asks removes nothing.
    let last = plan("last", 24 * (SETTLED_DAYS + 11), 0.0);
    assert!(near(&prior(&Ledger::visit(dir.path().to_owned()), &last).dose, &[MOST_SETTLED as f32 + 2.0; 8]));
    assert!(kept.exists());
    let ledger = Ledger::open(dir.path().to_owned());
    assert!(near(&prior(&ledger, &last).dose, &[MOST_SETTLED as f32 + 2.0; 8]));
    assert!(!kept.exists());
}

#[test]
fn many_grids_are_bounded_and_nothing_is_lost_or_counted_twice() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path().to_owned());
    let count = 3 * bound::MOST_LAYERS as i64;
    // Each beside the one before, by parts of a pixel, all within the same day.
    for scan in 0..count {
        let mut plan = plan(&format!("s{scan}"), 0, 0.001 * (scan % 100) as f64);
        plan.started += TimeDelta::seconds(scan);
        put(&ledger, &plan, 1.0);
    }
    let wide = |scan_id: &str| {
        let mut plan = plan(scan_id, 1, -0.5);
        plan.grid.shape = [20, 20];
        plan.grid.y.start -= 0.9;
        plan
    };
    let folder = dir.path().join(Region::of(&wide("w")).unwrap().folder());
    assert!(std::fs::read_dir(&folder).unwrap().count() <= bound::MOST_LAYERS);
    for ledger in [&ledger, &Ledger::open(dir.path().to_owned())] {
        let found = prior(ledger, &wide("w"));
        let total: f64 = found.dose.iter().map(|dose| f64::from(*dose)).sum();
        // Two by four pixels each.
        assert!((total / (8.0 * count as f64) - 1.0).abs() < 1e-4, "{total}");
        assert_eq!(found.scans.len(), count as usize);
        assert_eq!(ledger.regions()[0].scans, count as usize);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_order_in_which_scans_are_archived_does_not_matter(
        doses in proptest::collection::vec(0.1_f32..50.0, 5),
        shifts in proptest::collection::vec(-0.3_f64..0.3, 5),
        order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let plans: Vec<ScanPlan> =
            shifts.iter().enumerate().map(|(i, x)| plan(&format!("s{i}"), i as i64, *x)).collect();
        let last = plan("last", 100, 0.0);
        let total = |order: &[usize]| {
            let dir = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(dir.path().to_owned());
            order.iter().for_each(|i| put(&ledger, &plans[*i], doses[*i]));
            prior(&ledger, &last)
        };
        prop_assert_eq!(total(&order), total(&[0, 1, 2, 3, 4]), "to the bit");
    }
}
