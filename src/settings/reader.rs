//! Takes typed values out of the merged layers, and notes what it handed out.

use std::path::PathBuf;

use serde::Serialize;

use super::error::{Origin, SettingsError};
use super::layer::{Found, Layers, shown, unknown};
use crate::document::{self, Value};

/// A setting as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The key, such as `limits.open_scans` or `source[0].connect`.
    pub key: String,
    /// The value as TOML; `None` where it is not set.
    pub value: Option<String>,
    /// Where it came from: `default`, a file and line, or an environment variable.
    pub origin: String,
}

/// Reads values by key.
#[derive(Debug)]
pub(super) struct Reader {
    /// Before each key in errors, such as `source[0].`; empty at the top.
    prefix: String,
    values: Layers,
    effective: Vec<Effective>,
}

type Result<T> = std::result::Result<T, SettingsError>;

impl Reader {
    pub(super) fn new(prefix: String, values: Layers) -> Self {
        Self { prefix, values, effective: Vec::new() }
    }

    /// What was read so far, in the order of reading.
    pub(super) fn into_effective(self) -> Vec<Effective> {
        self.effective
    }

    /// Adds what another reader read.
    pub(super) fn extend_effective(&mut self, effective: Vec<Effective>) {
        self.effective.extend(effective);
    }

    /// The value of `key`, if there is one; an empty text is none.
    pub(super) fn find(&mut self, key: &str) -> Option<Found> {
        let found = self.values.get(key).filter(|found| found.value.text() != Some("")).cloned();
        self.effective.push(Effective {
            key: format!("{}{key}", self.prefix),
            value: found.as_ref().map(|found| found.value.to_toml().to_string()),
            origin: self.origin(key).to_string(),
        });
        found
    }

    /// As [`Reader::find`], for a value that may be a secret: that it is set is shown, not what it is.
    pub(super) fn find_secret(&mut self, key: &str) -> Option<Found> {
        let found = self.find(key);
        if let Some(noted) = self.effective.last_mut().filter(|noted| noted.value.is_some()) {
            noted.value = Some("(not shown)".to_owned());
        }
        found
    }

    /// As [`Reader::text`], for a value that may be a secret.
    pub(super) fn secret_text(&mut self, key: &str) -> Result<Option<String>> {
        let Some(found) = self.find_secret(key) else { return Ok(None) };
        match found.value {
            Value::Text(text) => Ok(Some(text)),
            _ => Err(self.refuse_unseen(key, "it must be a text in quotes")),
        }
    }

    /// A reader for each table of the list `key`, with `defaults` below what it says; none where there is no list.
    pub(super) fn tables(
        &mut self,
        key: &str,
        known: &[&str],
        defaults: &str,
        most: usize,
    ) -> Result<Vec<Self>> {
        let wanted = format!("it must be a list of at most {most} tables, [[{key}]]");
        let origin = self.origin(key);
        let Some(found) = self.find_secret(key) else { return Ok(Vec::new()) };
        let Value::Array(list) = found.value else { return Err(self.refuse_unseen(key, wanted)) };
        if list.len() > most {
            return Err(self.refuse_unseen(key, wanted));
        }
        // Its tables say for themselves what they are.
        self.effective.pop();
        let at = |line| match &origin {
            Origin::File { path, .. } => Origin::File { path: path.clone(), line },
            other => other.clone(),
        };
        let mut readers = Vec::new();
        for (index, node) in list.into_iter().enumerate() {
            let Value::Table(table) = node.value else { return Err(self.refuse_unseen(key, wanted)) };
            let prefix = format!("{}{key}[{index}].", self.prefix);
            let mut values = default_values(key, defaults)?;
            for (name, node) in table {
                if !known.contains(&name.as_str()) {
                    return Err(unknown(&at(node.line), &prefix, &name, known));
                }
                values.insert(name, Found { value: node.value, origin: at(node.line) });
            }
            readers.push(Self::new(prefix, values));
        }
        Ok(readers)
    }

    /// Where the value of `key` came from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Default, |found| found.origin.clone())
    }

    /// The error that the value of `key` is not allowed.
    pub(super) fn refuse(&self, key: &str, allowed: impl Into<String>) -> SettingsError {
        let value = self.values.get(key).map_or_else(|| "nothing".to_owned(), |found| shown(&found.value));
        let allowed = allowed.into();
        SettingsError::Value {
            origin: self.origin(key),
            key: format!("{}{key}", self.prefix),
            value,
            allowed,
        }
    }

    /// As [`Reader::refuse`], for a value that might hold a secret where it is wrong: it is not repeated.
    pub(super) fn refuse_unseen(&self, key: &str, allowed: impl Into<String>) -> SettingsError {
        SettingsError::Value {
            origin: self.origin(key),
            key: format!("{}{key}", self.prefix),
            value: "(not shown)".to_owned(),
            allowed: allowed.into(),
        }
    }

    fn need<T>(&mut self, key: &str, wanted: &str, take: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let found = self.find(key);
        found
            .and_then(|found| take(&found.value))
            .ok_or_else(|| self.refuse(key, format!("it must be {wanted}")))
    }

    /// A text, if there is one.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match found.value {
            Value::Text(text) => Ok(Some(text)),
            _ => Err(self.refuse(key, "it must be a text in quotes")),
        }
    }

    /// A path, if there is one; relative to the directory of the file it stands in.
    pub(super) fn path(&mut self, key: &str) -> Result<Option<PathBuf>> {
        Ok(self.text(key)?.map(|path| self.path_of(key, path)))
    }

    /// The path that the value of `key` stands for.
    pub(super) fn path_of(&self, key: &str, path: String) -> PathBuf {
        let path = PathBuf::from(path);
        match self.origin(key) {
            Origin::File { path: file, .. } => file.parent().map_or(path.clone(), |dir| dir.join(path)),
            Origin::Default | Origin::Environment { .. } => path,
        }
    }

    /// A path that has to be there.
    pub(super) fn need_path(&mut self, key: &str) -> Result<PathBuf> {
        self.path(key)?.ok_or_else(|| self.refuse(key, "it must be a path"))
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool> {
        self.need(
            key,
            "true or false",
            |value| if let Value::Bool(flag) = value { Some(*flag) } else { None },
        )
    }

    /// A finite number from `least` to `most`.
    pub(super) fn number(&mut self, key: &str, least: f64, most: f64) -> Result<f64> {
        let wanted = format!("a number from {least} to {most}");
        self.need(key, &wanted, |value| value.number().filter(|number| (least..=most).contains(number)))
    }

    /// A finite number from `least` to `most`, if there is one.
    pub(super) fn optional_number(&mut self, key: &str, least: f64, most: f64) -> Result<Option<f64>> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match found.value.number().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.refuse(key, format!("it must be a number from {least} to {most}"))),
        }
    }

    /// A time in seconds, above 0 and at most ten years.
    pub(super) fn seconds(&mut self, key: &str) -> Result<f64> {
        const TEN_YEARS_S: f64 = 3.2e8;
        self.need(key, "a number of seconds above 0", |value| {
            value.number().filter(|number| *number > 0.0 && *number <= TEN_YEARS_S)
        })
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(&mut self, key: &str, least: usize, most: usize) -> Result<usize> {
        let wanted = format!("a whole number from {least} to {most}");
        self.need(key, &wanted, |value| match value {
            Value::Integer(number) => {
                usize::try_from(*number).ok().filter(|number| (least..=most).contains(number))
            }
            _ => None,
        })
    }

    /// One of the `choices`, by name.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        self.need(key, &names.join(" or "), |value| {
            let text = value.text()?;
            choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
        })
    }
}

/// The defaults of a table in the list `key`.
pub(super) fn default_values(key: &str, defaults: &str) -> Result<Layers> {
    let document = document::parse(defaults).map_err(|error| SettingsError::Syntax {
        path: format!("{key} defaults").into(),
        line: error.line,
        message: error.message,
    })?;
    let found = |node: document::Node| Found { value: node.value, origin: Origin::Default };
    Ok(document.into_iter().map(|(key, node)| (key, found(node))).collect())
}
