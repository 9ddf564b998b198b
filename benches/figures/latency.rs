//! Figure 2: from the last message of an energy image to the published map, step by step.

use std::time::{Duration, Instant};

use phasewatch::classify::{LiveMap, PosteriorModel};
use phasewatch::publish::message;
use phasewatch::publish::zmq::{Policy, PublisherHandle};
use phasewatch::stack::Stack;

use crate::scene::{Scene, recipe};

/// Time that each step took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    pub(crate) stack: Duration,
    pub(crate) advance: Duration,
    pub(crate) generation: Duration,
    pub(crate) encode: Duration,
    pub(crate) open: usize,
}

impl Steps {
    pub(crate) fn total(&self) -> Duration {
        self.stack + self.advance + self.generation + self.encode
    }
}

/// A scan at which one energy after the other arrives.
pub(crate) struct Arrival {
    scene: Scene,
    stack: Stack,
    live: LiveMap,
    energy: usize,
    first: usize,
}

impl Arrival {
    /// A field that has its first `first` energies.
    pub(crate) fn new(scene: Scene, first: usize) -> Self {
        let (stack, live) = Self::begin(&scene, first);
        Self { scene, stack, live, energy: first, first }
    }

    fn begin(scene: &Scene, first: usize) -> (Stack, LiveMap) {
        let mut stack = scene.stack(first);
        stack.take_changes();
        let live = LiveMap::of(&stack, recipe(), 1);
        (stack, live)
    }

    /// Takes the next energy image, and makes and hands over the map.
    pub(crate) fn next(&mut self, model: Option<&mut (dyn PosteriorModel + '_)>) -> Steps {
        if self.energy == self.scene.lines.len() {
            (self.stack, self.live) = Self::begin(&self.scene, self.first);
            self.energy = self.first;
        }
        self.scene.measure(&mut self.stack, self.energy);
        self.energy += 1;
        let start = Instant::now();
        let (changes, snapshot) = (self.stack.take_changes(), self.stack.clone());
        let stacked = Instant::now();
        let reason = self.live.advance(&snapshot, &changes);
        let advanced = Instant::now();
        let (map, failure) = self.live.generation_of(&snapshot, reason, model);
        assert_eq!(failure, None);
        let made = Instant::now();
        let message = message::phase_map(&map, chrono::DateTime::UNIX_EPOCH).unwrap();
        PublisherHandle::nowhere().send(&message, Policy::Latest);
        Steps {
            stack: stacked - start,
            advance: advanced - stacked,
            generation: made - advanced,
            encode: made.elapsed(),
            open: map.status_counts()[6],
        }
    }
}
