//! What a sample is made of, and how strongly that absorbs.
//!
//! A formula is a sum formula: symbols with counts, decimals too (`Na2.4V2(PO4)2F3`), groups in round, square or curly brackets,
//! parts joined by a middle dot or an asterisk, each with a factor before it (`FePO4·2H2O`), subscript digits as they are
//! printed. What is none is an error that says where it stops being one.
//!
//! Mass absorption coefficients are the photoelectric cross-sections of Chantler (FFAST) as XrayDB has them (crate `xraydb`), element by
//! element, weighted by mass; those of Elam differ by less than 12 % away from edges, and put the edges of 3d metals less well. They are
//! those of free atoms: no near-edge structure, no bonds. At a white line the true absorption may be two to four times as large; see
//! docs/dose.md. Below [`LOWEST_EV`] the tables are not to be relied on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xraydb::{ChantlerKind, XrayDb};

use super::DoseSettings;
use crate::reference::ReferenceSet;

/// Lowest energy from which the tables are good for a dose, eV.
pub const LOWEST_EV: f64 = 100.0;
/// Longest formula, bytes; deepest brackets; largest count of an element.
const MOST: (usize, usize, f64) = (256, 16, 1e6);

/// The elements that have tables, by atomic number from 1.
const ELEMENTS: &str = "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr \
                        Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir \
                        Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U";

/// Why a formula is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MaterialError {
    /// It cannot be read.
    #[error("formula {formula:?}: {what} at character {at}")]
    Formula {
        /// The formula, cut to 64 characters.
        formula: String,
        /// What is wrong.
        what: &'static str,
        /// Where, from 1.
        at: usize,
    },
    /// An element that there is none of, or no table for.
    #[error("formula {formula:?}: {symbol:?} is no element with an absorption table")]
    Element {
        /// The formula, cut to 64 characters.
        formula: String,
        /// What was taken for an element.
        symbol: String,
    },
    /// The tables that are built into the program cannot be read; a bug of ours.
    #[error("the absorption tables cannot be read: {0}")]
    Tables(String),
}

/// What a sample is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Material {
    /// In words: the formula, or of which references it is the mean.
    pub text: String,
    /// Share of each element in the mass, by symbol; together 1.
    pub mass_fractions: Vec<(String, f64)>,
    /// Density, g/cm³, where it is known. The dose does not need it: what counts is the mass that the beam goes through.
    pub density_g_per_cm3: Option<f64>,
}

impl Material {
    /// Whether `formula` is one; without looking at the tables.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn check(formula: &str) -> Result<(), MaterialError> {
        counted(formula).map(drop)
    }

    /// What `formula` says.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn parse(formula: &str, density_g_per_cm3: Option<f64>) -> Result<Self, MaterialError> {
        let counts = counted(formula)?;
        let tables = tables()?;
        let mut masses = Vec::with_capacity(counts.len());
        for (symbol, count) in counts {
            let mass =
                tables.molar_mass(&symbol).map_err(|error| MaterialError::Tables(error.to_string()))?;
            masses.push((symbol, count * mass));
        }
        let total: f64 = masses.iter().map(|(_, mass)| mass).sum();
        masses.iter_mut().for_each(|(_, mass)| *mass /= total);
        Ok(Self { text: formula.trim().to_owned(), mass_fractions: masses, density_g_per_cm3 })
    }

    /// The material of a sample: what the settings say, else the mean over the references that have a formula, by mass. `None` where
    /// neither says. What cannot be read comes back beside it, and is left out.
    #[must_use]
    pub fn of_sample(
        references: &ReferenceSet,
        settings: &DoseSettings,
    ) -> (Option<Self>, Vec<MaterialError>) {
        if let Some(formula) = &settings.composition {
            return match Self::parse(formula, settings.density_g_per_cm3) {
                Ok(material) => (Some(material), Vec::new()),
                Err(error) => (None, vec![error]),
            };
        }
        let mut wrong = Vec::new();
        let mut found = Vec::new();
        for composition in references.references.iter().map(|reference| &reference.composition) {
            let Some(formula) = &composition.formula else { continue };
            match Self::parse(formula, composition.density_g_per_cm3) {
                Ok(material) => found.push(material),
                Err(error) => wrong.push(error),
            }
        }
        (Self::mean(&found, settings.density_g_per_cm3), wrong)
    }

    fn mean(materials: &[Self], density_g_per_cm3: Option<f64>) -> Option<Self> {
        let [first, rest @ ..] = materials else { return None };
        let mut fractions: BTreeMap<&str, f64> = BTreeMap::new();
        for (symbol, share) in materials.iter().flat_map(|material| &material.mass_fractions) {
            *fractions.entry(symbol).or_default() += share / materials.len() as f64;
        }
        let densities: Vec<f64> =
            materials.iter().filter_map(|material| material.density_g_per_cm3).collect();
        let mean = (!densities.is_empty()).then(|| densities.iter().sum::<f64>() / densities.len() as f64);
        let text = match rest.len() {
            0 => first.text.clone(),
            more => format!("mean of {} references: {} to {}", more + 1, first.text, rest[more - 1].text),
        };
        Some(Self {
            text,
            mass_fractions: fractions.into_iter().map(|(symbol, share)| (symbol.to_owned(), share)).collect(),
            density_g_per_cm3: density_g_per_cm3.or(mean),
        })
    }

    /// Mass absorption coefficient at each energy, cm²/g.
    ///
    /// # Errors
    /// Where the tables cannot be read.
    pub fn mass_absorption(&self, energies_ev: &[f64]) -> Result<Vec<f64>, MaterialError> {
        let tables = tables()?;
        let mut sum = vec![0.0; energies_ev.len()];
        for (symbol, share) in &self.mass_fractions {
            let of_element = tables
                .mu_chantler(symbol, energies_ev, ChantlerKind::Photo)
                .map_err(|error| MaterialError::Tables(error.to_string()))?;
            sum.iter_mut().zip(of_element).for_each(|(sum, mu)| *sum += share * mu);
        }
        Ok(sum)
    }

    /// Linear absorption coefficient at each energy, per µm; `None` without a density.
    ///
    /// # Errors
    /// Where the tables cannot be read.
    pub fn absorption_per_um(&self, energies_ev: &[f64]) -> Result<Option<Vec<f64>>, MaterialError> {
        let Some(density) = self.density_g_per_cm3 else { return Ok(None) };
        let mass = self.mass_absorption(energies_ev)?;
        Ok(Some(mass.into_iter().map(|mu| mu * density * 1e-4).collect()))
    }
}

/// The elements of a formula with their counts.
fn counted(formula: &str) -> Result<Counts, MaterialError> {
    let counts = Parser::parse(formula)?;
    match counts.keys().find(|symbol| ELEMENTS.split_ascii_whitespace().all(|known| known != *symbol)) {
        Some(symbol) => Err(MaterialError::Element { formula: cut(formula), symbol: symbol.clone() }),
        None => Ok(counts),
    }
}

/// The tables; decoded at first use, which takes a tenth of a second and 20 MB.
fn tables() -> Result<XrayDb, MaterialError> {
    XrayDb::try_new().map_err(|error| MaterialError::Tables(error.to_string()))
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Reads a formula from left to right.
struct Parser<'a> {
    formula: &'a str,
    rest: std::iter::Peekable<std::iter::Enumerate<std::vec::IntoIter<char>>>,
}

type Counts = BTreeMap<String, f64>;

impl<'a> Parser<'a> {
    fn parse(formula: &'a str) -> Result<Counts, MaterialError> {
        let characters: Vec<char> = formula.trim().chars().map(plain).collect();
        let mut parser = Self { formula, rest: characters.into_iter().enumerate().peekable() };
        if formula.len() > MOST.0 {
            return Err(parser.wrong("it is longer than any formula,"));
        }
        let mut all = Counts::new();
        loop {
            let factor = parser.number()?.unwrap_or(1.0);
            let part = parser.part()?;
            add(&mut all, part, factor);
            match parser.rest.next() {
                None => break,
                Some((_, '·')) => {}
                Some((at, _)) => return Err(parser.wrong_at("a bracket without its other half", at)),
            }
        }
        if all.values().any(|count| !(*count > 0.0 && *count <= MOST.2)) {
            return Err(parser.wrong("a count that is 0 or too large"));
        }
        Ok(all)
    }

    /// Up to the next middle dot, the end, or a bracket that was not opened.
    fn part(&mut self) -> Result<Counts, MaterialError> {
        let mut open: Vec<(char, Counts)> = Vec::new();
        let mut current = Counts::new();
        loop {
            match self.rest.peek().copied() {
                Some((_, bracket @ ('(' | '[' | '{'))) if open.len() < MOST.1 => {
                    self.rest.next();
                    open.push((bracket, std::mem::take(&mut current)));
                }
                Some((_, bracket @ (')' | ']' | '}'))) => {
                    let Some((opened, outer)) = open.pop() else { break };
                    if !matches!((opened, bracket), ('(', ')') | ('[', ']') | ('{', '}')) {
                        return Err(self.wrong("a bracket that closes another kind"));
                    }
                    self.rest.next();
                    let factor = self.number()?.unwrap_or(1.0);
                    let inner = std::mem::replace(&mut current, outer);
                    if inner.is_empty() {
                        return Err(self.wrong("empty brackets before"));
                    }
                    add(&mut current, inner, factor);
                }
                Some((_, letter)) if letter.is_ascii_uppercase() => {
                    let mut symbol = String::from(letter);
                    self.rest.next();
                    while let Some((_, letter)) =
                        self.rest.next_if(|(_, letter)| letter.is_ascii_lowercase() && symbol.len() < 2)
                    {
                        symbol.push(letter);
                    }
                    let count = self.number()?.unwrap_or(1.0);
                    *current.entry(symbol).or_default() += count;
                }
                None | Some((_, '·')) => break,
                Some(_) => return Err(self.wrong("neither an element nor a bracket nor a number")),
            }
        }
        if !open.is_empty() {
            return Err(self.wrong("a bracket is not closed"));
        }
        if current.is_empty() {
            return Err(self.wrong("there is no element"));
        }
        Ok(current)
    }

    /// A count, if one comes.
    fn number(&mut self) -> Result<Option<f64>, MaterialError> {
        let mut digits = String::new();
        while let Some((_, digit)) =
            self.rest.next_if(|(_, digit)| digit.is_ascii_digit() || (*digit == '.' && !digits.contains('.')))
        {
            digits.push(digit);
        }
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().ok().filter(|number: &f64| *number <= MOST.2);
        number.map(Some).ok_or_else(|| self.wrong("a count that is none, or too large"))
    }

    /// An error where reading stands.
    fn wrong(&mut self, what: &'static str) -> MaterialError {
        let at = self.rest.peek().map_or_else(|| self.formula.trim().chars().count(), |(at, _)| *at);
        self.wrong_at(what, at)
    }

    fn wrong_at(&self, what: &'static str, at: usize) -> MaterialError {
        MaterialError::Formula { formula: cut(self.formula), what, at: at + 1 }
    }
}

/// Adds `more`, `factor` times.
fn add(to: &mut Counts, more: Counts, factor: f64) {
    for (symbol, count) in more {
        *to.entry(symbol).or_default() += factor * count;
    }
}

/// Signs that mean the same as one.
fn plain(sign: char) -> char {
    match sign {
        '\u{2022}' | '\u{2219}' | '\u{22c5}' | '\u{30fb}' | '*' => '·',
        '\u{2080}'..='\u{2089}' => char::from(b'0' + (u32::from(sign) - 0x2080) as u8),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::nvpf;

    fn counts(formula: &str) -> Vec<(String, f64)> {
        Parser::parse(formula).unwrap().into_iter().collect()
    }

    fn expect(formula: &str, wanted: &[(&str, f64)]) {
        let found = counts(formula);
        assert_eq!(found.len(), wanted.len(), "{formula}: {found:?}");
        for ((symbol, count), (wanted, number)) in found.iter().zip(wanted) {
            assert_eq!(symbol, wanted);
            assert!((count - number).abs() < 1e-12, "{formula}: {found:?}");
        }
    }

    #[test]
    fn formulas_are_counted() {
        expect("H2O", &[("H", 2.0), ("O", 1.0)]);
        expect("Na2.4V2(PO4)2F3", &[("F", 3.0), ("Na", 2.4), ("O", 8.0), ("P", 2.0), ("V", 2.0)]);
        expect("FePO4·2H2O", &[("Fe", 1.0), ("H", 4.0), ("O", 6.0), ("P", 1.0)]);
        expect(
            "K4[Fe(CN)6] * 3 H2O".replace(' ', "").as_str(),
            &[("C", 6.0), ("Fe", 1.0), ("H", 6.0), ("K", 4.0), ("N", 6.0), ("O", 3.0)],
        );
        expect("Fe₂O₃", &[("Fe", 2.0), ("O", 3.0)]);
        expect("Co.5Ni0.5O", &[("Co", 0.5), ("Ni", 0.5), ("O", 1.0)]);
        expect("C6H4(CH3)2", &[("C", 8.0), ("H", 10.0)]);
    }

    #[test]
    fn what_is_no_formula_is_an_error_that_says_where() {
        for wrong in [
            "",
            " ",
            "h2o",
            "Na(",
            "Na)",
            "Na(]",
            "()",
            "H2O·",
            "2",
            "Na2,4V",
            "Na0",
            "Na1e9",
            "Na99999999",
            "Xx",
            "Fe2O3 or so",
            "Iron",
            "D2O",
        ] {
            assert!(Material::parse(wrong, None).is_err(), "{wrong:?}");
        }
        let text = Material::parse("Na2V(PO4", None).unwrap_err().to_string();
        assert!(text.contains("not closed") && text.contains("character 9"), "{text}");
        assert!(Material::parse(&"(".repeat(100_000), None).is_err());
        assert!(Material::parse(&"C".repeat(300), None).is_err());
    }

    #[test]
    fn every_element_that_is_listed_has_tables() {
        for symbol in ELEMENTS.split_ascii_whitespace() {
            let mu = Material::parse(symbol, None).unwrap().mass_absorption(&[120.0, 700.0]).unwrap();
            assert!(mu.iter().all(|mu| mu.is_finite() && *mu > 0.0), "{symbol}: {mu:?}");
        }
        assert_eq!(ELEMENTS.split_ascii_whitespace().count(), 92);
    }

    #[test]
    fn water_has_the_mass_fractions_and_the_absorption_of_the_tables() {
        let water = Material::parse("H2O", Some(1.0)).unwrap();
        let oxygen = water.mass_fractions.iter().find(|(symbol, _)| symbol == "O").unwrap().1;
        assert!((oxygen - 15.999 / 18.015).abs() < 1e-4, "{oxygen}");
        // Henke's tables: 1/e in water is about 0.5 um right above the oxygen edge, and several um in the water window.
        let mu = water.absorption_per_um(&[510.0, 560.0]).unwrap().unwrap();
        assert!((0.08..0.25).contains(&mu[0]) && (1.5..3.0).contains(&mu[1]), "{mu:?}");
    }

    #[test]
    fn nvpf_absorbs_as_was_computed_before() {
        let nvpf = Material::parse("Na3V2(PO4)2F3", Some(3.16)).unwrap();
        let mu = nvpf.absorption_per_um(&[510.0, 522.0, 530.0, 550.0]).unwrap().unwrap();
        for (mu, wanted) in mu.iter().zip([1.2, 2.8, 2.7, 4.4]) {
            assert!((mu - wanted).abs() < 0.15 * wanted, "{mu} for {wanted}");
        }
    }

    #[test]
    fn the_settings_win_over_the_references_and_those_are_averaged() {
        let mut set = nvpf::reference_set();
        let formula = |x: &str| Some(format!("Na{x}V2(PO4)2F3"));
        for (reference, x) in set.references.iter_mut().zip(["3", "1"]) {
            reference.composition.formula = formula(x);
            reference.composition.density_g_per_cm3 = Some(if x == "3" { 3.2 } else { 3.0 });
        }
        set.references.iter_mut().skip(2).for_each(|reference| reference.composition.formula = None);
        let settings = DoseSettings::default();
        let mean = Material::of_sample(&set, &settings).0.unwrap();
        assert!((mean.density_g_per_cm3.unwrap() - 3.1).abs() < 1e-12);
        let [three, one] = ["3", "1"].map(|x| Material::parse(&formula(x).unwrap(), None).unwrap());
        let share = |material: &Material| {
            material.mass_fractions.iter().find(|(symbol, _)| symbol == "Na").unwrap().1
        };
        assert!((share(&mean) - 0.5 * (share(&three) + share(&one))).abs() < 1e-12);
        let own = DoseSettings { composition: Some("C8H8".into()), ..settings.clone() };
        assert_eq!(Material::of_sample(&set, &own).0.unwrap().mass_fractions.len(), 2);
        set.references[0].composition.formula = Some("Na3V2(PO4".into());
        let (rest, wrong) = Material::of_sample(&set, &settings);
        assert_eq!((rest.unwrap().text, wrong.len()), (formula("1").unwrap(), 1));
        set.references.iter_mut().for_each(|reference| reference.composition.formula = None);
        assert_eq!(Material::of_sample(&set, &settings), (None, Vec::new()));
    }
}
