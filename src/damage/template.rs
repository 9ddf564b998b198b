//! What causes would do to a group, by the references: how its signal looks, how it would look reduced, and at other energies.

use super::sentinels::Visit;
use crate::reference::ReferenceSet;

/// Half of the step over which a slope is taken, eV.
const STEP_EV: f64 = 0.05;
/// Signals of a reference smaller than this scale nothing, OD.
const LEAST: f64 = 0.02;

/// What causes would do to a group of one phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Template {
    /// Change of its signal if all of it were reduced.
    pub reduction: Option<f64>,
    /// Change of its signal per eV that the energies are shifted.
    pub per_ev: Option<f64>,
}

/// What a reference has at the two energies of a visit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InReference {
    /// Its signal: optical density on the line less that before the edge.
    pub line: f64,
    /// Its optical density before the edge.
    pub before: f64,
    /// Change of its signal per eV that the energies are shifted.
    pub per_ev: f64,
}

/// The references as a source of templates.
#[derive(Debug)]
pub struct Templates<'a> {
    references: &'a ReferenceSet,
    reduced: Option<usize>,
    energies_ev: &'a [f64],
}

impl<'a> Templates<'a> {
    /// `reduces_to` names the most reduced phase; where it is not given it is the one with the largest state variable. `energies_ev` are those at which the references
    /// are taken, in the order of the plan.
    #[must_use]
    pub fn new(references: &'a ReferenceSet, reduces_to: Option<&str>, energies_ev: &'a [f64]) -> Self {
        let state =
            |index: &usize| references.references[*index].composition.state.as_ref().map(|(_, value)| *value);
        let by_state = || {
            let known = (0..references.len()).filter(|index| state(index).is_some());
            known.max_by(|a, b| state(a).unwrap_or(0.0).total_cmp(&state(b).unwrap_or(0.0)))
        };
        let by_name = |id: &str| references.references.iter().position(|reference| reference.label.id == id);
        Self { references, reduced: reduces_to.map_or_else(by_state, by_name), energies_ev }
    }

    /// Whether it is known what is most reduced.
    #[must_use]
    pub fn knows_reduced(&self) -> bool {
        self.reduced.is_some()
    }

    /// The state variable of the most reduced phase.
    #[must_use]
    pub fn reduced_state(&self) -> Option<f64> {
        let reduced = &self.references.references[self.reduced?];
        reduced.composition.state.as_ref().map(|(_, value)| *value)
    }

    /// What goes toward the reduced phase is called.
    #[must_use]
    pub fn toward(&self) -> String {
        let title = self.reduced.map(|index| self.references.references[index].label.title.as_str());
        title.map_or_else(|| "reduction".to_owned(), |title| format!("reduction toward {title}"))
    }

    /// The signal of a reference at a visit, its energies shifted.
    fn signal(&self, phase: usize, visit: Visit, shift_ev: f64) -> Option<f64> {
        let reference = self.references.references.get(phase)?;
        let at = |entry: usize| reference.od_held_at(self.energies_ev.get(entry)? + shift_ev);
        Some(at(visit.energy)? - visit.less.map_or(Some(0.0), at)?)
    }

    /// What a phase has at a visit that takes off what is before the edge.
    #[must_use]
    pub fn heights(&self, phase: usize, visit: Visit) -> Option<InReference> {
        let before_ev = *self.energies_ev.get(visit.less?)?;
        let before = self.references.references.get(phase)?.od_held_at(before_ev)?;
        let signal = |shift_ev: f64| self.signal(phase, visit, shift_ev);
        let per_ev = (signal(STEP_EV)? - signal(-STEP_EV)?) / (2.0 * STEP_EV);
        Some(InReference { line: signal(0.0)?, before, per_ev })
    }

    /// The same of what all is reduced to.
    #[must_use]
    pub fn reduced_heights(&self, visit: Visit) -> Option<InReference> {
        self.heights(self.reduced?, visit)
    }

    /// The template of a group of a phase whose signal is `value`.
    #[must_use]
    pub fn of(&self, phase: usize, visit: Visit, value: f64) -> Option<Template> {
        self.in_the_amount(phase, value, |phase, shift_ev| self.signal(phase, visit, shift_ev))
    }

    /// The same for a group whose signal is the mean over the white-line window less that over the pre-edge window, at energies of a scan.
    #[must_use]
    pub fn of_windows(&self, phase: usize, value: f64) -> Option<Template> {
        self.in_the_amount(phase, value, |phase, shift_ev| self.window_signal(phase, shift_ev))
    }

    fn in_the_amount(
        &self,
        phase: usize,
        value: f64,
        signal: impl Fn(usize, f64) -> Option<f64>,
    ) -> Option<Template> {
        let own = signal(phase, 0.0).filter(|own| own.abs() >= LEAST)?;
        let amount = value / own;
        let reduced = self.reduced.and_then(|reduced| signal(reduced, 0.0));
        let slope = signal(phase, STEP_EV)
            .zip(signal(phase, -STEP_EV))
            .map(|(up, down)| amount * (up - down) / (2.0 * STEP_EV));
        Some(Template { reduction: reduced.map(|reduced| amount * (reduced - own)), per_ev: slope })
    }

    fn window_signal(&self, phase: usize, shift_ev: f64) -> Option<f64> {
        let reference = self.references.references.get(phase)?;
        let mean = |window: crate::reference::Window| -> Option<f64> {
            let inside = self.energies_ev.iter().filter(|energy_ev| window.contains(**energy_ev));
            let values: Vec<f64> =
                inside.map(|energy_ev| reference.od_held_at(energy_ev + shift_ev)).collect::<Option<_>>()?;
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        Some(mean(self.references.white_line)? - mean(self.references.pre_edge)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::nvpf::reference_set;

    #[test]
    fn a_template_is_the_reference_in_the_amount_that_is_there() {
        let references = reference_set();
        let energies_ev = [509.0, 518.3];
        let templates = Templates::new(&references, None, &energies_ev);
        assert_eq!(templates.toward(), "reduction toward x = 3.0");
        let visit = Visit { energy: 1, less: Some(0) };
        let index =
            |id: &str| references.references.iter().position(|reference| reference.label.id == id).unwrap();
        let (oxidised, reduced) = (index("na1.0"), index("na3.0"));
        let height = |phase: usize| {
            let reference = &references.references[phase];
            reference.od_at(518.3).unwrap() - reference.od_at(509.0).unwrap()
        };
        let template = templates.of(oxidised, visit, 0.5 * height(oxidised)).unwrap();
        assert!((template.reduction.unwrap() - 0.5 * (height(reduced) - height(oxidised))).abs() < 1e-12);
        assert!(template.reduction.unwrap() < 0.0, "V5+ has its white line there");
        assert!(templates.of(reduced, visit, height(reduced)).unwrap().reduction.unwrap().abs() < 1e-12);
        let (up, down) = (
            references.references[oxidised].od_at(518.35).unwrap(),
            references.references[oxidised].od_at(518.25).unwrap(),
        );
        let pre = |ev: f64| references.references[oxidised].od_at(ev).unwrap();
        let expected = 0.5 * ((up - pre(509.05)) - (down - pre(508.95))) / 0.1;
        assert!((template.per_ev.unwrap() - expected).abs() < 1e-9);
        assert_eq!(templates.of(99, visit, 1.0), None);
    }
}
