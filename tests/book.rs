//! Every command of the book and of the README is run, with the real program, and every link of the built book leads somewhere.
//!
//! A page is one shell, in a folder of its own. Blocks fenced as `sh`, `console` (its lines that begin with `$ `) and `python` run
//! in the order of the page. Ports after `127.0.0.1:` are exchanged for free ones. A comment right before a block says what is special:
//!
//! | comment | does |
//! |---|---|
//! | `<!-- norun: why -->` | the block is not run, and the test says why |
//! | `<!-- exit: 69 -->` | it has to end with this code |
//! | `<!-- background -->` | it goes on while the rest of the page runs, and is ended with the page |
//! | `<!-- prelude` … `-->` | hidden lines of shell, at this place |
//!
//! Python runs in the environment of `tests/python.rs`; `PHASEWATCH_SKIP_PYTHON=1` leaves its blocks out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "these are tests"
)]

#[path = "book/links.rs"]
mod links;
#[path = "book/named.rs"]
mod named;
#[path = "book/pages.rs"]
mod pages;
#[path = "book/shell.rs"]
mod shell;
#[path = "python/venv.rs"]
mod venv;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use pages::{Block, How, Page};

/// How many blocks may say that they cannot be run here.
const MOST_UNRUN: usize = 12;

static PYTHON: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| venv::environment("python", &venv::PACKAGES, &venv::ALONE));

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_command_runs() {
    let python = venv::interpreter(&PYTHON, &venv::PACKAGES);
    let only = std::env::var("PHASEWATCH_BOOK_PAGE").ok();
    let all = pages::all(repository());
    let chosen: Vec<&Page> = all
        .iter()
        .filter(|page| only.as_ref().is_none_or(|only| page.name.contains(only.as_str())))
        .collect();
    assert!(!chosen.is_empty(), "no page is called {only:?}");
    let (mut ran, mut unrun) = (0, Vec::new());
    for block in chosen.iter().flat_map(|page| page.blocks.iter().map(move |block| (page, block))) {
        let (page, Block { line, how, is_python, .. }) = block;
        match how {
            How::NotRun(why) => unrun.push(format!("{}:{line}: {why}", page.name)),
            How::Hidden => {}
            _ if *is_python && python.is_none() => {}
            _ => ran += 1,
        }
    }
    // Two at a time: what they do is mostly waiting.
    let queue = std::sync::Mutex::new(chosen.into_iter());
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            while let Some(page) = { queue.lock().unwrap().next() } {
                let began = std::time::Instant::now();
                failures.extend(shell::run(page, repository(), python).err());
                eprintln!("{:6.1} s  {}", began.elapsed().as_secs_f64(), page.name);
            }
            failures
        };
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    eprintln!("{ran} blocks were run; {} were not:\n  {}", unrun.len(), unrun.join("\n  "));
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(unrun.len() <= MOST_UNRUN, "too many blocks are not run");
    assert!(only.is_some() || python.is_none() || ran >= 40, "only {ran} blocks were found");
}

/// What is not fenced (synopses, tables, prose) is not run: of that, commands and options have to exist.
#[test]
fn every_command_that_is_named_exists() {
    let mut named = 0;
    let mut help = named::Help::default();
    let mut wrong = Vec::new();
    for page in pages::all(repository()) {
        let text = std::fs::read_to_string(repository().join(&page.name)).unwrap();
        for command in named::commands(&text) {
            named += 1;
            wrong.extend(help.lacks(&command).map(|what| format!("{}: `{command}`: {what}", page.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 150, "only {named} commands were found");
}

/// pyarrow makes the last word of a dictionary out of null, where the column is not cast: a phase out of background.
#[test]
fn no_python_takes_a_dictionary_as_it_is() {
    let root = repository();
    let mut files: Vec<PathBuf> = pages::all(root).iter().map(|page| root.join(&page.name)).collect();
    for folder in ["examples", "scripts", "tests/python"] {
        files.extend(std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let (mut cast, mut wrong) = (0, Vec::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "md" || kind == "py"))
    {
        for (line, text) in (1..).zip(std::fs::read_to_string(file).unwrap().lines()) {
            match text.split("].to_numpy()").count() + text.split("np.asarray(table[").count() - 2 {
                0 => cast += text.matches("].cast(\"string\").to_numpy()").count(),
                _ => wrong.push(format!("{}:{line}: {text}", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cast >= 4, "only {cast} places were found");
}

#[test]
fn every_page_of_the_documentation_is_in_the_book() {
    let all = pages::all(repository());
    let mut missing = Vec::new();
    for folder in ["docs", "docs/formats", "docs/reports", "proto"] {
        for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            if name.ends_with(".md") && !all.iter().any(|page| page.name == name) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/book/src/SUMMARY.md: {missing:?}");
}

#[test]
fn every_link_of_the_book_leads_somewhere() {
    let mdbook = std::env::var("MDBOOK").unwrap_or_else(|_| "mdbook".to_owned());
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    match std::process::Command::new(&mdbook)
        .args(["build", "docs/book", "--dest-dir"])
        .arg(&out)
        .current_dir(repository())
        .output()
    {
        Err(error) => eprintln!("SKIPPED: {mdbook} cannot be run: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !said.contains("WARN"), "{said}");
            let (links, broken) = links::check(&out);
            eprintln!("{links} links");
            assert!(broken.is_empty(), "{}", broken.join("\n"));
            assert!(links > 100, "only {links} links were found");
        }
    }
}
