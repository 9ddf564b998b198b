//! Where simulated and recorded scans come from.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::SimulateArgs;
use super::spoken::DetectorArg;
use crate::cli::{Failure, load_recording};
use crate::recording::{Recording, select_energies};
use crate::scan::{DetectorKind, is_valid_id};
use crate::simulate::{Format, Microscope, ScanSource, Scenario, nvpf};

/// Where scans come from, read and checked.
pub(super) enum Scans {
    Simulated(Box<Scenario>),
    /// One specimen at several times.
    Series(Vec<Scenario>),
    Recorded(Box<Recording>),
}

impl Scans {
    pub(super) fn load(args: &SimulateArgs) -> Result<Self, Failure> {
        let has_frames = args.format().is_some_and(Format::has_frames);
        if let Some(path) = &args.stack {
            if has_frames {
                return Err(Failure::usage(
                    "a recorded stack has no frames that an area detector could send",
                ));
            }
            let recording = load_recording(path)?;
            let Some(list) = &args.energies else { return Ok(Self::Recorded(Box::new(recording))) };
            let indices = select_energies(&recording.plan.energies_ev, list).map_err(Failure::usage)?;
            return Ok(Self::Recorded(Box::new(recording.subset(&indices))));
        }
        let mut scenario = match &args.scenario {
            None => Scenario::demo().map_err(Failure::bug)?,
            Some(path) => named_scenario(path)?,
        };
        if let Some(seed) = args.seed {
            scenario.seed = seed;
        }
        match args.detector {
            None => {}
            Some(DetectorArg::Point) => scenario.detector.kind = DetectorKind::Point,
            Some(DetectorArg::Area) => scenario.detector.kind = DetectorKind::Area,
        }
        if has_frames {
            scenario.detector.kind = DetectorKind::Area;
        }
        if scenario.series.is_none() {
            return Ok(Self::Simulated(Box::new(scenario)));
        }
        if args.repeat != 1 {
            return Err(Failure::usage(
                "--repeat is for scenarios without a series, which has its own number of scans",
            ));
        }
        Ok(Self::Series(scenario.scans()))
    }

    /// Whether the scans have times of their own.
    pub(super) fn is_series(&self) -> bool {
        matches!(self, Self::Series(_))
    }

    /// How many scans there are.
    pub(super) fn count(&self, args: &SimulateArgs) -> u32 {
        match self {
            Self::Series(scans) => scans.len() as u32,
            Self::Simulated(_) | Self::Recorded(_) => args.repeat,
        }
    }

    /// Identifier of the scan with this number, from 1.
    pub(super) fn scan_id(
        &self,
        args: &SimulateArgs,
        number: u32,
        now: DateTime<Utc>,
    ) -> Result<String, Failure> {
        let simulated = |seed: u64| format!("sim-{}-{seed}", now.format("%Y%m%dT%H%M%S"));
        let base = match (&args.scan_id, self) {
            (Some(id), _) => id.clone(),
            (None, Self::Recorded(recording)) => recording.plan.scan_id.clone(),
            (None, Self::Simulated(scenario)) => simulated(scenario.seed),
            (None, Self::Series(scans)) => simulated(scans.first().map_or(0, |first| first.seed)),
        };
        let id = if self.count(args) > 1 { format!("{base}-{number}") } else { base };
        let problem = "must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit";
        if is_valid_id(&id) {
            Ok(id)
        } else {
            Err(Failure::usage(format_args!("--scan-id {id:?} {problem}")))
        }
    }

    /// The source of the scan with this number, from 1; what a simulated one really holds goes into the file of `--truth`, one for each scan of a series.
    /// Where the beam does something to the specimen, the next one goes on from there. The last scan of a series is now.
    pub(super) fn source(
        &mut self,
        args: &SimulateArgs,
        (scan_id, number): (&str, u32),
        now: DateTime<Utc>,
    ) -> Result<ScanSource, Failure> {
        match self {
            Self::Recorded(recording) => {
                let mut recording = recording.clone();
                scan_id.clone_into(&mut recording.plan.scan_id);
                Ok(ScanSource::Recording(recording))
            }
            Self::Simulated(scenario) => {
                let microscope =
                    Microscope::new(Scenario::clone(scenario), &nvpf::reference_set(), scan_id, now);
                let microscope = microscope.map_err(Failure::usage)?;
                if let Some(path) = &args.truth {
                    write_truth(&microscope, path)?;
                }
                if scenario.damage.is_some() {
                    **scenario = microscope.scenario_after();
                }
                Ok(ScanSource::Microscope(Box::new(microscope)))
            }
            Self::Series(scans) => {
                let last_hours = scans.last().map_or(0.0, |last| last.scan.hours);
                let start = now - TimeDelta::milliseconds((3.6e6 * last_hours) as i64);
                let Some(scenario) = scans.get(number as usize - 1) else {
                    return Err(Failure::bug(format_args!("no scan {number} in the series")));
                };
                let microscope = Microscope::new(scenario.clone(), &nvpf::reference_set(), scan_id, start);
                let microscope = microscope.map_err(Failure::usage)?;
                if let Some(path) = &args.truth {
                    write_truth(&microscope, &numbered(path, number))?;
                }
                Ok(ScanSource::Microscope(Box::new(microscope)))
            }
        }
    }
}

fn write_truth(microscope: &Microscope, path: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string(microscope.truth()).map_err(Failure::bug)?;
    let problem = |error| Failure::unavailable(format_args!("cannot write {}: {error}", path.display()));
    std::fs::write(path, text).map_err(problem)
}

/// `truth-2.json` for `truth.json`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (part(path.file_stem()), part(path.extension()));
    let dot = if extension.is_empty() { "" } else { "." };
    path.with_file_name(format!("{stem}-{number}{dot}{extension}"))
}

/// A scenario that is built in, or else one from a file.
fn named_scenario(path: &Path) -> Result<Scenario, Failure> {
    let library = Scenario::library().map_err(Failure::bug)?;
    let names: Vec<&str> = library.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    if let Some((_, scenario)) = library.into_iter().find(|(name, _)| path.as_os_str() == *name) {
        return Ok(scenario);
    }
    // A word alone is a name, unless there is such a file.
    if path.extension().is_none() && path.components().count() == 1 && !path.exists() {
        return Err(Failure::usage(format_args!(
            "no scenario is called {}, and there is no such file; there are {names}",
            path.display()
        )));
    }
    read_scenario(path)
}

pub(in crate::cli) fn read_scenario(path: &Path) -> Result<Scenario, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", path.display())))?;
    Scenario::parse(&text).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))
}
