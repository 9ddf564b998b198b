//! The map itself: which screen pixel shows which pixel of the grid, in what colour.

use embedded_graphics::pixelcolor::{Rgb888, RgbColor as _};

use super::canvas::Canvas;
use super::{Inpainted, PAPER, RULE};
use crate::classify::{PhaseMap, Status};
use crate::scan::{Axis, Grid};

/// What the longer side of the map should come to, screen pixels.
const TARGET: f64 = 800.0;
/// More rows or columns than this are thinned out.
const MOST_PIXELS: usize = 1000;

/// One axis on the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Side {
    /// Pixels of the grid.
    pixels: usize,
    /// Screen pixels for each pixel of the grid, where there is at least one.
    zoom: usize,
    /// Every how many pixels of the grid one is shown.
    every: usize,
    /// Whether the first pixel is at the right or lower end.
    reversed: bool,
}

impl Side {
    /// `scale`: screen pixels per unit of the grid.
    fn new(pixels: usize, step: f64, scale: f64, reversed: bool) -> Self {
        let zoom = scale * step.abs();
        let zoom = if zoom.is_finite() { zoom.round().clamp(1.0, TARGET) as usize } else { 1 };
        let every = pixels.div_ceil(MOST_PIXELS).max(1);
        // A side that is long and coarse at once would exceed what the other allows.
        let zoom = zoom.min((2 * MOST_PIXELS / pixels.max(1)).max(1));
        Self { pixels, zoom, every, reversed }
    }

    fn length(self) -> usize {
        if self.every > 1 { self.pixels.div_ceil(self.every) } else { self.pixels * self.zoom }
    }

    /// The pixel of the grid that screen pixel `at` shows.
    fn pixel(self, at: usize) -> usize {
        let pixel = (at / self.zoom * self.every).min(self.pixels - 1);
        if self.reversed { self.pixels - 1 - pixel } else { pixel }
    }

    /// Screen pixels per unit of the grid.
    fn scale(self, axis: Axis) -> f64 {
        self.zoom as f64 / self.every as f64 / axis.step.abs()
    }
}

/// The map on the screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    x: Side,
    y: Side,
}

impl Field {
    pub(super) fn of(grid: &Grid) -> Self {
        let extent = |pixels: usize, axis: Axis| pixels as f64 * axis.step.abs();
        let scale = TARGET / extent(grid.nx(), grid.x).max(extent(grid.ny(), grid.y));
        Self {
            x: Side::new(grid.nx(), grid.x.step, scale, grid.x.step < 0.0),
            // Screen rows go down, y goes up.
            y: Side::new(grid.ny(), grid.y.step, scale, grid.y.step > 0.0),
        }
    }

    /// The map with at most `longest` screen pixels on either side: each shows one pixel of the grid.
    pub(super) fn small(grid: &Grid, longest: usize) -> Self {
        let every = grid.nx().max(grid.ny()).div_ceil(longest).max(1);
        let side = |pixels: usize, reversed: bool| Side { pixels, zoom: 1, every, reversed };
        Self { x: side(grid.nx(), grid.x.step < 0.0), y: side(grid.ny(), grid.y.step > 0.0) }
    }

    pub(super) fn width(&self) -> usize {
        self.x.length()
    }

    pub(super) fn height(&self) -> usize {
        self.y.length()
    }

    /// Screen pixels per unit of the grid, along x.
    pub(super) fn scale(&self, grid: &Grid) -> f64 {
        self.x.scale(grid.x)
    }

    pub(super) fn draw(
        &self,
        canvas: &mut Canvas,
        [left, top]: [usize; 2],
        map: &PhaseMap,
        inpainted: Option<&Inpainted>,
    ) {
        let nx = map.plan.grid.nx();
        for y in 0..self.height() {
            let row = self.y.pixel(y) * nx;
            for x in 0..self.width() {
                let colour = shade(map, inpainted, row + self.x.pixel(x), [x, y]);
                canvas.set([left + x, top + y], colour);
            }
        }
        canvas.frame([left, top], [self.width(), self.height()], RULE);
    }
}

/// Colour of `pixel` where it is drawn at `at`.
fn shade(map: &PhaseMap, inpainted: Option<&Inpainted>, pixel: usize, at: [usize; 2]) -> Rgb888 {
    let colour = |index: u8| map.phases.get(usize::from(index)).map(|phase| phase.colour);
    match inpainted.filter(|view| view.filled[pixel]) {
        Some(view) => {
            let (phase, runner_up) = (colour(view.phase[pixel]), colour(view.runner_up[pixel]));
            hatched(pattern(view.status[pixel], phase, runner_up, at), at)
        }
        None => pattern(map.status[pixel], colour(map.phase[pixel]), colour(map.runner_up[pixel]), at),
    }
}

/// A colour paler and with lines across it: it was not measured.
pub(super) fn hatched(colour: Rgb888, [x, y]: [usize; 2]) -> Rgb888 {
    if (x + y) % 4 == 0 {
        return PAPER;
    }
    let pale = |c: u8| (f32::from(c) * 0.6 + 255.0 * 0.4) as u8;
    Rgb888::new(pale(colour.r()), pale(colour.g()), pale(colour.b()))
}

/// How a status looks at a place on the screen, as on the page: striped is ambiguous, dotted a mixture, crossed unknown; phases that are not there are a middle grey.
pub(super) fn pattern(
    status: Status,
    phase: Option<[u8; 3]>,
    runner_up: Option<[u8; 3]>,
    [x, y]: [usize; 2],
) -> Rgb888 {
    let solid = |[r, g, b]: [u8; 3]| Rgb888::new(r, g, b);
    let phase = phase.unwrap_or([150, 155, 160]);
    match status {
        Status::Unmeasured if (x + y) % 8 == 0 => Rgb888::new(206, 210, 214),
        Status::Unmeasured => PAPER,
        Status::Background => Rgb888::new(228, 231, 234),
        Status::Saturated => Rgb888::new(24, 26, 29),
        Status::Unknown if (x + y) % 8 == 0 || (x + 8 - y % 8) % 8 == 0 => PAPER,
        Status::Unknown => Rgb888::new(122, 127, 133),
        Status::Classified => solid(phase),
        Status::Mixture if x % 4 < 2 && y % 4 < 2 => solid(runner_up.unwrap_or([255, 255, 255])),
        Status::Mixture => solid(phase),
        Status::Ambiguous if (x + y) % 4 == 0 => solid(phase),
        Status::Ambiguous => solid(phase.map(|c| (f32::from(c) * 0.45 + 255.0 * 0.55) as u8)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grid(ny: usize, nx: usize, step_y: f64, step_x: f64) -> Grid {
        let axis = |step| Axis { start: 0.0, step };
        Grid { shape: [ny, nx], x: axis(step_x), y: axis(step_y), unit: "um".into() }
    }

    #[test]
    fn x_points_right_and_y_up_whatever_the_steps() {
        for (step_y, step_x, top_left) in [(0.1, 0.1, 2), (-0.1, 0.1, 0), (0.1, -0.1, 3), (-0.1, -0.1, 1)] {
            let field = Field::of(&grid(2, 2, step_y, step_x));
            assert_eq!(field.y.pixel(0) * 2 + field.x.pixel(0), top_left, "{step_y} {step_x}");
        }
    }

    #[test]
    fn pixels_keep_their_proportion() {
        let field = Field::of(&grid(50, 100, 0.2, 0.1));
        assert_eq!((field.width(), field.height()), (800, 800));
        let field = Field::of(&grid(256, 256, 0.05, 0.05));
        assert_eq!((field.width(), field.height()), (768, 768));
    }

    /// What the page says of the same pixel: `tile` in map-view.js.
    #[test]
    fn ambiguous_is_striped_a_mixture_dotted_and_unknown_crossed() {
        let (own, other) = ([0, 114, 178], [230, 159, 0]);
        let at = |status, x, y| {
            let colour = pattern(status, Some(own), Some(other), [x, y]);
            [colour.r(), colour.g(), colour.b()]
        };
        let share = |status, wanted: [u8; 3]| {
            (0..64).filter(|place| at(status, place % 8, place / 8) == wanted).count()
        };
        assert_eq!(share(Status::Mixture, own), 48, "the larger phase fills the ground of a mixture");
        assert_eq!(share(Status::Mixture, other), 16);
        assert!((0..8).all(|y| at(Status::Mixture, 2, y) == own), "dots, not stripes");
        assert_eq!(share(Status::Ambiguous, own), 16);
        assert!((0..8).all(|d| at(Status::Ambiguous, 8 - d, d) == own), "a stripe goes through");
        assert_eq!(share(Status::Ambiguous, other), 0, "of an ambiguous pixel there is a best guess alone");
        for stripe in [|d: usize| (8 - d, d), |d| (d, d)] {
            assert!((0..8).map(stripe).all(|(x, y)| at(Status::Unknown, x, y) == [255; 3]));
        }
        assert_eq!(share(Status::Saturated, at(Status::Saturated, 0, 0)), 64);
    }

    proptest! {
        #[test]
        fn every_grid_fits_and_shows_its_ends(
            ny in 1_usize..16384, nx in 1_usize..16384,
            step_y in prop_oneof![Just(f64::MAX), Just(f64::MIN_POSITIVE), -3.0..-0.001, 0.001..3.0],
            step_x in prop_oneof![Just(f64::MAX), Just(f64::MIN_POSITIVE), -3.0..-0.001, 0.001..3.0],
        ) {
            let field = Field::of(&grid(ny, nx, step_y, step_x));
            for (side, n) in [(field.x, nx), (field.y, ny)] {
                prop_assert!((1..=2000).contains(&side.length()), "{:?}", side);
                let first = side.pixel(0);
                prop_assert_eq!(first, if side.reversed { n - 1 } else { 0 });
                prop_assert!((0..side.length()).all(|at| side.pixel(at) < n));
            }
        }
    }
}
