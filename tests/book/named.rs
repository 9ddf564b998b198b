//! Commands that a page names without running them, held against what the program says of itself.

use std::collections::BTreeMap;
use std::process::Command;

/// What stands in single backquotes, or on a line that is indented or fenced, and begins with the program's name; as far as the
/// next `|`, where another alternative begins.
pub fn commands(text: &str) -> Vec<String> {
    let (mut found, mut is_fenced) = (Vec::new(), false);
    for line in text.lines() {
        is_fenced ^= line.starts_with("```");
        let code: Vec<&str> = match line.trim_start().trim_start_matches("$ ") {
            bare if bare.starts_with("phasewatch ") && (is_fenced || line.starts_with("    ")) => vec![bare],
            _ => line.split('`').skip(1).step_by(2).collect(),
        };
        let own = code.into_iter().filter(|code| code.starts_with("phasewatch "));
        found.extend(own.map(|code| {
            code.split(['|', '#', '>', ';', '`']).next().unwrap().trim_end_matches('\\').to_owned()
        }));
    }
    found
}

/// What the program says of each of its commands, asked once.
#[derive(Default)]
pub struct Help(BTreeMap<String, Option<String>>);

impl Help {
    fn of(&mut self, command: &[&str]) -> Option<&str> {
        let known = self.0.entry(command.join(" ")).or_insert_with(|| {
            let output =
                Command::new(env!("CARGO_BIN_EXE_phasewatch")).args(command).arg("--help").output().unwrap();
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        });
        known.as_deref()
    }

    /// What a command has that the program does not know.
    pub fn lacks(&mut self, command: &str) -> Option<String> {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let is_name = |word: &str| word.chars().all(|c| c.is_ascii_lowercase());
        let names: Vec<&str> = words.iter().copied().take_while(|word| is_name(word)).take(2).collect();
        let Some(first) = names.first() else { return self.unknown(&[], &words) };
        let Some(help) = self.of(&[*first]) else { return Some(format!("there is no {first}")) };
        let has_second = names.get(1).is_some_and(|second| {
            let listed = help.split("Commands:").nth(1).unwrap_or_default();
            listed.lines().any(|line| line.split_whitespace().next() == Some(second))
        });
        let depth = if has_second { 2 } else { 1 };
        self.unknown(&names[..depth], &words)
    }

    fn unknown(&mut self, command: &[&str], words: &[&str]) -> Option<String> {
        let help = self.of(command)?;
        let options: Vec<&str> = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        let bare = |word: &str| {
            word.trim_start_matches('[').split([']', '=', ',', ')']).next().unwrap_or_default().to_owned()
        };
        let given =
            words.iter().map(|word| bare(word)).filter(|word| word.starts_with("--") && word.len() > 2);
        let unknown: Vec<String> = given.filter(|option| !options.contains(&option.as_str())).collect();
        (!unknown.is_empty()).then(|| format!("no such option: {}", unknown.join(" ")))
    }
}

#[test]
fn commands_are_found_in_code_alone() {
    let text = "Say `phasewatch run --config F`, or `x`.\n    phasewatch archive list | show\nphasewatch is a daemon\n";
    assert_eq!(commands(text), ["phasewatch run --config F", "phasewatch archive list "]);
}
