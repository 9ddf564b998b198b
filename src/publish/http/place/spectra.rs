//! Spectra: of a pixel, of a region, of the phases; with what the map says of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad, stamped};
use crate::classify::{NO_PHASE, NO_READINGS, Optics, PhaseMap, PlaceSpectrum, Status};
use crate::publish::MeanSpectra;
use crate::publish::http::polygon::Polygon;
use crate::publish::http::shown::{Place, Refused, Room, Shown};
use crate::publish::http::{HttpState, answer, csv, problem};

/// Columns of a region's table of phases: how many pixels are of which.
type Counted = Vec<usize>;

#[derive(Debug, Deserialize)]
pub(super) struct AtPixel {
    row: usize,
    column: usize,
}

pub(super) type PixelQuery = Result<Query<AtPixel>, QueryRejection>;

/// The pixel that is asked for.
fn pixel_of(map: &PhaseMap, at: PixelQuery) -> Result<(usize, usize, usize), Refused> {
    let what = "a pixel is given by ?row= and &column=, whole numbers";
    let Ok(Query(AtPixel { row, column })) = at else { return Err(bad(what)) };
    let [ny, nx] = map.plan.grid.shape;
    if row < ny && column < nx {
        Ok((row, column, row * nx + column))
    } else {
        Err(bad("there is no such pixel"))
    }
}

/// Its spectrum; the fit uses what the map says of it.
async fn pixel_spectrum(
    state: &HttpState,
    shown: &Shown,
    pixel: usize,
) -> Result<(PlaceSpectrum, Arc<Optics>), Refused> {
    let (stack, optics) = state.sight(shown).await?;
    let map = Arc::clone(&shown.map);
    // Indices of a map mean what its own references were.
    let same = map.origin.references_sha256 == optics.references().sha256;
    let phases = match map.status[pixel] {
        _ if !same => Vec::new(),
        Status::Classified => vec![map.phase[pixel]],
        _ => vec![map.phase[pixel], map.runner_up[pixel]],
    };
    let phases: Vec<usize> = phases.into_iter().filter(|&phase| phase != NO_PHASE).map(usize::from).collect();
    let place = {
        let optics = Arc::clone(&optics);
        state.aside(Room::Map, move || optics.place(&stack, &[pixel], &phases)).await?
    };
    Ok((place, optics))
}

/// A spectrum, or why there is none.
type Seen = (Option<(PlaceSpectrum, Arc<Optics>)>, Option<String>);

async fn or_why(
    shown: &Shown,
    spectrum: impl Future<Output = Result<(PlaceSpectrum, Arc<Optics>), Refused>>,
) -> Seen {
    if shown.why_no_spectra.is_some() {
        return (None, shown.why_no_spectra.clone());
    }
    match spectrum.await {
        Ok((place, _)) if place.od.is_empty() => {
            (None, Some("nothing of it is measured, or usable".to_owned()))
        }
        Ok(seen) => (Some(seen), None),
        Err(refused) => (None, Some(format!("what was measured cannot be read ({})", refused.status()))),
    }
}

pub(super) async fn pixel_json(State(state): State<HttpState>, place: Place, at: PixelQuery) -> Response {
    answer(async {
        let shown = state.shown(&place).await?;
        let map = Arc::clone(&shown.map);
        let (row, column, pixel) = pixel_of(&map, at)?;
        let (seen, why) = or_why(&shown, pixel_spectrum(&state, &shown, pixel)).await;
        let grid = &map.plan.grid;
        let phase = |index: u8| map.phases.get(usize::from(index)).map(|label| label.id.as_str());
        let ratio = |values: &[f32]| values.get(pixel).copied().filter(|value| value.is_finite());
        let kinds = map.phases.len();
        let correlations: Vec<Value> = map
            .phases
            .iter()
            .zip(&map.correlations[pixel * kinds..(pixel + 1) * kinds])
            .map(|(label, value)| json!({ "phase": label.id, "value": value.is_finite().then_some(value) }))
            .collect();
        let clusters = &map.origin.clusters;
        let posterior = map.posterior.chunks_exact(clusters.len().max(1)).nth(pixel).unwrap_or_default();
        let posterior: Vec<Value> = clusters
            .iter()
            .zip(posterior)
            .filter(|(_, value)| value.is_finite())
            .map(|(cluster, value)| json!({ "cluster": cluster, "value": value }))
            .collect();
        let told = json!({
            "row": row,
            "column": column,
            "y": grid.y.centre(row),
            "x": grid.x.centre(column),
            "unit": grid.unit,
            "revision": shown.revision,
            "values": {
                "status": map.status[pixel].name(),
                "phase": phase(map.phase[pixel]),
                "runner_up": phase(map.runner_up[pixel]),
                "method": map.method[pixel].name(),
                "confidence": ratio(&map.confidence),
                "margin": ratio(&map.margin),
                "correlation": ratio(&map.correlation),
                "delta_chi2": ratio(&map.delta_chi2),
                "share": ratio(&map.share),
                "share_error": ratio(&map.share_error),
                "fit_chi2": ratio(&map.fit_chi2),
                "edge_jump": ratio(&map.edge_jump),
                "energies_seen": map.energies_seen[pixel],
                "energies_masked": map.energies_masked[pixel],
                "ambiguity": map.ambiguity[pixel].name(),
                "smoothed": map.smoothed[pixel],
                "dose_mgy": ratio(&map.dose_mgy),
                "dose_relative": ratio(&map.dose_relative),
            },
            "correlations": correlations,
            "posterior": posterior,
            "readings": readings(&map, pixel),
            "spectrum": seen.map(|(place, optics)| spectrum_json(&place, &optics)),
            "why_no_spectrum": why,
        });
        Ok(stamped(&shown, Json(told).into_response()))
    })
    .await
}

/// Two readings of a pixel that describe it about equally well.
fn readings(map: &PhaseMap, pixel: usize) -> Vec<String> {
    let readings = map.readings[pixel];
    if readings == NO_READINGS {
        return Vec::new();
    }
    let id = |phase: &&u8| map.phases.get(usize::from(**phase)).map(|label| label.id.clone());
    readings
        .chunks(2)
        .map(|pair| pair.iter().filter_map(|phase| id(&phase)).collect::<Vec<_>>().join("+"))
        .collect()
}

/// Numbers, those that are none as null.
fn numbers(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| value.is_finite().then_some(*value)).collect()
}

fn spectrum_json(place: &PlaceSpectrum, optics: &Optics) -> Value {
    let id =
        |phase: usize| optics.references().references.get(phase).map(|reference| reference.label.id.clone());
    let fit = place.fit.as_ref().map(|fit| {
        let parts: Vec<Value> = fit
            .parts
            .iter()
            .map(|(phase, weight)| json!({ "phase": id(*phase), "weight": weight }))
            .collect();
        json!({ "parts": parts, "constant": fit.constant, "chi2": fit.chi2, "od": numbers(&fit.od) })
    });
    let references: Vec<Value> = place
        .references
        .iter()
        .map(|single| json!({ "phase": id(single.phase), "chi2": single.chi2, "od": numbers(&single.od) }))
        .collect();
    json!({
        "energy_ev": place.energy_ev,
        "corrected_ev": place.corrected_ev,
        "od": numbers(&place.od),
        "sigma": numbers(&place.sigma),
        "pixels": place.pixels,
        "fit": fit,
        "references": references,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct InPolygon {
    polygon: String,
}

pub(super) type RegionQuery = Result<Query<InPolygon>, QueryRejection>;

fn region_of(map: &PhaseMap, within: RegionQuery) -> Result<Vec<usize>, Refused> {
    let what = "a region is given by ?polygon=column,row;column,row;… with 3 to 256 corners, in pixels";
    let Ok(Query(InPolygon { polygon })) = within else { return Err(bad(what)) };
    let polygon = Polygon::parse(&polygon).ok_or_else(|| bad(what))?;
    let [ny, nx] = map.plan.grid.shape;
    Ok(polygon.pixels(ny, nx))
}

async fn region_spectrum(
    state: &HttpState,
    shown: &Shown,
    pixels: Vec<usize>,
) -> Result<(PlaceSpectrum, Arc<Optics>), Refused> {
    let (stack, optics) = state.sight(shown).await?;
    let with = Arc::clone(&optics);
    Ok((state.aside(Room::Map, move || with.place(&stack, &pixels, &[])).await?, optics))
}

pub(super) async fn region_json(
    State(state): State<HttpState>,
    place: Place,
    within: RegionQuery,
) -> Response {
    answer(async {
        let shown = state.shown(&place).await?;
        let map = Arc::clone(&shown.map);
        let pixels = region_of(&map, within)?;
        let (seen, why) = or_why(&shown, region_spectrum(&state, &shown, pixels.clone())).await;
        let mean = |values: &[f32]| {
            let some: Vec<f64> =
                pixels.iter().filter_map(|&p| values.get(p)).filter(|v| v.is_finite()).map(|v| f64::from(*v)).collect();
            (!some.is_empty()).then(|| some.iter().sum::<f64>() / some.len() as f64)
        };
        let mut statuses: Counted = vec![0; Status::ALL.len()];
        let mut phases: Counted = vec![0; map.phases.len()];
        for &pixel in &pixels {
            statuses[map.status[pixel] as usize] += 1;
            if map.status[pixel] == Status::Classified
                && let Some(count) = phases.get_mut(usize::from(map.phase[pixel]))
            {
                *count += 1;
            }
        }
        let classified = phases.iter().sum::<usize>().max(1) as f64;
        let fractions: Vec<Value> = map
            .phases
            .iter()
            .zip(&phases)
            .map(|(label, &count)| {
                let fraction = count as f64 / classified;
                json!({ "phase": label.id, "title": label.title, "colour": label.colour, "fraction": fraction, "pixels": count })
            })
            .collect();
        let counts: serde_json::Map<String, Value> =
            Status::ALL.iter().zip(&statuses).map(|(status, count)| (status.name().to_owned(), json!(count))).collect();
        let grid = &map.plan.grid;
        let area = pixels.len() as f64 * (grid.x.step * grid.y.step).abs();
        let told = json!({
            "pixels": pixels.len(),
            "area": area,
            "area_unit": format!("{}2", grid.unit),
            "revision": shown.revision,
            "status_counts": counts,
            "fractions": fractions,
            "confidence": mean(&map.confidence),
            "dose_mgy": mean(&map.dose_mgy),
            "spectrum": seen.map(|(place, optics)| spectrum_json(&place, &optics)),
            "why_no_spectrum": why,
        });
        Ok(stamped(&shown, Json(told).into_response()))
    })
    .await
}

pub(super) async fn pixel_csv(State(state): State<HttpState>, place: Place, at: PixelQuery) -> Response {
    answer(async {
        let shown = state.shown(&place).await?;
        let (row, column, pixel) = pixel_of(&shown.map, at)?;
        let (seen, optics) = pixel_spectrum(&state, &shown, pixel).await?;
        let name = format!("{}_row{row}_column{column}.csv", shown.map.plan.scan_id);
        Ok(csv::file(&name, csv::spectrum(&seen, &optics)))
    })
    .await
}

pub(super) async fn region_csv(
    State(state): State<HttpState>,
    place: Place,
    within: RegionQuery,
) -> Response {
    answer(async {
        let shown = state.shown(&place).await?;
        let pixels = region_of(&shown.map, within)?;
        let name = format!("{}_region_of_{}.csv", shown.map.plan.scan_id, pixels.len());
        let (seen, optics) = region_spectrum(&state, &shown, pixels).await?;
        Ok(csv::file(&name, csv::spectrum(&seen, &optics)))
    })
    .await
}

/// Mean spectra of the phases.
pub(super) async fn spectra_csv(State(state): State<HttpState>, place: Place) -> Response {
    answer(async {
        let shown = state.shown(&place).await?;
        let (stack, optics) = state.sight(&shown).await?;
        if stack.plan().energies_ev.len() != shown.map.plan.energies_ev.len() {
            let what = "the plan of this scan has just grown; ask again when the map shows it";
            return Err(Box::new(problem(StatusCode::CONFLICT, what)));
        }
        let name = format!("{}_spectra.csv", shown.map.plan.scan_id);
        let map = Arc::clone(&shown.map);
        let text = state
            .aside(Room::Map, move || csv::mean_spectra(&MeanSpectra::of(&optics.view(&stack), &map)))
            .await?;
        Ok(csv::file(&name, text))
    })
    .await
}
