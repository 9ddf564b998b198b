//! Alerts as text for people: what Slack and Mattermost take at an incoming webhook.
//!
//! Both take `{"text": …, "attachments": […]}`; they differ in their markup. Names of samples and regions come from the stream:
//! nothing in them may call a channel or pose as a link.

use serde_json::{Value, json};

use crate::damage::desk::{Occasion, Parcel};
use crate::damage::{Level, Verdict};
use crate::settings::ChatFormat;

/// The body of a message in `format`.
#[must_use]
pub(super) fn body(format: ChatFormat, parcel: &Parcel) -> Value {
    match format {
        ChatFormat::Json => parcel.header(),
        ChatFormat::Slack => message(parcel, slack),
        ChatFormat::Mattermost => message(parcel, mattermost),
    }
}

fn message(parcel: &Parcel, plain: fn(&str) -> String) -> Value {
    let view = &parcel.view;
    let title = title(parcel);
    let place = [view.sample.as_deref(), view.region.as_deref()].into_iter().flatten().collect::<Vec<_>>();
    let field = |title: &str, value: &str, short: bool| json!({ "title": title, "value": plain(value), "short": short });
    let mut fields = vec![field("Scan", &view.scan_id, true)];
    if !place.is_empty() {
        fields.push(field("Sample", &place.join(", "), true));
    }
    fields.push(field("Signal", &format!("{} of {}", view.signal, view.of), true));
    fields.push(field("Most likely", verdict(view.verdict), true));
    for (title, list) in [("For", &view.evidence_for), ("Against", &view.evidence_against)] {
        if !list.is_empty() {
            fields.push(field(title, &list.join("; "), false));
        }
    }
    if !view.advice.is_empty() {
        fields.push(field("Advice", &view.advice, false));
    }
    let mut attachment = json!({
        "color": color(parcel),
        "fallback": plain(&format!("{title}: {}", view.text)),
        "text": plain(&view.text),
        "fields": fields,
    });
    if let (Some(picture), Some(attachment)) = (&view.picture, attachment.as_object_mut()) {
        attachment.insert("title".into(), "Phase map".into());
        attachment.insert("title_link".into(), picture.as_str().into());
    }
    // The text is what a phone shows: all that matters is in it.
    json!({ "text": format!("{}: {}", plain(&title), plain(&view.text)), "attachments": [attachment] })
}

fn title(parcel: &Parcel) -> String {
    let view = &parcel.view;
    let what = match parcel.occasion {
        Occasion::Raised | Occasion::Acknowledged => view.level.name().to_uppercase(),
        Occasion::Reminder { .. } => {
            format!("{}, nobody has acknowledged it", view.level.name().to_uppercase())
        }
        Occasion::Over => "Over".to_owned(),
    };
    let kind = match (view.test, view.simulated) {
        (true, _) => "TEST, ",
        (false, true) => "simulated, ",
        (false, false) => "",
    };
    format!("{kind}{what}: {}", view.scan_id)
}

fn color(parcel: &Parcel) -> &'static str {
    match (parcel.occasion, parcel.view.level) {
        (Occasion::Over, _) => "#2e7d32",
        (_, Level::Notice) => "#1565c0",
        (_, Level::Warning) => "#ef6c00",
        (_, Level::Critical) => "#c62828",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Beam => "the beam damages the sample",
        Verdict::Chemistry => "the sample changes by itself",
        Verdict::Instrument => "the instrument",
        Verdict::Undecided => "not decided",
    }
}

/// Slack's markup begins with three characters, which are escaped.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Markdown; a name after `@` would call people, and an invisible space keeps it from that.
fn mattermost(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '@' => plain.push_str("@\u{200b}"),
            '\\' | '*' | '_' | '`' | '[' | ']' | '~' | '<' | '>' | '#' | '|' | '!' => {
                plain.push('\\');
                plain.push(c);
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::super::sample::test_parcel;
    use super::*;

    fn parcel() -> Parcel {
        let mut parcel = test_parcel(Level::Critical, "a", Utc::now()).unwrap();
        parcel.view.sample = Some("<!channel> & @all".into());
        parcel.view.picture = Some("http://127.0.0.1:8787/api/v1/scans/s/phase_map.png".into());
        parcel
    }

    #[test]
    fn slack_gets_text_colour_and_picture_and_no_call_of_a_channel() {
        let body = body(ChatFormat::Slack, &parcel());
        let text = body["text"].as_str().unwrap();
        assert!(text.starts_with("TEST, CRITICAL: alert-test: this is a test"), "{text}");
        let attachment = &body["attachments"][0];
        assert_eq!(attachment["color"], "#c62828");
        assert!(attachment["title_link"].as_str().unwrap().ends_with("phase_map.png"));
        let all = body.to_string();
        assert!(all.contains("&lt;!channel&gt; &amp; @all") && !all.contains("<!channel>"), "{all}");
    }

    #[test]
    fn mattermost_gets_the_same_in_its_markup() {
        let body = body(ChatFormat::Mattermost, &parcel());
        let all = body.to_string();
        assert!(!all.contains("@all") && body["text"].is_string(), "{all}");
        let mut over = parcel();
        over.occasion = Occasion::Over;
        let text = super::body(ChatFormat::Mattermost, &over)["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("TEST, Over"), "{text}");
    }

    #[test]
    fn a_program_gets_the_alert_as_it_is() {
        let body = body(ChatFormat::Json, &parcel());
        assert_eq!((&body["level"], &body["test"]), (&json!("critical"), &json!(true)));
        assert_eq!(body["idempotency_key"], "alert-test:test/a:1:critical");
    }
}
