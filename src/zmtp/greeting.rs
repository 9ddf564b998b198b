//! The 64 bytes with which both sides begin.
//!
//! Format: `ff`, 8 bytes that do not matter, `7f`; version major and minor; mechanism, 20 bytes padded with zeros;
//! whether it is a server; 31 zeros. They are judged as they come: a peer of an older protocol waits after the first
//! ten, and a client of another protocol may send no more than a line.

use super::ZmtpError;

/// Its length.
pub(super) const GREETING_BYTES: usize = 64;

const MECHANISM: std::ops::Range<usize> = 12..32;

/// What we say: ZMTP 3.1, NULL.
pub(super) fn greeting() -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = 1;
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

/// Judges what is there of the peer's; `Some` with its minor version once it is whole.
///
/// # Errors
/// As soon as it is clear that the peer cannot be talked to.
pub(super) fn minor_version(start: &[u8]) -> Result<Option<u8>, ZmtpError> {
    let begun = |index: usize, good: fn(u8) -> bool| start.get(index).is_none_or(|byte| good(*byte));
    if !begun(0, |byte| byte == 0xff) || !begun(9, |byte| byte == 0x7f) {
        let shown = &start[..start.len().min(16)];
        return Err(ZmtpError::Foreign(format!("\"{}\"", shown.escape_ascii())));
    }
    if let Some(major) = start.get(10).filter(|major| **major < 3) {
        return Err(ZmtpError::Version(*major));
    }
    if let Some(mechanism) = start.get(MECHANISM) {
        let name = mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
        if name != b"NULL" {
            return Err(ZmtpError::Mechanism(name.escape_ascii().to_string()));
        }
    }
    Ok((start.len() >= GREETING_BYTES).then(|| start[11]))
}
