//! Messages that were sent, kept so that they can be asked for again: what faults lost on the way among them.
//!
//! They are found by what their header says, scan and `seq`. The bytes kept are bounded, over all scans: the oldest
//! messages give way. Messages are kept when they are made, which is ahead of their being sent, and can be asked for
//! once they, or one after them, have been sent: so a message is never sent again before its time. What has no header
//! that can be read is not kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Deserialize;

use super::WireMessage;
use crate::source::stxm_stream::ResendRequest;
use crate::source::stxm_stream::encode::EncodeError;

/// What is reckoned for a message beside its bytes.
const OVERHEAD_BYTES: usize = 128;

/// The messages kept.
#[derive(Debug)]
pub struct Kept {
    limit_bytes: usize,
    bytes: usize,
    scans: HashMap<Arc<str>, KeptScan>,
    /// In the order in which they were made.
    order: VecDeque<(Arc<str>, u64)>,
}

#[derive(Debug, Default)]
struct KeptScan {
    messages: BTreeMap<u64, Vec<Bytes>>,
    /// The highest number that was sent.
    reached: Option<u64>,
}

/// What a header says of whose message it is.
#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    scan_id: std::borrow::Cow<'a, str>,
    seq: u64,
}

fn place(parts: &[Bytes]) -> Option<Place<'_>> {
    serde_json::from_slice(parts.first()?).ok()
}

fn cost(parts: &[Bytes]) -> usize {
    OVERHEAD_BYTES + parts.iter().map(Bytes::len).sum::<usize>()
}

impl Kept {
    /// Nothing yet, and never more than `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, bytes: 0, scans: HashMap::new(), order: VecDeque::new() }
    }

    /// Keeps a message that was made.
    pub fn keep(&mut self, parts: &[Bytes]) {
        let Some(place) = place(parts) else { return };
        let scan_id: Arc<str> = match self.scans.get_key_value(&*place.scan_id) {
            Some((scan_id, _)) => Arc::clone(scan_id),
            None => Arc::from(&*place.scan_id),
        };
        let scan = self.scans.entry(Arc::clone(&scan_id)).or_default();
        if scan.messages.contains_key(&place.seq) {
            return;
        }
        scan.messages.insert(place.seq, parts.to_vec());
        self.bytes += cost(parts);
        self.order.push_back((scan_id, place.seq));
        while self.bytes > self.limit_bytes {
            let Some((scan_id, seq)) = self.order.pop_front() else { return };
            let gone = self.scans.get_mut(&scan_id).and_then(|scan| scan.messages.remove(&seq));
            self.bytes -= gone.map_or(0, |parts| cost(&parts));
        }
    }

    /// Notes that a message was sent.
    pub fn note_sent(&mut self, parts: &[Bytes]) {
        if let Some(place) = place(parts)
            && let Some(scan) = self.scans.get_mut(&*place.scan_id)
        {
            scan.reached = scan.reached.max(Some(place.seq));
        }
    }

    /// Notes that all was sent.
    pub fn note_all_sent(&mut self) {
        self.scans.values_mut().for_each(|scan| scan.reached = Some(u64::MAX));
    }

    /// Those of the messages asked for that were sent and are still here, in the order of `seq`; `None` for a scan that
    /// nothing is known of.
    #[must_use]
    pub fn find(&self, request: &ResendRequest) -> Option<Vec<Vec<Bytes>>> {
        let scan = self.scans.get(&*request.scan_id)?;
        let Some(reached) = scan.reached else { return Some(Vec::new()) };
        // Ranges may overlap: each message is sent once.
        let found: BTreeMap<_, _> = request
            .seq
            .iter()
            .filter(|[first, _]| *first <= reached)
            .flat_map(|[first, last]| scan.messages.range(*first..=(*last).min(reached)))
            .collect();
        Some(found.into_values().cloned().collect())
    }

    /// Bytes kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// [`Kept`], as the maker of messages and the sender share it.
#[derive(Clone, Debug)]
pub struct Keeper(Arc<Mutex<Kept>>);

impl Keeper {
    /// Keeps at most `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Kept::new(limit_bytes))))
    }

    /// The messages. No code of ours panics while it holds the lock.
    pub fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages that are kept as they are made, where there is a keeper.
#[derive(Debug)]
pub struct Keeping<I> {
    inner: I,
    keeper: Option<Keeper>,
}

impl<I> Keeping<I> {
    /// Keeps what comes out of `inner`.
    #[must_use]
    pub fn new(inner: I, keeper: Option<Keeper>) -> Self {
        Self { inner, keeper }
    }
}

impl<I: Iterator<Item = Result<WireMessage, EncodeError>>> Iterator for Keeping<I> {
    type Item = Result<WireMessage, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.inner.next();
        if let (Some(keeper), Some(Ok(message))) = (&self.keeper, &message) {
            keeper.lock().keep(&message.parts);
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(scan_id: &str, seq: u64) -> Vec<Bytes> {
        let header = format!("{{\"type\":\"samples\",\"scan_id\":\"{scan_id}\",\"seq\":{seq}}}");
        vec![header.into(), Bytes::from(vec![seq as u8; 100])]
    }

    fn found(kept: &Kept, scan_id: &str, seq: &[[u64; 2]]) -> Option<Vec<u8>> {
        let request = ResendRequest { scan_id: scan_id.into(), seq: seq.to_vec() };
        Some(kept.find(&request)?.iter().map(|parts| parts[1][0]).collect())
    }

    #[test]
    fn finds_what_was_sent_or_lost_on_the_way_and_nothing_ahead() {
        let mut kept = Kept::new(1 << 20);
        (0..10).for_each(|seq| kept.keep(&message("a", seq)));
        kept.keep(&[Bytes::from_static(b"garbage")]);
        assert_eq!(found(&kept, "a", &[[0, 9]]), Some(vec![]), "nothing was sent yet");
        kept.note_sent(&message("a", 0));
        kept.note_sent(&message("a", 6));
        kept.note_sent(&message("a", 5));
        assert_eq!(found(&kept, "a", &[[2, 3], [5, 4_294_967_294]]), Some(vec![2, 3, 5, 6]));
        assert_eq!(found(&kept, "a", &[[2, 4], [3, 5], [3, 3]]), Some(vec![2, 3, 4, 5]), "each once");
        assert_eq!(found(&kept, "a", &[[7, 9]]), Some(vec![]));
        assert_eq!(found(&kept, "b", &[[0, 9]]), None);
        kept.note_all_sent();
        assert_eq!(found(&kept, "a", &[[7, 4_294_967_294]]), Some(vec![7, 8, 9]));
    }

    #[test]
    fn the_oldest_give_way_over_all_scans() {
        let one = cost(&message("a", 0));
        let mut kept = Kept::new(4 * one);
        (0..3).for_each(|seq| kept.keep(&message("a", seq)));
        (0..3).for_each(|seq| kept.keep(&message("b", seq)));
        kept.keep(&message("b", 2));
        kept.note_all_sent();
        assert_eq!(found(&kept, "a", &[[0, 99]]), Some(vec![2]));
        assert_eq!(found(&kept, "b", &[[0, 99]]), Some(vec![0, 1, 2]));
        assert_eq!(kept.bytes(), 4 * one);
        kept.keep(&[Bytes::from_static(b"{\"scan_id\":\"c\",\"seq\":0}"), Bytes::from(vec![0; 5 * one])]);
        assert_eq!((kept.bytes(), found(&kept, "c", &[[0, 0]])), (0, Some(vec![])), "larger than all");
    }
}
