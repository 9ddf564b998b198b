//! Identifiers made of other people's names and times.
//!
//! The same words always give the same identifier, also after a restart: a scan that goes on is the same scan.

use chrono::{DateTime, NaiveDateTime, Utc};
use sha2::{Digest as _, Sha256};

/// Longest part that is taken of a name; with what is appended, an identifier stays below 128 characters.
const LONGEST: usize = 72;

/// `name` in the alphabet of identifiers. What had to be changed or cut gets a digest of the whole name, so that two
/// names never become one.
pub(super) fn identifier(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut made: String = name.chars().take(LONGEST).map(|c| if allowed(c) { c } else { '_' }).collect();
    if !made.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        made.insert(0, 's');
    }
    if made != name {
        made.push('-');
        made.push_str(&digest(name));
    }
    made
}

/// The last component of a path, without what follows its last dot.
pub(super) fn stem(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}

/// A start time as part of an identifier: `20260504T030201`, or a digest where it is no time that is known.
pub(super) fn stamp(text: &str) -> String {
    const FORMATS: [&str; 3] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%a %b %e %H:%M:%S %Y"];
    let known = FORMATS.iter().find_map(|format| NaiveDateTime::parse_from_str(text.trim(), format).ok());
    let known =
        known.or_else(|| DateTime::parse_from_rfc3339(text.trim()).ok().map(|time| time.naive_local()));
    // Two scans may begin in one second.
    known.map_or_else(|| digest(text), |time| time.format("%Y%m%dT%H%M%S%.3f").to_string().replace('.', "-"))
}

/// A moment as part of an identifier.
pub(super) fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y%m%dT%H%M%S%.3f").to_string().replace('.', "-")
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scan::is_valid_id;

    #[test]
    fn a_path_becomes_its_name_and_a_time_its_digits() {
        assert_eq!(identifier(stem("/data/2026/NS_260504012.stxm")), "NS_260504012");
        assert_eq!(stem("C:\\data\\a.b.hdf5"), "a.b");
        assert_eq!(stem(".hidden"), ".hidden");
        assert_eq!(stamp("2026-05-04 03:02:01.250000"), "20260504T030201-250");
        assert_eq!(stamp("2026-05-04T03:02:01Z"), "20260504T030201-000");
        assert_eq!(stamp("yesterday").len(), 8);
    }

    proptest! {
        #[test]
        fn anything_becomes_an_identifier_and_no_two_names_the_same(one in ".{0,200}", other in ".{0,200}") {
            let [a, b] = [&one, &other].map(|name| identifier(name));
            prop_assert!(is_valid_id(&a) && is_valid_id(&b), "{a} {b}");
            prop_assert_eq!(a == b, one == other);
            let stamped = format!("{}-{}", a, stamp(&other));
            prop_assert!(is_valid_id(&stamped));
        }
    }
}
