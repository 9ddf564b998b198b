//! Through the sequences of one LZ4 block of bit planes, writing what has to be written.
//!
//! The C library writes each of the long runs of zeros that the upper planes of sparse frames are. Here a plane that lies
//! wholly within such a run is not written but named, and written only if a later match refers to it.
//!
//! Short literals and matches are copied by more than they have, over what comes next, without asking for their lengths: what is
//! copied in excess is overwritten by the next sequence, or lies behind the end, where `SLACK` bytes belong to nobody. All
//! indexing is checked.

use super::kernel::Spread;

/// Bytes that the output has behind its size.
pub(super) const SLACK: usize = 128;
/// Literals, and bytes of a match, that are copied whether there are as many or not.
const LITERALS: usize = 32;
pub(super) const MATCH: usize = 16;
/// Longest match that is copied in steps of `MATCH`, without a call, nor a look for zeros.
const RUN: usize = 256;
/// A look at the input: token, one byte more of length, literals, offset, one byte more of length.
const LOOK: usize = 1 + 1 + LITERALS + 2 + 1;
/// Longest period of a run that is looked at for being zeros.
const PERIOD: usize = 64;

/// Planes that are wholly zero, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ZeroPlanes {
    /// Those that were found to be.
    pub(super) known: u64,
    /// Those of them that were not written: what the output holds there is of no meaning.
    missing: u64,
}

/// Unpacks the first `packed` bytes of `input` into the first `size` bytes of `out`, planes of `plane` bytes each; `None` where
/// they do not give exactly so many. `out` has `SLACK` bytes more.
#[inline(always)]
pub(super) fn walk(
    input: &[u8],
    packed: usize,
    out: &mut [u8],
    size: usize,
    plane: usize,
    spread: impl Spread,
) -> Option<ZeroPlanes> {
    let (mut ip, mut op) = (0, 0);
    let mut zero = ZeroPlanes::default();
    let done = |ip, op| ip == packed && op == size;
    // While there is input enough to look at without asking, be it of the next block. Where a length has one byte more is
    // added up, not branched on: lengths come as they like, and every branch that is guessed wrong takes as long as the copies.
    while let Some(look) = chunk::<LOOK>(input, ip) {
        let (literals, matched) = (usize::from(look[0] >> 4), usize::from(look[0] & 15));
        let more = usize::from(literals == 15);
        let count = literals + more * usize::from(look[1]);
        if count > LITERALS {
            let (count, from) = length(input, ip + 1, literals)?;
            copy(input, from, out, op, count, size)?;
            (ip, op) = (from + count, op + count);
        } else {
            *out.get_mut(op..)?.first_chunk_mut::<LITERALS>()? = *chunk(look, 1 + more)?;
            (ip, op) = (ip + 1 + more + count, op + count);
        }
        if ip >= packed {
            return done(ip, op).then_some(zero);
        }
        let [low, high, next] = *chunk(input, ip)?;
        let offset = usize::from(u16::from_le_bytes([low, high]));
        let from = op.checked_sub(offset).filter(|_| offset > 0)?;
        let more = usize::from(matched == 15);
        let count = matched + 4 + more * usize::from(next);
        if count > MATCH {
            let (count, behind) = length(input, ip + 2, matched)?;
            let count = count + 4;
            if count > RUN {
                repeat(out, op, offset, count, size, plane, &mut zero)?;
            } else {
                size.checked_sub(op)?.checked_sub(count)?;
                if zero.missing != 0 {
                    zero.write(out, plane, from, from + count + MATCH);
                }
                run(out, op, offset, count, spread)?;
            }
            (ip, op) = (behind, op + count);
        } else {
            if zero.missing != 0 {
                zero.write(out, plane, from, from + MATCH);
            }
            spread.spread(out, op, offset)?;
            (ip, op) = (ip + 2 + more, op + count);
            if op > size {
                return None;
            }
        }
    }
    // The end of the stream, where every byte is asked for.
    loop {
        let token = *input.get(ip)?;
        let (count, from) = length(input, ip + 1, usize::from(token >> 4))?;
        copy(input, from, out, op, count, size)?;
        (ip, op) = (from + count, op + count);
        if ip >= packed {
            return done(ip, op).then_some(zero);
        }
        let offset = usize::from(u16::from_le_bytes(*chunk(input, ip)?));
        op.checked_sub(offset).filter(|_| offset > 0)?;
        let (count, behind) = length(input, ip + 2, usize::from(token & 15))?;
        let count = count + 4;
        repeat(out, op, offset, count, size, plane, &mut zero)?;
        (ip, op) = (behind, op + count);
    }
}

#[inline(always)]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// A length that begins in four bits, and where it ends.
#[inline(always)]
fn length(input: &[u8], mut at: usize, four_bits: usize) -> Option<(usize, usize)> {
    let mut length = four_bits;
    if length == 15 {
        loop {
            let byte = *input.get(at)?;
            at += 1;
            length += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    Some((length, at))
}

fn copy(input: &[u8], from: usize, out: &mut [u8], to: usize, count: usize, size: usize) -> Option<()> {
    let literals = input.get(from..)?.get(..count)?;
    out.get_mut(to..size)?.get_mut(..count)?.copy_from_slice(literals);
    Some(())
}

/// A match of some length, in steps of `MATCH` or, where its period is less, in steps of as many whole periods as these have.
#[inline(always)]
fn run(out: &mut [u8], to: usize, offset: usize, count: usize, spread: impl Spread) -> Option<()> {
    spread.spread(out, to, offset)?;
    if offset < MATCH {
        let pattern: [u8; MATCH] = *chunk(out, to)?;
        let step = MATCH - MATCH % offset;
        let mut done = step;
        while done < count {
            *out.get_mut(to + done..)?.first_chunk_mut()? = pattern;
            done += step;
        }
    } else {
        let mut done = MATCH;
        while done < count {
            spread.spread(out, to + done, offset)?;
            done += MATCH;
        }
    }
    Some(())
}

/// A match of any length: zeros are noted, all else is written.
#[inline(never)]
fn repeat(
    out: &mut [u8],
    to: usize,
    offset: usize,
    count: usize,
    size: usize,
    plane: usize,
    zero: &mut ZeroPlanes,
) -> Option<()> {
    if count > size.checked_sub(to)? {
        return None;
    }
    let from = to - offset;
    zero.write(out, plane, from, from + count);
    let (first, last) = (to.div_ceil(plane), (to + count) / plane);
    if first < last && offset <= PERIOD && out.get(from..to)?.iter().all(|byte| *byte == 0) {
        out.get_mut(to..first * plane)?.fill(0);
        out.get_mut(last * plane..to + count)?.fill(0);
        zero.note(first, last);
        return Some(());
    }
    // What is there twice can be copied as twice as much.
    let mut done = 0;
    while done < count {
        let step = (offset + done).min(count - done);
        out.get_mut(..to + done + step)?.copy_within(from..from + step, to + done);
        done += step;
    }
    Some(())
}

impl ZeroPlanes {
    fn note(&mut self, first: usize, last: usize) {
        let planes = (first..last.min(64)).fold(0, |planes, plane| planes | 1 << plane);
        self.known |= planes;
        self.missing |= planes;
    }

    /// Writes the missing planes among bytes that are about to be read.
    #[inline(always)]
    fn write(&mut self, out: &mut [u8], plane: usize, from: usize, to: usize) {
        if self.missing != 0 {
            self.write_planes(out, plane, from, to);
        }
    }

    #[inline(never)]
    fn write_planes(&mut self, out: &mut [u8], plane: usize, from: usize, to: usize) {
        let last = to.div_ceil(plane).min(64);
        let missing = self.missing;
        for index in (from / plane..last).filter(|index| missing >> index & 1 == 1) {
            if let Some(bytes) = out.get_mut(index * plane..(index + 1) * plane) {
                bytes.fill(0);
            }
            self.missing &= !(1 << index);
        }
    }
}
