//! A TOML document that remembers on which line each of its keys stands, so that an error about a value can
//! say where it is.
//!
//! Format: TOML 1. Bad input (broken syntax, a number that does not fit 64 bits) is an error with its line;
//! unknown keys are the business of whoever reads the document, with [`nearest`] to suggest what was meant.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Why a text is not a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Line of its key (in an array: of the value itself), from 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Keys below this one.
    Table(BTreeMap<String, Node>),
    /// A list.
    Array(Vec<Node>),
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A date or time, as written.
    Datetime(String),
}

impl Value {
    /// What it is, in plain words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::Array(_) => "a list",
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Datetime(_) => "a date or time",
        }
    }

    /// The value as it could stand in a document.
    #[must_use]
    pub fn to_toml(&self) -> toml::Value {
        match self {
            Self::Table(table) => {
                toml::Value::Table(table.iter().map(|(k, node)| (k.clone(), node.value.to_toml())).collect())
            }
            Self::Array(list) => toml::Value::Array(list.iter().map(|node| node.value.to_toml()).collect()),
            Self::Text(text) => toml::Value::String(text.clone()),
            Self::Integer(number) => toml::Value::Integer(*number),
            Self::Float(number) => toml::Value::Float(*number),
            Self::Bool(flag) => toml::Value::Boolean(*flag),
            // Kept as text: no key of ours takes a date.
            Self::Datetime(text) => toml::Value::String(text.clone()),
        }
    }

    /// The number, whole or not.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// Reads a document: its top-level keys.
///
/// # Errors
/// Where `text` is not TOML.
pub fn parse(text: &str) -> Result<BTreeMap<String, Node>, SyntaxError> {
    let document = DeTable::parse(text).map_err(|error| SyntaxError {
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        message: error.message().trim_end().to_owned(),
    })?;
    table(text, document.get_ref())
}

fn table(text: &str, table: &DeTable<'_>) -> Result<BTreeMap<String, Node>, SyntaxError> {
    table
        .iter()
        .map(|(key, value)| {
            let line = line_of(text, key.span().start);
            Ok((key.get_ref().to_string(), Node { line, value: convert(text, line, value.get_ref())? }))
        })
        .collect()
}

fn convert(text: &str, line: usize, value: &DeValue<'_>) -> Result<Value, SyntaxError> {
    let too_large = |written: &dyn std::fmt::Display| SyntaxError {
        line,
        message: format!("the number {written} does not fit into 64 bits"),
    };
    Ok(match value {
        DeValue::String(string) => Value::Text(string.to_string()),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| too_large(number))?,
        ),
        DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| too_large(number))?),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::Datetime(time.to_string()),
        DeValue::Array(list) => Value::Array(
            list.iter()
                .map(|item| {
                    let line = line_of(text, item.span().start);
                    Ok(Node { line, value: convert(text, line, item.get_ref())? })
                })
                .collect::<Result<_, SyntaxError>>()?,
        ),
        DeValue::Table(inner) => Value::Table(self::table(text, inner)?),
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// The candidate most like `word`, if any is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_knows_its_line() {
        let document = parse("# one\n[a]\nb = 1\n\n[[c]]\nd = { e = \"x\" }\n").unwrap();
        let Value::Table(a) = &document["a"].value else { panic!("a table") };
        assert_eq!((a["b"].line, &a["b"].value), (3, &Value::Integer(1)));
        let Value::Array(c) = &document["c"].value else { panic!("a list") };
        let Value::Table(first) = &c[0].value else { panic!("a table") };
        assert_eq!(first["d"].line, 6);
    }

    #[test]
    fn broken_syntax_names_its_line() {
        assert_eq!(parse("a = 1\nb = = 2\n").unwrap_err().line, 2);
        assert_eq!(parse("a = 1\n\nb = 99999999999999999999\n").unwrap_err().line, 3);
    }

    #[test]
    fn the_nearest_key_is_found_or_none() {
        assert_eq!(nearest("colur", ["title", "colour", "order"]), Some("colour"));
        assert_eq!(nearest("zzz", ["title", "colour"]), None);
    }
}
