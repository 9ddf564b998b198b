//! What a demo plays: references, model, settings, the scan and its truth.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::DemoArgs;
use crate::cli::{Failure, load_recording};
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;
use crate::settings::Settings;
use crate::simulate::{Microscope, ScanSource, Scenario, Truth, nvpf};

/// The model for the built-in references, trained by `phasewatch train`.
const NVPF_MODEL: &[u8] = include_bytes!("../../../config/models/nvpf.onnx");

/// Everything a demo needs before the daemon is built.
pub(super) struct Stage {
    pub title: String,
    pub settings: Settings,
    pub references: Arc<ReferenceSet>,
    pub source: ScanSource,
    pub plan: ScanPlan,
    pub truth: Option<Truth>,
}

impl Stage {
    pub(super) fn set(args: &DemoArgs, now: DateTime<Utc>) -> Result<Self, Failure> {
        let references = match &args.references {
            Some(dir) => ReferenceSet::load(dir).map_err(Failure::data)?,
            None => nvpf::reference_set(),
        };
        let model = match (&args.model, &args.references) {
            (Some(path), _) => Some(path.clone()),
            (None, None) => Some(write_model(&args.out)?),
            (None, Some(_)) => None,
        };
        let settings = settings(args, model.as_deref())?;
        let scan_id = format!("demo-{}", now.format("%Y%m%dT%H%M%SZ"));
        let (source, truth, title) = match &args.stack {
            Some(path) => {
                let mut recording = load_recording(path)?;
                let title = format!("replaying {} (recorded data)", path.display());
                recording.plan.scan_id = format!("{}-{scan_id}", recording.plan.scan_id);
                (ScanSource::Recording(Box::new(recording)), None, title)
            }
            None => {
                let mut scenario = Scenario::demo().map_err(Failure::bug)?;
                scenario.seed = args.seed.unwrap_or(scenario.seed);
                let microscope =
                    Microscope::new(scenario, &references, &scan_id, now).map_err(Failure::data)?;
                let truth = microscope.truth().clone();
                write_truth(&args.out, &truth)?;
                let title = "simulated microscope, synthetic NVPF references".to_owned();
                (ScanSource::Microscope(Box::new(microscope)), Some(truth), title)
            }
        };
        let plan = match &source {
            ScanSource::Microscope(microscope) => microscope.plan().clone(),
            ScanSource::Recording(recording) => recording.plan.clone(),
        };
        Ok(Self { title, settings, references: Arc::new(references), source, plan, truth })
    }
}

fn create(out: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(out)
        .map_err(|error| Failure::unavailable(format_args!("cannot create {}: {error}", out.display())))
}

/// The model is loaded from a file, as the daemon does; a file of the demo's own, that nobody edits.
fn write_model(out: &Path) -> Result<PathBuf, Failure> {
    create(out)?;
    let path = out.join("nvpf.onnx");
    std::fs::write(&path, NVPF_MODEL)
        .map_err(|error| Failure::unavailable(format_args!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}

fn write_truth(out: &Path, truth: &Truth) -> Result<(), Failure> {
    create(out)?;
    let path = out.join(format!("{}.truth.json", truth.scan_id));
    let text = serde_json::to_vec(truth).map_err(Failure::bug)?;
    std::fs::write(&path, text)
        .map_err(|error| Failure::unavailable(format_args!("cannot write {}: {error}", path.display())))
}

/// The usual port where it is free, else any.
pub(in crate::cli) fn port(usual: u16) -> u16 {
    TcpListener::bind(("127.0.0.1", usual)).map_or(0, |_| usual)
}

fn settings(args: &DemoArgs, model: Option<&Path>) -> Result<Settings, Failure> {
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let out = std::path::absolute(&args.out).map_err(Failure::usage)?;
    let mut text = format!(
        "[daemon]\nstate_dir = {}\n[[source]]\nname = \"demo\"\nkind = \"stxm-stream\"\nsocket = \"pull\"\n\
         bind = \"tcp://127.0.0.1:0\"\n[publish]\nbind = \"tcp://127.0.0.1:{}\"\n\
         [http]\nlisten = \"127.0.0.1:{}\"\n[archive]\nroot = {}\n",
        quoted(&out.join("state")),
        port(5556),
        port(8787),
        quoted(&out.join("archive")),
    );
    if let Some(model) = model {
        let model = std::path::absolute(model).map_err(Failure::usage)?;
        text.push_str(&format!("[model]\npath = {}\n", quoted(&model)));
    }
    let variables = std::env::vars().filter(|(name, _)| name.starts_with("PHASEWATCH__"));
    Settings::from_layers(&[(out.join("demo.toml"), text)], variables).map_err(Failure::usage)
}
