//! Spectra in two columns: the ALS's `.r` and `.xsp` (energy and value, white space between), and CSV.
//!
//! Lines that are empty or start with `#` or `%` are passed over. In a CSV the first line may be a header;
//! columns beyond the second are ignored. Rows are kept in the order of the file. A row that is not two finite
//! numbers is an error that names file and line.

use std::path::Path;

use super::{RecordingError, read_text};

/// Longest file that is read, bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a spectrum: energy, eV, and value of each row.
///
/// # Errors
/// A file that cannot be read, a row that is not two finite numbers, or no row at all.
pub fn read_spectrum(path: &Path) -> Result<Vec<(f64, f64)>, RecordingError> {
    let text = read_text(path, MAX_BYTES)?;
    let mut rows = Vec::new();
    let mut header_allowed = true;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '%']) {
            continue;
        }
        match row(line) {
            Some(row) => rows.push(row),
            None if header_allowed && is_header(line) => {}
            None => {
                let problem = format!("expected energy and value, two finite numbers, found {:?}", cut(line));
                return Err(RecordingError::Text { path: path.to_owned(), line: index + 1, problem });
            }
        }
        header_allowed = false;
    }
    if rows.is_empty() {
        return Err(RecordingError::content(path, "no row of energy and value"));
    }
    Ok(rows)
}

/// The ring current, mA, that a comment line of a spectrum file says: `# ring_current_ma = 500`, with `:` or a blank
/// as well; `None` where there is no such line.
///
/// # Errors
/// A file that cannot be read, or a ring current that is no number above 0.
pub fn read_ring_current_ma(path: &Path) -> Result<Option<f64>, RecordingError> {
    const KEY: &str = "ring_current_ma";
    let text = read_text(path, MAX_BYTES)?;
    for (index, line) in text.lines().enumerate() {
        let comment =
            line.trim().strip_prefix(['#', '%']).map(|rest| rest.trim_start_matches(['#', '%', ' ', '\t']));
        let Some(rest) = comment.and_then(|comment| comment.strip_prefix(KEY)) else { continue };
        let value = rest.trim_matches([' ', '\t', ':', '=']).parse::<f64>();
        return match value.ok().filter(|value| value.is_finite() && *value > 0.0) {
            Some(value) => Ok(Some(value)),
            None => Err(RecordingError::Text {
                path: path.to_owned(),
                line: index + 1,
                problem: format!("{KEY} has to be a number above 0, found {:?}", cut(rest)),
            }),
        };
    }
    Ok(None)
}

fn row(line: &str) -> Option<(f64, f64)> {
    let mut columns = if line.contains(',') {
        line.split(',').map(str::trim).collect::<Vec<_>>()
    } else {
        line.split_whitespace().collect()
    }
    .into_iter()
    .map(|text| text.parse::<f64>().ok().filter(|value| value.is_finite()));
    Some((columns.next()??, columns.next()??))
}

/// A header has two names at least, neither of them a number.
fn is_header(line: &str) -> bool {
    let names: Vec<_> = line.split(',').map(str::trim).collect();
    names.len() >= 2 && names.iter().all(|name| !name.is_empty() && name.parse::<f64>().is_err())
}

fn cut(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<(f64, f64)>, RecordingError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_spectrum(&path)
    }

    #[test]
    fn reads_white_space_and_csv() {
        let expected = [(700.0, 901.5), (700.375, 903.0)];
        assert_eq!(read("i0.xsp", "7.0000E+2 9.0150E+2\n7.00375E+2\t903\n").unwrap(), expected);
        assert_eq!(read("i0.csv", "# c\nenergy_ev,i0\n700,901.5\n\n700.375, 903.0,x\n").unwrap(), expected);
    }

    #[test]
    fn a_comment_tells_the_ring_current() {
        let current = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("i0.xsp");
            std::fs::write(&path, text).unwrap();
            read_ring_current_ma(&path).map_err(|error| error.to_string())
        };
        assert_eq!(current("# ring_current_ma = 480.5\n700 1\n"), Ok(Some(480.5)));
        assert_eq!(current("% ring_current_ma: 300\n700 1\n"), Ok(Some(300.0)));
        assert_eq!(current("# anything\n700 1\n"), Ok(None));
        assert!(current("700 1\n# ring_current_ma = off\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        let error = read("bad.r", "700 1\n700.1 x\n").unwrap_err().to_string();
        assert!(error.contains("bad.r, line 2") && error.contains("700.1 x"), "{error}");
        assert!(read("nan.r", "700 NaN\n").is_err());
        assert!(read("late.csv", "700,1\nenergy_ev,od\n").unwrap_err().to_string().contains("line 2"));
        assert!(read("empty.r", "# nothing\n").unwrap_err().to_string().contains("no row"));
    }
}
