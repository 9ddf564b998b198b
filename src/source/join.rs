//! Two sources for one scan: one knows it (its plan, its end, where it is), the other has the frames.
//!
//! What the first says of a scan goes on with the detector of the second; its own values do not, they only tell how far the scan is.
//! Both may be early: events of a scan wait for the first series of frames (before it nobody knows what a frame is), series without a
//! scan wait at whoever asks, until [`Join::hear`] says that there is one. Neither is matched by the clock.
//!
//! Bad input: a series that fits no scan is refused by [`Places`]; where the two sources contradict each other about the energy,
//! the scan is marked as not to be trusted, and says why.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::adapter::{Recalled, event, remark, remember};
use super::geometry::{Doubt, Layout, Misplaced, Order, Placed, Places, SeriesFacts, Span};
use crate::scan::{DetectorKind, Outcome, ScanEvent, ScanKind, ScanPlan, ScanUpdate};

/// Most events of one scan that wait for frames.
const MAX_EARLY: usize = 256;

/// Name in what plans remember.
const FORMAT: &str = "joined";

/// What a plan remembers of the two sources.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// Number of the first series, and what a series holds.
    first: Option<i64>,
    span: Option<Span>,
    /// What the source that knows the scan gave it to remember.
    told: Option<String>,
}

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
    /// How it ended.
    ended: Option<Outcome>,
    /// Energy of the series that was placed last.
    at: Option<u64>,
    /// Values that were heard of another energy since then.
    beside: u64,
    doubted: bool,
    /// Numbers of messages that were taken already; a plan that grows twice by the same message would be another one.
    heard: BTreeSet<u64>,
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
                // Whose frames come now are of no stack.
                if let Some(scan) = self.scan.take() {
                    scan.over(events, None);
                }
                events.push(said);
                return false;
            }
            if let Some(scan) = self.scan.as_mut().filter(|scan| scan.plan.scan_id == plan.scan_id) {
                if scan.started {
                    events.push(event(&plan.scan_id, ScanUpdate::Started(Box::new(scan.plan.clone()))));
                }
                return false;
            }
            let sibling = self.scan.take().and_then(|scan| scan.over(events, Some(plan)));
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
        let is_set =
            |key: &str| request[key].as_f64() == Some(1.0) || request[key] == true || request[key] == "1";
        let order = Order {
            meander: self.order.meander || is_set("meander"),
            y_fast: self.order.y_fast || is_set("yAxisFast"),
        };
        let layout = Layout { shape: plan.grid.shape, order };
        let mut early: Vec<_> = sibling.map(|text| remark(&plan.scan_id, text, true)).into_iter().collect();
        let is_of_pixelator = plan.context.as_ref().is_some_and(|context| context["format"] == "pixelator");
        if is_of_pixelator && request.is_null() {
            let text = "the request of the scan is too large to be kept: whether lines run as a meander is not known";
            early.push(remark(&plan.scan_id, text.to_owned(), true));
        }
        Heard {
            places: Places::new(layout, plan.energies_ev.clone(), self.span),
            plan: plan.clone(),
            early,
            started: false,
            ended: None,
            at: None,
            beside: 0,
            doubted: false,
            heard: BTreeSet::new(),
        }
    }

    /// Places a series in the scan that runs; `None` while there is none it could be of. The first one whose start was heard starts it.
    /// `after_short`: the series before it had less frames than it should have.
    ///
    /// # Errors
    /// Where its images fit no place.
    pub fn place(
        &mut self,
        series: &SeriesFacts,
        after_short: bool,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Option<Joined>, Misplaced> {
        // Frames may be behind the end of a scan that is complete; behind one that was given up they are of the next.
        let is_open = |scan: &&mut Heard| matches!(scan.ended, None | Some(Outcome::Complete));
        let Some(scan) = self.scan.as_mut().filter(is_open) else { return Ok(None) };
        if !series.heard && !scan.started {
            // Without a start nobody knows what is left out of its frames. Those behind it are counted from it all the same.
            scan.places.note(series.number);
            return Ok(None);
        }
        match scan.places.place(series, after_short) {
            // Of the next one, whose start has not been heard yet.
            Err(Misplaced::OfAnother) => Ok(None),
            Err(misplaced) => Err(misplaced),
            Ok(placed) => {
                scan.start(series, events);
                let pixels = scan.places.layout.pixels();
                // A series of the whole stack is at no energy.
                scan.at = (placed.count <= pixels).then(|| placed.first / pixels);
                scan.beside = 0;
                Ok(Some(Joined {
                    scan_id: scan.plan.scan_id.clone(),
                    layout: scan.places.layout,
                    // What the other source says of the energy confirms it, or does not.
                    placed: Placed { doubt: placed.doubt.filter(|doubt| *doubt != Doubt::NotTold), ..placed },
                }))
            }
        }
    }

    /// Says why the scan that runs is not to be trusted.
    pub fn doubt(&mut self, text: String, events: &mut Vec<ScanEvent>) {
        let Some(scan) = &mut self.scan else { return };
        let said = remark(&scan.plan.scan_id, text, true);
        if scan.started { events.push(said) } else { scan.early.push(said) }
    }

    /// Goes on with a scan whose frames began before a restart. Returns what the source that knows the scan gave it to remember.
    pub fn recall(&mut self, recalled: &Recalled<'_>) -> Option<String> {
        let Memory { first, span, told } = recalled.memory(FORMAT)?;
        let mut scan = self.heard(&recalled.plan.without_recall(), None);
        // With what the plan grew by.
        scan.places = Places::new(scan.places.layout, recalled.energies_ev.to_vec(), span).going_on(
            first,
            span,
            recalled.reached.map(|reached| reached as u64),
        );
        scan.started = true;
        scan.ended = recalled.ended.cloned();
        scan.doubted = recalled.doubt.is_some();
        self.scan = Some(scan);
        told
    }
}

impl Heard {
    fn hear(&mut self, said: ScanEvent, events: &mut Vec<ScanEvent>) {
        match &said.update {
            ScanUpdate::Samples(batch) => {
                return self.compare(u64::from(batch.energy_index), batch.pixels.len() as u64, events);
            }
            ScanUpdate::Frames(_) | ScanUpdate::Reduced(..) => return,
            _ if said.seq.is_some_and(|seq| !self.heard.insert(seq)) => return,
            ScanUpdate::Extended { energies_ev, .. } => self.places.extend(energies_ev),
            ScanUpdate::Ended(outcome) => self.ended = Some(outcome.clone()),
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

    /// Holds the energy that the scan is at against that of the frames. What comes on two sockets may be out of step, by one
    /// energy and for less than half of it.
    fn compare(&mut self, energy: u64, values: u64, events: &mut Vec<ScanEvent>) {
        let Some(at) = self.at.filter(|at| *at != energy && !self.doubted) else { return };
        self.beside += values;
        if at.abs_diff(energy) < 2 && 2 * self.beside <= self.places.layout.pixels() {
            return;
        }
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
        let told = self.plan.recall.take();
        let memory = Memory { first: self.places.first(), span: self.places.span(), told };
        self.plan.recall = remember(FORMAT, memory);
        events.push(event(&self.plan.scan_id, ScanUpdate::Started(Box::new(self.plan.clone()))));
        events.append(&mut self.early);
    }

    /// Another one begins. A scan whose frames never came is told all the same. Returns what the next one has to say where both are
    /// regions of one request.
    fn over(mut self, events: &mut Vec<ScanEvent>, next: Option<&ScanPlan>) -> Option<String> {
        if !self.started {
            let scan_id = self.plan.scan_id.clone();
            events.push(event(&scan_id, ScanUpdate::Started(Box::new(self.plan.clone()))));
            events.push(remark(&scan_id, "no frames of the detector came for this scan".to_owned(), false));
            events.append(&mut self.early);
        }
        let next = next?;
        let is_sibling = self.plan.group.is_some() && self.plan.group == next.group && self.ended.is_none();
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
        // Its numbers are not those of the frames.
        plan.resend = None;
    }
}
