//! The operators a model may be made of: plain, deterministic arithmetic, without control flow and without state.

/// Names of the operators of the default ONNX domain that are allowed, sorted.
const ALLOWED: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "Cos",
    "Div",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Whether `operator` of `domain` may be in a model.
pub(super) fn is_plain(domain: &str, operator: &str) -> bool {
    matches!(domain, "" | "ai.onnx") && ALLOWED.binary_search(&operator).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_every_entry_is_found() {
        assert!(ALLOWED.is_sorted());
        assert!(ALLOWED.iter().all(|name| is_plain("", name)));
    }

    #[test]
    fn chance_control_flow_and_foreign_domains_are_out() {
        for name in ["RandomNormal", "Multinomial", "If", "Loop", "Scan", "Dropout", "add"] {
            assert!(!is_plain("", name), "{name}");
        }
        assert!(!is_plain("com.microsoft", "Add"));
    }
}
