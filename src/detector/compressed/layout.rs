//! Masks and rows of a detector's regions in the order of a stream's blocks.
//!
//! Blocks are multiples of eight pixels, not of 64: so each block has words of its own, filled up with zeros to whole groups.
//! With the usual blocks that is a bit a pixel and region; with the smallest that a stream may announce, eight bytes.

use std::ops::Range;

use super::regions::Regions;

/// Words that are counted together: 64 bytes of a plane.
pub(super) const GROUP: usize = 8;

/// All blocks of a frame; those of one size look alike, the last one may be shorter.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Pixels of a block.
    pub(super) pixels: usize,
    /// Words of a block, a multiple of `GROUP`.
    pub(super) words: usize,
    /// By region, block, word.
    masks: Vec<Vec<u64>>,
    /// By region and block: the words that have pixels of the region, in whole groups.
    spans: Vec<Vec<Range<usize>>>,
    /// By block and word: in which row its first pixel is, counted from the row of the block's first pixel.
    rows: Vec<u32>,
    /// How many rows further each pixel of a word is: bit by bit of that number, by block and word.
    pub(super) further: Vec<Vec<u64>>,
}

impl Layout {
    /// For blocks of so many pixels.
    pub(super) fn new(regions: &Regions, pixels: usize) -> Self {
        let [height, width] = regions.shape;
        let words = pixels.div_ceil(64).next_multiple_of(GROUP);
        let starts: Vec<usize> = (0..height * width).step_by(pixels).collect();
        // Fewer than eight pixels at the end of the frame are in no block.
        let whole = height * width / 8 * 8;
        let in_block =
            |start: usize, word: usize| pixels.min(whole.saturating_sub(start)).saturating_sub(word * 64);
        let places = || starts.iter().flat_map(|start| (0..words).map(move |word| (*start, word)));
        let mask = |region: &super::Region| {
            let bits = |(start, word): (usize, usize)| match in_block(start, word) {
                few @ ..64 => region.mask.bits(start + word * 64) & ((1 << few) - 1),
                _ => region.mask.bits(start + word * 64),
            };
            places().map(bits).collect()
        };
        let (mut masks, mut rows, mut further) = (Vec::new(), Vec::new(), Vec::new());
        masks.extend(regions.list.iter().map(mask));
        let spans = masks.iter().map(|masks: &Vec<u64>| masks.chunks(words).map(span).collect()).collect();
        if regions.list.iter().any(|region| region.moments) {
            rows.extend(places().map(|(start, word)| ((start + word * 64) / width - start / width) as u32));
            let most = |(start, word): (usize, usize)| {
                let first = start + word * 64;
                (first + 63) / width - first / width
            };
            let bits = usize::BITS - places().map(most).max().unwrap_or(0).leading_zeros();
            further.extend((0..bits).map(|bit| {
                let word = |(start, word): (usize, usize)| {
                    let first = start + word * 64;
                    let row = |pixel: usize| (first + pixel) / width - first / width;
                    (0..64).fold(0, |bits, pixel| bits | (((row(pixel) >> bit & 1) as u64) << pixel))
                };
                places().map(word).collect()
            }));
        }
        Self { pixels, words, masks, spans, rows, further }
    }

    /// The words of a block that have pixels of a region.
    pub(super) fn span(&self, region: usize, block: usize) -> Range<usize> {
        self.spans.get(region).and_then(|spans| spans.get(block)).cloned().unwrap_or_default()
    }

    /// The mask of a region in a block.
    pub(super) fn mask(&self, region: usize, block: usize) -> &[u64] {
        self.masks.get(region).and_then(|words| words.get(block * self.words..)).map_or(&[], |w| self.cut(w))
    }

    /// The rows of a block's words.
    pub(super) fn rows(&self, block: usize) -> &[u32] {
        self.rows.get(block * self.words..).map_or(&[], |words| &words[..self.words.min(words.len())])
    }

    /// A bit of how many rows further the pixels of a block's words are.
    pub(super) fn further(&self, bit: usize, block: usize) -> &[u64] {
        self.further.get(bit).and_then(|words| words.get(block * self.words..)).map_or(&[], |w| self.cut(w))
    }

    fn cut<'a>(&self, words: &'a [u64]) -> &'a [u64] {
        &words[..self.words.min(words.len())]
    }
}

/// Where a mask has bits, in whole groups.
fn span(mask: &[u64]) -> Range<usize> {
    let first = mask.iter().position(|word| *word != 0).unwrap_or(0);
    let last = mask.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
    first / GROUP * GROUP..last.next_multiple_of(GROUP)
}
