//! One entry of the discovery log page: 1024 bytes (NVMe Base 2.1, Figure 294), and its dictionary on D-Bus.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::codes::{AdrFam, EFlags, SecType, Subtype, TrType, Treq};
use crate::wire::{put, trimmed, u8_at, u16_at};
use crate::{NQN_MAX, Transport};

/// Length of an entry without extended attributes in bytes.
pub const ENTRY_LEN: usize = 1024;
/// Text fields and TSAS of an entry: offset and length in bytes.
const TRSVCID: (usize, usize) = (32, 32);
const SUBNQN: (usize, usize) = (256, 256);
const TRADDR: (usize, usize) = (512, 256);
const TSAS: (usize, usize) = (768, 256);

/// One entry: one path to a subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// TRTYPE: transport over which the subsystem is reached. Types unknown to this host are kept.
    pub trtype: TrType,
    /// ADRFAM: address family of `traddr`, as the page states it.
    pub adrfam: AdrFam,
    /// SUBTYPE: referral, NVM subsystem or the discovery subsystem itself.
    pub subtype: Subtype,
    /// TREQ: whether a secure channel is required, and whether SQ flow control can be disabled.
    pub treq: Treq,
    /// PORTID: port of the NVM subsystem to which the entry belongs.
    pub portid: u16,
    /// CNTLID: controller ID. FFFFh: the subsystem allocates controllers on demand (dynamic controller model).
    pub cntlid: u16,
    /// ASQSZ: largest admin submission queue in entries.
    pub asqsz: u16,
    /// EFLAGS: entry flags, such as NCC.
    pub eflags: EFlags,
    /// TRSVCID: transport service identifier, the port for tcp and rdma.
    pub trsvcid: String,
    /// SUBNQN: NQN of the subsystem. A referral may leave it empty.
    pub subnqn: String,
    /// TRADDR: transport address as in the page, not in canonical form.
    pub traddr: String,
    /// TSAS: transport specific data. The dictionary contains only the security type of NVMe/TCP.
    #[serde(default)]
    pub tsas: Tsas,
}

/// TSAS: transport specific address subtype.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tsas {
    /// All zeros in a transport without TSAS, or the entry did not come from a page.
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
    /// TSAS of another transport, without trailing zeros.
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
    /// Longest text of the field in bytes.
    fn limit(self) -> usize {
        match self {
            Self::Trsvcid => TRSVCID.1,
            Self::Subnqn => NQN_MAX,
            Self::Traddr => TRADDR.1,
        }
    }
}

impl Field {
    /// Allowed characters of the field, in words for an error message.
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

/// Why an entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EntryError {
    /// The bytes end before the entry does.
    #[error("it has {0} bytes where an entry has {ENTRY_LEN}")]
    Short(usize),
    /// The entry consists of zeros only.
    #[error("it is all zeros: the page is shorter than its header says")]
    Blank,
    /// A subtype that the specification does not define.
    #[error("subtype is {0}; 1 (referral), 2 (nvme) and 3 (discovery) are defined")]
    Subtype(u8),
    /// A byte is not text, or the kernel's option string cannot contain it.
    #[error("{field} contains the byte {byte:#04x}; {} is allowed", .field.allowed())]
    Byte {
        /// Text field that contains the byte.
        field: Field,
        /// The refused byte.
        byte: u8,
    },
    /// A text is longer than its field or the specification allows.
    #[error("{field} has {len} bytes; at most {} are allowed", .field.limit())]
    TooLong {
        /// Text field that is too long.
        field: Field,
        /// Length of the text in bytes.
        len: usize,
    },
    /// The entry of an NVM subsystem has no NQN. (Referrals may have none: every discovery controller answers to the
    /// well-known NQN.)
    #[error("subnqn is empty")]
    NoNqn,
    /// An NQN has more bytes after a NUL.
    #[error("subnqn has a NUL inside: {before:?} and more bytes behind it")]
    Nul {
        /// The text before the NUL.
        before: String,
    },
    /// The entry of an NVM subsystem has the well-known NQN of discovery controllers.
    #[error("subnqn is the well-known one of discovery controllers, but subtype is nvme")]
    DiscoveryNqn,
    /// This host does not have the transport.
    #[error("trtype is {0}, a transport that this host does not have")]
    Transport(u8),
    /// The entry has no address: TRADDR is empty, `0.0.0.0` or `::`.
    #[error("traddr is empty or the unspecified address")]
    NoAddress,
    /// TRADDR is not an address of the transport.
    #[error("traddr is {text:?}, which is no address of {transport}")]
    Address {
        /// Transport of the entry, which determines the form of the address.
        transport: Transport,
        /// The text in TRADDR.
        text: String,
    },
    /// The loop transport leads to what this host exports itself. Only a discovery controller of that transport may
    /// list it: any other one would make this host connect to itself.
    #[error("trtype is loop, which only a discovery controller of the loop transport may list")]
    Loop,
    /// TRSVCID is not a port.
    #[error("trsvcid is {0:?}, which is no port from 1 to 65535")]
    Port(String),
}

impl EntryError {
    /// True if a part of the page is missing. Then the page proves nothing about controllers that it does not list.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        matches!(self, Self::Short(_) | Self::Blank)
    }

    /// The text that the error quotes.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Nul { before: text } | Self::Address { text, .. } | Self::Port(text) => Some(text),
            _ => None,
        }
    }

    /// True if a field is damaged: the entry may be the changed form of any other entry. The other flaws are
    /// unambiguous: no path to that controller exists.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Subtype(_) | Self::Transport(_) | Self::NoAddress | Self::DiscoveryNqn | Self::Loop)
    }
}

/// Why a dictionary cannot be read as an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DictError {
    /// A mandatory key is missing.
    #[error("the key {0} is missing")]
    Missing(&'static str),
    /// A value is neither a known word nor a number in the range of its key.
    #[error("{key} is {value:?}, which is neither a known word nor a number in its range")]
    Value {
        /// Key of the value in the dictionary.
        key: &'static str,
        /// The refused value.
        value: String,
    },
    /// The values can be read, but the entry is not valid.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl Entry {
    /// Decodes an entry. Bytes after the first 1024 are ignored.
    ///
    /// # Errors
    /// [`EntryError`] if the entry is malformed. Unknown transports and address families are not errors: they are kept,
    /// and [`Entry::transport`] returns `None` for an unknown transport.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let entry = bytes.get(..ENTRY_LEN).ok_or(EntryError::Short(bytes.len()))?;
        if entry.iter().all(|byte| *byte == 0) {
            return Err(EntryError::Blank);
        }
        let subtype = Subtype(u8_at(entry, 2).unwrap_or_default());
        if !subtype.is_known() {
            return Err(EntryError::Subtype(subtype.0));
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

    /// Encodes the entry as in a page. A text that is too long for its field is cut.
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

    /// Transport to the controller. `None`: this host does not have it.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        self.trtype.transport()
    }

    /// Security type of NVMe/TCP connections. `None` for other transports.
    #[must_use]
    pub fn sectype(&self) -> Option<SecType> {
        match self.tsas {
            Tsas::Tcp { sectype } => Some(sectype),
            Tsas::None | Tsas::Rdma { .. } | Tsas::Raw(_) => None,
        }
    }

    /// The dictionary of the entry on D-Bus.
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

    /// Reads a dictionary made by [`Entry::to_dict`]. Unknown keys are ignored. Numbers that a connection does not need
    /// may be absent, and are zero then.
    ///
    /// # Errors
    /// [`DictError`] if a key is missing, a value cannot be read, or the entry is not valid.
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

    /// Checks an entry that was not decoded from the bytes of a page.
    ///
    /// # Errors
    /// [`EntryError`] if a page must not contain such an entry.
    pub fn checked(self) -> Result<Self, EntryError> {
        if !self.subtype.is_known() {
            return Err(EntryError::Subtype(self.subtype.0));
        }
        let found = Self {
            trsvcid: text(Field::Trsvcid, self.trsvcid.as_bytes())?,
            subnqn: text(Field::Subnqn, self.subnqn.as_bytes())?,
            traddr: text(Field::Traddr, self.traddr.as_bytes())?,
            ..self
        };
        found.named()
    }

    /// Rejects the entry of an NVM subsystem without an NQN.
    fn named(self) -> Result<Self, EntryError> {
        if self.subtype == Subtype::NVME && self.subnqn.is_empty() { Err(EntryError::NoNqn) } else { Ok(self) }
    }
}

impl Tsas {
    /// Decodes TSAS. Missing bytes are zero.
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

    /// Encodes TSAS, without the trailing bytes that the transport leaves reserved.
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

/// The bytes of a field; empty if the entry is too short.
fn field(entry: &[u8], (at, len): (usize, usize)) -> &[u8] {
    entry.get(at..at + len).unwrap_or_default()
}

/// The bytes of TRSVCID, SUBNQN and TRADDR; empty where the entry is too short.
pub(super) fn text_fields(entry: &[u8]) -> [&[u8]; 3] {
    [TRSVCID, SUBNQN, TRADDR].map(|place| field(entry, place))
}

/// The text of a field, if it can safely be passed to the kernel, the log and D-Bus.
///
/// NQNs are UTF-8 (NVMe Base 2.1, 4.6). They need not begin with `nqn.`: nvmet accepts any name. An NQN with more bytes
/// after a NUL is refused: the text before the NUL may be the name of another subsystem. In the other fields the bytes
/// after a NUL are ignored.
pub(super) fn text(field: Field, bytes: &[u8]) -> Result<String, EntryError> {
    let text = trimmed(bytes);
    let refused = |byte| EntryError::Byte { field, byte };
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
        return Err(EntryError::TooLong { field, len: text.len() });
    }
    let behind = bytes.iter().skip_while(|byte| **byte != 0);
    if field == Field::Subnqn && behind.clone().any(|byte| !matches!(byte, 0 | b' ')) {
        return Err(EntryError::Nul { before: text.to_owned() });
    }
    Ok(text.to_owned())
}

/// Parses the value of a key: a word or a number.
fn word<T: FromStr>(key: &'static str, value: &str) -> Result<T, DictError> {
    value.trim().parse().map_err(|_| DictError::Value { key, value: value.to_owned() })
}
