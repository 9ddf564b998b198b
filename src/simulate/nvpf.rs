//! Synthetic reference spectra of Na_xV2(PO4)2F3 at the vanadium L and oxygen K edges.
//!
//! Nothing here was measured. Each phase is a sum of valence spectra (V3+, V4+, V5+), and each valence is a
//! set of pseudo-Voigt peaks; all share a pre-edge level, arctan steps and a phosphate peak. Amplitudes are
//! optical densities of [`THICKNESS_NM`]. Every phase has its own small shift of energy and its own jitter of
//! peak amplitudes, drawn from a fixed seed: without them x = 2.4 would be exactly 0.4 of x = 3 and 0.6 of
//! x = 2, and no method could tell the phase from the mixture.
//!
//! `config/references/nvpf/` holds what this module writes; a test keeps the two equal.

use std::f64::consts::PI;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use crate::reference::PhaseLabel;
use crate::reference::{Composition, Provenance, Reference, ReferenceSet, Window};

/// Thickness whose optical density the references tell, nm.
pub const THICKNESS_NM: f64 = 200.0;

/// Seed of the shifts and of the jitter.
const SEED: u64 = 24;
/// Largest shift of a phase, eV, either way.
const SHIFT_EV: f64 = 0.1;
/// Largest relative change of a peak's amplitude, either way.
const JITTER: f64 = 0.12;
/// Share of the Lorentzian in every peak; the rest is Gaussian.
const LORENTZIAN: f64 = 0.4;
/// Half width of the arctan steps, eV.
const STEP_WIDTH_EV: f64 = 0.6;
/// Optical density before the first edge.
const PRE_EDGE_OD: f64 = 0.24;
/// Density of the compound, g/cm³.
const DENSITY_G_PER_CM3: f64 = 3.16;
/// Resolution that the peak widths stand for, eV.
const RESOLUTION_EV: f64 = 0.3;
const PRE_EDGE: Window = Window { from_ev: 506.0, to_ev: 512.0 };
const WHITE_LINE: Window = Window { from_ev: 514.5, to_ev: 519.0 };

/// Centre, eV; full width at half maximum, eV; amplitude, OD.
type Peak = (f64, f64, f64);

const V3: [Peak; 6] = [
    (513.9, 1.3, 0.25),
    (515.4, 1.6, 0.75),
    (516.6, 1.6, 0.55),
    (522.4, 2.6, 0.55),
    (531.3, 1.6, 0.05),
    (533.0, 1.8, 0.10),
];
const V4: [Peak; 6] = [
    (515.0, 1.4, 0.30),
    (516.6, 1.6, 0.85),
    (517.6, 1.6, 0.55),
    (523.5, 2.6, 0.60),
    (530.6, 1.5, 0.12),
    (532.5, 1.8, 0.14),
];
const V5: [Peak; 6] = [
    (515.7, 1.2, 0.20),
    (517.0, 1.4, 0.45),
    (518.3, 1.3, 1.05),
    (524.9, 2.6, 0.65),
    (529.8, 1.4, 0.22),
    (531.8, 1.7, 0.20),
];
/// The phosphate.
const PHOSPHATE: Peak = (537.5, 3.5, 0.30);
/// Centre, eV; height, OD: V L3, V L2, O K.
const STEPS: [(f64, f64); 3] = [(520.0, 0.20), (527.0, 0.10), (536.5, 0.32)];

/// One phase: what it is called, what it is made of, and the shares of the valences.
struct Recipe {
    id: &'static str,
    title: &'static str,
    colour: [u8; 3],
    formula: &'static str,
    na_x: f64,
    /// V3+, V4+, V5+.
    valences: [f64; 3],
}

/// The phases in display order. Colours are those of Okabe and Ito, blue for full to vermilion for empty.
const RECIPES: [Recipe; 5] = [
    Recipe {
        id: "na3.0",
        title: "x = 3.0",
        colour: [0x00, 0x72, 0xb2],
        formula: "Na3V2(PO4)2F3",
        na_x: 3.0,
        valences: [1.0, 0.0, 0.0],
    },
    Recipe {
        id: "na2.4",
        title: "x = 2.4",
        colour: [0x56, 0xb4, 0xe9],
        formula: "Na2.4V2(PO4)2F3",
        na_x: 2.4,
        valences: [0.7, 0.3, 0.0],
    },
    Recipe {
        id: "na2.0",
        title: "x = 2.0",
        colour: [0x00, 0x9e, 0x73],
        formula: "Na2V2(PO4)2F3",
        na_x: 2.0,
        valences: [0.5, 0.5, 0.0],
    },
    Recipe {
        id: "na1.0",
        title: "x = 1.0",
        colour: [0xe6, 0x9f, 0x00],
        formula: "NaV2(PO4)2F3",
        na_x: 1.0,
        valences: [0.5, 0.0, 0.5],
    },
    // Charge balance of these shares: x = 9 - 2 · 4.25 = 0.5.
    Recipe {
        id: "na1minus",
        title: "x < 1",
        colour: [0xd5, 0x5e, 0x00],
        formula: "Na0.5V2(PO4)2F3",
        na_x: 0.5,
        valences: [0.25, 0.25, 0.5],
    },
];

/// Pseudo-Voigt of unit area weights: a Lorentzian and a Gaussian of the same height and width.
fn pseudo_voigt(energy_ev: f64, (centre_ev, fwhm_ev, amplitude): Peak) -> f64 {
    let t = 2.0 * (energy_ev - centre_ev) / fwhm_ev;
    let lorentzian = 1.0 / (1.0 + t * t);
    let gaussian = (-std::f64::consts::LN_2 * t * t).exp();
    amplitude * (LORENTZIAN * lorentzian + (1.0 - LORENTZIAN) * gaussian)
}

fn background(energy_ev: f64) -> f64 {
    let steps: f64 = STEPS
        .iter()
        .map(|&(centre_ev, height)| height * (0.5 + ((energy_ev - centre_ev) / STEP_WIDTH_EV).atan() / PI))
        .sum();
    PRE_EDGE_OD + steps + pseudo_voigt(energy_ev, PHOSPHATE)
}

/// The peaks of a phase, with its shift and its jitter.
fn peaks(recipe: &Recipe, rng: &mut ChaCha8Rng) -> Vec<Peak> {
    let shift_ev = rng.random_range(-SHIFT_EV..=SHIFT_EV);
    let mut peaks = Vec::new();
    for (valence, share) in [V3, V4, V5].iter().zip(recipe.valences) {
        for &(centre_ev, fwhm_ev, amplitude) in valence {
            // Drawn for absent valences, too, so that a change of the shares leaves the other draws alone.
            let factor = 1.0 + rng.random_range(-JITTER..=JITTER);
            if share > 0.0 {
                peaks.push((centre_ev + shift_ev, fwhm_ev, amplitude * share * factor));
            }
        }
    }
    peaks
}

/// 505 to 560 eV: steps of 0.1 eV where the edges have structure, 0.5 eV elsewhere.
fn energies_ev() -> Vec<f64> {
    let tenths = (5050..5120).step_by(5).chain(5120..5400).chain((5400..=5600).step_by(5));
    tenths.map(|tenth| f64::from(tenth) / 10.0).collect()
}

/// Rounded as the files have it, so that the set in memory is the set on disk.
fn round(od: f64) -> f64 {
    (od * 1e5).round() / 1e5
}

/// The spectra: identifier and OD on [`energies_ev`].
fn spectra() -> Vec<Vec<f64>> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let energies_ev = energies_ev();
    RECIPES
        .iter()
        .map(|recipe| {
            let peaks = peaks(recipe, &mut rng);
            let od = |energy_ev: f64| {
                background(energy_ev) + peaks.iter().map(|&peak| pseudo_voigt(energy_ev, peak)).sum::<f64>()
            };
            energies_ev.iter().map(|&energy_ev| round(od(energy_ev))).collect()
        })
        .collect()
}

fn csv(recipe: &Recipe, energies_ev: &[f64], od: &[f64]) -> String {
    let mut text = format!(
        "# Synthetic, not measured: {} ({}), optical density of {THICKNESS_NM} nm.\n\
         # Written by `phasewatch simulate --write-references`; the recipe is in src/simulate/nvpf.rs.\n\
         energy_ev,od\n",
        recipe.title, recipe.formula
    );
    for (energy_ev, od) in energies_ev.iter().zip(od) {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{energy_ev:.1},{od:.5}");
    }
    text
}

fn toml() -> String {
    let mut text = format!(
        "# Synthetic, not measured. Written by `phasewatch simulate --write-references`.\n\
         title = \"Na_xV2(PO4)2F3, V L and O K edges (synthetic)\"\n\n\
         [edge]\npre_edge = [{:.1}, {:.1}]\nwhite_line = [{:.1}, {:.1}]\n",
        PRE_EDGE.from_ev, PRE_EDGE.to_ev, WHITE_LINE.from_ev, WHITE_LINE.to_ev
    );
    for (order, recipe) in RECIPES.iter().enumerate() {
        let Recipe { id, title, colour: [r, g, b], formula, na_x, .. } = recipe;
        _ = write!(
            text,
            "\n[phases.\"{id}\"]\ntitle = \"{title}\"\ncolour = \"#{r:02x}{g:02x}{b:02x}\"\norder = {order}\n\
             formula = \"{formula}\"\ndensity_g_per_cm3 = {DENSITY_G_PER_CM3}\nstate = {{ na_x = {na_x:.1} }}\n\
             \n[phases.\"{id}\".provenance]\nbeamline = \"synthetic\"\nresolution_ev = {RESOLUTION_EV}\n\
             polarisation = \"none\"\n\
             calibration = \"synthetic: literature maxima of V L3 and L2, with a shift of its own per phase\"\n"
        );
    }
    text
}

/// Name and content of every file of the set: the CSVs in order of name, then `references.toml`.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let energies_ev = energies_ev();
    let mut files: Vec<_> = RECIPES
        .iter()
        .zip(spectra())
        .map(|(recipe, od)| (format!("{}.csv", recipe.id), csv(recipe, &energies_ev, &od)))
        .collect();
    files.sort();
    files.push(("references.toml".to_owned(), toml()));
    files
}

/// Writes the set into `dir`, which is made where it is missing, and returns how many references it has. Somebody's work is
/// not overwritten: where a file of the same name says something else, nothing is written.
///
/// # Errors
/// What the file system says, with the file; of [`io::ErrorKind::AlreadyExists`] where one says something else.
pub fn write(dir: &Path) -> io::Result<usize> {
    let named =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    std::fs::create_dir_all(dir).map_err(|error| named(dir, error))?;
    let files: Vec<_> = files().into_iter().map(|(name, text)| (dir.join(name), text)).collect();
    for (path, text) in &files {
        match std::fs::read(path) {
            Ok(held) if held != text.as_bytes() => {
                let what = "it is there and says something else; nothing was written: move it away, or name another folder";
                return Err(named(path, io::Error::new(io::ErrorKind::AlreadyExists, what)));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(path, error)),
            _ => {}
        }
    }
    files
        .iter()
        .try_for_each(|(path, text)| std::fs::write(path, text).map_err(|error| named(path, error)))?;
    Ok(RECIPES.len())
}

/// What `LC_ALL=C sha256sum *.csv | sha256sum` prints for the set.
fn sha256() -> String {
    let lines: String = files()
        .iter()
        .filter(|(name, _)| name.ends_with(".csv"))
        .map(|(name, text)| format!("{}  {name}\n", hex(&Sha256::digest(text))))
        .collect();
    hex(&Sha256::digest(lines))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The set as a loader would read it from the files.
#[must_use]
pub fn reference_set() -> ReferenceSet {
    let energies_ev = energies_ev();
    let references = RECIPES
        .iter()
        .zip(spectra())
        .map(|(recipe, od)| Reference {
            label: PhaseLabel {
                id: recipe.id.to_owned(),
                title: recipe.title.to_owned(),
                colour: recipe.colour,
            },
            energies_ev: energies_ev.clone(),
            od,
            provenance: Provenance {
                beamline: Some("synthetic".to_owned()),
                resolution_ev: Some(RESOLUTION_EV),
                polarisation: Some("none".to_owned()),
                calibration: Some(
                    "synthetic: literature maxima of V L3 and L2, with a shift of its own per phase"
                        .to_owned(),
                ),
            },
            composition: Composition {
                formula: Some(recipe.formula.to_owned()),
                density_g_per_cm3: Some(DENSITY_G_PER_CM3),
                state: Some(("na_x".to_owned(), recipe.na_x)),
            },
        })
        .collect();
    ReferenceSet { references, pre_edge: PRE_EDGE, white_line: WHITE_LINE, sha256: sha256() }
}

#[cfg(test)]
mod tests;
