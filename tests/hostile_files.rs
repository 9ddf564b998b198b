//! Damaged HDF5 files: none may make the reader panic, loop, or take memory that the file cannot stand for.
//!
//! The files are those of `tests/fixtures/hdf5`, of others and of ours; each is cut and flipped at many places, and read.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "these are tests"
)]

#[path = "fuzzing/noting.rs"]
mod noting;

use std::path::{Path, PathBuf};

use phasewatch::recording::Recording;

#[global_allocator]
static ALLOCATOR: noting::Noting = noting::Noting;

/// Places in a file that are damaged, at least.
const PLACES: usize = 400;

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hdf5");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "md"));
    files.sort();
    files
}

/// Reads `bytes` as the file `path`; whether it is accepted.
fn read(path: &Path, bytes: &[u8]) -> bool {
    std::fs::write(path, bytes).unwrap();
    noting::forget();
    let read = Recording::load(path);
    // What deflate can pack into a file of this length; a vector that grows asks for twice of what it holds.
    let bound = 2 * (1032 * bytes.len() + 64 * 1024);
    let largest = noting::largest_bytes();
    assert!(largest <= bound, "{largest} bytes at once for a file of {}: {}", bytes.len(), path.display());
    read.is_ok()
}

#[test]
fn damage_is_refused_or_read_past() {
    let files = fixtures();
    assert!(files.len() >= 9);
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file.file_name().unwrap());
        let good = std::fs::read(&file).unwrap();
        assert!(read(&path, &good), "{}", file.display());
        let (mut accepted, mut refused) = (0, 0);
        let mut count = |accepts: bool| if accepts { accepted += 1 } else { refused += 1 };
        // An odd step, so that every place within a word is met.
        for place in (0..good.len()).step_by((good.len() / PLACES) | 1) {
            count(read(&path, &good[..place]));
            for mask in [0xff, 0x01, 0x80] {
                let mut bad = good.clone();
                bad[place] ^= mask;
                count(read(&path, &bad));
            }
        }
        // Sizes and addresses of nothing but ones, wherever they may be.
        for place in (0..good.len().saturating_sub(8)).step_by((good.len() / PLACES / 8).max(1) * 8) {
            let mut bad = good.clone();
            bad[place..place + 8].fill(0xff);
            count(read(&path, &bad));
        }
        assert!(refused > PLACES / 2, "{}: {refused} refused", file.display());
        eprintln!("{}: {refused} refused, {accepted} read", file.display());
    }
}
