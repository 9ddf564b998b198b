//! A webhook: an alert as the body of a POST.
//!
//! Nothing of its address but the host is ever said, since the path of a chat's webhook is its password; nor is what it answers,
//! which may repeat the path. Redirections are not followed: they would take the alert, and its headers, elsewhere.
//!
//! 2xx: delivered. 400, 413 and 422: the receiver does not want this alert. Everything else, no answer included: later, after
//! `Retry-After` where it says so (seconds or a date).

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::chat;
use super::output::Answer;
use crate::damage::Level;
use crate::damage::desk::Parcel;
use crate::settings::{ChatFormat, SecretUrl, WebhookAddress, WebhookSettings};

/// A webhook, opened.
#[derive(Debug)]
pub struct Webhook {
    pub(super) name: String,
    pub(super) min_level: Level,
    format: ChatFormat,
    /// What is wrong with it, else.
    way: Result<Way, String>,
}

struct Way {
    client: Client,
    url: SecretUrl,
    headers: HeaderMap,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Opens it, with secrets from what `variable` reads.
    pub(super) fn open(settings: &WebhookSettings, variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            name: settings.name.clone(),
            min_level: settings.min_level,
            format: settings.format,
            way: Way::open(settings, variable),
        }
    }

    pub(super) async fn deliver(&self, parcel: &Parcel) -> Answer {
        let way = match &self.way {
            Ok(way) => way,
            Err(error) => return Answer::failed(error.clone(), None),
        };
        let body = chat::body(self.format, parcel).to_string();
        let request = way
            .client
            .post(way.url.expose().clone())
            .headers(way.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", digest(&parcel.key))
            .body(body);
        match request.send().await {
            Ok(response) => judge(response.status(), response.headers(), way.url.expose(), Utc::now()),
            Err(error) => Answer::failed(format!("{}: {}", way.url, words(error)), None),
        }
    }
}

impl Way {
    fn open(settings: &WebhookSettings, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let need = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("the environment variable {name} is not set"))
        };
        let url = match &settings.address {
            WebhookAddress::Url(url) => url.clone(),
            WebhookAddress::Variable(name) => {
                let url = SecretUrl::parse(&need(name)?);
                url.ok_or_else(|| {
                    format!("what the environment variable {name} holds is not https://host/path")
                })?
            }
        };
        if url.is_open_on_the_way() && !settings.allow_http {
            return Err(format!(
                "{url}: what is sent over http can be read on the way, and allow_http is not set"
            ));
        }
        let headers = headers(&settings.headers_env, need)?;
        let builder = Client::builder()
            .timeout(Duration::from_secs_f64(settings.timeout_s))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("phasewatch/", env!("CARGO_PKG_VERSION")))
            // A machine without certificates can speak to itself all the same.
            .tls_built_in_root_certs(url.expose().scheme() == "https");
        let client = builder.build().map_err(|error| format!("{url}: {}", words(error)))?;
        Ok(Self { client, url, headers })
    }
}

fn headers(
    wanted: &BTreeMap<String, String>,
    need: impl Fn(&str) -> Result<String, String>,
) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (header, variable) in wanted {
        let name = HeaderName::from_bytes(header.as_bytes()).map_err(|_| format!("{header} is no header"))?;
        let value = HeaderValue::from_str(&need(variable)?);
        let mut value = value
            .map_err(|_| format!("what the environment variable {variable} holds cannot be a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// What an answer means.
fn judge(status: StatusCode, headers: &HeaderMap, url: &Url, now: DateTime<Utc>) -> Answer {
    let said = format!("status {}", status.as_u16());
    if status.is_success() {
        return Answer::delivered(said);
    }
    if status.is_redirection() {
        let to = headers.get(LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
        let host = to.as_ref().and_then(Url::host_str).unwrap_or("nowhere");
        return Answer::failed(
            format!("{said}: it wants us to go to {host}; name that address if it is meant"),
            None,
        );
    }
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Answer::refused(format!("{said}: it does not want this alert; is its format right?"))
        }
        _ => Answer::failed(said, headers.get(RETRY_AFTER).and_then(|value| retry_after(value, now))),
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(value: &HeaderValue, now: DateTime<Utc>) -> Option<TimeDelta> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(TimeDelta::seconds(i64::from(seconds)));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.with_timezone(&Utc) - now).max(TimeDelta::zero()))
}

/// An error and what lies behind it, without the address, which may hold a secret.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}

/// What a header can hold of any key.
fn digest(key: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(key.as_bytes()) {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::desk::Outcome;
    use crate::settings::Settings;

    fn judged(status: u16, header: Option<(HeaderName, &str)>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        let url = Url::parse("https://chat.example/hooks/s3cr3t").unwrap();
        let now = "2026-11-28T10:00:00Z".parse().unwrap();
        judge(StatusCode::from_u16(status).unwrap(), &headers, &url, now).outcome
    }

    fn waits(outcome: Outcome) -> Option<i64> {
        match outcome {
            Outcome::Failed { retry_after, .. } => retry_after.map(|after| after.num_seconds()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(judged(204, None), Outcome::Delivered);
        assert!(matches!(judged(400, None), Outcome::Refused { .. }));
        for later in [301, 401, 404, 429, 500, 503] {
            assert_eq!(waits(judged(later, None)), None, "{later}");
        }
        assert_eq!(waits(judged(429, Some((RETRY_AFTER, "17")))), Some(17));
        assert_eq!(waits(judged(503, Some((RETRY_AFTER, "Sat, 28 Nov 2026 10:01:00 GMT")))), Some(60));
        assert_eq!(waits(judged(429, Some((RETRY_AFTER, "Sat, 28 Nov 2026 09:00:00 GMT")))), Some(0));
        assert_eq!(waits(judged(429, Some((RETRY_AFTER, "soon")))), None);
        let Outcome::Failed { error, .. } = judged(307, Some((LOCATION, "https://evil.example/s3cr3t")))
        else {
            panic!()
        };
        assert!(error.contains("evil.example") && !error.contains("s3cr3t"), "{error}");
    }

    #[tokio::test]
    async fn nothing_of_an_address_but_its_host_is_ever_said() {
        let text = "[[alerts.webhook]]\nurl = \"http://127.0.0.1:9/hooks/s3cr3t\"\n\
                    headers_env = { Authorization = \"TOKEN\" }\n\
                    [[alerts.webhook]]\nurl_env = \"ABSENT\"\n[[alerts.webhook]]\nurl_env = \"WRONG\"\n";
        let settings = Settings::from_layers(&[("/site/pw.toml".into(), text.into())], []).unwrap();
        let variable = |name: &str| (name != "ABSENT").then(|| "s3cr3t".to_owned());
        let parcel = super::super::sample::test_parcel(Level::Critical, "a", Utc::now()).unwrap();
        let mut said = Vec::new();
        for settings in &settings.alerts.webhooks {
            let webhook = Webhook::open(settings, variable);
            let answer = webhook.deliver(&parcel).await;
            assert!(matches!(answer.outcome, Outcome::Failed { .. }));
            said.push(format!("{} {webhook:?} {answer:?}", answer.said));
        }
        assert!(said[0].starts_with("http://127.0.0.1:9/…: error sending request"), "{}", said[0]);
        assert!(said[1].contains("ABSENT is not set") && said[2].contains("WRONG"), "{said:?}");
        assert!(!said.concat().contains("s3cr3t"), "{said:?}");
    }

    #[test]
    fn a_key_fits_into_a_header_whatever_is_in_it() {
        assert!(HeaderValue::from_str(&digest("s1:phase ü\n:1:over")).is_ok());
        assert_ne!(digest("a"), digest("b"));
    }
}
