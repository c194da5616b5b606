//! Almost valid pages and PDUs: with random bytes alone, a fuzzer rarely gets past lengths, checksums and types.

use arbitrary::{Arbitrary, Unstructured};
use libstas::nvme::log_page::{ENTRY_LEN, EXTENDED_ENTRY_LEN, HEADER_LEN};

use crate::{pages, stream};

/// A text field of an entry.
#[derive(Arbitrary, Debug)]
enum Text {
    Plausible(u8),
    Wild(Vec<u8>),
}

impl Text {
    fn bytes(&self, plausible: &[&str]) -> Vec<u8> {
        match self {
            Self::Plausible(which) => plausible
                .get(usize::from(*which) % plausible.len().max(1))
                .map_or_else(Vec::new, |text| text.as_bytes().to_vec()),
            Self::Wild(bytes) => bytes.clone(),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Entry {
    head: [u8; 12],
    known: bool,
    trsvcid: Text,
    subnqn: Text,
    traddr: Text,
    tsas: Vec<u8>,
    /// The length of the tail of an extended entry, and its stated length.
    tail: u8,
    lies: bool,
}

#[derive(Arbitrary, Debug)]
struct Page {
    genctr: u64,
    lies: Option<u64>,
    extended: bool,
    entries: Vec<Entry>,
    cut: u16,
}

impl Entry {
    fn encode(&self, extended: bool) -> Vec<u8> {
        let mut bytes = vec![0; ENTRY_LEN];
        bytes[..12].copy_from_slice(&self.head);
        if self.known {
            bytes[0] = [1, 2, 3, 254][usize::from(self.head[0] % 4)];
            bytes[2] = self.head[2] % 5;
        }
        let mut write = |at: usize, room: usize, text: Vec<u8>| {
            let length = text.len().min(room);
            bytes[at..at + length].copy_from_slice(&text[..length]);
        };
        write(32, 32, self.trsvcid.bytes(&["8009", "4420", ""]));
        write(256, 256, self.subnqn.bytes(&["nqn.2014-08.org.nvmexpress.discovery", "nqn.a", ""]));
        write(512, 256, self.traddr.bytes(&["192.0.2.1", "fe80::1%eth0", "::", "nn-0x1:pn-0x2"]));
        write(768, 256, self.tsas.clone());
        if extended {
            let length = EXTENDED_ENTRY_LEN - ENTRY_LEN + usize::from(self.tail);
            let stated_length = if self.lies { self.tail.into() } else { (ENTRY_LEN + length) as u32 };
            bytes.extend(stated_length.to_le_bytes());
            bytes.resize(ENTRY_LEN + length, 0);
        }
        bytes
    }
}

pub(crate) fn log_page(bytes: &[u8]) {
    let Ok(page) = Page::arbitrary(&mut Unstructured::new(bytes)) else { return };
    let entries: Vec<u8> = page.entries.iter().flat_map(|entry| entry.encode(page.extended)).collect();
    let mut built = vec![0; HEADER_LEN];
    built[..8].copy_from_slice(&page.genctr.to_le_bytes());
    built[8..16].copy_from_slice(&page.lies.unwrap_or(page.entries.len() as u64).to_le_bytes());
    if page.extended {
        built[18] = 1;
        built[20..24].copy_from_slice(&((HEADER_LEN + entries.len()) as u32).to_le_bytes());
    }
    built.extend(entries);
    let short = if page.lies.is_some() { usize::from(page.cut) } else { 0 };
    built.truncate(built.len().saturating_sub(short));
    pages::log_page(&built);
}

#[derive(Arbitrary, Debug)]
struct Pdu {
    kind: u8,
    flags: u8,
    body: Vec<u8>,
    data: Vec<u8>,
    lies: Option<u8>,
}

pub(crate) fn pdu(bytes: &[u8]) {
    let Ok((cut, pdus)) = <(u8, Vec<Pdu>)>::arbitrary(&mut Unstructured::new(bytes)) else { return };
    let mut stream = vec![cut];
    for pdu in pdus {
        // ICReq, H2CTermReq, CapsuleCmd, H2CData: type, length of its header.
        let (kind, length) = [(0, 128), (2, 24), (4, 72), (6, 24)][usize::from(pdu.kind % 4)];
        let mut header = vec![0; length];
        let body = pdu.body.len().min(length - 8);
        header[8..8 + body].copy_from_slice(&pdu.body[..body]);
        let data = if kind == 0 { &[][..] } else { &pdu.data };
        let stated_length = (length + data.len()) as u32;
        let offset = if data.is_empty() || kind == 2 { 0 } else { length as u8 };
        header[..4].copy_from_slice(&[kind, pdu.flags & 4, pdu.lies.unwrap_or(length as u8), offset]);
        header[4..8].copy_from_slice(&stated_length.to_le_bytes());
        if kind == 6 {
            header[16..20].copy_from_slice(&(data.len() as u32).to_le_bytes());
        }
        stream.extend(header);
        stream.extend(data);
    }
    stream::pdu(&stream);
}
