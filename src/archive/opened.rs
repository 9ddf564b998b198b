//! An archived map read again: `phase_map.parquet` back into a [`PhaseMap`], for whoever shows it.
//!
//! What the table has is in it; what only the daemon knew (the energy offset's evidence, the drift, the population) is not. Pixels may come in any order. A
//! column that is missing, as in archives of earlier versions, leaves its values unknown; a row outside the grid, a table of another length, a word
//! nobody knows or a file that is no Parquet is an error.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, UInt16Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Manifest;
use crate::classify::{Ambiguity, Method, NO_PHASE, Origin, PhaseLabel, PhaseMap, Status};
use crate::publish::library::EnergyFacts;
use crate::publish::table::METADATA_PREFIX;

/// Why an archived map cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened.
    #[error("{path}: {error}")]
    Io {
        /// Which one.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {problem}")]
    Content {
        /// Which one.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The map of the scan in `folder`, whose manifest is `manifest`. `label` says what a phase is called and how it is coloured, by its place in the legend and its id.
///
/// # Errors
/// [`OpenError`].
pub fn open_map(
    folder: &Path,
    manifest: &Manifest,
    label: impl Fn(usize, &str) -> PhaseLabel,
) -> Result<PhaseMap, OpenError> {
    let path = folder.join("phase_map.parquet");
    let content = |problem: String| OpenError::Content { path: path.display().to_string(), problem };
    let plan = manifest.plan.clone();
    plan.validate().map_err(|error| content(error.to_string()))?;
    let file =
        File::open(&path).map_err(|error| OpenError::Io { path: path.display().to_string(), error })?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| content(error.to_string()))?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    if rows != plan.grid.pixels() {
        return Err(content(format!("{rows} rows; the plan has {} pixels", plan.grid.pixels())));
    }
    let metadata = builder.schema().metadata().clone();
    let list = |key: &str| -> Vec<String> {
        let text = metadata.get(&format!("{METADATA_PREFIX}{key}"));
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    };
    let phases: Arc<[PhaseLabel]> =
        list("phases").iter().enumerate().map(|(index, id)| label(index, id)).collect();
    if phases.len() > crate::publish::table::MAX_PHASES {
        return Err(content(format!("{} phases", phases.len())));
    }
    let word = |key: &str| metadata.get(&format!("{METADATA_PREFIX}{key}")).cloned().unwrap_or_default();
    let corrected: Option<Vec<f64>> = serde_json::from_str(&word("corrected_energies_ev")).ok();
    let normalisation: Option<std::collections::BTreeMap<String, String>> =
        serde_json::from_str(&word("normalisation")).ok();
    let origin = Origin {
        generation: manifest.map.generation,
        energies_done: manifest.map.energies_done,
        clusters: list("clusters"),
        references_sha256: manifest.map.references_sha256.clone(),
        model_sha256: manifest.map.model_sha256.clone(),
        complete: manifest.map.complete,
        settled: true,
        normalisation: normalisation.unwrap_or_default().into_iter().collect(),
        corrected_ev: corrected.unwrap_or_else(|| plan.energies_ev.clone()),
        calibrated_on: word("calibrated_on"),
        dose: manifest.map.dose.clone().map(Arc::new),
        channels: manifest.channels.clone(),
        ..Origin::default()
    };
    let mut map = PhaseMap::unmeasured(Arc::new(plan), phases, origin);
    let reader = builder.build().map_err(|error| content(error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| content(error.to_string()))?;
        fill(&mut map, &batch).map_err(content)?;
    }
    Ok(map)
}

/// Takes in some rows.
fn fill(map: &mut PhaseMap, batch: &RecordBatch) -> Result<(), String> {
    let pixels = pixels(map, batch)?;
    let ids: HashMap<String, u8> =
        map.phases.iter().enumerate().map(|(index, label)| (label.id.clone(), index as u8)).collect();
    let phase = |word: Option<&str>| word.map_or(Some(NO_PHASE), |word| ids.get(word).copied());
    words(batch, "status", &pixels, &mut map.status, |word| {
        Status::ALL.into_iter().find(|status| Some(status.name()) == word)
    })?;
    words(batch, "method", &pixels, &mut map.method, |word| {
        Method::ALL.into_iter().find(|method| Some(method.name()) == word)
    })?;
    words(batch, "ambiguity", &pixels, &mut map.ambiguity, |word| {
        Ambiguity::ALL.into_iter().find(|cause| Some(cause.name()) == word)
    })?;
    words(batch, "phase", &pixels, &mut map.phase, phase)?;
    words(batch, "runner_up", &pixels, &mut map.runner_up, phase)?;
    if pixels.iter().any(|&pixel| map.status[pixel] == Status::Classified && map.phase[pixel] == NO_PHASE) {
        return Err("a classified pixel has no phase".to_owned());
    }
    for (name, values) in [
        ("correlation", &mut map.correlation),
        ("margin", &mut map.margin),
        ("delta_chi2", &mut map.delta_chi2),
        ("confidence", &mut map.confidence),
        ("edge_jump", &mut map.edge_jump),
        ("share", &mut map.share),
        ("share_error", &mut map.share_error),
        ("fit_chi2", &mut map.fit_chi2),
    ] {
        floats(batch, name, &pixels, values);
    }
    for (name, values) in [("dose_mgy", &mut map.dose_mgy), ("dose_relative", &mut map.dose_relative)] {
        let known = batch.column_by_name(name).is_some_and(|column| column.null_count() < column.len());
        if known {
            values.resize(map.status.len(), f32::NAN);
            floats(batch, name, &pixels, values);
        }
    }
    for (name, values) in
        [("energies_seen", &mut map.energies_seen), ("energies_masked", &mut map.energies_masked)]
    {
        if let Some(column) = column(batch, name, &DataType::UInt16) {
            let column = column.as_primitive::<UInt16Type>();
            pixels.iter().enumerate().for_each(|(row, &pixel)| values[pixel] = column.value(row));
        }
    }
    if let Some(column) = column(batch, "smoothed", &DataType::Boolean) {
        let column = column.as_boolean();
        pixels.iter().enumerate().for_each(|(row, &pixel)| map.smoothed[pixel] = column.value(row));
    }
    let (kinds, clusters) = (map.phases.len(), map.origin.clusters.len());
    lists(batch, "correlations", &pixels, kinds, &mut map.correlations);
    let asked = batch.column_by_name("posterior").is_some_and(|column| column.null_count() < column.len());
    if asked && clusters > 0 {
        map.posterior.resize(map.status.len() * clusters, f32::NAN);
        lists(batch, "posterior", &pixels, clusters, &mut map.posterior);
    }
    readings(map, batch, &pixels, &ids);
    Ok(())
}

/// The pixel of each row.
fn pixels(map: &PhaseMap, batch: &RecordBatch) -> Result<Vec<usize>, String> {
    let [ny, nx] = map.plan.grid.shape;
    let axis = |name: &str| column(batch, name, &DataType::UInt32).ok_or_else(|| format!("no column {name}"));
    let (y, x) = (axis("y")?, axis("x")?);
    let (y, x) = (y.as_primitive::<UInt32Type>(), x.as_primitive::<UInt32Type>());
    (0..batch.num_rows())
        .map(|row| {
            let (y, x) = (y.value(row) as usize, x.value(row) as usize);
            if y < ny && x < nx {
                Ok(y * nx + x)
            } else {
                Err(format!("pixel y {y}, x {x} is outside the grid"))
            }
        })
        .collect()
}

fn column(batch: &RecordBatch, name: &str, wanted: &DataType) -> Option<ArrayRef> {
    cast(batch.column_by_name(name)?, wanted).ok()
}

/// Words as what they stand for; a column that is not there changes nothing.
fn words<T: Copy>(
    batch: &RecordBatch,
    name: &str,
    pixels: &[usize],
    values: &mut [T],
    meaning: impl Fn(Option<&str>) -> Option<T>,
) -> Result<(), String> {
    let Some(column) = column(batch, name, &DataType::Utf8) else { return Ok(()) };
    let column = column.as_string::<i32>();
    for (row, &pixel) in pixels.iter().enumerate() {
        let word = column.is_valid(row).then(|| column.value(row));
        values[pixel] = meaning(word).ok_or_else(|| format!("{name} is {:?}", word.unwrap_or("null")))?;
    }
    Ok(())
}

fn floats(batch: &RecordBatch, name: &str, pixels: &[usize], values: &mut [f32]) {
    let Some(column) = column(batch, name, &DataType::Float32) else { return };
    let column = column.as_primitive::<Float32Type>();
    for (row, &pixel) in pixels.iter().enumerate() {
        values[pixel] = if column.is_valid(row) { column.value(row) } else { f32::NAN };
    }
}

/// Lists of `width` numbers; one of another length is left out.
fn lists(batch: &RecordBatch, name: &str, pixels: &[usize], width: usize, values: &mut [f32]) {
    let Some(column) = batch.column_by_name(name).and_then(|column| column.as_list_opt::<i32>()) else {
        return;
    };
    for (row, &pixel) in pixels.iter().enumerate() {
        if column.is_null(row) {
            continue;
        }
        let Ok(list) = cast(&column.value(row), &DataType::Float32) else { continue };
        if list.len() != width {
            continue;
        }
        let list = list.as_primitive::<Float32Type>();
        for (item, value) in values[pixel * width..(pixel + 1) * width].iter_mut().enumerate() {
            *value = if list.is_valid(item) { list.value(item) } else { f32::NAN };
        }
    }
}

/// `a, or b with c` as two readings.
fn readings(map: &mut PhaseMap, batch: &RecordBatch, pixels: &[usize], ids: &HashMap<String, u8>) {
    let Some(column) = column(batch, "readings", &DataType::Utf8) else { return };
    let column = column.as_string::<i32>();
    let reading = |text: &str| -> Option<[u8; 2]> {
        let (one, two) = text.split_once(" with ").map_or((text, None), |(one, two)| (one, Some(two)));
        Some([*ids.get(one)?, two.map_or(Some(NO_PHASE), |two| ids.get(two).copied())?])
    };
    for (row, &pixel) in pixels.iter().enumerate().filter(|(row, _)| column.is_valid(*row)) {
        let both = column.value(row).split_once(", or ");
        if let Some(([a, b], [c, d])) = both.and_then(|(one, two)| reading(one).zip(reading(two))) {
            map.readings[pixel] = [a, b, c, d];
        }
    }
}

/// What `energies.parquet` says of each energy; nothing where that cannot be read.
#[must_use]
pub fn open_energies(folder: &Path) -> Vec<EnergyFacts> {
    let read = || -> Option<Vec<EnergyFacts>> {
        let file = File::open(folder.join("energies.parquet")).ok()?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).ok()?.build().ok()?;
        let mut facts = Vec::new();
        for batch in reader {
            let batch = batch.ok()?;
            let numbers = |name: &str| column(&batch, name, &DataType::Float64);
            let (coverage, i0) = (numbers("coverage"), numbers("i0_per_ms"));
            let shift = [numbers("shift_y"), numbers("shift_x")];
            let error = [numbers("shift_error_y"), numbers("shift_error_x")];
            for row in 0..batch.num_rows() {
                let at = |column: &Option<ArrayRef>| {
                    let column = column.as_ref()?.as_primitive::<Float64Type>();
                    column.is_valid(row).then(|| column.value(row)).filter(|value| value.is_finite())
                };
                let pair = |columns: &[Option<ArrayRef>; 2]| Some([at(&columns[0])?, at(&columns[1])?]);
                facts.push(EnergyFacts {
                    coverage: at(&coverage),
                    i0_per_ms: at(&i0),
                    shift: pair(&shift),
                    shift_error: pair(&error),
                });
            }
        }
        Some(facts)
    };
    read().unwrap_or_default()
}
