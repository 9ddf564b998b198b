//! HDF5 files, as far as a recording needs them: groups, numbers and texts by name, and cubes in slabs.
//!
//! The format itself is the `hdf5-reader` crate's: superblocks 0 to 3, groups old and new, soft links, every layout and
//! chunk index up to HDF5 2.0's, gzip, shuffle, fletcher32, szip, n-bit, scale-offset. Links and data in other files are not
//! followed: a file that somebody else sent must not make us open others. Texts that are not UTF-8 are taken as Latin-1,
//! which is what they are in practice (µ, Å). A *name* that is not UTF-8 makes its group unreadable.
//!
//! Bad input: nothing is allocated for a size that a file declares and cannot hold ([`Hdf5File::budget`]); what cannot be
//! read is an error that names the path inside the file.

mod cube;
mod number;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hdf5_reader::error::Error;
use hdf5_reader::group::Group;
use hdf5_reader::storage::FileStorage;
use hdf5_reader::{Attribute, Dataset, OpenOptions};

use super::{MAX_VALUES, RecordingError};
pub(super) use cube::Dimension;
use number::Real;

/// Most that deflate can pack: a byte of a file stands for no more than this many.
const MOST_PACKED: usize = 1032;
/// What small files may declare in any case.
const SMALL_BYTES: usize = 64 * 1024;

/// An HDF5 file.
pub(super) struct Hdf5File {
    path: PathBuf,
    file: hdf5_reader::Hdf5File,
    /// Most bytes that values of a file of this length can come to.
    budget: usize,
}

/// A group of a file, under the path that led to it.
#[derive(Clone)]
pub(super) struct Place<'a> {
    file: &'a Hdf5File,
    group: Group,
    at: String,
}

/// A dataset of a file, under the path that led to it.
pub(super) struct Values<'a> {
    file: &'a Hdf5File,
    dataset: Dataset,
    at: String,
}

impl Hdf5File {
    pub(super) fn open(path: &Path) -> Result<Self, RecordingError> {
        let io = |source| RecordingError::Io { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(io)?.len();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let storage = FileStorage::open(path).map_err(|error| RecordingError::content(path, error))?;
        let budget = length.saturating_mul(MOST_PACKED).saturating_add(SMALL_BYTES).min(8 * MAX_VALUES);
        let options = OpenOptions::default()
            .with_max_read_bytes(budget)
            .with_max_chunk_bytes(budget)
            .with_max_object_header_bytes(length.saturating_add(SMALL_BYTES))
            // Slabs follow the chunks, each of which is unpacked once.
            .with_chunk_cache_bytes(0);
        let file = hdf5_reader::Hdf5File::from_storage_with_options(Arc::new(storage), options)
            .map_err(|error| RecordingError::content(path, format_args!("no readable HDF5: {error}")))?;
        Ok(Self { path: path.to_owned(), file, budget })
    }

    pub(super) fn root(&self) -> Result<Place<'_>, RecordingError> {
        let group = self.file.root_group().map_err(|error| self.error("/", error))?;
        Ok(Place { file: self, group, at: String::new() })
    }

    /// What is wrong at the path `at` in the file.
    pub(super) fn error(&self, at: &str, problem: impl std::fmt::Display) -> RecordingError {
        RecordingError::content(&self.path, format_args!("{at}: {problem}"))
    }
}

impl<'a> Place<'a> {
    /// Path in the file.
    pub(super) fn at(&self) -> &str {
        if self.at.is_empty() { "/" } else { &self.at }
    }

    /// What is wrong with this group, or with `name` in it.
    pub(super) fn error(&self, name: &str, problem: impl std::fmt::Display) -> RecordingError {
        if name.is_empty() {
            self.file.error(self.at(), problem)
        } else {
            self.file.error(&self.path(name), problem)
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.at)
    }

    /// Names of the groups in it, in the order of the alphabet: that of the file means nothing.
    pub(super) fn groups(&self) -> Result<Vec<String>, RecordingError> {
        let (mut groups, _) = self.group.member_names().map_err(|error| self.error("", error))?;
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// A group in it; `None` where there is none of this name.
    pub(super) fn group(&self, name: &str) -> Result<Option<Place<'a>>, RecordingError> {
        let found = present(self.group.group(name)).map_err(|error| self.error(name, error))?;
        Ok(found.map(|group| Place { file: self.file, group, at: self.path(name) }))
    }

    /// A dataset in it; `None` where there is none of this name.
    pub(super) fn dataset(&self, name: &str) -> Result<Option<Values<'a>>, RecordingError> {
        let found = present(self.group.dataset(name)).map_err(|error| self.error(name, error))?;
        Ok(found.map(|dataset| Values { file: self.file, dataset, at: self.path(name) }))
    }

    /// The first of these names that is a dataset.
    pub(super) fn first_of(&self, names: &[&str]) -> Result<Option<Values<'a>>, RecordingError> {
        for name in names {
            if let Some(values) = self.dataset(name)? {
                return Ok(Some(values));
            }
        }
        Ok(None)
    }

    /// Texts of an attribute; `None` where there is none of this name or it is no text.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, RecordingError> {
        let found = present(self.group.attribute(name)).map_err(|error| self.error("", error))?;
        let resolve = |reference: &[u8]| self.group.resolve_vlen_reference_bytes(reference, 1);
        Ok(found.and_then(|attribute| text::of_attribute(&attribute, resolve)))
    }

    /// The first text of an attribute.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, RecordingError> {
        Ok(self.texts(name)?.and_then(|texts| texts.into_iter().next()))
    }

    /// Whether it is a group of this NeXus class.
    pub(super) fn is_class(&self, class: &str) -> Result<bool, RecordingError> {
        Ok(self.text("NX_class")?.as_deref() == Some(class))
    }
}

impl Values<'_> {
    /// Path in the file.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong with it.
    pub(super) fn error(&self, problem: impl std::fmt::Display) -> RecordingError {
        self.file.error(&self.at, problem)
    }

    /// Lengths of its dimensions; none for a single value.
    pub(super) fn shape(&self) -> &[u64] {
        self.dataset.shape()
    }

    /// All its numbers, which are to be no more than `most`.
    pub(super) fn numbers(&self, most: usize) -> Result<Vec<f64>, RecordingError> {
        if !number::is_number(self.dataset.dtype()) {
            return Err(self.error("these are no numbers"));
        }
        let count = self.dataset.num_elements().map_err(|error| self.error(error))?;
        if count > most as u64 {
            return Err(self.error(format_args!("{count} values; at most {most} make sense")));
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let values = self.dataset.read_array::<Real>().map_err(|error| self.error(error))?;
        Ok(values.into_iter().map(Real::get).collect())
    }

    /// Its texts, which are to be no more than `most`; `None` where it is no text.
    pub(super) fn texts(&self, most: usize) -> Result<Option<Vec<String>>, RecordingError> {
        text::of_dataset(&self.dataset, most).map_err(|error| self.error(error))
    }

    /// Its first text.
    pub(super) fn text(&self) -> Result<Option<String>, RecordingError> {
        Ok(self.texts(64)?.and_then(|texts| texts.into_iter().next()))
    }

    /// The first text of an attribute.
    pub(super) fn text_attribute(&self, name: &str) -> Option<String> {
        let resolve = |reference: &[u8]| self.dataset.resolve_vlen_reference_bytes(reference, 1);
        let texts = self.attribute(name).and_then(|attribute| text::of_attribute(&attribute, resolve))?;
        texts.into_iter().next()
    }

    /// The number that an attribute is, whatever its type.
    pub(super) fn number_attribute(&self, name: &str) -> Option<f64> {
        let attribute = self.attribute(name)?;
        attribute.read_1d::<Real>().ok()?.first().map(|number| number.get())
    }

    fn attribute(&self, name: &str) -> Option<Attribute> {
        self.dataset.attribute(name).ok()
    }
}

/// `None` for what is not there, or leads out of the file.
fn present<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    fn is_absent(error: &Error) -> bool {
        match error {
            Error::Context { source, .. } => is_absent(source),
            Error::GroupNotFound(_) | Error::DatasetNotFound(_) | Error::AttributeNotFound(_) => true,
            _ => false,
        }
    }
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
