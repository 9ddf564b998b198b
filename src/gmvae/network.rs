//! The network, written once: candle computes and learns with it, the exporter writes it down as ONNX.
//!
//! Every value is a matrix of one row per pixel. Input are the contract's spectrum x, mask m and noise s.
//!
//! **Features**, without anything learnt. Channels weigh w = m / (s² + 0.05²), together at most 1500, since the
//! references themselves are not exact to less than some per cent. ⟨u,v⟩ is the weighted inner product after mean and, as far as a
//! ridge allows, slope are taken out. With the mean reference m̄, a = ⟨x,m̄⟩/⟨m̄,m̄⟩, ξ = x - a m̄, and a template (reference or mixture,
//! at an energy offset) r = m̄ + δ, the template's log likelihood at its best scale, relative to m̄'s, is
//! a⟨ξ,δ⟩ - a²⟨δ,δ⟩/2 + (⟨ξ,δ⟩ - a(⟨δ,m̄⟩ + ⟨δ,δ⟩))² / 2⟨r,r⟩. Written in differences to m̄ it keeps its digits in float32, where
//! references correlate at 0.98. Templates of a phase are added up over offsets. To these come the misfit of the best template, the
//! offset, the amount of information, and local averages of ξ with their coverage.
//!
//! **Encoder** two tanh layers; from them the posterior q(y|x) of the clusters (to which the evidence of the templates is
//! added with learnt trust), and mean and log variance of the latent z. **Prior** a Gaussian mixture over z with one component per
//! cluster. **Decoder** one tanh layer and a linear one; its spectrum is scaled and shifted onto x by weighted least squares, since the
//! frame of a standardised spectrum depends on what was observed.

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
}

/// Model error of the references, in units of the standardised spectrum.
const REFERENCE_ERROR: f32 = 0.05;
/// Most information that is believed.
const MOST_WEIGHT: f32 = 1500.0;
/// Ridge on the slope: one over the variance it is expected to have.
const SLOPE_RIDGE: f32 = 40.0;
/// ln 2π.
const LN_TAU: f32 = 1.837_877;

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

/// Short names for the operations.
struct Pen<'a, G: Graph>(&'a mut G);

impl<G: Graph> Pen<'_, G> {
    fn two(&mut self, op: Op, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.0.apply(op, &[a, b])
    }

    fn one(&mut self, op: Op, a: &G::Node) -> Result<G::Node, G::Error> {
        self.0.apply(op, &[a])
    }

    fn add(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Add, a, b)
    }

    fn sub(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Sub, a, b)
    }

    fn mul(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Mul, a, b)
    }

    fn div(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::Div, a, b)
    }

    fn matmul(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        self.two(Op::MatMul, a, b)
    }

    /// Sum over the columns of `a * b`.
    fn dot(&mut self, a: &G::Node, b: &G::Node) -> Result<G::Node, G::Error> {
        let product = self.mul(a, b)?;
        self.one(Op::RowSum, &product)
    }

    fn plus(&mut self, a: &G::Node, value: f32) -> Result<G::Node, G::Error> {
        let value = self.0.number(value)?;
        self.add(a, &value)
    }

    fn times(&mut self, a: &G::Node, value: f32) -> Result<G::Node, G::Error> {
        let value = self.0.number(value)?;
        self.mul(a, &value)
    }

    /// ln(1 + scale·relu(a)).
    fn log1p(&mut self, a: &G::Node, scale: f32) -> Result<G::Node, G::Error> {
        let positive = self.one(Op::Relu, a)?;
        let scaled = self.times(&positive, scale)?;
        let shifted = self.plus(&scaled, 1.0)?;
        self.one(Op::Log, &shifted)
    }

    /// `a` less its weighted mean, 0 where masked.
    fn centred(&mut self, a: &G::Node, c: &Channels<G::Node>) -> Result<G::Node, G::Error> {
        let sum = self.dot(&c.weight, a)?;
        let mean = self.div(&sum, &c.total)?;
        let difference = self.sub(a, &mean)?;
        self.mul(&difference, &c.mask)
    }

    fn linear(&mut self, a: &G::Node, name: &str) -> Result<G::Node, G::Error> {
        let weight = self.0.leaf(&format!("learnt.{name}.weight"))?;
        let bias = self.0.leaf(&format!("learnt.{name}.bias"))?;
        let product = self.matmul(a, &weight)?;
        self.add(&product, &bias)
    }
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
    let position = p.centred(&leaf, c)?;
    let leaf = p.0.leaf("template.mean")?;
    let mean_shape = p.centred(&leaf, c)?;
    let x = p.centred(spectrum, c)?;
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

/// Encodes features.
pub(super) fn encode<G: Graph>(
    g: &mut G,
    features: &G::Node,
    evidence: &G::Node,
) -> Result<Encoded<G::Node>, G::Error> {
    let mut p = Pen(g);
    let first = p.linear(features, "encoder1")?;
    let first = p.one(Op::Tanh, &first)?;
    let second = p.linear(&first, "encoder2")?;
    let second = p.one(Op::Tanh, &second)?;
    let own = p.linear(&second, "cluster")?;
    let trust = p.0.leaf("learnt.trust.weight")?;
    let believed = p.matmul(evidence, &trust)?;
    let logits = p.add(&own, &believed)?;
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
    (clusters, length): (usize, usize),
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
    p.plus(&half, -0.5 * length as f32 * LN_TAU - (clusters as f32).ln())
}

/// Decodes latent vectors and brings the result onto the frame of `spectrum`.
pub(super) fn decode<G: Graph>(
    g: &mut G,
    latent: &G::Node,
    spectrum: &G::Node,
    weight: &G::Node,
) -> Result<G::Node, G::Error> {
    let mut p = Pen(g);
    let hidden = p.linear(latent, "decoder1")?;
    let hidden = p.one(Op::Tanh, &hidden)?;
    let free = p.linear(&hidden, "decoder2")?;
    let sum = p.one(Op::RowSum, weight)?;
    let total = p.plus(&sum, 1e-6)?;
    let share = p.div(weight, &total)?;
    let mean_free = p.dot(&share, &free)?;
    let mean_spectrum = p.dot(&share, spectrum)?;
    let centred = p.sub(&free, &mean_free)?;
    let weighted = p.mul(&share, &centred)?;
    let square = p.dot(&weighted, &centred)?;
    let square = p.plus(&square, 0.05)?;
    let product = p.dot(&weighted, spectrum)?;
    let scale = p.div(&product, &square)?;
    let scaled = p.mul(&centred, &scale)?;
    p.add(&scaled, &mean_spectrum)
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
    sizes: (usize, usize),
) -> Result<Answer<G::Node>, G::Error> {
    let features = features(g, input)?;
    let encoded = encode(g, &features.all, &features.evidence)?;
    let prior = prior(g)?;
    let components = log_components(g, &encoded.mean, &prior, sizes)?;
    let reconstruction = decode(g, &encoded.mean, &input.spectrum, &features.weight)?;
    let mut p = Pen(g);
    let logits = if source == PosteriorSource::Encoder { &encoded.logits } else { &components };
    let posterior = p.one(Op::Softmax, logits)?;
    let best = p.one(Op::RowMax, &components)?;
    let below = p.sub(&components, &best)?;
    let below = p.one(Op::Exp, &below)?;
    let sum = p.one(Op::RowSum, &below)?;
    let log_sum = p.one(Op::Log, &sum)?;
    let density = p.add(&best, &log_sum)?;
    let miss = p.sub(&input.spectrum, &reconstruction)?;
    let weighted = p.mul(&features.weight, &miss)?;
    let misfit = p.dot(&weighted, &miss)?;
    let seen = p.one(Op::RowSum, &input.mask)?;
    let misfit = p.div(&misfit, &seen)?;
    let penalty = p.times(&misfit, 0.5)?;
    let density = p.sub(&density, &penalty)?;
    let log_density = p.one(Op::Flatten, &density)?;
    Ok(Answer { posterior, latent_mean: encoded.mean, reconstruction, log_density })
}
