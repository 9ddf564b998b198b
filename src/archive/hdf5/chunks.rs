//! Images in chunks: rows of one image, shuffled and deflated, behind a B-tree.
//!
//! A chunk holds whole rows of one image, about a megabyte of them at most, so that programs with HDF5's own cache of
//! that size read pixels across images without unpacking each image anew for each. A chunk of nothing but NaN is not
//! written: NaN is the dataset's fill value. Chunks are compressed on rayon's pool; what is held is what they come to.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use rayon::prelude::*;

use super::{Hdf5File, UNDEFINED};

/// Deflate's level: higher ones take three times as long for a few percent of counts.
pub(super) const LEVEL: u32 = 1;
/// Most values of a chunk that has more than one row.
const CHUNK_VALUES: usize = 1 << 18;
/// Most children of a node of the B-tree: twice its rank, which is 32 unless a file says otherwise.
const CHILDREN: usize = 64;
/// Bytes of a key: bytes and filters of a chunk, its place in three dimensions, and within an element.
const KEY_BYTES: usize = 8 + 4 * 8;

/// Values of three dimensions: energy, row, column.
pub(in crate::archive) struct Cube<'a> {
    /// Lengths of the dimensions.
    pub(in crate::archive) shape: [usize; 3],
    /// The value of a pixel at an energy; NaN where there is none.
    pub(in crate::archive) value: &'a (dyn Fn(usize, usize) -> f32 + Sync),
}

impl Cube<'_> {
    /// Rows of a chunk.
    fn rows(&self) -> usize {
        (CHUNK_VALUES / self.shape[2].max(1)).clamp(1, self.shape[1].max(1))
    }

    /// Shape of a chunk.
    pub(super) fn chunk(&self) -> [u32; 3] {
        [1, self.rows() as u32, self.shape[2] as u32]
    }

    /// The chunk of image `energy` from row `row` on, compressed; `None` where it holds nothing.
    fn packed(&self, energy: usize, row: usize) -> io::Result<Option<Vec<u8>>> {
        let [_, ny, nx] = self.shape;
        let values = self.rows() * nx;
        // Byte `b` of every value stands together: the high ones hardly differ.
        let mut shuffled = vec![0; 4 * values];
        let mut any = false;
        for index in 0..values {
            let pixel = row * nx + index;
            let value = if pixel < ny * nx { (self.value)(energy, pixel) } else { f32::NAN };
            any |= !value.is_nan();
            // One NaN for all, so that what was not measured has one pattern.
            let value = if value.is_nan() { f32::NAN } else { value };
            for (byte, part) in value.to_le_bytes().into_iter().enumerate() {
                shuffled[byte * values + index] = part;
            }
        }
        if !any {
            return Ok(None);
        }
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::new(LEVEL));
        packer.write_all(&shuffled)?;
        packer.finish().map(Some)
    }
}

/// A child of a node: the key before it, and where it is.
struct Child {
    bytes: u32,
    place: [u64; 3],
    address: u64,
}

/// Stores the chunks of `cube` and their index; returns the address of that, undefined where there is no chunk.
pub(super) fn store(file: &mut Hdf5File, cube: &Cube<'_>) -> io::Result<u64> {
    let [energies, ny, _] = cube.shape;
    let rows = cube.rows();
    let places: Vec<_> =
        (0..energies).flat_map(|energy| (0..ny).step_by(rows).map(move |row| (energy, row))).collect();
    let packed = places.par_iter().map(|&(energy, row)| cube.packed(energy, row));
    let packed: Vec<_> = packed.collect::<io::Result<_>>()?;
    let mut children: Vec<Child> = Vec::new();
    for ((energy, row), chunk) in places.into_iter().zip(packed) {
        let Some(chunk) = chunk else { continue };
        let bytes = chunk.len() as u32;
        children.push(Child { bytes, place: [energy as u64, row as u64, 0], address: file.store(chunk) });
    }
    // Behind the last chunk.
    let end = [energies as u64, 0, 0];
    let mut level = 0;
    while !children.is_empty() {
        children = store_level(file, level, &children, end);
        if children.len() == 1 {
            return Ok(children[0].address);
        }
        level += 1;
    }
    Ok(UNDEFINED)
}

/// Stores the nodes of one level above `children` and returns them as children of the next.
fn store_level(file: &mut Hdf5File, level: u8, children: &[Child], end: [u64; 3]) -> Vec<Child> {
    let bytes = 24 + CHILDREN * (KEY_BYTES + 8) + KEY_BYTES;
    let (first, nodes) = (file.end, children.len().div_ceil(CHILDREN));
    let address = |node: usize| first + (node * bytes) as u64;
    let mut stored = Vec::with_capacity(nodes);
    for (index, members) in children.chunks(CHILDREN).enumerate() {
        let left = if index == 0 { UNDEFINED } else { address(index - 1) };
        let right = if index + 1 == nodes { UNDEFINED } else { address(index + 1) };
        let mut node = b"TREE\x01".to_vec();
        node.push(level);
        node.extend((members.len() as u16).to_le_bytes());
        node.extend([left, right].into_iter().flat_map(u64::to_le_bytes));
        for child in members {
            push_key(&mut node, child.bytes, child.place);
            node.extend(child.address.to_le_bytes());
        }
        let after = children.get((index + 1) * CHILDREN);
        push_key(&mut node, after.map_or(0, |child| child.bytes), after.map_or(end, |child| child.place));
        node.resize(bytes, 0);
        // A node's own key is that of its first child.
        stored.push(Child { address: file.store(node), ..members[0] });
    }
    stored
}

fn push_key(node: &mut Vec<u8>, bytes: u32, place: [u64; 3]) {
    node.extend(bytes.to_le_bytes());
    node.extend([0; 4]);
    node.extend(place.into_iter().chain([0]).flat_map(u64::to_le_bytes));
}
