//! The page of a study.

use std::fmt::Write as _;

use super::summary::{DamageReport, EARLY, MOST, NEAR, ShareOf, name};
use crate::damage::{Level, Verdict};

const VERDICTS: [Verdict; 4] = [Verdict::Beam, Verdict::Chemistry, Verdict::Instrument, Verdict::Undecided];

impl DamageReport {
    /// As Markdown. `command` is what made it.
    #[must_use]
    pub fn markdown(&self, command: &str) -> String {
        let study = &self.study;
        let mut text = format!(
            "# Damage\n\n`{command}`: {} scans without damage, {} with it, {} of samples that change by themselves, operando, and {} that are seen often, seed {}. \
             48 × 48 pixels, up to eight particles in five phases, 1000 counts, 20 energies and two sentinels (509.0 and 518.2 eV) of six \
             visits each; drift of up to 4 pixels, a ring that decays by up to 4 % and is topped up, flicker of up to 0.5 %, an energy \
             offset of up to 0.2 eV; half of the scans of phases up to 0.05 eV and 5 % off their references. Damaged: 10 to 80 % of all that the \
             beam can take of the white line of the field is done in the end. Seen often: damaged like them, 63 to 90 % done, with 21 visits. Shares are given with the bound that they keep with 95 %.\n",
            study.undamaged, study.damaged, study.evolving, study.often, study.seed
        );
        self.alarms(&mut text);
        self.found(&mut text);
        self.visits(&mut text);
        self.rates(&mut text);
        self.critical(&mut text);
        self.verdicts(&mut text);
        self.named(&mut text);
        text
    }

    fn alarms(&self, text: &mut String) {
        *text += "\n## False alarms\n\nScans without damage in which anything was told.\n\n\
                  | level or above | scans with an alert | at most | that may be damage, by what it says | at most | what spoke first |\n\
                  |---|---:|---:|---:|---:|---|\n";
        for row in &self.alarms {
            let by: Vec<String> =
                row.by_signal.iter().map(|(what, count)| format!("{what}: {count}")).collect();
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                row.level.name(),
                parts(&row.scans),
                percent(row.scans.high),
                parts(&row.may_be_damage),
                percent(row.may_be_damage.high),
                by.join(", ")
            );
        }
    }

    fn found(&self, text: &mut String) {
        let quarter = percent(EARLY);
        _ = write!(
            text,
            "\n## Damage that was found\n\nFound: an alert of any level that says beam, or does not decide. Early: before {quarter} of all that the beam \
             can do to the white line of the field was done. In time: every sentinel had its second visit before that, as there is nothing to \
             compare before it. *Of the scan*: before {quarter} of what was done in this scan; *of the line*: before {quarter} of the white line was \
             lost.\n\n\
             | scans | found | early | at least | in time | early, of those in time | at least | of the scan | of the line | done when found, median | one in ten exceeds | visits, median |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for row in &self.found {
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.kind,
                parts(&row.found),
                parts(&row.early),
                percent(row.early.low),
                parts(&row.in_time),
                parts(&row.early_in_time),
                percent(row.early_in_time.low),
                parts(&row.early_of_scan),
                parts(&row.early_of_line),
                percent(row.done[0]),
                percent(row.done[1]),
                figure(row.visits, 0)
            );
        }
    }

    fn visits(&self, text: &mut String) {
        let [notice, warning, critical] = Level::ALL.map(Level::name);
        _ = write!(
            text,
            "\n## Visit by visit\n\nScans with an alert by then.\n\n\
             | visits | undamaged | damaged, {notice} | {warning} | {critical} | done, mean |\n|---|---:|---:|---:|---:|---:|\n"
        );
        for row in &self.visits {
            let [notice, warning, critical] = row.damaged;
            let when = if row.over { "settled".to_owned() } else { row.visits.to_string() };
            _ = writeln!(
                text,
                "| {when} | {} | {notice} | {warning} | {critical} | {} |",
                row.undamaged,
                percent(row.done)
            );
        }
    }

    fn rates(&self, text: &mut String) {
        _ = write!(
            text,
            "\n## Initial rates\n\nShare of the white line that is lost per MGy at the start, told over true, in damaged scans.\n\n\
             | when | told | told/true, median | error, median | within {} | 90 % interval holds | half its width, median |\n\
             |---|---:|---:|---:|---:|---:|---:|\n",
            percent(NEAR.0)
        );
        for row in &self.rates {
            let told =
                if row.rates > 0 { format!("{}/{}", row.told, row.rates) } else { row.told.to_string() };
            _ = writeln!(
                text,
                "| {} | {told} | {} | {} | {} | {} | {} |",
                row.when,
                figure(row.ratio, 2),
                percent(row.error),
                parts(&row.near),
                parts(&row.holds),
                percent(row.width)
            );
        }
    }

    fn critical(&self, text: &mut String) {
        _ = write!(
            text,
            "\n## Critical doses\n\nAt the end of damaged scans. Most of the change was seen where {} or more of what can be lost is lost. Of a field it is all that \
             its white line can lose to reduction over how fast it loses it at first, whatever the rates of its phases. Plateau known: the watch is told that all ends as \
             the most reduced reference.\n\n\
             | of | claimed | error, median | within {} | 90 % interval holds |\n|---|---:|---:|---:|---:|\n",
            percent(MOST),
            percent(NEAR.1)
        );
        for row in &self.critical {
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                row.kind,
                parts(&row.claimed),
                percent(row.error),
                parts(&row.near),
                parts(&row.holds)
            );
        }
    }

    fn verdicts(&self, text: &mut String) {
        *text += "\n## What lies behind it\n\nWhat the alert of the highest level said last.\n\n| scans | all | no alert |";
        VERDICTS.iter().for_each(|&verdict| _ = write!(text, " {} |", name(verdict)));
        *text += "\n|---|---:|---:|---:|---:|---:|---:|\n";
        for row in &self.verdicts {
            let told: usize = row.verdicts.values().sum();
            _ = write!(text, "| {} | {} | {} |", row.class.name(), row.scans, row.scans - told);
            for verdict in VERDICTS {
                _ = write!(text, " {} |", row.verdicts.get(name(verdict)).copied().unwrap_or(0));
            }
            *text += "\n";
        }
    }

    fn named(&self, text: &mut String) {
        for (what, numbers) in [
            ("Undamaged scans with an alert", &self.false_alarms),
            ("Damaged scans not found, or not early", &self.missed),
        ] {
            let list: Vec<String> = numbers.iter().map(usize::to_string).collect();
            let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
            _ = write!(text, "\n{what}, by number, the first ones: {list}.\n");
        }
    }
}

/// `3/1000 (0.3 %)`.
fn parts(share: &ShareOf) -> String {
    if share.whole == 0 {
        return "-".to_owned();
    }
    format!("{}/{} ({})", share.part, share.whole, percent(share.share))
}

fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", 100.0 * share) } else { "-".to_owned() }
}

fn figure(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() }
}
