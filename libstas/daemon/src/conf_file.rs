//! Reads a whole configuration file. Reports a file with a secret that users other than root can read, and a file that
//! the daemons cannot read because it belongs to another user.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use stas_nvme::secret::holds_a_secret;

/// Largest configuration file in bytes. A longer file is an error.
const SIZE_MAX: u64 = 16 << 20;

/// The content of a configuration file, its mode, user and group.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfFile {
    /// The content.
    pub content: Vec<u8>,
    mode: u32,
    user: u32,
    group: u32,
}

// The content may hold secrets.
impl std::fmt::Debug for ConfFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfFile").field("bytes", &self.content.len()).field("mode", &self.mode).finish()
    }
}

impl ConfFile {
    /// Reads a file. `None` if it does not exist. Never blocks on a pipe.
    ///
    /// # Errors
    /// Fails if it cannot be read, is longer than 16 MiB or a pipe, or is missing because a link in its path is broken.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        // Reading a pipe without a writer would block the daemon.
        let file = match OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return broken_link_error(path).map_or(Ok(None), Err);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && geteuid().is_root() => {
                let text = format!(
                    "{error}: it, or a directory in its path, probably belongs to another user, whose files this process has \
                     no right to read; {}",
                    remedy(path)
                );
                return Err(io::Error::new(error.kind(), text));
            }
            Err(error) => return Err(error),
        };
        if file.metadata()?.file_type().is_fifo() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, not a file"));
        }
        let found = file.metadata()?;
        let (mode, user, group) = (found.permissions().mode(), found.uid(), found.gid());
        let mut content = Vec::new();
        file.take(SIZE_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > SIZE_MAX {
            let text = format!("it is longer than {} MiB", SIZE_MAX >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(Some(Self { content, mode, user, group }))
    }

    /// The content as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// The error about a file that the daemons cannot read: they run as root, but without the capability to read the
    /// files of other users. `None` if they can.
    #[must_use]
    pub fn denial(&self, path: &Path) -> Option<String> {
        let needed = match (self.user, self.group) {
            (0, _) => 0o400,
            (_, 0) => 0o040,
            _ => 0o004,
        };
        let (shown, mode) = (path.display(), self.mode & 0o7777);
        let why = match self.user {
            0 => format!("its mode {mode:04o} does not let root read it"),
            user => format!(
                "it belongs to user {user} and group {}, its mode is {mode:04o}, and they have no right to read files of \
                 other users",
                self.group
            ),
        };
        (self.mode & needed == 0).then(|| format!("the daemons cannot read {shown}: {why}; {}", remedy(path)))
    }

    /// The warning about a file with a secret, even a commented-out one, that users other than root can read. `None` if
    /// they cannot, or if there is no secret.
    #[must_use]
    pub fn exposure(&self, path: &Path) -> Option<String> {
        let readers = match self.mode & 0o044 {
            0 => return None,
            0o040 => "its group",
            _ => "every user",
        };
        let (path, mode) = (path.display(), self.mode & 0o7777);
        holds_a_secret(&self.text()).then(|| {
            format!(
                "{path} contains a secret, and its mode {mode:04o} lets {readers} read it. `chmod 600 {path}` fixes \
                 this; if users are not trusted, replace the secret, too"
            )
        })
    }
}

fn remedy(path: &Path) -> String {
    let path = path.display();
    format!("`chown root {path} && chmod u+r {path}` fixes this")
}

/// The error for a file that is missing because a link in its path is broken, for example because a file system is not
/// mounted. In this case the administrator has not removed the file.
#[must_use]
pub fn broken_link_error(path: &Path) -> Option<io::Error> {
    let broken = path.ancestors().find(|place| place.is_symlink() && !place.exists())?;
    let target = fs::read_link(broken).unwrap_or_default();
    let text = format!(
        "the link {} is broken: its target {} does not exist; mount the file system of the target, or remove the link",
        broken.display(),
        target.display()
    );
    Some(io::Error::new(io::ErrorKind::NotFound, text))
}
