//! `references.toml`: what a directory of references says of itself.
//!
//! ```toml
//! title = "NVPF, V L and O K edges"
//! [edge]                              # both or none; found on the mean of the references otherwise
//! pre_edge = [505.0, 511.5]           # eV
//! white_line = [514.5, 519.0]         # eV
//! [phases."2.4"]                      # the name of a file, without .csv
//! title = "x = 2.4"
//! colour = "#56b4e9"
//! order = 2                           # place in the legend; those without come after, by name
//! formula = "Na2.4V2(PO4)2F3"
//! density_g_per_cm3 = 3.16
//! state = { na_x = 2.4 }
//! [phases."2.4".provenance]
//! beamline = "synthetic"
//! resolution_ev = 0.2
//! polarisation = "linear, 0 degrees"
//! calibration = "V L3 of V2O5 at 518.3 eV"
//! ```
//!
//! Every key is optional. An unknown key is an error that names the nearest known one; a value of the wrong
//! type or out of range is an error that says what is allowed. All errors name the line.

use std::collections::BTreeMap;

use super::{Composition, Provenance, Window};
use crate::document::{self, Node, Value};

/// What the file says of one phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Phase {
    /// Line of its table.
    pub(super) line: usize,
    pub(super) title: Option<String>,
    pub(super) colour: Option<[u8; 3]>,
    pub(super) order: Option<i64>,
    pub(super) composition: Composition,
    pub(super) provenance: Provenance,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Description {
    pub(super) title: Option<String>,
    /// Pre-edge and white line.
    pub(super) edge: Option<(Window, Window)>,
    pub(super) phases: BTreeMap<String, Phase>,
}

/// Line and message of what is wrong.
pub(super) type Wrong = (usize, String);
type Table = BTreeMap<String, Node>;

/// Reads the text of the file.
pub(super) fn parse(text: &str) -> Result<Description, Wrong> {
    let document = document::parse(text).map_err(|error| (error.line, error.message))?;
    let mut description = Description::default();
    for (key, node) in &document {
        match key.as_str() {
            "title" => description.title = Some(text_of(key, node)?),
            "edge" => description.edge = Some(edge(node)?),
            "phases" => {
                for (id, node) in table_of(key, node)? {
                    description.phases.insert(id.clone(), phase(id, node)?);
                }
            }
            _ => return Err(unknown(node.line, "", key, &["title", "edge", "phases"])),
        }
    }
    Ok(description)
}

fn edge(node: &Node) -> Result<(Window, Window), Wrong> {
    let table = table_of("edge", node)?;
    let (mut pre_edge, mut white_line) = (None, None);
    for (key, node) in table {
        match key.as_str() {
            "pre_edge" => pre_edge = Some(window("edge.pre_edge", node)?),
            "white_line" => white_line = Some(window("edge.white_line", node)?),
            _ => return Err(unknown(node.line, "edge.", key, &["pre_edge", "white_line"])),
        }
    }
    let (Some(pre_edge), Some(white_line)) = (pre_edge, white_line) else {
        return Err((node.line, "edge needs both pre_edge and white_line".to_owned()));
    };
    if pre_edge.to_ev >= white_line.from_ev {
        let message = "edge.pre_edge must end below where edge.white_line begins".to_owned();
        return Err((node.line, message));
    }
    Ok((pre_edge, white_line))
}

fn phase(id: &str, node: &Node) -> Result<Phase, Wrong> {
    const KEYS: [&str; 7] =
        ["title", "colour", "order", "formula", "density_g_per_cm3", "state", "provenance"];
    let mut phase = Phase { line: node.line, ..Phase::default() };
    for (key, node) in table_of(&format!("phases.{id:?}"), node)? {
        let name = format!("phases.{id:?}.{key}");
        match key.as_str() {
            "title" => phase.title = Some(text_of(&name, node)?),
            "colour" => phase.colour = Some(colour(&name, node)?),
            "order" => match node.value {
                Value::Integer(order) => phase.order = Some(order),
                _ => return Err(mismatch(&name, node, "a whole number")),
            },
            "formula" => phase.composition.formula = Some(text_of(&name, node)?),
            "density_g_per_cm3" => phase.composition.density_g_per_cm3 = Some(positive(&name, node)?),
            "state" => phase.composition.state = Some(state(&name, node)?),
            "provenance" => phase.provenance = provenance(&name, node)?,
            _ => return Err(unknown(node.line, &format!("phases.{id:?}."), key, &KEYS)),
        }
    }
    Ok(phase)
}

fn provenance(prefix: &str, node: &Node) -> Result<Provenance, Wrong> {
    const KEYS: [&str; 4] = ["beamline", "resolution_ev", "polarisation", "calibration"];
    let mut provenance = Provenance::default();
    for (key, node) in table_of(prefix, node)? {
        let name = format!("{prefix}.{key}");
        match key.as_str() {
            "beamline" => provenance.beamline = Some(text_of(&name, node)?),
            "resolution_ev" => provenance.resolution_ev = Some(positive(&name, node)?),
            "polarisation" => provenance.polarisation = Some(text_of(&name, node)?),
            "calibration" => provenance.calibration = Some(text_of(&name, node)?),
            _ => return Err(unknown(node.line, &format!("{prefix}."), key, &KEYS)),
        }
    }
    Ok(provenance)
}

fn state(name: &str, node: &Node) -> Result<(String, f64), Wrong> {
    const WANTED: &str = "one name and its number, such as { na_x = 2.4 }";
    let mut pairs = table_of(name, node)?.iter();
    match (pairs.next(), pairs.next()) {
        (Some((variable, value)), None) => match value.value.number().filter(|number| number.is_finite()) {
            Some(number) => Ok((variable.clone(), number)),
            None => Err(mismatch(name, node, WANTED)),
        },
        _ => Err(mismatch(name, node, WANTED)),
    }
}

fn window(name: &str, node: &Node) -> Result<Window, Wrong> {
    const WANTED: &str = "two energies in eV, [from, to], from below to";
    let Value::Array(list) = &node.value else { return Err(mismatch(name, node, WANTED)) };
    match list.iter().map(|item| item.value.number()).collect::<Option<Vec<f64>>>().as_deref() {
        Some(&[from_ev, to_ev]) if from_ev < to_ev && from_ev > 0.0 && to_ev.is_finite() => {
            Ok(Window { from_ev, to_ev })
        }
        _ => Err((node.line, format!("{name} must be {WANTED}"))),
    }
}

fn colour(name: &str, node: &Node) -> Result<[u8; 3], Wrong> {
    let wrong = || (node.line, format!("{name} must be a colour such as \"#56b4e9\""));
    let digits = node.value.text().and_then(|text| text.strip_prefix('#')).ok_or_else(wrong)?;
    if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
    let [_, red, green, blue] = number.to_be_bytes();
    Ok([red, green, blue])
}

fn positive(name: &str, node: &Node) -> Result<f64, Wrong> {
    match node.value.number() {
        Some(number) if number.is_finite() && number > 0.0 => Ok(number),
        Some(number) => Err((node.line, format!("{name} is {number}; it must be above 0"))),
        None => Err(mismatch(name, node, "a number above 0")),
    }
}

fn text_of(name: &str, node: &Node) -> Result<String, Wrong> {
    node.value.text().map(str::to_owned).ok_or_else(|| mismatch(name, node, "a text in quotes"))
}

fn table_of<'a>(name: &str, node: &'a Node) -> Result<&'a Table, Wrong> {
    if let Value::Table(table) = &node.value { Ok(table) } else { Err(mismatch(name, node, "a table")) }
}

fn mismatch(name: &str, node: &Node, wanted: &str) -> Wrong {
    (node.line, format!("{name} is {}; it must be {wanted}", node.value.kind()))
}

fn unknown(line: usize, prefix: &str, key: &str, known: &[&'static str]) -> Wrong {
    let hint = match document::nearest(key, known.iter().copied()) {
        Some(nearest) => format!("did you mean {prefix}{nearest}?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (line, format!("unknown key {prefix}{key}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_everything_it_documents() {
        let example: String = include_str!("description.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .skip_while(|line| !line.starts_with("```toml"))
            .skip(1)
            .take_while(|line| !line.starts_with("```"))
            .map(|line| format!("{line}\n"))
            .collect();
        let read = parse(&example).unwrap();
        assert_eq!(read.edge.unwrap().1, Window { from_ev: 514.5, to_ev: 519.0 });
        let phase = &read.phases["2.4"];
        assert_eq!(phase.colour, Some([0x56, 0xb4, 0xe9]));
        assert_eq!(phase.composition.state, Some(("na_x".to_owned(), 2.4)));
        assert_eq!(phase.provenance.resolution_ev, Some(0.2));
        assert_eq!((phase.order, phase.line), (Some(2), 5));
    }

    #[test]
    fn errors_name_the_line_and_what_is_allowed() {
        for (text, line, wanted) in [
            ("titel = \"x\"\n", 1, "did you mean title?"),
            ("[phases.a]\n\ncolor = \"#000000\"\n", 3, "did you mean phases.\"a\".colour?"),
            ("[phases.a.provenance]\nresolution = 1\n", 2, "provenance.resolution_ev?"),
            ("[phases.a]\ncolour = \"red\"\n", 2, "such as \"#56b4e9\""),
            ("[phases.a]\ncolour = \"#+1+2+3\"\n", 2, "such as \"#56b4e9\""),
            ("[phases.a]\ndensity_g_per_cm3 = 0\n", 2, "must be above 0"),
            ("[phases.a]\nstate = { a = 1, b = 2 }\n", 2, "one name and its number"),
            ("[edge]\npre_edge = [1, 2]\n", 1, "needs both"),
            ("[edge]\npre_edge = [3, 2]\nwhite_line = [4, 5]\n", 2, "from below to"),
            ("[edge]\npre_edge = [1, 4]\nwhite_line = [3, 5]\n", 1, "must end below"),
            ("a = = 1", 1, ""),
        ] {
            let (found, message) = parse(text).unwrap_err();
            assert_eq!(found, line, "{text:?}: {message}");
            assert!(message.contains(wanted), "{text:?} gave {message:?}");
        }
    }
}
