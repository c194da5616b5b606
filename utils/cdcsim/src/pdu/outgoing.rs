//! Encodes the PDUs of a controller.

use stas_nvme::wire::put;

use super::{Digests, IC_LEN, MAX_C2H_DATA, MAX_H2C_DATA, SHORT_LEN, digest, flag, kind};
use crate::pdu::Fatal;

/// ICResp: PDU format version 0, no alignment of data, these digests, MAXH2CDATA.
#[must_use]
pub fn ic_response(digests: Digests) -> Vec<u8> {
    let mut pdu = vec![0; IC_LEN];
    put(&mut pdu, &[kind::IC_RESP, 0, IC_LEN as u8, 0]);
    put(&mut pdu[4..8], &(IC_LEN as u32).to_le_bytes());
    pdu[11] = digests.bits();
    put(&mut pdu[12..16], &MAX_H2C_DATA.to_le_bytes());
    pdu
}

/// A response capsule with this completion queue entry.
#[must_use]
pub fn response(digests: Digests, entry: &[u8; 16]) -> Vec<u8> {
    pdu(digests, kind::RESPONSE, 0, entry, &[])
}

/// Ready to transfer: requests `len` bytes of the command `cid` from `offset` on, with the tag `ttag`.
#[must_use]
pub fn ready_to_transfer(digests: Digests, cid: u16, ttag: u16, offset: u32, len: u32) -> Vec<u8> {
    let mut specific = [0; 16];
    put(&mut specific[0..2], &cid.to_le_bytes());
    put(&mut specific[2..4], &ttag.to_le_bytes());
    put(&mut specific[4..8], &offset.to_le_bytes());
    put(&mut specific[8..12], &len.to_le_bytes());
    pdu(digests, kind::R2T, 0, &specific, &[])
}

/// The data of the command `cid`, in as many PDUs as needed; the last one is marked. The response follows in a separate
/// capsule.
#[must_use]
pub fn data(digests: Digests, cid: u16, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + SHORT_LEN + 8);
    let mut offset = 0;
    for piece in data.chunks(MAX_C2H_DATA) {
        let mut specific = [0; 16];
        put(&mut specific[0..2], &cid.to_le_bytes());
        put(&mut specific[4..8], &u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes());
        put(&mut specific[8..12], &u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes());
        offset += piece.len();
        let last = if offset == data.len() { flag::LAST } else { 0 };
        out.extend(pdu(digests, kind::C2H_DATA, last, &specific, piece));
    }
    out
}

/// C2HTermReq: terminates the connection for this reason. It has no digest.
#[must_use]
pub fn terminate(fatal: &Fatal) -> Vec<u8> {
    let mut out = vec![0; SHORT_LEN];
    put(&mut out, &[kind::C2H_TERM, 0, SHORT_LEN as u8, 0]);
    let length = u32::try_from(SHORT_LEN + fatal.header.len()).unwrap_or(u32::MAX);
    put(&mut out[4..8], &length.to_le_bytes());
    put(&mut out[8..10], &fatal.status.number().to_le_bytes());
    put(&mut out[10..14], &fatal.information.to_le_bytes());
    out.extend(&fatal.header);
    out
}

/// A PDU with a header of 24 bytes, and its digests.
fn pdu(digests: Digests, kind: u8, flags: u8, specific: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let header_digest = if digests.header { 4 } else { 0 };
    let with_digest = digests.data && !data.is_empty();
    let offset = if data.is_empty() { 0 } else { SHORT_LEN + header_digest };
    let length = SHORT_LEN + header_digest + data.len() + if with_digest { 4 } else { 0 };
    let mut flags = flags;
    flags |= if digests.header { flag::HEADER_DIGEST } else { 0 };
    flags |= if with_digest { flag::DATA_DIGEST } else { 0 };
    let mut out = Vec::with_capacity(length);
    out.extend([kind, flags, SHORT_LEN as u8, u8::try_from(offset).unwrap_or_default()]);
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(specific);
    if digests.header {
        out.extend(digest(&out));
    }
    out.extend(data);
    if with_digest {
        out.extend(digest(data));
    }
    out
}
