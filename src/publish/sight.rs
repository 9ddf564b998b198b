//! The way from a map to the stack behind it, for whoever asks what a pixel says.
//!
//! The stack stays with those who fill it: it is found as long as they keep it, and a look at it costs a few pointers (planes are shared). What
//! turns it into optical densities are the estimates of the map that is shown.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::classify::Optics;
use crate::stack::Stack;

/// A stack that may still be there, and how to look at it.
#[derive(Clone, Debug)]
pub struct Sight {
    stack: Weak<Mutex<Stack>>,
    optics: Arc<Optics>,
}

impl Sight {
    /// A way to `stack` by the estimates `optics`.
    #[must_use]
    pub fn new(stack: &Arc<Mutex<Stack>>, optics: Optics) -> Self {
        Self { stack: Arc::downgrade(stack), optics: Arc::new(optics) }
    }

    /// The stack as it is now; `None` where it is not kept any more.
    #[must_use]
    pub fn look(&self) -> Option<(Stack, Arc<Optics>)> {
        let stack = self.stack.upgrade()?;
        // A panic elsewhere leaves a stack whole: a push is all or nothing for what is read here.
        let snapshot = stack.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some((snapshot, Arc::clone(&self.optics)))
    }
}
