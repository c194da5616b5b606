//! Tests of the discovery log page: vectors written down from the specification, and properties.
#![allow(clippy::unwrap_used)]

mod entry;
mod reader;
mod target;
mod unclear;

use proptest::prelude::*;

use super::*;

/// What nvmet answers for one subsystem behind 192.0.2.1:4420, byte by byte.
fn vector() -> [u8; ENTRY_LEN] {
    let mut bytes = [0; ENTRY_LEN];
    bytes[0] = 3; // TRTYPE: tcp
    bytes[1] = 1; // ADRFAM: IPv4
    bytes[2] = 2; // SUBTYPE: NVM subsystem
    bytes[3] = 4; // TREQ: SQ flow control may be off
    bytes[4..6].copy_from_slice(&[0x01, 0x00]); // PORTID
    bytes[6..8].copy_from_slice(&[0xff, 0xff]); // CNTLID: dynamic
    bytes[8..10].copy_from_slice(&[0x20, 0x00]); // ASQSZ: 32
    bytes[10..12].copy_from_slice(&[0x06, 0x00]); // EFLAGS: EPCSD, NCC
    bytes[32..64].fill(b' '); // TRSVCID, padded with spaces
    bytes[32..36].copy_from_slice(b"4420");
    bytes[256..265].copy_from_slice(b"klingons\0"); // SUBNQN, padded with NUL
    bytes[512..521].copy_from_slice(b"192.0.2.1"); // TRADDR
    bytes[768] = 2; // TSAS: TLS 1.3
    bytes
}

/// Any text that an entry may have: printable, without the comma that separates options.
fn printable(len: std::ops::Range<usize>) -> impl Strategy<Value = String> + Clone {
    proptest::collection::vec(prop_oneof![b'!'..=b'+', b'-'..=b'~'], len)
        .prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

fn tsas(trtype: TrType) -> BoxedStrategy<Tsas> {
    match trtype {
        TrType::TCP => any::<u8>().prop_map(|sectype| Tsas::Tcp { sectype: SecType(sectype) }).boxed(),
        TrType::RDMA => any::<(u8, u8, u8, u16)>()
            .prop_map(|(qptype, prtype, cms, pkey)| Tsas::Rdma { qptype, prtype, cms, pkey })
            .boxed(),
        _ => (proptest::collection::vec(any::<u8>(), 0..255), 1..=255_u8)
            .prop_map(|(mut bytes, last)| {
                bytes.push(last);
                Tsas::Raw(bytes)
            })
            .boxed()
            .prop_union(Just(Tsas::None).boxed())
            .boxed(),
    }
}

/// Any entry that a page may carry.
fn any_entry() -> impl Strategy<Value = Entry> {
    let trtype = prop_oneof![3 => prop::sample::select(vec![1, 2, 3, 254]), 1 => any::<u8>()].prop_map(TrType);
    let numbers = (any::<(u8, u8)>(), 1..=3_u8, any::<(u16, u16, u16, u16)>());
    let texts = (printable(0..33), printable(1..224), printable(0..257));
    trtype.prop_flat_map(|trtype| (Just(trtype), tsas(trtype))).prop_flat_map(move |(trtype, tsas)| {
        (numbers.clone(), texts.clone()).prop_map(
            move |(((adrfam, treq), subtype, (portid, cntlid, asqsz, eflags)), (trsvcid, subnqn, traddr))| Entry {
                trtype,
                adrfam: AdrFam(adrfam),
                subtype: Subtype(subtype),
                treq: Treq(treq),
                portid,
                cntlid,
                asqsz,
                eflags: EFlags(eflags),
                trsvcid,
                subnqn,
                traddr,
                tsas: tsas.clone(),
            },
        )
    })
}
