//! What the archive says of a settled map beside the map.

use crate::absorption::mean_i0;
use crate::archive::EnergyRow;
use crate::classify::{DensityView, Settled};
use crate::publish::MeanSpectra;
use crate::stack::Stack;

/// Mean spectra of a settled map.
#[must_use]
pub fn spectra_of(stack: &Stack, settled: &Settled, max_od: f64) -> MeanSpectra {
    let mapped = settled.registered.as_ref().unwrap_or(stack);
    let view = DensityView::new(mapped, &settled.intensity, max_od, settled.noise_factor);
    MeanSpectra::of(&view, &settled.map)
}

/// One row per energy: the I0 and the energy that the settled map was made with.
#[must_use]
pub fn energy_rows(stack: &Stack, settled: &Settled) -> Vec<EnergyRow> {
    let source = serde_json::to_value(settled.intensity.source()).ok();
    let source = source.and_then(|value| value.as_str().map(str::to_owned));
    let offset = settled.map.origin.energy_offset;
    let middle_ev = settled.map.origin.correction.middle_ev;
    let energies_ev = &stack.plan().energies_ev;
    let offset_at = |energy: usize| offset.offset_ev + offset.slope * (energies_ev[energy] - middle_ev);
    let curve = &settled.map.origin.incident.curve;
    let row = |energy: usize| {
        let i0 = mean_i0(stack, &settled.intensity, energy);
        EnergyRow {
            i0,
            i0_source: i0.and(source.clone()),
            i0_per_ms: curve.i0_per_ms.get(energy).copied().flatten(),
            flicker: i0.and(curve.flicker.get(energy).copied()),
            flawed: curve.flawed.get(energy).map_or(0, |flawed| *flawed as u32),
            offset_ev: offset.is_trusted().then(|| offset_at(energy)),
            corrected_ev: settled.energies_ev.get(energy).copied(),
            shift: settled.map.origin.drift.shift(energy),
        }
    };
    (0..stack.planes().len()).map(row).collect()
}
