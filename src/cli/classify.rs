//! `phasewatch classify STACK`: the stages of the daemon over a file, without sockets.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use clap::Args;

use super::{Failure, load_recording, print, say};
use crate::archive::{self, ArchiveJob};
use crate::classify::{Oracle, PhaseMap, PosteriorModel, Status, settle};
use crate::model::Model;
use crate::pipeline::{archiver, backend, dose, findings_of, look_at_settled, monitor, recipe, settle_dose};
use crate::publish::picture;
use crate::recording::{Recording, select_energies};
use crate::reference::ReferenceSet;
use crate::scan::Outcome;
use crate::settings::Settings;
use crate::stack::Stack;

/// Arguments of `phasewatch classify`.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// An ALS .hdr, an NXstxm (.nxs) or Mantis (.hdf5) file, a stack.parquet of the archive, or the folder of an
    /// archived scan.
    stack: PathBuf,
    /// Directory of reference spectra.
    #[arg(long, value_name = "DIR")]
    references: PathBuf,
    /// ONNX model to ask about ambiguous pixels.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Use only these energies: eV values separated by commas (the nearest measured ones), or count:N.
    #[arg(long, value_name = "LIST")]
    energies: Option<String>,
    /// Folder that gets the result, as the folder of one archived scan.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Configuration file, for [i0], [classify] and [model].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Draw the map once more with the pixels that were not measured filled from their neighbours, and marked:
    /// phase_map_inpainted.png. The tables stay as they are.
    #[arg(long)]
    inpaint: bool,
}

/// Classifies a recorded stack.
///
/// # Errors
/// [`Failure`]: bad files, a model that breaks the contract.
pub(super) fn run(args: &ClassifyArgs) -> Result<(), Failure> {
    let settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    let references = Arc::new(ReferenceSet::load(&args.references).map_err(Failure::data)?);
    let mut recording = load_recording(&args.stack)?;
    if let Some(list) = &args.energies {
        let indices = select_energies(&recording.plan.energies_ev, list).map_err(Failure::usage)?;
        recording = recording.subset(&indices);
    }
    let recipe = recipe(&settings, Arc::clone(&references)).map_err(Failure::data)?;
    let mut oracle = match &args.model {
        None => None,
        Some(path) => Some(
            Model::open(path, &backend(&settings.model), Some(&references.sha256))
                .map(|model| Oracle::new(model, settings.model.batch))
                .map_err(|error| Failure::data(format_args!("{}: {error}", path.display())))?,
        ),
    };
    let stack = stack_of(&recording)?;
    let model = oracle.as_mut().map(|oracle| oracle as &mut dyn PosteriorModel);
    let mut settled = settle(&stack, &recipe, model);
    if let Some(failure) = &settled.model_failure {
        return Err(Failure::data(format_args!("the model failed: {failure}")));
    }
    let basis = settle_dose(&stack, &mut settled, &recipe, &dose(&settings), None);
    let seen = look_at_settled(&stack, &settled, &recipe, &monitor(&settings), basis.as_ref(), None);
    let spectra = archiver::spectra_of(&stack, &settled, recipe.absorption.max_od);
    let findings = findings_of(&stack, &settled, &recipe, dose(&settings).spot_nm);
    let job = ArchiveJob {
        stack: &stack,
        map: &settled.map,
        spectra: &spectra,
        findings: &findings,
        damage: seen.as_ref().and_then(|seen| seen.to_json().ok()),
        energies: archiver::energy_rows(&stack, &settled),
        outcome: Outcome::Complete,
        provisional: false,
        settings: serde_json::to_value(&settings).unwrap_or_default(),
        reopen: false,
        archived_at: Utc::now(),
    };
    let folder = archive::write_folder(&args.out, &job).map_err(Failure::unavailable)?;
    if args.inpaint {
        let path = folder.join("phase_map_inpainted.png");
        let picture = picture::inpainted_png(&settled.map).map_err(Failure::bug)?;
        std::fs::write(&path, picture).map_err(|error| {
            Failure::unavailable(format_args!("cannot write {}: {error}", path.display()))
        })?;
    }
    tell_map(&settled.map);
    say(format_args!("written to {}", folder.display()));
    Ok(())
}

/// The stack that a recording makes, as a live scan would have filled it.
pub(super) fn stack_of(recording: &Recording) -> Result<Stack, Failure> {
    let mut stack = Stack::new(recording.plan.clone());
    stack.note_seq(0);
    for (seq, batch) in recording.batches() {
        stack.note_seq(seq);
        stack.push(seq, &batch).map_err(Failure::data)?;
    }
    Ok(stack)
}

/// Prints what a map says as a whole.
pub(super) fn tell_map(map: &PhaseMap) {
    let counts = map.status_counts();
    let list: Vec<String> = Status::ALL
        .iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| format!("{count} {}", status.name()))
        .collect();
    print(format_args!("pixels: {}", list.join(", ")));
    for (label, fraction) in map.phases.iter().zip(map.fractions()) {
        print(format_args!("{:>6.1} %  {}", 100.0 * fraction, label.title));
    }
    for (name, value) in &map.origin.normalisation {
        say(format_args!("  {name}: {value}"));
    }
}
