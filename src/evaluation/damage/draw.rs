//! Draws the scans: what all have in common, what differs, and what the beam does.
//!
//! All: 48 × 48 pixels, up to eight particles in five phases, 1000 counts, 20 energies and two sentinels (509.0 eV before the edge,
//! 518.2 eV on the white line), which are measured at the start and after every four energies: six visits. All have drift, a ring that
//! decays and is topped up, flicker, an energy offset and noise; half are of phases that are somewhat off their references. Damaged ones
//! lose a share of their white line, drawn evenly from 10 to 80 % of all that the beam can take, by either kinetics, with
//! one rate for all phases or one each, with or without loss of mass. Evolving ones change as much by themselves, with time, and their
//! context says that they are operando. Those that are seen *often* are damaged ones that lose most of what the beam can take, 63 to 90 %, and have their
//! sentinels after every energy, 21 visits: what else is to be known of a damage when there is enough to know it from.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::reference::ReferenceSet;
use crate::simulate::{
    Beam, DamageSettings, DriftSettings, EnergyRun, Kinetics, Microscope, ScanSettings, Scenario,
    SimulationError, Specimen,
};

/// Energies before the edge and on the white line, eV.
const SENTINELS_EV: [f64; 2] = [509.0, 518.2];
/// First and last energy and step of the other ones, eV: 20 in all.
const RUNS_EV: [(f64, f64, f64); 3] = [(508.0, 511.0, 1.5), (513.6, 520.6, 0.5), (522.4, 525.4, 3.0)];
/// The sentinels are measured after so many energies.
const EVERY: usize = 4;
/// The same of scans that are seen often.
const OFTEN: usize = 1;
/// Counts of the empty beam.
const COUNTS: f64 = 1000.0;
/// Part of all that the beam can take which is gone in the end, of damaged scans.
const CHANGE: std::ops::Range<f64> = 0.1..0.8;
/// The same of scans that are seen often.
const MOST_CHANGE: std::ops::Range<f64> = 0.63..0.9;
/// Dose of an image, MGy.
const DOSE_MGY: (f64, f64) = (0.3, 3.0);
/// Factors on the rates of the phases.
const RATES: (f64, f64) = (0.5, 2.0);
/// Steps in which the critical dose is found that makes the change that was drawn.
const STEPS: usize = 4;

/// What happens to a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Nothing.
    Undamaged,
    /// The beam damages it.
    Damaged,
    /// It changes by itself, and the scan says so.
    Evolving,
    /// The beam damages it, most of it, and the sentinels are visited nearly twice as often.
    Often,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Undamaged, Self::Damaged, Self::Evolving, Self::Often];

    /// The word in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Undamaged => "undamaged",
            Self::Damaged => "damaged",
            Self::Evolving => "operando",
            Self::Often => "often",
        }
    }
}

/// A scan that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// What happens to its sample.
    pub class: Class,
    /// Its number among those of its class, from 0.
    pub number: usize,
    /// What to simulate.
    pub scenario: Scenario,
}

impl Draw {
    /// Its identifier, `damaged-17`.
    #[must_use]
    pub fn scan_id(&self) -> String {
        format!("{}-{}", self.class.name(), self.number)
    }
}

/// Draws a scan; `seed`, class and number decide.
///
/// # Errors
/// References that it cannot be simulated with.
pub fn draw(
    references: &ReferenceSet,
    class: Class,
    number: usize,
    seed: u64,
) -> Result<Draw, SimulationError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((class as u64) << 32) + number as u64);
    let mut scenario = common(&mut rng);
    let doses = DamageSettings {
        dose_per_energy_mgy: Some(log_uniform(DOSE_MGY, &mut rng)),
        ..DamageSettings::default()
    };
    let change = if class == Class::Often {
        scenario.scan.repeat_every = OFTEN;
        rng.random_range(MOST_CHANGE)
    } else {
        rng.random_range(CHANGE)
    };
    scenario.damage = Some(match class {
        Class::Undamaged => doses,
        Class::Damaged | Class::Often => damage(references, doses, &mut rng),
        Class::Evolving => {
            scenario.context = Some(serde_json::json!({ "operando": true }));
            // The share that is left in the end is exp(-r·t).
            DamageSettings { chemistry_per_h: -(1.0_f64 - change).ln() / hours(&scenario), ..doses }
        }
    });
    if matches!(class, Class::Damaged | Class::Often) {
        find_critical_dose(&mut scenario, references, change)?;
    }
    Ok(Draw { class, number, scenario })
}

/// What all scans have in common.
fn common(rng: &mut ChaCha8Rng) -> Scenario {
    let run = |(from_ev, to_ev, step_ev)| EnergyRun { from_ev, to_ev, step_ev };
    // Between two fillings, minutes, and by how much the ring decays until then.
    let (top_up_min, decay): (f64, f64) = (rng.random_range(0.3..1.5), rng.random_range(0.002..0.04));
    let off = if rng.random() { (0.05, 0.05) } else { (0.0, 0.0) };
    Scenario {
        // What a TOML file can hold.
        seed: u64::from(rng.random::<u32>()),
        beamline: "simulated".to_owned(),
        sample: Some("NVPF, simulated".to_owned()),
        region: Some("damage".to_owned()),
        scan: ScanSettings {
            shape: [48, 48],
            energies: RUNS_EV.into_iter().map(run).collect(),
            repeat_ev: SENTINELS_EV.to_vec(),
            repeat_every: EVERY,
            repeat_first: true,
            line_overhead_ms: 20.0,
            ..ScanSettings::default()
        },
        drift: DriftSettings {
            walk_px: rng.random_range(0.0..0.15),
            run_out_px: rng.random_range(0.0..2.0),
            jitter_px: rng.random_range(0.0..0.1),
            most_px: 4.0,
        },
        beam: Beam {
            photons: COUNTS,
            ring_lifetime_h: top_up_min / 60.0 / decay,
            top_up_min,
            flicker: rng.random_range(0.0..0.005),
            energy_offset_ev: rng.random_range(-0.2..0.2),
            ..Beam::default()
        },
        specimen: Specimen { mismatch_ev: off.0, mismatch: off.1, ..Specimen::default() },
        ..Scenario::default()
    }
}

/// What the beam does; the critical dose is still to be found.
fn damage(references: &ReferenceSet, doses: DamageSettings, rng: &mut ChaCha8Rng) -> DamageSettings {
    let kinetics = if rng.random() { Kinetics::FirstOrder } else { Kinetics::Hyperbolic };
    let own_rates: bool = rng.random();
    let mut rates = std::collections::BTreeMap::new();
    for reference in &references.references {
        let factor = log_uniform(RATES, rng);
        if own_rates {
            rates.insert(reference.label.id.clone(), factor);
        }
    }
    let (loses, mass_loss, slower): (bool, f64, f64) =
        (rng.random(), rng.random_range(0.05..0.3), rng.random_range(0.5..2.0));
    DamageSettings {
        kinetics,
        critical_dose_mgy: Some(1.0),
        rates,
        mass_loss: if loses { mass_loss } else { 0.0 },
        // In critical doses, as long as that is 1.
        mass_critical_dose_mgy: slower,
        ..doses
    }
}

/// Sets the critical doses so that in the end this part of all that the beam can take is gone.
fn find_critical_dose(
    scenario: &mut Scenario,
    references: &ReferenceSet,
    change: f64,
) -> Result<(), SimulationError> {
    for step in 0..=STEPS {
        let microscope = Microscope::new(scenario.clone(), references, "draw", chrono::DateTime::UNIX_EPOCH)?;
        let (Some(truth), Some(damage)) = (&microscope.truth().damage, &mut scenario.damage) else { break };
        let Some(critical_mgy) = damage.critical_dose_mgy else { break };
        let now = truth.share_of_white_line_change().last().copied().unwrap_or_default();
        let dose_mgy = truth.dose_mgy.last().copied().unwrap_or_default();
        let wanted = damage.kinetics.critical_doses_at(1.0 - change);
        let is = damage.kinetics.critical_doses_at((1.0 - now).max(1e-9));
        // At first as if all were one phase, then by how much that was wrong.
        let factor = if step == 0 { dose_mgy / wanted / critical_mgy } else { is / wanted };
        damage.critical_dose_mgy = Some(critical_mgy * factor);
        damage.mass_critical_dose_mgy *= factor;
    }
    Ok(())
}

/// How long a scan takes.
fn hours(scenario: &Scenario) -> f64 {
    let scan = &scenario.scan;
    let line_ms = scan.dwell_ms * scan.shape[1] as f64 + scan.line_overhead_ms;
    line_ms * (scan.shape[0] * scenario.energies_ev().len()) as f64 / 3.6e6
}

fn log_uniform((low, high): (f64, f64), rng: &mut ChaCha8Rng) -> f64 {
    (rng.random_range(low.ln()..high.ln())).exp()
}
