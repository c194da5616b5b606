#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// An entry written down byte by byte: nvme, tcp, ipv4, 192.0.2.1:4420, nqn.x, portid 7, dynamic cntlid, asqsz 32, NCC.
fn vector() -> [u8; ENTRY_LEN] {
    let mut bytes = [0; ENTRY_LEN];
    bytes[..12].copy_from_slice(&[3, 1, 2, 1, 7, 0, 0xff, 0xff, 32, 0, 4, 0]);
    bytes[32..64].copy_from_slice(b"4420                            ");
    bytes[256..261].copy_from_slice(b"nqn.x");
    bytes[512..521].copy_from_slice(b"192.0.2.1");
    bytes
}

fn header(genctr: u64, numrec: u64) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[..8].copy_from_slice(&genctr.to_le_bytes());
    bytes[8..16].copy_from_slice(&numrec.to_le_bytes());
    bytes
}

/// Reads a page through the machine from a function of offset and length.
fn read(mut device: impl FnMut(u64, usize) -> Result<Vec<u8>, String>) -> Result<LogPage, ReadError> {
    let mut reader = Reader::new();
    loop {
        match reader.step() {
            Step::Read { offset, len } => {
                assert!(len as usize <= CHUNK && len % 4 == 0);
                let answer = device(offset, len as usize);
                reader.feed(answer.as_deref().map_err(Clone::clone));
            }
            Step::Done(result) => return result,
        }
    }
}

fn page_of(entries: &[[u8; ENTRY_LEN]]) -> Vec<u8> {
    let mut bytes = header(1, entries.len() as u64);
    entries.iter().for_each(|entry| bytes.extend_from_slice(entry));
    bytes
}

fn from_bytes(bytes: &[u8]) -> Result<LogPage, ReadError> {
    read(|offset, len| {
        let offset = usize::try_from(offset).unwrap();
        let mut part = bytes.get(offset..).unwrap_or_default().to_vec();
        part.truncate(len);
        Ok(part)
    })
}

#[test]
fn an_entry_is_read_as_the_specification_lays_it_out() {
    let entry = Entry::parse(&vector()).unwrap();
    assert_eq!(entry.trtype, TrType::TCP);
    assert_eq!(entry.adrfam, AdrFam::IPV4);
    assert_eq!(entry.subtype, Subtype::NVME);
    assert!(entry.treq.requires_secure_channel());
    assert_eq!((entry.portid, entry.cntlid, entry.asqsz), (7, 0xffff, 32));
    assert!(entry.eflags.ncc() && !entry.eflags.epcsd());
    assert_eq!((entry.trsvcid.as_str(), entry.subnqn.as_str(), entry.traddr.as_str()), ("4420", "nqn.x", "192.0.2.1"));
    assert!(entry.is_usable());
}

#[test]
fn an_entry_without_an_address_is_not_usable() {
    for address in ["", "0.0.0.0", "::", "not an address"] {
        let entry = Entry { traddr: address.into(), ..Entry::parse(&vector()).unwrap() };
        assert!(!entry.is_usable(), "{address}");
    }
}

#[test]
fn malformed_entries_are_left_out_and_the_rest_counts() {
    let ones = [0xff; ENTRY_LEN];
    let mut no_end = vector();
    no_end[256..512].fill(b'n');
    let mut subtype = vector();
    subtype[2] = 9;
    let mut comma = vector();
    comma[515] = b',';
    let page = from_bytes(&page_of(&[ones, vector(), no_end, subtype, comma])).unwrap();
    assert_eq!(page.entries.len(), 1);
    let dropped: Vec<_> = page.dropped.iter().map(|malformed| malformed.index).collect();
    assert_eq!(dropped, [0, 2, 3, 4]);
}

#[test]
fn a_claim_of_2_to_the_40_records_is_refused_at_once() {
    let mut reads = 0;
    let result = read(|_, _| {
        reads += 1;
        Ok(header(1, 1 << 40))
    });
    assert_eq!(result, Err(ReadError::TooMany(1 << 40)));
    assert_eq!(reads, 1);
}

#[test]
fn a_page_that_is_shorter_than_it_claims_is_an_error() {
    let mut bytes = page_of(&[vector(), vector()]);
    bytes.truncate(HEADER_LEN + ENTRY_LEN);
    assert!(matches!(from_bytes(&bytes), Err(ReadError::Short { .. })));
}

#[test]
fn a_page_that_changes_while_it_is_read_is_read_again() {
    let mut headers = 0;
    let page = read(|offset, len| {
        if offset > 0 {
            return Ok(vector().repeat(len / ENTRY_LEN));
        }
        headers += 1;
        Ok(if headers < 3 { header(headers, 1) } else { header(9, 2) })
    })
    .unwrap();
    assert_eq!((page.genctr, page.entries.len()), (9, 2));
}

#[test]
fn a_page_that_never_rests_is_given_up_after_six_rounds() {
    let mut generation = 0;
    let result = read(|offset, len| {
        generation += 1;
        Ok(if offset > 0 { vec![0; len] } else { header(generation, 0) })
    });
    assert_eq!(result, Err(ReadError::Restless));
    assert_eq!(generation, 7);
}

#[test]
fn a_failed_command_ends_the_reading() {
    assert_eq!(read(|_, _| Err("invalid field".into())), Err(ReadError::Device("invalid field".into())));
}

#[test]
fn the_bus_shows_words_and_decimals() {
    let dict = Entry::parse(&vector()).unwrap().to_dict();
    let shown = |key: &str| dict[key].as_str();
    assert_eq!(shown("trtype"), "tcp");
    assert_eq!(shown("adrfam"), "ipv4");
    assert_eq!(shown("subtype"), "nvme");
    assert_eq!(shown("treq"), "required");
    assert_eq!(shown("cntlid"), "65535");
    assert_eq!(shown("eflags"), "4");
    assert_eq!(TrType(77).word(), "77");
    assert_eq!(Treq(4).word(), "disable sqflow");
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let codes =
        (any::<u8>(), any::<u8>(), 1..=3_u8, any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>(), any::<u16>());
    (codes, "[!-+\\--~]{0,32}", "[!-+\\--~]{1,223}", "[!-+\\--~]{0,256}").prop_map(|(c, trsvcid, subnqn, traddr)| {
        Entry {
            trtype: TrType(c.0),
            adrfam: AdrFam(c.1),
            subtype: Subtype(c.2),
            treq: Treq(c.3),
            portid: c.4,
            cntlid: c.5,
            asqsz: c.6,
            eflags: EFlags(c.7),
            trsvcid,
            subnqn,
            traddr,
        }
    })
}

proptest! {
    #[test]
    fn bytes_and_back(entry in any_entry()) {
        prop_assert_eq!(Entry::parse(&entry.to_bytes()), Ok(entry));
    }

    #[test]
    fn dictionary_and_back(entry in any_entry()) {
        prop_assert_eq!(Entry::from_dict(&entry.to_dict()), Ok(entry));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = Entry::parse(&bytes);
        let _ = Header::parse(&bytes);
        let _ = from_bytes(&bytes);
    }
}
