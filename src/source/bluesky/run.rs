//! One run: its plan, and where its events belong.

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::scan::{
    Channel, Grid, I0, MAX_AXIS, MAX_ENERGIES, Outcome, Pixels, PlanError, SampleBatch, ScanEvent, ScanKind,
    ScanPlan, ScanUpdate,
};
use crate::source::adapter::{AdapterRefusal, Naming, Read, Recalled, remember};
use crate::source::axis::from_ends;
use crate::source::identity::identifier;

/// Name of the format in what is remembered.
const FORMAT: &str = "bluesky";
/// Longest start document that is kept with the plan, bytes of JSON.
const MAX_CONTEXT: usize = 64 << 10;

/// What is needed to go on with a run after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    uid: String,
    data_field: String,
    energy_motor: Option<String>,
}

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    uid: String,
    plan: ScanPlan,
    data_field: String,
    energy_motor: Option<String>,
    descriptors: Vec<String>,
    open: bool,
}

impl Run {
    /// Reads a start document that has a block `stxm`.
    pub(super) fn read(
        body: &Value,
        naming: &Naming,
        received: DateTime<Utc>,
    ) -> Result<Self, AdapterRefusal> {
        let wrong = |what: &str| AdapterRefusal::new("header", format_args!("start document: {what}"));
        let stxm = &body["stxm"];
        let version = &stxm["contract_version"];
        if version.as_f64() != Some(1.0) {
            return Err(AdapterRefusal::new(
                "contract",
                format_args!("stxm.contract_version is {version}, not 1"),
            ));
        }
        let uid = body["uid"].as_str().ok_or_else(|| wrong("no uid"))?;
        let shape: Vec<usize> = numbers(&stxm["shape"]).map(|n| n as usize).collect();
        let [energies, ny, nx] = shape[..] else { return Err(wrong("stxm.shape is not [nE, ny, nx]")) };
        let energies_ev: Vec<f64> = numbers(&stxm["energies"]).collect();
        if energies_ev.len() != energies || energies > MAX_ENERGIES {
            return Err(
                PlanError::PerEnergy { field: "stxm.energies", found: energies_ev.len(), energies }.into()
            );
        }
        let dwell: Vec<f64> = numbers(&stxm["dwell_ms"]).collect();
        let dwell_ms = match (stxm["dwell_ms"].as_f64(), dwell) {
            (Some(dwell_ms), _) => vec![dwell_ms; energies],
            (None, list) => list,
        };
        let axis = |name: &str, key: &str, points: usize| match numbers(&stxm[key]).collect::<Vec<_>>()[..] {
            [start, stop] if points <= MAX_AXIS => Ok(from_ends(name, start, stop, points, None).axis),
            _ => Err(wrong(&format!("stxm.{key} is not [first, last]"))),
        };
        let grid = Grid {
            shape: [ny, nx],
            x: axis("x", "x_extent", nx)?,
            y: axis("y", "y_extent", ny)?,
            unit: "um".to_owned(),
        };
        let field = naming.channel.clone().or_else(|| stxm["data_field"].as_str().map(str::to_owned));
        let text = |keys: [&str; 2]| {
            let found =
                keys.iter().find_map(|key| body[key].as_str().or_else(|| body[key]["name"].as_str()))?;
            (!found.is_empty()).then(|| found.chars().take(256).collect::<String>())
        };
        let mut context = json!({ "format": "bluesky" });
        if body.to_string().len() <= MAX_CONTEXT {
            context["start"] = body.clone();
        }
        let started = body["time"].as_f64().and_then(moment).unwrap_or(received);
        let plan = ScanPlan {
            scan_kind: if energies > 1 { ScanKind::Stack } else { ScanKind::Image },
            dwell_ms,
            beamline: naming.beamline.clone().unwrap_or_else(|| "unknown".to_owned()),
            sample: text(["sample_name", "sample"]),
            proposal: text(["proposal_id", "proposal"]),
            operator: text(["operator", "user"]),
            context: Some(context),
            simulated: stxm["simulated"].as_bool().unwrap_or(false),
            started,
            ..ScanPlan::of_stack(identifier(uid), grid, energies_ev, 1.0)
        };
        plan.validate()?;
        let memory = Memory {
            uid: uid.to_owned(),
            data_field: field.ok_or_else(|| wrong("no stxm.data_field"))?,
            energy_motor: stxm["energy_motor"].as_str().map(str::to_owned),
        };
        let plan = ScanPlan { recall: remember(FORMAT, &memory), ..plan };
        Ok(Self::new(plan, memory, true))
    }

    fn new(plan: ScanPlan, memory: Memory, open: bool) -> Self {
        let Memory { uid, data_field, energy_motor } = memory;
        Self { uid, plan, data_field, energy_motor, descriptors: Vec::new(), open }
    }

    /// As it was before a restart; `None` where it is no run.
    pub(super) fn recalled(scan: &Recalled<'_>) -> Option<Self> {
        let memory = scan.memory::<Memory>(FORMAT)?;
        Some(Self::new(scan.plan.clone(), memory, scan.ended.is_none()))
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn add_descriptor(&mut self, uid: &str, most: usize) {
        if self.descriptors.len() < most && !self.has_descriptor(uid) {
            self.descriptors.push(uid.to_owned());
        }
    }

    pub(super) fn has_descriptor(&self, uid: &str) -> bool {
        self.descriptors.iter().any(|known| known == uid)
    }

    fn event(&self, seq: Option<u64>, update: ScanUpdate) -> ScanEvent {
        ScanEvent { scan_id: self.plan.scan_id.clone(), seq, time: None, update }
    }

    pub(super) fn start(&self, events: &mut Vec<ScanEvent>) {
        events.push(self.event(Some(0), ScanUpdate::Started(Box::new(self.plan.clone()))));
    }

    /// Number of lines.
    fn lines(&self) -> u64 {
        (self.plan.energies_ev.len() * self.plan.grid.ny()) as u64
    }

    /// Takes an event: `data` finds what it has of a field.
    pub(super) fn row<'a>(
        &self,
        seq_num: &Value,
        time: &Value,
        data: &dyn Fn(&str) -> &'a Value,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let field = data(&self.data_field);
        // Another stream of the same run.
        let (Value::Array(row), ScanKind::Stack) = (field, self.plan.scan_kind) else {
            return Ok(Read::Idle);
        };
        let [ny, nx] = self.plan.grid.shape;
        let seq = seq_num.as_u64().filter(|seq| (1..=self.lines()).contains(seq));
        let Some(seq) = seq else {
            let cause = format!("seq_num {seq_num} of a run of {} lines", self.lines());
            return Err(AdapterRefusal::new("seq", cause));
        };
        if row.len() != nx {
            return Err(AdapterRefusal::new("size", format_args!("{} values in a line of {nx}", row.len())));
        }
        // What is no number was not measured; so says null, which bare NaN has become.
        let value = |value: &Value| match value.as_f64().map(|value| value as f32) {
            Some(value) if value.is_finite() => value,
            _ => f32::NAN,
        };
        let line = (seq - 1) as usize;
        let batch = SampleBatch {
            energy_index: (line / ny) as u32,
            pixels: Pixels::Run { first: (line % ny * nx) as u32, count: nx as u32 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values: row.iter().map(value).collect(),
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: self.energy_motor.as_ref().and_then(|motor| data(motor).as_f64()),
            time: time.as_f64().and_then(moment),
        };
        events.push(self.event(Some(seq), ScanUpdate::Samples(batch)));
        Ok(Read::Taken)
    }

    pub(super) fn stop(&mut self, body: &Value, events: &mut Vec<ScanEvent>) -> Read {
        if !std::mem::take(&mut self.open) {
            return Read::Idle;
        }
        let (seq, outcome) = match body["exit_status"].as_str() {
            Some("success") | None => (Some(self.lines() + 1), Outcome::Complete),
            Some(status) => {
                let reason = body["reason"].as_str().filter(|reason| !reason.is_empty()).unwrap_or(status);
                (None, Outcome::Aborted { reason: Some(reason.chars().take(256).collect()) })
            }
        };
        events.push(self.event(seq, ScanUpdate::Ended(outcome)));
        Read::Taken
    }
}

fn numbers(value: &Value) -> impl Iterator<Item = f64> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .take(MAX_ENERGIES + 1)
        .map(|number| number.as_f64().unwrap_or(f64::NAN))
}

/// Seconds since 1970.
fn moment(seconds: f64) -> Option<DateTime<Utc>> {
    let micros = (seconds * 1e6).round();
    (micros.abs() < 4e18)
        .then(|| DateTime::from_timestamp_micros(micros as i64))?
        .map(|time| time.trunc_subsecs(6))
}
