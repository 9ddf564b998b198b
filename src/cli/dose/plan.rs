//! The plan: of a header, a scenario or options.

use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::{DoseArgs, read_text};
use crate::cli::Failure;
use crate::damage::{DoseSettings, unit_um};
use crate::evaluation::halving::Setup;
use crate::scan::{Axis, Grid, MAX_ENERGIES, ScanPlan, ScanUpdate, ValueUnit};
use crate::simulate::Scenario;
use crate::source::stxm_stream::{Framing, STREAM, decode};

/// Name of a plan that has none.
const UNNAMED: &str = "planned";
/// Rows and columns where nobody says.
const SHAPE: [usize; 2] = [128, 128];

/// The plan that the arguments name, to start at `now`, with what options say otherwise.
pub(super) fn read(args: &DoseArgs, now: DateTime<Utc>) -> Result<ScanPlan, Failure> {
    let mut plan = match (&args.plan, &args.energies) {
        (Some(path), _) => file(path, now)?,
        (None, energies) => options(args, energies.as_deref().unwrap_or_default())?,
    };
    plan.started = now;
    if let Some(dwell_ms) = args.dwell_ms {
        plan.dwell_ms.fill(dwell_ms);
    }
    regrid(args, &mut plan)?;
    for (name, given) in [(&mut plan.sample, &args.sample), (&mut plan.region, &args.region)] {
        if given.is_some() {
            name.clone_from(given);
        }
    }
    if let Some(beamline) = &args.beamline {
        plan.beamline.clone_from(beamline);
    }
    plan.validate().map_err(|error| match &args.plan {
        Some(path) => Failure::data(format_args!("{}: {error}", path.display())),
        None => Failure::usage(error),
    })?;
    Ok(plan)
}

/// The plan with its light: what options say of flux and counts wins.
pub(super) fn setup(
    args: &DoseArgs,
    mut plan: ScanPlan,
    mut dose: DoseSettings,
    (move_ms_per_ev, settle_ms): (f64, f64),
) -> Setup {
    let energies = plan.energies_ev.len();
    let mut light = vec![None; energies];
    if args.flux.is_some() {
        dose.flux_ph_per_s = args.flux;
    }
    if let Some(counts) = args.counts {
        (plan.flux_ph_per_s, dose.flux_ph_per_s) = (None, None);
        plan.value_unit = ValueUnit::Counts;
        // Counts of who types them in are photons, unless the plan knows better.
        plan.detector.counts_per_photon.get_or_insert_with(|| vec![1.0; energies]);
        light.fill(Some(counts));
    }
    Setup { plan, light, dose, dim: 1.0, thickness: args.thickness, move_ms_per_ev, settle_ms }
}

/// Another step, shape or place, where options give one: the centre stays.
fn regrid(args: &DoseArgs, plan: &mut ScanPlan) -> Result<(), Failure> {
    let unit_um = match unit_um(&plan.grid.unit) {
        Some(unit_um) => unit_um,
        None if args.pixel_nm.is_none() => return Ok(()),
        None => {
            plan.grid.unit = "um".to_owned();
            1.0
        }
    };
    let grid = &mut plan.grid;
    let centre = |axis: Axis, n: usize| axis.start + 0.5 * (n as f64 - 1.0) * axis.step;
    let mut middle = [centre(grid.y, grid.shape[0]), centre(grid.x, grid.shape[1])];
    if let [y, x] = args.centre_um[..] {
        middle = [y / unit_um, x / unit_um];
    }
    if let [ny, nx] = args.shape[..] {
        grid.shape = [ny, nx];
    }
    for (axis, middle, n) in
        [(&mut grid.y, middle[0], grid.shape[0]), (&mut grid.x, middle[1], grid.shape[1])]
    {
        if let Some(pixel_nm) = args.pixel_nm {
            axis.step = (pixel_nm * 1e-3 / unit_um).copysign(axis.step);
        }
        if args.pixel_nm.is_some() || !args.shape.is_empty() || !args.centre_um.is_empty() {
            axis.start = middle - 0.5 * (n as f64 - 1.0) * axis.step;
        }
    }
    Ok(())
}

/// A header of JSON, or a scenario of TOML: told by the first sign.
fn file(path: &Path, now: DateTime<Utc>) -> Result<ScanPlan, Failure> {
    let text = read_text(path)?;
    let wrong = |what: &dyn std::fmt::Display| Failure::data(format_args!("{}: {what}", path.display()));
    if text.trim_start().starts_with('{') {
        return header(&text, now).map_err(|what| wrong(&what));
    }
    let scenario = Scenario::parse(&text).map_err(|error| {
        wrong(&format_args!(
            "neither the JSON of a scan_start, which begins with {{, nor a scenario: {error}"
        ))
    })?;
    scenario.plan(UNNAMED, now).map_err(|error| wrong(&error))
}

/// The plan of a header. What every header has and no plan needs may be missing.
fn header(text: &str, now: DateTime<Utc>) -> Result<ScanPlan, String> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let time = now.to_rfc3339_opts(SecondsFormat::Micros, true);
    let common: [(&str, Value); 5] = [
        ("stream", STREAM.into()),
        ("type", "scan_start".into()),
        ("scan_id", UNNAMED.into()),
        ("seq", 0.into()),
        ("time", time.into()),
    ];
    for (name, value) in common {
        fields.entry(name).or_insert(value);
    }
    let kind = fields.get("type").cloned().unwrap_or_default();
    let message = Bytes::from(Value::Object(fields).to_string());
    let event = decode(&[message], Framing::Bare, None).map_err(|refusal| refusal.to_string())?;
    match event.update {
        ScanUpdate::Started(plan) => Ok(*plan),
        _ => Err(format!("its type is {kind}: a plan is a scan_start")),
    }
}

/// The plan that options describe.
fn options(args: &DoseArgs, energies: &str) -> Result<ScanPlan, Failure> {
    let mut energies_ev =
        parse_energies(energies).map_err(|what| Failure::usage(format_args!("--energies: {what}")))?;
    if !args.sentinels.is_empty() {
        if !(2..=100).contains(&args.sentinel_visits) {
            return Err(Failure::usage(format_args!(
                "--sentinel-visits is {}: it is 2 to 100",
                args.sentinel_visits
            )));
        }
        energies_ev = with_sentinels(&energies_ev, &args.sentinels, args.sentinel_visits);
    }
    let step = args.pixel_nm.unwrap_or_default() * 1e-3;
    let axis = |n: usize| Axis { start: -0.5 * (n as f64 - 1.0) * step, step };
    let shape = if let [ny, nx] = args.shape[..] { [ny, nx] } else { SHAPE };
    let grid = Grid { shape, y: axis(shape[0]), x: axis(shape[1]), unit: "um".to_owned() };
    Ok(ScanPlan::of_stack(UNNAMED.to_owned(), grid, energies_ev, args.dwell_ms.unwrap_or_default()))
}

/// Energies of a list; `FROM:TO:STEP` is a run, whose last energy is the last step that does not pass `TO`.
fn parse_energies(text: &str) -> Result<Vec<f64>, String> {
    let mut energies_ev: Vec<f64> = Vec::new();
    for item in text.split(',').map(str::trim) {
        let numbers: Option<Vec<f64>> = item
            .split(':')
            .map(|part| part.trim().parse().ok().filter(|number: &f64| number.is_finite()))
            .collect();
        match numbers.as_deref() {
            Some(&[energy_ev]) => energies_ev.push(energy_ev),
            Some(&[from_ev, to_ev, step_ev]) if step_ev != 0.0 && (to_ev - from_ev) * step_ev >= 0.0 => {
                // A thousandth of a step: 0.1 eV steps do not end early for want of a bit.
                let steps = ((to_ev - from_ev) / step_ev + 1e-3).floor();
                if steps >= MAX_ENERGIES as f64 {
                    return Err(format!("{item:?} has more than {MAX_ENERGIES} energies"));
                }
                for step in 0..=steps as usize {
                    let energy_ev = ((from_ev + step as f64 * step_ev) * 1e6).round() / 1e6;
                    if energies_ev.last() != Some(&energy_ev) {
                        energies_ev.push(energy_ev);
                    }
                }
            }
            Some(&[_, _, _]) => {
                return Err(format!("{item:?}: the step does not lead from the first energy to the last"));
            }
            _ => return Err(format!("{item:?} is neither an energy nor FROM:TO:STEP")),
        }
    }
    Ok(energies_ev)
}

/// Sentinels before the first energy, behind the last, and evenly between; they are not measured beside their visits.
fn with_sentinels(energies_ev: &[f64], sentinels_ev: &[f64], visits: usize) -> Vec<f64> {
    let is_sentinel =
        |energy_ev: f64| sentinels_ev.iter().any(|sentinel_ev| (sentinel_ev - energy_ev).abs() < 1e-3);
    let others: Vec<f64> = energies_ev.iter().copied().filter(|energy_ev| !is_sentinel(*energy_ev)).collect();
    let mut all = Vec::with_capacity(others.len() + visits * sentinels_ev.len());
    for visit in 0..visits {
        let place = |visit: usize| visit * others.len() / (visits - 1);
        all.extend_from_slice(sentinels_ev);
        if visit + 1 < visits {
            all.extend_from_slice(&others[place(visit)..place(visit + 1)]);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energies_are_lists_and_runs() {
        assert_eq!(parse_energies("508, 510:511:0.5,530").unwrap(), [508.0, 510.0, 510.5, 511.0, 530.0]);
        assert_eq!(parse_energies("510:511:0.3").unwrap(), [510.0, 510.3, 510.6, 510.9]);
        assert_eq!(parse_energies("512:510:-1").unwrap(), [512.0, 511.0, 510.0]);
        assert_eq!(parse_energies("510:511:1,511:512:1").unwrap(), [510.0, 511.0, 512.0]);
        for wrong in
            ["", "a", "510,", "510:520", "510:520:0", "520:510:1", "510:520:1:1", "nan", "1:1e9:0.001"]
        {
            assert!(parse_energies(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sentinels_come_first_last_and_between() {
        let all = with_sentinels(&[508.0, 510.0, 512.0, 514.0, 516.0], &[508.0, 517.0], 3);
        assert_eq!(all, [508.0, 517.0, 510.0, 512.0, 508.0, 517.0, 514.0, 516.0, 508.0, 517.0]);
        let few = with_sentinels(&[510.0], &[508.0], 5);
        assert_eq!((few.len(), few.iter().filter(|e| **e == 508.0).count()), (6, 5));
    }

    #[test]
    fn a_header_may_lack_what_no_plan_needs() {
        let now = DateTime::UNIX_EPOCH;
        let golden = include_str!("../../../proto/golden/scan_start_point.json");
        assert_eq!(header(golden, now).unwrap().energies_ev, [512.0, 515.4, 518.3]);
        let axis = r#"{"start":0,"step":0.05}"#;
        let grid = format!(r#""grid":{{"shape":[2,3],"x":{axis},"y":{axis}}}"#);
        let short = format!("{{{grid},\"energies_ev\":[512],\"dwell_ms\":1}}");
        assert_eq!(header(&short, now).unwrap().scan_id, UNNAMED);
        for (wrong, why) in [
            (format!("{{{grid},\"energies_ev\":[512]}}"), "dwell_ms"),
            (format!("{{{grid},\"energies_ev\":[],\"dwell_ms\":1}}"), "energies"),
            (r#"{"type":"scan_pause"}"#.to_owned(), "scan_start"),
            (r#"{"stream":"other/1"}"#.to_owned(), "other/1"),
            ("{".to_owned(), "EOF"),
        ] {
            let what = header(&wrong, now).unwrap_err();
            assert!(what.contains(why), "{wrong}: {what}");
        }
    }
}
