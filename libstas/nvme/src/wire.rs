//! Reads and writes fixed fields: little-endian numbers and padded text (NVMe Base 2.1, 1.4.2).
//!
//! Nothing here panics: a field outside the bytes is `None`.

/// `N` bytes at an offset.
#[must_use]
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// One byte at an offset.
#[must_use]
pub fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// A little-endian 16-bit number at an offset.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// A little-endian 32-bit number at an offset.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// A little-endian 64-bit number at an offset.
#[must_use]
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// The text of a field: everything before the first NUL, without the padding spaces around it. Other white space is
/// kept.
#[must_use]
pub fn trimmed(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = field.get(..end).unwrap_or(field);
    let first = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
    let last = text.iter().rposition(|byte| *byte != b' ').map_or(first, |last| last + 1);
    text.get(first..last).unwrap_or_default()
}

/// Copies as much of `text` as fits into the field. The rest of the field is unchanged.
pub fn put(field: &mut [u8], text: &[u8]) {
    field.iter_mut().zip(text).for_each(|(slot, byte)| *slot = *byte);
}
