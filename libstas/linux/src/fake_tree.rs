//! Fake sysfs, procfs and /dev trees for the tests of this module.
#![cfg(test)]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Roots;
use super::sysfs::inode;
use stas_core::CtrlRef;

/// A temporary tree, removed at the end of the test.
pub(super) struct FakeTree {
    dir: TempDir,
    devices: std::cell::Cell<u32>,
}

impl FakeTree {
    pub(super) fn new() -> Self {
        let tree = Self { dir: TempDir::new().unwrap(), devices: 0.into() };
        tree.put("sys/kernel/uevent_seqnum", "1000\n");
        tree.put("proc/sys/kernel/random/boot_id", "5e4d0000-0000-4000-8000-000000000001\n");
        for folder in ["sys/class/nvme", "dev", "run"] {
            fs::create_dir_all(tree.path(folder)).unwrap();
        }
        tree
    }

    pub(super) fn roots(&self) -> Roots {
        let [sys, dev, proc, registry] = ["sys", "dev", "proc", "run/nvme/registry"].map(|path| self.path(path));
        Roots { sys, dev, proc, registry }
    }

    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file, and creates its folders.
    pub(super) fn put(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Creates a symbolic link and its folders. `to` is relative to the tree.
    pub(super) fn link(&self, path: impl AsRef<Path>, to: impl AsRef<Path>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.path(to), path).unwrap();
    }

    /// Adds a live tcp I/O controller with this instance number, in place of an earlier one.
    pub(super) fn controller(&self, device: u32, address: &str) -> CtrlRef {
        self.devices.set(self.devices.get() + 1);
        let home = format!("sys/devices/{}/nvme{device}", self.devices.get());
        let attributes = [
            ("transport", "tcp"),
            ("address", address),
            ("state", "live"),
            ("subsysnqn", "nqn.2014-08.org.example:s"),
            ("hostnqn", "nqn.2014-08.org.example:h"),
            ("hostid", "2a3f2c5e-0000-4000-8000-000000000001"),
            ("cntrltype", "io"),
            ("dctype", "none"),
            ("kato", "5"),
            ("model", "Linux                "),
            ("serial", "0123456789"),
        ];
        for (name, value) in attributes {
            self.put(format!("{home}/{name}"), &format!("{value}\n"));
        }
        // The new link is created before the old one is removed, so that their inode numbers differ.
        let link = self.path(format!("sys/class/nvme/nvme{device}"));
        let fresh = self.path("sys/class/fresh");
        symlink(self.path(home), &fresh).unwrap();
        let old = fs::read_link(&link).ok();
        fs::rename(&fresh, &link).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(old).unwrap();
        }
        CtrlRef { device, inode: inode(&self.path("sys/class/nvme"), device).unwrap().unwrap() }
    }

    /// Sets an attribute of the controller.
    pub(super) fn set(&self, ctrl: CtrlRef, name: &str, value: &str) {
        self.put(format!("sys/class/nvme/{ctrl}/{name}"), &format!("{value}\n"));
    }

    /// Removes an attribute of the controller.
    pub(super) fn unset(&self, ctrl: CtrlRef, name: &str) {
        fs::remove_file(self.path(format!("sys/class/nvme/{ctrl}/{name}"))).unwrap();
    }

    /// Removes the controller.
    pub(super) fn remove(&self, ctrl: CtrlRef) {
        let link = self.path(format!("sys/class/nvme/{ctrl}"));
        let home = fs::read_link(&link).unwrap();
        fs::remove_file(link).unwrap();
        fs::remove_dir_all(home).unwrap();
    }
}
