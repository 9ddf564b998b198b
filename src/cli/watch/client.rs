//! What is asked of the daemon, and what it answered.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Alerts that are shown, at most.
const MOST_ALERTS: usize = 8;

/// A daemon that is asked.
#[derive(Debug)]
pub(super) struct Client {
    url: String,
    http: reqwest::Client,
}

/// The daemon did not answer as it should; what was seen before is given back.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Lost {
    pub why: String,
    pub before: Option<Box<Seen>>,
}

/// What the daemon said.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub scans: Vec<Scan>,
    /// Which of them is shown.
    pub shown: Option<usize>,
    pub map: Option<Map>,
    pub alerts: Vec<Alert>,
    pub health: Health,
}

impl Seen {
    pub(super) fn scan(&self) -> Option<&Scan> {
        self.scans.get(self.shown?)
    }

    /// The scan so many further down the list.
    pub(super) fn beside(&self, step: isize) -> Option<String> {
        let at = self.shown?.checked_add_signed(step)?;
        self.scans.get(at).map(|scan| scan.scan_id.clone())
    }
}

/// A scan, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Scan {
    pub scan_id: String,
    pub beamline: String,
    pub sample: Option<String>,
    pub region: Option<String>,
    pub state: String,
    pub simulated: bool,
    pub energies_done: usize,
    pub energies_total: usize,
    pub measured_values: usize,
    pub planned_values: usize,
    pub generation: u64,
    pub fractions: Vec<Fraction>,
    pub status_counts: std::collections::BTreeMap<String, usize>,
    pub notes: Vec<String>,
    #[serde(default)]
    pub gaps: Vec<serde_json::Value>,
    pub advice: Option<Advice>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Fraction {
    pub title: String,
    pub colour: [u8; 3],
    pub fraction: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Advice {
    #[serde(default)]
    pub text: Option<String>,
}

/// The map, in codes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Map {
    pub scan_id: String,
    pub generation: u64,
    pub shape: [usize; 2],
    /// Whether rows and columns are drawn from their ends.
    pub flip: [bool; 2],
    pub colours: Vec<[u8; 3]>,
    pub statuses: Vec<String>,
    pub phase: Vec<u8>,
    pub status: Vec<u8>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Alert {
    pub level: String,
    pub scan_id: String,
    pub text: String,
    #[serde(default)]
    pub acknowledged: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Health {
    pub status: String,
    pub troubles: Vec<Trouble>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Trouble {
    pub part: String,
    pub what: String,
}

#[derive(Deserialize)]
struct View {
    generation: u64,
    shape: [usize; 2],
    flip: [bool; 2],
    phases: Vec<Phase>,
    statuses: Vec<String>,
}

#[derive(Deserialize)]
struct Phase {
    colour: [u8; 3],
}

impl Client {
    /// Of the daemon at `url`, showing it the token where there is one.
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, reqwest::Error> {
        let mut headers = HeaderMap::new();
        if let Some(mut value) = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok())
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let url = url.trim_end_matches('/').to_owned();
        // Straight there: a proxy has no business with the token, and does not reach this machine.
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .tls_built_in_root_certs(url.starts_with("https://"))
            .build()?;
        Ok(Self { url, http })
    }

    /// What there is to be seen now; a map that `before` has already is not asked for again.
    pub(super) async fn look(&self, picked: Option<&str>, before: Option<Seen>) -> Result<Seen, Lost> {
        match self.look_anew(picked, before.as_ref()).await {
            Ok(seen) => Ok(seen),
            Err(why) => Err(Lost { why, before: before.map(Box::new) }),
        }
    }

    async fn look_anew(&self, picked: Option<&str>, before: Option<&Seen>) -> Result<Seen, String> {
        let scans: Vec<Scan> = self.json("/api/v1/scans").await?;
        let of = |wanted: &str| scans.iter().position(|scan| scan.scan_id == wanted);
        // One that was named at first has to be there; one that leaves the board later gives way to the latest.
        if let (Some(wanted), None) = (picked, before)
            && of(wanted).is_none()
        {
            return Err(format!("there is no scan {wanted} on the board"));
        }
        let shown = match picked.and_then(of) {
            Some(index) => Some(index),
            None => scans.iter().position(|scan| scan.generation > 0).or((!scans.is_empty()).then_some(0)),
        };
        let map = match shown.map(|index| &scans[index]) {
            Some(scan) if scan.generation > 0 => {
                let known = before.and_then(|before| before.map.as_ref());
                match known.filter(|map| map.scan_id == scan.scan_id && map.generation == scan.generation) {
                    Some(map) => Some(map.clone()),
                    None => self.map(&scan.scan_id).await?,
                }
            }
            _ => None,
        };
        let mut alerts: Vec<Alert> = self.json("/api/v1/alerts?open=true").await?;
        alerts.truncate(MOST_ALERTS);
        let health = self.json("/readyz").await?;
        Ok(Seen { scans, shown, map, alerts, health })
    }

    /// The map of a scan; `None` where the board has let go of it.
    async fn map(&self, scan_id: &str) -> Result<Option<Map>, String> {
        let base = format!("/api/v1/scans/{scan_id}");
        let (status, body) = self.ask(&format!("{base}/view.json")).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let view: View =
            serde_json::from_slice(&body).map_err(|_| format!("{}: this map is not understood", self.url))?;
        let phase = self.bytes(&format!("{base}/layers/phase.bin")).await?;
        let status = self.bytes(&format!("{base}/layers/status.bin")).await?;
        let pixels = view.shape[0].saturating_mul(view.shape[1]);
        if phase.len() != pixels || status.len() != pixels {
            return Err("the daemon sent a map of another size than it said".to_owned());
        }
        Ok(Some(Map {
            scan_id: scan_id.to_owned(),
            generation: view.generation,
            shape: view.shape,
            flip: view.flip,
            colours: view.phases.iter().map(|phase| phase.colour).collect(),
            statuses: view.statuses,
            phase,
            status,
        }))
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Vec<u8>), String> {
        let failed = |error: reqwest::Error| format!("{} does not answer: {}", self.url, error.without_url());
        let response = self.http.get(format!("{}{path}", self.url)).send().await.map_err(failed)?;
        let status = response.status();
        Ok((status, response.bytes().await.map_err(failed)?.to_vec()))
    }

    async fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        let (status, body) = self.ask(path).await?;
        // It answers 503 with what is wrong, which is an answer.
        if status.is_success() || path == "/readyz" {
            return Ok(body);
        }
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let what = told["error"].as_str().unwrap_or("it is no phasewatch");
        Err(format!("{}: status {}: {what}", self.url, status.as_u16()))
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let body = self.bytes(path).await?;
        serde_json::from_slice(&body)
            .map_err(|error| format!("{}{path} is not understood: {error}", self.url))
    }
}
