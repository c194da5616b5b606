//! sys.conf: the identity of this host.
//!
//! Three steps, all without I/O: [`parse`] finds the source of each value, [`SysConf::identity`] reads the values
//! through a function of the caller that opens files, and [`set_value`] and [`clear_value`] rewrite the text.

mod identity;
mod rewrite;

pub use identity::{IdentityError, Needed, WrongValue};
pub use rewrite::{InvalidValue, clear_value, set_value};

use std::path::PathBuf;

use super::keys::{self, Key, SYS};
use super::settings::KeyedFile;
use super::types::Complaint;
use super::value::Setting;
use stas_nvme::Secret;

/// Source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<T = String> {
    /// The value itself, as written in sys.conf.
    Literal(T),
    /// The value is the first word of this file.
    File(PathBuf),
}

/// The settings of sys.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysConf {
    /// Name of the file in complaints.
    file: String,
    /// nqn: source of the host NQN.
    pub nqn: Value,
    /// id: source of the host ID.
    pub id: Value,
    /// key: source of the host's DH-HMAC-CHAP secret.
    pub key: Value<Secret>,
    /// symname: source of the symbolic name. `None`: the host has none.
    pub symname: Option<Value>,
}

/// Parses sys.conf. `file` is the file's name in complaints. An invalid line is reported and ignored; the other lines
/// apply.
#[must_use]
pub fn parse(text: &[u8], file: &str) -> (SysConf, Vec<Complaint>) {
    let mut settings = KeyedFile::read(text, file, SYS);
    let mut value = |key: &Key| match settings.value(key)? {
        Setting::Path(path) => Some(Value::File(path.into())),
        Setting::Text(text) => Some(Value::Literal(text)),
        _ => None,
    };
    // Only the symbolic name has no default in the table.
    let none = || Value::Literal(String::new());
    let conf = SysConf {
        file: file.to_owned(),
        nqn: value(&keys::NQN).unwrap_or_else(none),
        id: value(&keys::ID).unwrap_or_else(none),
        key: match value(&keys::HOST_KEY).unwrap_or_else(none) {
            Value::Literal(text) => Value::Literal(Secret::new(text)),
            Value::File(path) => Value::File(path),
        },
        symname: value(&keys::SYMNAME),
    };
    (conf, settings.into_complaints())
}

impl Default for SysConf {
    /// The settings of an empty file.
    fn default() -> Self {
        parse(b"", "sys.conf").0
    }
}

#[cfg(test)]
mod tests;
