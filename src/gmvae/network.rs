//! The network, written once: candle computes and learns with it, the exporter writes it down as ONNX.
//!
//! Every value is a matrix of one row per pixel. Input are the contract's spectrum x, mask m and noise s.
//!
//! **Features** are those of [`super::evidence`], without anything learnt.
//!
//! **Encoder** two tanh layers; from them the posterior q(y|x) of the clusters (for a phase its evidence; the learnt part is
//! added in full for free clusters, and for phases as far as the noise is so small that the errors of the references decide; all of it
//! times a learnt temper between a half and two), and mean and log variance of the latent z. **Prior** a Gaussian
//! mixture over z with one component per cluster, the foreign last. **Decoder** one tanh layer and a linear one; its spectrum is scaled and shifted as the mean template is that describes x best,
//! since the frame of a standardised spectrum depends on what was observed.

use super::evidence::{Features, Frame, Input, features};
use super::graph::{Graph, Op, Pen};
use super::template::Layout;
use super::weights::LATENT;

/// ln 2π.
const LN_TAU: f32 = 1.837_877;

/// What the encoder says.
pub(super) struct Encoded<N> {
    pub(super) logits: N,
    pub(super) mean: N,
    pub(super) log_variance: N,
}

/// The parameters of the prior: one column per cluster.
pub(super) struct Prior<N> {
    pub(super) mean: N,
    pub(super) variance: N,
    pub(super) log_variance: N,
}

/// Encodes features.
pub(super) fn encode<G: Graph>(
    g: &mut G,
    features: &Features<G::Node>,
) -> Result<Encoded<G::Node>, G::Error> {
    let mut p = Pen(g);
    let first = p.linear(&features.all, "encoder1")?;
    let first = p.one(Op::Tanh, &first)?;
    let second = p.linear(&first, "encoder2")?;
    let second = p.one(Op::Tanh, &second)?;
    let own = p.linear(&second, "cluster")?;
    let trust = p.0.leaf("learnt.trust.weight")?;
    let believed = p.matmul(&features.evidence, &trust)?;
    let learnt = p.add(&own, &believed)?;
    let (phase, free) = (p.0.leaf("template.phase")?, p.0.leaf("template.free")?);
    let gate = p.matmul(&features.known, &phase)?;
    let gate = p.add(&gate, &free)?;
    let learnt = p.mul(&learnt, &gate)?;
    let own = p.0.leaf("template.own")?;
    let evidence = p.matmul(&features.evidence, &own)?;
    let sum = p.add(&evidence, &learnt)?;
    let temper = p.linear(&second, "temper")?;
    let temper = p.one(Op::Tanh, &temper)?;
    let temper = p.times(&temper, 0.7)?;
    let temper = p.one(Op::Exp, &temper)?;
    let logits = p.mul(&sum, &temper)?;
    let mean = p.linear(&second, "mean")?;
    let log_variance = p.linear(&second, "spread")?;
    Ok(Encoded { logits, mean, log_variance })
}

/// The prior's parameters.
pub(super) fn prior<G: Graph>(g: &mut G) -> Result<Prior<G::Node>, G::Error> {
    let mut p = Pen(g);
    let mean = p.0.leaf("learnt.prior.mean")?;
    let raw = p.0.leaf("learnt.prior.log_variance")?;
    let raw = p.one(Op::Exp, &raw)?;
    // A floor keeps a component from collapsing onto a point.
    let variance = p.plus(&raw, 0.02)?;
    let log_variance = p.one(Op::Log, &variance)?;
    Ok(Prior { mean, variance, log_variance })
}

/// Log density of latent vectors under every component, equal weights, `[rows, clusters]`.
pub(super) fn log_components<G: Graph>(
    g: &mut G,
    latent: &G::Node,
    prior: &Prior<G::Node>,
    clusters: usize,
) -> Result<G::Node, G::Error> {
    let mut p = Pen(g);
    let one = p.0.number(1.0)?;
    let precision = p.div(&one, &prior.variance)?;
    let ones = p.0.leaf("latent.ones")?;
    let pull = p.mul(&prior.mean, &precision)?;
    let own = p.mul(&pull, &prior.mean)?;
    let own = p.add(&own, &prior.log_variance)?;
    let own = p.matmul(&ones, &own)?;
    let square = p.mul(latent, latent)?;
    let squares = p.matmul(&square, &precision)?;
    let cross = p.matmul(latent, &pull)?;
    let cross = p.times(&cross, 2.0)?;
    let sum = p.sub(&squares, &cross)?;
    let sum = p.add(&sum, &own)?;
    let half = p.times(&sum, -0.5)?;
    p.plus(&half, -0.5 * LATENT as f32 * LN_TAU - (clusters as f32).ln())
}

/// Decodes latent vectors and brings the result onto the frame of a spectrum.
pub(super) fn decode<G: Graph>(
    g: &mut G,
    latent: &G::Node,
    frame: &Frame<G::Node>,
) -> Result<G::Node, G::Error> {
    let mut p = Pen(g);
    let hidden = p.linear(latent, "decoder1")?;
    let hidden = p.one(Op::Tanh, &hidden)?;
    let free = p.linear(&hidden, "decoder2")?;
    let scaled = p.mul(&free, &frame.scale)?;
    p.add(&scaled, &frame.level)
}

/// The outputs of the contract.
pub(super) struct Answer<N> {
    pub(super) posterior: N,
    pub(super) latent_mean: N,
    pub(super) reconstruction: N,
    pub(super) log_density: N,
}

/// Where the posterior comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PosteriorSource {
    /// The encoder's q(y|x).
    Encoder,
    /// The responsibilities of the prior's components for the latent mean.
    Mixture,
}

/// The whole network, from spectrum to answer, along the mean path.
pub(super) fn answer<G: Graph>(
    g: &mut G,
    input: &Input<G::Node>,
    source: PosteriorSource,
    layout: &Layout,
) -> Result<Answer<G::Node>, G::Error> {
    let features = features(g, input, layout)?;
    let encoded = encode(g, &features)?;
    let prior = prior(g)?;
    let clusters = layout.groups() + 1;
    let components = log_components(g, &encoded.mean, &prior, clusters)?;
    let reconstruction = decode(g, &encoded.mean, &features.frame)?;
    let mut p = Pen(g);
    let logits = if source == PosteriorSource::Encoder { &encoded.logits } else { &components };
    let posterior = p.one(Op::Softmax, logits)?;
    // How usual it is: under the components of what is known, all but the last.
    let known = p.one(Op::Columns { start: 0, count: clusters - 1 }, &components)?;
    let best = p.one(Op::RowMax, &known)?;
    let below = p.sub(&known, &best)?;
    let below = p.one(Op::Exp, &below)?;
    let sum = p.one(Op::RowSum, &below)?;
    let log_sum = p.one(Op::Log, &sum)?;
    let density = p.add(&best, &log_sum)?;
    let penalty = p.times(&features.misfit, 0.5)?;
    let density = p.sub(&density, &penalty)?;
    let own = p.one(Op::Columns { start: 0, count: clusters - 1 }, &posterior)?;
    let own = p.one(Op::RowSum, &own)?;
    let own = p.plus(&own, 1e-6)?;
    let own = p.one(Op::Log, &own)?;
    let density = p.add(&density, &own)?;
    let log_density = p.one(Op::Flatten, &density)?;
    Ok(Answer { posterior, latent_mean: encoded.mean, reconstruction, log_density })
}
