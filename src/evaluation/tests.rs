//! The whole instrument, on a few small cells.

use std::sync::Arc;

use super::*;
use crate::pipeline::recipe;
use crate::settings::Settings;
use crate::simulate::nvpf::reference_set;

fn subject() -> Subject {
    let references = Arc::new(reference_set());
    Subject { recipe: recipe(&Settings::defaults().unwrap(), references).unwrap(), oracle: None }
}

fn plan() -> StudyPlan {
    StudyPlan {
        counts: vec![3000.0],
        energies: vec![12],
        offsets_ev: vec![0.0, 0.2],
        energy_offset: false,
        ..StudyPlan::whole(1, 7)
    }
}

#[test]
fn a_small_study_says_what_is_known_of_the_methods() {
    let mut seen = Vec::new();
    let study = study(&mut subject(), plan(), &mut |done, total| seen.push((done, total))).unwrap();
    // 2 tables by 2 offsets; mixtures and foreign matter: 2 offsets known, 1 mismatched.
    assert_eq!(seen.last(), Some(&(10, 10)));
    let cell = |offset_ev: f64, mismatched: bool| {
        let is = |c: &&CellRow| c.conditions.offset_ev == offset_ev && c.conditions.mismatched == mismatched;
        study.cells.iter().find(is).unwrap()
    };
    let (good, shifted) = (cell(0.0, false), cell(0.2, false));
    assert!(good.pixels >= 5000);
    assert!(good.median_of("pearson") > 0.97 && good.median_of("fit") > 0.97);
    // Blind to the offset, a fit loses a quarter and more; with the offset from all pixels it loses nothing.
    assert!(shifted.median_of("fit") < 0.8, "{}", shifted.median_of("fit"));
    assert!(shifted.median_of("fit_offset") > 0.97, "{}", shifted.median_of("fit_offset"));
    assert!(shifted.offset_error_ev < 0.03, "{}", shifted.offset_error_ev);
    assert!(good.median_of("gmvae").is_nan(), "there is no model to ask");
    assert!(good.median_of("pipeline") > 0.96, "{}", good.median_of("pipeline"));
    let coverage: Vec<f64> = good.pipeline.risk_coverage.iter().map(|p| p[0]).collect();
    assert!(coverage.windows(2).all(|w| w[0] < w[1]) && coverage.last().is_some_and(|c| *c <= 1.0));
}

#[test]
fn a_report_reads_back_and_has_its_pictures() {
    let mut subject = subject();
    let plan = StudyPlan { offsets_ev: vec![0.0], ..plan() };
    let study = study(&mut subject, plan, &mut |_, _| {}).unwrap();
    let references = Arc::clone(&subject.recipe.references);
    let report = Report::new(references.sha256.clone(), None, Some(study), None, None);
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(json["study"]["phases"].as_array().unwrap().len(), 5);
    assert!(json["targets"].as_array().unwrap().iter().all(|t| t["met"].is_boolean()));
    let pictures = pictures(&report, &references);
    let page = report.markdown(&pictures);
    for picture in &pictures {
        assert!(page.contains(&picture.file), "{}", picture.file);
        assert!(picture.svg.starts_with("<svg") && !picture.svg.contains("NaN"), "{}", picture.file);
    }
    assert!(pictures.len() >= 6, "{} pictures", pictures.len());
    // Every row of a table has as many columns as its head.
    for rows in page.split("\n\n").filter(|part| part.starts_with('|')) {
        let columns: Vec<usize> = rows.trim().lines().map(|line| line.matches('|').count()).collect();
        assert!(columns.iter().all(|c| *c == columns[0]), "{rows}");
    }
}
