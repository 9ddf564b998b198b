use std::sync::Arc;

use super::*;
use crate::pipeline::recipe;
use crate::settings::Settings;
use crate::simulate::nvpf;

#[test]
fn a_study_scores_every_class_and_says_the_same_again() {
    let recipe = recipe(&Settings::defaults().unwrap(), Arc::new(nvpf::reference_set())).unwrap();
    let asked = FindingsStudy { scans: 1, seed: 3, case: None };
    let scores = study(&asked, &recipe, &mut |_, _| {}).unwrap();
    assert_eq!(scores.scans.iter().map(|score| score.class).collect::<Vec<_>>(), Class::ALL);
    assert_eq!(scores.series.iter().map(|score| score.class).collect::<Vec<_>>(), SeriesClass::ALL);
    let report = FindingsReport::of(asked.clone(), &scores);
    let single = &report.particles[2];
    assert!(single.found.whole >= 4 && single.found.share > 0.7, "{single:?}");
    assert!((single.ratio - 1.0).abs() < 0.1, "{single:?}");
    assert!(scores.scans[0].between_phases.is_some(), "inclined boundaries can be compared");
    assert!(scores.scans[6].factor.unwrap() > 1.0 && scores.scans[5].factor == Some(1.0));
    let text = report.markdown("command");
    assert!(Class::ALL.iter().all(|class| text.contains(class.name())));
    assert!(SeriesClass::ALL.iter().all(|class| text.contains(class.name())));
    let [fronts, _, flat] = report.series.as_slice() else { panic!("three classes") };
    assert!(fronts.gradients.whole >= 4 && fronts.speeds.whole > 0 && fronts.x.whole >= 8, "{fronts:?}");
    assert!(flat.gradients.whole == 0 && flat.speeds.whole == 0 && flat.x.whole >= 8, "{flat:?}");
    assert_eq!(study(&asked, &recipe, &mut |_, _| {}).unwrap(), scores);
}
