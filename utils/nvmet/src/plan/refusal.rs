//! Why a plan is refused. Nothing has been changed then.

use std::path::PathBuf;

use crate::desired::Address;

/// The reason of a refusal, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The port exists and is not ours.
    #[error("port {0} exists and was not made by nvmet; give the port another id, or remove that one")]
    ForeignPort(u16),
    /// The address of the port is used by another port.
    #[error(
        "port {other}, which the configuration does not contain, listens at {address}; give port {id} another trsvcid \
         or traddr"
    )]
    AddressTaken {
        /// The wanted port.
        id: u16,
        /// The existing port.
        other: u16,
        /// The address of both.
        address: Address,
    },
    /// The subsystem exists and is not ours.
    #[error("subsystem {0} exists and was not made by nvmet; give it another nqn, or remove that one")]
    ForeignSubsystem(String),
    /// The host exists with other keys and is not ours.
    #[error("host {0} exists with other keys and was not made by nvmet; use another host nqn, or remove that one")]
    ForeignHost(String),
    /// The device exists and is not ours.
    #[error("the null_blk device {0} exists and was not made by nvmet; remove /sys/kernel/config/nullb/{0}")]
    ForeignNullBlk(String),
    /// A configured device does not exist.
    #[error(
        "subsystem {nqn}, namespace {nsid}: {path} is neither a block device nor a file; correct device = in the \
         configuration"
    )]
    NoDevice {
        /// The NQN of the subsystem.
        nqn: String,
        /// The ID of the namespace.
        nsid: u32,
        /// The configured path.
        path: PathBuf,
    },
    /// A configured device is in use on this machine.
    #[error("subsystem {nqn}, namespace {nsid}: {path} is in use on this machine; unmount it, or give another device")]
    DeviceInUse {
        /// The NQN of the subsystem.
        nqn: String,
        /// The ID of the namespace.
        nsid: u32,
        /// The configured path.
        path: PathBuf,
    },
    /// The RAM disks are not ours.
    #[error(
        "brd is loaded already, so its RAM disks may hold data of another program; use storage = \"null_blk\", \
         or unload it (rmmod brd), or let nvmet overwrite idle ones with use_existing = true in [brd]"
    )]
    ForeignRamDisks,
    /// There are too few RAM disks.
    #[error(
        "{wanted} RAM disks are needed, and brd has {available} available; `nvmet create -d` (which loses their data) \
         loads it again with enough, unless another program loaded it"
    )]
    TooFewRamDisks {
        /// Number of namespaces that need one.
        wanted: usize,
        /// Number of disks that are idle or already ours.
        available: usize,
    },
    /// The RAM disks have another size.
    #[error(
        "brd was loaded with RAM disks of {found} MiB, and {wanted} MiB are needed; `nvmet create -d` (which loses \
         their data) loads it again"
    )]
    OtherRamDiskSize {
        /// The configured size in MiB.
        wanted: u32,
        /// The present size in MiB.
        found: u32,
    },
    /// The port of `link` or `unlink` does not exist.
    #[error("there is no port {0}; there are: {1}")]
    NoPort(u16, String),
    /// The subsystem of `link` or `unlink` does not exist.
    #[error("there is no subsystem {0}; there are: {1}")]
    NoSubsystem(String, String),
}
