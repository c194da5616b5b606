//! Linux: the kernel's NVMe-oF host, its events, network interfaces, reachability, names.
//!
//! | module | what it is about |
//! |---|---|
//! | [`fabrics`] | /dev/nvme-fabrics: its options, the write, its answer |
//! | [`sysfs`] | what the kernel says of its NVMe-oF controllers |
//! | [`disconnect`] | deleting exactly one controller |
//! | [`uevents`] | the kernel's events about controllers |
//! | [`links`] | network interfaces, addresses, routes |
//! | [`probe`] | does a portal answer |
//! | [`names`] | host names |
//!
//! A call into the kernel's NVMe code may block for a minute. Such calls run on plain threads , which
//! are never joined: when the process ends they end with it.

pub mod disconnect;
pub mod fabrics;
pub mod links;
pub mod names;
pub mod probe;
mod sys;
pub mod sysfs;
pub mod uevents;

#[cfg(test)]
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
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into(), proc: "/proc".into() }
    }
}

impl Roots {
    /// /sys/class/nvme, one entry for each controller.
    #[must_use]
    pub fn class(&self) -> PathBuf {
        self.sys.join("class/nvme")
    }
}
