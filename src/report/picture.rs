//! Maps as pictures within the page: one pixel of PNG for each pixel of the grid, +x right and +y up, with the outlines of particles over it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use png::{BitDepth, ColorType, Encoder};

use super::ReportError;
use crate::particles::Labels;
use crate::scan::Grid;

/// Colours of numbers.
const STEPS: usize = 256;
/// Outlines of more particles than this are left out: nobody could read them.
const MOST_OUTLINES: usize = 400;

/// The colours of numbers, from low to high: the path of the screen, from a dark violet-blue by teal to a light yellow.
static SCALE: LazyLock<Vec<[u8; 3]>> = LazyLock::new(|| {
    let fine: Vec<([f64; 3], [u8; 3])> =
        (0..8 * STEPS).map(|i| on_path(i as f64 / (8 * STEPS - 1) as f64)).collect();
    let mut along = vec![0.0];
    for pair in fine.windows(2) {
        let [(a, _), (b, _)] = [pair[0], pair[1]];
        let far = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        along.push(along.last().copied().unwrap_or(0.0) + far);
    }
    let whole = along.last().copied().unwrap_or(1.0);
    (0..STEPS)
        .map(|step| {
            let wanted = whole * step as f64 / (STEPS - 1) as f64;
            fine[along.partition_point(|at| *at < wanted).min(fine.len() - 1)].1
        })
        .collect()
});

/// A point of the path, as far from grey as a screen can show.
fn on_path(t: f64) -> ([f64; 3], [u8; 3]) {
    let lightness = 0.24 + 0.7 * t;
    let hue = (292.0 - 187.0 * t).to_radians();
    let mut chroma = 0.09 + 0.07 * t;
    loop {
        let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
        let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
        let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
        let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
        let linear = [
            4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
            -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
            -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701 * s,
        ];
        if chroma < 0.005 || linear.iter().all(|value| (0.0..=1.0).contains(value)) {
            let encoded = |value: f64| {
                let value = value.clamp(0.0, 1.0);
                let value =
                    if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
                (255.0 * value).round() as u8
            };
            return ([lightness, a, b], linear.map(encoded));
        }
        chroma -= 0.004;
    }
}

/// The colour of a number between two.
pub(super) fn colour(value: f64, [low, high]: [f64; 2]) -> [u8; 3] {
    let t = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
    SCALE[(t * (STEPS - 1) as f64).round() as usize]
}

/// As CSS has it.
pub(super) fn css([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The scale from low to high, for a legend.
pub(super) fn gradient() -> String {
    let stops: Vec<String> = (0..=16).map(|i| css(SCALE[(i * (STEPS - 1)) / 16])).collect();
    format!("linear-gradient(90deg,{})", stops.join(","))
}

/// Where a pixel of the grid is drawn: +x right, +y up, whatever the sign of the steps.
fn place(grid: &Grid, pixel: usize) -> [usize; 2] {
    let [ny, nx] = grid.shape;
    let (y, x) = (pixel / nx, pixel % nx);
    [if grid.y.step > 0.0 { ny - 1 - y } else { y }, if grid.x.step < 0.0 { nx - 1 - x } else { x }]
}

/// A picture of the field as an address that holds it; pixels without a colour are transparent.
pub(super) fn image(grid: &Grid, colour: impl Fn(usize) -> Option<[u8; 3]>) -> Result<String, ReportError> {
    let [ny, nx] = grid.shape;
    let mut rgba = vec![0_u8; 4 * ny * nx];
    for pixel in 0..ny * nx {
        let [row, column] = place(grid, pixel);
        if let Some([r, g, b]) = colour(pixel) {
            rgba[4 * (row * nx + column)..][..4].copy_from_slice(&[r, g, b, 255]);
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, nx as u32, ny as u32);
    encoder.set_color(ColorType::Rgba);
    encoder.set_depth(BitDepth::Eight);
    let failed = |error: png::EncodingError| ReportError::Picture(error.to_string());
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&rgba).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(format!("data:image/png;base64,{}", base64(&bytes)))
}

/// Outlines of particles, and their numbers at their centres, in pixels of the picture.
pub(super) fn outlines(grid: &Grid, labels: &Labels, names: &[(u32, [f64; 2], String)]) -> String {
    let [ny, nx] = grid.shape;
    if labels.count > MOST_OUTLINES || labels.of_pixel.len() != ny * nx {
        return String::new();
    }
    let mut at = vec![0_u32; ny * nx];
    for (pixel, label) in labels.of_pixel.iter().enumerate() {
        let [row, column] = place(grid, pixel);
        at[row * nx + column] = *label;
    }
    let of = |row: usize, column: usize| if row < ny && column < nx { at[row * nx + column] } else { 0 };
    let mut path = String::new();
    for row in 0..=ny {
        for column in 0..=nx {
            let own = of(row, column);
            // Above and to the left; beyond the field there is nothing.
            let above = if row > 0 { of(row - 1, column) } else { 0 };
            let left = if column > 0 { of(row, column - 1) } else { 0 };
            if own != above && column < nx {
                _ = write!(path, "M{column} {row}h1");
            }
            if own != left && row < ny {
                _ = write!(path, "M{column} {row}v1");
            }
        }
    }
    let mut svg = format!("<path class=\"outline\" d=\"{path}\"/>");
    let size = 0.045 * nx.max(ny) as f64;
    for (_, [y, x], name) in names {
        let row = if grid.y.step > 0.0 { ny as f64 - 0.5 - y } else { y + 0.5 };
        let column = if grid.x.step < 0.0 { nx as f64 - 0.5 - x } else { x + 0.5 };
        _ = write!(
            svg,
            "<text class=\"number\" font-size=\"{size:.2}\" x=\"{column:.2}\" y=\"{:.2}\" text-anchor=\"middle\">{name}</text>",
            row + 0.35 * size
        );
    }
    svg
}

/// As RFC 4648 has it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * i) & 63) as usize]);
            text.push(if i <= three.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::test_plan;

    #[test]
    fn base64_is_that_of_the_standard() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn colours_of_numbers_rise_in_lightness() {
        let linear = |value: u8| (f64::from(value) / 255.0).powf(2.2);
        let grey = |[r, g, b]: [u8; 3]| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        assert!(SCALE.windows(2).all(|pair| grey(pair[1]) > grey(pair[0]) - 0.01));
        assert!(grey(SCALE[0]) < 0.05 && grey(SCALE[STEPS - 1]) > 0.6);
        assert_eq!((SCALE.len(), colour(5.0, [0.0, 1.0])), (STEPS, SCALE[STEPS - 1]));
    }

    #[test]
    fn up_is_up_whatever_the_sign_of_the_steps() {
        let mut grid = test_plan(3, 4, 2).grid;
        (grid.y.step, grid.x.step) = (0.1, 0.1);
        assert_eq!(place(&grid, 0), [2, 0]);
        (grid.y.step, grid.x.step) = (-0.1, -0.1);
        assert_eq!(place(&grid, 0), [0, 3]);
        let labels = Labels {
            shape: [3, 4],
            of_pixel: [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec(),
            count: 1,
            ..Labels::default()
        };
        let drawn = outlines(&grid, &labels, &[(1, [0.0, 1.0], "1".into())]);
        assert_eq!(
            drawn.matches("h1").count() + drawn.matches("v1").count(),
            8,
            "sides of three pixels in an L"
        );
    }
}
