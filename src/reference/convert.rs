//! Writes a set of references as a directory of CSV files.

use std::path::{Path, PathBuf};

use super::{ReferenceError, ReferenceSet, spectrum};

impl ReferenceSet {
    /// Writes one `<phase>.csv` per reference into `dir`, which is made where it is missing. Numbers read back
    /// the same. Returns the files written.
    ///
    /// # Errors
    /// Where a file exists already (nothing is overwritten) or cannot be written.
    pub fn write_csv(&self, dir: &Path, comment: &str) -> Result<Vec<PathBuf>, ReferenceError> {
        let failed = |path: &Path, source| ReferenceError::Write { path: path.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
        let mut written = Vec::new();
        for reference in &self.references {
            let path = dir.join(format!("{}.csv", reference.label.id));
            let text = spectrum::to_csv(comment, &reference.energies_ev, &reference.od);
            std::fs::File::create_new(&path)
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .map_err(|source| failed(&path, source))?;
            written.push(path);
        }
        Ok(written)
    }
}
