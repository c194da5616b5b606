//! The sysfs directory of exactly one controller.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstatat, lstat};

use super::Roots;
use super::attributes;
use stas_core::CtrlRef;

/// Longest attribute of sysfs in bytes: one page.
const PAGE: usize = 4096;

/// The inode number of the controller that has this instance number now. `None` if there is none.
///
/// This is the inode number of the entry in /sys/class/nvme. The kernel assigns these numbers in ascending order,
/// with a generation, and does not reuse them within a boot. So it identifies a controller among all that had the same
/// instance number.
///
/// # Errors
/// Fails if sysfs cannot be read.
pub fn inode(class: &Path, device: u32) -> io::Result<Option<u64>> {
    let entry = lstat(&class.join(format!("nvme{device}")));
    Ok(unless_gone(entry.map_err(io::Error::from))?.map(|stat| stat.st_ino))
}

/// The open directory of one controller. Reads and writes through it concern exactly this controller, even if its
/// instance number is reused.
#[derive(Debug)]
pub struct ControllerDir {
    ctrl: CtrlRef,
    fd: OwnedFd,
}

impl ControllerDir {
    /// Opens the directory. `None` if the controller no longer exists.
    ///
    /// # Errors
    /// Fails if sysfs cannot be read.
    pub fn open(roots: &Roots, ctrl: CtrlRef) -> io::Result<Option<Self>> {
        let class = roots.class();
        let path = class.join(ctrl.to_string());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = nix::fcntl::open(&path, flags, Mode::empty());
        let Some(fd) = unless_gone(opened.map_err(io::Error::from))? else { return Ok(None) };
        // The caller knows this inode number, so the entry existed before the open. It still exists now, so it is the
        // entry that was opened.
        Ok((inode(&class, ctrl.device)? == Some(ctrl.inode)).then_some(Self { ctrl, fd }))
    }

    /// The controller of this directory.
    #[must_use]
    pub fn ctrl(&self) -> CtrlRef {
        self.ctrl
    }

    /// Reads an attribute, without padding. `None` if this kernel has no such attribute, or the controller no longer
    /// exists.
    ///
    /// # Errors
    /// Fails if the attribute cannot be read for another reason.
    pub fn read(&self, name: &str) -> io::Result<Option<String>> {
        let Some(mut file) = self.open_attribute(name)? else { return Ok(None) };
        let mut page = [0; PAGE];
        let length = unless_gone(file.read(&mut page))?;
        Ok(length.and_then(|length| page.get(..length)).map(attributes::words))
    }

    /// Opens an attribute that will be read repeatedly. `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if the attribute cannot be opened for another reason.
    pub fn open_attribute(&self, name: &str) -> io::Result<Option<File>> {
        self.open_with(name, OFlag::O_RDONLY)
    }

    /// Writes an attribute. False if it does not exist.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn write(&self, name: &str, text: &str) -> io::Result<bool> {
        let Some(mut file) = self.open_with(name, OFlag::O_WRONLY)? else { return Ok(false) };
        Ok(unless_gone(file.write_all(text.as_bytes()))?.is_some())
    }

    /// Makes an attribute readable for root only. False if it does not exist.
    ///
    /// # Errors
    /// Fails if the mode cannot be changed.
    pub fn hide(&self, name: &str) -> io::Result<bool> {
        let changed = fchmodat(self.fd.as_fd(), name, Mode::S_IRUSR | Mode::S_IWUSR, FchmodatFlags::FollowSymlink);
        Ok(unless_gone(changed.map_err(io::Error::from))?.is_some())
    }

    /// True if the attribute exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        fstatat(self.fd.as_fd(), name, AtFlags::empty()).is_ok()
    }

    fn open_with(&self, name: &str, flags: OFlag) -> io::Result<Option<File>> {
        let opened = openat(self.fd.as_fd(), name, flags | OFlag::O_CLOEXEC, Mode::empty());
        Ok(unless_gone(opened.map_err(io::Error::from))?.map(File::from))
    }
}

/// True for the errors that sysfs returns for a device that no longer exists.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    [Errno::ENODEV, Errno::ENOENT, Errno::ENXIO].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// The result of sysfs. `None` if the device no longer exists.
pub(super) fn unless_gone<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Err(error) if is_gone(&error) => Ok(None),
        answer => answer.map(Some),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::fake_tree::FakeTree;

    fn opened(tree: &FakeTree) -> ControllerDir {
        ControllerDir::open(&tree.roots(), tree.controller(0, "")).unwrap().unwrap()
    }

    #[test]
    fn an_attribute_that_is_not_there_is_no_error() {
        let tree = FakeTree::new();
        let dir = opened(&tree);
        assert_eq!(dir.read("dhchap_secret").unwrap(), None);
        assert!(!dir.write("dhchap_secret", "x").unwrap() && !dir.hide("dhchap_secret").unwrap());
        assert!(!dir.has("dhchap_secret") && dir.has("model"));
        // A socket returns ENXIO, as sysfs may for a device that is being removed.
        let _socket = UnixListener::bind(tree.path("sys/class/nvme/nvme0/state_of_old")).unwrap();
        assert_eq!(dir.read("state_of_old").unwrap(), None);
    }

    #[test]
    fn any_other_error_is_reported() {
        let tree = FakeTree::new();
        let dir = opened(&tree);
        let attribute = tree.path("sys/class/nvme/nvme0/odd");
        fs::create_dir(&attribute).unwrap();
        assert_eq!(dir.read("odd").unwrap_err().kind(), io::ErrorKind::IsADirectory);
        fs::remove_dir(&attribute).unwrap();
        std::os::unix::fs::symlink("odd", &attribute).unwrap();
        let is_a_loop = |error: io::Error| error.raw_os_error() == Some(Errno::ELOOP as i32);
        assert!(is_a_loop(dir.read("odd").unwrap_err()));
        assert!(is_a_loop(dir.write("odd", "x").unwrap_err()));
        assert!(is_a_loop(dir.hide("odd").unwrap_err()));
    }

    #[test]
    fn a_sysfs_that_cannot_be_read_is_not_a_controller_that_is_gone() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        let class = tree.roots().class();
        fs::remove_dir_all(&class).unwrap();
        assert_eq!(inode(&class, 0).unwrap(), None);
        assert!(ControllerDir::open(&tree.roots(), ctrl).unwrap().is_none());
        fs::write(&class, "").unwrap();
        assert_eq!(inode(&class, 0).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        let error = ControllerDir::open(&tree.roots(), ctrl).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }
}
