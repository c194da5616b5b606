//! Reads the snapshot from configfs and sysfs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{EBUSY, O_EXCL};
use stas_nvme::Secret;

use super::{Actual, Attributes, Given, Host, Key, Namespace, NullBlk, Port, RamDisk, Referral, Subsystem};
use crate::desired::{Desired, Storage};
use crate::identity::Identifier;
use crate::module::Module;
use crate::paths::Paths;

/// A directory that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be read: {source}")]
pub struct ObserveError {
    path: PathBuf,
    source: io::Error,
}

const ADDRESS: [&str; 4] = ["addr_trtype", "addr_adrfam", "addr_traddr", "addr_trsvcid"];
const REFERRAL: [&str; 5] = ["addr_trtype", "addr_adrfam", "addr_traddr", "addr_trsvcid", "addr_portid"];
const AUTHENTICATION: [&str; 2] = ["dhchap_hash", "dhchap_dhgroup"];
/// /sys/block/*/size counts sectors of 512 bytes.
const SECTORS_PER_MIB: u32 = 2048;

/// Takes a snapshot. Checks whether the devices to which `wanted` refers by path may be exported.
///
/// # Errors
/// Returns [`ObserveError`] for an existing directory that cannot be read. A missing one counts as empty: before the
/// module is loaded there is no target.
pub fn observe(paths: &Paths, wanted: Option<&Desired>) -> Result<Actual, ObserveError> {
    let nvmet = paths.configfs.join("nvmet");
    Ok(Actual {
        modules: modules(&paths.sysfs),
        ports: numbered(&nvmet.join("ports"), port)?,
        subsystems: named(&nvmet.join("subsystems"), subsystem)?,
        hosts: named(&nvmet.join("hosts"), |path| Ok(host(path)))?,
        null_blk: named(&paths.configfs.join("nullb"), |path| Ok(null_blk(path)))?,
        ram_disks: ram_disks(&paths.sysfs.join("block"))?,
        given: wanted.map(given_devices).unwrap_or_default(),
        inodes: inodes(&paths.configfs)?,
    })
}

fn inodes(configfs: &Path) -> Result<BTreeMap<PathBuf, u64>, ObserveError> {
    let mut inodes = BTreeMap::new();
    for folder in ["nvmet/ports", "nvmet/subsystems", "nvmet/hosts", "nullb"].map(Path::new) {
        for path in names(&configfs.join(folder))?.into_iter().map(|name| folder.join(name)) {
            // A directory that was removed meanwhile has none.
            if let Ok(found) = fs::symlink_metadata(configfs.join(&path)) {
                inodes.insert(path, found.ino());
            }
        }
    }
    Ok(inodes)
}

fn port(path: &Path) -> Result<Port, ObserveError> {
    Ok(Port {
        attributes: attributes(path, &ADDRESS),
        exports: names(&path.join("subsystems"))?.into_iter().collect(),
        referrals: named(&path.join("referrals"), |path| Ok(referral(path)))?,
    })
}

fn referral(path: &Path) -> Referral {
    Referral { attributes: attributes(path, &REFERRAL), enabled: flag(path, "enable") }
}

fn subsystem(path: &Path) -> Result<Subsystem, ObserveError> {
    Ok(Subsystem {
        any_host: flag(path, "attr_allow_any_host"),
        hosts: names(&path.join("allowed_hosts"))?.into_iter().collect(),
        namespaces: numbered(&path.join("namespaces"), |path| Ok(namespace(path)))?,
    })
}

fn namespace(path: &Path) -> Namespace {
    let identifier = |name| attribute(path, name).and_then(|text| Identifier::parse(&text));
    Namespace {
        // The kernel prints an unset device as a null pointer.
        device: attribute(path, "device_path").filter(|text| text != "(null)").map(PathBuf::from),
        uuid: identifier("device_uuid"),
        nguid: identifier("device_nguid").filter(|nguid| !nguid.is_zero()),
        enabled: flag(path, "enable"),
    }
}

fn host(path: &Path) -> Host {
    Host {
        dhchap_key: key(&path.join("dhchap_key")),
        dhchap_ctrl_key: key(&path.join("dhchap_ctrl_key")),
        settings: attributes(path, &AUTHENTICATION),
    }
}

fn key(path: &Path) -> Key {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Key::Unset,
        Ok(text) => Key::Set(Secret::new(text.trim())),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Key::Hidden,
        Err(_) => Key::Unset,
    }
}

fn null_blk(path: &Path) -> NullBlk {
    NullBlk {
        size_mib: attribute(path, "size").and_then(|text| text.parse().ok()).unwrap_or_default(),
        memory_backed: flag(path, "memory_backed"),
        powered: flag(path, "power"),
    }
}

fn ram_disks(block: &Path) -> Result<BTreeMap<u32, RamDisk>, ObserveError> {
    let mut disks = BTreeMap::new();
    for name in names(block)? {
        if let Some(number) = name.strip_prefix("ram").and_then(|digits| digits.parse().ok()) {
            let sectors: u32 = attribute(&block.join(&name), "size").and_then(|text| text.parse().ok()).unwrap_or(0);
            let in_use = is_in_use(&Path::new("/dev").join(&name));
            disks.insert(number, RamDisk { size_mib: sectors / SECTORS_PER_MIB, in_use });
        }
    }
    Ok(disks)
}

fn modules(sysfs: &Path) -> BTreeSet<Module> {
    let loaded = |module: &Module| sysfs.join("module").join(module.sysfs_name()).exists();
    Module::ALL.into_iter().filter(loaded).collect()
}

fn given_devices(wanted: &Desired) -> BTreeMap<PathBuf, Given> {
    let namespaces = wanted.subsystems.values().flat_map(|subsystem| subsystem.namespaces.values());
    let paths = namespaces.filter_map(|namespace| match &namespace.storage {
        Storage::Given(path) => Some(path),
        Storage::RamDisk | Storage::NullBlk(_) => None,
    });
    paths.map(|path| (path.clone(), given(path))).collect()
}

fn given(path: &Path) -> Given {
    match fs::metadata(path).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_block_device() && is_in_use(path) => Given::InUse,
        Ok(kind) if kind.is_block_device() || kind.is_file() => Given::Ready,
        _ => Given::Missing,
    }
}

/// True if a block device is mounted, used as swap or held: then the kernel refuses to open it exclusively. The target
/// itself does not open devices exclusively.
fn is_in_use(device: &Path) -> bool {
    let opened = OpenOptions::new().read(true).custom_flags(O_EXCL).open(device);
    opened.is_err_and(|error| error.raw_os_error() == Some(EBUSY))
}

fn named<T>(
    folder: &Path,
    read: impl Fn(&Path) -> Result<T, ObserveError>,
) -> Result<BTreeMap<String, T>, ObserveError> {
    names(folder)?.into_iter().map(|name| Ok((name.clone(), read(&folder.join(&name))?))).collect()
}

fn numbered<K: std::str::FromStr + Ord, T>(
    folder: &Path,
    read: impl Fn(&Path) -> Result<T, ObserveError>,
) -> Result<BTreeMap<K, T>, ObserveError> {
    let numbered = named(folder, read)?.into_iter();
    Ok(numbered.filter_map(|(name, item)| Some((name.parse().ok()?, item))).collect())
}

/// The names of the directories and links in a directory.
fn names(folder: &Path) -> Result<Vec<String>, ObserveError> {
    let failed = |source| ObserveError { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if !entry.file_type().map_err(failed)?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn attributes(path: &Path, names: &[&str]) -> Attributes {
    names.iter().filter_map(|name| Some(((*name).to_owned(), attribute(path, name)?))).collect()
}

/// An attribute without surrounding blanks; `None` if empty, absent or not readable.
fn attribute(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path.join(name)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn flag(path: &Path, name: &str) -> bool {
    attribute(path, name).is_some_and(|text| matches!(text.as_str(), "1" | "Y" | "y"))
}
