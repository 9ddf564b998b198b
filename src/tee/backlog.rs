//! What waits for one output: messages in their order, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

/// A message, shared by all outputs.
pub type Message = Arc<[Bytes]>;

/// What happened so far, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were written out whole.
    pub delivered: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that had to give way.
    pub dropped: u64,
    /// Messages that wait, the one that is being written with them.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
}

/// Messages of one output. The first is kept until it was written out whole.
#[derive(Debug)]
pub struct Backlog {
    limit_bytes: usize,
    messages: VecDeque<Message>,
    counts: Counts,
    /// Whether somebody is writing the first message: it cannot give way any more.
    in_hand: bool,
}

fn bytes(message: &Message) -> usize {
    message.iter().map(Bytes::len).sum()
}

impl Backlog {
    /// An empty one.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, messages: VecDeque::new(), counts: Counts::default(), in_hand: false }
    }

    /// Whether a message fits. One above the limit does while nothing else waits.
    #[must_use]
    pub fn has_room_for(&self, message: &Message) -> bool {
        self.messages.is_empty() || self.counts.waiting_bytes as usize + bytes(message) <= self.limit_bytes
    }

    /// Takes a message in, whether it fits or not.
    pub fn push(&mut self, message: Message) {
        self.counts.waiting += 1;
        self.counts.waiting_bytes += bytes(&message) as u64;
        self.messages.push_back(message);
    }

    /// Takes a message in; the oldest give way to it, but for one in hand.
    pub fn push_dropping(&mut self, message: Message) {
        let kept = usize::from(self.in_hand);
        while !self.has_room_for(&message) && self.messages.len() > kept {
            if let Some(oldest) = self.messages.remove(kept) {
                self.counts.dropped += 1;
                self.counts.waiting -= 1;
                self.counts.waiting_bytes -= bytes(&oldest) as u64;
            }
        }
        self.push(message);
    }

    /// The next message to be written. It stays here until [`Backlog::delivered`] or [`Backlog::give_back`].
    pub fn take(&mut self) -> Option<Message> {
        let first = self.messages.front().cloned();
        self.in_hand = first.is_some();
        first
    }

    /// The message in hand was written.
    pub fn delivered(&mut self) {
        if !std::mem::take(&mut self.in_hand) {
            return;
        }
        if let Some(message) = self.messages.pop_front() {
            self.counts.delivered += 1;
            self.counts.bytes += bytes(&message) as u64;
            self.counts.waiting -= 1;
            self.counts.waiting_bytes -= bytes(&message) as u64;
        }
    }

    /// The message in hand was not written whole: it comes first again.
    pub fn give_back(&mut self) {
        self.in_hand = false;
    }

    /// What happened, and what waits.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(number: u32, size: usize) -> Message {
        let mut bytes = vec![0; size.max(4)];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Arc::from([Bytes::from(bytes)])
    }

    fn number(message: &Message) -> u32 {
        u32::from_le_bytes(message[0][..4].try_into().unwrap())
    }

    #[test]
    fn a_message_above_the_limit_is_taken_while_nothing_waits() {
        let mut backlog = Backlog::new(10);
        assert!(backlog.has_room_for(&message(0, 100)));
        backlog.push(message(0, 100));
        assert!(!backlog.has_room_for(&message(1, 4)));
        backlog.take().unwrap();
        backlog.delivered();
        assert_eq!(backlog.counts(), Counts { delivered: 1, bytes: 100, ..Counts::default() });
    }

    #[test]
    fn what_is_in_hand_does_not_give_way_and_comes_first_again() {
        let mut backlog = Backlog::new(10);
        backlog.push_dropping(message(0, 8));
        assert_eq!(backlog.take().as_ref().map(number), Some(0));
        backlog.push_dropping(message(1, 8));
        backlog.push_dropping(message(2, 8));
        assert_eq!((backlog.counts().dropped, backlog.counts().waiting), (1, 2));
        backlog.give_back();
        assert_eq!(backlog.take().as_ref().map(number), Some(0));
        backlog.delivered();
        assert_eq!(backlog.take().as_ref().map(number), Some(2));
    }

    proptest! {
        /// Steps: below 4 a message comes (of the size of the step), 4 one is taken, 5 delivered, 6 given back.
        #[test]
        fn all_is_delivered_in_order_or_counted(steps in prop::collection::vec(0..7_usize, 0..200), may_drop: bool) {
            let mut backlog = Backlog::new(40);
            let (mut next, mut got, mut hand) = (0, Vec::new(), None);
            for step in steps {
                match step {
                    0..4 => {
                        let message = message(next, 8 * (step + 1));
                        if may_drop {
                            backlog.push_dropping(message);
                        } else if backlog.has_room_for(&message) {
                            backlog.push(message);
                        } else {
                            continue;
                        }
                        next += 1;
                    }
                    4 if hand.is_none() => hand = backlog.take(),
                    5 => {
                        got.extend(hand.take().as_ref().map(number));
                        backlog.delivered();
                    }
                    6 => {
                        hand = None;
                        backlog.give_back();
                    }
                    _ => {}
                }
                let counts = backlog.counts();
                prop_assert_eq!(counts.delivered + counts.dropped + counts.waiting, u64::from(next));
                // One in hand may stand beside one that has just come.
                prop_assert!(counts.waiting_bytes <= 40 + 32);
            }
            prop_assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", got);
            prop_assert!(may_drop || backlog.counts().dropped == 0);
            prop_assert!(may_drop || got.iter().copied().eq(0..got.len() as u32));
        }
    }
}
