//! Alerts over HTTP: the list, one of them, and what operators may do about it.
//!
//! Reading is free; what changes something goes past the [`super::guard`]. An answer comes when the desk has done it and written it
//! down. Identifiers have colons and slashes: in an address they are percent-encoded.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{HttpState, answer, problem};
use crate::damage::Level;
use crate::damage::desk::{AlertView, DeskError, Matcher};
use crate::publish::alerts::{Granted, Wish};

/// Most alerts in one answer: the open ones come first.
const MOST_LISTED: usize = 500;
/// Longest wait for the desk.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a request.
const MOST_BYTES: usize = 16 * 1024;
/// Most characters of a name and of a note.
const MOST_NAME: usize = 100;
const MOST_NOTE: usize = 1000;
/// Longest silence that is not for a scan, s: a year.
const MOST_S: f64 = 366.0 * 86_400.0;

pub(super) fn routes() -> Router<HttpState> {
    Router::new()
        .route("/api/v1/alerts", get(list))
        .route("/api/v1/alerts/test", post(test))
        .route("/api/v1/alerts/{id}", get(one))
        .route("/api/v1/alerts/{id}/acknowledge", post(acknowledge))
        .route("/api/v1/alerts/{id}/silence", post(silence))
        .route("/api/v1/silences", get(silences))
        .route("/api/v1/silences/{number}/lift", post(lift))
}

type Refused = Box<Response>;
type AnId = Result<Path<String>, PathRejection>;

fn refuse(status: StatusCode, what: impl AsRef<str>) -> Refused {
    Box::new(problem(status, what.as_ref()))
}

fn bad(what: impl AsRef<str>) -> Refused {
    refuse(StatusCode::BAD_REQUEST, what)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Those of this scan.
    scan: Option<String>,
    /// Those of this level or above.
    level: Option<Level>,
    /// Those that hold, or those that are over.
    open: Option<bool>,
}

async fn list(State(state): State<HttpState>, filter: Result<Query<Filter>, QueryRejection>) -> Response {
    let Ok(Query(filter)) = filter else {
        let what = "the filters are scan, level (notice, warning, critical) and open (true, false)";
        return problem(StatusCode::BAD_REQUEST, what);
    };
    let wanted = |view: &&AlertView| {
        filter.scan.as_ref().is_none_or(|scan| *scan == view.scan_id)
            && filter.level.is_none_or(|level| view.level >= level)
            && filter.open.is_none_or(|open| view.is_open() == open)
    };
    let shown = state.inner.alerts.shown();
    Json(shown.alerts.iter().filter(wanted).take(MOST_LISTED).collect::<Vec<_>>()).into_response()
}

async fn one(State(state): State<HttpState>, id: AnId) -> Response {
    match find(&state, id) {
        Ok(view) => Json(view).into_response(),
        Err(refused) => *refused,
    }
}

async fn silences(State(state): State<HttpState>) -> Response {
    Json(&state.inner.alerts.shown().silences).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledge {
    by: String,
    note: Option<String>,
}

async fn acknowledge(State(state): State<HttpState>, id: AnId, headers: HeaderMap, body: Body) -> Response {
    answer(async {
        let wish: Acknowledge = read(&state, &headers, body).await?;
        let id = find(&state, id)?.id;
        let wish = Wish::Acknowledge { id, by: name(&wish.by)?, note: note(wish.note)? };
        grant(&state, wish).await
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Silencing {
    by: String,
    note: Option<String>,
    until: Option<DateTime<Utc>>,
    for_s: Option<f64>,
    /// By what of the alert: `alert`, or any of `scan`, `sample`, `region`, `rule`, `signal`.
    #[serde(default)]
    scope: Vec<Scope>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Alert,
    Scan,
    Sample,
    Region,
    Rule,
    Signal,
}

async fn silence(State(state): State<HttpState>, id: AnId, headers: HeaderMap, body: Body) -> Response {
    answer(async {
        let wish: Silencing = read(&state, &headers, body).await?;
        let view = find(&state, id)?;
        let until = match (wish.until, wish.for_s) {
            (Some(_), Some(_)) => return Err(bad("give either until or for_s, not both")),
            (None, Some(seconds)) if seconds > 0.0 && seconds <= MOST_S => {
                Some(Utc::now() + TimeDelta::milliseconds((1000.0 * seconds) as i64))
            }
            (None, Some(_)) => return Err(bad("for_s is a number of seconds, above 0 and at most a year")),
            (until, None) => until,
        };
        let what = matcher(&view, &wish.scope)?;
        let wish = Wish::Silence { what, until, by: name(&wish.by)?, note: note(wish.note)? };
        grant(&state, wish).await
    })
    .await
}

fn matcher(view: &AlertView, scope: &[Scope]) -> Result<Matcher, Refused> {
    let mut what = Matcher::default();
    let known = |value: &Option<String>| match value {
        Some(value) => Ok(Some(value.clone())),
        None => Err(bad(DeskError::NoField.to_string())),
    };
    for scope in if scope.is_empty() { &[Scope::Alert] } else { scope } {
        match scope {
            Scope::Alert => what.id = Some(view.id.clone()),
            Scope::Scan => what.scan_id = Some(view.scan_id.clone()),
            Scope::Sample => what.sample = known(&view.sample)?,
            Scope::Region => what.region = known(&view.region)?,
            Scope::Rule => what.rule = Some(view.rule.clone()),
            Scope::Signal => what.signal = Some(view.signal.clone()),
        }
    }
    Ok(what)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn lift(State(state): State<HttpState>, number: AnId, headers: HeaderMap, body: Body) -> Response {
    answer(async {
        let Nothing {} = read(&state, &headers, body).await?;
        let number = number.ok().and_then(|Path(number)| number.parse().ok());
        let number = number.ok_or_else(|| bad("a silence has a number"))?;
        grant(&state, Wish::Lift { number }).await
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    level: Level,
    name: Option<String>,
}

async fn test(State(state): State<HttpState>, headers: HeaderMap, body: Body) -> Response {
    answer(async {
        let wish: Test = read(&state, &headers, body).await?;
        // Two tests are two alerts, unless somebody wants to see that one is not told twice.
        let own = || Utc::now().format("%Y%m%dT%H%M%S%6fZ").to_string();
        let name = wish.name.unwrap_or_else(own);
        if !crate::scan::is_valid_id(&name) {
            return Err(bad("name is 1 to 128 characters of A-Z a-z 0-9 . _ -"));
        }
        grant(&state, Wish::Test { level: wish.level, name }).await
    })
    .await
}

fn find(state: &HttpState, id: AnId) -> Result<AlertView, Refused> {
    let Ok(Path(id)) = id else { return Err(bad("this is not the id of an alert")) };
    let shown = state.inner.alerts.shown();
    let found = shown.alerts.iter().find(|view| view.id == id).cloned();
    found.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "no such alert"))
}

/// What a request that may change something says.
async fn read<T: DeserializeOwned>(state: &HttpState, headers: &HeaderMap, body: Body) -> Result<T, Refused> {
    state.inner.guard.check(headers).map_err(|(status, what)| refuse(status, what))?;
    let bytes = axum::body::to_bytes(body, MOST_BYTES).await;
    let bytes = bytes.map_err(|_| refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))?;
    serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))
}

/// Whether a request without content may change something.
pub(super) async fn nothing_more(state: &HttpState, headers: &HeaderMap, body: Body) -> Result<(), Refused> {
    let Nothing {} = read(state, headers, body).await?;
    Ok(())
}

async fn grant(state: &HttpState, wish: Wish) -> Result<Response, Refused> {
    let busy = || refuse(StatusCode::SERVICE_UNAVAILABLE, "the desk does not answer; try again");
    let answer = state.inner.alerts.wish(wish).ok_or_else(busy)?;
    // A disk that stalls may keep the desk; what was wished is done when it is over.
    let granted = tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok).ok_or_else(busy)?;
    match granted {
        Ok(Granted::Alert(view)) => Ok(Json(view).into_response()),
        Ok(Granted::Silence(silence)) => Ok(Json(silence).into_response()),
        Err(error) => {
            let status = match error {
                DeskError::NoAlert | DeskError::NoSilence => StatusCode::NOT_FOUND,
                DeskError::Full => StatusCode::TOO_MANY_REQUESTS,
                DeskError::Past | DeskError::Boundless | DeskError::NoField => StatusCode::BAD_REQUEST,
            };
            Err(refuse(status, error.to_string()))
        }
    }
}

fn name(by: &str) -> Result<String, Refused> {
    let by: String = by.trim().chars().filter(|c| !c.is_control()).collect();
    match by.chars().count() {
        1..=MOST_NAME => Ok(by),
        _ => Err(bad("by says who does this, in 1 to 100 characters")),
    }
}

fn note(note: Option<String>) -> Result<Option<String>, Refused> {
    let Some(note) = note else { return Ok(None) };
    let note: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match note.chars().count() {
        0..=MOST_NOTE => Ok(Some(note)),
        _ => Err(bad("a note has at most 1000 characters")),
    }
}
