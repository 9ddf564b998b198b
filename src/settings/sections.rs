//! The settings, checked: plain values that the rest of the program takes as they are.

mod alerts;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

pub use self::alerts::{AlertsSettings, ChatFormat, CommandSettings, WebhookAddress, WebhookSettings};
use super::{Endpoint, RemoteAddress};
use crate::damage::{DoseSettings, MonitorSettings};
use crate::detector::FrameArea;
use crate::telemetry::{LogFormat, LogLevel, LogPriority};

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DaemonSettings {
    /// Directory of the journal and of what a restart needs.
    pub state_dir: PathBuf,
    /// Deadline of a shutdown, s.
    pub drain_s: f64,
    /// Time after which a write to the state directory or the archive that does not end is said to be stalled, s.
    pub stalled_s: f64,
    /// Time after which a thread that shows no sign of life is said to be stuck, and the watchdog is not fed any more, s.
    pub stuck_s: f64,
    /// How far the daemon stands back behind other programs of the machine: 0 not at all, 19 as far as can be.
    pub nice: usize,
}

/// `[journal]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct JournalSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Time within which what was received is on the disk, s.
    pub sync_s: f64,
    /// Most bytes of the journals of archived scans.
    pub kept_bytes: usize,
    /// Most bytes of raw messages that are recorded of each source; 0: none are.
    pub record_bytes: usize,
}

/// Wire formats that can be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SourceKind {
    /// `stxm-stream/1`.
    #[serde(rename = "stxm-stream")]
    StxmStream,
    /// What pystxmcontrol publishes.
    #[serde(rename = "pystxmcontrol")]
    Pystxmcontrol,
    /// What Pixelator publishes.
    #[serde(rename = "pixelator")]
    Pixelator,
    /// Bluesky documents under the lightfall contract.
    #[serde(rename = "bluesky")]
    Bluesky,
    /// What DECTRIS detectors stream.
    #[serde(rename = "dectris")]
    Dectris,
    /// The pair of sockets that is common at DESY.
    #[serde(rename = "desy")]
    Desy,
}

/// Kinds of receiving socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketKind {
    /// The sender pushes.
    Pull,
    /// The sender publishes.
    Sub,
}

/// Whom a source asks to send messages again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResendTo {
    /// Whom the stream names, within the rule of hosts.
    AsTold,
    /// Nobody.
    Nobody,
    /// Always this `tcp://host:port`.
    Address(String),
}

/// One `[[source]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceSettings {
    /// Name in logs and metrics, unique.
    pub name: String,
    /// Wire format.
    pub kind: SourceKind,
    /// Kind of socket.
    pub socket: SocketKind,
    /// Address; where there are two, that of the metadata.
    pub endpoint: Endpoint,
    /// Address of the frames, where they have a socket of their own.
    pub data: Option<Endpoint>,
    /// Prefix of the topics taken; empty: all, and always for [`SocketKind::Pull`].
    pub topic: String,
    /// Beamline that wins over the stream's.
    pub beamline: Option<String>,
    /// Which of several detectors or channels that the stream carries; `None`: its first.
    pub channel: Option<String>,
    /// What is scanned, where the stream does not say it: fields of `scan_start`, and how series lie in a scan.
    pub geometry: Option<serde_json::Value>,
    /// Name of the source that knows the scan.
    pub geometry_from: Option<String>,
    /// Silence after which an open scan is archived as partial, s.
    pub silence_s: f64,
    /// Wait for late messages after an end or another start, s.
    pub grace_s: f64,
    /// How long late samples reopen an archived scan, s.
    pub reopen_s: f64,
    /// Whom to ask for messages that are missing.
    pub resend: ResendTo,
    /// Hosts that the stream may name beside the source's own.
    pub resend_hosts: Vec<String>,
    /// How long a message is missing before it is asked for, s.
    pub resend_after_s: f64,
    /// Longest wait of an ended scan for what was asked for, s.
    pub resend_wait_s: f64,
}

/// `[references]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReferencesSettings {
    /// Directory; needed to run the daemon.
    pub dir: Option<PathBuf>,
}

/// What runs a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelBackend {
    /// ONNX Runtime where its library is found, else tract.
    Auto,
    /// ONNX Runtime.
    Onnxruntime,
    /// tract, built in.
    Tract,
}

/// `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelSettings {
    /// ONNX file; `None`: no model.
    pub path: Option<PathBuf>,
    /// What runs it.
    pub backend: ModelBackend,
    /// libonnxruntime.so.
    pub library: Option<PathBuf>,
    /// Pixels per call.
    pub batch: usize,
}

/// Unit of an I0 spectrum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpectrumUnit {
    /// Counts per millisecond.
    CountsPerMs,
    /// Counts within the dwell of the scan.
    Counts,
}

/// First and last pixel along each axis, from 0, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PixelRegion {
    /// Columns.
    pub x: [usize; 2],
    /// Rows.
    pub y: [usize; 2],
}

/// `[i0]`: where the incident intensity comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum I0Settings {
    /// The stream's where it comes, else an empty region that is found.
    Auto,
    /// The stream's.
    Stream,
    /// A part of the field.
    Region {
        /// Which.
        region: PixelRegion,
    },
    /// A file.
    Spectrum {
        /// Two columns, energy in eV and intensity.
        spectrum: PathBuf,
        /// Unit of the intensity.
        unit: SpectrumUnit,
        /// Ring current at which it was taken, mA; wins over what the file says.
        ring_current_ma: Option<f64>,
    },
}

/// `[detector]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectorSection {
    /// Dead time, us; wins over the stream's.
    pub dead_time_us: Option<f64>,
    /// Value from which it is saturated; wins over the stream's.
    pub saturation: Option<f64>,
    /// Rate above which it is not linear, counts/s.
    pub linear_to_hz: Option<f64>,
    /// Whether stuck lines, bad lines and lost beam are looked for.
    pub screen_lines: bool,
    /// Pixels of an area detector that are left out, `[y, x]`.
    pub mask: Vec<[usize; 2]>,
    /// Whether dead and hot pixels of an area detector are looked for.
    pub find_bad_pixels: bool,
    /// What the intensity of an area frame is the sum of; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bright_field: Option<FrameArea>,
    /// What its dark field is the sum of; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dark_field: Option<FrameArea>,
    /// Whether the centre of mass of its bright field is wanted.
    pub moments: bool,
}

/// `[registration]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum RegistrationSettings {
    /// Shifts are estimated and taken out.
    Auto,
    /// Images are taken as they lie.
    Off,
}

/// Which energies count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergySource {
    /// As planned.
    Setpoint,
    /// As read back.
    Readback,
}

/// What to do about an offset of the energy axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetMode {
    /// Tell.
    Report,
    /// Tell, and take it out where it is trusted.
    Correct,
}

/// A point of a measured energy calibration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationPoint {
    /// What the scan says, eV.
    pub nominal_ev: f64,
    /// Where the beam was, eV.
    pub true_ev: f64,
}

/// `[energy]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EnergySettings {
    /// Which energies count.
    pub source: EnergySource,
    /// What to do about an offset.
    pub offset: OffsetMode,
    /// A measured calibration: it is applied instead of the estimated offset. Empty where there is none.
    pub calibration: Vec<CalibrationPoint>,
}

/// When a pixel counts as classified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassifyRule {
    /// Enough evidence over the second best.
    Evidence,
    /// Enough difference of correlation.
    Margin,
}

/// What is taken out before correlating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Nothing but the mean.
    None,
    /// A straight line.
    Linear,
}

/// `[classify]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassifySettings {
    /// When a pixel counts as classified.
    pub rule: ClassifyRule,
    /// Fewest usable energies for a verdict.
    pub min_energies: usize,
    /// Least difference of chi² before the second look, for [`ClassifyRule::Evidence`].
    pub min_delta_chi2: f64,
    /// Least confidence, 0 to 1, for [`ClassifyRule::Evidence`].
    pub min_confidence: f64,
    /// Whether neighbouring pixels are asked.
    pub neighbours: bool,
    /// Least correlation, 0 to 1.
    pub min_correlation: f64,
    /// Least difference of correlation, for [`ClassifyRule::Margin`].
    pub min_margin: f64,
    /// Edge jump below which a pixel is background, OD.
    pub background_edge_jump: f64,
    /// Highest optical density that is used.
    pub max_od: f64,
    /// What is taken out first.
    pub baseline: Baseline,
}

/// `[advice]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AdviceSettings {
    /// Whether there is any.
    pub enabled: bool,
    /// Time of a move of the monochromator, ms per eV.
    pub move_ms_per_ev: f64,
    /// Time it takes to settle, ms.
    pub settle_ms: f64,
    /// Share of best guesses below which the rest of a scan is not worth measuring.
    pub stop_below: f64,
}

/// `[damage]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DamageSettings {
    /// What the dose is reckoned with.
    #[serde(flatten)]
    pub dose: DoseSettings,
    /// What is watched.
    #[serde(flatten)]
    pub watch: MonitorSettings,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LimitsSettings {
    /// Most bytes of one stack.
    pub stack_bytes: usize,
    /// Most bytes of all open stacks.
    pub total_bytes: usize,
    /// Most scans open at once.
    pub open_scans: usize,
    /// Most bytes received and not yet in a stack.
    pub queue_bytes: usize,
    /// Most bytes of samples held before their start.
    pub held_bytes: usize,
    /// Most bytes of the stacks of ended scans, kept in case late samples come.
    pub kept_bytes: usize,
    /// Most pixels of one scan.
    pub pixels: usize,
    /// Most bytes of one message of a source, all parts together.
    pub message_bytes: usize,
}

/// `[publish]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublishSettings {
    /// Address of the PUB socket, `tcp://host:port`.
    pub bind: String,
    /// Shortest time between two maps of a scan, ms.
    pub min_interval_ms: usize,
    /// Most bytes waiting for subscribers.
    pub queue_bytes: usize,
}

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpSettings {
    /// Address of the page, the API and the metrics.
    pub listen: SocketAddr,
    /// Whether it may be one that other machines reach.
    pub allow_open: bool,
    /// Whether whoever reaches it may read without a token where it is such a one.
    pub open_reading: bool,
    /// Name of the environment variable with the token; `None`: that of `alerts.token_env`, or one that the daemon makes.
    pub token_env: Option<String>,
    /// Where people reach it, for links in alerts, without `/` at its end; `None`: at `listen`.
    pub public_url: Option<String>,
}

/// `[archive]`. It goes into every manifest, so nothing secret is in it: of the credentials only the names of the
/// environment variables.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArchiveSettings {
    /// Directory of finished scans.
    pub root: PathBuf,
    /// Where a second copy goes; `None`: nowhere.
    pub remote: Option<RemoteAddress>,
    /// Server of a bucket, `https://host[:port]`; `None`: Amazon's own.
    pub remote_endpoint: Option<String>,
    /// Region the bucket is in.
    pub remote_region: String,
    /// Whether the server may be spoken to without TLS.
    pub remote_allow_http: bool,
    /// What the environment variables with the credentials begin with.
    pub remote_credentials: String,
    /// Age of the last look at which a scan and its copy are checked again, days; 0: never.
    pub verify_every_days: f64,
    /// Age at which the large files of a scan are removed here, days; 0: never.
    pub prune_stacks_after_days: f64,
    /// Whether that is done without a verified copy elsewhere.
    pub prune_unverified: bool,
    /// Whether damaged scans are moved to the quarantine.
    pub quarantine_damaged: bool,
    /// Age at which partial scans are moved there, days; 0: never.
    pub quarantine_partial_after_days: f64,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LogSettings {
    /// Least important level that is written.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
    /// Whether lines begin with their priority.
    pub priority: LogPriority,
}
