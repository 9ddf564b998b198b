//! An RGB buffer to draw on; what falls outside is not drawn.

use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Baseline, Text};

pub(super) struct Canvas {
    rgb: Vec<u8>,
    size: [usize; 2],
}

impl Canvas {
    /// A canvas `[width, height]` of one colour.
    pub(super) fn new(size: [usize; 2], colour: Rgb888) -> Self {
        let rgb = [colour.r(), colour.g(), colour.b()].repeat(size[0] * size[1]);
        Self { rgb, size }
    }

    pub(super) fn width(&self) -> usize {
        self.size[0]
    }

    pub(super) fn height(&self) -> usize {
        self.size[1]
    }

    /// Three bytes a pixel, row by row.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.rgb
    }

    pub(super) fn set(&mut self, [x, y]: [usize; 2], colour: Rgb888) {
        if x < self.size[0] && y < self.size[1] {
            let at = 3 * (y * self.size[0] + x);
            self.rgb[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
        }
    }

    pub(super) fn fill(&mut self, [x, y]: [usize; 2], [width, height]: [usize; 2], colour: Rgb888) {
        for y in y..y + height {
            (x..x + width).for_each(|x| self.set([x, y], colour));
        }
    }

    /// A line one pixel wide just outside a rectangle.
    pub(super) fn frame(&mut self, [x, y]: [usize; 2], [width, height]: [usize; 2], colour: Rgb888) {
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        self.fill([left, top], [width + 2, 1], colour);
        self.fill([left, y + height], [width + 2, 1], colour);
        self.fill([left, top], [1, height + 2], colour);
        self.fill([x + width, top], [1, height + 2], colour);
    }

    /// Text with its upper left corner at `[x, y]`.
    pub(super) fn text(&mut self, [x, y]: [usize; 2], text: &str, font: &MonoFont<'_>, colour: Rgb888) {
        let text = latin1(text);
        let style = MonoTextStyle::new(font, colour);
        let at = Point::new(x as i32, y as i32);
        // Drawing on this target cannot fail.
        _ = Text::with_baseline(&text, at, style, Baseline::Top).draw(self);
    }

    /// The same, cut so that it is at most `width` wide.
    pub(super) fn text_within(
        &mut self,
        at: [usize; 2],
        width: usize,
        text: &str,
        font: &MonoFont<'_>,
        colour: Rgb888,
    ) {
        let room = width / font.character_size.width as usize;
        if text.chars().count() <= room {
            self.text(at, text, font, colour);
        } else {
            let cut: String = text.chars().take(room.saturating_sub(3)).collect();
            self.text(at, &format!("{}...", cut.trim_end()), font, colour);
        }
    }

    /// The same, ending at `right`.
    pub(super) fn text_right(
        &mut self,
        right: usize,
        y: usize,
        text: &str,
        font: &MonoFont<'_>,
        colour: Rgb888,
    ) {
        let width = text.chars().count() * font.character_size.width as usize;
        self.text([right.saturating_sub(width), y], text, font, colour);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.size[0] as u32, self.size[1] as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        let inside = self.bounding_box();
        for Pixel(at, colour) in pixels {
            if inside.contains(at) {
                self.set([at.x as usize, at.y as usize], colour);
            }
        }
        Ok(())
    }
}

/// Printable Latin-1 characters as they are, every other as `?`.
pub(super) fn latin1(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}') { c } else { '?' }).collect()
}
