//! The findings of a map in a few numbers and a sentence, for who follows a scan live.

use serde::Serialize;

use super::Findings;
use crate::boundaries::Enrichment;
use crate::classify::PhaseMap;
use crate::particles::{Interval, Particles, Spread, States};
use crate::reference::ReferenceSet;

/// Name and version of the format.
pub const SUMMARY_FORMAT: &str = "phasewatch-scan-findings/1";

/// What a map says of the sample, in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// [`SUMMARY_FORMAT`].
    pub format: &'static str,
    /// Generation of the map.
    pub generation: u64,
    /// Whether it is the settled map of an archived scan.
    pub settled: bool,
    /// Number of particles.
    pub particles: usize,
    /// Name of the state variable, `na_x`.
    pub variable: Option<String>,
    /// Its mean over all particles, with 90 %.
    pub x: Option<Interval>,
    /// How far it differs inside of particles, and from one to the next.
    pub spread: Option<Spread>,
    /// How much likelier doubtful pixels are near boundaries between phases; null where there is too little to compare.
    pub enrichment: Option<Gathering>,
    /// All of it in words; claims only what the intervals allow.
    pub text: String,
}

/// How much likelier doubtful pixels are near boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gathering {
    /// Times, with 90 %.
    pub ratio: Interval,
    /// Whether it is claimed that they gather there.
    pub is_enriched: bool,
    /// What the beam alone would make.
    pub explained: f64,
    /// Whether it is claimed that there is more than that.
    pub is_beyond: bool,
}

impl Gathering {
    fn of(own: &Enrichment) -> Self {
        let Enrichment { ratio, is_enriched, explained, is_beyond, .. } = *own;
        Self { ratio, is_enriched, explained, is_beyond }
    }
}

impl Summary {
    /// Of the findings of a map.
    #[must_use]
    pub fn of(map: &PhaseMap, findings: &Findings, settled: bool) -> Self {
        let Findings { text, x, particles, boundaries, .. } = findings;
        Self {
            format: SUMMARY_FORMAT,
            generation: map.origin.generation,
            settled,
            particles: particles.particles.len(),
            variable: particles.variable.clone(),
            x: *x,
            spread: particles.spread,
            enrichment: boundaries.between_phases.as_ref().map(Gathering::of),
            text: text.clone(),
        }
    }
}

/// Mean of the state variable over all particles.
pub(super) fn mean(map: &PhaseMap, particles: &Particles, references: &ReferenceSet) -> Option<Interval> {
    let pixels: Vec<u32> = particles.particles.iter().flat_map(|own| own.pixels.iter().copied()).collect();
    States::of(map, references).mean(map, &pixels, &particles.amounts).x
}

/// A ratio with as many digits as mean something.
fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") }
}

/// Findings in words.
pub(super) fn text(
    particles: &Particles,
    x: Option<Interval>,
    between_phases: Option<&Enrichment>,
) -> String {
    let mut words = vec![match particles.particles.len() {
        0 => "no particles".to_owned(),
        1 => "1 particle".to_owned(),
        n => format!("{n} particles"),
    }];
    if let (Some(x), Some(name)) = (x, &particles.variable) {
        words.push(format!("mean {name} {:.2} ({:.2} to {:.2})", x.middle, x.low, x.high));
    }
    words.extend(between_phases.filter(|own| own.is_enriched).map(|own| {
        let beam =
            if own.is_beyond { ", more than the beam explains" } else { ", as much as the beam may explain" };
        let [middle, low, high] = [own.ratio.middle, own.ratio.low, own.ratio.high].map(times);
        format!(
            "doubtful pixels {middle} ({low} to {high}) times as likely at boundaries between phases{beam}"
        )
    }));
    words.join("; ")
}
