//! The phase map as an Arrow table: one row per pixel, row-major, the columns of `proto/phase-map-table.md`.
//!
//! Column names, types and nullability are the same for every map, whatever the references, with or without a
//! model or a dose. Dictionaries have `int32` keys throughout: what
//! pyarrow and pandas infer for the `beamline=` folders of the archive, so that column and folder agree. NaN becomes null in nullable float columns and in
//! the items of lists; [`NO_PHASE`] becomes null in the phase columns. Each column is made in one pass without
//! an allocation per pixel: 256×256 pixels take a few milliseconds.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Int32Array, ListArray, RecordBatch, StringArray,
    UInt16Array, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use serde_json::{Map, Value, json};

use super::PublishError;
use crate::classify::{Ambiguity, Method, NO_PHASE, NO_READINGS, PhaseMap, Status};

/// Prefix of every metadata key.
pub const METADATA_PREFIX: &str = "phasewatch.";
/// Most phases a table can hold: indices below [`NO_PHASE`].
pub const MAX_PHASES: usize = NO_PHASE as usize;

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let word = |name: &str, nullable| Field::new(name, dictionary_type(), nullable);
    let float = |name: &str| Field::new(name, DataType::Float32, true);
    Fields::from(vec![
        Field::new("y", DataType::UInt32, false),
        Field::new("x", DataType::UInt32, false),
        word("status", false),
        word("phase", true),
        word("runner_up", true),
        word("method", false),
        word("scan_id", false),
        word("beamline", false),
        Field::new("simulated", DataType::Boolean, false),
        float("correlation"),
        float("margin"),
        float("delta_chi2"),
        float("confidence"),
        Field::new("energies_seen", DataType::UInt16, false),
        Field::new("energies_masked", DataType::UInt16, false),
        float("edge_jump"),
        word("ambiguity", false),
        float("share"),
        float("share_error"),
        float("fit_chi2"),
        Field::new("smoothed", DataType::Boolean, false),
        Field::new("correlations", DataType::List(item_field()), false),
        Field::new("posterior", DataType::List(item_field()), true),
        float("dose_mgy"),
        word("readings", true),
        float("dose_relative"),
    ])
});

/// The table's columns, without metadata.
#[must_use]
pub fn fields() -> &'static Fields {
    &FIELDS
}

/// Type of every dictionary column: `dictionary<int32, utf8>`.
pub(crate) fn dictionary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The items of every list column: nullable `float32` called `item`.
pub(crate) fn item_field() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Float32, true))
}

/// The table of `map`, with its metadata.
///
/// # Errors
/// [`PublishError::Length`] where a column is not as long as the grid has pixels, [`PublishError::Phases`] above
/// [`MAX_PHASES`] phases.
pub fn phase_map(map: &PhaseMap) -> Result<RecordBatch, PublishError> {
    check(map)?;
    let (rows, nx) = (map.plan.grid.pixels(), map.plan.grid.nx() as u32);
    let (phases, clusters) = (map.phases.len(), map.origin.clusters.len());
    let pixels = 0..rows as u32;
    let phase_names: ArrayRef =
        Arc::new(StringArray::from_iter_values(map.phases.iter().map(|phase| phase.id.as_str())));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(pixels.clone().map(|p| p / nx))),
        Arc::new(UInt32Array::from_iter_values(pixels.map(|p| p % nx))),
        words(map.status.iter().map(|&s| s as i32), names(&Status::ALL.map(Status::name)))?,
        phase_column(&map.phase, phases, &phase_names)?,
        phase_column(&map.runner_up, phases, &phase_names)?,
        words(map.method.iter().map(|&m| m as i32), names(&Method::ALL.map(Method::name)))?,
        words((0..rows).map(|_| 0), names(&[map.plan.scan_id.as_str()]))?,
        words((0..rows).map(|_| 0), names(&[map.plan.beamline.as_str()]))?,
        booleans(rows, |_| map.plan.simulated),
        floats(&map.correlation),
        floats(&map.margin),
        floats(&map.delta_chi2),
        floats(&map.confidence),
        Arc::new(UInt16Array::from(map.energies_seen.clone())),
        Arc::new(UInt16Array::from(map.energies_masked.clone())),
        floats(&map.edge_jump),
        words(map.ambiguity.iter().map(|&a| a as i32), names(&Ambiguity::ALL.map(Ambiguity::name)))?,
        floats(&map.share),
        floats(&map.share_error),
        floats(&map.fit_chi2),
        booleans(rows, |pixel| map.smoothed[pixel]),
        lists(&map.correlations, rows, phases, false)?,
        lists(&map.posterior, rows, clusters, true)?,
        floats_or_none(&map.dose_mgy, rows),
        readings_column(map)?,
        floats_or_none(&map.dose_relative, rows),
    ];
    let schema = Schema::new_with_metadata(FIELDS.clone(), metadata(map)?);
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// The metadata of `map`'s table, keys `phasewatch.*`; lists and objects are JSON.
///
/// # Errors
/// [`PublishError::Json`]; not for a plan that passed its check.
pub fn metadata(map: &PhaseMap) -> Result<HashMap<String, String>, PublishError> {
    let (plan, origin) = (&map.plan, &map.origin);
    let ids: Vec<_> = map.phases.iter().map(|phase| phase.id.as_str()).collect();
    let normalisation: Map<String, Value> =
        origin.normalisation.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let pairs = [
        ("scan_id", plan.scan_id.clone()),
        ("generation", origin.generation.to_string()),
        ("energies_done", origin.energies_done.to_string()),
        ("energies_total", plan.energies_ev.len().to_string()),
        ("phases", serde_json::to_string(&ids)?),
        ("clusters", serde_json::to_string(&origin.clusters)?),
        ("references_sha256", origin.references_sha256.clone()),
        ("model_sha256", origin.model_sha256.clone()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("simulated", plan.simulated.to_string()),
        ("complete", origin.complete.to_string()),
        ("grid", serde_json::to_string(&plan.grid)?),
        ("energies_ev", serde_json::to_string(&plan.energies_ev)?),
        ("corrected_energies_ev", serde_json::to_string(&origin.corrected_ev)?),
        ("normalisation", serde_json::to_string(&normalisation)?),
        ("i0_per_ms", serde_json::to_string(&origin.incident.curve.i0_per_ms)?),
        ("calibrated_on", origin.calibrated_on.clone()),
        ("revision_reason", origin.revision_reason.name().to_owned()),
        ("dose", serde_json::to_string(&origin.dose.as_deref())?),
    ];
    Ok(pairs.into_iter().map(|(key, value)| (format!("{METADATA_PREFIX}{key}"), value)).collect())
}

fn check(map: &PhaseMap) -> Result<(), PublishError> {
    let n = map.plan.grid.pixels();
    if map.phases.len() > MAX_PHASES {
        return Err(PublishError::Phases(map.phases.len()));
    }
    let lengths = [
        ("status", map.status.len(), n),
        ("phase", map.phase.len(), n),
        ("runner_up", map.runner_up.len(), n),
        ("method", map.method.len(), n),
        ("correlation", map.correlation.len(), n),
        ("margin", map.margin.len(), n),
        ("delta_chi2", map.delta_chi2.len(), n),
        ("confidence", map.confidence.len(), n),
        ("energies_seen", map.energies_seen.len(), n),
        ("energies_masked", map.energies_masked.len(), n),
        ("edge_jump", map.edge_jump.len(), n),
        ("ambiguity", map.ambiguity.len(), n),
        ("share", map.share.len(), n),
        ("share_error", map.share_error.len(), n),
        ("fit_chi2", map.fit_chi2.len(), n),
        ("smoothed", map.smoothed.len(), n),
        ("correlations", map.correlations.len(), n * map.phases.len()),
        (
            "posterior",
            map.posterior.len(),
            if map.posterior.is_empty() { 0 } else { n * map.origin.clusters.len() },
        ),
        ("dose_mgy", map.dose_mgy.len(), if map.dose_mgy.is_empty() { 0 } else { n }),
        ("dose_relative", map.dose_relative.len(), if map.dose_relative.is_empty() { 0 } else { n }),
        ("readings", map.readings.len(), n),
    ];
    match lengths.into_iter().find(|(_, found, wanted)| found != wanted) {
        Some((column, found, wanted)) => Err(PublishError::Length { column, found, wanted }),
        None => Ok(()),
    }
}

pub(crate) fn names(words: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(words))
}

pub(crate) fn words(keys: impl Iterator<Item = i32>, values: ArrayRef) -> Result<ArrayRef, PublishError> {
    let keys = Int32Array::from_iter_values(keys);
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

/// Indices into the phases; [`NO_PHASE`] and whatever is not a phase become null.
fn phase_column(indices: &[u8], phases: usize, values: &ArrayRef) -> Result<ArrayRef, PublishError> {
    let known = |index: u8| usize::from(index) < phases;
    let keys: Vec<i32> =
        indices.iter().map(|&index| if known(index) { i32::from(index) } else { 0 }).collect();
    let nulls = nulls(indices.len(), |row| known(indices[row]));
    let keys = Int32Array::try_new(ScalarBuffer::from(keys), nulls)?;
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values.clone())?))
}

/// Two readings of a pixel in words: `a, or b with c`; null where there is one only.
fn readings_column(map: &PhaseMap) -> Result<ArrayRef, PublishError> {
    let id = |phase: u8| map.phases.get(usize::from(phase)).map_or("?", |label| label.id.as_str());
    let reading = |pair: &[u8]| match pair {
        [one, NO_PHASE] => id(*one).to_owned(),
        [one, two] => format!("{} with {}", id(*one), id(*two)),
        _ => String::new(),
    };
    let mut words: Vec<String> = Vec::new();
    let mut keys_of: HashMap<[u8; 4], i32> = HashMap::new();
    let keys = map.readings.iter().map(|readings| {
        (*readings != NO_READINGS).then(|| {
            *keys_of.entry(*readings).or_insert_with(|| {
                words.push(format!("{}, or {}", reading(&readings[..2]), reading(&readings[2..])));
                words.len() as i32 - 1
            })
        })
    });
    let keys = Int32Array::from_iter(keys);
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(words));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

/// A validity mask; `None` where every row is valid, which readers take a shorter way through.
fn nulls(rows: usize, valid: impl FnMut(usize) -> bool) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(rows, valid));
    (nulls.null_count() > 0).then_some(nulls)
}

fn booleans(rows: usize, value: impl FnMut(usize) -> bool) -> ArrayRef {
    Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(rows, value), None))
}

pub(crate) fn floats(values: &[f32]) -> ArrayRef {
    let nulls = nulls(values.len(), |row| !values[row].is_nan());
    Arc::new(Float32Array::new(ScalarBuffer::from(values.to_vec()), nulls))
}

/// A column of numbers; all null where there are none.
fn floats_or_none(values: &[f32], rows: usize) -> ArrayRef {
    if values.is_empty() { no_floats(rows) } else { floats(values) }
}

pub(crate) fn no_floats(rows: usize) -> ArrayRef {
    Arc::new(Float32Array::new(ScalarBuffer::from(vec![0.0; rows]), Some(NullBuffer::new_null(rows))))
}

/// Lists of `width` items, row-major in `values`. With `nullable`, a row without any number is null, and so is
/// every row where `values` is empty.
fn lists(values: &[f32], rows: usize, width: usize, nullable: bool) -> Result<ArrayRef, PublishError> {
    let absent = values.is_empty();
    let width = if absent { 0 } else { width };
    if i32::try_from(rows.saturating_mul(width)).is_err() {
        let error = format!("{rows} lists of {width} values do not fit one column");
        return Err(arrow::error::ArrowError::InvalidArgumentError(error).into());
    }
    let offsets = OffsetBuffer::from_repeated_length(width, rows);
    let row_nulls = nullable
        .then(|| nulls(rows, |row| values[row * width..(row + 1) * width].iter().any(|v| !v.is_nan())))
        .flatten();
    Ok(Arc::new(ListArray::try_new(item_field(), offsets, floats(values), row_nulls)?))
}

#[cfg(test)]
pub(crate) mod tests;
