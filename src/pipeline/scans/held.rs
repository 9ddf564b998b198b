//! Messages that came before their scan's start, bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::EventRefusal;
use crate::scan::ScanEvent;

/// Messages held, oldest first.
#[derive(Debug)]
pub struct Held {
    limit_bytes: usize,
    bytes: usize,
    messages: VecDeque<(ScanEvent, usize, Instant)>,
    /// Messages by scan.
    by_scan: BTreeMap<String, usize>,
    dropped: u64,
    refused: Vec<EventRefusal>,
}

impl Held {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            bytes: 0,
            messages: VecDeque::new(),
            by_scan: BTreeMap::new(),
            dropped: 0,
            refused: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, event: ScanEvent, bytes: usize, now: Instant) {
        self.bytes += bytes;
        match self.by_scan.get_mut(&event.scan_id) {
            Some(messages) => *messages += 1,
            None => _ = self.by_scan.insert(event.scan_id.clone(), 1),
        }
        self.messages.push_back((event, bytes, now));
        while self.bytes > self.limit_bytes {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((event, bytes, _)) = self.messages.pop_front() {
            self.bytes -= bytes;
            self.dropped += 1;
            if let Some(messages) = self.by_scan.get_mut(&event.scan_id) {
                *messages -= 1;
                if *messages == 0 {
                    self.by_scan.remove(&event.scan_id);
                }
            }
        }
    }

    pub(super) fn take(&mut self, scan_id: &str) -> Vec<ScanEvent> {
        if self.by_scan.remove(scan_id).is_none() {
            return Vec::new();
        }
        let (mine, others): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition(|(event, _, _)| event.scan_id == scan_id);
        self.messages = others;
        self.bytes -= mine.iter().map(|(_, bytes, _)| bytes).sum::<usize>();
        mine.into_iter().map(|(event, _, _)| event).collect()
    }

    pub(super) fn expire(&mut self, now: Instant, age: Duration) {
        while self.messages.front().is_some_and(|(_, _, since)| now.saturating_duration_since(*since) > age) {
            self.drop_oldest();
        }
    }

    pub(super) fn note_refused(&mut self, refusal: &EventRefusal) {
        self.refused.push(refusal.clone());
    }

    /// The messages held for a scan, oldest first, and when each came.
    pub fn of<'a>(&'a self, scan_id: &'a str) -> impl Iterator<Item = (&'a ScanEvent, Instant)> {
        let of_scan = self.messages.iter().filter(move |(event, _, _)| event.scan_id == scan_id);
        of_scan.map(|(event, _, since)| (event, *since))
    }

    /// Whether anything is held for a scan.
    #[must_use]
    pub fn holds(&self, scan_id: &str) -> bool {
        self.by_scan.contains_key(scan_id)
    }

    /// Most bytes held.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages had to give way since the last call, and why others were refused once their scan began.
    pub fn take_losses(&mut self) -> (u64, Vec<EventRefusal>) {
        (std::mem::take(&mut self.dropped), std::mem::take(&mut self.refused))
    }
}
