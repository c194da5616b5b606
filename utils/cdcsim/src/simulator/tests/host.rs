//! A host on the level of bytes. Its encoding and decoding are independent of the simulator's.

use std::net::SocketAddr;

use super::*;
use crate::configuration::Configuration;

pub(super) const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000001";
pub(super) const OTHER: &str = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000002";

const FILE: &str = r#"
nqn = "nqn.2014-08.org.nvmexpress:cdcsim:test"
[member.one]
nqn = "one"
addresses = ["192.0.2.1:4420"]
[member.two]
nqn = "two"
addresses = ["192.0.2.2:4420", "[2001:db8::2]:4420"]
port = 2
[zone.all]
hosts = ["*"]
members = ["one"]
"#;

/// A simulator, its clock, and its actions.
pub(super) struct Fabric {
    pub(super) simulator: Simulator,
    pub(super) now: Duration,
    last: u64,
    /// Actions that are not data of a connection.
    pub(super) others: Vec<Action>,
    /// The traffic of all connections: true if sent by the host, and the bytes.
    pub(super) wire: Vec<(Id, bool, Vec<u8>)>,
}

/// A connection of a host.
pub(super) struct Host {
    pub(super) id: Id,
    pub(super) digests: u8,
}

/// A PDU of the controller.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pdu {
    pub(super) kind: u8,
    /// Type-specific header fields, after the common header.
    pub(super) specific: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Pdu {
    pub(super) fn cid(&self) -> u16 {
        u16::from_le_bytes([self.specific[12], self.specific[13]])
    }

    /// The status code with its type.
    pub(super) fn status(&self) -> u16 {
        (u16::from_le_bytes([self.specific[14], self.specific[15]]) >> 1) & 0x7ff
    }

    pub(super) fn result(&self) -> u64 {
        u64::from_le_bytes(self.specific[..8].try_into().unwrap())
    }
}

pub(super) fn ic_request(digests: u8) -> Vec<u8> {
    let mut pdu = vec![0; 128];
    pdu[..8].copy_from_slice(&[0, 0, 128, 0, 128, 0, 0, 0]);
    pdu[11] = digests;
    pdu
}

/// A submission queue entry with bytes at these offsets, CID 7, and its data in the host's memory.
pub(super) fn entry(opcode: u8, parts: &[(usize, &[u8])]) -> [u8; 64] {
    let mut entry = [0; 64];
    entry[0] = opcode;
    entry[2] = 7;
    entry[39] = 0x5a;
    for (at, bytes) in parts {
        entry[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    entry
}

pub(super) fn connect_entry(kato: u32) -> [u8; 64] {
    let kato = kato.to_le_bytes();
    entry(0x7f, &[(4, &[1]), (32, &[0, 4, 0, 0, 0, 0, 0, 0x01]), (44, &[31, 0]), (48, &kato)])
}

pub(super) fn connect_data(nqn: &str) -> Vec<u8> {
    let mut data = vec![0; 1024];
    data[..16].fill(0x11);
    data[16..18].fill(0xff);
    data[256..293].copy_from_slice(b"nqn.2014-08.org.nvmexpress.discovery\0");
    data[512..512 + nqn.len()].copy_from_slice(nqn.as_bytes());
    data
}

pub(super) fn log_page(lid: u8, lsp: u8, offset: u64, len: u32) -> [u8; 64] {
    let dwords = (len / 4 - 1).to_le_bytes();
    let parts: [(usize, &[u8]); 4] = [
        (32, &len.to_le_bytes()),
        (40, &[lid, lsp, dwords[0], dwords[1]]),
        (44, &dwords[2..]),
        (48, &offset.to_le_bytes()),
    ];
    entry(0x02, &parts)
}

impl Fabric {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    pub(super) fn with(more: &str) -> Self {
        let world = Configuration::parse(&format!("{more}\n{FILE}")).unwrap().world().unwrap();
        Self { simulator: Simulator::new(world), now: Duration::ZERO, last: 0, others: Vec::new(), wire: Vec::new() }
    }

    pub(super) fn accept(&mut self) -> Id {
        self.last += 1;
        let id = Id(self.last);
        let [peer, local] = ["192.0.2.100:50000", "192.0.2.9:8009"].map(|text| text.parse::<SocketAddr>().unwrap());
        let actions = self.simulator.handle(self.now, Event::Accepted { id, peer, local, port: 1 });
        self.others.extend(actions);
        id
    }

    /// Sends bytes, and returns the answer on this connection.
    pub(super) fn send(&mut self, id: Id, bytes: &[u8]) -> Vec<u8> {
        self.wire.push((id, true, bytes.to_vec()));
        let actions = self.simulator.handle(self.now, Event::Received { id, bytes: bytes.to_vec() });
        self.sort(id, actions)
    }

    /// Advances time deadline by deadline, and returns the output of this connection.
    pub(super) fn wait(&mut self, id: Id, time: Duration) -> Vec<u8> {
        let end = self.now + time;
        let mut came = Vec::new();
        while let Some(deadline) = self.simulator.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            let actions = self.simulator.handle(self.now, Event::Tick);
            came.extend(self.sort(id, actions));
        }
        self.now = end;
        came
    }

    fn sort(&mut self, id: Id, actions: Vec<Action>) -> Vec<u8> {
        let mut came = Vec::new();
        for action in actions {
            self.tap(&action);
            match action {
                Action::Send { id: to, bytes } if to == id => came.extend(bytes),
                Action::Say(_) => {}
                other => self.others.push(other),
            }
        }
        came
    }

    fn tap(&mut self, action: &Action) {
        if let Action::Send { id, bytes } = action {
            self.wire.push((*id, false, bytes.clone()));
        }
    }

    /// Splits the received bytes into PDUs, and checks their digests.
    pub(super) fn pdus(digests: u8, bytes: &[u8]) -> Vec<Pdu> {
        let mut rest = bytes;
        let mut pdus = Vec::new();
        while !rest.is_empty() {
            let header_len = usize::from(rest[2]);
            let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
            let (pdu, behind) = rest.split_at(length);
            rest = behind;
            let is_plain = matches!(pdu[0], 0x01 | 0x03);
            if !is_plain {
                assert_eq!(pdu[1] & 1, digests & 1, "header digest");
            }
            if pdu[1] & 1 != 0 {
                assert_eq!(pdu[header_len..header_len + 4], crc32c::crc32c(&pdu[..header_len]).to_le_bytes());
            }
            let at = if pdu[3] == 0 { length } else { usize::from(pdu[3]) };
            let end = if pdu[1] & 2 != 0 { length - 4 } else { length };
            if pdu[1] & 2 != 0 {
                assert_eq!(pdu[end..], crc32c::crc32c(&pdu[at..end]).to_le_bytes());
            }
            let data = pdu.get(at..end).unwrap_or_default().to_vec();
            pdus.push(Pdu { kind: pdu[0], specific: pdu[8..header_len].to_vec(), data });
        }
        pdus
    }

    /// Sends a command capsule, with data or without.
    pub(super) fn capsule(&mut self, host: &Host, entry: &[u8; 64], data: &[u8]) -> Vec<Pdu> {
        let came = self.send(host.id, &capsule(host.digests, entry, data));
        Self::pdus(host.digests, &came)
    }

    /// Sends a command without data (CID 7). Returns its completion, and the data before it.
    pub(super) fn command(&mut self, host: &Host, entry: &[u8; 64]) -> (Pdu, Vec<u8>) {
        let mut pdus = self.capsule(host, entry, &[]);
        let completion = pdus.pop().expect("an answer");
        assert_eq!((completion.kind, completion.cid()), (0x05, 7));
        (completion, pdus.into_iter().flat_map(|pdu| pdu.data).collect())
    }

    /// Connects a host: initialized, connected, enabled, with events enabled, and one event request outstanding (CID
    /// 99).
    pub(super) fn connect_with(&mut self, nqn: &str, digests: u8, kato: u32) -> Host {
        let host = Host { id: self.accept(), digests };
        self.send(host.id, &ic_request(digests));
        let answer = self.capsule(&host, &connect_entry(kato), &connect_data(nqn));
        assert_eq!(answer.iter().map(Pdu::status).collect::<Vec<_>>(), [0], "{answer:?}");
        self.command(&host, &entry(0x7f, &[(4, &[0]), (44, &[0x14]), (48, &[0x01, 0x00, 0x46])]));
        self.command(&host, &entry(0x09, &[(40, &[0x0b]), (47, &[0x80])]));
        assert_eq!(self.capsule(&host, &entry(0x0c, &[(2, &[99])]), &[]), []);
        host
    }

    pub(super) fn connect(&mut self, nqn: &str) -> Host {
        self.connect_with(nqn, 0, 0)
    }

    pub(super) fn identify(&mut self, host: &Host) -> Vec<u8> {
        self.command(host, &entry(0x06, &[(32, &4096_u32.to_le_bytes()), (40, &[1])])).1
    }

    /// Reads the whole discovery log page, as raw bytes.
    pub(super) fn page(&mut self, host: &Host, lsp: u8) -> Vec<u8> {
        let mut page = self.command(host, &log_page(0x70, lsp, 0, 1024)).1;
        let header = stas_nvme::log_page::Header::parse(&page).unwrap();
        let length = header.extended.map_or(1024 + header.numrec * 1024, u64::from);
        while (page.len() as u64) < length {
            let len = (length - page.len() as u64).min(4096) as u32;
            page.extend(self.command(host, &log_page(0x70, lsp, page.len() as u64, len)).1);
        }
        page
    }

    /// The NQNs and subtypes of the page's entries.
    pub(super) fn sees(&mut self, host: &Host) -> Vec<String> {
        let page = stas_nvme::log_page::LogPage::parse(&self.page(host, 0)).unwrap();
        page.entries.into_iter().map(|entry| entry.subnqn).collect()
    }

    /// Sends a request that must succeed.
    pub(super) fn ask(&mut self, request: Value) -> Value {
        match self.request(request) {
            (Reply::Ok(value), _) => value,
            (Reply::Error(error), _) => panic!("{error}"),
        }
    }

    /// Sends a request, and returns its answer and the bytes sent to each connection.
    pub(super) fn request(&mut self, request: Value) -> (Reply, Vec<(Id, Vec<u8>)>) {
        let (reply, actions) = self.simulator.request(self.now, serde_json::from_value(request).unwrap());
        let mut sent = Vec::new();
        for action in actions {
            self.tap(&action);
            match action {
                Action::Send { id, bytes } => sent.push((id, bytes)),
                Action::Say(_) => {}
                other => self.others.push(other),
            }
        }
        (reply, sent)
    }

    /// The number of PDUs that each connection gets because of a request.
    pub(super) fn told(&mut self, request: Value) -> Vec<(Id, usize)> {
        let (reply, sent) = self.request(request);
        assert!(matches!(reply, Reply::Ok(_)), "{reply:?}");
        sent.into_iter().map(|(id, bytes)| (id, Self::pdus(0, &bytes).len())).collect()
    }
}

pub(super) fn capsule(digests: u8, entry: &[u8; 64], data: &[u8]) -> Vec<u8> {
    let header_digest = if digests & 1 == 0 { 0 } else { 4 };
    let data_digest = if digests & 2 == 0 || data.is_empty() { 0 } else { 4 };
    let flags = digests & 1 | if data_digest == 0 { 0 } else { 2 };
    let length = 72 + header_digest + data.len() + data_digest;
    let at = if data.is_empty() { 0 } else { 72 + header_digest };
    let mut pdu = vec![0x04, flags, 72, at as u8];
    pdu.extend((length as u32).to_le_bytes());
    pdu.extend(entry);
    if header_digest != 0 {
        pdu.extend(crc32c::crc32c(&pdu).to_le_bytes());
    }
    pdu.extend(data);
    if data_digest != 0 {
        pdu.extend(crc32c::crc32c(data).to_le_bytes());
    }
    pdu
}
