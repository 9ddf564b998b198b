//! What can go wrong between a microscope and the daemon, on demand and from a seed.
//!
//! `scan_start`, `plan_extend` and `scan_end` are never dropped or doubled ([`Faults::late_start`] and
//! [`super::MessageSettings::no_end`] take them away); they take part in reordering.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{MessageKind, WireMessage};
use crate::source::stxm_stream::encode::EncodeError;

/// Which faults, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Share of messages that are lost.
    pub drop: f64,
    /// Share of messages that come twice.
    pub duplicate: f64,
    /// A message may come so many places too early or too late.
    pub reorder: usize,
    /// So many first messages are lost: the receiver joined late.
    pub late_start: usize,
    /// So many messages of garbage for each real one.
    pub garbage: f64,
}

/// What the faults did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Messages lost, those of a late start among them.
    pub dropped: u64,
    /// Messages that came twice.
    pub duplicated: u64,
    /// Messages of garbage.
    pub garbage: u64,
}

/// Messages with faults. An error passes at once.
#[derive(Debug)]
pub struct Faulty<I> {
    inner: I,
    faults: Faults,
    rng: ChaCha8Rng,
    /// Messages that wait, each with the number of messages that overtook it.
    window: Vec<(WireMessage, usize)>,
    ready: VecDeque<WireMessage>,
    skipped: usize,
    /// Exposure of lost messages: the microscope took that time all the same.
    owed_ms: f64,
    counters: FaultCounters,
}

impl<I> Faulty<I> {
    /// Puts faults upon `inner`.
    #[must_use]
    pub fn new(inner: I, faults: Faults, seed: u64) -> Self {
        Self {
            inner,
            faults,
            rng: ChaCha8Rng::seed_from_u64(seed),
            window: Vec::new(),
            ready: VecDeque::new(),
            skipped: 0,
            owed_ms: 0.0,
            counters: FaultCounters::default(),
        }
    }

    /// What the faults did so far.
    #[must_use]
    pub fn counters(&self) -> FaultCounters {
        self.counters
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random::<f64>() < share
    }

    /// Takes a message in; what comes of it goes into the window.
    fn take(&mut self, mut message: WireMessage) {
        let sacred = matches!(message.kind, MessageKind::Start | MessageKind::Extend | MessageKind::End);
        let late = self.skipped < self.faults.late_start;
        self.skipped += usize::from(late);
        if late || (!sacred && self.chance(self.faults.drop)) {
            self.counters.dropped += 1;
            self.owed_ms += message.exposure_ms;
            return;
        }
        message.exposure_ms += std::mem::take(&mut self.owed_ms);
        let again = (!sacred && self.chance(self.faults.duplicate))
            .then(|| WireMessage { exposure_ms: 0.0, ..message.clone() });
        self.counters.duplicated += u64::from(again.is_some());
        let mut garbage = self.faults.garbage;
        while self.chance(garbage) {
            let parts = garbage_parts(&message, &mut self.rng);
            self.counters.garbage += 1;
            self.window.push((WireMessage { kind: MessageKind::Garbage, parts, exposure_ms: 0.0 }, 0));
            garbage -= 1.0;
        }
        self.window.extend([Some(message), again].into_iter().flatten().map(|message| (message, 0)));
        self.release(self.faults.reorder);
    }

    /// Lets messages go until at most `keep` wait.
    fn release(&mut self, keep: usize) {
        while self.window.len() > keep {
            // The oldest goes when as many as the window holds have overtaken it.
            let overdue = self.window.first().is_some_and(|(_, overtaken)| *overtaken >= self.faults.reorder);
            let index = if overdue { 0 } else { self.rng.random_range(0..self.window.len()) };
            let (message, _) = self.window.remove(index);
            self.window[..index].iter_mut().for_each(|(_, overtaken)| *overtaken += 1);
            self.ready.push_back(message);
        }
    }
}

impl<I: Iterator<Item = Result<WireMessage, EncodeError>>> Iterator for Faulty<I> {
    type Item = Result<WireMessage, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            match self.inner.next() {
                Some(Ok(message)) => self.take(message),
                Some(Err(error)) => return Some(Err(error)),
                None if self.window.is_empty() => return None,
                None => self.release(0),
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Something that looks more or less like `message` but that no receiver may accept.
fn garbage_parts(message: &WireMessage, rng: &mut ChaCha8Rng) -> Vec<Bytes> {
    let mut parts = message.parts.clone();
    match rng.random_range(0..6) {
        0 => vec![(0..rng.random_range(1..300)).map(|_| rng.random::<u8>()).collect()],
        1 => vec![Bytes::new()],
        2 => vec![Bytes::from_static(b"GET / HTTP/1.1\r\nHost: microscope\r\n\r\n")],
        3 => {
            vec![Bytes::from_static(b"{\"stream\": \"stxm-stream/1\", \"type\": \"samples\"}"), Bytes::new()]
        }
        // The header breaks off.
        4 => {
            let half = parts[0].len() / 2;
            parts[0].truncate(half);
            parts
        }
        // One part too many.
        _ => {
            parts.push(Bytes::from_static(b"?"));
            parts
        }
    }
}

#[cfg(test)]
mod tests;
