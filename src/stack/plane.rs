//! One energy of a stack.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::StackCounters;
use super::layer::Layer;
use super::stamps::Stamps;
use crate::scan::{Channel, I0, PixelSet, Pixels, SampleBatch};

/// The incident intensity of a plane, as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlaneI0<'a> {
    /// None came for any pixel.
    None,
    /// The same for every measured pixel.
    One(f32),
    /// One per pixel, NaN where none came.
    Each(&'a [f32]),
}

/// What a pixel held before it was replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Displaced {
    /// The pixel.
    pub pixel: u32,
    /// Its earlier value.
    pub value: f32,
    /// The incident intensity of that value; NaN where none came.
    pub i0: f32,
}

/// One energy of a stack: values, which message each is from, and what came along.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    values: Vec<f32>,
    /// `seq` of the message each value is from.
    stamps: Stamps,
    i0: I0Store,
    measured: usize,
    fresh: PixelSet,
    handed_out: PixelSet,
    displaced: Vec<Displaced>,
    ring_current: ExactMean,
    read_back: ExactMean,
    first_time: Option<DateTime<Utc>>,
    /// Variance of a value over that of one that was counted, where values were interpolated.
    interpolated: Option<f32>,
    /// What else was measured; none that never came.
    layers: BTreeMap<Channel, Layer>,
}

/// Until a second value comes a plane has one I0, not one a pixel.
#[derive(Clone, Debug, Default)]
enum I0Store {
    #[default]
    Empty,
    One(f32),
    Each(Vec<f32>),
}

/// A mean that does not depend on the order of what was added: sums in steps of 1e-9.
#[derive(Clone, Copy, Debug, Default)]
struct ExactMean {
    sum_nano: i128,
    count: u64,
}

impl ExactMean {
    fn add(&mut self, value: f64) {
        self.sum_nano += (value * 1e9).round() as i128;
        self.count += 1;
    }

    fn get(self) -> Option<f64> {
        // Rounded to the same steps, so that the mean of a recorded mean is that mean.
        (self.count > 0).then(|| (self.sum_nano as f64 / self.count as f64).round() / 1e9)
    }
}

impl Plane {
    /// The values, row-major, NaN where not measured; empty while nothing was measured.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The value of `pixel`, NaN where not measured.
    #[must_use]
    #[inline]
    pub fn value(&self, pixel: usize) -> f32 {
        self.values.get(pixel).copied().unwrap_or(f32::NAN)
    }

    /// The values of another channel, row-major, NaN where not measured; empty where none came.
    #[must_use]
    pub fn other(&self, channel: Channel) -> &[f32] {
        self.layers.get(&channel).map_or(&[], Layer::values)
    }

    /// The channels of which anything came, the intensity not among them.
    pub fn others(&self) -> impl Iterator<Item = Channel> + '_ {
        self.layers.keys().copied()
    }

    /// The incident intensity that came with the values.
    #[must_use]
    pub fn i0(&self) -> PlaneI0<'_> {
        match &self.i0 {
            I0Store::Empty => PlaneI0::None,
            I0Store::One(i0) if i0.is_nan() => PlaneI0::None,
            I0Store::One(i0) => PlaneI0::One(*i0),
            I0Store::Each(list) => PlaneI0::Each(list),
        }
    }

    /// The incident intensity that came with the value of `pixel`, NaN where none did.
    #[must_use]
    #[inline]
    pub fn i0_at(&self, pixel: usize) -> f32 {
        match &self.i0 {
            I0Store::Empty => f32::NAN,
            I0Store::One(i0) => *i0,
            I0Store::Each(list) => list[pixel],
        }
    }

    /// Number of pixels measured.
    #[must_use]
    #[inline]
    pub fn measured(&self) -> usize {
        self.measured
    }

    /// Variance of a value over that of one that was counted: 1, less where values were interpolated.
    #[must_use]
    #[inline]
    pub fn variance_factor(&self) -> f64 {
        self.interpolated.map_or(1.0, f64::from)
    }

    /// This plane with other values, interpolated from its own, and the incident intensity of each where it differs from
    /// pixel to pixel; `variance_factor`: what interpolation made of their variance. It cannot be written to further:
    /// nobody knows which message a value is from.
    #[must_use]
    pub fn resampled(&self, values: Vec<f32>, i0: Option<Vec<f32>>, variance_factor: f64) -> Self {
        Self {
            measured: values.iter().filter(|value| !value.is_nan()).count(),
            values,
            stamps: Stamps::default(),
            i0: i0.map_or_else(|| self.i0.clone(), I0Store::Each),
            fresh: PixelSet::default(),
            handed_out: PixelSet::default(),
            displaced: Vec::new(),
            interpolated: Some(variance_factor as f32),
            layers: BTreeMap::new(),
            ..*self
        }
    }

    /// Mean storage-ring current over the messages, mA.
    #[must_use]
    pub fn ring_current_ma(&self) -> Option<f64> {
        self.ring_current.get()
    }

    /// Mean read-back of the energy over the messages, eV.
    #[must_use]
    pub fn read_back_ev(&self) -> Option<f64> {
        self.read_back.get()
    }

    /// Earliest start of exposure.
    #[must_use]
    pub fn first_time(&self) -> Option<DateTime<Utc>> {
        self.first_time
    }

    /// Bytes the values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let i0 = if let I0Store::Each(list) = &self.i0 { list.len() } else { 0 };
        let layers: usize = self.layers.values().map(Layer::bytes).sum();
        4 * (self.values.len() + i0) + self.stamps.bytes() + layers
    }

    pub(super) fn allocate(&mut self, pixels: usize) {
        if self.values.is_empty() {
            self.values = vec![f32::NAN; pixels];
            self.stamps = Stamps::new(pixels);
            self.fresh = PixelSet::new(pixels);
            self.handed_out = PixelSet::new(pixels);
        }
    }

    pub(super) fn note_message(&mut self, batch: &SampleBatch) {
        if let Some(current) = batch.ring_current_ma {
            self.ring_current.add(current);
        }
        if let Some(energy_ev) = batch.energy_ev {
            self.read_back.add(energy_ev);
        }
        if let Some(time) = batch.time {
            self.first_time = Some(self.first_time.map_or(time, |first| first.min(time)));
        }
        let one = match &batch.i0 {
            I0::None => f32::NAN,
            I0::One(i0) => *i0,
            I0::Each(_) => return self.spread_i0(),
        };
        match &self.i0 {
            I0Store::Empty => self.i0 = I0Store::One(one),
            I0Store::One(held) if held.to_bits() == one.to_bits() => {}
            I0Store::One(_) => self.spread_i0(),
            I0Store::Each(_) => {}
        }
    }

    fn spread_i0(&mut self) {
        let held = match &self.i0 {
            I0Store::Each(_) => return,
            I0Store::Empty => f32::NAN,
            I0Store::One(i0) => *i0,
        };
        let spread = self.values.iter().map(|value| if value.is_nan() { f32::NAN } else { held }).collect();
        self.i0 = I0Store::Each(spread);
    }

    /// Takes in what came beside the values of a message.
    pub(super) fn store_others(&mut self, stamp: u32, batch: &SampleBatch) {
        let pixels = self.values.len();
        for (channel, values) in &batch.others {
            let layer = self.layers.entry(*channel).or_insert_with(|| Layer::new(pixels));
            layer.store(stamp, &batch.pixels, values);
        }
    }

    /// Takes in the values of a message. `stamp` orders messages: its `seq`.
    pub(super) fn store(&mut self, stamp: u32, batch: &SampleBatch, counters: &mut StackCounters) {
        if let Pixels::Run { first, .. } = &batch.pixels {
            let pixels = *first as usize..*first as usize + batch.values.len();
            // What every message of an undisturbed scan is: all new, all measured.
            let plain = self.values[pixels.clone()].iter().all(|value| value.is_nan())
                && !batch.values.iter().any(|value| value.is_nan());
            if plain {
                self.values[pixels.clone()].copy_from_slice(&batch.values);
                if let I0Store::Each(list) = &mut self.i0 {
                    match &batch.i0 {
                        I0::None => list[pixels.clone()].fill(f32::NAN),
                        I0::One(i0) => list[pixels.clone()].fill(*i0),
                        I0::Each(i0) => list[pixels.clone()].copy_from_slice(i0),
                    }
                }
                self.stamps.set(pixels.clone(), stamp);
                self.measured += pixels.len();
                counters.stored += pixels.len() as u64;
                self.fresh.insert_run(pixels);
                return;
            }
        }
        // Stamps are set for as many pixels at once as lie side by side, before the stamp of any other is asked.
        let mut written = 0..0;
        for (index, pixel) in batch.pixels.iter().enumerate() {
            if pixel != written.end {
                self.stamps.set(std::mem::replace(&mut written, pixel..pixel), stamp);
            }
            if self.store_value(pixel, index, stamp, batch, counters) {
                written.end += 1;
            } else {
                self.stamps.set(std::mem::replace(&mut written, pixel + 1..pixel + 1), stamp);
            }
        }
        self.stamps.set(written, stamp);
    }

    /// Stores one value but not its stamp, unless a message of a higher stamp was there. Returns whether it did.
    fn store_value(
        &mut self,
        pixel: usize,
        index: usize,
        stamp: u32,
        batch: &SampleBatch,
        counters: &mut StackCounters,
    ) -> bool {
        let value = batch.values[index];
        if value.is_nan() {
            counters.not_measured += 1;
            return false;
        }
        if self.values[pixel].is_nan() {
            self.measured += 1;
            counters.stored += 1;
        } else if stamp < self.stamps.get(pixel) {
            counters.outdated += 1;
            return false;
        } else {
            counters.replaced += 1;
        }
        let fresh = self.fresh.insert(pixel);
        if fresh && self.handed_out.contains(pixel) {
            let (value, i0) = (self.values[pixel], self.i0_at(pixel));
            self.displaced.push(Displaced { pixel: pixel as u32, value, i0 });
        }
        self.values[pixel] = value;
        if let I0Store::Each(list) = &mut self.i0 {
            list[pixel] = match &batch.i0 {
                I0::None => f32::NAN,
                I0::One(i0) => *i0,
                I0::Each(i0) => i0[index],
            };
        }
        true
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.fresh.is_empty()
    }

    pub(super) fn take_changes(&mut self) -> Option<(PixelSet, Vec<Displaced>)> {
        if self.fresh.is_empty() {
            return None;
        }
        let pixels = self.fresh.clone();
        pixels.iter().for_each(|pixel| _ = self.handed_out.insert(pixel));
        self.fresh.clear();
        Some((pixels, std::mem::take(&mut self.displaced)))
    }
}
