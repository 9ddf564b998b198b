//! Archived particles read again: `particles.parquet` back into [`Particles`].
//!
//! The amount of matter in each pixel is not in the table: its edge jump stands in for it, which goes as the amount does. A file that is missing (archives of
//! earlier versions) is none; a pixel outside the grid or in two particles, a column that is missing, or a file that is no Parquet is an error.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::OpenError;
use crate::classify::{PhaseMap, Status};
use crate::particles::{Amounts, Empty, Estimate, Interval, Labels, Particle, Particles};
use crate::publish::table::METADATA_PREFIX;

/// The file.
const FILE: &str = "particles.parquet";

/// The particles of the scan in `folder`, whose map is `map`; none where the archive has no table of them.
///
/// # Errors
/// [`OpenError`].
pub fn open_particles(folder: &Path, map: &PhaseMap) -> Result<Option<Particles>, OpenError> {
    let path = folder.join(FILE);
    let content = |problem: String| OpenError::Content { path: path.display().to_string(), problem };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::Io { path: path.display().to_string(), error }),
    };
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| content(error.to_string()))?;
    let metadata = builder.schema().metadata().clone();
    let word = |key: &str| metadata.get(&format!("{METADATA_PREFIX}{key}")).cloned().unwrap_or_default();
    let mut list = Vec::new();
    for batch in builder.build().map_err(|error| content(error.to_string()))? {
        let batch = batch.map_err(|error| content(error.to_string()))?;
        let rows = Rows { batch: &batch };
        for row in 0..batch.num_rows() {
            list.push(rows.particle(row).ok_or_else(|| content(format!("row {row} is not whole")))?);
        }
    }
    let labels = labels(map, &list).map_err(content)?;
    let variable = Some(word("variable")).filter(|name| !name.is_empty());
    Ok(Some(Particles {
        scan_id: map.plan.scan_id.clone(),
        generation: map.origin.generation,
        phases: serde_json::from_str(&word("phases")).unwrap_or_default(),
        variable,
        particles: list,
        labels,
        amounts: amounts(map),
        ..Particles::default()
    }))
}

fn labels(map: &PhaseMap, list: &[Particle]) -> Result<Labels, String> {
    let mut of_pixel = vec![0_u32; map.len()];
    for (label, particle) in (1..).zip(list) {
        for &pixel in &particle.pixels {
            let own = of_pixel.get_mut(pixel as usize).filter(|own| **own == 0);
            *own.ok_or_else(|| format!("pixel {pixel} is outside the grid, or in two particles"))? = label;
        }
    }
    Ok(Labels { shape: map.plan.grid.shape, of_pixel, count: list.len(), ..Labels::default() })
}

/// Edge jumps: weights only.
fn amounts(map: &PhaseMap) -> Amounts {
    let od = map.edge_jump.clone();
    Amounts { variance: vec![0.0; od.len()], od, empty: Empty::default() }
}

struct Rows<'a> {
    batch: &'a RecordBatch,
}

impl Rows<'_> {
    fn column(&self, name: &str, kind: &DataType) -> Option<ArrayRef> {
        cast(self.batch.column_by_name(name)?, kind).ok()
    }

    /// None where it is null; an error of the caller where the column is missing.
    fn optional(&self, name: &str, row: usize) -> Option<f64> {
        let column = self.column(name, &DataType::Float64)?;
        let column = column.as_primitive::<Float64Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    fn count(&self, name: &str, row: usize) -> Option<u32> {
        let column = self.column(name, &DataType::UInt32)?;
        let column = column.as_primitive::<UInt32Type>();
        column.is_valid(row).then(|| column.value(row))
    }

    fn list(&self, name: &str, row: usize, kind: &DataType) -> Option<ArrayRef> {
        let column = self.batch.column_by_name(name)?.as_list_opt::<i32>()?;
        if column.is_null(row) { None } else { cast(&column.value(row), kind).ok() }
    }

    fn counts(&self, name: &str, row: usize) -> Option<Vec<u32>> {
        let list = self.list(name, row, &DataType::UInt32)?;
        Some(list.as_primitive::<UInt32Type>().values().to_vec())
    }

    fn numbers(&self, name: &str, row: usize) -> Option<Vec<f64>> {
        let list = self.list(name, row, &DataType::Float64)?;
        Some(list.as_primitive::<Float64Type>().values().to_vec())
    }

    fn estimate(&self, name: &str, row: usize) -> Option<Estimate> {
        let (value, sigma) = (self.optional(name, row)?, self.optional(&format!("{name}_error"), row)?);
        Some(Estimate { value, sigma })
    }

    fn particle(&self, row: usize) -> Option<Particle> {
        let number = |name: &str| self.optional(name, row);
        let at_border = self.column("at_border", &DataType::Boolean)?;
        let overlaps = self.column("overlaps", &DataType::Boolean);
        let (values, sigmas) = (self.numbers("shares", row)?, self.numbers("share_errors", row)?);
        let interval = || {
            Some(Interval {
                low: number("state_low")?,
                middle: number("state")?,
                high: number("state_high")?,
            })
        };
        let mut status_counts = [0; 7];
        for (count, status) in status_counts.iter_mut().zip(Status::ALL) {
            *count = self.count(&format!("n_{}", status.name()), row)? as usize;
        }
        Some(Particle {
            id: self.count("particle", row)?,
            pixels: self.counts("pixel", row)?,
            centre_px: [number("y_px")?, number("x_px")?],
            centre: [number("y")?, number("x")?],
            area_px: self.estimate("area_px", row)?,
            area_um2: self.estimate("area_um2", row),
            at_border: at_border.as_boolean().value(row),
            touches: self.counts("touches", row)?,
            // Archives of earlier versions do not say.
            overlaps: overlaps.is_some_and(|own| own.as_boolean().value(row)),
            mean_od: self.estimate("mean_od", row)?,
            thickness_nm: self.estimate("thickness_nm", row),
            shares: values.into_iter().zip(sigmas).map(|(value, sigma)| Estimate { value, sigma }).collect(),
            x: interval(),
            unknown: number("unknown")?,
            x_spread: number("state_spread"),
            entropy_bits: number("entropy_bits"),
            status_counts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{parquet, particles, table};

    fn particle(id: u32, pixels: &[u32]) -> Particle {
        let estimate = |value: f64| Estimate { value, sigma: 0.1 * value };
        Particle {
            id,
            pixels: pixels.to_vec(),
            centre_px: [1.0, 2.5],
            centre: [0.1, 0.25],
            area_px: estimate(3.25),
            area_um2: None,
            at_border: id == 2,
            touches: vec![3 - id],
            overlaps: id == 1,
            mean_od: estimate(0.7),
            thickness_nm: Some(estimate(120.0)),
            shares: [0.25, 0.75, 0.0, 0.0].map(estimate).to_vec(),
            x: (id == 1).then_some(Interval { low: 1.5, middle: 2.0, high: 2.25 }),
            unknown: 0.125,
            x_spread: None,
            entropy_bits: Some(0.5),
            status_counts: [0, 0, 0, 2, 1, 0, 0],
        }
    }

    fn written(folder: &Path, map: &PhaseMap, list: Vec<Particle>) {
        let found = Particles { variable: Some("na_x".into()), particles: list, ..Particles::default() };
        let batch = particles::particles(&map.plan, &found).unwrap();
        parquet::write(File::create(folder.join(FILE)).unwrap(), &batch).unwrap();
    }

    #[test]
    fn particles_come_back_as_they_were_and_a_missing_table_is_none() {
        let (dir, map) = (tempfile::tempdir().unwrap(), table::tests::map(6, 8, &[]));
        assert!(open_particles(dir.path(), &map).unwrap().is_none());
        let list = vec![particle(1, &[3, 4, 5]), particle(2, &[20, 21])];
        written(dir.path(), &map, list.clone());
        let found = open_particles(dir.path(), &map).unwrap().unwrap();
        assert_eq!(found.particles, list);
        assert_eq!((found.labels.count, found.labels.of_pixel[21], found.labels.of_pixel[0]), (2, 2, 0));
        assert_eq!(found.variable.as_deref(), Some("na_x"));
        written(dir.path(), &map, Vec::new());
        assert!(open_particles(dir.path(), &map).unwrap().unwrap().particles.is_empty());
    }

    #[test]
    fn what_is_damaged_or_of_another_grid_is_refused() {
        let (dir, map) = (tempfile::tempdir().unwrap(), table::tests::map(6, 8, &[]));
        for list in [vec![particle(1, &[48])], vec![particle(1, &[3]), particle(2, &[3])]] {
            written(dir.path(), &map, list);
            assert!(open_particles(dir.path(), &map).unwrap_err().to_string().contains("two particles"));
        }
        std::fs::write(dir.path().join(FILE), b"PAR1 but no more").unwrap();
        assert!(open_particles(dir.path(), &map).is_err());
    }
}
