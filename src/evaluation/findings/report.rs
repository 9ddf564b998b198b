//! The page of a study.

use std::fmt::Write as _;

use serde::Serialize;

use super::series_report::{self, SeriesRow};
use super::{Class, FindingsScores, FindingsStudy, ScanScore, SeriesClass};
use crate::boundaries::Enrichment;
use crate::evaluation::damage::ShareOf;

/// How far a size and a mean state may be off.
const SIZE: f64 = 0.05;
const X: f64 = 0.05;

/// Particles of one class of scans.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParticleRow {
    /// The class.
    pub class: Class,
    /// Particles that were found, of those that are there.
    pub found: ShareOf,
    /// Particles that were found and are not there.
    pub too_many: usize,
    /// Of all that were found, those that are said to lie over others; all that follows is of the others.
    pub overlapping: ShareOf,
    /// Areas within 5 %, of those found.
    pub size: ShareOf,
    /// The same of particles of more than 300 pixels.
    pub size_of_large: ShareOf,
    /// Area found over true, median.
    pub ratio: f64,
    /// Areas within two standard errors.
    pub size_interval: ShareOf,
    /// x within 0.05.
    pub x: ShareOf,
    /// Error of x: median, and what one in ten exceeds.
    pub x_error: [f64; 2],
    /// 90 % intervals of x that hold.
    pub x_interval: ShareOf,
    /// Half the width of those, median.
    pub x_half_width: f64,
    /// Scans in which all sizes are within 5 %, and all x within 0.05.
    pub scans: [ShareOf; 2],
}

/// Claims of one class of scans or maps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimRow {
    /// The class.
    pub class: Class,
    /// Scans whose boundaries could be compared.
    pub compared: ShareOf,
    /// Of all, those with an enrichment that is claimed.
    pub enriched: ShareOf,
    /// Of all, those with more than the beam explains.
    pub beyond: ShareOf,
    /// Of all, those with an enrichment at the rim.
    pub rim: ShareOf,
    /// Ratio, and ratio that the beam explains: medians.
    pub ratio: [f64; 2],
    /// Intervals that hold the true factor, of drawn maps.
    pub interval: ShareOf,
    /// Found over true factor, median, and half the width of the interval in logarithms.
    pub over_factor: [f64; 2],
    /// Transitions whose interval holds the true width.
    pub width: ShareOf,
    /// Width, median.
    pub width_px: f64,
    /// Gradients from rim to core that are claimed, of particles without any that are large enough.
    pub gradients: ShareOf,
    /// Scans in which one is claimed.
    pub gradient_scans: ShareOf,
}

/// What came of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingsReport {
    /// What was drawn.
    pub study: FindingsStudy,
    /// Particles.
    pub particles: Vec<ParticleRow>,
    /// Boundaries.
    pub claims: Vec<ClaimRow>,
    /// Series.
    pub series: Vec<SeriesRow>,
}

impl FindingsReport {
    /// Sums up.
    #[must_use]
    pub fn of(study: FindingsStudy, scores: &FindingsScores) -> Self {
        let of =
            |class: Class| scores.scans.iter().filter(move |score| score.class == class).collect::<Vec<_>>();
        let series = |class: SeriesClass| {
            let own = scores.series.iter().filter(|score| score.class == class);
            SeriesRow::of(class, &own.collect::<Vec<_>>())
        };
        let with_particles =
            [Class::Inclined, Class::Sharp, Class::Single, Class::Touching, Class::Overlapping];
        Self {
            study,
            particles: with_particles.into_iter().map(|class| particle_row(class, &of(class))).collect(),
            claims: Class::ALL.into_iter().map(|class| claim_row(class, &of(class))).collect(),
            series: SeriesClass::ALL.into_iter().map(series).collect(),
        }
    }

    /// As Markdown. `command` is what made it.
    #[must_use]
    pub fn markdown(&self, command: &str) -> String {
        let mut text = format!(
            "# Findings\n\n`{command}`: {} scans, maps or series of each class, seed {}. 96 × 96 pixels, up to eight particles of radius 8.6 to 16 pixels in five phases, \
             1000 counts, 20 energies, drift, an energy offset of up to 0.2 eV; half of the scans of phases up to 0.05 eV and 5 % off their references. \
             Shares are given with the bound that they keep with 95 %.\n\n## Particles\n\nAreas and x are of those that are not said to lie over others.\n\n\
             | scans | found | too many | said to lie over others | area within 5 % | at least | of more than 300 pixels | found/true, median | within 2 σ | x within 0.05 | at least | error of x, median | one in ten exceeds | 90 % interval holds | half its width, median | scans with all areas | with all x |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
            self.study.scans, self.study.seed
        );
        for row in &self.particles {
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {:.3} | {} | {} | {} | {:.3} | {:.3} | {} | {:.3} | {} | {} |",
                row.class.name(),
                parts(&row.found),
                row.too_many,
                parts(&row.overlapping),
                parts(&row.size),
                percent(row.size.low),
                parts(&row.size_of_large),
                row.ratio,
                parts(&row.size_interval),
                parts(&row.x),
                percent(row.x.low),
                row.x_error[0],
                row.x_error[1],
                parts(&row.x_interval),
                row.x_half_width,
                parts(&row.scans[0]),
                parts(&row.scans[1]),
            );
        }
        text += "\n## Boundaries\n\nClaimed: of all scans of the class. *Beyond*: more than a beam of the width of a pixel explains. Of drawn maps the factor on the \
                 probability of doubt within two pixels of a boundary is known.\n\n\
                 | scans or maps | compared | enrichment claimed | at most | beyond the beam claimed | at most | rim claimed | at most | ratio, median | by the beam, median | 90 % interval holds the factor | at least | ratio/factor, median | half the interval, median | width's interval holds | width, median, pixels | gradients claimed, of particles | of scans |\n\
                 |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
        for row in &self.claims {
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.class.name(),
                parts(&row.compared),
                parts(&row.enriched),
                percent(row.enriched.high),
                parts(&row.beyond),
                percent(row.beyond.high),
                parts(&row.rim),
                percent(row.rim.high),
                figure(row.ratio[0]),
                figure(row.ratio[1]),
                parts(&row.interval),
                if row.interval.whole > 0 { percent(row.interval.low) } else { "-".to_owned() },
                figure(row.over_factor[0]),
                figure(row.over_factor[1]),
                parts(&row.width),
                figure(row.width_px),
                parts(&row.gradients),
                parts(&row.gradient_scans),
            );
        }
        text + &series_report::markdown(&self.series)
    }
}

fn particle_row(class: Class, scores: &[&ScanScore]) -> ParticleRow {
    let all: Vec<_> = scores.iter().flat_map(|score| score.particles.iter().copied()).collect();
    let found = all.iter().filter(|own| own.area_ratio.is_some()).count();
    let alone = || all.iter().filter(|own| !own.overlaps);
    let ratios: Vec<(f64, f64)> = alone().filter_map(|own| Some((own.area_px, own.area_ratio?))).collect();
    let close = |ratio: f64| (ratio - 1.0).abs() <= SIZE;
    let size_of = |least: f64| {
        let large = || ratios.iter().filter(|(area, _)| *area > least);
        ShareOf::of(large().filter(|(_, ratio)| close(*ratio)).count(), large().count())
    };
    let z: Vec<f64> = alone().filter_map(|own| own.area_z).collect();
    let x: Vec<_> = alone().filter_map(|own| Some((own.x, own.x_found?))).collect();
    let errors: Vec<f64> = x.iter().map(|(x, found)| (found.middle - x).abs()).collect();
    let holds = x.iter().filter(|(x, found)| (found.low..=found.high).contains(x)).count();
    let found_of =
        |score: &&&ScanScore| score.particles.iter().filter(|own| own.area_ratio.is_some()).count();
    let scans = |is: &dyn Fn(&super::ParticleScore) -> bool| {
        let good = scores.iter().filter(|score| score.particles.iter().all(is)).count();
        ShareOf::of(good, scores.len())
    };
    ParticleRow {
        class,
        found: ShareOf::of(found, all.len()),
        too_many: scores.iter().map(|score| score.found.saturating_sub(found_of(&score))).sum(),
        overlapping: ShareOf::of(
            scores.iter().map(|score| score.overlapping).sum(),
            scores.iter().map(|score| score.found).sum(),
        ),
        size: size_of(0.0),
        size_of_large: size_of(300.0),
        ratio: quantile(ratios.iter().map(|(_, ratio)| *ratio).collect(), 0.5),
        size_interval: ShareOf::of(z.iter().filter(|z| z.abs() <= 2.0).count(), z.len()),
        x: ShareOf::of(errors.iter().filter(|error| **error <= X).count(), errors.len()),
        x_error: [0.5, 0.9].map(|part| quantile(errors.clone(), part)),
        x_interval: ShareOf::of(holds, x.len()),
        x_half_width: quantile(x.iter().map(|(_, own)| 0.5 * (own.high - own.low)).collect(), 0.5),
        scans: [
            scans(&|own| own.overlaps || own.area_ratio.is_some_and(close)),
            scans(&|own| own.overlaps || own.x_found.is_some_and(|found| (found.middle - own.x).abs() <= X)),
        ],
    }
}

fn claim_row(class: Class, scores: &[&ScanScore]) -> ClaimRow {
    let between: Vec<&Enrichment> = scores.iter().filter_map(|score| score.between_phases.as_ref()).collect();
    let share = |is: &dyn Fn(&ScanScore) -> bool| {
        ShareOf::of(scores.iter().filter(|score| is(score)).count(), scores.len())
    };
    let known: Vec<(f64, &Enrichment)> =
        scores.iter().filter_map(|score| Some((score.factor?, score.between_phases.as_ref()?))).collect();
    let holds =
        known.iter().filter(|(factor, own)| (own.ratio.low..=own.ratio.high).contains(factor)).count();
    let widths: Vec<_> = scores.iter().flat_map(|score| score.widths.iter().copied()).collect();
    let width_holds =
        widths.iter().filter(|own| (own.found.low..=own.found.high).contains(&own.width_px)).count();
    ClaimRow {
        class,
        compared: share(&|score| score.between_phases.is_some()),
        enriched: share(&|score| score.between_phases.as_ref().is_some_and(|own| own.is_enriched)),
        beyond: share(&|score| score.between_phases.as_ref().is_some_and(|own| own.is_beyond)),
        rim: share(&|score| score.at_rim.as_ref().is_some_and(|own| own.is_enriched)),
        ratio: [
            quantile(between.iter().map(|own| own.ratio.middle).collect(), 0.5),
            quantile(between.iter().map(|own| own.explained).collect(), 0.5),
        ],
        interval: ShareOf::of(holds, known.len()),
        over_factor: [
            quantile(known.iter().map(|(factor, own)| own.ratio.middle / factor).collect(), 0.5),
            quantile(known.iter().map(|(_, own)| (own.ratio.high / own.ratio.middle).ln()).collect(), 0.5),
        ],
        width: ShareOf::of(width_holds, widths.len()),
        gradients: ShareOf::of(
            scores.iter().map(|score| score.gradients[0]).sum(),
            scores.iter().map(|score| score.gradients[1]).sum(),
        ),
        gradient_scans: share(&|score| score.gradients[0] > 0),
        width_px: quantile(widths.iter().map(|own| own.found.middle).collect(), 0.5),
    }
}

/// The value that so large a part does not exceed; NaN of none.
pub(super) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len().max(1) - 1) as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

pub(super) fn parts(share: &ShareOf) -> String {
    if share.whole == 0 {
        return "-".to_owned();
    }
    format!("{}/{} ({})", share.part, share.whole, percent(share.share))
}

fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", 100.0 * share) } else { "-".to_owned() }
}

pub(super) fn figure(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { "-".to_owned() }
}
