//! Why a plan is refused. Nothing has been changed then.

use std::path::PathBuf;

use crate::wanted::Address;

/// What stands against a plan, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The number of a port is taken.
    #[error("port {0} exists and was not made by nvmet; give the port another id, or remove that one")]
    ForeignPort(u16),
    /// The address of a port is taken.
    #[error(
        "port {other}, which the configuration does not name, listens at {address}; give port {id} another trsvcid or traddr"
    )]
    AddressTaken {
        /// The port that is wanted.
        id: u16,
        /// The port that is there.
        other: u16,
        /// Where both would listen.
        address: Address,
    },
    /// The NQN of a subsystem is taken.
    #[error("subsystem {0} exists and was not made by nvmet; give it another nqn, or remove that one")]
    ForeignSubsystem(String),
    /// A host has other keys than it should have.
    #[error("host {0} exists with other keys and was not made by nvmet; use another host nqn, or remove that one")]
    ForeignHost(String),
    /// The name of a device is taken.
    #[error("the null_blk device {0} exists and was not made by nvmet; remove /sys/kernel/config/nullb/{0}")]
    ForeignNullBlk(String),
    /// A device that the configuration gives is not there.
    #[error(
        "subsystem {nqn}, namespace {nsid}: {path} is neither a block device nor a file; correct device = in the configuration"
    )]
    NoDevice {
        /// The subsystem.
        nqn: String,
        /// The namespace.
        nsid: u32,
        /// The path.
        path: PathBuf,
    },
    /// A device that the configuration gives is used by this machine.
    #[error("subsystem {nqn}, namespace {nsid}: {path} is in use on this machine; unmount it, or give another device")]
    DeviceInUse {
        /// The subsystem.
        nqn: String,
        /// The namespace.
        nsid: u32,
        /// The path.
        path: PathBuf,
    },
    /// RAM disks of somebody else's.
    #[error(
        "brd is loaded already, so its RAM disks may hold somebody's data; use storage = \"null_blk\", \
         or unload it (rmmod brd), or let nvmet overwrite idle ones with use_existing = true in [brd]"
    )]
    ForeignRamDisks,
    /// Too few RAM disks.
    #[error(
        "{wanted} RAM disks are wanted and brd has {available} to give; `nvmet create -d` (which loses their data) \
         loads it anew with enough, unless it was loaded by somebody else"
    )]
    TooFewRamDisks {
        /// How many namespaces lie on one.
        wanted: usize,
        /// How many are idle or already ours.
        available: usize,
    },
    /// RAM disks of another size.
    #[error(
        "brd was loaded with RAM disks of {found} MiB and {wanted} MiB are wanted; `nvmet create -d` (which loses \
         their data) loads it anew"
    )]
    OtherRamDiskSize {
        /// In the configuration, in MiB.
        wanted: u32,
        /// In the kernel, in MiB.
        found: u32,
    },
    /// `link` and `unlink` need a port.
    #[error("there is no port {0}; there are: {1}")]
    NoPort(u16, String),
    /// `link` and `unlink` need a subsystem.
    #[error("there is no subsystem {0}; there are: {1}")]
    NoSubsystem(String, String),
}
