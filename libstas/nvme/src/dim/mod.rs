//! Discovery Information Management (TP8010; NVMe Base 2.1, Figures 497 to 500): the data by which a host registers
//! with a discovery controller, updates its registration, or deregisters.
//!
//! [`Registration::encode`] writes what a host sends; [`Registration::parse`] reads it, as a discovery controller does.

mod decode;
#[cfg(test)]
mod tests;

pub use decode::DimError;

use super::NQN_MAX;
use super::log_page::{AdrFam, ENTRY_LEN, TrType};
use super::wire::put;

/// Length of the header in bytes; the entry follows.
const HEADER_LEN: usize = 1024;
/// Length of an extended entry without its attributes in bytes (NVMe Base 2.1, Figure 498).
const ENTRY_HEAD_LEN: usize = ENTRY_LEN + 8;
/// ENTFMT: extended entries.
const EXTENDED: u16 = 2;
/// ETYPE: a host.
const HOST: u16 = 1;
/// EKTYPE: registrations are identified by transport address (mandatory for hosts).
const TRADDR_BASED: u16 = 0x5f;
/// EXATTYPE: host identifier, mandatory for hosts.
const HOST_IDENTIFIER: u16 = 1;
/// EXATTYPE: symbolic name (called admin label since NVMe Base 2.1), in ASCII.
const SYMBOLIC_NAME: u16 = 2;
/// Longest symbolic name in bytes (NVMe Base 2.1, Figure 499).
pub const SYMBOLIC_NAME_MAX: usize = 256;

/// Text fields of the header: offset and length in bytes.
const EID: (usize, usize) = (24, 256);
const ENAME: (usize, usize) = (280, 256);
const EVER: (usize, usize) = (536, 64);

/// What a host registers about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Host NQN, in EID and in the entry.
    pub host_nqn: String,
    /// Host ID: the bytes of the UUID in the order of its text form.
    pub host_id: [u8; 16],
    /// ENAME: name of the host, at most 256 bytes.
    pub name: String,
    /// EVER: name and version of the operating system.
    pub version: String,
    /// Symbolic name from sys.conf. `None`: the registration has no symbolic name attribute.
    pub symbolic_name: Option<String>,
    /// Transport of the connection.
    pub trtype: TrType,
    /// Address family of the connection.
    pub adrfam: AdrFam,
    /// Address of the host. Empty: the discovery controller takes it from the connection.
    pub traddr: String,
}

impl Registration {
    /// Encodes the data of the command. Texts that are too long are cut, and each character that is not printable ASCII
    /// becomes a question mark.
    ///
    /// ASCII texts are padded with spaces (NVMe Base 2.1, 1.4.2), NQNs with NUL.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entry = self.entry();
        let mut data = vec![0; HEADER_LEN];
        let length = u32::try_from(HEADER_LEN + entry.len()).unwrap_or(u32::MAX);
        put(&mut data[0..4], &length.to_le_bytes()); // TDL
        put(&mut data[8..16], &1_u64.to_le_bytes()); // NUMENT
        put(&mut data[16..18], &EXTENDED.to_le_bytes()); // ENTFMT
        put(&mut data[18..20], &HOST.to_le_bytes()); // ETYPE
        put(&mut data[22..24], &TRADDR_BASED.to_le_bytes()); // EKTYPE
        put(&mut data[EID.0..EID.0 + EID.1], &self.nqn());
        put(&mut data[ENAME.0..ENAME.0 + ENAME.1], &padded(&self.name, ENAME.1));
        put(&mut data[EVER.0..EVER.0 + EVER.1], &padded(&self.version, EVER.1));
        data.extend(entry);
        data
    }

    fn nqn(&self) -> Vec<u8> {
        ascii(&self.host_nqn, NQN_MAX)
    }

    /// The extended discovery information entry.
    fn entry(&self) -> Vec<u8> {
        let symbolic_name = self.symbolic_name.as_ref().filter(|name| !name.is_empty());
        let symbolic_name = symbolic_name.map(|name| ascii(name, SYMBOLIC_NAME_MAX));
        let mut attributes = attribute(HOST_IDENTIFIER, &self.host_id);
        if let Some(name) = &symbolic_name {
            let len = name.len().next_multiple_of(4);
            let mut value = name.clone();
            value.resize(len, b' ');
            attributes.extend(attribute(SYMBOLIC_NAME, &value));
        }
        let mut entry = vec![0; ENTRY_HEAD_LEN];
        put(&mut entry[0..2], &[self.trtype.0, self.adrfam.0]);
        put(&mut entry[256..512], &self.nqn());
        put(&mut entry[512..768], &ascii(&self.traddr, 256));
        let length = u32::try_from(ENTRY_HEAD_LEN + attributes.len()).unwrap_or(u32::MAX);
        put(&mut entry[1024..1028], &length.to_le_bytes()); // TEL
        put(&mut entry[1028..1030], &(1 + u16::from(symbolic_name.is_some())).to_le_bytes()); // NUMEXAT
        entry.extend(attributes);
        entry
    }
}

/// An extended attribute; the length of `value` is a multiple of four.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
}

fn ascii(text: &str, most: usize) -> Vec<u8> {
    text.chars().map(|c| if matches!(c, ' '..='~') { c as u8 } else { b'?' }).take(most).collect()
}

fn padded(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = ascii(text, len);
    bytes.resize(len, b' ');
    bytes
}
