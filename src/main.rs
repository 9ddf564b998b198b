//! The `phasewatch` command. All of it lives in the library, so that tests can call it.

use std::process::ExitCode;

fn main() -> ExitCode {
    phasewatch::cli::main()
}
