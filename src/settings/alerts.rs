//! The section `[alerts]`: whom alerts go to.
//!
//! Secrets are read from the environment; an address of a webhook, which may hold one, can also be written in the file and is
//! then never shown again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::error::SettingsError;
use super::keys::{COMMAND_DEFAULTS, COMMAND_KEYS, WEBHOOK_DEFAULTS, WEBHOOK_KEYS};
use super::reader::Reader;
use super::secret::SecretUrl;
use super::sections::{AlertsSettings, ChatFormat, CommandSettings, WebhookAddress, WebhookSettings};
use crate::damage::Level;
use crate::document::Value;
use crate::scan::is_valid_id;

type Result<T> = std::result::Result<T, SettingsError>;

/// Longest wait for an output, s: a longer one would hold back all that comes after.
const MOST_TIMEOUT_S: f64 = 300.0;
/// Most outputs of a kind.
const MOST_OUTPUTS: usize = 32;

pub(super) fn alerts(reader: &mut Reader) -> Result<AlertsSettings> {
    let remind_s = reader.number("alerts.remind_s", 0.0, 86_400.0)?;
    let keep_days = reader.number("alerts.keep_days", 1.0, 3650.0)?;
    let token_env = variable(reader, "alerts.token_env")?;
    let mut names = BTreeSet::new();
    let mut webhooks = Vec::new();
    for mut table in reader.tables("alerts.webhook", &WEBHOOK_KEYS, WEBHOOK_DEFAULTS, MOST_OUTPUTS)? {
        let number = webhooks.len() + 1;
        webhooks.push(webhook(&mut table, number, &mut names)?);
        reader.extend_effective(table.into_effective());
    }
    let mut commands = Vec::new();
    for mut table in reader.tables("alerts.command", &COMMAND_KEYS, COMMAND_DEFAULTS, MOST_OUTPUTS)? {
        let number = commands.len() + 1;
        commands.push(command(&mut table, number, &mut names)?);
        reader.extend_effective(table.into_effective());
    }
    Ok(AlertsSettings { remind_s, keep_days, token_env, webhooks, commands })
}

fn webhook(reader: &mut Reader, number: usize, names: &mut BTreeSet<String>) -> Result<WebhookSettings> {
    let name = name(reader, format!("webhook-{number}"), names)?;
    let url = reader.secret_text("url")?;
    let url_env = variable(reader, "url_env")?;
    let allow_http = reader.flag("allow_http")?;
    let address = match (url, url_env) {
        (Some(_), Some(_)) => return Err(reader.refuse("url_env", "give either url or url_env, not both")),
        (None, None) => {
            return Err(
                reader.refuse("url_env", "give url, or url_env, the name of a variable that holds it")
            );
        }
        (None, Some(name)) => WebhookAddress::Variable(name),
        (Some(url), None) => match SecretUrl::parse(&url) {
            None => {
                let wanted = "it must be https://host/path, without user or password; a token belongs into headers_env";
                return Err(reader.refuse_unseen("url", wanted));
            }
            Some(url) if url.is_open_on_the_way() && !allow_http => {
                return Err(reader.refuse_unseen(
                    "url",
                    "what is sent over http can be read on the way; use https, or set allow_http = true on a closed network",
                ));
            }
            Some(url) => WebhookAddress::Url(url),
        },
    };
    Ok(WebhookSettings {
        name,
        address,
        allow_http,
        format: reader.choice(
            "format",
            &[
                ("json", ChatFormat::Json),
                ("slack", ChatFormat::Slack),
                ("mattermost", ChatFormat::Mattermost),
            ],
        )?,
        min_level: level(reader)?,
        timeout_s: reader.number("timeout_s", 0.1, MOST_TIMEOUT_S)?,
        headers_env: headers(reader)?,
    })
}

fn command(reader: &mut Reader, number: usize, names: &mut BTreeSet<String>) -> Result<CommandSettings> {
    let name = name(reader, format!("command-{number}"), names)?;
    let Some(program) = reader.text("program")? else {
        return Err(reader.refuse("program", "name the program to run, such as \"/usr/local/bin/on-alert\""));
    };
    // A bare name is looked for in PATH; any other is a path like all in a file.
    let program = match program.contains('/') {
        true => reader.path_of("program", program),
        false => PathBuf::from(program),
    };
    let args = texts(reader, "args")?;
    let pass_env = texts(reader, "pass_env")?;
    if !pass_env.iter().all(|name| is_variable(name)) {
        return Err(reader.refuse_unseen("pass_env", "it must be a list of names of environment variables"));
    }
    Ok(CommandSettings {
        name,
        program,
        args,
        pass_env,
        min_level: level(reader)?,
        timeout_s: reader.number("timeout_s", 0.1, MOST_TIMEOUT_S)?,
    })
}

/// What is kept of deliveries goes by the name, so it has to stay the same and to be one.
fn name(reader: &mut Reader, default: String, names: &mut BTreeSet<String>) -> Result<String> {
    let name = reader.text("name")?.unwrap_or(default);
    if !is_valid_id(&name) || name.len() > 64 {
        return Err(reader.refuse("name", "it must be 1 to 64 characters of A-Z a-z 0-9 . _ -"));
    }
    if !names.insert(name.clone()) {
        return Err(reader.refuse("name", "another output of alerts has this name; names must differ"));
    }
    Ok(name)
}

fn level(reader: &mut Reader) -> Result<Level> {
    reader.choice("min_level", &Level::ALL.map(|level| (level.name(), level)))
}

fn headers(reader: &mut Reader) -> Result<BTreeMap<String, String>> {
    const KEY: &str = "headers_env";
    const WANTED: &str = "it must name headers and the variables that hold their values, such as { Authorization = \"CHAT_TOKEN\" }";
    let Some(found) = reader.find_secret(KEY) else { return Ok(BTreeMap::new()) };
    let Value::Table(table) = &found.value else { return Err(reader.refuse_unseen(KEY, WANTED)) };
    let header = |(name, node): (&String, &crate::document::Node)| {
        let good = reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_ok();
        let variable = node.value.text().filter(|variable| is_variable(variable))?;
        good.then(|| (name.clone(), variable.to_owned()))
    };
    let headers: Option<BTreeMap<String, String>> = table.iter().map(header).collect();
    headers.ok_or_else(|| reader.refuse_unseen(KEY, WANTED))
}

fn texts(reader: &mut Reader, key: &str) -> Result<Vec<String>> {
    let Some(found) = reader.find(key) else { return Ok(Vec::new()) };
    let list = match &found.value {
        Value::Array(list) => {
            list.iter().map(|node| node.value.text().map(str::to_owned)).collect::<Option<Vec<_>>>()
        }
        _ => None,
    };
    list.ok_or_else(|| reader.refuse(key, "it must be a list of texts"))
}

/// The name of a variable. Whoever writes the secret itself here shall not read it in a log.
pub(super) fn variable(reader: &mut Reader, key: &str) -> Result<Option<String>> {
    let Some(name) = reader.secret_text(key)? else { return Ok(None) };
    if !is_variable(&name) {
        let wanted = "it must be the name of an environment variable, such as SITE_WEBHOOK_URL; never the secret itself";
        return Err(reader.refuse_unseen(key, wanted));
    }
    Ok(Some(name))
}

fn is_variable(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= 64 && name.bytes().next().is_some_and(|b| b.is_ascii_uppercase()) && name.bytes().all(plain)
}
