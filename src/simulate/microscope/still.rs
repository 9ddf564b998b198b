//! What lies along the beam at every point of every pixel of a specimen that does not move, worked out once.

use crate::simulate::specimen::{Matter, Part};

/// The parts of all points, pixel by pixel.
#[derive(Clone, Debug)]
pub(super) struct Still {
    parts: Vec<Part>,
    /// Where the parts of each point begin, and where the last ones end.
    starts: Vec<u32>,
    points: usize,
}

impl Still {
    /// `None` where the specimen moves.
    pub(super) fn of(matter: &Matter, [ny, nx]: [usize; 2], drift_px: &[[f64; 2]]) -> Option<Self> {
        if drift_px.iter().flatten().any(|&px| px != 0.0) {
            return None;
        }
        let points = matter.points();
        let mut still = Self { parts: Vec::new(), starts: vec![0], points };
        for pixel in 0..ny * nx {
            for point in 0..points {
                let (y, x) = matter.point(point, (pixel / nx) as f64, (pixel % nx) as f64);
                matter.along_beam(y, x, &mut still.parts);
                still.starts.push(u32::try_from(still.parts.len()).ok()?);
            }
        }
        Some(still)
    }

    /// What lies along the beam at each point of a pixel.
    pub(super) fn points(&self, pixel: usize) -> impl Iterator<Item = &[Part]> {
        let starts = &self.starts[pixel * self.points..=(pixel + 1) * self.points];
        starts.windows(2).map(|ends| &self.parts[ends[0] as usize..ends[1] as usize])
    }
}
