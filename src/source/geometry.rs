//! Where the images of a detector that knows no scan belong in one.
//!
//! Such a detector counts images within a series, and series one after the other. A series is a whole stack, one energy of it, or one
//! line ([`Span`]); within it images follow the path of the scan ([`Order`]). A place is reckoned from numbers that the detector gave,
//! never from arrivals, so a loss shifts nothing. Which series is which energy follows from its number, and is held against the
//! energy that the detector was told; where nothing confirms it, or something contradicts it, that is said ([`Placed::doubt`]).
//!
//! Bad input: numbers of images that fit no span, and series beyond the plan, are no places.

use std::collections::BTreeSet;

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
    /// Whether its start was heard, or follows from one of its frames.
    pub heard: bool,
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
    pub doubt: Option<Doubt>,
}

/// Why a place is doubtful.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Only the number of the series says which energy it is.
    #[error(
        "the detector does not say at which energy a series is taken: it follows from the number of the series alone"
    )]
    NotTold,
    /// Something contradicts it.
    #[error("{0}")]
    Contradicted(String),
}

/// Why a series has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misplaced {
    /// It belongs to no scan that is known: a new one.
    #[error("the series is not of the scan before")]
    OfAnother,
    /// Its images are not those of the scan.
    #[error(
        "{images} images in a series are neither the stack's {stack}, nor {energy} of one energy, nor {line} of a line, or not what a series \
         of this scan holds: say in the source's geometry what it holds"
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

/// Most series between those of a scan that are remembered for being of none.
const MAX_STRAYS: usize = 1024;

/// The series of one scan, one behind the other.
#[derive(Clone, Debug)]
pub struct Places {
    /// The grid and the path.
    pub layout: Layout,
    energies_ev: Vec<f64>,
    span: Option<Span>,
    /// Whether each scan says which it is, so that series of the next one are not taken for this one's.
    named: bool,
    /// Number that the first series has, or would have.
    first: Option<i64>,
    /// Numbers of series behind it that hold something else.
    strays: BTreeSet<i64>,
    /// Energy that was told with the series before, eV.
    told_ev: Option<f64>,
    /// The highest energy that was reached, and the series, counted in the scan, that was placed last.
    reached: Option<u64>,
    last: Option<u64>,
}

impl Places {
    /// Those of a scan; `span`, where it is known beforehand.
    #[must_use]
    pub fn new(layout: Layout, energies_ev: Vec<f64>, span: Option<Span>) -> Self {
        Self {
            layout,
            energies_ev,
            span,
            named: true,
            first: None,
            strays: BTreeSet::new(),
            told_ev: None,
            reached: None,
            last: None,
        }
    }

    /// The same, of a scan that has no name of its own.
    #[must_use]
    pub fn unnamed(self) -> Self {
        Self { named: false, ..self }
    }

    /// The same, going on with a scan whose first series had this number, whose series hold this, and that had reached this energy.
    #[must_use]
    pub fn going_on(self, first: Option<i64>, span: Option<Span>, reached: Option<u64>) -> Self {
        Self { first, span: span.or(self.span), reached, ..self }
    }

    /// Number of the first series.
    #[must_use]
    pub fn first(&self) -> Option<i64> {
        self.first
    }

    /// What a series holds, as soon as one was placed.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// Appends energies to the plan.
    pub fn extend(&mut self, energies_ev: &[f64]) {
        self.energies_ev.extend_from_slice(energies_ev);
    }

    /// Notes that a series was there which could not be placed: if it is the first, those behind it are counted from it.
    pub fn note(&mut self, number: u64) {
        self.first = self.first.or(i64::try_from(number).ok());
    }

    /// The place of a series; `after_short`: the one before it had less frames than it should have.
    ///
    /// # Errors
    /// Where it has none.
    pub fn place(&mut self, series: &SeriesFacts, after_short: bool) -> Result<Placed, Misplaced> {
        let number = i64::try_from(series.number).map_err(|_| Misplaced::OfAnother)?;
        let span = self.span_of(series.images).inspect_err(|_| {
            if self.first.is_some_and(|first| first < number) && self.strays.len() < MAX_STRAYS {
                self.strays.insert(number);
            }
        })?;
        let energies = self.energies_ev.len() as u64;
        let images = self.layout.images(span, self.energies_ev.len());
        let first = self.first.unwrap_or(number);
        if number < first {
            return Err(Misplaced::OfAnother);
        }
        let strays = self.strays.range(first..number).count() as i64;
        let index = u64::try_from(number - first - strays).map_err(|_| Misplaced::OfAnother)?;
        let per_energy = match span {
            Span::Stack if index > 0 => return Err(Misplaced::OfAnother),
            Span::Stack => {
                (self.first, self.span) = (Some(first), Some(span));
                return Ok(Placed { first: 0, count: images, is_last: true, doubt: None });
            }
            Span::Energy => 1,
            Span::Line => self.layout.pixels() / self.layout.line(),
        };
        let by_number = index / per_energy;
        let (energy, mut doubt) = self.energy(series, by_number, after_short)?;
        if energy >= energies {
            return Err(Misplaced::OfAnother);
        }
        let mut line = index % per_energy;
        if energy != by_number {
            // Which line it is does not follow from the number any more.
            line = 0;
            if per_energy > 1 && self.last.is_some_and(|last| last + 1 != energy * per_energy) {
                let text = format!(
                    "lines are missing before the first of energy {energy} (from 0): which line a series is, is not sure"
                );
                doubt = Some(Doubt::Contradicted(text));
            }
        }
        if span == Span::Line && !self.named && doubt.is_none() {
            let text =
                "scans have no name: lines of one that was given up cannot be told from those of the next";
            doubt = Some(Doubt::Contradicted(text.to_owned()));
        }
        let place = energy * per_energy + line;
        // A series that was missed, and whose number was too, moves those behind it.
        (self.first, self.span) = (Some(number - strays - place as i64), Some(span));
        self.told_ev = series.energy_ev.or(self.told_ev);
        self.reached = self.reached.max(Some(energy));
        self.last = Some(place);
        Ok(Placed {
            first: place * images,
            count: images,
            is_last: place + 1 == energies * per_energy,
            doubt,
        })
    }

    /// What a series holds.
    fn span_of(&self, images: Option<u64>) -> Result<Span, Misplaced> {
        let [stack, energy, line] = [Span::Stack, Span::Energy, Span::Line]
            .map(|span| self.layout.images(span, self.energies_ev.len()));
        let Some(images) = images else { return self.span.ok_or(Misplaced::Unknown) };
        let wrong = Misplaced::Images { images, stack, energy, line };
        let known = self.span.map_or([Some(Span::Stack), Some(Span::Energy), Some(Span::Line)], |span| {
            // The plan of a stack may have grown since.
            [Some(span), None, None]
        });
        let fits = |span: &Span| self.layout.images(*span, self.energies_ev.len()) == images;
        known.into_iter().flatten().find(fits).ok_or(wrong)
    }

    /// The energy of a series, and what is doubtful about it: what the detector was told wins over the number, where it is an energy of the
    /// plan and was told anew.
    fn energy(
        &self,
        series: &SeriesFacts,
        by_number: u64,
        after_short: bool,
    ) -> Result<(u64, Option<Doubt>), Misplaced> {
        let told = series.energy_ev.and_then(|told| Some((told, self.nearest(told, by_number)?)));
        let stands_still = series.energy_ev.is_some() && series.energy_ev == self.told_ev;
        match (told, self.reached) {
            (Some((_, index)), _) if index == by_number => Ok((index, None)),
            // The first energy again is another scan.
            (Some((_, 0)), Some(reached)) if (reached > 0 && !stands_still) || after_short => {
                Err(Misplaced::OfAnother)
            }
            (Some((_, index)), None) => Ok((index, None)),
            (Some((_, index)), Some(reached)) if !stands_still && index > reached => Ok((index, None)),
            (Some((told, index)), Some(_)) if !stands_still => {
                let text = format!("a series at {told} eV came behind one at a later energy of the plan");
                Ok((index, Some(Doubt::Contradicted(text))))
            }
            // Nobody tells the detector. A series that goes on after a restart goes on.
            (_, reached) => {
                let goes_on = !series.heard
                    && reached.is_some_and(|reached| (reached..=reached + 1).contains(&by_number));
                let is_sure = self.energies_ev.len() < 2 || goes_on;
                Ok((by_number, (!is_sure).then_some(Doubt::NotTold)))
            }
        }
    }

    /// The energy of the plan that is meant: `wanted`, if that may be it, else the nearest; `None` where none is near.
    fn nearest(&self, told_ev: f64, wanted: u64) -> Option<u64> {
        let tolerance_ev = self.tolerance_ev();
        let off = |index: &usize| {
            self.energies_ev.get(*index).map_or(f64::INFINITY, |energy| (energy - told_ev).abs())
        };
        let nearest = (0..self.energies_ev.len()).min_by(|a, b| off(a).total_cmp(&off(b)))?;
        let wanted = usize::try_from(wanted).ok().filter(|wanted| off(wanted) <= off(&nearest) + 1e-9);
        let index = wanted.unwrap_or(nearest);
        (off(&index) <= tolerance_ev).then_some(index as u64)
    }

    /// How far an energy that was told may be from the plan's: below half of the smallest difference between two.
    fn tolerance_ev(&self) -> f64 {
        let mut sorted = self.energies_ev.clone();
        sorted.sort_by(f64::total_cmp);
        let steps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
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
        SeriesFacts {
            heard: true,
            number,
            images: Some(images),
            energy_ev,
            shape: [4, 4],
            ..SeriesFacts::default()
        }
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
            let placed = places(None).place(&series(7, images, Some(510.0)), false).unwrap();
            assert_eq!((placed.first, placed.count, placed.is_last), (first, count, is_last));
            assert_eq!(placed.doubt, None);
        }
        assert!(matches!(
            places(None).place(&series(7, 5, None), false),
            Err(Misplaced::Images { images: 5, .. })
        ));
        let unknown = SeriesFacts { images: None, ..series(7, 0, None) };
        assert_eq!(places(None).place(&unknown, false), Err(Misplaced::Unknown));
        assert_eq!(places(Some(Span::Stack)).place(&unknown, false).unwrap().count, 18);
    }

    #[test]
    fn numbers_place_series_and_energies_confirm_them() {
        let mut places = places(None);
        let mut first = |number, energy| {
            places
                .place(&series(number, 6, energy), false)
                .map(|placed| (placed.first, placed.doubt.is_some()))
        };
        assert_eq!(first(7, Some(510.0)), Ok((0, false)));
        // Series 8 was never heard.
        assert_eq!(first(9, Some(512.1)), Ok((12, false)));
        assert_eq!(first(10, Some(510.0)), Err(Misplaced::OfAnother));
    }

    #[test]
    fn a_number_that_was_lost_is_made_up_for_by_the_energy() {
        let mut places = places(None);
        assert_eq!(places.place(&series(7, 6, Some(510.0)), false).unwrap().first, 0);
        assert_eq!(places.place(&series(8, 6, Some(512.0)), false).unwrap().first, 12);
        assert!(places.place(&series(8, 6, Some(512.0)), false).unwrap().is_last);
    }

    #[test]
    fn what_nothing_confirms_is_doubted() {
        let mut silent = places(None);
        assert!(silent.place(&series(7, 6, None), false).unwrap().doubt.is_some());
        assert_eq!(silent.place(&series(8, 6, None), false).unwrap().first, 6);
        assert_eq!(silent.place(&series(10, 6, None), false), Err(Misplaced::OfAnother));
        assert_eq!(silent.place(&series(6, 6, None), false), Err(Misplaced::OfAnother));
        // One that was never told again.
        let mut still = places(None);
        assert_eq!(still.place(&series(7, 6, Some(510.0)), false).unwrap().doubt, None);
        let placed = still.place(&series(8, 6, Some(510.0)), false).unwrap();
        assert_eq!((placed.first, placed.doubt), (6, Some(Doubt::NotTold)));
        // One that was never told at all says the same of every scan.
        let elsewhere = places(None).place(&series(7, 6, Some(8000.0)), false).unwrap();
        assert_eq!(elsewhere.doubt, Some(Doubt::NotTold));
        // Given up in the first energy, and begun again.
        assert_eq!(still.place(&series(9, 6, Some(512.0)), false).unwrap().first, 12);
        let mut again = places(None);
        again.place(&series(7, 6, Some(510.0)), false).unwrap();
        assert_eq!(again.place(&series(8, 6, Some(510.0)), true), Err(Misplaced::OfAnother));
    }

    #[test]
    fn series_that_hold_something_else_take_no_place() {
        let mut places = places(None);
        let first = |places: &mut Places, number, images| {
            places.place(&series(number, images, None), false).ok().map(|placed| placed.first)
        };
        assert_eq!(first(&mut places, 7, 6), Some(0));
        // A dark frame; a line, where energies are scanned.
        assert_eq!(first(&mut places, 8, 1), None);
        assert_eq!(first(&mut places, 9, 3), None);
        assert_eq!(first(&mut places, 10, 6), Some(6));
        // Series 11 was lost.
        assert_eq!(first(&mut places, 12, 6), None);
    }

    #[test]
    fn a_scan_goes_on_after_a_restart_and_the_next_one_is_another() {
        let restarted = || {
            Places::new(layout(false, false), vec![510.0, 511.0, 512.0], Some(Span::Energy)).going_on(
                Some(7),
                None,
                Some(2),
            )
        };
        let unheard = |number| SeriesFacts { heard: false, images: None, ..series(number, 0, None) };
        assert_eq!(restarted().place(&unheard(9), false).unwrap().doubt, None);
        assert_eq!(restarted().place(&unheard(8), false).unwrap().doubt, Some(Doubt::NotTold));
        let mut next = restarted();
        next.place(&unheard(9), false).unwrap();
        assert_eq!(next.place(&series(10, 6, Some(510.0)), false), Err(Misplaced::OfAnother));
        assert_eq!(restarted().place(&series(10, 6, Some(510.0)), false), Err(Misplaced::OfAnother));
    }

    #[test]
    fn lines_are_placed_by_their_numbers() {
        let mut places = places(None);
        for number in 0..6 {
            let told = 510.0 + (number / 2) as f64;
            let placed = places.place(&series(40 + number, 3, Some(told)), false).unwrap();
            assert_eq!((placed.first, placed.count, placed.doubt), (number * 3, 3, None));
            assert_eq!(placed.is_last, number == 5);
        }
    }

    #[test]
    fn lines_are_doubted_where_some_are_missing_or_scans_have_no_name() {
        let mut jumps = places(None);
        jumps.place(&series(40, 3, Some(510.0)), false).unwrap();
        // The second line was never taken.
        let placed = jumps.place(&series(41, 3, Some(511.0)), false).unwrap();
        assert_eq!((placed.first, placed.doubt.is_some()), (6, true));
        assert_eq!(jumps.place(&series(42, 3, Some(511.0)), false).unwrap().first, 9);
        let mut unnamed = places(None).unnamed();
        assert!(unnamed.place(&series(40, 3, Some(510.0)), false).unwrap().doubt.is_some());
    }

    #[test]
    fn energies_out_of_order_are_told_apart() {
        let mut places = Places::new(layout(false, false), vec![510.0, 520.0, 511.0, 521.0], None);
        let mut first = |number, energy| places.place(&series(number, 6, Some(energy)), false).unwrap().first;
        assert_eq!([first(1, 510.0), first(2, 520.0), first(3, 511.0), first(4, 521.0)], [0, 6, 12, 18]);
        let mut places = Places::new(layout(false, false), vec![510.0, 520.0, 511.0, 521.0], None);
        places.place(&series(1, 6, Some(510.0)), false).unwrap();
        // The second was lost, and its number was, too.
        assert_eq!(places.place(&series(2, 6, Some(511.0)), false).unwrap().first, 12);
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
                if let Ok(placed) = places.place(&series(number, images, energy), false) {
                    prop_assert!(placed.first + placed.count <= 18);
                }
            }
        }
    }
}
