use proptest::prelude::*;
use prost::Message as _;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use super::*;

const AXIS: [f64; 4] = [510.0, 510.1, 510.2, 510.3];

fn port(name: &str, rest: &[i64]) -> ValueInfoProto {
    let batch = dimension::Value::DimParam("batch".to_owned());
    let rest = rest.iter().map(|&size| dimension::Value::DimValue(size));
    let dim = std::iter::once(batch)
        .chain(rest)
        .map(|value| Dimension { value: Some(value), ..Dimension::default() })
        .collect();
    let tensor = Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
}

fn weights(name: &str, dims: [i64; 2], data: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: data.to_vec(),
        ..TensorProto::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// A model that keeps the contract: posterior = softmax(spectrum·W), latent = (spectrum·mask)·V.
fn good() -> ModelProto {
    let mut softmax = node("Softmax", &["logits"], "cluster_posterior");
    softmax.attribute = vec![AttributeProto {
        name: "axis".to_owned(),
        r#type: AttributeType::Int as i32,
        i: -1,
        ..AttributeProto::default()
    }];
    let graph = GraphProto {
        name: "tiny".to_owned(),
        node: vec![
            node("MatMul", &["spectrum", "w"], "logits"),
            softmax,
            node("Mul", &["spectrum", "mask"], "seen"),
            node("MatMul", &["seen", "v"], "latent_mean"),
        ],
        initializer: vec![
            weights("w", [4, 3], &[0.5, -0.5, 0.1, 0.2, 0.3, -0.9, 1.0, 0.0, 0.4, -0.2, 0.7, 0.6]),
            weights("v", [4, 2], &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5, -1.0, 0.25]),
        ],
        input: vec![port("spectrum", &[4]), port("mask", &[4])],
        output: vec![port("cluster_posterior", &[3]), port("latent_mean", &[2])],
        ..GraphProto::default()
    };
    let prop = |(key, value): (&str, String)| StringStringEntryProto { key: key.to_owned(), value };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        metadata_props: [
            ("phasewatch.contract", "1".to_owned()),
            ("phasewatch.energies_ev", format!("{AXIS:?}")),
            ("phasewatch.clusters", r#"["a", "b", "mixture"]"#.to_owned()),
            ("phasewatch.max_gap_ev", "0.5".to_owned()),
            ("phasewatch.references_sha256", "0f".repeat(32)),
            ("phasewatch.trained_with", "a test".to_owned()),
        ]
        .into_iter()
        .map(prop)
        .collect(),
        ..ModelProto::default()
    }
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn set(model: &mut ModelProto, key: &str, value: &str) {
    model.metadata_props.iter_mut().find(|prop| prop.key == key).unwrap().value = value.to_owned();
}

fn axis(max_gap_ev: f64) -> ModelAxis {
    ModelAxis::new(AXIS.to_vec(), max_gap_ev).unwrap()
}

#[test]
fn a_good_model_loads_and_runs_on_the_embedded_engine() {
    let bytes = good().encode_to_vec();
    let expected = "0F".repeat(32);
    let mut model = Model::load(&bytes, &BackendChoice::tract(), Some(&expected)).unwrap();
    assert_eq!(model.metadata().clusters, ["a", "b", "mixture"]);
    assert_eq!(model.metadata().cluster_of("b"), Some(1));
    assert_eq!((model.latent_len(), model.engine()), (2, "tract"));
    assert_eq!(model.sha256(), sha256_hex(&bytes));
    let mut batch = Batch::with_capacity(&model.metadata().axis, 1);
    let projection = Projection::new(&model.metadata().axis, &AXIS).unwrap();
    assert!(batch.push(&projection, &[1.0, 2.0, 3.0, 4.0], &[0.1; 4]));
    let output = model.run(&batch).unwrap();
    let x = batch.spectrum();
    let latent = [x[0] + 0.5 * x[2] - x[3], x[1] + 0.5 * x[2] + 0.25 * x[3]];
    for (actual, expected) in output.latent.iter().zip(latent) {
        assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
    }
    assert!((output.posterior_of(0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    batch.clear();
    assert_eq!(model.run(&batch).unwrap().rows, 0);
}

#[test]
fn a_model_can_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Model>();
}

#[test]
fn every_broken_rule_is_refused_with_its_reason() {
    type Break = fn(&mut ModelProto);
    let cases: Vec<(&str, Break)> = vec![
        ("IR version is 9", |m| m.ir_version = 9),
        ("operator set is 18", |m| m.opset_import[0].version = 18),
        ("operator set is 0", |m| m.opset_import.clear()),
        ("no graph", |m| m.graph = None),
        ("functions of its own", |m| m.functions = vec![FunctionProto::default()]),
        ("operator RandomNormal", |m| graph(m).node[2].op_type = "RandomNormal".to_owned()),
        ("operator Mul of domain `mine`", |m| graph(m).node[2].domain = "mine".to_owned()),
        ("graphs within graphs", |m| graph(m).node[1].attribute[0].g = Some(GraphProto::default())),
        ("tensor `v` has its data outside", |m| {
            graph(m).initializer[1].data_location = Some(DataLocation::External as i32);
        }),
        ("no `phasewatch.contract`", |m| _ = m.metadata_props.remove(0)),
        ("no `phasewatch.trained_with`", |m| _ = m.metadata_props.remove(5)),
        ("twice", |m| m.metadata_props.push(m.metadata_props[0].clone())),
        ("`phasewatch.contract` is `2`", |m| set(m, "phasewatch.contract", "2")),
        ("energies_ev` is not a JSON list", |m| set(m, "phasewatch.energies_ev", "510, 511")),
        ("ascends strictly", |m| set(m, "phasewatch.energies_ev", "[510, 510.2, 510.1, 511]")),
        ("has 2", |m| set(m, "phasewatch.energies_ev", "[510, 511]")),
        ("max_gap_ev is -1", |m| set(m, "phasewatch.max_gap_ev", "-1")),
        ("max_gap_ev` is not a number", |m| set(m, "phasewatch.max_gap_ev", "wide")),
        ("`a` is there twice", |m| set(m, "phasewatch.clusters", r#"["a", "a", "b"]"#)),
        ("phases come first", |m| set(m, "phasewatch.clusters", r#"["a", "mixture", "b"]"#)),
        ("no phase among them", |m| set(m, "phasewatch.clusters", r#"["other:x", "mixture"]"#)),
        ("64 hexadecimal", |m| set(m, "phasewatch.references_sha256", "abc")),
        ("no input `mask`", |m| graph(m).input[1].name = "cover".to_owned()),
        ("input `noise`", |m| graph(m).input.push(port("noise", &[4]))),
        ("`mask` is not float32", |m| graph(m).input[1] = port("mask", &[5])),
        ("`sigma` is not float32", |m| graph(m).input.push(port("sigma", &[]))),
        ("no output `latent_mean`", |m| _ = graph(m).output.remove(1)),
        ("`cluster_posterior` is not float32", |m| graph(m).output[0] = port("cluster_posterior", &[4])),
        ("output `extra`", |m| graph(m).output.push(port("extra", &[4]))),
        ("does not sum to 1", |m| graph(m).node[1].op_type = "Sigmoid".to_owned()),
    ];
    for (reason, spoil) in cases {
        let mut model = good();
        spoil(&mut model);
        // The softmax's attribute does not fit a sigmoid.
        if reason.contains("sum") {
            graph(&mut model).node[1].attribute.clear();
        }
        let error = Model::load(&model.encode_to_vec(), &BackendChoice::tract(), None).unwrap_err();
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
}

#[test]
fn what_a_model_says_of_its_competence_is_optional_and_checked() {
    assert_eq!(Metadata::read(&good().encode_to_vec()).unwrap().earns_place(12, 1000.0), None);
    let with = |value: &str| {
        let mut model = good();
        let (key, value) = ("phasewatch.competence".to_owned(), value.to_owned());
        model.metadata_props.push(StringStringEntryProto { key, value });
        Metadata::read(&model.encode_to_vec())
    };
    let cell = |fit: f64| {
        format!(
            r#"[{{"counts": 1000, "energies": 12, "pixels": 200, "gmvae": 0.7, "fit": {fit}, "later": 1}}]"#
        )
    };
    assert_eq!(with(&cell(0.6)).unwrap().earns_place(10, 2000.0), Some(true));
    assert_eq!(with(&cell(0.8)).unwrap().earns_place(10, 2000.0), Some(false));
    for wrong in ["{}", "yes", &cell(1.5)] {
        let error = with(wrong).unwrap_err().to_string();
        assert!(error.contains("phasewatch.competence"), "{error}");
    }
}

#[test]
fn other_references_are_refused_with_both_digests() {
    let expected = "ab".repeat(32);
    let error = Model::load(&good().encode_to_vec(), &BackendChoice::tract(), Some(&expected)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&expected) && text.contains(&"0f".repeat(32)), "{text}");
}

#[test]
fn a_graph_that_makes_the_embedded_engine_panic_is_refused() {
    let mut model = good();
    graph(&mut model).node[3].output = vec!["elsewhere".to_owned()];
    let error = Model::load(&model.encode_to_vec(), &BackendChoice::tract(), None).unwrap_err().to_string();
    assert!(error.starts_with("tract") && error.contains("panics"), "{error}");
}

#[test]
fn what_is_no_onnx_is_an_error() {
    for bytes in [&b"PK\x03\x04 not a model"[..], &[0xff; 64], &[]] {
        assert!(Model::load(bytes, &BackendChoice::tract(), None).is_err());
    }
    let mut bytes = good().encode_to_vec();
    bytes.truncate(bytes.len() / 2);
    assert!(Model::load(&bytes, &BackendChoice::tract(), None).is_err());
}

#[test]
fn a_missing_library_is_named_and_a_second_engine_refused() {
    let bytes = good().encode_to_vec();
    let library = Some("/nonexistent/libonnxruntime.so".into());
    let choice = BackendChoice { backend: Backend::OnnxRuntime, library };
    let error = Model::load(&bytes, &choice, None).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/libonnxruntime.so"), "{error}");
    Model::load(&bytes, &BackendChoice::tract(), None).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let choice = BackendChoice { backend: Backend::Auto, library: Some(file.path().to_owned()) };
    let error = Model::load(&bytes, &choice, None).unwrap_err().to_string();
    assert!(error.contains("tract already"), "{error}");
    // Nobody asked for a certain one: what runs is fine.
    Model::load(&bytes, &BackendChoice::default(), None).unwrap();
}

/// Projects without standardising: value and noise of each channel, `None` where masked.
fn project(energies_ev: &[f64], od: &[f32], sigma: &[f32], max_gap_ev: f64) -> Vec<Option<(f32, f32)>> {
    let projection = Projection::new(&axis(max_gap_ev), energies_ev).unwrap();
    let (mut values, mut mask, mut noise) = ([0.0; 4], [0.0; 4], [0.0; 4]);
    let mut scratch = projection::Scratch::default();
    let observed = projection.project(od, sigma, &mut scratch, (&mut values, &mut mask, &mut noise));
    assert_eq!(observed, mask.iter().filter(|m| **m == 1.0).count());
    (0..4).map(|i| (mask[i] == 1.0).then_some((values[i], noise[i]))).collect()
}

#[test]
fn a_channel_takes_the_nearest_value_within_half_a_step() {
    let seen = project(&[510.04, 510.26], &[1.0, 2.0], &[0.1, 0.2], 0.0);
    assert_eq!(seen, [Some((1.0, 0.1)), None, None, Some((2.0, 0.2))]);
    // On the border it belongs to both; outside the axis to none.
    let seen = project(&[510.15, 509.9, 510.4], &[1.0, 7.0, 8.0], &[0.1; 3], 0.0);
    assert_eq!(seen, [None, Some((1.0, 0.1)), Some((1.0, 0.1)), None]);
    // Two within reach: the nearer; equally near: the lower.
    let seen = project(&[510.12, 510.09], &[1.0, 2.0], &[0.1; 2], 0.0);
    assert_eq!(seen[1], Some((2.0, 0.1)));
    let seen = project(&[510.125, 510.075], &[1.0, 2.0], &[0.1; 2], 0.0);
    assert_eq!(seen[1].unwrap().0, 2.0);
}

#[test]
fn repeats_are_averaged_and_gaps_bridged_only_up_to_the_limit() {
    let seen = project(&[510.0, 510.0, 510.3], &[1.0, 3.0, 8.0], &[0.1, 0.1, 0.2], 0.31);
    let (value, noise) = seen[0].unwrap();
    assert!((value - 2.0).abs() < 1e-6 && (noise - 0.1 / 2_f32.sqrt()).abs() < 1e-6);
    let (value, noise) = seen[1].unwrap();
    let expected = ((2.0 / 3.0 * 0.005_f32.sqrt()).powi(2) + (0.2_f32 / 3.0).powi(2)).sqrt();
    assert!((value - 4.0).abs() < 1e-4 && (noise - expected).abs() < 1e-5, "{value} {noise}");
    let seen = project(&[510.0, 510.0, 510.3], &[1.0, 3.0, 8.0], &[0.1; 3], 0.29);
    assert_eq!((seen[1], seen[2]), (None, None));
}

#[test]
fn what_was_not_measured_does_not_count() {
    let energies_ev = [510.0, 510.0, 510.1, 510.2];
    let od = [1.0, f32::NAN, f32::INFINITY, 4.0];
    let seen = project(&energies_ev, &od, &[0.1, 0.1, 0.1, f32::NAN], 0.5);
    assert_eq!(seen, [Some((1.0, 0.1)), None, None, None]);
    // A spectrum shorter than the list of energies lacks the rest.
    assert_eq!(project(&energies_ev, &od[..1], &[0.1], 0.5), [None; 4]);
}

#[test]
fn under_three_channels_the_model_is_not_asked() {
    let projection = Projection::new(&axis(0.0), &AXIS).unwrap();
    let mut batch = Batch::with_capacity(projection.axis(), 2);
    assert!(!batch.push(&projection, &[1.0, 2.0, f32::NAN, f32::NAN], &[0.1; 4]));
    assert!(batch.is_empty() && batch.spectrum().is_empty());
    assert!(batch.push(&projection, &[1.0, 2.0, 3.0, f32::NAN], &[0.1; 4]));
    assert_eq!((batch.len(), batch.spectrum()[3], batch.sigma()[3]), (1, 0.0, 0.0));
}

#[test]
fn a_constant_spectrum_gives_zeros() {
    let projection = Projection::new(&axis(0.0), &AXIS).unwrap();
    let mut batch = Batch::with_capacity(projection.axis(), 1);
    assert!(batch.push(&projection, &[0.7; 4], &[0.1; 4]));
    assert!(batch.spectrum().iter().all(|v| v.abs() < 0.1), "{:?}", batch.spectrum());
}

#[test]
fn an_axis_that_is_none_is_refused() {
    assert!(matches!(ModelAxis::new(vec![1.0, 2.0], 0.0), Err(AxisError::Length(2))));
    assert!(ModelAxis::new(vec![1.0, f64::NAN, 3.0], 0.0).is_err());
    assert!(ModelAxis::new(vec![1.0, 2.0, 2.0], 0.0).is_err());
    assert!(ModelAxis::new(vec![1.0, 2.0, 3.0], f64::INFINITY).is_err());
    assert!(Projection::new(&axis(0.0), &[510.0, f64::NAN]).is_err());
}

proptest! {
    /// Order of measuring does not matter; standardised rows have mean 0 and variance 1; noise keeps its ratio to the signal.
    #[test]
    fn rows_are_standardised_whatever_the_order(
        points in proptest::collection::vec((0_u32..60, -3.0_f32..3.0, 0.001_f32..1.0), 3..40),
        gap in 0.0_f64..1.0,
    ) {
        let energies: Vec<f64> = (0..40).map(|i| 509.0 + f64::from(i) * 0.1).collect();
        let axis = ModelAxis::new(energies, gap).unwrap();
        let at = |points: &[(u32, f32, f32)]| {
            let energies_ev: Vec<f64> = points.iter().map(|p| 508.0 + f64::from(p.0) * 0.093).collect();
            let od: Vec<f32> = points.iter().map(|p| p.1).collect();
            let sigma: Vec<f32> = points.iter().map(|p| p.2).collect();
            let projection = Projection::new(&axis, &energies_ev).unwrap();
            let mut batch = Batch::with_capacity(&axis, 1);
            let asked = batch.push(&projection, &od, &sigma);
            (asked, batch)
        };
        let (asked, batch) = at(&points);
        let mut turned = points.clone();
        turned.reverse();
        let (asked_turned, batch_turned) = at(&turned);
        prop_assert_eq!(asked, asked_turned);
        if asked {
            for (a, b) in batch.spectrum().iter().zip(batch_turned.spectrum()) {
                prop_assert!((a - b).abs() < 1e-3, "{} {}", a, b);
            }
            let seen: Vec<f64> = batch.spectrum().iter().zip(batch.mask())
                .filter(|(_, m)| **m == 1.0).map(|(v, _)| f64::from(*v)).collect();
            let mean = seen.iter().sum::<f64>() / seen.len() as f64;
            let var = seen.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / seen.len() as f64;
            prop_assert!(mean.abs() < 1e-4 && (var < 1e-3 || (var - 1.0).abs() < 1e-2), "{} {}", mean, var);
            prop_assert!(batch.sigma().iter().zip(batch.mask()).all(|(s, m)| (*s > 0.0) == (*m == 1.0)));
        }
    }

    /// A pixel that lacks values is projected exactly as if the energies it lacks had not been measured at all.
    #[test]
    fn a_missing_value_is_as_good_as_a_missing_energy(
        points in proptest::collection::vec((0_u32..40, -3.0_f32..3.0, any::<bool>()), 1..40),
        gap in 0.0_f64..0.5,
    ) {
        let energies_ev: Vec<f64> = points.iter().map(|p| 509.9 + f64::from(p.0) * 0.0137).collect();
        let od: Vec<f32> = points.iter().map(|p| if p.2 { p.1 } else { f32::NAN }).collect();
        let sigma = vec![0.1; od.len()];
        let kept: Vec<usize> = (0..od.len()).filter(|&i| points[i].2).collect();
        let energies_kept: Vec<f64> = kept.iter().map(|&i| energies_ev[i]).collect();
        let od_kept: Vec<f32> = kept.iter().map(|&i| od[i]).collect();
        prop_assert_eq!(
            project(&energies_ev, &od, &sigma, gap),
            project(&energies_kept, &od_kept, &sigma[..kept.len()], gap)
        );
    }
}
