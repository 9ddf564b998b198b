//! Where simulated and recorded scans come from.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::SimulateArgs;
use super::spoken::DetectorArg;
use crate::cli::{Failure, load_recording};
use crate::recording::{Recording, select_energies};
use crate::scan::{DetectorKind, is_valid_id};
use crate::simulate::{Format, Microscope, ScanSource, Scenario, nvpf};

/// Where scans come from, read and checked.
pub(super) enum Scans {
    Simulated(Box<Scenario>),
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
        Ok(Self::Simulated(Box::new(scenario)))
    }

    /// Identifier of the scan with this number, from 1.
    pub(super) fn scan_id(
        &self,
        args: &SimulateArgs,
        number: u32,
        now: DateTime<Utc>,
    ) -> Result<String, Failure> {
        let base = match (&args.scan_id, self) {
            (Some(id), _) => id.clone(),
            (None, Self::Recorded(recording)) => recording.plan.scan_id.clone(),
            (None, Self::Simulated(scenario)) => {
                format!("sim-{}-{}", now.format("%Y%m%dT%H%M%S"), scenario.seed)
            }
        };
        let id = if args.repeat > 1 { format!("{base}-{number}") } else { base };
        let problem = "must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit";
        if is_valid_id(&id) {
            Ok(id)
        } else {
            Err(Failure::usage(format_args!("--scan-id {id:?} {problem}")))
        }
    }

    /// The source of one scan; what a simulated one really holds goes into the file of `--truth`.
    /// Where the beam does something to the specimen, the next one goes on from there.
    pub(super) fn source(
        &mut self,
        args: &SimulateArgs,
        scan_id: &str,
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
                    let text = serde_json::to_string(microscope.truth()).map_err(Failure::bug)?;
                    let problem = |error| {
                        Failure::unavailable(format_args!("cannot write {}: {error}", path.display()))
                    };
                    std::fs::write(path, text).map_err(problem)?;
                }
                if scenario.damage.is_some() {
                    **scenario = microscope.scenario_after();
                }
                Ok(ScanSource::Microscope(Box::new(microscope)))
            }
        }
    }
}

/// A scenario that is built in, or else one from a file.
fn named_scenario(path: &Path) -> Result<Scenario, Failure> {
    let library = Scenario::library().map_err(Failure::bug)?;
    let built_in = library.into_iter().find(|(name, _)| path.as_os_str() == *name);
    built_in.map_or_else(|| read_scenario(path), |(_, scenario)| Ok(scenario))
}

pub(in crate::cli) fn read_scenario(path: &Path) -> Result<Scenario, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", path.display())))?;
    Scenario::parse(&text).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))
}
