//! Commands and completions, compared with bytes from the specification.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use stas_nvme::admin;

use super::connect::{DATA_LEN, HOSTNQN_AT, SUBNQN_AT};
use super::*;

/// A submission queue entry with bytes at these offsets.
fn entry(parts: &[(usize, &[u8])]) -> [u8; 64] {
    let mut entry = [0; 64];
    for (at, bytes) in parts {
        entry[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    entry
}

#[test]
fn connect_is_read_field_by_field() {
    let command = Command::parse(&entry(&[
        (0, &[0x7f, 0x40, 0x34, 0x12, 0x01]),              // opcode, SGL, CID, FCTYPE
        (32, &[0x00, 0x04, 0x00, 0x00, 0, 0, 0, 0x01]),    // SGL1: 1024 bytes in the capsule
        (40, &[0x00, 0x00, 0x00, 0x00, 0x1f, 0x00, 0x04]), // RECFMT, QID, SQSIZE, CATTR
        (48, &[0x30, 0x75, 0x00, 0x00]),                   // KATO
    ]));
    let connect = Connect { recfmt: 0, qid: 0, sqsize: 31, disable_sqflow: true, kato: 30_000 };
    let data = DataPointer::Capsule { offset: 0, len: 1024 };
    assert_eq!(command, Command { cid: 0x1234, data, ask: Ask::Connect(connect) });
    assert!(command.brings_data());
}

#[test]
fn the_data_of_connect_are_read_field_by_field() {
    let mut data = vec![0; 1024];
    data[0..16].copy_from_slice(&[0xab; 16]); // HOSTID
    data[16..18].copy_from_slice(&[0xff, 0xff]); // CNTLID
    data[256..264].copy_from_slice(b"nqn.disc"); // SUBNQN
    data[512..520].copy_from_slice(b"nqn.host"); // HOSTNQN
    let expected =
        ConnectData { host_id: [0xab; 16], cntlid: 0xffff, subnqn: "nqn.disc".into(), host_nqn: "nqn.host".into() };
    assert_eq!(ConnectData::parse(&data), Ok(expected));
    data[512] = 0x07;
    assert_eq!(ConnectData::parse(&data), Err(HOSTNQN_AT));
    data[256..512].fill(b'n');
    assert_eq!(ConnectData::parse(&data), Err(SUBNQN_AT));
    assert_eq!(ConnectData::parse(&data[..DATA_LEN - 1]), Err(1023));
}

#[test]
fn properties_are_read_field_by_field() {
    let get = entry(&[(0, &[0x7f, 0x40, 1, 0, 0x04]), (39, &[0x5a]), (40, &[1]), (44, &[0x08])]);
    assert_eq!(Command::parse(&get).ask, Ask::PropertyGet { offset: 8, wide: true });
    let set = entry(&[(0, &[0x7f, 0x40, 1, 0, 0x00]), (44, &[0x14]), (48, &[0x01, 0x00, 0x46])]);
    assert_eq!(Command::parse(&set).ask, Ask::PropertySet { offset: 0x14, value: 0x46_0001 });
}

/// A command of libstas as the kernel sends it.
fn on_the_wire(command: &admin::Command) -> [u8; 64] {
    let dwords: Vec<u8> = command.cdw.iter().flat_map(|dword| dword.to_le_bytes()).collect();
    entry(&[(0, &[command.opcode]), (32, &command.len.to_le_bytes()), (39, &[0x5a]), (40, &dwords)])
}

#[test]
fn a_log_page_is_asked_for_field_by_field() {
    // LID, LSP and RAE, NUMDL, NUMDU, offset.
    let bytes = entry(&[(0, &[0x02]), (40, &[0x70, 0x82, 0xff, 0x03, 0x01, 0x00]), (48, &[0x00, 0x10, 0, 0, 1])]);
    let expected = Ask::GetLogPage { lid: 0x70, lsp: 2, retain: true, offset: 0x1_0000_1000, len: (0x1_03ff + 1) * 4 };
    assert_eq!(Command::parse(&bytes).ask, expected);
}

#[test]
fn other_commands_are_known_by_their_opcodes() {
    let ask = |parts: &[(usize, &[u8])]| Command::parse(&entry(parts)).ask;
    assert_eq!(ask(&[(0, &[0x06]), (40, &[0x01])]), Ask::Identify { cns: 1 });
    assert_eq!(ask(&[(0, &[0x09]), (40, &[0x0b]), (47, &[0x80])]), Ask::SetFeatures { fid: 0x0b, value: 1 << 31 });
    assert_eq!(ask(&[(0, &[0x0a]), (40, &[0x0f])]), Ask::GetFeatures { fid: 0x0f });
    assert_eq!(ask(&[(0, &[0x0c])]), Ask::AsynchronousEvent);
    assert_eq!(ask(&[(0, &[0x18])]), Ask::KeepAlive);
    assert_eq!(ask(&[(0, &[0x21]), (40, &[0x02])]), Ask::Inform(Some(DimTask::Update)));
    assert_eq!(ask(&[(0, &[0x21]), (40, &[0x03])]), Ask::Inform(None));
    assert_eq!(ask(&[(0, &[0x80])]), Ask::Other { opcode: 0x80 });
}

#[test]
fn a_completion_is_written_byte_by_byte_as_specified() {
    let completion =
        Completion { cid: 0x1234, result: 0x70_f002, head: 7, status: status::INVALID_DISCOVERY_INFORMATION };
    // Dwords 0 and 1; SQHD, SQID; CID, phase and status: type 1, code 2Fh, DNR.
    let expected = [0x02, 0xf0, 0x70, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x34, 0x12, 0x5e, 0x82];
    assert_eq!(completion.encode(), expected);
}

proptest! {
    #[test]
    fn what_the_host_asks_for_is_what_is_understood(lsp in 0..0x80_u8, offset: u64, dwords in 1..0x10_0000_u32) {
        let command = admin::Command::get_log_page(0x70, lsp, offset, dwords * 4);
        let read = Command::parse(&on_the_wire(&command));
        let len = u64::from(dwords) * 4;
        prop_assert_eq!(read.ask, Ask::GetLogPage { lid: 0x70, lsp, retain: false, offset, len });
        prop_assert_eq!(read.data, DataPointer::Host { len: command.len });
    }

    #[test]
    fn any_entry_is_a_command(bytes in proptest::collection::vec(any::<u8>(), 64)) {
        let _ = Command::parse(&bytes.try_into().unwrap()).name();
    }

    #[test]
    fn any_data_of_connect_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..1100)) {
        let _ = ConnectData::parse(&data);
    }
}
