//! Changes of a plan that reach half its dose.

use super::setup::{Change, Setup};
use crate::advice;
use crate::damage::{Outline, PlannedDose};
use crate::reference::ReferenceSet;

/// Share of the dose that is aimed at.
const HALF: f64 = 0.5;
/// By how much of the dose half may be missed, and still count as reached.
const NEAR: f64 = 0.005;
/// Visits of a sentinel that are the fewest: one before, and one behind.
const LEAST_VISITS: usize = 2;

/// A change that saves dose.
#[derive(Clone, Debug, PartialEq)]
pub struct Saving {
    /// What is done, in words.
    pub name: String,
    /// The change.
    pub change: Change,
    /// Dose of it, over that of the plan.
    pub share: f64,
}

impl Saving {
    /// Whether half the dose is reached.
    #[must_use]
    pub fn reaches_half(&self) -> bool {
        self.share <= HALF + NEAR
    }
}

/// Lists changes; the simplest first. `photons`: of the empty beam in one exposure, about; `least`: energies that a verdict needs.
///
/// Listed are less dwell, less flux, larger pixels, every second energy, the energies that tell the references apart best, fewer repeats,
/// fewer visits of sentinels, and pairs of these that each go half of the way. What leaves fewer than `least` energies, or changes nothing, is left out.
#[must_use]
pub fn savings(
    setup: &Setup,
    planned: &PlannedDose,
    references: &ReferenceSet,
    photons: f64,
    least: usize,
) -> Vec<Saving> {
    let scope = Scope { setup, planned, references, photons, least };
    let none = Change::none(setup.plan.energies_ev.len());
    let (half, root) = (HALF, HALF.sqrt());
    let mut list = vec![
        ("half the dwell".to_owned(), Change { dwell: half, ..none.clone() }),
        ("half the flux (slits, attenuator)".to_owned(), Change { flux: half, ..none.clone() }),
        ("pixels and spot x 1.41".to_owned(), Change { pixel: half.sqrt().recip(), ..none.clone() }),
    ];
    let rank = scope.rank();
    let mut add = |name: String, entries: Option<Vec<usize>>, rest: &dyn Fn(Change) -> Change| {
        if let Some(entries) = entries.filter(|entries| scope.distinct(entries) >= scope.least) {
            list.push((name, rest(Change { entries, ..none.clone() })));
        }
    };
    let as_is = |change: Change| change;
    add(
        format!("every second energy ({})", scope.counted(scope.spread(half).as_ref())),
        scope.spread(half),
        &as_is,
    );
    let best = scope.best(&rank, half);
    add(format!("the best half of the energies ({})", scope.counted(best.as_ref())), best, &as_is);
    let outline = &planned.outline;
    if outline.visits > 1 {
        add("half the repeats".to_owned(), scope.fewer_repeats(), &as_is);
    }
    if let Some(entries) = scope.ends_of_sentinels() {
        let share = scope.share(&entries);
        add("sentinels first and last only".to_owned(), Some(entries.clone()), &as_is);
        if share > HALF + NEAR {
            let dwell = HALF / share;
            let name = format!("sentinels first and last, dwell x {dwell:.2}");
            add(name, Some(entries), &|change| Change { dwell, ..change });
        }
    }
    let best = scope.best(&rank, root);
    // What the energies leave, so that a coarse list of them does not miss half.
    let rest = best.as_ref().map_or(root, |entries| (HALF / scope.share(entries)).min(1.0));
    let counted = scope.counted(best.as_ref());
    let name = format!("the best energies ({counted}), dwell x {rest:.2}");
    add(name, best.clone(), &|change| Change { dwell: rest, ..change });
    let pixel = rest.sqrt().recip();
    let name = format!("the best energies ({counted}), pixels x {pixel:.2}");
    add(name, best, &|change| Change { pixel, ..change });
    let pixel = root.sqrt().recip();
    let both = Change { dwell: root, pixel, ..none.clone() };
    list.push((format!("pixels and spot x {pixel:.2}, dwell x {root:.2}"), both));
    let saving = |(name, change): (String, Change)| {
        let share = scope.share_of(&change)?;
        (share < 1.0 - NEAR).then_some(Saving { name, change, share })
    };
    list.into_iter().filter_map(saving).collect()
}

/// What savings are looked for in.
struct Scope<'a> {
    setup: &'a Setup,
    planned: &'a PlannedDose,
    references: &'a ReferenceSet,
    photons: f64,
    least: usize,
}

impl Scope<'_> {
    fn outline(&self) -> &Outline {
        &self.planned.outline
    }

    fn dose(&self, entries: &[usize]) -> f64 {
        self.planned.sum(entries.iter().copied()).at(self.setup.dose.depth)
    }

    /// Dose of some entries, over that of the plan.
    fn share(&self, entries: &[usize]) -> f64 {
        self.dose(entries) / self.planned.total().at(self.setup.dose.depth)
    }

    /// Dose after a change, over that of the plan; `None` where there is none.
    fn share_of(&self, change: &Change) -> Option<f64> {
        let planned = self.setup.after(change).planned(self.references).ok()?;
        let depth = self.setup.dose.depth;
        // A relative dose is at the same flux and so falls with the dwell only; what the flux takes is known all the same.
        let flux = if is_nominal(&planned) { change.flux } else { 1.0 };
        Some(flux * planned.total().at(depth) / self.planned.total().at(depth))
    }

    /// How many of the plan's energies are left, in words.
    fn counted(&self, entries: Option<&Vec<usize>>) -> String {
        let of = |entries: &mut dyn Iterator<Item = usize>| {
            entries.map(|entry| self.outline().first[entry]).collect::<std::collections::BTreeSet<_>>().len()
        };
        let left = entries.map_or(0, |entries| of(&mut entries.iter().copied()));
        format!("{left} of {}", of(&mut (0..self.outline().first.len())))
    }

    /// How many energies there are within the references.
    fn distinct(&self, entries: &[usize]) -> usize {
        let outline = self.outline();
        let mut first: Vec<usize> = entries
            .iter()
            .filter(|&&entry| self.references.od_at(self.setup.plan.energies_ev[entry]).is_some())
            .map(|&entry| outline.first[entry])
            .collect();
        first.sort_unstable();
        first.dedup();
        first.len()
    }

    /// The energies that are no sentinels, by their first entries, the most useful first.
    fn rank(&self) -> Vec<usize> {
        let others = self.outline().others();
        let energies_ev: Vec<f64> = others.iter().map(|&entry| self.setup.plan.energies_ev[entry]).collect();
        advice::order(self.references, &energies_ev, self.photons).into_iter().map(|at| others[at]).collect()
    }

    /// Visits of the sentinels, every second one of each, the first and the last among them.
    fn half_of_sentinels(&self) -> Vec<usize> {
        self.of_sentinels(|visits| visits.div_ceil(2).max(LEAST_VISITS))
    }

    fn of_sentinels(&self, keep: impl Fn(usize) -> usize) -> Vec<usize> {
        let outline = self.outline();
        let of = |first: usize| {
            let entries = outline.entries(first);
            even(entries.len(), keep(entries.len()))
                .into_iter()
                .map(move |at| entries[at])
                .collect::<Vec<_>>()
        };
        outline.sentinels().into_iter().flat_map(of).collect()
    }

    /// All energies, and each sentinel at its first and last visit; `None` where that is the plan.
    fn ends_of_sentinels(&self) -> Option<Vec<usize>> {
        let mut entries = self.of_sentinels(|_| LEAST_VISITS);
        let outline = self.outline();
        entries.extend((0..outline.first.len()).filter(|&entry| !outline.is_sentinel[entry]));
        entries.sort_unstable();
        (entries.len() < outline.first.len()).then_some(entries)
    }

    /// Sentinels thinned out as the energies are.
    fn sentinels_for(&self, share: f64) -> Vec<usize> {
        if share > 0.6 {
            self.of_sentinels(|visits| ((visits as f64 * share).ceil() as usize).max(LEAST_VISITS))
        } else {
            self.half_of_sentinels()
        }
    }

    /// As many energies, evenly spread, as stay within a share of the dose.
    fn spread(&self, share: f64) -> Option<Vec<usize>> {
        let outline = self.outline();
        let mut others = outline.others();
        let energies_ev = &self.setup.plan.energies_ev;
        others.sort_by(|&a, &b| energies_ev[a].total_cmp(&energies_ev[b]));
        let with = |count: usize| {
            let mut entries = self.sentinels_for(share);
            let chosen = even(others.len(), count).into_iter().map(|at| others[at]);
            entries.extend(chosen.flat_map(|first| outline.entries(first)).copied());
            entries.sort_unstable();
            entries
        };
        (1..others.len()).rev().map(with).find(|entries| self.share(entries) <= share + NEAR)
    }

    /// The most useful energies that stay within a share of the dose.
    fn best(&self, rank: &[usize], share: f64) -> Option<Vec<usize>> {
        let outline = self.outline();
        let mut entries = self.sentinels_for(share);
        let mut used = self.share(&entries);
        for &first in rank {
            let more = outline.entries(first);
            if used + self.share(more) <= share + NEAR {
                used += self.share(more);
                entries.extend(more);
            }
        }
        entries.sort_unstable();
        let is_all = entries.len() == outline.first.len();
        (!entries.is_empty() && !is_all && self.share(&entries) <= share + NEAR).then_some(entries)
    }

    /// Every second visit of each energy.
    fn fewer_repeats(&self) -> Option<Vec<usize>> {
        let outline = self.outline();
        let firsts = (0..outline.first.len()).filter(|&entry| outline.first[entry] == entry);
        let of = |first: usize| {
            let entries = outline.entries(first);
            let keep = if outline.is_sentinel[first] {
                entries.len().div_ceil(2)
            } else {
                (entries.len() / 2).max(1)
            };
            even(entries.len(), keep).into_iter().map(move |at| entries[at]).collect::<Vec<_>>()
        };
        let mut entries: Vec<usize> = firsts.flat_map(of).collect();
        entries.sort_unstable();
        Some(entries)
    }
}

fn is_nominal(planned: &PlannedDose) -> bool {
    planned.model.flux == crate::damage::FluxSource::Nominal
}

/// `keep` of `count` places, evenly spread, both ends among them; one is the first.
fn even(count: usize, keep: usize) -> Vec<usize> {
    let keep = keep.min(count);
    let step = count.saturating_sub(1) as f64 / keep.saturating_sub(1).max(1) as f64;
    (0..keep).map(|i| (i as f64 * step + 0.5).floor() as usize).collect()
}
