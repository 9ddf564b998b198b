//! What a model file says of itself, and whether it keeps the contract.
//!
//! The file is decoded here, not asked of a backend: embedded backends do not hand out metadata. Nothing is run.

use std::collections::HashSet;

use prost::Message as _;
use serde::de::DeserializeOwned;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::type_proto::Value as Type;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, ValueInfoProto};

use super::axis::{AxisError, ModelAxis};
use super::competence::{self, CompetenceCell};
use super::operators;

/// The version of the contract.
pub const CONTRACT: &str = "1";
/// Largest model file, bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Highest version of the ONNX operator set.
pub const MAX_OPSET: i64 = 17;
/// Highest version of the ONNX file format.
pub const MAX_IR_VERSION: i64 = 8;
/// Where a model says what it is worth.
const COMPETENCE: &str = "phasewatch.competence";
const COMPETENCE_FORM: &str =
    "a JSON list of cells with counts and energies above 0, pixels, and the shares gmvae and fit from 0 to 1";
/// Most clusters.
const MAX_CLUSTERS: usize = 256;

/// Which rule of the contract a model file breaks.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// Too large.
    #[error("the file has {0} bytes; a model has at most {MAX_FILE_BYTES}")]
    Size(u64),
    /// Not ONNX.
    #[error("the file is not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// No graph in it.
    #[error("the ONNX file has no graph")]
    NoGraph,
    /// File format too new.
    #[error("IR version is {0}; the contract has 1 to {MAX_IR_VERSION}")]
    IrVersion(i64),
    /// Operator set too new, or none.
    #[error("operator set is {0}; the contract has 1 to {MAX_OPSET}")]
    Opset(i64),
    /// Operator that is not plain.
    #[error("operator {operator} of domain `{domain}` is not among the plain operators the contract allows")]
    Operator {
        /// Its name.
        operator: String,
        /// Its domain, empty for the default one.
        domain: String,
    },
    /// Local functions, training, sparse weights or graphs within graphs.
    #[error("the model has {0}, which the contract does not allow")]
    Feature(&'static str),
    /// Weights in another file.
    #[error("tensor `{0}` has its data outside the file; the contract wants all data inside")]
    ExternalData(String),
    /// Metadata missing.
    #[error("metadata has no `{0}`")]
    Missing(&'static str),
    /// Metadata given twice.
    #[error("metadata has `{0}` twice")]
    Twice(String),
    /// Metadata that does not read.
    #[error("metadata `{key}` is not {expected}")]
    Value {
        /// Which.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Another contract.
    #[error("metadata `phasewatch.contract` is `{0}`; this program knows `{CONTRACT}`")]
    Contract(String),
    /// Energies that are no axis.
    #[error("metadata `phasewatch.energies_ev`: {0}")]
    Axis(#[from] AxisError),
    /// Clusters that are none.
    #[error("metadata `phasewatch.clusters`: {0}")]
    Clusters(String),
    /// Input or output missing.
    #[error("the graph has no {direction} `{name}`")]
    NoPort {
        /// `input` or `output`.
        direction: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// Input that nobody feeds.
    #[error("the graph has an {direction} `{name}`, which the contract does not know")]
    UnknownPort {
        /// `input` or `output`.
        direction: &'static str,
        /// Its name.
        name: String,
    },
    /// Port of another type or shape.
    #[error("`{name}` is not float32 {expected}")]
    Port {
        /// Its name.
        name: String,
        /// The shape it should have.
        expected: String,
    },
}

/// What a model says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// The axis of its spectra.
    pub axis: ModelAxis,
    /// Names of the clusters: phase ids, then any of `mixture`, `damaged`, `other:<name>`.
    pub clusters: Vec<String>,
    /// Digest of the references it was trained on.
    pub references_sha256: String,
    /// Free text: what trained it.
    pub trained_with: String,
    /// Whether it takes the noise of each channel.
    pub takes_sigma: bool,
    /// Whether it gives a reconstruction.
    pub gives_reconstruction: bool,
    /// Whether it gives a log density.
    pub gives_log_density: bool,
    /// What it says of its accuracy beside a fit's; empty where it says nothing.
    pub competence: Vec<CompetenceCell>,
    /// Names of the outputs, in the order of the file.
    pub(super) outputs: Vec<String>,
}

impl Metadata {
    /// Reads and checks the bytes of a model file.
    ///
    /// # Errors
    /// The first rule of the contract that the file breaks.
    pub fn read(bytes: &[u8]) -> Result<Self, ContractError> {
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(ContractError::Size(bytes.len() as u64));
        }
        let model = ModelProto::decode(bytes)?;
        let graph = model.graph.as_ref().ok_or(ContractError::NoGraph)?;
        check_versions(&model)?;
        check_graph(graph)?;
        let props = Props::of(&model)?;
        let contract = props.text("phasewatch.contract")?;
        if contract != CONTRACT {
            return Err(ContractError::Contract(contract.to_owned()));
        }
        let energies_ev: Vec<f64> = props.json("phasewatch.energies_ev", "a JSON list of numbers")?;
        let max_gap_ev: f64 = props.json("phasewatch.max_gap_ev", "a number")?;
        let axis = ModelAxis::new(energies_ev, max_gap_ev)?;
        let clusters: Vec<String> = props.json("phasewatch.clusters", "a JSON list of strings")?;
        check_clusters(&clusters)?;
        let references_sha256 = props.text("phasewatch.references_sha256")?.to_ascii_lowercase();
        if references_sha256.len() != 64 || !references_sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            let expected = "64 hexadecimal digits";
            return Err(ContractError::Value { key: "phasewatch.references_sha256", expected });
        }
        let trained_with = props.text("phasewatch.trained_with")?.to_owned();
        let competence = match props.text(COMPETENCE) {
            Err(_) => Vec::new(),
            Ok(_) => props.json::<Vec<CompetenceCell>>(COMPETENCE, COMPETENCE_FORM)?,
        };
        if !competence::are_sound(&competence) {
            return Err(ContractError::Value { key: COMPETENCE, expected: COMPETENCE_FORM });
        }
        let channels = axis.channels();
        let takes_sigma = check_inputs(graph, channels)?;
        check_outputs(graph, channels, clusters.len())?;
        let outputs: Vec<String> = graph.output.iter().map(|port| port.name.clone()).collect();
        let has = |name: &str| outputs.iter().any(|output| output == name);
        Ok(Self {
            takes_sigma,
            gives_reconstruction: has("reconstruction"),
            gives_log_density: has("log_density"),
            axis,
            clusters,
            references_sha256,
            trained_with,
            competence,
            outputs,
        })
    }

    /// Index of the cluster that stands for phase `id`, if the model knows it.
    #[must_use]
    pub fn cluster_of(&self, id: &str) -> Option<usize> {
        self.clusters.iter().position(|cluster| cluster == id)
    }

    /// Whether the model is better than a weighted fit on ambiguous pixels of `counts_per_pixel` incident counts and so many energies,
    /// by its own account of the nearest case; `None` where it says nothing.
    #[must_use]
    pub fn earns_place(&self, energies: usize, counts_per_pixel: f64) -> Option<bool> {
        competence::earns_place(&self.competence, energies, counts_per_pixel)
    }

    /// Whether `cluster` is no phase but a free component.
    #[must_use]
    pub fn is_free(cluster: &str) -> bool {
        matches!(cluster, "mixture" | "damaged") || cluster.starts_with("other:")
    }
}

struct Props<'a>(&'a ModelProto);

impl<'a> Props<'a> {
    fn of(model: &'a ModelProto) -> Result<Self, ContractError> {
        let mut seen = HashSet::new();
        match model.metadata_props.iter().find(|prop| !seen.insert(prop.key.as_str())) {
            Some(twice) => Err(ContractError::Twice(twice.key.clone())),
            None => Ok(Self(model)),
        }
    }

    fn text(&self, key: &'static str) -> Result<&'a str, ContractError> {
        let prop = self.0.metadata_props.iter().find(|prop| prop.key == key);
        prop.map(|prop| prop.value.as_str()).ok_or(ContractError::Missing(key))
    }

    fn json<T: DeserializeOwned>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<T, ContractError> {
        serde_json::from_str(self.text(key)?).map_err(|_| ContractError::Value { key, expected })
    }
}

fn check_versions(model: &ModelProto) -> Result<(), ContractError> {
    if !(1..=MAX_IR_VERSION).contains(&model.ir_version) {
        return Err(ContractError::IrVersion(model.ir_version));
    }
    let default = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    let opset = default.map_or(0, |set| set.version);
    if !(1..=MAX_OPSET).contains(&opset) {
        return Err(ContractError::Opset(opset));
    }
    if !model.functions.is_empty() {
        return Err(ContractError::Feature("functions of its own"));
    }
    if !model.training_info.is_empty() {
        return Err(ContractError::Feature("training information"));
    }
    Ok(())
}

fn check_graph(graph: &GraphProto) -> Result<(), ContractError> {
    if !graph.sparse_initializer.is_empty() {
        return Err(ContractError::Feature("sparse weights"));
    }
    graph.initializer.iter().try_for_each(check_tensor)?;
    for node in &graph.node {
        if !operators::is_plain(&node.domain, &node.op_type) {
            let (operator, domain) = (node.op_type.clone(), node.domain.clone());
            return Err(ContractError::Operator { operator, domain });
        }
        for attribute in &node.attribute {
            if attribute.g.is_some() || !attribute.graphs.is_empty() {
                return Err(ContractError::Feature("graphs within graphs"));
            }
            if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
                return Err(ContractError::Feature("sparse weights"));
            }
            attribute.t.iter().chain(&attribute.tensors).try_for_each(check_tensor)?;
        }
    }
    Ok(())
}

fn check_tensor(tensor: &TensorProto) -> Result<(), ContractError> {
    let outside =
        tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty();
    if outside { Err(ContractError::ExternalData(tensor.name.clone())) } else { Ok(()) }
}

fn check_clusters(clusters: &[String]) -> Result<(), ContractError> {
    let fail = |why: String| Err(ContractError::Clusters(why));
    if !(2..=MAX_CLUSTERS).contains(&clusters.len()) {
        return fail(format!("{} of them, the contract has 2 to {MAX_CLUSTERS}", clusters.len()));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = clusters.iter().find(|name| !seen.insert(name.as_str())) {
        return fail(format!("`{twice}` is there twice"));
    }
    if clusters.iter().any(|name| name.is_empty() || name == "other:") {
        return fail("one has no name".to_owned());
    }
    let free = clusters.iter().position(|name| Metadata::is_free(name)).unwrap_or(clusters.len());
    if let Some(late) = clusters[free..].iter().find(|name| !Metadata::is_free(name)) {
        return fail(format!("phase `{late}` comes after a free component; phases come first"));
    }
    if free == 0 { fail("there is no phase among them".to_owned()) } else { Ok(()) }
}

/// Checks the inputs; returns whether `sigma` is among them.
fn check_inputs(graph: &GraphProto, channels: usize) -> Result<bool, ContractError> {
    // Old files list their weights among the inputs as well.
    let weights: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !weights.contains(input.name.as_str())).collect();
    for name in ["spectrum", "mask"] {
        if !inputs.iter().any(|input| input.name == name) {
            return Err(ContractError::NoPort { direction: "input", name });
        }
    }
    for input in &inputs {
        if !matches!(input.name.as_str(), "spectrum" | "mask" | "sigma") {
            return Err(ContractError::UnknownPort { direction: "input", name: input.name.clone() });
        }
        check_port(input, &[Some(channels)])?;
    }
    Ok(inputs.iter().any(|input| input.name == "sigma"))
}

fn check_outputs(graph: &GraphProto, channels: usize, clusters: usize) -> Result<(), ContractError> {
    for name in ["cluster_posterior", "latent_mean"] {
        if !graph.output.iter().any(|output| output.name == name) {
            return Err(ContractError::NoPort { direction: "output", name });
        }
    }
    for output in &graph.output {
        match output.name.as_str() {
            "cluster_posterior" => check_port(output, &[Some(clusters)])?,
            "latent_mean" => check_port(output, &[None])?,
            "reconstruction" => check_port(output, &[Some(channels)])?,
            "log_density" => check_port(output, &[])?,
            _ => return Err(ContractError::UnknownPort { direction: "output", name: output.name.clone() }),
        }
    }
    Ok(())
}

/// Checks that a port is float32 `[batch, rest…]`, where batch is not fixed (or not said) and `None` is any size.
fn check_port(port: &ValueInfoProto, rest: &[Option<usize>]) -> Result<(), ContractError> {
    let fail = || {
        let sizes = rest.iter().map(|size| size.map_or(", any".to_owned(), |size| format!(", {size}")));
        let expected = format!("[batch{}] with a batch of any size", sizes.collect::<String>());
        Err(ContractError::Port { name: port.name.clone(), expected })
    };
    let Some(Type::TensorType(tensor)) = port.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return fail();
    };
    let dims: Vec<Option<&Dim>> =
        tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.value.as_ref()).collect();
    let free_batch = !matches!(dims.first(), Some(Some(Dim::DimValue(_))));
    let fits = |(dim, size): (&Option<&Dim>, &Option<usize>)| match (dim, size) {
        (Some(Dim::DimValue(value)), Some(size)) => usize::try_from(*value) == Ok(*size),
        // A size the exporter left open is checked by the probe.
        _ => true,
    };
    let shape_good = dims.len() == rest.len() + 1 && free_batch && dims[1..].iter().zip(rest).all(fits);
    if tensor.elem_type == DataType::Float as i32 && shape_good { Ok(()) } else { fail() }
}
