//! Mean spectra of a scan: per phase and energy, the mean optical density of the pixels of that phase.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::PublishError;
use super::table::{METADATA_PREFIX, dictionary_type, floats, words};
use crate::classify::{DensityView, PhaseMap, PhaseSpectra};
use crate::scan::ScanPlan;

/// Mean spectra, long form: each row is one phase at one energy. All columns are equally long.
#[derive(Clone, Debug)]
pub struct MeanSpectra {
    /// The plan as it is now.
    pub plan: Arc<ScanPlan>,
    /// Generation of the map that says which pixels belong to which phase.
    pub generation: u64,
    /// Names the rows refer to: the phases of the map, in its order; further groups may follow (`background`).
    pub names: Vec<String>,
    /// Index into `names`.
    pub phase: Vec<u8>,
    /// Energy the optical density belongs to, eV.
    pub energy_ev: Vec<f64>,
    /// Mean optical density, NaN where no pixel has a value.
    pub od_mean: Vec<f32>,
    /// Standard deviation over the pixels, NaN below two.
    pub od_std: Vec<f32>,
    /// Number of pixels with a usable value.
    pub pixels: Vec<u32>,
}

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("phase", dictionary_type(), false),
        Field::new("energy_ev", DataType::Float64, false),
        Field::new("od_mean", DataType::Float32, true),
        Field::new("od_std", DataType::Float32, true),
        Field::new("pixels", DataType::UInt32, false),
    ])
});

impl MeanSpectra {
    /// No rows.
    #[must_use]
    pub fn empty(plan: Arc<ScanPlan>, generation: u64, names: Vec<String>) -> Self {
        Self {
            plan,
            generation,
            names,
            phase: Vec::new(),
            energy_ev: Vec::new(),
            od_mean: Vec::new(),
            od_std: Vec::new(),
            pixels: Vec::new(),
        }
    }

    /// The mean spectra of the phases of a map, of the stack that it was made of.
    #[must_use]
    pub fn of(view: &DensityView<'_>, map: &PhaseMap) -> Self {
        let sums = PhaseSpectra::new(view, map);
        let names = map.phases.iter().map(|label| label.id.clone()).collect();
        let mut spectra = Self::empty(map.plan.clone(), map.origin.generation, names);
        for phase in 0..map.phases.len() {
            for (energy, &energy_ev) in map.plan.energies_ev.iter().enumerate() {
                let (pixels, od_mean, od_std) = sums.get(phase, energy);
                spectra.phase.push(phase as u8);
                spectra.energy_ev.push(energy_ev);
                spectra.od_mean.push(od_mean);
                spectra.od_std.push(od_std);
                spectra.pixels.push(pixels);
            }
        }
        spectra
    }

    /// The table, with metadata `phasewatch.scan_id`, `.generation`, `.version` and `.simulated`.
    ///
    /// # Errors
    /// [`PublishError::Length`] where a column has another length than `phase`, [`PublishError::Phases`] above 255
    /// names, [`PublishError::Arrow`] where a row refers to a name that is not there.
    pub fn table(&self) -> Result<RecordBatch, PublishError> {
        if self.names.len() > super::table::MAX_PHASES {
            return Err(PublishError::Phases(self.names.len()));
        }
        let wanted = self.phase.len();
        let lengths = [
            ("energy_ev", self.energy_ev.len()),
            ("od_mean", self.od_mean.len()),
            ("od_std", self.od_std.len()),
            ("pixels", self.pixels.len()),
        ];
        if let Some((column, found)) = lengths.into_iter().find(|&(_, found)| found != wanted) {
            return Err(PublishError::Length { column, found, wanted });
        }
        let keys = self.phase.iter().map(|&index| i32::from(index));
        let columns = vec![
            words(keys, Arc::new(StringArray::from_iter_values(&self.names)))?,
            Arc::new(Float64Array::from(self.energy_ev.clone())),
            floats(&self.od_mean),
            floats(&self.od_std),
            Arc::new(UInt32Array::from(self.pixels.clone())),
        ];
        let metadata: HashMap<String, String> = [
            ("scan_id", self.plan.scan_id.clone()),
            ("generation", self.generation.to_string()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("simulated", self.plan.simulated.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (format!("{METADATA_PREFIX}{key}"), value))
        .collect();
        let schema = Schema::new_with_metadata(FIELDS.clone(), metadata);
        Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
    }
}
