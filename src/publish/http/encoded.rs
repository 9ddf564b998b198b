//! Encoded tables and pictures, kept while their content is the latest.
//!
//! Whoever asks first encodes, the others wait for it: at most two encode at a time, whatever the number of
//! clients. What is kept is bounded; the entry added longest ago goes first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::asset::{Asset, AssetError};
use crate::publish::BoardEntry;

const MAX_ENTRIES: usize = 32;
const MAX_BYTES: usize = 64 * 1024 * 1024;

pub(super) struct Encoder {
    epoch: u64,
    kept: Mutex<VecDeque<Kept>>,
    permits: Semaphore,
}

struct Kept {
    scan_id: String,
    asset: Asset,
    revision: u64,
    bytes: Bytes,
}

impl Encoder {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, kept: Mutex::default(), permits: Semaphore::new(2) }
    }

    /// What tells this run from others.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The tag of what `entry` holds: run, revision and generation.
    pub(super) fn etag(&self, entry: &BoardEntry, asset: Asset) -> String {
        let generation = match asset {
            Asset::SpectraArrow => entry.spectra.as_ref().map(|spectra| spectra.generation),
            _ => entry.map.as_ref().map(|map| map.origin.generation),
        };
        format!("\"{:x}-{}-{}\"", self.epoch, entry.revision, generation.unwrap_or(0))
    }

    pub(super) async fn get(&self, entry: BoardEntry, asset: Asset) -> Result<Bytes, AssetError> {
        if let Some(bytes) = self.kept(&entry, asset) {
            return Ok(bytes);
        }
        let _permit = self.permits.acquire().await.map_err(|_| AssetError::Closed)?;
        if let Some(bytes) = self.kept(&entry, asset) {
            return Ok(bytes);
        }
        let (scan_id, revision) = (entry.summary.scan_id.clone(), entry.revision);
        let bytes = tokio::task::spawn_blocking(move || asset.encode(&entry)).await??;
        self.keep(Kept { scan_id, asset, revision, bytes: bytes.clone() });
        Ok(bytes)
    }

    fn kept(&self, entry: &BoardEntry, asset: Asset) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|k| k.asset == asset && k.revision == entry.revision && k.scan_id == entry.summary.scan_id)
            .map(|k| k.bytes.clone())
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|k| k.asset != new.asset || k.scan_id != new.scan_id);
        kept.push_back(new);
        while kept.len() > MAX_ENTRIES || kept.iter().map(|k| k.bytes.len()).sum::<usize>() > MAX_BYTES {
            if kept.pop_front().is_none() {
                break;
            }
        }
    }
}
