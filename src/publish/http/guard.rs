//! Who may change something: requests of the operator's own page and programs, not those that another page makes their browser send.
//!
//! - `Host` is a number, `localhost`, or the name of `http.public_url`: a page under a name that somebody leads to this address
//!   (DNS rebinding) has another.
//! - `Origin`, where it comes, is where we are: the `Host`, or `http.public_url`. Browsers send it with every POST.
//! - `Sec-Fetch-Site`, where it comes, says `same-origin` or `none`.
//! - The body is `application/json`, which no form of another page can send without asking first; nothing here answers such a question.
//! - `Authorization: Bearer …` has the token. A browser does not add it by itself.
//!
//! Who only reads is asked for the token where the daemon is told so ([`Guard::with_reading`]); else reading is free.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use sha2::{Digest as _, Sha256};

use crate::settings::is_numeric;

/// The rules.
#[derive(Clone, Default)]
pub struct Guard {
    /// Scheme, host and port of `http.public_url`.
    public: Option<Public>,
    token: Token,
    /// Whether reading wants the token, too.
    reading: bool,
    /// Whether who reads has to know us by an address or name of ours.
    by_name: bool,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("public", &self.public).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Public {
    origin: String,
    host: String,
}

#[derive(Clone, Default)]
enum Token {
    /// None is asked for.
    #[default]
    Open,
    /// Its digest: comparing digests tells nothing of how much of a guess is right.
    Digest([u8; 32]),
    /// One is asked for, and nobody knows it.
    Unknown,
}

const UNKNOWN_NAME: &str = "this name is not known here; set http.public_url, or use the address";

/// Why a request is refused.
pub(super) type Refusal = (StatusCode, &'static str);

impl Guard {
    /// The rules for a daemon that people reach at `public_url`.
    #[must_use]
    pub fn new(public_url: Option<&str>) -> Self {
        let public = public_url.and_then(|url| {
            let uri: Uri = url.parse().ok()?;
            let authority = uri.authority()?;
            let origin = format!("{}://{authority}", uri.scheme_str()?).to_lowercase();
            Some(Public { origin, host: authority.host().to_lowercase() })
        });
        Self { public, token: Token::Open, reading: false, by_name: false }
    }

    /// The same, asking for a token; with `None`, for one that nobody has.
    #[must_use]
    pub fn with_token(self, token: Option<&str>) -> Self {
        let token = token.filter(|token| !token.is_empty());
        Self { token: token.map_or(Token::Unknown, |token| Token::Digest(digest(token))), ..self }
    }

    /// The same, asking for the token also of those who only read.
    #[must_use]
    pub fn with_reading(self, reading: bool) -> Self {
        Self { reading, ..self }
    }

    /// The same, for a daemon that only this machine reaches: a page under a name that somebody leads here, or that lets another site's page ask, reads nothing.
    #[must_use]
    pub fn known_by_name(self) -> Self {
        Self { by_name: true, ..self }
    }

    /// Whether reading wants the token.
    pub(super) fn reading_wants_token(&self) -> bool {
        self.reading
    }

    /// Whether a request with these headers may read.
    pub(super) fn check_reading(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.reading {
            return self.check_token(headers);
        }
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_lowercase());
        if self.by_name && !self.is_ours(&text(HOST.as_str()).unwrap_or_default()) {
            return Err((StatusCode::MISDIRECTED_REQUEST, UNKNOWN_NAME));
        }
        if text("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return Err((StatusCode::FORBIDDEN, "another site's page may not do this"));
        }
        Ok(())
    }

    /// Whether a request with these headers may change something.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_lowercase());
        let host = text(HOST.as_str()).unwrap_or_default();
        if !self.is_ours(&host) {
            return Err((StatusCode::MISDIRECTED_REQUEST, UNKNOWN_NAME));
        }
        if text(ORIGIN.as_str()).is_some_and(|origin| !self.is_own_page(&origin, &host)) {
            return Err((StatusCode::FORBIDDEN, "another site's page may not do this"));
        }
        if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
            return Err((StatusCode::FORBIDDEN, "another site's page may not do this"));
        }
        let kind = text(CONTENT_TYPE.as_str()).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body has to be application/json"));
        }
        self.check_token(headers)
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let wanted = match &self.token {
            Token::Open => return Ok(()),
            Token::Unknown => {
                let what = "the variable that http.token_env or alerts.token_env names is not set: nobody may do this";
                return Err((StatusCode::FORBIDDEN, what));
            }
            Token::Digest(wanted) => wanted,
        };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        match given {
            Some(given) if digest(given.trim()) == *wanted => Ok(()),
            Some(_) => Err((StatusCode::FORBIDDEN, "this is not the token")),
            None => Err((StatusCode::UNAUTHORIZED, "this needs Authorization: Bearer and the token")),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        name == "localhost"
            || is_numeric(name)
            || self.public.as_ref().is_some_and(|public| public.host == name)
    }

    fn is_own_page(&self, origin: &str, host: &str) -> bool {
        let at_host = origin
            .split_once("://")
            .is_some_and(|(scheme, authority)| matches!(scheme, "http" | "https") && authority == host);
        at_host || self.public.as_ref().is_some_and(|public| public.origin == origin)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn status(guard: &Guard, list: &[(&'static str, &str)]) -> u16 {
        let mut headers = HeaderMap::new();
        let defaults = [("host", "127.0.0.1:8787"), ("content-type", "application/json")];
        // The last of several counts.
        for (name, value) in defaults.iter().chain(list) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        guard.check(&headers).err().map_or(200, |(status, _)| status.as_u16())
    }

    #[test]
    fn our_own_page_and_programs_may() {
        let guard = Guard::new(Some("https://stxm.example:8443/phasewatch"));
        for list in [
            &[][..],
            &[("origin", "http://127.0.0.1:8787")],
            &[
                ("host", "localhost:8787"),
                ("origin", "http://localhost:8787"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("host", "[::1]:8787")],
            &[("host", "10.0.0.7")],
            &[("host", "STXM.example:8443"), ("origin", "https://stxm.example:8443")],
            &[("origin", "https://stxm.example:8443")],
            &[("content-type", "application/json; charset=utf-8")],
        ] {
            assert_eq!(status(&guard, list), 200, "{list:?}");
        }
    }

    #[test]
    fn other_pages_forms_and_names_may_not() {
        let guard = Guard::new(Some("https://stxm.example"));
        for (list, wanted) in [
            (&[("origin", "https://evil.example")][..], 403),
            (&[("origin", "null")], 403),
            (&[("origin", "http://127.0.0.1:9999")], 403),
            (&[("origin", "https://stxm.example.evil.example")], 403),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[("host", "evil.example:8787"), ("origin", "http://evil.example:8787")], 421),
            (&[("host", "127.0.0.1.evil.example")], 421),
            (&[("content-type", "text/plain")], 415),
            (&[("content-type", "application/x-www-form-urlencoded")], 415),
        ] {
            assert_eq!(status(&guard, list), wanted, "{list:?}");
        }
    }

    #[test]
    fn a_token_is_asked_for_where_there_is_one() {
        let guard = Guard::new(None).with_token(Some("s3cr3t"));
        assert_eq!(status(&guard, &[]), 401);
        assert_eq!(status(&guard, &[("authorization", "Bearer s3cr3")]), 403);
        assert_eq!(status(&guard, &[("authorization", "Bearer s3cr3t")]), 200);
        assert!(!format!("{guard:?}").contains("s3cr3t"));
        let read = |guard: &Guard, given: Option<&str>| {
            let mut headers = HeaderMap::new();
            let given = given.map(|given| HeaderValue::from_str(given).unwrap());
            given.map(|given| headers.insert("authorization", given));
            guard.check_reading(&headers).err().map_or(200, |(status, _)| status.as_u16())
        };
        assert_eq!(read(&guard, None), 200, "who reads is not asked");
        let mut foreign = HeaderMap::new();
        foreign.insert("host", HeaderValue::from_static("evil.example:8787"));
        let reading = |guard: &Guard, headers: &HeaderMap| {
            guard.check_reading(headers).err().map_or(200, |(status, _)| status.as_u16())
        };
        assert_eq!(reading(&guard, &foreign), 200);
        let local = guard.clone().known_by_name();
        assert_eq!(reading(&local, &foreign), 421);
        foreign.insert("host", HeaderValue::from_static("localhost:8787"));
        assert_eq!(reading(&local, &foreign), 200);
        foreign.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert_eq!(reading(&local, &foreign), 403);
        let closed = guard.with_reading(true);
        assert_eq!(read(&closed, None), 401);
        assert_eq!(read(&closed, Some("Bearer s3cr3")), 403);
        assert_eq!(read(&closed, Some("Bearer s3cr3t")), 200);
        let unset = Guard::new(None).with_token(None);
        assert_eq!(status(&unset, &[("authorization", "Bearer ")]), 403);
    }
}
