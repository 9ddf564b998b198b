//! `phasewatch completions SHELL` and `phasewatch man --out DIR`: what packages install beside the program, from the same words as `--help`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure, print};

/// Arguments of `phasewatch completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell they are for.
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `phasewatch man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory for the pages, one for each command; made where it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Prints completions for a shell.
///
/// # Errors
/// 70 if what was made is no text.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "phasewatch", &mut script);
    let script = String::from_utf8(script).map_err(Failure::bug)?;
    print(script.trim_end());
    Ok(())
}

/// Writes the pages for man.
///
/// # Errors
/// 69 if they cannot be written.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let failed = |error| Failure::unavailable(format_args!("{}: {error}", args.out.display()));
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.out).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        man(&ManArgs { out: dir.path().join("man1") }).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join("man1").join(name)).unwrap();
        assert!(page("phasewatch.1").contains(".TH"));
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let text = page(&format!("phasewatch-{}.1", command.get_name()));
            let about = command.get_about().unwrap().to_string();
            let first = about.split([' ', ',']).next().unwrap();
            assert!(text.contains(first), "{} does not say {about:?}", command.get_name());
        }
        assert!(page("phasewatch-config-check.1").contains("configuration file"));
    }

    #[test]
    fn every_shell_knows_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "phasewatch", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell} does not know {}", command.get_name());
            }
        }
    }
}
