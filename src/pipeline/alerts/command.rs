//! A program that is run for an alert: never through a shell, with fixed arguments, the alert as JSON on standard input, and what
//! most programs need of it in the environment.
//!
//! It sees only a few variables, so that a secret of ours does not end in its log. It leads a process group, which is killed as a
//! whole when it takes too long or the daemon stops. What it says on standard error is told where it fails; what it says on
//! standard output is not read.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, Command};

use super::output::Answer;
use crate::damage::Level;
use crate::damage::desk::Parcel;
use crate::settings::CommandSettings;

/// Variables that every program gets.
const USUAL: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ"];
/// Most that is kept of what it says.
const MOST_SAID: usize = 400;
/// How long the rest of what it said is waited for once it has ended: something that it started may hold it open.
const REST: Duration = Duration::from_millis(200);

/// A command, ready to be run.
#[derive(Debug)]
pub struct CommandOutput {
    pub(super) name: String,
    pub(super) min_level: Level,
    program: PathBuf,
    args: Vec<String>,
    variables: Variables,
    timeout: Duration,
}

/// Their values may be secret.
struct Variables(Vec<(String, String)>);

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl CommandOutput {
    /// Takes the values of variables from `variable`.
    pub(super) fn new(settings: &CommandSettings, variable: impl Fn(&str) -> Option<String>) -> Self {
        let names = USUAL.into_iter().chain(settings.pass_env.iter().map(String::as_str));
        let variables = names.filter_map(|name| Some((name.to_owned(), variable(name)?))).collect();
        Self {
            name: settings.name.clone(),
            min_level: settings.min_level,
            program: settings.program.clone(),
            args: settings.args.clone(),
            variables: Variables(variables),
            timeout: Duration::from_secs_f64(settings.timeout_s),
        }
    }

    pub(super) async fn deliver(&self, parcel: &Parcel) -> Answer {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.variables.0.iter().map(|(name, value)| (name, value)))
            .envs(about(parcel))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Answer::failed(format!("{}: {error}", self.program.display()), None),
        };
        let mut group = Group(child.id());
        let input = parcel.header().to_string();
        let run = tokio::time::timeout(self.timeout, run(&mut child, input)).await;
        if let Ok(Ok(_)) = run {
            // It has ended, and its number may be another's soon. What it left behind, it left on purpose.
            group.0 = None;
        }
        match run {
            Ok(Ok((status, _))) if status.success() => Answer::delivered("exit code 0"),
            Ok(Ok((status, said))) => Answer::failed(format!("{}{said}", words(status)), None),
            Ok(Err(error)) => Answer::failed(error.to_string(), None),
            Err(_) => {
                Answer::failed(format!("not done after {} s, and killed", self.timeout.as_secs_f64()), None)
            }
        }
    }
}

/// Kills a process group when it is dropped before its leader has ended.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // Nobody is left of most: that is no error.
            _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn run(child: &mut Child, input: String) -> std::io::Result<(ExitStatus, String)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not care to read is a good one, too.
            drop(stdin.write_all(input.as_bytes()).await);
        }
    };
    let mut said = Vec::new();
    let status = {
        let read = read(stderr, &mut said);
        tokio::pin!(read);
        let ended = async { tokio::join!(write, child.wait()).1 };
        tokio::pin!(ended);
        tokio::select! {
            status = &mut ended => {
                drop(tokio::time::timeout(REST, &mut read).await);
                status?
            }
            // It closed standard error and goes on.
            () = &mut read => ended.await?,
        }
    };
    let said = String::from_utf8_lossy(&said);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok((status, if said.is_empty() { said } else { format!(": {said}") }))
}

/// Reads to the end, and keeps the beginning.
async fn read(stderr: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        let room = MOST_SAID.saturating_sub(said.len());
        said.extend_from_slice(&chunk[..count.min(room)]);
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// What a short script wants to know without reading JSON.
fn about(parcel: &Parcel) -> Vec<(&'static str, String)> {
    let view = &parcel.view;
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    [
        ("PHASEWATCH_ALERT_ID", view.id.clone()),
        ("PHASEWATCH_ALERT_KEY", parcel.key.clone()),
        ("PHASEWATCH_ALERT_OCCASION", parcel.occasion.name().to_owned()),
        ("PHASEWATCH_ALERT_LEVEL", view.level.name().to_owned()),
        ("PHASEWATCH_ALERT_STATE", word(serde_json::to_value(view.state))),
        ("PHASEWATCH_ALERT_VERDICT", word(serde_json::to_value(view.verdict))),
        ("PHASEWATCH_ALERT_SCAN_ID", view.scan_id.clone()),
        ("PHASEWATCH_ALERT_SIGNAL", view.signal.clone()),
        ("PHASEWATCH_ALERT_TEXT", view.text.clone()),
        ("PHASEWATCH_ALERT_PICTURE", view.picture.clone().unwrap_or_default()),
        ("PHASEWATCH_ALERT_TEST", u8::from(view.test).to_string()),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use chrono::Utc;

    use super::super::sample::test_parcel;
    use super::*;
    use crate::damage::desk::Outcome;

    fn output(dir: &std::path::Path, script: &str, timeout_s: f64) -> CommandOutput {
        let program = dir.join("script");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let settings = CommandSettings {
            name: "script".into(),
            program,
            args: vec![dir.display().to_string(), "$(id) `id`; id".into()],
            pass_env: vec!["SITE".into()],
            min_level: Level::Notice,
            timeout_s,
        };
        let variable = |name: &str| match name {
            "PATH" => std::env::var(name).ok(),
            "SITE" => Some("here".to_owned()),
            _ => Some("s3cr3t".to_owned()),
        };
        CommandOutput::new(&settings, variable)
    }

    async fn answer(output: &CommandOutput) -> Answer {
        output.deliver(&test_parcel(Level::Critical, "a", Utc::now()).unwrap()).await
    }

    #[tokio::test]
    async fn it_gets_the_alert_and_its_arguments_as_they_are_and_few_variables() {
        let dir = tempfile::tempdir().unwrap();
        let script = "cat > \"$1/stdin\"; printf %s \"$2\" > \"$1/argument\"; env > \"$1/env\"";
        let output = output(dir.path(), script, 20.0);
        assert_eq!(answer(&output).await, Answer::delivered("exit code 0"));
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let alert: serde_json::Value = serde_json::from_str(&read("stdin")).unwrap();
        assert_eq!((&alert["level"], &alert["test"]), (&"critical".into(), &true.into()));
        assert_eq!(read("argument"), "$(id) `id`; id", "no shell looked at it");
        let env = read("env");
        assert!(env.contains("PHASEWATCH_ALERT_LEVEL=critical") && env.contains("SITE=here"), "{env}");
        assert!(!env.contains("CARGO"), "{env}");
    }

    #[tokio::test]
    async fn a_failure_is_told_with_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let failing = output(dir.path(), "echo no lamp >&2; exit 3", 20.0);
        assert_eq!(answer(&failing).await.said, "exit code 3: no lamp");
        let mut absent = output(dir.path(), "", 20.0);
        absent.program = dir.path().join("absent");
        assert!(matches!(answer(&absent).await.outcome, Outcome::Failed { .. }));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // The grandchild holds the pipe open as long as it lives.
        let script = "sleep 1000 > \"$1/fifo\" & wait";
        let output = output(dir.path(), script, 0.3);
        let reader = tokio::task::spawn_blocking(move || std::fs::read(&fifo));
        let said = answer(&output).await.said;
        assert_eq!(said, "not done after 0.3 s, and killed");
        assert!(reader.await.unwrap().unwrap().is_empty(), "its end is seen only when nobody holds the pipe");
    }
}
