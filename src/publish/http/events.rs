//! News for browsers: server-sent events, of which the latest counts.
//!
//! A stream holds nothing for its reader but what it told last. When the socket takes more, what differs by then is told: a slow reader misses
//! states in between, never the latest, and costs the pipeline nothing: the board is looked at by the stream, when its reader reads.
//! The number of streams is bounded; a stream ends with `bye` when the daemon stops.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{HttpState, problem};
use crate::damage::desk::AlertView;
use crate::publish::ScanShown;
use crate::publish::alerts::Shown as ShownAlerts;
use crate::telemetry::names;

/// Most streams at a time: ten browsers with some pages each.
const MOST: usize = 64;
/// Shortest time between two looks at the board: faster than anybody sees.
const PACE: Duration = Duration::from_millis(50);
/// What the board does not call for, health and alerts, is looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// A comment is sent after this long without anything, so that a proxy keeps the line.
const ALIVE: Duration = Duration::from_secs(10);

/// How many streams there are.
#[derive(Debug, Default)]
pub(super) struct Streams(AtomicUsize);

/// A place among the streams, given back when it is dropped.
struct Seat(HttpState);

impl Seat {
    fn take(state: &HttpState) -> Option<Self> {
        let streams = &state.inner.screen.streams.0;
        let taken =
            streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < MOST).then_some(n + 1));
        taken.ok().map(|n| {
            metrics::gauge!(names::HTTP_STREAMS).set((n + 1) as f64);
            Self(state.clone())
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let left = self.0.inner.screen.streams.0.fetch_sub(1, Ordering::AcqRel) - 1;
        metrics::gauge!(names::HTTP_STREAMS).set(left as f64);
    }
}

pub(super) async fn events(State(state): State<HttpState>) -> Response {
    let Some(seat) = Seat::take(&state) else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many listen already; close other pages");
    };
    let teller = Teller::new(state, seat);
    let stream = stream_of(teller);
    let keep = KeepAlive::new().interval(ALIVE);
    let mut response = Sse::new(stream).keep_alive(keep).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn stream_of(teller: Teller) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(teller, |mut teller| async move {
        let (kind, data) = teller.next().await?;
        // JSON has no line breaks of its own, so that this cannot fail.
        let event = Event::default().event(kind).data(data.to_string());
        Some((Ok(event), teller))
    })
}

/// What one reader was told.
struct Teller {
    state: HttpState,
    changes: watch::Receiver<u64>,
    told: Told,
    /// What is still to be told of the last look.
    waiting: VecDeque<(&'static str, Value)>,
    looked: Option<Instant>,
    over: bool,
    _seat: Seat,
}

/// Who is troubled, by what, and whether values are at risk.
type Line = (String, String, bool);

#[derive(Default)]
struct Told {
    scans: BTreeMap<String, ScanShown>,
    alerts: Option<Arc<ShownAlerts>>,
    health: Option<(&'static str, Vec<Line>)>,
}

impl Teller {
    fn new(state: HttpState, seat: Seat) -> Self {
        let changes = state.inner.board.changes();
        let (told, waiting) = (Told::default(), VecDeque::new());
        Self { state, changes, told, waiting, looked: None, over: false, _seat: seat }
    }

    /// What is to be told next; `None` at the end.
    async fn next(&mut self) -> Option<(&'static str, Value)> {
        loop {
            if let Some(news) = self.waiting.pop_front() {
                return Some(news);
            }
            if self.over {
                return None;
            }
            let closing = self.state.inner.screen.closing.clone();
            if let Some(looked) = self.looked {
                let wait = async {
                    tokio::time::sleep_until(looked + PACE).await;
                    tokio::select! {
                        // An error means that the board is gone, which the state keeps from happening.
                        _ = self.changes.changed() => {}
                        () = tokio::time::sleep_until(looked + TICK) => {}
                    }
                };
                tokio::select! {
                    () = wait => {}
                    () = closing.cancelled() => {}
                }
            }
            self.looked = Some(Instant::now());
            if closing.is_cancelled() {
                self.over = true;
                self.waiting.push_back(("bye", json!({})));
                continue;
            }
            self.changes.mark_unchanged();
            self.look();
        }
    }

    /// Notes what differs from what was told.
    fn look(&mut self) {
        let first = self.told.health.is_none();
        let inner = &self.state.inner;
        let (status, troubles) = self.state.state();
        let lines = troubles.iter().map(|t| (t.part.to_string(), t.what.clone(), t.grave)).collect();
        let health = Some((status, lines));
        if self.told.health != health {
            self.told.health = health;
            self.waiting.push_back(("health", json!({ "status": status, "troubles": troubles.len() })));
        }
        let mut scans = BTreeMap::new();
        for shown in inner.board.shown() {
            let ScanShown { summary, generation, findings } = &shown;
            let before = self.told.scans.get(&summary.scan_id);
            let quiet = first && summary.state.is_finished();
            if !quiet && before.is_none_or(|before| !Arc::ptr_eq(&before.summary, summary)) {
                self.waiting.push_back(("scan", serde_json::to_value(summary.as_ref()).unwrap_or_default()));
            }
            if !quiet && generation.is_some() && before.is_none_or(|before| before.generation != *generation)
            {
                self.waiting
                    .push_back(("map", json!({ "scan_id": summary.scan_id, "generation": generation })));
            }
            if !quiet && findings.is_some() && before.is_none_or(|before| before.findings != *findings) {
                self.waiting
                    .push_back(("findings", json!({ "scan_id": summary.scan_id, "revision": findings })));
            }
            let path = summary.archive_path.as_ref();
            if !first
                && path.is_some()
                && before.is_none_or(|before| before.summary.archive_path.as_ref() != path)
            {
                let library = inner.screen.library.as_ref();
                // Whoever hears of it looks for it at once.
                library.inspect(|library| library.grew());
                let mark = path.and_then(|path| library?.shelfmark(path));
                let news = json!({ "scan_id": summary.scan_id, "base": mark.map(|mark| mark.base()) });
                self.waiting.push_back(("archive", news));
            }
            scans.insert(summary.scan_id.clone(), shown);
        }
        self.told.scans = scans;
        let alerts = inner.alerts.shown();
        if self.told.alerts.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &alerts)) {
            // When an alert was last heard of is no news.
            let lines = |shown: &ShownAlerts| {
                let line = |alert: &AlertView| {
                    (
                        alert.id.clone(),
                        alert.level,
                        alert.is_open(),
                        alert.acknowledged,
                        alert.silenced,
                        alert.text.clone(),
                    )
                };
                shown.alerts.iter().map(line).collect::<Vec<_>>()
            };
            let is_news = self.told.alerts.as_ref().is_some_and(|told| lines(told) != lines(&alerts));
            if is_news && !first {
                let open = alerts.alerts.iter().filter(|alert| alert.is_open()).count();
                self.waiting.push_back(("alerts", json!({ "open": open })));
            }
            self.told.alerts = Some(alerts);
        }
    }
}
