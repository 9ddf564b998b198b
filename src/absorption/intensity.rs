//! The incident intensity of every plane, and where it comes from.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::beam::{Beam, Light, monitor, region_light};
use super::noise::is_dark_noise;
use super::region::{EmptyRegion, find_empty_region};
use super::{Conversion, I0Spectrum, Treatment, report};
use crate::scan::{I0Kind, PixelSet, ScanPlan, Signal, ValueUnit};
use crate::screening::{DetectorSettings, Response, Screen};
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
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// What is known of the detector.
    pub detector: DetectorSettings,
}

/// The incident intensity of one plane.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PlaneIntensity {
    /// Not known (yet).
    #[default]
    Unknown,
    /// What came with each value.
    Stream,
    /// One for the plane, dark included and dead time taken out, in the unit of the values: the mean of `pixels`
    /// measurements.
    One {
        /// The intensity.
        i0: f64,
        /// How many measurements it is the mean of; infinite where it is exact.
        pixels: f64,
        /// What the beam did within the image.
        beam: Beam,
    },
}

/// The incident intensity of a stack, and which of its values are not usable.
#[derive(Clone, Debug, Default)]
pub struct Intensity {
    source: I0Source,
    region: Option<EmptyRegion>,
    detector: DetectorSettings,
    /// The stack as it was screened; planes without flaws take no room.
    screen: Screen,
    /// What each plane says by itself.
    own: Vec<PlaneIntensity>,
    planes: Vec<PlaneIntensity>,
    /// Whether the dark level is a constant without noise.
    quiet_dark: bool,
}

impl Intensity {
    /// Estimates the intensity of every plane from the whole stack: a pure function of its content.
    #[must_use]
    pub fn estimate(stack: &Stack, screen: &Screen, settings: &AbsorptionSettings) -> Self {
        Self::with_region(stack, screen, settings, None)
    }

    /// As [`Intensity::estimate`], but with the empty region of `before` where that still holds (see
    /// [`EmptyRegion::holds`]), so that a growing stack does not change from one good region to another.
    #[must_use]
    pub fn follow(stack: &Stack, screen: &Screen, settings: &AbsorptionSettings, before: &Self) -> Self {
        Self::with_region(stack, screen, settings, before.region.as_ref())
    }

    fn with_region(
        stack: &Stack,
        screen: &Screen,
        settings: &AbsorptionSettings,
        before: Option<&EmptyRegion>,
    ) -> Self {
        let source = choose(stack, settings);
        let region =
            if source == I0Source::Region { region_of(stack, screen, settings, before) } else { None };
        let mut intensity = Self {
            source,
            region,
            detector: settings.detector,
            screen: Screen::default(),
            own: Vec::new(),
            planes: Vec::new(),
            quiet_dark: false,
        };
        if intensity.source == I0Source::Region && intensity.region.is_none() {
            intensity.source = I0Source::None;
        }
        intensity.refresh(stack, screen, settings, &[]);
        intensity.quiet_dark = !is_dark_noise(stack, &intensity, settings.max_od);
        intensity
    }

    /// Takes the intensity of the planes `changed` anew, with source and region as they are; of all planes where
    /// they are other ones than before. A plane none of whose region pixels is measured yet borrows from the nearest
    /// energy that has one.
    pub fn refresh(
        &mut self,
        stack: &Stack,
        screen: &Screen,
        settings: &AbsorptionSettings,
        changed: &[usize],
    ) {
        let plan = stack.plan();
        let energies = plan.energies_ev.len();
        self.screen = screen.clone();
        let of = |energy: usize| self.plane_intensity(stack, energy, settings);
        if self.own.len() == energies {
            let renewed: Vec<_> = changed.iter().map(|&energy| of(energy)).collect();
            changed.iter().zip(renewed).for_each(|(&energy, plane)| self.own[energy] = plane);
        } else {
            self.own = (0..energies).into_par_iter().map(of).collect();
        }
        self.planes.clone_from(&self.own);
        if self.source == I0Source::Region {
            self.borrow(stack);
        }
    }

    /// Gives each plane that has no intensity of its own that of the nearest energy, per unit of exposure.
    fn borrow(&mut self, stack: &Stack) {
        let plan = stack.plan();
        let known: Vec<(usize, f64, f64)> = (0..self.own.len())
            .filter_map(|energy| match &self.own[energy] {
                PlaneIntensity::One { i0, pixels, .. } => Some((energy, *i0, *pixels)),
                _ => None,
            })
            .collect();
        for energy in 0..self.planes.len() {
            if self.planes[energy] == PlaneIntensity::Unknown && stack.plane(energy).measured() > 0 {
                let distance = |other: usize| (plan.energies_ev[other] - plan.energies_ev[energy]).abs();
                let nearest = known.iter().min_by(|a, b| distance(a.0).total_cmp(&distance(b.0)));
                if let Some(&(other, i0, pixels)) = nearest {
                    let exposure = match plan.value_unit {
                        ValueUnit::Counts => plan.dwell_ms[energy] / plan.dwell_ms[other],
                        ValueUnit::CountsPerS => 1.0,
                    };
                    let i0 = plan.dark() + (i0 - plan.dark()) * exposure;
                    self.planes[energy] = PlaneIntensity::One { i0, pixels, beam: Beam::Steady };
                }
            }
        }
    }

    fn plane_intensity(&self, stack: &Stack, energy: usize, settings: &AbsorptionSettings) -> PlaneIntensity {
        let (plan, plane) = (stack.plan(), stack.plane(energy));
        let response = Response::of(plan, energy, &settings.detector);
        let flaws = self.screen.flaws(energy).map(|flaws| &**flaws);
        let light = Light { plane, response: &response, flaws, columns: plan.grid.nx() };
        let is_monitored = plan.i0_kind == I0Kind::Monitor && matches!(plane.i0(), PlaneI0::Each(_));
        match self.source {
            I0Source::None | I0Source::NotNeeded => PlaneIntensity::Unknown,
            I0Source::Stream => match plane.i0() {
                PlaneI0::None => PlaneIntensity::Unknown,
                // A yield over an I0 of 1 was divided before it came: a unit, which nobody counted, has no noise.
                PlaneI0::One(i0) if i0 == 1.0 && plan.detector.signal != Signal::Transmission => {
                    PlaneIntensity::One { i0: 1.0, pixels: f64::INFINITY, beam: Beam::Steady }
                }
                PlaneI0::One(_) | PlaneI0::Each(_) => PlaneIntensity::Stream,
            },
            I0Source::Spectrum => {
                let at = |spectrum: &I0Spectrum| {
                    let seen = response.linear_i0(spectrum.value_at(plan, energy)?)?;
                    Some((seen - response.dark) * ring_factor(spectrum, plane).unwrap_or(1.0))
                };
                let Some(light_of_beam) = settings.spectrum.as_ref().and_then(at) else {
                    return PlaneIntensity::Unknown;
                };
                let beam = if is_monitored { monitor(&light, 0..plane.values().len()) } else { Beam::Steady };
                PlaneIntensity::One { i0: light_of_beam + response.dark, pixels: f64::INFINITY, beam }
            }
            I0Source::Region => {
                let Some(region) = &self.region else { return PlaneIntensity::Unknown };
                let Some(found) = region_light(&light, region, !is_monitored) else {
                    return PlaneIntensity::Unknown;
                };
                let beam = if is_monitored { monitor(&light, region.pixels.iter()) } else { found.beam };
                PlaneIntensity::One { i0: found.mean + response.dark, pixels: found.pixels, beam }
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
    pub fn plane(&self, energy: usize) -> &PlaneIntensity {
        self.planes.get(energy).unwrap_or(&PlaneIntensity::Unknown)
    }

    /// Number of energies.
    #[must_use]
    pub fn energies(&self) -> usize {
        self.planes.len()
    }

    /// Whether plane `energy` has an intensity of its own, not borrowed from another energy.
    #[must_use]
    pub fn is_own(&self, energy: usize) -> bool {
        self.own.get(energy).is_some_and(|own| *own != PlaneIntensity::Unknown)
    }

    /// What screening said of the stack.
    #[must_use]
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Whether the dark level is as noisy as counts are; if not, it is a constant.
    #[must_use]
    pub fn dark_is_noise(&self) -> bool {
        !self.quiet_dark
    }

    /// How the values of plane `energy` are treated.
    #[must_use]
    pub fn treatment(&self, energy: usize) -> Treatment {
        Treatment {
            intensity: self.plane(energy).clone(),
            flaws: self.screen.flaws(energy).cloned(),
            quiet_dark: self.quiet_dark,
        }
    }

    /// The conversion of plane `energy`. Optical densities above `max_od` are masked.
    #[must_use]
    pub fn conversion(&self, plan: &ScanPlan, energy: usize, max_od: f64) -> Conversion {
        Conversion::new(plan, energy, self.treatment(energy), &self.detector, max_od)
    }

    /// What was done, in words, for people and for the metadata: names and what is to be said of each.
    #[must_use]
    pub fn normalisation(&self, stack: &Stack, settings: &AbsorptionSettings) -> Vec<(&'static str, String)> {
        report::normalisation(self, stack, settings)
    }

    /// What is wrong with it, and what is done then; `None` while all is well.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        (self.source == I0Source::None).then_some(
            "the field has no empty region that could be found, and no other I0 was given: no optical density can be \
             told, and every pixel stays without a verdict; give i0.mode = \"spectrum\" with a file, or \"region\" \
             with an empty part of the field",
        )
    }

    /// Where I0 comes from, in words.
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

/// Ring current of a plane over that of a spectrum, where both are known.
pub(super) fn ring_factor(spectrum: &I0Spectrum, plane: &Plane) -> Option<f64> {
    let (now, then) = (plane.ring_current_ma()?, spectrum.ring_current_ma?);
    (now > 0.0 && then > 0.0).then_some(now / then)
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
        I0Mode::Stream if plan.i0_kind == I0Kind::OpenBeam => I0Source::Stream,
        I0Mode::Region => I0Source::Region,
        I0Mode::Spectrum => I0Source::Spectrum,
        I0Mode::Auto if plan.i0_kind == I0Kind::OpenBeam && streamed() => I0Source::Stream,
        // A monitor is no I0, whoever asks for it: the next best is taken.
        I0Mode::Auto | I0Mode::Stream if settings.spectrum.is_some() => I0Source::Spectrum,
        // The brightest part of a yield image is sample, not empty field.
        I0Mode::Auto | I0Mode::Stream if plan.detector.signal != Signal::Transmission => I0Source::None,
        I0Mode::Auto | I0Mode::Stream => I0Source::Region,
    }
}

fn region_of(
    stack: &Stack,
    screen: &Screen,
    settings: &AbsorptionSettings,
    before: Option<&EmptyRegion>,
) -> Option<EmptyRegion> {
    match &settings.region {
        Some(region) => {
            let pixels = region.pixels(stack.plan());
            (!pixels.is_empty()).then_some(EmptyRegion { pixels, separability: 1.0 })
        }
        None => find_empty_region(stack, screen, before),
    }
}
