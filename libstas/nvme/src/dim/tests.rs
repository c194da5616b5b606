#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn registration() -> Registration {
    Registration {
        host_nqn: "nqn.2014-08.org.nvmexpress:uuid:01234567-89ab-cdef-0123-456789abcdef".into(),
        host_id: [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
        name: "host.example".into(),
        version: "Debian 13".into(),
        symbolic_name: Some("rack 7".into()),
        trtype: TrType::TCP,
        adrfam: AdrFam::IPV4,
        traddr: String::new(),
    }
}

/// The bytes of [`registration`], written down from the specification.
fn vector() -> Vec<u8> {
    let nqn = b"nqn.2014-08.org.nvmexpress:uuid:01234567-89ab-cdef-0123-456789abcdef";
    let mut data = vec![0; 1024 + 1032 + 20 + 12];
    data[0..4].copy_from_slice(&[0x28, 0x08, 0x00, 0x00]); // TDL: 2088
    data[8..16].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]); // NUMENT
    data[16..18].copy_from_slice(&[2, 0]); // ENTFMT: extended
    data[18..20].copy_from_slice(&[1, 0]); // ETYPE: host
    data[20] = 0; // PORTLCL
    data[22..24].copy_from_slice(&[0x5f, 0]); // EKTYPE: TRADDR based
    data[24..24 + nqn.len()].copy_from_slice(nqn); // EID
    data[280..536].fill(b' ');
    data[280..292].copy_from_slice(b"host.example"); // ENAME
    data[536..600].fill(b' ');
    data[536..545].copy_from_slice(b"Debian 13"); // EVER
    let entry = &mut data[1024..];
    entry[0] = 3; // TRTYPE: tcp
    entry[1] = 1; // ADRFAM: IPv4
    entry[256..256 + nqn.len()].copy_from_slice(nqn); // NQN
    entry[1024..1028].copy_from_slice(&[0x28, 0x04, 0x00, 0x00]); // TEL: 1064
    entry[1028..1030].copy_from_slice(&[2, 0]); // NUMEXAT
    entry[1032..1036].copy_from_slice(&[1, 0, 16, 0]); // EXATTYPE: host identifier, EXATLEN
    entry[1036..1052].copy_from_slice(b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
    entry[1052..1056].copy_from_slice(&[2, 0, 8, 0]); // EXATTYPE: symbolic name, EXATLEN
    entry[1056..1064].copy_from_slice(b"rack 7  ");
    data
}

fn refused(change: impl FnOnce(&mut Vec<u8>)) -> DimError {
    let mut data = vector();
    change(&mut data);
    Registration::parse(&data).unwrap_err()
}

#[test]
fn a_registration_is_written_byte_by_byte_as_specified() {
    let (written, expected) = (registration().encode(), vector());
    let first_difference = written.iter().zip(&expected).position(|(one, other)| one != other);
    assert_eq!((first_difference, written.len()), (None, expected.len()));
    assert_eq!(Registration::parse(&expected), Ok(registration()));
}

#[test]
fn a_host_without_a_symbolic_name_has_one_attribute() {
    for symbolic_name in [None, Some(String::new())] {
        let data = Registration { symbolic_name, ..registration() }.encode();
        assert_eq!(data.len(), 1024 + 1032 + 20);
        assert_eq!(data[1024 + 1028], 1);
        assert_eq!(Registration::parse(&data).unwrap().symbolic_name, None);
    }
}

#[test]
fn what_does_not_fit_is_cut_and_what_is_not_ascii_is_asked_about() {
    let data = Registration {
        host_nqn: "n".repeat(300),
        name: "ö\n".repeat(200),
        version: "v".repeat(100),
        symbolic_name: Some("s".repeat(300)),
        ..registration()
    }
    .encode();
    let read = Registration::parse(&data).unwrap();
    assert_eq!((read.host_nqn.len(), read.name, read.version.len()), (223, "?".repeat(256), 64));
    assert_eq!(read.symbolic_name.unwrap().len(), SYMBOLIC_NAME_MAX);
}

#[test]
fn what_a_host_must_not_send_is_refused() {
    let value = |field, value| DimError::Value { field, value };
    assert_eq!(refused(|data| data[0] += 4), DimError::Short("TDL"));
    assert_eq!(refused(|data| data[8] = 2), value("NUMENT", 2));
    assert_eq!(refused(|data| data[16] = 1), value("ENTFMT", 1));
    assert_eq!(refused(|data| data[18] = 2), value("ETYPE", 2));
    assert_eq!(refused(|data| data[20] = 1), value("PORTLCL", 1));
    assert_eq!(refused(|data| data[22] = 0x3f), value("EKTYPE", 0x3f));
    assert_eq!(refused(|data| data[24] = 0x1b), DimError::Text("EID"));
    assert_eq!(refused(|data| data[1024 + 256] = b'x'), DimError::OtherNqn);
    assert_eq!(refused(|data| data[1024 + 1024] = 0), value("TEL", 0x400));
    assert_eq!(refused(|data| data[1024 + 1028] = 0), DimError::NoHostId);
    assert_eq!(refused(|data| data[1024 + 1028] = 3), DimError::Short("EXATTYPE"));
    assert_eq!(refused(|data| data[1024 + 1034] = 12), value("EXATLEN", 12));
    assert_eq!(refused(|data| data[1024 + 1054] = 7), value("EXATLEN", 7));
    assert_eq!(refused(|data| data[1024 + 1054] = 0), value("EXATLEN", 0));
    assert_eq!(refused(|data| data[1024 + 1054] = 12), DimError::Short("EXATVAL"));
}

prop_compose! {
    fn any_registration()(
        host_nqn in "[!-~]{1,223}",
        host_id: [u8; 16],
        name in "[!-~]{0,256}",
        version in "[!-~]([ -~]{0,62}[!-~])?",
        symbolic_name in proptest::option::of("[!-~]{1,256}"),
        codes: (u8, u8),
        traddr in "[!-~]{0,256}",
    ) -> Registration {
        let (trtype, adrfam) = (TrType(codes.0), AdrFam(codes.1));
        Registration { host_nqn, host_id, name, version, symbolic_name, trtype, adrfam, traddr }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back_and_its_lengths_are_multiples_of_four(registration in any_registration()) {
        let data = registration.encode();
        prop_assert_eq!(data.len() % 4, 0);
        prop_assert_eq!(Registration::parse(&data), Ok(registration));
    }

    #[test]
    fn any_bytes_changed_are_a_registration_or_refused(
        changes in proptest::collection::vec((0..2088_usize, any::<u8>()), 1..8),
        length in 0..2200_usize,
    ) {
        let mut data = vector();
        for (at, byte) in changes {
            data[at] = byte;
        }
        data.truncate(length);
        if let Ok(registration) = Registration::parse(&data) {
            prop_assert_eq!(Registration::parse(&registration.encode()), Ok(registration));
        }
    }
}
