//! The command line: one file per subcommand, and the exit codes they share.
//!
//! 0 done; 64 usage or configuration; 65 bad data; 69 something needed is unavailable; 70 a bug of ours.
//! Standard output carries results, standard error progress, warnings and errors.

mod advise;
pub mod alerts;
mod allocator;
mod archive;
mod classify;
mod completions;
pub mod config;
mod demo;
mod doctor;
mod dose;
mod evaluate;
mod health;
pub mod model;
pub mod references;
mod replay;
mod report;
mod run;
pub mod simulate;
mod sniff;
mod tee;
pub mod train;
mod watch;

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::recording::Recording;
use crate::telemetry::LogFormat;

/// Live chemical phase maps for scanning transmission X-ray microscopes.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub struct Cli {
    /// How log lines look on standard error; wins over the configuration's [log] format.
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormat>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole thing on this machine: a simulated or recorded scan, mapped live.
    Demo(demo::DemoArgs),
    /// The daemon: listen to the beamline, map, publish, archive.
    Run(run::RunArgs),
    /// Map a recorded stack, with the same stages and without sockets.
    Classify(classify::ClassifyArgs),
    /// Check a configuration, or show what is in effect.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: config::ConfigCommand,
    },
    /// Whether this machine is ready for the daemon: configuration, ports, model, references, disk, clock, permissions.
    Doctor(doctor::DoctorArgs),
    /// Look at reference spectra, or convert them.
    References {
        /// What to do with them.
        #[command(subcommand)]
        command: references::ReferencesCommand,
    },
    /// Publish a simulated or recorded scan over stxm-stream/1, with faults on demand.
    Simulate(Box<simulate::SimulateArgs>),
    /// Map once more what a journal or a recording of the wire holds: the same bytes, at once or at the pace of the microscope.
    Replay(Box<replay::ReplayArgs>),
    /// Listen to an address: which format speaks there, which scans it tells of, what is wrong with them.
    Sniff(sniff::SniffArgs),
    /// Stand between one PUSH and many receivers, and give each of them every message.
    Tee(tee::TeeArgs),
    /// List, show and verify what is archived.
    Archive(archive::ArchiveArgs),
    /// What the archived scans of a sample say, on one page: particles, boundaries, kinetics, dose.
    Report(report::ReportArgs),
    /// Test where alerts go.
    Alerts {
        /// What to do with them.
        #[command(subcommand)]
        command: alerts::AlertsCommand,
    },
    /// What the page shows, in a terminal: the map, shares, progress, alerts.
    Watch(watch::WatchArgs),
    /// Train a GMVAE for a set of references and export it as ONNX.
    Train(train::TrainArgs),
    /// Which energies to plan for these references, and what following the live advice saves.
    Advise(advise::AdviseArgs),
    /// What a planned scan will deposit, and which settings would halve that at what cost in accuracy.
    Dose(Box<dose::DoseArgs>),
    /// Measure what the maps are worth, on drawn scans with known answers or on a recorded stack.
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Ask a running daemon whether it is alive, or ready: exit code 0 or 69.
    Health(health::HealthArgs),
    /// Completions for a shell, on standard output.
    Completions(completions::CompletionsArgs),
    /// Pages for man, one for each command.
    Man(completions::ManArgs),
    /// Check or run an ONNX model.
    Model {
        /// What to do with it.
        #[command(subcommand)]
        command: model::ModelCommand,
    },
}

/// Why a command failed: its exit code, and what to tell the person.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Exit code, as `sysexits.h` has them.
    pub code: u8,
    /// What went wrong, where, and what to do.
    pub message: String,
}

impl Failure {
    /// Wrong usage or configuration: exit code 64.
    #[must_use]
    pub fn usage(message: impl Display) -> Self {
        Self { code: 64, message: message.to_string() }
    }

    /// Bad data: exit code 65.
    #[must_use]
    pub fn data(message: impl Display) -> Self {
        Self { code: 65, message: message.to_string() }
    }

    /// Something needed is not there: exit code 69.
    #[must_use]
    pub fn unavailable(message: impl Display) -> Self {
        Self { code: 69, message: message.to_string() }
    }

    /// A bug of ours: exit code 70.
    #[must_use]
    pub fn bug(message: impl Display) -> Self {
        Self { code: 70, message: message.to_string() }
    }
}

/// Reads a recorded stack, and says what was assumed where its file is silent.
fn load_recording(path: &Path) -> Result<Recording, Failure> {
    let recording = Recording::load(path).map_err(Failure::data)?;
    recording.warnings.iter().for_each(|warning| say(format_args!("{}: {warning}", path.display())));
    Ok(recording)
}

/// Parses the command line, runs the command and tells how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors, too; they go to standard output and are a success.
            let code = if error.use_stderr() { 64 } else { 0 };
            return match error.print() {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::from(69),
                _ => ExitCode::from(code),
            };
        }
    };
    if let Command::Run(_) | Command::Demo(_) | Command::Replay(_) | Command::Tee(_) = cli.command {
        allocator::return_large_blocks();
    }
    match run(cli.command, cli.log_format) {
        Ok(()) if OUTPUT_LOST.load(Ordering::Relaxed) => ExitCode::from(69),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("phasewatch: {failure}"));
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command, log_format: Option<LogFormat>) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(&args, log_format),
        Command::Run(args) => run::run(&args, log_format),
        Command::Classify(args) => classify::run(&args),
        Command::Config { command } => config::run(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::References { command } => references::run(&command),
        Command::Replay(args) => replay::run(&args, log_format),
        Command::Simulate(args) => simulate::run(&args),
        Command::Sniff(args) => sniff::run(&args),
        Command::Tee(args) => tee::run(&args, log_format),
        Command::Archive(args) => archive::run(args),
        Command::Report(args) => report::run(args),
        Command::Alerts { command } => alerts::run(&command),
        Command::Watch(args) => watch::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Advise(args) => advise::run(&args),
        Command::Dose(args) => dose::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
        Command::Model { command } => model::run(&command),
    }
}

/// Whether results could not be written, for another reason than that nobody reads them.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Tells the person at the terminal something, on standard error. Where nobody listens there, nothing is said.
pub fn say(message: impl Display) {
    drop(writeln!(std::io::stderr(), "{message}"));
}

/// Prints a line of result on standard output.
///
/// A reader that has enough and closes the pipe (`phasewatch config show | head -1`) is no error: the command does the
/// rest of its work in silence. Output that is lost otherwise, on a full disk, say, is told once, and makes the
/// command fail with 69.
pub fn print(line: impl Display) {
    print_to(&mut std::io::stdout().lock(), line, &OUTPUT_LOST);
}

fn print_to(out: &mut impl Write, line: impl Display, lost: &AtomicBool) {
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) if !lost.swap(true, Ordering::Relaxed) => {
            say(format_args!("phasewatch: writing to standard output: {error}"));
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_loss_and_a_full_disk_is() {
        let lost = AtomicBool::new(false);
        print_to(&mut Fails(ErrorKind::BrokenPipe), "line", &lost);
        assert!(!lost.load(Ordering::Relaxed));
        print_to(&mut Fails(ErrorKind::StorageFull), "line", &lost);
        assert!(lost.load(Ordering::Relaxed));
        let mut out = Vec::new();
        print_to(&mut out, 12, &lost);
        assert_eq!(out, b"12\n");
    }
}
