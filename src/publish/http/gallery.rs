//! The archive as a gallery: the list, thumbnails, and files to be taken along.

use std::io::SeekFrom;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::NaiveDate;
use futures_util::stream;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::asset::Asset;
use super::place::{known, tagged};
use super::shown::{Place, Refused, Room};
use super::{HttpState, answer, has, problem};
use crate::publish::library::{MOST_LISTED, Wanted};
use crate::publish::{MeanSpectra, picture};

/// Scans in one answer, where nobody says.
const USUAL: usize = 60;
/// Longest side of a thumbnail, pixels.
const THUMBNAIL: usize = 160;
/// Bytes of a file in memory at a time.
const PIECE: usize = 256 * 1024;

pub(super) fn routes() -> Router<HttpState> {
    let base = "/api/v1/archive/{beamline}/{date}/{name}";
    Router::new()
        .route("/api/v1/archive", get(list))
        .route(base, get(one))
        .route(&format!("{base}/damage.json"), get(damage))
        .route(&format!("{base}/particles"), get(particles))
        .route(&format!("{base}/thumbnail.png"), get(thumbnail))
        .route(&format!("{base}/files/{{file}}"), get(file))
        .route(&format!("{base}/{{asset}}"), get(asset))
}

fn bad(what: &str) -> Refused {
    Box::new(problem(StatusCode::BAD_REQUEST, what))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    search: Option<String>,
    sample: Option<String>,
    region: Option<String>,
    beamline: Option<String>,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    limit: Option<usize>,
    offset: Option<usize>,
}

async fn list(State(state): State<HttpState>, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    answer(async {
        let what = "scans are asked for by search, sample, region, beamline, from, to (YYYY-MM-DD), limit and offset";
        let Ok(Query(asked)) = asked else { return Err(bad(what)) };
        let some = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let wanted = Wanted {
            search: some(asked.search),
            sample: some(asked.sample),
            region: some(asked.region),
            beamline: some(asked.beamline),
            from: asked.from,
            to: asked.to,
            limit: asked.limit.unwrap_or(USUAL).clamp(1, MOST_LISTED),
            offset: asked.offset.unwrap_or(0),
        };
        Ok(Json(state.read(move |library| library.list(&wanted)).await?).into_response())
    })
    .await
}

fn mark(place: Place) -> Result<crate::publish::library::Shelfmark, Refused> {
    match place {
        Place::Archive(mark) => Ok(mark),
        Place::Board(_) => Err(bad("this is not a scan of the archive")),
    }
}

/// One scan, as the list has it.
async fn one(State(state): State<HttpState>, place: Place) -> Response {
    answer(async {
        let mark = mark(place)?;
        Ok(Json(state.read(move |library| library.one(&mark)).await?).into_response())
    })
    .await
}

/// What its map says of particles and boundaries.
async fn particles(State(state): State<HttpState>, place: Place) -> Response {
    answer(async {
        let mark = mark(place)?;
        let findings = state.read(move |library| library.findings(&mark)).await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], findings).into_response())
    })
    .await
}

async fn damage(State(state): State<HttpState>, place: Place) -> Response {
    answer(async { send(&state, mark(place)?, "damage.json", false).await }).await
}

async fn thumbnail(State(state): State<HttpState>, headers: HeaderMap, place: Place) -> Response {
    answer(async {
        let mark = mark(place)?;
        let digest = {
            let mark = mark.clone();
            state.read(move |library| library.digest(&mark)).await?
        };
        let etag = format!("\"{}-thumbnail\"", digest.chars().take(16).collect::<String>());
        if has(&headers, &etag) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
        }
        let bytes = state
            .read(move |library| {
                let opened = library.open(&mark)?;
                picture::thumbnail(&opened.map, THUMBNAIL)
                    .map_err(|error| crate::publish::library::LibraryError::Unreadable(error.to_string()))
            })
            .await?;
        Ok(([(header::CONTENT_TYPE, "image/png".to_owned()), (header::ETAG, etag)], bytes).into_response())
    })
    .await
}

/// A table or picture, as a scan on the board has it.
async fn asset(
    State(state): State<HttpState>,
    headers: HeaderMap,
    place: Place,
    path: Result<Path<std::collections::HashMap<String, String>>, PathRejection>,
) -> Response {
    answer(async {
        let name = path.ok().and_then(|Path(mut path)| path.remove("asset")).unwrap_or_default();
        let missing = || Box::new(problem(StatusCode::NOT_FOUND, "no such table or picture"));
        let asset = Asset::from_name(&name).ok_or_else(missing)?;
        let shown = state.shown(&place).await?;
        let tag = format!("{}-{name}", shown.revision);
        if let Some(known) = known(&headers, &shown, &tag) {
            return Ok(known);
        }
        let map = std::sync::Arc::clone(&shown.map);
        let made = if asset == Asset::SpectraArrow {
            let (stack, optics) = state.sight(&shown).await?;
            state
                .aside(Room::Map, move || Asset::of_spectra(&MeanSpectra::of(&optics.view(&stack), &map)))
                .await?
        } else {
            state.aside(Room::Map, move || asset.of_map(&map)).await?
        };
        let bytes = made.map_err(|error| {
            tracing::error!(%error, asset = name, "could not be encoded");
            let what = "could not be encoded; the log says why";
            Box::new(problem(StatusCode::INTERNAL_SERVER_ERROR, what))
        })?;
        let kind = asset.content_type().to_owned();
        Ok(tagged(&shown, &tag, ([(header::CONTENT_TYPE, kind)], bytes).into_response()))
    })
    .await
}

async fn file(
    State(state): State<HttpState>,
    place: Place,
    path: Result<Path<std::collections::HashMap<String, String>>, PathRejection>,
) -> Response {
    answer(async {
        let name = path.ok().and_then(|Path(mut path)| path.remove("file")).unwrap_or_default();
        send(&state, mark(place)?, &name, true).await
    })
    .await
}

/// Sends a file of the archive piece by piece: a slow reader costs one piece of memory.
async fn send(
    state: &HttpState,
    mark: crate::publish::library::Shelfmark,
    name: &str,
    attach: bool,
) -> Result<Response, Refused> {
    let (wanted, scan) = (name.to_owned(), mark.name.clone());
    let path = state.read(move |library| library.file(&mark, &wanted)).await?;
    let gone = |_| Box::new(problem(StatusCode::NOT_FOUND, "the file cannot be opened"));
    let mut opened = tokio::fs::File::open(&path).await.map_err(gone)?;
    let length = opened.seek(SeekFrom::End(0)).await.map_err(gone)?;
    opened.seek(SeekFrom::Start(0)).await.map_err(gone)?;
    let pieces = stream::unfold(opened, |mut file| async move {
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                Some((Ok::<_, std::io::Error>(bytes::Bytes::from(piece)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    let kind = match name.rsplit('.').next() {
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("parquet") => "application/vnd.apache.parquet",
        Some("nxs") => "application/x-hdf5",
        _ => "application/octet-stream",
    };
    let mut response = (
        [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_LENGTH, length.to_string())],
        Body::from_stream(pieces),
    )
        .into_response();
    if attach && let Ok(value) = format!("attachment; filename=\"{scan}_{name}\"").parse() {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
