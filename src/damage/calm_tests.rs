use super::*;
use crate::damage::sentinels::TakenOff;
use crate::reference::ReferenceSet;
use crate::simulate::nvpf::reference_set;

/// Before the edge and on the white line, eV.
const ENERGIES_EV: [f64; 2] = [509.0, 518.2];
const VISITS: usize = 8;
const CRITICAL: f64 = 5.0;

fn index(references: &ReferenceSet, id: &str) -> usize {
    references.references.iter().position(|reference| reference.label.id == id).unwrap()
}

/// A sample of 0.7 times the references, `shares` of each phase, that is reduced at one critical dose and loses a share of its mass; every visit
/// has its own image before the edge.
fn readings(
    references: &ReferenceSet,
    shares: &[(&str, f64)],
    mass_loss: f64,
) -> (Series, Vec<Visit>, Vec<Mean>) {
    let mixed = |energy_ev: f64| -> f64 {
        let od = |id: &str| references.references[index(references, id)].od_at(energy_ev).unwrap();
        shares.iter().map(|(id, share)| share * od(id)).sum()
    };
    let reduced =
        |energy_ev: f64| references.references[index(references, "na3.0")].od_at(energy_ev).unwrap();
    let (mut series, mut visits, mut means) = (Series::default(), Vec::new(), Vec::new());
    for number in 0..VISITS {
        let dose = 0.2 + number as f64;
        let left = (-dose / CRITICAL).exp();
        let od = |energy_ev: f64| {
            let mass = 0.7 * (1.0 - mass_loss * (1.0 - (-dose / 4.0).exp()));
            mass * (left * mixed(energy_ev) + (1.0 - left) * reduced(energy_ev))
        };
        let (before, line) = (od(ENERGIES_EV[0]), od(ENERGIES_EV[1]));
        series.readings.push(Reading { dose, time_s: dose, value: line - before, sigma: 0.001 });
        visits.push(Visit { energy: 2 * number + 1, less: Some(2 * number) });
        let before = Some(TakenOff { value: before, share: 0.4 });
        means.push(Mean { value: line, sigma: 0.001, empty: None, tilt: [0.0; 2], before });
    }
    (series, visits, means)
}

/// What is said of such a sample; `called`: the phase that it is taken for.
fn said(
    references: &ReferenceSet,
    shares: &[(&str, f64)],
    mass_loss: f64,
    end: (bool, Option<&str>),
) -> Said {
    let (series, visits, means) = readings(references, shares, mass_loss);
    let energies_ev: Vec<f64> = (0..2 * VISITS).map(|energy| ENERGIES_EV[energy % 2]).collect();
    let templates = Templates::new(references, None, &energies_ev);
    let end = End { known: end.0, phase: end.1.map(|id| index(references, id)) };
    let dose = |energy: usize| 0.2 + (energy / 2) as f64;
    let calm = Calm::of(&series, (&visits, &means), dose, (&templates, end)).unwrap();
    calm.said(series.first().unwrap()).unwrap()
}

fn critical(said: &Said) -> Option<f64> {
    let (kinetics, apart) = said.reduction.as_ref()?;
    kinetics.critical_dose(*apart).map(|dose| dose.middle)
}

#[test]
fn a_mixture_whose_plateau_is_known_has_its_critical_dose_told_whether_mass_is_lost_or_not() {
    let references = reference_set();
    let mixture = [("na1minus", 0.3), ("na1.0", 0.4), ("na2.0", 0.3)];
    for mass_loss in [0.0, 0.2] {
        let said = said(&references, &mixture, mass_loss, (true, None));
        let told = critical(&said).unwrap();
        assert!((told / CRITICAL - 1.0).abs() < 0.1, "{mass_loss}: {told}");
        // All of it is 0.7 times the reduced reference in the end, but for what mass is lost: that is not counted.
        let reduced = &references.references[index(&references, "na3.0")];
        let line = 0.7 * (reduced.od_at(518.2).unwrap() - reduced.od_at(509.0).unwrap());
        let plateau = said.plateau.unwrap();
        assert!((plateau.value / line - 1.0).abs() < 0.03 && plateau.sigma > 0.02 * line, "{plateau:?}");
        assert_eq!(said.apart, 0.0, "a field is called nothing");
    }
}

#[test]
fn the_rate_of_the_line_has_the_loss_of_mass_in_it_and_its_critical_dose_has_not() {
    let references = reference_set();
    let [kept, lost] =
        [0.0, 0.2].map(|loss| said(&references, &[("na1.0", 1.0)], loss, (true, Some("na1.0"))));
    let rate = |said: &Said| said.kinetics.initial_rate().middle;
    // Mass goes at 0.2 / 4 per unit of dose, of a line of 0.7 times 0.566.
    let more = rate(&lost) - rate(&kept);
    assert!((more / (0.05 * 0.7 * 0.5656) - 1.0).abs() < 0.3, "{more}");
    let [kept, lost] = [critical(&kept).unwrap(), critical(&lost).unwrap()];
    assert!((lost / kept - 1.0).abs() < 0.1, "{kept} {lost}");
}

#[test]
fn what_is_not_the_phase_that_it_is_called_has_no_critical_dose_and_a_wider_rate() {
    let references = reference_set();
    let pure = said(&references, &[("na2.0", 1.0)], 0.0, (true, Some("na2.0")));
    assert!(pure.apart < 0.1 && critical(&pure).is_some());
    let half = said(&references, &[("na2.0", 0.6), ("na1minus", 0.4)], 0.0, (true, Some("na2.0")));
    assert!(half.apart > 0.4, "{}", half.apart);
    assert_eq!(critical(&half), None);
}

#[test]
fn nothing_is_claimed_early_where_the_plateau_is_not_known() {
    let references = reference_set();
    let said = said(&references, &[("na1.0", 1.0)], 0.0, (false, None));
    assert!(said.plateau.is_none());
    let (kinetics, _) = said.reduction.unwrap();
    // 76 % is lost of it: with eight readings that good it can be told all the same.
    assert!(kinetics.seen() > 0.6 && kinetics.critical_dose(0.0).is_some());
    assert_eq!(kinetics.critical_dose(0.21), None, "what is uncertain for other reasons counts");
}

#[test]
fn references_without_a_pre_edge_know_no_amount() {
    let mut references = reference_set();
    for reference in &mut references.references {
        let before = reference.od_at(ENERGIES_EV[0]).unwrap();
        reference.od.iter_mut().for_each(|od| *od -= before);
    }
    let field = said(&reference_set(), &[("na1.0", 1.0)], 0.0, (true, None));
    assert!(field.plateau.is_some());
    let (series, visits, means) = readings(&reference_set(), &[("na1.0", 1.0)], 0.0);
    let energies_ev: Vec<f64> = (0..2 * VISITS).map(|energy| ENERGIES_EV[energy % 2]).collect();
    let templates = Templates::new(&references, None, &energies_ev);
    let end = End { known: true, phase: Some(index(&references, "na1.0")) };
    let calm = Calm::of(&series, (&visits, &means), |energy| energy as f64, (&templates, end)).unwrap();
    let said = calm.said(series.first().unwrap()).unwrap();
    assert!(said.plateau.is_none() && critical(&said).is_none());
    assert_eq!(said.apart, UNKNOWN);
}

#[test]
fn an_image_before_the_edge_that_serves_two_visits_is_read_once() {
    let (series, mut visits, means) = readings(&reference_set(), &[("na1.0", 1.0)], 0.0);
    visits[1].less = visits[0].less;
    let before = Before::of(&series, (&visits, &means), |energy| energy as f64).unwrap();
    assert_eq!((before.series.len(), before.shares.len()), (VISITS - 1, VISITS));
    // Nothing was taken off.
    visits[1].less = None;
    assert!(Before::of(&series, (&visits, &means), |energy| energy as f64).is_none());
}
