//! The identity and capabilities that the controller reports.

use serde::{Deserialize, Serialize};
use stas_nvme::DISCOVERY_NQN;
use stas_nvme::identify::{CtrlType, Dctype, IdentifyController, Version};
use stas_nvme::log_page;
use stas_nvme::supported::{self, SupportedLogPages};
use stas_nvme::wire::put;

use crate::pdu::CAPSULE_DATA_MAX;

/// VS: NVMe 2.0.
pub const VERSION: Version = Version::V2_0;
/// KAS: the granularity of the keep alive timer, in units of 100 ms.
const KEEP_ALIVE_GRANULARITY: u16 = 1;
/// AERL: maximum number of outstanding Asynchronous Event Requests, minus one.
pub const EVENT_REQUESTS: u8 = 3;
/// MDTS: maximum data length of one command, as a power of two of 4 KiB pages: 1 MiB.
const MDTS: u8 = 8;
/// MDTS in bytes.
pub const TRANSFER_MAX: u64 = 4096 << MDTS;

/// The word for DCTYPE (TP8010) in files and on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Centralized discovery controller
    #[default]
    Cdc,
    /// Direct discovery controller
    Ddc,
    /// Not reported, as by controllers before TP8010
    None,
}

impl Type {
    fn dctype(self) -> Dctype {
        match self {
            Self::Cdc => Dctype::Cdc,
            Self::Ddc => Dctype::Ddc,
            Self::None => Dctype::None,
        }
    }
}

/// The identity of the controller, and its capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its NQN: the well-known one, or a unique one (TP8013). It accepts both in Connect.
    pub nqn: String,
    /// Its type (DCTYPE).
    pub dctype: Type,
    /// True if its pages contain an entry for itself.
    pub lists_itself: bool,
    /// True if it supports extended entries.
    pub extended: bool,
}

impl Default for Identity {
    fn default() -> Self {
        Self { nqn: DISCOVERY_NQN.to_owned(), dctype: Type::Cdc, lists_itself: true, extended: true }
    }
}

impl Identity {
    /// True for an NQN that a host may use in Connect.
    #[must_use]
    pub fn answers_to(&self, nqn: &str) -> bool {
        nqn == DISCOVERY_NQN || nqn == self.nqn
    }

    /// The Identify Controller data (NVMe Base 2.0, Figure 275): the fields that libstas reads, and those that a host's
    /// kernel needs.
    #[must_use]
    pub fn identify(&self, cntlid: u16, version: Version) -> Vec<u8> {
        let mut data = IdentifyController {
            serial: "cdcsim".to_owned(),
            model: "nvme-stas discovery simulator".to_owned(),
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            version,
            cntrltype: CtrlType::Discovery,
            dctype: self.dctype.dctype(),
            subnqn: self.nqn.clone(),
        }
        .encode();
        let mut write = |at: usize, bytes: &[u8]| put(data.get_mut(at..).unwrap_or_default(), bytes);
        write(77, &[MDTS]);
        write(78, &cntlid.to_le_bytes());
        write(92, &OAES_DISCOVERY_LOG.to_le_bytes());
        write(259, &[EVENT_REQUESTS]);
        write(261, &[LPA_EXTENDED_DATA]);
        write(320, &KEEP_ALIVE_GRANULARITY.to_le_bytes());
        write(514, &MAXCMD.to_le_bytes());
        write(536, &SGLS.to_le_bytes());
        // IOCCSZ and IORCSZ, in units of 16 bytes. Hosts check them, although there is no I/O queue.
        write(1792, &((64 + CAPSULE_DATA_MAX) / 16).to_le_bytes());
        write(1796, &1_u32.to_le_bytes());
        write(1803, &[1]); // MSDBD: one data block descriptor
        data
    }

    /// The supported log pages: page 00h and the discovery log page.
    #[must_use]
    pub fn supported_log_pages(&self) -> Vec<u8> {
        let pleos = if self.dctype == Type::Ddc { PLEOS } else { 0 };
        let extended = if self.extended { EXTDLPES } else { 0 };
        SupportedLogPages::of([(supported::LID, 0), (log_page::LID, pleos | extended)]).encode()
    }
}

/// OAES bit 31: an event is sent when the discovery log page has changed.
const OAES_DISCOVERY_LOG: u32 = 1 << 31;
/// LPA bit 2: Get Log Page supports an offset and long lengths.
const LPA_EXTENDED_DATA: u8 = 1 << 2;
/// MAXCMD: maximum number of outstanding commands on the admin queue.
const MAXCMD: u16 = 128;
/// SGLS: SGLs (bits 1:0), the transport data block (bit 21) and offsets in capsules (bit 20) are supported.
const SGLS: u32 = 1 << 0 | 1 << 20 | 1 << 21;
/// LID specific bits of the discovery log page: extended entries are supported.
const EXTDLPES: u16 = 1 << 0;
/// Port-local entries can be requested.
const PLEOS: u16 = 1 << 1;
