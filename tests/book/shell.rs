//! Runs the blocks of a page in one shell, in a folder of its own, with free ports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::pages::{How, Page};

/// Where the package puts things; below the folder of the page here.
const INSTALLED: [&str; 2] = ["/var/lib/phasewatch", "/etc/phasewatch"];
/// What hidden lines may use beside the block that was last put into the background: `$last` is what it printed.
const PRELUDE: &str = r#"set -eu
last=''
until_true() {  # looks until a command succeeds
    for _ in $(seq 300); do if "$@" > /dev/null 2>&1; then return; fi; sleep 0.1; done
    echo "never: $*"; return 1
}
end_last() {  # sends a signal to the programs of that block
    local children; children=$(cat "/proc/$last_pid/task/$last_pid/children")
    kill -"$1" ${children:-$last_pid}
}
"#;
/// Far more than any page takes.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs a page. What goes wrong is told with the line of the block.
pub fn run(page: &Page, repository: &Path, python: Option<&Path>) -> Result<(), String> {
    if page.blocks.iter().all(|block| matches!(block.how, How::NotRun(_) | How::Hidden)) {
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book-pages").join(page.name.replace('/', "-"));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_phasewatch"), folder.join("bin/phasewatch")).unwrap();
    // Who runs the test may do here what takes root at a beamline.
    let sudo = folder.join("bin/sudo");
    std::fs::write(&sudo, "#!/bin/sh\nexec \"$@\"\n").unwrap();
    std::fs::set_permissions(&sudo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // An answer that is an error is an error.
    std::fs::write(folder.join(".curlrc"), "fail\nsilent\nshow-error\n").unwrap();
    for name in ["config", "examples", "docs", "proto", "deploy"] {
        std::os::unix::fs::symlink(repository.join(name), folder.join(name)).unwrap();
    }
    let mut ports = Ports::default();
    let script = ports.exchange(&script(page, &folder, python));
    let script = INSTALLED.iter().fold(script, |script, place| {
        let here = format!("{}{place}", folder.display());
        std::fs::create_dir_all(&here).unwrap();
        script.replace(place, &here)
    });
    // What a page does not say itself is not to meet another page.
    let (http, publish) = (ports.exchange("127.0.0.1:8787"), ports.exchange("tcp://127.0.0.1:5556"));
    std::fs::write(folder.join("page.sh"), script).unwrap();
    let said = std::fs::File::create(folder.join("said.txt")).unwrap();
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    ports.release();
    let mut child = Command::new("bash")
        .arg("page.sh")
        .current_dir(&folder)
        .env("PATH", path)
        .env("CURL_HOME", &folder)
        .env("PYTHONUNBUFFERED", "1")
        .env("PHASEWATCH__HTTP__LISTEN", http)
        .env("PHASEWATCH__PUBLISH__BIND", publish)
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .process_group(0)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            break None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    // Whatever it left behind is of its group; where nothing is left there is nobody to be told.
    let group = format!("-{}", child.id());
    drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
    drop(child.wait());
    let said = std::fs::read_to_string(folder.join("said.txt")).unwrap();
    match ended {
        Some(status) if status.success() => {
            drop(std::fs::remove_dir_all(&folder));
            Ok(())
        }
        Some(status) => Err(format!("{}: {status}\n{said}", page.name)),
        None => Err(format!("{}: not done after {PATIENCE:?}\n{said}", page.name)),
    }
}

/// All blocks as one script.
fn script(page: &Page, folder: &Path, python: Option<&Path>) -> String {
    let mut script = PRELUDE.to_owned();
    for block in &page.blocks {
        if matches!(block.how, How::NotRun(_)) || (block.is_python && python.is_none()) {
            continue;
        }
        let place = format!("{}:{}", page.name, block.line);
        let text = match python {
            Some(python) if block.is_python => {
                let name = format!("block-{}.py", block.line);
                format!(
                    "cat > {name} <<'END_OF_BLOCK'\n{}\nEND_OF_BLOCK\n{} {name}",
                    block.text,
                    python.display()
                )
            }
            _ => block.text.clone(),
        };
        writeln!(script, "echo '== {place}'").unwrap();
        match block.how {
            How::Ends(0) | How::Hidden => writeln!(script, "{text}").unwrap(),
            How::Ends(code) => writeln!(
                script,
                "set +e\n(\n{text}\n)\ncode=$?\nset -e\n[ $code = {code} ] || {{ echo \"ended with $code\"; exit 1; }}"
            )
            .unwrap(),
            How::Background => {
                let log = folder.join(format!("block-{}.log", block.line));
                writeln!(script, "(\n{text}\n) > {log:?} 2>&1 &\nlast={log:?}; last_pid=$!").unwrap();
            }
            How::NotRun(_) => {}
        }
    }
    script
}

/// Free ports for those that a page names.
#[derive(Default)]
struct Ports {
    held: Vec<TcpListener>,
    free: BTreeMap<String, u16>,
}

impl Ports {
    /// Every `127.0.0.1:PORT` with a port that is free; the same for the same.
    fn exchange(&mut self, text: &str) -> String {
        let mut parts = text.split("127.0.0.1:");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            let (port, rest) = part.split_at(digits);
            out.push_str("127.0.0.1:");
            if port.is_empty() || port == "0" {
                out.push_str(port);
            } else {
                write!(out, "{}", self.of(port)).unwrap();
            }
            out.push_str(rest);
        }
        out
    }

    fn of(&mut self, port: &str) -> u16 {
        if let Some(free) = self.free.get(port) {
            return *free;
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let free = listener.local_addr().unwrap().port();
        self.held.push(listener);
        self.free.insert(port.to_owned(), free);
        free
    }

    fn release(&mut self) {
        self.held.clear();
    }
}

#[test]
fn a_port_is_exchanged_for_the_same_one_everywhere() {
    let mut ports = Ports::default();
    let out = ports.exchange("tcp://127.0.0.1:5555 127.0.0.1:5555/x 127.0.0.1:0 127.0.0.1:6666");
    let words: Vec<&str> = out.split(' ').collect();
    let free = words[0].strip_prefix("tcp://127.0.0.1:").unwrap();
    assert_eq!(words[1], format!("127.0.0.1:{free}/x"));
    assert!(words[2] == "127.0.0.1:0" && words[3] != format!("127.0.0.1:{free}") && free != "5555");
}
