//! Linux: the kernel's NVMe-oF host, its events, network interfaces.
//!
//! | module | what it is about |
//! |---|---|
//! | [`effects`] | executes the cores' effects and reports events: the entry point of this module |
//! | [`connect_queue`] | the only thread that makes connections |
//! | [`fabrics`] | /dev/nvme-fabrics: its options, the write, its answer |
//! | [`sysfs`] | snapshots of the kernel's NVMe-oF controllers |
//! | [`secrets`] | hides secrets in sysfs |
//! | [`registry`] | which orchestrator owns a connection |
//! | `rotation` | changes the secrets of an existing connection |
//! | [`disconnect`] | disconnects exactly one controller |
//! | [`usage`] | whether storage behind a controller is in use |
//! | [`admin`] | admin commands to a live controller, and the program stas-admin that executes them |
//! | `activated` | connects to a program that systemd starts |
//! | `read_room` | limits the memory of log pages that are being read |
//! | `waiting` | whether the other daemon waits for connections |
//! | [`uevents`] | the kernel's events about controllers |
//! | [`links`] | network interfaces, addresses, routes |
//! | [`nbft`] | the boot tables of the firmware |
//!
//! A call into the kernel's NVMe code may block for a minute. Such calls run on plain threads (`thread`) that are never
//! joined and end with the process.

mod activated;
pub mod admin;
pub mod connect_queue;
pub mod disconnect;
pub mod effects;
pub mod fabrics;
pub mod links;
pub mod nbft;
mod read_room;
pub mod registry;
mod rotation;
pub mod secrets;
pub mod sysfs;
mod thread;
pub mod uevents;
mod unsafe_calls;
pub mod usage;
mod waiting;

mod fake_tree;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Mount points of the kernel's file systems. Tests use their own trees.
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

/// Locks a mutex. What a thread left behind when it panicked is used as it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
