//! What a browser has to know of a map before it draws it: `view.json`.

use serde_json::{Value, json};

use super::layers::Layer;
use super::screen::States;
use super::shown::Shown;
use crate::classify::{Ambiguity, Method, Status};

/// `view.json` of a scan; `states` are the state variables of the phases by their ids, where they are known.
pub(super) fn view(shown: &Shown, states: &States) -> Value {
    let map = &shown.map;
    let (plan, origin) = (&map.plan, &map.origin);
    let grid = &plan.grid;
    let energies: Vec<Value> = plan
        .energies_ev
        .iter()
        .enumerate()
        .map(|(energy, energy_ev)| {
            let facts = shown.energies.get(energy).copied().unwrap_or_default();
            json!({
                "energy_ev": energy_ev,
                "corrected_ev": origin.corrected_ev.get(energy),
                "coverage": facts.coverage,
                "i0": facts.i0_per_ms,
                "shift": facts.shift,
                "shift_error": facts.shift_error,
            })
        })
        .collect();
    let phases: Vec<Value> = map
        .phases
        .iter()
        .map(|label| {
            let state = states.get(&label.id).map(|(name, value)| json!({ "name": name, "value": value }));
            json!({ "phase": label.id, "title": label.title, "colour": label.colour, "state": state })
        })
        .collect();
    let layers: Vec<Value> = Layer::ALL
        .into_iter()
        .filter(|layer| layer.is_there(map) && (!layer.is_per_energy() || shown.why_no_spectra.is_none()))
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
        "findings": { "available": shown.findings.is_some(), "revision": shown.findings },
        "latent": { "available": shown.why_no_islands.is_none(), "why_not": shown.why_no_islands },
    })
}
