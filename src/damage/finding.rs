//! What was found of one signal of one group: its readings, its trend, its kinetics, and what will be lost when.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::kinetics::{Interval, Kinetics, Law};
use super::sentinels::Signal;
use super::series::Series;
use super::trend::{Trend, Vigilance};

/// What doses are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoseUnit {
    /// Megagray.
    Mgy,
    /// What a million photons a second would have deposited, MGy: the flux is not known.
    Relative,
    /// Seconds of exposure: nothing is known but the dwell.
    #[default]
    Seconds,
}

impl DoseUnit {
    /// As it is written after a number.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mgy => "MGy",
            Self::Relative => "MGy per 1e6 photons/s",
            Self::Seconds => "s of exposure",
        }
    }

    /// The end of the name of a number.
    fn suffix(self) -> &'static str {
        match self {
            Self::Mgy => "mgy",
            Self::Relative => "relative",
            Self::Seconds => "s",
        }
    }
}

/// What happens later in the scan, if it goes on like this.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// The share that is looked ahead to, e.g. 0.1.
    pub share: f64,
    /// Index of the first energy of the plan at which it is lost.
    pub energy: usize,
    /// Number of energies of the plan.
    pub energies: usize,
    /// In how many minutes, where the pace of the scan is known.
    pub minutes: Option<f64>,
}

/// What was found of one signal of one group.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The signal.
    pub signal: Signal,
    /// The sentinel, eV; none for signals of whole scans.
    pub energy_ev: Option<f64>,
    /// Of what: `field`, `phase na2.0`, `particle 3`.
    pub of: String,
    /// The phase whose share it is; none for other signals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What doses are counted in.
    pub unit: DoseUnit,
    /// The readings.
    pub series: Series,
    /// Standard errors of the slope, and how many there must be.
    pub z: f64,
    /// See `z`.
    pub z_limit: f64,
    /// Whether the change is beyond chance.
    pub is_real: bool,
    /// What counts as all of the signal.
    pub scale: f64,
    /// Change so far as a share of `scale`; positive where the signal falls.
    pub lost: Interval,
    /// The same at the end of the scan, if it goes on.
    pub lost_at_end: Option<Interval>,
    /// Loss per unit of dose at dose 0.
    pub initial_rate: Interval,
    /// The critical dose, where it can be told.
    pub critical_dose: Option<Interval>,
    /// The likelier law and its probability.
    pub law: (Law, f64),
    /// When a share that matters is lost.
    pub forecast: Option<Forecast>,
    /// Median of the slopes.
    pub robust_slope: f64,
    /// Cumulative sum, in standard errors, and how much it must be.
    pub sum: f64,
    /// See `sum`.
    pub sum_limit: f64,
}

impl Finding {
    /// From a series of two readings or more; `end` is the dose at the end of the scan.
    #[must_use]
    pub fn of(
        (signal, energy_ev, of): (Signal, Option<f64>, String),
        unit: DoseUnit,
        series: Series,
        scale: f64,
        end: Option<f64>,
        vigilance: &Vigilance,
    ) -> Option<(Self, Trend, Kinetics)> {
        let trend = Trend::of(&series)?;
        let kinetics = Kinetics::of(&series, scale.abs(), trend.excess)?;
        let (first, last) = (series.readings.first()?.dose, series.readings.last()?.dose);
        let share = |interval: Interval| Interval {
            low: interval.low / scale.abs(),
            middle: interval.middle / scale.abs(),
            high: interval.high / scale.abs(),
        };
        let finding = Self {
            signal,
            energy_ev,
            of,
            phase: None,
            unit,
            z: trend.z,
            z_limit: vigilance.slope_limit(),
            is_real: trend.is_real(vigilance),
            scale,
            lost: share(kinetics.loss(first, last)),
            lost_at_end: end.map(|end| share(kinetics.loss(first, end.max(last)))),
            initial_rate: kinetics.initial_rate(),
            critical_dose: kinetics.critical_dose(0.0),
            law: kinetics.law(),
            forecast: None,
            robust_slope: trend.robust_slope,
            sum: trend.sum,
            sum_limit: vigilance.sum_limit(),
            series,
        };
        Some((finding, trend, kinetics))
    }

    /// Puts what kinetics say of the losses, the rate and the law in place of what the readings by themselves say; `end` as in [`Self::of`]. A
    /// critical dose is not told then.
    pub(super) fn set_kinetics(&mut self, kinetics: &Kinetics, end: Option<f64>) {
        let scale = self.scale.abs();
        let share = |Interval { low, middle, high }: Interval| Interval {
            low: low / scale,
            middle: middle / scale,
            high: high / scale,
        };
        let (Some(first), last) = (self.series.readings.first().map(|reading| reading.dose), self.dose())
        else {
            return;
        };
        self.lost = share(kinetics.loss(first, last));
        self.lost_at_end = end.map(|end| share(kinetics.loss(first, end.max(last))));
        (self.initial_rate, self.law) = (kinetics.initial_rate(), kinetics.law());
        self.critical_dose = None;
    }

    /// Dose at the last reading.
    #[must_use]
    pub fn dose(&self) -> f64 {
        self.series.readings.last().map_or(0.0, |reading| reading.dose)
    }

    /// The larger of what is lost now and what will be, as shares whatever their direction.
    #[must_use]
    pub fn shares(&self) -> (f64, f64) {
        let now = self.lost.middle.abs();
        (now, self.lost_at_end.map_or(now, |end| end.middle.abs().max(now)))
    }

    /// One line for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let what = match self.signal {
            Signal::WhiteLine => "white line",
            Signal::Mass => "pre-edge absorption (mass)",
            Signal::Reduction => "what is not reduced yet",
            Signal::State => "state",
            Signal::Fraction => "share",
            Signal::Residual => "misfit to the references",
        };
        let (percent, verb) =
            (100.0 * self.lost.middle.abs(), if self.lost.middle < 0.0 { "rises" } else { "falls" });
        let bounds = [self.lost.low, self.lost.high].map(|share| 100.0 * share * self.lost.middle.signum());
        let (low, high) = (bounds[0].min(bounds[1]), bounds[0].max(bounds[1]));
        let gone = if self.lost.middle < 0.0 { "gained" } else { "lost" };
        if self.signal == Signal::Fraction {
            return format!("{} at {:.3} {}", self.course(), self.dose(), self.unit.name());
        }
        if self.signal == Signal::State {
            let by = |share: f64| (share * self.scale).abs();
            let (low, high) = (by(self.lost.low), by(self.lost.high));
            return format!(
                "state of {} {verb} by {:.3} ({:.3} to {:.3}) at {:.3} {}",
                self.of,
                by(self.lost.middle),
                low.min(high),
                low.max(high),
                self.dose(),
                self.unit.name()
            );
        }
        let mut text = format!(
            "{what} of {} {verb}: {percent:.1} % {gone} ({low:.1} to {high:.1} %) at {:.3} {}",
            self.of,
            self.dose(),
            self.unit.name()
        );
        if let Some(forecast) = self.forecast {
            let share = 100.0 * forecast.share;
            let (energy, energies) = (forecast.energy + 1, forecast.energies);
            text += &format!("; at this rate {share:.0} % is {gone} at energy {energy} of {energies}");
            if let Some(minutes) = forecast.minutes {
                text += &match minutes {
                    minutes if minutes < 1.0 => format!(", in {:.0} s", 60.0 * minutes),
                    minutes => format!(", in {minutes:.0} minutes"),
                };
            }
        }
        if let Some(end) = self.lost_at_end.filter(|end| end.middle.abs() > 1.05 * self.lost.middle.abs()) {
            text += &format!("; {:.0} % by the end of the scan", 100.0 * end.middle.abs());
        }
        text
    }

    /// Of a share: from where it went to where, as in `na1.0 falls from 62 to 41 %`.
    #[must_use]
    pub fn course(&self) -> String {
        let phase = self.phase.as_deref().unwrap_or(&self.of);
        let percent = |value: Option<f64>| 100.0 * value.unwrap_or(f64::NAN);
        let last = self.series.readings.last().map(|reading| reading.value);
        let (then, now) = (percent(self.series.first()), percent(last));
        let verb = if now < then { "falls" } else { "grows" };
        format!("{phase} {verb} from {then:.0} to {now:.0} %")
    }

    /// The numbers behind it, by name.
    #[must_use]
    pub fn numbers(&self) -> Map<String, Value> {
        let mut numbers = Map::new();
        let mut put = |name: String, value: f64| {
            if value.is_finite() {
                numbers.insert(name, json!(value));
            }
        };
        let suffix = self.unit.suffix();
        put(format!("dose_{suffix}"), self.dose());
        put("readings".to_owned(), self.series.len() as f64);
        // What the values are.
        let value = match self.signal {
            Signal::WhiteLine | Signal::Mass => "od",
            Signal::Reduction => "not_reduced",
            Signal::State => "state",
            Signal::Fraction => "share",
            Signal::Residual => "chi2",
        };
        put(format!("{value}_first"), self.series.first().unwrap_or(f64::NAN));
        put(format!("{value}_now"), self.series.readings.last().map_or(f64::NAN, |reading| reading.value));
        // A state is no share of anything.
        let (lost, by) = if self.signal == Signal::State { ("lost", 1.0) } else { ("lost_percent", 100.0) };
        put(lost.to_owned(), by * self.lost.middle);
        put(format!("{lost}_low"), by * self.lost.low);
        put(format!("{lost}_high"), by * self.lost.high);
        if let Some(end) = self.lost_at_end {
            put("lost_at_end_percent".to_owned(), 100.0 * end.middle);
        }
        for (name, rate) in [
            ("", self.initial_rate.middle),
            ("_low", self.initial_rate.low),
            ("_high", self.initial_rate.high),
        ] {
            put(format!("initial_rate_{value}_per_{suffix}{name}"), rate);
        }
        if let Some(critical) = self.critical_dose {
            for (name, value) in [("", critical.middle), ("_low", critical.low), ("_high", critical.high)] {
                put(format!("critical_dose_{suffix}{name}"), value);
            }
        }
        if let Some(forecast) = self.forecast {
            put("forecast_energy".to_owned(), (forecast.energy + 1) as f64);
            put("forecast_share_percent".to_owned(), 100.0 * forecast.share);
            put("forecast_minutes".to_owned(), forecast.minutes.unwrap_or(f64::NAN));
        }
        put("standard_errors".to_owned(), self.z);
        put("standard_errors_limit".to_owned(), self.z_limit);
        if let Some(energy_ev) = self.energy_ev {
            put("energy_ev".to_owned(), energy_ev);
        }
        numbers
    }
}
