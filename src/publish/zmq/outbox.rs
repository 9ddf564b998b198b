//! What waits for the socket: in order, bounded in bytes, the latest of each table topic only.

use std::collections::VecDeque;

use bytes::Bytes;

use super::budget::Budget;
use crate::telemetry::names;

/// What gives way when the socket is slower than the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Maps and spectra: a newer one of the same topic takes the place of one that has not left yet.
    Latest,
    /// Events: each counts and their order is kept; too many drop the oldest.
    Event,
}

/// The three parts of a message as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Topic.
    pub topic: Bytes,
    /// JSON header.
    pub header: Bytes,
    /// Arrow IPC stream bytes, or nothing.
    pub table: Bytes,
}

impl Parts {
    /// Length of all parts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.topic.len() + self.header.len() + self.table.len()
    }

    /// The first part of the topic, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let topic = &self.topic[..];
        ["phase_map", "spectra", "scan", "alert"]
            .into_iter()
            .find(|kind| {
                topic
                    .strip_prefix(kind.as_bytes())
                    .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            })
            .unwrap_or("other")
    }
}

/// The queue. It holds at most `queue_bytes` and `max_events` events.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<(Parts, Policy)>,
    bytes: usize,
    queue_bytes: usize,
    max_events: usize,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new(queue_bytes: usize, max_events: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, queue_bytes, max_events }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes a message in. One that would not fit alone is dropped, and counted.
    pub fn push(&mut self, parts: Parts, policy: Policy) {
        if Budget::cost(parts.bytes()) > self.queue_bytes {
            tracing::warn!(
                kind = parts.kind(),
                bytes = parts.bytes(),
                "a message exceeds limits.queue_bytes"
            );
            count_dropped(&parts);
            return;
        }
        self.bytes += parts.bytes();
        let earlier =
            self.queue.iter_mut().find(|(held, _)| policy == Policy::Latest && held.topic == parts.topic);
        if let Some((held, _)) = earlier {
            // It keeps its place, so that a final map still goes before the news that the scan is archived.
            self.bytes -= held.bytes();
            metrics::counter!(names::PUBLISH_SUPERSEDED, "kind" => parts.kind()).increment(1);
            *held = parts;
        } else {
            self.queue.push_back((parts, policy));
        }
        let events = self.queue.iter().filter(|(_, policy)| *policy == Policy::Event).count();
        if events > self.max_events {
            self.drop_oldest(Policy::Event);
        }
        while self.bytes > self.queue_bytes {
            // Tables can be had again over HTTP; events cannot.
            if !self.drop_oldest(Policy::Latest) && !self.drop_oldest(Policy::Event) {
                break;
            }
        }
    }

    /// Takes the first message out where it costs at most `room` bytes.
    pub fn pop(&mut self, room: usize) -> Option<Parts> {
        let bytes = self.queue.front()?.0.bytes();
        if Budget::cost(bytes) > room {
            return None;
        }
        self.bytes -= bytes;
        self.queue.pop_front().map(|(parts, _)| parts)
    }

    fn drop_oldest(&mut self, policy: Policy) -> bool {
        let place = self.queue.iter().position(|(_, held)| *held == policy);
        let Some((parts, _)) = place.and_then(|place| self.queue.remove(place)) else { return false };
        self.bytes -= parts.bytes();
        count_dropped(&parts);
        true
    }
}

fn count_dropped(parts: &Parts) {
    metrics::counter!(names::PUBLISH_DROPPED, "kind" => parts.kind()).increment(1);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(topic: &str, header: usize, bytes: usize) -> Parts {
        Parts {
            topic: topic.to_owned().into(),
            header: header.to_string().into(),
            table: vec![0; bytes].into(),
        }
    }

    fn drain(outbox: &mut Outbox) -> Vec<(String, String)> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        std::iter::from_fn(|| outbox.pop(usize::MAX)).map(|p| (text(p.topic), text(p.header))).collect()
    }

    #[test]
    fn the_latest_map_wins_and_events_keep_their_order() {
        let mut outbox = Outbox::new(10_000, 2);
        outbox.push(parts("phase_map/a", 1, 10), Policy::Latest);
        outbox.push(parts("scan/a", 2, 0), Policy::Event);
        outbox.push(parts("phase_map/b", 3, 10), Policy::Latest);
        outbox.push(parts("phase_map/a", 4, 10), Policy::Latest);
        outbox.push(parts("scan/a", 5, 0), Policy::Event);
        outbox.push(parts("scan/a", 6, 0), Policy::Event);
        let left = drain(&mut outbox);
        let order: Vec<_> = left.iter().map(|(_, header)| header.as_str()).collect();
        assert_eq!(order, ["4", "3", "5", "6"]);
    }

    #[test]
    fn waits_for_room_and_refuses_what_never_fits() {
        let mut outbox = Outbox::new(4000, 9);
        outbox.push(parts("phase_map/a", 1, 5000), Policy::Latest);
        assert!(outbox.is_empty());
        outbox.push(parts("phase_map/a", 1, 1000), Policy::Latest);
        assert!(outbox.pop(1200).is_none(), "what a part costs beside its bytes counts, too");
        assert!(outbox.pop(2000).is_some());
    }

    #[test]
    fn kinds_are_few_whatever_the_scans_are_called() {
        let kind = |topic: &str| parts(topic, 0, 0).kind();
        assert_eq!(
            ["phase_map/x", "scan/phase_map", "alert", "alerts"].map(kind),
            ["phase_map", "scan", "alert", "other"]
        );
    }

    proptest! {
        #[test]
        fn never_holds_more_than_it_may(
            pushes in prop::collection::vec((0_usize..5, 0_usize..3000, any::<bool>()), 0..60),
        ) {
            let mut outbox = Outbox::new(5000, 4);
            for (index, (topic, bytes, latest)) in pushes.into_iter().enumerate() {
                let policy = if latest { Policy::Latest } else { Policy::Event };
                let topic = if latest { format!("phase_map/{topic}") } else { "scan/s".to_owned() };
                outbox.push(parts(&topic, index, bytes), policy);
                let held: usize = outbox.queue.iter().map(|(parts, _)| parts.bytes()).sum();
                prop_assert_eq!(held, outbox.bytes);
                prop_assert!(held <= 5000);
                prop_assert!(outbox.queue.iter().filter(|(_, p)| *p == Policy::Event).count() <= 4);
            }
            let left = drain(&mut outbox);
            let events: Vec<usize> =
                left.iter().filter(|(t, _)| t == "scan/s").map(|(_, h)| h.parse().unwrap()).collect();
            prop_assert!(events.is_sorted());
            prop_assert_eq!(outbox.bytes, 0);
        }
    }
}
