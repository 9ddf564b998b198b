//! The network computed with candle, on the CPU, with gradients for what is learnt.

use std::collections::BTreeMap;

use candle_core::{D, Device, Result, Tensor, Var};

use super::graph::{Graph, Op};
use super::weights::{Matrix, Weights, is_learnt};

/// Weights as tensors; learnt ones as variables.
pub(super) struct Tape {
    leaves: BTreeMap<String, Tensor>,
    variables: BTreeMap<String, Var>,
    numbers: BTreeMap<u32, Tensor>,
}

impl Tape {
    pub(super) fn new(weights: &Weights) -> Result<Self> {
        let (mut leaves, mut variables) = (BTreeMap::new(), BTreeMap::new());
        for (name, matrix) in weights {
            let tensor = tensor(&matrix.data, matrix.rows, matrix.columns)?;
            if is_learnt(name) {
                let variable = Var::from_tensor(&tensor)?;
                leaves.insert(name.clone(), variable.as_tensor().clone());
                variables.insert(name.clone(), variable);
            } else {
                leaves.insert(name.clone(), tensor);
            }
        }
        Ok(Self { leaves, variables, numbers: BTreeMap::new() })
    }

    /// What is learnt, in the order of the names.
    pub(super) fn variables(&self) -> Vec<Var> {
        self.variables.values().cloned().collect()
    }

    /// Sets a learnt array.
    pub(super) fn set(&self, name: &str, matrix: &Matrix) -> Result<()> {
        match self.variables.get(name) {
            Some(variable) => variable.set(&tensor(&matrix.data, matrix.rows, matrix.columns)?),
            None => Err(candle_core::Error::Msg(format!("no learnt array `{name}`"))),
        }
    }

    /// The weights as they are now.
    pub(super) fn weights(&self) -> Result<Weights> {
        let take = |(name, tensor): (&String, &Tensor)| {
            let (rows, columns) = tensor.dims2()?;
            Ok((name.clone(), Matrix { rows, columns, data: tensor.flatten_all()?.to_vec1()? }))
        };
        self.leaves.iter().map(take).collect()
    }
}

/// A matrix as a tensor.
pub(super) fn tensor(data: &[f32], rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::from_slice(data, (rows, columns), &Device::Cpu)
}

impl Graph for Tape {
    type Node = Tensor;
    type Error = candle_core::Error;

    fn leaf(&mut self, name: &str) -> Result<Tensor> {
        let found = self.leaves.get(name).cloned();
        found.ok_or_else(|| candle_core::Error::Msg(format!("no array `{name}`")))
    }

    fn number(&mut self, value: f32) -> Result<Tensor> {
        if let Some(tensor) = self.numbers.get(&value.to_bits()) {
            return Ok(tensor.clone());
        }
        let made = tensor(&[value], 1, 1)?;
        self.numbers.insert(value.to_bits(), made.clone());
        Ok(made)
    }

    fn pick(&mut self, of: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        of.contiguous()?.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)
    }

    fn apply(&mut self, op: Op, inputs: &[&Tensor]) -> Result<Tensor> {
        match (op, inputs) {
            (Op::Add, [a, b]) => a.broadcast_add(b),
            (Op::Sub, [a, b]) => a.broadcast_sub(b),
            (Op::Mul, [a, b]) => a.broadcast_mul(b),
            (Op::Div, [a, b]) => a.broadcast_div(b),
            (Op::MatMul, [a, b]) => a.matmul(b),
            (Op::Relu, [a]) => a.relu(),
            (Op::Tanh, [a]) => a.tanh(),
            (Op::Exp, [a]) => a.exp(),
            (Op::Log, [a]) => a.log(),
            (Op::Softmax, [a]) => candle_nn::ops::softmax(a, D::Minus1),
            (Op::RowSum, [a]) => a.sum_keepdim(1),
            (Op::RowMax, [a]) => a.max_keepdim(1),
            (Op::Concat, parts) => Tensor::cat(parts, 1),
            (Op::Flatten, [a]) => a.squeeze(1),
            (Op::Columns { start, count }, [a]) => a.narrow(1, start, count)?.contiguous(),
            (Op::Rows { start, count }, [a]) => a.narrow(0, start, count),
            (Op::Stack, parts) => Tensor::cat(parts, 0),
            (Op::Transpose, [a]) => a.t()?.contiguous(),
            (op, inputs) => Err(candle_core::Error::Msg(format!("{op:?} of {} inputs", inputs.len()))),
        }
    }
}
