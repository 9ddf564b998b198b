//! The recorded iron stack: a few of its energies against the labels of all.

use std::path::Path;

use phasewatch::classify::{Status, settle};
use phasewatch::recording::{Recording, select_energies};
use phasewatch::reference::ReferenceSet;
use phasewatch::stack::Stack;

use super::{Reliability, coverage, pearson, recipe};

pub(crate) fn real_stack() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/als-fe-l-71214078");
    let hdr = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "hdr"));
    let Some(hdr) = hdr else { return eprintln!("no recorded stack: skipped") };
    let recording = Recording::load(&hdr).unwrap();
    let set = ReferenceSet::load(&phasewatch_references()).unwrap();
    let map_of = |recording: &Recording| {
        let mut stack = Stack::new(recording.plan.clone());
        for (seq, batch) in recording.batches() {
            stack.push(seq, &batch).unwrap();
        }
        settle(&stack, &recipe(&set), None).map
    };
    let full = map_of(&recording);
    // Truth: the full-stack fit of two phases, where the shares differ clearly.
    let truth: Vec<Option<u8>> = (0..full.len())
        .map(|p| {
            let known = full.share[p].is_finite() && full.edge_jump[p] > 0.1;
            known.then(|| if full.share[p] >= 0.5 { full.phase[p] } else { full.runner_up[p] })
        })
        .collect();
    println!("truth: {} pixels", truth.iter().flatten().count());
    for n in [6, 8, 12, 20, 40] {
        let indices = select_energies(&recording.plan.energies_ev, &format!("count:{n}")).unwrap();
        let map = map_of(&recording.subset(&indices));
        let mut reliability = Reliability::default();
        let (mut all, mut p, mut b, mut c, mut cr) = (0, 0, 0, 0, 0);
        let mut pixels = Vec::new();
        let mut statuses = [0; 7];
        for (pixel, truth) in truth.iter().enumerate() {
            let Some(truth) = *truth else { continue };
            all += 1;
            statuses[map.status[pixel] as usize] += 1;
            let right = map.phase[pixel] == truth;
            p += usize::from(pearson(&map, pixel) == truth as usize);
            b += usize::from(right);
            c += usize::from(map.status[pixel] == Status::Classified);
            cr += usize::from(map.status[pixel] == Status::Classified && right);
            reliability.add(map.confidence[pixel], right);
            // A mixture's confidence is that of the pair: such a pixel is not covered.
            let mixture = map.status[pixel] == Status::Mixture;
            pixels.push((if mixture { 0.0 } else { map.confidence[pixel] }, right));
        }
        let share = |part: usize| part as f64 / all as f64;
        let majority = (0..map.len())
            .filter(|&i| {
                truth[i].is_some_and(|t| {
                    let other = if map.share[i] >= 0.5 { map.phase[i] } else { map.runner_up[i] };
                    t == other
                })
            })
            .count();
        println!("   fit of both {:.3}", share(majority));
        println!(
            "n {n}: pearson {:.3} best {:.3} classified {:.3} right {:.3} ECE {:.3} coverage97 {:.3} {:?} {}",
            share(p),
            share(b),
            share(c),
            cr as f64 / c.max(1) as f64,
            reliability.error(),
            coverage(pixels),
            statuses,
            reliability.curve()
        );
    }
}

fn phasewatch_references() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/als-fe-l-71214078")
}
