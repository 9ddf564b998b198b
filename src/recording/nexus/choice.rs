//! Which of the stacks in a file is read, and which way round it lies.

use crate::recording::RecordingError;
use crate::recording::hdf5::{Dimension, Place, Values};
use crate::scan::Signal;

/// Names of axes, the usual one first.
const ENERGY: [&str; 6] = ["energy", "photon_energy", "energies", "photon_energies", "Energy", "eV"];
const Y: [&str; 5] = ["sample_y", "y", "Y", "y_position", "position_y"];
const X: [&str; 5] = ["sample_x", "x", "X", "x_position", "position_x"];

/// The stack that is read.
pub(super) struct Choice<'a> {
    pub(super) entry: Place<'a>,
    pub(super) data: Place<'a>,
    pub(super) signal: Values<'a>,
    pub(super) order: [Dimension; 3],
    pub(super) kind: Signal,
    /// Names that `axes` gives the dimensions, in the order of the file.
    names: Option<[String; 3]>,
}

/// Chooses a stack; what was passed over becomes a warning.
pub(super) fn choose<'a>(root: &Place<'a>, warnings: &mut Vec<String>) -> Result<Choice<'a>, RecordingError> {
    let mut found = Vec::new();
    let mut passed = Vec::new();
    for name in default_first(root)? {
        let Some(entry) = root.group(&name)? else { continue };
        if !entry.is_class("NXentry")? {
            continue;
        }
        let definition = entry.dataset("definition")?.map(|values| values.text()).transpose()?.flatten();
        if definition.as_deref() != Some("NXstxm") {
            let definition = definition.unwrap_or_else(|| "missing".to_owned());
            passed.push(format!("{}/definition is {definition}", entry.at()));
            continue;
        }
        for name in default_first(&entry)? {
            let Some(data) = entry.group(&name)? else { continue };
            if !data.is_class("NXdata")? {
                continue;
            }
            match stack(&entry, data)? {
                Ok(choice) => found.push(choice),
                Err(problem) => passed.push(problem),
            }
        }
    }
    // Sorting is stable: among equals the first stays so.
    found.sort_by_key(|choice| choice.kind != Signal::Transmission);
    let others: Vec<_> = found.iter().skip(1).map(|choice| choice.data.at().to_owned()).collect();
    let Some(choice) = found.into_iter().next() else {
        let passed = if passed.is_empty() { "no NXentry".to_owned() } else { passed.join("; ") };
        return Err(root.error("", format_args!("no stack with definition NXstxm in it: {passed}")));
    };
    if !others.is_empty() {
        warnings.push(format!("{} is read, not {}", choice.data.at(), others.join(", ")));
    }
    Ok(choice)
}

/// Names of the groups in it, that of its `default` attribute before the others.
fn default_first(place: &Place<'_>) -> Result<Vec<String>, RecordingError> {
    let mut names = place.groups()?;
    if let Some(default) = place.text("default")? {
        names.sort_by_key(|name| *name != default);
    }
    Ok(names)
}

/// The stack in a data group, or why it holds none.
fn stack<'a>(entry: &Place<'a>, data: Place<'a>) -> Result<Result<Choice<'a>, String>, RecordingError> {
    if let Some(kind) = data.dataset("stxm_scan_type")?.map(|values| values.text()).transpose()?.flatten() {
        let kind = kind.to_lowercase();
        if ["line", "point", "focus", "osa", "detector"].iter().any(|other| kind.contains(other)) {
            return Ok(Err(format!("{} is a {kind}", data.at())));
        }
    }
    let name = data.text("signal")?.unwrap_or_else(|| "data".to_owned());
    let signal = match data.dataset(&name)? {
        Some(signal) => Some(signal),
        None => data.dataset("data")?,
    };
    let Some(signal) = signal else {
        return Ok(Err(format!("{}/{name} is not there (links to other files are not followed)", data.at())));
    };
    if signal.shape().len() != 3 {
        return Ok(Err(format!("{} has {} dimensions", signal.at(), signal.shape().len())));
    }
    // One that contradicts itself does not spoil the others.
    let (order, names) = match order(&data, &signal) {
        Ok(order) => order,
        Err(RecordingError::Content { problem, .. }) => return Ok(Err(problem)),
        Err(error) => return Err(error),
    };
    let described = ["long_name", "description"].iter().filter_map(|name| signal.text_attribute(name));
    let words = described.chain([data.at().to_owned()]).collect::<Vec<_>>().join(" ");
    Ok(Ok(Choice { kind: kind(&words), entry: entry.clone(), data, signal, order, names }))
}

/// What a detector of this name or description sees.
pub(in crate::recording) fn kind(words: &str) -> Signal {
    let words = words.to_lowercase();
    let is = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if is(&["fluo", "xrf"]) {
        Signal::Fluorescence
    } else if is(&["electron yield", "electron_yield", "tey", "drain"]) {
        Signal::ElectronYield
    } else if is(&["optical density", "optical_density"]) {
        Signal::OpticalDensity
    } else {
        Signal::Transmission
    }
}

/// Dimensions of the signal, and their names where the file has any.
fn order(
    data: &Place<'_>,
    signal: &Values<'_>,
) -> Result<([Dimension; 3], Option<[String; 3]>), RecordingError> {
    let axes = data.texts("axes")?.or_else(|| signal.text_attribute("axes").map(|text| vec![text]));
    if let Some(axes) = axes {
        let names: Vec<String> = axes
            .iter()
            .flat_map(|text| text.split([':', ',']))
            .map(|name| name.trim_matches([' ', '[', ']', '"']).to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        let found: Vec<_> = names.iter().filter_map(|name| dimension(name)).collect();
        return match (<[Dimension; 3]>::try_from(found), <[String; 3]>::try_from(names)) {
            (Ok(order), Ok(names)) if is_each_once(order) => Ok((order, Some(names))),
            (_, names) => {
                let names = names.map_or_else(|names| names.join(", "), |names| names.join(", "));
                Err(data.error("", format_args!("axes are {names}; an energy, a y and an x are needed")))
            }
        };
    }
    let mut order = [None; 3];
    for (dimension, names) in
        [(Dimension::Energy, &ENERGY[..]), (Dimension::Y, &Y[..]), (Dimension::X, &X[..])]
    {
        let axis = data.first_of(names)?.and_then(|values| values.number_attribute("axis"));
        match axis.map(|number| number as usize) {
            Some(number @ 1..=3) => order[number - 1] = Some(dimension),
            _ => return Ok(([Dimension::Energy, Dimension::Y, Dimension::X], None)),
        }
    }
    match order {
        [Some(a), Some(b), Some(c)] => Ok(([a, b, c], None)),
        _ => Err(data.error("", "two axes have the same attribute axis")),
    }
}

fn is_each_once(order: [Dimension; 3]) -> bool {
    [Dimension::Energy, Dimension::Y, Dimension::X].iter().all(|dimension| order.contains(dimension))
}

/// What an axis of this name runs over.
fn dimension(name: &str) -> Option<Dimension> {
    let name = name.to_lowercase();
    if name.contains("energ") || name == "ev" {
        Some(Dimension::Energy)
    } else if name == "y" || name.ends_with("_y") || name.starts_with("y_") || name == "ypos" {
        Some(Dimension::Y)
    } else if name == "x" || name.ends_with("_x") || name.starts_with("x_") || name == "xpos" {
        Some(Dimension::X)
    } else {
        None
    }
}

impl<'a> Choice<'a> {
    /// The points of a dimension: under the name that `axes` gives, else under a usual one.
    pub(super) fn axis(&self, wanted: Dimension) -> Result<Option<Values<'a>>, RecordingError> {
        let position = self.order.iter().position(|dimension| *dimension == wanted);
        if let Some(name) = self.names.as_ref().zip(position).map(|(names, position)| &names[position])
            && let Some(values) = self.data.dataset(name)?
        {
            return Ok(Some(values));
        }
        self.data.first_of(match wanted {
            Dimension::Energy => &ENERGY,
            Dimension::Y => &Y,
            Dimension::X => &X,
        })
    }

    pub(super) fn instrument(&self) -> Result<Option<Place<'a>>, RecordingError> {
        of_class(&self.entry, "NXinstrument")
    }

    /// The values of the first monitor.
    pub(super) fn monitor(&self) -> Result<Option<Values<'a>>, RecordingError> {
        of_class(&self.entry, "NXmonitor")?
            .map(|monitor| monitor.dataset("data"))
            .transpose()
            .map(Option::flatten)
    }
}

/// The first group of this class.
pub(super) fn of_class<'a>(place: &Place<'a>, class: &str) -> Result<Option<Place<'a>>, RecordingError> {
    for name in place.groups()? {
        if let Some(group) = place.group(&name)?
            && group.is_class(class)?
        {
            return Ok(Some(group));
        }
    }
    Ok(None)
}
