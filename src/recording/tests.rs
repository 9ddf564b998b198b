use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Builder, Float64Array, ListBuilder, RecordBatch, UInt32Array};
use parquet::arrow::ArrowWriter;

use super::*;

/// y, x, counts, i0.
type Row = (u32, u32, [Option<f32>; 3], [Option<f32>; 3]);

/// A stack of 3 energies by 2 rows by 3 columns; the image of the second energy is missing.
fn als_stack(dir: &Path) -> PathBuf {
    let header = "ScanDefinition = { Label = \"t.hdr\"; Dwell = 0.5;\n\tRegions = (1,\n{\n\
        PAxis = { Name = \"Sample X\"; Unit = \"um\"; Points = (3, 1.0, 1.1, 1.2); };\n\
        QAxis = { Unit = \"um\"; Points = (2, 5, 4);};\n});\n\
        StackAxis = { Name = \"Energy\"; Points = (3, 700, 700.5, 702);};\n};\n\
        Time = \"2007 December 14 18:52:00\"; StorageRingCurrent = 333.4;\n\
        Image2 = {StorageRingCurrent = 333.1; Time = \"2007 December 14 18:52:26\";};\n\
        Image3 = {StorageRingCurrent = 332.8; Time = \"2007 December 14 18:53:05\";};\n";
    let path = dir.join("my stack.hdr");
    std::fs::write(&path, header).unwrap();
    std::fs::write(dir.join("my stack_a000.xim"), "1.0\t2\t3\n4\tnan\t6\n\n").unwrap();
    std::fs::write(dir.join("my stack_a002.xim"), "7\t8\t9\n10\t11\t12\n").unwrap();
    path
}

#[test]
fn reads_an_als_stack_with_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let recording = Recording::load(&als_stack(dir.path())).unwrap();
    let plan = &recording.plan;
    assert_eq!((plan.scan_id.as_str(), plan.beamline.as_str()), ("my_stack", "unknown"));
    assert_eq!(plan.grid.shape, [2, 3]);
    assert!((plan.grid.x.step - 0.1).abs() < 1e-9 && plan.grid.y.step == -1.0);
    assert_eq!(plan.energies_ev, [700.0, 700.5, 702.0]);
    assert_eq!(plan.dwell_ms, [0.5; 3]);
    assert!(!plan.simulated);
    assert_eq!(plan.started.to_rfc3339(), "2007-12-14T18:52:00+00:00");
    assert!(recording.planes[1].values.is_empty(), "a missing image is a gap");
    assert_eq!(recording.planes[0].ring_current_ma, Some(333.4));
    assert_eq!(recording.planes[2].ring_current_ma, Some(332.8));
    assert_eq!(recording.planes[2].time.unwrap().to_rfc3339(), "2007-12-14T18:53:05+00:00");
}

#[test]
fn batches_are_lines_in_the_order_of_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    let recording = Recording::load(&als_stack(dir.path())).unwrap();
    let batches: Vec<_> = recording.batches().collect();
    assert_eq!(batches.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let place: Vec<_> = batches.iter().map(|(_, b)| (b.energy_index, b.pixels.clone())).collect();
    assert_eq!(place[0], (0, Pixels::Run { first: 0, count: 3 }));
    assert_eq!(place[1], (0, Pixels::List(vec![3, 5])), "not measured is not sent");
    assert_eq!(place[3], (2, Pixels::Run { first: 3, count: 3 }));
    assert_eq!(batches[1].1.values, [4.0, 6.0]);

    let mut stack = crate::stack::Stack::new(recording.plan.clone());
    for (seq, batch) in recording.batches() {
        stack.push(seq, &batch).unwrap();
    }
    assert_eq!(stack.measured(), 11);
}

#[test]
fn a_subset_keeps_planes_and_lists_together() {
    let dir = tempfile::tempdir().unwrap();
    let subset = Recording::load(&als_stack(dir.path())).unwrap().subset(&[2, 0, 9]);
    assert_eq!(subset.plan.energies_ev, [702.0, 700.0]);
    assert_eq!(subset.planes[0].values[0], 7.0);
    subset.plan.validate().unwrap();
}

#[test]
fn names_file_and_line_of_a_bad_image() {
    let dir = tempfile::tempdir().unwrap();
    let path = als_stack(dir.path());
    let refused = |text: &str| {
        std::fs::write(dir.path().join("my stack_a002.xim"), text).unwrap();
        Recording::load(&path).unwrap_err().to_string()
    };
    let error = refused("7 8 9\n10 11\n");
    assert!(error.contains("my stack_a002.xim, line 2: 2 values"), "{error}");
    assert!(refused("7 8 9\n10 11 12 13\n").contains("line 2: 4 values"));
    assert!(refused("7 8 9\n10 eleven 12\n").contains("line 2: \"eleven\""));
    assert!(refused("7 8 9\n10 inf 12\n").contains("line 2"));
    assert!(refused("7 8 9\n").contains("1 rows"));
    assert!(refused("7 8 9\n1 2 3\n4 5 6\n").contains("line 3: more rows"));
}

#[test]
fn refuses_headers_that_contradict_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let path = als_stack(dir.path());
    let header = std::fs::read_to_string(&path).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(header.contains(from));
        std::fs::write(&path, header.replace(from, to)).unwrap();
        Recording::load(&path).unwrap_err().to_string()
    };
    assert!(refused("(3, 700, 700.5, 702)", "(400000000, 700, 700.5, 702)").contains("StackAxis.Points"));
    assert!(refused("Regions = (1,", "Regions = (2,").contains("region"));
    assert!(refused("Dwell = 0.5", "Dwell = 0").contains("dwell_ms"));
    assert!(refused("(3, 1.0, 1.1, 1.2)", "(3, 1.0, 1.1, x)").contains("PAxis.Points"));
    std::fs::write(&path, &header).unwrap();
    for energy in ["a000", "a002"] {
        std::fs::remove_file(dir.path().join(format!("my stack_{energy}.xim"))).unwrap();
    }
    assert!(Recording::load(&path).unwrap_err().to_string().contains("none of its images"));
}

/// Writes the plan of [`als_stack`] as our archive would, with the given rows of y, x, counts, i0.
fn archived(dir: &Path, rows: &[Row]) -> PathBuf {
    let plan = Recording::load(&als_stack(dir)).unwrap().plan;
    std::fs::write(dir.join("manifest.json"), serde_json::json!({ "plan": plan, "files": [] }).to_string())
        .unwrap();
    let lists = |pick: fn(&Row) -> [Option<f32>; 3]| -> ArrayRef {
        let mut builder = ListBuilder::new(Float32Builder::new());
        rows.iter().for_each(|row| builder.append_value(pick(row)));
        Arc::new(builder.finish())
    };
    let batch = RecordBatch::try_from_iter([
        ("y", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.0))) as ArrayRef),
        ("x", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.1)))),
        ("counts", lists(|row| row.2)),
        ("i0", lists(|row| row.3)),
    ])
    .unwrap();
    write(&dir.join("stack.parquet"), &batch);
    let ring: ArrayRef = Arc::new(Float64Array::from(vec![Some(400.0), None, Some(399.0)]));
    write(&dir.join("energies.parquet"), &RecordBatch::try_from_iter([("ring_current_ma", ring)]).unwrap());
    dir.join("stack.parquet")
}

fn write(path: &Path, batch: &RecordBatch) {
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn all_rows() -> Vec<Row> {
    let one = |y: u32, x: u32| {
        let value = (10 * y + x) as f32;
        (
            y,
            x,
            [Some(value), None, Some(value + 0.5)],
            [Some(50.0), None, if x == 1 { None } else { Some(60.0) }],
        )
    };
    // Not in row-major order, which no reader may rely on.
    (0..2).flat_map(|y| (0..3).rev().map(move |x| one(y, x))).collect()
}

#[test]
fn reads_our_archive() {
    let dir = tempfile::tempdir().unwrap();
    let path = archived(dir.path(), &all_rows());
    let recording = Recording::load(&path).unwrap();
    assert_eq!(recording.planes[0].values, [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    assert!(recording.planes[1].values.is_empty());
    assert_eq!(recording.planes[2].ring_current_ma, Some(399.0));
    let batches: Vec<_> = recording.batches().map(|(_, batch)| batch).collect();
    assert_eq!(batches[0].i0, I0::One(50.0));
    // The middle pixel has no incident intensity: it comes in a batch of its own.
    assert_eq!((batches[2].pixels.clone(), batches[2].i0.clone()), (Pixels::List(vec![0, 2]), I0::One(60.0)));
    assert_eq!(
        (batches[3].pixels.clone(), batches[3].i0.clone()),
        (Pixels::Run { first: 1, count: 1 }, I0::None)
    );
    let by_folder = Recording::load(dir.path()).unwrap();
    assert_eq!(by_folder.planes[2].values, recording.planes[2].values);
}

#[test]
fn refuses_an_archive_that_contradicts_its_plan() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = all_rows();
    rows[1].1 = 2;
    let error = Recording::load(&archived(dir.path(), &rows)).unwrap_err().to_string();
    assert!(error.contains("row 1") && error.contains("comes twice"), "{error}");
    rows[1].1 = 7;
    assert!(Recording::load(&archived(dir.path(), &rows)).unwrap_err().to_string().contains("outside"));
    rows.pop();
    assert!(Recording::load(&archived(dir.path(), &rows)).unwrap_err().to_string().contains("5 rows"));
    std::fs::write(dir.path().join("stack.parquet"), b"PAR1 no").unwrap();
    assert!(Recording::load(&dir.path().join("stack.parquet")).is_err());
    assert!(matches!(Recording::load(Path::new("/nowhere.txt")), Err(RecordingError::Unknown(_))));
}

#[test]
fn reads_the_real_iron_stack() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/als-fe-l-71214078/71214078.hdr");
    if !Path::new(path).exists() {
        eprintln!("SKIPPED: {path} is not there");
        return;
    }
    let recording = Recording::load(Path::new(path)).unwrap();
    let plan = &recording.plan;
    assert_eq!((plan.energies_ev.len(), plan.grid.shape), (123, [125, 125]));
    assert_eq!((plan.energies_ev[0], plan.energies_ev[122]), (700.0, 730.353));
    assert!((plan.grid.x.step - 0.08).abs() < 1e-6 && (plan.grid.y.step - 0.08).abs() < 1e-6);
    assert!(plan.dwell_ms.iter().all(|&dwell_ms| dwell_ms == 0.433));
    assert!((recording.planes[0].ring_current_ma.unwrap() - 333.0).abs() < 1.0);
    assert!((recording.planes[122].ring_current_ma.unwrap() - 306.4).abs() < 0.1);
    assert!(recording.planes.iter().all(|plane| plane.time.is_some() && plane.values.len() == 15625));
    assert!(recording.planes[0].values.iter().all(|value| value.fract() == 0.0));
    assert!(recording.planes[1].values.iter().any(|value| value.fract() != 0.0));
    assert_eq!(recording.i0.as_ref().unwrap().len(), 123);
    assert_eq!(recording.batches().count(), 123 * 125);
}
