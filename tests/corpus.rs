//! Every input in `tests/corpus`, through its target, and mutations of them that are the same in each run. What fuzzing finds
//! becomes an input there; see `docs/fuzzing.md`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "these are tests"
)]

mod fuzzing;
#[path = "fuzzing/seeds.rs"]
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use fuzzing::targets::{TARGETS, Target};
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

#[global_allocator]
static ALLOCATOR: fuzzing::noting::Noting = fuzzing::noting::Noting;

/// Mutations of each target.
const MUTATIONS: usize = 3000;
/// Of those that take a millisecond and more.
const SLOW_MUTATIONS: usize = 1000;

/// Every file in `folder`, and what is in it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Keeps the input that failed, and says where.
fn check(target: &Target, origin: &str, data: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| fuzzing::check(target, data))) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{origin}", target.name));
        std::fs::write(&kept, data).unwrap();
        eprintln!("the input is in {}", kept.display());
        resume_unwind(panic);
    }
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name));
    assert!(inputs.len() >= 3, "{name} has too few inputs");
    for (path, data) in &inputs {
        check(target, &path.file_name().unwrap().to_string_lossy(), data);
    }
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mutations =
        if matches!(name, "model" | "hdf5" | "journal" | "settings") { SLOW_MUTATIONS } else { MUTATIONS };
    for number in 0..mutations {
        let (_, from) = inputs.choose(&mut random).unwrap();
        let (_, other) = inputs.choose(&mut random).unwrap();
        let mut data = from.clone();
        for _ in 0..random.random_range(1..4) {
            mutate(&mut data, other, &mut random);
        }
        check(target, &format!("mutation-{number}"), &data);
    }
}

/// One small change.
fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    if data.is_empty() {
        data.extend(other);
        return;
    }
    let at = random.random_range(0..data.len());
    let until = random.random_range(at..data.len().min(at + 64)) + 1;
    match random.random_range(0..9) {
        0 => data[at] ^= 1 << random.random_range(0..8),
        1 => data[at] = random.random(),
        2 => data[at..until].fill(*[0, 0xff, b'9', b' '].choose(random).unwrap()),
        3 => data.truncate(at),
        4 => drop(data.drain(at..until)),
        5 => {
            let again = data[at..until].to_vec();
            drop(data.splice(at..at, again));
        }
        6 => {
            let from = random.random_range(0..other.len().max(1)).min(other.len());
            let some = &other[from..other.len().min(from + 64)];
            drop(data.splice(at..until, some.iter().copied()));
        }
        7 => data.swap(at, until - 1),
        _ => {
            let numbers = [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0x8000_0000, u64::MAX >> 1, u64::MAX];
            let number = numbers.choose(random).unwrap().to_le_bytes();
            let bytes = (data.len() - at).min(*[1, 2, 4, 8].choose(random).unwrap());
            data[at..at + bytes].copy_from_slice(&number[..bytes]);
        }
    }
}

#[test]
fn every_target_has_its_test_and_its_inputs() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")).unwrap();
    let mut folders: Vec<_> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(folders, sorted);
    assert_eq!(names, REPLAYED);
}

/// What fuzzing starts from is sound; with `PHASEWATCH_WRITE_SEEDS` set it stays in the folder that this names.
#[test]
fn seeds_are_read() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("PHASEWATCH_WRITE_SEEDS").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(scratch.path());
    seeds::write(folder, Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    for target in TARGETS {
        for (path, data) in files(&folder.join(target.name)) {
            check(target, &path.file_name().unwrap().to_string_lossy(), &data);
        }
    }
}

/// Makes a test of each target, so that they run beside each other.
macro_rules! replayed {
    ($($name:ident),*) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*
    };
}

replayed!(stxm_stream, formats, zmtp, journal, settings, references, als, hdf5, metadata, model, raw_log);
