use std::sync::Arc;

use chrono::TimeDelta;
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::classify::{NO_PHASE, Origin, Status};
use crate::particles::{Amounts, Empty};
use crate::scan::test_plan;
use crate::simulate::nvpf::reference_set;

const SIDE: usize = 96;
/// Wrong verdicts, of which the confidence knows.
const WRONG: f64 = 0.06;

/// A round particle: centre, radius, and how deep the front lies; all of it is the phase outside where there is none.
#[derive(Clone, Copy, Debug)]
struct Round {
    y: f64,
    x: f64,
    radius: f64,
    front: Option<f64>,
    /// Phases of rim and core.
    phases: [u8; 2],
}

/// Centres and radii. Off the grid: else all sectors are mirror images, and err together.
const PLACES: [(f64, f64, f64); 5] =
    [(22.3, 21.8, 15.0), (22.1, 67.6, 17.2), (68.4, 22.2, 16.3), (65.7, 64.4, 17.9), (48.2, 43.7, 8.1)];

fn rounds(front: Option<f64>, phases: [u8; 2]) -> Vec<Round> {
    let round = |&(y, x, radius): &(f64, f64, f64)| Round { y, x, radius, front, phases };
    PLACES.iter().map(round).collect()
}

struct Scan {
    map: PhaseMap,
    particles: Particles,
}

fn scan(rounds: &[Round], hours: i64, charge: Option<f64>, seed: u64) -> Scan {
    let references = reference_set();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut plan = test_plan(SIDE, SIDE, 4);
    plan.scan_id = format!("s{hours}");
    plan.region = Some("field".to_owned());
    plan.started += TimeDelta::hours(hours);
    plan.state_of_charge = charge;
    let mut map = PhaseMap::unmeasured(Arc::new(plan), references.labels(), Origin::default());
    let mut od = vec![0.0; SIDE * SIDE];
    for (pixel, od) in od.iter_mut().enumerate() {
        let (y, x) = ((pixel / SIDE) as f64, (pixel % SIDE) as f64);
        map.status[pixel] = Status::Background;
        *od = 0.002 * ((pixel * 37 % 11) as f32 - 5.0);
        for own in rounds {
            let depth = own.radius - (y - own.y).hypot(x - own.x);
            if depth <= 0.0 {
                continue;
            }
            *od = 0.8;
            let is_core = own.front.is_some_and(|front| depth > front);
            let (mut phase, mut other) =
                (own.phases[usize::from(is_core)], own.phases[usize::from(!is_core)]);
            if phase == other {
                other = (phase + 1) % map.phases.len() as u8;
            }
            if rng.random_bool(WRONG) {
                std::mem::swap(&mut phase, &mut other);
            }
            (map.status[pixel], map.phase[pixel], map.runner_up[pixel]) = (Status::Classified, phase, other);
            map.confidence[pixel] = 1.0 - WRONG as f32;
        }
        if map.status[pixel] == Status::Background {
            map.phase[pixel] = NO_PHASE;
        }
    }
    let empty = Empty { od: 0.0, sigma: 0.01, pixels: 1000 };
    let amounts = Amounts { od, variance: vec![1e-4; SIDE * SIDE], empty };
    let particles = Particles::of_amounts(&map, amounts, &references);
    Scan { map, particles }
}

fn kinetics(scans: &[Scan]) -> Kinetics {
    let references = reference_set();
    let moments: Vec<Moment<'_>> = scans
        .iter()
        .map(|own| Moment { map: &own.map, particles: &own.particles, references: &references })
        .collect();
    Kinetics::of(&moments)
}

#[test]
fn a_front_is_found_where_it_is_and_moves_as_it_does() {
    let (mut held, mut claimed, mut all, mut places, mut told) = (0, 0, 0, 0, 0);
    for run in 0..25 {
        let speed = 0.8;
        let scans: Vec<Scan> = (0..3)
            .map(|i| scan(&rounds(Some(3.0 + speed * i as f64), [3, 0]), i, None, 100 * run + i as u64))
            .collect();
        let found = kinetics(&scans);
        assert_eq!(found.tracks.len(), 5);
        assert!(found.tracks.iter().all(|own| own.members.len() == 3));
        for own in found.gradients.iter().filter(|own| own.front_px.is_some()) {
            let (front, truth) = (own.front_px.unwrap(), 3.0 + speed * own.scan as f64);
            told += 1;
            places += usize::from((front.value - truth).abs() <= Z90 * front.sigma);
        }
        for own in &found.speeds {
            all += 1;
            held += usize::from(own.px_per_h.low <= speed && speed <= own.px_per_h.high);
            claimed += usize::from(own.is_real);
            let um = own.um_per_h.unwrap();
            assert!((um.middle - 0.1 * own.px_per_h.middle).abs() < 1e-9, "steps of 0.1 um");
        }
    }
    assert!(told > 200 && all > 100, "{told} fronts, {all} speeds");
    assert!(places * 20 >= told * 19, "{places} of {told} places are within their intervals");
    assert!(held * 20 >= all * 19, "{held} of {all} speeds are within their intervals");
    assert!(claimed * 20 >= all * 19, "{claimed} of {all} are told from zero");
}

#[test]
fn series_without_anything_claim_nothing_in_ninety_five_of_a_hundred() {
    let (mut gradients, mut laggards, mut moving, mut nominal) = (0, 0, 0, 0);
    let runs = 100;
    for run in 0..runs {
        // The mean of x = 3 and the others is where the errors of verdicts draw it: compare with itself only.
        let flat: Vec<Scan> =
            (0..2).map(|i| scan(&rounds(None, [2, 2]), i, None, 1000 + 10 * run + i as u64)).collect();
        let found = kinetics(&flat);
        assert_eq!(found.gradients.len(), 10);
        gradients += u32::from(found.gradients.iter().any(|own| own.is_real));
        laggards += u32::from(found.paces.iter().any(|own| own.place != Place::Among));
        nominal += u32::from(found.scans.iter().any(|own| own.nominal.is_some()));
        let still: Vec<Scan> =
            (0..2).map(|i| scan(&rounds(Some(4.0), [3, 0]), i, None, 5000 + 10 * run + i as u64)).collect();
        let found = kinetics(&still);
        assert!(found.gradients.iter().any(|own| own.is_real), "there is one");
        moving += u32::from(found.speeds.iter().any(|own| own.is_real));
    }
    assert!(gradients <= 5 && laggards <= 5 && moving <= 5, "{gradients}, {laggards}, {moving} of {runs}");
    assert_eq!(nominal, 0, "nobody told a state of charge");
}

#[test]
fn a_particle_that_lags_is_named_with_its_direction_and_nominal_is_not_believed() {
    // The sample goes from x = 3 to 1; one particle stays at 3.
    let before = rounds(None, [0, 0]);
    let mut after = rounds(None, [3, 3]);
    after[1].phases = [0, 0];
    let found = kinetics(&[scan(&before, 0, Some(0.0), 1), scan(&after, 5, Some(0.2), 2)]);
    let late: Vec<&Pace> = found.paces.iter().filter(|own| own.place != Place::Among).collect();
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].place, late[0].scan), (Place::Behind, 1));
    assert!(late[0].less_others.low > 1.0);
    let [first, last] = [found.scans[0].nominal.unwrap(), found.scans[1].nominal.unwrap()];
    assert_eq!(first.x, 3.0);
    assert!(last.is_real && last.measured_less.high < 0.0, "x is {:?}", found.scans[1].x);
    assert_eq!(found.scans[1].hours, 5.0);
    assert!(
        found.scans.iter().all(|own| (own.shares.iter().map(|s| s.value).sum::<f64>() - 1.0).abs() < 1e-6)
    );
}

#[test]
fn particles_are_followed_over_a_stage_that_came_back_elsewhere_and_not_between_regions() {
    let moved: Vec<Round> =
        rounds(None, [0, 0]).into_iter().map(|own| Round { y: own.y + 5.0, x: own.x - 4.0, ..own }).collect();
    let (first, second) = (scan(&rounds(None, [0, 0]), 0, None, 1), scan(&moved, 1, None, 2));
    let found = kinetics(&[second, first]);
    assert_eq!(found.scans[0].scan_id, "s0", "by time, whatever the order they came in");
    assert_eq!(found.tracks.len(), 5);
    assert!(found.tracks.iter().all(|own| own.members.len() == 2));
    let mut elsewhere = scan(&rounds(None, [0, 0]), 1, None, 2);
    Arc::make_mut(&mut elsewhere.map.plan).region = Some("another".to_owned());
    let found = kinetics(&[scan(&rounds(None, [0, 0]), 0, None, 1), elsewhere]);
    assert_eq!(found.tracks.len(), 10);
    assert!(found.speeds.is_empty());
}

/// Two domains whose boundary does not run through the middle: rim and core differ on average, and not all round.
#[test]
fn domains_on_one_side_are_no_gradient() {
    for run in 0..20 {
        let mut own = scan(&rounds(None, [0, 0]), 0, None, 300 + run);
        for pixel in 0..SIDE * SIDE {
            let (y, x) = ((pixel / SIDE) as f64, (pixel % SIDE) as f64);
            let nearest =
                PLACES.iter().min_by(|a, b| (y - a.0).hypot(x - a.1).total_cmp(&(y - b.0).hypot(x - b.1)));
            let Some((cy, _, radius)) = nearest else { continue };
            if own.map.status[pixel] == Status::Classified && y > cy + 0.3 * radius {
                own.map.phase[pixel] = if own.map.phase[pixel] == 0 { 3 } else { 0 };
                own.map.runner_up[pixel] = 3 - own.map.phase[pixel];
            }
        }
        let found = kinetics(&[own]);
        let apart = found.gradients.iter().filter(|own| own.contrast.low > 0.0);
        assert!(apart.count() >= 4, "they differ on average: {:?}", found.gradients);
        assert!(found.gradients.iter().all(|own| !own.is_real && own.front_px.is_none()), "{found:?}");
    }
}

#[test]
fn what_has_no_state_or_no_particles_says_so() {
    assert_eq!(Kinetics::of(&[]), Kinetics::default());
    let empty = kinetics(&[scan(&[], 0, Some(0.5), 1)]);
    assert!(empty.tracks.is_empty() && empty.scans[0].x.is_none() && empty.scans[0].nominal.is_none());
    let mut references = reference_set();
    references.references.iter_mut().for_each(|own| own.composition.state = None);
    let own = scan(&rounds(Some(3.0), [3, 0]), 0, Some(0.5), 1);
    let found = Kinetics::of(&[Moment { map: &own.map, particles: &own.particles, references: &references }]);
    assert!(found.gradients.is_empty() && found.paces.is_empty() && found.variable.is_none());
    assert!(found.remarks[0].contains("no state variable"));
    assert!(!found.scans[0].shares.is_empty());
}

#[test]
fn limits_are_those_of_the_normal_distribution() {
    for (tests, z) in [(1, 1.959_964), (10, 2.807_03), (1000, 4.055_6)] {
        assert!((limit(tests) - z).abs() < 2e-4, "{} for {tests}", limit(tests));
    }
}

proptest! {
    #[test]
    fn a_difference_holds_what_both_hold_and_turns_round(
        a in -3.0..3.0_f64, b in -3.0..3.0_f64, wa in 0.0..1.0_f64, wb in 0.0..1.0_f64, z in 0.1..6.0_f64,
    ) {
        let (a, b) = (interval(a, wa), interval(b, wb));
        let (there, back) = (difference(a, b), difference(b, a));
        prop_assert!(there.low <= there.middle && there.middle <= there.high);
        prop_assert!((there.low + back.high).abs() < 1e-12 && (there.middle + back.middle).abs() < 1e-12);
        prop_assert_eq!(excludes_zero(there, z), excludes_zero(back, z));
        // What is claimed at a high limit is claimed at a low one.
        prop_assert!(!excludes_zero(there, z) || excludes_zero(there, 0.5 * z));
    }
}

#[test]
fn what_lies_over_another_has_no_gradient_and_no_pace() {
    let of = |own: &Scan| kinetics(std::slice::from_ref(own));
    let mut over = scan(&rounds(Some(4.0), [3, 0]), 0, None, 1);
    assert!(!of(&over).gradients.is_empty() && !of(&over).paces.is_empty());
    over.particles.particles.iter_mut().for_each(|particle| particle.overlaps = true);
    assert!(of(&over).gradients.is_empty() && of(&over).paces.is_empty());
}
