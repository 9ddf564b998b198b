//! `phasewatch doctor`: whether this machine is ready for the daemon, and what to do where it is not.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, print};
use crate::doctor::{Grade, examine};

/// Arguments of `phasewatch doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The configuration file of the daemon.
    #[arg(long, value_name = "FILE", default_value = crate::settings::SYSTEM_FILE)]
    config: PathBuf,
    /// As JSON, one object for each check.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// 69 where something is bad.
pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let found = examine(&args.config);
    if args.json {
        print(serde_json::to_string_pretty(&found).map_err(Failure::bug)?);
    } else {
        for own in &found {
            print(format_args!("{:5}  {:13}  {}", own.grade.word(), own.what, own.seen));
            if let Some(advice) = &own.advice {
                print(format_args!("{:22}-> {advice}", ""));
            }
        }
    }
    let bad = found.iter().filter(|own| own.grade == Grade::Bad).count();
    if bad > 0 {
        let things = if bad == 1 { "thing is" } else { "things are" };
        return Err(Failure::unavailable(format_args!(
            "{bad} {things} bad; the daemon would not do its job"
        )));
    }
    Ok(())
}
