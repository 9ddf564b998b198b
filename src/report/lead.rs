//! What matters most, said first; the rest scan by scan.
//!
//! Nothing is said here that is not among the claims: of several scans it is counted in how many something is claimed.

use super::Gathered;
use super::sentences::{About, Claim};

/// Sentences that lead, at most.
const MOST: usize = 3;

/// The findings in the order in which they are read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// One to three sentences; none where nothing is claimed.
    pub lead: Vec<String>,
    /// What else is said of the series as a whole, or of the only scan.
    pub series: Vec<String>,
    /// What is said of each of several scans: its name, and sentences without it.
    pub scans: Vec<(String, Vec<String>)>,
}

impl Findings {
    /// Of what is claimed.
    pub(super) fn of(gathered: &Gathered, claims: &[Claim]) -> Self {
        let names: Vec<&str> = gathered.scans.iter().map(|scan| scan.name.as_str()).collect();
        let trusted = gathered.scans.iter().filter(|scan| scan.is_trusted()).count();
        let beyond = |name: &str| {
            let scan = gathered.scans.iter().find(|scan| scan.name == name);
            scan.is_some_and(|scan| scan.findings["boundaries"]["between_phases"]["is_beyond"] == true)
        };
        Self::sorted(&names, trusted, claims, beyond)
    }

    fn sorted(names: &[&str], trusted: usize, claims: &[Claim], is_beyond: impl Fn(&str) -> bool) -> Self {
        let placed: Vec<Placed<'_>> = claims.iter().map(|claim| Placed::of(claim, names)).collect();
        let mut found = Self::default();
        let mut led = vec![false; claims.len()];
        // Damage first: it puts everything else in doubt.
        for about in [
            About::Damage,
            About::State,
            About::Separate,
            About::Boundaries,
            About::Speed,
            About::Particles,
            About::Nominal,
            About::Transition,
        ] {
            let own: Vec<usize> = (0..claims.len()).filter(|&index| claims[index].about == about).collect();
            let scans: Vec<&str> = own.iter().filter_map(|&index| placed[index].scan).collect();
            if own.is_empty() || found.lead.len() == MOST {
                continue;
            }
            if names.len() > 1 && !scans.is_empty() {
                let beyond = scans.iter().filter(|name| is_beyond(name)).count();
                found.lead.extend(counted(about, &scans, trusted, beyond));
            } else if let [only] = own.as_slice() {
                // As it stands, and not once more below.
                led[*only] = true;
                found.lead.push(placed[*only].text.to_owned());
            } else if about == About::Speed {
                found.lead.push(format!("Fronts move in {} particles.", own.len()));
            }
        }
        for (own, _) in placed.iter().zip(led).filter(|(_, led)| !led) {
            match own.scan.filter(|_| names.len() > 1) {
                None => found.series.push(own.text.to_owned()),
                Some(name) => match found.scans.iter_mut().find(|(known, _)| known == name) {
                    Some((_, sentences)) => sentences.push(own.text.to_owned()),
                    None => found.scans.push((name.to_owned(), vec![own.text.to_owned()])),
                },
            }
        }
        found.scans.sort_by_key(|(name, _)| names.iter().position(|known| known == name));
        found
    }
}

/// A claim, and the scan that it is of.
struct Placed<'a> {
    scan: Option<&'a str>,
    text: &'a str,
}

impl<'a> Placed<'a> {
    fn of(claim: &'a Claim, names: &[&'a str]) -> Self {
        let of = |name: &&'a str| Some((*name, claim.text.strip_prefix(*name)?.strip_prefix(": ")?));
        match names.iter().find_map(of) {
            Some((name, text)) => Self { scan: Some(name), text },
            None => Self { scan: None, text: &claim.text },
        }
    }
}

/// In how many scans something is claimed; none of what is not told that way.
fn counted(about: About, scans: &[&str], trusted: usize, beyond: usize) -> Option<String> {
    let of = match (scans, trusted) {
        (all, 2) if all.len() == 2 => "both scans".to_owned(),
        (all, n) if all.len() == n => format!("all {n} scans"),
        ([only], n) => format!("one of {n} scans ({only})"),
        (some, n) => format!("{} of {n} scans", some.len()),
    };
    match about {
        About::Damage => Some(format!(
            "In {of} the sample changed under the beam; see docs/damage.md before anything is taken for chemistry."
        )),
        About::Separate => Some(format!(
            "In {of} phases lie in separate particles, or are the larger part of different ones."
        )),
        About::Boundaries => Some(format!(
            "In {of} ambiguous and mixed pixels gather at boundaries between phases{}.",
            match beyond {
                0 => ", nowhere demonstrably more than the beam makes of a sharp boundary".to_owned(),
                n if n == scans.len() => ", by more than the beam explains".to_owned(),
                n => format!(", in {n} of them by more than the beam explains"),
            }
        )),
        // The rest says nothing without its numbers, or, as gradients, is not to be believed without a look at the map.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(about: About, text: &str) -> Claim {
        Claim { about, text: text.to_owned() }
    }

    #[test]
    fn of_several_scans_the_count_leads_and_each_has_its_own_below() {
        let claims = [
            claim(About::Particles, "a-1: of 8 particles, 6 are at least 80 % x = 3.0."),
            claim(
                About::Separate,
                "a-1: x = 3.0, x = 2.0 lie in separate particles (more than half is x = 3.0 in 3).",
            ),
            claim(
                About::Boundaries,
                "a-10: ambiguous and mixed pixels are 2.0 (1.5 to 2.5) times as likely.",
            ),
            claim(About::Boundaries, "a-1: ambiguous and mixed pixels are 3.0 (2.5 to 3.5) times as likely."),
            claim(About::State, "Mean na_x falls over the series: 2.9 in a-1 and 1.1 in a-10 (90 %)."),
            claim(About::Speed, "The front in particle 4 moves toward the core."),
        ];
        let found = Findings::sorted(&["a-1", "a-10", "b"], 3, &claims, |name| name == "a-10");
        assert_eq!(
            found.lead,
            [
                "Mean na_x falls over the series: 2.9 in a-1 and 1.1 in a-10 (90 %).",
                "In one of 3 scans (a-1) phases lie in separate particles, or are the larger part of different ones.",
                "In 2 of 3 scans ambiguous and mixed pixels gather at boundaries between phases, in 1 of them by more than the beam explains.",
            ]
        );
        assert_eq!(found.series, ["The front in particle 4 moves toward the core."]);
        let scans: Vec<(&str, usize)> =
            found.scans.iter().map(|(name, all)| (name.as_str(), all.len())).collect();
        assert_eq!(scans, [("a-1", 3), ("a-10", 1)], "a name that begins another is not that one");
        assert!(found.scans[0].1[0].starts_with("of 8 particles"), "the name stands above: {found:?}");
    }

    #[test]
    fn of_one_scan_its_sentences_lead_as_they_stand_and_none_is_said_twice() {
        let claims = [
            claim(About::Particles, "of 8 particles, 6 are at least 80 % x = 3.0."),
            claim(About::Boundaries, "a: ambiguous and mixed pixels are 2.0 (1.5 to 2.5) times as likely."),
            claim(About::Damage, "a: the sample changed under the beam (white line of x = 3.0)."),
            claim(About::State, "a: mean na_x over all particles is 2.1 (2.0 to 2.2) (90 %)."),
        ];
        let found = Findings::sorted(&["a"], 1, &claims, |_| false);
        assert_eq!(found.lead.len(), 3);
        assert!(
            found.lead[0].starts_with("the sample changed") && found.lead[1].starts_with("mean na_x"),
            "{found:?}"
        );
        assert_eq!(found.series, ["of 8 particles, 6 are at least 80 % x = 3.0."]);
        assert!(found.scans.is_empty());
        assert!(Findings::sorted(&["a"], 1, &[], |_| false).lead.is_empty());
    }
}
