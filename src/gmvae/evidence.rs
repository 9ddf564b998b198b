//! The fixed part of the network: what a spectrum says for each phase, for mixtures and for damage, without anything learnt.
//!
//! A hypothesis is x = c + a (r + Σ u_j v_j) + noise: a template r of [`super::template`], the directions v_j in which it may be wrong
//! (u_j normal, of three sizes: not at all, as expected, 2.5 times that), a free constant c and a free amount a, not negative. Channels
//! weigh w = m / (s² + e²), e the error of the channel, together at most 10 000. c, u and a are eliminated exactly, one after the other; what is left is the log
//! evidence: half of the chi² explained, less half the log of how much the u_j were narrowed. So an exact reference is judged as a
//! weighted fit does, and a doubtful one by what the doubt leaves. A mixture is a pair of them, with the doubts of the first. All sums
//! over channels are two matrix products; the rest are small. To the evidence come the misfit of the best hypothesis, the amount
//! of information, and local averages of what the expected spectrum leaves.

use super::elimination::{Column, Step, System, safe_log};
use super::graph::{Graph, Op, Pen};
use super::template::Layout;

/// Smallest sum of squares that is divided by.
const LEAST_SQUARE: f32 = 0.05;

/// Most information (Σ w) that is believed: references are not known better, and differences of larger sums lose their digits in
/// single precision.
const MOST_WEIGHT: f32 = 10_000.0;
/// Information below which noise decides more than the errors of references.
const NOISE_DECIDES: f32 = 1600.0;

/// A spectrum as it comes.
pub(super) struct Input<N> {
    pub(super) spectrum: N,
    pub(super) mask: N,
    pub(super) sigma: N,
}

/// How the frame of a spectrum, standardised over what was observed, lies to that of the templates, standardised over the whole axis:
/// x = level + scale · template, found with the mean template.
#[derive(Clone)]
pub(super) struct Frame<N> {
    /// `[rows, 1]`.
    pub(super) scale: N,
    /// `[rows, 1]`.
    pub(super) level: N,
}

/// What the fixed part of the network makes of a spectrum.
#[derive(Clone)]
pub(super) struct Features<N> {
    /// `[rows, features]`.
    pub(super) all: N,
    /// Log evidence of each group of hypotheses relative to the best, `[rows, groups]`.
    pub(super) evidence: N,
    /// Weights of the channels, `[rows, channels]`.
    pub(super) weight: N,
    /// The frame of the spectrum.
    pub(super) frame: Frame<N>,
    /// chi² of the best hypothesis over the number of channels, `[rows, 1]`.
    pub(super) misfit: N,
    /// From 0 where noise decides to 1 where the references' errors do, `[rows, 1]`.
    pub(super) known: N,
}

/// The sums over channels. Here, and until the evidence is complete, a pixel is a column: operations on few rows that are as long as the
/// batch are much faster than on many rows of a few values.
struct Sums<N> {
    /// Σ w of every column of the layout, `[columns, pixels]`.
    all: N,
    /// Σ w x of the linear ones, `[columns, pixels]`.
    with_spectrum: N,
    /// Σ w.
    total: N,
    /// Σ w x.
    sum: N,
    /// Amount of the mean template.
    scale: N,
    /// Its square, and a little.
    amount: N,
    /// Σ w r of the mean template.
    sum_mean: N,
    /// Σ w r² of the mean template.
    mean_square: N,
}

/// Makes the features of a spectrum.
pub(super) fn features<G: Graph>(
    g: &mut G,
    input: &Input<G::Node>,
    layout: &Layout,
) -> Result<Features<G::Node>, G::Error> {
    let mut p = Pen(g);
    let (weight, seen) = weigh(&mut p, input)?;
    let weighted = p.mul(&weight, &input.spectrum)?;
    let template = p.0.leaf("template.all")?;
    let all = p.matmul(&weight, &template)?;
    let of = |p: &mut Pen<'_, G>, from: &G::Node, (start, count)| p.one(Op::Columns { start, count }, from);
    let windows = of(&mut p, &all, layout.windows())?;
    let mean_windows = of(&mut p, &all, layout.mean_windows())?;
    let all = p.one(Op::Transpose, &all)?;
    let template = p.0.leaf("template.linear")?;
    let with_spectrum = p.matmul(&weighted, &template)?;
    let spectrum_windows = of(&mut p, &with_spectrum, layout.windows())?;
    let with_spectrum = p.one(Op::Transpose, &with_spectrum)?;
    let sums = sums(&mut p, all, with_spectrum, layout)?;
    let raw = raw_system(&mut p, &sums, layout)?;
    let single = singles(&mut p, &sums, &raw, layout)?;
    let pairs = pairs(&mut p, &sums, &raw, &single, layout)?;
    // From here on a pixel is a row again.
    let found =
        [&sums.total, &sums.sum, &sums.scale, &sums.mean_square, &sums.sum_mean, &single.score, &pairs];
    let found = p.0.apply(Op::Stack, &found)?;
    let found = p.one(Op::Transpose, &found)?;
    let mut single = |start: usize| p.one(Op::Columns { start, count: 1 }, &found);
    let (total, sum) = (single(0)?, single(1)?);
    let (scale, mean_square, sum_mean) = (single(2)?, single(3)?, single(4)?);
    let count = 3 * layout.templates() + layout.pairs.len();
    let score = p.one(Op::Columns { start: 5, count }, &found)?;
    let (best, by_group, evidence) = by_group(&mut p, &score)?;
    let square = p.dot(&weighted, &input.spectrum)?;
    let mean = p.div(&sum, &total)?;
    let taken = p.mul(&sum, &mean)?;
    let square = p.sub(&square, &taken)?;
    let twice = p.times(&best, 2.0)?;
    let left = p.sub(&square, &twice)?;
    let left = p.one(Op::Relu, &left)?;
    let misfit = p.div(&left, &seen)?;
    // x - level - scale · mean has no mean.
    let taken = p.mul(&sum_mean, &scale)?;
    let level = p.sub(&sum, &taken)?;
    let level = p.div(&level, &total)?;
    let frame = Frame { scale, level };
    let local = local(&mut p, &frame, [&windows, &mean_windows, &spectrum_windows])?;
    let numbers = [&seen, &misfit, &total, &frame.scale, &mean_square];
    let described = describe(&mut p, input, &numbers)?;
    let scaled_evidence = p.times(&evidence, 0.1)?;
    let likelihoods = p.one(Op::RowSum, &by_group)?;
    let share = p.div(&by_group, &likelihoods)?;
    let all = p.0.apply(Op::Concat, &[&scaled_evidence, &share, &described, &local])?;
    let guarded = p.plus(&total, NOISE_DECIDES)?;
    let known = p.div(&total, &guarded)?;
    let known = p.mul(&known, &known)?;
    Ok(Features { all, evidence, weight, frame, misfit, known })
}

/// Best score of a hypothesis, likelihood of each group relative to it, and the log of that.
type Grouped<N> = (N, N, N);

fn by_group<G: Graph>(p: &mut Pen<'_, G>, score: &G::Node) -> Result<Grouped<G::Node>, G::Error> {
    let prior = p.0.leaf("template.log_prior")?;
    let score = p.add(score, &prior)?;
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
    Ok((best, by_group, evidence))
}

/// Some rows, where pixels are columns.
fn rows<G: Graph>(
    p: &mut Pen<'_, G>,
    of: &G::Node,
    (start, count): (usize, usize),
) -> Result<G::Node, G::Error> {
    p.one(Op::Rows { start, count }, of)
}

/// The weights of the channels, and how many were seen, pixels as rows.
fn weigh<G: Graph>(p: &mut Pen<'_, G>, input: &Input<G::Node>) -> Result<(G::Node, G::Node), G::Error> {
    // The spectrum has variance 1 over what was observed, the templates over the whole axis: the ratio is what errors scale with.
    let moments = p.0.leaf("template.moments")?;
    let moments = p.matmul(&input.mask, &moments)?;
    let mut moment = |start: usize| p.one(Op::Columns { start, count: 1 }, &moments);
    let (seen, mean, square) = (moment(0)?, moment(1)?, moment(2)?);
    let mean = p.div(&mean, &seen)?;
    let square = p.div(&square, &seen)?;
    let mean2 = p.mul(&mean, &mean)?;
    let spread = p.sub(&square, &mean2)?;
    let spread = p.one(Op::Relu, &spread)?;
    let spread = p.plus(&spread, 0.01)?;
    let one = p.0.number(1.0)?;
    let scale = p.div(&one, &spread)?;
    let error = p.0.leaf("template.error")?;
    let error = p.matmul(&scale, &error)?;
    let sigma2 = p.mul(&input.sigma, &input.sigma)?;
    let variance = p.add(&sigma2, &error)?;
    let weight = p.div(&input.mask, &variance)?;
    let total = p.one(Op::RowSum, &weight)?;
    let limit = p.plus(&total, MOST_WEIGHT)?;
    let most = p.0.number(MOST_WEIGHT)?;
    let factor = p.div(&most, &limit)?;
    Ok((p.mul(&weight, &factor)?, seen))
}

fn sums<G: Graph>(
    p: &mut Pen<'_, G>,
    all: G::Node,
    with_spectrum: G::Node,
    layout: &Layout,
) -> Result<Sums<G::Node>, G::Error> {
    let plain = rows(p, &all, layout.constant())?;
    let total = p.plus(&plain, 1e-6)?;
    let sum = rows(p, &with_spectrum, layout.constant())?;
    let sum_mean = rows(p, &all, (1, 1))?;
    let share = p.div(&sum_mean, &total)?;
    let mean_square = rows(p, &all, (2, 1))?;
    let taken = p.mul(&share, &sum_mean)?;
    let mean_square = p.sub(&mean_square, &taken)?;
    let with_mean = rows(p, &with_spectrum, (1, 1))?;
    let taken = p.mul(&share, &sum)?;
    let with_mean = p.sub(&with_mean, &taken)?;
    let with_mean = p.one(Op::Relu, &with_mean)?;
    let guarded = p.one(Op::Relu, &mean_square)?;
    let guarded = p.plus(&guarded, 0.5)?;
    let scale = p.div(&with_mean, &guarded)?;
    let amount = p.mul(&scale, &scale)?;
    let amount = p.plus(&amount, 0.01)?;
    Ok(Sums { all, with_spectrum, total, sum, scale, amount, sum_mean, mean_square })
}

/// The normal equations of every template: constant, directions, the template itself.
fn raw_system<G: Graph>(
    p: &mut Pen<'_, G>,
    sums: &Sums<G::Node>,
    layout: &Layout,
) -> Result<System<G::Node>, G::Error> {
    let elements = layout.elements();
    let mut gram = vec![vec![sums.total.clone()]];
    let mut right = vec![sums.sum.clone()];
    for first in 0..elements {
        let with_constant = rows(p, &sums.all, layout.linear(first))?;
        gram[0].push(with_constant);
        right.push(rows(p, &sums.with_spectrum, layout.linear(first))?);
        let row = (first..elements).map(|second| rows(p, &sums.all, layout.product(first, second)));
        gram.push(row.collect::<Result<_, _>>()?);
    }
    Ok(System { gram, right })
}

/// What directions explain, and how they were taken out.
type Taken<N> = (N, Vec<Step<N>>);

/// Takes the directions out of a system. Returns half of what they explain less half the log of how much they were narrowed, and the steps.
fn take_directions<G: Graph>(
    p: &mut Pen<'_, G>,
    system: &mut System<G::Node>,
    ridge: &G::Node,
    directions: usize,
) -> Result<Taken<G::Node>, G::Error> {
    let mut gain = p.0.number(0.0)?;
    let mut narrowed = p.0.number(1.0)?;
    let mut steps = Vec::with_capacity(directions);
    for index in 0..directions {
        let step = system.take_out(p, Some(ridge))?;
        let square = p.mul(&step.right, &step.right)?;
        let explained = p.div(&square, &step.pivot)?;
        let ratio = p.div(&step.pivot, ridge)?;
        gain = if index == 0 { explained } else { p.add(&gain, &explained)? };
        narrowed = if index == 0 { ratio } else { p.mul(&narrowed, &ratio)? };
        steps.push(step);
    }
    let log = safe_log(p, &narrowed)?;
    let difference = p.sub(&gain, &log)?;
    Ok((p.times(&difference, 0.5)?, steps))
}

/// Half the chi² that a template explains whose amount is not negative.
fn explained<G: Graph>(p: &mut Pen<'_, G>, right: &G::Node, square: &G::Node) -> Result<G::Node, G::Error> {
    let right = p.one(Op::Relu, right)?;
    let right = p.mul(&right, &right)?;
    let square = p.one(Op::Relu, square)?;
    let square = p.plus(&square, LEAST_SQUARE)?;
    let gain = p.div(&right, &square)?;
    p.times(&gain, 0.5)
}

/// What single templates explain.
struct Single<N> {
    /// Log evidence: exact, and with errors of two sizes, `[3 × templates, pixels]`.
    score: N,
    /// How the constant was taken out.
    constant: Step<N>,
    /// How the directions were, for both sizes.
    steps: Vec<Step<N>>,
    /// What the directions explain.
    directions: N,
    /// Entry and right side of the template itself after that.
    square: N,
    right: N,
}

fn singles<G: Graph>(
    p: &mut Pen<'_, G>,
    sums: &Sums<G::Node>,
    raw: &System<G::Node>,
    layout: &Layout,
) -> Result<Single<G::Node>, G::Error> {
    let last = layout.directions;
    let mut system = raw.clone();
    let constant = system.take_out(p, None)?;
    let exact = explained(p, &system.right[last], &system.gram[last][0])?;
    let mut system = system.map(|node| p.0.apply(Op::Stack, &[node, node]))?;
    let sizes = p.0.leaf("template.ridge")?;
    let ridge = p.div(&sizes, &sums.amount)?;
    let (directions, steps) = take_directions(p, &mut system, &ridge, layout.directions)?;
    let (right, square) = (system.right.remove(0), system.gram.remove(0).remove(0));
    let own = explained(p, &right, &square)?;
    let doubtful = p.add(&directions, &own)?;
    let score = p.0.apply(Op::Stack, &[&exact, &doubtful])?;
    Ok(Single { score, constant, steps, directions, square, right })
}

/// Log evidence of every pair of phases, with the errors of the first as expected.
fn pairs<G: Graph>(
    p: &mut Pen<'_, G>,
    sums: &Sums<G::Node>,
    raw: &System<G::Node>,
    single: &Single<G::Node>,
    layout: &Layout,
) -> Result<G::Node, G::Error> {
    let first: Vec<usize> = layout.pairs.iter().map(|pair| pair.0).collect();
    let second: Vec<usize> = layout.pairs.iter().map(|pair| pair.1).collect();
    let last = layout.elements();
    // The second template of a pair, as a further unknown of the system of the first.
    let with_constant = p.0.pick(&raw.gram[0][last], &second)?;
    let crossed = (0..last).map(|element| rows(p, &sums.all, layout.cross(element)));
    let mut entries = vec![with_constant];
    entries.extend(crossed.collect::<Result<Vec<_>, _>>()?);
    let own = p.0.pick(&raw.gram[last][0], &second)?;
    let right = p.0.pick(&raw.right[last], &second)?;
    let mut column = Column { entries, own, right };
    // Errors as expected stand in the first half of what has two sizes of them.
    let row = single.constant.row.iter().map(|node| p.0.pick(node, &first)).collect::<Result<_, _>>()?;
    let (pivot, right) = (single.constant.pivot.clone(), single.constant.right.clone());
    column.take_out(p, &Step { pivot, row, right })?;
    for step in &single.steps {
        let pivot = p.0.pick(&step.pivot, &first)?;
        let row = step.row.iter().map(|node| p.0.pick(node, &first)).collect::<Result<_, _>>()?;
        let right = p.0.pick(&step.right, &first)?;
        column.take_out(p, &Step { pivot, row, right })?;
    }
    let directions = p.0.pick(&single.directions, &first)?;
    let right = p.0.pick(&single.right, &first)?;
    let square = p.0.pick(&single.square, &first)?;
    let cross = column.entries.remove(0);
    let mut system =
        System { gram: vec![vec![square, cross], vec![column.own]], right: vec![right, column.right] };
    let least = p.0.number(LEAST_SQUARE)?;
    let (right_a, cross) = (system.right[0].clone(), system.gram[0][1].clone());
    let alone = explained(p, &right_a, &system.gram[0][0])?;
    let square_a = system.take_out(p, Some(&least))?.pivot;
    let square_b = p.one(Op::Relu, &system.gram[0][0])?;
    let together = explained(p, &system.right[0], &square_b)?;
    // The amounts, and the share of the second.
    let guarded = p.plus(&square_b, LEAST_SQUARE)?;
    let amount_b = p.one(Op::Relu, &system.right[0])?;
    let amount_b = p.div(&amount_b, &guarded)?;
    let taken = p.mul(&cross, &amount_b)?;
    let amount_a = p.sub(&right_a, &taken)?;
    let amount_a = p.one(Op::Relu, &amount_a)?;
    let amount_a = p.div(&amount_a, &square_a)?;
    let amount = p.add(&amount_a, &amount_b)?;
    let amount = p.plus(&amount, 1e-3)?;
    let share = p.div(&amount_b, &amount)?;
    // A mixture has a fifth of either, and any share is as likely as another.
    let above = p.plus(&share, -0.8)?;
    let above = p.one(Op::Relu, &above)?;
    let below = p.times(&share, -1.0)?;
    let below = p.plus(&below, 0.2)?;
    let below = p.one(Op::Relu, &below)?;
    let outside = p.add(&above, &below)?;
    let outside = p.times(&outside, 30.0)?;
    let known = p.mul(&square_b, &sums.amount)?;
    let known = p.times(&known, 0.1)?;
    let known = p.plus(&known, 1.0)?;
    let known = p.one(Op::Log, &known)?;
    let known = p.times(&known, 0.5)?;
    let sum = p.add(&directions, &alone)?;
    let sum = p.add(&sum, &together)?;
    let sum = p.sub(&sum, &known)?;
    p.sub(&sum, &outside)
}

/// What the mean template leaves of the spectrum, in local averages, and what these rest on.
fn local<G: Graph>(
    p: &mut Pen<'_, G>,
    frame: &Frame<G::Node>,
    [weights, mean, spectrum]: [&G::Node; 3],
) -> Result<G::Node, G::Error> {
    // x - level - scale · mean, weighted and summed over each window.
    let flat = p.mul(weights, &frame.level)?;
    let shape = p.mul(mean, &frame.scale)?;
    let left = p.sub(spectrum, &flat)?;
    let left = p.sub(&left, &shape)?;
    let guarded = p.plus(weights, 5.0)?;
    let averages = p.div(&left, &guarded)?;
    let averages = p.times(&averages, 4.0)?;
    let averages = p.one(Op::Tanh, &averages)?;
    let coverage = p.div(weights, &guarded)?;
    p.0.apply(Op::Concat, &[&averages, &coverage])
}

/// Numbers on the spectrum as a whole.
fn describe<G: Graph>(
    p: &mut Pen<'_, G>,
    input: &Input<G::Node>,
    [seen, misfit, information, scale, mean_square]: &[&G::Node; 5],
) -> Result<G::Node, G::Error> {
    let log_misfit = p.log1p(misfit, 1.0)?;
    let log_seen = p.log1p(seen, 0.2)?;
    let log_information = p.log1p(information, 0.02)?;
    let log_information = p.times(&log_information, 0.2)?;
    let shape = p.mul(mean_square, scale)?;
    let shape = p.mul(&shape, scale)?;
    let log_shape = p.log1p(&shape, 0.1)?;
    let log_shape = p.times(&log_shape, 0.3)?;
    let noise = p.one(Op::RowSum, &input.sigma)?;
    let noise = p.div(&noise, seen)?;
    let log_noise = p.log1p(&noise, 10.0)?;
    let scale = p.one(Op::Tanh, scale)?;
    p.0.apply(Op::Concat, &[&log_misfit, &log_seen, &log_information, &log_shape, &log_noise, &scale])
}
