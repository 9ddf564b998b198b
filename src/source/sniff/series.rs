//! One series of an area detector: which of its images came.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::recognise::Spoken;
use crate::source::dectris::second;
use crate::stack::Sequence;

/// So many images in a row tell a stride.
const ENOUGH: u64 = 4;

/// What a message says of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Start { series: u64, images: Option<u64> },
    Image { series: u64, image: u64 },
    End { series: u64 },
}

impl Said {
    /// Reads it.
    pub(super) fn read(spoken: Spoken, parts: &[Bytes]) -> Option<Self> {
        let first = parts.first()?;
        match spoken {
            Spoken::DectrisV2 => {
                let outer = second::outer(first)?;
                let series = outer.series?;
                match outer.kind {
                    "start" => Some(Self::Start { series, images: outer.images }),
                    "image" => Some(Self::Image { series, image: outer.image? }),
                    "end" => Some(Self::End { series }),
                    _ => None,
                }
            }
            Spoken::DectrisV1 => {
                let head: HeadV1 = serde_json::from_slice(first).ok()?;
                let series = head.series;
                match head.htype.split('-').next()? {
                    "dheader" => Some(Self::Start { series, images: None }),
                    "dimage" => Some(Self::Image { series, image: head.frame? }),
                    "dseries_end" => Some(Self::End { series }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    pub(super) fn series(self) -> u64 {
        match self {
            Self::Start { series, .. } | Self::Image { series, .. } | Self::End { series } => series,
        }
    }
}

#[derive(Deserialize)]
struct HeadV1 {
    htype: String,
    series: u64,
    frame: Option<u64>,
}

/// A series.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) number: u64,
    format: String,
    planned: Option<u64>,
    came: Sequence,
    pub(super) images: u64,
    pub(super) duplicates: u64,
    last: Option<u64>,
    /// The smallest step between images that came one after the other, and how many steps there were.
    step: Option<u64>,
    steps: u64,
    pub(super) started: bool,
    ended: bool,
}

/// What is to be said of a series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeriesFinding {
    /// Its number.
    pub series: u64,
    /// The format it came in.
    pub format: String,
    /// Images that came.
    pub images: u64,
    /// How many its start announces.
    pub planned: Option<u64>,
    /// Image ids that are missing since the first that came.
    pub missing: u64,
    /// The step from one image id to the next; above 1, somebody else takes the others.
    pub stride: Option<u64>,
    /// Whether its end was heard.
    pub ended: bool,
}

impl Series {
    pub(super) fn new(number: u64, spoken: Spoken) -> Self {
        Self { number, format: spoken.to_string(), ..Self::default() }
    }

    pub(super) fn take(&mut self, said: Said) {
        match said {
            Said::Start { images, .. } => {
                self.started = true;
                self.planned = images;
            }
            Said::End { .. } => self.ended = true,
            Said::Image { image, .. } => {
                if !self.came.insert(image) {
                    self.duplicates += 1;
                    return;
                }
                self.images += 1;
                if let Some(step) = self.last.replace(image).and_then(|last| image.checked_sub(last)) {
                    self.step = Some(self.step.map_or(step, |known| known.min(step)));
                    self.steps += 1;
                }
            }
        }
    }

    /// The step between image ids, once enough came.
    pub(super) fn stride(&self) -> Option<u64> {
        self.step.filter(|_| self.steps >= ENOUGH)
    }

    pub(super) fn missing(&self) -> u64 {
        let before = self.came.iter_gaps().next().filter(|gap| gap.first == 0).map_or(0, |gap| gap.last + 1);
        self.came.missing().saturating_sub(before)
    }

    pub(super) fn finding(&self) -> SeriesFinding {
        SeriesFinding {
            series: self.number,
            format: self.format.clone(),
            images: self.images,
            planned: self.planned,
            missing: self.missing(),
            stride: self.stride(),
            ended: self.ended,
        }
    }
}
