//! Changes sys.conf, and the file that contains the value.

use std::io;
use std::path::{Path, PathBuf};

use libstas::conf::sys::{self, IdentityError, InvalidValue};

use crate::atomic_file::AtomicFile;

/// Maximum length of a symbolic name in bytes (TP8010, extended attributes of the host).
const SYMNAME_MAX: usize = 256;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The caller has no root privileges.
    #[error("root privileges are needed to change {}: try again with sudo", .0.display())]
    Unprivileged(PathBuf),
    /// A file cannot be read or written.
    #[error("{what} {}: {error}", path.display())]
    File {
        /// The operation that failed.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// `-f` and `-c` name the same file.
    #[error("{} is the configuration file itself: the value needs a file of its own", .0.display())]
    SameFile(PathBuf),
    /// The path is not UTF-8, so sys.conf cannot refer to it.
    #[error("{} cannot be named in the configuration, as it is not UTF-8: choose another name", .0.display())]
    PathNotText(PathBuf),
    /// The name cannot be used as the symbolic name.
    #[error("{name:?} cannot be the symbolic name: {why}")]
    Symname {
        /// The symbolic name, as it was given on the command line.
        name: String,
        /// The reason, for the message.
        why: &'static str,
    },
    /// sys.conf sets a file for the value, and that file has no valid one.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The value cannot be written into sys.conf.
    #[error(transparent)]
    Value(#[from] InvalidValue),
}

impl Failure {
    pub(crate) fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::File { what, path: path.to_owned(), error }
    }
}

/// A new value for a key of `[Host]`, or its removal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    key: &'static str,
    value: Option<String>,
    file: Option<PathBuf>,
}

impl Change {
    /// Sets a key. With `file`, the value is written to that file and the key refers to it.
    pub(crate) fn set(key: &'static str, value: String, file: Option<PathBuf>) -> Self {
        Self { key, value: Some(value), file }
    }

    /// Removes a key.
    pub(crate) fn clear(key: &'static str) -> Self {
        Self { key, value: None, file: None }
    }

    /// Sets the symbolic name, if that is valid and can be read back.
    pub(crate) fn set_symname(name: &str, file: Option<PathBuf>) -> Result<Self, Failure> {
        let name = name.trim();
        let why = if name.is_empty() {
            "it is empty (`stasadm clear-symname` removes the name)"
        } else if name.len() > SYMNAME_MAX {
            "it has more than 256 bytes"
        } else if name.chars().any(char::is_control) {
            "it has a control character"
        } else if file.is_some() && name.contains(char::is_whitespace) {
            "of a file only the first word counts, and it has a space; without -f it goes to the configuration itself"
        } else {
            return Ok(Self::set("symname", name.to_owned(), file));
        };
        Err(Failure::Symname { name: name.to_owned(), why })
    }

    /// Performs the change: first the file with the value, then the configuration that refers to it.
    pub(crate) fn apply(&self, conf_file: &Path) -> Result<(), Failure> {
        let conf = AtomicFile::of(conf_file).map_err(Failure::file("cannot access", conf_file))?;
        let value = match (&self.value, &self.file) {
            (Some(value), Some(path)) => Some(write_value(value, path, &conf)?),
            (value, _) => value.clone(),
        };

        // A change that changes nothing needs no lock: the file system may be read-only.
        if self.changed(&conf, conf_file, value.as_deref())?.is_none() {
            return Ok(());
        }
        let _locked = conf.lock().map_err(Failure::file("cannot lock", conf_file))?;
        if let Some(new) = self.changed(&conf, conf_file, value.as_deref())? {
            conf.replace(&new).map_err(Failure::file("cannot write", conf_file))?;
        }
        Ok(())
    }

    /// The configuration with the new value; `None` if it has that already.
    fn changed(&self, conf: &AtomicFile, conf_file: &Path, value: Option<&str>) -> Result<Option<String>, Failure> {
        let old = conf.read().map_err(Failure::file("cannot read", conf_file))?;
        let text = old.as_deref().unwrap_or_default();
        let new = match value {
            Some(value) => sys::set_value(text, self.key, value)?,
            None => sys::clear_value(text, self.key),
        };
        Ok((new != text).then_some(new))
    }
}

/// Writes the file with the value. Returns the reference for the configuration.
fn write_value(value: &str, path: &Path, conf: &AtomicFile) -> Result<String, Failure> {
    // The path as given, without resolving links: a link is there for a reason.
    let name = std::path::absolute(path).map_err(Failure::file("cannot access", path))?;
    let text = name.to_str().ok_or_else(|| Failure::PathNotText(name.clone()))?;
    let place = AtomicFile::of(path).map_err(Failure::file("cannot access", path))?;
    if place.path() == conf.path() {
        return Err(Failure::SameFile(name));
    }
    place.replace(&format!("{value}\n")).map_err(Failure::file("cannot write", path))?;
    Ok(format!("file://{text}"))
}

#[cfg(test)]
mod tests;
