//! What is advised, as the API and the `scan/` topic have it.

use serde::Serialize;

/// Advice on one generation of a map. Shares are of the pixels that have a best guess.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// The generation.
    pub generation: u64,
    /// Energies measured, also in part.
    pub energies_done: usize,
    /// What is still open, and why.
    pub open: Open,
    /// The pairs that are hardest to tell apart now, the hardest first.
    pub pairs: Vec<Pair>,
    /// The best of the energies still to come, the best first.
    pub next: Vec<Candidate>,
    /// The best of all energies that the references cover, planned or not.
    pub anywhere: Vec<Candidate>,
    /// A good order for the next energies of the plan, each chosen as if those before had been measured; eV.
    pub sequence_ev: Vec<f64>,
    /// Whether the rest of the scan is worth its time.
    pub stop: Stop,
    /// Why this advice is not to be trusted, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
    /// All of it in one line.
    pub text: String,
}

/// What is still open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Open {
    /// Pixels that have a best guess.
    pub pixels: usize,
    /// Share of them that is ambiguous.
    pub ambiguous: f64,
    /// Ambiguous for want of counts or energies: what more energies can resolve.
    pub noise: f64,
    /// Ambiguous because two phases lie over each other, or could.
    pub mixture: f64,
    /// Ambiguous because no reference describes them.
    pub reference: f64,
    /// Expected share of wrong guesses.
    pub wrong: f64,
}

/// Two phases that are hard to tell apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// One.
    pub phase: String,
    /// The other.
    pub runner_up: String,
    /// Share of the expected wrong guesses that are between the two.
    pub share: f64,
}

/// One energy to measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Set-point, eV.
    pub energy_ev: f64,
    /// Its index in the plan; null where it is not in the plan.
    pub energy_index: Option<usize>,
    /// Expected fall of the share of wrong guesses; 0 while nothing is guessed.
    pub gain: f64,
    /// Exposure, move and settling, s.
    pub seconds: f64,
    /// What it is worth per second, the best of its list being 1.
    pub relative_worth: f64,
    /// The pair that it separates above all.
    pub separates: [String; 2],
    /// Share of the expected wrong guesses that are between the two.
    pub share: f64,
    /// The reason in words.
    pub text: String,
}

/// Whether to stop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stop {
    /// The rest would change less than the limit, with 95 %.
    pub stop: bool,
    /// Expected share of pixels whose best guess the rest would change; null before there are guesses.
    pub expected_change: Option<f64>,
    /// 90 % interval of it.
    pub interval: Option<[f64; 2]>,
    /// Share of pixels that hold two phases, and whose larger one may still change.
    pub mixture_change: f64,
    /// Expected fall of the share of wrong guesses.
    pub expected_gain: f64,
    /// Share below which the rest is not worth it.
    pub limit: f64,
    /// Energies not begun.
    pub energies_left: usize,
    /// Time that they take, s.
    pub seconds_left: f64,
    /// Their share of the dose of the whole plan.
    pub dose_left: f64,
    /// Why, in words.
    pub text: String,
}
