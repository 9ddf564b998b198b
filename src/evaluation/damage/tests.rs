use std::sync::Arc;

use chrono::DateTime;

use super::*;
use crate::damage::{
    Alert, AlertKey, AlertState, Groups, Images, Interval, Level, Of, Sentinels, Signal, Verdict,
};
use crate::pipeline::recipe;
use crate::settings::Settings;
use crate::simulate::{Microscope, nvpf};

fn setup() -> Recipe {
    recipe(&Settings::defaults().unwrap(), Arc::new(nvpf::reference_set())).unwrap()
}

fn alert(level: Level, verdict: Verdict) -> Alert {
    Alert {
        key: AlertKey { scan_id: "s".into(), rule: "white_line/field".into(), episode: 1 },
        level,
        state: AlertState::Raised,
        time: DateTime::UNIX_EPOCH,
        sample: None,
        region: None,
        signal: "white_line".into(),
        of: "field".into(),
        text: String::new(),
        verdict,
        evidence_for: Vec::new(),
        evidence_against: Vec::new(),
        advice: String::new(),
        numbers: serde_json::Map::new(),
        simulated: true,
    }
}

/// Compares the first white line of the field with the last one, by a plain rule of so many standard errors.
fn plain(limit: f64) -> impl Fn(&ScanPlan) -> Box<dyn FnMut(&Look<'_>) -> Opinion> + Sync {
    move |_| {
        Box::new(move |look: &Look<'_>| {
            let plan = look.stack.plan();
            let first_of = |energy: usize| {
                plan.energies_ev.iter().position(|ev| *ev == plan.energies_ev[energy]).unwrap()
            };
            let entries: Vec<usize> = (0..plan.energies_ev.len()).map(first_of).collect();
            let sentinels = Sentinels::of(&plan.energies_ev, &entries, look.references);
            let (_, _, visits) = sentinels.signals.iter().find(|s| s.0 == Signal::WhiteLine).unwrap();
            let done = |energy: usize| look.stack.plane(energy).measured() == plan.grid.pixels();
            let both = |visit: &&crate::damage::Visit| done(visit.energy) && visit.less.is_none_or(done);
            let visits: Vec<_> = visits.iter().filter(both).copied().collect();
            let groups = Groups::of(look.map, 20);
            let Some(field) = groups.groups.iter().find(|group| group.of == Of::Field) else {
                return Opinion::default();
            };
            let images = Images::of(look.view, &visits, plan.grid.nx(), &[]);
            let (used, means) = images.read(field, &groups.empty, 0.05);
            let [first, .., last] = means.as_slice() else { return Opinion::default() };
            let dose_mgy = look.dose_mgy[used[used.len() - 1].energy] - look.dose_mgy[used[0].energy];
            let sigma = first.sigma.hypot(last.sigma);
            let rate = |z: f64| (first.value - last.value + z * sigma) / first.value / dose_mgy;
            let told = Interval { low: rate(-1.645), middle: rate(0.0), high: rate(1.645) };
            let mut opinion = Opinion::default();
            if first.value - last.value > limit * sigma {
                opinion.alerts.push(alert(Level::Notice, Verdict::Beam));
            }
            opinion.estimates.push(Estimate {
                of: Of::Field.to_string(),
                initial_rate_per_mgy: Some(told),
                critical_dose_mgy: None,
                known_plateau_mgy: None,
            });
            opinion
        })
    }
}

#[test]
fn draws_do_what_they_were_drawn_for() {
    let set = nvpf::reference_set();
    for number in 0..6 {
        let drawn = draw(&set, Class::Damaged, number, 3).unwrap();
        assert_eq!(drawn, draw(&set, Class::Damaged, number, 3).unwrap());
        let m = Microscope::new(drawn.scenario, &set, "x", DateTime::UNIX_EPOCH).unwrap();
        let truth = m.truth().damage.clone().unwrap();
        let share = truth.share_of_white_line_change()[31];
        assert!((0.08..0.82).contains(&share), "{number}: {share}");
        assert_eq!((truth.pre_edge_ev, truth.white_line_ev), (509.0, 518.2));
        assert_eq!(m.plan().energies_ev.len(), 32);
    }
    let still = draw(&set, Class::Undamaged, 1, 3).unwrap();
    let m = Microscope::new(still.scenario, &set, "x", DateTime::UNIX_EPOCH).unwrap();
    let truth = m.truth().damage.clone().unwrap();
    assert!(truth.white_line_change_of_field[31] == 0.0 && truth.dose_mgy[31] > 5.0);
    let own = draw(&set, Class::Evolving, 1, 3).unwrap();
    assert_eq!(own.scenario.context, Some(serde_json::json!({ "operando": true })));
    let m = Microscope::new(own.scenario, &set, "x", DateTime::UNIX_EPOCH).unwrap();
    let truth = m.truth().damage.clone().unwrap();
    assert!((0.1..0.8).contains(&truth.reacted[31]) && truth.converted_of_field[31] == 0.0);
}

#[test]
fn scans_that_are_seen_often_have_twenty_one_visits_and_lose_most() {
    let set = nvpf::reference_set();
    let drawn = draw(&set, Class::Often, 0, 3).unwrap();
    let m = Microscope::new(drawn.scenario, &set, "x", DateTime::UNIX_EPOCH).unwrap();
    let share = *m.truth().damage.clone().unwrap().share_of_white_line_change().last().unwrap();
    assert!((0.6..0.92).contains(&share), "{share}");
    for sentinel_ev in [509.0, 518.2] {
        assert_eq!(m.plan().energies_ev.iter().filter(|ev| **ev == sentinel_ev).count(), 21);
    }
}

#[test]
fn draws_are_told_apart_by_seed_class_and_number() {
    let set = nvpf::reference_set();
    let seed_of = |class, number, seed| draw(&set, class, number, seed).unwrap().scenario.seed;
    let all = [
        seed_of(Class::Undamaged, 0, 1),
        seed_of(Class::Undamaged, 1, 1),
        seed_of(Class::Evolving, 0, 1),
        seed_of(Class::Undamaged, 0, 2),
    ];
    assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])), "{all:?}");
}

#[test]
fn a_study_asks_at_every_visit_and_again_says_the_same() {
    let recipe = setup();
    let asked = DamageStudy { undamaged: 2, damaged: 4, evolving: 1, often: 0, seed: 5 };
    let run = |asked| study(&asked, &recipe, plain(5.0), &mut |_, _| {}).unwrap();
    let records = run(asked);
    assert_eq!(records.len(), asked.scans());
    for record in &records {
        let visits: Vec<usize> = record.asked.iter().map(|asked| asked.visits).collect();
        // Two sentinels with six visits each, and once more in the end; what was not registered yet is read with what comes after it.
        assert!(
            visits.is_sorted() && visits.ends_with(&[6, 6]) && (8..=13).contains(&visits.len()),
            "{visits:?}"
        );
        assert!((1..=6).all(|visit| visits.contains(&visit)), "{visits:?}");
        let over: Vec<usize> = (0..visits.len()).filter(|&look| record.asked[look].over).collect();
        assert_eq!(over, [visits.len() - 1]);
    }
    assert!(records[..2].iter().all(|record| record.done == 0.0));
    let damaged = &records[2..6];
    assert!(damaged.iter().filter(|record| record.first[0].is_some()).count() >= 3, "what is plain is found");
    for spoken in damaged.iter().filter_map(|record| record.first[0].as_ref()) {
        assert!(spoken.done > 0.0 && spoken.done_of_scan >= spoken.done && spoken.visits >= 2);
    }
    // A line through the first and the last visit says the initial rate times s/x, where a share s is gone at x critical doses.
    for record in damaged {
        let rate = &record.asked.last().unwrap().rate;
        let expected = record.done / record.kinetics.critical_doses_at(1.0 - record.done);
        let ratio = rate.told.unwrap().middle / rate.truth / expected;
        assert!((0.5..1.6).contains(&ratio), "{ratio}");
    }
    let report = report(asked, &records);
    assert_eq!(report.found[0].found.whole, 4);
    assert_eq!(report.verdicts[1].scans, 4);
    let text = report.markdown("phasewatch evaluate --damage");
    assert!(text.contains("| notice |") && text.contains("| settled |") && text.contains("| operando | 1 |"));
    // Scans do not depend on how many others there are.
    let again = run(DamageStudy { undamaged: 0, damaged: 1, evolving: 1, often: 0, seed: 5 });
    assert_eq!(again, [records[2].clone(), records[6].clone()]);
}

#[test]
fn alerts_count_by_what_they_say() {
    let recipe = setup();
    let asked = DamageStudy { undamaged: 1, damaged: 1, evolving: 0, often: 0, seed: 5 };
    // A notice of the instrument at once, and a warning of the beam in the end.
    let judge = |_: &ScanPlan| {
        |look: &Look<'_>| {
            let told = if look.over {
                alert(Level::Warning, Verdict::Beam)
            } else {
                alert(Level::Notice, Verdict::Instrument)
            };
            Opinion { alerts: vec![told], estimates: Vec::new() }
        }
    };
    let records = study(&asked, &recipe, judge, &mut |_, _| {}).unwrap();
    for record in &records {
        let look = |first: &Option<Spoken>| first.as_ref().map(|first| first.look);
        let last = record.asked.len() - 1;
        assert_eq!(record.first_of_any.each_ref().map(look), [Some(0), Some(last), None]);
        assert_eq!(record.first.each_ref().map(look), [Some(last), Some(last), None]);
        assert_eq!(record.verdict, Some(Verdict::Beam));
    }
    let report = report(asked, &records);
    assert_eq!((report.alarms[0].scans.part, report.alarms[0].may_be_damage.part), (1, 1));
    assert_eq!((report.alarms[2].scans.part, report.false_alarms.len()), (0, 1));
    assert_eq!(report.found[0].found.part, 1);
    assert_eq!(report.visits.iter().map(|row| row.damaged[0]).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(report.visits[0].undamaged, 1);
}
