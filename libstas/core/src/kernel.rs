//! The kernel's NVMe-oF controllers and network interfaces, as plain values.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use stas_nvme::identify::{CtrlType, Dctype};

use super::CtrlRef;
use stas_nvme::{Tid, TidParts, Transport};

/// The state of a controller, as in its sysfs attribute `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CtrlState {
    /// Being set up for the first time.
    New,
    /// `live`: it processes commands.
    Live,
    /// `resetting`: the kernel resets it and reconnects it afterwards.
    Resetting,
    /// `connecting`: the kernel connects or reconnects it.
    Connecting,
    /// `deleting` or `deleting (no IO)`: the kernel is deleting it.
    Deleting,
    /// `dead`: the kernel has given it up.
    Dead,
    /// An unknown word, or an unreadable attribute.
    Unknown,
}

impl CtrlState {
    /// Parses the sysfs word.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        match word.trim() {
            "new" => Self::New,
            "live" => Self::Live,
            "resetting" => Self::Resetting,
            "connecting" => Self::Connecting,
            "deleting" | "deleting (no IO)" => Self::Deleting,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }

    /// True while the kernel is restoring the connection.
    #[must_use]
    pub fn is_reconnecting(self) -> bool {
        matches!(self, Self::Resetting | Self::Connecting)
    }

    /// The sysfs word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Live => "live",
            Self::Resetting => "resetting",
            Self::Connecting => "connecting",
            Self::Deleting => "deleting",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for CtrlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a connection became ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gained {
    /// One of the daemons connected it.
    Connected,
    /// It had no owner, and we adopted it for a controller that a source wanted.
    Adopted,
    /// In a way that only a later version knows. Its rules are unknown, and so is whether it may be disconnected.
    #[serde(other)]
    Unknown,
}

/// The owner of a connection, as the registry of nvme-cli 3 records it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// No entry: connected by hand, by the initramfs, or by a program that does not use the registry.
    #[default]
    None,
    /// stafd or stacd, by an entry that matches this very controller.
    Stas(Gained),
    /// Another orchestrator of that name.
    Other(String),
    /// The entry could not be read or understood.
    Unknown,
}

/// One controller of the kernel, as /sys/class/nvme/nvmeN shows it. Empty strings mean unset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelController {
    /// The instance number, and the inode number of its directory in sysfs.
    pub ctrl: CtrlRef,
    /// The transport. Controllers of other transports (pcie) are not in the inventory.
    pub transport: Transport,
    /// Transport address, canonical.
    pub traddr: String,
    /// Transport service identifier: the port of TCP and RDMA, empty for other transports.
    pub trsvcid: String,
    /// The host_traddr that it was connected with, canonical.
    pub host_traddr: String,
    /// The host_iface that it was connected with.
    pub host_iface: String,
    /// Source address of its admin queue (since kernel 6.1); kept while the connection is down.
    pub src_addr: Option<IpAddr>,
    /// Subsystem NQN that the controller reports.
    pub subsysnqn: String,
    /// The host NQN that it was connected with.
    pub hostnqn: String,
    /// The host ID that it was connected with.
    pub hostid: String,
    /// The controller type (CNTRLTYPE) of Identify Controller.
    pub cntrltype: CtrlType,
    /// The kind of discovery controller (DCTYPE).
    pub dctype: Dctype,
    /// The state at the time of the snapshot.
    pub state: CtrlState,
    /// Keep-alive timeout in seconds, if known; 0 marks a short-lived `nvme discover`.
    pub kato: Option<u32>,
    /// True if it was connected with TLS or secure concatenation. `None` if that is not known.
    #[serde(default)]
    pub encrypted: Option<bool>,
    /// The model number (MN) of Identify Controller.
    pub model: String,
    /// The serial number (SN) of Identify Controller.
    pub serial: String,
    /// The owner of the connection.
    #[serde(default)]
    pub owner: Owner,
    /// True if this host runs from the subsystem (`/`, `/usr` or swap is on one of its namespaces), or if that is unknown.
    #[serde(default)]
    pub carries_system: bool,
}

impl KernelController {
    /// A controller whose attributes have not been read yet.
    #[must_use]
    pub fn unread(ctrl: CtrlRef, transport: Transport) -> Self {
        Self {
            ctrl,
            transport,
            traddr: String::new(),
            trsvcid: String::new(),
            host_traddr: String::new(),
            host_iface: String::new(),
            src_addr: None,
            subsysnqn: String::new(),
            hostnqn: String::new(),
            hostid: String::new(),
            cntrltype: CtrlType::Unknown,
            dctype: Dctype::None,
            state: CtrlState::Unknown,
            kato: None,
            encrypted: None,
            model: String::new(),
            serial: String::new(),
            owner: Owner::None,
            carries_system: false,
        }
    }

    /// The connection that a TID specifies, with the attributes that a TID contains. The reverse of
    /// [`KernelController::tid`].
    #[must_use]
    pub fn asked_for_by(tid: &Tid, ctrl: CtrlRef) -> Self {
        Self {
            traddr: tid.traddr.clone(),
            trsvcid: tid.trsvcid.clone(),
            host_traddr: tid.host_traddr.clone(),
            host_iface: tid.host_iface.clone(),
            subsysnqn: tid.subsysnqn.clone(),
            hostnqn: tid.host_nqn.clone(),
            ..Self::unread(ctrl, tid.transport())
        }
    }

    /// True for a discovery controller, by its type or by its well-known NQN.
    #[must_use]
    pub fn is_discovery(&self) -> bool {
        match self.cntrltype {
            CtrlType::Discovery => true,
            CtrlType::Io | CtrlType::Admin => false,
            CtrlType::Unknown => self.subsysnqn == stas_nvme::DISCOVERY_NQN,
        }
    }

    /// True once the attributes that identify the controller are filled in. The kernel does so during the first
    /// connect. Before that a discovery controller may look like an I/O controller, and a connection with an owner like
    /// one without.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        let has_names = !self.subsysnqn.is_empty() && !self.hostnqn.is_empty();
        self.is_live() || (has_names && self.cntrltype != CtrlType::Unknown)
    }

    /// The TID that specifies exactly this connection.
    #[must_use]
    pub fn tid(&self) -> Tid {
        Tid::new(TidParts {
            transport: self.transport,
            traddr: self.traddr.clone(),
            trsvcid: self.trsvcid.clone(),
            subsysnqn: self.subsysnqn.clone(),
            host_traddr: self.host_traddr.clone(),
            host_iface: self.host_iface.clone(),
            host_nqn: self.hostnqn.clone(),
        })
    }

    /// True when it is live.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state == CtrlState::Live
    }

    /// True when the kernel deletes it, or has given it up.
    #[must_use]
    pub fn is_being_deleted(&self) -> bool {
        matches!(self.state, CtrlState::Deleting | CtrlState::Dead)
    }
}

/// A snapshot of the kernel's controllers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Numbers the snapshots of this shell: a later snapshot has a greater number, even if it is delivered earlier.
    pub order: u64,
    /// /sys/kernel/uevent_seqnum, read before the scan: older events say nothing new.
    pub seqnum: u64,
    /// All fabrics controllers. Unchanged ones are shared between snapshots, because there may be hundreds.
    pub controllers: Vec<Arc<KernelController>>,
}

impl Snapshot {
    /// A snapshot of these controllers.
    #[must_use]
    pub fn new(order: u64, seqnum: u64, controllers: impl IntoIterator<Item = KernelController>) -> Self {
        Self { order, seqnum, controllers: controllers.into_iter().map(Arc::new).collect() }
    }
}

/// A network interface with its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    /// The interface index that the kernel gives it.
    pub index: u32,
    /// The name, as in `ip link`.
    pub name: String,
    /// Its hardware address, empty if it has none.
    pub mac: Vec<u8>,
    /// True if it is administratively up and has a carrier.
    pub up: bool,
    /// Its addresses in the kernel's order: the primary one comes first.
    pub addresses: Vec<IpAddr>,
}

/// All network interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links(pub Vec<Interface>);

impl Links {
    /// The interface that has an address.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&Interface> {
        let address = address.to_canonical();
        self.0.iter().find(|interface| interface.addresses.contains(&address))
    }

    /// True if a controller is at an address of this host.
    #[must_use]
    pub fn have_address_of(&self, tid: &Tid) -> bool {
        let address = tid.transport().is_ip().then(|| stas_nvme::tid::parse_ip(&tid.traddr)).flatten();
        address.is_some_and(|(ip, _)| ip.is_loopback() || self.owner(ip).is_some())
    }

    /// True if a controller may be at an address of this host. Before the interfaces are known, every one may be.
    #[must_use]
    pub fn may_have_address_of(&self, tid: &Tid) -> bool {
        tid.transport().is_ip() && (self.0.is_empty() || self.have_address_of(tid))
    }

    /// The interface with that index.
    #[must_use]
    pub fn numbered(&self, index: u32) -> Option<&Interface> {
        self.0.iter().find(|interface| interface.index == index)
    }

    /// The interface with that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Interface> {
        self.0.iter().find(|interface| interface.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_the_kernels_word_for_it() {
        for word in ["new", "live", "resetting", "connecting", "deleting", "dead"] {
            assert_eq!(CtrlState::parse(&format!("{word}\n")).to_string(), word);
        }
        assert_eq!(CtrlState::parse("deleting (no IO)"), CtrlState::Deleting);
        assert_eq!(CtrlState::parse("hibernating").to_string(), "unknown");
    }
}
