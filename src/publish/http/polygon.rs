//! A region of a map, as somebody draws it: a closed line through corners, in pixels, column first.
//!
//! A pixel is in it where its centre is, by the even-odd rule; the centre of the pixel in row `r` and column `c` is at (`c` + 0.5, `r` + 0.5).

/// Most corners.
const MOST: usize = 256;

/// A region.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Polygon {
    corners: Vec<[f64; 2]>,
}

impl Polygon {
    /// From `column,row;column,row;…`; `None` for other text, numbers that are none, and fewer than 3 or too many corners.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let corner = |text: &str| -> Option<[f64; 2]> {
            let (column, row) = text.split_once(',')?;
            let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.abs() < 1e9);
            Some([number(column)?, number(row)?])
        };
        let corners: Vec<[f64; 2]> = text
            .split(';')
            .take(MOST + 1)
            .filter(|part| !part.is_empty())
            .map(corner)
            .collect::<Option<_>>()?;
        (3..=MOST).contains(&corners.len()).then_some(Self { corners })
    }

    /// The pixels in it of a grid of `ny` rows and `nx` columns, ascending.
    pub(super) fn pixels(&self, ny: usize, nx: usize) -> Vec<usize> {
        let mut pixels = Vec::new();
        for row in 0..ny {
            let mut crossings = self.crossings(row as f64 + 0.5);
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                // The first column whose centre is not left of where the line enters, and the first that is right of where it leaves.
                let column = |at: f64| (at - 0.5).ceil().clamp(0.0, nx as f64) as usize;
                pixels.extend((column(pair[0])..column(pair[1])).map(|column| row * nx + column));
            }
        }
        pixels
    }

    /// Where the line crosses a height.
    fn crossings(&self, y: f64) -> Vec<f64> {
        let n = self.corners.len();
        let sides = (0..n).map(|i| (self.corners[i], self.corners[(i + 1) % n]));
        // Of two sides that meet at this height one counts.
        sides
            .filter(|([_, y0], [_, y1])| (*y0 <= y) != (*y1 <= y))
            .map(|([x0, y0], [x1, y1])| x0 + (x1 - x0) * (y - y0) / (y1 - y0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pixel_is_in_where_its_centre_is() {
        let square = Polygon::parse("1,1;3,1;3,3;1,3").unwrap();
        assert_eq!(square.pixels(4, 5), [6, 7, 11, 12]);
        assert_eq!(square.pixels(2, 2), [3], "what lies outside is left out");
        let triangle = Polygon::parse("0,0;4,0;0,4;").unwrap();
        assert_eq!(triangle.pixels(4, 4), [0, 1, 2, 4, 5, 8]);
        assert!(Polygon::parse("-9,-9;-1,-9;-1,-1").unwrap().pixels(4, 4).is_empty());
    }

    #[test]
    fn other_text_is_none() {
        for text in
            ["", "1,1;2,2", "1;2;3", "a,b;c,d;e,f", "1,nan;2,2;3,3", "1,inf;2,2;3,3", "1,1;2,2;3,1e300"]
        {
            assert_eq!(Polygon::parse(text), None, "{text}");
        }
        assert_eq!(Polygon::parse(&"1,2;".repeat(257)), None);
        assert!(Polygon::parse(&"1,2;".repeat(256)).is_some());
    }

    proptest! {
        #[test]
        fn the_pixels_are_those_whose_centres_are_inside(
            corners in proptest::collection::vec((-3.0..12.0_f64, -3.0..12.0_f64), 3..9),
        ) {
            let text: Vec<String> = corners.iter().map(|(x, y)| format!("{x},{y}")).collect();
            let polygon = Polygon::parse(&text.join(";")).unwrap();
            let found = polygon.pixels(9, 8);
            prop_assert!(found.is_sorted_by(|a, b| a < b));
            let inside = |pixel: usize| {
                let (x, y) = ((pixel % 8) as f64 + 0.5, (pixel / 8) as f64 + 0.5);
                let n = corners.len();
                let mut odd = false;
                for i in 0..n {
                    let ((x0, y0), (x1, y1)) = (corners[i], corners[(i + 1) % n]);
                    if (y0 <= y) != (y1 <= y) && x < x0 + (x1 - x0) * (y - y0) / (y1 - y0) {
                        odd = !odd;
                    }
                }
                odd
            };
            for pixel in 0..72 {
                prop_assert_eq!(found.contains(&pixel), inside(pixel), "pixel {}", pixel);
            }
        }
    }
}
