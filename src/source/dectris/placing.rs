//! Where a series belongs: in the scan that runs, in a new one, in none, or in one that is not known yet.

use chrono::{DateTime, TimeDelta, Utc};

use super::message::SeriesStart;
use super::series::{Place, Standing};
use super::{
    Dectris, FORMAT, Knowledge, MAX_USED, Memory, NOTHING_KNOWN, OpenScan, PLACED_BY_NUMBER, RACE_S,
};
use crate::scan::{ScanEvent, ScanPlan, ScanUpdate};
use crate::source::adapter::{AdapterRefusal, event, remark, remember};
use crate::source::geometry::Misplaced;
use crate::source::identity::{identifier, moment};
use crate::source::told::Told;

impl Dectris {
    /// Finds the place of a series; where its scan is not known yet it goes on waiting.
    pub(super) fn place(
        &mut self,
        index: usize,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<(), AdapterRefusal> {
        let start = self.series[index].start.clone();
        let runs = self.scan.is_some() || matches!(self.knowledge, Knowledge::Joined(_));
        let after_short = index.checked_sub(1).is_some_and(|before| self.series[before].is_short());
        let found = match &mut self.knowledge {
            Knowledge::Joined(join) => match join.place(&start.facts, after_short, events) {
                Ok(Some(joined)) => Ok(Place::new(joined.scan_id, joined.layout, joined.placed)),
                Ok(None) => return Ok(()),
                Err(misplaced) => Err(misplaced.into()),
            },
            Knowledge::Told(settings) => {
                let told =
                    start.note.as_ref().and_then(Told::with_series).or_else(|| settings.clone().map(Ok));
                let may_begin = told.is_some();
                // A series whose start was not heard may be one of the scan that runs.
                let runs = self.scan.as_ref().filter(|scan| !start.facts.heard && !scan.told.says_place());
                match told.or_else(|| runs.map(|scan| Ok(scan.told.clone()))) {
                    Some(Ok(told)) => self.place_told(told, may_begin, &start, after_short, received, events),
                    Some(Err(refusal)) => Err(refusal),
                    None => Err(AdapterRefusal::new(
                        "geometry",
                        "nobody says what is scanned: neither user_data nor the source's geometry, and no other source is joined",
                    )),
                }
            }
        };
        let series = &mut self.series[index];
        let waited = series.waiting_bytes();
        let waiting = match found {
            Ok(place) => {
                if let Some(doubt) = place.doubt() {
                    events.push(remark(place.scan_id(), doubt.to_string(), true));
                }
                if !start.facts.heard {
                    let text = if runs { PLACED_BY_NUMBER } else { NOTHING_KNOWN };
                    events.push(remark(place.scan_id(), text.to_owned(), !runs));
                }
                series.settle(Standing::At(Box::new(place)))
            }
            Err(refusal) => {
                self.leave(index, refusal.to_string());
                return Err(refusal);
            }
        };
        self.held_bytes -= waited;
        for (number, frame) in waiting {
            // It waited because it is fit.
            _ = self.take(index, number, frame, received, events);
        }
        if self.series[index].ended {
            self.ended(index, events);
        }
        Ok(())
    }

    /// A scan begins: of the series that wait, those that belong to it can only be the last ones, one behind the other and just now.
    pub(super) fn leave_old(&mut self, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        let mut next = None;
        let mut kept = Vec::new();
        for index in (0..self.series.len()).rev() {
            let series = &self.series[index];
            if !series.is_waiting() {
                continue;
            }
            let number = series.start.facts.number;
            let is_next = next.is_none_or(|next| number.checked_add(1) == Some(next));
            let age = received - series.heard_last;
            if is_next && age <= TimeDelta::seconds(RACE_S) {
                next = Some(number);
                kept.push(index);
            } else {
                next = Some(u64::MAX);
                self.leave(index, "it came before the scan that knows it began".to_owned());
            }
        }
        // Of several the first may have been of something else.
        if let ([_, _, ..], Knowledge::Joined(join)) = (&kept[..], &mut self.knowledge) {
            join.doubt(
                format!("{} series of frames were there before the scan began: which of them was its first is not sure", kept.len()),
                events,
            );
        }
    }

    /// The series that waited for a scan, in their order.
    pub(super) fn place_waiting(&mut self, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        for index in 0..self.series.len() {
            if self.series[index].is_waiting() {
                // Why it has no place is said with each of its frames that come.
                _ = self.place(index, received, events);
            }
        }
    }

    /// The place of a series of which is told what is scanned; a scan begins with it only where it `may_begin`.
    pub(super) fn place_told(
        &mut self,
        told: Told,
        may_begin: bool,
        start: &SeriesStart,
        after_short: bool,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Place, AdapterRefusal> {
        let facts = &start.facts;
        if let Some(scan) = self.scan.as_mut().filter(|scan| scan.told.is_of_one_scan(&told)) {
            match told.first(&scan.places.layout) {
                // A series that says where it belongs needs no reckoning. A place that is taken is one of another scan.
                Some(first) if scan.taken.insert(first) => {
                    return Place::told(
                        &scan.scan_id,
                        &scan.plan,
                        scan.places.layout,
                        told.span(),
                        first,
                        facts,
                    );
                }
                Some(_) => {}
                None => match scan.places.place(facts, after_short) {
                    Ok(placed) => return Ok(Place::new(scan.scan_id.clone(), scan.places.layout, placed)),
                    Err(Misplaced::OfAnother) => {}
                    Err(misplaced) => return Err(misplaced.into()),
                },
            }
        }
        if !may_begin {
            return Err(Misplaced::OfAnother.into());
        }
        let mut scan_id = told.scan_id().map_or_else(|| self.scan_id(start, received), str::to_owned);
        let is_used = self.used.contains(&scan_id);
        if is_used {
            // What goes with a series stays in the detector until it is changed: two scans in one would be a wrong map.
            scan_id = format!("{}-s{}", identifier(&scan_id), facts.number);
            if self.used.contains(&scan_id) {
                scan_id = format!("{scan_id}-{}", moment(received));
            }
        }
        let started = start.armed.unwrap_or(received);
        let mut plan = told.plan(&scan_id, facts, started, self.naming.beamline.as_deref())?;
        let mut places = told.places(&plan);
        let place = match told.first(&places.layout) {
            Some(first) => Place::told(&scan_id, &plan, places.layout, told.span(), first, facts)?,
            None => Place::new(scan_id.clone(), places.layout, places.place(facts, false)?),
        };
        if plan.context.is_none() {
            plan.context = Some(serde_json::json!({ "format": "dectris" }));
        }
        let memory = Memory { told: told.clone(), first: places.first(), span: places.span() };
        let told_plan = ScanPlan { recall: remember(FORMAT, memory), ..plan.clone() };
        events.push(event(&scan_id, ScanUpdate::Started(Box::new(told_plan))));
        if is_used {
            let text = "the series says the name of a scan that was before it: it is kept under another";
            events.push(remark(&scan_id, text.to_owned(), false));
        }
        self.use_id(&scan_id);
        let taken = told.first(&places.layout).into_iter().collect();
        self.scan = Some(OpenScan { scan_id, told, plan, places, taken });
        Ok(place)
    }

    pub(super) fn use_id(&mut self, scan_id: &str) {
        if self.used.len() >= MAX_USED {
            self.used.pop_front();
        }
        self.used.push_back(scan_id.to_owned());
    }

    /// An identifier for the scan that a series begins.
    pub(super) fn scan_id(&self, start: &SeriesStart, received: DateTime<Utc>) -> String {
        match &start.unique {
            Some(unique) => identifier(unique),
            // Numbers begin anew with the detector.
            None => {
                let source = if self.naming.source.is_empty() { "dectris" } else { &self.naming.source };
                format!("{}-{}-s{}", identifier(source), moment(received), start.facts.number)
            }
        }
    }
}
