//! Outlines of particles: closed polygons along the sides of their pixels, for who draws them.
//!
//! A corner is `[column, row]`, counted from the outer corner of the first pixel, so that pixel (row, column) lies between `[column, row]` and
//! `[column + 1, row + 1]`. Each polygon goes round with the particle to its right (rows downward) and names only corners where it turns; holes are polygons of
//! their own, the other way round. A point is in the particle where it is in an odd number of them. Pixels that meet in a corner alone are not joined.

use serde_json::{Value, json};

use crate::particles::Particles;

/// A closed polygon: corners, column and row.
pub type Polygon = Vec<[u32; 2]>;

/// Steps along the four ways that an edge may go, each a turn to the right of the one before: column, row.
const WAYS: [[isize; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];

/// The outline of pixels of a grid that is `nx` wide (ascending, row-major); the outer polygon that has the first pixel comes first. None of no pixels.
#[must_use]
pub fn outline(pixels: &[u32], nx: usize) -> Vec<Polygon> {
    let (Some(&first), Some(&last)) = (pixels.first(), pixels.last()) else { return Vec::new() };
    if nx == 0 {
        return Vec::new();
    }
    let place = |pixel: u32| (pixel as usize / nx, pixel as usize % nx);
    let (top, bottom) = (place(first).0, place(last).0);
    let columns = || pixels.iter().map(|&pixel| place(pixel).1);
    let (left, right) = (columns().min().unwrap_or(0), columns().max().unwrap_or(0));
    // One empty pixel all around, so that every pixel has neighbours.
    let wide = right - left + 3;
    let mut within = vec![false; wide * (bottom - top + 3)];
    for &pixel in pixels {
        let (row, column) = place(pixel);
        within[(row - top + 1) * wide + column - left + 1] = true;
    }
    // Edges that begin at the upper left corner of each pixel, a bit for each way.
    let mut edges = vec![0_u8; within.len()];
    for at in (0..within.len()).filter(|&at| within[at]) {
        for (other, corner, way) in
            [(at - wide, at, 0), (at + 1, at + 1, 1), (at + wide, at + wide + 1, 2), (at - 1, at + wide, 3)]
        {
            if !within[other] {
                edges[corner] |= 1 << way;
            }
        }
    }
    let mut polygons = Vec::new();
    for start in 0..edges.len() {
        while edges[start] != 0 {
            let corner = |at: usize| [(at % wide + left - 1) as u32, (at / wide + top - 1) as u32];
            let (mut at, mut way) = (start, edges[start].trailing_zeros() as usize);
            let mut polygon = vec![corner(at)];
            loop {
                edges[at] &= !(1 << way);
                at = at.wrapping_add_signed(WAYS[way][0] + WAYS[way][1] * wide as isize);
                if at == start {
                    break;
                }
                // Around the same pixel first: what meets in a corner stays apart.
                let next = [1, 0, 3]
                    .map(|turn| (way + turn) % 4)
                    .into_iter()
                    .find(|next| edges[at] & (1 << next) != 0);
                let Some(next) = next else { break };
                if next != way {
                    polygon.push(corner(at));
                }
                way = next;
            }
            polygons.push(polygon);
        }
    }
    polygons
}

/// `findings.json` with `shape`, and with the `outline` of each particle of `found` that goes by the same number.
#[must_use]
pub fn outlined(mut findings: Value, found: &Particles) -> Value {
    let [ny, nx] = found.labels.shape;
    if let Some(all) = findings.as_object_mut() {
        all.insert("shape".to_owned(), json!([ny, nx]));
    }
    for own in findings["particles"].as_array_mut().into_iter().flatten() {
        let id = own["id"].as_u64();
        if let Some(particle) = found.particles.iter().find(|particle| Some(u64::from(particle.id)) == id) {
            own["outline"] = json!(outline(&particle.pixels, nx));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a point is in an odd number of polygons.
    fn is_inside(polygons: &[Polygon], [x, y]: [f64; 2]) -> bool {
        let crossed = |[from, to]: [[u32; 2]; 2]| {
            let [low, high] = [from[1].min(to[1]), from[1].max(to[1])].map(f64::from);
            from[0] == to[0] && low < y && y < high && f64::from(from[0]) > x
        };
        let sides = |polygon: &Polygon| {
            (0..polygon.len()).filter(|&i| crossed([polygon[i], polygon[(i + 1) % polygon.len()]])).count()
        };
        polygons.iter().map(sides).sum::<usize>() % 2 == 1
    }

    #[test]
    fn a_square_has_four_corners_and_a_ring_a_hole() {
        assert_eq!(outline(&[], 5), Vec::<Polygon>::new());
        assert_eq!(outline(&[6, 7, 11, 12], 5), [[[1, 1], [3, 1], [3, 3], [1, 3]]]);
        let ring: Vec<u32> = [0, 1, 2, 4, 6, 8, 9, 10].to_vec();
        let found = outline(&ring, 4);
        assert_eq!(found, [[[0, 0], [3, 0], [3, 3], [0, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]]);
    }

    #[test]
    fn pixels_that_meet_in_a_corner_are_apart() {
        assert_eq!(outline(&[0, 4], 3), [[[0, 0], [1, 0], [1, 1], [0, 1]], [[1, 1], [2, 1], [2, 2], [1, 2]]]);
    }

    proptest! {
        #[test]
        fn what_is_inside_are_the_pixels(marks in proptest::collection::vec(any::<bool>(), 7 * 9)) {
            let pixels: Vec<u32> = (0..marks.len()).filter(|&i| marks[i]).map(|i| i as u32).collect();
            let found = outline(&pixels, 9);
            for (pixel, &mark) in marks.iter().enumerate() {
                let middle = [(pixel % 9) as f64 + 0.5, (pixel / 9) as f64 + 0.5];
                prop_assert_eq!(is_inside(&found, middle), mark, "{} of {:?}", pixel, found);
            }
            for polygon in &found {
                let n = polygon.len();
                prop_assert!(n >= 4 && n % 2 == 0, "{:?}", polygon);
                for i in 0..n {
                    let ([x, y], [u, v]) = (polygon[i], polygon[(i + 1) % n]);
                    prop_assert!((x == u) != (y == v), "a side is not along pixels: {:?}", polygon);
                }
            }
        }
    }
}
