//! Names and versions of formats: whether this phasewatch may read what a file says it is.
//!
//! A format is `<name>/<number>`. The number goes up when an older phasewatch would misread the file; what is only added does not
//! change it. So a number up to ours is read, a higher one is refused: the file stays as it is, whatever else is done.
//! `docs/formats-versions.md` lists every file. A file that says nothing is of version 1, where its reader allows that.
//!
//! Bad input: another name, or a number that is none, is refused as a higher one is.

use serde::Deserialize;

/// What a file says it is, and this phasewatch does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "format {found:?} is not {ours:?}; a newer phasewatch wrote it, and only that can read it; it is left as it is"
)]
pub struct NewerFormat {
    /// What it says.
    pub found: String,
    /// What we write.
    pub ours: &'static str,
}

/// Whether a file that says `found` of itself may be read by who writes `ours`.
///
/// # Errors
/// Where it may not.
pub fn check(found: &str, ours: &'static str) -> Result<(), NewerFormat> {
    let parts = |format: &str| -> Option<(String, u32)> {
        let (name, number) = format.rsplit_once('/')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    match (parts(found), parts(ours)) {
        (Some((name, number)), Some((own, most))) if name == own && (1..=most).contains(&number) => Ok(()),
        _ => Err(NewerFormat { found: found.chars().take(64).collect(), ours }),
    }
}

/// The same, of a JSON object with a `format`. What is none of that is not judged here: whoever reads it says what is wrong with it.
///
/// # Errors
/// Where it may not.
pub fn check_json(bytes: &[u8], ours: &'static str) -> Result<(), NewerFormat> {
    #[derive(Deserialize)]
    struct Head {
        format: Option<String>,
    }
    match serde_json::from_slice::<Head>(bytes) {
        Ok(Head { format: Some(found) }) => check(&found, ours),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_own_numbers_are_read_and_higher_ones_refused() {
        let ours = "phasewatch-x/3";
        for good in ["phasewatch-x/1", "phasewatch-x/3"] {
            assert_eq!(check(good, ours), Ok(()));
        }
        for bad in
            ["phasewatch-x/4", "phasewatch-x/0", "phasewatch-x/3.1", "phasewatch-y/3", "phasewatch-x", ""]
        {
            assert!(check(bad, ours).unwrap_err().to_string().contains("newer phasewatch"), "{bad}");
        }
        assert_eq!(check(&"x".repeat(1000), ours).unwrap_err().found.len(), 64);
    }

    #[test]
    fn json_that_says_nothing_is_not_judged() {
        for plain in ["[]", "{}", "{", "{\"format\": 7}", "{\"format\": \"phasewatch-x/1\", \"more\": []}"] {
            assert_eq!(check_json(plain.as_bytes(), "phasewatch-x/1"), Ok(()), "{plain}");
        }
        assert!(check_json(b"{\"format\": \"phasewatch-x/2\"}", "phasewatch-x/1").is_err());
    }
}
