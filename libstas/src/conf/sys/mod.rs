//! sys.conf: who this host is.
//!
//! Three steps, each pure: [`parse`] tells where every value comes from, [`SysConf::identity`] takes the values with
//! the help of whoever may open files, [`set_value`] and [`clear_value`] rewrite the text.

mod identity;
mod rewrite;

pub use identity::IdentityError;
pub use rewrite::{InvalidValue, clear_value, set_value};

use std::path::PathBuf;

use super::keys::{self, Key, SYS};
use super::settings::Settings;
use super::types::Complaint;
use super::value::Setting;
use crate::nvme::Secret;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<T = String> {
    /// It stands in sys.conf.
    Literal(T),
    /// It is the first word of that file.
    File(PathBuf),
}

/// sys.conf
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysConf {
    /// Its name in complaints.
    file: String,
    /// nqn
    pub nqn: Value,
    /// id
    pub id: Value,
    /// key
    pub key: Value<Secret>,
    /// symname
    pub symname: Option<Value>,
}

/// Reads sys.conf. `file` is its name in complaints. Whatever is wrong costs that line and nothing else.
#[must_use]
pub fn parse(text: &[u8], file: &str) -> (SysConf, Vec<Complaint>) {
    let mut settings = Settings::read(text, file, SYS);
    let mut value = |key: &Key| match settings.value(key)? {
        Setting::Path(path) => Some(Value::File(path.into())),
        Setting::Text(text) => Some(Value::Literal(text)),
        _ => None,
    };
    // The table has a default for all but the symbolic name.
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
    /// What an empty file means.
    fn default() -> Self {
        parse(b"", "sys.conf").0
    }
}

#[cfg(test)]
mod tests;
