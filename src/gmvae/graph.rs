//! The operations networks are made of, whoever carries them out: candle, which computes, or the exporter, which writes down.

/// What computes or writes the network down.
pub(super) trait Graph {
    /// A matrix in it.
    type Node: Clone;
    /// What may go wrong.
    type Error;

    /// A named array of the weights.
    fn leaf(&mut self, name: &str) -> Result<Self::Node, Self::Error>;

    /// A number, as a matrix of one by one.
    fn number(&mut self, value: f32) -> Result<Self::Node, Self::Error>;

    /// Rows of a matrix by their numbers, in this order, repeats allowed.
    fn pick(&mut self, of: &Self::Node, rows: &[usize]) -> Result<Self::Node, Self::Error>;

    /// The result of an operation; shapes broadcast as in ONNX.
    fn apply(&mut self, op: Op, inputs: &[&Self::Node]) -> Result<Self::Node, Self::Error>;
}

/// The operations the network is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    MatMul,
    Relu,
    Tanh,
    Exp,
    Log,
    /// Over the columns.
    Softmax,
    /// Sum over the columns, which become one.
    RowSum,
    /// Maximum over the columns, which become one.
    RowMax,
    /// Of columns.
    Concat,
    /// A single column as a vector.
    Flatten,
    /// Some of the columns.
    Columns {
        start: usize,
        count: usize,
    },
    /// Some of the rows.
    Rows {
        start: usize,
        count: usize,
    },
    /// Of rows.
    Stack,
    Transpose,
}

/// Short names for the operations.
pub(super) struct Pen<'a, G: Graph>(pub(super) &'a mut G);

impl<G: Graph> Pen<'_, G> {
    pub(super) fn two(&mut self, op: Op, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.0.apply(op, &[a, b])
    }

    pub(super) fn one(&mut self, op: Op, a: &G::Node) -> Result<G::Node, G::Error> {
        self.0.apply(op, &[a])
    }

    pub(super) fn add(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Add, a, b)
    }

    pub(super) fn sub(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Sub, a, b)
    }

    pub(super) fn mul(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Mul, a, b)
    }

    pub(super) fn div(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Div, a, b)
    }

    pub(super) fn matmul(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::MatMul, a, b)
    }

    /// Sum over the columns of `a * b`.
    pub(super) fn dot(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        let product = self.mul(a, b)?;
        self.one(Op::RowSum, &product)
    }

    pub(super) fn plus(&mut self, a: &G::Node, value: f32) -> Result<G::Node, G::Error> {
        let value = self.0.number(value)?;
        self.add(a, &value)
    }

    pub(super) fn times(&mut self, a: &G::Node, value: f32) -> Result<G::Node, G::Error> {
        let value = self.0.number(value)?;
        self.mul(a, &value)
    }

    /// ln(1 + scale·relu(a)).
    pub(super) fn log1p(&mut self, a: &G::Node, scale: f32) -> Result<G::Node, G::Error> {
        let positive = self.one(Op::Relu, a)?;
        let scaled = self.times(&positive, scale)?;
        let shifted = self.plus(&scaled, 1.0)?;
        self.one(Op::Log, &shifted)
    }

    pub(super) fn linear(&mut self, a: &G::Node, name: &str) -> Result<G::Node, G::Error> {
        let weight = self.0.leaf(&format!("learnt.{name}.weight"))?;
        let bias = self.0.leaf(&format!("learnt.{name}.bias"))?;
        let product = self.matmul(a, &weight)?;
        self.add(&product, &bias)
    }
}
