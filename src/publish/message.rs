//! Topics and JSON headers of the ZeroMQ output, as `proto/live-output-v1.md` has them.
//!
//! A message has three parts: topic, header, Arrow IPC stream bytes (empty where there is no table).

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{MeanSpectra, PublishError, ipc, table};
use crate::absorption::I0Source;
use crate::classify::{OffsetSummary, PhaseMap, Status};
use crate::findings::Summary;
use crate::registration::Shift;
use crate::scan::{Outcome, ScanPlan};
use crate::stack::SeqRange;

/// One message, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// First part.
    pub topic: String,
    /// Second part.
    pub header: Value,
    /// Third part: Arrow IPC stream bytes, or nothing.
    pub table: Bytes,
}

/// The latest map of a scan: topic `phase_map/<scan_id>`.
///
/// # Errors
/// As [`table::phase_map`].
pub fn phase_map(map: &PhaseMap, time: DateTime<Utc>) -> Result<Message, PublishError> {
    let fractions: Map<String, Value> = map
        .phases
        .iter()
        .zip(map.fractions())
        .map(|(label, fraction)| (label.id.clone(), json!(fraction)))
        .collect();
    let counts: BTreeMap<&str, usize> =
        Status::ALL.iter().map(|status| status.name()).zip(map.status_counts()).collect();
    let header = json!({
        "scan_id": map.plan.scan_id,
        "generation": map.origin.generation,
        "time": timestamp(time),
        "energies_done": map.origin.energies_done,
        "energies_total": map.plan.energies_ev.len(),
        "fractions": fractions,
        "counts": counts,
    });
    let table = ipc::stream(&table::phase_map(map)?)?;
    Ok(Message { topic: format!("phase_map/{}", map.plan.scan_id), header, table })
}

/// The latest mean spectra of a scan: topic `spectra/<scan_id>`.
///
/// # Errors
/// As [`MeanSpectra::table`].
pub fn spectra(spectra: &MeanSpectra) -> Result<Message, PublishError> {
    let header = json!({ "scan_id": spectra.plan.scan_id, "generation": spectra.generation });
    let table = ipc::stream(&spectra.table()?)?;
    Ok(Message { topic: format!("spectra/{}", spectra.plan.scan_id), header, table })
}

/// What happened to a scan: the header of `scan/<scan_id>`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ScanNews<'a> {
    /// The plan came.
    Started {
        /// The plan.
        plan: &'a ScanPlan,
    },
    /// An energy has every pixel.
    EnergyDone {
        /// How far the scan is.
        progress: Progress,
        /// What to measure next, and whether to stop, where anything can be said.
        #[serde(skip_serializing_if = "Option::is_none")]
        advice: Option<&'a Value>,
    },
    /// The energies are off by more than 0.1 eV, or at odds with their calibration: once per scan, and where that changes.
    EnergyOffset {
        /// The estimate, and what is done about it.
        offset: OffsetSummary,
        /// The same in words.
        text: &'a str,
    },
    /// The sender waits.
    Paused {
        /// How far the scan is.
        progress: Progress,
    },
    /// No more values are expected.
    Ended {
        /// How it ended.
        outcome: &'a Outcome,
        /// How far the scan came.
        progress: Progress,
        /// Message numbers that did not come.
        gaps: &'a [SeqRange],
    },
    /// The scan lies in the archive.
    Archived {
        /// Its folder.
        archive_path: &'a str,
        /// Message numbers that did not come.
        gaps: &'a [SeqRange],
    },
    /// What a map says of the sample.
    Findings {
        /// In short.
        findings: &'a Summary,
    },
    /// Values came after the end.
    Reopened {
        /// How far the scan is.
        progress: Progress,
    },
}

/// How far a scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Index of the energy it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_index: Option<usize>,
    /// Number of energies with any value.
    pub energies_done: usize,
    /// Number of energies in the plan.
    pub energies_total: usize,
    /// Values measured, over all energies.
    pub measured_values: usize,
    /// Values planned.
    pub planned_values: usize,
    /// The energy offset, once there is a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_offset: Option<OffsetSummary>,
    /// Where I0 comes from, once there is a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub i0_source: Option<I0Source>,
    /// Pixels of the empty region, where I0 comes from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub i0_region_pixels: Option<usize>,
    /// Whether there is no I0, and so no map: nothing in the stream, no empty region in the field.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub i0_missing: bool,
    /// Values that are not usable: without beam, stuck, out of line, saturated, not linear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flawed_values: Option<usize>,
    /// Whether the drift of the sample is taken out; once there is a map and unless registration is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<bool>,
    /// Where the sample lies in the image it is about, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
}

/// An event of a scan: topic `scan/<scan_id>`, no table.
///
/// # Errors
/// [`PublishError::Json`]; not for values that came through this crate.
pub fn scan(scan_id: &str, time: DateTime<Utc>, news: &ScanNews<'_>) -> Result<Message, PublishError> {
    let mut header = serde_json::to_value(news)?;
    if let Some(fields) = header.as_object_mut() {
        fields.insert("scan_id".into(), json!(scan_id));
        fields.insert("time".into(), json!(timestamp(time)));
    }
    Ok(Message { topic: format!("scan/{scan_id}"), header, table: Bytes::new() })
}

/// An alert: topic `alert`, no table; `header` has the fields of the contract.
#[must_use]
pub fn alert(header: Value) -> Message {
    Message { topic: "alert".into(), header, table: Bytes::new() }
}

/// RFC 3339 in UTC with microseconds.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::table::tests::{map, plan};

    #[test]
    fn the_header_of_a_map_has_the_fields_of_the_contract() {
        let map = map(2, 7, &[]);
        let message = phase_map(&map, map.plan.started).unwrap();
        assert_eq!(message.topic, "phase_map/NVPF_0042");
        insta::assert_json_snapshot!(message.header, @r#"
        {
          "counts": {
            "ambiguous": 2,
            "background": 2,
            "classified": 2,
            "mixture": 2,
            "saturated": 2,
            "unknown": 2,
            "unmeasured": 2
          },
          "energies_done": 9,
          "energies_total": 12,
          "fractions": {
            "na1.0": 0.5,
            "na2.0": 0.5,
            "na2.4": 0.0,
            "na3.0": 0.0
          },
          "generation": 7,
          "scan_id": "NVPF_0042",
          "time": "2026-09-21T14:13:20.000000Z"
        }
        "#);
        assert!(!message.table.is_empty());
    }

    #[test]
    fn scan_events_say_what_happened() {
        let (plan, time) = (plan(1, 2, 3), plan(1, 2, 3).started);
        let gaps = [SeqRange { first: 3, last: 4 }];
        let progress = Progress { energies_done: 2, energies_total: 3, ..Progress::default() };
        let advice = json!({ "stop": false });
        let events = [
            ScanNews::Started { plan: &plan },
            ScanNews::EnergyDone { progress, advice: Some(&advice) },
            ScanNews::Paused { progress },
            ScanNews::Ended { outcome: &Outcome::Complete, progress, gaps: &gaps },
            ScanNews::Archived { archive_path: "/data/scan=s1", gaps: &gaps },
            ScanNews::Reopened { progress },
        ];
        let names: Vec<_> = events
            .iter()
            .map(|news| scan("s1", time, news).unwrap())
            .map(|message| {
                assert_eq!((message.topic.as_str(), message.table.len()), ("scan/s1", 0));
                assert_eq!(message.header["scan_id"], "s1");
                message.header["event"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(names, ["started", "energy_done", "paused", "ended", "archived", "reopened"]);
        let ended = scan("s1", time, &events[3]).unwrap().header;
        assert_eq!(ended["outcome"]["status"], "complete");
        assert_eq!(ended["gaps"], json!([{ "first": 3, "last": 4 }]));
    }
}
