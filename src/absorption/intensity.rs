//! The incident intensity of every plane, and where it comes from.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::region::{EmptyRegion, find_empty_region};
use crate::scan::{I0Kind, PixelSet, ScanPlan, Signal, ValueUnit};
use crate::stack::{Plane, PlaneI0, Stack};

/// Where I0 is to be taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum I0Mode {
    /// The stream where it carries an open-beam I0, else the configured spectrum, else the configured region,
    /// else an empty region found in the field.
    #[default]
    Auto,
    /// What came with the samples.
    Stream,
    /// A region of the field.
    Region,
    /// A separate spectrum.
    Spectrum,
}

/// Where I0 was taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum I0Source {
    /// There is none: no optical density can be told.
    #[default]
    None,
    /// What came with the samples.
    Stream,
    /// A region of the field.
    Region,
    /// A separate spectrum.
    Spectrum,
    /// Not needed: the values are optical densities.
    NotNeeded,
}

/// Unit of a separate I0 spectrum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpectrumUnit {
    /// Counts per millisecond.
    #[default]
    CountsPerMs,
    /// Counts within the scan's own dwell.
    Counts,
}

/// A separate I0 spectrum, dark included as in the values.
#[derive(Clone, Debug, PartialEq)]
pub struct I0Spectrum {
    /// Energy, eV, ascending, and intensity.
    pub points: Vec<(f64, f64)>,
    /// Unit of the intensity.
    pub unit: SpectrumUnit,
}

impl I0Spectrum {
    /// Intensity at `energy_ev`, interpolated; `None` outside the spectrum.
    #[must_use]
    pub fn at(&self, energy_ev: f64) -> Option<f64> {
        let upper = self.points.partition_point(|&(e, _)| e < energy_ev);
        let &(e1, i1) = self.points.get(upper)?;
        if e1 == energy_ev {
            return Some(i1);
        }
        let &(e0, i0) = self.points.get(upper.checked_sub(1)?)?;
        Some(i0 + (i1 - i0) * (energy_ev - e0) / (e1 - e0))
    }
}

/// A configured region: pixels `x[0]..x[1]` by `y[0]..y[1]`, the ends excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionBox {
    /// First column and the one after the last.
    pub x: [usize; 2],
    /// First row and the one after the last.
    pub y: [usize; 2],
}

impl RegionBox {
    fn pixels(&self, plan: &ScanPlan) -> PixelSet {
        let [ny, nx] = plan.grid.shape;
        let mut set = PixelSet::new(ny * nx);
        for y in self.y[0]..self.y[1].min(ny) {
            (self.x[0]..self.x[1].min(nx)).for_each(|x| _ = set.insert(y * nx + x));
        }
        set
    }
}

/// What the absorption stage is told.
#[derive(Clone, Debug, Default)]
pub struct AbsorptionSettings {
    /// Where I0 is to come from.
    pub mode: I0Mode,
    /// A separate spectrum.
    pub spectrum: Option<I0Spectrum>,
    /// A configured region.
    pub region: Option<RegionBox>,
    /// Optical density above which a value is masked.
    pub max_od: f64,
    /// Whether read-back energies are used instead of set-points.
    pub read_back: bool,
}

/// The incident intensity of one plane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PlaneIntensity {
    /// Not known (yet).
    #[default]
    Unknown,
    /// What came with each value.
    Stream,
    /// One for the plane, dark included, in the unit of the values: the mean of `pixels` measurements.
    One {
        /// The intensity.
        i0: f64,
        /// How many measurements it is the mean of; infinite where it is exact.
        pixels: f64,
    },
}

/// The incident intensity of a stack.
#[derive(Clone, Debug, Default)]
pub struct Intensity {
    source: I0Source,
    region: Option<EmptyRegion>,
    /// What each plane says by itself.
    own: Vec<PlaneIntensity>,
    planes: Vec<PlaneIntensity>,
}

impl Intensity {
    /// Estimates the intensity of every plane from the whole stack: a pure function of its content.
    #[must_use]
    pub fn estimate(stack: &Stack, settings: &AbsorptionSettings) -> Self {
        let source = choose(stack, settings);
        let region = if source == I0Source::Region { region_of(stack, settings) } else { None };
        let mut intensity = Self { source, region, own: Vec::new(), planes: Vec::new() };
        if intensity.source == I0Source::Region && intensity.region.is_none() {
            intensity.source = I0Source::None;
        }
        intensity.refresh(stack, settings, &[]);
        intensity
    }

    /// Takes the intensity of the planes `changed` anew, with source and region as they are; of all planes where
    /// they are other ones than before. A plane none of whose region pixels is measured yet borrows from the nearest
    /// energy that has one.
    pub fn refresh(&mut self, stack: &Stack, settings: &AbsorptionSettings, changed: &[usize]) {
        let plan = stack.plan();
        let energies = plan.energies_ev.len();
        let of = |energy: usize| self.plane_intensity(stack.plane(energy), plan, energy, settings);
        if self.own.len() == energies {
            let renewed: Vec<_> = changed.iter().map(|&energy| of(energy)).collect();
            changed.iter().zip(renewed).for_each(|(&energy, plane)| self.own[energy] = plane);
        } else {
            self.own = (0..energies).into_par_iter().map(of).collect();
        }
        self.planes.clone_from(&self.own);
        if self.source != I0Source::Region {
            return;
        }
        let known: Vec<usize> =
            (0..self.planes.len()).filter(|&e| self.planes[e] != PlaneIntensity::Unknown).collect();
        for energy in 0..self.planes.len() {
            if self.planes[energy] == PlaneIntensity::Unknown && stack.plane(energy).measured() > 0 {
                let distance = |other: usize| (plan.energies_ev[other] - plan.energies_ev[energy]).abs();
                let nearest = known.iter().copied().min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
                self.planes[energy] = nearest.map_or(PlaneIntensity::Unknown, |e| self.planes[e]);
            }
        }
    }

    fn plane_intensity(
        &self,
        plane: &Plane,
        plan: &ScanPlan,
        energy: usize,
        settings: &AbsorptionSettings,
    ) -> PlaneIntensity {
        match self.source {
            I0Source::None | I0Source::NotNeeded => PlaneIntensity::Unknown,
            I0Source::Stream => match plane.i0() {
                PlaneI0::None => PlaneIntensity::Unknown,
                PlaneI0::One(_) | PlaneI0::Each(_) => PlaneIntensity::Stream,
            },
            I0Source::Spectrum => {
                let at =
                    |spectrum: &I0Spectrum| Some((spectrum.at(plan.energies_ev[energy])?, spectrum.unit));
                let Some((i0, unit)) = settings.spectrum.as_ref().and_then(at) else {
                    return PlaneIntensity::Unknown;
                };
                let exposure = match (unit, plan.value_unit) {
                    (SpectrumUnit::Counts, _) => 1.0,
                    (SpectrumUnit::CountsPerMs, ValueUnit::Counts) => plan.dwell_ms[energy],
                    (SpectrumUnit::CountsPerMs, ValueUnit::CountsPerS) => 1000.0,
                };
                PlaneIntensity::One { i0: i0 * exposure, pixels: f64::INFINITY }
            }
            I0Source::Region => {
                let Some(region) = &self.region else { return PlaneIntensity::Unknown };
                let values = region.pixels.iter().map(|p| f64::from(plane.value(p))).filter(|v| !v.is_nan());
                let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), v| (sum + v, count + 1));
                if count == 0 || sum / count as f64 <= plan.dark() {
                    return PlaneIntensity::Unknown;
                }
                PlaneIntensity::One { i0: sum / count as f64, pixels: count as f64 }
            }
        }
    }

    /// Where the intensity comes from.
    #[must_use]
    pub fn source(&self) -> I0Source {
        self.source
    }

    /// The region, where the intensity comes from one.
    #[must_use]
    pub fn region(&self) -> Option<&EmptyRegion> {
        self.region.as_ref()
    }

    /// The intensity of plane `energy`; unknown where the plan has grown since.
    #[must_use]
    pub fn plane(&self, energy: usize) -> PlaneIntensity {
        self.planes.get(energy).copied().unwrap_or_default()
    }

    /// What was done, in words, for people and for the metadata.
    #[must_use]
    pub fn describe(&self) -> String {
        match (self.source, &self.region) {
            (I0Source::None, _) => "none: no optical density could be told".to_owned(),
            (I0Source::Stream, _) => "stream".to_owned(),
            (I0Source::Spectrum, _) => "spectrum".to_owned(),
            (I0Source::NotNeeded, _) => "not needed: the values are optical densities".to_owned(),
            (I0Source::Region, Some(region)) => format!("region of {} pixels", region.pixels.len()),
            (I0Source::Region, None) => "region".to_owned(),
        }
    }
}

fn choose(stack: &Stack, settings: &AbsorptionSettings) -> I0Source {
    let plan = stack.plan();
    if plan.detector.signal == Signal::OpticalDensity {
        return I0Source::NotNeeded;
    }
    let streamed = || {
        let mut measured = stack.planes().iter().filter(|plane| plane.measured() > 0).peekable();
        measured.peek().is_some() && measured.all(|plane| plane.i0() != PlaneI0::None)
    };
    match settings.mode {
        I0Mode::Stream => I0Source::Stream,
        I0Mode::Region => I0Source::Region,
        I0Mode::Spectrum => I0Source::Spectrum,
        I0Mode::Auto if plan.i0_kind == I0Kind::OpenBeam && streamed() => I0Source::Stream,
        I0Mode::Auto if settings.spectrum.is_some() => I0Source::Spectrum,
        // The brightest part of a yield image is sample, not empty field.
        I0Mode::Auto if plan.detector.signal != Signal::Transmission => I0Source::None,
        I0Mode::Auto => I0Source::Region,
    }
}

fn region_of(stack: &Stack, settings: &AbsorptionSettings) -> Option<EmptyRegion> {
    match &settings.region {
        Some(region) => {
            let pixels = region.pixels(stack.plan());
            (!pixels.is_empty()).then_some(EmptyRegion { pixels, separability: 1.0 })
        }
        None => find_empty_region(stack),
    }
}
