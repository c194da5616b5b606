//! The location of the target: the real configfs, or a dry tree in an ordinary directory.

use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;

/// The mount point of configfs on all distributions.
pub const CONFIGFS: &str = "/sys/kernel/config";

/// The magic number of configfs (linux/fs/configfs/mount.c).
const CONFIGFS_MAGIC: i64 = 0x6265_6570;

/// The paths that the tool uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The root of configfs.
    pub configfs: PathBuf,
    /// The directory that contains module and block, as in sysfs.
    pub sysfs: PathBuf,
    /// The record of what was created.
    pub record: PathBuf,
    /// True for a dry tree: without a kernel, modules and privileges.
    pub is_dry: bool,
}

impl Paths {
    /// The kernel's target, or a dry tree if `configfs` is an ordinary directory.
    #[must_use]
    pub fn new(configfs: Option<&Path>, record: Option<&Path>) -> Self {
        let root = configfs.unwrap_or(Path::new(CONFIGFS));
        let is_dry = configfs.is_some_and(|path| path != Path::new(CONFIGFS)) && !is_configfs(root);
        let (sysfs, own_record) = if is_dry {
            (root.join("sys"), root.join("record.json"))
        } else {
            (PathBuf::from("/sys"), PathBuf::from("/run/nvmet-stas.json"))
        };
        Self { configfs: root.to_owned(), sysfs, record: record.map_or(own_record, Path::to_owned), is_dry }
    }
}

fn is_configfs(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type().0 == CONFIGFS_MAGIC)
}
