//! Why the daemon cannot start.

use crate::journal::JournalError;
use crate::publish::zmq::PublisherError;
use crate::recording::RecordingError;
use crate::source::frames::FrameError;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A source.
    #[error("source {name:?}: {error}")]
    Source {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: FrameError,
    },
    /// The ZeroMQ output.
    #[error("{0}{advice}", advice = publish_advice(.0))]
    Publish(#[from] PublisherError),
    /// The HTTP listener.
    #[error("http.listen {address}: {error}{advice}", advice = port_advice(.error, "http.listen", "PHASEWATCH__HTTP__LISTEN"))]
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The journal.
    #[error("daemon.state_dir: {0}{advice}", advice = advice_of(.0))]
    Journal(#[from] JournalError),
    /// The I0 spectrum.
    #[error("i0.spectrum: {0}")]
    Spectrum(#[from] RecordingError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What to do about a port that another program has.
fn port_advice(error: &std::io::Error, key: &str, variable: &str) -> String {
    if error.kind() != std::io::ErrorKind::AddrInUse {
        return String::new();
    }
    format!(
        "; another program has this port (`ss -ltnp` says which): stop it, or take another with {key} in the configuration or \
         {variable} in the environment"
    )
}

fn publish_advice(error: &PublisherError) -> String {
    match error {
        PublisherError::Bind { error, .. } => port_advice(error, "publish.bind", "PHASEWATCH__PUBLISH__BIND"),
        PublisherError::Address(_) => String::new(),
    }
}

/// What to do about a state directory that cannot be used.
fn advice_of(error: &JournalError) -> &'static str {
    match error {
        JournalError::Io { .. } => {
            "; name a directory that can be made and written to and has room: without it a crash would lose the open scans"
        }
        _ => "",
    }
}
