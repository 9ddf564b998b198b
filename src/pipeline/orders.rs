//! What lies between the mapping and the archiving thread: ended scans, their stacks bounded in number.
//!
//! A stack is memory. Where as many wait as may, the next order goes without its stack if the scan's journal has all of it, from
//! which it is read when its turn comes; otherwise the mapping thread waits. A scan that ends again while it waits is one order.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::archiver::ArchiveOrder;

/// What was found.
#[derive(Debug)]
pub enum Next {
    /// A scan to be archived.
    Order(Box<ArchiveOrder>),
    /// Nothing until the deadline.
    TimedOut,
    /// Nothing will follow.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<ArchiveOrder>,
    closed: bool,
}

/// The orders; clones share them.
#[derive(Clone, Debug)]
pub struct Orders {
    shared: Arc<(Mutex<State>, Condvar)>,
    most_stacks: usize,
}

impl Orders {
    /// None yet; `most_stacks`: how many may wait with their stacks.
    #[must_use]
    pub fn new(most_stacks: usize) -> Self {
        Self { shared: Arc::default(), most_stacks: most_stacks.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders a scan to be archived.
    pub fn push(&self, mut order: ArchiveOrder) {
        let mut state = self.lock();
        state.orders.retain(|other| other.summary.scan_id != order.summary.scan_id);
        let stacks = |state: &State| state.orders.iter().filter(|order| order.stack.is_some()).count();
        if stacks(&state) >= self.most_stacks {
            order.rely_on_journal();
        }
        while order.stack.is_some() && stacks(&state) >= self.most_stacks && !state.closed {
            state = self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.orders.push_back(order);
        drop(state);
        self.shared.1.notify_all();
    }

    /// Says that nothing will follow.
    pub fn close(&self) {
        self.lock().closed = true;
        self.shared.1.notify_all();
    }

    /// Waits for an order, the oldest first, until `deadline`.
    #[must_use]
    pub fn take(&self, deadline: Option<Instant>) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(order) = state.orders.pop_front() {
                drop(state);
                self.shared.1.notify_all();
                return Next::Order(Box::new(order));
            }
            if state.closed {
                return Next::Closed;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => return Next::TimedOut,
                Some(left) => {
                    self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.shared.1.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
