//! The messages of an object header, as the HDF5 file format has them (HDF5 File Format Specification 3.0, part IV).

use hdf5_core::jenkins_lookup3;

use super::{Hdf5Error, UNDEFINED};

const DATASPACE: u8 = 0x01;
const LINK_INFO: u8 = 0x02;
const DATATYPE: u8 = 0x03;
const FILL_VALUE: u8 = 0x05;
const LINK: u8 = 0x06;
const LAYOUT: u8 = 0x08;
const GROUP_INFO: u8 = 0x0a;
const FILTERS: u8 = 0x0b;
const ATTRIBUTE: u8 = 0x0c;
const REFERENCE_COUNT: u8 = 0x16;

/// Type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// IEEE, 32 bit, little-endian.
    Float32,
    /// IEEE, 64 bit, little-endian.
    Float64,
    /// Signed, 64 bit, little-endian.
    Int64,
    /// UTF-8 of this many bytes, padded with NUL.
    Text(u32),
    /// UTF-8 in the heap.
    VariableText,
}

/// Shape of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Space<'a> {
    /// One element.
    Scalar,
    /// So many elements.
    List(u64),
    /// An array, the slowest dimension first.
    Simple(&'a [u64]),
}

impl Type {
    fn encode(self) -> Vec<u8> {
        // Class and version, three bytes of flags, bytes of an element, properties of the class.
        let head = |class: u8, flags: [u8; 3], size: u32| -> Vec<u8> {
            [&[0x10 | class][..], &flags, &size.to_le_bytes()].concat()
        };
        // Bits: offset and precision (16 bit each), place and length of exponent and mantissa, bias.
        let float = |bits: u8, exponent: [u8; 2], bias: u32| -> Vec<u8> {
            let mut kind = head(1, [0x20, bits - 1, 0], u32::from(bits / 8));
            kind.extend([0, 0, bits, 0, exponent[0], exponent[1], 0, exponent[0]]);
            kind.extend(bias.to_le_bytes());
            kind
        };
        match self {
            Self::Float32 => float(32, [23, 8], 127),
            Self::Float64 => float(64, [52, 11], 1023),
            Self::Int64 => [head(0, [0x08, 0, 0], 8), vec![0, 0, 64, 0]].concat(),
            Self::Text(length) => head(3, [0x11, 0, 0], length),
            // Its elements are bytes, as the library has them.
            Self::VariableText => {
                [head(9, [0x01, 0x01, 0], 16), head(0, [0; 3], 1), vec![0, 0, 8, 0]].concat()
            }
        }
    }
}

impl Space<'_> {
    fn encode(&self) -> Vec<u8> {
        let lengths = match self {
            Self::Scalar => return vec![2, 0, 0, 0],
            Self::List(length) => std::slice::from_ref(length),
            Self::Simple(lengths) => lengths,
        };
        let mut space = vec![2, lengths.len() as u8, 0, 1];
        space.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
        space
    }
}

/// The messages of one object header.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    /// Every message here is known to be short, but links and attributes, which look for themselves.
    fn push(&mut self, kind: u8, message: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend((message.len() as u16).to_le_bytes());
        self.bytes.push(0);
        self.bytes.extend(message);
    }

    pub(super) fn dataspace(&mut self, space: &Space<'_>) {
        self.push(DATASPACE, &space.encode());
    }

    pub(super) fn datatype(&mut self, kind: &Type) {
        self.push(DATATYPE, &kind.encode());
    }

    /// The library's own fill value, which is never seen: all is there.
    pub(super) fn no_fill_value(&mut self) {
        self.push(FILL_VALUE, &[3, 0x0a]);
    }

    /// What readers see where a chunk is not there.
    pub(super) fn fill_value(&mut self, value: &[u8]) {
        let length = (value.len() as u32).to_le_bytes();
        self.push(FILL_VALUE, &[&[3, 0x2b][..], &length, value].concat());
    }

    pub(super) fn contiguous(&mut self, address: u64, bytes: u64) {
        self.push(LAYOUT, &[&[3, 1][..], &address.to_le_bytes(), &bytes.to_le_bytes()].concat());
    }

    /// Chunks of this shape behind the B-tree at `index`.
    pub(super) fn chunked(&mut self, index: u64, shape: &[u32], element_bytes: u32) {
        let mut layout = vec![3, 2, shape.len() as u8 + 1];
        layout.extend(index.to_le_bytes());
        layout.extend(shape.iter().chain([&element_bytes]).flat_map(|length| length.to_le_bytes()));
        self.push(LAYOUT, &layout);
    }

    pub(super) fn shuffled_and_deflated(&mut self, element_bytes: u32, level: u32) {
        // Each filter: its number, flags, how many parameters, and these.
        let mut filters = vec![2, 2];
        for (number, parameter) in [(2_u16, element_bytes), (1, level)] {
            filters.extend(number.to_le_bytes());
            filters.extend([0, 0, 1, 0]);
            filters.extend(parameter.to_le_bytes());
        }
        self.push(FILTERS, &filters);
    }

    /// How many links lead to the object, where it is not one.
    pub(super) fn references(&mut self, links: u32) {
        self.push(REFERENCE_COUNT, &[&[0][..], &links.to_le_bytes()].concat());
    }

    /// What makes the object a group whose links stand in its header.
    pub(super) fn group(&mut self) {
        self.push(LINK_INFO, &[&[0, 0][..], &UNDEFINED.to_le_bytes(), &UNDEFINED.to_le_bytes()].concat());
        self.push(GROUP_INFO, &[0, 0]);
    }

    pub(super) fn link(&mut self, name: &str, address: u64) -> Result<(), Hdf5Error> {
        let length = u8::try_from(name.len()).map_err(|_| Hdf5Error::Unfit("a name"))?;
        self.push(LINK, &[&[1, 0, length], name.as_bytes(), &address.to_le_bytes()].concat());
        Ok(())
    }

    pub(super) fn attribute(
        &mut self,
        name: &str,
        kind: &Type,
        space: &Space<'_>,
        value: &[u8],
    ) -> Result<(), Hdf5Error> {
        let (kind, space) = (kind.encode(), space.encode());
        let mut message = vec![3, 0];
        for length in [name.len() + 1, kind.len(), space.len()] {
            message
                .extend(u16::try_from(length).map_err(|_| Hdf5Error::Unfit("an attribute"))?.to_le_bytes());
        }
        message.push(0);
        message.extend([name.as_bytes(), &[0], &kind, &space, value].concat());
        if message.len() > usize::from(u16::MAX) {
            return Err(Hdf5Error::Unfit("an attribute"));
        }
        self.push(ATTRIBUTE, &message);
        Ok(())
    }

    /// The object header that holds these messages.
    pub(super) fn header(self) -> Vec<u8> {
        let mut header = b"OHDR\x02\x02".to_vec();
        header.extend((self.bytes.len() as u32).to_le_bytes());
        header.extend(self.bytes);
        header.extend(jenkins_lookup3(&header).to_le_bytes());
        header
    }
}
