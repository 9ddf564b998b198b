//! Holds what is written of metrics (docs/metrics.md, rules, dashboard) against the names that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const NAMES: &str = include_str!("names.rs");
const DESCRIBED: &str = include_str!("metrics.rs");
const PAGE: &str = include_str!("../../docs/metrics.md");
const RULES: &str = include_str!("../../deploy/prometheus/phasewatch.rules.yml");
const TESTS_OF_RULES: &str = include_str!("../../deploy/prometheus/phasewatch.rules.test.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/phasewatch.json");

/// Every metric: its name, with its constant and the kind that its comment begins with.
fn metrics() -> BTreeMap<&'static str, (&'static str, String)> {
    let mut metrics = BTreeMap::new();
    let mut comment = "";
    for line in NAMES.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            comment = if comment.is_empty() { text } else { comment };
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let (constant, rest) = rest.split_once(": &str = \"").unwrap();
            let kind = comment.split([',', ':']).next().unwrap().to_lowercase();
            metrics.insert(rest.strip_suffix("\";").unwrap(), (constant, kind));
            comment = "";
        }
    }
    assert!(metrics.len() > 60);
    metrics
}

/// The names of metrics in a text, without what Prometheus appends to those of histograms.
fn named(text: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("phasewatch_"));
    // Only histograms end in their unit and have these appended.
    words
        .map(|word| {
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            stem.filter(|stem| stem.ends_with("_seconds")).unwrap_or(word)
        })
        .collect()
}

#[test]
fn the_page_of_metrics_has_all_of_them_and_no_others() {
    let metrics = metrics();
    let mut seen = BTreeSet::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `phasewatch_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 8, "{row}");
        let name = cells[1].trim_matches('`');
        let (_, kind) = metrics.get(name).unwrap_or_else(|| panic!("no such metric: {name}"));
        assert_eq!(cells[2], kind, "the type of {name}");
        assert!(!cells[5].is_empty(), "{name} has no meaning");
        assert!(seen.insert(name), "{name} has two rows");
        let unit = ["bytes", "seconds"]
            .into_iter()
            .find(|unit| name.trim_end_matches("_total").ends_with(&format!("_{unit}")));
        assert!(unit.is_none_or(|unit| cells[3] == unit), "the unit of {name}");
    }
    let missing: Vec<_> = metrics.keys().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks {missing:?}");
}

#[test]
fn every_metric_is_described_as_what_it_is() {
    for (name, (constant, kind)) in metrics() {
        let described = DESCRIBED
            .split("describe_")
            .filter_map(|call| call.split(';').next())
            .find(|call| call.split(['(', ',', ')']).any(|word| word.trim() == format!("names::{constant}")));
        let described = described.unwrap_or_else(|| panic!("{name} is not described"));
        assert!(described.starts_with(&kind), "{name} is described as another kind than {kind}");
        let ends = name.ends_with("_total");
        assert_eq!(ends, kind == "counter", "{name}: counters end in _total, and nothing else does");
    }
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_there_are() {
    let metrics = metrics();
    let lines = |text: &'static str, key: &'static str| {
        text.lines().filter_map(move |line| line.trim().strip_prefix(key)).collect::<Vec<_>>()
    };
    let rules = lines(RULES, "expr: ");
    assert!(rules.len() > 10 && rules.len() == RULES.matches("- alert: ").count());
    let panels = lines(DASHBOARD, "\"expr\": ");
    assert!(panels.len() > 15);
    for expression in rules.into_iter().chain(panels) {
        for name in named(expression) {
            assert!(metrics.contains_key(name), "no such metric: {name} in {expression}");
        }
    }
}

#[test]
fn every_rule_is_tested_to_fire_and_not_to() {
    for rule in RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let tests = TESTS_OF_RULES.split("eval_time:").skip(1).filter(|test| {
            test.split(['\n', ',']).any(|word| word.trim().strip_prefix("alertname: ") == Some(rule))
        });
        let (silent, fires): (Vec<_>, Vec<_>) = tests.partition(|test| test.contains("exp_alerts: []"));
        assert!(!fires.is_empty(), "no test has {rule} fire");
        assert!(!silent.is_empty(), "no test has {rule} silent");
    }
}

#[test]
fn a_bucket_of_a_histogram_is_the_histogram() {
    let found = named("rate(phasewatch_a_seconds_bucket[5m]) + phasewatch_b_count");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["phasewatch_a_seconds", "phasewatch_b_count"]);
}

#[test]
fn nothing_is_counted_under_a_name_of_its_own() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                for count in ["counter!(", "gauge!(", "histogram!("] {
                    let own =
                        text.split(count).skip(1).find(|rest| rest.trim_start().starts_with("\"phasewatch_"));
                    assert!(own.is_none(), "{}: a metric that is not in names.rs", path.display());
                }
            }
        }
    }
    assert!(files > 300, "only {files} files were found");
}

#[test]
fn the_dashboard_has_a_row_for_each_question_and_no_panel_over_another() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|row| &row["title"]).collect();
    let questions = ["coming", "keeping up", "lost", "deciding", "filling"];
    for question in questions {
        assert!(rows.iter().any(|title| title.as_str().unwrap().contains(question)), "{question}: {rows:?}");
    }
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have one id: {panel}");
        assert!(panel["type"] == "row" || !panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(place.0 < 24 && taken.insert(place), "{} lies over another panel", panel["title"]);
        }
    }
}
