//! What a command does to sys.conf, and to the file that holds the value.

use std::io;
use std::path::{Path, PathBuf};

use libstas::conf::sys::{self, InvalidValue};

use crate::place::Place;

/// A symbolic name is at most this long in bytes (TP8010, extended attributes: 256 for the host's).
const SYMNAME_MAX: usize = 256;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The caller has no root privileges.
    #[error("root privileges are needed to change {}: try again with sudo", .0.display())]
    Unprivileged(PathBuf),
    /// A file cannot be read or written.
    #[error("{what} {}: {error}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// `-f` and `-c` name the same file.
    #[error("{} is the configuration file itself: the value needs a file of its own", .0.display())]
    SameFile(PathBuf),
    /// The path cannot stand in a text.
    #[error("{} cannot be named in the configuration, as it is not UTF-8: choose another name", .0.display())]
    PathNotText(PathBuf),
    /// A name that cannot be used.
    #[error("{name:?} cannot be the symbolic name: {why}")]
    Symname {
        /// The symbolic name, as it was given on the command line.
        name: String,
        /// The reason, for the message.
        why: &'static str,
    },
    /// A value that sys.conf cannot hold.
    #[error(transparent)]
    Value(#[from] InvalidValue),
}

impl Failure {
    fn file<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |error| Self::File { what, path: path.to_owned(), error }
    }
}

/// A new value for a key of `[Host]`, or none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    key: &'static str,
    value: Option<String>,
    file: Option<PathBuf>,
}

impl Change {
    /// The key gets a value; with `file`, the value goes there and the key refers to it.
    pub(crate) fn set(key: &'static str, value: String, file: Option<PathBuf>) -> Self {
        Self { key, value: Some(value), file }
    }

    /// The key goes.
    pub(crate) fn clear(key: &'static str) -> Self {
        Self { key, value: None, file: None }
    }

    /// The symbolic name, if it can be told and read back.
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

    /// Carries the change out: first the value's own file, then the configuration that refers to it.
    pub(crate) fn apply(&self, conf_file: &Path) -> Result<(), Failure> {
        let conf = Place::of(conf_file).map_err(Failure::file("cannot get at", conf_file))?;
        let value = match (&self.value, &self.file) {
            (Some(value), Some(path)) => Some(write_value(value, path, &conf)?),
            (value, _) => value.clone(),
        };

        let _locked = conf.lock().map_err(Failure::file("cannot lock the directory of", conf_file))?;
        let old = conf.read().map_err(Failure::file("cannot read", conf_file))?;
        let text = old.as_deref().unwrap_or_default();
        let new = match value {
            Some(value) => sys::set_value(text, self.key, &value)?,
            None => sys::clear_value(text, self.key),
        };
        if new != text {
            conf.replace(&new).map_err(Failure::file("cannot write", conf_file))?;
        }
        Ok(())
    }
}

/// Writes the value's own file; the answer is what refers to it.
fn write_value(value: &str, path: &Path, conf: &Place) -> Result<String, Failure> {
    // As it was given, not where links lead: a link is there for a reason.
    let name = std::path::absolute(path).map_err(Failure::file("cannot get at", path))?;
    let text = name.to_str().ok_or_else(|| Failure::PathNotText(name.clone()))?;
    let place = Place::of(path).map_err(Failure::file("cannot get at", path))?;
    if place.path() == conf.path() {
        return Err(Failure::SameFile(name));
    }
    place.replace(&format!("{value}\n")).map_err(Failure::file("cannot write", path))?;
    Ok(format!("file://{text}"))
}

#[cfg(test)]
mod tests;
