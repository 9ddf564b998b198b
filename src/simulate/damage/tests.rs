use chrono::DateTime;

use super::*;
use crate::reference::{Composition, PhaseLabel, Provenance, Reference, Window};
use crate::simulate::scenario::Kinetics;
use crate::simulate::{Microscope, Scenario, nvpf};

/// Two flat spectra, of 0.5 and 0.3 everywhere; the second is the reduced one.
fn flat() -> ReferenceSet {
    let reference = |id: &str, od: f64, state: f64| Reference {
        label: PhaseLabel { id: id.to_owned(), title: id.to_owned(), colour: [0; 3] },
        energies_ev: vec![400.0, 1200.0],
        od: vec![od, od],
        provenance: Provenance::default(),
        composition: Composition {
            density_g_per_cm3: Some(3.0),
            state: Some(("x".to_owned(), state)),
            ..Composition::default()
        },
    };
    ReferenceSet {
        references: vec![reference("full", 0.5, 1.0), reference("empty", 0.3, 2.0)],
        pre_edge: Window { from_ev: 500.0, to_ev: 505.0 },
        white_line: Window { from_ev: 514.0, to_ev: 516.0 },
        sha256: String::new(),
    }
}

fn settings(change: impl FnOnce(&mut DamageSettings)) -> DamageSettings {
    let mut settings = DamageSettings { critical_dose_mgy: Some(20.0), ..DamageSettings::default() };
    change(&mut settings);
    settings
}

fn at(dose_mgy: f64) -> Exposed {
    Exposed { dose_mgy, hours: 0.0 }
}

const E: f64 = std::f64::consts::E;

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} is not {b}");
}

#[test]
fn what_is_left_after_the_critical_dose_is_one_in_e_or_half() {
    let set = flat();
    let first = settings(|_| {});
    let change = Change::new(&first, &set).unwrap();
    close(change.left(0, 20.0), 1.0 / E);
    close(change.left(1, 20.0), 1.0);
    // 0.3 + 0.2 / e of what was 0.5.
    close(change.of(&[0.5, 0.3], at(20.0))[0], 0.3 + 0.2 / E);
    let second = settings(|s| s.kinetics = Kinetics::Hyperbolic);
    let change = Change::new(&second, &set).unwrap();
    close(change.left(0, 20.0), 0.5);
    close(change.left(0, 60.0), 0.25);
}

#[test]
fn a_factor_makes_a_phase_faster_and_a_plateau_stays() {
    let settings = settings(|s| {
        s.rates.insert("full".to_owned(), 2.0);
        s.plateau = 0.2;
    });
    let set = flat();
    let change = Change::new(&settings, &set).unwrap();
    assert_eq!((change.critical_dose_mgy(0), change.critical_dose_mgy(1)), (Some(10.0), None));
    close(change.left(0, 10.0), 0.2 + 0.8 / E);
    close(change.left(0, 1e9), 0.2);
}

#[test]
fn mass_goes_by_itself() {
    let settings = settings(|s| {
        (s.critical_dose_mgy, s.mass_loss, s.mass_critical_dose_mgy) = (None, 0.3, 50.0);
    });
    let set = flat();
    let change = Change::new(&settings, &set).unwrap();
    close(change.thickness(50.0), 0.7 + 0.3 / E);
    close(change.of(&[0.5, 0.3], at(50.0))[1], 0.3 * (0.7 + 0.3 / E));
}

#[test]
fn evolution_goes_with_time_and_its_product_is_reduced_too() {
    let settings = settings(|s| {
        (s.chemistry_per_h, s.chemistry_before_h) = (0.5, 1.0);
        s.chemistry_to = Some("full".to_owned());
        s.reduced = Some("empty".to_owned());
    });
    let set = flat();
    let change = Change::new(&settings, &set).unwrap();
    close(change.reacted(1.0), 1.0 - 1.0 / E);
    // Of the reduced phase 1 - 1/e has become the other one, of which 1/e is left after the critical dose.
    let state = Exposed { dose_mgy: 20.0, hours: 1.0 };
    close(change.of(&[0.5, 0.3], state)[1], 0.3 / E + (1.0 - 1.0 / E) * (0.3 + 0.2 / E));
}

#[test]
fn the_slope_is_that_of_what_is_seen() {
    for kinetics in [Kinetics::FirstOrder, Kinetics::Hyperbolic] {
        let settings = settings(|s| {
            (s.kinetics, s.plateau, s.mass_loss, s.mass_critical_dose_mgy) = (kinetics, 0.1, 0.2, 70.0);
            s.chemistry_per_h = 0.3;
        });
        let set = flat();
        let change = Change::new(&settings, &set).unwrap();
        let (pure, h) = ([0.5, 0.3], 1e-4);
        for dose_mgy in [0.0, 13.0, 80.0] {
            let state = |dose_mgy| Exposed { dose_mgy, hours: 0.7 };
            let (before, after) = (change.of(&pure, state(dose_mgy)), change.of(&pure, state(dose_mgy + h)));
            let middle = change.slope(&pure, state(dose_mgy + 0.5 * h));
            for phase in 0..2 {
                assert!(((after[phase] - before[phase]) / h - middle[phase]).abs() < 1e-9);
            }
        }
    }
    let first = settings(|_| {});
    let set = flat();
    let change = Change::new(&first, &set).unwrap();
    close(change.slope(&[0.5, 0.3], at(0.0))[0], -0.2 / 20.0);
}

#[test]
fn half_of_an_exposure_counts_for_itself() {
    assert_eq!(accumulated(5.0, &[2.0, 4.0]), (vec![6.0, 9.0], vec![7.0, 11.0]));
    assert_eq!(accumulated(5.0, &[]), (vec![], vec![]));
}

/// Three energies around 500 eV, of which the middle one is measured again and again.
fn scenario(damage: DamageSettings) -> Scenario {
    let text = "[scan]\nshape = [16, 16]\nenergies = [{from_ev=498, to_ev=502, step_ev=2}]\nrepeat_ev = [515]\n\
                repeat_every = 1\nrepeat_first = true\n[beam]\nphotons = 1000\n[specimen]\nparticles = 1\nradius = [0.2, 0.2]\n\
                domains = 1\n";
    Scenario { damage: Some(damage), ..Scenario::parse(text).unwrap() }
}

fn microscope(scenario: Scenario) -> Microscope {
    Microscope::new(scenario, &flat(), "test", DateTime::UNIX_EPOCH).unwrap()
}

#[test]
fn the_dose_follows_from_the_flux_where_it_is_not_given() {
    let m = microscope(scenario(DamageSettings::default()));
    let truth = m.truth().damage.as_ref().unwrap();
    let flux = m.plan().flux_ph_per_s.as_ref().unwrap()[1];
    // 1 ms on 50 nm by 50 nm; OD 0.4 in 200 nm is 2e6 per metre; 3000 kg/m³.
    let gray = flux * 1e-3 * 498.0 * 1.602_176_634e-19 * 2e6 / 3000.0 / 2.5e-15;
    assert!((truth.dose_of_energy_mgy[1] / (gray * 1e-6) - 1.0).abs() < 1e-9);
    // 1000 detected photons at 0.3 are 3300 on the sample: about 70 kGy.
    assert!((0.03..0.08).contains(&truth.dose_of_energy_mgy[1]), "{}", truth.dose_of_energy_mgy[1]);
}

#[test]
fn a_dose_that_is_given_is_that_at_the_middle_of_the_range() {
    let given =
        DamageSettings { dose_per_energy_mgy: Some(2.0), dose_before_mgy: 3.0, ..DamageSettings::default() };
    let mut at_middle = scenario(given);
    at_middle.scan.energies[0].to_ev = 515.0;
    at_middle.scan.energies[0].step_ev = 8.5;
    let m = microscope(at_middle);
    let truth = m.truth().damage.as_ref().unwrap();
    assert_eq!(m.plan().energies_ev, [515.0, 498.0, 515.0, 506.5, 515.0, 515.0, 515.0]);
    close(truth.dose_of_energy_mgy[3], 2.0);
    let (flux, ev) = (m.plan().flux_ph_per_s.as_ref().unwrap(), &m.plan().energies_ev);
    close(truth.dose_of_energy_mgy[1], 2.0 * flux[1] * ev[1] / (flux[3] * ev[3]));
    close(truth.dose_mgy[0], 3.0 + truth.dose_of_energy_mgy[0]);
    close(truth.dose_mgy[6], 3.0 + truth.dose_of_energy_mgy.iter().sum::<f64>());
}

#[test]
fn half_the_flux_for_twice_as_long_does_the_same() {
    let damage = DamageSettings { critical_dose_mgy: Some(0.2), ..DamageSettings::default() };
    let fast = scenario(damage);
    let mut slow = fast.clone();
    // As many photons a pixel, in twice the time.
    slow.scan.dwell_ms *= 2.0;
    let (fast, slow) = (microscope(fast), microscope(slow));
    let flux = |m: &Microscope| m.plan().flux_ph_per_s.as_ref().unwrap()[0];
    close(flux(&fast) / flux(&slow), 2.0);
    let (of_fast, of_slow) = (fast.truth().damage.as_ref().unwrap(), slow.truth().damage.as_ref().unwrap());
    assert_eq!(of_fast, of_slow);
    assert!(of_fast.converted[0][6] > 0.3);
    let pixel = fast.truth().phase.iter().position(|&phase| phase == 0).unwrap();
    assert_eq!(fast.optical_density(6, pixel), slow.optical_density(6, pixel));

    let own = DamageSettings { chemistry_per_h: 100.0, ..DamageSettings::default() };
    let fast = scenario(own);
    let mut slow = fast.clone();
    slow.scan.dwell_ms *= 2.0;
    let reacted = |scenario| microscope(scenario).truth().damage.as_ref().unwrap().reacted[6];
    assert!(reacted(slow) > 1.9 * reacted(fast), "what goes with time is another thing");
}

#[test]
fn a_sentinel_shows_what_happened_since() {
    let m = microscope(scenario(DamageSettings {
        dose_per_energy_mgy: Some(2.0),
        critical_dose_mgy: Some(10.0),
        ..DamageSettings::default()
    }));
    let truth = m.truth().damage.as_ref().unwrap();
    let pure = |pixel: &usize| m.truth().phase[*pixel] == 0 && m.truth().share[*pixel] == 1.0;
    let pixel = (0..256).find(pure).unwrap();
    let nm = f64::from(m.truth().thickness_nm[pixel]);
    for (energy, half) in (0..7).step_by(2).map(|energy| (energy, truth.dose_of_energy_mgy[energy] / 2.0)) {
        let seen = (-(truth.dose_mgy[energy] - half) / 10.0).exp();
        let od = (0.3 + 0.2 * seen) * nm / 200.0;
        assert!((m.optical_density(energy, pixel) - od).abs() < 1e-6, "{energy}");
    }
    assert_eq!(truth.white_line_ev, 515.0);
    close(truth.converted[0][6], 1.0 - (-truth.dose_mgy[6] / 10.0).exp());
    assert_eq!((truth.critical_dose_mgy[0], truth.critical_dose_of_field_mgy), (Some(10.0), Some(10.0)));
}

#[test]
fn a_scan_goes_on_where_another_one_of_the_same_specimen_ended() {
    let mut scenario = scenario(DamageSettings {
        dose_per_energy_mgy: Some(2.0),
        critical_dose_mgy: Some(10.0),
        chemistry_per_h: 0.1,
        chemistry_to: Some("full".to_owned()),
        ..DamageSettings::default()
    });
    scenario.seed = 7;
    let one = microscope(scenario);
    let dose_mgy = one.truth().damage.as_ref().unwrap().dose_mgy[6];
    let next = one.scenario_after();
    assert_eq!((next.seed, next.specimen.seed), (8, Some(7)));
    let two = microscope(next);
    assert_eq!(one.truth().thickness_nm, two.truth().thickness_nm, "the same specimen");
    assert_ne!(one.line(0, 8).values, two.line(0, 8).values, "but not the same counts");
    let of = |m: &Microscope| m.truth().damage.clone().unwrap();
    close(1.0 - of(&two).converted[0][6], (1.0 - of(&one).converted[0][6]).powi(2));
    close(of(&two).dose_mgy[6], 2.0 * dose_mgy);
    close(1.0 - of(&two).reacted[6], (1.0 - of(&one).reacted[6]).powi(2));
    let three = microscope(two.scenario_after());
    assert_eq!(three.scenario().specimen.seed, Some(7));
    close(of(&three).dose_mgy[6], 3.0 * dose_mgy);
}

#[test]
fn a_dose_that_does_nothing_leaves_every_count_alone() {
    let mut without = Scenario::demo().unwrap();
    without.scan.shape = [24, 24];
    let mut with = without.clone();
    with.damage = Some(DamageSettings::default());
    let of = |scenario| Microscope::new(scenario, &nvpf::reference_set(), "x", DateTime::UNIX_EPOCH).unwrap();
    let (without, with) = (of(without), of(with));
    for row in 0..24 {
        assert_eq!(without.line(39, row).values, with.line(39, row).values);
    }
    assert!(without.truth().damage.is_none());
    let truth = with.truth().damage.as_ref().unwrap();
    assert!(truth.dose_mgy[39] > 1.0 && truth.white_line_change_of_field[39] == 0.0);
}

#[test]
fn the_white_line_of_nvpf_is_where_reduction_takes_most() {
    let mut scenario = Scenario::demo().unwrap();
    scenario.damage = Some(DamageSettings { critical_dose_mgy: Some(50.0), ..DamageSettings::default() });
    let m = Microscope::new(scenario, &nvpf::reference_set(), "x", DateTime::UNIX_EPOCH).unwrap();
    let truth = m.truth().damage.as_ref().unwrap();
    assert!((517.5..518.8).contains(&truth.white_line_ev), "{}", truth.white_line_ev);
    assert_eq!(truth.critical_dose_mgy, [None, Some(50.0), Some(50.0), Some(50.0), Some(50.0)]);
    assert!(truth.initial_rate_per_mgy[0] == 0.0 && truth.initial_rate_per_mgy[4] > 0.01);
    let last = |phase: usize| truth.white_line_change[phase][39];
    assert!(last(0) == 0.0 && last(4) > last(2) && last(2) > 0.0);
    let set = nvpf::reference_set();
    let line = |phase: usize| {
        let od = |energy_ev| set.references[phase].od_at(energy_ev).unwrap();
        od(truth.white_line_ev) - od(truth.pre_edge_ev)
    };
    close(truth.white_line_change_in_the_end[4], 1.0 - line(0) / line(4));
    let (whole, now) = (truth.white_line_change_in_the_end[4], last(4));
    close(now / whole, truth.converted[4][39]);
    let changes = &truth.white_line_change_of_field;
    assert!(changes.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn says_what_it_misses() {
    let error = |damage: DamageSettings, set: &ReferenceSet| {
        Microscope::new(scenario(damage), set, "x", DateTime::UNIX_EPOCH).unwrap_err().to_string()
    };
    let unknown = DamageSettings { chemistry_to: Some("nowhere".to_owned()), ..DamageSettings::default() };
    assert!(error(unknown, &flat()).contains("damage.chemistry_to: no reference is called \"nowhere\""));
    let mut bare = flat();
    bare.references.iter_mut().for_each(|reference| reference.composition.state = None);
    assert!(error(DamageSettings::default(), &bare).contains("damage.reduced"));
    let mut light = flat();
    light.references.iter_mut().for_each(|reference| reference.composition.density_g_per_cm3 = None);
    assert!(error(DamageSettings::default(), &light).contains("damage.dose_per_energy_mgy"));
}
