//! Checks the traffic with Wireshark's dissector, an independent implementation.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)] // It runs a program, and says if it cannot.

use std::io::Write as _;
use std::process::Command;

use super::commands::{inform, registration};
use super::host::*;
use super::*;

/// Maximum length of a segment in bytes.
const SEGMENT: usize = 1400;

/// A TCP packet over IPv4, without checksums, which the dissector does not check.
fn packet(connection: u64, from_host: bool, flags: u8, (seq, ack): (u32, u32), data: &[u8]) -> Vec<u8> {
    let (host, controller) = (([192, 0, 2, 1], 50_000 + connection as u16), ([192, 0, 2, 2], 8009));
    let (from, to) = if from_host { (host, controller) } else { (controller, host) };
    let mut packet = vec![0x45, 0];
    packet.extend((40 + data.len() as u16).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(from.0);
    packet.extend(to.0);
    packet.extend(from.1.to_be_bytes());
    packet.extend(to.1.to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend(ack.to_be_bytes());
    packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(data);
    packet
}

/// The traffic as a capture file (link type 101: IP).
fn capture(wire: &[(Id, bool, Vec<u8>)]) -> Vec<u8> {
    let (syn, psh, ack) = (0x02, 0x08, 0x10);
    let mut packets = Vec::new();
    let mut sent: BTreeMap<Id, [u32; 2]> = BTreeMap::new();
    for (id, from_host, bytes) in wire {
        let seq = sent.entry(*id).or_insert_with(|| {
            packets.push(packet(id.0, true, syn, (0, 0), &[]));
            packets.push(packet(id.0, false, syn | ack, (0, 1), &[]));
            packets.push(packet(id.0, true, ack, (1, 1), &[]));
            [1, 1]
        });
        let (own, other) = if *from_host { (0, 1) } else { (1, 0) };
        for segment in bytes.chunks(SEGMENT) {
            packets.push(packet(id.0, *from_host, psh | ack, (seq[own], seq[other]), segment));
            seq[own] += segment.len() as u32;
        }
    }
    let mut file = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 101].map(u32::to_le_bytes).concat();
    for (at, packet) in packets.iter().enumerate() {
        file.extend([1, at as u32, packet.len() as u32, packet.len() as u32].map(u32::to_le_bytes).concat());
        file.extend(packet);
    }
    file
}

/// A whole session: every supported command, events, a refusal, data in several PDUs.
fn life(fabric: &mut Fabric, digests: u8) {
    let host = fabric.connect_with(HOST, digests, 1000);
    for at in [0x08, 0x14, 0x1c] {
        fabric.command(&host, &entry(0x7f, &[(4, &[4]), (44, &[at])]));
    }
    fabric.identify(&host);
    fabric.command(&host, &log_page(0x00, 0, 0, 1024));
    fabric.page(&host, 0);
    fabric.page(&host, 1);
    fabric.command(&host, &log_page(0x70, 0, 0, 256 * 1024));
    inform(fabric, &host, 0, &registration(HOST));
    fabric.command(&host, &entry(0x18, &[]));
    fabric.command(&host, &entry(0x0a, &[(40, &[0x0f])]));
    fabric.command(&host, &entry(0x01, &[]));
    fabric.request(json!({"command": "event"}));
}

#[test]
fn wireshark_reads_the_traffic_without_a_complaint() {
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("skipped: tshark is not installed");
        return;
    }
    // It does not know extended entries and would misread a second one: only one is used.
    let mut fabric = Fabric::with("itself = false");
    for digests in 0..4 {
        life(&mut fabric, digests);
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&capture(&fabric.wire)).unwrap();
    let mut tshark = Command::new("tshark");
    tshark
        .args([
            "-o",
            "nvme-tcp.check_hdgst:TRUE",
            "-o",
            "nvme-tcp.check_ddgst:TRUE",
            "-d",
            "tcp.port==8009,nvme-tcp",
            "-V",
            "-r",
        ])
        .arg(file.path());
    let output = tshark.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // It is what we expect …
    let counted = |words: &str| said.matches(words).count();
    let seen = ["Pdu Type: ICReq", "Pdu Type: ICResp", "Pdu Type: C2HData", "PDU Data Digest: "].map(counted);
    assert!(seen[0] == 4 && seen[1] == 4 && seen[2] >= 40 && seen[3] >= 24, "{seen:?}");
    // … and contains no error.
    let wrong = ["Malformed", "Expert Info", "incorrect", "Bad", "Unreassembled"];
    let is_complaint = |line: &&str| wrong.iter().any(|word| line.contains(word)) && !line.contains("Info (Chat/");
    assert_eq!(said.lines().filter(is_complaint).collect::<Vec<_>>(), [""; 0]);
}
