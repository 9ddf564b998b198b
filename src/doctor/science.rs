//! References and model: whether they can be read, and belong together.

use super::Finding;
use crate::model::Model;
use crate::pipeline::backend;
use crate::reference::ReferenceSet;
use crate::settings::{ModelBackend, Settings};

/// Correlation over the shared range from which two references are hard to tell apart.
const ALIKE: f64 = 0.995;

/// Reads the references.
pub(super) fn references(settings: &Settings, found: &mut Vec<Finding>) -> Option<ReferenceSet> {
    let dir = settings.references.dir.as_ref()?;
    let set = match ReferenceSet::load(dir) {
        Ok(set) => set,
        Err(error) => {
            found.push(Finding::bad(
                "references",
                error.to_string(),
                "a directory with one <phase>.csv for each phase (energy_ev,od) is wanted; `phasewatch references show` says more",
            ));
            return None;
        }
    };
    let range = set.shared_range_ev().map_or_else(
        || "no energy is common to all".to_owned(),
        |(from, to)| format!("{from:.1} to {to:.1} eV"),
    );
    found.push(Finding::good("references", format!("{} phases in {}, {range}", set.len(), dir.display())));
    let pairs = set
        .references
        .iter()
        .enumerate()
        .flat_map(|(index, a)| set.references[index + 1..].iter().map(move |b| (a, b)));
    for (a, b) in pairs {
        let r = a.correlation_with(b).unwrap_or(0.0);
        if r > ALIKE {
            let (a, b) = (&a.label.id, &b.label.id);
            found.push(Finding::doubtful(
                "references",
                format!("{a} and {b} are alike (r = {r:.4})"),
                "pixels of either are told apart only where noise is low: measure more energies where the two differ (`phasewatch advise --references`), or leave one out",
            ));
        }
    }
    Some(set)
}

/// Opens the model, and with it the library that runs it.
pub(super) fn model(settings: &Settings, references: Option<&ReferenceSet>) -> Vec<Finding> {
    let Some(path) = &settings.model.path else {
        return vec![Finding::good("model", "none is configured: ambiguous pixels stay ambiguous")];
    };
    let sha256 = references.map(|set| set.sha256.as_str());
    match Model::open(path, &backend(&settings.model), sha256) {
        Ok(model) => {
            let seen = format!("{} runs with {}", path.display(), model.engine());
            if settings.model.backend == ModelBackend::Auto && model.engine().contains("tract") {
                return vec![Finding::doubtful(
                    "library",
                    format!("{seen}: no ONNX Runtime was found"),
                    "maps come later with it; put libonnxruntime.so where model.library says, if that matters",
                )];
            }
            vec![Finding::good("model", seen)]
        }
        Err(error) => vec![Finding::bad(
            "model",
            format!("{}: {error}", path.display()),
            "maps are made without a model until it is right: train one for these references (`phasewatch train`), or take model.path out. `phasewatch model check` says more",
        )],
    }
}
