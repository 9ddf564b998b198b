//! The tables of accuracy: one cell per counts, number of energies, energy offset, and references known or mismatched.

use serde::Serialize;

use super::EvaluationError;
use super::draw::{Conditions, Drawer, Filling, ScanDraw, Truth};
use super::metrics::{Reliability, RiskCoverage, median, ratio, worst_tenth};
use super::subject::{METHODS, PIPELINE, Readings, Subject};
use crate::classify::{NO_PHASE, Status};

/// Accuracy at which coverage is told.
pub const RIGHT: f64 = 0.97;
/// Points of a curve in the report.
const CURVE: usize = 40;

/// One cell of the tables.
#[derive(Clone, Debug, Serialize)]
pub struct CellRow {
    /// How the scans were drawn.
    pub conditions: Conditions,
    /// Scans.
    pub draws: usize,
    /// Pixels with anything in them, over all scans.
    pub pixels: usize,
    /// What each method gets right, by [`METHODS`]; those that could not be asked are left out.
    pub methods: Vec<MethodScore>,
    /// What else is known of the pipeline.
    pub pipeline: PipelineScore,
    /// Mean distance of the reference estimator's offset from the true one, eV.
    pub offset_error_ev: f64,
    /// What `confidence` was calibrated with, as the maps say.
    pub calibrated_on: String,
}

/// Share of pixels whose phase a method names rightly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MethodScore {
    /// Which of [`METHODS`].
    pub method: &'static str,
    /// Median over the scans.
    pub median: f64,
    /// Worst tenth of the scans.
    pub worst_tenth: f64,
    /// Of all pixels farther than 1.5 pixels from another phase.
    pub inside: f64,
    /// Of all others.
    pub boundary: f64,
}

/// What the pipeline does with its pixels.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineScore {
    /// Share of pixels called `classified`: median over the scans.
    pub coverage: f64,
    /// Worst tenth of the scans.
    pub coverage_worst_tenth: f64,
    /// Share of the classified that are right, over all scans.
    pub right_of_classified: f64,
    /// Share of pixels called a mixture, though all are pure.
    pub called_mixture: f64,
    /// Share of pixels called unknown, though none is.
    pub called_unknown: f64,
    /// Largest share of pixels, most confident first, of which 97 % are right.
    pub coverage_at_97: f64,
    /// Coverage and accuracy, most confident first.
    pub risk_coverage: Vec<[f64; 2]>,
    /// Expected calibration error of `confidence`.
    pub ece: f64,
    /// Share of pixels that the spatial prior changed and that are right …
    pub smoothed_right: f64,
    /// … and that are wrong.
    pub smoothed_wrong: f64,
}

/// What a cell adds up over its scans.
#[derive(Default)]
struct Sums {
    accuracy: [Vec<f64>; METHODS.len()],
    /// Right and all, inside and at boundaries.
    zones: [[(usize, usize); 2]; METHODS.len()],
    coverage: Vec<f64>,
    classified: (usize, usize),
    mixture: usize,
    unknown: usize,
    smoothed: [usize; 2],
    pixels: usize,
    confidences: Vec<(f32, bool)>,
    reliability: Reliability,
    offset_errors_ev: Vec<f64>,
    calibrated_on: String,
}

impl Sums {
    fn add(&mut self, scan: &ScanDraw, readings: &Readings) {
        let right = |index: usize, named: &[u8]| matches!(scan.truth[readings.pixels[index]], Truth::Phase(phase) if phase == named[index]);
        let total = readings.pixels.len();
        for (method, named) in readings.named.iter().enumerate() {
            let Some(named) = named else { continue };
            let mut won = 0;
            for index in 0..total {
                let is_right = right(index, named);
                let zone = &mut self.zones[method][usize::from(scan.boundary[readings.pixels[index]])];
                zone.0 += usize::from(is_right);
                zone.1 += 1;
                won += usize::from(is_right);
            }
            self.accuracy[method].push(ratio(won, total));
        }
        let map = &readings.map;
        let Some(named) = &readings.named[PIPELINE] else { return };
        let mut classified = 0;
        for (index, &pixel) in readings.pixels.iter().enumerate() {
            let is_right = right(index, named);
            match map.status[pixel] {
                Status::Classified => {
                    classified += 1;
                    self.classified.0 += usize::from(is_right);
                }
                Status::Mixture => self.mixture += 1,
                Status::Unknown => self.unknown += 1,
                _ => {}
            }
            if map.smoothed[pixel] {
                self.smoothed[usize::from(!is_right)] += 1;
            }
            let confidence = if named[index] == NO_PHASE { f32::NAN } else { map.confidence[pixel] };
            self.confidences.push((confidence, is_right));
            self.reliability.push(f64::from(confidence), is_right);
        }
        self.classified.1 += classified;
        self.coverage.push(ratio(classified, total));
        self.pixels += total;
        self.calibrated_on.clone_from(&map.origin.calibrated_on);
        self.offset_errors_ev.push((readings.offset_ev - scan.offset_ev).abs());
    }

    fn row(self, conditions: Conditions, draws: usize) -> CellRow {
        let score = |method: usize| {
            let values = &self.accuracy[method];
            let [inside, boundary] = self.zones[method].map(|(right, all)| ratio(right, all));
            (!values.is_empty()).then(|| MethodScore {
                method: METHODS[method],
                median: median(values),
                worst_tenth: worst_tenth(values),
                inside,
                boundary,
            })
        };
        let curve = RiskCoverage::new(self.confidences);
        CellRow {
            conditions,
            draws,
            pixels: self.pixels,
            methods: (0..METHODS.len()).filter_map(score).collect(),
            pipeline: PipelineScore {
                coverage: median(&self.coverage),
                coverage_worst_tenth: worst_tenth(&self.coverage),
                right_of_classified: ratio(self.classified.0, self.classified.1),
                called_mixture: ratio(self.mixture, self.pixels),
                called_unknown: ratio(self.unknown, self.pixels),
                coverage_at_97: curve.coverage_at(RIGHT),
                risk_coverage: curve.thinned(CURVE),
                ece: self.reliability.ece(),
                smoothed_right: ratio(self.smoothed[0], self.pixels),
                smoothed_wrong: ratio(self.smoothed[1], self.pixels),
            },
            calibrated_on: self.calibrated_on,
            offset_error_ev: self.offset_errors_ev.iter().sum::<f64>() / draws.max(1) as f64,
        }
    }
}

/// Measures one cell, and adds what it says of `confidence` to `reliability`.
pub(super) fn measure(
    subject: &mut Subject,
    drawer: &Drawer<'_>,
    conditions: Conditions,
    seeds: &[u64],
    reliability: &mut Reliability,
    tick: &mut dyn FnMut(),
) -> Result<CellRow, EvaluationError> {
    let mut sums = Sums::default();
    for &seed in seeds {
        let scan = drawer.draw(&conditions, seed)?;
        sums.add(&scan, &subject.read(&scan, true)?);
        tick();
    }
    reliability.add(&sums.reliability);
    Ok(sums.row(conditions, seeds.len()))
}

/// The conditions of all cells, in the order of the tables.
#[must_use]
pub fn grid(counts: &[f64], energies: &[usize], offsets_ev: &[f64]) -> Vec<Conditions> {
    let mut cells = Vec::new();
    for mismatched in [false, true] {
        for &offset_ev in offsets_ev {
            for &energies in energies {
                for &counts in counts {
                    cells.push(Conditions {
                        counts,
                        energies,
                        offset_ev,
                        mismatched,
                        filling: Filling::Pure,
                    });
                }
            }
        }
    }
    cells
}
