//! What a scan shows of itself, place by place: layers, pixels, regions, islands. The same for scans on the board and for those of the archive.

mod spectra;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;

use self::spectra::{pixel_csv, pixel_json, region_csv, region_json, spectra_csv};
use super::layers::{Layer, floats};
use super::shown::{Place, Refused, Room, Shown};
use super::{HttpState, answer, has, islands, problem, view};
use crate::classify::Optics;
use crate::scan::Channel;
use crate::stack::Stack;

/// Both kinds of places.
pub(super) fn routes() -> Router<HttpState> {
    let mut router = Router::new();
    for base in ["/api/v1/scans/{id}", "/api/v1/archive/{beamline}/{date}/{name}"] {
        router = router
            .route(&format!("{base}/view.json"), get(view_json))
            .route(&format!("{base}/layers/{{layer}}"), get(layer))
            .route(&format!("{base}/pixel.json"), get(pixel_json))
            .route(&format!("{base}/pixel.csv"), get(pixel_csv))
            .route(&format!("{base}/region.json"), get(region_json))
            .route(&format!("{base}/region.csv"), get(region_csv))
            .route(&format!("{base}/spectra.csv"), get(spectra_csv))
            .route(&format!("{base}/latent.json"), get(latent_json));
    }
    router
}

fn bad(what: &str) -> Refused {
    Box::new(problem(StatusCode::BAD_REQUEST, what))
}

/// Says which map an answer is of, so that layers that were asked for one by one are known to go together.
fn stamped(shown: &Shown, mut response: Response) -> Response {
    let generation = shown.map.origin.generation.to_string();
    let stamps = [("x-phasewatch-generation", &generation), ("x-phasewatch-revision", &shown.revision)];
    for (name, value) in stamps {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// What the client has already is not sent again.
pub(super) fn known(headers: &HeaderMap, shown: &Shown, tag: &str) -> Option<Response> {
    let etag = format!("\"{tag}\"");
    has(headers, &etag).then(|| tagged(shown, tag, StatusCode::NOT_MODIFIED.into_response()))
}

/// An answer with its tag, and with what it is of.
pub(super) fn tagged(shown: &Shown, tag: &str, mut response: Response) -> Response {
    if let Ok(value) = format!("\"{tag}\"").parse() {
        response.headers_mut().insert(header::ETAG, value);
    }
    stamped(shown, response)
}

async fn view_json(State(state): State<HttpState>, headers: HeaderMap, place: Place) -> Response {
    answer(async {
        let shown = state.shown(&place).await?;
        // Coverage grows, and spectra come and go, without another map.
        let body =
            serde_json::to_vec(&view::view(&shown, &(state.inner.screen.states)())).unwrap_or_default();
        let tag = format!("{}-{}", shown.revision, short_digest(&body));
        Ok(known(&headers, &shown, &tag).unwrap_or_else(|| {
            tagged(&shown, &tag, ([(header::CONTENT_TYPE, "application/json")], body).into_response())
        }))
    })
    .await
}

fn short_digest(body: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(body).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Default, Deserialize)]
struct AtEnergy {
    energy: Option<usize>,
}

async fn layer(
    State(state): State<HttpState>,
    headers: HeaderMap,
    place: Place,
    path: Result<Path<std::collections::HashMap<String, String>>, PathRejection>,
    at: Result<Query<AtEnergy>, QueryRejection>,
) -> Response {
    answer(async {
        let name = path.ok().and_then(|Path(mut path)| path.remove("layer")).unwrap_or_default();
        let layer = name.strip_suffix(".bin").and_then(Layer::from_name);
        let missing = || Box::new(problem(StatusCode::NOT_FOUND, "no such layer"));
        let layer = layer.ok_or_else(missing)?;
        let Ok(Query(AtEnergy { energy })) = at else { return Err(bad("energy is the index of an energy")) };
        let shown = state.shown(&place).await?;
        if !layer.is_there(&shown.map) {
            return Err(missing());
        }
        match layer {
            Layer::Od => return image(&state, &headers, &place, &shown, energy).await,
            Layer::Other(channel) => {
                return other(&state, &headers, &place, &shown, (channel, energy)).await;
            }
            _ => {}
        }
        let tag = format!("{}-{}", shown.revision, layer.name());
        if let Some(known) = known(&headers, &shown, &tag) {
            return Ok(known);
        }
        let make = async { layer.bytes(&shown.map).ok_or_else(missing) };
        let bytes = state.inner.screen.answers.get(&place, &tag, make).await?;
        Ok(tagged(&shown, &tag, binary(layer, bytes)))
    })
    .await
}

fn binary(layer: Layer, bytes: Bytes) -> Response {
    let dtype = HeaderName::from_static("x-phasewatch-dtype");
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (dtype, layer.dtype())];
    (headers, bytes).into_response()
}

/// The optical densities at one energy.
async fn image(
    state: &HttpState,
    headers: &HeaderMap,
    place: &Place,
    shown: &Shown,
    energy: Option<usize>,
) -> Result<Response, Refused> {
    let energies = shown.map.plan.energies_ev.len();
    let what = "an image of optical densities needs ?energy=, the index of an energy of the plan";
    let energy = energy.filter(|&energy| energy < energies).ok_or_else(|| bad(what))?;
    let (stack, optics) = state.sight(shown).await?;
    let measured = stack.planes().get(energy).map_or(0, |plane| plane.measured());
    let tag = format!("{}-od-{energy}-{measured}", shown.revision);
    if let Some(known) = known(headers, shown, &tag) {
        return Ok(known);
    }
    let make = state.aside(Room::Map, move || od_image(&stack, &optics, energy));
    let bytes = state.inner.screen.answers.get(place, &tag, make).await?;
    Ok(tagged(shown, &tag, binary(Layer::Od, bytes)))
}

/// What was measured beside the intensity, at one energy, as it was measured: not registered.
async fn other(
    state: &HttpState,
    headers: &HeaderMap,
    place: &Place,
    shown: &Shown,
    (channel, energy): (Channel, Option<usize>),
) -> Result<Response, Refused> {
    let energies = shown.map.plan.energies_ev.len();
    let what = "this layer needs ?energy=, the index of an energy of the plan";
    let energy = energy.filter(|&energy| energy < energies).ok_or_else(|| bad(what))?;
    let stack = shown.stack();
    let measured =
        stack.as_ref().and_then(|stack| stack.planes().get(energy)).map_or(0, |plane| plane.measured());
    let tag = format!("{}-{}-{energy}-{measured}", shown.revision, channel.name());
    if let Some(known) = known(headers, shown, &tag) {
        return Ok(known);
    }
    let make = async {
        let Some(stack) = stack else { return state.channel(shown, channel, energy).await };
        let values = stack.planes().get(energy).map_or(&[][..], |plane| plane.other(channel));
        let nothing = vec![f32::NAN; shown.map.plan.grid.pixels()];
        Ok(floats(if values.is_empty() { &nothing } else { values }))
    };
    let bytes = state.inner.screen.answers.get(place, &tag, make).await?;
    Ok(tagged(shown, &tag, binary(Layer::Other(channel), bytes)))
}

fn od_image(stack: &Stack, optics: &Optics, energy: usize) -> Bytes {
    let view = optics.view(stack);
    let mut values = vec![f32::NAN; view.pixels()];
    view.visit_plane(energy, |pixel, density| values[pixel] = density.od);
    floats(&values)
}

#[derive(Debug, Default, Deserialize)]
struct HowMany {
    limit: Option<usize>,
}

async fn latent_json(
    State(state): State<HttpState>,
    headers: HeaderMap,
    place: Place,
    many: Result<Query<HowMany>, QueryRejection>,
) -> Response {
    answer(async {
        let Ok(Query(HowMany { limit })) = many else { return Err(bad("limit is a number of pixels")) };
        let limit = limit.unwrap_or(islands::USUAL).clamp(1, islands::MOST);
        let shown = state.shown(&place).await?;
        if let Some(why) = &shown.why_no_islands {
            return Err(Box::new(problem(StatusCode::NOT_FOUND, why)));
        }
        let latents = Arc::clone(&state.inner.screen.islands);
        // Another model under the same name has other islands.
        let model = latents.version();
        let tag = format!("{}-islands-{model}-{limit}", shown.revision);
        if let Some(known) = known(&headers, &shown, &tag) {
            return Ok(known);
        }
        let make = async {
            let (stack, optics) = state.sight(&shown).await?;
            let map = Arc::clone(&shown.map);
            let told = state
                .aside(Room::Map, move || islands::of(&map, &stack, &optics, latents.as_ref(), limit))
                .await?;
            let told = told.map_err(|why| Box::new(problem(StatusCode::NOT_FOUND, &why)))?;
            Ok::<_, Refused>(Bytes::from(serde_json::to_vec(&told).unwrap_or_default()))
        };
        let body = state.inner.screen.answers.get(&place, &tag, make).await?;
        Ok(tagged(&shown, &tag, ([(header::CONTENT_TYPE, "application/json")], body).into_response()))
    })
    .await
}
