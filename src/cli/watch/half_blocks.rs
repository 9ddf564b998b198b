//! A map in half-blocks: each cell of the terminal shows two square dots, one above the other.
//!
//! Where the map has more pixels than there are dots, a dot shows what most of its pixels are; ties go to what comes first. One phase is its colour, an
//! ambiguous pixel a paler one, all else greys; unmeasured is the terminal's own ground. Without colours a cell is a letter: of the phase, upper case
//! where it is decided; `.` is background, `?` unknown.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::client::Map;

/// What a dot shows: status and phase, or nothing.
type Code = Option<(u8, u8)>;

/// Draws `map` as large as it fits into `area`; returns the part that it takes.
pub(super) fn draw(map: &Map, area: Rect, buffer: &mut Buffer, colours: bool) -> Rect {
    let [ny, nx] = map.shape;
    if nx == 0 || ny == 0 || area.is_empty() {
        return Rect { width: 0, height: 0, ..area };
    }
    // Dots per pixel, the same along both axes so that squares stay square; in text a cell is one dot.
    let per_cell = if colours { 2 } else { 1 };
    let (across, down) = (f64::from(area.width), f64::from(area.height) * f64::from(per_cell));
    // Without half-blocks a dot is twice as high as wide.
    let stretch = if colours { 1.0 } else { 2.0 };
    let scale = (across / nx as f64).min(down * stretch / ny as f64);
    let width = ((nx as f64 * scale) as u16).clamp(1, area.width);
    let dots = ((ny as f64 * scale / stretch) as u16).clamp(1, area.height * per_cell);
    let dot = |column: u16, row: u16| majority(map, (column, width), (row, dots));
    let height = dots.div_ceil(per_cell);
    for row in 0..height {
        for column in 0..width {
            let cell = &mut buffer[(area.x + column, area.y + row)];
            if colours {
                let (above, below) =
                    (colour(map, dot(column, 2 * row)), colour(map, dot(column, 2 * row + 1)));
                cell.set_char('▀').set_fg(above).set_bg(below);
                if above == below {
                    cell.set_char(' ');
                }
            } else {
                cell.set_char(letter(map, dot(column, row)));
            }
        }
    }
    Rect { width, height, ..area }
}

/// What most pixels are that a dot shows.
fn majority(map: &Map, (column, columns): (u16, u16), (row, rows): (u16, u16)) -> Code {
    let [ny, nx] = map.shape;
    let part = |at: u16, of: u16, pixels: usize, flip: bool| {
        let at = if flip { of.checked_sub(at + 1)? } else { at };
        let (at, of) = (usize::from(at), usize::from(of));
        (at < of).then(|| at * pixels / of..((at + 1) * pixels / of).max(at * pixels / of + 1))
    };
    let (ys, xs) = (part(row, rows, ny, map.flip[0])?, part(column, columns, nx, map.flip[1])?);
    let mut counts: Vec<((u8, u8), usize)> = Vec::new();
    for y in ys {
        for x in xs.clone() {
            let pixel = y * nx + x;
            let code = (*map.status.get(pixel)?, *map.phase.get(pixel)?);
            match counts.iter_mut().find(|(known, _)| *known == code) {
                Some((_, count)) => *count += 1,
                None => counts.push((code, 1)),
            }
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.iter().find(|(_, count)| *count == most).map(|(code, _)| *code)
}

fn status(map: &Map, code: u8) -> &str {
    map.statuses.get(usize::from(code)).map_or("", String::as_str)
}

fn colour(map: &Map, code: Code) -> Color {
    let Some((state, phase)) = code else { return Color::Reset };
    let own = map.colours.get(usize::from(phase)).copied().unwrap_or([150, 155, 160]);
    let rgb = |[r, g, b]: [u8; 3]| Color::Rgb(r, g, b);
    // Half way to a middle grey is paler on a light ground, and duller on a dark one.
    let pale = own.map(|part| ((u16::from(part) + 128) / 2) as u8);
    match status(map, state) {
        "classified" | "mixture" => rgb(own),
        "ambiguous" => rgb(pale),
        "background" => Color::Rgb(52, 56, 60),
        "saturated" => Color::Rgb(122, 127, 133),
        "unknown" => Color::Rgb(235, 235, 235),
        _ => Color::Reset,
    }
}

fn letter(map: &Map, code: Code) -> char {
    let Some((state, phase)) = code else { return ' ' };
    let own = char::from(b'a' + phase.min(25));
    match status(map, state) {
        "classified" | "mixture" => own.to_ascii_uppercase(),
        "ambiguous" => own,
        "background" => '.',
        "saturated" => '#',
        "unknown" => '?',
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(shape: [usize; 2], phase: Vec<u8>) -> Map {
        let status = vec![3; phase.len()];
        let names =
            ["unmeasured", "background", "saturated", "classified", "mixture", "unknown", "ambiguous"];
        Map {
            shape,
            colours: vec![[10, 0, 0], [0, 20, 0]],
            statuses: names.map(str::to_owned).to_vec(),
            phase,
            status,
            ..Map::default()
        }
    }

    fn text(map: &Map, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(map, area, &mut buffer, false);
        (0..height)
            .map(|row| (0..width).map(|column| buffer[(column, row)].symbol()).collect::<String>())
            .collect()
    }

    #[test]
    fn two_pixels_share_a_cell_and_the_picture_is_upright() {
        let mut map = map([2, 2], vec![0, 1, 1, 0]);
        let area = Rect::new(0, 0, 2, 1);
        let mut buffer = Buffer::empty(area);
        assert_eq!(draw(&map, area, &mut buffer, true), area);
        let cell = &buffer[(0, 0)];
        assert_eq!((cell.symbol(), cell.fg, cell.bg), ("▀", Color::Rgb(10, 0, 0), Color::Rgb(0, 20, 0)));
        map.flip = [true, false];
        draw(&map, area, &mut buffer, true);
        assert_eq!(buffer[(0, 0)].fg, Color::Rgb(0, 20, 0), "the last row is above");
    }

    #[test]
    fn a_large_map_shows_what_most_pixels_are() {
        let map = map([4, 4], vec![0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0]);
        assert_eq!(text(&map, 2, 1), ["AB"]);
        let mut unsure = map.clone();
        unsure.status = vec![6, 6, 5, 5, 6, 6, 5, 5, 1, 1, 0, 0, 1, 1, 0, 0];
        assert_eq!(text(&unsure, 4, 2), ["aa??", "..  "], "{:?}", text(&unsure, 4, 2));
    }

    #[test]
    fn any_area_and_shape_will_do() {
        for shape in [[1, 1], [1, 300], [300, 1], [7, 5]] {
            let map = map(shape, vec![0; shape[0] * shape[1]]);
            for area in [(0, 0), (1, 1), (3, 40), (80, 2)] {
                let area = Rect::new(0, 0, area.0, area.1);
                for colours in [true, false] {
                    let mut buffer = Buffer::empty(area);
                    let taken = draw(&map, area, &mut buffer, colours);
                    assert!(taken.width <= area.width && taken.height <= area.height);
                }
            }
        }
        assert_eq!(
            draw(
                &map([0, 0], Vec::new()),
                Rect::new(0, 0, 5, 5),
                &mut Buffer::empty(Rect::new(0, 0, 5, 5)),
                true
            )
            .width,
            0
        );
    }
}
