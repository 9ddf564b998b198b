//! The energy axis of a model: one channel per energy, ascending, with a bound on interpolation.

/// Most channels an axis may have; a model with more is refused before anything is allocated for it.
pub const MAX_CHANNELS: usize = 8192;

/// Why a list of energies is not an axis.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AxisError {
    /// Too few or too many channels.
    #[error("an axis has 3 to {MAX_CHANNELS} energies, this one has {0}")]
    Length(usize),
    /// An energy that is no energy.
    #[error("energy {index} is {value}: energies are finite and above 0 eV")]
    Energy {
        /// Which.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// Not ascending.
    #[error("energy {index} ({value} eV) is not above the one before it: an axis ascends strictly")]
    Order {
        /// Which.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// A gap that is no gap.
    #[error("max_gap_ev is {0}: it is finite and not negative")]
    Gap(f64),
}

/// The energies of a model's channels, and how far apart two measured energies may be for a channel between them to be
/// interpolated.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelAxis {
    energies_ev: Vec<f64>,
    max_gap_ev: f64,
}

impl ModelAxis {
    /// An axis of `energies_ev`, eV.
    ///
    /// # Errors
    /// Fewer than 3 or more than [`MAX_CHANNELS`] energies, one that is not finite and positive, an order that is not
    /// strictly ascending, or a gap that is negative or not finite.
    pub fn new(energies_ev: Vec<f64>, max_gap_ev: f64) -> Result<Self, AxisError> {
        if !(3..=MAX_CHANNELS).contains(&energies_ev.len()) {
            return Err(AxisError::Length(energies_ev.len()));
        }
        for (index, &value) in energies_ev.iter().enumerate() {
            if !value.is_finite() || value <= 0.0 {
                return Err(AxisError::Energy { index, value });
            }
            if index > 0 && value <= energies_ev[index - 1] {
                return Err(AxisError::Order { index, value });
            }
        }
        if !max_gap_ev.is_finite() || max_gap_ev < 0.0 {
            return Err(AxisError::Gap(max_gap_ev));
        }
        Ok(Self { energies_ev, max_gap_ev })
    }

    /// Energies of the channels, eV, strictly ascending.
    #[must_use]
    pub fn energies_ev(&self) -> &[f64] {
        &self.energies_ev
    }

    /// Two measured energies further apart than this, eV, are not interpolated between.
    #[must_use]
    pub fn max_gap_ev(&self) -> f64 {
        self.max_gap_ev
    }

    /// Number of channels, at least 3.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.energies_ev.len()
    }

    /// How far below and above its own energy `channel` reaches, eV: half the step to the neighbour on that side, and at
    /// either end as far as on the other side.
    pub(super) fn reach_ev(&self, channel: usize) -> (f64, f64) {
        let half_step = |lower: usize| (self.energies_ev[lower + 1] - self.energies_ev[lower]) / 2.0;
        let last = self.energies_ev.len() - 1;
        let below = half_step(channel.saturating_sub(1));
        let above = half_step(channel.min(last - 1));
        (below, above)
    }
}
