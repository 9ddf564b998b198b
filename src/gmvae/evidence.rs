//! The fixed part of the network: what a spectrum says for each reference and mixture, without anything learnt.
//!
//! Channels weigh w = m / (s² + 0.05²), together at most 1500, since the
//! references themselves are not exact to less than some per cent. ⟨u,v⟩ is the weighted inner product after mean and, as far as a
//! ridge allows, slope are taken out. With the mean reference m̄, a = ⟨x,m̄⟩/⟨m̄,m̄⟩, ξ = x - a m̄, and a template (reference or mixture,
//! at an energy offset) r = m̄ + δ, the template's log likelihood at its best scale, relative to m̄'s, is
//! a⟨ξ,δ⟩ - a²⟨δ,δ⟩/2 + (⟨ξ,δ⟩ - a(⟨δ,m̄⟩ + ⟨δ,δ⟩))² / 2⟨r,r⟩. Written in differences to m̄ it keeps its digits in float32, where
//! references correlate at 0.98. Templates of a phase are added up over offsets. To these come the misfit of the best template, the
//! offset, the amount of information, and local averages of ξ with their coverage.

use super::graph::{Graph, Op, Pen};

/// Model error of the references, in units of the standardised spectrum.
const REFERENCE_ERROR: f32 = 0.05;
/// Most information that is believed.
const MOST_WEIGHT: f32 = 1500.0;
/// Ridge on the slope: one over the variance it is expected to have.
const SLOPE_RIDGE: f32 = 40.0;

/// A spectrum as it comes.
pub(super) struct Input<N> {
    pub(super) spectrum: N,
    pub(super) mask: N,
    pub(super) sigma: N,
}

/// What the fixed part of the network makes of a spectrum.
#[derive(Clone)]
pub(super) struct Features<N> {
    /// `[rows, features]`.
    pub(super) all: N,
    /// Log evidence of each group of templates, at most 0, `[rows, groups]`.
    pub(super) evidence: N,
    /// Weights of the channels, not limited, `[rows, channels]`.
    pub(super) weight: N,
}

/// Weights of the channels, and their total.
struct Channels<N> {
    mask: N,
    weight: N,
    total: N,
}

/// What is left of a spectrum after mean, slope and the mean reference are taken out.
struct Residual<N> {
    /// ξ.
    residual: N,
    /// Scale a of the mean reference.
    scale: N,
    /// m̄, centred.
    mean_shape: N,
    /// Position, centred.
    position: N,
    /// ⟨m̄,m̄⟩.
    mean_square: N,
    /// Σ w ξ e.
    residual_slope: N,
    /// Σ w m̄ e.
    mean_slope: N,
    /// Σ w e² plus the ridge.
    slope_square: N,
    /// ⟨ξ,ξ⟩.
    square: N,
}

/// Makes the features of a spectrum.
pub(super) fn features<G: Graph>(g: &mut G, input: &Input<G::Node>) -> Result<Features<G::Node>, G::Error> {
    let mut p = Pen(g);
    let sigma2 = p.mul(&input.sigma, &input.sigma)?;
    let variance = p.plus(&sigma2, REFERENCE_ERROR * REFERENCE_ERROR)?;
    let weight = p.div(&input.mask, &variance)?;
    let information = p.one(Op::RowSum, &weight)?;
    let limit = p.plus(&information, MOST_WEIGHT)?;
    let most = p.0.number(MOST_WEIGHT)?;
    let factor = p.div(&most, &limit)?;
    let limited = p.mul(&weight, &factor)?;
    let sum = p.one(Op::RowSum, &limited)?;
    let total = p.plus(&sum, 1e-6)?;
    let c = Channels { mask: input.mask.clone(), weight: limited, total };
    let left = residual(&mut p, &input.spectrum, &c)?;
    let score = scores(&mut p, &c, &left)?;
    let best = p.one(Op::RowMax, &score)?;
    let below = p.sub(&score, &best)?;
    // Nothing smaller than e^-40: numbers that are almost zero are slow to compute with.
    let lifted = p.plus(&below, 40.0)?;
    let lifted = p.one(Op::Relu, &lifted)?;
    let below = p.plus(&lifted, -40.0)?;
    let likelihood = p.one(Op::Exp, &below)?;
    let groups = p.0.leaf("template.group")?;
    let by_group = p.matmul(&likelihood, &groups)?;
    let guarded = p.plus(&by_group, 1e-9)?;
    let evidence = p.one(Op::Log, &guarded)?;
    let all = describe(&mut p, input, &c, &left, (&best, &likelihood, &by_group, &evidence, &information))?;
    Ok(Features { all, evidence, weight })
}

fn residual<G: Graph>(
    p: &mut Pen<'_, G>,
    spectrum: &G::Node,
    c: &Channels<G::Node>,
) -> Result<Residual<G::Node>, G::Error> {
    let leaf = p.0.leaf("axis.position")?;
    let position = centred(p, &leaf, c)?;
    let leaf = p.0.leaf("template.mean")?;
    let mean_shape = centred(p, &leaf, c)?;
    let x = centred(p, spectrum, c)?;
    let weighted_position = p.mul(&c.weight, &position)?;
    let square = p.dot(&weighted_position, &position)?;
    let slope_square = p.plus(&square, SLOPE_RIDGE)?;
    let mean_slope = p.dot(&weighted_position, &mean_shape)?;
    let x_slope = p.dot(&weighted_position, &x)?;
    let weighted_mean = p.mul(&c.weight, &mean_shape)?;
    let plain = p.dot(&weighted_mean, &mean_shape)?;
    let mean_square = less_slope(p, &plain, &mean_slope, &mean_slope, &slope_square)?;
    let plain = p.dot(&weighted_mean, &x)?;
    let x_mean = less_slope(p, &plain, &x_slope, &mean_slope, &slope_square)?;
    let numerator = p.one(Op::Relu, &x_mean)?;
    let denominator = p.plus(&mean_square, 0.5)?;
    let scale = p.div(&numerator, &denominator)?;
    let explained = p.mul(&mean_shape, &scale)?;
    let residual = p.sub(&x, &explained)?;
    let explained = p.mul(&scale, &mean_slope)?;
    let residual_slope = p.sub(&x_slope, &explained)?;
    let weighted = p.mul(&c.weight, &residual)?;
    let plain = p.dot(&weighted, &residual)?;
    let square = less_slope(p, &plain, &residual_slope, &residual_slope, &slope_square)?;
    Ok(Residual {
        residual,
        scale,
        mean_shape,
        position,
        mean_square,
        residual_slope,
        mean_slope,
        slope_square,
        square,
    })
}

/// `a` less its weighted mean, 0 where masked.
fn centred<G: Graph>(p: &mut Pen<'_, G>, a: &G::Node, c: &Channels<G::Node>) -> Result<G::Node, G::Error> {
    let sum = p.dot(&c.weight, a)?;
    let mean = p.div(&sum, &c.total)?;
    let difference = p.sub(a, &mean)?;
    p.mul(&difference, &c.mask)
}

/// An inner product after the slope is taken out: plain - u v / slope².
fn less_slope<G: Graph>(
    p: &mut Pen<'_, G>,
    plain: &G::Node,
    u: &G::Node,
    v: &G::Node,
    slope_square: &G::Node,
) -> Result<G::Node, G::Error> {
    let product = p.mul(u, v)?;
    let taken = p.div(&product, slope_square)?;
    p.sub(plain, &taken)
}

/// Log likelihood of every template plus its log prior, relative to the mean reference.
fn scores<G: Graph>(
    p: &mut Pen<'_, G>,
    c: &Channels<G::Node>,
    left: &Residual<G::Node>,
) -> Result<G::Node, G::Error> {
    let difference = p.0.leaf("template.difference")?;
    let squares = p.0.leaf("template.square")?;
    let weighted = |p: &mut Pen<'_, G>, what: &G::Node| {
        let product = p.mul(&c.weight, what)?;
        p.matmul(&product, &difference)
    };
    let slope = weighted(p, &left.position)?;
    let plain = weighted(p, &left.residual)?;
    let with_residual = less_slope(p, &plain, &slope, &left.residual_slope, &left.slope_square)?;
    let plain = weighted(p, &left.mean_shape)?;
    let with_mean = less_slope(p, &plain, &slope, &left.mean_slope, &left.slope_square)?;
    let sum = p.matmul(&c.weight, &difference)?;
    let plain = p.matmul(&c.weight, &squares)?;
    let mean_part = less_slope(p, &plain, &sum, &sum, &c.total)?;
    let own = less_slope(p, &mean_part, &slope, &slope, &left.slope_square)?;
    let both = p.add(&with_mean, &own)?;
    let taken = p.mul(&both, &left.scale)?;
    let pull = p.sub(&with_residual, &taken)?;
    let pull2 = p.mul(&pull, &pull)?;
    let sum = p.add(&both, &with_mean)?;
    let sum = p.add(&sum, &left.mean_square)?;
    let positive = p.one(Op::Relu, &sum)?;
    let template_square = p.plus(&positive, 0.5)?;
    let gain = p.div(&pull2, &template_square)?;
    let scaled = p.mul(&own, &left.scale)?;
    let twice = p.times(&with_residual, 2.0)?;
    let inner = p.sub(&twice, &scaled)?;
    let fixed = p.mul(&inner, &left.scale)?;
    let sum = p.add(&fixed, &gain)?;
    let likelihood = p.times(&sum, 0.5)?;
    let prior = p.0.leaf("template.log_prior")?;
    p.add(&likelihood, &prior)
}

type Evidence<'a, N> = (&'a N, &'a N, &'a N, &'a N, &'a N);

/// Puts the features together.
fn describe<G: Graph>(
    p: &mut Pen<'_, G>,
    input: &Input<G::Node>,
    c: &Channels<G::Node>,
    left: &Residual<G::Node>,
    (best, likelihood, by_group, evidence, information): Evidence<'_, G::Node>,
) -> Result<G::Node, G::Error> {
    let scaled_evidence = p.times(evidence, 0.1)?;
    let sum = p.one(Op::RowSum, by_group)?;
    let share = p.div(by_group, &sum)?;
    let offsets = p.0.leaf("template.offset")?;
    let offset_sum = p.matmul(likelihood, &offsets)?;
    let offset = p.div(&offset_sum, &sum)?;
    let offset = p.times(&offset, 4.0)?;
    let seen = p.one(Op::RowSum, &input.mask)?;
    let twice = p.times(best, 2.0)?;
    let misfit = p.sub(&left.square, &twice)?;
    let misfit = p.div(&misfit, &seen)?;
    let misfit = p.log1p(&misfit, 1.0)?;
    let log_seen = p.log1p(&seen, 0.2)?;
    let log_information = p.log1p(information, 0.02)?;
    let log_information = p.times(&log_information, 0.2)?;
    let shape = p.mul(&left.mean_square, &left.scale)?;
    let shape = p.mul(&shape, &left.scale)?;
    let log_shape = p.log1p(&shape, 0.1)?;
    let log_shape = p.times(&log_shape, 0.3)?;
    let noise = p.one(Op::RowSum, &input.sigma)?;
    let noise = p.div(&noise, &seen)?;
    let log_noise = p.log1p(&noise, 10.0)?;
    let window = p.0.leaf("axis.window")?;
    let weighted = p.mul(&c.weight, &left.residual)?;
    let sums = p.matmul(&weighted, &window)?;
    let weights = p.matmul(&c.weight, &window)?;
    let guarded = p.plus(&weights, 5.0)?;
    let averages = p.div(&sums, &guarded)?;
    let averages = p.times(&averages, 4.0)?;
    let averages = p.one(Op::Tanh, &averages)?;
    let coverage = p.div(&weights, &guarded)?;
    let scale = p.one(Op::Tanh, &left.scale)?;
    let parts = [
        &scaled_evidence,
        &share,
        &offset,
        &misfit,
        &log_seen,
        &log_information,
        &log_shape,
        &log_noise,
        &scale,
        &averages,
        &coverage,
    ];
    p.0.apply(Op::Concat, &parts)
}
