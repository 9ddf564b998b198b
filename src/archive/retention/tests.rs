use proptest::prelude::*;

use super::*;
use crate::archive::ledger::{Checked, Record};
use crate::archive::tests::{archive, manifest};
use crate::archive::{self, ArchiveError, Manifest, list, verify};

fn path() -> ScanPath {
    ScanPath::parse("beamline=b/date=2026-09-21/scan=s").unwrap()
}

fn day(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + number * 86_400, 0).unwrap()
}

fn whole(copied: Copied) -> Known {
    let state = State::Whole {
        archived_at: day(0),
        partial: false,
        provisional: false,
        large_bytes: 1000,
        leftovers: false,
    };
    Known { path: path(), sha256: "aa".into(), state, checked_at: None, copied }
}

#[test]
fn everything_is_kept_unless_rules_say_otherwise() {
    for copied in [Copied::Nowhere, Copied::Pending, Copied::Elsewhere] {
        assert_eq!(decide(&Rules::default(), &whole(copied), day(100_000)), None);
    }
}

#[test]
fn large_files_go_when_they_are_old_and_lie_elsewhere() {
    let rules = Rules { prune_after: Some(TimeDelta::days(30)), ..Rules::default() };
    assert_eq!(decide(&rules, &whole(Copied::Elsewhere), day(29)), None);
    assert_eq!(decide(&rules, &whole(Copied::Elsewhere), day(30)), Some(Action::Prune(Proof::ReadBack)));
    assert_eq!(decide(&rules, &whole(Copied::Elsewhere), day(-1)), None, "a clock that went back");
    for copied in [Copied::Nowhere, Copied::Pending] {
        assert_eq!(decide(&rules, &whole(copied), day(99)), None);
        let told = Rules { prune_unverified: true, ..rules.clone() };
        assert_eq!(decide(&told, &whole(copied), day(99)), Some(Action::Prune(Proof::None)));
    }
    let with = |change: &dyn Fn(&mut bool, &mut u64, &mut bool)| {
        let mut scan = whole(Copied::Elsewhere);
        if let State::Whole { provisional, large_bytes, leftovers, .. } = &mut scan.state {
            change(provisional, large_bytes, leftovers);
        }
        decide(&rules, &scan, day(99))
    };
    assert_eq!(with(&|provisional, _, _| *provisional = true), None);
    assert_eq!(with(&|_, large_bytes, _| *large_bytes = 0), None);
    assert_eq!(with(&|_, _, leftovers| *leftovers = true), Some(Action::FinishPrune));
}

#[test]
fn what_is_damaged_or_partial_is_moved_if_told_and_never_pruned() {
    let rules = Rules {
        prune_after: Some(TimeDelta::days(1)),
        prune_unverified: true,
        quarantine_partial_after: Some(TimeDelta::days(7)),
        ..Rules::default()
    };
    let damaged = Known { state: State::Damaged { what: "x".into() }, ..whole(Copied::Elsewhere) };
    assert_eq!(decide(&rules, &damaged, day(99)), None);
    let told = Rules { quarantine_damaged: true, ..rules.clone() };
    assert!(matches!(decide(&told, &damaged, day(99)), Some(Action::Quarantine { .. })));
    let unreadable = Known { state: State::Unreadable, ..damaged.clone() };
    assert_eq!(decide(&told, &unreadable, day(99)), None, "it may be whole");
    let moved = Known { path: path().quarantined(), ..damaged };
    assert_eq!(decide(&told, &moved, day(99)), None);
    let partial = |copied| {
        let mut scan = whole(copied);
        if let State::Whole { partial, provisional, .. } = &mut scan.state {
            (*partial, *provisional) = (true, true);
        }
        scan
    };
    assert_eq!(decide(&rules, &partial(Copied::Nowhere), day(6)), None);
    for copied in [Copied::Nowhere, Copied::Elsewhere] {
        assert!(matches!(decide(&rules, &partial(copied), day(7)), Some(Action::Quarantine { .. })));
    }
    assert_eq!(decide(&rules, &partial(Copied::Pending), day(7)), None, "it is copied first");
}

#[test]
fn scans_are_checked_again_after_a_while() {
    let rules = Rules { verify_every: Some(TimeDelta::days(30)), ..Rules::default() };
    let scan = whole(Copied::Nowhere);
    assert_eq!(decide(&rules, &scan, day(0)), Some(Action::Check));
    let checked = Known { checked_at: Some(day(0)), ..scan };
    assert_eq!(decide(&rules, &checked, day(29)), None);
    assert_eq!(decide(&rules, &checked, day(30)), Some(Action::Check));
}

/// A scan as it really is, beside what is known of it.
#[derive(Clone, Debug)]
struct World {
    known: Known,
    here: bool,
    there: bool,
}

/// Does what is decided, as the daemon does it: a copy is read back where that is asked for.
fn act(world: &mut World, action: &Action, now: DateTime<Utc>) {
    let State::Whole { large_bytes, leftovers, .. } = &mut world.known.state else { return };
    match action {
        Action::Check => world.known.checked_at = Some(now),
        Action::Prune(Proof::ReadBack) if !world.there => world.known.copied = Copied::Pending,
        Action::Prune(_) => (*large_bytes, world.here) = (0, false),
        Action::FinishPrune => *leftovers = false,
        Action::Quarantine { .. } => world.known.path = world.known.path.quarantined(),
    }
}

fn worlds() -> impl Strategy<Value = World> {
    let state = prop_oneof![
        6 => (-50_i64..50, any::<[bool; 3]>()).prop_map(|(archived, [partial, provisional, large])| State::Whole {
            archived_at: day(archived),
            partial,
            provisional,
            large_bytes: if large { 1000 } else { 0 },
            leftovers: false,
        }),
        1 => Just(State::Damaged { what: "x".to_owned() }),
        1 => Just(State::Unreadable),
    ];
    let copied = prop_oneof![Just(Copied::Nowhere), Just(Copied::Pending), Just(Copied::Elsewhere)];
    (state, copied, proptest::option::of(-50_i64..50), any::<bool>()).prop_map(
        |(state, copied, checked, there)| {
            let known =
                Known { path: path(), sha256: "aa".into(), state, checked_at: checked.map(day), copied };
            World { known, here: true, there }
        },
    )
}

fn rules() -> impl Strategy<Value = Rules> {
    let days = || proptest::option::of((0_i64..60).prop_map(TimeDelta::days));
    (days(), days(), days(), any::<[bool; 2]>()).prop_map(|(verify_every, prune_after, partial, flags)| {
        Rules {
            verify_every,
            prune_after,
            prune_unverified: flags[0],
            quarantine_damaged: flags[1],
            quarantine_partial_after: partial,
        }
    })
}

proptest! {
    /// Whatever the rules, whatever is believed of the copy, and whether or not it is true: what was measured is here or
    /// there, and what was there was not touched, unless the rules do without.
    #[test]
    fn the_last_good_copy_is_never_deleted(rules in rules(), mut world in worlds(), days in prop::collection::vec(-100_i64..200, 1..20)) {
        let there = world.there;
        for number in days {
            let now = day(number);
            for _ in 0..5 {
                let Some(action) = decide(&rules, &world.known, now) else { break };
                let forgoes = action == Action::Prune(Proof::None);
                prop_assert!(!forgoes || rules.prune_unverified);
                let damaged = matches!(world.known.state, State::Damaged { .. } | State::Unreadable);
                prop_assert!(!damaged || !matches!(action, Action::Prune(_)));
                act(&mut world, &action, now);
                prop_assert!(world.here || world.there || rules.prune_unverified, "{action:?}");
                prop_assert_eq!(world.there, there);
            }
        }
    }

    /// What is decided comes to rest: no scan is worked on again and again at the same time.
    #[test]
    fn a_pass_ends(rules in rules(), mut world in worlds(), number in -100_i64..200) {
        let rules = Rules { verify_every: rules.verify_every.map(|every| every.max(TimeDelta::seconds(1))), ..rules };
        let mut steps = 0;
        while let Some(action) = decide(&rules, &world.known, day(number)) {
            if !matches!(world.known.state, State::Whole { .. }) {
                break;
            }
            act(&mut world, &action, day(number));
            steps += 1;
            prop_assert!(steps < 6, "{action:?}");
        }
    }
}

#[test]
fn a_pruned_scan_is_in_order_and_known_as_the_same() {
    let root = tempfile::tempdir().unwrap();
    let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
    let scan = ScanPath::below(root.path(), &folder).unwrap();
    let before = Manifest::identify(&folder).unwrap();
    let text = std::fs::read(folder.join(archive::MANIFEST)).unwrap();
    assert!(matches!(prune(root.path(), &scan, "other", None, day(0)), Err(ArchiveError::Changed(_))));
    assert!(folder.join("stack.parquet").exists());
    let removed = prune(root.path(), &scan, &before.sha256, Some("s3://b/x"), day(0)).unwrap();
    // This one has no other channels.
    let large = ["scan.nxs", "stack.parquet"];
    assert_eq!(removed.files, large);
    let bytes = large.map(|name| before.manifest.files[name].bytes);
    assert_eq!(removed.bytes, bytes.iter().sum::<u64>());
    assert!(!folder.join("stack.parquet").exists());
    let after = Manifest::identify(&folder).unwrap();
    assert_eq!(after.sha256, before.sha256);
    assert_eq!(after.manifest.pruned.as_ref().unwrap().copy.as_deref(), Some("s3://b/x"));
    assert_eq!(after.manifest.bytes(), before.manifest.bytes() - removed.bytes);
    let unpruned = Manifest { pruned: None, ..after.manifest };
    assert_eq!(unpruned.to_bytes().unwrap(), text, "the first manifest can be made again");
    assert!(verify(&list(root.path()).unwrap()[0]).unwrap().is_empty());
    // Archived once more it is there already; reopened it is whole again.
    assert!(matches!(archive(root.path(), |_, _, _| {}), archive::Placed::AlreadyThere(_)));
    assert!(matches!(archive(root.path(), |_, _, reopen| *reopen = true), archive::Placed::Replaced(_)));
    assert!(Manifest::read(&folder).unwrap().pruned.is_none() && folder.join("stack.parquet").exists());
}

#[test]
fn a_prune_that_was_interrupted_is_finished() {
    let root = tempfile::tempdir().unwrap();
    let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
    let scan = ScanPath::below(root.path(), &folder).unwrap();
    let sha256 = Manifest::identify(&folder).unwrap().sha256;
    let stack = std::fs::read(folder.join("stack.parquet")).unwrap();
    prune(root.path(), &scan, &sha256, None, day(0)).unwrap();
    // As after a crash between the manifest and the files.
    std::fs::write(folder.join("stack.parquet"), stack).unwrap();
    assert!(verify(&list(root.path()).unwrap()[0]).unwrap().is_empty());
    let known = Known::read(root.path(), &scan, None);
    assert_eq!(decide(&Rules::default(), &known, day(0)), Some(Action::FinishPrune));
    assert_eq!(prune(root.path(), &scan, &known.sha256, None, day(1)).unwrap().files, ["stack.parquet"]);
    assert_eq!(decide(&Rules::default(), &Known::read(root.path(), &scan, None), day(0)), None);
    assert_eq!(Manifest::read(&folder).unwrap().pruned.unwrap().at, day(0));
}

#[test]
fn a_damaged_scan_is_moved_with_what_is_known_of_it_and_its_name_stays_taken() {
    let root = tempfile::tempdir().unwrap();
    let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
    let scan = ScanPath::below(root.path(), &folder).unwrap();
    let found = list(root.path()).unwrap().remove(0);
    std::fs::write(folder.join("stack.parquet"), "x").unwrap();
    let faults = verify(&found).unwrap();
    assert!(faults.iter().all(|fault| fault.kind == archive::FaultKind::Damage) && faults.len() == 1);
    Record::update(root.path(), &scan, |record| {
        record.checked = Some(Checked::new(day(0), &found.sha256, faults.iter().map(archive::Fault::text)));
        record.set_verified("s3://b", &found.sha256, day(0));
    })
    .unwrap();
    let known = Known::read(root.path(), &scan, Some("s3://b"));
    let rules = Rules { quarantine_damaged: true, ..Rules::default() };
    let Some(Action::Quarantine { why }) = decide(&rules, &known, day(1)) else { panic!("{known:?}") };
    let moved = quarantine(root.path(), &scan, &known.sha256, &why, day(1)).unwrap();
    assert!(!folder.exists() && moved.folder(root.path()).join("phase_map.parquet").exists());
    let record = Record::read(root.path(), &moved);
    assert!(record.quarantined.unwrap().why.contains("stack.parquet"));
    assert!(record.copy.is_some() && Record::read(root.path(), &scan) == Record::default());
    assert!(list(root.path()).unwrap()[0].scan.as_ref().unwrap().is_quarantined());
    // The same scan once more: beside it, so that its good copy at the remote is not written over.
    let again = archive(root.path(), |_, _, _| {});
    assert_eq!(again.path(), folder.with_file_name("scan=NVPF_0042~2"));
}

#[test]
fn a_folder_without_a_manifest_is_touched_only_to_move_it_and_links_never() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
    let scan = ScanPath::below(root.path(), &folder).unwrap();
    std::fs::write(folder.join(archive::MANIFEST), "{").unwrap();
    let known = Known::read(root.path(), &scan, None);
    assert!(matches!(known.state, State::Damaged { .. }));
    assert!(prune(root.path(), &scan, "", None, day(0)).is_err());
    let moved = quarantine(root.path(), &scan, &known.sha256, "no manifest", day(0)).unwrap();
    assert_eq!(std::fs::read(moved.folder(root.path()).join(archive::MANIFEST)).unwrap(), b"{");
    // A folder that is a link is none of the archive's, and a manifest that is one is none.
    let text = serde_json::to_vec(&manifest("x", day(0))).unwrap();
    std::fs::write(outside.path().join(archive::MANIFEST), text).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.with_file_name("scan=x")).unwrap();
    assert_eq!(archive::scans(root.path()).unwrap(), [moved]);
    let linked = folder.with_file_name("scan=y");
    std::fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(outside.path().join(archive::MANIFEST), linked.join(archive::MANIFEST))
        .unwrap();
    let scan = ScanPath::below(root.path(), &linked).unwrap();
    assert!(matches!(Known::read(root.path(), &scan, None).state, State::Damaged { .. }));
}
