//! What may be wished of the daemon besides what alerts need: archive a running scan now, look at the model file again.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;

use super::screen::Wishes;
use super::shown::{Place, Refused, Room};
use super::{HttpState, problem};

pub(super) fn routes() -> Router<HttpState> {
    Router::new()
        .route("/api/v1/scans/{id}/archive", post(archive_now))
        .route("/api/v1/model", post(load_model))
}

async fn archive_now(
    State(state): State<HttpState>,
    headers: HeaderMap,
    place: Place,
    body: Body,
) -> Response {
    let Place::Board(id) = place else { return problem(StatusCode::BAD_REQUEST, "this is not a scan id") };
    grant(&state, &headers, body, move |wishes| wishes.archive_now(&id)).await
}

async fn load_model(State(state): State<HttpState>, headers: HeaderMap, body: Body) -> Response {
    grant(&state, &headers, body, |wishes| wishes.load_model()).await
}

async fn grant(
    state: &HttpState,
    headers: &HeaderMap,
    body: Body,
    wish: impl FnOnce(&dyn Wishes) -> Result<String, String> + Send + 'static,
) -> Response {
    let work = async {
        super::alerts::nothing_more(state, headers, body).await?;
        let none = || Box::new(problem(StatusCode::NOT_FOUND, "this cannot be wished here"));
        let wishes = state.inner.screen.wishes.clone().ok_or_else(none)?;
        let granted: Result<String, String> =
            state.aside(Room::Daemon, move || wish(wishes.as_ref())).await?;
        let refused = |what: String| -> Refused { Box::new(problem(StatusCode::CONFLICT, &what)) };
        granted.map_err(refused).map(|state| Json(json!({ "state": state })).into_response())
    };
    work.await.unwrap_or_else(|refused: Refused| *refused)
}
