use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use arrow::ipc::reader::StreamReader;
use proptest::prelude::*;

use super::*;
use crate::classify::{Origin, PhaseLabel, RevisionReason};
use crate::scan::{Axis, Grid, ScanPlan};

pub(crate) fn plan(ny: usize, nx: usize, energies: usize) -> ScanPlan {
    let grid = Grid {
        shape: [ny, nx],
        x: Axis { start: -4.0, step: 0.08 },
        y: Axis { start: 2.0, step: -0.08 },
        unit: "um".into(),
    };
    let energies_ev = (0..energies).map(|e| 512.0 + 0.25 * e as f64).collect();
    ScanPlan {
        beamline: "hermes".into(),
        sample: Some("NVPF, cycled".into()),
        region: Some("r3".into()),
        simulated: true,
        started: chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        ..ScanPlan::of_stack("NVPF_0042".into(), grid, energies_ev, 1.0)
    }
}

pub(crate) fn labels() -> Arc<[PhaseLabel]> {
    let colours = [[0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167]];
    ["na3.0", "na2.4", "na2.0", "na1.0"]
        .iter()
        .zip(colours)
        .map(|(id, colour)| PhaseLabel { id: (*id).into(), title: id.replace("na", "x = "), colour })
        .collect()
}

/// A map with every status, method and cause in it, and some of every kind of hole.
pub(crate) fn map(ny: usize, nx: usize, clusters: &[&str]) -> PhaseMap {
    let origin = Origin {
        generation: 7,
        energies_done: 9,
        clusters: clusters.iter().map(|&c| c.to_owned()).collect(),
        references_sha256: "ab".repeat(32),
        normalisation: vec![("i0".into(), "region of 812 pixels".into())],
        corrected_ev: vec![512.3, 515.3],
        calibrated_on: "uncalibrated".into(),
        revision_reason: RevisionReason::I0,
        ..Origin::default()
    };
    let mut map = PhaseMap::unmeasured(Arc::new(plan(ny, nx, 12)), labels(), origin);
    for p in 0..map.len() {
        map.status[p] = Status::ALL[p % 7];
        map.method[p] = Method::ALL[p % 4];
        map.ambiguity[p] = Ambiguity::ALL[p % 5];
        map.energies_seen[p] = p as u16;
        map.smoothed[p] = p % 3 == 0;
        if p % 7 >= 3 {
            map.phase[p] = (p % 4) as u8;
            map.runner_up[p] = ((p + 1) % 4) as u8;
            map.correlation[p] = 0.9;
            for k in 0..4 {
                map.correlations[p * 4 + k] = if k == 3 { f32::NAN } else { k as f32 / 10.0 };
            }
        }
    }
    map
}

fn read_back(batch: &RecordBatch) -> RecordBatch {
    let bytes = crate::publish::ipc::stream(batch).unwrap();
    let mut reader = StreamReader::try_new(&bytes[..], None).unwrap();
    let back = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    back
}

#[test]
fn has_the_columns_and_types_of_the_contract_whatever_the_map() {
    let tables = [map(2, 3, &[]), map(5, 4, &["na3.0", "mixture"])].map(|map| phase_map(&map).unwrap());
    for table in &tables {
        assert_eq!(table.schema().fields(), fields());
        assert_eq!(read_back(table).schema().fields(), fields());
    }
    let listed: Vec<String> = fields()
        .iter()
        .map(|f| {
            let kind = match f.data_type() {
                DataType::Dictionary(key, value) => format!("dictionary<{key}, {value}>"),
                DataType::List(item) => format!("list<{}>", item.data_type()),
                other => other.to_string(),
            };
            format!("{} {kind}{}", f.name(), if f.is_nullable() { " nullable" } else { "" })
        })
        .collect();
    insta::assert_snapshot!(listed.join("\n"), @r#"
        y UInt32
        x UInt32
        status dictionary<Int32, Utf8>
        phase dictionary<Int32, Utf8> nullable
        runner_up dictionary<Int32, Utf8> nullable
        method dictionary<Int32, Utf8>
        scan_id dictionary<Int32, Utf8>
        beamline dictionary<Int32, Utf8>
        simulated Boolean
        correlation Float32 nullable
        margin Float32 nullable
        delta_chi2 Float32 nullable
        confidence Float32 nullable
        energies_seen UInt16
        energies_masked UInt16
        edge_jump Float32 nullable
        ambiguity dictionary<Int32, Utf8>
        share Float32 nullable
        share_error Float32 nullable
        fit_chi2 Float32 nullable
        smoothed Boolean
        correlations list<Float32>
        posterior list<Float32> nullable
        dose_mgy Float32 nullable
        readings dictionary<Int32, Utf8> nullable
        dose_relative Float32 nullable
        "#);
}

#[test]
fn turns_nan_and_no_phase_into_null() {
    let map = map(3, 7, &[]);
    let table = read_back(&phase_map(&map).unwrap());
    let column = |name: &str| table.column_by_name(name).unwrap();
    for p in 0..map.len() {
        assert_eq!(column("phase").is_null(p), map.phase[p] == NO_PHASE);
        assert_eq!(column("correlation").is_null(p), map.correlation[p].is_nan());
    }
    let phase = column("phase").as_dictionary::<Int32Type>().downcast_dict::<StringArray>().unwrap();
    assert_eq!(phase.into_iter().nth(3), Some(Some("na1.0")));
    let status = column("status").as_dictionary::<Int32Type>().downcast_dict::<StringArray>().unwrap();
    assert_eq!(status.into_iter().flatten().nth(6), Some("ambiguous"));
    assert_eq!(column("posterior").null_count(), map.len());
    assert_eq!(column("dose_mgy").null_count(), map.len());
    assert_eq!(column("dose_relative").null_count(), map.len());
    let list = column("correlations").as_list::<i32>().value(3);
    assert_eq!(
        list.as_primitive::<Float32Type>().iter().collect::<Vec<_>>(),
        [Some(0.0), Some(0.1), Some(0.2), None]
    );
}

#[test]
fn readings_are_told_in_words_and_null_where_there_is_one_only() {
    let mut map = map(1, 4, &[]);
    map.readings[1] = [1, NO_PHASE, 0, 2];
    map.readings[2] = [0, 3, 1, NO_PHASE];
    map.readings[3] = map.readings[1];
    let table = read_back(&phase_map(&map).unwrap());
    let column = table.column_by_name("readings").unwrap().as_dictionary::<Int32Type>();
    let words: Vec<_> = column.downcast_dict::<StringArray>().unwrap().into_iter().collect();
    let one = Some("na2.4, or na3.0 with na2.0");
    assert_eq!(words, [None, one, Some("na3.0 with na1.0, or na2.4"), one]);
}

#[test]
fn posterior_is_null_where_the_model_did_not_run() {
    let mut map = map(1, 3, &["a", "b"]);
    map.posterior = vec![f32::NAN; map.len() * 2];
    map.posterior[2..4].copy_from_slice(&[0.25, 0.75]);
    let table = read_back(&phase_map(&map).unwrap());
    let posterior = table.column_by_name("posterior").unwrap().as_list::<i32>();
    assert_eq!((0..3).map(|p| posterior.is_null(p)).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(posterior.value(1).as_primitive::<Float32Type>().values(), &[0.25, 0.75]);
}

#[test]
fn metadata_says_what_the_map_was_made_from() {
    let table = read_back(&phase_map(&map(2, 2, &["a"])).unwrap());
    let mut pairs: Vec<_> = table.schema().metadata().clone().into_iter().collect();
    pairs.sort();
    let get = |key: &str| &pairs.iter().find(|(k, _)| k == &format!("phasewatch.{key}")).unwrap().1;
    assert_eq!(pairs.len(), 19);
    assert_eq!(get("dose"), "null");
    assert_eq!(get("corrected_energies_ev"), "[512.3,515.3]");
    assert_eq!(get("phases"), r#"["na3.0","na2.4","na2.0","na1.0"]"#);
    assert_eq!(get("normalisation"), r#"{"i0":"region of 812 pixels"}"#);
    assert_eq!((get("simulated").as_str(), get("complete").as_str()), ("true", "false"));
    assert_eq!((get("revision_reason").as_str(), get("energies_total").as_str()), ("i0", "12"));
    assert_eq!(serde_json::from_str::<Grid>(get("grid")).unwrap(), plan(2, 2, 1).grid);
}

#[test]
fn refuses_columns_of_another_length() {
    let mut map = map(2, 2, &[]);
    map.margin.pop();
    let error = phase_map(&map).unwrap_err().to_string();
    assert_eq!(error, "column margin has 3 values for 4 rows");
}

#[test]
fn a_large_map_is_made_quickly() {
    let map = map(256, 256, &["a", "b", "c", "d", "mixture"]);
    let start = std::time::Instant::now();
    for _ in 0..10 {
        crate::publish::ipc::stream(&phase_map(&map).unwrap()).unwrap();
    }
    // Generous: a debugger or a busy machine is not a failure; an allocation per pixel would be.
    let each = start.elapsed() / 10;
    eprintln!("256×256 to IPC bytes: {each:?}");
    assert!(each < std::time::Duration::from_millis(200), "{each:?}");
}

proptest! {
    #[test]
    fn any_map_comes_back_as_it_was(
        ny in 1_usize..6, nx in 1_usize..6,
        phases in prop::collection::vec(prop_oneof![Just(NO_PHASE), 0_u8..4], 36),
        floats in prop::collection::vec(prop_oneof![Just(f32::NAN), -1.0_f32..1.0], 36),
    ) {
        let mut map = map(ny, nx, &[]);
        let n = map.len();
        map.phase.copy_from_slice(&phases[..n]);
        map.share.copy_from_slice(&floats[..n]);
        let table = read_back(&phase_map(&map).unwrap());
        let phase = table.column_by_name("phase").unwrap().as_dictionary::<Int32Type>();
        let phase = phase.downcast_dict::<StringArray>().unwrap();
        let share = table.column_by_name("share").unwrap().as_primitive::<Float32Type>();
        let (ys, xs) = (table.column(0).as_primitive::<arrow::datatypes::UInt32Type>(), table.column(1).as_primitive::<arrow::datatypes::UInt32Type>());
        for (p, name) in phase.into_iter().enumerate() {
            prop_assert_eq!(name, map.phases.get(map.phase[p] as usize).map(|l| l.id.as_str()));
            prop_assert_eq!(share.is_valid(p).then(|| share.value(p)), Some(map.share[p]).filter(|v| !v.is_nan()));
            prop_assert_eq!((ys.value(p) as usize, xs.value(p) as usize), (p / nx, p % nx));
        }
    }
}
