//! Two sources for one scan: one knows it (its plan, its end, where it is), the other has the frames.
//!
//! What the first says of a scan goes on with the detector of the second; its own values do not, they only tell how far the scan is.
//! Both may be early: events of a scan wait for the first series of frames (before it nobody knows what a frame is), series without a
//! scan wait at whoever asks, until [`Join::hear`] says that there is one. Neither is matched by the clock.
//!
//! Bad input: a series that fits no scan is refused by [`Places`]; where the two sources contradict each other about the energy,
//! the scan is marked as not to be trusted, and says why.

use serde_json::Value;

use super::adapter::{event, remark};
use super::geometry::{Layout, Misplaced, Order, Placed, Places, SeriesFacts, Span};
use crate::scan::{DetectorKind, ScanEvent, ScanKind, ScanPlan, ScanUpdate};

/// Most events of one scan that wait for frames.
const MAX_EARLY: usize = 256;

/// Where a series belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The scan.
    pub scan_id: String,
    /// Its grid and path.
    pub layout: Layout,
    /// The place in it.
    pub placed: Placed,
}

/// Joins scans with the frames of another source.
#[derive(Debug, Default)]
pub struct Join {
    span: Option<Span>,
    order: Order,
    scan: Option<Heard>,
}

/// The scan that was heard last.
#[derive(Debug)]
struct Heard {
    plan: ScanPlan,
    places: Places,
    /// What was said before there were frames.
    early: Vec<ScanEvent>,
    started: bool,
    ended: bool,
    /// Energy of the series that was placed last.
    at: Option<u64>,
    doubted: bool,
}

impl Join {
    /// For series of this span, where it is known beforehand, and scans of this path, where theirs does not say another.
    #[must_use]
    pub fn new(span: Option<Span>, order: Order) -> Self {
        Self { span, order, scan: None }
    }

    /// Takes what the source says that knows scans; what goes on is put behind `events`. Returns whether there is a scan now that series can
    /// be placed in which could not before.
    pub fn hear(&mut self, said: ScanEvent, events: &mut Vec<ScanEvent>) -> bool {
        if let ScanUpdate::Started(plan) = &said.update {
            if plan.scan_kind != ScanKind::Stack {
                events.push(said);
                return false;
            }
            if let Some(scan) = self.scan.as_mut().filter(|scan| scan.plan.scan_id == plan.scan_id) {
                if scan.started {
                    events.push(event(&plan.scan_id, ScanUpdate::Started(Box::new(scan.plan.clone()))));
                }
                return false;
            }
            let sibling = self.scan.take().and_then(|scan| scan.over(events, plan));
            self.scan = Some(self.heard(plan, sibling));
            return true;
        }
        let Some(scan) = self.scan.as_mut().filter(|scan| scan.plan.scan_id == said.scan_id) else {
            // Of one that is over, or no stack.
            if !matches!(
                said.update,
                ScanUpdate::Samples(_) | ScanUpdate::Frames(_) | ScanUpdate::Reduced(..)
            ) {
                events.push(said);
            }
            return false;
        };
        scan.hear(said, events);
        false
    }

    fn heard(&self, plan: &ScanPlan, sibling: Option<String>) -> Heard {
        let request = plan.context.as_ref().map_or(&Value::Null, |context| &context["scanRequest"]);
        let is_set = |key: &str| request[key].as_u64() == Some(1) || request[key].as_bool() == Some(true);
        let order = Order {
            meander: self.order.meander || is_set("meander"),
            y_fast: self.order.y_fast || is_set("yAxisFast"),
        };
        let layout = Layout { shape: plan.grid.shape, order };
        let early = sibling.map(|text| remark(&plan.scan_id, text, true)).into_iter().collect();
        Heard {
            places: Places::new(layout, plan.energies_ev.clone(), self.span),
            plan: plan.clone(),
            early,
            started: false,
            ended: false,
            at: None,
            doubted: false,
        }
    }

    /// Places a series in the scan that runs; `None` while there is none it could be of. The first one starts it.
    ///
    /// # Errors
    /// Where its images fit no place.
    pub fn place(
        &mut self,
        series: &SeriesFacts,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Option<Joined>, Misplaced> {
        let Some(scan) = self.scan.as_mut().filter(|scan| !scan.ended || !scan.started) else {
            return Ok(None);
        };
        match scan.places.place(series) {
            // Of the next one, whose start has not been heard yet.
            Err(Misplaced::OfAnother) => Ok(None),
            Err(misplaced) => Err(misplaced),
            Ok(placed) => {
                scan.start(series, events);
                let pixels = scan.places.layout.pixels();
                // A series of the whole stack is at no energy.
                scan.at = (placed.count <= pixels).then(|| placed.first / pixels);
                Ok(Some(Joined {
                    scan_id: scan.plan.scan_id.clone(),
                    layout: scan.places.layout,
                    // What the other source says of the energy confirms it, or does not.
                    placed: Placed { doubt: placed.doubt.filter(|_| series.energy_ev.is_some()), ..placed },
                }))
            }
        }
    }

    /// Number of the first series of the scan that runs, with its id.
    #[must_use]
    pub fn first_series(&self) -> Option<(&str, u64)> {
        let scan = self.scan.as_ref()?;
        Some((scan.plan.scan_id.as_str(), scan.places.first()?))
    }

    /// Goes on with a scan whose frames began before: its plan, and the number of its first series.
    pub fn recall(&mut self, plan: &ScanPlan, first: u64) {
        let mut scan = self.heard(plan, None);
        scan.places = scan.places.with_first(Some(first));
        scan.started = true;
        self.scan = Some(scan);
    }
}

impl Heard {
    fn hear(&mut self, said: ScanEvent, events: &mut Vec<ScanEvent>) {
        match &said.update {
            ScanUpdate::Samples(batch) => return self.compare(u64::from(batch.energy_index), events),
            ScanUpdate::Frames(_) | ScanUpdate::Reduced(..) => return,
            ScanUpdate::Extended { energies_ev, .. } => self.places.extend(energies_ev),
            ScanUpdate::Ended(_) => self.ended = true,
            _ => {}
        }
        // Numbers of messages are those of the source with the plan; frames have none.
        let said = ScanEvent { seq: None, ..said };
        if self.started {
            events.push(said);
        } else if self.early.len() < MAX_EARLY {
            self.early.push(said);
        }
    }

    /// Holds the energy that the scan is at against that of the frames; either may be one behind the other.
    fn compare(&mut self, energy: u64, events: &mut Vec<ScanEvent>) {
        let Some(at) = self.at.filter(|at| at.abs_diff(energy) > 1 && !self.doubted) else { return };
        self.doubted = true;
        let text = format!(
            "the scan is at energy {energy} (from 0) while frames are taken for energy {at}: which series belongs to which energy is not sure"
        );
        events.push(remark(&self.plan.scan_id, text, true));
    }

    /// Says the plan with what is known of frames now, and what came after it.
    fn start(&mut self, series: &SeriesFacts, events: &mut Vec<ScanEvent>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        series.describe(&mut self.plan);
        events.push(event(&self.plan.scan_id, ScanUpdate::Started(Box::new(self.plan.clone()))));
        events.append(&mut self.early);
    }

    /// Another one begins. A scan whose frames never came is told all the same. Returns what the next one has to say where both are
    /// regions of one request.
    fn over(mut self, events: &mut Vec<ScanEvent>, next: &ScanPlan) -> Option<String> {
        if !self.started {
            let scan_id = self.plan.scan_id.clone();
            events.push(event(&scan_id, ScanUpdate::Started(Box::new(self.plan.clone()))));
            events.push(remark(&scan_id, "no frames of the detector came for this scan".to_owned(), false));
            events.append(&mut self.early);
        }
        let is_sibling = self.plan.group.is_some() && self.plan.group == next.group && !self.ended;
        is_sibling.then(|| {
            let text = "several regions are scanned in turn: which of them a series of frames belongs to cannot be told";
            events.push(remark(&self.plan.scan_id, text.to_owned(), true));
            text.to_owned()
        })
    }
}

impl SeriesFacts {
    /// Says in a plan what frames are.
    pub(super) fn describe(&self, plan: &mut ScanPlan) {
        plan.detector.kind = DetectorKind::Area;
        plan.detector.frame_shape = Some(self.shape);
        plan.detector.saturation = self.saturation.or(plan.detector.saturation);
        plan.detector.left_out = self.left_out.clone();
        // Its dark level was that of another detector.
        plan.detector.dark = 0.0;
    }
}
