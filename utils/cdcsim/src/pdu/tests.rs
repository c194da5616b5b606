//! PDUs compared with bytes from the specification, and properties.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::incoming::FatalStatus;
use super::*;

const BOTH: Digests = Digests { header: true, data: true };
const NONE: Digests = Digests { header: false, data: false };

/// CRC32C bit by bit, as defined in RFC 3720: an independent computation checks the digests.
fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut value = u32::MAX;
    for byte in bytes {
        value ^= u32::from(*byte);
        for _ in 0..8 {
            value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
        }
    }
    (!value).to_le_bytes()
}

/// ICReq of a host that wants both digests: 128 bytes.
fn ic_request() -> Vec<u8> {
    let mut pdu = vec![0; 128];
    pdu[0..8].copy_from_slice(&[0x00, 0x00, 0x80, 0x00, 0x80, 0x00, 0x00, 0x00]); // type, flags, HLEN, PDO, PLEN
    pdu[8..16].copy_from_slice(&[0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00]); // PFV, HPDA, DGST, MAXR2T
    pdu
}

/// A command capsule with eight bytes of data and both digests.
fn capsule() -> Vec<u8> {
    let mut pdu = vec![0; 72];
    // Type 4, HDGSTF and DDGSTF, HLEN 72, PDO 76, PLEN 88.
    pdu[0..8].copy_from_slice(&[0x04, 0x03, 0x48, 0x4c, 0x58, 0x00, 0x00, 0x00]);
    pdu[8] = 0x21; // the opcode
    let header_digest = crc(&pdu);
    pdu.extend(header_digest);
    pdu.extend(*b"12345678");
    pdu.extend(crc(b"12345678"));
    pdu
}

fn framer(digests: Digests, bytes: &[u8]) -> Framer {
    let mut framer = Framer::default();
    framer.agree(digests);
    framer.push(bytes);
    framer
}

fn fatal(digests: Digests, bytes: &[u8]) -> (FatalStatus, u32) {
    let fatal = framer(digests, bytes).next_pdu().unwrap_err();
    (fatal.status, fatal.information)
}

#[test]
fn the_digest_is_that_of_the_specification() {
    // RFC 3720, B.4: 32 bytes of zeros, of ones, counting up.
    assert_eq!(digest(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
    assert_eq!(digest(&[0xff; 32]), [0x43, 0xab, 0xa8, 0x62]);
    assert_eq!(digest(&(0..32).collect::<Vec<u8>>()), [0x4e, 0x79, 0xdd, 0x46]);
    assert_eq!(digest(b"123456789"), crc(b"123456789"));
}

#[test]
fn a_connection_is_initialized_with_the_digests_that_the_host_wants() {
    let initialize = Incoming::Initialize { version: 0, digests: BOTH };
    assert_eq!(framer(NONE, &ic_request()).next_pdu(), Ok(Some(initialize)));
    let answer = outgoing::ic_response(BOTH);
    assert_eq!(answer.len(), 128);
    assert_eq!(answer[..16], [0x01, 0, 0x80, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x03, 0, 0, 1, 0]);
    assert!(answer[16..].iter().all(|byte| *byte == 0));
    assert_eq!(outgoing::ic_response(Digests { header: false, data: true })[11], 2);
}

#[test]
fn a_capsule_is_read_with_its_data_and_its_digests() {
    let Some(Incoming::Command { entry, data }) = framer(BOTH, &capsule()).next_pdu().unwrap() else {
        panic!("no command")
    };
    assert_eq!((entry[0], data.as_deref()), (0x21, Some(&b"12345678"[..])));
    // A data error fails the command, a header error the connection.
    let mut hurt = capsule();
    hurt[76] ^= 1;
    assert!(matches!(framer(BOTH, &hurt).next_pdu(), Ok(Some(Incoming::Command { data: None, .. }))));
    let mut hurt = capsule();
    hurt[40] ^= 1;
    let came = u32::from_le_bytes(hurt[72..76].try_into().unwrap());
    assert_eq!(fatal(BOTH, &hurt), (FatalStatus::HeaderDigest, came));
}

#[test]
fn a_response_is_written_byte_by_byte_as_specified() {
    let entry: [u8; 16] = std::array::from_fn(|at| at as u8);
    let mut expected = vec![0x05, 0x00, 0x18, 0x00, 0x18, 0, 0, 0];
    expected.extend(entry);
    assert_eq!(outgoing::response(NONE, &entry), expected);
    expected[1] = 0x01; // HDGSTF alone: there are no data
    expected[4] = 0x1c;
    expected.extend(crc(&expected));
    assert_eq!(outgoing::response(BOTH, &entry), expected);
}

#[test]
fn data_are_written_byte_by_byte_as_specified() {
    let mut expected = vec![0x07, 0x07, 0x18, 0x1c, 0x24, 0, 0, 0]; // LAST, both digests; PDO 28; PLEN 36
    expected.extend([0x34, 0x12, 0, 0]); // CCCID, reserved
    expected.extend([0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]); // DATAO, DATAL, reserved
    expected.extend(crc(&expected));
    expected.extend(*b"abcd");
    expected.extend(crc(b"abcd"));
    assert_eq!(outgoing::data(BOTH, 0x1234, b"abcd"), expected);
}

#[test]
fn more_data_than_one_pdu_carries_come_in_several_the_last_one_marked() {
    let pdus = outgoing::data(NONE, 1, &vec![7; MAX_C2H_DATA + 4]);
    assert_eq!(pdus.len(), 2 * 24 + MAX_C2H_DATA + 4);
    let second = &pdus[24 + MAX_C2H_DATA..];
    assert_eq!((pdus[1], second[1]), (0, flag::LAST));
    assert_eq!((&second[12..16], &second[16..20]), (&[0, 0, 1, 0][..], &[4, 0, 0, 0][..]));
    assert!(outgoing::data(NONE, 1, &[]).is_empty());
}

#[test]
fn data_are_asked_for_byte_by_byte_as_specified() {
    let mut expected = vec![0x09, 0x00, 0x18, 0x00, 0x18, 0, 0, 0, 0x34, 0x12, 0x78, 0x56];
    expected.extend([0x10, 0, 0, 0, 0x00, 0x20, 0, 0, 0, 0, 0, 0]); // R2TO, R2TL, reserved
    assert_eq!(outgoing::ready_to_transfer(NONE, 0x1234, 0x5678, 16, 8192), expected);
    let mut data = vec![0x06, 0x04, 0x18, 0x18, 0x1c, 0, 0, 0, 0x34, 0x12, 0x78, 0x56];
    data.extend([0x10, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    data.extend(*b"abcd");
    let expected = Incoming::Data { cid: 0x1234, ttag: 0x5678, offset: 16, data: Some(b"abcd".to_vec()), last: true };
    assert_eq!(framer(NONE, &data).next_pdu(), Ok(Some(expected)));
    data[16] = 5;
    assert_eq!(fatal(NONE, &data), (FatalStatus::InvalidHeaderField, 16));
}

#[test]
fn a_connection_is_terminated_with_a_reason() {
    let fatal = Fatal { status: FatalStatus::InvalidHeaderField, information: 2, header: vec![9; 8] };
    let mut expected = vec![0x03, 0x00, 0x18, 0x00, 0x20, 0, 0, 0, 0x01, 0x00, 0x02, 0, 0, 0];
    expected.resize(24, 0);
    expected.extend([9; 8]);
    assert_eq!(outgoing::terminate(&fatal), expected);
    let mut host = expected;
    host[0] = 0x02;
    assert_eq!(framer(BOTH, &host).next_pdu(), Ok(Some(Incoming::Terminate { status: 1, information: 2 })));
}

#[test]
fn what_no_host_may_send_ends_the_connection_before_it_is_waited_for() {
    let with = |at: usize, byte: u8| {
        let mut pdu = capsule();
        pdu[at] = byte;
        fatal(BOTH, &pdu[..8])
    };
    let invalid = |at| (FatalStatus::InvalidHeaderField, at);
    assert_eq!(with(0, 0x05), invalid(0)); // a response
    assert_eq!(with(0, 0x08), invalid(0)); // reserved
    assert_eq!(with(1, 0x02), invalid(1)); // no header digest
    assert_eq!(with(1, 0x01), invalid(1)); // no data digest
    assert_eq!(with(2, 0x40), invalid(2));
    assert_eq!(with(3, 0x48), invalid(3)); // in the header digest
    assert_eq!(with(3, 0x4d), invalid(3)); // no dword
    assert_eq!(with(4, 0x40), invalid(4)); // shorter than the header
    assert_eq!(with(4, 0x50), invalid(4)); // nothing between PDO and the digest
    assert_eq!(with(6, 0x01), invalid(4)); // 64 KiB
    assert_eq!(with(7, 0xff), invalid(4)); // 4 GiB
    let data = [0x06, 0x00, 0x18, 0x18, 0x1c, 0x00, 0x01, 0x00];
    assert_eq!(fatal(NONE, &data), (FatalStatus::DataLimit, 4));
}

proptest! {
    #[test]
    fn pdus_are_found_however_the_stream_is_cut(cuts in proptest::collection::vec(1..90_usize, 1..20)) {
        let mut framer = framer(BOTH, &[]);
        let stream = capsule().repeat(5);
        let (mut rest, mut found) = (stream.as_slice(), 0);
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            framer.push(piece);
            while framer.next_pdu().unwrap().is_some() {
                found += 1;
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, 5);
    }

    #[test]
    fn any_bytes_are_pdus_or_a_reason_to_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), bits in 0..4_u8) {
        let mut framer = framer(Digests::from_bits(bits), &bytes);
        while let Ok(Some(_)) = framer.next_pdu() {}
    }

    #[test]
    fn a_capsule_with_some_bytes_changed_does_no_harm(
        changes in proptest::collection::vec((0..88_usize, any::<u8>()), 1..6),
        bits in 0..4_u8,
    ) {
        let mut pdu = capsule();
        for (at, byte) in changes {
            pdu[at] = byte;
        }
        let mut framer = framer(Digests::from_bits(bits), &pdu);
        while let Ok(Some(_)) = framer.next_pdu() {}
    }
}
