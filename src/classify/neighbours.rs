//! Neighbours' evidence: what the eight pixels around say of a pixel's composition.
//!
//! Each pixel sends its neighbours a message: the probability of every composition of theirs, given its own
//! belief. Most neighbours are made of nearly the same; where two phases meet, a pixel may hold both; and a share
//! of neighbours tells nothing at all ([`super::population`] estimates how many in this scan), so that a
//! contradiction is bounded: edges stay. Two rounds are passed, the second with what the first brought. Messages
//! count less than a pixel's own evidence ([`STRENGTH`]), the diagonal ones less again: neighbours share beam,
//! drift and references, so their evidence is not independent.
//!
//! Only what the wanted pixels need is computed, in stripes of rows: memory is bounded, the result does not depend
//! on the stripes or on the number of threads.

use rayon::prelude::*;

use super::Targets;
use super::composition::Compositions;
use super::messages::{Kernel, normalise};
use super::mixture::{MixtureFit, moments_len};
use super::moments::Moments;
use super::population::Population;
use super::spectrum::Spectrum;
use super::view::DensityView;

/// Weight of a neighbour's message against a pixel's own evidence.
const STRENGTH: f32 = 0.35;
/// Weight of a diagonal neighbour's message against that of a direct one.
const DIAGONAL: f32 = 0.7;
/// Log-likelihood of all that a pixel beyond doubt is not.
const CERTAIN: f32 = -30.0;
/// Messages travel this far, in pixels: one for each round.
const REACH: usize = 2;
/// Pixels that are worked on at a time, in whole rows: more would take memory, fewer look at more rows twice.
const STRIPE_PIXELS: usize = 8192;
/// Bounds of the number of rows.
const STRIPE_ROWS: [usize; 2] = [8, 64];

/// What a pixel has to say to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Nothing: it is empty, or unusable.
    Silent,
    /// What its spectrum and its neighbours say.
    Open,
    /// That it is this phase, beyond doubt: it need not be looked at, and does not listen.
    Sure(u8),
}

/// What is believed of one pixel.
#[derive(Clone, Debug)]
pub struct Belief<'a> {
    /// The pixel.
    pub pixel: usize,
    /// Probability of every composition from its own spectrum.
    pub own: &'a [f32],
    /// The same with what the neighbours say.
    pub joint: &'a [f32],
    /// Energies that count.
    pub energies: usize,
    /// The moments of its spectrum for [`MixtureFit`], what the references miss added to its noise.
    pub(super) moments: &'a [f64],
}

/// Everything that beliefs are made from.
#[derive(Clone, Copy, Debug)]
pub struct Beliefs<'a> {
    /// The optical densities.
    pub view: &'a DensityView<'a>,
    /// The references.
    pub targets: &'a Targets,
    /// What there can be.
    pub compositions: &'a Compositions,
    /// What the pixels say together.
    pub population: Population,
    /// Relative misfit of the references in this scan, squared.
    pub misfit: f64,
    /// Width of the grid.
    pub nx: usize,
}

/// One stripe of rows with its surroundings.
struct Stripe {
    first_row: usize,
    rows: usize,
    /// How many rounds the belief of a pixel has to go through: `None` where it is not needed at all.
    need: Vec<Option<usize>>,
    /// Number of energies, of each pixel that was looked at.
    energies: Vec<usize>,
    own: Vec<f32>,
    joint: Vec<f32>,
    /// Of each pixel that speaks, in the round that is passed.
    messages: Vec<f32>,
    /// Of each wanted pixel, [`moments_len`] numbers.
    moments: Vec<f64>,
}

impl Beliefs<'_> {
    /// Calls `each` with the belief of every pixel that is `wanted`, and collects what it returns, in order of
    /// the pixels; `state` makes what it keeps from pixel to pixel. `speakers` tells which pixels have something to say
    /// to others. Pixels of 3 energies or fewer are left out.
    pub fn collect<S, T: Send>(
        &self,
        wanted: &[bool],
        speakers: &[Speaker],
        state: impl Fn() -> S + Sync + Send,
        each: impl Fn(&mut S, &Belief<'_>) -> T + Sync + Send,
    ) -> Vec<(usize, T)> {
        let ny = wanted.len() / self.nx;
        let log_prior = self.population.log_prior(self.compositions);
        let alone = self.reach() == 0;
        let kernel = Kernel::new(self.compositions, &log_prior, self.population.unrelated);
        let rows = (STRIPE_PIXELS / self.nx).clamp(STRIPE_ROWS[0], STRIPE_ROWS[1]);
        let stripes: Vec<usize> = (0..ny).step_by(rows).collect();
        let parts: Vec<Vec<(usize, T)>> = stripes
            .into_par_iter()
            .map_init(state, |state, from| {
                let to = (from + rows).min(ny);
                let Some(mut stripe) = self.stripe(wanted, speakers, from, to) else {
                    return Vec::new();
                };
                self.look(&mut stripe, speakers, &log_prior);
                if !alone {
                    (1..=REACH)
                        .for_each(|round| self.pass(&mut stripe, speakers, &kernel, &log_prior, round));
                }
                self.read(&stripe, &log_prior, from..to, state, &each)
            })
            .collect();
        parts.into_iter().flatten().collect()
    }

    /// The rows from `from` to `to` and those around, with what is needed of each pixel; `None` where nothing is.
    fn stripe(&self, wanted: &[bool], speakers: &[Speaker], from: usize, to: usize) -> Option<Stripe> {
        let nx = self.nx;
        let reach = self.reach();
        let (first, last) = (from.saturating_sub(reach), (to + reach).min(wanted.len() / nx));
        let mut need = vec![None; (last - first) * nx];
        let mut any = false;
        for y in from..to {
            for x in (0..nx).filter(|x| wanted[y * nx + x]) {
                any = true;
                for v in y.saturating_sub(reach).max(first)..(y + reach + 1).min(last) {
                    for u in x.saturating_sub(reach)..(x + reach + 1).min(nx) {
                        let rounds = reach - v.abs_diff(y).max(u.abs_diff(x));
                        let is_self = (v, u) == (y, x);
                        if is_self || speakers[v * nx + u] != Speaker::Silent {
                            let need = &mut need[(v - first) * nx + u];
                            *need = (*need).max(Some(rounds));
                        }
                    }
                }
            }
        }
        let (pixels, len) = (need.len(), self.compositions.len());
        any.then(|| Stripe {
            first_row: first,
            rows: last - first,
            need,
            energies: vec![0; pixels],
            own: vec![0.0; pixels * len],
            joint: vec![0.0; pixels * len],
            messages: vec![0.0; if reach == 0 { 0 } else { pixels * len }],
            moments: vec![0.0; pixels * moments_len(self.compositions.phases())],
        })
    }

    /// Every pixel's own log-likelihoods, its belief from them, and, where it is wanted, the moments for its fits: all
    /// that is ever asked of its spectrum.
    fn look(&self, stripe: &mut Stripe, speakers: &[Speaker], log_prior: &[f32]) {
        let (len, width) = (self.compositions.len(), moments_len(self.compositions.phases()));
        let wanted = Some(self.reach());
        let (mut spectrum, mut moments, mut fit) =
            (Spectrum::default(), Moments::default(), MixtureFit::default());
        for (index, need) in stripe.need.iter_mut().enumerate() {
            if need.is_none() {
                continue;
            }
            let pixel = stripe.first_row * self.nx + index;
            let part = index * len..(index + 1) * len;
            let own = &mut stripe.own[part.clone()];
            if let Speaker::Sure(phase) = speakers[pixel] {
                own.fill(CERTAIN);
                own[usize::from(phase)] = 0.0;
                continue;
            }
            self.view.gather(pixel, &mut spectrum);
            let energies = moments.load(&spectrum, self.targets, self.population.misfit_od);
            if energies <= 3 {
                *need = None;
                continue;
            }
            moments.log_likelihoods(self.compositions, own);
            stripe.energies[index] = energies;
            if *need == wanted {
                spectrum.blur(self.misfit);
                fit.load(&spectrum, self.targets);
                stripe.moments[index * width..(index + 1) * width].copy_from_slice(fit.moments());
            }
            let joint = &mut stripe.joint[part];
            joint.iter_mut().zip(&*own).zip(log_prior).for_each(|((joint, own), prior)| *joint = own + prior);
            normalise(joint);
        }
    }

    /// How far messages travel to a pixel.
    fn reach(&self) -> usize {
        if self.population.unrelated >= 1.0 { 0 } else { REACH }
    }

    /// One round of messages: the beliefs of the last round go out, new ones are made where `round` is needed.
    fn pass(
        &self,
        stripe: &mut Stripe,
        speakers: &[Speaker],
        kernel: &Kernel,
        log_prior: &[f32],
        round: usize,
    ) {
        let (len, nx) = (self.compositions.len(), self.nx);
        let speakers = &speakers[stripe.first_row * nx..(stripe.first_row + stripe.rows) * nx];
        for (index, need) in stripe.need.iter().enumerate() {
            if speakers[index] == Speaker::Open && need.is_some_and(|rounds| rounds + 1 >= round) {
                let part = index * len..(index + 1) * len;
                kernel.message(&stripe.joint[part.clone()], &mut stripe.messages[part]);
            }
        }
        for index in 0..stripe.need.len() {
            let sure = matches!(speakers[index], Speaker::Sure(_));
            if sure || stripe.need[index].is_none_or(|rounds| rounds < round) {
                continue;
            }
            let (y, x) = (index / nx, index % nx);
            let joint = &mut stripe.joint[index * len..(index + 1) * len];
            joint.copy_from_slice(&stripe.own[index * len..(index + 1) * len]);
            joint.iter_mut().zip(log_prior).for_each(|(belief, prior)| *belief += prior);
            for v in y.saturating_sub(1)..(y + 2).min(stripe.rows) {
                for u in x.saturating_sub(1)..(x + 2).min(nx) {
                    let other = v * nx + u;
                    if other != index && speakers[other] != Speaker::Silent && stripe.need[other].is_some() {
                        let weight = if v != y && u != x { STRENGTH * DIAGONAL } else { STRENGTH };
                        let message = match speakers[other] {
                            Speaker::Sure(phase) => kernel.of_phase(phase),
                            _ => &stripe.messages[other * len..(other + 1) * len],
                        };
                        joint.iter_mut().zip(message).for_each(|(belief, m)| *belief += weight * m);
                    }
                }
            }
            normalise(joint);
        }
    }

    fn read<S, T>(
        &self,
        stripe: &Stripe,
        log_prior: &[f32],
        rows: std::ops::Range<usize>,
        state: &mut S,
        each: &impl Fn(&mut S, &Belief<'_>) -> T,
    ) -> Vec<(usize, T)> {
        let (len, nx) = (self.compositions.len(), self.nx);
        let (reach, width) = (self.reach(), moments_len(self.compositions.phases()));
        let mut out = Vec::new();
        let mut own = vec![0.0; len];
        for index in (rows.start - stripe.first_row) * nx..(rows.end - stripe.first_row) * nx {
            if stripe.need[index] != Some(reach) {
                continue;
            }
            let part = index * len..(index + 1) * len;
            own.copy_from_slice(&stripe.own[part.clone()]);
            own.iter_mut().zip(log_prior).for_each(|(belief, prior)| *belief += prior);
            normalise(&mut own);
            let pixel = stripe.first_row * nx + index;
            let joint = &stripe.joint[part];
            let moments = &stripe.moments[index * width..(index + 1) * width];
            let belief = Belief { pixel, own: &own, joint, energies: stripe.energies[index], moments };
            out.push((pixel, each(state, &belief)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::absorption::{AbsorptionSettings, Intensity};
    use crate::classify::tests::references;
    use crate::scan::{Channel, I0, Pixels, SampleBatch};
    use crate::stack::{Stack, test_plan};

    const NY: usize = 70;
    const NX: usize = 20;
    const ENERGIES: usize = 9;

    /// Phases in squares of 10 pixels.
    fn truth(pixel: usize) -> usize {
        (pixel / NX / 10 + 2 * (pixel % NX / 10)) % 3
    }

    /// A noisy scan with I0 in the stream.
    fn stack(counts: f64) -> (Stack, Targets) {
        let set = references();
        let mut plan = test_plan(NY, NX, ENERGIES);
        plan.energies_ev = (0..ENERGIES).map(|e| 509.0 + 1.5 * e as f64).collect();
        plan.detector.counts_per_photon = Some(vec![1.0; ENERGIES]);
        let targets = Targets::new(&set, &plan.energies_ev);
        let mut stack = Stack::new(plan.clone());
        let mut state = 5_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
        };
        for (energy, &e) in plan.energies_ev.iter().enumerate() {
            let values = (0..NY * NX)
                .map(|pixel| {
                    let mean = counts * (-set.references[truth(pixel)].od_at(e).unwrap()).exp();
                    (mean + mean.sqrt() * noise() + 1.0) as f32
                })
                .collect();
            let batch = SampleBatch {
                energy_index: energy as u32,
                pixels: Pixels::Run { first: 0, count: (NY * NX) as u32 },
                channel: Channel::Intensity,
                others: Vec::new(),
                values,
                i0: I0::One(counts as f32),
                ring_current_ma: None,
                energy_ev: None,
                time: None,
            };
            stack.push(energy as u64 + 1, &batch).unwrap();
        }
        (stack, targets)
    }

    type Right = Vec<(usize, (bool, bool, Vec<f32>))>;

    /// For each wanted pixel: whether its own belief and the joint one name the right phase, and the joint one.
    fn right(stack: &Stack, targets: &Targets, wanted: &[bool], change: fn(&mut Population)) -> Right {
        let settings = AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() };
        let intensity = Intensity::estimate(stack, &crate::screening::Screen::default(), &settings);
        let view = DensityView::new(stack, &intensity, 4.0, 1.0);
        let compositions = Compositions::new(3);
        let everywhere = vec![true; NY * NX];
        let speakers = vec![Speaker::Open; NY * NX];
        let mut population = Population::estimate(&view, targets, &compositions, NX, &everywhere);
        change(&mut population);
        let beliefs =
            Beliefs { view: &view, targets, compositions: &compositions, population, misfit: 0.0, nx: NX };
        let best = |belief: &[f32]| {
            let of = |k: usize| -> f32 {
                compositions.entries().iter().zip(belief).map(|(e, p)| e.dominated_by(k) * p).sum()
            };
            (0..3).max_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap()
        };
        beliefs.collect(
            wanted,
            &speakers,
            || (),
            |(), belief| {
                let truth = truth(belief.pixel);
                (best(belief.own) == truth, best(belief.joint) == truth, belief.joint.to_vec())
            },
        )
    }

    #[test]
    fn neighbours_help_where_noise_is_the_limit() {
        let (stack, targets) = stack(120.0);
        let right = right(&stack, &targets, &[true; NY * NX], |_| {});
        let share = |of: fn(&(bool, bool, Vec<f32>)) -> bool| {
            right.iter().filter(|(_, r)| of(r)).count() as f64 / right.len() as f64
        };
        let (own, joint) = (share(|r| r.0), share(|r| r.1));
        assert_eq!(right.len(), NY * NX);
        assert!(own < 0.93, "the test wants noise: {own}");
        assert!(1.0 - joint < 0.4 * (1.0 - own), "alone {own}, together {joint}");
    }

    #[test]
    fn a_pixel_hears_the_same_whoever_else_is_asked() {
        let (stack, targets) = stack(200.0);
        let all = right(&stack, &targets, &[true; NY * NX], |_| {});
        // At a corner, at the border between two stripes, and inside.
        for pixel in [0, 63 * NX + 7, 64 * NX + 7, 50 * NX + 19] {
            let mut wanted = [false; NY * NX];
            wanted[pixel] = true;
            let one = right(&stack, &targets, &wanted, |_| {});
            assert_eq!(one.len(), 1);
            assert_eq!(one[0], all[pixel]);
        }
    }

    #[test]
    fn unrelated_neighbours_are_not_asked() {
        let (stack, targets) = stack(120.0);
        let alone = right(&stack, &targets, &[true; NY * NX], |population| population.unrelated = 1.0);
        assert!(alone.iter().all(|(_, (own, joint, _))| own == joint));
    }
}
