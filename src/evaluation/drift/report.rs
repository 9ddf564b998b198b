//! The table of a drift evaluation.

use super::DriftReport;

impl DriftReport {
    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("# Drift\n\n");
        match (&self.study, &self.scan_id) {
            (_, Some(scan)) => text += &format!("Moved copies of {scan}.\n\n"),
            (Some(study), None) => {
                text += &format!("Drawn scans, {} incident counts, seed {}.\n\n", study.counts, study.seed);
            }
            (None, None) => {}
        }
        text += "Error: distance between estimated and true displacement, pixels. Accuracy of the phases, pixels \
                 that are in every image (interior: away from other matter, or clear labels): lying still, \
                 drifting without registration, drifting with it.\n\n";
        let head = [
            "case",
            "energies",
            "applied",
            "error median",
            "95 %",
            "largest",
            "errors / stated",
            "still",
            "without",
            "with",
            "interior still",
            "without",
            "with",
            "said",
        ];
        text += &format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
        for row in &self.rows {
            let [median, most, largest] = row.error;
            let [a, b, c] = row.accuracy;
            let [d, e, f] = row.interior;
            text += &format!(
                "| {} | {} | {}/{} | {median:.3} | {most:.3} | {largest:.2} | {:.2} | {a:.4} | {b:.4} | {c:.4} | {d:.4} | {e:.4} | {f:.4} | {} |\n",
                row.case, row.energies, row.applied, row.draws, row.error_ratio, row.verdict
            );
        }
        text
    }
}
