//! The table as people read it.

use std::fmt::Write as _;

use super::{Expected, ScenarioRow};

/// A Markdown table of a run. With figures of `before`, accuracy and coverage are told as they were then, too.
#[must_use]
pub fn scenario_markdown(rows: &[ScenarioRow], before: Option<&Expected>) -> String {
    let mut text = String::from("| scenario | accuracy |");
    if before.is_some() {
        text.push_str(" before |");
    }
    text.push_str(" right of classified | coverage |");
    if before.is_some() {
        text.push_str(" before |");
    }
    text.push_str(" calibration error | false | Pearson | Pearson, nothing corrected | drift left, px | offset left, eV |\n");
    let columns = if before.is_some() { 12 } else { 10 };
    _ = writeln!(text, "|---|{}", "---:|".repeat(columns - 1));
    for row in rows {
        let score = &row.score;
        let was = before.map(|before| before.get(&row.name).copied().unwrap_or_default());
        _ = write!(text, "| {} | {} |", row.name, percent(score.accuracy()));
        if let Some(was) = was {
            _ = write!(text, " {} |", percent(was.accuracy.unwrap_or(f64::NAN)));
        }
        _ = write!(text, " {} | {} |", percent(score.right_of_classified()), percent(score.coverage()));
        if let Some(was) = was {
            _ = write!(text, " {} |", percent(was.coverage.unwrap_or(f64::NAN)));
        }
        let [drift, drift_95] = score.drift_left_px();
        let drift = if drift.is_nan() { "-".to_owned() } else { format!("{drift:.2} (95 %: {drift_95:.2})") };
        _ = writeln!(
            text,
            " {} | {} | {} | {} | {drift} | {:.3} |",
            percent(score.calibration()),
            percent(score.false_phases()),
            percent(score.pearson()),
            percent(score.raw_pearson()),
            score.energy_left_ev(),
        );
    }
    text
}

fn percent(share: f64) -> String {
    if share.is_nan() { "-".to_owned() } else { format!("{:.1}", 100.0 * share) }
}
