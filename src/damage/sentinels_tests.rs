use super::*;
use crate::simulate::nvpf::reference_set;

/// 509 before the edge, 518.2 on the white line, each three times among others.
const ENERGIES_EV: [f64; 10] = [509.0, 518.2, 514.0, 515.0, 509.0, 518.2, 516.0, 517.0, 509.0, 518.2];

fn first_entries(energies_ev: &[f64]) -> Vec<usize> {
    energies_ev
        .iter()
        .map(|energy_ev| energies_ev.iter().position(|other| other == energy_ev).unwrap())
        .collect()
}

fn sentinels(energies_ev: &[f64]) -> Sentinels {
    Sentinels::of(energies_ev, &first_entries(energies_ev), &reference_set())
}

#[test]
fn a_visit_of_the_white_line_is_compared_with_the_nearest_one_before_the_edge() {
    let found = sentinels(&ENERGIES_EV);
    let [(mass, _, before), (line, energy_ev, visits)] = &found.signals[..] else { panic!("{found:?}") };
    assert_eq!((mass, line, *energy_ev), (&Signal::Mass, &Signal::WhiteLine, 518.2));
    assert_eq!(before.iter().map(|visit| visit.energy).collect::<Vec<_>>(), [0, 4, 8]);
    assert_eq!(
        visits.iter().map(|visit| (visit.energy, visit.less)).collect::<Vec<_>>(),
        [(1, Some(0)), (5, Some(4)), (9, Some(8))]
    );
}

#[test]
fn two_ranges_that_meet_make_no_sentinel_and_a_plan_that_grows_changes_no_name() {
    assert!(sentinels(&[514.0, 515.0, 515.0, 516.0]).is_empty());
    let mut longer = ENERGIES_EV.to_vec();
    longer.extend([514.0, 515.5, 514.0]);
    assert_eq!(sentinels(&ENERGIES_EV).rules(), ["mass", "white_line"]);
    assert_eq!(sentinels(&longer).rules(), ["mass", "white_line", "white_line@514"]);
}

#[test]
fn a_look_is_due_when_a_visit_is_whole_whatever_was_there_of_it_before() {
    let found = sentinels(&ENERGIES_EV);
    let progress = |counts: &[usize]| {
        found.progress(ENERGIES_EV.len(), &|energy| counts.get(energy).copied().unwrap_or(0))
    };
    let none = Progress::default();
    assert!(!progress(&[]).is_due_after(&none) && !progress(&[100]).is_due_after(&none));
    // Three visits are whole, and a few lines of the fourth are there.
    let looked = progress(&[100, 100, 100, 100, 100, 10]);
    assert!(looked.is_due_after(&none) && looked.visits == 3);
    assert!(!progress(&[100, 100, 100, 100, 100, 20]).is_due_after(&looked));
    let whole = progress(&[100, 100, 100, 100, 100, 98]);
    assert!(whole.is_due_after(&looked) && whole.visits == 4);
    assert!(!whole.is_due_after(&whole), "nothing new, nothing to look at");
    let mut kept = found.clone();
    kept.keep_done(ENERGIES_EV.len(), &|energy| {
        [100, 100, 100, 100, 100, 10].get(energy).copied().unwrap_or(0)
    });
    assert_eq!(kept.signals.iter().map(|(.., visits)| visits.len()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn images_that_grow_side_by_side_are_looked_at_again_and_again() {
    let found = sentinels(&ENERGIES_EV);
    let (mut last, mut looks) = (Progress::default(), 0);
    for lines in 1..=100 {
        let now = found.progress(ENERGIES_EV.len(), &|_| lines);
        if now.is_due_after(&last) {
            (last, looks) = (now, looks + 1);
        }
    }
    assert!((10..25).contains(&looks), "{looks}");
}
