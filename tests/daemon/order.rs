//! The archive is a function of what was measured, not of how it arrived: to the byte.

use std::path::Path;

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::rig::{Rig, Setup};
use crate::script::{Message, Script};
use crate::table::{folder, manifest};

/// Every file of an archived scan but its manifest.
pub const FILES: [&str; 8] = [
    "energies.parquet",
    "findings.json",
    "particles.parquet",
    "phase_map.parquet",
    "phase_map.png",
    "scan.nxs",
    "spectra.parquet",
    "stack.parquet",
];
const WHOLE: u64 = 12 * 24;

fn rig() -> Rig {
    Setup::bare().source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3").start()
}

/// The messages of the whole scan.
pub fn messages() -> Vec<Message> {
    Script::new("same").whole()
}

/// The files of an archived scan.
pub fn files(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    FILES.iter().map(|file| (*file, std::fs::read(folder.join(file)).unwrap())).collect()
}

/// An archive: its files, and what its manifest says of plan, map and gaps.
pub type Archive = (Vec<(&'static str, Vec<u8>)>, [Value; 4]);

/// The archive of the whole scan.
pub fn archived(rig: &Rig) -> Archive {
    let scan = rig.wait_scan("same", "archived whole", |scan| {
        scan["state"] == "archived"
            && scan["measured_values"] == WHOLE
            && scan["outcome"]["status"] == "complete"
    });
    let folder = folder(&scan);
    let manifest = manifest(&folder);
    (files(&folder), ["plan", "map", "gaps", "files"].map(|key| manifest[key].clone()))
}

/// The archive of an undisturbed run.
pub fn straight() -> Archive {
    let rig = rig();
    Feed::push(rig.source()).send_all(&messages());
    archived(&rig)
}

/// Both are the same, to the byte.
pub fn assert_same(one: &Archive, other: &Archive) {
    for ((file, one), (_, other)) in one.0.iter().zip(&other.0) {
        assert!(one == other, "{file} differs");
    }
    assert_eq!(one.1, other.1);
}

#[test]
fn a_shuffled_scan_with_duplicates_archives_the_same_bytes() {
    let straight = straight();
    for seed in 1..=3 {
        let rig = rig();
        let mut shuffled = [messages(), messages()].concat();
        shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Feed::push(rig.source()).send_all(&shuffled);
        rig.received(shuffled.len() as u64);
        assert_same(&straight, &archived(&rig));
    }
}

#[test]
fn what_was_lost_and_comes_late_archives_the_same_bytes() {
    let rig = rig();
    let messages = messages();
    let is_lost = |index: usize| index % 3 == 1 && index + 1 < messages.len();
    let part = |lost: bool| {
        let chosen = messages.iter().enumerate().filter(move |(index, _)| is_lost(*index) == lost);
        chosen.map(|(_, message)| message)
    };
    let mut feed = Feed::push(rig.source());
    feed.send_all(part(false));
    // It is archived without them first, and the difference is to be seen.
    let scan = rig.archived("same");
    assert_ne!(scan["gaps"], json!([]));
    let partial = files(&folder(&scan));
    feed.send_all(part(true));
    let healed = archived(&rig);
    let straight = straight();
    assert!(partial.iter().zip(&straight.0).all(|(one, other)| one.1 != other.1), "nothing was lost");
    assert_same(&straight, &healed);
}
