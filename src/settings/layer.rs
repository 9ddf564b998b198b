//! The layers of settings, merged: for each key the value that wins and where it came from.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Origin, SettingsError};
use super::keys::{KEYS, Kind};
use crate::document::{self, Node, Value};

/// What every variable of ours begins with.
const PREFIX: &str = "PHASEWATCH__";

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Values by key, `section.key`, and `source` for the list of sources.
pub(super) type Layers = BTreeMap<String, Found>;

/// Lays a document over `layers`; `path` is `None` for the built-in defaults.
pub(super) fn add_file(layers: &mut Layers, path: Option<&Path>, text: &str) -> Result<(), SettingsError> {
    let origin = |line| match path {
        Some(path) => Origin::File { path: path.to_owned(), line },
        None => Origin::Default,
    };
    let document = document::parse(text).map_err(|error| SettingsError::Syntax {
        path: path.unwrap_or(Path::new("default.toml")).to_owned(),
        line: error.line,
        message: error.message,
    })?;
    for (section, Node { line, value }) in document {
        if section == "source" {
            layers.insert(section, Found { value, origin: origin(line) });
            continue;
        }
        check_section(&section, &origin(line))?;
        let Value::Table(table) = value else {
            return Err(SettingsError::Value {
                origin: origin(line),
                allowed: format!("it is {}, but has to be a section, [{section}]", value.kind()),
                value: shown(&value),
                key: section,
            });
        };
        for (name, Node { line, value }) in table {
            check_key(&section, &name, &origin(line))?;
            layers.insert(format!("{section}.{name}"), Found { value, origin: origin(line) });
        }
    }
    Ok(())
}

/// Lays environment variables over `layers`; those without our prefix are ignored.
pub(super) fn add_environment(
    layers: &mut Layers,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(), SettingsError> {
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else { continue };
        let origin = Origin::Environment { name };
        if path == "source" {
            layers.insert(path, Found { value: toml_value(&text), origin });
            continue;
        }
        let (section, key) = path.split_once("__").unwrap_or((&path, ""));
        check_section(section, &origin)?;
        let kind = check_key(section, key, &origin)?;
        let value = if kind == Kind::Text { Value::Text(text) } else { toml_value(&text) };
        layers.insert(format!("{section}.{key}"), Found { value, origin });
    }
    Ok(())
}

/// The value a text stands for in TOML; what is no TOML stays a text, and is refused where a number is wanted.
fn toml_value(text: &str) -> Value {
    document::parse(&format!("value = {text}"))
        .ok()
        .filter(|document| document.len() == 1)
        .and_then(|mut document| document.remove("value"))
        .map_or_else(|| Value::Text(text.to_owned()), |node| node.value)
}

fn check_section(section: &str, origin: &Origin) -> Result<(), SettingsError> {
    if KEYS.iter().any(|key| key.0 == section) {
        return Ok(());
    }
    let mut known: Vec<&str> = KEYS.iter().map(|key| key.0).chain(["source"]).collect();
    known.dedup();
    // Whoever forgot the section is helped, too.
    let meant = KEYS.iter().find(|key| key.1 == section);
    Err(match meant {
        Some((right, ..)) => SettingsError::UnknownKey {
            origin: origin.clone(),
            key: section.to_owned(),
            hint: format!("did you mean {right}.{section}?"),
        },
        None => unknown(origin, "", section, &known),
    })
}

fn check_key(section: &str, name: &str, origin: &Origin) -> Result<Kind, SettingsError> {
    if let Some(key) = KEYS.iter().find(|key| (key.0, key.1) == (section, name)) {
        return Ok(key.2);
    }
    let known: Vec<&str> = KEYS.iter().filter(|key| key.0 == section).map(|key| key.1).collect();
    Err(unknown(origin, &format!("{section}."), name, &known))
}

/// The error about an unknown key, with the nearest known one.
pub(super) fn unknown(origin: &Origin, prefix: &str, name: &str, known: &[&str]) -> SettingsError {
    let hint = match document::nearest(name, known.iter().copied()) {
        Some(nearest) => format!("did you mean {}?", spelt(origin, prefix, nearest)),
        None => format!("known here: {}", known.join(", ")),
    };
    SettingsError::UnknownKey { origin: origin.clone(), key: format!("{prefix}{name}"), hint }
}

fn spelt(origin: &Origin, prefix: &str, name: &str) -> String {
    match origin {
        Origin::Environment { .. } => {
            format!("{PREFIX}{}", format!("{prefix}{name}").replace('.', "__").to_ascii_uppercase())
        }
        Origin::Default | Origin::File { .. } => format!("{prefix}{name}"),
    }
}

/// A value as it is shown in errors: at most 80 characters.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_toml().to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(79).chain(['…']).collect() }
}
