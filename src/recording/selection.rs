//! Which energies of a recording to use, as a person writes it on the command line.

/// Why a selection of energies makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SelectionError {
    /// Not a number, or not a usable one.
    #[error("{0:?} is no energy in eV; give eV values separated by commas, or count:N")]
    Energy(String),
    /// `count:N` with an N that does not fit.
    #[error("count:{wanted} of {energies} energies; N must be 1 to {energies}")]
    Count {
        /// What was asked for.
        wanted: String,
        /// How many there are.
        energies: usize,
    },
}

/// Indices of the selected energies, ascending and each once.
///
/// `text` is a list of eV values separated by commas, each of which selects the nearest measured energy, or
/// `count:N` for N evenly spaced indices, floor(i·(n-1)/(N-1) + 0.5).
///
/// # Errors
/// See [`SelectionError`].
pub fn select_energies(energies_ev: &[f64], text: &str) -> Result<Vec<usize>, SelectionError> {
    let mut indices = match text.trim().strip_prefix("count:") {
        Some(count) => evenly_spaced(energies_ev.len(), count)?,
        None => text
            .split(',')
            .map(|value| {
                nearest(energies_ev, value).ok_or_else(|| SelectionError::Energy(value.trim().into()))
            })
            .collect::<Result<_, _>>()?,
    };
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

fn evenly_spaced(energies: usize, count: &str) -> Result<Vec<usize>, SelectionError> {
    let wanted = count.trim().parse::<usize>().ok().filter(|count| (1..=energies).contains(count));
    match wanted {
        None => Err(SelectionError::Count { wanted: count.chars().take(40).collect(), energies }),
        Some(1) => Ok(vec![0]),
        // In integers: floor(i·(n-1)/(N-1) + 1/2).
        Some(count) => {
            let (n, steps) = (energies - 1, count - 1);
            Ok((0..count).map(|i| (2 * i * n + steps) / (2 * steps)).collect())
        }
    }
}

fn nearest(energies_ev: &[f64], value: &str) -> Option<usize> {
    let wanted_ev: f64 = value.trim().parse().ok().filter(|value: &f64| value.is_finite())?;
    let distance = |index: &usize| (energies_ev[*index] - wanted_ev).abs();
    (0..energies_ev.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_the_nearest_and_each_once() {
        let energies_ev = [700.0, 701.0, 702.5];
        assert_eq!(select_energies(&energies_ev, "702, 700.2,699").unwrap(), [0, 2]);
        assert_eq!(select_energies(&energies_ev, "7e2").unwrap(), [0]);
        assert!(select_energies(&energies_ev, "700,,701").is_err());
        assert!(select_energies(&energies_ev, "nan").is_err());
    }

    #[test]
    fn spaces_evenly_as_the_formula_has_it() {
        let energies_ev: Vec<f64> = (0..123).map(f64::from).collect();
        for count in 2..=123 {
            let expected: Vec<_> = (0..count)
                .map(|i| (f64::from(i) * 122.0 / f64::from(count - 1) + 0.5).floor() as usize)
                .collect();
            assert_eq!(
                select_energies(&energies_ev, &format!("count:{count}")).unwrap(),
                expected,
                "{count}"
            );
        }
        assert_eq!(select_energies(&energies_ev, "count:1").unwrap(), [0]);
        assert!(select_energies(&energies_ev, "count:124").is_err());
        assert!(select_energies(&energies_ev, "count:0").is_err());
    }
}
