//! The `[[source]]` blocks.

use std::net::IpAddr;

use chrono::DateTime;

use super::endpoint::{Endpoint, is_loopback, tcp};
use super::error::{Origin, SettingsError};
use super::keys::{GEOMETRY_KEYS, SOCKET_KEYS, SOURCE_DEFAULTS, SOURCE_KEYS};
use super::layer::{Found, shown, unknown};
use super::reader::{Effective, Reader, default_values};
use super::sections::{ResendTo, SocketKind, SourceKind, SourceSettings};
use crate::document::{Node, Value};
use crate::scan::is_valid_id;
use crate::source::geometry::SeriesFacts;
use crate::source::told::Told;

type Result<T> = std::result::Result<T, SettingsError>;

/// Kinds of source.
const KINDS: &str = "\"stxm-stream\", \"pystxmcontrol\", \"pixelator\", \"bluesky\", \"dectris\" or \"desy\"";

impl SourceKind {
    /// Its name in settings and recordings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StxmStream => "stxm-stream",
            Self::Pystxmcontrol => "pystxmcontrol",
            Self::Pixelator => "pixelator",
            Self::Bluesky => "bluesky",
            Self::Dectris => "dectris",
            Self::Desy => "desy",
        }
    }
}

/// Checks all sources, and says what is in effect for each.
pub(super) fn sources(found: Option<Found>) -> Result<(Vec<SourceSettings>, Vec<Effective>)> {
    let Some(Found { value, origin }) = found else { return Ok(Default::default()) };
    let wrong = |value: &Value, origin: &Origin| SettingsError::Value {
        origin: origin.clone(),
        key: "source".to_owned(),
        value: shown(value),
        allowed: "it must be a list of tables, [[source]]".to_owned(),
    };
    let Value::Array(list) = value else { return Err(wrong(&value, &origin)) };
    let (mut sources, mut effective) = (Vec::<SourceSettings>::new(), Vec::new());
    for (index, Node { line, value }) in list.into_iter().enumerate() {
        let at = |line| match &origin {
            Origin::File { path, .. } => Origin::File { path: path.clone(), line },
            other => other.clone(),
        };
        let Value::Table(table) = value else { return Err(wrong(&value, &at(line))) };
        let mut values = default_values("source", SOURCE_DEFAULTS)?;
        let prefix = format!("source[{index}].");
        for (key, Node { line, value }) in table {
            if !SOURCE_KEYS.contains(&key.as_str()) {
                return Err(unknown(&at(line), &prefix, &key, &SOURCE_KEYS));
            }
            values.insert(key, Found { value, origin: at(line) });
        }
        let mut reader = Reader::new(prefix, values);
        let mut source = source(&mut reader)?;
        name(&reader, &mut source, &sources)?;
        effective.extend(reader.into_effective());
        sources.push(source);
    }
    joined(&sources, &origin)?;
    Ok((sources, effective))
}

fn source(reader: &mut Reader) -> Result<SourceSettings> {
    let kind = kind(reader)?;
    let socket = socket(reader, kind)?;
    let (endpoint, data) = endpoints(reader, kind)?;
    let topic = reader.text("topic")?.unwrap_or_default();
    if socket == SocketKind::Pull && !topic.is_empty() {
        return Err(reader.refuse("topic", "only socket = \"sub\" has topics"));
    }
    let channel = reader.text("channel")?.filter(|channel| !channel.is_empty());
    if channel.is_some() && kind == SourceKind::StxmStream {
        return Err(reader.refuse("channel", "stxm-stream carries one signal"));
    }
    let beamline = reader.text("beamline")?;
    if beamline.as_deref().is_some_and(|beamline| !is_valid_id(beamline)) {
        let allowed = "it must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit";
        return Err(reader.refuse("beamline", allowed));
    }
    Ok(SourceSettings {
        name: reader.text("name")?.unwrap_or_default(),
        kind,
        socket,
        endpoint,
        data,
        topic,
        channel,
        beamline,
        geometry: geometry(reader, kind)?,
        geometry_from: geometry_from(reader, kind)?,
        silence_s: reader.seconds("silence_s")?,
        grace_s: reader.seconds("grace_s")?,
        reopen_s: reader.seconds("reopen_s")?,
        resend: resend(reader)?,
        resend_hosts: resend_hosts(reader)?,
        resend_after_s: reader.seconds("resend_after_s")?,
        resend_wait_s: reader.seconds("resend_wait_s")?,
    })
}

fn resend(reader: &mut Reader) -> Result<ResendTo> {
    match reader.text("resend")? {
        None => Ok(ResendTo::AsTold),
        Some(off) if off == "off" => Ok(ResendTo::Nobody),
        Some(address) if tcp(&address).is_some_and(|(host, port)| host != "*" && port != 0) => {
            Ok(ResendTo::Address(address))
        }
        Some(_) => {
            Err(reader.refuse("resend", "it must be an address such as tcp://127.0.0.1:5560, or \"off\""))
        }
    }
}

fn resend_hosts(reader: &mut Reader) -> Result<Vec<String>> {
    const KEY: &str = "resend_hosts";
    let Some(found) = reader.find(KEY) else { return Ok(Vec::new()) };
    // A host is what could stand in an address.
    let host = |node: &Node| {
        let host = node.value.text()?;
        let bare = host.parse::<IpAddr>().is_ok() || tcp(&format!("tcp://{host}:1")) == Some((host, 1));
        (bare && host != "*").then(|| host.to_owned())
    };
    let hosts = match &found.value {
        Value::Array(list) => list.iter().map(host).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    hosts.ok_or_else(|| {
        reader.refuse(KEY, "it must be a list of hosts without port, such as [\"10.0.0.7\", \"scan-server\"]")
    })
}

fn kind(reader: &mut Reader) -> Result<SourceKind> {
    let kind = reader.text("kind")?;
    match kind.as_deref() {
        Some("stxm-stream") => Ok(SourceKind::StxmStream),
        Some("pystxmcontrol") => Ok(SourceKind::Pystxmcontrol),
        Some("pixelator") => Ok(SourceKind::Pixelator),
        Some("bluesky") => Ok(SourceKind::Bluesky),
        Some("dectris") => Ok(SourceKind::Dectris),
        Some("desy") => Ok(SourceKind::Desy),
        _ => Err(reader.refuse("kind", format!("it must be {KINDS}"))),
    }
}

/// Only `stxm-stream` may do either; detectors push, all others publish.
fn socket(reader: &mut Reader, kind: SourceKind) -> Result<SocketKind> {
    let given = reader.origin("socket") != Origin::Default;
    let socket = reader.choice("socket", &[("pull", SocketKind::Pull), ("sub", SocketKind::Sub)])?;
    match (kind, socket) {
        (SourceKind::StxmStream, socket) => Ok(socket),
        (SourceKind::Dectris, SocketKind::Sub) => {
            Err(reader.refuse("socket", "what speaks this format pushes: leave it out, or \"pull\""))
        }
        (SourceKind::Dectris, SocketKind::Pull) => Ok(SocketKind::Pull),
        (_, SocketKind::Pull) if given => {
            Err(reader.refuse("socket", "what speaks this format publishes: leave it out, or \"sub\""))
        }
        _ => Ok(SocketKind::Sub),
    }
}

/// Where a source is: at one address, or metadata at one and frames at another.
fn endpoints(reader: &mut Reader, kind: SourceKind) -> Result<(Endpoint, Option<Endpoint>)> {
    const KEY: &str = "sockets";
    const WANTED: &str = "it must be two, one with role = \"metadata\" and one with role = \"data\"";
    if reader.origin(KEY) == Origin::Default {
        return Ok((endpoint(reader)?, None));
    }
    if kind != SourceKind::Desy {
        return Err(reader.refuse(KEY, "only kind = \"desy\" has several sockets"));
    }
    let one = ["connect", "bind"].into_iter().find(|key| reader.origin(key) != Origin::Default);
    if let Some(key) = one {
        return Err(reader.refuse(key, "with [[source.sockets]] each of them has its own"));
    }
    let (mut metadata, mut data) = (None, None);
    for mut socket in reader.tables(KEY, &SOCKET_KEYS, "allow_open_bind = false\n", 2)? {
        let place = match socket.text("role")?.as_deref() {
            Some("metadata") => &mut metadata,
            Some("data") => &mut data,
            _ => return Err(socket.refuse("role", "it must be \"metadata\" or \"data\"")),
        };
        *place = Some(endpoint(&mut socket)?);
        reader.extend_effective(socket.into_effective());
    }
    match (metadata, data) {
        (Some(metadata), Some(data)) => Ok((metadata, Some(data))),
        _ => Err(reader.refuse(KEY, WANTED)),
    }
}

fn endpoint(reader: &mut Reader) -> Result<Endpoint> {
    let (connect, bind) = (reader.text("connect")?, reader.text("bind")?);
    let allow_open = reader.flag("allow_open_bind")?;
    const WANTED: &str = "it must be an address such as tcp://127.0.0.1:5555";
    match (connect, bind) {
        (Some(address), None) => match tcp(&address) {
            Some((host, port)) if host != "*" && port != 0 => Ok(Endpoint::Connect(address)),
            _ => Err(reader.refuse("connect", WANTED)),
        },
        (None, Some(address)) => match tcp(&address) {
            Some((host, _)) if is_loopback(host) || allow_open => Ok(Endpoint::Bind(address)),
            Some(_) => Err(reader.refuse(
                "bind",
                "anyone who reaches this address could send data, there is no authentication; bind to \
                 127.0.0.1, or set allow_open_bind = true on a closed network",
            )),
            None => Err(reader.refuse("bind", WANTED)),
        },
        (Some(_), Some(_)) => Err(reader.refuse("bind", "give either connect or bind, not both")),
        (None, None) => {
            Err(reader.refuse("connect", "give either connect or bind, such as tcp://127.0.0.1:5555"))
        }
    }
}

/// What is scanned, where only the settings know it.
fn geometry(reader: &mut Reader, kind: SourceKind) -> Result<Option<serde_json::Value>> {
    const KEY: &str = "geometry";
    let Some(found) = reader.find(KEY) else {
        return match kind {
            SourceKind::Desy => Err(reader.refuse(
                KEY,
                "this format does not say its energies: give [source.geometry] with energies_ev = [510.0, 512.0]",
            )),
            _ => Ok(None),
        };
    };
    if !matches!(kind, SourceKind::Dectris | SourceKind::Desy) {
        return Err(reader.refuse(KEY, "what speaks this format says itself what is scanned"));
    }
    let Value::Table(table) = &found.value else { return Err(reader.refuse(KEY, "it must be a table")) };
    if let Some((key, node)) = table.iter().find(|(key, _)| !GEOMETRY_KEYS.contains(&key.as_str())) {
        let origin = match &found.origin {
            Origin::File { path, .. } => Origin::File { path: path.clone(), line: node.line },
            other => other.clone(),
        };
        return Err(unknown(&origin, "source.geometry.", key, &GEOMETRY_KEYS));
    }
    let geometry = serde_json::to_value(found.value.to_toml()).unwrap_or_default();
    let mut whole = geometry.clone();
    if kind == SourceKind::Desy {
        if let Some(key) = ["shape", "x", "y", "series"].iter().find(|key| geometry.get(**key).is_some()) {
            return Err(reader.refuse(KEY, format!("{key} is what the stream says")));
        }
        // Any grid will do.
        let axis = serde_json::json!({ "start": 0.0, "step": 1.0 });
        (whole["shape"], whole["x"], whole["y"]) = (serde_json::json!([1, 1]), axis.clone(), axis);
        if whole.get("energies_ev").is_none() {
            return Err(reader.refuse(KEY, "energies_ev is missing: this format does not say its energies"));
        }
    }
    let told = Told::read(whole).map_err(|refusal| reader.refuse(KEY, refusal.to_string()))?;
    let joined = reader.origin("geometry_from") != Origin::Default;
    if joined && told.has_fields() {
        return Err(reader.refuse(
            KEY,
            "with geometry_from only series, meander and fast_axis belong here: the rest is that source's",
        ));
    }
    if !joined && !told.is_whole() {
        return Err(reader.refuse(KEY, "shape, x, y and energies_ev belong here, or geometry_from"));
    }
    if told.is_whole() {
        // What a detector says when a series begins; any will do.
        let series = SeriesFacts { shape: [1, 1], count_time_s: Some(1e-3), ..SeriesFacts::default() };
        told.plan("scan", &series, DateTime::default(), None)
            .map_err(|refusal| reader.refuse(KEY, refusal.to_string()))?;
    }
    Ok(Some(geometry))
}

fn geometry_from(reader: &mut Reader, kind: SourceKind) -> Result<Option<String>> {
    const KEY: &str = "geometry_from";
    let name = reader.text(KEY)?;
    if name.is_some() && kind != SourceKind::Dectris {
        return Err(reader.refuse(KEY, "what speaks this format says itself what is scanned"));
    }
    Ok(name)
}

/// Every source that wants to know scans from another one has that one for itself.
fn joined(sources: &[SourceSettings], origin: &Origin) -> Result<()> {
    let wanting = sources.iter().filter_map(|source| Some((source, source.geometry_from.as_deref()?)));
    for (index, (source, wanted)) in wanting.clone().enumerate() {
        let wrong = |allowed: String| SettingsError::Value {
            origin: origin.clone(),
            key: "source.geometry_from".to_owned(),
            value: format!("\"{wanted}\""),
            allowed,
        };
        let knows = |other: &&SourceSettings| {
            other.name == wanted && !matches!(other.kind, SourceKind::Dectris | SourceKind::Desy)
        };
        if !sources.iter().any(|other| knows(&other)) {
            return Err(wrong(format!(
                "\"{}\" wants to know scans from it: it must be the name of another [[source]], which knows what is scanned",
                source.name
            )));
        }
        if wanting.clone().take(index).any(|(_, other)| other == wanted) {
            return Err(wrong("another source has it already".to_owned()));
        }
    }
    Ok(())
}

/// Names a source that has no name by its address, and refuses a name that is taken.
fn name(reader: &Reader, source: &mut SourceSettings, others: &[SourceSettings]) -> Result<()> {
    let taken = |name: &str| others.iter().any(|other| other.name == name);
    if source.name.is_empty() {
        let address = source.endpoint.address().trim_start_matches("tcp://").to_owned();
        let numbered = (2..).map(|number: usize| format!("{address}#{number}"));
        source.name =
            std::iter::once(address.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_default();
    } else if taken(&source.name) {
        return Err(reader.refuse("name", "another source has this name; names must differ"));
    }
    Ok(())
}
