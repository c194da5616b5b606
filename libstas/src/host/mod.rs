//! Linux: the kernel's NVMe-oF host, its events, network interfaces, reachability, names.
//!
//! | module | what it is about |
//! |---|---|
//! | [`effects`] | starts what the cores ask for, tells them what happens: the way into this room |
//! | [`lane`] | the one thread that asks the kernel for connections |
//! | [`fabrics`] | /dev/nvme-fabrics: its options, the write, its answer |
//! | [`sysfs`] | what the kernel says of its NVMe-oF controllers |
//! | [`secrets`] | hiding what the kernel shows to everybody |
//! | [`registry`] | which orchestrator owns a connection |
//! | `rotation` | changing the secrets of an existing connection |
//! | [`disconnect`] | deleting exactly one controller |
//! | [`usage`] | is storage in use behind a controller |
//! | [`admin`] | admin commands to a live controller |
//! | `waiting` | whether the other daemon waits for connections |
//! | [`uevents`] | the kernel's events about controllers |
//! | [`links`] | network interfaces, addresses, routes |
//! | [`mdns`] | announcements of discovery controllers |
//! | [`probe`] | does a portal answer |
//! | [`names`] | host names |
//! | [`nbft`] | the boot tables that the firmware left |
//!
//! A call into the kernel's NVMe code may block for a minute. Such calls run on plain threads (`thread`), which
//! are never joined: when the process ends they end with it.

pub mod admin;
pub mod disconnect;
pub mod effects;
pub mod fabrics;
pub mod lane;
pub mod links;
pub mod mdns;
pub mod names;
pub mod nbft;
pub mod probe;
pub mod registry;
mod rotation;
pub mod secrets;
mod sys;
pub mod sysfs;
mod thread;
pub mod uevents;
pub mod usage;
mod waiting;

mod fake_tree;

use std::path::PathBuf;

/// Where the kernel's file systems are mounted; tests put trees of their own there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// sysfs, `/sys`.
    pub sys: PathBuf,
    /// Device nodes, `/dev`.
    pub dev: PathBuf,
    /// procfs, `/proc`.
    pub proc: PathBuf,
    /// The ownership registry of nvme-cli, `/run/nvme/registry`.
    pub registry: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into(), proc: "/proc".into(), registry: "/run/nvme/registry".into() }
    }
}

impl Roots {
    /// /sys/class/nvme, one entry for each controller.
    #[must_use]
    pub fn class(&self) -> PathBuf {
        self.sys.join("class/nvme")
    }
}
