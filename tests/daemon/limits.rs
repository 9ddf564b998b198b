//! `docs/limits.md` names every limit that is a setting, metrics that exist, and tests that exist.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// All Rust code below a folder.
fn code(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Cells of the rows of tables, without their heads.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let lines = document.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| !matches!(cells[0], "setting" | "fixed")).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_limit_stands_in_the_table() {
    let defaults: toml::Table = text("config/default.toml").parse().unwrap();
    let document = text("docs/limits.md");
    let named: Vec<&str> =
        rows(&document).iter().flat_map(|row| quoted(row[0]).collect::<Vec<_>>()).collect();
    let limits = defaults["limits"].as_table().unwrap().keys().map(|key| format!("limits.{key}"));
    let others = ["publish.queue_bytes", "journal.kept_bytes", "journal.record_bytes"].map(str::to_owned);
    for key in limits.chain(others) {
        assert!(named.contains(&key.as_str()), "{key} is not in docs/limits.md");
    }
    for key in named {
        let (section, name) = key.split_once('.').unwrap();
        assert!(defaults[section].get(name).is_some(), "{key} is no setting");
    }
}

#[test]
fn every_limit_has_a_test_and_its_metrics_are_there() {
    let mut all = String::new();
    for folder in ["src", "tests"] {
        code(&root().join(folder), &mut all);
    }
    let document = text("docs/limits.md");
    for row in rows(&document) {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(quoted(row[4]).count() > 0, "no test: {row:?}");
        for test in quoted(row[4]) {
            // The mark, other marks maybe, then the function.
            let is_test = all.match_indices(&format!("fn {test}(")).any(|(at, _)| {
                let before = all[..at].lines().rev().take(4).map(str::trim);
                before
                    .take_while(|line| *line != "}")
                    .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
            });
            assert!(is_test, "{test} is no test");
        }
        for metric in quoted(row[3]).filter(|word| word.starts_with("phasewatch_")) {
            let name = metric.split('{').next().unwrap();
            assert!(all.contains(&format!("\"{name}\"")), "{name} is no metric");
        }
    }
}
