//! Linear systems, one per pixel and hypothesis, eliminated unknown by unknown with operations on whole matrices.

use super::graph::{Graph, Op, Pen};

/// Normal equations of a fit: a symmetric matrix (its upper half, `gram[i][j - i]`) and a right side.
#[derive(Clone)]
pub(super) struct System<N> {
    pub(super) gram: Vec<Vec<N>>,
    pub(super) right: Vec<N>,
}

/// An unknown that was taken out.
#[derive(Clone)]
pub(super) struct Step<N> {
    pub(super) pivot: N,
    /// Its entries with the unknowns after it.
    pub(super) row: Vec<N>,
    pub(super) right: N,
}

/// A further unknown of a system whose first ones were taken out already: its entries with the unknowns that are left, with itself,
/// and its right side.
#[derive(Clone)]
pub(super) struct Column<N> {
    pub(super) entries: Vec<N>,
    pub(super) own: N,
    pub(super) right: N,
}

impl<N: Clone> Column<N> {
    /// Does to the column what taking out the first unknown did to the others.
    pub(super) fn take_out<G: Graph<Node = N>>(
        &mut self,
        p: &mut Pen<'_, G>,
        step: &Step<N>,
    ) -> Result<(), G::Error> {
        let first = self.entries.remove(0);
        let factor = p.div(&first, &step.pivot)?;
        for (entry, other) in self.entries.iter_mut().zip(&step.row) {
            let product = p.mul(&factor, other)?;
            *entry = p.sub(entry, &product)?;
        }
        let product = p.mul(&factor, &first)?;
        self.own = p.sub(&self.own, &product)?;
        let product = p.mul(&factor, &step.right)?;
        self.right = p.sub(&self.right, &product)?;
        Ok(())
    }
}

impl<N: Clone> System<N> {
    /// Takes the first unknown out, with `ridge` added to its pivot. What is left is the system of the others.
    pub(super) fn take_out<G: Graph<Node = N>>(
        &mut self,
        p: &mut Pen<'_, G>,
        ridge: Option<&N>,
    ) -> Result<Step<N>, G::Error> {
        let row = self.gram.remove(0);
        let right = self.right.remove(0);
        let pivot = match ridge {
            Some(ridge) => p.add(&row[0], ridge)?,
            None => row[0].clone(),
        };
        for (j, entry) in row[1..].iter().enumerate() {
            let factor = p.div(entry, &pivot)?;
            for (k, other) in row[1 + j..].iter().enumerate() {
                let product = p.mul(&factor, other)?;
                self.gram[j][k] = p.sub(&self.gram[j][k], &product)?;
            }
            let product = p.mul(&factor, &right)?;
            self.right[j] = p.sub(&self.right[j], &product)?;
        }
        Ok(Step { pivot, row: row[1..].to_vec(), right })
    }

    /// Applies `f` to every matrix.
    pub(super) fn map<E>(&self, mut f: impl FnMut(&N) -> Result<N, E>) -> Result<Self, E> {
        let row = |row: &Vec<N>, f: &mut dyn FnMut(&N) -> Result<N, E>| row.iter().map(f).collect();
        let gram = self.gram.iter().map(|r| row(r, &mut f)).collect::<Result<_, E>>()?;
        Ok(Self { gram, right: row(&self.right, &mut f)? })
    }
}

/// `log` of what cannot be below a small positive number.
pub(super) fn safe_log<G: Graph>(p: &mut Pen<'_, G>, a: &G::Node) -> Result<G::Node, G::Error> {
    let positive = p.one(Op::Relu, a)?;
    let guarded = p.plus(&positive, 1e-6)?;
    p.one(Op::Log, &guarded)
}
