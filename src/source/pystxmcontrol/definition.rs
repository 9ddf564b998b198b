//! What a scan is, as its own definition says.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::region::Region;
use crate::scan::{Grid, MAX_ENERGIES, PlanError, ScanKind, ScanPlan};
use crate::source::adapter::{AdapterRefusal, Naming};
use crate::source::axis::{from_ends, set_points};
use crate::source::identity::{identifier, stamp, stem};
use crate::source::pickle::View;

/// Longest context that is kept with the plan, bytes of JSON.
const MAX_CONTEXT: usize = 64 << 10;

/// A scan as it is defined; its regions are scans of their own.
#[derive(Debug)]
pub(super) struct Definition {
    scan_id: String,
    kind: ScanKind,
    energies_ev: Vec<f64>,
    dwell_ms: Vec<f64>,
    regions: Vec<(String, Ends)>,
    sample: Option<String>,
    proposal: Option<String>,
    operator: Option<String>,
    beamline: String,
    simulated: bool,
    started: DateTime<Utc>,
    context: Value,
}

/// Where a region lies.
#[derive(Clone, Debug)]
struct Ends {
    x: [Option<f64>; 3],
    y: [Option<f64>; 3],
    points: [usize; 2],
}

impl Definition {
    /// Reads it; `key` is its `scanID` and its `start_time`, `received` when the first message of it came.
    pub(super) fn read(
        scan: View<'_, '_>,
        key: &(String, String),
        kind: &str,
        naming: &Naming,
        received: DateTime<Utc>,
    ) -> Result<Self, AdapterRefusal> {
        let mut scan_id = identifier(stem(&key.0));
        if !key.1.is_empty() {
            scan_id = format!("{scan_id}-{}", stamp(&key.1));
        }
        let (energies_ev, dwell_ms) = energies(scan)?;
        let kind = match kind {
            "Image" if energies_ev.len() > 1 => ScanKind::Stack,
            "Image" => ScanKind::Image,
            "Focus" => ScanKind::Focus,
            "OSA Scan" | "OSA Focus" | "OSA" => ScanKind::Osa,
            kind if kind.starts_with("Line") => ScanKind::Line,
            _ => ScanKind::Other,
        };
        let text = |name: &str| {
            let text = scan.get(name).and_then(View::text)?.trim();
            (!text.is_empty()).then(|| text.chars().take(256).collect::<String>())
        };
        let mut context = json!({ "format": "pystxmcontrol", "scan_id": key.0, "start_time": key.1 });
        if let Some(definition) = scan.to_json().filter(|value| value.to_string().len() <= MAX_CONTEXT) {
            context["scan"] = definition;
        }
        Ok(Self {
            scan_id,
            kind,
            energies_ev,
            dwell_ms,
            regions: regions(scan)?,
            sample: text("sample"),
            proposal: text("proposal"),
            operator: text("experimenters"),
            beamline: naming.beamline.clone().unwrap_or_else(|| "unknown".to_owned()),
            simulated: scan.get("simulated").is_some_and(View::is_true),
            started: received,
            context,
        })
    }

    /// The region of that name; `recall` goes into its plan.
    pub(super) fn region(&self, name: &str, recall: Option<String>) -> Result<Region, AdapterRefusal> {
        let (index, (_, ends)) = self
            .regions
            .iter()
            .enumerate()
            .find(|(_, (known, _))| known == name)
            .ok_or_else(|| AdapterRefusal::new("region", format_args!("no {name:?} in scan_regions")))?;
        let several = self.regions.len() > 1;
        let scan_id = if several { format!("{}-r{}", self.scan_id, index + 1) } else { self.scan_id.clone() };
        let axis = |name: &str, [start, stop, step]: [Option<f64>; 3], points: usize| {
            let start = start.unwrap_or(0.0);
            // With neither end nor step the pixels are counted.
            let step = step.or_else(|| stop.is_none().then_some(1.0));
            let stop = stop.unwrap_or(start + step.unwrap_or(1.0) * (points.max(1) - 1) as f64);
            from_ends(name, start, stop, points, step)
        };
        let [ny, nx] = ends.points;
        let (x, y) = (axis("x", ends.x, nx), axis("y", ends.y, ny));
        let grid = Grid { shape: [ny, nx], x: x.axis, y: y.axis, unit: "um".to_owned() };
        let plan = ScanPlan {
            scan_kind: self.kind,
            dwell_ms: self.dwell_ms.clone(),
            beamline: self.beamline.clone(),
            sample: self.sample.clone(),
            region: several.then(|| name.chars().take(64).collect()),
            operator: self.operator.clone(),
            proposal: self.proposal.clone(),
            group: several.then(|| self.scan_id.clone()),
            region_index: several.then_some(index as i64),
            context: Some(self.context.clone()),
            simulated: self.simulated,
            started: self.started,
            recall,
            ..ScanPlan::of_stack(scan_id, grid, self.energies_ev.clone(), 1.0)
        };
        plan.validate()?;
        let doubts = [x.doubt, y.doubt].into_iter().flatten().collect();
        Ok(Region::new(plan, doubts))
    }
}

/// Set-points and dwells of all energy regions, one behind the other.
fn energies(scan: View<'_, '_>) -> Result<(Vec<f64>, Vec<f64>), AdapterRefusal> {
    let (mut energies_ev, mut dwell_ms) = (Vec::new(), Vec::new());
    for (name, region) in numbered(scan, "energy_regions")? {
        let number = |key: &str| region.get(key).and_then(View::number).filter(|value| value.is_finite());
        let wrong =
            |key: &str| AdapterRefusal::new("header", format_args!("energy_regions: {name} has no {key}"));
        let start = number("start").ok_or_else(|| wrong("start"))?;
        let stop = number("stop").unwrap_or(start);
        let count = region.get("n_energies").and_then(View::index).ok_or_else(|| wrong("n_energies"))?;
        let dwell = number("dwell").ok_or_else(|| wrong("dwell"))?;
        if count > MAX_ENERGIES || energies_ev.len() + count > MAX_ENERGIES {
            return Err(PlanError::Energies { count: energies_ev.len().saturating_add(count) }.into());
        }
        energies_ev.extend(set_points(start, stop, count));
        dwell_ms.resize(energies_ev.len(), dwell);
    }
    Ok((energies_ev, dwell_ms))
}

fn regions(scan: View<'_, '_>) -> Result<Vec<(String, Ends)>, AdapterRefusal> {
    let mut regions = Vec::new();
    for (name, region) in numbered(scan, "scan_regions")? {
        let number = |key: &str| region.get(key).and_then(View::number).filter(|value| value.is_finite());
        let points = |key: &str| region.get(key).and_then(View::index).unwrap_or(0);
        let ends = Ends {
            x: ["xStart", "xStop", "xStep"].map(number),
            y: ["yStart", "yStop", "yStep"].map(number),
            points: [points("yPoints"), points("xPoints")],
        };
        regions.push((name.to_owned(), ends));
    }
    Ok(regions)
}

/// The regions under `key`, by the number at the end of their names: `Region10` comes after `Region9`.
fn numbered<'p, 'a>(scan: View<'p, 'a>, key: &str) -> Result<Vec<(&'p str, View<'p, 'a>)>, AdapterRefusal> {
    let table =
        scan.get(key).ok_or_else(|| AdapterRefusal::new("header", format_args!("no {key} in scan")))?;
    let mut regions: Vec<_> = table.entries().take(MAX_ENERGIES).collect();
    let number = |name: &str| {
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.parse::<u64>().unwrap_or(u64::MAX)
    };
    regions.sort_by_key(|(name, _)| number(name));
    Ok(regions)
}
