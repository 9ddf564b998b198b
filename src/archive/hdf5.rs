//! A small writer of HDF5 files: groups, attributes, short datasets, and large ones in compressed chunks.
//!
//! It writes the part of the format that every HDF5 library since 1.8 reads: superblock 2, object headers 2, links
//! in the header, contiguous data, and chunks behind a version 1 B-tree, shuffled and deflated. Nothing in a file
//! depends on the time or the machine. What is written gets its address at once and refers only to what was written
//! before, so a file is a list of blocks in the order they were made, behind a superblock that is known last: it goes
//! to a sink that cannot seek, and what is held is the file, compressed, not the values.
//!
//! Why not a crate: ARCHITECTURE.md, "HDF5 is read by a crate and written by us". What h5py and Mantis make of the files
//! is tested (`tests/python/check_nexus.py`).
//!
//! Bad input: a name or an attribute that does not fit its field in the format is [`Hdf5Error::Unfit`]; sizes are those
//! of a [`crate::scan::ScanPlan`], which is bounded.

mod chunks;
mod message;

use std::io::{self, Write};

use hdf5_core::jenkins_lookup3;

pub(super) use chunks::Cube;
use message::{Messages, Space, Type};

/// Bytes of the superblock, behind which everything else stands.
const SUPERBLOCK_BYTES: u64 = 48;
/// Bytes of the heap of short strings: the smallest there is.
const HEAP_BYTES: usize = 4096;
/// An address that is none.
const UNDEFINED: u64 = u64::MAX;

/// Why a file cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Hdf5Error {
    /// A name or a value does not fit the format.
    #[error("{0} is too long for an HDF5 header")]
    Unfit(&'static str),
    /// Compressing failed.
    #[error("compressing a chunk: {0}")]
    Compression(io::Error),
    /// The sink refused.
    #[error("{0}")]
    Sink(io::Error),
}

/// Where a group or a dataset stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(u64);

/// Value of an attribute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attribute<'a> {
    /// Text of variable length: what readers give as a string.
    Text(&'a str),
    /// Texts of fixed length: what readers give as bytes, which some insist on.
    Texts(&'a [&'a str]),
    /// An integer.
    Integer(i64),
}

/// Value of a dataset that is held as it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data<'a> {
    /// One text, of fixed length, UTF-8.
    Text(&'a str),
    /// A list of texts, of fixed length, UTF-8.
    Texts(&'a [&'a str]),
    /// One number.
    Number(f64),
    /// A list of numbers.
    Numbers(&'a [f64]),
    /// One integer.
    Integer(i64),
}

/// A file under construction.
pub(super) struct Hdf5File {
    blocks: Vec<Vec<u8>>,
    end: u64,
    /// Objects of the heap, each with its text, in order: object `i` has the number `i + 1`.
    heap: Vec<String>,
    heap_used: usize,
}

impl Hdf5File {
    /// An empty file.
    pub(super) fn new() -> Self {
        let end = SUPERBLOCK_BYTES + HEAP_BYTES as u64;
        // The heap stands first, under an address known before it is filled; the last object is what is free.
        Self { blocks: Vec::new(), end, heap: Vec::new(), heap_used: 16 + 16 }
    }

    /// Adds a short dataset.
    pub(super) fn dataset(
        &mut self,
        data: &Data<'_>,
        attributes: &[(&str, Attribute<'_>)],
    ) -> Result<Address, Hdf5Error> {
        let (kind, space, bytes) = encode(data)?;
        let address = self.store(bytes.clone());
        let mut messages = Messages::default();
        messages.dataspace(&space);
        messages.datatype(&kind);
        messages.no_fill_value();
        messages.contiguous(address, bytes.len() as u64);
        self.object(messages, attributes)
    }

    /// Adds a dataset of three dimensions in compressed chunks; `names` says how many links will lead to it.
    pub(super) fn cube(
        &mut self,
        cube: &Cube<'_>,
        names: u32,
        attributes: &[(&str, Attribute<'_>)],
    ) -> Result<Address, Hdf5Error> {
        let index = chunks::store(self, cube).map_err(Hdf5Error::Compression)?;
        let mut messages = Messages::default();
        messages.dataspace(&Space::Simple(&cube.shape.map(|length| length as u64)));
        messages.datatype(&Type::Float32);
        messages.fill_value(&f32::NAN.to_le_bytes());
        messages.shuffled_and_deflated(4, chunks::LEVEL);
        messages.chunked(index, &cube.chunk(), 4);
        if names > 1 {
            messages.references(names);
        }
        self.object(messages, attributes)
    }

    /// Adds a group with the links `members`.
    pub(super) fn group(
        &mut self,
        attributes: &[(&str, Attribute<'_>)],
        members: &[(&str, Address)],
    ) -> Result<Address, Hdf5Error> {
        let mut messages = Messages::default();
        messages.group();
        for (name, Address(address)) in members {
            messages.link(name, *address)?;
        }
        self.object(messages, attributes)
    }

    /// Writes the file with the group `root` as its root.
    pub(super) fn finish<W: Write>(self, root: Address, sink: &mut W) -> io::Result<()> {
        let mut superblock = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00".to_vec();
        for address in [0, UNDEFINED, self.end, root.0] {
            superblock.extend(address.to_le_bytes());
        }
        superblock.extend(jenkins_lookup3(&superblock).to_le_bytes());
        sink.write_all(&superblock)?;
        sink.write_all(&self.heap())?;
        self.blocks.iter().try_for_each(|block| sink.write_all(block))
    }

    /// Adds a block and returns its address.
    fn store(&mut self, block: Vec<u8>) -> u64 {
        let address = self.end;
        self.end += block.len() as u64;
        self.blocks.push(block);
        address
    }

    /// Adds an object header of these messages and attributes.
    fn object(
        &mut self,
        mut messages: Messages,
        attributes: &[(&str, Attribute<'_>)],
    ) -> Result<Address, Hdf5Error> {
        for (name, attribute) in attributes {
            let (kind, space, bytes) = match attribute {
                Attribute::Text(text) => match self.heap_reference(text) {
                    Some(reference) => (Type::VariableText, Space::Scalar, reference),
                    None => encode(&Data::Text(text))?,
                },
                Attribute::Texts(texts) => encode(&Data::Texts(texts))?,
                Attribute::Integer(value) => encode(&Data::Integer(*value))?,
            };
            messages.attribute(name, &kind, &space, &bytes)?;
        }
        Ok(Address(self.store(messages.header())))
    }

    /// What refers to `text` in the heap; `None` where that is full.
    fn heap_reference(&mut self, text: &str) -> Option<Vec<u8>> {
        let number = match self.heap.iter().position(|held| held == text) {
            Some(index) => index + 1,
            None => {
                let bytes = 16 + text.len().next_multiple_of(8);
                if self.heap_used + bytes > HEAP_BYTES {
                    return None;
                }
                self.heap_used += bytes;
                self.heap.push(text.to_owned());
                self.heap.len()
            }
        };
        let mut reference = (text.len() as u32).to_le_bytes().to_vec();
        reference.extend(SUPERBLOCK_BYTES.to_le_bytes());
        reference.extend((number as u32).to_le_bytes());
        Some(reference)
    }

    /// The heap of short strings.
    fn heap(&self) -> Vec<u8> {
        let mut heap = b"GCOL\x01\0\0\0".to_vec();
        heap.extend((HEAP_BYTES as u64).to_le_bytes());
        for (index, text) in self.heap.iter().enumerate() {
            heap.extend((index as u16 + 1).to_le_bytes());
            heap.extend([1, 0, 0, 0, 0, 0]);
            heap.extend((text.len() as u64).to_le_bytes());
            heap.extend(text.as_bytes());
            heap.resize(heap.len().next_multiple_of(8), 0);
        }
        // What is left is free: object 0, whose size counts its own header.
        let free = (HEAP_BYTES - heap.len()) as u64;
        heap.extend([0; 8]);
        heap.extend(free.to_le_bytes());
        heap.resize(HEAP_BYTES, 0);
        heap
    }
}

/// Type, shape and bytes of a value.
fn encode<'a>(data: &Data<'_>) -> Result<(Type, Space<'a>, Vec<u8>), Hdf5Error> {
    Ok(match data {
        Data::Text(text) => {
            let (kind, bytes) = texts(&[text])?;
            (kind, Space::Scalar, bytes)
        }
        Data::Texts(list) => {
            let (kind, bytes) = texts(list)?;
            (kind, Space::List(list.len() as u64), bytes)
        }
        Data::Number(value) => (Type::Float64, Space::Scalar, value.to_le_bytes().to_vec()),
        Data::Numbers(list) => (
            Type::Float64,
            Space::List(list.len() as u64),
            list.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ),
        Data::Integer(value) => (Type::Int64, Space::Scalar, value.to_le_bytes().to_vec()),
    })
}

/// Texts padded with NUL to the length of the longest.
fn texts(list: &[&str]) -> Result<(Type, Vec<u8>), Hdf5Error> {
    let longest = list.iter().map(|text| text.len()).max().unwrap_or(0).max(1);
    let length = u32::try_from(longest).map_err(|_| Hdf5Error::Unfit("a text"))?;
    let mut bytes = Vec::with_capacity(longest * list.len());
    for (index, text) in list.iter().enumerate() {
        bytes.extend(text.as_bytes());
        bytes.resize((index + 1) * longest, 0);
    }
    Ok((Type::Text(length), bytes))
}

#[cfg(test)]
mod tests;
