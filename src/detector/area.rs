//! Regions of a detector's frames, as they are set, and the settings of what is summed.

use serde::{Deserialize, Serialize};

use super::compressed::PixelMask;
use crate::scan::{Channel, Remark};

/// A part of the frame, in detector pixels from 0; the centre of a pixel is at whole numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FrameArea {
    /// Pixels whose centre is at least `inner` and less than `outer` from `centre`; a disc, where `inner` is 0.
    Annulus {
        /// `[y, x]`.
        centre: [f64; 2],
        /// Pixels.
        inner: f64,
        /// Pixels.
        outer: f64,
    },
    /// Rows and columns, first and last.
    Rectangle {
        /// Rows.
        y: [usize; 2],
        /// Columns.
        x: [usize; 2],
    },
}

impl FrameArea {
    /// Its pixels in a frame of the given height and width.
    #[must_use]
    pub fn mask(&self, shape: [usize; 2]) -> PixelMask {
        match self {
            Self::Annulus { centre, inner, outer } => PixelMask::annulus(shape, *centre, *inner, *outer),
            Self::Rectangle { y, x } => PixelMask::from_fn(shape, |pixel| {
                (y[0]..=y[1]).contains(&pixel[0]) && (x[0]..=x[1]).contains(&pixel[1])
            }),
        }
    }
}

/// What is summed of a frame, and what is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrameSettings {
    /// Pixels that are always left out, `[y, x]`; those outside a frame are nobody's.
    pub mask: Vec<[usize; 2]>,
    /// Whether dead and hot pixels are looked for.
    pub find_bad_pixels: bool,
    /// What the intensity is the sum of; `None`: all of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bright_field: Option<FrameArea>,
    /// What the dark field is the sum of; `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dark_field: Option<FrameArea>,
    /// Whether the centre of mass of the bright field is wanted, too.
    #[serde(default)]
    pub moments: bool,
}

impl FrameSettings {
    /// The channels that come beside the intensity.
    pub fn channels(&self) -> impl Iterator<Item = Channel> + '_ {
        let dark_field = self.dark_field.iter().map(|_| Channel::DarkField);
        dark_field.chain([Channel::ComY, Channel::ComX].into_iter().filter(|_| self.moments))
    }

    /// What people should know where a region has no pixel of a frame.
    #[must_use]
    pub fn remarks(&self, shape: [usize; 2]) -> Vec<Remark> {
        let [height, width] = shape;
        let regions = [
            ("bright_field", &self.bright_field, "the intensity is the sum of the whole frame instead"),
            ("dark_field", &self.dark_field, "there is no dark field"),
        ];
        let outside = |area: &&Option<FrameArea>| area.as_ref().is_some_and(|a| a.mask(shape).count() == 0);
        regions
            .into_iter()
            .filter(|(_, area, _)| outside(area))
            .map(|(key, _, instead)| Remark {
                text: format!("detector.{key} has no pixel of a frame of {height} by {width}: {instead}"),
                untrusted: false,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_have_the_pixels_that_they_say() {
        let pixels = |area: FrameArea| {
            let mask = area.mask([4, 5]);
            (0..20).filter(|pixel| mask.has(*pixel)).collect::<Vec<_>>()
        };
        assert_eq!(pixels(FrameArea::Rectangle { y: [1, 2], x: [3, 9] }), [8, 9, 13, 14]);
        assert_eq!(
            pixels(FrameArea::Annulus { centre: [1.0, 1.0], inner: 0.0, outer: 1.1 }),
            [1, 5, 6, 7, 11]
        );
        assert_eq!(pixels(FrameArea::Annulus { centre: [1.0, 1.0], inner: 1.0, outer: 1.1 }), [1, 5, 7, 11]);
    }

    #[test]
    fn a_region_outside_is_told() {
        let settings = FrameSettings {
            bright_field: Some(FrameArea::Rectangle { y: [4, 6], x: [0, 1] }),
            dark_field: Some(FrameArea::Annulus { centre: [0.0, 0.0], inner: 0.0, outer: 2.0 }),
            ..FrameSettings::default()
        };
        let told = settings.remarks([4, 5]);
        assert_eq!(told.len(), 1);
        assert!(told[0].text.contains("detector.bright_field has no pixel of a frame of 4 by 5"), "{told:?}");
        assert!(settings.remarks([8, 8]).is_empty());
    }

    #[test]
    fn settings_of_an_earlier_version_are_read() {
        let earlier = r#"{"mask":[[1,2]],"find_bad_pixels":true}"#;
        let settings: FrameSettings = serde_json::from_str(earlier).unwrap();
        assert_eq!((settings.mask.len(), settings.channels().count()), (1, 0));
        let settings = FrameSettings {
            bright_field: Some(FrameArea::Rectangle { y: [4, 6], x: [0, 1] }),
            dark_field: Some(FrameArea::Annulus { centre: [0.5, 0.0], inner: 0.0, outer: 2.0 }),
            moments: true,
            ..settings
        };
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<FrameSettings>(&text).unwrap(), settings);
    }
}
