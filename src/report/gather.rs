//! Which scans a report is about, and what the archive holds of them.
//!
//! The references that a scan was mapped with are looked for by their digest: in the directory that was named, in the one that the scan's settings name, and
//! among those that are built in. Without them a map has its phases and shares, but no state variable and colours of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ReportError;
use crate::archive::{self, Catalogued, Manifest, open_map, open_particles};
use crate::classify::PhaseMap;
use crate::document::nearest;
use crate::particles::{Particles, States};
use crate::reference::{PhaseLabel, ReferenceSet};
use crate::simulate::nvpf;

/// Colours of phases without references.
const COLOURS: [[u8; 3]; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [136, 136, 136],
    [51, 34, 136],
];

/// Which scans are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this sample; left out where the archive has one only.
    pub sample: Option<String>,
    /// Of this region.
    pub region: Option<String>,
    /// These alone, by id or name of the folder; empty: all.
    pub scans: Vec<String>,
    /// Where the references may be.
    pub references: Option<PathBuf>,
}

/// A scan of the archive, opened.
#[derive(Debug)]
pub struct OpenScan {
    /// Name of its folder without `scan=`.
    pub name: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its map.
    pub map: PhaseMap,
    /// Its particles; none in archives of earlier versions.
    pub particles: Option<Particles>,
    /// `findings.json`; null where there is none.
    pub findings: serde_json::Value,
    /// `damage.json`; null where there is none.
    pub damage: serde_json::Value,
    /// The references that it was mapped with.
    pub references: Option<Arc<ReferenceSet>>,
    /// The state variable of its phases.
    pub states: States,
}

impl OpenScan {
    /// Whether its values are known to lie at the right places.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        !self.manifest.remarks.iter().any(|remark| remark.untrusted)
    }
}

/// What a report is made of.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The sample; none where the scans name none.
    pub sample: Option<String>,
    /// The region that was asked for.
    pub region: Option<String>,
    /// The scans that can be read, by their time.
    pub scans: Vec<OpenScan>,
    /// Those that cannot, and why.
    pub unreadable: Vec<(String, String)>,
}

/// Opens the scans that are wanted; `progress` hears how many are done, of how many, and the name of the next.
///
/// # Errors
/// [`ReportError`]: no archive, no such sample or scan (with those there are), references that are none, or no scan that can be read.
pub fn gather(
    root: &Path,
    wanted: &Wanted,
    progress: &mut dyn FnMut(usize, usize, &str),
) -> Result<Gathered, ReportError> {
    let named = wanted.references.as_deref().map(ReferenceSet::load).transpose()?.map(Arc::new);
    let all = archive::list(root)?;
    let (mut found, unreadable): (Vec<Catalogued>, Vec<Catalogued>) = all
        .into_iter()
        .filter(|own| own.scan.as_ref().is_none_or(|scan| !scan.is_quarantined()))
        .partition(|own| own.manifest.is_ok());
    let sample = select(&mut found, wanted)?;
    let mut gathered = Gathered { sample, region: wanted.region.clone(), ..Gathered::default() };
    for own in unreadable {
        let is_wanted = wanted.scans.is_empty() || wanted.scans.contains(&own.name);
        if let (true, Err(error)) = (is_wanted, &own.manifest) {
            gathered.unreadable.push((own.name.clone(), error.to_string()));
        }
    }
    let mut known: Vec<Arc<ReferenceSet>> = named.into_iter().collect();
    known.push(Arc::new(nvpf::reference_set()));
    let mut tried = BTreeSet::new();
    let total = found.len();
    for (done, own) in found.into_iter().enumerate() {
        progress(done, total, &own.name);
        let Ok(manifest) = own.manifest else { continue };
        let dir = manifest.settings.pointer("/references/dir").and_then(serde_json::Value::as_str);
        if let Some(dir) = dir.filter(|dir| tried.insert((*dir).to_owned())) {
            known.extend(ReferenceSet::load(Path::new(dir)).ok().map(Arc::new));
        }
        match open(&own.path, &own.name, manifest, &known) {
            Ok(scan) => gathered.scans.push(scan),
            Err(error) => gathered.unreadable.push((own.name, error)),
        }
    }
    progress(total, total, "");
    if gathered.scans.is_empty() {
        let why: Vec<String> =
            gathered.unreadable.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        return Err(ReportError::Unreadable(why.join("; ")));
    }
    gathered.scans.sort_by(|a, b| (a.map.plan.started, &a.name).cmp(&(b.map.plan.started, &b.name)));
    Ok(gathered)
}

/// Leaves those that are wanted; returns their sample.
fn select(found: &mut Vec<Catalogued>, wanted: &Wanted) -> Result<Option<String>, ReportError> {
    let plan = |own: &Catalogued| own.manifest.as_ref().ok().map(|manifest| manifest.plan.clone());
    let samples: BTreeSet<Option<String>> = found.iter().filter_map(plan).map(|plan| plan.sample).collect();
    let names: Vec<&str> = samples.iter().flatten().map(String::as_str).collect();
    let list = |names: &[&str]| {
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    if found.is_empty() {
        return Err(ReportError::Missing("there is no scan in this archive".to_owned()));
    }
    let sample = match &wanted.sample {
        Some(sample) if names.contains(&sample.as_str()) => Some(sample.clone()),
        Some(sample) => {
            let near = nearest(sample, names.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            return Err(ReportError::Missing(format!(
                "no scan of sample {sample:?}{near}. Samples in this archive: {}",
                list(&names)
            )));
        }
        // Scans that were asked for by name need no sample.
        None if samples.len() > 1 && wanted.scans.is_empty() => {
            return Err(ReportError::Unclear(format!(
                "--sample is needed: this archive has scans of {}{}",
                list(&names),
                if samples.contains(&None) { ", and some without a sample" } else { "" }
            )));
        }
        None => samples.iter().next().cloned().flatten().filter(|_| samples.len() == 1),
    };
    if wanted.sample.is_some() {
        found.retain(|own| plan(own).is_some_and(|plan| plan.sample == sample));
    }
    if let Some(region) = &wanted.region {
        let regions: BTreeSet<String> = found.iter().filter_map(|own| plan(own)?.region).collect();
        found.retain(|own| plan(own).is_some_and(|plan| plan.region.as_ref() == Some(region)));
        if found.is_empty() {
            let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
            return Err(ReportError::Missing(format!(
                "no scan of region {region:?}; regions: {}",
                list(&regions)
            )));
        }
    }
    if !wanted.scans.is_empty() {
        let there: Vec<String> = found.iter().map(|own| own.name.clone()).collect();
        if let Some(absent) = wanted.scans.iter().find(|id| !there.contains(id)) {
            let there: Vec<&str> = there.iter().map(String::as_str).collect();
            return Err(ReportError::Missing(format!("no scan {absent:?}; scans: {}", list(&there))));
        }
        found.retain(|own| wanted.scans.contains(&own.name));
    }
    Ok(sample)
}

fn open(
    folder: &Path,
    name: &str,
    manifest: Manifest,
    known: &[Arc<ReferenceSet>],
) -> Result<OpenScan, String> {
    let references = known.iter().find(|set| set.sha256 == manifest.map.references_sha256).cloned();
    let label = |index: usize, id: &str| {
        let own = references.iter().flat_map(|set| &set.references).find(|own| own.label.id == id);
        own.map_or_else(
            || PhaseLabel { id: id.to_owned(), title: id.to_owned(), colour: COLOURS[index % COLOURS.len()] },
            |own| own.label.clone(),
        )
    };
    let map = open_map(folder, &manifest, label).map_err(|error| error.to_string())?;
    let particles = open_particles(folder, &map).map_err(|error| error.to_string())?;
    let json = |file: &str| {
        let text = std::fs::read(folder.join(file)).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    };
    let states = references.as_deref().map(|set| States::of(&map, set)).unwrap_or_default();
    let (findings, damage) = (json("findings.json"), json("damage.json"));
    Ok(OpenScan { name: name.to_owned(), manifest, map, particles, findings, damage, references, states })
}
