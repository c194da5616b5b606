//! The discovery log page, as one host sees it.

use std::net::SocketAddr;

use stas_nvme::Transport;
use stas_nvme::log_page::{ENTRY_LEN, EXTENDED_ENTRY_LEN, Entry, HEADER_LEN, LSP_EXTDLPE, LSP_PLEO, LogPage};
use stas_nvme::wire::{put, u32_at};

use super::{Type, World};
use crate::fault::Fault;
use crate::zoning::{Address, Kind, Member};

/// The connection on which a page is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest<'a> {
    /// The NQN of the host.
    pub host: &'a str,
    /// The local address of the connection.
    pub local: SocketAddr,
    /// The port ID of the listener.
    pub port: u16,
}

impl World {
    /// Builds the page for a connection and a log specific parameter, with the active faults.
    pub fn page(&mut self, request: PageRequest<'_>, lsp: u8) -> Vec<u8> {
        if self.faults.strikes(Some(request.host), &Fault::Restless)
            && let Some(host) = self.hosts.get_mut(request.host)
        {
            host.generation += 1;
        }
        let empty = self.faults.strikes(Some(request.host), &Fault::Empty);
        let entries = if empty { Vec::new() } else { self.seen_from(request, lsp) };
        let genctr = self.hosts.get(request.host).map_or(self.generation, |host| host.generation);
        let page = LogPage { genctr, entries, ..LogPage::default() };
        let is_extended = self.identity.extended && lsp & LSP_EXTDLPE != 0;
        let mut bytes = if is_extended { page.encode_extended() } else { page.encode() };
        let pick = |fault: &Fault| if let Fault::Malformed { entry } = fault { Some(*entry) } else { None };
        if let Some(malformation) = self.faults.take(Some(request.host), pick) {
            insert(&mut bytes, &malformation.entry(), is_extended, page.entries.len());
        }
        let pick = |fault: &Fault| if let Fault::Numrec { count } = fault { Some(*count) } else { None };
        if let Some(count) = self.faults.take(Some(request.host), pick) {
            put(bytes.get_mut(8..16).unwrap_or_default(), &count.to_le_bytes());
        }
        let pick = |fault: &Fault| match fault {
            Fault::EntryLength { len } if is_extended => Some(*len),
            _ => None,
        };
        if let Some(len) = self.faults.take(Some(request.host), pick) {
            // TEL follows the fields of a basic entry.
            put(bytes.get_mut(HEADER_LEN + ENTRY_LEN..).unwrap_or_default(), &len.to_le_bytes());
        }
        bytes
    }

    /// The entries in order: the controller itself, then the members of the zones.
    fn seen_from(&self, request: PageRequest<'_>, lsp: u8) -> Vec<Entry> {
        let itself = Some(request).filter(|_| self.identity.lists_itself).map(|request| self.itself(request));
        let port_local = self.identity.dctype == Type::Ddc && lsp & LSP_PLEO != 0;
        let zoned = self.zoning.entries(request.host).into_iter();
        itself.into_iter().chain(zoned.filter(|entry| !port_local || entry.portid == request.port)).collect()
    }

    fn itself(&self, request: PageRequest<'_>) -> Entry {
        let address = Address {
            transport: Transport::Tcp,
            traddr: request.local.ip().to_canonical().to_string(),
            trsvcid: request.local.port().to_string(),
        };
        let member = Member {
            kind: Kind::Discovery,
            nqn: self.identity.nqn.clone(),
            addresses: Vec::new(),
            ncc: false,
            epcsd: true,
            port: request.port,
            tls: false,
        };
        member.entry(&address)
    }
}

/// Inserts an entry before the others.
fn insert(page: &mut Vec<u8>, entry: &[u8; ENTRY_LEN], is_extended: bool, others: usize) {
    let mut bytes = entry.to_vec();
    if is_extended {
        bytes.extend((EXTENDED_ENTRY_LEN as u32).to_le_bytes());
        bytes.extend([0; 4]);
        let length = u32_at(page, 20).unwrap_or_default() + EXTENDED_ENTRY_LEN as u32;
        put(page.get_mut(20..24).unwrap_or_default(), &length.to_le_bytes());
    }
    page.splice(HEADER_LEN..HEADER_LEN, bytes);
    put(page.get_mut(8..16).unwrap_or_default(), &(others as u64 + 1).to_le_bytes());
}
