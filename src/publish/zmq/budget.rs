//! A byte budget that follows the bytes: what was handed out counts until its last holder has let go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// What one part costs beside its bytes: frame headers, reference counts, places in queues.
const OVERHEAD: usize = 256;

/// A bound for bytes in flight.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    held: AtomicUsize,
    released: Notify,
}

/// Bytes, and their share of a budget.
struct Held {
    bytes: Bytes,
    cost: usize,
    budget: Arc<Budget>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.cost, Ordering::AcqRel);
        self.budget.released.notify_one();
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: AtomicUsize::new(0), released: Notify::new() })
    }

    /// What `bytes` bytes in two parts cost.
    #[must_use]
    pub fn cost(bytes: usize) -> usize {
        bytes.saturating_add(2 * OVERHEAD)
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Bytes that may still be handed out.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.held())
    }

    /// The same bytes, counted until the last clone of the result is gone.
    #[must_use]
    pub fn hold(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let cost = bytes.len() + OVERHEAD;
        self.held.fetch_add(cost, Ordering::AcqRel);
        Bytes::from_owner(Held { bytes, cost, budget: Arc::clone(self) })
    }

    /// Returns when something has been let go since the last call.
    pub async fn released(&self) {
        self.released.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_until_the_last_clone_is_gone() {
        let budget = Budget::new(10_000);
        let held = budget.hold(Bytes::from(vec![7; 1000]));
        let part = held.slice(10..20);
        assert_eq!((budget.held(), &part[..]), (1000 + OVERHEAD, &[7; 10][..]));
        drop(held);
        assert_eq!(budget.room(), 9000 - OVERHEAD);
        drop(part);
        assert_eq!(budget.held(), 0);
    }
}
