//! Writes the network down as an ONNX file that keeps the contract.
//!
//! Operator set 17, IR version 8, weights inside the file, batch of any size. Arrays that the answer does not need are left out.
//! Inputs and outputs are single precision; what lies between is computed in double precision, because the evidence is a
//! difference of large sums, which engines would otherwise round differently.

use std::collections::BTreeSet;
use std::convert::Infallible;

use prost::Message as _;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use super::evidence::Input;
use super::graph::{Graph, Op};
use super::network::{Answer, PosteriorSource, answer};
use super::template::Layout;
use super::weights::{LATENT, Weights};
use crate::model::{CONTRACT, MAX_IR_VERSION, MAX_OPSET, ModelAxis};

/// What a file says of itself beside its weights.
pub(super) struct Description<'a> {
    pub(super) axis: &'a ModelAxis,
    pub(super) clusters: &'a [String],
    pub(super) references_sha256: &'a str,
    pub(super) trained_with: &'a str,
    pub(super) posterior: PosteriorSource,
    pub(super) layout: &'a Layout,
    pub(super) competence: Option<String>,
}

const INPUTS: [&str; 3] = ["spectrum", "mask", "sigma"];

/// A graph being written.
struct Sheet<'a> {
    weights: &'a Weights,
    taken: BTreeSet<String>,
    initialisers: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
}

impl Sheet<'_> {
    fn initialise(&mut self, name: &str, dims: Vec<i64>, data_type: DataType, raw_data: Vec<u8>) {
        if self.taken.insert(name.to_owned()) {
            let name = name.to_owned();
            let data_type = data_type as i32;
            self.initialisers.push(TensorProto { name, dims, data_type, raw_data, ..TensorProto::default() });
        }
    }

    fn node(&mut self, operator: &str, input: Vec<String>, output: String, attributes: &[(&str, i64)]) {
        let attribute = attributes.iter().map(|(name, value)| match *name {
            // The one attribute here that is a list.
            "axes" => AttributeProto {
                name: (*name).to_owned(),
                r#type: AttributeType::Ints as i32,
                ints: vec![*value],
                ..AttributeProto::default()
            },
            _ => AttributeProto {
                name: (*name).to_owned(),
                r#type: AttributeType::Int as i32,
                i: *value,
                ..AttributeProto::default()
            },
        });
        self.nodes.push(NodeProto {
            op_type: operator.to_owned(),
            name: output.clone(),
            attribute: attribute.collect(),
            input,
            output: vec![output],
            ..NodeProto::default()
        });
    }
}

fn bytes_of(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect()
}

impl Graph for Sheet<'_> {
    type Node = String;
    type Error = Infallible;

    fn leaf(&mut self, name: &str) -> Result<String, Infallible> {
        if let Some(matrix) = self.weights.get(name) {
            let dims = vec![matrix.rows as i64, matrix.columns as i64];
            self.initialise(name, dims, DataType::Double, bytes_of(&matrix.data));
        }
        Ok(name.to_owned())
    }

    fn number(&mut self, value: f32) -> Result<String, Infallible> {
        let name = format!("number.{value}");
        self.initialise(&name, vec![1, 1], DataType::Double, bytes_of(&[value]));
        Ok(name)
    }

    fn pick(&mut self, of: &String, rows: &[usize]) -> Result<String, Infallible> {
        let words: Vec<String> = rows.iter().map(usize::to_string).collect();
        let name = format!("rows.{}", words.join("."));
        let data = rows.iter().flat_map(|&row| (row as i64).to_le_bytes()).collect();
        self.initialise(&name, vec![rows.len() as i64], DataType::Int64, data);
        let output = format!("n{}", self.nodes.len());
        self.node("Gather", vec![of.clone(), name], output.clone(), &[("axis", 0)]);
        Ok(output)
    }

    fn apply(&mut self, op: Op, inputs: &[&String]) -> Result<String, Infallible> {
        let mut input: Vec<String> = inputs.iter().map(|&name| name.clone()).collect();
        let output = format!("n{}", self.nodes.len());
        let (operator, attributes): (&str, &[(&str, i64)]) = match op {
            Op::Add => ("Add", &[]),
            Op::Sub => ("Sub", &[]),
            Op::Mul => ("Mul", &[]),
            Op::Div => ("Div", &[]),
            Op::MatMul => ("MatMul", &[]),
            Op::Relu => ("Relu", &[]),
            Op::Tanh => ("Tanh", &[]),
            Op::Exp => ("Exp", &[]),
            Op::Log => ("Log", &[]),
            Op::Softmax => ("Softmax", &[("axis", 1)]),
            Op::RowSum => ("ReduceSum", &[("keepdims", 1)]),
            // From operator set 13 to 17 the sum takes its axes as an input, the maximum as an attribute.
            Op::RowMax => ("ReduceMax", &[("axes", 1), ("keepdims", 1)]),
            Op::Concat => ("Concat", &[("axis", 1)]),
            Op::Flatten => ("Squeeze", &[]),
            Op::Columns { .. } | Op::Rows { .. } => ("Slice", &[]),
            Op::Stack => ("Concat", &[("axis", 0)]),
            // Without an attribute the axes are reversed.
            Op::Transpose => ("Transpose", &[]),
        };
        let mut index = |value: usize| {
            let name = format!("index.{value}");
            self.initialise(&name, vec![1], DataType::Int64, (value as i64).to_le_bytes().to_vec());
            input.push(name);
        };
        match op {
            Op::Columns { start, count } => [start, start + count, 1].map(&mut index),
            Op::Rows { start, count } => [start, start + count, 0].map(&mut index),
            Op::RowSum | Op::Flatten => [index(1), (), ()],
            _ => [(); 3],
        };
        self.node(operator, input, output.clone(), attributes);
        Ok(output)
    }
}

/// The bytes of the file.
pub(super) fn write(weights: &Weights, description: &Description<'_>) -> Vec<u8> {
    let mut sheet = Sheet { weights, taken: BTreeSet::new(), initialisers: Vec::new(), nodes: Vec::new() };
    let [spectrum, mask, sigma] = INPUTS.map(|name| {
        let wide = format!("{name}.wide");
        sheet.node("Cast", vec![name.to_owned()], wide.clone(), &[("to", DataType::Double as i64)]);
        wide
    });
    let input = Input { spectrum, mask, sigma };
    let answer = match answer(&mut sheet, &input, description.posterior, description.layout) {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let Answer { posterior, latent_mean, reconstruction, log_density } = answer;
    let outputs = [
        ("cluster_posterior", posterior),
        ("latent_mean", latent_mean),
        ("reconstruction", reconstruction),
        ("log_density", log_density),
    ];
    for (name, node) in outputs {
        sheet.node("Cast", vec![node], name.to_owned(), &[("to", DataType::Float as i64)]);
    }
    let channels = description.axis.channels() as i64;
    let graph = GraphProto {
        name: "phasewatch_gmvae".to_owned(),
        node: sheet.nodes,
        initializer: sheet.initialisers,
        input: INPUTS.map(|name| port(name, &[channels])).to_vec(),
        output: vec![
            port("cluster_posterior", &[description.clusters.len() as i64]),
            port("latent_mean", &[LATENT as i64]),
            port("reconstruction", &[channels]),
            port("log_density", &[]),
        ],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: MAX_IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: MAX_OPSET }],
        producer_name: "phasewatch".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        metadata_props: metadata(description),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

fn metadata(description: &Description<'_>) -> Vec<StringStringEntryProto> {
    let clusters: Vec<serde_json::Value> =
        description.clusters.iter().map(|name| name.as_str().into()).collect();
    let mut entries = vec![
        ("contract", CONTRACT.to_owned()),
        ("energies_ev", format!("{:?}", description.axis.energies_ev())),
        ("clusters", serde_json::Value::from(clusters).to_string()),
        ("max_gap_ev", description.axis.max_gap_ev().to_string()),
        ("references_sha256", description.references_sha256.to_owned()),
        ("trained_with", description.trained_with.to_owned()),
    ];
    entries.extend(description.competence.clone().map(|json| ("competence", json)));
    let entry = |(key, value)| StringStringEntryProto { key: format!("phasewatch.{key}"), value };
    entries.into_iter().map(entry).collect()
}

fn port(name: &str, rest: &[i64]) -> ValueInfoProto {
    let batch = dimension::Value::DimParam("batch".to_owned());
    let rest = rest.iter().map(|&size| dimension::Value::DimValue(size));
    let dims = std::iter::once(batch).chain(rest);
    let dim = dims.map(|value| Dimension { value: Some(value), ..Dimension::default() }).collect();
    let tensor = Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
}
