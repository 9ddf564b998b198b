//! From merged layers to checked settings: every value, and what values say of each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::endpoint::{is_loopback, tcp};
use super::error::SettingsError;
use super::layer::Layers;
use super::reader::Reader;
use super::sections::*;
use super::{Settings, alerts, archive, secret, source};
use crate::damage::{DoseDepth, DoseSettings, Material, MonitorSettings};
use crate::detector::FrameArea;
use crate::document::{Node, Value};
use crate::scan::{MAX_AXIS, MAX_ENERGIES};
use crate::telemetry::{LogFormat, LogLevel, LogPriority};

type Result<T> = std::result::Result<T, SettingsError>;

/// Checks everything; the order of reading is the order in which settings are shown.
pub(super) fn settings(layers: Layers) -> Result<Settings> {
    let sources = layers.get("source").cloned();
    let mut reader = Reader::new(String::new(), layers);
    let daemon = DaemonSettings {
        state_dir: reader.need_path("daemon.state_dir")?,
        drain_s: reader.seconds("daemon.drain_s")?,
        stalled_s: reader.seconds("daemon.stalled_s")?,
        stuck_s: reader.seconds("daemon.stuck_s")?,
        nice: reader.whole("daemon.nice", 0, 19)?,
    };
    let journal = JournalSettings {
        enabled: reader.flag("journal.enabled")?,
        sync_s: reader.seconds("journal.sync_s")?,
        kept_bytes: reader.whole("journal.kept_bytes", 0, usize::MAX)?,
        record_bytes: reader.whole("journal.record_bytes", 0, usize::MAX)?,
    };
    let (sources, effective) = source::sources(sources)?;
    reader.extend_effective(effective);
    let references = ReferencesSettings { dir: reader.path("references.dir")? };
    let model = model(&mut reader)?;
    let i0 = i0(&mut reader)?;
    let detector = detector(&mut reader)?;
    let registration = reader.choice(
        "registration.mode",
        &[("auto", RegistrationSettings::Auto), ("off", RegistrationSettings::Off)],
    )?;
    let energy = EnergySettings {
        source: reader.choice(
            "energy.source",
            &[("setpoint", EnergySource::Setpoint), ("readback", EnergySource::Readback)],
        )?,
        offset: reader
            .choice("energy.offset", &[("report", OffsetMode::Report), ("correct", OffsetMode::Correct)])?,
        calibration: calibration(&mut reader)?,
    };
    let mut settings = Settings {
        daemon,
        journal,
        sources,
        references,
        model,
        i0,
        detector,
        registration,
        energy,
        classify: classify(&mut reader)?,
        advice: advice(&mut reader)?,
        damage: damage(&mut reader)?,
        limits: limits(&mut reader)?,
        publish: publish(&mut reader)?,
        http: http(&mut reader)?,
        archive: archive::archive(&mut reader)?,
        alerts: alerts::alerts(&mut reader)?,
        log: log(&mut reader)?,
        warnings: Vec::new(),
        effective: Vec::new(),
    };
    settings.warnings = warnings(&settings);
    settings.effective = reader.into_effective();
    Ok(settings)
}

fn model(reader: &mut Reader) -> Result<ModelSettings> {
    Ok(ModelSettings {
        path: reader.path("model.path")?,
        backend: reader.choice(
            "model.backend",
            &[
                ("auto", ModelBackend::Auto),
                ("onnxruntime", ModelBackend::Onnxruntime),
                ("tract", ModelBackend::Tract),
            ],
        )?,
        library: reader.path("model.library")?,
        batch: reader.whole("model.batch", 1, 65_536)?,
    })
}

fn i0(reader: &mut Reader) -> Result<I0Settings> {
    let mode = reader.choice("i0.mode", &[("auto", 0), ("stream", 1), ("region", 2), ("spectrum", 3)])?;
    let spectrum = reader.path("i0.spectrum")?;
    let unit = reader.choice(
        "i0.spectrum_unit",
        &[("counts_per_ms", SpectrumUnit::CountsPerMs), ("counts", SpectrumUnit::Counts)],
    )?;
    let ring_current_ma = reader.optional_number("i0.spectrum_ring_current_ma", 1e-3, 1e4)?;
    let region = region(reader)?;
    match (mode, spectrum, region) {
        (2, _, Some(region)) => Ok(I0Settings::Region { region }),
        (2, _, None) => {
            Err(reader.refuse("i0.mode", "it needs i0.region, such as { x = [0, 9], y = [0, 9] }"))
        }
        (3, Some(spectrum), _) => Ok(I0Settings::Spectrum { spectrum, unit, ring_current_ma }),
        (3, None, _) => Err(reader.refuse("i0.mode", "it needs i0.spectrum, a file")),
        (1, ..) => Ok(I0Settings::Stream),
        _ => Ok(I0Settings::Auto),
    }
}

fn detector(reader: &mut Reader) -> Result<DetectorSection> {
    Ok(DetectorSection {
        // A second is no dead time: who writes more means another unit.
        dead_time_us: reader.optional_number("detector.dead_time_us", 0.0, 1e6)?,
        saturation: reader.optional_number("detector.saturation", 1e-6, 1e15)?,
        linear_to_hz: reader.optional_number("detector.linear_to_hz", 1e-3, 1e15)?,
        screen_lines: reader.flag("detector.screen_lines")?,
        mask: mask(reader)?,
        find_bad_pixels: reader.flag("detector.find_bad_pixels")?,
        bright_field: frame_area(reader, "detector.bright_field")?,
        dark_field: frame_area(reader, "detector.dark_field")?,
        moments: reader.flag("detector.moments")?,
    })
}

fn mask(reader: &mut Reader) -> Result<Vec<[usize; 2]>> {
    const KEY: &str = "detector.mask";
    let Some(found) = reader.find(KEY) else { return Ok(Vec::new()) };
    let index = |value: &Value| match value {
        Value::Integer(index) => usize::try_from(*index).ok().filter(|index| *index < MAX_AXIS),
        _ => None,
    };
    let pixel = |value: &Value| {
        let Value::Array(pair) = value else { return None };
        let [y, x] = pair.as_slice() else { return None };
        Some([index(&y.value)?, index(&x.value)?])
    };
    let pixels = match &found.value {
        Value::Array(list) => list.iter().map(|node| pixel(&node.value)).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    pixels.ok_or_else(|| {
        reader.refuse(KEY, "it must be a list of pixels, row and column, such as [[3, 17], [40, 2]]")
    })
}

/// A region of detector pixels: a disc, a ring, or rows and columns.
fn frame_area(reader: &mut Reader, key: &str) -> Result<Option<FrameArea>> {
    let Some(found) = reader.find(key) else { return Ok(None) };
    let parsed = match &found.value {
        Value::Table(table) if table.contains_key("centre") => ring(table),
        Value::Table(table) if table.len() == 2 => table
            .get("y")
            .and_then(|node| axis(&node.value))
            .zip(table.get("x").and_then(|node| axis(&node.value)))
            .map(|(y, x)| FrameArea::Rectangle { y, x }),
        _ => None,
    };
    if parsed.is_some() {
        return Ok(parsed);
    }
    Err(reader.refuse(
        key,
        "it must be a disc or ring, such as { centre = [96, 95.5], inner = 20, outer = 80 } (y and x, in detector pixels; inner may be \
         left out), or rows and columns, first and last, such as { y = [0, 63], x = [0, 63] }",
    ))
}

fn ring(table: &BTreeMap<String, Node>) -> Option<FrameArea> {
    let number = |value: &Value| value.number().filter(|v| v.is_finite() && v.abs() <= MAX_AXIS as f64);
    let radius = |key: &str| number(&table.get(key)?.value).filter(|radius| *radius >= 0.0);
    let Value::Array(centre) = &table.get("centre")?.value else { return None };
    let [y, x] = centre.as_slice() else { return None };
    let centre = [number(&y.value)?, number(&x.value)?];
    let inner = if table.contains_key("inner") { radius("inner")? } else { 0.0 };
    let outer = radius("outer")?;
    let known = table.keys().all(|key| ["centre", "inner", "outer"].contains(&key.as_str()));
    (known && inner < outer).then_some(FrameArea::Annulus { centre, inner, outer })
}

/// First and last pixel along an axis.
fn axis(value: &Value) -> Option<[usize; 2]> {
    let Value::Array(list) = value else { return None };
    let [first, last] = list.as_slice() else { return None };
    let pixel = |value: &Value| match value {
        Value::Integer(pixel) => usize::try_from(*pixel).ok().filter(|pixel| *pixel < MAX_AXIS),
        _ => None,
    };
    Some([pixel(&first.value)?, pixel(&last.value)?]).filter(|[first, last]| first <= last)
}

fn region(reader: &mut Reader) -> Result<Option<PixelRegion>> {
    const KEY: &str = "i0.region";
    let Some(found) = reader.find(KEY) else { return Ok(None) };
    let parsed = match &found.value {
        Value::Table(table) if table.len() == 2 => table
            .get("x")
            .and_then(|node| axis(&node.value))
            .zip(table.get("y").and_then(|node| axis(&node.value))),
        _ => None,
    };
    match parsed {
        Some((x, y)) => Ok(Some(PixelRegion { x, y })),
        None => Err(reader.refuse(
            KEY,
            "it must be the first and last pixel along both axes, such as { x = [0, 9], y = [0, 9] }",
        )),
    }
}

/// The points of a measured calibration.
fn calibration(reader: &mut Reader) -> Result<Vec<CalibrationPoint>> {
    const KEY: &str = "energy.calibration";
    /// Most that a calibration may move a point, eV.
    const MOST_EV: f64 = 10.0;
    let Some(found) = reader.find(KEY) else { return Ok(Vec::new()) };
    let point = |value: &Value| -> Option<CalibrationPoint> {
        let Value::Table(table) = value else { return None };
        let energy = |key: &str| table.get(key)?.value.number().filter(|ev| *ev > 0.0 && ev.is_finite());
        let point = CalibrationPoint { nominal_ev: energy("nominal_ev")?, true_ev: energy("true_ev")? };
        (table.len() == 2).then_some(point)
    };
    let points: Option<Vec<CalibrationPoint>> = match &found.value {
        Value::Array(list) => list.iter().map(|node| point(&node.value)).collect(),
        _ => None,
    };
    let Some(points) = points else {
        return Err(reader.refuse(KEY, "it must be a list such as [{ nominal_ev = 515.0, true_ev = 515.2 }]"));
    };
    if points.iter().any(|point| (point.true_ev - point.nominal_ev).abs() > MOST_EV) {
        return Err(reader.refuse(KEY, "nominal and true energy may be at most 10 eV apart"));
    }
    let same = |point: &CalibrationPoint| point.nominal_ev == points[0].nominal_ev;
    if points.len() > 1 && points.iter().all(same) {
        return Err(reader.refuse(KEY, "several points need different nominal energies"));
    }
    Ok(points)
}

fn classify(reader: &mut Reader) -> Result<ClassifySettings> {
    Ok(ClassifySettings {
        rule: reader.choice(
            "classify.rule",
            &[("evidence", ClassifyRule::Evidence), ("margin", ClassifyRule::Margin)],
        )?,
        // With two energies every correlation is 1 or -1.
        min_energies: reader.whole("classify.min_energies", 3, MAX_ENERGIES)?,
        min_delta_chi2: reader.number("classify.min_delta_chi2", 0.0, 1e6)?,
        min_confidence: reader.number("classify.min_confidence", 0.0, 1.0)?,
        neighbours: reader.flag("classify.neighbours")?,
        min_correlation: reader.number("classify.min_correlation", 0.0, 1.0)?,
        min_margin: reader.number("classify.min_margin", 0.0, 2.0)?,
        background_edge_jump: reader.number("classify.background_edge_jump", 0.0, 100.0)?,
        max_od: reader.number("classify.max_od", 0.1, 100.0)?,
        baseline: reader
            .choice("classify.baseline", &[("none", Baseline::None), ("linear", Baseline::Linear)])?,
    })
}

fn advice(reader: &mut Reader) -> Result<AdviceSettings> {
    Ok(AdviceSettings {
        enabled: reader.flag("advice.enabled")?,
        move_ms_per_ev: reader.number("advice.move_ms_per_ev", 0.0, 1e6)?,
        settle_ms: reader.number("advice.settle_ms", 0.0, 1e6)?,
        stop_below: reader.number("advice.stop_below", 0.0, 1.0)?,
    })
}

fn damage(reader: &mut Reader) -> Result<DamageSettings> {
    let dose = DoseSettings {
        enabled: reader.flag("damage.enabled")?,
        flux_ph_per_s: reader.optional_number("damage.flux_ph_per_s", 1.0, 1e18)?,
        exposure_factor: reader.number("damage.exposure_factor", 0.01, 1000.0)?,
        // Below that, somebody means another number.
        detector_efficiency: reader.optional_number("damage.detector_efficiency", 1e-6, 1.0)?,
        composition: reader.text("damage.composition")?,
        density_g_per_cm3: reader.optional_number("damage.density_g_per_cm3", 1e-3, 30.0)?,
        // A tenth of a millimetre is no focus.
        spot_nm: reader.optional_number("damage.spot_nm", 0.1, 1e5)?,
        depth: reader.choice("damage.dose", &[("mean", DoseDepth::Mean), ("surface", DoseDepth::Surface)])?,
    };
    let watch = MonitorSettings {
        watch: reader.flag("damage.watch")?,
        false_alarms: reader.number("damage.false_alarms", 1e-9, 0.5)?,
        warn_loss: reader.number("damage.warn_loss", 0.001, 1.0)?,
        critical_loss: reader.number("damage.critical_loss", 0.001, 1.0)?,
        floor_od: reader.number("damage.floor_od", 0.0, 1.0)?,
        least_pixels: reader.whole("damage.least_pixels", 4, MAX_AXIS * MAX_AXIS)?,
        reduces_to: reader.text("damage.reduces_to")?,
        plateau_known: reader.flag("damage.plateau_known")?,
    };
    if watch.critical_loss < watch.warn_loss {
        return Err(reader.refuse("damage.critical_loss", "it must be damage.warn_loss or more".to_owned()));
    }
    if let Some(error) = dose.composition.as_ref().and_then(|formula| Material::check(formula).err()) {
        let wanted = format!("it must be a sum formula such as Na2.4V2(PO4)2F3: {error}");
        return Err(reader.refuse("damage.composition", wanted));
    }
    Ok(DamageSettings { dose, watch })
}

fn limits(reader: &mut Reader) -> Result<LimitsSettings> {
    const KIB: usize = 1024;
    const TIB: usize = 1 << 40;
    let limits = LimitsSettings {
        stack_bytes: reader.whole("limits.stack_bytes", KIB, TIB)?,
        total_bytes: reader.whole("limits.total_bytes", KIB, TIB)?,
        open_scans: reader.whole("limits.open_scans", 1, 1000)?,
        // Less would not hold one message with a plan.
        queue_bytes: reader.whole("limits.queue_bytes", 2 * KIB * KIB, TIB)?,
        held_bytes: reader.whole("limits.held_bytes", 0, TIB)?,
        kept_bytes: reader.whole("limits.kept_bytes", 0, TIB)?,
        pixels: reader.whole("limits.pixels", 1, MAX_AXIS * MAX_AXIS)?,
        message_bytes: reader.whole("limits.message_bytes", 2 * KIB * KIB, TIB)?,
    };
    if limits.total_bytes < limits.stack_bytes {
        let stack = limits.stack_bytes;
        return Err(
            reader.refuse("limits.total_bytes", format!("it must be at least limits.stack_bytes, {stack}"))
        );
    }
    Ok(limits)
}

fn publish(reader: &mut Reader) -> Result<PublishSettings> {
    let bind = reader.text("publish.bind")?.unwrap_or_default();
    if tcp(&bind).is_none() {
        return Err(reader.refuse("publish.bind", "it must be an address such as tcp://127.0.0.1:5556"));
    }
    Ok(PublishSettings {
        bind,
        min_interval_ms: reader.whole("publish.min_interval_ms", 0, 3_600_000)?,
        queue_bytes: reader.whole("publish.queue_bytes", 1024 * 1024, 1 << 40)?,
    })
}

fn http(reader: &mut Reader) -> Result<HttpSettings> {
    const KEY: &str = "http.listen";
    let text = reader.text(KEY)?.unwrap_or_default();
    let allow_open = reader.flag("http.allow_open")?;
    let numeric = text.strip_prefix("localhost:").map_or(text.clone(), |port| format!("127.0.0.1:{port}"));
    let Ok(listen) = numeric.parse::<SocketAddr>() else {
        return Err(reader.refuse(KEY, "it must be an address and port such as 127.0.0.1:8787"));
    };
    if !listen.ip().is_loopback() && !allow_open {
        return Err(reader.refuse(
            KEY,
            "other machines reach this address, and the token goes there in plain text; use 127.0.0.1 and a proxy with TLS \
             before it, or set http.allow_open = true on a closed network",
        ));
    }
    let (open_reading, token_env) =
        (reader.flag("http.open_reading")?, alerts::variable(reader, "http.token_env")?);
    let public_url = reader.text("http.public_url")?;
    let public_url = match public_url.map(|text| secret::public_url(&text)) {
        None => None,
        Some(Some(url)) => Some(url),
        Some(None) => {
            let wanted =
                "it must be where people reach the page, such as https://stxm.example.org/phasewatch";
            return Err(reader.refuse_unseen("http.public_url", wanted));
        }
    };
    Ok(HttpSettings { listen, allow_open, open_reading, token_env, public_url })
}

fn log(reader: &mut Reader) -> Result<LogSettings> {
    let levels = LogLevel::ALL.map(|level| (level.name(), level));
    Ok(LogSettings {
        level: reader.choice("log.level", &levels)?,
        format: reader.choice("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?,
        priority: reader.choice(
            "log.priority",
            &[("auto", LogPriority::Auto), ("on", LogPriority::On), ("off", LogPriority::Off)],
        )?,
    })
}

/// What is accepted, but does not do what one might think.
fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if tcp(&settings.publish.bind).is_some_and(|(host, _)| !is_loopback(host)) {
        let bind = &settings.publish.bind;
        warnings.push(format!(
            "publish.bind = {bind:?}: other machines reach it, and there is no authentication"
        ));
    }
    warnings.extend(archive::warnings(&settings.archive).map(str::to_owned));
    warnings
}
