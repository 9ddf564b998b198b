//! The archive is a function of what was measured, not of how it arrived.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use crate::feed::Feed;
use crate::rig::{Setup, until};
use crate::script::Script;
use crate::table::{self, differences, folder};

/// What differs between two archives of the same values: who it is, and how many previews there were.
const MAY_DIFFER: [&str; 4] =
    ["phasewatch.generation", "phasewatch.revision_reason", "phasewatch.scan_id", "scan_id"];

#[test]
fn any_order_duplicates_and_late_messages_archive_the_same() {
    let bind = "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3";
    let mut setup = Setup::bare().set("limits", "open_scans = 16");
    for name in ["straight", "shuffled-1", "shuffled-2", "shuffled-3", "lossy"] {
        setup = setup.source(name, bind);
    }
    let rig = setup.start();
    Feed::push(&rig.sources["straight"]).send_all(&Script::new("straight").whole());
    for seed in 1..=3 {
        let name = format!("shuffled-{seed}");
        let mut messages = Script::new(&name).whole();
        messages.extend(messages.clone());
        messages.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Feed::push(&rig.sources[&name]).send_all(&messages);
        until("all of them", || {
            let taken = rig.metric("phasewatch_messages_received_total", &[&name]);
            (taken == messages.len() as f64).then_some(())
        });
    }
    // A third is lost, the scan is archived without it, and then it comes after all.
    let messages = Script::new("lossy").whole();
    let is_lost = |index: usize| index % 3 == 1 && index + 1 < messages.len();
    let lost = messages.iter().enumerate().filter(|(index, _)| is_lost(*index)).map(|(_, message)| message);
    let kept = messages.iter().enumerate().filter(|(index, _)| !is_lost(*index)).map(|(_, message)| message);
    let mut feed = Feed::push(&rig.sources["lossy"]);
    feed.send_all(kept);
    let first = rig.archived("lossy");
    assert_ne!(first["gaps"], serde_json::json!([]));
    let first = table::phase_map(&folder(&first));
    feed.send_all(lost);
    let whole = 12 * 24;
    rig.wait_scan("lossy", "healed", |scan| scan["state"] == "archived" && scan["measured_values"] == whole);

    let straight = folder(&rig.archived("straight"));
    let map = table::phase_map(&straight);
    assert_ne!(
        first.column_by_name("energies_seen"),
        map.column_by_name("energies_seen"),
        "the loss was seen"
    );
    for name in ["shuffled-1", "shuffled-2", "shuffled-3", "lossy"] {
        let scan = rig.wait_scan(name, "archived whole", |scan| {
            scan["state"] == "archived" && scan["measured_values"] == whole
        });
        assert_eq!(scan["outcome"]["status"], "complete", "{scan}");
        let other = folder(&scan);
        assert_eq!(table::stack_bytes(&straight), table::stack_bytes(&other), "{name}");
        let differ = differences(&map, &table::phase_map(&other));
        let unexpected: Vec<_> = differ.iter().filter(|name| !MAY_DIFFER.contains(&name.as_str())).collect();
        assert!(unexpected.is_empty(), "{name}: {unexpected:?}");
        let read = |folder: &std::path::Path, file| table::read(&folder.join(file));
        assert_eq!(
            read(&straight, "energies.parquet").columns(),
            read(&other, "energies.parquet").columns(),
            "{name}"
        );
    }
}
