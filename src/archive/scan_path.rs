//! Where a scan lies below a root of the archive, here or at a remote: the name under which everything knows it.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::MOST_SAME_ID;
use crate::scan::is_valid_id;

/// What lies in the quarantine lies below this.
pub(super) const QUARANTINE: &str = "quarantine";

/// `beamline=<b>/date=<d>/scan=<id>`, or that below `quarantine/`. No other text can be one: none leads out of a root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScanPath(String);

impl ScanPath {
    /// The scan path in `text`, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix(QUARANTINE).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
        let parts: Vec<&str> = inner.split('/').collect();
        let [beamline, date, scan] = parts.as_slice() else { return None };
        let date_is_good = date.strip_prefix("date=").is_some_and(|date| {
            date.len() <= 16
                && !date.is_empty()
                && date.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'+')
        });
        let good = beamline.strip_prefix("beamline=").is_some_and(is_valid_id)
            && date_is_good
            && scan.strip_prefix("scan=").is_some_and(is_name);
        good.then(|| Self(text.to_owned()))
    }

    /// The scan path of `folder`, which lies below `root`.
    #[must_use]
    pub fn below(root: &Path, folder: &Path) -> Option<Self> {
        let parts: Option<Vec<&str>> = folder
            .strip_prefix(root)
            .ok()?
            .components()
            .map(|part| if let Component::Normal(name) = part { name.to_str() } else { None })
            .collect();
        Self::parse(&parts?.join("/"))
    }

    /// The folder below `root`.
    #[must_use]
    pub fn folder(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }

    /// The name of the folder without `scan=`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once("scan=").map_or("", |(_, name)| name)
    }

    /// Its beamline and the day of its start, as the folders have them.
    #[must_use]
    pub fn beamline_and_date(&self) -> (&str, &str) {
        let part = |key: &str| self.0.split('/').find_map(|part| part.strip_prefix(key)).unwrap_or_default();
        (part("beamline="), part("date="))
    }

    /// Whether it lies in the quarantine.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.0.starts_with(QUARANTINE)
    }

    /// Where it goes in the quarantine.
    pub(super) fn quarantined(&self) -> Self {
        if self.is_quarantined() { self.clone() } else { Self(format!("{QUARANTINE}/{}", self.0)) }
    }

    /// As it is written in keys and files.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `name` is an id, or an id and `~` and a number.
fn is_name(name: &str) -> bool {
    let (id, number) = name.split_once('~').unwrap_or((name, "2"));
    let good_number = number.parse::<usize>().is_ok_and(|number| (2..=MOST_SAME_ID).contains(&number));
    is_valid_id(id) && good_number && !number.starts_with(['+', '0'])
}

impl fmt::Display for ScanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ScanPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no folder of a scan"))
    }
}

impl From<ScanPath> for String {
    fn from(path: ScanPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_of_a_scan_has_a_path() {
        for good in [
            "beamline=b/date=2026-09-21/scan=s",
            "beamline=b/date=2026-09-21/scan=s~2",
            "quarantine/beamline=b/date=2026-09-21/scan=s.x_y-z~9999",
        ] {
            let path = ScanPath::parse(good).unwrap();
            assert_eq!(ScanPath::below(Path::new("/r"), &path.folder(Path::new("/r"))), Some(path));
        }
        for bad in [
            "",
            "beamline=b/date=2026-09-21",
            "beamline=b/date=2026-09-21/scan=s/x",
            "beamline=../date=2026-09-21/scan=s",
            "beamline=b/date=../scan=s",
            "beamline=b/date=2026-09-21/scan=s~1",
            "beamline=b/date=2026-09-21/scan=s~02",
            "/beamline=b/date=2026-09-21/scan=s",
            "quarantine/quarantine/beamline=b/date=2026-09-21/scan=s",
        ] {
            assert_eq!(ScanPath::parse(bad), None, "{bad}");
        }
        let path = ScanPath::parse("beamline=b/date=2026-09-21/scan=s~2").unwrap();
        assert_eq!((path.name(), path.is_quarantined()), ("s~2", false));
        assert_eq!(path.quarantined().as_str(), "quarantine/beamline=b/date=2026-09-21/scan=s~2");
        assert_eq!(ScanPath::below(Path::new("/r"), Path::new("/r/../x")), None);
    }
}
