use super::*;

fn flaw(change: impl FnOnce(&mut [u8; ENTRY_LEN])) -> EntryError {
    let mut bytes = vector();
    change(&mut bytes);
    Entry::parse(&bytes).unwrap_err()
}

fn changed(change: impl FnOnce(&mut [u8; ENTRY_LEN])) -> Entry {
    let mut bytes = vector();
    change(&mut bytes);
    Entry::parse(&bytes).unwrap()
}

#[test]
fn an_entry_is_read_field_by_field() {
    let entry = Entry::parse(&vector()).unwrap();
    let expected = Entry {
        trtype: TrType::TCP,
        adrfam: AdrFam::IPV4,
        subtype: Subtype::NVME,
        treq: Treq::DISABLE_SQFLOW,
        portid: 1,
        cntlid: 0xffff,
        asqsz: 32,
        eflags: EFlags(6),
        trsvcid: "4420".into(),
        subnqn: "klingons".into(),
        traddr: "192.0.2.1".into(),
        tsas: Tsas::Tcp { sectype: SecType::TLS13 },
    };
    assert_eq!(entry, expected);
    assert!(entry.eflags.epcsd() && entry.eflags.ncc() && !entry.eflags.duplicate_information());
    assert!(entry.treq.can_disable_sqflow() && !entry.treq.requires_secure_channel());
    assert_eq!(entry.transport(), Some(crate::Transport::Tcp));
}

#[test]
fn rdma_has_its_own_specific_address_subtype() {
    let entry = changed(|bytes| {
        bytes[0] = 1;
        bytes[768..778].copy_from_slice(&[1, 4, 1, 0, 0, 0, 0, 0, 0xff, 0x7f]);
    });
    assert_eq!(entry.tsas, Tsas::Rdma { qptype: 1, prtype: 4, cms: 1, pkey: 0x7fff });
}

#[test]
fn an_unknown_transport_is_kept_and_leads_nowhere() {
    let entry = changed(|bytes| bytes[0] = 77);
    assert_eq!((entry.trtype.to_string().as_str(), entry.transport()), ("77", None));
    assert_eq!(entry.tsas, Tsas::Raw(vec![2]));
}

#[test]
fn what_follows_the_first_nul_is_not_part_of_a_text() {
    let entry = changed(|bytes| bytes[512..532].copy_from_slice(b"fe80::1%eth0\0,\n\xffrest"));
    assert_eq!(entry.traddr, "fe80::1%eth0");
}

#[test]
fn spaces_around_a_text_are_padding_and_a_line_feed_is_not() {
    let entry = changed(|bytes| bytes[512..526].copy_from_slice(b"  192.0.2.1   "));
    assert_eq!(entry.traddr, "192.0.2.1");
    let flaw = flaw(|bytes| bytes[512..522].copy_from_slice(b"192.0.2.1\n"));
    assert_eq!(flaw, EntryError::Byte { field: Field::Traddr, byte: b'\n' });
}

#[test]
fn a_field_that_is_full_needs_no_nul() {
    let entry = changed(|bytes| {
        bytes[32..64].fill(b'7');
        bytes[512..768].fill(b'a');
    });
    assert_eq!((entry.trsvcid.len(), entry.traddr.len()), (32, 256));
}

#[test]
fn an_nqn_has_at_most_223_bytes() {
    assert_eq!(changed(|bytes| bytes[256..479].fill(b'n')).subnqn.len(), 223);
    assert_eq!(flaw(|bytes| bytes[256..480].fill(b'n')), EntryError::TooLong { field: Field::Subnqn, len: 224 });
    assert_eq!(flaw(|bytes| bytes[256..512].fill(b'n')), EntryError::TooLong { field: Field::Subnqn, len: 256 });
}

#[test]
fn bytes_that_could_change_the_meaning_elsewhere_are_refused() {
    for byte in [b',', b'\n', 0x1b, 0x7f, 0x80, 0xff] {
        assert_eq!(flaw(|bytes| bytes[258] = byte), EntryError::Byte { field: Field::Subnqn, byte });
        assert_eq!(flaw(|bytes| bytes[514] = byte), EntryError::Byte { field: Field::Traddr, byte });
        assert_eq!(flaw(|bytes| bytes[34] = byte), EntryError::Byte { field: Field::Trsvcid, byte });
    }
}

#[test]
fn an_entry_without_meaning_is_refused_with_its_reason() {
    assert_eq!(flaw(|bytes| bytes.fill(0xff)), EntryError::Subtype(0xff));
    assert_eq!(flaw(|bytes| bytes.fill(0)), EntryError::Blank);
    assert_eq!(flaw(|bytes| bytes[2] = 0), EntryError::Subtype(0));
    assert_eq!(flaw(|bytes| bytes[2] = 4), EntryError::Subtype(4));
    assert_eq!(flaw(|bytes| bytes[256..265].fill(0)), EntryError::NoNqn);
    let referral = changed(|bytes| {
        bytes[2] = 1;
        bytes[256..265].fill(0);
    });
    assert_eq!(referral.subnqn, "", "every discovery controller answers to the well-known NQN");
    assert_eq!(Entry::parse(&vector()[..1023]), Err(EntryError::Short(1023)));
}

#[test]
fn a_flaw_says_what_is_wrong_and_what_is_allowed() {
    let said = |flaw: EntryError| flaw.to_string();
    assert_eq!(said(EntryError::Subtype(9)), "subtype is 9; 1 (referral), 2 (nvme) and 3 (discovery) are defined");
    assert_eq!(
        said(EntryError::TooLong { field: Field::Subnqn, len: 256 }),
        "subnqn has 256 bytes; at most 223 are allowed"
    );
    assert_eq!(
        Malformed::new(7, EntryError::Byte { field: Field::Traddr, byte: 10 }, &[]).to_string(),
        "entry 7: traddr contains the byte 0x0a; printable ASCII without commas is allowed"
    );
    let nqn = said(EntryError::Byte { field: Field::Subnqn, byte: 0xff });
    assert_eq!(nqn, "subnqn contains the byte 0xff; UTF-8 without commas and control characters is allowed");
}

#[test]
fn an_nqn_is_utf_8() {
    for nqn in ["nqn.2014-08.org.nvmexpress:café", "Größe", "名前", "two words"] {
        let entry = changed(|bytes| bytes[256..256 + nqn.len()].copy_from_slice(nqn.as_bytes()));
        assert_eq!(&entry.subnqn[..nqn.len()], nqn);
    }
    let long = format!("{}é", "n".repeat(221));
    assert_eq!(changed(|bytes| bytes[256..479].copy_from_slice(long.as_bytes())).subnqn, long);
    let cut = flaw(|bytes| bytes[256..259].copy_from_slice(b"caf\xc3".get(1..).unwrap()));
    assert_eq!(cut, EntryError::Byte { field: Field::Subnqn, byte: 0xc3 });
    let control = flaw(|bytes| bytes[256..258].copy_from_slice("\u{85}".as_bytes()));
    assert_eq!(control, EntryError::Byte { field: Field::Subnqn, byte: 0xc2 });
}

#[test]
fn an_nqn_with_a_nul_inside_is_refused_and_one_that_is_padded_is_not() {
    assert_eq!(flaw(|bytes| bytes[266] = b'x'), EntryError::Nul { before: "klingons".into() });
    assert_eq!(changed(|bytes| bytes[265..512].fill(b' ')).subnqn, "klingons");
}

#[test]
fn the_dictionary_has_the_words_of_nvme_stas() {
    let dict = Entry::parse(&vector()).unwrap().to_dict();
    let expected = [
        ("adrfam", "ipv4"),
        ("asqsz", "32"),
        ("cntlid", "65535"),
        ("eflags", "6"),
        ("portid", "1"),
        ("sectype", "tls13"),
        ("subnqn", "klingons"),
        ("subtype", "nvme"),
        ("traddr", "192.0.2.1"),
        ("treq", "disable sqflow"),
        ("trsvcid", "4420"),
        ("trtype", "tcp"),
    ];
    let found: Vec<_> = dict.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_dictionary_of_nvme_stas_is_read() {
    let dict = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let least = [("trtype", "fc"), ("traddr", "nn-0x1:pn-0x2"), ("trsvcid", ""), ("subnqn", "a"), ("subtype", "nvme")];
    let entry = Entry::from_dict(&dict(&least)).unwrap();
    assert_eq!((entry.trtype, entry.eflags, entry.cntlid), (TrType::FC, EFlags(0), 0));

    let refused = |key: &str, value: &str| {
        let mut dict: std::collections::BTreeMap<String, String> = dict(&least);
        dict.insert(key.into(), value.into());
        Entry::from_dict(&dict).unwrap_err()
    };
    assert_eq!(refused("trtype", "tpc"), DictError::Value { key: "trtype", value: "tpc".into() });
    assert_eq!(refused("cntlid", "65536"), DictError::Value { key: "cntlid", value: "65536".into() });
    assert_eq!(refused("subtype", "7"), DictError::Entry(EntryError::Subtype(7)));
    assert_eq!(refused("subnqn", " "), DictError::Entry(EntryError::NoNqn));
    assert_eq!(refused("traddr", "a,b"), DictError::Entry(EntryError::Byte { field: Field::Traddr, byte: b',' }));
    assert_eq!(Entry::from_dict(&dict(&least[1..])), Err(DictError::Missing("trtype")));
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(entry in any_entry()) {
        prop_assert_eq!(Entry::parse(&entry.encode()), Ok(entry));
    }

    #[test]
    fn the_dictionary_loses_nothing_but_what_is_specific_to_other_transports_than_tcp(entry in any_entry()) {
        let tsas = entry.sectype().map_or(Tsas::None, |sectype| Tsas::Tcp { sectype });
        prop_assert_eq!(Entry::from_dict(&entry.to_dict()), Ok(Entry { tsas, ..entry }));
    }

    #[test]
    fn saved_entries_are_read_back(entry in any_entry()) {
        let saved = serde_json::to_string(&entry).unwrap();
        prop_assert_eq!(serde_json::from_str::<Entry>(&saved).unwrap(), entry);
    }

    #[test]
    fn any_bytes_are_an_entry_of_clean_text_or_a_flaw(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..1100),
        subtype in 0..5_u8,
    ) {
        if let Some(byte) = bytes.get_mut(2) {
            *byte = subtype;
        }
        if let Ok(entry) = Entry::parse(&bytes) {
            for text in [&entry.trsvcid, &entry.traddr] {
                prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b','));
                prop_assert_eq!(text.trim(), text);
            }
            prop_assert!(!entry.subnqn.contains(|c: char| c == ',' || c.is_control()));
            prop_assert!(entry.subnqn.len() <= 223);
        }
    }

    #[test]
    fn any_byte_changed_in_a_good_entry_is_an_entry_or_a_flaw(at in 0..ENTRY_LEN, byte: u8) {
        let mut bytes = vector();
        bytes[at] = byte;
        if let Ok(entry) = Entry::parse(&bytes) {
            prop_assert_eq!(Entry::parse(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn words_of_coded_fields_are_read_back(number: u8) {
        prop_assert_eq!(TrType(number).to_string().parse(), Ok(TrType(number)));
        prop_assert_eq!(AdrFam(number).to_string().parse(), Ok(AdrFam(number)));
        prop_assert_eq!(Subtype(number).to_string().parse(), Ok(Subtype(number)));
        prop_assert_eq!(Treq(number).to_string().parse(), Ok(Treq(number)));
    }
}
