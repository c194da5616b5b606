//! Block devices in sysfs: namespaces and their paths, partitions, holders.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::super::Roots;
use super::tables::LockedInode;
use stas_core::CtrlRef;

/// A namespace of a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespace {
    /// Block device that applications use.
    pub(super) block: String,
    /// Set if the kernel's own multipathing is used: identifies the namespace's paths.
    pub(super) shared: Option<Shared>,
}

/// A namespace behind the kernel's own multipathing: nvmeXnZ, whose path through nvmeY is the hidden nvmeXcYnZ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// Instance number of the subsystem: X in nvmeXnZ.
    pub(super) subsystem: u32,
    /// Number of the multipath head: Z in nvmeXnZ.
    head: u32,
}

/// Counts of completed writes. Which of them the kernel keeps depends on its version: older kernels do not count for
/// the head of a multipath device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Writes of the block device that applications use.
    block: u64,
    /// Writes of the path through one controller.
    path: u64,
    /// Writes of a device mapper multipath device on top of it.
    map: u64,
}

/// A device mapper device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    /// Name in the device mapper, for example `mpatha`.
    pub(super) name: String,
    uuid: String,
}

impl Mapped {
    /// True for a multipath device and for a partition of one.
    pub(super) fn is_multipath(&self) -> bool {
        let whole = |uuid: &str| uuid.starts_with("mpath-");
        whole(&self.uuid)
            || self.uuid.strip_prefix("part").and_then(|rest| rest.split_once('-')).is_some_and(|(_, rest)| whole(rest))
    }
}

/// The block devices of this host.
#[derive(Debug)]
pub(super) struct Blocks {
    sys: PathBuf,
    dev: PathBuf,
}

impl Blocks {
    pub(super) fn new(roots: &Roots) -> Self {
        Self { sys: roots.sys.clone(), dev: roots.dev.clone() }
    }

    fn block(&self, name: &str) -> PathBuf {
        self.sys.join("class/block").join(name)
    }

    /// The namespaces of a controller.
    pub(super) fn namespaces(&self, device: u32) -> io::Result<Vec<Namespace>> {
        let names = list(&self.sys.join(format!("class/nvme/nvme{device}")))?;
        Ok(names.iter().filter_map(|name| namespace(name)).collect())
    }

    /// The instance numbers of a subsystem's controllers.
    pub(super) fn controllers(&self, subsystem: u32) -> io::Result<Vec<u32>> {
        let names = list(&self.sys.join(format!("class/nvme-subsystem/nvme-subsys{subsystem}")))?;
        Ok(names.iter().filter_map(|name| CtrlRef::device_of(name)).collect())
    }

    /// The hidden disk of one controller's path to a shared namespace.
    fn path_disk(&self, device: u32, shared: &Shared) -> PathBuf {
        let name = format!("nvme{}c{device}n{}", shared.subsystem, shared.head);
        self.sys.join(format!("class/nvme/nvme{device}")).join(name)
    }

    /// True if the controller can do I/O to a shared namespace. Asymmetric namespace access may prevent it (NVMe Base
    /// 2.1, 8.1.1).
    ///
    /// # Errors
    /// Fails if its state cannot be read: the path may be vanishing.
    pub(super) fn serves(&self, device: u32, shared: &Shared) -> io::Result<bool> {
        let path = self.path_disk(device, shared);
        match fs::read_to_string(path.join("ana_state")) {
            Ok(state) => Ok(matches!(state.trim(), "optimized" | "non-optimized")),
            // The controller does not report asymmetric access.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.exists()),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.join("ana_state").display()))),
        }
    }

    /// The disk that counts the writes through one controller: its path, or the namespace itself without multipathing.
    fn counting_disk(&self, device: u32, namespace: &Namespace) -> PathBuf {
        match &namespace.shared {
            Some(shared) => self.path_disk(device, shared),
            None => self.block(&namespace.block),
        }
    }

    /// The number of completed writes of a namespace.
    ///
    /// # Errors
    /// Fails if the kernel shows no count.
    pub(super) fn written(&self, device: u32, namespace: &Namespace) -> io::Result<Counts> {
        let disk = self.counting_disk(device, namespace);
        let path = writes(&disk)?;
        let block = writes(&self.block(&namespace.block))?;
        let Some(path) = path else {
            // The namespace may have been removed since it was listed.
            return if disk.exists() { Err(missing(&disk.join("stat"))) } else { Ok(Counts::default()) };
        };
        let mut map = 0;
        for holder in self.holders(&namespace.block)? {
            if self.mapped(&holder)?.is_some_and(|mapped| mapped.is_multipath()) {
                map += writes(&self.block(&holder))?.unwrap_or_default();
            }
        }
        Ok(Counts { block: block.unwrap_or_default(), path, map })
    }

    /// Checks that the kernel counts the writes of a namespace.
    ///
    /// # Errors
    /// Fails if the kernel does not count them, or if that cannot be read.
    pub(super) fn counts_writes(&self, device: u32, namespace: &Namespace) -> io::Result<()> {
        let switch = self.counting_disk(device, namespace).join("queue/iostats");
        match word(&switch)?.as_deref() {
            Some("0") => Err(io::Error::other(format!("{} is 0, so raw users cannot be seen", switch.display()))),
            _ => Ok(()),
        }
    }

    /// The inode number of a block device's entry in sysfs, which distinguishes it from an earlier device of the same
    /// name. `None` if the device does not exist.
    pub(super) fn inode(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(self.block(name)) {
            Ok(entry) => Ok(Some(entry.ino())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The device node of a block device: its file system and its inode. `None` if it has no node.
    pub(super) fn node(&self, name: &str) -> Option<LockedInode> {
        let node = fs::metadata(self.dev.join(name)).ok()?;
        Some(LockedInode { device: (major(node.dev()), minor(node.dev())), inode: node.ino() })
    }

    /// The block device and its partitions.
    pub(super) fn with_partitions(&self, name: &str) -> io::Result<Vec<String>> {
        let home = self.block(name);
        let mut all = vec![name.to_owned()];
        all.extend(
            list(&home)?
                .into_iter()
                .filter(|part| part.starts_with(name) && home.join(part).join("partition").exists()),
        );
        Ok(all)
    }

    /// The device number, `major:minor`. `None` if the device does not exist.
    pub(super) fn number(&self, name: &str) -> io::Result<Option<String>> {
        word(&self.block(name).join("dev"))
    }

    /// The name of the block device with this number (`major:minor`). `None` if there is none.
    pub(super) fn numbered(&self, number: &str) -> Option<String> {
        file_name(&fs::canonicalize(self.sys.join("dev/block").join(number)).ok()?)
    }

    /// The disk of a partition. `None` if the device is not a partition.
    pub(super) fn disk_of(&self, name: &str) -> Option<String> {
        let home = fs::canonicalize(self.block(name)).ok()?;
        home.join("partition").exists().then(|| file_name(home.parent()?)).flatten()
    }

    /// All devices of the btrfs file system to which this device belongs.
    pub(super) fn btrfs_with(&self, name: &str) -> io::Result<Vec<String>> {
        let home = self.sys.join("fs/btrfs");
        for id in list(&home)? {
            let devices = home.join(id).join("devices");
            if devices.join(name).exists() {
                return list(&devices);
            }
        }
        Ok(Vec::new())
    }

    /// The block devices on top of this one.
    pub(super) fn holders(&self, name: &str) -> io::Result<Vec<String>> {
        list(&self.block(name).join("holders"))
    }

    /// The block devices below this one.
    pub(super) fn slaves(&self, name: &str) -> io::Result<Vec<String>> {
        list(&self.block(name).join("slaves"))
    }

    /// The file or block device that backs a loop device. `None` if it is not a loop device.
    pub(super) fn backing_file(&self, name: &str) -> io::Result<Option<String>> {
        word(&self.block(name).join("loop/backing_file"))
    }

    /// The device mapper's data of a device. `None` if it is not a device mapper device.
    pub(super) fn mapped(&self, name: &str) -> io::Result<Option<Mapped>> {
        let home = self.block(name).join("dm");
        let Some(dm_name) = word(&home.join("name"))? else { return Ok(None) };
        Ok(Some(Mapped { name: dm_name, uuid: word(&home.join("uuid"))?.unwrap_or_default() }))
    }

    /// The controller of a namespace's block device, without the kernel's multipathing.
    pub(super) fn controller_of(&self, name: &str) -> Option<String> {
        file_name(&fs::canonicalize(self.block(name).join("device")).ok()?)
    }

    /// The block device to which a path under /dev leads, directly or by links.
    pub(super) fn named_by(&self, path: &str) -> Option<String> {
        let path = self.dev.join(path.strip_prefix("/dev/")?);
        file_name(&fs::canonicalize(path).ok()?)
    }

    /// The type of the file system that is mounted from the device, in any mount namespace. Most file systems list
    /// their devices in /sys/fs while they are mounted.
    pub(super) fn file_system(&self, name: &str) -> io::Result<Option<String>> {
        let home = self.sys.join("fs");
        for kind in list(&home)? {
            let kind_home = home.join(&kind);
            if kind_home.join(name).exists() {
                return Ok(Some(kind));
            }
            if kind == "btrfs"
                && list(&kind_home)?.iter().any(|id| kind_home.join(id).join("devices").join(name).exists())
            {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }

    /// The loop devices that are backed by the device itself. Those backed by a file on it require a mount, which is
    /// found anyway.
    pub(super) fn loops_on(&self, name: &str) -> io::Result<Vec<String>> {
        let mut loops = list(&self.sys.join("class/block"))?;
        loops.retain(|block| block.starts_with("loop"));
        let mut found = Vec::new();
        for block in loops {
            if self.backing_file(&block)?.and_then(|path| self.named_by(&path)).as_deref() == Some(name) {
                found.push(block);
            }
        }
        Ok(found)
    }
}

/// Parses the name of a namespace: `nvme0n1` belongs to one controller, `nvme0c1n1` is a path to a shared namespace.
fn namespace(name: &str) -> Option<Namespace> {
    let (subsystem, rest) = number(name.strip_prefix("nvme")?)?;
    let (rest, is_path) = match rest.strip_prefix('c') {
        Some(rest) => (number(rest)?.1, true),
        None => (rest, false),
    };
    let (head, rest) = number(rest.strip_prefix('n')?)?;
    let shared = is_path.then_some(Shared { subsystem, head });
    rest.is_empty().then(|| Namespace { block: format!("nvme{subsystem}n{head}"), shared })
}

/// Splits the number from the start of a text. Returns it and the rest.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

/// Reads the completed writes from a disk's `stat` (the kernel's Documentation/block/stat.rst). `None` if it has no
/// such file.
fn writes(disk: &Path) -> io::Result<Option<u64>> {
    let path = disk.join("stat");
    let Some(text) = word(&path)? else { return Ok(None) };
    let count = text.split_ascii_whitespace().nth(4).and_then(|count| count.parse().ok());
    count.map(Some).ok_or_else(|| missing(&path))
}

fn missing(path: &Path) -> io::Error {
    io::Error::other(format!("{} does not tell how often it was written", path.display()))
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

/// The names in a folder. Empty if the folder does not exist: a device may be removed at any time.
pub(super) fn list(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display()))),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The text of an attribute. `None` if it does not exist.
pub(super) fn word(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || super::super::sysfs::is_gone(error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn namespaces_are_recognized_by_their_names() {
        let own = Namespace { block: "nvme3n12".into(), shared: None };
        assert_eq!(namespace("nvme3n12"), Some(own));
        let shared = Namespace { block: "nvme3n12".into(), shared: Some(Shared { subsystem: 3, head: 12 }) };
        assert_eq!(namespace("nvme3c7n12"), Some(shared));
        for other in ["nvme3", "nvme3n", "nvme3n1p1", "ng3n1", "nvme-subsys3", "hwmon0", "nvme3c7", "nvme99999999999n1"]
        {
            assert_eq!(namespace(other), None, "{other}");
        }
    }

    #[test]
    fn multipath_devices_are_recognized_by_their_uuids() {
        let is_multipath = |uuid: &str| Mapped { name: String::new(), uuid: uuid.into() }.is_multipath();
        assert!(is_multipath("mpath-nvme.1"));
        assert!(is_multipath("part1-mpath-nvme.1"));
        assert!(!is_multipath("LVM-abc"));
        assert!(!is_multipath("CRYPT-LUKS2-x"));
        assert!(!is_multipath("part1-LVM-mpath-"));
    }

    proptest! {
        #[test]
        fn any_name_can_be_read(name in "\\PC*", odd in "nvme[0-9cnp]{0,12}") {
            let _ = (namespace(&name), namespace(&odd));
        }

        #[test]
        fn every_path_is_read_back(subsystem: u32, device: u32, head: u32) {
            let found = namespace(&format!("nvme{subsystem}c{device}n{head}")).unwrap();
            prop_assert_eq!(found, Namespace { block: format!("nvme{subsystem}n{head}"), shared: Some(Shared { subsystem, head }) });
        }
    }
}
