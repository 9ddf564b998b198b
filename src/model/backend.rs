//! Which engine runs models: ONNX Runtime from its library, or the embedded tract.
//!
//! The choice is made once per process, before the engine is first used, and cannot be taken back: `ort` keeps one
//! table of functions for the whole process. Asking for another engine later is an error that says so.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use serde::{Deserialize, Serialize};

/// An engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// What is chosen already, else ONNX Runtime where its library is given or found, else tract.
    #[default]
    Auto,
    /// ONNX Runtime, from its shared library.
    OnnxRuntime,
    /// The embedded engine.
    Tract,
}

/// Name of the embedded engine.
pub(super) const EMBEDDED: &str = "tract";

/// An engine, and where its library is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendChoice {
    /// Which engine.
    pub backend: Backend,
    /// Path of libonnxruntime; without it `ORT_DYLIB_PATH` and the usual folders are looked at.
    pub library: Option<PathBuf>,
}

impl BackendChoice {
    /// The embedded engine.
    #[must_use]
    pub fn tract() -> Self {
        Self { backend: Backend::Tract, library: None }
    }
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The library is not there.
    #[error("there is no ONNX Runtime library at {}", .0.display())]
    NoFile(PathBuf),
    /// No library anywhere.
    #[error(
        "no ONNX Runtime library was found: give its path in model.library or in ORT_DYLIB_PATH, or use the backend `tract`"
    )]
    NotFound,
    /// Another engine was chosen before.
    #[error("this process runs models with {chosen} already and cannot change to {asked}")]
    AlreadyChosen {
        /// What runs.
        chosen: String,
        /// What was asked for.
        asked: String,
    },
    /// The engine does not start.
    #[error("{engine} does not start: {reason}")]
    Start {
        /// Which.
        engine: String,
        /// What it says.
        reason: String,
    },
}

/// An engine that is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Engine {
    Tract,
    OnnxRuntime(PathBuf),
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tract => f.write_str(EMBEDDED),
            Self::OnnxRuntime(path) => write!(f, "onnxruntime ({})", path.display()),
        }
    }
}

struct Running {
    engine: Engine,
    environment: Environment,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

/// Folders where a system-wide ONNX Runtime is usually installed.
const LIBRARY_FOLDERS: [&str; 6] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/onnxruntime/lib",
];

/// Starts the engine, or returns the one that runs; with its name for the record.
pub(super) fn start(choice: &BackendChoice) -> Result<(Environment, String), BackendError> {
    // Nothing below panics while it holds the lock; a poisoned one still has a sound value.
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(now) = running.as_ref()
        && choice.backend == Backend::Auto
        && choice.library.is_none()
    {
        return Ok((now.environment.clone(), now.engine.to_string()));
    }
    let (engine, demanded) = decide(choice)?;
    if let Some(now) = running.as_ref() {
        if now.engine == engine {
            return Ok((now.environment.clone(), engine.to_string()));
        }
        let (chosen, asked) = (now.engine.to_string(), engine.to_string());
        return Err(BackendError::AlreadyChosen { chosen, asked });
    }
    let (engine, environment) = match launch(&engine) {
        Ok(environment) => (engine, environment),
        Err(error) if !demanded && engine != Engine::Tract => {
            tracing::warn!(%error, "falling back to the embedded engine");
            (Engine::Tract, launch(&Engine::Tract)?)
        }
        Err(error) => return Err(error),
    };
    let name = engine.to_string();
    tracing::info!(engine = %name, "models run with this engine");
    *running = Some(Running { engine, environment: environment.clone() });
    Ok((environment, name))
}

/// The engine that `choice` means, and whether it was asked for rather than found.
fn decide(choice: &BackendChoice) -> Result<(Engine, bool), BackendError> {
    match (choice.backend, &choice.library) {
        (Backend::Tract, _) => Ok((Engine::Tract, true)),
        (_, Some(path)) => Ok((Engine::OnnxRuntime(existing(path)?), true)),
        (Backend::OnnxRuntime, None) => {
            find_library().map(|path| (Engine::OnnxRuntime(path), true)).ok_or(BackendError::NotFound)
        }
        (Backend::Auto, None) => Ok((find_library().map_or(Engine::Tract, Engine::OnnxRuntime), false)),
    }
}

/// A missing file must never reach the loader, which may block on it for ever.
fn existing(path: &Path) -> Result<PathBuf, BackendError> {
    match path.canonicalize() {
        Ok(found) if found.is_file() => Ok(found),
        _ => Err(BackendError::NoFile(path.to_owned())),
    }
}

fn find_library() -> Option<PathBuf> {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = LIBRARY_FOLDERS.iter().map(|folder| Path::new(folder).join("libonnxruntime.so"));
    named.into_iter().chain(usual).find_map(|path| existing(&path).ok())
}

fn launch(engine: &Engine) -> Result<Environment, BackendError> {
    let fail = |reason: String| BackendError::Start { engine: engine.to_string(), reason };
    let builder = match engine {
        Engine::Tract => {
            if !ort::set_api(ort_tract::api()) {
                return Err(fail("something else in this process chose an engine before".to_owned()));
            }
            ort::init()
        }
        Engine::OnnxRuntime(path) => ort::init_from(path).map_err(|error| fail(error.to_string()))?,
    };
    builder.with_name("phasewatch").with_telemetry(false).build().map_err(|error| fail(error.to_string()))
}
