//! Levels with hysteresis: up at once, down only after two looks that are well below, so that an alert does not flicker.

use std::collections::BTreeMap;

use super::alert::Level;

/// Looks that must be below before a level falls.
const CALM_LOOKS: u8 = 2;

/// What a look says of a rule: the level by the limits, and the level by limits that are somewhat lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heights {
    /// By the limits.
    pub reached: Option<Level>,
    /// By lower limits: what keeps a level that was reached.
    pub kept: Option<Level>,
}

/// The state of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    episode: u32,
    level: Option<Level>,
    calm: u8,
}

/// What a rule is at now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to say.
    Quiet,
    /// The episode goes on, or began, at a level.
    At(u32, Level),
    /// The episode is over; this was its level.
    Over(u32, Level),
}

/// The rules of one scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Episodes {
    states: BTreeMap<String, State>,
}

impl Episodes {
    /// Takes in what a look says of a rule.
    pub fn step(&mut self, rule: &str, heights: Heights) -> Step {
        let state = self.states.entry(rule.to_owned()).or_default();
        match (state.level, heights.reached) {
            (None, None) => return Step::Quiet,
            (None, Some(level)) => *state = State { episode: state.episode + 1, level: Some(level), calm: 0 },
            (Some(now), Some(level)) if level >= now => (state.level, state.calm) = (Some(level), 0),
            (Some(now), _) if heights.kept >= Some(now) => state.calm = 0,
            (Some(now), _) => {
                state.calm += 1;
                if state.calm >= CALM_LOOKS {
                    (state.level, state.calm) = (heights.kept, 0);
                    if state.level.is_none() {
                        return Step::Over(state.episode, now);
                    }
                }
            }
        }
        state.level.map_or(Step::Quiet, |level| Step::At(state.episode, level))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heights(reached: Option<Level>, kept: Option<Level>) -> Heights {
        Heights { reached, kept }
    }

    #[test]
    fn a_level_rises_at_once_and_falls_after_two_calm_looks() {
        use Level::{Critical, Notice, Warning};
        let mut episodes = Episodes::default();
        let mut step = |reached, kept| episodes.step("r", heights(reached, kept));
        assert_eq!(step(None, None), Step::Quiet);
        assert_eq!(step(Some(Notice), Some(Notice)), Step::At(1, Notice));
        assert_eq!(step(Some(Critical), Some(Critical)), Step::At(1, Critical));
        // Just below the limit for as long as one likes: it stays.
        for _ in 0..5 {
            assert_eq!(step(Some(Warning), Some(Critical)), Step::At(1, Critical));
        }
        assert_eq!(step(Some(Notice), Some(Notice)), Step::At(1, Critical));
        assert_eq!(step(Some(Critical), Some(Critical)), Step::At(1, Critical));
        assert_eq!(step(None, None), Step::At(1, Critical));
        assert_eq!(step(None, None), Step::Over(1, Critical));
        assert_eq!(step(None, None), Step::Quiet);
        assert_eq!(step(Some(Notice), Some(Notice)), Step::At(2, Notice));
    }

    proptest! {
        #[test]
        fn episodes_count_up_and_nothing_is_over_that_did_not_begin(looks in prop::collection::vec((0..4_usize, 0..4_usize), 0..40)) {
            let level = |i: usize| i.checked_sub(1).map(|i| Level::ALL[i]);
            let (mut episodes, mut open, mut last) = (Episodes::default(), false, 0);
            for (reached, more) in looks {
                let kept = level(reached.max(more));
                match episodes.step("r", heights(level(reached), kept)) {
                    Step::Quiet => prop_assert!(!open),
                    Step::At(episode, at) => {
                        prop_assert!(episode == last + u32::from(!open));
                        prop_assert!(Some(at) >= level(reached));
                        (open, last) = (true, episode);
                    }
                    Step::Over(episode, _) => {
                        prop_assert!(open && episode == last);
                        open = false;
                    }
                }
            }
        }
    }
}
