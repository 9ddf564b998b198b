//! The ledger: one record of 32 bytes for each message of the stream, the schema's first.
//!
//! `u64 number, u64 end, u64 rows, u32 crc of the message, u32 crc of the 28 bytes before`, all little-endian: the number of the
//! message, the offset behind it, the rows up to its end. CRC-32 is that of IEEE 802.3.

/// Bytes of a record.
pub(super) const RECORD_BYTES: usize = 32;

/// What the ledger says of one message of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Number of the message; the schema is 0.
    pub(super) number: u64,
    /// Offset of the byte behind it.
    pub(super) end: u64,
    /// Rows in the stream up to here.
    pub(super) rows: u64,
    /// CRC-32 of its bytes.
    pub(super) crc: u32,
}

impl Record {
    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.end.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.rows.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.crc.to_le_bytes());
        let own = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// The record, where its checksum is right.
    pub(super) fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let record = Self { number: number(0), end: number(8), rows: number(16), crc: half(24) };
        (half(28) == crc32fast::hash(&bytes[..28])).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_seen() {
        let record = Record { number: 7, end: 1 << 40, rows: 12_345, crc: 0xdead_beef };
        let bytes = record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes), Some(record));
        for bit in 0..8 * RECORD_BYTES {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::from_bytes(&flipped), None, "bit {bit}");
        }
        assert_eq!(
            Record::from_bytes(&[0; RECORD_BYTES]),
            None,
            "what a file system leaves after a power cut"
        );
    }
}
