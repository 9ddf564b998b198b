//! The plan of a scan whose frames come from a detector that knows none: as JSON beside the frames, or in the settings.
//!
//! It has the fields of `scan_start` of `stxm-stream/1` under their names, so that everything that can be said there can be said here:
//! `grid` (or `shape`, `x`, `y`, `unit` by themselves), `energies_ev`, `dwell_ms`, `sample` and so on. Beside them: `series` ("stack", "energy" or
//! "line": what a series holds), `meander`, `fast_axis` ("x" or "y"), and of a series `energy_index` and `line_index`.
//!
//! Bad input: what breaks a rule of `scan_start` is refused as it is there.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::adapter::AdapterRefusal;
use super::geometry::{Layout, Order, Places, SeriesFacts, Span};
use super::stxm_stream::{Framing, STREAM, decode};
use crate::scan::{ScanPlan, ScanUpdate};

/// Name of the block in what goes with a series.
const BLOCK: &str = "stxm";

/// What was told of a scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    fields: Map<String, Value>,
    span: Option<Span>,
    order: Order,
    /// Energy and line of this series.
    at: Option<[u64; 2]>,
}

impl Told {
    /// What goes with a series, if it has our block.
    ///
    /// # Errors
    /// Where the block is not what it should be.
    pub fn with_series(note: &Value) -> Option<Result<Self, AdapterRefusal>> {
        note.get(BLOCK).map(|block| Self::read(block.clone()))
    }

    /// What the settings say, or a block.
    ///
    /// # Errors
    /// Where a field that only stands here is not what it should be. The others are read when there is a scan.
    pub fn read(block: Value) -> Result<Self, AdapterRefusal> {
        let wrong = |what: &str| AdapterRefusal::new("geometry", what);
        let Value::Object(mut fields) = block else { return Err(wrong("the geometry is no table")) };
        let span = match fields.remove("series") {
            None | Some(Value::Null) => None,
            Some(series) => Some(
                serde_json::from_value(series)
                    .map_err(|_| wrong("series has to be stack, energy or line"))?,
            ),
        };
        let meander = match fields.remove("meander") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(wrong("meander has to be true or false")),
        };
        let y_fast = match fields.remove("fast_axis").as_ref().map(Value::as_str) {
            None | Some(Some("x")) => false,
            Some(Some("y")) => true,
            Some(_) => return Err(wrong("fast_axis has to be x or y")),
        };
        let mut index = |key: &str| match fields.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(index) => {
                index.as_u64().map(Some).ok_or_else(|| wrong("energy_index and line_index count from 0"))
            }
        };
        let (energy, line) = (index("energy_index")?, index("line_index")?);
        if line.is_some() && energy.is_none() {
            return Err(wrong("line_index without energy_index"));
        }
        if !fields.contains_key("grid") && fields.contains_key("shape") {
            let grid = ["shape", "x", "y", "unit"].map(|key| (key.to_owned(), fields.remove(key)));
            let grid = grid.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            fields.insert("grid".to_owned(), Value::Object(grid));
        }
        let at = energy.map(|energy| [energy, line.unwrap_or(0)]);
        Ok(Self { fields, span, order: Order { meander, y_fast }, at })
    }

    /// Whether both are told of one scan: all but the place of a series is alike.
    #[must_use]
    pub fn is_of_one_scan(&self, other: &Self) -> bool {
        (&self.fields, self.span, self.order) == (&other.fields, other.span, other.order)
    }

    /// Whether it says a whole plan.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        ["grid", "energies_ev"].iter().all(|key| self.fields.contains_key(*key))
    }

    /// Whether it says anything of the scan itself.
    #[must_use]
    pub fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The span of a series, where it is told.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// The path.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// The identifier, where it is told.
    #[must_use]
    pub fn scan_id(&self) -> Option<&str> {
        self.fields.get("scan_id")?.as_str()
    }

    /// Whether it says the place of its series.
    #[must_use]
    pub fn says_place(&self) -> bool {
        self.at.is_some()
    }

    /// Position of the first image of a series in its scan, where it is told; beyond every plan where there is no such line.
    #[must_use]
    pub fn first(&self, layout: &Layout) -> Option<u64> {
        let [energy, line] = self.at?;
        if line >= layout.pixels() / layout.line() {
            return Some(u64::MAX);
        }
        energy.checked_mul(layout.pixels())?.checked_add(line.checked_mul(layout.line())?)
    }

    /// The plan of the scan that a series begins.
    ///
    /// # Errors
    /// The rule of `scan_start` that it breaks.
    pub fn plan(
        &self,
        scan_id: &str,
        series: &SeriesFacts,
        started: DateTime<Utc>,
        beamline: Option<&str>,
    ) -> Result<ScanPlan, AdapterRefusal> {
        let mut header = self.fields.clone();
        let mut detector = match header.remove("detector") {
            Some(Value::Object(detector)) => detector,
            _ => Map::new(),
        };
        detector.insert("kind".to_owned(), json!("area"));
        detector.insert("frame_shape".to_owned(), json!(series.shape));
        let level = detector.get("saturation").and_then(Value::as_f64);
        if let Some(level) = series.saturation.map(|told| level.map_or(told, |level| level.min(told))) {
            detector.insert("saturation".to_owned(), json!(level));
        }
        header.insert("detector".to_owned(), Value::Object(detector));
        if let (false, Some(count_time_s)) = (header.contains_key("dwell_ms"), series.count_time_s) {
            header.insert("dwell_ms".to_owned(), json!(count_time_s * 1e3));
        }
        for (key, value) in [
            ("stream", json!(STREAM)),
            ("type", json!("scan_start")),
            ("scan_id", json!(scan_id)),
            ("seq", json!(0)),
            ("time", json!(started.to_rfc3339())),
        ] {
            header.insert(key.to_owned(), value);
        }
        let header = Bytes::from(Value::Object(header).to_string());
        match decode(&[header], Framing::Bare, beamline)?.update {
            ScanUpdate::Started(mut plan) => {
                plan.detector.left_out.clone_from(&series.left_out);
                Ok(*plan)
            }
            _ => Err(AdapterRefusal::new("geometry", "the geometry is no plan")),
        }
    }

    /// The places of the plan.
    #[must_use]
    pub fn places(&self, plan: &ScanPlan) -> Places {
        let layout = Layout { shape: plan.grid.shape, order: self.order };
        let places = Places::new(layout, plan.energies_ev.clone(), self.span);
        if self.scan_id().is_some() { places } else { places.unnamed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> SeriesFacts {
        SeriesFacts {
            shape: [4, 6],
            saturation: Some(1000.0),
            count_time_s: Some(0.002),
            left_out: vec![[3, 2]],
            ..SeriesFacts::default()
        }
    }

    fn block() -> Value {
        json!({
            "shape": [2, 3], "x": {"start": 0.0, "step": 0.1}, "y": {"start": 1.0, "step": -0.1},
            "energies_ev": [510.0, 511.0], "sample": "a", "series": "energy", "meander": true, "energy_index": 1,
        })
    }

    #[test]
    fn a_block_and_a_series_make_a_plan() {
        let told = Told::with_series(&json!({ "stxm": block() })).unwrap().unwrap();
        assert!(told.is_whole() && told.span() == Some(Span::Energy) && told.order().meander);
        let plan = told.plan("s1", &series(), DateTime::default(), Some("bl")).unwrap();
        assert_eq!(
            (plan.grid.shape, plan.grid.y.step, plan.dwell_ms.clone()),
            ([2, 3], -0.1, vec![2.0, 2.0])
        );
        assert_eq!((plan.detector.frame_shape, plan.detector.saturation), (Some([4, 6]), Some(1000.0)));
        assert_eq!((plan.sample.as_deref(), &*plan.beamline), (Some("a"), "bl"));
        assert_eq!(plan.detector.left_out, [[3, 2]]);
        assert_eq!(told.first(&told.places(&plan).layout), Some(6));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(Told::with_series(&json!({ "other": 1 })).is_none());
        for (key, value) in [("series", json!("day")), ("meander", json!(1)), ("fast_axis", json!("z"))] {
            let mut block = block();
            block[key] = value;
            assert_eq!(Told::read(block).unwrap_err().reason(), "geometry");
        }
        let mut short = block();
        short["energies_ev"] = json!([]);
        let told = Told::read(short).unwrap();
        assert!(told.plan("s1", &series(), DateTime::default(), None).is_err());
        let no_dwell = SeriesFacts { count_time_s: None, ..series() };
        assert!(Told::read(block()).unwrap().plan("s1", &no_dwell, DateTime::default(), None).is_err());
    }
}
