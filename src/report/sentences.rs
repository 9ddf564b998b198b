//! The findings in words: what the intervals allow to claim, and what is not claimed and why.

use serde_json::Value;

use super::{Gathered, OpenScan};
use crate::kinetics::{Kinetics, Place};
use crate::particles::{Interval, Particle};

/// Share from which a particle is of one phase.
const ONE: f64 = 0.8;
/// Share from which a phase is part of a particle.
const PART: f64 = 0.2;
/// Level of the claims about all particles of a scan together, one-sided for each.
const FALSE_CLAIMS: f64 = 0.05;

/// What is claimed, and what is not.
pub(super) fn sentences(gathered: &Gathered, kinetics: &Kinetics) -> (Vec<Claim>, Vec<String>) {
    let mut said = Said::default();
    for scan in gathered.scans.iter().filter(|scan| scan.is_trusted()) {
        said.particles(scan, gathered.scans.len() > 1);
        said.boundaries(scan);
        said.damage(scan);
    }
    said.state(kinetics);
    said.gradients(kinetics);
    said.paces(kinetics);
    said.nominal(kinetics);
    said.unusable(gathered);
    said.not_claimed.extend(kinetics.remarks.iter().map(|remark| capital(remark)));
    (said.claims, said.not_claimed)
}

/// What a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Particles,
    Separate,
    Boundaries,
    Transition,
    Damage,
    State,
    Gradient,
    Speed,
    Pace,
    Nominal,
}

/// A sentence that the intervals allow; what is said of one scan of several begins with its name and a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub about: About,
    pub text: String,
}

#[derive(Debug, Default)]
struct Said {
    claims: Vec<Claim>,
    not_claimed: Vec<String>,
}

impl Said {
    fn claim(&mut self, about: About, text: String) {
        self.claims.push(Claim { about, text });
    }

    /// Which particles are of one phase, and which hold several.
    fn particles(&mut self, scan: &OpenScan, several: bool) {
        let Some(particles) = &scan.particles else {
            self.not_claimed.push(format!(
                "{}: archived by an earlier version, without particles; phasewatch classify makes them",
                scan.name
            ));
            return;
        };
        let list = &particles.particles;
        let prefix = if several { format!("{}: ", scan.name) } else { String::new() };
        if list.is_empty() {
            self.not_claimed.push(format!("{prefix}no particle was found, so nothing is said of any."));
            return;
        }
        let z = crate::kinetics::one_sided(FALSE_CLAIMS / list.len() as f64);
        let titles: Vec<&str> = scan.map.phases.iter().map(|label| label.title.as_str()).collect();
        let mut pure = vec![0_usize; titles.len()];
        let mut most = vec![0_usize; titles.len()];
        let (mut both, mut piled) = (0, 0);
        for particle in list {
            if let Some(phase) = majority(particle, z) {
                most[phase] += 1;
            }
            match kind(particle, z) {
                Kind::One(phase) => pure[phase] += 1,
                // Particles of one phase each that lie over each other look like one of several.
                Kind::Several if particle.overlaps => piled += 1,
                Kind::Several => both += 1,
                Kind::Open => {}
            }
        }
        let sure = pure.iter().sum::<usize>();
        let open = list.len() - sure - both - piled;
        let of_one: Vec<String> = pure
            .iter()
            .zip(&titles)
            .filter(|(count, _)| **count > 0)
            .map(|(count, title)| format!("{count} {} at least 80 % {title}", are(*count)))
            .collect();
        if !of_one.is_empty() || both > 0 {
            let mut parts = of_one.clone();
            if both > 0 {
                parts.push(format!(
                    "{both} {} at least 20 % of two phases each",
                    if both == 1 { "holds" } else { "hold" }
                ));
            }
            self.claim(
                About::Particles,
                format!("{prefix}of {}, {}.", count(list.len(), "particle"), parts.join(", ")),
            );
        }
        let of_most: Vec<(usize, &str)> =
            most.iter().copied().zip(titles.iter().copied()).filter(|(count, _)| *count > 0).collect();
        if of_most.len() > 1 {
            let parts: Vec<String> =
                of_most.iter().map(|(count, title)| format!("{title} in {count}")).collect();
            let how = if of_one.len() > 1 {
                "lie in separate particles"
            } else {
                "are the larger part of different particles"
            };
            let names: Vec<&str> = of_most.iter().map(|(_, title)| *title).collect();
            self.claim(
                About::Separate,
                format!("{prefix}{} {how} (more than half is {}).", names.join(", "), parts.join(", ")),
            );
        } else if list.len() > 1 && titles.len() > 1 {
            self.not_claimed.push(format!("{prefix}that phases lie in separate particles: not more than one phase is demonstrably the larger part of any."));
        }
        if piled > 0 {
            self.not_claimed.push(format!(
                "{prefix}that {} at least 20 % of two phases: what lies over another one, or under one, may be of one phase each.",
                counted(piled, "particle holds", "particles hold")
            ));
        }
        if open > 0 {
            self.not_claimed.push(format!(
                "{prefix}of {} it cannot be told whether {} of one phase or of several: the errors of the shares are too large.",
                count(open, "particle"),
                if open == 1 { "it is" } else { "they are" }
            ));
        }
        if particles.left_out.pieces > 0 {
            let (pieces, pixels) = (particles.left_out.pieces, particles.left_out.pixels);
            self.not_claimed.push(format!(
                "{prefix}{pieces} pieces of matter ({pixels} pixels) are too small to be described."
            ));
        }
        let cut = list.iter().filter(|own| own.at_border).count();
        if cut > 0 {
            self.not_claimed.push(format!(
                "{prefix}{} cut off by the field; area and shares are of what is seen.",
                counted(cut, "particle is", "particles are")
            ));
        }
    }

    fn boundaries(&mut self, scan: &OpenScan) {
        let boundaries = &scan.findings["boundaries"];
        let name = &scan.name;
        for (key, place) in
            [("between_phases", "boundaries between phases"), ("at_rim", "the rims of particles")]
        {
            let own = &boundaries[key];
            if own.is_null() {
                continue;
            }
            let Some(ratio) = interval_of(&own["ratio"]) else { continue };
            let digits = usize::from(ratio.high < 100.0);
            let times = format!("{} times", between(ratio, digits));
            let near = own["near_px"].as_f64().unwrap_or_default();
            if own["is_enriched"] != true {
                self.not_claimed.push(format!(
                    "{name}: ambiguity does not demonstrably gather within {near:.0} pixels of {place}: {times} as likely as elsewhere, and chance alone makes {}.",
                    chance(own)
                ));
                continue;
            }
            let beyond = interval_of(&own["beyond"]);
            let explained = own["explained"].as_f64().unwrap_or(1.0);
            let mut text = format!(
                "{name}: ambiguous and mixed pixels are {times} as likely within {near:.0} pixels of {place} as elsewhere"
            );
            match beyond.filter(|_| own["is_beyond"] == true) {
                Some(beyond) => text.push_str(&format!("; {} explains {explained:.digits$} times, the rest is the sample's ({} times)", beam(boundaries), between(beyond, 1))),
                None => self.not_claimed.push(format!("{name}: that this is more than the beam's width makes of a sharp boundary ({explained:.1} times).")),
            }
            text.push('.');
            self.claim(About::Boundaries, text);
        }
        let mut widths = Vec::new();
        for meeting in boundaries["meetings"].as_array().into_iter().flatten() {
            let own = interval_of(&meeting["transition"]["own_px"]);
            let phases: Vec<&str> =
                meeting["phases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            // Earlier versions archived intervals without a width, where a fit was too coarse for its error.
            if let Some(own) = own.filter(|own| own.low > 0.0 && own.high - own.low > 0.01 * own.middle) {
                widths.push(format!("{} pixels between {}", between(own, 1), phases.join(" and ")));
            }
        }
        if !widths.is_empty() {
            let text = format!(
                "{name}: the width of the transition itself (10 to 90 %), beyond what {} makes, is {}.",
                beam(boundaries),
                widths.join(", ")
            );
            self.claim(About::Transition, text);
        }
        let remarks = boundaries["remarks"].as_array().into_iter().flatten().filter_map(Value::as_str);
        self.not_claimed.extend(remarks.map(|remark| format!("{name}: {remark}.")));
    }

    fn damage(&mut self, scan: &OpenScan) {
        let findings = scan.damage["findings"].as_array().into_iter().flatten();
        let real: Vec<String> = findings
            .filter(|own| own["is_real"] == true)
            .filter_map(|own| {
                Some(format!("{} of {}", own["signal"].as_str()?.replace('_', " "), own["of"].as_str()?))
            })
            .collect();
        if !real.is_empty() {
            self.claim(About::Damage, format!("{}: the sample changed under the beam ({}); see docs/damage.md before anything is taken for chemistry.", scan.name, real.join(", ")));
        }
    }

    fn state(&mut self, kinetics: &Kinetics) {
        let Some(variable) = &kinetics.variable else { return };
        let known: Vec<_> = kinetics.scans.iter().filter_map(|scan| Some((scan, scan.x?))).collect();
        let [(first, from), .., (last, to)] = known.as_slice() else {
            if let [(scan, x)] = known.as_slice() {
                self.claim(
                    About::State,
                    format!(
                        "{}: mean {variable} over all particles is {} (90 %).",
                        scan.scan_id,
                        between(*x, 2)
                    ),
                );
            }
            return;
        };
        let text =
            format!("{} in {} and {} in {}", between(*from, 2), first.scan_id, between(*to, 2), last.scan_id);
        if to.high < from.low || from.high < to.low {
            let way = if to.middle < from.middle { "falls" } else { "rises" };
            self.claim(About::State, format!("Mean {variable} {way} over the series: {text} (90 %)."));
        } else {
            self.not_claimed.push(format!(
                "That mean {variable} changes over the series: {text} (90 %); the intervals overlap."
            ));
        }
    }

    fn gradients(&mut self, kinetics: &Kinetics) {
        let Some(variable) = &kinetics.variable else { return };
        for (index, scan) in kinetics.scans.iter().enumerate() {
            let all: Vec<_> = kinetics.gradients.iter().filter(|own| own.scan == index).collect();
            let real: Vec<_> = all.iter().filter(|own| own.is_real).collect();
            let name = &scan.scan_id;
            if real.is_empty() {
                let why = if all.is_empty() {
                    "no particle is deep enough to have a rim and a core".to_owned()
                } else {
                    format!(
                        "in none of {} do core and rim differ by more than their errors",
                        counted(
                            all.len(),
                            "particle that is large enough",
                            "particles that are large enough"
                        )
                    )
                };
                self.not_claimed.push(format!("{name}: a gradient from rim to core; {why}."));
                continue;
            }
            let higher = real.iter().filter(|own| own.contrast.middle > 0.0).count();
            let lower = real.len() - higher;
            let mut parts = Vec::new();
            if higher > 0 {
                parts.push(format!("larger in the core in {higher}"));
            }
            if lower > 0 {
                parts.push(format!("smaller in the core in {lower}"));
            }
            let fronts: Vec<String> = real
                .iter()
                .filter_map(|own| own.front_px.map(|front| (own.track, front)))
                .take(6)
                .map(|(track, front)| {
                    format!("{:.1} ± {:.1} px in particle {track}", front.value, 1.645 * front.sigma)
                })
                .collect();
            let fronts = if fronts.is_empty() {
                String::new()
            } else {
                format!("; the front lies {} below the rim", fronts.join(", "))
            };
            self.claim(
                About::Gradient,
                format!(
                    "{name}: {variable} is {} of {} that are large enough{fronts}.",
                    parts.join(" and "),
                    count(all.len(), "particle")
                ),
            );
        }
        let real: Vec<_> = kinetics.speeds.iter().filter(|own| own.is_real).collect();
        for own in &real {
            let (speed, unit) = own.um_per_h.map_or((own.px_per_h, "px/h"), |um| (um, "µm/h"));
            let way = if speed.middle > 0.0 { "toward the core" } else { "toward the rim" };
            let shown = if speed.middle > 0.0 {
                speed
            } else {
                Interval { low: -speed.high, middle: -speed.middle, high: -speed.low }
            };
            self.claim(
                About::Speed,
                format!(
                    "The front in particle {} moves {way} at {} {unit} between {} and {}.",
                    own.track,
                    between(shown, 3),
                    kinetics.scan_id(own.scans[0]),
                    kinetics.scan_id(own.scans[1])
                ),
            );
        }
        let rest = kinetics.speeds.len() - real.len();
        if rest > 0 {
            self.not_claimed.push(format!(
                "A speed of {}: it cannot be told from zero.",
                counted(rest, "front", "fronts")
            ));
        } else if kinetics.scans.len() > 1 && kinetics.speeds.is_empty() {
            self.not_claimed.push("A speed of any front: no particle has a front in two scans.".to_owned());
        }
    }

    fn paces(&mut self, kinetics: &Kinetics) {
        if kinetics.variable.is_none() {
            return;
        }
        for (index, scan) in kinetics.scans.iter().enumerate() {
            let all: Vec<_> = kinetics.paces.iter().filter(|own| own.scan == index).collect();
            for place in [Place::Ahead, Place::Behind, Place::Above, Place::Below] {
                let there: Vec<String> =
                    all.iter().filter(|own| own.place == place).map(|own| own.track.to_string()).collect();
                if !there.is_empty() {
                    self.claim(
                        About::Pace,
                        format!(
                            "{}: {} {} {}.",
                            scan.scan_id,
                            if there.len() == 1 { "particle" } else { "particles" },
                            there.join(", "),
                            is_are(there.len(), place.words())
                        ),
                    );
                }
            }
            if !all.is_empty() && all.iter().all(|own| own.place == Place::Among) {
                self.not_claimed.push(format!(
                    "{}: that any particle lags or runs ahead; all {} lie within what their errors explain.",
                    scan.scan_id,
                    all.len()
                ));
            }
        }
    }

    fn nominal(&mut self, kinetics: &Kinetics) {
        let Some(variable) = &kinetics.variable else { return };
        for scan in &kinetics.scans {
            let (Some(nominal), Some(x)) = (scan.nominal, scan.x) else { continue };
            let text = format!(
                "{variable} measured {} against {:.2}, which the state of charge {:.2} would give between the ends of the references",
                between(x, 2),
                nominal.x,
                scan.state_of_charge.unwrap_or_default()
            );
            if nominal.is_real {
                self.claim(
                    About::Nominal,
                    format!(
                        "{}: {text}: they differ. Which of them is right, the maps do not tell.",
                        scan.scan_id
                    ),
                );
            } else {
                self.not_claimed.push(format!("{}: that measured and nominal differ: {text}.", scan.scan_id));
            }
        }
    }

    fn unusable(&mut self, gathered: &Gathered) {
        for scan in &gathered.scans {
            for remark in &scan.manifest.remarks {
                let left_out = if remark.untrusted {
                    "is not to be trusted and is left out of every claim: "
                } else {
                    ""
                };
                self.not_claimed.push(format!("{}: {left_out}{}.", scan.name, remark.text));
            }
            if !scan.manifest.map.complete {
                self.not_claimed.push(format!(
                    "{}: the scan is not whole; what is missing may change what is said of it.",
                    scan.name
                ));
            }
            if scan.references.is_none() {
                self.not_claimed.push(format!("{}: the references it was mapped with are not at hand (--references names their directory): no {{x}}, no kinetics, and colours of no meaning.", scan.name).replace("{x}", "sodium content or other state"));
            }
        }
        for (name, why) in &gathered.unreadable {
            self.not_claimed.push(format!("{name}: cannot be read: {why}."));
        }
    }
}

enum Kind {
    One(usize),
    Several,
    Open,
}

/// What a particle is, where so many standard errors leave no doubt.
fn kind(particle: &Particle, z: f64) -> Kind {
    let least: Vec<f64> = particle.shares.iter().map(|share| share.value - z * share.sigma).collect();
    // What no phase could be given might be anything.
    let known = 1.0 - particle.unknown;
    if let Some(phase) = least.iter().position(|share| share * known >= ONE) {
        return Kind::One(phase);
    }
    if least.iter().filter(|share| **share * known >= PART).count() > 1 { Kind::Several } else { Kind::Open }
}

/// The phase that is more than half of a particle without doubt.
fn majority(particle: &Particle, z: f64) -> Option<usize> {
    let known = 1.0 - particle.unknown;
    particle.shares.iter().position(|share| (share.value - z * share.sigma) * known > 0.5)
}

fn interval_of(value: &Value) -> Option<Interval> {
    let of = |key: &str| value[key].as_f64();
    Some(Interval { low: of("low")?, middle: of("middle")?, high: of("high")? })
}

/// What is taken to widen a sharp boundary.
fn beam(boundaries: &Value) -> &'static str {
    if boundaries["spot"]["is_known"] == true { "the width of the beam" } else { "a beam as wide as a pixel" }
}

fn chance(own: &Value) -> String {
    let of = |index: usize| own["by_chance"][index].as_f64().unwrap_or(f64::NAN);
    format!("{:.1} to {:.1}", of(0), of(1))
}

/// `2.1 (1.9 to 2.4)`.
pub(super) fn between(own: Interval, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$} to {:.digits$})", own.middle, own.low, own.high)
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn is_are(count: usize, what: &str) -> String {
    format!("{} {what}", are(count))
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str() + ".")
}
