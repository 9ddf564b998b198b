//! The pages of the book, in its order, and what is to be run of them.

use std::path::Path;

/// What becomes of a block.
#[derive(Debug, PartialEq, Eq)]
pub enum How {
    /// It has to end with this code.
    Ends(i32),
    /// It goes on while the rest of the page runs.
    Background,
    /// It is run, and no reader sees it.
    Hidden,
    /// It cannot be run in a test, and why.
    NotRun(String),
}

/// Some lines to be run.
#[derive(Debug)]
pub struct Block {
    /// Where it begins, from 1.
    pub line: usize,
    pub is_python: bool,
    pub how: How,
    pub text: String,
}

/// A page, by its path in the repository.
#[derive(Debug)]
pub struct Page {
    pub name: String,
    pub blocks: Vec<Block>,
}

/// README.md, and all that SUMMARY.md names.
pub fn all(repository: &Path) -> Vec<Page> {
    let source = repository.join("docs/book/src");
    let summary = std::fs::read_to_string(source.join("SUMMARY.md")).unwrap();
    let targets = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut pages = vec![read(repository, &repository.join("README.md"))];
    pages.extend(targets.map(|target| read(repository, &source.join(target))));
    pages
}

fn read(repository: &Path, path: &Path) -> Page {
    // A page that is a link counts as what it leads to.
    let path = path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = path.strip_prefix(repository.canonicalize().unwrap()).unwrap().display().to_string();
    let text = std::fs::read_to_string(&path).unwrap();
    Page { blocks: blocks(&name, &text), name }
}

/// The blocks of a page.
fn blocks(name: &str, text: &str) -> Vec<Block> {
    let (mut blocks, mut next) = (Vec::new(), None);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line_number = index + 1;
        if line == "<!-- prelude" {
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "-->");
            let text = text.collect::<Vec<_>>().join("\n");
            blocks.push(Block { line: line_number, is_python: false, how: How::Hidden, text });
        } else if let Some(comment) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            if comment.starts_with("place: ") {
                continue; // What is still to be written here.
            }
            next = Some(match comment.split_once(": ") {
                Some(("norun", why)) => How::NotRun(why.to_owned()),
                Some(("exit", code)) => How::Ends(code.parse().unwrap()),
                None if comment == "background" => How::Background,
                _ => panic!("{name}:{line_number}: {comment:?} says nothing known"),
            });
        } else if let Some(kind) = line.strip_prefix("```") {
            let text: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let how = next.take().unwrap_or(How::Ends(0));
            let block = |text, is_python| Block { line: line_number, is_python, how, text };
            match kind {
                "sh" => blocks.push(block(text.join("\n"), false)),
                "console" => blocks.push(block(prompted(&text), false)),
                "python" => blocks.push(block(text.join("\n"), true)),
                _ => {}
            }
        } else if !line.trim().is_empty() {
            assert!(next.is_none(), "{name}:{line_number}: a comment for a block stands before none");
        }
    }
    blocks
}

/// The commands of a session that is shown with what it printed.
fn prompted(lines: &[&str]) -> String {
    let commands: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("$ ")).collect();
    commands.join("\n")
}

#[test]
fn blocks_are_found_with_what_is_said_of_them() {
    let text = "a\n<!-- norun: takes root -->\n```sh\nreboot\n```\n<!-- prelude\nx=1\n-->\n```console\n$ echo $x\n1\n```\n\
                <!-- exit: 3 -->\n\n```python\nexit(3)\n```\n```toml\n$ no\n```\n";
    let found = blocks("page", text);
    let seen: Vec<_> =
        found.iter().map(|block| (block.line, block.is_python, &block.how, block.text.as_str())).collect();
    let why = How::NotRun("takes root".to_owned());
    let expected = [
        (3, false, &why, "reboot"),
        (6, false, &How::Hidden, "x=1"),
        (9, false, &How::Ends(0), "echo $x"),
        (15, true, &How::Ends(3), "exit(3)"),
    ];
    assert_eq!(seen, expected);
}
