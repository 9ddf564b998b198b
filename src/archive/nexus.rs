//! `scan.nxs`: the raw counts as NeXus NXstxm, for programs that know nothing of us: h5py, Mantis, anything with HDF5.
//!
//! One entry, `/entry`, laid out as `proto/archive-layout.md` says. What the definition asks for and nobody has told is
//! NaN (`sample/rotation_angle`), never made up. Two texts are lists of one and the names of the axes are of fixed
//! length, since Mantis' reader insists on that. Beside what NXstxm has, `/entry/phasewatch` keeps the plan as JSON and
//! what it has no place for, so that nothing is lost on the way back (`crate::recording`).
//!
//! The same stack gives the same bytes: no time of writing, no machine. Everything is what the stack says; the end of
//! the scan is the last exposure that it tells the start of.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::hdf5::{Address, Attribute, Cube, Data, Hdf5Error, Hdf5File};
use crate::scan::{Axis, I0Kind, ScanPlan, Signal, ValueUnit};
use crate::stack::{PlaneI0, Stack};

/// Writes the stack to `sink`.
///
/// # Errors
/// [`Hdf5Error`], also where the sink refuses.
pub(super) fn write<W: Write>(sink: &mut W, stack: &Stack) -> Result<(), Hdf5Error> {
    let mut file = Hdf5File::new();
    let entry = entry(&mut file, stack)?;
    let attributes =
        [("NX_class", text("NXroot")), ("default", text("entry")), ("creator", text("phasewatch"))];
    let root = file.group(&attributes, &[("entry", entry)])?;
    file.finish(root, sink).map_err(Hdf5Error::Sink)
}

fn text(text: &str) -> Attribute<'_> {
    Attribute::Text(text)
}

fn entry(file: &mut Hdf5File, stack: &Stack) -> Result<Address, Hdf5Error> {
    let plan = stack.plan();
    let stamp = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let title = match &plan.sample {
        Some(sample) => format!("{}: {sample}", plan.scan_id),
        None => plan.scan_id.clone(),
    };
    let counts = counts(file, stack)?;
    let program = [("version", text(env!("CARGO_PKG_VERSION")))];
    let mut members = vec![
        ("definition", file.dataset(&Data::Texts(&["NXstxm"]), &[("version", text("1.1"))])?),
        ("title", file.dataset(&Data::Text(&title), &[])?),
        ("start_time", file.dataset(&Data::Text(&stamp(plan.started)), &[])?),
        ("end_time", file.dataset(&Data::Text(&stamp(end(stack))), &[])?),
        ("entry_identifier", file.dataset(&Data::Text(&plan.scan_id), &[])?),
        ("program_name", file.dataset(&Data::Text("phasewatch"), &program)?),
    ];
    if let Some(proposal) = &plan.proposal {
        members.push(("experiment_identifier", file.dataset(&Data::Text(proposal), &[])?));
    }
    if let Some(operator) = &plan.operator {
        let name = file.dataset(&Data::Text(operator), &[])?;
        members.push(("user", file.group(&[("NX_class", text("NXuser"))], &[("name", name)])?));
    }
    members.push(("instrument", instrument(file, stack, counts)?));
    members.push(("sample", sample(file, plan)?));
    members.push(("data", data(file, plan, counts)?));
    if let Some(control) = control(file, stack)? {
        members.push(("control", control));
    }
    members.push(("phasewatch", own(file, stack)?));
    file.group(&[("NX_class", text("NXentry")), ("default", text("data"))], &members)
}

/// End of the last exposure that started last, as far as the stack tells; else as the plan has it.
fn end(stack: &Stack) -> DateTime<Utc> {
    let plan = stack.plan();
    let exposure_ms = |energy: usize| plan.dwell_ms[energy] * stack.plane(energy).measured() as f64;
    let last = (0..stack.planes().len())
        .filter_map(|energy| Some((stack.plane(energy).first_time()?, exposure_ms(energy))))
        .max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (start, lasted_ms) =
        last.unwrap_or_else(|| (plan.started, (0..stack.planes().len()).map(exposure_ms).sum()));
    // Dwells are any positive numbers; a scan that ends after the calendar does is one that ends when it started.
    TimeDelta::try_milliseconds(lasted_ms as i64)
        .and_then(|time| start.checked_add_signed(time))
        .unwrap_or(start)
}

/// The counts; they are in `data` and, by the definition, in the detector.
fn counts(file: &mut Hdf5File, stack: &Stack) -> Result<Address, Hdf5Error> {
    let value = |energy: usize, pixel: usize| stack.plane(energy).value(pixel);
    let unit = match stack.plan().value_unit {
        ValueUnit::Counts => "counts",
        ValueUnit::CountsPerS => "counts/s",
    };
    let attributes = [("units", text(unit)), ("signal", Attribute::Integer(1))];
    file.cube(&Cube { shape: shape(stack), value: &value }, 2, &attributes)
}

fn shape(stack: &Stack) -> [usize; 3] {
    let [ny, nx] = stack.plan().grid.shape;
    [stack.planes().len(), ny, nx]
}

fn instrument(file: &mut Hdf5File, stack: &Stack, counts: Address) -> Result<Address, Hdf5Error> {
    let plan = stack.plan();
    let each = |of: &dyn Fn(&crate::stack::Plane) -> Option<f64>| -> Vec<f64> {
        stack.planes().iter().map(|plane| of(plane).unwrap_or(f64::NAN)).collect()
    };
    let mut source = vec![
        ("type", file.dataset(&Data::Text("Synchrotron X-ray Source"), &[])?),
        ("name", file.dataset(&Data::Text("unknown"), &[])?),
        ("probe", file.dataset(&Data::Text("x-ray"), &[])?),
    ];
    let current = each(&|plane| plane.ring_current_ma());
    if current.iter().any(|current| !current.is_nan()) {
        source.push(("current", file.dataset(&Data::Numbers(&current), &[("units", text("mA"))])?));
    }
    let source = file.group(&[("NX_class", text("NXsource"))], &source)?;

    let ev = [("units", text("eV"))];
    let mut monochromator = vec![("energy", file.dataset(&Data::Numbers(&plan.energies_ev), &ev)?)];
    let read_back = each(&|plane| plane.read_back_ev());
    if read_back.iter().any(|energy| !energy.is_nan()) {
        monochromator.push(("energy_read_back", file.dataset(&Data::Numbers(&read_back), &ev)?));
    }
    let monochromator = file.group(&[("NX_class", text("NXmonochromator"))], &monochromator)?;

    let signal = match plan.detector.signal {
        Signal::Transmission => "transmission",
        Signal::Fluorescence => "fluorescence",
        Signal::ElectronYield => "electron yield",
        Signal::OpticalDensity => "optical density",
    };
    let mut detector = vec![
        ("data", counts),
        ("description", file.dataset(&Data::Text(signal), &[])?),
        ("count_time", count_time(file, plan)?),
    ];
    if let Some(dead_time_s) = plan.detector.dead_time_s {
        detector.push(("dead_time", file.dataset(&Data::Number(dead_time_s), &[("units", text("s"))])?));
    }
    let detector = file.group(&[("NX_class", text("NXdetector"))], &detector)?;

    let members = [
        ("name", file.dataset(&Data::Text(&plan.beamline), &[])?),
        ("source", source),
        ("monochromator", monochromator),
        ("detector", detector),
    ];
    file.group(&[("NX_class", text("NXinstrument"))], &members)
}

/// Exposure of a pixel at each energy.
fn count_time(file: &mut Hdf5File, plan: &ScanPlan) -> Result<Address, Hdf5Error> {
    let seconds: Vec<_> = plan.dwell_ms.iter().map(|dwell_ms| dwell_ms / 1000.0).collect();
    file.dataset(&Data::Numbers(&seconds), &[("units", text("s"))])
}

fn sample(file: &mut Hdf5File, plan: &ScanPlan) -> Result<Address, Hdf5Error> {
    let name = plan.sample.as_deref().unwrap_or("unknown");
    let mut members = vec![
        ("name", file.dataset(&Data::Text(name), &[])?),
        ("rotation_angle", file.dataset(&Data::Number(f64::NAN), &[("units", text("degree"))])?),
    ];
    if let Some(region) = &plan.region {
        members.push(("description", file.dataset(&Data::Text(region), &[])?));
    }
    file.group(&[("NX_class", text("NXsample"))], &members)
}

fn data(file: &mut Hdf5File, plan: &ScanPlan, counts: Address) -> Result<Address, Hdf5Error> {
    let centres = |axis: &Axis, length: usize| (0..length).map(|i| axis.centre(i)).collect::<Vec<_>>();
    let [ny, nx] = plan.grid.shape;
    // A unit that is no unit but a text is not worth refusing the file.
    let unit = if plan.grid.unit.len() <= 64 { plan.grid.unit.as_str() } else { "" };
    // `axis` counts from 1: the way of files from before NXdata had `axes`, which is still read.
    let axis = |number: i64, unit| [("units", text(unit)), ("axis", Attribute::Integer(number))];
    let members = [
        ("data", counts),
        ("stxm_scan_type", file.dataset(&Data::Texts(&["sample image stack"]), &[])?),
        ("energy", file.dataset(&Data::Numbers(&plan.energies_ev), &axis(1, "eV"))?),
        ("sample_y", file.dataset(&Data::Numbers(&centres(&plan.grid.y, ny)), &axis(2, unit))?),
        ("sample_x", file.dataset(&Data::Numbers(&centres(&plan.grid.x, nx)), &axis(3, unit))?),
        ("count_time", count_time(file, plan)?),
    ];
    let attributes = [
        ("NX_class", text("NXdata")),
        ("signal", text("data")),
        ("axes", Attribute::Texts(&["energy", "sample_y", "sample_x"])),
        ("energy_indices", Attribute::Integer(0)),
        ("sample_y_indices", Attribute::Integer(1)),
        ("sample_x_indices", Attribute::Integer(2)),
        ("count_time_indices", Attribute::Integer(0)),
    ];
    file.group(&attributes, &members)
}

/// The incident intensity that came with the values, where it came with any.
fn control(file: &mut Hdf5File, stack: &Stack) -> Result<Option<Address>, Hdf5Error> {
    if stack.planes().iter().all(|plane| plane.i0() == PlaneI0::None) {
        return Ok(None);
    }
    let value = |energy: usize, pixel: usize| {
        let plane = stack.plane(energy);
        // A plane's one I0 holds for what was measured only.
        if plane.value(pixel).is_nan() { f32::NAN } else { plane.i0_at(pixel) }
    };
    let kind = match stack.plan().i0_kind {
        I0Kind::OpenBeam => "incident intensity, as the detector would have seen it without sample",
        I0Kind::Monitor => "upstream monitor",
    };
    let members = [
        ("data", file.cube(&Cube { shape: shape(stack), value: &value }, 1, &[])?),
        ("description", file.dataset(&Data::Text(kind), &[])?),
    ];
    file.group(&[("NX_class", text("NXmonitor"))], &members).map(Some)
}

/// What NXstxm has no place for.
fn own(file: &mut Hdf5File, stack: &Stack) -> Result<Address, Hdf5Error> {
    let plan = stack.plan();
    // A plan came out of JSON and goes back into it; where its messages could be had again is nothing that was measured.
    let told = ScanPlan { resend: None, recall: None, ..plan.as_ref().clone() };
    let json = serde_json::to_string(&told).unwrap_or_default();
    let seconds = |time: DateTime<Utc>| time.timestamp_micros() as f64 / 1e6;
    let times: Vec<_> =
        stack.planes().iter().map(|plane| plane.first_time().map_or(f64::NAN, seconds)).collect();
    let since = [("units", text("s")), ("description", text("first start of exposure, since 1970 UTC"))];
    let members = [
        ("version", file.dataset(&Data::Text(env!("CARGO_PKG_VERSION")), &[])?),
        ("simulated", file.dataset(&Data::Integer(i64::from(plan.simulated)), &[])?),
        ("plan", file.dataset(&Data::Text(&json), &[])?),
        ("time", file.dataset(&Data::Numbers(&times), &since)?),
    ];
    file.group(&[("NX_class", text("NXcollection"))], &members)
}
