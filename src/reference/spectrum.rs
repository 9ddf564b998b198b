//! One reference file: a spectrum as text.
//!
//! Two formats. CSV: the header `energy_ev,od`, then one row per energy. `.r`, as beamline software writes it:
//! two columns separated by blanks, no header. In both, `#` starts a comment, empty lines are skipped, energies
//! are positive and strictly ascending, every number is finite, and there are 2 to 100 000 of them. Anything
//! else is an error that names the file and the line.

use std::path::Path;

use super::ReferenceError;

/// Most energies one reference may have.
const MAX_POINTS: usize = 100_000;

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `energy_ev,od` with a header.
    Csv,
    /// Two columns separated by blanks.
    Columns,
}

impl Layout {
    /// The extension of such files.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Columns => "r",
        }
    }
}

/// Energies, eV, and optical densities.
pub(super) type Spectrum = (Vec<f64>, Vec<f64>);

/// Reads the text of a file; `path` is for the errors.
pub(super) fn parse(path: &Path, layout: Layout, text: &str) -> Result<Spectrum, ReferenceError> {
    let wrong = |line: usize, message: String| ReferenceError::Line { path: path.to_owned(), line, message };
    let (mut energies_ev, mut od) = (Vec::<f64>::new(), Vec::new());
    let mut header_seen = layout == Layout::Columns;
    for (index, line) in text.lines().enumerate() {
        let row = line.split('#').next().unwrap_or_default().trim();
        if row.is_empty() {
            continue;
        }
        if !header_seen {
            let names: Vec<_> = row.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
            if names != ["energy_ev", "od"] {
                return Err(wrong(index + 1, format!("the header must be energy_ev,od, not {row:?}")));
            }
            header_seen = true;
            continue;
        }
        let (energy, value) = pair(layout, row).map_err(|message| wrong(index + 1, message))?;
        if let Some(&last) = energies_ev.last().filter(|&&last| energy <= last) {
            let message = format!("energies must ascend, but {energy} eV follows {last} eV");
            return Err(wrong(index + 1, message));
        }
        if energies_ev.len() == MAX_POINTS {
            return Err(wrong(index + 1, format!("more than {MAX_POINTS} energies")));
        }
        energies_ev.push(energy);
        od.push(value);
    }
    if energies_ev.len() < 2 {
        let message = format!("{} energies; a reference needs at least 2", energies_ev.len());
        return Err(wrong(text.lines().count().max(1), message));
    }
    Ok((energies_ev, od))
}

fn pair(layout: Layout, row: &str) -> Result<(f64, f64), String> {
    let fields: Vec<&str> = match layout {
        Layout::Csv => row.split(',').map(str::trim).collect(),
        Layout::Columns => row.split_whitespace().collect(),
    };
    let &[energy, od] = fields.as_slice() else {
        return Err(format!(
            "{} columns; expected two, the energy in eV and the optical density",
            fields.len()
        ));
    };
    let number = |field: &str, name: &str| match field.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) => Err(format!("the {name} is {value}; it must be finite")),
        Err(_) => Err(format!("the {name} {field:?} is not a number")),
    };
    let (energy, od) = (number(energy, "energy")?, number(od, "optical density")?);
    if energy <= 0.0 {
        return Err(format!("the energy {energy} eV is not above 0"));
    }
    Ok((energy, od))
}

/// Writes a spectrum as CSV; reading it back gives the same numbers.
pub(super) fn to_csv(comment: &str, energies_ev: &[f64], od: &[f64]) -> String {
    let mut text = format!("# {comment}\nenergy_ev,od\n");
    for (energy, value) in energies_ev.iter().zip(od) {
        text.push_str(&format!("{energy},{value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Spectrum, ReferenceError> {
        parse(Path::new("a.csv"), Layout::Csv, text)
    }

    #[test]
    fn reads_comments_blank_lines_and_windows_line_ends() {
        let read = csv("# made by hand\r\n\r\nenergy_ev,od\r\n700, 1.5 # first\r\n701,-0.25\r\n").unwrap();
        assert_eq!(read, (vec![700.0, 701.0], vec![1.5, -0.25]));
        let columns = parse(Path::new("a.r"), Layout::Columns, " 7.0E+2\t1.5\n701  2\n").unwrap();
        assert_eq!(columns, (vec![700.0, 701.0], vec![1.5, 2.0]));
    }

    #[test]
    fn names_the_line_of_what_is_wrong() {
        for (text, wanted) in [
            ("energy,od\n1,2\n", "a.csv line 1: the header must be energy_ev,od"),
            ("energy_ev,od\n1,2\n1,3\n", "a.csv line 3: energies must ascend"),
            ("energy_ev,od\n2,2\n1,3\n", "a.csv line 3: energies must ascend"),
            ("energy_ev,od\n1,NaN\n", "a.csv line 2: the optical density is NaN"),
            ("energy_ev,od\n1,x\n", "a.csv line 2: the optical density \"x\" is not a number"),
            ("energy_ev,od\n1\n", "a.csv line 2: 1 columns"),
            ("energy_ev,od\n-1,2\n", "a.csv line 2: the energy -1 eV is not above 0"),
            ("energy_ev,od\n1,2\n", "a.csv line 2: 1 energies"),
            ("", "a.csv line 1: 0 energies"),
        ] {
            let message = csv(text).unwrap_err().to_string();
            assert!(message.starts_with(wanted), "{text:?} gave {message:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let (energies, od) = (vec![700.0, 700.1 + 0.2, 1.0e3], vec![1.0 / 3.0, -0.1, 1e-300]);
        assert_eq!(csv(&to_csv("x", &energies, &od)).unwrap(), (energies, od));
    }
}
