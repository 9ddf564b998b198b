//! What a scan is, as its request says.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::region::{Order, Region};
use crate::scan::{Axis, Grid, MAX_ENERGIES, PlanError, ScanKind, ScanPlan};
use crate::source::adapter::{AdapterRefusal, Naming, Recalled};
use crate::source::axis::set_points;

/// Longest request that is kept with the plan, bytes of JSON.
const MAX_CONTEXT: usize = 64 << 10;
/// Most inner regions.
const MAX_REGIONS: usize = 256;

/// A scan as it was asked for; each inner region, and each polarisation, is a scan of its own.
#[derive(Debug)]
pub(super) struct Request {
    scan_id: String,
    kind: ScanKind,
    energies_ev: Vec<f64>,
    dwell_ms: Vec<f64>,
    regions: Vec<(Grid, Order)>,
    polarizations: Vec<String>,
    /// Why the outer index cannot be told, where it cannot.
    doubt: Option<String>,
    remarks: Vec<String>,
    beamline: String,
    simulated: bool,
    started: DateTime<Utc>,
    context: Value,
}

impl Request {
    /// Reads it; `None` where it has no energies or no grid.
    pub(super) fn read(
        body: &Value,
        scan_id: String,
        naming: &Naming,
        received: DateTime<Utc>,
    ) -> Result<Option<Self>, AdapterRefusal> {
        let request = if body["scanRequest"].is_object() { &body["scanRequest"] } else { body };
        if !request.is_object() {
            return Err(AdapterRefusal::new("header", "scanStarted without a request"));
        }
        let (energies_ev, dwell_ms, doubt) = energies(request)?;
        let spatial = request["spatialType"].as_str().unwrap_or_default();
        let kind = match (request["scanType"].as_str().unwrap_or_default(), spatial) {
            ("Focus", _) => ScanKind::Focus,
            ("OSA" | "OSAFocus" | "OSA Focus", _) => ScanKind::Osa,
            (_, "Line") => ScanKind::Line,
            (_, "Image") => ScanKind::Stack,
            _ => ScanKind::Other,
        };
        if energies_ev.is_empty() || (kind != ScanKind::Stack && spatial != "Image") {
            return Ok(None);
        }
        let mut remarks = Vec::new();
        if is_set(&request["meander"]) {
            remarks.push("a meander: lines are taken as the server sorts them, by their indices".to_owned());
        }
        let regions = list(&request["innerRegions"]).take(MAX_REGIONS).map(grid).collect::<Result<_, _>>()?;
        let polarization = &request["polarization"];
        let types = list(&polarization["types"])
            .map(|kind| kind.as_str().map_or_else(|| kind.to_string(), str::to_owned));
        let polarizations =
            if is_set(&polarization["active"]) { types.take(16).collect() } else { Vec::new() };
        let mut context = json!({ "format": "pixelator" });
        if request.to_string().len() <= MAX_CONTEXT {
            context["scanRequest"] = request.clone();
        }
        Ok(Some(Self {
            scan_id,
            kind,
            energies_ev,
            dwell_ms,
            regions,
            polarizations,
            doubt,
            remarks,
            beamline: naming.beamline.clone().unwrap_or_else(|| "unknown".to_owned()),
            simulated: request["simulated"].as_bool().unwrap_or(false),
            started: received,
            context,
        }))
    }

    /// Whether it is one scan: one region, and one polarisation at most.
    pub(super) fn is_single(&self) -> bool {
        self.regions.len() == 1 && self.polarizations.len() < 2
    }

    /// Name of the whole scan.
    pub(super) fn scan_id(&self) -> &str {
        &self.scan_id
    }

    /// A region as it was before a restart.
    pub(super) fn recalled(&self, key: [usize; 2], scan: &Recalled<'_>) -> Result<Region, AdapterRefusal> {
        let region = self.region(key, None)?;
        Ok(region.recalled(scan))
    }

    /// The scan of an inner region and a polarisation; `recall` goes into its plan.
    pub(super) fn region(
        &self,
        [inner, polarization]: [usize; 2],
        recall: Option<String>,
    ) -> Result<Region, AdapterRefusal> {
        let Some((grid, order)) = self.regions.get(inner) else {
            let cause = format!("inner region {inner} where the request has {}", self.regions.len());
            return Err(AdapterRefusal::new("region", cause));
        };
        if polarization >= self.polarizations.len().max(1) {
            let cause =
                format!("polarisation {polarization} where the request has {}", self.polarizations.len());
            return Err(AdapterRefusal::new("region", cause));
        }
        let mut scan_id = self.scan_id.clone();
        if self.regions.len() > 1 {
            scan_id = format!("{scan_id}-r{}", inner + 1);
        }
        if self.polarizations.len() > 1 {
            scan_id = format!("{scan_id}-p{}", polarization + 1);
        }
        let several = scan_id != self.scan_id;
        let mut context = self.context.clone();
        if let Some(kind) = self.polarizations.get(polarization) {
            context["polarization"] = kind.clone().into();
        }
        let plan = ScanPlan {
            scan_kind: self.kind,
            dwell_ms: self.dwell_ms.clone(),
            beamline: self.beamline.clone(),
            group: several.then(|| self.scan_id.clone()),
            region_index: several.then_some(inner as i64),
            context: Some(context),
            simulated: self.simulated,
            started: self.started,
            recall,
            ..ScanPlan::of_stack(scan_id, grid.clone(), self.energies_ev.clone(), 1.0)
        };
        plan.validate()?;
        Ok(Region::new(plan, *order, self.doubt.clone(), self.remarks.clone()))
    }
}

/// A flag: 0 or 1, or as JSON has it.
fn is_set(flag: &Value) -> bool {
    flag.as_bool().unwrap_or_else(|| flag.as_f64().is_some_and(|flag| flag != 0.0))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The trajectory of an axis whose positioner is wanted.
fn trajectory(axis: &Value, wanted: impl Fn(&str) -> bool) -> Option<&Value> {
    list(&axis["trajectories"]).find(|trajectory| trajectory["positionerName"].as_str().is_some_and(&wanted))
}

fn points(axis: &Value) -> Result<usize, AdapterRefusal> {
    let points = axis["nPoints"].as_u64().and_then(|points| usize::try_from(points).ok());
    points.ok_or_else(|| AdapterRefusal::new("header", "an axis without nPoints"))
}

/// Set-points and dwells of all outer regions, one behind the other, and why their index cannot be told.
type Energies = (Vec<f64>, Vec<f64>, Option<String>);

fn energies(request: &Value) -> Result<Energies, AdapterRefusal> {
    let (mut energies_ev, mut dwell_ms, mut doubt) = (Vec::new(), Vec::new(), None);
    for (number, region) in list(&request["outerRegions"]).enumerate().take(MAX_ENERGIES) {
        let mut of_region = Vec::new();
        for axis in list(&region["axes"]) {
            let count = points(axis)?;
            if let Some(energy) = trajectory(axis, |name| name == "Energy").filter(|_| of_region.is_empty()) {
                let number = |key: &str| energy[key].as_f64();
                let start = number("start")
                    .ok_or_else(|| AdapterRefusal::new("header", "energies without a start"))?;
                let end = number("end")
                    .or_else(|| Some(start + number("range")?))
                    .or_else(|| Some(start + number("step")? * (count.max(1) - 1) as f64))
                    .unwrap_or(start);
                if count > MAX_ENERGIES || energies_ev.len() + count > MAX_ENERGIES {
                    return Err(PlanError::Energies { count: energies_ev.len().saturating_add(count) }.into());
                }
                of_region.extend(set_points(start, end, count));
            } else if count > 1 {
                doubt = Some(format!(
                    "outer region {} has an axis beside the energy: which line is of which energy is not known",
                    number + 1
                ));
            }
        }
        // The format has seconds.
        let dwell = region["dwellTime"].as_f64().map_or(1.0, |dwell_s| dwell_s * 1e3);
        energies_ev.append(&mut of_region);
        dwell_ms.resize(energies_ev.len(), dwell);
    }
    Ok((energies_ev, dwell_ms, doubt))
}

/// The grid of an inner region, and which of its axes is the first index.
fn grid(region: &Value) -> Result<(Grid, Order), AdapterRefusal> {
    let axes: Vec<&Value> = list(&region["axes"]).take(3).collect();
    let [first, second] = axes[..] else {
        return Err(AdapterRefusal::new(
            "header",
            format_args!("an inner region of {} axes, not 2", axes.len()),
        ));
    };
    let along = |axis: &Value, letter: char| trajectory(axis, |name| name.ends_with(letter)).cloned();
    let (order, y, x) = match (along(first, 'Y'), along(second, 'X'), along(first, 'X'), along(second, 'Y')) {
        (Some(y), Some(x), ..) => (Order::RowsFirst, (first, y), (second, x)),
        (_, _, Some(x), Some(y)) => (Order::ColumnsFirst, (second, y), (first, x)),
        _ => return Err(AdapterRefusal::new("header", "an inner region whose axes are not one X and one Y")),
    };
    let [ny, nx] = [points(y.0)?, points(x.0)?];
    let unit = "um".to_owned();
    Ok((Grid { shape: [ny, nx], x: axis(&x.1, nx), y: axis(&y.1, ny), unit }, order))
}

/// An axis by its centre, or by its start. The step is what it says; else the range has one step less than points.
fn axis(trajectory: &Value, points: usize) -> Axis {
    let number = |key: &str| trajectory[key].as_f64();
    let gaps = points.max(2) as f64 - 1.0;
    let start = number("start");
    let range = number("range").or_else(|| Some(number("end")? - start?));
    let step = number("step")
        .filter(|step| *step != 0.0)
        .or_else(|| Some(range? / gaps))
        .filter(|step| *step != 0.0);
    let step = step.unwrap_or(1.0);
    // A descending axis may have a step without a sign.
    let step = if range.is_some_and(|range| range < 0.0) { -step.abs() } else { step };
    let half = 0.5 * step * (points.max(1) - 1) as f64;
    Axis { start: number("center").map_or_else(|| start.unwrap_or(0.0), |centre| centre - half), step }
}
