//! What can be had of a scan: its tables and its picture.

use bytes::Bytes;

use crate::classify::PhaseMap;
use crate::publish::{BoardEntry, MeanSpectra, PublishError, ipc, parquet, picture, table};

/// A table or picture of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asset {
    MapArrow,
    MapParquet,
    MapPng,
    /// `phase_map.png?inpainted=1`.
    InpaintedPng,
    SpectraArrow,
}

/// Why an asset could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssetError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("parquet: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    #[error("{0} is gone")]
    Gone(&'static str),
    #[error("the encoding task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("the encoder is closed")]
    Closed,
}

impl Asset {
    /// What goes by a name of its own.
    const ALL: [Self; 4] = [Self::MapArrow, Self::MapParquet, Self::MapPng, Self::SpectraArrow];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MapArrow => "phase_map.arrow",
            Self::MapParquet => "phase_map.parquet",
            Self::MapPng | Self::InpaintedPng => "phase_map.png",
            Self::SpectraArrow => "spectra.arrow",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asset| asset.name() == name)
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::MapArrow | Self::SpectraArrow => "application/vnd.apache.arrow.stream",
            Self::MapParquet => "application/vnd.apache.parquet",
            Self::MapPng | Self::InpaintedPng => "image/png",
        }
    }

    pub(super) fn is_there(self, entry: &BoardEntry) -> bool {
        match self {
            Self::SpectraArrow => entry.spectra.is_some(),
            Self::MapArrow | Self::MapParquet | Self::MapPng | Self::InpaintedPng => entry.map.is_some(),
        }
    }

    /// Encodes; it takes milliseconds and belongs on a thread of its own.
    pub(super) fn encode(self, entry: &BoardEntry) -> Result<Bytes, AssetError> {
        let gone = AssetError::Gone(self.name());
        if self == Self::SpectraArrow {
            return Self::of_spectra(entry.spectra.as_ref().ok_or(gone)?);
        }
        self.of_map(entry.map.as_ref().ok_or(gone)?)
    }

    /// The same of spectra alone.
    pub(super) fn of_spectra(spectra: &MeanSpectra) -> Result<Bytes, AssetError> {
        Ok(ipc::stream(&spectra.table()?)?)
    }

    /// The same of a map alone, which has no [`Asset::SpectraArrow`].
    pub(super) fn of_map(self, map: &PhaseMap) -> Result<Bytes, AssetError> {
        match self {
            Self::MapPng => Ok(picture::png(map)?.into()),
            Self::InpaintedPng => Ok(picture::inpainted_png(map)?.into()),
            Self::MapParquet => {
                let mut bytes = Vec::new();
                parquet::write(&mut bytes, &table::phase_map(map)?)?;
                Ok(bytes.into())
            }
            Self::MapArrow => Ok(ipc::stream(&table::phase_map(map)?)?),
            Self::SpectraArrow => Err(AssetError::Gone(self.name())),
        }
    }
}
