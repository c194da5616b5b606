//! What is there now: the kernel's target, the block devices that matter, the loaded modules.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use libstas::nvme::Secret;

use crate::identity::Identifier;
use crate::module::Module;
use crate::record::Record;

pub use read::{ObserveError, observe};

/// A snapshot of everything that a plan depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Modules that are loaded, or built in.
    pub modules: BTreeSet<Module>,
    /// Ports by number.
    pub ports: BTreeMap<u16, Port>,
    /// Subsystems by NQN.
    pub subsystems: BTreeMap<String, Subsystem>,
    /// Hosts by NQN.
    pub hosts: BTreeMap<String, Host>,
    /// Devices of `null_blk` that were made in configfs, by name.
    pub null_blk: BTreeMap<String, NullBlk>,
    /// RAM disks of `brd` by number.
    pub ram_disks: BTreeMap<u32, RamDisk>,
    /// The state of the devices and files that the configuration gives by path.
    pub given: BTreeMap<PathBuf, Given>,
}

/// Attributes of a port or a referral that are set, by name.
pub type Attributes = BTreeMap<String, String>;

/// A port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Port {
    /// addr_*.
    pub attributes: Attributes,
    /// NQNs that it exports.
    pub exports: BTreeSet<String>,
    /// Referrals by name.
    pub referrals: BTreeMap<String, Referral>,
}

/// A referral.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referral {
    /// addr_*.
    pub attributes: Attributes,
    /// Whether it is in the log page.
    pub enabled: bool,
}

/// A subsystem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subsystem {
    /// Whether any host may connect.
    pub any_host: bool,
    /// NQNs of the hosts that may.
    pub hosts: BTreeSet<String>,
    /// Namespaces by ID.
    pub namespaces: BTreeMap<u32, Namespace>,
}

/// A namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its block device or file, if one was written.
    pub device: Option<PathBuf>,
    /// Its UUID; the kernel draws one at random.
    pub uuid: Option<Identifier>,
    /// Its NGUID, `None` if zero.
    pub nguid: Option<Identifier>,
    /// Whether hosts see it.
    pub enabled: bool,
}

/// A host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Attribute `dhchap_key`: authenticates the host.
    pub dhchap_key: Key,
    /// Attribute `dhchap_ctrl_key`: authenticates the controller.
    pub dhchap_ctrl_key: Key,
    /// dhchap_hash and dhchap_dhgroup.
    pub settings: Attributes,
}

/// A key as far as we may see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Key {
    /// None is set.
    #[default]
    Unset,
    /// The key that configfs shows.
    Set(Secret),
    /// We may not read it.
    Hidden,
}

/// A `null_blk` device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NullBlk {
    /// Its size in MiB.
    pub size_mib: u32,
    /// Whether it keeps what is written.
    pub memory_backed: bool,
    /// Whether the block device exists.
    pub powered: bool,
}

/// A RAM disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RamDisk {
    /// Its size in MiB.
    pub size_mib: u32,
    /// Whether it is mounted, used as swap, or held by another device.
    pub in_use: bool,
}

/// A device or file that the configuration gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// There is no such path, or it is neither a block device nor a file.
    Missing,
    /// A block device that is mounted, used as swap, or held by another device.
    InUse,
    /// It may be exported.
    Ready,
}

impl Observed {
    /// The host NQNs that any subsystem other than those of `except` lets in.
    pub fn admitted_elsewhere(&self, except: &BTreeSet<String>) -> BTreeSet<&String> {
        let others = self.subsystems.iter().filter(|(nqn, _)| !except.contains(*nqn));
        others.flat_map(|(_, subsystem)| &subsystem.hosts).collect()
    }

    /// The devices that any subsystem other than those of `except` exports.
    pub fn devices_elsewhere(&self, except: &BTreeSet<String>) -> BTreeSet<&PathBuf> {
        let others = self.subsystems.iter().filter(|(nqn, _)| !except.contains(*nqn));
        others.flat_map(|(_, subsystem)| subsystem.namespaces.values()).filter_map(|ns| ns.device.as_ref()).collect()
    }

    /// What is there once all that the record names was removed: what [`crate::plan::clean`] leads to.
    #[must_use]
    pub fn without(mut self, record: &Record) -> Self {
        let kept_hosts: BTreeSet<String> = self.admitted_elsewhere(&record.subsystems).into_iter().cloned().collect();
        let kept_devices: BTreeSet<PathBuf> = self.devices_elsewhere(&record.subsystems).into_iter().cloned().collect();
        self.ports.retain(|id, _| !record.ports.contains(id));
        self.ports.values_mut().for_each(|port| port.exports.retain(|nqn| !record.subsystems.contains(nqn)));
        self.subsystems.retain(|nqn, _| !record.subsystems.contains(nqn));
        self.hosts.retain(|nqn, _| !record.hosts.contains(nqn) || kept_hosts.contains(nqn));
        self.null_blk.retain(|name, _| {
            !record.null_blk.contains(name) || kept_devices.contains(&crate::wanted::null_blk_device(name))
        });
        self.modules.retain(|module| !record.modules.contains(module));
        if record.modules.contains(&Module::Brd) {
            self.ram_disks.clear();
        }
        self
    }
}
