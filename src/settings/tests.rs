//! Tests of whole configurations.

use std::path::{Path, PathBuf};

use super::keys::{
    COMMAND_DEFAULTS, COMMAND_KEYS, KEYS, SOURCE_DEFAULTS, SOURCE_KEYS, WEBHOOK_DEFAULTS, WEBHOOK_KEYS,
};
use super::*;
use crate::detector::FrameArea;

fn load(text: &str) -> Result<Settings, SettingsError> {
    with_env(text, &[])
}

fn with_env(text: &str, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let variables = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_layers(&[(PathBuf::from("/site/pw.toml"), text.to_owned())], variables)
}

fn refused(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

const SOURCE: &str = "[[source]]\nkind = \"stxm-stream\"\nconnect = \"tcp://10.0.0.1:5555\"\n";

/// `default.toml` with its commented examples made real.
fn all_keys() -> String {
    let key_line = |line: &str| {
        (line.starts_with("[[") && line.ends_with("]]"))
            || line.split_once(" = ").is_some_and(|(key, _)| {
                key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            })
    };
    DEFAULT_TOML
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| key_line(rest)).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_defaults_are_good_and_complete() {
    let settings = Settings::defaults().unwrap();
    assert!(settings.sources.is_empty() && settings.warnings.is_empty());
    let shown: Vec<_> = settings.provenance().iter().map(|entry| entry.key.clone()).collect();
    let keys: Vec<_> = KEYS.iter().map(|(section, key, _)| format!("{section}.{key}")).collect();
    assert_eq!(shown, keys, "every key is read, in order");
    assert!(settings.provenance().iter().all(|entry| entry.origin == "default"));
}

#[test]
fn every_key_is_documented_in_the_default_file() {
    let document = crate::document::parse(&all_keys()).unwrap();
    for (section, key, _) in KEYS {
        let crate::document::Value::Table(table) = &document[section].value else { panic!("{section}") };
        assert!(table.contains_key(key), "{section}.{key}");
    }
    let lines: Vec<String> = all_keys().lines().map(str::to_owned).collect();
    for (index, line) in
        lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
    {
        assert!(lines[index - 1].starts_with('#'), "no comment above {line:?}");
    }
    for key in SOURCE_KEYS.iter().filter(|key| !["sockets", "geometry", "geometry_from"].contains(*key)) {
        assert!(DEFAULT_TOML.contains(&format!("# {key} = ")), "{key}");
    }
    for key in WEBHOOK_KEYS.iter().chain(&COMMAND_KEYS) {
        assert!(DEFAULT_TOML.contains(&format!("# {key} = ")), "{key}");
    }
    for default in [SOURCE_DEFAULTS, WEBHOOK_DEFAULTS, COMMAND_DEFAULTS].into_iter().flat_map(str::lines) {
        assert!(DEFAULT_TOML.contains(&format!("# {default}\n")), "{default}");
    }
}

#[test]
fn the_commented_examples_load_once_uncommented() {
    // All but bind and url_env: a source, and a webhook, has either.
    let text: String = all_keys()
        .lines()
        .filter(|line| *line != "bind = \"tcp://127.0.0.1:5555\"" && !line.starts_with("url_env"))
        .map(|line| format!("{line}\n"))
        .collect();
    let settings = load(&text).unwrap();
    assert_eq!(settings.sources[0].name, "microscope");
    assert_eq!(settings.references.dir.as_deref(), Some(Path::new("/site/references/nvpf")));
}

#[test]
fn later_layers_win_and_say_so() {
    let env =
        [("PHASEWATCH__LIMITS__OPEN_SCANS", "3"), ("PHASEWATCH__LOG__LEVEL", "debug"), ("PHASEWATCH_X", "1")];
    let settings = with_env("[limits]\nopen_scans = 2\npixels = 100\n", &env).unwrap();
    assert_eq!((settings.limits.open_scans, settings.limits.pixels), (3, 100));
    let origin = |key: &str| {
        settings.provenance().iter().find(|entry| entry.key == key).map(|entry| entry.origin.clone()).unwrap()
    };
    assert_eq!(origin("limits.open_scans"), "environment variable PHASEWATCH__LIMITS__OPEN_SCANS");
    assert_eq!(origin("limits.pixels"), "/site/pw.toml line 3");
    assert_eq!(origin("limits.queue_bytes"), "default");
}

#[test]
fn a_source_gets_its_defaults_and_a_name() {
    let settings = load(&format!("{SOURCE}\n{SOURCE}beamline = \"x\"\n")).unwrap();
    let source = &settings.sources[0];
    assert_eq!(source.endpoint, Endpoint::Connect("tcp://10.0.0.1:5555".to_owned()));
    assert_eq!((source.socket, source.silence_s, source.reopen_s), (SocketKind::Pull, 1800.0, 43200.0));
    assert_eq!(
        (source.name.as_str(), settings.sources[1].name.as_str()),
        ("10.0.0.1:5555", "10.0.0.1:5555#2")
    );
    let from_env = with_env(
        SOURCE,
        &[("PHASEWATCH__SOURCE", "[{ kind = \"stxm-stream\", bind = \"tcp://127.0.0.1:0\" }]")],
    );
    assert_eq!(from_env.unwrap().sources[0].endpoint, Endpoint::Bind("tcp://127.0.0.1:0".to_owned()));
}

#[test]
fn who_is_asked_for_what_is_missing() {
    let source = |lines: &str| load(&format!("{SOURCE}{lines}")).unwrap().sources.remove(0);
    let default = source("");
    assert_eq!((default.resend, default.resend_hosts.len()), (ResendTo::AsTold, 0));
    assert_eq!((default.resend_after_s, default.resend_wait_s), (0.5, 60.0));
    assert_eq!(source("resend = \"off\"").resend, ResendTo::Nobody);
    let address = "tcp://10.0.0.9:5560";
    assert_eq!(source(&format!("resend = {address:?}")).resend, ResendTo::Address(address.to_owned()));
    assert_eq!(source("resend_hosts = [\"a-b.c\", \"::1\"]").resend_hosts, ["a-b.c", "::1"]);
}

#[test]
fn an_unknown_key_names_the_nearest() {
    for (text, wanted) in [
        (
            "[limits]\nopen_scan = 3\n",
            "/site/pw.toml line 2: unknown key limits.open_scan; did you mean limits.open_scans?",
        ),
        ("[limit]\n", "did you mean limits?"),
        ("listen = \"x\"\n", "did you mean http.listen?"),
        (
            "[[source]]\nkind = \"stxm-stream\"\nconect = \"x\"\n",
            "line 3: unknown key source[0].conect; did you mean source[0].connect?",
        ),
    ] {
        let message = refused(text);
        assert!(message.contains(wanted), "{text:?} gave {message:?}");
    }
    let message = with_env("", &[("PHASEWATCH__HTTP__LISTN", "x")]).unwrap_err().to_string();
    assert!(message.contains("did you mean PHASEWATCH__HTTP__LISTEN?"), "{message}");
}

#[test]
fn a_wrong_value_names_key_place_and_what_is_allowed() {
    let with = |line: &str| format!("{SOURCE}{line}\n");
    let pair = |line: &str| format!("[[source]]\nkind = \"desy\"\nconnect = \"tcp://a:50001\"\n{line}\n");
    let sockets = |lines: &str| {
        format!(
            "[[source]]\nkind = \"desy\"\ngeometry = {{ energies_ev = [510.0] }}\n[[source.sockets]]\n{lines}\n"
        )
    };
    let detector =
        |line: &str| format!("[[source]]\nkind = \"dectris\"\nconnect = \"tcp://a:31001\"\n{line}\n");
    for (text, wanted) in [
        (
            "[limits]\n\nopen_scans = 0\n".to_owned(),
            "/site/pw.toml line 3: limits.open_scans = 0: it must be a whole number from 1 to 1000",
        ),
        ("[limits]\nopen_scans = \"many\"\n".to_owned(), "limits.open_scans = \"many\": it must be a whole"),
        ("[limits]\ntotal_bytes = 4096\n".to_owned(), "at least limits.stack_bytes"),
        ("[classify]\nmin_correlation = nan\n".to_owned(), "a number from 0 to 1"),
        ("[classify]\nrule = \"guess\"\n".to_owned(), "\"evidence\" or \"margin\""),
        ("[daemon]\ndrain_s = -1\n".to_owned(), "seconds above 0"),
        ("[http]\nlisten = \"0.0.0.0:8787\"\n".to_owned(), "http.allow_open = true"),
        ("[http]\nlisten = \"8787\"\n".to_owned(), "127.0.0.1:8787"),
        ("[publish]\nbind = \"5556\"\n".to_owned(), "tcp://127.0.0.1:5556"),
        ("[i0]\nmode = \"region\"\n".to_owned(), "needs i0.region"),
        ("[i0]\nmode = \"spectrum\"\n".to_owned(), "needs i0.spectrum"),
        ("[i0]\nregion = { x = [5, 2], y = [0, 1] }\n".to_owned(), "first and last pixel"),
        (
            "[i0]\nspectrum_ring_current_ma = 0\n".to_owned(),
            "i0.spectrum_ring_current_ma = 0: it must be a number",
        ),
        (
            "[detector]\ndead_time_us = -1\n".to_owned(),
            "detector.dead_time_us = -1: it must be a number from 0",
        ),
        ("[detector]\nlinear_to_hz = \"fast\"\n".to_owned(), "detector.linear_to_hz"),
        ("[detector]\nscreen_lines = 1\n".to_owned(), "true or false"),
        ("[detector]\nmask = [[1, 2, 3]]\n".to_owned(), "row and column"),
        ("[detector]\nbright_field = { centre = [9, 9] }\n".to_owned(), "a disc or ring"),
        (
            "[detector]\nbright_field = { centre = [9, 9], inner = 5, outer = 5 }\n".to_owned(),
            "a disc or ring",
        ),
        (
            "[detector]\ndark_field = { centre = [9, 9], outer = 5, radius = 5 }\n".to_owned(),
            "detector.dark_field",
        ),
        ("[detector]\ndark_field = { y = [3, 2], x = [0, 1] }\n".to_owned(), "rows and columns"),
        ("[detector]\nmoments = 1\n".to_owned(), "true or false"),
        ("daemon = 3\n".to_owned(), "has to be a section, [daemon]"),
        ("source = 3\n".to_owned(), "[[source]]"),
        ("a = = 1\n".to_owned(), "/site/pw.toml line 1"),
        ("[[source]]\nconnect = \"tcp://a:1\"\n".to_owned(), "source[0].kind = nothing"),
        ("[[source]]\nkind = \"scan\"\n".to_owned(), "\"dectris\" or \"desy\""),
        (pair(""), "does not say its energies"),
        (pair("geometry = { dwell_ms = 2.0 }"), "energies_ev is missing"),
        (pair("geometry = { energies_ev = [510.0], shape = [2, 3] }"), "shape is what the stream says"),
        (pair("geometry = { energies_ev = [-510.0] }"), "energies_ev"),
        (pair("[[source.sockets]]\nrole = \"data\"\nconnect = \"tcp://a:1\""), "each of them has its own"),
        (sockets("role = \"data\"\nconnect = \"tcp://a:1\""), "it must be two"),
        (sockets("role = \"frames\"\nconnect = \"tcp://a:1\""), "source[0].sockets[0].role"),
        (sockets("role = \"data\"\nbind = \"tcp://0.0.0.0:1\""), "there is no authentication"),
        (sockets("role = \"data\"\nport = 1"), "port"),
        (detector("socket = \"sub\""), "pushes"),
        (detector("geometry_from = \"nobody\""), "the name of another [[source]]"),
        (detector("geometry = { shap = [2, 3] }"), "shape"),
        (detector("geometry = { series = \"day\" }"), "stack, energy or line"),
        (detector("geometry = { shape = [2, 3], energies_ev = [510.0] }"), "missing field"),
        (with("geometry = { series = \"line\" }"), "says itself what is scanned"),
        (with("geometry_from = \"a\""), "says itself what is scanned"),
        ("[[source]]\nkind = \"stxm-stream\"\n".to_owned(), "either connect or bind"),
        (with("bind = \"tcp://127.0.0.1:1\""), "not both"),
        (with("silence_s = 0"), "line 4: source[0].silence_s = 0"),
        (with("topic = \"x\""), "only socket = \"sub\""),
        (with("beamline = \"a/b\""), "1 to 128 characters"),
        (with("resend = \"10.0.0.1:5560\""), "tcp://127.0.0.1:5560, or \"off\""),
        (with("resend = \"tcp://10.0.0.1:0\""), "tcp://127.0.0.1:5560, or \"off\""),
        (with("resend_hosts = \"10.0.0.1\""), "a list of hosts"),
        (with("resend_hosts = [\"tcp://10.0.0.1:5560\"]"), "hosts without port"),
        (with("resend_hosts = [\"*\"]"), "a list of hosts"),
        (with("resend_after_s = 0"), "source[0].resend_after_s = 0"),
        (with("[[source.sockets]]\nrole = \"x\""), "only kind = \"desy\""),
        (with("name = \"a\"") + &with("name = \"a\""), "names must differ"),
        (
            "[[source]]\nkind = \"stxm-stream\"\nbind = \"tcp://0.0.0.0:1\"\n".to_owned(),
            "allow_open_bind = true",
        ),
    ] {
        let message = refused(&text);
        assert!(message.contains(wanted), "{text:?} gave {message:?}");
    }
}

#[test]
fn the_detector_is_as_the_stream_says_unless_it_is_told() {
    let detector = load("").unwrap().detector;
    assert_eq!((detector.dead_time_us, detector.saturation, detector.linear_to_hz), (None, None, None));
    assert!(detector.screen_lines && detector.find_bad_pixels && detector.mask.is_empty());
    let text = "[detector]\ndead_time_us = 0\nsaturation = 65535\nmask = [[3, 17], [40, 2]]\n";
    let detector = load(text).unwrap().detector;
    assert_eq!((detector.dead_time_us, detector.saturation), (Some(0.0), Some(65_535.0)));
    assert_eq!(detector.mask, [[3, 17], [40, 2]]);
}

#[test]
fn regions_of_a_frame_are_discs_rings_and_rectangles() {
    let detector = load("").unwrap().detector;
    assert_eq!((detector.bright_field, detector.dark_field, detector.moments), (None, None, false));
    let text = "[detector]\nbright_field = { centre = [9.5, 9], outer = 4 }\nmoments = true\n\
                dark_field = { centre = [9.5, 9], inner = 4, outer = 8.5 }\n";
    let detector = load(text).unwrap().detector;
    let ring = |inner, outer| Some(FrameArea::Annulus { centre: [9.5, 9.0], inner, outer });
    assert_eq!((detector.bright_field, detector.dark_field), (ring(0.0, 4.0), ring(4.0, 8.5)));
    assert!(detector.moments);
    let detector = load("[detector]\nbright_field = { y = [0, 3], x = [2, 2] }\n").unwrap().detector;
    assert_eq!(detector.bright_field, Some(FrameArea::Rectangle { y: [0, 3], x: [2, 2] }));
}

#[test]
fn a_publisher_that_others_reach_is_warned_of() {
    let text = "[registration]\nmode = \"auto\"\n[publish]\nbind = \"tcp://*:5556\"\n";
    let warnings = load(text).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("no authentication"));
}

#[test]
fn to_run_there_must_be_a_source_and_references() {
    let missing = |text: &str| load(text).unwrap().check_runnable().unwrap_err().to_string();
    assert!(missing("").contains("source is missing"));
    assert!(missing(SOURCE).contains("references.dir is missing"));
    let dir = tempfile::tempdir().unwrap();
    let with_dir = format!("references.dir = {:?}\n{SOURCE}", dir.path());
    load(&with_dir).unwrap().check_runnable().unwrap();
    assert!(
        missing(&format!("model.library = \"absent.so\"\n{with_dir}"))
            .contains("/site/absent.so is not a file")
    );
    let without_model = format!("model.path = \"absent.onnx\"\n{with_dir}");
    load(&without_model).unwrap().check_runnable().unwrap();
}

#[test]
fn everything_is_kept_and_nothing_sent_unless_it_is_asked_for() {
    let archive = load("").unwrap().archive;
    assert_eq!((archive.remote, archive.remote_endpoint), (None, None));
    assert_eq!((archive.verify_every_days, archive.prune_stacks_after_days), (0.0, 0.0));
    assert_eq!((archive.prune_unverified, archive.quarantine_damaged), (false, false));
    assert_eq!(archive.quarantine_partial_after_days, 0.0);
    let text = "[archive]\nremote = \"s3://bucket/a\"\nremote_endpoint = \"https://s3.example:9000/\"\n";
    let settings = load(text).unwrap();
    assert_eq!(settings.archive.remote_endpoint.as_deref(), Some("https://s3.example:9000"));
    let json = serde_json::to_value(&settings.archive).unwrap();
    assert_eq!((&json["remote"], &json["remote_credentials"]), (&"s3://bucket/a".into(), &"AWS".into()));
    let http = "[archive]\nremote_endpoint = \"http://10.0.0.1:9000\"\n";
    assert!(refused(http).contains("archive.remote_allow_http = true"));
    let warned = |text: &str| load(text).unwrap().warnings.join(" ");
    assert!(warned(&format!("{http}remote_allow_http = true\n")).contains("read on the way"));
    assert!(warned("[archive]\nprune_stacks_after_days = 90\n").contains("nothing is removed"));
    let unverified = "[archive]\nprune_stacks_after_days = 90\nprune_unverified = true\n";
    assert!(warned(unverified).contains("no copy is known to be good"));
    assert!(warned(&format!("{text}prune_stacks_after_days = 90\n")).is_empty());
    assert!(refused("[archive]\nprune_stacks_after_days = -1\n").contains("from 0 to 36500"));
    assert!(refused("[archive]\nremote_region = \"\"\n").contains("us-east-1"));
}

#[test]
fn a_secret_that_was_put_into_the_settings_is_refused_and_never_repeated() {
    for line in [
        "remote = \"s3://AKID:wJalrXUtnFEMI@bucket\"",
        "remote_endpoint = \"https://AKID:wJalrXUtnFEMI@s3.example\"",
        "remote_credentials = \"wJalrXUtnFEMI\"",
        "secret_access_key = \"wJalrXUtnFEMI\"",
    ] {
        let said = refused(&format!("[archive]\n{line}\n"));
        assert!(said.contains("line 2") && !said.contains("wJalrXUtnFEMI"), "{said}");
    }
}

#[test]
fn settings_become_json() {
    let json = serde_json::to_value(load(SOURCE).unwrap()).unwrap();
    assert_eq!(json["sources"][0]["kind"], "stxm-stream");
    assert_eq!(json["sources"][0]["endpoint"]["connect"], "tcp://10.0.0.1:5555");
    assert_eq!(json["i0"]["mode"], "auto");
    assert_eq!(json["http"]["listen"], "127.0.0.1:8787");
    assert_eq!(json["log"]["level"], "info");
}

#[test]
fn a_calibration_is_a_list_of_points() {
    assert!(load(SOURCE).unwrap().energy.calibration.is_empty());
    let two = "[energy]\ncalibration = [{ nominal_ev = 515, true_ev = 515.2 }, { nominal_ev = 530.0, true_ev = 530.3 }]\n";
    let points = load(two).unwrap().energy.calibration;
    assert_eq!((points.len(), points[0].nominal_ev, points[1].true_ev), (2, 515.0, 530.3));
    for (wrong, why) in [
        ("515.2", "it must be a list"),
        ("[{ nominal_ev = 515.0 }]", "it must be a list"),
        ("[{ nominal_ev = 515.0, true_ev = 51.5 }]", "at most 10 eV apart"),
        ("[{ nominal_ev = 515.0, true_ev = 515.1 }, { nominal_ev = 515.0, true_ev = 515.3 }]", "different"),
    ] {
        let said = refused(&format!("[energy]\ncalibration = {wrong}\n"));
        assert!(said.contains("energy.calibration") && said.contains(why), "{said}");
    }
}

#[test]
fn a_composition_has_to_be_a_formula_and_an_efficiency_a_share() {
    let text = refused("[damage]\ncomposition = \"Na2.4V2(PO4\"\n");
    assert!(text.contains("damage.composition") && text.contains("not closed"), "{text}");
    assert!(refused("[damage]\ndetector_efficiency = 30\n").contains("damage.detector_efficiency"));
    assert!(refused("[damage]\ndose = \"total\"\n").contains("surface"));
    let settings = load("[damage]\ncomposition = \"FePO4·2H2O\"\nspot_nm = 40\n").unwrap();
    let dose = crate::pipeline::dose(&settings);
    assert_eq!((dose.spot_nm, dose.composition.as_deref()), (Some(40.0), Some("FePO4·2H2O")));
    // What a journal says of the settings reads back as what the dose was reckoned with.
    let pinned = serde_json::to_value(&settings).unwrap();
    assert_eq!(
        serde_json::from_value::<crate::damage::DoseSettings>(pinned["damage"].clone()).unwrap(),
        dose
    );
}

#[test]
fn alerts_go_where_they_are_told_to() {
    let none = load("").unwrap().alerts;
    assert_eq!((none.remind_s, none.keep_days, none.token_env), (600.0, 30.0, None));
    assert!(none.webhooks.is_empty() && none.commands.is_empty());
    let text = "[alerts]\nremind_s = 0\n[[alerts.webhook]]\nurl = \"https://chat.example/hooks/s3cr3t\"\n\
                format = \"slack\"\nheaders_env = { Authorization = \"CHAT_TOKEN\" }\n\
                [[alerts.webhook]]\nname = \"log\"\nurl_env = \"SITE_URL\"\nmin_level = \"notice\"\n\
                [[alerts.command]]\nprogram = \"bin/lamp\"\nargs = [\"--red\"]\ntimeout_s = 3\n";
    let settings = load(text).unwrap();
    let alerts = &settings.alerts;
    assert_eq!(
        (alerts.webhooks[0].name.as_str(), alerts.webhooks[0].format),
        ("webhook-1", ChatFormat::Slack)
    );
    assert_eq!(alerts.webhooks[0].headers_env["Authorization"], "CHAT_TOKEN");
    assert_eq!(alerts.webhooks[1].address, WebhookAddress::Variable("SITE_URL".to_owned()));
    assert_eq!(alerts.webhooks[1].min_level, crate::damage::Level::Notice);
    assert_eq!((alerts.webhooks[0].timeout_s, alerts.commands[0].timeout_s), (10.0, 3.0));
    assert_eq!(alerts.commands[0].program, Path::new("/site/bin/lamp"));
    let shown =
        format!("{:?} {:?} {}", settings, settings.provenance(), serde_json::to_string(&settings).unwrap());
    assert!(!shown.contains("s3cr3t"), "{shown}");
    assert!(settings.provenance().iter().any(|entry| entry.key == "alerts.webhook[1].min_level"));
    let env = [("PHASEWATCH__ALERTS__COMMAND", "[{ program = \"lamp\" }]")];
    assert_eq!(with_env("", &env).unwrap().alerts.commands[0].program, Path::new("lamp"));
}

#[test]
fn what_is_wrong_about_alerts_is_named_with_its_line_and_no_secret() {
    let hook = "[[alerts.webhook]]\nurl = \"https://chat.example/s3cr3t\"\n";
    for (text, wanted) in [
        (
            "[[alerts.webhook]]\nurl = \"https://a:s3cr3t@chat.example/x\"\n".to_owned(),
            "line 2: alerts.webhook[0].url",
        ),
        ("[[alerts.webhook]]\nurl = \"http://chat.example/s3cr3t\"\n".to_owned(), "allow_http = true"),
        (
            "[[alerts.webhook]]\nurl_env = \"https://chat.example/s3cr3t\"\n".to_owned(),
            "never the secret itself",
        ),
        ("[[alerts.webhook]]\nname = \"x\"\n".to_owned(), "give url, or url_env"),
        (format!("{hook}url_env = \"A\"\n"), "not both"),
        (
            format!("{hook}format = \"teams\"\n"),
            "line 3: alerts.webhook[0].format = \"teams\": it must be \"json\" or",
        ),
        (format!("{hook}min_level = \"loud\"\n"), "alerts.webhook[0].min_level"),
        (format!("{hook}timeout_s = 0\n"), "line 3: alerts.webhook[0].timeout_s = 0"),
        (
            format!("{hook}headers_env = {{ Authorization = \"Bearer s3cr3t\" }}\n"),
            "line 3: alerts.webhook[0].headers_env",
        ),
        (format!("{hook}retries = 3\n"), "line 3: unknown key alerts.webhook[0].retries"),
        (format!("{hook}name = \"a\"\n{hook}name = \"a\"\n"), "line 6: alerts.webhook[1].name"),
        ("[alerts]\nwebhook = { url = \"https://a/s3cr3t\" }\n".to_owned(), "[[alerts.webhook]]"),
        ("[[alerts.command]]\nargs = [\"x\"]\n".to_owned(), "alerts.command[0].program"),
        ("[[alerts.command]]\nprogram = \"x\"\nargs = \"y\"\n".to_owned(), "line 3: alerts.command[0].args"),
        ("[alerts]\nremind_s = -1\n".to_owned(), "line 2: alerts.remind_s = -1"),
        ("[alerts]\ntoken_env = \"s3cr3t token\"\n".to_owned(), "line 2: alerts.token_env"),
        ("[http]\npublic_url = \"stxm\"\n".to_owned(), "line 2: http.public_url"),
        ("[log]\npriority = \"yes\"\n".to_owned(), "\"auto\" or \"on\" or \"off\""),
    ] {
        let message = refused(&text);
        assert!(message.contains(wanted) && !message.contains("s3cr3t"), "{text:?} gave {message:?}");
    }
}

#[test]
fn a_pair_of_sockets_is_one_source() {
    let text = "[[source]]\nkind = \"desy\"\ngeometry = { energies_ev = [510.0, 512.0] }\n\
                [[source.sockets]]\nrole = \"data\"\nconnect = \"tcp://a:50002\"\n\
                [[source.sockets]]\nrole = \"metadata\"\nbind = \"tcp://127.0.0.1:50001\"\n";
    let settings = Settings::from_layers(&[("/site/pw.toml".into(), text.to_owned())], []).unwrap();
    let [source] = &settings.sources[..] else { panic!("{:?}", settings.sources) };
    assert_eq!(source.endpoint, Endpoint::Bind("tcp://127.0.0.1:50001".to_owned()));
    assert_eq!(source.data, Some(Endpoint::Connect("tcp://a:50002".to_owned())));
    assert_eq!((source.name.as_str(), source.socket), ("127.0.0.1:50001", SocketKind::Sub));
}
