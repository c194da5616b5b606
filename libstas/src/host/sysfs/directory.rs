//! The open sysfs directory of one controller.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstatat, lstat};

use super::Roots;
use super::attributes;
use crate::core::CtrlRef;

/// sysfs shows at most one page.
const PAGE: usize = 4096;

/// The birth of the controller that bears that number now; `None` if there is none.
///
/// It is the inode number of the entry in /sys/class/nvme: the kernel gives these out in ascending order and with
/// a generation, and does not reuse them within a boot.
///
/// # Errors
/// When sysfs cannot be read.
pub fn birth(class: &Path, device: u32) -> io::Result<Option<u64>> {
    match lstat(&class.join(format!("nvme{device}"))) {
        Ok(stat) => Ok(Some(stat.st_ino)),
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The directory of one controller: what is read and written through it concerns that very controller, even when
/// its number is given to another one meanwhile.
#[derive(Debug)]
pub struct ControllerDir {
    ctrl: CtrlRef,
    fd: OwnedFd,
}

impl ControllerDir {
    /// Opens it; `None` when the controller is gone.
    ///
    /// # Errors
    /// When sysfs cannot be read.
    pub fn open(roots: &Roots, ctrl: CtrlRef) -> io::Result<Option<Self>> {
        let class = roots.class();
        let path = class.join(ctrl.to_string());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = match nix::fcntl::open(&path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // The entry of that birth existed before the open, or nobody could know it, and it still does: so it was
        // the one that was opened.
        Ok((birth(&class, ctrl.device)? == Some(ctrl.birth)).then_some(Self { ctrl, fd }))
    }

    /// Whose it is.
    #[must_use]
    pub fn ctrl(&self) -> CtrlRef {
        self.ctrl
    }

    /// The words of an attribute, without padding; `None` when this kernel has no such attribute or the controller
    /// is gone.
    ///
    /// # Errors
    /// When it cannot be read for another reason.
    pub fn read(&self, name: &str) -> io::Result<Option<String>> {
        let Some(mut file) = self.open_attribute(name)? else { return Ok(None) };
        let mut page = [0; PAGE];
        match file.read(&mut page) {
            Ok(length) => Ok(page.get(..length).map(attributes::words)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An attribute that will be read again and again; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened for another reason.
    pub fn open_attribute(&self, name: &str) -> io::Result<Option<File>> {
        self.open_with(name, OFlag::O_RDONLY)
    }

    /// Writes to an attribute; false when it is not there.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn write(&self, name: &str, text: &str) -> io::Result<bool> {
        let Some(mut file) = self.open_with(name, OFlag::O_WRONLY)? else { return Ok(false) };
        match file.write_all(text.as_bytes()) {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets nobody but root read an attribute; false when it is not there.
    ///
    /// # Errors
    /// When its mode cannot be changed.
    pub fn hide(&self, name: &str) -> io::Result<bool> {
        match fchmodat(self.fd.as_fd(), name, Mode::S_IRUSR | Mode::S_IWUSR, FchmodatFlags::FollowSymlink) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// True while that attribute exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        fstatat(self.fd.as_fd(), name, AtFlags::empty()).is_ok()
    }

    fn open_with(&self, name: &str, flags: OFlag) -> io::Result<Option<File>> {
        match openat(self.fd.as_fd(), name, flags | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// True for the errors with which sysfs answers for a device that is no longer there.
pub(in crate::host) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENODEV | Errno::ENOENT | Errno::ENXIO))
}
