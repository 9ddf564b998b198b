//! What a browser has to know of a map before it draws it: `view.json`.

use serde_json::{Value, json};

use super::layers::Layer;
use super::shown::Shown;
use crate::classify::{Ambiguity, Method, Status};

/// `view.json` of a scan.
pub(super) fn view(shown: &Shown) -> Value {
    let map = &shown.map;
    let (plan, origin) = (&map.plan, &map.origin);
    let grid = &plan.grid;
    let i0 = &origin.incident.curve.i0_per_ms;
    let energies: Vec<Value> = plan
        .energies_ev
        .iter()
        .enumerate()
        .map(|(energy, energy_ev)| {
            let shift = origin.drift.shift(energy);
            json!({
                "energy_ev": energy_ev,
                "corrected_ev": origin.corrected_ev.get(energy),
                "coverage": shown.coverage.get(energy),
                "i0": i0.get(energy).copied().flatten(),
                "shift": shift.map(|shift| [shift.y, shift.x]),
                "shift_error": shift.map(|shift| [shift.error_y, shift.error_x]),
            })
        })
        .collect();
    let phases: Vec<Value> = map
        .phases
        .iter()
        .map(|label| json!({ "phase": label.id, "title": label.title, "colour": label.colour }))
        .collect();
    let layers: Vec<Value> = Layer::ALL
        .into_iter()
        .filter(|layer| layer.is_there(map) && (*layer != Layer::Od || shown.why_no_spectra.is_none()))
        .map(|layer| layer.describe(map))
        .collect();
    json!({
        "scan_id": plan.scan_id,
        "generation": origin.generation,
        "revision": shown.revision,
        "live": shown.live,
        "simulated": plan.simulated,
        "shape": grid.shape,
        "step": [grid.y.step, grid.x.step],
        "origin": [grid.y.start, grid.x.start],
        "unit": grid.unit,
        "flip": [grid.y.step > 0.0, grid.x.step < 0.0],
        "energies": energies,
        "phases": phases,
        "clusters": origin.clusters,
        "statuses": Status::ALL.map(Status::name),
        "methods": Method::ALL.map(Method::name),
        "ambiguities": Ambiguity::ALL.map(Ambiguity::name),
        "layers": layers,
        "spectra": { "available": shown.why_no_spectra.is_none(), "why_not": shown.why_no_spectra },
        "latent": { "available": shown.why_no_islands.is_none(), "why_not": shown.why_no_islands },
    })
}
