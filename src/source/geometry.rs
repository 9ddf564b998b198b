//! Where the images of a detector that knows no scan belong in one.
//!
//! Such a detector counts images within a series, and series one after the other. A series is a whole stack, one energy of it, or one
//! line ([`Span`]); within it images follow the path of the scan ([`Order`]). A place is reckoned from numbers that the detector gave,
//! never from arrivals, so a loss shifts nothing. Which series is which energy follows from its number, and is held against the
//! energy that the detector was told; where nothing confirms it, or something contradicts it, that is said ([`Placed::doubt`]).
//!
//! Bad input: numbers of images that fit no span, and series beyond the plan, are no places.

use serde::{Deserialize, Serialize};

/// What one series holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// The whole scan, energy behind energy.
    Stack,
    /// One energy.
    Energy,
    /// One line of one energy.
    Line,
}

/// In which order the pixels of an energy are visited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whether every second line runs backwards.
    pub meander: bool,
    /// Whether lines run along y.
    pub y_fast: bool,
}

/// The places of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The path.
    pub order: Order,
}

impl Layout {
    /// Pixels of one energy.
    #[must_use]
    pub fn pixels(&self) -> u64 {
        self.shape[0] as u64 * self.shape[1] as u64
    }

    /// Images of one line.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.shape[if self.order.y_fast { 0 } else { 1 }] as u64
    }

    /// Energy index and pixel (row-major) of the image at a position of the scan, both from 0.
    #[must_use]
    pub fn place(&self, position: u64) -> (u64, u64) {
        let (energy, within) = (position / self.pixels(), position % self.pixels());
        let (line, mut along) = (within / self.line(), within % self.line());
        if self.order.meander && line % 2 == 1 {
            along = self.line() - 1 - along;
        }
        let [row, column] = if self.order.y_fast { [along, line] } else { [line, along] };
        (energy, row * self.shape[1] as u64 + column)
    }

    /// How many images a series of this span has in a scan of so many energies.
    #[must_use]
    pub fn images(&self, span: Span, energies: usize) -> u64 {
        match span {
            Span::Stack => self.pixels() * energies as u64,
            Span::Energy => self.pixels(),
            Span::Line => self.line(),
        }
    }
}

/// What a series says of itself when it begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesFacts {
    /// Its number, one more each time.
    pub number: u64,
    /// How many images it is going to have.
    pub images: Option<u64>,
    /// The energy that the detector was told, eV.
    pub energy_ev: Option<f64>,
    /// Height and width of a frame.
    pub shape: [usize; 2],
    /// The smallest value that is saturated.
    pub saturation: Option<f64>,
    /// Frame pixels that the detector's mask names, as runs `[first, count]`.
    pub left_out: Vec<[u32; 2]>,
    /// Exposure of a frame, s.
    pub count_time_s: Option<f64>,
}

/// Where a series belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Position of its first image in the scan.
    pub first: u64,
    /// How many images it can have there.
    pub count: u64,
    /// Whether it ends the scan.
    pub is_last: bool,
    /// Why the place is doubtful.
    pub doubt: Option<String>,
}

/// Why a series has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// It belongs to no scan that is known: a new one.
    #[error("the series is not of the scan before")]
    OfAnother,
    /// Its images are not those of the scan.
    #[error(
        "{images} images in a series are neither the stack's {stack}, nor {energy} of one energy, nor {line} of a line: \
         say in the source's geometry what a series holds"
    )]
    Images {
        /// What it has.
        images: u64,
        /// Of a stack.
        stack: u64,
        /// Of one energy.
        energy: u64,
        /// Of one line.
        line: u64,
    },
    /// How many images it has is unknown.
    #[error("nobody said how many images a series has: say in the source's geometry what a series holds")]
    Unknown,
}

/// The series of one scan, one behind the other.
#[derive(Clone, Debug)]
pub struct Places {
    /// The grid and the path.
    pub layout: Layout,
    energies_ev: Vec<f64>,
    span: Option<Span>,
    /// Number of the first series.
    first: Option<u64>,
    /// Energy that was told with the series before, and the index that series had.
    before: Option<(f64, u64)>,
}

impl Places {
    /// Those of a scan; `span`, where it is known beforehand.
    #[must_use]
    pub fn new(layout: Layout, energies_ev: Vec<f64>, span: Option<Span>) -> Self {
        Self { layout, energies_ev, span, first: None, before: None }
    }

    /// The same, going on with a scan whose first series had this number.
    #[must_use]
    pub fn with_first(self, first: Option<u64>) -> Self {
        Self { first, ..self }
    }

    /// Number of the first series.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// Appends energies to the plan.
    pub fn extend(&mut self, energies_ev: &[f64]) {
        self.energies_ev.extend_from_slice(energies_ev);
    }

    /// The place of a series.
    ///
    /// # Errors
    /// Where it has none.
    pub fn place(&mut self, series: &SeriesFacts) -> Result<Placed, Misplaced> {
        let span = self.span_of(series.images)?;
        let energies = self.energies_ev.len() as u64;
        let images = self.layout.images(span, self.energies_ev.len());
        let first = self.first.unwrap_or(series.number);
        let Some(index) = series.number.checked_sub(first) else { return Err(Misplaced::OfAnother) };
        let per_energy = match span {
            Span::Stack if index > 0 => return Err(Misplaced::OfAnother),
            Span::Stack => {
                self.first = Some(first);
                return Ok(Placed { first: 0, count: images, is_last: true, doubt: None });
            }
            Span::Energy => 1,
            Span::Line => self.layout.pixels() / self.layout.line(),
        };
        let (by_number, line) = (index / per_energy, index % per_energy);
        let (energy, doubt) = self.energy(series.energy_ev, by_number)?;
        if energy >= energies {
            return Err(Misplaced::OfAnother);
        }
        // A series that was missed, and whose number was too, moves those behind it.
        self.first = Some(if energy == by_number {
            first
        } else {
            series.number.saturating_sub(energy * per_energy + line)
        });
        self.before = series.energy_ev.map(|told| (told, energy));
        Ok(Placed {
            first: (energy * per_energy + line) * images,
            count: images,
            is_last: energy + 1 == energies && line + 1 == per_energy,
            doubt,
        })
    }

    /// What a series holds.
    fn span_of(&self, images: Option<u64>) -> Result<Span, Misplaced> {
        if let Some(span) = self.span {
            return Ok(span);
        }
        let images = images.ok_or(Misplaced::Unknown)?;
        let [stack, energy, line] = [Span::Stack, Span::Energy, Span::Line]
            .map(|span| self.layout.images(span, self.energies_ev.len()));
        match images {
            _ if images == stack => Ok(Span::Stack),
            _ if images == energy => Ok(Span::Energy),
            _ if images == line => Ok(Span::Line),
            _ => Err(Misplaced::Images { images, stack, energy, line }),
        }
    }

    /// The energy of a series, and what is doubtful about it: what the detector was told wins over the number, where it is an energy of the
    /// plan and was told anew.
    fn energy(&self, told: Option<f64>, by_number: u64) -> Result<(u64, Option<String>), Misplaced> {
        let Some(told) = told else {
            let doubt = (self.energies_ev.len() > 1).then(|| {
                "the detector does not say at which energy a series is taken: it follows from the number of the series alone".to_owned()
            });
            return Ok((by_number, doubt));
        };
        let planned = |index: u64| usize::try_from(index).ok().and_then(|index| self.energies_ev.get(index));
        if planned(by_number).is_some_and(|planned| (planned - told).abs() <= self.tolerance_ev()) {
            return Ok((by_number, None));
        }
        let stands_still = self.before.is_some_and(|(before, _)| (before - told).abs() < 1e-9);
        let tolerance_ev = self.tolerance_ev();
        let off = |index: &usize| (self.energies_ev[*index] - told).abs();
        let nearest = (0..self.energies_ev.len()).min_by(|a, b| off(a).total_cmp(&off(b)));
        let index = nearest.filter(|index| off(index) <= tolerance_ev && !stands_still);
        let reached = self.before.map_or(0, |(_, energy)| energy);
        match index.map(|index| index as u64) {
            // The first energy again is another scan.
            Some(0) if reached > 0 => Err(Misplaced::OfAnother),
            Some(index) if index > reached || self.before.is_none() => Ok((index, None)),
            Some(index) => Ok((
                index,
                Some(format!("a series at {told} eV came behind one at a later energy of the plan")),
            )),
            None => Ok((
                by_number,
                Some(format!(
                    "the detector was told {told} eV where the plan has {}: which energy a series is follows from its number alone",
                    planned(by_number)
                        .map_or_else(|| "no energy".to_owned(), |planned| format!("{planned} eV"))
                )),
            )),
        }
    }

    /// How far an energy that was told may be from the plan's: below half of the smallest step.
    fn tolerance_ev(&self) -> f64 {
        let steps = self.energies_ev.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        let least = steps.filter(|step| *step > 0.0).fold(f64::INFINITY, f64::min);
        if least.is_finite() { 0.4 * least } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(meander: bool, y_fast: bool) -> Layout {
        Layout { shape: [2, 3], order: Order { meander, y_fast } }
    }

    fn places(span: Option<Span>) -> Places {
        Places::new(layout(false, false), vec![510.0, 511.0, 512.0], span)
    }

    fn series(number: u64, images: u64, energy_ev: Option<f64>) -> SeriesFacts {
        SeriesFacts { number, images: Some(images), energy_ev, shape: [4, 4], ..SeriesFacts::default() }
    }

    #[test]
    fn paths_by_hand() {
        let path = |layout: Layout| (6..12).map(|position| layout.place(position)).collect::<Vec<_>>();
        let at = |pixels: [u64; 6]| pixels.map(|pixel| (1, pixel)).to_vec();
        assert_eq!(path(layout(false, false)), at([0, 1, 2, 3, 4, 5]));
        assert_eq!(path(layout(true, false)), at([0, 1, 2, 5, 4, 3]));
        assert_eq!(path(layout(false, true)), at([0, 3, 1, 4, 2, 5]));
        assert_eq!(path(layout(true, true)), at([0, 3, 4, 1, 2, 5]));
    }

    #[test]
    fn what_a_series_holds_follows_from_its_images() {
        for (images, first, count, is_last) in [(18, 0, 18, true), (6, 0, 6, false), (3, 0, 3, false)] {
            let placed = places(None).place(&series(7, images, Some(510.0))).unwrap();
            assert_eq!((placed.first, placed.count, placed.is_last), (first, count, is_last));
            assert_eq!(placed.doubt, None);
        }
        assert!(matches!(places(None).place(&series(7, 5, None)), Err(Misplaced::Images { images: 5, .. })));
        let unknown = SeriesFacts { images: None, ..series(7, 0, None) };
        assert_eq!(places(None).place(&unknown), Err(Misplaced::Unknown));
        assert_eq!(places(Some(Span::Stack)).place(&unknown).unwrap().count, 18);
    }

    #[test]
    fn numbers_place_series_and_energies_confirm_them() {
        let mut places = places(None);
        let mut first = |number, energy| {
            places.place(&series(number, 6, energy)).map(|placed| (placed.first, placed.doubt.is_some()))
        };
        assert_eq!(first(7, Some(510.0)), Ok((0, false)));
        // Series 8 was never heard.
        assert_eq!(first(9, Some(512.1)), Ok((12, false)));
        assert_eq!(first(10, Some(510.0)), Err(Misplaced::OfAnother));
    }

    #[test]
    fn a_number_that_was_lost_is_made_up_for_by_the_energy() {
        let mut places = places(None);
        assert_eq!(places.place(&series(7, 6, Some(510.0))).unwrap().first, 0);
        assert_eq!(places.place(&series(8, 6, Some(512.0))).unwrap().first, 12);
        assert!(places.place(&series(8, 6, Some(512.0))).unwrap().is_last);
    }

    #[test]
    fn what_nothing_confirms_is_doubted() {
        let mut silent = places(None);
        assert!(silent.place(&series(7, 6, None)).unwrap().doubt.is_some());
        assert_eq!(silent.place(&series(8, 6, None)).unwrap().first, 6);
        assert_eq!(silent.place(&series(10, 6, None)), Err(Misplaced::OfAnother));
        assert_eq!(silent.place(&series(6, 6, None)), Err(Misplaced::OfAnother));
        // One that was never told again.
        let mut still = places(None);
        assert_eq!(still.place(&series(7, 6, Some(510.0))).unwrap().doubt, None);
        let placed = still.place(&series(8, 6, Some(510.0))).unwrap();
        assert!(placed.first == 6 && placed.doubt.is_some_and(|doubt| doubt.contains("told 510 eV")));
        // One from elsewhere.
        assert!(places(None).place(&series(7, 6, Some(8000.0))).unwrap().doubt.is_some());
    }

    #[test]
    fn lines_are_placed_by_their_numbers() {
        let mut places = places(None);
        for number in 0..6 {
            let told = 510.0 + (number / 2) as f64;
            let placed = places.place(&series(40 + number, 3, Some(told))).unwrap();
            assert_eq!((placed.first, placed.count, placed.doubt), (number * 3, 3, None));
            assert_eq!(placed.is_last, number == 5);
        }
    }

    proptest! {
        #[test]
        fn every_pixel_of_every_energy_is_visited_once(
            ny in 1_usize..9, nx in 1_usize..9, energies in 1_u64..4, meander in any::<bool>(), y_fast in any::<bool>(),
        ) {
            let layout = Layout { shape: [ny, nx], order: Order { meander, y_fast } };
            let mut seen = std::collections::HashSet::new();
            for position in 0..layout.pixels() * energies {
                let (energy, pixel) = layout.place(position);
                prop_assert!(energy < energies && pixel < layout.pixels());
                prop_assert!(seen.insert((energy, pixel)));
            }
        }

        #[test]
        fn places_are_within_the_scan_whatever_comes(
            series_list in prop::collection::vec((0_u64..40, 0_u64..20, prop::option::of(500.0..520.0_f64)), 1..12),
        ) {
            let mut places = places(None);
            for (number, images, energy) in series_list {
                if let Ok(placed) = places.place(&series(number, images, energy)) {
                    prop_assert!(placed.first + placed.count <= 18);
                }
            }
        }
    }
}
