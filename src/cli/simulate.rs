//! `phasewatch simulate`: publishes a simulated or recorded scan over `stxm-stream/1`.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::simulate::nvpf;

/// Options of `phasewatch simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Write the synthetic NVPF reference spectra into DIR, and do nothing else.
    #[arg(long, value_name = "DIR")]
    write_references: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What the exit codes of [`super::Failure`] tell apart.
pub fn run(args: &SimulateArgs) -> Result<(), Failure> {
    if let Some(dir) = &args.write_references {
        return nvpf::write(dir).map_err(|error| {
            Failure::unavailable(format_args!("cannot write into {}: {error}", dir.display()))
        });
    }
    Ok(())
}
