//! The particles of a map as an Arrow table: one row per particle, in the order of their labels.
//!
//! Columns, types and nullability are the same for every map; one without particles has no rows. `proto/archive-layout.md` describes them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, ListArray, RecordBatch, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};

use super::PublishError;
use super::table::{METADATA_PREFIX, names, words};
use crate::classify::Status;
use crate::particles::{Estimate, Particle, Particles};
use crate::scan::ScanPlan;

/// The table, with metadata `phasewatch.scan_id`, `.generation`, `.version`, `.simulated`, `.phases` and `.variable`.
///
/// # Errors
/// [`PublishError`]: more particles or pixels in them than one column holds.
pub fn particles(plan: &ScanPlan, found: &Particles) -> Result<RecordBatch, PublishError> {
    let list = &found.particles;
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    let mut add = |name: &str, column: ArrayRef, nullable: bool| {
        columns.push((Field::new(name, column.data_type().clone(), nullable), column));
    };
    let all = |word: &str| words(list.iter().map(|_| 0), names(&[word]));
    let count = |of: &dyn Fn(&Particle) -> usize| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(list.iter().map(|own| of(own) as u32)))
    };
    let number = |of: &dyn Fn(&Particle) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(list.iter().map(of)))
    };
    let optional = |of: &dyn Fn(&Particle) -> Option<f64>| -> ArrayRef {
        let finite = |own: &Particle| of(own).filter(|value| value.is_finite());
        Arc::new(list.iter().map(finite).collect::<Float64Array>())
    };
    add("scan_id", all(&plan.scan_id)?, false);
    add("beamline", all(&plan.beamline)?, false);
    add("simulated", Arc::new(BooleanArray::from(vec![plan.simulated; list.len()])), false);
    add("particle", count(&|own| own.id as usize), false);
    add("y", number(&|own| own.centre[0]), false);
    add("x", number(&|own| own.centre[1]), false);
    add("y_px", number(&|own| own.centre_px[0]), false);
    add("x_px", number(&|own| own.centre_px[1]), false);
    add("pixels", count(&|own| own.pixels.len()), false);
    add("area_px", number(&|own| own.area_px.value), false);
    add("area_px_error", number(&|own| own.area_px.sigma), false);
    add("area_um2", optional(&|own| own.area_um2.map(value)), true);
    add("area_um2_error", optional(&|own| own.area_um2.map(sigma)), true);
    add("at_border", Arc::new(BooleanArray::from_iter(list.iter().map(|own| Some(own.at_border)))), false);
    add("touches", integers(list, |own| &own.touches)?, false);
    add("overlaps", Arc::new(BooleanArray::from_iter(list.iter().map(|own| Some(own.overlaps)))), false);
    add("mean_od", number(&|own| own.mean_od.value), false);
    add("mean_od_error", number(&|own| own.mean_od.sigma), false);
    add("thickness_nm", optional(&|own| own.thickness_nm.map(value)), true);
    add("thickness_nm_error", optional(&|own| own.thickness_nm.map(sigma)), true);
    add("shares", numbers(list, |own| own.shares.iter().map(|share| share.value))?, false);
    add("share_errors", numbers(list, |own| own.shares.iter().map(|share| share.sigma))?, false);
    add("state_low", optional(&|own| Some(own.x?.low)), true);
    add("state", optional(&|own| Some(own.x?.middle)), true);
    add("state_high", optional(&|own| Some(own.x?.high)), true);
    add("state_spread", optional(&|own| own.x_spread), true);
    add("unknown", number(&|own| own.unknown), false);
    add("entropy_bits", optional(&|own| own.entropy_bits), true);
    for (index, status) in Status::ALL.iter().enumerate() {
        add(&format!("n_{}", status.name()), count(&|own| own.status_counts[index]), false);
    }
    add("pixel", integers(list, |own| &own.pixels)?, false);
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let schema = Schema::new_with_metadata(fields, metadata(plan, found)?);
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn metadata(plan: &ScanPlan, found: &Particles) -> Result<HashMap<String, String>, PublishError> {
    let pairs = [
        ("scan_id", plan.scan_id.clone()),
        ("generation", found.generation.to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("simulated", plan.simulated.to_string()),
        ("phases", serde_json::to_string(&found.phases)?),
        ("variable", found.variable.clone().unwrap_or_default()),
        ("unit", plan.grid.unit.clone()),
    ];
    Ok(pairs.into_iter().map(|(key, value)| (format!("{METADATA_PREFIX}{key}"), value)).collect())
}

fn value(of: Estimate) -> f64 {
    of.value
}

fn sigma(of: Estimate) -> f64 {
    of.sigma
}

fn integers<'a>(
    list: &'a [Particle],
    of: impl Fn(&'a Particle) -> &'a Vec<u32>,
) -> Result<ArrayRef, PublishError> {
    let lengths = list.iter().map(|own| of(own).len());
    let values = UInt32Array::from_iter_values(list.iter().flat_map(|own| of(own).iter().copied()));
    lists(DataType::UInt32, lengths, Arc::new(values))
}

fn numbers<'a, I: Iterator<Item = f64>>(
    list: &'a [Particle],
    of: impl Fn(&'a Particle) -> I,
) -> Result<ArrayRef, PublishError> {
    let lengths = list.iter().map(|own| of(own).count());
    let values = Float64Array::from_iter_values(list.iter().flat_map(&of));
    lists(DataType::Float64, lengths, Arc::new(values))
}

fn lists(
    of: DataType,
    lengths: impl Iterator<Item = usize>,
    values: ArrayRef,
) -> Result<ArrayRef, PublishError> {
    let item = Arc::new(Field::new_list_field(of, false));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::{Float64Type, UInt32Type};

    use super::*;
    use crate::particles::Interval;
    use crate::scan::test_plan;

    fn particle(id: u32) -> Particle {
        let estimate = |value: f64| Estimate { value, sigma: 0.1 * value };
        Particle {
            id,
            pixels: vec![3, 4, 5],
            centre_px: [0.0, 4.0],
            centre: [0.0, 0.4],
            area_px: estimate(3.0),
            area_um2: Some(estimate(0.03)),
            at_border: true,
            touches: vec![2],
            overlaps: false,
            mean_od: estimate(0.5),
            thickness_nm: None,
            shares: vec![estimate(0.25), estimate(0.75)],
            x: Some(Interval { low: 2.0, middle: 2.2, high: 2.5 }),
            unknown: 0.0,
            x_spread: Some(f64::NAN),
            entropy_bits: Some(0.8),
            status_counts: [0, 0, 0, 2, 1, 0, 0],
        }
    }

    #[test]
    fn particles_are_rows_and_none_are_none() {
        let plan = test_plan(1, 8, 2);
        let found = Particles {
            phases: vec!["na3.0".into(), "na2.0".into()],
            variable: Some("na_x".into()),
            particles: vec![particle(1), particle(7)],
            ..Particles::default()
        };
        let table = particles(&plan, &found).unwrap();
        let empty = particles(&plan, &Particles::default()).unwrap();
        assert_eq!((table.num_rows(), empty.num_rows()), (2, 0));
        assert_eq!(table.schema().fields(), empty.schema().fields());
        let number = |name: &str| table.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
        assert_eq!((number("state").value(1), number("area_px_error").value(0)), (2.2, 0.1 * 3.0));
        assert!(number("thickness_nm").is_null(0) && number("state_spread").is_null(0));
        let shares = table.column_by_name("shares").unwrap().as_list::<i32>().value(1);
        assert_eq!(shares.as_primitive::<Float64Type>().values(), &[0.25, 0.75]);
        let pixels = table.column_by_name("pixel").unwrap().as_list::<i32>().value(0);
        assert_eq!(pixels.as_primitive::<UInt32Type>().values(), &[3, 4, 5]);
        assert_eq!(table.column_by_name("n_mixture").unwrap().as_primitive::<UInt32Type>().value(0), 1);
        assert_eq!(table.schema().metadata()["phasewatch.variable"], "na_x");
    }
}
