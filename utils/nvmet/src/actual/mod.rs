//! The present state: the kernel's target, the relevant block devices, the loaded modules.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use stas_nvme::Secret;

use crate::identity::Identifier;
use crate::module::Module;

pub use read::{ObserveError, observe};

/// A snapshot of everything that a plan depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actual {
    /// The modules that are loaded or built in.
    pub modules: BTreeSet<Module>,
    /// Ports by number.
    pub ports: BTreeMap<u16, Port>,
    /// Subsystems by NQN.
    pub subsystems: BTreeMap<String, Subsystem>,
    /// Hosts by NQN.
    pub hosts: BTreeMap<String, Host>,
    /// The `null_blk` devices created in configfs, by name.
    pub null_blk: BTreeMap<String, NullBlk>,
    /// RAM disks of `brd` by number.
    pub ram_disks: BTreeMap<u32, RamDisk>,
    /// The state of the devices and files to which the configuration refers by path.
    pub given: BTreeMap<PathBuf, Given>,
    /// The inode numbers of the directories of ports, subsystems, hosts and `null_blk` devices, by path below the root
    /// of configfs. The kernel gives each new directory another number and keeps it until the directory is removed.
    pub inodes: BTreeMap<PathBuf, u64>,
}

/// The attributes of a port or a referral that are set, by name.
pub type Attributes = BTreeMap<String, String>;

/// A port of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Port {
    /// The attributes addr_*.
    pub attributes: Attributes,
    /// The NQNs of the subsystems that it exports.
    pub exports: BTreeSet<String>,
    /// Its referrals, by name.
    pub referrals: BTreeMap<String, Referral>,
}

/// A referral of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referral {
    /// The attributes addr_*.
    pub attributes: Attributes,
    /// True if it is in the log page.
    pub enabled: bool,
}

/// A subsystem of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subsystem {
    /// True if any host may connect.
    pub any_host: bool,
    /// The NQNs of the hosts that may connect.
    pub hosts: BTreeSet<String>,
    /// Its namespaces, by ID.
    pub namespaces: BTreeMap<u32, Namespace>,
}

/// A namespace of a subsystem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its block device or file, if set.
    pub device: Option<PathBuf>,
    /// Its UUID; random unless it was set.
    pub uuid: Option<Identifier>,
    /// Its NGUID, `None` if zero.
    pub nguid: Option<Identifier>,
    /// True if hosts see it.
    pub enabled: bool,
}

/// A host with its authentication settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Attribute `dhchap_key`: authenticates the host.
    pub dhchap_key: Key,
    /// Attribute `dhchap_ctrl_key`: authenticates the controller.
    pub dhchap_ctrl_key: Key,
    /// The attributes dhchap_hash and dhchap_dhgroup.
    pub settings: Attributes,
}

/// A key, as far as we may read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Key {
    /// No key is set.
    #[default]
    Unset,
    /// The key in configfs.
    Set(Secret),
    /// We may not read the key.
    Hidden,
}

/// A `null_blk` block device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NullBlk {
    /// Its size in MiB.
    pub size_mib: u32,
    /// True if it stores written data.
    pub memory_backed: bool,
    /// True if the block device exists.
    pub powered: bool,
}

/// A RAM disk of `brd`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RamDisk {
    /// Its size in MiB.
    pub size_mib: u32,
    /// True if it is mounted, used as swap, or held by another device.
    pub in_use: bool,
}

/// A device or file to which the configuration refers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The path does not exist, or is neither a block device nor a file.
    Missing,
    /// A block device that is mounted, used as swap, or held by another device.
    InUse,
    /// It may be exported.
    Ready,
}

impl Actual {
    /// The host NQNs that any subsystem other than those of `except` admits.
    pub fn admitted_elsewhere(&self, except: &BTreeSet<String>) -> BTreeSet<&String> {
        let others = self.subsystems.iter().filter(|(nqn, _)| !except.contains(*nqn));
        others.flat_map(|(_, subsystem)| &subsystem.hosts).collect()
    }

    /// The devices that any subsystem other than those of `except` exports.
    pub fn devices_elsewhere(&self, except: &BTreeSet<String>) -> BTreeSet<&PathBuf> {
        let others = self.subsystems.iter().filter(|(nqn, _)| !except.contains(*nqn));
        others.flat_map(|(_, subsystem)| subsystem.namespaces.values()).filter_map(|ns| ns.device.as_ref()).collect()
    }
}
