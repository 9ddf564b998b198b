//! The picture: map, shares, progress, alerts and troubles, put into whatever room there is.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Gauge, Paragraph, Wrap};

use super::client::{Scan, Seen};
use super::half_blocks;

/// Columns that words get beside the map.
const WORDS: u16 = 38;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub seen: &'a Seen,
    /// Why the daemon does not answer.
    pub lost: Option<&'a str>,
    pub colours: bool,
}

/// Draws it.
pub(super) fn draw(area: &mut Frame<'_>, shown: &Shown<'_>) {
    let alerts = alert_lines(shown);
    let below = (alerts.len() as u16).min(area.area().height / 3);
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(below),
        Constraint::Length(1),
    ]);
    let [top, middle, alarm, keys] = rows.areas(area.area());
    area.render_widget(Paragraph::new(head(shown)), top);
    let wide = middle.width > WORDS + 20;
    let parts = if wide {
        Layout::horizontal([Constraint::Min(20), Constraint::Length(WORDS)]).areas::<2>(middle)
    } else {
        Layout::vertical([Constraint::Min(3), Constraint::Length(10)]).areas::<2>(middle)
    };
    map(area, shown, parts[0]);
    words(area, shown, parts[1]);
    area.render_widget(Paragraph::new(alerts).wrap(Wrap { trim: true }), alarm);
    let quiet = Style::new().fg(Color::DarkGray);
    let text = "q quit   n, p next and previous scan   l latest scan";
    area.render_widget(Paragraph::new(Span::styled(text, quiet)), keys);
}

fn head<'a>(shown: &Shown<'a>) -> Vec<Line<'a>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    match shown.seen.scan() {
        None if shown.lost.is_some() => lines.push(Line::default()),
        None => lines.push(Line::styled("no scan yet", bold)),
        Some(scan) => {
            let mut spans = vec![Span::styled(scan.scan_id.as_str(), bold)];
            let more = [Some(scan.beamline.as_str()), scan.sample.as_deref(), scan.region.as_deref()];
            for word in more.into_iter().flatten() {
                spans.push(Span::raw("  "));
                spans.push(Span::raw(word));
            }
            if scan.simulated {
                spans.push(Span::styled("  SIMULATED", Style::new().fg(Color::Yellow)));
            }
            lines.push(Line::from(spans));
        }
    }
    if let Some(why) = shown.lost {
        let red = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        lines.push(Line::styled(format!("NO ANSWER, what is shown is old: {why}"), red));
    } else if shown.seen.health.status != "ready" || !shown.seen.health.troubles.is_empty() {
        let first = shown.seen.health.troubles.first();
        let what = first.map_or(String::new(), |trouble| format!(": {}: {}", trouble.part, trouble.what));
        let style =
            Style::new().fg(if shown.seen.health.status == "ready" { Color::Yellow } else { Color::Red });
        lines.push(Line::styled(format!("{}{what}", shown.seen.health.status), style));
    }
    lines
}

fn map(area: &mut Frame<'_>, shown: &Shown<'_>, place: Rect) {
    match &shown.seen.map {
        Some(map) => _ = half_blocks::draw(map, place, area.buffer_mut(), shown.colours),
        None => area.render_widget(Paragraph::new("no map yet"), place),
    }
}

fn words(area: &mut Frame<'_>, shown: &Shown<'_>, place: Rect) {
    let Some(scan) = shown.seen.scan() else { return };
    let [bar, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(place);
    let ratio = scan.measured_values as f64 / scan.planned_values.max(1) as f64;
    let label = format!("energy {} of {}  {:.0} %", scan.energies_done, scan.energies_total, 100.0 * ratio);
    area.render_widget(Gauge::default().ratio(ratio.clamp(0.0, 1.0)).label(label), bar);
    area.render_widget(Paragraph::new(scan_lines(scan, shown.colours)).wrap(Wrap { trim: true }), rest);
}

fn scan_lines(scan: &Scan, colours: bool) -> Vec<Line<'_>> {
    let mut lines = vec![Line::raw(format!("{}, map {}", scan.state, scan.generation)), Line::default()];
    for (index, phase) in scan.fractions.iter().enumerate() {
        let [r, g, b] = phase.colour;
        let mark = if colours {
            Span::styled("■ ", Style::new().fg(Color::Rgb(r, g, b)))
        } else {
            Span::raw(format!("{} ", char::from(b'A' + (index.min(25)) as u8)))
        };
        lines.push(Line::from(vec![
            mark,
            Span::raw(format!("{:5.1} %  {}", 100.0 * phase.fraction, phase.title)),
        ]));
    }
    lines.push(Line::default());
    for name in ["classified", "mixture", "ambiguous", "unknown", "saturated"] {
        if let Some(count) = scan.status_counts.get(name).filter(|count| **count > 0) {
            lines.push(Line::raw(format!("{count:>8} {name}")));
        }
    }
    let gaps = scan.gaps.len();
    if gaps > 0 {
        let text = format!("messages missing in {gaps} places");
        lines.push(Line::styled(text, Style::new().fg(Color::Yellow)));
    }
    if let Some(text) = scan.advice.as_ref().and_then(|advice| advice.text.as_deref()) {
        lines.push(Line::default());
        lines.push(Line::raw(format!("next: {text}")));
    }
    if let Some(note) = scan.notes.last() {
        lines.push(Line::default());
        lines.push(Line::styled(note.as_str(), Style::new().fg(Color::Yellow)));
    }
    lines
}

fn alert_lines<'a>(shown: &Shown<'a>) -> Vec<Line<'a>> {
    let line = |alert: &'a super::client::Alert| {
        let colour = match alert.level.as_str() {
            "critical" => Color::Red,
            "warning" => Color::Yellow,
            _ => Color::Reset,
        };
        let seen = if alert.acknowledged { " (acknowledged)" } else { "" };
        let text = format!("{}{seen}  {}  {}", alert.level.to_uppercase(), alert.scan_id, alert.text);
        Line::styled(text, Style::new().fg(colour))
    };
    shown.seen.alerts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::client::{Alert, Fraction, Health, Map, Trouble};
    use super::*;

    fn text(seen: &Seen, lost: Option<&str>, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|area| draw(area, &Shown { seen, lost, colours: false })).unwrap();
        let buffer = terminal.backend().buffer();
        (0..height)
            .map(|row| (0..width).map(|column| buffer[(column, row)].symbol()).collect::<String>() + "\n")
            .collect()
    }

    fn seen() -> Seen {
        let phase =
            |title: &str, fraction| Fraction { title: title.to_owned(), fraction, ..Fraction::default() };
        let scan = Scan {
            scan_id: "NVPF_7".to_owned(),
            state: "running".to_owned(),
            simulated: true,
            energies_done: 3,
            energies_total: 12,
            measured_values: 25,
            planned_values: 100,
            generation: 4,
            fractions: vec![phase("x = 1", 0.25), phase("x = 3", 0.75)],
            ..Scan::default()
        };
        let map = Map {
            shape: [4, 4],
            statuses: vec!["unmeasured".to_owned(), "classified".to_owned()],
            phase: vec![1; 16],
            status: vec![1; 16],
            ..Map::default()
        };
        let alert = Alert { level: "critical".to_owned(), text: "10 % lost".to_owned(), ..Alert::default() };
        let health = Health { status: "ready".to_owned(), troubles: Vec::new() };
        Seen { scans: vec![scan], shown: Some(0), map: Some(map), alerts: vec![alert], health }
    }

    #[test]
    fn says_what_an_operator_asks_first() {
        let text = text(&seen(), None, 100, 30);
        for wanted in
            ["NVPF_7", "SIMULATED", "energy 3 of 12  25 %", "75.0 %  x = 3", "CRITICAL", "10 % lost", "BBBB"]
        {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        assert!(!text.contains("NO ANSWER"));
    }

    #[test]
    fn what_is_wrong_is_loud() {
        let old = text(&seen(), Some("connection refused"), 100, 30);
        assert!(old.contains("NO ANSWER, what is shown is old: connection refused"), "{old}");
        let mut ill = seen();
        ill.health = Health {
            status: "in trouble".to_owned(),
            troubles: vec![Trouble { part: "journal".to_owned(), what: "the disk is full".to_owned() }],
        };
        assert!(text(&ill, None, 100, 30).contains("in trouble: journal: the disk is full"));
        assert!(text(&Seen::default(), None, 80, 24).contains("no scan yet"));
    }

    #[test]
    fn any_size_will_do() {
        for (width, height) in [(1, 1), (20, 5), (30, 20), (300, 100)] {
            text(&seen(), None, width, height);
            text(&Seen::default(), Some("gone"), width, height);
        }
    }
}
