//! The keys there are.

/// How the text of an environment variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it is.
    Text,
    /// As a TOML value.
    Toml,
}

use Kind::{Text, Toml};

/// Section, key and kind of every setting outside `[[source]]`, in the order of `config/default.toml`.
pub(super) const KEYS: [(&str, &str, Kind); 97] = [
    ("daemon", "state_dir", Text),
    ("daemon", "drain_s", Toml),
    ("daemon", "stalled_s", Toml),
    ("daemon", "stuck_s", Toml),
    ("daemon", "nice", Toml),
    ("journal", "enabled", Toml),
    ("journal", "sync_s", Toml),
    ("journal", "kept_bytes", Toml),
    ("journal", "record_bytes", Toml),
    ("references", "dir", Text),
    ("model", "path", Text),
    ("model", "backend", Text),
    ("model", "library", Text),
    ("model", "batch", Toml),
    ("i0", "mode", Text),
    ("i0", "spectrum", Text),
    ("i0", "spectrum_unit", Text),
    ("i0", "spectrum_ring_current_ma", Toml),
    ("i0", "region", Toml),
    ("detector", "dead_time_us", Toml),
    ("detector", "saturation", Toml),
    ("detector", "linear_to_hz", Toml),
    ("detector", "screen_lines", Toml),
    ("detector", "mask", Toml),
    ("detector", "find_bad_pixels", Toml),
    ("detector", "bright_field", Toml),
    ("detector", "dark_field", Toml),
    ("detector", "moments", Toml),
    ("registration", "mode", Text),
    ("energy", "source", Text),
    ("energy", "offset", Text),
    ("energy", "calibration", Toml),
    ("classify", "rule", Text),
    ("classify", "min_energies", Toml),
    ("classify", "min_delta_chi2", Toml),
    ("classify", "min_confidence", Toml),
    ("classify", "neighbours", Toml),
    ("classify", "min_correlation", Toml),
    ("classify", "min_margin", Toml),
    ("classify", "background_edge_jump", Toml),
    ("classify", "max_od", Toml),
    ("classify", "baseline", Text),
    ("advice", "enabled", Toml),
    ("advice", "move_ms_per_ev", Toml),
    ("advice", "settle_ms", Toml),
    ("advice", "stop_below", Toml),
    ("damage", "enabled", Toml),
    ("damage", "flux_ph_per_s", Toml),
    ("damage", "exposure_factor", Toml),
    ("damage", "detector_efficiency", Toml),
    ("damage", "composition", Text),
    ("damage", "density_g_per_cm3", Toml),
    ("damage", "spot_nm", Toml),
    ("damage", "dose", Text),
    ("damage", "watch", Toml),
    ("damage", "false_alarms", Toml),
    ("damage", "warn_loss", Toml),
    ("damage", "critical_loss", Toml),
    ("damage", "floor_od", Toml),
    ("damage", "least_pixels", Toml),
    ("damage", "reduces_to", Text),
    ("damage", "plateau_known", Toml),
    ("limits", "stack_bytes", Toml),
    ("limits", "total_bytes", Toml),
    ("limits", "open_scans", Toml),
    ("limits", "queue_bytes", Toml),
    ("limits", "held_bytes", Toml),
    ("limits", "kept_bytes", Toml),
    ("limits", "pixels", Toml),
    ("limits", "message_bytes", Toml),
    ("publish", "bind", Text),
    ("publish", "min_interval_ms", Toml),
    ("publish", "queue_bytes", Toml),
    ("http", "listen", Text),
    ("http", "allow_open", Toml),
    ("http", "open_reading", Toml),
    ("http", "token_env", Text),
    ("http", "public_url", Text),
    ("archive", "root", Text),
    ("archive", "remote", Text),
    ("archive", "remote_endpoint", Text),
    ("archive", "remote_region", Text),
    ("archive", "remote_allow_http", Toml),
    ("archive", "remote_credentials", Text),
    ("archive", "verify_every_days", Toml),
    ("archive", "prune_stacks_after_days", Toml),
    ("archive", "prune_unverified", Toml),
    ("archive", "quarantine_damaged", Toml),
    ("archive", "quarantine_partial_after_days", Toml),
    ("alerts", "remind_s", Toml),
    ("alerts", "keep_days", Toml),
    ("alerts", "token_env", Text),
    ("alerts", "webhook", Toml),
    ("alerts", "command", Toml),
    ("log", "level", Text),
    ("log", "format", Text),
    ("log", "priority", Text),
];

/// Keys of a `[[source]]`.
pub(super) const SOURCE_KEYS: [&str; 19] = [
    "kind",
    "socket",
    "connect",
    "bind",
    "allow_open_bind",
    "topic",
    "channel",
    "beamline",
    "name",
    "silence_s",
    "grace_s",
    "reopen_s",
    "resend",
    "resend_hosts",
    "resend_after_s",
    "resend_wait_s",
    "sockets",
    "geometry",
    "geometry_from",
];

/// Keys of one of several sockets of a source.
pub(super) const SOCKET_KEYS: [&str; 4] = ["role", "connect", "bind", "allow_open_bind"];

/// Keys of the geometry of a source: fields of `scan_start`, and how series lie in a scan.
pub(super) const GEOMETRY_KEYS: [&str; 15] = [
    "shape",
    "x",
    "y",
    "unit",
    "energies_ev",
    "dwell_ms",
    "flux_ph_per_s",
    "sample",
    "region",
    "operator",
    "proposal",
    "detector",
    "series",
    "meander",
    "fast_axis",
];

/// Defaults of a `[[source]]`, as `config/default.toml` documents them.
pub(super) const SOURCE_DEFAULTS: &str = "socket = \"pull\"\nallow_open_bind = false\ntopic = \"\"\n\
                                          silence_s = 1800\ngrace_s = 10\nreopen_s = 43200\n\
                                          resend_after_s = 0.5\nresend_wait_s = 60\n";

/// Keys of an `[[alerts.webhook]]`.
pub(super) const WEBHOOK_KEYS: [&str; 8] =
    ["name", "url", "url_env", "allow_http", "format", "min_level", "timeout_s", "headers_env"];

/// Defaults of an `[[alerts.webhook]]`, as `config/default.toml` documents them.
pub(super) const WEBHOOK_DEFAULTS: &str =
    "allow_http = false\nformat = \"json\"\nmin_level = \"warning\"\ntimeout_s = 10\n";

/// Keys of an `[[alerts.command]]`.
pub(super) const COMMAND_KEYS: [&str; 6] = ["name", "program", "args", "pass_env", "min_level", "timeout_s"];

/// Defaults of an `[[alerts.command]]`, as `config/default.toml` documents them.
pub(super) const COMMAND_DEFAULTS: &str = "min_level = \"warning\"\ntimeout_s = 10\n";
