//! Messages as pystxmcontrol sends them: for the simulator, and for tests.

use crate::scan::{Axis, ScanPlan};
use crate::source::pickle::write::Pickled;

/// Name of the only detector.
const CHANNEL: &str = "default";

/// The definition of a scan of one region, as it lies in every message.
#[must_use]
pub fn definition(plan: &ScanPlan) -> Pickled {
    let [ny, nx] = plan.grid.shape;
    let ends =
        |axis: Axis, points: usize| (axis.start, axis.centre(points.saturating_sub(1)), axis.step.abs());
    let ((x_start, x_stop, x_step), (y_start, y_stop, y_step)) =
        (ends(plan.grid.x, nx), ends(plan.grid.y, ny));
    let region = Pickled::dict([
        ("xStart", Pickled::Float(x_start)),
        ("xStop", Pickled::Float(x_stop)),
        ("xPoints", Pickled::Int(nx as i64)),
        ("xStep", Pickled::Float(x_step)),
        ("yStart", Pickled::Float(y_start)),
        ("yStop", Pickled::Float(y_stop)),
        ("yPoints", Pickled::Int(ny as i64)),
        ("yStep", Pickled::Float(y_step)),
    ]);
    let energy_region = |(number, (first, count)): (usize, (usize, usize))| {
        let (start, stop) = (plan.energies_ev[first], plan.energies_ev[first + count - 1]);
        let step = if count > 1 { (stop - start) / (count - 1) as f64 } else { 1.0 };
        let region = Pickled::dict([
            ("dwell", Pickled::Float(plan.dwell_ms[first])),
            ("start", Pickled::Float(start)),
            ("stop", Pickled::Float(stop)),
            ("step", Pickled::Float(step)),
            ("n_energies", Pickled::Int(count as i64)),
        ]);
        (format!("EnergyRegion{}", number + 1), region)
    };
    let energy_regions = Pickled::dict(even_runs(plan).into_iter().enumerate().map(energy_region));
    let text = |text: &Option<String>| Pickled::text(text.clone().unwrap_or_default());
    Pickled::dict([
        ("scan_regions", Pickled::dict([("Region1", region)])),
        ("energy_regions", energy_regions),
        ("sample", text(&plan.sample)),
        ("proposal", text(&plan.proposal)),
        ("file_name", Pickled::text(format!("{}.stxm", plan.scan_id))),
        ("start_time", Pickled::text(plan.started.format("%Y-%m-%d %H:%M:%S%.6f").to_string())),
        ("synch_event", Pickled::Object("asyncio.locks", "Event")),
        // Of ours: nothing simulated shall pass for real.
        ("simulated", Pickled::Bool(plan.simulated)),
    ])
}

/// Runs of energies with even steps and one dwell: first index and number.
fn even_runs(plan: &ScanPlan) -> Vec<(usize, usize)> {
    let (energies, dwells) = (&plan.energies_ev, &plan.dwell_ms);
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for index in 0..energies.len() {
        let fits = runs.last().is_some_and(|&(first, count)| {
            let step = if count > 1 {
                energies[first + 1] - energies[first]
            } else {
                energies[index] - energies[first]
            };
            let wanted = energies[first] + step * count as f64;
            dwells[index] == dwells[first] && (energies[index] - wanted).abs() < 1e-9
        });
        match runs.last_mut() {
            Some((_, count)) if fits => *count += 1,
            _ => runs.push((index, 1)),
        }
    }
    runs
}

/// The message about a row: `image` is all of its energy that was measured so far, zeros elsewhere.
#[must_use]
pub fn line(plan: &ScanPlan, definition: &Pickled, energy: usize, row: usize, image: &[f64]) -> Vec<u8> {
    let [ny, nx] = plan.grid.shape;
    let values = image[row * nx..(row + 1) * nx].to_vec();
    Pickled::dict([
        ("scan", definition.clone()),
        ("type", Pickled::text("Image")),
        ("mode", Pickled::text("continuousLine")),
        ("energy", Pickled::Float(plan.energies_ev[energy])),
        ("energyIndex", Pickled::Int(energy as i64)),
        ("dwell", Pickled::Float(plan.dwell_ms[energy])),
        ("scanRegion", Pickled::text("Region1")),
        ("lineIndex", Pickled::Int(row as i64)),
        ("index", Pickled::Int((row * nx) as i64)),
        ("xPoints", Pickled::Int(nx as i64)),
        ("yPoints", Pickled::Int(ny as i64)),
        ("data", Pickled::dict([(CHANNEL, Pickled::Array(vec![nx], values))])),
        ("image", Pickled::dict([(CHANNEL, Pickled::Array(vec![ny, nx], image.to_vec()))])),
        ("scanID", Pickled::text(format!("/data/{}.stxm", plan.scan_id))),
    ])
    .to_bytes()
}

/// What says that a scan is over.
#[must_use]
pub fn complete() -> Vec<u8> {
    Pickled::text("scan_complete").to_bytes()
}

/// What is sent while no scan runs.
#[must_use]
pub fn idle() -> Vec<u8> {
    Pickled::dict([("mode", Pickled::text("monitor")), ("type", Pickled::text("monitor"))]).to_bytes()
}
