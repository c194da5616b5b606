//! The ownership registry shared with nvme-cli 3 and its companions: `/run/nvme/registry/nvmeN/owner`.
//!
//! Programs that disconnect (`nvme disconnect-all`, nvme-discoverd) spare a connection whose entry names another owner.
//! An entry is a folder for an instance number (the N of nvmeN), not for a controller: the next controller with that
//! number inherits it unless it is removed in time. So entries of this project have a private attribute, `stas`, that
//! identifies the controller. An entry of ours is stale if its mark proves that it concerns an earlier boot or an
//! earlier controller: it is deleted, and the connection has no owner. If the mark cannot be read, for example because
//! a later version wrote it, the entry is kept, and the owner is unknown.
//!
//! Format and checks are those of libnvme 3 (design/REGISTRY.md). Folders have mode 0755 and files 0644, regardless of
//! the umask. A file contains its value and a newline. Names that begin with `.` or contain `.tmp.` are incomplete.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{EEXIST, ENOTEMPTY, O_NONBLOCK};
use serde::{Deserialize, Serialize};
use tempfile::Builder;

use super::Roots;
use stas_core::{CtrlRef, Gained, KernelController, Owner};
use stas_nvme::{Tid, Transport};

/// Owner name of this project's daemons.
pub const NAME: &str = "stas";
/// Attribute with the owner's name.
const OWNER: &str = "owner";
/// Attribute with the sequence number of the newest kernel event when the entry was made. A removal with a smaller
/// number concerns an earlier controller.
const SEQNUM: &str = "seqnum";
/// Private attribute that identifies the controller of an entry of ours.
const MARK: &str = "stas";
/// Limit of an attribute's length in bytes. Longer ones are cut.
const VALUE_MAX: u64 = 4096;

/// Identifies the controller of an entry of ours, and how it became ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mark {
    gained: Gained,
    boot_id: String,
    #[serde(rename = "birth")]
    inode: u64,
    tid: Tid,
}

/// The part of a [`Mark`] that identifies the controller. It is read by itself, so that it is known even if a later
/// version has changed the rest.
#[derive(Debug, Default)]
struct Subject {
    boot_id: Option<String>,
    inode: Option<u64>,
}

impl Subject {
    fn of(mark: &str) -> Self {
        let Ok(mark) = serde_json::from_str::<serde_json::Value>(mark) else { return Self::default() };
        let field = |name| mark.get(name);
        Self {
            boot_id: field("boot-id").and_then(|value| value.as_str()).map(str::to_owned),
            inode: field("birth").and_then(serde_json::Value::as_u64),
        }
    }
}

/// Reads and writes the entries of the registry. Clones share one warning about a failed write.
#[derive(Clone, Debug)]
pub struct Registry {
    folder: PathBuf,
    dev: PathBuf,
    seqnum: PathBuf,
    boot_id: String,
    has_warned: Arc<AtomicBool>,
}

/// The owner that the registry names for the controller with this instance number, whatever else its entry says.
///
/// # Errors
/// The entry exists and cannot be read.
pub fn recorded_owner(roots: &Roots, device: u32) -> io::Result<Option<String>> {
    read_attribute(&roots.registry.join(format!("nvme{device}")).join(OWNER))
}

impl Registry {
    /// The registry of the host with these roots.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        let boot_id = fs::read_to_string(roots.proc.join("sys/kernel/random/boot_id")).unwrap_or_default();
        Self {
            folder: roots.registry.clone(),
            dev: roots.dev.clone(),
            seqnum: roots.sys.join("kernel/uevent_seqnum"),
            boot_id: boot_id.trim().to_owned(),
            has_warned: Arc::default(),
        }
    }

    /// Reads the owner of an existing controller. Deletes a stale entry of ours.
    #[must_use]
    pub fn owner(&self, kernel: &KernelController) -> Owner {
        match self.read_owner(kernel) {
            Ok(EntryContent::Owner(owner)) => owner,
            Ok(EntryContent::Stale) => {
                self.delete(kernel.ctrl.device, |entry| {
                    matches!(self.read_entry(entry, kernel), Ok(EntryContent::Stale))
                });
                Owner::None
            }
            Err(_) => Owner::Unknown,
        }
    }

    /// Records that this daemon has just connected the controller. Replaces an existing entry, which concerns an
    /// earlier controller. Returns the owner that the registry now has.
    #[must_use]
    pub fn connected(&self, kernel: &KernelController) -> Owner {
        self.record(kernel, Gained::Connected, |new, entry| {
            if fs::symlink_metadata(entry).is_ok() {
                self.discard(entry)?;
            }
            fs::rename(new, entry)
        })
    }

    /// Records that this daemon has adopted the controller, unless another orchestrator recorded itself first. Returns
    /// the owner that the registry now has.
    #[must_use]
    pub fn adopted(&self, kernel: &KernelController) -> Owner {
        match self.owner(kernel) {
            Owner::None => {}
            owner => return owner,
        }
        self.record(kernel, Gained::Adopted, |new, entry| match fs::rename(new, entry) {
            Err(error) if matches!(error.raw_os_error(), Some(ENOTEMPTY | EEXIST)) => {
                // The entry has no owner. Its other attributes belong to other programs and are kept.
                for attribute in [MARK, OWNER] {
                    let value = read_attribute(&new.join(attribute))?.unwrap_or_default();
                    write_attribute(entry, attribute, &value)?;
                }
                fs::remove_dir_all(new)
            }
            renamed => renamed,
        })
    }

    /// Handles the kernel's removal of the controller with this instance number; `seqnum` is the sequence number of the
    /// event. Deletes the entry if it concerns that controller, even if it names another owner: the next controller
    /// with the number would inherit that owner. The next one may already exist: an entry that was made before the
    /// event concerns the removed one nevertheless. If the entry does not say when it was made, it is deleted if it is
    /// ours and the number is not in use. A udev rule of libnvme 3 does the same; other hosts do not have it.
    pub fn removed(&self, device: u32, seqnum: u64) {
        let is_of_it = |entry: &Path| {
            let made = read_attribute(&entry.join(SEQNUM)).ok().flatten().and_then(|text| text.parse::<u64>().ok());
            made.map_or_else(|| is_ours(entry) && !self.has_device(device), |made| made < seqnum)
        };
        self.delete(device, is_of_it);
    }

    /// Deletes entries of ours for controllers that were removed while no daemon was running.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let devices = entries.flatten().filter_map(|entry| CtrlRef::device_of(entry.file_name().to_str()?));
        for device in devices.filter(|device| !self.has_device(*device)) {
            self.delete(device, is_ours);
        }
    }

    fn has_device(&self, device: u32) -> bool {
        self.dev.join(format!("nvme{device}")).exists()
    }

    fn entry(&self, device: u32) -> PathBuf {
        self.folder.join(format!("nvme{device}"))
    }

    fn read_owner(&self, kernel: &KernelController) -> io::Result<EntryContent> {
        self.read_entry(&self.entry(kernel.ctrl.device), kernel)
    }

    fn read_entry(&self, entry: &Path, kernel: &KernelController) -> io::Result<EntryContent> {
        Ok(match read_attribute(&entry.join(OWNER))?.as_deref() {
            None => EntryContent::Owner(Owner::None),
            Some(NAME) => self.read_mark(&read_attribute(&entry.join(MARK))?.unwrap_or_default(), kernel),
            Some(other) => EntryContent::Owner(Owner::Other(other.to_owned())),
        })
    }

    /// Reads the mark of an entry of ours. The address is only compared if the kernel already shows one.
    fn read_mark(&self, text: &str, kernel: &KernelController) -> EntryContent {
        let subject = Subject::of(text);
        let known = |boot_id: &String| !boot_id.is_empty() && !self.boot_id.is_empty();
        let boot_fits = subject.boot_id.filter(known).map(|boot_id| boot_id == self.boot_id);
        let inode_fits = subject.inode.map(|inode| inode == kernel.ctrl.inode);
        if boot_fits == Some(false) || inode_fits == Some(false) {
            return EntryContent::Stale;
        }
        match serde_json::from_str::<Mark>(text) {
            Ok(mark) if !kernel.traddr.is_empty() && address(&mark.tid) != address(&kernel.tid()) => {
                EntryContent::Stale
            }
            Ok(Mark { gained: gained @ (Gained::Connected | Gained::Adopted), .. }) if boot_fits.is_some() => {
                EntryContent::Owner(Owner::Stas(gained))
            }
            Ok(_) | Err(_) => EntryContent::Owner(Owner::Unknown),
        }
    }

    /// Makes an entry of ours under a temporary name and calls `put` to move it to its place.
    fn record(&self, kernel: &KernelController, gained: Gained, put: impl Fn(&Path, &Path) -> io::Result<()>) -> Owner {
        let mark = Mark { gained, boot_id: self.boot_id.clone(), inode: kernel.ctrl.inode, tid: kernel.tid() };
        let entry = self.entry(kernel.ctrl.device);
        let written = self.make(kernel.ctrl.device, &mark).and_then(|new| {
            let put = put(&new, &entry).and_then(|()| File::open(&self.folder)?.sync_all());
            put.inspect_err(|_| drop(fs::remove_dir_all(&new)))
        });
        if let Err(error) = written
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "cannot record in {} that {} belongs to nvme-stas: {error}; connecting continues, but nvme \
                 disconnect-all and nvme-discoverd may disconnect it; make the folder writable (systemd-tmpfiles \
                 --create)",
                self.folder.display(),
                kernel.ctrl,
            );
        }
        self.read_owner(kernel).map_or(Owner::Unknown, |read| match read {
            EntryContent::Owner(owner) => owner,
            EntryContent::Stale => Owner::None,
        })
    }

    /// Makes a complete entry under a temporary name.
    fn make(&self, device: u32, mark: &Mark) -> io::Result<PathBuf> {
        let above = self.folder.parent().into_iter();
        for folder in above.chain([self.folder.as_path()]) {
            make_folder(folder)?;
        }
        let prefix = format!(".nvme{device}.tmp.");
        let new = Builder::new().prefix(&prefix).rand_bytes(6).tempdir_in(&self.folder)?;
        fs::set_permissions(new.path(), Permissions::from_mode(0o755))?;
        let seqnum = fs::read_to_string(&self.seqnum)?;
        write_attribute(new.path(), SEQNUM, seqnum.trim())?;
        write_attribute(new.path(), MARK, &serde_json::to_string(mark)?)?;
        write_attribute(new.path(), OWNER, NAME)?;
        File::open(new.path())?.sync_all()?;
        Ok(new.keep())
    }

    /// Deletes an entry if `is_meant` is true for it, both before and after it was moved out of the registry: another
    /// process may have replaced it in between.
    fn delete(&self, device: u32, is_meant: impl Fn(&Path) -> bool) {
        let entry = self.entry(device);
        if !is_meant(&entry) {
            return;
        }
        let Ok(trash) = self.take_out(&entry) else { return };
        if is_meant(&trash) {
            // If this fails, readers skip the rest because of its name.
            let _ = fs::remove_dir_all(&trash);
        } else {
            let _ = fs::rename(&trash, &entry);
        }
    }

    fn discard(&self, entry: &Path) -> io::Result<()> {
        fs::remove_dir_all(self.take_out(entry)?)
    }

    fn take_out(&self, entry: &Path) -> io::Result<PathBuf> {
        let trash = Builder::new().prefix(".trash.").rand_bytes(6).tempdir_in(&self.folder)?.keep();
        fs::rename(entry, &trash).inspect_err(|_| drop(fs::remove_dir(&trash)))?;
        Ok(trash)
    }
}

/// Content of an entry.
enum EntryContent {
    Owner(Owner),
    /// The entry names us, but concerns another controller.
    Stale,
}

fn address(tid: &Tid) -> (Transport, &str, &str) {
    (tid.transport(), &tid.traddr, &tid.trsvcid)
}

fn is_ours(entry: &Path) -> bool {
    read_attribute(&entry.join(OWNER)).is_ok_and(|owner| owner.as_deref() == Some(NAME))
}

/// Creates one folder that everyone can read. An existing folder is unchanged.
fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().create(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The value of an attribute. `None` if it is absent or empty.
fn read_attribute(path: &Path) -> io::Result<Option<String>> {
    // If the attribute is a pipe, the open must not wait for its other end.
    let file = match File::options().read(true).custom_flags(O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(VALUE_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let value = text.trim_end_matches(['\n', '\r']);
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Writes an attribute atomically: readers see the old or the new value.
fn write_attribute(entry: &Path, attribute: &str, value: &str) -> io::Result<()> {
    let prefix = OsStr::new(attribute).to_string_lossy() + ".tmp.";
    let mut file = Builder::new().prefix(&*prefix).rand_bytes(6).tempfile_in(entry)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    writeln!(file, "{value}")?;
    file.as_file().sync_all()?;
    file.persist(entry.join(attribute))?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
