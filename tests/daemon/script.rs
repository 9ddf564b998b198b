//! What a microscope would send: the messages of one small scan, in any order and with anything done to them.
//!
//! The specimen has an empty first column, and each further column holds one of the references, thicker downwards.
//! Headers are written as JSON here, not by the library's own encoder: the two sides shall not share a mistake.

use std::sync::LazyLock;

use bytes::Bytes;
use phasewatch::reference::ReferenceSet;
use serde_json::{Value, json};

use crate::rig::references;

/// Incident intensity, counts; dark included.
pub const I0: f32 = 20_000.0;
/// Dark level, counts.
pub const DARK: f32 = 5.0;

static REFERENCES: LazyLock<ReferenceSet> = LazyLock::new(|| ReferenceSet::load(&references()).unwrap());

/// One message: header and payload, without a topic.
#[derive(Clone, Debug)]
pub struct Message {
    /// The parts.
    pub parts: Vec<Bytes>,
}

impl Message {
    /// A message of these parts.
    pub fn new(header: &Value, payload: Vec<Vec<u8>>) -> Self {
        Self::raw(header.to_string().into_bytes(), payload)
    }

    /// A message with a header that may be anything.
    pub fn raw(header: impl Into<Vec<u8>>, payload: Vec<Vec<u8>>) -> Self {
        let parts = std::iter::once(header.into()).chain(payload).map(Bytes::from).collect();
        Self { parts }
    }

    /// Its header.
    pub fn header(&self) -> Value {
        serde_json::from_slice(&self.parts[0]).unwrap()
    }

    /// With a field of the header set, or, where it is null, taken out.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        let mut header = self.header();
        let fields = header.as_object_mut().unwrap();
        if value.is_null() {
            fields.remove(field)
        } else {
            fields.insert(field.to_owned(), value)
        };
        self.parts[0] = Bytes::from(header.to_string());
        self
    }

    /// With another text in the header.
    pub fn replace(mut self, old: &str, new: &str) -> Self {
        let text = String::from_utf8(self.parts[0].to_vec()).unwrap();
        assert!(text.contains(old), "{old} is not in {text}");
        self.parts[0] = Bytes::from(text.replacen(old, new, 1));
        self
    }

    /// With another part.
    pub fn part(mut self, index: usize, bytes: Vec<u8>) -> Self {
        self.parts[index] = Bytes::from(bytes);
        self
    }

    /// With one more part.
    pub fn and_part(mut self, bytes: Vec<u8>) -> Self {
        self.parts.push(Bytes::from(bytes));
        self
    }

    /// Without its last part.
    pub fn cut(mut self) -> Self {
        self.parts.pop().unwrap();
        self
    }
}

/// Floats as they travel.
pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// One scan, and the number of its next message.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its id.
    pub scan_id: String,
    /// Rows.
    pub ny: usize,
    /// Columns.
    pub nx: usize,
    /// Set-points, eV.
    pub energies_ev: Vec<f64>,
    /// Number of the next message.
    pub seq: u64,
}

impl Script {
    /// A stack of 4 × 6 pixels at 12 energies.
    pub fn new(scan_id: &str) -> Self {
        let energies_ev =
            vec![508.0, 510.0, 513.0, 514.5, 515.5, 516.5, 517.5, 518.5, 520.0, 523.0, 526.0, 531.0];
        Self { scan_id: scan_id.to_owned(), ny: 4, nx: 6, energies_ev, seq: 0 }
    }

    /// With another grid.
    pub fn grid(self, ny: usize, nx: usize) -> Self {
        Self { ny, nx, ..self }
    }

    /// With other energies.
    pub fn energies(self, energies_ev: &[f64]) -> Self {
        Self { energies_ev: energies_ev.to_vec(), ..self }
    }

    /// Makes `message` count: the next one has the next number.
    fn next(&mut self, message: Message) -> Message {
        self.seq += 1;
        message
    }

    fn common(&self, kind: &str) -> Value {
        json!({
            "stream": "stxm-stream/1", "type": kind, "scan_id": self.scan_id, "seq": self.seq,
            "time": "2026-05-04T03:02:01Z",
        })
    }

    fn message(&self, kind: &str, fields: Value, payload: Vec<Vec<u8>>) -> Message {
        let mut header = self.common(kind);
        header.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        Message::new(&header, payload)
    }

    /// A message of the next number that does not take it: for what will be refused.
    pub fn draft(&self, make: impl FnOnce(&mut Self) -> Message) -> Message {
        make(&mut self.clone())
    }

    /// `scan_start`.
    pub fn start(&mut self) -> Message {
        let fields = json!({
            "grid": {"shape": [self.ny, self.nx], "x": {"start": 0.0, "step": 0.05}, "y": {"start": 0.0, "step": 0.05}},
            "energies_ev": self.energies_ev, "dwell_ms": 2.0, "simulated": true, "beamline": "test-1",
            "detector": {"kind": "point", "dark": DARK, "counts_per_photon": 1.0},
        });
        let message = self.message("scan_start", fields, vec![]);
        self.next(message)
    }

    /// What the specimen lets through at an energy and pixel, counts.
    pub fn counts(&self, energy_ev: f64, pixel: usize) -> f32 {
        let (row, column) = (pixel / self.nx, pixel % self.nx);
        let thickness = if column == 0 { 0.0 } else { 0.6 + 0.1 * row as f64 };
        let reference = &REFERENCES.references[column.saturating_sub(1) % REFERENCES.len()];
        let od = thickness * reference.od_at(energy_ev).unwrap_or(0.3);
        let counts = DARK + (I0 - DARK) * (-od).exp() as f32;
        // Something like noise, the same each time: without any, every correlation is 1.
        let hash = (energy_ev * 10.0) as u64 * 7919 + pixel as u64 * 104_729;
        let noise = (hash % 1009) as f32 / 504.5 - 1.0;
        (counts + noise * counts.sqrt()).round()
    }

    /// `samples` of a run of pixels.
    pub fn run(&mut self, energy: usize, first: usize, count: usize) -> Message {
        let energy_ev = self.energies_ev[energy];
        let values: Vec<f32> = (first..first + count).map(|pixel| self.counts(energy_ev, pixel)).collect();
        let fields = json!({
            "energy_index": energy, "first_pixel": first, "count": count, "dtype": "float32", "i0": I0,
        });
        let message = self.message("samples", fields, vec![floats(&values)]);
        self.next(message)
    }

    /// `samples` of a row.
    pub fn line(&mut self, energy: usize, row: usize) -> Message {
        self.run(energy, row * self.nx, self.nx)
    }

    /// All rows of some energies.
    pub fn lines(&mut self, energies: std::ops::Range<usize>) -> Vec<Message> {
        let rows = self.ny;
        energies
            .flat_map(|energy| (0..rows).map(move |row| (energy, row)))
            .map(|(e, r)| self.line(e, r))
            .collect()
    }

    /// A message without further fields.
    pub fn plain(&mut self, kind: &str) -> Message {
        let message = self.message(kind, json!({}), vec![]);
        self.next(message)
    }

    /// `plan_extend`; later lines may use the energies.
    pub fn extend(&mut self, energies_ev: &[f64]) -> Message {
        let message = self.message("plan_extend", json!({ "energies_ev": energies_ev }), vec![]);
        self.energies_ev.extend(energies_ev);
        self.next(message)
    }

    /// `scan_end`, complete.
    pub fn end(&mut self) -> Message {
        let message = self.message("scan_end", json!({ "status": "complete" }), vec![]);
        self.next(message)
    }

    /// `scan_end`, aborted.
    pub fn abort(&mut self, reason: &str) -> Message {
        let message = self.message("scan_end", json!({ "status": "aborted", "reason": reason }), vec![]);
        self.next(message)
    }

    /// The whole scan, from start to end.
    pub fn whole(&mut self) -> Vec<Message> {
        let energies = 0..self.energies_ev.len();
        let mut messages = vec![self.start()];
        messages.extend(self.lines(energies));
        messages.push(self.end());
        messages
    }
}
