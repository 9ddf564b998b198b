//! The HTTP side: health, metrics, the scans as JSON, their tables and pictures, and a small page that shows them.
//!
//! Scans are read-only and come from the [`Board`], or from the archive ([`super::library`]); alerts can be acknowledged and silenced, a scan archived
//! and a model loaded ([`Guard`] says by whom, and who may read). Bytes that were worked out are never kept waiting by a reader: a stream of news ([`events`]) holds nothing for it. Tables and pictures are encoded when first asked for,
//! off the runtime's threads, and kept until their content changes; `ETag` names the content, so that a client
//! that has it already gets 304. Errors are JSON, `{"error": "…"}`. Ids are checked before they are looked up.
//! The page takes nothing from elsewhere, and its content security policy says so.

mod alerts;
mod answers;
mod asset;
mod csv;
mod door;
mod encoded;
mod events;
mod gallery;
mod guard;
mod islands;
mod layers;
mod page;
mod place;
mod polygon;
mod screen;
mod shown;
mod view;
mod wishes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::alerts::AlertHand;
use super::{Board, BoardEntry, ScanSummary};
use crate::scan::is_valid_id;
use crate::telemetry::{Health, STUCK, Trouble, names};
use asset::Asset;
use encoded::Encoder;
pub use guard::Guard;
pub use islands::{Latents, NoLatents};
use screen::Staged;
pub use screen::{Screen, States, Wishes};

/// How long a stop waits for answers under way.
const GRACE: Duration = Duration::from_secs(5);
/// Longest address that is looked at.
const MOST_ADDRESS: usize = 16 * 1024;
/// What `/readyz` says of a daemon that does its job.
const READY: &str = "ready";

/// What the routes of alerts need.
#[derive(Clone, Debug, Default)]
pub struct Alerting {
    /// The way to the desk.
    pub alerts: AlertHand,
    /// Who may change something.
    pub guard: Guard,
    /// Where the parts of the daemon say what troubles them.
    pub health: Health,
}

/// What the routes need. Clones share it.
#[derive(Clone)]
pub struct HttpState {
    inner: Arc<Inner>,
}

struct Inner {
    board: Board,
    ready: AtomicBool,
    health: Health,
    alerts: AlertHand,
    guard: Guard,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
    encoder: Encoder,
    screen: Staged,
}

impl std::fmt::Debug for HttpState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpState").field("ready", &self.inner.ready).finish_non_exhaustive()
    }
}

impl HttpState {
    /// State over `board`. `metrics` renders the Prometheus text; `epoch` tells this run of the program from
    /// others (the time it started will do), so that no client takes an old picture for a new one.
    #[must_use]
    pub fn new(board: Board, epoch: u64, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self::with_alerts(board, epoch, metrics, Alerting::default())
    }

    /// The same, with alerts.
    #[must_use]
    pub fn with_alerts(
        board: Board,
        epoch: u64,
        metrics: impl Fn() -> String + Send + Sync + 'static,
        alerting: Alerting,
    ) -> Self {
        Self::with_screen(board, epoch, metrics, alerting, Screen::default())
    }

    /// The same, with all that the operator's screen shows.
    #[must_use]
    pub fn with_screen(
        board: Board,
        epoch: u64,
        metrics: impl Fn() -> String + Send + Sync + 'static,
        Alerting { alerts, guard, health }: Alerting,
        screen: Screen,
    ) -> Self {
        let encoder = Encoder::new(epoch);
        let (ready, metrics, screen) = (AtomicBool::new(false), Box::new(metrics), screen.into());
        Self { inner: Arc::new(Inner { board, ready, health, alerts, guard, metrics, encoder, screen }) }
    }

    /// Where the parts of the daemon say what troubles them, for `/readyz`.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// Says whether the daemon has started; `/readyz` answers 503 before.
    pub fn set_ready(&self, ready: bool) {
        self.inner.ready.store(ready, Ordering::Release);
    }

    /// Whether the daemon does its job, with all that troubles it.
    fn state(&self) -> (&'static str, Vec<Trouble>) {
        let troubles = self.inner.health.troubles();
        let status = if !self.inner.ready.load(Ordering::Acquire) {
            "starting"
        } else if troubles.iter().any(|trouble| trouble.grave) {
            "in trouble"
        } else {
            READY
        };
        (status, troubles)
    }
}

/// The routes.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/static/{name}", get(page::file))
        .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .route("/api/v1/scans", get(scans))
        .route("/api/v1/scans/{id}", get(scan))
        .route("/api/v1/dose", get(doses))
        .route("/api/v1/scans/{id}/damage.json", get(damage))
        .route("/api/v1/scans/{id}/particles", get(particles))
        .route("/api/v1/scans/{id}/trend.json", get(course))
        .route("/api/v1/scans/{id}/{asset}", get(asset))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/system", get(system))
        .route("/api/v1/openapi.json", get(page::openapi))
        .merge(alerts::routes())
        .merge(place::routes())
        .merge(gallery::routes())
        .merge(wishes::routes())
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such page") })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here")
        })
        .layer(from_fn_with_state(state.clone(), admit))
        .layer(from_fn(finish))
        .with_state(state)
}

/// Serves `state` on `listener` until `stop`, then for at most five seconds what is under way.
///
/// # Errors
/// What the listener says.
pub async fn serve(listener: TcpListener, state: HttpState, stop: CancellationToken) -> std::io::Result<()> {
    let closing = state.inner.screen.closing.clone();
    let stopping = stop.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        closing.cancel();
    });
    let graceful = axum::serve(door::Door::new(listener), router(state))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let patience = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = graceful => result,
        () = patience => Ok(()),
    }
}

/// Lets in who may: where reading wants a token, nobody else gets at scans, alerts and metrics.
async fn admit(State(state): State<HttpState>, request: Request, next: Next) -> Response {
    let address = request.uri();
    if address.path_and_query().is_some_and(|all| all.as_str().len() > MOST_ADDRESS) {
        return problem(StatusCode::URI_TOO_LONG, "this address is too long");
    }
    let is_open = !(address.path().starts_with("/api/") || address.path() == "/metrics");
    match state.inner.guard.check_reading(request.headers()) {
        Err((status, what)) if !is_open => problem(status, what),
        _ => next.run(request).await,
    }
}

/// Headers of every answer, and the count of it.
async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", page::CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    let status = response.status().as_u16().to_string();
    metrics::counter!(names::HTTP_REQUESTS, "status" => status).increment(1);
    response
}

fn problem(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}

/// Whether the process is there and no thread of it hangs: whoever starts it again where it is not (Kubernetes does) goes by that.
async fn alive(State(state): State<HttpState>) -> Response {
    match state.health().troubles().into_iter().find(|trouble| trouble.part == STUCK) {
        None => Json(json!({ "status": "alive" })).into_response(),
        Some(stuck) => problem(StatusCode::SERVICE_UNAVAILABLE, &stuck.what),
    }
}

/// Whether the daemon does its job: it has started, and no trouble puts values at risk. Lesser troubles are listed.
async fn ready(State(state): State<HttpState>) -> Response {
    let (status, troubles) = state.state();
    let code = if status == READY { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "status": status, "troubles": troubles }))).into_response()
}

async fn metrics_text(State(state): State<HttpState>) -> Response {
    let (status, troubles) = state.state();
    let grave = troubles.iter().filter(|trouble| trouble.grave).count();
    metrics::gauge!(names::READY).set(f64::from(u8::from(status == READY)));
    metrics::gauge!(names::TROUBLES, "grave" => "true").set(grave as f64);
    metrics::gauge!(names::TROUBLES, "grave" => "false").set((troubles.len() - grave) as f64);
    let text = (state.inner.metrics)();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn scans(State(state): State<HttpState>) -> Response {
    let list = state.inner.board.summaries();
    Json(list.iter().map(AsRef::as_ref).collect::<Vec<&ScanSummary>>()).into_response()
}

/// What was deposited in every region.
async fn doses(State(state): State<HttpState>) -> Response {
    Json(state.inner.board.doses().as_slice()).into_response()
}

async fn scan(State(state): State<HttpState>, id: Result<Path<String>, PathRejection>) -> Response {
    match find(&state, id.ok().map(|Path(id)| id).as_deref()) {
        Ok(entry) => Json(entry.summary.as_ref()).into_response(),
        Err(response) => *response,
    }
}

async fn damage(State(state): State<HttpState>, id: Result<Path<String>, PathRejection>) -> Response {
    match find(&state, id.ok().map(|Path(id)| id).as_deref()) {
        Ok(BoardEntry { damage: Some(report), .. }) => Json(report.as_ref()).into_response(),
        Ok(_) => problem(StatusCode::NOT_FOUND, "nothing is known of damage yet"),
        Err(response) => *response,
    }
}

/// What its latest map says of particles and boundaries.
async fn particles(State(state): State<HttpState>, id: Result<Path<String>, PathRejection>) -> Response {
    match find(&state, id.ok().map(|Path(id)| id).as_deref()) {
        Ok(BoardEntry { findings: Some(findings), .. }) => {
            ([(header::CONTENT_TYPE, "application/json")], findings).into_response()
        }
        Ok(_) => problem(StatusCode::NOT_FOUND, "nothing is known of particles yet"),
        Err(response) => *response,
    }
}

/// How a scan went, map by map.
async fn course(State(state): State<HttpState>, id: Result<Path<String>, PathRejection>) -> Response {
    match find(&state, id.ok().map(|Path(id)| id).as_deref()) {
        Ok(entry) => Json(entry.course.as_ref()).into_response(),
        Err(response) => *response,
    }
}

/// What the daemon says of itself.
async fn system(State(state): State<HttpState>) -> Response {
    let (status, troubles) = state.state();
    let system = Arc::clone(&state.inner.screen.system);
    // It asks the file systems, which may take their time.
    match state.aside(shown::Room::Daemon, move || system()).await {
        Ok(mut told) => {
            told["status"] = json!(status);
            told["troubles"] = json!(troubles);
            told["token_needed_to_read"] = json!(state.inner.guard.reading_wants_token());
            let can = state.inner.screen.wishes.is_some();
            told["can"] = json!({ "archive_now": can, "load_model": can });
            Json(told).into_response()
        }
        Err(response) => *response,
    }
}

/// What may be asked for after the name of a table or picture.
#[derive(Debug, Default, serde::Deserialize)]
struct Options {
    /// `1`: a picture in which the pixels that were not measured are filled, and marked.
    inpainted: Option<String>,
}

async fn asset(
    State(state): State<HttpState>,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
    options: Result<Query<Options>, QueryRejection>,
) -> Response {
    let path = path.ok().map(|Path(path)| path);
    let Some(asset) = path.as_ref().and_then(|(_, name)| Asset::from_name(name)) else {
        return problem(StatusCode::NOT_FOUND, "no such table or picture");
    };
    let inpainted = options.ok().and_then(|Query(options)| options.inpainted);
    let asset = match inpainted.as_deref() {
        None | Some("0") => asset,
        Some("1") if asset == Asset::MapPng => Asset::InpaintedPng,
        Some("1") => return problem(StatusCode::BAD_REQUEST, "only phase_map.png can be in-painted"),
        Some(_) => return problem(StatusCode::BAD_REQUEST, "inpainted is 0 or 1"),
    };
    let entry = match find(&state, path.as_ref().map(|(id, _)| id.as_str())) {
        Ok(entry) => entry,
        Err(response) => return *response,
    };
    if !asset.is_there(&entry) {
        return problem(StatusCode::NOT_FOUND, "this scan has none yet");
    }
    let etag = state.inner.encoder.etag(&entry, asset);
    if has(&headers, &etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    match state.inner.encoder.get(entry, asset).await {
        Ok(bytes) => ([(header::CONTENT_TYPE, asset.content_type().to_owned()), (header::ETAG, etag)], bytes)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, asset = asset.name(), "could not be encoded");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "could not be encoded; the log says why")
        }
    }
}

/// An answer, or why there is none.
async fn answer(work: impl Future<Output = Result<Response, Box<Response>>>) -> Response {
    work.await.unwrap_or_else(|refused| *refused)
}

/// Whether a client has what `etag` names already.
fn has(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| matches(value, etag))
}

/// Whether an `If-None-Match` header names `etag`: a list of tags, weak ones too, or `*`.
fn matches(value: &HeaderValue, etag: &str) -> bool {
    let Ok(list) = value.to_str() else { return false };
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn find(state: &HttpState, id: Option<&str>) -> Result<BoardEntry, Box<Response>> {
    let Some(id) = id.filter(|id| is_valid_id(id)) else {
        return Err(Box::new(problem(StatusCode::BAD_REQUEST, "this is not a scan id")));
    };
    let missing = || Box::new(problem(StatusCode::NOT_FOUND, "no such scan"));
    state.inner.board.get(id).ok_or_else(missing)
}

#[cfg(test)]
mod screen_tests;
#[cfg(test)]
mod tests;
