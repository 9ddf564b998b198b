//! A scan as the screen shows it: on the board, or opened again from the archive. Both have the same routes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;

use super::{HttpState, problem};
use crate::classify::{Optics, PhaseMap};
use crate::publish::library::{EnergyFacts, LibraryError, Opened, Shelfmark};
use crate::publish::{BoardEntry, ScanState};
use crate::scan::{Channel, is_valid_id};
use crate::stack::Stack;

/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where work is done that takes longer than an answer may keep the runtime. Each kind has turns of its own: an archive on a mount that does not
/// answer keeps nobody from looking at a running scan, or at what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// What is worked out of maps and stacks in memory.
    Map,
    /// What is read from the archive.
    Archive,
    /// What the daemon says of itself, and wishes.
    Daemon,
}

/// Turns of each room at a time; others wait.
pub(super) const TURNS: [usize; 3] = [2, 2, 4];

pub(super) type Refused = Box<Response>;

/// Where a scan is, as the address of a request says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Board(String),
    Archive(Shelfmark),
}

impl FromRequestParts<HttpState> for Place {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Response> {
        let bad = |what| problem(StatusCode::BAD_REQUEST, what);
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| bad("this address cannot be read"))?;
        let of = |wanted: &str| params.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value);
        if let (Some(beamline), Some(date), Some(name)) = (of("beamline"), of("date"), of("name")) {
            let mark = Shelfmark::parse(beamline, date, name);
            return mark.map(Self::Archive).ok_or_else(|| bad("this is not a scan of the archive"));
        }
        let id = of("id").filter(|id| is_valid_id(id)).map(str::to_owned);
        id.map(Self::Board).ok_or_else(|| bad("this is not a scan id"))
    }
}

/// A scan that has a map.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub map: Arc<PhaseMap>,
    /// Names the content of all layers; another one after every change.
    pub revision: String,
    /// Whether it is measured now.
    pub live: bool,
    /// What is known of each energy.
    pub energies: Vec<EnergyFacts>,
    pub why_no_spectra: Option<String>,
    pub why_no_islands: Option<String>,
    /// Names what is said of particles and boundaries, where anything is.
    pub findings: Option<String>,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    Board(Box<BoardEntry>),
    Archive(Shelfmark),
}

impl Shown {
    /// What was measured, where it is still in memory.
    pub(super) fn stack(&self) -> Option<Stack> {
        match &self.from {
            From::Board(entry) => Some(entry.sight.as_ref()?.look()?.0),
            From::Archive(_) => None,
        }
    }
}

impl HttpState {
    /// The scan at a place.
    pub(super) async fn shown(&self, place: &Place) -> Result<Shown, Refused> {
        let why_no_islands = self.inner.screen.islands.why_not();
        match place {
            Place::Board(id) => {
                let entry = super::find(self, Some(id))?;
                let missing = || Box::new(problem(StatusCode::NOT_FOUND, "this scan has no map yet"));
                let map = entry.map.clone().ok_or_else(missing)?;
                let stack = entry.sight.as_ref().and_then(|sight| Some(sight.look()?.0));
                let mark = self.shelfmark(&entry);
                let why_no_spectra = (stack.is_none() && mark.is_none()).then(|| {
                    "what was measured is not at hand just now: the scan is being archived".to_owned()
                });
                Ok(Shown {
                    energies: facts(&map, stack.as_ref()),
                    revision: format!("{:x}-{}", self.inner.encoder.epoch(), entry.map_revision),
                    live: !entry.summary.state.is_finished(),
                    map,
                    why_no_spectra,
                    why_no_islands,
                    findings: entry.findings.as_ref().map(|_| entry.findings_revision.to_string()),
                    from: From::Board(Box::new(entry)),
                })
            }
            Place::Archive(mark) => {
                let of = mark.clone();
                let opened = self.read(move |library| library.open(&of)).await?;
                let Opened { map, digest, energies, why_no_spectra, has_findings } = opened;
                let from = From::Archive(mark.clone());
                let revision: String = digest.chars().take(16).collect();
                let findings = has_findings.then(|| revision.clone());
                Ok(Shown {
                    map,
                    revision,
                    live: false,
                    energies,
                    why_no_spectra,
                    why_no_islands,
                    findings,
                    from,
                })
            }
        }
    }

    /// What was measured of a scan that is shown, and what turns it into optical densities.
    pub(super) async fn sight(&self, shown: &Shown) -> Result<(Arc<Stack>, Arc<Optics>), Refused> {
        let mark = match &shown.from {
            From::Board(entry) => {
                if let Some((stack, optics)) = entry.sight.as_ref().and_then(crate::publish::Sight::look) {
                    return Ok((Arc::new(stack), optics));
                }
                self.shelfmark(entry)
            }
            From::Archive(mark) => Some(mark.clone()),
        };
        let why = shown.why_no_spectra.clone().unwrap_or_default();
        let Some(mark) = mark else { return Err(Box::new(problem(StatusCode::NOT_FOUND, &why))) };
        self.read(move |library| library.sight(&mark)).await
    }

    /// What was measured beside the intensity of an archived scan.
    pub(super) async fn channel(
        &self,
        shown: &Shown,
        channel: Channel,
        energy: usize,
    ) -> Result<Bytes, Refused> {
        let mark = match &shown.from {
            From::Board(entry) => self.shelfmark(entry),
            From::Archive(mark) => Some(mark.clone()),
        };
        let why = "what was measured is not at hand just now: the scan is being archived";
        let mark = mark.ok_or_else(|| Box::new(problem(StatusCode::NOT_FOUND, why)))?;
        let values = self.read(move |library| library.channel(&mark, channel, energy)).await?;
        Ok(super::layers::floats(&values))
    }

    /// Where an archived scan of the board stands.
    fn shelfmark(&self, entry: &BoardEntry) -> Option<Shelfmark> {
        // Before that, what lies there may be an earlier archive.
        let folder =
            entry.summary.archive_path.as_deref().filter(|_| entry.summary.state == ScanState::Archived)?;
        self.inner.screen.library.as_ref()?.shelfmark(folder)
    }

    /// Reads something of the archive, where reading may wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn crate::publish::library::Library) -> Result<T, LibraryError> + Send + 'static,
    ) -> Result<T, Refused> {
        let refuse = |status, what: &str| Box::new(problem(status, what));
        let Some(library) = self.inner.screen.library.clone() else {
            return Err(refuse(StatusCode::NOT_FOUND, "there is no archive here"));
        };
        self.aside(Room::Archive, move || work(library.as_ref())).await?.map_err(|error| {
            let status = match &error {
                LibraryError::Missing(_) => StatusCode::NOT_FOUND,
                LibraryError::Gone(_) => StatusCode::GONE,
                LibraryError::Unreadable(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            refuse(status, &error.to_string())
        })
    }

    /// Does something that takes longer than an answer may keep the runtime, a few at a time.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        room: Room,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let failed = || Box::new(problem(StatusCode::INTERNAL_SERVER_ERROR, "this failed; the log says why"));
        let busy =
            || Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, "too much is asked at once; try again"));
        let turn = Arc::clone(&self.inner.screen.turns[room as usize]).acquire_owned();
        let permit = tokio::time::timeout(PATIENCE, turn).await.map_err(|_| busy())?.map_err(|_| failed())?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        task.await.map_err(|error| {
            tracing::error!(%error, "an answer could not be made");
            failed()
        })
    }
}

/// What a map and its stack say of each energy.
fn facts(map: &PhaseMap, stack: Option<&Stack>) -> Vec<EnergyFacts> {
    let pixels = map.plan.grid.pixels().max(1) as f64;
    let planes = stack.map(Stack::planes);
    let whole = map.origin.complete.then_some(1.0);
    let of = |energy: usize| {
        let plane = planes.and_then(|planes| planes.get(energy));
        let shift = map.origin.drift.shift(energy);
        EnergyFacts {
            coverage: plane.map(|plane| plane.measured() as f64 / pixels).or(whole),
            i0_per_ms: map.origin.incident.curve.i0_per_ms.get(energy).copied().flatten(),
            shift: shift.map(|shift| [shift.y, shift.x]),
            shift_error: shift.map(|shift| [shift.error_y, shift.error_x]),
        }
    };
    (0..map.plan.energies_ev.len()).map(of).collect()
}
