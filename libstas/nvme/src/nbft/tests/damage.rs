//! Malformed tables, both hand-made and random.

use proptest::prelude::*;

use super::super::*;
use super::{sealed, table, with};

fn refused(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

#[test]
fn a_table_that_is_unusable_says_why() {
    let cut = |length: usize| table()[..length].to_vec();
    for (bytes, why) in [
        (vec![], "it has 0 bytes"),
        (cut(127), "it has 127 bytes"),
        (cut(911), "the header says that it has 912 bytes, and there are 911"),
        (with(&[(4, &[100, 0, 0, 0])]), "the header says that it has 100 bytes"),
        (with(&[(4, &[0xff; 4])]), "the header says that it has 4294967295 bytes"),
        (with(&[(0, b"IBFT")]), "it starts with \"IBFT\""),
        (with(&[(0, &[0xff])]), "it starts with \"\\\\xffBFT\""),
        (with(&[(8, &[2])]), "the table has major revision 2"),
        (with(&[(65, &[2])]), "the control descriptor has major revision 2"),
        (with(&[(64, &[2])]), "has the ID 2"),
        (with(&[(40, &[0xd1])]), "the heap (448 + 465 bytes) is not inside the table"),
        (with(&[(36, &[0xff; 8])]), "the heap (4294967295 + 4294967295 bytes)"),
        (with(&[(72, &[0x71, 3])]), "the host descriptor (881 + 32 bytes) is not inside"),
        (with(&[(76, &[31])]), "the host descriptor has 31 bytes; it takes 32"),
        (with(&[(83, &[0xff])]), "the list of HFI descriptors"),
        (with(&[(92, &[127])]), "the list of SSNS descriptors has 127 bytes; it takes 128"),
        (with(&[(103, &[255])]), "the list of security descriptors (320 + 16320 bytes)"),
        (with(&[(104, &[0xff; 4])]), "the list of discovery descriptors (4294967295 + 64 bytes)"),
    ] {
        let said = refused(&bytes);
        assert!(said.contains(why), "{said:?} should say {why:?}");
    }
}

#[test]
fn a_flipped_bit_breaks_the_checksum() {
    for at in 0..table().len() {
        let mut bytes = table();
        bytes[at] ^= 0x10;
        assert!(parse(&bytes).is_err(), "byte {at}");
    }
    let mut bytes = table();
    bytes[700] ^= 1;
    assert!(refused(&bytes).starts_with("its checksum is wrong"), "{}", refused(&bytes));
}

#[test]
fn a_bad_record_costs_itself_and_is_named() {
    for (patch, why) in [
        ((202, [0xff; 4].as_slice()), "SSNS descriptor 1: its transport address (4294967295 + 16 bytes)"),
        ((202, &[0xbf, 1, 0, 0]), "SSNS descriptor 1: its transport address (447 + 16 bytes) is not inside the heap"),
        ((202, &[0x81, 3, 0, 0]), "SSNS descriptor 1: its transport address (897 + 16 bytes) is not inside the heap"),
        ((206, &[15, 0]), "SSNS descriptor 1: its transport address has 15 bytes; it takes 16"),
        ((206, &[0, 0]), "SSNS descriptor 1: its transport address is missing"),
        ((648, &[0; 16]), "SSNS descriptor 1: its transport address is missing"),
        ((664, b"44a0"), "SSNS descriptor 1: its transport service identifier is \"44a0\""),
        ((197, &[1]), "SSNS descriptor 1: its transport type is 1"),
        ((192, &[9]), "SSNS descriptor 1: it has the structure ID 9, expected is 4"),
        ((680, &[0xff]), "SSNS descriptor 1: its subsystem NQN is not text"),
        ((680, b","), "SSNS descriptor 1: its subsystem NQN is no NQN"),
        ((180, &[127]), "HFI descriptor 1: its transport information has 127 bytes; it takes 128"),
        ((449, &[2]), "HFI descriptor 1: its transport information has version 2"),
        ((448, &[9]), "HFI descriptor 1: it has the structure ID 9, expected is 7"),
        ((454, &[6]), "HFI descriptor 1: its transport information is missing"),
        ((394, &[0, 0]), "discovery descriptor 1: its address is missing"),
        ((752, b"http"), "discovery descriptor 1: its address is \"http+tcp://192.0.2.2:8009/\": it does not start"),
        ((763, b"nowhere.test"), "\"nowhere.test09\" is no IP address"),
        ((320, &[9]), "security descriptor 1: it has the structure ID 9"),
    ] {
        let nbft = parse(&with(&[patch])).unwrap();
        let said = nbft.flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(said.contains(why) && said.contains("it is ignored"), "{said:?} should say {why:?}");
        let counts = (nbft.hfi.len(), nbft.subsystem.len(), nbft.discovery.len(), nbft.security.len());
        let lost = match why.split(' ').next() {
            Some("HFI") => (0, 1, 2, 1),
            Some("SSNS") => (1, 0, 2, 1),
            Some("security") => (1, 1, 2, 0),
            _ => (1, 1, 1, 1),
        };
        assert_eq!(counts, lost, "{why}");
    }
}

#[test]
fn what_is_nice_to_know_costs_no_more_than_itself() {
    let without = |patch: (usize, &[u8])| {
        let nbft = parse(&with(&[patch])).unwrap();
        assert_eq!((nbft.flaws.len(), nbft.flaws[0].used), (1, true), "{:?}", nbft.flaws);
        nbft
    };
    assert_eq!(without((552, &[0xff; 4])).hfi[0].host_name, None);
    assert_eq!(without((240, &[0xff; 4])).subsystem[0].hfi, [1]);
    assert_eq!(without((713, &[2])).subsystem[0].extended, None);
    assert_eq!(without((146, &[0; 4])).host.unwrap().nqn, None);
    // What it requires still counts.
    let profile = without((332, &[0, 0])).security.remove(0);
    assert_eq!((profile.secure_channel, profile.authentication_protocols), (Demand::Supported, Vec::new()));
}

#[test]
fn a_reference_to_nothing_means_nothing() {
    let nbft = parse(&with(&[(238, &[7]), (200, &[7]), (387, &[7])])).unwrap();
    let said: Vec<String> = nbft.flaws.iter().map(ToString::to_string).collect();
    let expected = [
        "SSNS 1: it refers to HFI 7, which is not there",
        "SSNS 1: it refers to discovery 7, which is not there",
        "discovery 1: it refers to HFI 7, which is not there",
    ];
    assert_eq!(said, expected);
    assert_eq!(nbft.subsystem[0].hfi, [1], "the secondary one is there");
    assert_eq!((nbft.subsystem[0].discovery, nbft.discovery[0].hfi), (None, None));
}

/// Every text and every address comes from the heap of the table.
fn is_sane(nbft: &Nbft, size: usize) -> bool {
    let texts =
        nbft.subsystem.iter().map(|each| each.nqn.len()).chain(nbft.discovery.iter().map(|each| each.uri.len()));
    texts.into_iter().all(|length| length <= size)
        && nbft.subsystem.iter().all(|each| each.nqn.len() <= crate::NQN_MAX && !each.traddr.is_unspecified())
        && [nbft.hfi.len(), nbft.subsystem.len(), nbft.discovery.len(), nbft.security.len()].iter().all(|n| *n <= 255)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(parse(&bytes).is_err());
    }

    /// The envelope is valid, so that the parser reads what is inside.
    #[test]
    fn random_bytes_in_a_sound_envelope_do_no_harm(inside in proptest::collection::vec(any::<u8>(), 92..700)) {
        let mut bytes = table()[..36].to_vec();
        bytes.extend(inside);
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes[64..66].copy_from_slice(&[1, 1]);
        if let Ok(nbft) = parse(&sealed(bytes)) {
            prop_assert!(is_sane(&nbft, length as usize));
        }
    }

    #[test]
    fn a_mutated_table_does_no_harm(patches in proptest::collection::vec((10..912_usize, any::<u8>()), 1..12)) {
        let mut bytes = table();
        for (at, byte) in patches {
            bytes[at] = byte;
        }
        if let Ok(nbft) = parse(&sealed(bytes)) {
            prop_assert!(is_sane(&nbft, 912));
        }
    }

    /// Offsets, lengths and counts are what breaks parsers.
    #[test]
    fn references_that_lead_anywhere_do_no_harm(
        at in proptest::sample::select(vec![36, 40, 72, 80, 88, 96, 104, 146, 176, 202, 208, 240, 246, 252, 332, 344, 350,
            356, 390, 396, 552, 724]),
        offset: u32, near in 0..1000_u32, is_near: bool, length: u16,
    ) {
        let mut bytes = table();
        bytes[at..at + 4].copy_from_slice(&(if is_near { near } else { offset }).to_le_bytes());
        bytes[at + 4..at + 6].copy_from_slice(&length.to_le_bytes());
        if let Ok(nbft) = parse(&sealed(bytes)) {
            prop_assert!(is_sane(&nbft, 912));
        }
    }

    #[test]
    fn a_table_that_was_cut_off_is_refused(length in 0..912_usize) {
        prop_assert!(parse(&table()[..length]).is_err());
    }

    #[test]
    fn any_text_for_a_uri_does_no_harm(text in "(nvme\\+tcp://)?[\\[\\]:./a-f0-9%@#? -]{0,40}") {
        if let Ok(place) = super::super::address::place(&text) {
            prop_assert!(place.trsvcid.parse::<u16>().is_ok_and(|port| port > 0));
        }
    }
}
