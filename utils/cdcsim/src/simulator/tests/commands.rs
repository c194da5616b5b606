//! The commands of a well-behaved host.

use stas_nvme::dim::Registration;
use stas_nvme::identify::{CtrlType, Dctype, IdentifyController};
use stas_nvme::log_page::{AdrFam, LogPage, Subtype, TrType};

use super::host::*;
use super::*;

pub(super) fn registration(nqn: &str) -> Vec<u8> {
    let host_nqn = nqn.to_owned();
    let (name, version) = ("host.example".to_owned(), "Debian 13".to_owned());
    let (trtype, adrfam, traddr) = (TrType::TCP, AdrFam::IPV4, String::new());
    Registration { host_nqn, host_id: [0x11; 16], name, version, symbolic_name: None, trtype, adrfam, traddr }.encode()
}

/// Sends Discovery Information Management with its data in the capsule, and returns the status.
pub(super) fn inform(fabric: &mut Fabric, host: &Host, task: u8, data: &[u8]) -> u16 {
    let len = (data.len() as u32).to_le_bytes();
    let answer = fabric.capsule(host, &entry(0x21, &[(32, &len), (39, &[0x01]), (40, &[task])]), data);
    assert_eq!(answer.len(), 1);
    answer[0].status()
}

#[test]
fn a_host_is_given_a_controller_of_its_own() {
    for digests in 0..4 {
        let mut fabric = Fabric::new();
        let first = fabric.connect_with(HOST, digests, 0);
        let second = fabric.connect_with(OTHER, digests, 0);
        let identify = [&first, &second].map(|host| fabric.identify(host));
        assert_eq!(identify.each_ref().map(|data| (data[78], data[79])), [(1, 0), (2, 0)]);
        let read = IdentifyController::parse(&identify[0]).unwrap();
        assert_eq!(read.subnqn, "nqn.2014-08.org.nvmexpress:cdcsim:test");
        assert_eq!(read.cntrltype, CtrlType::Discovery);
        assert_eq!(read.dctype, Dctype::Cdc);
    }
}

#[test]
fn identify_has_what_a_kernel_looks_at() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let data = fabric.identify(&host);
    assert_eq!(data[80..84], [0, 0, 2, 0], "VER: 2.0");
    assert_eq!(data[92..96], [0, 0, 0, 0x80], "OAES: discovery log page change");
    assert_eq!(data[111], 2, "CNTRLTYPE");
    assert_eq!(data[261], 4, "LPA: extended data");
    assert_eq!(data[320..322], [1, 0], "KAS");
    assert_eq!(data[536..540], [1, 0, 0x30, 0], "SGLS");
    assert_eq!(data[1792..1796], [0x04, 0x02, 0, 0], "IOCCSZ: (64 + 8192) / 16");
    assert_eq!(data[1806], 2, "DCTYPE");
}

#[test]
fn properties_follow_the_configuration() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let get = |at: u8, wide: u8| entry(0x7f, &[(4, &[4]), (40, &[wide]), (44, &[at])]);
    let set = |value: &[u8]| entry(0x7f, &[(4, &[0]), (44, &[0x14]), (48, value)]);
    assert_eq!(fabric.command(&host, &get(0x00, 1)).0.result(), 0x20_0f01_007f, "CAP");
    assert_eq!(fabric.command(&host, &get(0x08, 0)).0.result(), 0x2_0000, "VS");
    assert_eq!(fabric.command(&host, &get(0x1c, 0)).0.result(), 1, "CSTS: ready");
    fabric.command(&host, &set(&[0x01, 0x40, 0x46]));
    assert_eq!(fabric.command(&host, &get(0x1c, 0)).0.result(), 0b1001, "CSTS: shut down");
    fabric.command(&host, &set(&[0x00, 0x00, 0x46]));
    assert_eq!(fabric.command(&host, &get(0x1c, 0)).0.result(), 0, "CSTS: disabled");
    assert_eq!(fabric.command(&host, &entry(0x18, &[])).0.status(), 0x00c, "nothing is served while it is disabled");
    assert_eq!(fabric.command(&host, &get(0x00, 0)).0.status(), 0x002);
    assert_eq!(fabric.command(&host, &get(0x30, 0)).0.status(), 0x002);
}

#[test]
fn an_invalid_connect_is_refused_with_its_reason() {
    let refused = |change: fn(&mut [u8; 64], &mut Vec<u8>)| {
        let mut fabric = Fabric::new();
        let host = Host { id: fabric.accept(), digests: 0 };
        fabric.send(host.id, &ic_request(0));
        let (mut entry, mut data) = (connect_entry(0), connect_data(HOST));
        change(&mut entry, &mut data);
        let answer = fabric.capsule(&host, &entry, &data);
        (answer[0].status(), answer[0].result())
    };
    assert_eq!(refused(|entry, _| entry[40] = 1), (0x180, 0), "record format");
    assert_eq!(refused(|entry, _| entry[42] = 1), (0x182, 42), "no I/O queue");
    assert_eq!(refused(|entry, _| entry[44] = 0), (0x182, 44), "no queue of one");
    assert_eq!(refused(|_, data| data[16] = 1), (0x182, 1 << 16 | 16), "no static controller");
    assert_eq!(refused(|_, data| data[256] = b'x'), (0x182, 1 << 16 | 256), "another subsystem");
    assert_eq!(refused(|_, data| data[512] = 0), (0x182, 1 << 16 | 512), "no host");
    assert_eq!(refused(|entry, _| entry[33] = 8), (0x00f, 0), "less data than it says");
}

#[test]
fn the_page_is_read_in_parts_and_says_what_the_zone_says() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let page = LogPage::parse(&fabric.page(&host, 0)).unwrap();
    let seen: Vec<_> = page.entries.iter().map(|entry| (entry.subtype, entry.traddr.as_str())).collect();
    assert_eq!(seen, [(Subtype::DISCOVERY, "192.0.2.9"), (Subtype::NVME, "192.0.2.1")]);
    assert_eq!((page.entries[0].trsvcid.as_str(), page.entries[0].eflags.0), ("8009", 2));
    let beyond = log_page(0x70, 0, 1 << 20, 1024);
    assert_eq!(fabric.command(&host, &beyond).0.status(), 0x002);
    let (completion, data) = fabric.command(&host, &log_page(0x70, 0, 2048, 4096));
    assert_eq!((completion.status(), data.len()), (0, 4096));
    assert!(data[1024..].iter().all(|byte| *byte == 0), "zeros behind the end");
    assert_eq!(fabric.command(&host, &log_page(0x02, 0, 0, 512)).0.status(), 0x109);
}

#[test]
fn what_the_page_can_do_depends_on_the_type() {
    for (dctype, bits) in [("cdc", 0b01), ("ddc", 0b11), ("none", 0b01)] {
        let mut fabric = Fabric::with(&format!("type = '{dctype}'"));
        let host = fabric.connect(HOST);
        let pages = fabric.command(&host, &log_page(0x00, 0, 0, 1024)).1;
        assert_eq!(pages[0x1c0..0x1c4], [1, 0, bits, 0], "{dctype}");
        assert_eq!(pages[..4], [1, 0, 0, 0]);
    }
}

#[test]
fn extended_entries_come_to_those_who_ask() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let [basic, extended] = [0, 1].map(|lsp| fabric.page(&host, lsp));
    assert_eq!((basic[18], extended[18]), (0, 1), "DLPF");
    assert_eq!(extended[20..24], [0x10, 0x0c, 0, 0], "TDLPL: 1024 + 2 * 1032");
    assert_eq!(LogPage::parse(&basic).unwrap().entries, LogPage::parse(&extended).unwrap().entries);
}

#[test]
fn a_direct_controller_leaves_out_other_ports_when_asked() {
    let mut fabric = Fabric::with("type = 'ddc'");
    let host = fabric.connect(HOST);
    fabric.ask(json!({"command": "zone", "change": {"add": {"zone": "all", "members": ["two"]}}}));
    assert_eq!(LogPage::parse(&fabric.page(&host, 0)).unwrap().entries.len(), 4);
    assert_eq!(LogPage::parse(&fabric.page(&host, 2)).unwrap().entries.len(), 2);
}

#[test]
fn a_host_registers_updates_and_takes_its_leave() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let told = |fabric: &mut Fabric| fabric.ask(json!({"command": "hosts"}))[0]["registered"].clone();
    assert_eq!(inform(&mut fabric, &host, 2, &registration(HOST)), 0x12f, "nothing to update");
    assert_eq!(inform(&mut fabric, &host, 0, &registration(HOST)), 0);
    let expected = json!({
        "host-id": "11111111-1111-1111-1111-111111111111", "name": "host.example", "version": "Debian 13",
        "symbolic-name": null, "transport": "tcp", "family": "ipv4", "traddr": "", "from": "192.0.2.100", "times": 1,
    });
    assert_eq!(told(&mut fabric), expected);
    assert_eq!(inform(&mut fabric, &host, 2, &registration(HOST)), 0);
    assert_eq!(told(&mut fabric)["times"], 2);
    assert_eq!(inform(&mut fabric, &host, 0, &registration(OTHER)), 0x12f, "it speaks for itself alone");
    assert_eq!(inform(&mut fabric, &host, 3, &registration(HOST)), 0x002, "a reserved task");
    assert_eq!(inform(&mut fabric, &host, 1, &registration(HOST)), 0);
    assert_eq!(told(&mut fabric), Value::Null);
}

#[test]
fn a_registration_that_is_not_in_the_capsule_is_asked_for() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let data = registration(HOST);
    let len = data.len() as u32;
    let answer = fabric.capsule(&host, &entry(0x21, &[(32, &len.to_le_bytes())]), &[]);
    assert_eq!((answer.len(), answer[0].kind), (1, 0x09));
    let mut expected = vec![7, 0, 1, 0, 0, 0, 0, 0]; // CID, TTAG, R2TO
    expected.extend(len.to_le_bytes());
    expected.extend([0; 4]);
    assert_eq!(answer[0].specific, expected);
    assert_eq!(fabric.send(host.id, &brought(7, 0, &data[..1000], false)), [0_u8; 0]);
    let answer = fabric.send(host.id, &brought(7, 1000, &data[1000..], true));
    assert_eq!(Fabric::pdus(0, &answer)[0].status(), 0);
    // The same data again, which was not requested.
    let answer = fabric.send(host.id, &brought(7, 1000, &data[1000..], true));
    assert_eq!((answer[0], answer[8]), (0x03, 4));
    assert!(fabric.others.contains(&Action::Close { id: host.id }));
}

/// H2CData for the first transfer of a connection (transfer tag 1).
fn brought(cid: u16, offset: u32, piece: &[u8], last: bool) -> Vec<u8> {
    let mut pdu = vec![0x06, if last { 4 } else { 0 }, 24, 24];
    pdu.extend((24 + piece.len() as u32).to_le_bytes());
    pdu.extend(cid.to_le_bytes());
    pdu.extend([1, 0]);
    pdu.extend(offset.to_le_bytes());
    pdu.extend((piece.len() as u32).to_le_bytes());
    pdu.extend([0; 4]);
    pdu.extend(piece);
    pdu
}

/// The H2CData field that is reported as wrong when a host sends these although 64 bytes were requested.
fn wrong_in(pieces: &[Vec<u8>]) -> u32 {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let asked = fabric.capsule(&host, &entry(0x21, &[(32, &64_u32.to_le_bytes())]), &[]);
    assert_eq!(asked[0].kind, 0x09);
    let answer = pieces.iter().map(|piece| fabric.send(host.id, piece)).next_back().unwrap();
    assert_eq!((answer[0], answer[8]), (0x03, 4), "data transfer out of range");
    assert_eq!(fabric.others, [Action::Close { id: host.id }]);
    u32::from_le_bytes(answer[10..14].try_into().unwrap())
}

#[test]
fn data_that_nobody_asked_for_end_the_connection_and_the_wrong_field_is_named() {
    assert_eq!(wrong_in(&[brought(8, 0, &[0; 64], true)]), 8, "another command's");
    assert_eq!(wrong_in(&[brought(7, 4, &[0; 60], true)]), 12, "a gap");
    assert_eq!(wrong_in(&[brought(7, 0, &[0; 32], false), brought(7, 16, &[0; 32], true)]), 12, "the same twice");
    assert_eq!(wrong_in(&[brought(7, 0, &[0; 68], true)]), 16, "too many");
    assert_eq!(wrong_in(&[brought(7, 0, &[0; 32], true)]), 16, "the last ones, and some are missing");
}

#[test]
fn a_command_that_brings_too_much_is_refused() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    for len in [0, 64 * 1024 + 1, u32::MAX] {
        let answer = fabric.capsule(&host, &entry(0x21, &[(32, &len.to_le_bytes())]), &[]);
        assert_eq!((answer.len(), answer[0].kind, answer[0].status()), (1, 0x05, 0x00f), "{len} bytes");
    }
    for _ in 0..32 {
        assert_eq!(fabric.capsule(&host, &entry(0x21, &[(32, &[64])]), &[])[0].kind, 0x09);
    }
    assert_eq!(fabric.capsule(&host, &entry(0x21, &[(32, &[64])]), &[])[0].status(), 0x00f, "32 wait already");
}

#[test]
fn a_host_that_falls_silent_is_let_go_after_its_keep_alive_timeout() {
    let mut fabric = Fabric::new();
    let host = fabric.connect_with(HOST, 0, 2000);
    for _ in 0..10 {
        fabric.wait(host.id, Duration::from_secs(1));
        assert_eq!(fabric.command(&host, &entry(0x18, &[])).0.status(), 0);
    }
    assert_eq!(fabric.others, []);
    fabric.wait(host.id, Duration::from_secs(4));
    assert_eq!(fabric.others, [Action::Close { id: host.id }]);
    assert_eq!(fabric.ask(json!({"command": "connections"})), json!([]));
    assert_eq!(fabric.ask(json!({"command": "hosts"}))[0]["counts"]["keep-alive"], 10);
}

#[test]
fn flow_control_counts_the_entries_that_were_taken() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    // Connect, two commands to set it up, and one that waits: the next is the fifth of 32.
    let head = |pdu: &Pdu| u16::from_le_bytes([pdu.specific[8], pdu.specific[9]]);
    for expected in (5..32).chain(0..3) {
        assert_eq!(head(&fabric.command(&host, &entry(0x18, &[])).0), expected);
    }
}

#[test]
fn what_is_no_command_of_a_discovery_controller_is_refused() {
    let mut fabric = Fabric::new();
    let host = fabric.connect(HOST);
    let mut status = |entry: &[u8; 64]| fabric.command(&host, entry).0.status();
    assert_eq!(status(&entry(0x01, &[])), 0x001);
    assert_eq!(status(&entry(0x06, &[(40, &[2])])), 0x002);
    assert_eq!(status(&entry(0x09, &[(40, &[7])])), 0x002);
    assert_eq!(status(&entry(0x06, &[(32, &[0, 8]), (40, &[1])])), 0x00f, "2 KiB for 4 KiB");
}

#[test]
fn who_does_not_begin_at_the_beginning_is_terminated() {
    let mut fabric = Fabric::new();
    let id = fabric.accept();
    let answer = fabric.send(id, &capsule(0, &connect_entry(0), &connect_data(HOST)));
    assert_eq!((answer[0], answer[8]), (0x03, 2), "PDU sequence error");
    let id = fabric.accept();
    let mut request = ic_request(0);
    request[8] = 1;
    let answer = fabric.send(id, &request);
    assert_eq!((answer[0], answer[8], answer[10]), (0x03, 6, 8), "unsupported parameter");
    assert_eq!(fabric.send(id, &ic_request(0)), [0_u8; 0], "it is over");
}
