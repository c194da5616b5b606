//! The storage of namespaces: defaults of the file, and settings of a namespace.

use std::path::PathBuf;

use toml::Spanned;

use super::Mistake;
use super::check::size;
use super::file::{self, File, StorageKind};
use crate::desired::{DEFAULT_SIZE_MIB, NullBlk, Storage};
use crate::identity::{SHARED_NULL_BLK, null_blk_name};

/// The defaults of the file.
pub(super) struct Disks {
    kind: StorageKind,
    size_mib: u32,
    memory_backed: bool,
    shared: bool,
}

impl Disks {
    pub(super) fn new(file: &File) -> Result<Self, Mistake> {
        let said = |value: &Option<Spanned<bool>>| value.as_ref().map(|value| *value.get_ref());
        let shared = said(&file.null_blk.shared).unwrap_or(false);
        let memory_backed = said(&file.null_blk.memory_backed).unwrap_or(!shared);
        if let (Some(value), true, true) = (&file.null_blk.shared, shared, memory_backed) {
            let problem = "is true with memory_backed = true: namespaces would overwrite each other; one must be false";
            return Err(Mistake::at("shared", value, problem));
        }
        let size_mib = size(file.null_blk.size_mib.as_ref(), DEFAULT_SIZE_MIB)?;
        Ok(Self { kind: file.storage, size_mib, memory_backed, shared })
    }

    pub(super) fn of(
        &self,
        table: &file::Subsystem,
        described: &file::Namespace,
        nqn: &str,
        nsid: u32,
    ) -> Result<Storage, Mistake> {
        let kind = described.storage.or(table.storage).unwrap_or(self.kind);
        let fixed = described.device.is_some() || kind == StorageKind::Brd || self.shared;
        if let (Some(value), true) = (&described.size_mib, fixed) {
            let problem = "applies only to a separate null_blk device; brd and a shared null_blk have one size for \
                           all namespaces";
            return Err(Mistake::at("size_mib", value, problem));
        }
        if let Some(device) = &described.device {
            return given(device, described.storage.is_some());
        }
        let name = if self.shared { SHARED_NULL_BLK.to_owned() } else { null_blk_name(nqn, nsid) };
        let size_mib = size(described.size_mib.as_ref(), self.size_mib)?;
        Ok(match kind {
            StorageKind::Brd => Storage::RamDisk,
            StorageKind::NullBlk => Storage::NullBlk(NullBlk { name, size_mib, memory_backed: self.memory_backed }),
        })
    }
}

fn given(device: &Spanned<String>, with_storage: bool) -> Result<Storage, Mistake> {
    let path = PathBuf::from(device.get_ref());
    if with_storage {
        Err(Mistake::at("device", device, "is set together with storage; a namespace uses one of the two"))
    } else if !path.is_absolute() || device.get_ref().chars().any(char::is_control) {
        Err(Mistake::at(
            "device",
            device,
            "is not an absolute path; valid is for example \"/dev/vdb\" or \"/srv/disk.img\"",
        ))
    } else {
        Ok(Storage::Given(path))
    }
}
