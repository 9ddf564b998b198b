use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, UInt32Type};
use chrono::{DateTime, Utc};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use super::*;
use crate::publish::MeanSpectra;
use crate::publish::table::tests::{map, plan};
use crate::scan::{Channel, I0, Outcome, Pixels, SampleBatch, ScanPlan};
use crate::stack::Stack;

fn stack(plan: ScanPlan) -> Stack {
    let mut stack = Stack::new(plan);
    let pixels = stack.plan().grid.pixels();
    for energy in 0..stack.planes().len() {
        let values = (0..pixels).map(|p| (100 * energy + p) as f32).collect();
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: Pixels::Run { first: 0, count: pixels as u32 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values,
            i0: if energy == 1 { I0::One(5000.0) } else { I0::None },
            ring_current_ma: Some(400.0),
            energy_ev: (energy == 2).then_some(512.25),
            time: (energy > 3).then(|| DateTime::from_timestamp_micros(1_790_000_000_123_457).unwrap()),
        };
        stack.note_seq(2 * energy as u64);
        stack.push(2 * energy as u64, &batch).unwrap();
    }
    stack
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_003_600, 0).unwrap()
}

/// Archives a scan of 3×4 pixels and 12 energies, changed by `change`.
pub(crate) fn archive(root: &Path, change: impl FnOnce(&mut ScanPlan, &mut bool, &mut bool)) -> Placed {
    let (mut plan, mut provisional, mut reopen) = (plan(3, 4, 12), false, false);
    change(&mut plan, &mut provisional, &mut reopen);
    let stack = stack(plan);
    write(root, &job(&stack, provisional, reopen)).unwrap()
}

/// The manifest of a scan that was archived at `archived_at`, without files.
pub(crate) fn manifest(scan_id: &str, archived_at: DateTime<Utc>) -> Manifest {
    let plan = ScanPlan { scan_id: scan_id.to_owned(), ..plan(3, 4, 12) };
    let root = tempfile::tempdir().unwrap();
    let stack = stack(plan);
    let placed = write(root.path(), &ArchiveJob { archived_at, ..job(&stack, false, false) }).unwrap();
    Manifest { files: BTreeMap::new(), ..Manifest::read(placed.path()).unwrap() }
}

fn job(stack: &Stack, provisional: bool, reopen: bool) -> ArchiveJob<'_> {
    let mut map = map(stack.plan().grid.ny(), stack.plan().grid.nx(), &[]);
    map.plan = Arc::clone(stack.plan());
    let spectra = MeanSpectra {
        phase: vec![1],
        energy_ev: vec![517.0],
        od_mean: vec![0.75],
        od_std: vec![0.25],
        pixels: vec![3],
        ..MeanSpectra::empty(Arc::clone(stack.plan()), 7, vec!["na3.0".into(), "na2.4".into()])
    };
    let row = EnergyRow { i0: Some(5000.0), i0_source: Some("region".into()), ..EnergyRow::default() };
    let reason = "silent for 300 s".to_owned();
    ArchiveJob {
        stack,
        map: Box::leak(Box::new(map)),
        findings: Box::leak(Box::default()),
        damage: None,
        spectra: Box::leak(Box::new(spectra)),
        energies: vec![row; stack.planes().len()],
        outcome: if provisional { Outcome::Partial { reason } } else { Outcome::Complete },
        provisional,
        settings: json!({ "i0": { "mode": "auto" } }),
        reopen,
        archived_at: now(),
    }
}

fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_scan_lies_where_the_layout_says_and_can_be_read_back() {
    let root = tempfile::tempdir().unwrap();
    let placed = archive(root.path(), |_, _, _| {});
    let folder = root.path().join("beamline=hermes/date=2026-09-21/scan=NVPF_0042");
    assert_eq!(placed, Placed::New(folder.clone()));
    assert_eq!(
        names(&folder),
        [
            "energies.parquet",
            "findings.json",
            "manifest.json",
            "particles.parquet",
            "phase_map.parquet",
            "phase_map.png",
            "scan.nxs",
            "spectra.parquet",
            "stack.parquet"
        ]
    );
    assert_eq!(names(root.path()), ["beamline=hermes"], "nothing temporary is left");
    assert_eq!(read(&folder.join("phase_map.parquet")).schema().fields(), crate::publish::table::fields());
    let stack = read(&folder.join("stack.parquet"));
    assert_eq!(stack.num_rows(), 12);
    let row = |name: &str, row: usize| stack.column_by_name(name).unwrap().as_list::<i32>().value(row);
    assert_eq!(row("counts", 5).as_primitive::<Float32Type>().value(11), 1105.0);
    let i0 = row("i0", 5);
    assert_eq!((i0.len(), i0.null_count(), i0.as_primitive::<Float32Type>().value(1)), (12, 11, 5000.0));
    assert_eq!(stack.column(0).as_primitive::<UInt32Type>().value(5), 1);
    let energies = read(&folder.join("energies.parquet"));
    let number = |name: &str| energies.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    assert_eq!((number("energy_ev").value(2), number("coverage").value(2)), (512.5, 1.0));
    assert_eq!((number("ring_current_ma").value(0), number("shift_x").null_count()), (400.0, 12));
    let manifest = Manifest::read(&folder).unwrap();
    assert_eq!((manifest.plan, manifest.archived_at), (plan(3, 4, 12), now()));
    assert_eq!(manifest.gaps.len(), 11);
}

#[test]
fn the_nexus_file_says_what_the_stack_said() {
    let root = tempfile::tempdir().unwrap();
    let placed = archive(root.path(), |plan, _, _| {
        plan.sample = Some("Größe 7 µm".into());
        plan.detector.signal = crate::scan::Signal::Fluorescence;
        plan.dwell_ms[3] = 7.5;
    });
    let read = |name: &str| crate::recording::Recording::load(&placed.path().join(name)).unwrap();
    let (nexus, parquet) = (read("scan.nxs"), read("stack.parquet"));
    assert_eq!((nexus.plan, nexus.warnings), (parquet.plan, Vec::new()));
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    for (one, other) in nexus.planes.iter().zip(&parquet.planes) {
        assert_eq!((bits(&one.values), bits(&one.i0)), (bits(&other.values), bits(&other.i0)));
        assert_eq!((one.ring_current_ma, one.read_back_ev), (other.ring_current_ma, other.read_back_ev));
        assert_eq!(one.time, other.time);
    }
}

#[test]
fn what_was_not_measured_is_null() {
    let root = tempfile::tempdir().unwrap();
    let mut stack = Stack::new(plan(2, 2, 2));
    let batch = SampleBatch {
        energy_index: 1,
        pixels: Pixels::List(vec![3]),
        channel: Channel::Intensity,
        others: Vec::new(),
        values: vec![9.0],
        i0: I0::One(20.0),
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    };
    stack.push(0, &batch).unwrap();
    let placed = write(root.path(), &job(&stack, true, false)).unwrap();
    let table = read(&placed.path().join("stack.parquet"));
    let lists = |name: &str| -> Vec<Option<Vec<Option<f32>>>> {
        let list = table.column_by_name(name).unwrap().as_list::<i32>();
        list.iter().map(|row| row.map(|row| row.as_primitive::<Float32Type>().iter().collect())).collect()
    };
    let nothing = Some(vec![None, None]);
    assert_eq!(lists("counts"), [nothing.clone(), nothing.clone(), nothing, Some(vec![None, Some(9.0)])]);
    assert_eq!(lists("i0"), [None, None, None, Some(vec![None, Some(20.0)])]);
}

#[test]
fn only_a_provisional_archive_of_the_same_scan_gives_way() {
    let root = tempfile::tempdir().unwrap();
    let day = root.path().join("beamline=hermes/date=2026-09-21");
    let first = day.join("scan=NVPF_0042");
    assert_eq!(archive(root.path(), |_, provisional, _| *provisional = true), Placed::New(first.clone()));
    // The plan of the same scan may have grown meanwhile.
    let extended = |plan: &mut ScanPlan, _: &mut bool, _: &mut bool| *plan = super::tests::plan(3, 4, 14);
    assert_eq!(archive(root.path(), extended), Placed::Replaced(first.clone()));
    assert!(!Manifest::read(&first).unwrap().provisional);
    assert_eq!(archive(root.path(), extended), Placed::AlreadyThere(first.clone()));
    let reopened = |plan: &mut ScanPlan, provisional: &mut bool, reopen: &mut bool| {
        extended(plan, provisional, reopen);
        *reopen = true;
    };
    assert_eq!(archive(root.path(), reopened), Placed::Replaced(first.clone()));
    let other = |plan: &mut ScanPlan, _: &mut bool, _: &mut bool| plan.sample = Some("another".into());
    let second = day.join("scan=NVPF_0042~2");
    assert_eq!(archive(root.path(), other), Placed::New(second.clone()));
    assert_eq!(archive(root.path(), other), Placed::AlreadyThere(second));
    std::fs::write(first.join(MANIFEST), "no manifest").unwrap();
    assert_eq!(archive(root.path(), |_, _, _| {}), Placed::New(day.join("scan=NVPF_0042~3")));
    assert_eq!(std::fs::read(first.join(MANIFEST)).unwrap(), b"no manifest");
    assert_eq!(names(&day), ["scan=NVPF_0042", "scan=NVPF_0042~2", "scan=NVPF_0042~3"]);
}

#[test]
fn an_archive_that_holds_more_values_never_gives_way() {
    let root = tempfile::tempdir().unwrap();
    let whole = stack(plan(3, 4, 12));
    let mut part = Stack::new(plan(3, 4, 12));
    let values = (0..12).map(|p| p as f32).collect();
    let pixels = Pixels::Run { first: 0, count: 12 };
    let (i0, ring_current_ma, energy_ev, time) = (I0::None, None, None, None);
    let channel = Channel::Intensity;
    part.push(
        1,
        &SampleBatch {
            energy_index: 0,
            pixels,
            channel,
            others: Vec::new(),
            values,
            i0,
            ring_current_ma,
            energy_ev,
            time,
        },
    )
    .unwrap();
    let placed = |stack: &Stack, reopen| write(root.path(), &job(stack, true, reopen)).unwrap();
    let first = placed(&whole, false).path().to_owned();
    let second = first.with_file_name("scan=NVPF_0042~2");
    assert_eq!(placed(&part, false), Placed::New(second.clone()));
    assert_eq!(placed(&part, true), Placed::Replaced(second), "as many give way");
    assert_eq!(placed(&whole, false), Placed::Replaced(first));
}

#[test]
fn what_this_process_builds_is_no_leftover() {
    let root = tempfile::tempdir().unwrap();
    let built = durable::TemporaryFolder::create(root.path(), "same").unwrap();
    let left = root.path().join(format!(".tmp-same-{}-999", std::process::id()));
    std::fs::create_dir(&left).unwrap();
    probe(root.path()).unwrap();
    assert_eq!(recover(root.path()).unwrap().removed, [left]);
    assert!(built.path().is_dir());
}

#[test]
fn identifiers_never_lead_out_of_the_root() {
    let root = tempfile::tempdir().unwrap();
    for bad in ["../up", "a/b", "..", "", ".hidden", "a~2"] {
        for field in ["scan_id", "beamline"] {
            let mut plan = plan(2, 2, 2);
            *(if field == "scan_id" { &mut plan.scan_id } else { &mut plan.beamline }) = bad.into();
            let stack = stack(plan);
            let error = write(root.path(), &job(&stack, false, false)).unwrap_err();
            assert!(matches!(error, ArchiveError::Plan(_)), "{bad:?}: {error}");
        }
    }
    assert!(names(root.path()).is_empty());
}

#[test]
fn the_same_scan_gives_the_same_bytes() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // Whom its sender says to ask for what is missing may change from one start to the next.
    let offers = [None, Some("tcp://127.0.0.1:5560".to_owned())];
    let [one, other] = [0, 1].map(|index| {
        let placed = archive(roots[index].path(), |plan, _, _| plan.resend.clone_from(&offers[index]));
        Manifest::read(placed.path()).unwrap().files
    });
    assert_eq!(one, other);
}

#[test]
fn verify_finds_what_was_changed_lost_and_added() {
    let root = tempfile::tempdir().unwrap();
    let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
    let faults = || -> Vec<String> {
        let listed = list(root.path()).unwrap();
        let found = listed.iter().flat_map(|scan| verify(scan).unwrap());
        found.map(|f| format!("{} {}", f.path.file_name().unwrap().display(), f.what)).collect()
    };
    assert!(faults().is_empty());
    let mut bytes = std::fs::read(folder.join("stack.parquet")).unwrap();
    bytes[100] ^= 1;
    std::fs::write(folder.join("stack.parquet"), &bytes).unwrap();
    std::fs::remove_file(folder.join("spectra.parquet")).unwrap();
    std::fs::write(folder.join("note.txt"), "hm").unwrap();
    std::fs::write(folder.join("phase_map.png"), "short").unwrap();
    let found = faults();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], "note.txt is not in the manifest");
    assert!(found[1].starts_with("phase_map.png has 5 bytes instead of "));
    assert_eq!(found[2], "spectra.parquet is missing");
    assert!(found[3].starts_with("stack.parquet has SHA-256 "));
    assert_eq!(show(root.path(), "NVPF_0042").unwrap().len(), 1);
    assert!(show(root.path(), "NVPF").unwrap().is_empty());
}

#[test]
fn a_manifest_cannot_point_out_of_its_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
    let mut manifest = Manifest::read(&folder).unwrap();
    manifest.files.insert("../../secret".into(), FileEntry { sha256: String::new(), bytes: 0 });
    std::fs::write(folder.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
    let faults = verify(&list(root.path()).unwrap()[0]).unwrap();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].what.contains("is not the name of a file"));
}

#[test]
fn recovers_from_a_crash_at_any_point_of_a_replacement() {
    let root = tempfile::tempdir().unwrap();
    let folder = archive(root.path(), |_, provisional, _| *provisional = true).path().to_owned();
    let aside = folder.with_file_name(".old-scan=NVPF_0042");
    let leftover = root.path().join(".tmp-NVPF_0042-4294967295-0");
    std::fs::create_dir(&leftover).unwrap();
    // Before the new one took the name.
    std::fs::rename(&folder, &aside).unwrap();
    let recovered = recover(root.path()).unwrap();
    assert_eq!(recovered, Recovered { restored: vec![folder.clone()], removed: vec![leftover] });
    assert!(Manifest::read(&folder).unwrap().provisional);
    // After it.
    std::fs::rename(&folder, &aside).unwrap();
    archive(root.path(), |_, _, _| {});
    let recovered = recover(root.path()).unwrap();
    assert_eq!(recovered, Recovered { restored: vec![], removed: vec![aside] });
    assert!(!Manifest::read(&folder).unwrap().provisional);
    assert_eq!(recover(&root.path().join("absent")).unwrap(), Recovered::default());
}

#[test]
fn a_failed_write_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let stack = stack(plan(2, 2, 2));
    let mut job = job(&stack, false, false);
    job.energies.pop();
    assert!(matches!(write(root.path(), &job), Err(ArchiveError::Energies { found: 1, wanted: 2 })));
    let mut spectra = job.spectra.clone();
    spectra.pixels.clear();
    let job = ArchiveJob { spectra: &spectra, energies: vec![EnergyRow::default(); 2], ..job };
    assert!(matches!(write(root.path(), &job), Err(ArchiveError::Publish(_))));
    assert!(names(root.path()).is_empty());
}

#[test]
fn one_folder_takes_one_scan_and_nothing_else_gives_way() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("out");
    let stack = stack(plan(2, 2, 2));
    for _ in 0..2 {
        write_folder(&folder, &job(&stack, false, false)).unwrap();
    }
    assert_eq!(names(parent.path()), ["out"]);
    assert!(verify(&list(&folder).unwrap()[0]).unwrap().is_empty());
    let mine = parent.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(write_folder(&mine, &job(&stack, false, false)), Err(ArchiveError::Occupied(_))));
    assert_eq!(names(&mine), ["thesis.tex"]);
}

#[test]
fn a_map_is_read_again_as_it_was_archived() {
    let root = tempfile::tempdir().unwrap();
    let stack = stack(plan(3, 4, 12));
    let mut wanted = map(3, 4, &["na3.0", "mixture"]);
    wanted.plan = Arc::clone(stack.plan());
    wanted.posterior = (0..24).map(|i| if i < 4 { f32::NAN } else { 0.5 }).collect();
    wanted.dose_mgy = (0..12).map(|i| i as f32).collect();
    wanted.readings[3] = [0, crate::classify::NO_PHASE, 1, 2];
    let placed = write(root.path(), &ArchiveJob { map: &wanted, ..job(&stack, false, false) }).unwrap();
    let manifest = Manifest::read(placed.path()).unwrap();
    let label = |_: usize, id: &str| wanted.phases.iter().find(|label| label.id == id).unwrap().clone();
    let found = open_map(placed.path(), &manifest, label).unwrap();
    assert_eq!(found.phases, wanted.phases);
    assert_eq!(
        (&found.status, &found.method, &found.ambiguity),
        (&wanted.status, &wanted.method, &wanted.ambiguity)
    );
    assert_eq!((&found.phase, &found.runner_up), (&wanted.phase, &wanted.runner_up));
    assert_eq!((&found.energies_seen, &found.smoothed), (&wanted.energies_seen, &wanted.smoothed));
    assert_eq!((&found.readings, &found.dose_mgy), (&wanted.readings, &wanted.dose_mgy));
    let bits =
        |list: &[f32]| list.iter().map(|v| if v.is_nan() { 0 } else { v.to_bits() }).collect::<Vec<_>>();
    assert_eq!(bits(&found.correlation), bits(&wanted.correlation));
    assert_eq!(bits(&found.correlations), bits(&wanted.correlations));
    assert_eq!(bits(&found.posterior), bits(&wanted.posterior));
    assert!(found.dose_relative.is_empty());
    let energies = open_energies(placed.path());
    assert!(energies.len() == 12 && energies.iter().all(|facts| facts.coverage == Some(1.0)), "{energies:?}");
    // What is damaged is an error, not a map.
    let path = placed.path().join("phase_map.parquet");
    let bytes = std::fs::read(&path).unwrap();
    for (what, bytes) in [("half", &bytes[..bytes.len() / 2]), ("nothing", &[][..]), ("other", b"PAR1PAR1")] {
        std::fs::write(&path, bytes).unwrap();
        assert!(open_map(placed.path(), &manifest, label).is_err(), "{what}");
    }
    let other = Manifest { plan: ScanPlan { grid: plan(2, 2, 2).grid, ..manifest.plan.clone() }, ..manifest };
    std::fs::write(&path, &bytes).unwrap();
    assert!(open_map(placed.path(), &other, label).is_err(), "another grid");
}

#[test]
fn other_channels_lie_beside_the_stack() {
    let root = tempfile::tempdir().unwrap();
    let plain = archive(root.path(), |_, _, _| {}).path().to_owned();
    assert!(!plain.join("channels.parquet").exists());
    assert!(Manifest::read(&plain).unwrap().channels.is_empty());
    let mut stack = stack(ScanPlan { scan_id: "area".to_owned(), ..plan(3, 4, 12) });
    let batch = SampleBatch {
        energy_index: 3,
        pixels: Pixels::List(vec![7, 2]),
        channel: Channel::Intensity,
        values: vec![f32::NAN, f32::NAN],
        others: vec![(Channel::DarkField, vec![4.0, 5.5]), (Channel::ComX, vec![f32::NAN, 9.25])],
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    };
    stack.push(99, &batch).unwrap();
    let folder = write(root.path(), &job(&stack, false, false)).unwrap().path().to_owned();
    let manifest = Manifest::read(&folder).unwrap();
    assert_eq!(manifest.channels, [Channel::DarkField, Channel::ComX]);
    assert!(manifest.files.contains_key("channels.parquet"));
    let at = |channel, energy| open_channel(&folder, &manifest.plan, channel, energy).unwrap();
    let values = |some: &[(usize, f32)]| {
        let mut values = [f32::NAN; 12];
        some.iter().for_each(|(pixel, value)| values[*pixel] = *value);
        values.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
    };
    let bits = |list: Vec<f32>| list.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(at(Channel::DarkField, 3)), values(&[(7, 4.0), (2, 5.5)]));
    assert_eq!(bits(at(Channel::ComX, 3)), values(&[(2, 9.25)]));
    assert_eq!(bits(at(Channel::ComX, 4)), values(&[]));
    assert_eq!(bits(at(Channel::ComY, 3)), values(&[]));
    assert!(verify(&list(root.path()).unwrap()[0]).unwrap().is_empty());
    std::fs::write(folder.join("channels.parquet"), "no table").unwrap();
    assert!(open_channel(&folder, &manifest.plan, Channel::ComX, 3).is_err());
}
