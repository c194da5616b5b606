//! One entry of the discovery log page: 1024 bytes (NVMe Base 2.1, Figure 294), and the dictionary that stands for
//! it on D-Bus.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::codes::{AdrFam, EFlags, SecType, Subtype, TrType, Treq};
use crate::nvme::wire::{put, trimmed, u8_at, u16_at};
use crate::nvme::{NQN_MAX, Transport};

/// Bytes of an entry, without extended attributes.
pub const ENTRY_LEN: usize = 1024;
/// Where the text fields and TSAS stand in an entry: offset and length in bytes.
const TRSVCID: (usize, usize) = (32, 32);
const SUBNQN: (usize, usize) = (256, 256);
const TRADDR: (usize, usize) = (512, 256);
const TSAS: (usize, usize) = (768, 256);

/// One entry: a way to a subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Transport type.
    pub trtype: TrType,
    /// Address family.
    pub adrfam: AdrFam,
    /// What the entry describes.
    pub subtype: Subtype,
    /// Transport requirements.
    pub treq: Treq,
    /// Port ID.
    pub portid: u16,
    /// Controller ID; FFFFh where controllers are made on demand.
    pub cntlid: u16,
    /// The longest admin submission queue, in entries.
    pub asqsz: u16,
    /// Flags.
    pub eflags: EFlags,
    /// Transport service identifier.
    pub trsvcid: String,
    /// NQN of the subsystem.
    pub subnqn: String,
    /// Transport address, as the page has it.
    pub traddr: String,
    /// What only the transport understands. Of it, the dictionary has the security type of NVMe/TCP.
    #[serde(default)]
    pub tsas: Tsas,
}

/// TSAS: transport specific address subtype.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tsas {
    /// All zeros in a transport that defines none, or the entry did not come from a page.
    #[default]
    None,
    /// NVMe/TCP (NVMe TCP Transport 1.2).
    Tcp {
        /// SECTYPE: how connections are secured.
        sectype: SecType,
    },
    /// NVMe/RDMA (NVMe RDMA Transport 1.2).
    Rdma {
        /// RDMA_QPTYPE: 1 reliable connected, 2 reliable datagram.
        qptype: u8,
        /// RDMA_PRTYPE: 1 not specified, 2 InfiniBand, 3 RoCE, 4 RoCEv2, 5 iWARP.
        prtype: u8,
        /// RDMA_CMS: 1 RDMA_IP_CM.
        cms: u8,
        /// RDMA_PKEY: the partition key, for the InfiniBand address family.
        pkey: u16,
    },
    /// Another transport's bytes, without trailing zeros.
    Raw(Vec<u8>),
}

/// A text field of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// TRSVCID
    Trsvcid,
    /// SUBNQN
    Subnqn,
    /// TRADDR
    Traddr,
}

impl Field {
    /// The most bytes that it may have.
    fn limit(self) -> usize {
        match self {
            Self::Trsvcid => TRSVCID.1,
            Self::Subnqn => NQN_MAX,
            Self::Traddr => TRADDR.1,
        }
    }
}

impl Field {
    /// What its text is made of.
    fn allowed(self) -> &'static str {
        match self {
            Self::Subnqn => "UTF-8 without commas and control characters",
            Self::Trsvcid | Self::Traddr => "printable ASCII without commas",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trsvcid => "trsvcid",
            Self::Subnqn => "subnqn",
            Self::Traddr => "traddr",
        })
    }
}

/// Why an entry cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Flaw {
    /// Fewer bytes than an entry has.
    #[error("it has {0} bytes where an entry has {ENTRY_LEN}")]
    Short(usize),
    /// Nothing but zeros.
    #[error("it is all zeros: the page is shorter than its header says")]
    Blank,
    /// A subtype that the specification does not define.
    #[error("subtype is {0}; 1 (referral), 2 (nvme) and 3 (discovery) are defined")]
    Subtype(u8),
    /// A byte that is no text, or does not pass through the kernel's option string.
    #[error("{field} contains the byte {byte:#04x}; {} is allowed", .field.allowed())]
    Byte {
        /// Where.
        field: Field,
        /// What.
        byte: u8,
    },
    /// A text that is too long.
    #[error("{field} has {len} bytes; at most {} are allowed", .field.limit())]
    TooLong {
        /// Which.
        field: Field,
        /// Its length.
        len: usize,
    },
    /// A subsystem without a name. (Other discovery services may have none: they all answer to the well-known one.)
    #[error("subnqn is empty")]
    NoNqn,
    /// An NQN with a NUL inside.
    #[error("subnqn has a NUL inside: {before:?} and more bytes behind it")]
    Nul {
        /// What stands before it.
        before: String,
    },
    /// The entry of a subsystem has the well-known NQN of discovery controllers.
    #[error("subnqn is the well-known one of discovery controllers, but subtype is nvme")]
    DiscoveryNqn,
    /// A transport that this host does not have.
    #[error("trtype is {0}, a transport that this host does not have")]
    Transport(u8),
    /// No address: none at all, `0.0.0.0` or `::`.
    #[error("traddr is empty or the unspecified address")]
    NoAddress,
    /// Something else where an address of the transport must be.
    #[error("traddr is {text:?}, which is no address of {transport}")]
    Address {
        /// The transport.
        transport: Transport,
        /// What stands there.
        text: String,
    },
    /// Something else where a port must be.
    #[error("trsvcid is {0:?}, which is no port from 1 to 65535")]
    Port(String),
}

impl Flaw {
    /// True when a part of a page is missing: the page says nothing of what it does not list.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        matches!(self, Self::Short(_) | Self::Blank)
    }

    /// True when a field is damaged: the entry may be the new form of any other entry. The other flaws are clear words:
    /// there is no way to that controller.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Subtype(_) | Self::Transport(_) | Self::NoAddress | Self::DiscoveryNqn)
    }
}

/// Why a dictionary stands for no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DictError {
    /// A key without which an entry says nothing.
    #[error("the key {0} is missing")]
    Missing(&'static str),
    /// A value that is no word and no number of that key.
    #[error("{key} is {value:?}, which is neither a known word nor a number in its range")]
    Value {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
    },
    /// The values are read, but no page may say this.
    #[error(transparent)]
    Flaw(#[from] Flaw),
}

impl Entry {
    /// Reads an entry; bytes behind the first 1024 are not looked at.
    ///
    /// # Errors
    /// What is wrong with it. Unknown transports and address families are none of that: they are kept, and
    /// [`Entry::transport`] tells them apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let entry = bytes.get(..ENTRY_LEN).ok_or(Flaw::Short(bytes.len()))?;
        if entry.iter().all(|byte| *byte == 0) {
            return Err(Flaw::Blank);
        }
        let subtype = Subtype(u8_at(entry, 2).unwrap_or_default());
        if !subtype.is_known() {
            return Err(Flaw::Subtype(subtype.0));
        }
        let number = |at| u16_at(entry, at).unwrap_or_default();
        let trtype = TrType(u8_at(entry, 0).unwrap_or_default());
        let found = Self {
            trtype,
            adrfam: AdrFam(u8_at(entry, 1).unwrap_or_default()),
            subtype,
            treq: Treq(u8_at(entry, 3).unwrap_or_default()),
            portid: number(4),
            cntlid: number(6),
            asqsz: number(8),
            eflags: EFlags(number(10)),
            trsvcid: text(Field::Trsvcid, field(entry, TRSVCID))?,
            subnqn: text(Field::Subnqn, field(entry, SUBNQN))?,
            traddr: text(Field::Traddr, field(entry, TRADDR))?,
            tsas: Tsas::parse(trtype, field(entry, TSAS)),
        };
        found.named()
    }

    /// Writes the entry as a page has it. A text that is too long for its field is cut.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut entry = [0; ENTRY_LEN];
        let [portid, cntlid, asqsz, eflags] =
            [self.portid, self.cntlid, self.asqsz, self.eflags.0].map(u16::to_le_bytes);
        put(&mut entry, &[self.trtype.0, self.adrfam.0, self.subtype.0, self.treq.0]);
        put(&mut entry[4..12], &[portid, cntlid, asqsz, eflags].concat());
        let mut write = |(at, len): (usize, usize), bytes: &[u8]| put(&mut entry[at..at + len], bytes);
        write(TRSVCID, self.trsvcid.as_bytes());
        write(SUBNQN, self.subnqn.as_bytes());
        write(TRADDR, self.traddr.as_bytes());
        write(TSAS, &self.tsas.encode());
        entry
    }

    /// The transport that leads there, where the host has one.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        self.trtype.transport()
    }

    /// The security type of a connection over NVMe/TCP, if the entry says one.
    #[must_use]
    pub fn sectype(&self) -> Option<SecType> {
        match self.tsas {
            Tsas::Tcp { sectype } => Some(sectype),
            Tsas::None | Tsas::Rdma { .. } | Tsas::Raw(_) => None,
        }
    }

    /// The dictionary that stands for it on D-Bus.
    #[must_use]
    pub fn to_dict(&self) -> BTreeMap<String, String> {
        let sectype = self.sectype().map(|sectype| ("sectype".to_owned(), sectype.to_string()));
        let mut dict: BTreeMap<String, String> = [
            ("trtype", self.trtype.to_string()),
            ("adrfam", self.adrfam.to_string()),
            ("traddr", self.traddr.clone()),
            ("trsvcid", self.trsvcid.clone()),
            ("subnqn", self.subnqn.clone()),
            ("subtype", self.subtype.to_string()),
            ("treq", self.treq.to_string()),
            ("portid", self.portid.to_string()),
            ("cntlid", self.cntlid.to_string()),
            ("asqsz", self.asqsz.to_string()),
            ("eflags", self.eflags.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        dict.extend(sectype);
        dict
    }

    /// Reads the dictionary that [`Entry::to_dict`] makes. Unknown keys are left alone; the numbers that say nothing
    /// about how to connect may be absent, and are zero then.
    ///
    /// # Errors
    /// The key that is missing or has no such value, or what no page may say.
    pub fn from_dict(dict: &BTreeMap<String, String>) -> Result<Self, DictError> {
        let get = |key| dict.get(key).map(String::as_str);
        let need = |key| get(key).ok_or(DictError::Missing(key));
        let trtype: TrType = word("trtype", need("trtype")?)?;
        let sectype = match get("sectype") {
            Some(sectype) if trtype == TrType::TCP => Some(word("sectype", sectype)?),
            _ => None,
        };
        let found = Self {
            trtype,
            adrfam: word("adrfam", get("adrfam").unwrap_or("0"))?,
            subtype: word("subtype", need("subtype")?)?,
            treq: word("treq", get("treq").unwrap_or("0"))?,
            portid: word("portid", get("portid").unwrap_or("0"))?,
            cntlid: word("cntlid", get("cntlid").unwrap_or("0"))?,
            asqsz: word("asqsz", get("asqsz").unwrap_or("0"))?,
            eflags: EFlags(word("eflags", get("eflags").unwrap_or("0"))?),
            trsvcid: need("trsvcid")?.to_owned(),
            subnqn: need("subnqn")?.to_owned(),
            traddr: need("traddr")?.to_owned(),
            tsas: sectype.map_or(Tsas::None, |sectype| Tsas::Tcp { sectype }),
        };
        Ok(found.checked()?)
    }

    /// Checks an entry that did not come from the bytes of a page.
    ///
    /// # Errors
    /// What no page may say.
    pub fn checked(self) -> Result<Self, Flaw> {
        if !self.subtype.is_known() {
            return Err(Flaw::Subtype(self.subtype.0));
        }
        let found = Self {
            trsvcid: text(Field::Trsvcid, self.trsvcid.as_bytes())?,
            subnqn: text(Field::Subnqn, self.subnqn.as_bytes())?,
            traddr: text(Field::Traddr, self.traddr.as_bytes())?,
            ..self
        };
        found.named()
    }

    /// Refuses a subsystem without a name.
    fn named(self) -> Result<Self, Flaw> {
        if self.subtype == Subtype::NVME && self.subnqn.is_empty() { Err(Flaw::NoNqn) } else { Ok(self) }
    }
}

impl Tsas {
    /// Reads the bytes of TSAS; absent ones are zeros.
    #[must_use]
    pub fn parse(trtype: TrType, bytes: &[u8]) -> Self {
        let byte = |at| u8_at(bytes, at).unwrap_or_default();
        match trtype {
            TrType::TCP => Self::Tcp { sectype: SecType(byte(0)) },
            TrType::RDMA => Self::Rdma {
                qptype: byte(0),
                prtype: byte(1),
                cms: byte(2),
                pkey: u16_at(bytes, 8).unwrap_or_default(),
            },
            _ => match bytes.iter().rposition(|byte| *byte != 0) {
                Some(last) => Self::Raw(bytes.get(..=last).unwrap_or(bytes).to_vec()),
                None => Self::None,
            },
        }
    }

    /// The bytes of TSAS, without those behind the last one that means something.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Tcp { sectype } => vec![sectype.0],
            Self::Rdma { qptype, prtype, cms, pkey } => {
                let [low, high] = pkey.to_le_bytes();
                vec![*qptype, *prtype, *cms, 0, 0, 0, 0, 0, low, high]
            }
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

/// The bytes of a field.
fn field(entry: &[u8], (at, len): (usize, usize)) -> &[u8] {
    entry.get(at..at + len).unwrap_or_default()
}

/// The bytes of TRSVCID, SUBNQN and TRADDR, as far as they are there.
pub(super) fn text_fields(entry: &[u8]) -> [&[u8]; 3] {
    [TRSVCID, SUBNQN, TRADDR].map(|place| field(entry, place))
}

/// The text of a field, if it is one that may go to the kernel, the log and the bus.
///
/// NQNs are UTF-8 (NVMe Base 2.1, 4.6). They need not begin with `nqn.`: nvmet takes any name. A NUL inside an NQN is
/// refused: what stands before it may be another subsystem's name. Behind the NUL of another field may be anything.
pub(super) fn text(field: Field, bytes: &[u8]) -> Result<String, Flaw> {
    let text = trimmed(bytes);
    let refused = |byte| Flaw::Byte { field, byte };
    let is_allowed =
        |c: char| c != ',' && if field == Field::Subnqn { !c.is_control() } else { matches!(c, ' '..='~') };
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => return Err(refused(text.get(error.valid_up_to()).copied().unwrap_or_default())),
    };
    if let Some((at, _)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        return Err(refused(text.as_bytes().get(at).copied().unwrap_or_default()));
    }
    if text.len() > field.limit() {
        return Err(Flaw::TooLong { field, len: text.len() });
    }
    let behind = bytes.iter().skip_while(|byte| **byte != 0);
    if field == Field::Subnqn && behind.clone().any(|byte| !matches!(byte, 0 | b' ')) {
        return Err(Flaw::Nul { before: text.to_owned() });
    }
    Ok(text.to_owned())
}

/// The value of a key: a word or a number.
fn word<T: FromStr>(key: &'static str, value: &str) -> Result<T, DictError> {
    value.trim().parse().map_err(|_| DictError::Value { key, value: value.to_owned() })
}
