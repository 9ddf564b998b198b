//! What is wrong with a value.

use serde::Serialize;

use crate::scan::PixelSet;
use crate::stack::Plane;

/// Why a value is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// There was no beam.
    BeamLoss,
    /// Its line is the same number throughout, or a copy of another line.
    Stuck,
    /// The level of its line fits no neighbour in space or energy.
    BadLine,
    /// The detector was saturated.
    Saturated,
    /// The rate was beyond what the detector counts in proportion.
    Nonlinear,
}

impl Flaw {
    /// All of them, in the order of [`FlawCounts`].
    pub const ALL: [Self; 5] = [Self::BeamLoss, Self::Stuck, Self::BadLine, Self::Saturated, Self::Nonlinear];

    /// Name in metadata, API and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BeamLoss => "beam_loss",
            Self::Stuck => "stuck",
            Self::BadLine => "bad_line",
            Self::Saturated => "saturated",
            Self::Nonlinear => "nonlinear",
        }
    }
}

/// The flawed values of one plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneFlaws {
    pixels: PixelSet,
    /// Those of them that had too much light.
    bright: PixelSet,
    columns: usize,
    values: [usize; Flaw::ALL.len()],
    /// Rows flawed as a whole, ascending, each with the first reason found.
    lines: Vec<(usize, Flaw)>,
}

impl PlaneFlaws {
    /// None, of a plane of `ny` by `nx` pixels.
    pub(super) fn new(ny: usize, nx: usize) -> Self {
        Self {
            pixels: PixelSet::new(ny * nx),
            bright: PixelSet::default(),
            columns: nx,
            values: [0; Flaw::ALL.len()],
            lines: Vec::new(),
        }
    }

    /// Marks one value; what is marked already keeps its first reason.
    pub(super) fn add(&mut self, pixel: usize, flaw: Flaw) {
        if self.pixels.insert(pixel) {
            self.values[flaw as usize] += 1;
            if matches!(flaw, Flaw::Saturated | Flaw::Nonlinear) {
                if self.bright.is_empty() {
                    self.bright = PixelSet::new(self.pixels.size());
                }
                self.bright.insert(pixel);
            }
        }
    }

    /// Marks the measured values of row `y`.
    pub(super) fn add_line(&mut self, plane: &Plane, y: usize, flaw: Flaw) {
        let before = self.pixels.len();
        for pixel in y * self.columns..(y + 1) * self.columns {
            if !plane.value(pixel).is_nan() {
                self.add(pixel, flaw);
            }
        }
        if self.pixels.len() > before {
            let place = self.lines.partition_point(|(line, _)| *line < y);
            self.lines.insert(place, (y, flaw));
        }
    }

    /// Whether row `y` is flawed as a whole.
    pub(super) fn has_line(&self, y: usize) -> bool {
        self.lines.binary_search_by_key(&y, |(line, _)| *line).is_ok()
    }

    /// Whether the value of `pixel` is flawed.
    #[must_use]
    #[inline]
    pub fn contains(&self, pixel: usize) -> bool {
        self.pixels.contains(pixel)
    }

    /// Whether the value of `pixel` says nothing of the sample, not even that it is too bright or too dark.
    #[must_use]
    #[inline]
    pub fn is_void(&self, pixel: usize) -> bool {
        self.pixels.contains(pixel) && !self.bright.contains(pixel)
    }

    /// Number of flawed values.
    #[must_use]
    pub fn values(&self) -> usize {
        self.pixels.len()
    }

    /// Number of values with this flaw.
    #[must_use]
    pub fn of(&self, flaw: Flaw) -> usize {
        self.values[flaw as usize]
    }

    /// Rows that are flawed as a whole, ascending, and why.
    #[must_use]
    pub fn lines(&self) -> &[(usize, Flaw)] {
        &self.lines
    }
}

/// How many values and lines of a stack are flawed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlawCounts {
    /// Values, in the order of [`Flaw::ALL`].
    pub values: [usize; Flaw::ALL.len()],
    /// Whole lines, alike.
    pub lines: [usize; Flaw::ALL.len()],
}

impl FlawCounts {
    /// Adds those of a plane.
    pub(super) fn add(&mut self, plane: &PlaneFlaws) {
        self.values.iter_mut().zip(plane.values).for_each(|(sum, values)| *sum += values);
        plane.lines.iter().for_each(|(_, flaw)| self.lines[*flaw as usize] += 1);
    }

    /// Values flawed for any reason.
    #[must_use]
    pub fn total(&self) -> usize {
        self.values.iter().sum()
    }

    /// In words: `none`, or such as `beam_loss 375 values (3 lines), saturated 4 values`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        for (index, flaw) in Flaw::ALL.iter().enumerate().filter(|(index, _)| self.values[*index] > 0) {
            let (name, values) = (flaw.name(), self.values[index]);
            parts.push(match self.lines[index] {
                0 => format!("{name} {values} values"),
                lines => format!("{name} {values} values ({lines} lines)"),
            });
        }
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}
