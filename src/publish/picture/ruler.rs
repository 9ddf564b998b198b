//! The scale bar: a round length, up to a third of the map's width.

use embedded_graphics::mono_font::iso_8859_1::FONT_9X15;

use super::INK;
use super::canvas::Canvas;
use super::field::Field;
use crate::scan::Grid;

pub(super) fn draw(canvas: &mut Canvas, [x, y]: [usize; 2], field: &Field, grid: &Grid) {
    let scale = field.scale(grid);
    let Some(length) = round_length(field.width() as f64 / scale * 0.3) else { return };
    let width = ((length * scale).round() as usize).clamp(1, field.width());
    canvas.fill([x, y], [width, 5], INK);
    canvas.text([x, y + 9], &label(length, &grid.unit), &FONT_9X15, INK);
}

/// The largest of 1, 2, 5 × 10ⁿ that is at most `most`; none where that is no length.
fn round_length(most: f64) -> Option<f64> {
    if !most.is_finite() || most < f64::MIN_POSITIVE * 1e6 {
        return None;
    }
    let exponent = most.log10().floor() as i32;
    // One decade more on both sides, for where the logarithm was rounded across a power of ten.
    (exponent - 1..=exponent + 1)
        .flat_map(|n| [1.0, 2.0, 5.0].map(|digit| power(digit, n)))
        .filter(|&length| length <= most * (1.0 + 1e-9))
        .max_by(f64::total_cmp)
}

/// `digit` × 10ⁿ, exact where it can be: 0.2 rather than 2 × 0.1.
fn power(digit: f64, n: i32) -> f64 {
    if n < 0 { digit / 10_f64.powi(-n) } else { digit * 10_f64.powi(n) }
}

/// The length in words; micrometres below one become nanometres, from a thousand millimetres.
fn label(length: f64, unit: &str) -> String {
    let (length, unit) = match unit {
        "um" | "µm" | "micron" | "microns" if length < 0.999 => ((length * 1e3 * 1e6).round() / 1e6, "nm"),
        "um" | "µm" | "micron" | "microns" if length >= 999.0 => (length / 1e3, "mm"),
        "um" | "µm" | "micron" | "microns" => (length, "\u{b5}m"),
        other => (length, other),
    };
    if (1e-4..1e6).contains(&length) { format!("{length} {unit}") } else { format!("{length:e} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_round() {
        let lengths = [0.9999999999, 1.0, 1.99, 2.3, 7.0, 0.034, 999.0].map(|l| round_length(l).unwrap());
        assert_eq!(lengths, [1.0, 1.0, 1.0, 2.0, 5.0, 0.02, 500.0]);
        for not_one in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert_eq!(round_length(not_one), None);
        }
    }

    #[test]
    fn units_are_those_of_people() {
        assert_eq!(label(0.2, "um"), "200 nm");
        assert_eq!(label(2.0, "um"), "2 \u{b5}m");
        assert_eq!(label(1000.0, "um"), "1 mm");
        assert_eq!(label(0.5, "mm"), "0.5 mm");
    }
}
