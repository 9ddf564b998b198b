//! Numbers of whatever type a file has them in: integers of 1 to 8 bytes, floats of 2, 4 and 8, either byte order,
//! enumerations (which is what booleans are).

use half::f16;
use hdf5_reader::error::{ByteOrder, Error};
use hdf5_reader::{Datatype, H5Type, dtype_element_size};

/// A number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Real(f64);

impl Real {
    pub(super) fn get(self) -> f64 {
        self.0
    }
}

/// Whether elements of this type are numbers that [`Real`] reads.
pub(super) fn is_number(kind: &Datatype) -> bool {
    match kind {
        Datatype::FixedPoint { size, .. } => matches!(size, 1 | 2 | 4 | 8),
        Datatype::FloatingPoint { size, .. } => matches!(size, 2 | 4 | 8),
        Datatype::Enum { base, .. } => matches!(**base, Datatype::FixedPoint { .. }) && is_number(base),
        _ => false,
    }
}

impl H5Type for Real {
    fn hdf5_type() -> Datatype {
        Datatype::FloatingPoint { size: 8, byte_order: ByteOrder::LittleEndian }
    }

    fn from_bytes(bytes: &[u8], kind: &Datatype) -> Result<Self, Error> {
        decode(bytes, kind).map(Self).ok_or_else(|| Error::InvalidData("this is no number".to_owned()))
    }

    fn element_size(kind: &Datatype) -> usize {
        dtype_element_size(kind).unwrap_or(0)
    }
}

fn decode(bytes: &[u8], kind: &Datatype) -> Option<f64> {
    match kind {
        Datatype::FixedPoint { size, signed, byte_order } => {
            let (size, raw) = (usize::from(*size), little_endian(bytes, usize::from(*size), *byte_order)?);
            let value = u64::from_le_bytes(raw);
            // Moved up and down again, the sign fills what is above it.
            let unused = 64 - 8 * size as u32;
            Some(if *signed { ((value << unused) as i64 >> unused) as f64 } else { value as f64 })
        }
        Datatype::FloatingPoint { size, byte_order } => {
            let raw = little_endian(bytes, usize::from(*size), *byte_order)?;
            Some(match (size, raw) {
                (2, [a, b, ..]) => f16::from_le_bytes([a, b]).to_f64(),
                (4, [a, b, c, d, ..]) => f64::from(f32::from_le_bytes([a, b, c, d])),
                (8, raw) => f64::from_le_bytes(raw),
                _ => return None,
            })
        }
        Datatype::Enum { base, .. } if matches!(**base, Datatype::FixedPoint { .. }) => decode(bytes, base),
        _ => None,
    }
}

/// The first `size` bytes, the lowest first, the rest 0.
fn little_endian(bytes: &[u8], size: usize, order: ByteOrder) -> Option<[u8; 8]> {
    let mut raw = [0; 8];
    let (from, to) = (bytes.get(..size)?, raw.get_mut(..size)?);
    to.copy_from_slice(from);
    if order == ByteOrder::BigEndian {
        to.reverse();
    }
    (size > 0).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(size: u8, signed: bool, byte_order: ByteOrder) -> Datatype {
        Datatype::FixedPoint { size, signed, byte_order }
    }

    #[test]
    fn every_type_is_a_number() {
        use ByteOrder::{BigEndian, LittleEndian};
        assert_eq!(decode(&[0xfe], &integer(1, true, LittleEndian)), Some(-2.0));
        assert_eq!(decode(&[0xfe], &integer(1, false, LittleEndian)), Some(254.0));
        assert_eq!(decode(&[0xff, 0xfe], &integer(2, true, BigEndian)), Some(-2.0));
        assert_eq!(decode(&[1, 0, 0, 0], &integer(4, false, LittleEndian)), Some(1.0));
        assert_eq!(decode(&(-5_i64).to_be_bytes(), &integer(8, true, BigEndian)), Some(-5.0));
        let float = |size, byte_order| Datatype::FloatingPoint { size, byte_order };
        assert_eq!(decode(&[0x00, 0x3e], &float(2, LittleEndian)), Some(1.5));
        assert_eq!(decode(&1.25_f32.to_be_bytes(), &float(4, BigEndian)), Some(1.25));
        assert_eq!(decode(&(-0.1_f64).to_le_bytes(), &float(8, LittleEndian)), Some(-0.1));
        let flag = Datatype::Enum { base: Box::new(integer(1, true, LittleEndian)), members: Vec::new() };
        assert_eq!(decode(&[1], &flag), Some(1.0));
    }

    #[test]
    fn what_is_no_number_is_none() {
        assert_eq!(decode(&[1], &integer(2, true, ByteOrder::LittleEndian)), None);
        assert_eq!(decode(&[1; 20], &integer(16, true, ByteOrder::LittleEndian)), None);
        assert_eq!(decode(&[1; 20], &integer(0, true, ByteOrder::LittleEndian)), None);
        assert!(!is_number(&Datatype::Opaque { size: 1, tag: String::new() }));
    }
}
