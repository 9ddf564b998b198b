//! What is spoken, and by which detector.

use clap::ValueEnum;

use super::SimulateArgs;
use crate::simulate::{Detector, Format};
use crate::source::geometry::Span;
use crate::source::stxm_stream::Encoding;

/// Formats of others.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FormatArg {
    /// pystxmcontrol (ALS): pickles on tcp://…:9998.
    Pystxmcontrol,
    /// Pixelator (PSI): texts on tcp://…:56561.
    Pixelator,
    /// Bluesky documents (ALS lightfall and others): JSON, as a proxy hands it on at tcp://…:5578.
    Bluesky,
    /// A DECTRIS detector, second version of its stream: CBOR on tcp://…:31001, PUSH.
    Dectris,
    /// A DECTRIS detector, first version of its stream: JSON and bytes on tcp://…:9999, PUSH.
    DectrisV1,
    /// The pair of sockets that is common at DESY: what an image is on tcp://…:50001, frames on tcp://…:50002 (--bind-data; without it
    /// both on one).
    Desy,
}

/// What a series of a detector holds.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SeriesArg {
    /// The whole scan.
    Stack,
    /// One energy.
    Energy,
    /// One line.
    Line,
}

impl SimulateArgs {
    /// The format that is spoken, where it is another one's.
    pub(super) fn format(&self) -> Option<Format> {
        let detector = |is_first| {
            let span = match self.series {
                SeriesArg::Stack => Span::Stack,
                SeriesArg::Energy => Span::Energy,
                SeriesArg::Line => Span::Line,
            };
            Format::Dectris(Detector { is_first, span, tells: !self.no_geometry })
        };
        self.speak_as.map(|format| match format {
            FormatArg::Pystxmcontrol => Format::Pystxmcontrol,
            FormatArg::Pixelator => Format::Pixelator,
            FormatArg::Bluesky => Format::Bluesky,
            FormatArg::Dectris => detector(false),
            FormatArg::DectrisV1 => detector(true),
            FormatArg::Desy => Format::Desy,
        })
    }
}

/// Detectors of the simulated microscope.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DetectorArg {
    /// One number per pixel.
    Point,
    /// One frame per pixel.
    Area,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum EncodingArg {
    /// As they are.
    Raw,
    /// The HDF5 LZ4 filter.
    Lz4,
    /// The HDF5 bitshuffle filter with LZ4.
    Bslz4,
}

impl From<EncodingArg> for Encoding {
    fn from(arg: EncodingArg) -> Self {
        match arg {
            EncodingArg::Raw => Self::Raw,
            EncodingArg::Lz4 => Self::Lz4,
            EncodingArg::Bslz4 => Self::Bslz4,
        }
    }
}
