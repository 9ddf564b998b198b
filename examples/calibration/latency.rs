//! How long a map takes.

use chrono::{TimeZone as _, Utc};
use phasewatch::classify::{LiveMap, settle};
use phasewatch::simulate::{Microscope, nvpf};
use phasewatch::stack::Stack;

use super::recipe;

/// Processor time of this process, ms, where the system tells it: a busy machine does not change it.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(f64::NAN);
    10.0 * (ticks(11) + ticks(12))
}

/// Time from the last line of an energy to its map, 256 by 256 pixels.
pub(crate) fn latency() {
    let set = nvpf::reference_set();
    let mut scenario = super::scenario(3000.0, 75, 5000, 3.0);
    scenario.scan.shape = [256, 256];
    scenario.specimen.particles = 20;
    let started = Utc.timestamp_opt(0, 0).unwrap();
    let microscope = Microscope::new(scenario, &set, "latency", started).unwrap();
    let mut stack = Stack::new(microscope.plan().clone());
    let mut live = LiveMap::new(&stack, recipe(&set));
    let mut seconds = Vec::new();
    for energy in 0..75 {
        for row in 0..256 {
            stack.push((energy * 256 + row + 1) as u64, &microscope.line(energy, row)).unwrap();
        }
        let changes = stack.take_changes();
        let begun = std::time::Instant::now();
        let reason = live.advance(&stack, &changes);
        let (map, _) = live.generation_of(&stack, reason, None);
        seconds.push(begun.elapsed().as_secs_f64());
        if energy == 74 {
            println!("statuses {:?}", map.status_counts());
        }
    }
    println!("last energy {:.0} ms", 1e3 * seconds[74]);
    let begun = cpu_ms();
    for _ in 0..5 {
        live.generation_of(&stack, phasewatch::classify::RevisionReason::Energy, None);
    }
    println!("last generation again: {:.0} ms of processor time", (cpu_ms() - begun) / 5.0);
    let begun = cpu_ms();
    for _ in 0..5 {
        let _map = settle(&stack, &recipe(&set), None);
    }
    println!("settled map: {:.0} ms of processor time", (cpu_ms() - begun) / 5.0);
    seconds.sort_by(f64::total_cmp);
    println!("median {:.0} ms, worst {:.0} ms", 1e3 * seconds[37], 1e3 * seconds[74]);
    let begun = std::time::Instant::now();
    let settled = settle(&stack, &recipe(&set), None);
    println!("settled map {:.0} ms", 1e3 * begun.elapsed().as_secs_f64());
    drop(settled);
}
