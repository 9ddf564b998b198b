//! What is known of the drift of a stack: one displacement per energy, and whether it is taken out.

use serde::{Deserialize, Serialize};

/// Whether shifts are looked for at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Shifts are estimated, and taken out where they are trusted.
    Auto,
    /// Images are taken as they lie.
    #[default]
    Off,
}

/// Where the sample lies in one image, against the first of the acquisition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Shift {
    /// Displacement toward higher rows, pixels: what the first image has at row `r` this one has at `r + y`.
    pub y: f64,
    /// Displacement toward higher columns, pixels.
    pub x: f64,
    /// Standard error of `y`, pixels.
    pub error_y: f64,
    /// Standard error of `x`, pixels.
    pub error_x: f64,
    /// Whether the image itself tells; else it is what the images before and after it say.
    pub measured: bool,
}

impl Shift {
    /// Length of the displacement, pixels.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.y.hypot(self.x)
    }
}

/// What became of a registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not looked for: the settings say so.
    #[default]
    Off,
    /// Taken out.
    Applied,
    /// Not taken out, and why, in words.
    NotApplied(String),
}

/// The drift of a stack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drift {
    /// One per energy of the plan; `None` where nothing is known of it. Empty where none was looked for.
    pub shifts: Vec<Option<Shift>>,
    /// Whether they are taken out.
    pub verdict: Verdict,
}

/// The displacement at one energy, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EnergyShift {
    /// Index of the energy in the plan.
    pub energy_index: usize,
    /// The displacement.
    #[serde(flatten)]
    pub shift: Shift,
}

/// The drift of a stack, for messages and pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DriftSummary {
    /// Whether the shifts are taken out.
    pub applied: bool,
    /// In words.
    pub text: String,
    /// The curve, energies in the order of the plan.
    pub curve: Vec<EnergyShift>,
}

impl Drift {
    /// No drift is known, for a reason.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { shifts: Vec::new(), verdict: Verdict::NotApplied(reason.into()) }
    }

    /// Whether the shifts are taken out.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.verdict == Verdict::Applied
    }

    /// What is taken out of the image at `energy`: `[y, x]`, pixels; 0 where nothing is.
    #[must_use]
    pub fn applied(&self, energy: usize) -> [f64; 2] {
        match self.shifts.get(energy) {
            Some(Some(shift)) if self.is_applied() => [shift.y, shift.x],
            _ => [0.0, 0.0],
        }
    }

    /// The displacement at `energy`, where it is known.
    #[must_use]
    pub fn shift(&self, energy: usize) -> Option<Shift> {
        self.shifts.get(energy).copied().flatten()
    }

    /// Largest displacement, pixels.
    #[must_use]
    pub fn largest(&self) -> f64 {
        self.shifts.iter().flatten().map(Shift::length).fold(0.0, f64::max)
    }

    /// In words, for people and for the metadata.
    #[must_use]
    pub fn describe(&self) -> String {
        let known: Vec<&Shift> = self.shifts.iter().flatten().collect();
        let mut errors: Vec<f64> = known.iter().map(|s| s.error_y.max(s.error_x)).collect();
        errors.sort_by(f64::total_cmp);
        let error = errors.get(errors.len() / 2).copied().unwrap_or(0.0);
        match &self.verdict {
            Verdict::Off => "off".to_owned(),
            Verdict::NotApplied(reason) => format!("not applied: {reason}"),
            Verdict::Applied => {
                let borrowed = known.iter().filter(|shift| !shift.measured).count();
                let mut text = format!(
                    "applied: {} images, up to {:.2} pixels from the first, median error {error:.2}",
                    known.len(),
                    self.largest()
                );
                if borrowed > 0 {
                    text += &format!("; {borrowed} by what their neighbours say");
                }
                text
            }
        }
    }

    /// For messages and pages; `None` where no drift was looked for.
    #[must_use]
    pub fn summary(&self) -> Option<DriftSummary> {
        if self.verdict == Verdict::Off {
            return None;
        }
        let curve = self
            .shifts
            .iter()
            .enumerate()
            .filter_map(|(energy_index, shift)| Some(EnergyShift { energy_index, shift: (*shift)? }))
            .collect();
        Some(DriftSummary { applied: self.is_applied(), text: self.describe(), curve })
    }
}
