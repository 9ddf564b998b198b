//! Pearson's correlation of every pixel with every reference, kept up to date as values come, go and change.
//!
//! Per pixel the sums of x, x², x·r (one per reference) and, with a linear background taken out, x·E are kept;
//! the sums over the references alone follow from which energies a pixel has seen. A new value costs O(K), a
//! replaced one is subtracted and added. x is the optical density less the pixel's first one and r is centred
//! over the scan's energies: correlation does not mind, and `f32` sums keep their digits for thin pixels on a
//! thick support.
//!
//! With a background, r is the partial correlation given the energy: the correlation of what a straight line in
//! energy leaves of the pixel and of the reference. Where the line explains nearly all there is little left, so
//! the sums are then kept in `f64`.
//!
//! What the innermost loops call is marked `inline`: without link-time optimisation it would stay a call.
//! Sums lie in blocks of [`BLOCK`] pixels, field after field, so that a block stays in the first-level cache and
//! blocks can be worked on in parallel.

use std::ops::{AddAssign, Mul, Sub};

use rayon::prelude::*;

use super::Targets;

/// Pixels per block.
pub const BLOCK: usize = 1024;

/// What is taken out of a spectrum before it is correlated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Its mean: plain Pearson.
    #[default]
    None,
    /// A straight line in energy.
    Linear,
}

// Field 0 is the pixel's first optical density; the sums follow.
const X: usize = 1;
const XX: usize = 2;
const PRE: usize = 3;
const WHITE: usize = 4;
const XE: usize = 5;
const XR: usize = 6;

/// Running sums for every pixel.
#[derive(Clone, Debug)]
pub struct Correlator {
    pixels: usize,
    phases: usize,
    baseline: Baseline,
    sums: Sums,
    /// Per block, whether every pixel has had its first value.
    begun: Vec<bool>,
    /// For each energy, one bit a pixel: whether its value is in the sums.
    seen: Vec<Vec<u64>>,
    /// Number of energies in the sums, and of pixels that have each.
    seen_count: Vec<usize>,
}

/// Blocks of `(XR + phases) * BLOCK` sums.
#[derive(Clone, Debug)]
enum Sums {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

/// A number that sums are kept in.
trait Real: Copy + Send + Sync + From<f32> + AddAssign + Mul<Output = Self> + Sub<Output = Self> {
    fn of(value: f64) -> Self;
    /// Whether this is NaN.
    fn is_missing(self) -> bool;
    /// This number, or `other` where this is NaN.
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        if self.is_missing() { other } else { self }
    }
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn is_missing(self) -> bool {
        self.is_nan()
    }
}

fn empty_blocks<S: Real>(blocks: usize, fields: usize) -> Vec<S> {
    let mut sums = vec![S::from(0.0); blocks * fields * BLOCK];
    for block in sums.chunks_exact_mut(fields * BLOCK) {
        block[..BLOCK].fill(S::from(f32::NAN));
    }
    sums
}

/// What the sums say of one pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PixelSums {
    /// Number of energies in the correlation.
    pub energies: u32,
    /// Whether any of them lies before the edge, and any behind it.
    pub sides: [bool; 2],
    /// OD: mean over the white line less mean over the pre-edge; NaN while either has no energy.
    pub edge_jump: f32,
    /// Whether any of them lies in the white-line window.
    pub white_line: bool,
    /// chi² of a constant alone, the noise factor applied: what there is to explain. Not from these sums: whoever
    /// reads the evidence fills it in.
    pub signal: f32,
    /// Amount of the reference that leaves the least chi², in units of the reference; filled in likewise.
    pub amount: f32,
}

impl Correlator {
    /// Empty sums for `pixels` pixels.
    #[must_use]
    pub fn new(pixels: usize, targets: &Targets, baseline: Baseline) -> Self {
        let (phases, blocks) = (targets.phases(), pixels.div_ceil(BLOCK));
        let fields = XR + phases;
        let sums = match baseline {
            Baseline::None => Sums::Single(empty_blocks(blocks, fields)),
            Baseline::Linear => Sums::Double(empty_blocks(blocks, fields)),
        };
        let energies = targets.energies_ev.len();
        let seen = vec![vec![0; blocks * BLOCK / 64]; energies];
        Self {
            pixels,
            phases,
            baseline,
            sums,
            begun: vec![false; blocks],
            seen,
            seen_count: vec![0; energies],
        }
    }

    /// Adds the optical densities of all pixels at one energy; NaN is left out. The pixels must not hold that
    /// energy yet.
    pub fn add(&mut self, targets: &Targets, energy: usize, od: &[f32]) {
        self.replace(targets, energy, 0, &[], od);
    }

    /// Takes `old` out and puts `new` in, for the pixels from `first` on at one energy; NaN stands for none, and
    /// an empty `old` for all NaN.
    ///
    /// # Panics
    /// When the pixels or the energy are not those the sums were made for.
    pub fn replace(&mut self, targets: &Targets, energy: usize, first: usize, old: &[f32], new: &[f32]) {
        assert!(first + new.len() <= self.pixels, "pixels beyond the grid");
        assert!(old.is_empty() || old.len() == new.len(), "old and new values of different pixels");
        if !targets.used[energy] {
            return;
        }
        let kernel = Kernel {
            linear: self.baseline == Baseline::Linear,
            reference: targets.at(energy),
            energy_ev: targets.centred_ev(energy),
            pre: targets.pre_edge[energy],
            white: targets.white_line[energy],
        };
        let change = match &mut self.sums {
            Sums::Single(sums) => kernel.run(sums, &mut self.begun, &mut self.seen[energy], first, old, new),
            Sums::Double(sums) => kernel.run(sums, &mut self.begun, &mut self.seen[energy], first, old, new),
        };
        self.seen_count[energy] = self.seen_count[energy].saturating_add_signed(change);
    }

    /// A reader of what the sums say now.
    #[must_use]
    pub fn reader<'a>(&'a self, targets: &'a Targets) -> CorrelationReader<'a> {
        CorrelationReader::new(self, targets)
    }
}

/// What is done to the sums at one energy.
struct Kernel<'a> {
    linear: bool,
    reference: &'a [f64],
    energy_ev: f64,
    pre: bool,
    white: bool,
}

/// The pixels of one block.
struct Block<'a, S> {
    sums: &'a mut [S],
    begun: &'a mut bool,
    seen: &'a mut [u64],
}

impl Kernel<'_> {
    /// Applies the values of the pixels from `first` on. Returns by how many the pixels that hold this energy
    /// have grown.
    fn run<S: Real>(
        &self,
        sums: &mut [S],
        begun: &mut [bool],
        seen: &mut [u64],
        first: usize,
        old: &[f32],
        new: &[f32],
    ) -> isize {
        let block_size = (XR + self.reference.len()) * BLOCK;
        let (from, to) = (first / BLOCK, (first + new.len()).div_ceil(BLOCK));
        let sums = &mut sums[from * block_size..to * block_size];
        let seen = &mut seen[from * (BLOCK / 64)..to * (BLOCK / 64)];
        let begun = &mut begun[from..to];
        let work = |(index, block): (usize, Block<'_, S>)| -> isize {
            let start = ((from + index) * BLOCK).max(first);
            let end = ((from + index + 1) * BLOCK).min(first + new.len());
            let part = start - first..end - first;
            let old = if old.is_empty() { old } else { &old[part.clone()] };
            self.block(block, start % BLOCK, old, &new[part])
        };
        // A few blocks are not worth waking another thread for.
        if to - from <= 8 || rayon::current_num_threads() == 1 {
            let each = sums.chunks_exact_mut(block_size).zip(begun).zip(seen.chunks_exact_mut(BLOCK / 64));
            each.map(|((sums, begun), seen)| Block { sums, begun, seen }).enumerate().map(work).sum()
        } else {
            let each = sums.par_chunks_exact_mut(block_size).zip(begun);
            let each = each.zip(seen.par_chunks_exact_mut(BLOCK / 64)).with_min_len(8);
            each.map(|((sums, begun), seen)| Block { sums, begun, seen }).enumerate().map(work).sum()
        }
    }

    /// The work on one block, by the widest instructions that this processor has. No product is fused with a
    /// sum, so the results are the same bits on all.
    fn block<S: Real>(&self, block: Block<'_, S>, at: usize, old: &[f32], new: &[f32]) -> isize {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the only demand of the function is AVX2, which the line above found on this processor.
            return unsafe { self.block_avx2(block, at, old, new) };
        }
        self.block_portable(block, at, old, new)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn block_avx2<S: Real>(&self, block: Block<'_, S>, at: usize, old: &[f32], new: &[f32]) -> isize {
        self.block_portable(block, at, old, new)
    }

    #[inline(always)]
    fn block_portable<S: Real>(&self, block: Block<'_, S>, at: usize, old: &[f32], new: &[f32]) -> isize {
        let n = new.len();
        let mut x = [S::from(0.0); BLOCK];
        let x = &mut x[..n];
        let (shift, rest) = block.sums.split_at_mut(BLOCK);
        if !*block.begun {
            let firsts = &mut shift[at..at + n];
            firsts.iter_mut().zip(new).for_each(|(shift, &new)| *shift = shift.or(S::from(new)));
            *block.begun = shift.iter().all(|shift| !shift.is_missing());
        }
        let shift = &shift[at..at + n];
        let (sum_x, more) = rest.split_at_mut(BLOCK);
        // The fields X and XX, in one pass with what goes into them.
        let sums = sum_x[at..at + n].iter_mut().zip(&mut more[at..at + n]);
        let each = x.iter_mut().zip(sums).zip(shift).zip(new);
        if old.is_empty() {
            for (((x, (sum_x, sum_xx)), &shift), &new) in each {
                *x = (S::from(new) - shift).or(S::from(0.0));
                *sum_x += *x;
                *sum_xx += *x * *x;
            }
        } else {
            for ((((x, (sum_x, sum_xx)), &shift), &new), &old) in each.zip(old) {
                let new = (S::from(new) - shift).or(S::from(0.0));
                let old = (S::from(old) - shift).or(S::from(0.0));
                *x = new - old;
                *sum_x += *x;
                *sum_xx += new * new - old * old;
            }
        }
        let mut field = |field: usize, factor: f64| {
            let (start, factor) = ((field - 1) * BLOCK + at, S::of(factor));
            for (sum, value) in rest[start..start + n].iter_mut().zip(&*x) {
                *sum += factor * *value;
            }
        };
        for (k, &reference) in self.reference.iter().enumerate() {
            field(XR + k, reference);
        }
        if self.linear {
            field(XE, self.energy_ev);
        }
        if self.pre {
            field(PRE, 1.0);
        }
        if self.white {
            field(WHITE, 1.0);
        }
        mark(block.seen, at, new)
    }
}

/// Sets the bit of every pixel that has a value, clears that of every other; returns by how many it grew.
#[inline]
fn mark(seen: &mut [u64], at: usize, new: &[f32]) -> isize {
    let mut change = 0;
    let mut index = 0;
    if at.is_multiple_of(64) {
        let (whole, rest) = new.as_chunks::<64>();
        for (word, values) in seen[at / 64..].iter_mut().zip(whole) {
            let bits = bits_of(values);
            change += bits.count_ones() as isize - word.count_ones() as isize;
            *word = bits;
        }
        index = new.len() - rest.len();
    }
    while index < new.len() {
        let position = at + index;
        let (word, bit) = (position / 64, position % 64);
        let take = (64 - bit).min(new.len() - index);
        let bits = bits_of(&new[index..index + take]);
        let covered = (u64::MAX >> (64 - take)) << bit;
        let before = seen[word] & covered;
        seen[word] = (seen[word] & !covered) | (bits << bit);
        change += bits.count_ones() as isize - before.count_ones() as isize;
        index += take;
    }
    change
}

/// One bit for each of at most 64 values: whether it is a number.
#[inline]
fn bits_of(values: &[f32]) -> u64 {
    let mut flags = [0_u8; 64];
    for (flag, value) in flags.iter_mut().zip(values) {
        *flag = u8::from(!value.is_nan());
    }
    // The product has in its highest byte one bit of each of the eight: bit 8i of the flags is moved to bit 56 + i, and
    // no two terms meet.
    let gather = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    flags.as_chunks().0.iter().enumerate().fold(0, |bits, (byte, eight)| bits | gather(eight) << (8 * byte))
}

/// Sums over the references alone, for a set of energies.
#[derive(Clone, Debug)]
struct ReferenceSums {
    n: f64,
    pre: f64,
    white: f64,
    e: f64,
    ee: f64,
    r: Vec<f64>,
    rr: Vec<f64>,
    re: Vec<f64>,
    sides: [bool; 2],
}

impl ReferenceSums {
    fn new(phases: usize) -> Self {
        let zeros = vec![0.0; phases];
        Self {
            n: 0.0,
            pre: 0.0,
            white: 0.0,
            e: 0.0,
            ee: 0.0,
            r: zeros.clone(),
            rr: zeros.clone(),
            re: zeros,
            sides: [false; 2],
        }
    }

    fn copy_from(&mut self, other: &Self) {
        (self.n, self.pre, self.white) = (other.n, other.pre, other.white);
        (self.e, self.ee, self.sides) = (other.e, other.ee, other.sides);
        self.r.copy_from_slice(&other.r);
        self.rr.copy_from_slice(&other.rr);
        self.re.copy_from_slice(&other.re);
    }

    fn add(&mut self, targets: &Targets, energy: usize) {
        let e = targets.centred_ev(energy);
        self.n += 1.0;
        self.pre += f64::from(u8::from(targets.pre_edge[energy]));
        self.white += f64::from(u8::from(targets.white_line[energy]));
        self.e += e;
        self.ee += e * e;
        for (k, &r) in targets.at(energy).iter().enumerate() {
            self.r[k] += r;
            self.rr[k] += r * r;
            self.re[k] += r * e;
        }
        let [before, behind] = targets.sides_of(std::iter::once(energy));
        self.sides = [self.sides[0] || before, self.sides[1] || behind];
    }
}

/// Reads the correlations of one pixel after the other.
#[derive(Clone, Debug)]
pub struct CorrelationReader<'a> {
    correlator: &'a Correlator,
    targets: &'a Targets,
    /// Over the energies that every pixel has.
    shared: ReferenceSums,
    /// Energies that some pixels have and others have not.
    partial: Vec<usize>,
    own: ReferenceSums,
}

impl<'a> CorrelationReader<'a> {
    fn new(correlator: &'a Correlator, targets: &'a Targets) -> Self {
        let mut shared = ReferenceSums::new(correlator.phases);
        let mut partial = Vec::new();
        for (energy, &count) in correlator.seen_count.iter().enumerate() {
            if count == correlator.pixels {
                shared.add(targets, energy);
            } else if count > 0 {
                partial.push(energy);
            }
        }
        let own = shared.clone();
        Self { correlator, targets, shared, partial, own }
    }

    /// Writes the coefficient of `pixel` with each reference into `out`: NaN where there are fewer than 3 values
    /// (4 with a background), or no variance.
    pub fn read(&mut self, pixel: usize, out: &mut [f32]) -> PixelSums {
        self.own.copy_from(&self.shared);
        for &energy in &self.partial {
            if self.correlator.seen[energy][pixel / 64] >> (pixel % 64) & 1 == 1 {
                self.own.add(self.targets, energy);
            }
        }
        let block = (XR + self.correlator.phases) * BLOCK;
        let base = pixel / BLOCK * block + pixel % BLOCK;
        let sum = |field: usize| match &self.correlator.sums {
            Sums::Single(sums) => f64::from(sums[base + field * BLOCK]),
            Sums::Double(sums) => sums[base + field * BLOCK],
        };
        let own = &self.own;
        let linear = self.correlator.baseline == Baseline::Linear;
        let (n, x) = (own.n, sum(X));
        let enough = n >= if linear { 4.0 } else { 3.0 };
        let c_ee = own.ee - own.e * own.e / n;
        let c_xe = sum(XE) - x * own.e / n;
        let mut c_xx = sum(XX) - x * x / n;
        if linear {
            c_xx -= c_xe * c_xe / c_ee;
        }
        for (k, out) in out.iter_mut().enumerate() {
            let mut c_rr = own.rr[k] - own.r[k] * own.r[k] / n;
            let mut c_xr = sum(XR + k) - x * own.r[k] / n;
            if linear {
                let c_re = own.re[k] - own.r[k] * own.e / n;
                c_rr -= c_re * c_re / c_ee;
                c_xr -= c_xe * c_re / c_ee;
            }
            let scale = c_xx * c_rr;
            *out =
                if enough && scale > 0.0 { (c_xr / scale.sqrt()).clamp(-1.0, 1.0) as f32 } else { f32::NAN };
        }
        PixelSums {
            energies: n as u32,
            sides: own.sides,
            edge_jump: if own.white > 0.0 && own.pre > 0.0 {
                (sum(WHITE) / own.white - sum(PRE) / own.pre) as f32
            } else {
                f32::NAN
            },
            white_line: own.white > 0.0,
            signal: 0.0,
            amount: 0.0,
        }
    }

    /// Whether every pixel has seen the same energies.
    #[must_use]
    pub fn all_the_same(&self) -> bool {
        self.partial.is_empty()
    }

    /// The energies that `pixel` has seen, in the order of the plan.
    pub fn energies(&self, pixel: usize) -> impl Iterator<Item = usize> + '_ {
        let correlator = self.correlator;
        (0..correlator.seen.len()).filter(move |&energy| {
            let count = correlator.seen_count[energy];
            count == correlator.pixels
                || count > 0 && correlator.seen[energy][pixel / 64] >> (pixel % 64) & 1 == 1
        })
    }
}
