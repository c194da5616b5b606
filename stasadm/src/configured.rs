//! The value that sys.conf sets already. A missing file gets that value: at boot stas-config@.service creates missing
//! files, and the host must not get another identity than the configured one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use libstas::conf::sys::{self, Needed, Value};

use crate::change::Failure;

/// The configured value for `target`, if that file is missing or empty. `None` if sys.conf sets no value of its own.
///
/// # Errors
/// [`Failure`] if sys.conf cannot be read, or refers to another file that has no valid value now.
pub(crate) fn value(conf_file: &Path, needed: Needed, target: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(target) = target.filter(|target| is_empty(target)) else { return Ok(None) };
    let text = match fs::read(conf_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(Failure::file("cannot read", conf_file))?,
    };
    let conf = sys::parse(&text, &conf_file.display().to_string()).0;
    let target = std::path::absolute(target).map_err(Failure::file("cannot access", target))?;
    if *conf.source(needed) == Value::File(target) {
        return Ok(None);
    }
    let read = |path: &str| match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    };
    Ok(conf.own_value(needed, read)?)
}

fn is_empty(file: &Path) -> bool {
    match fs::read(file) {
        Ok(text) => text.trim_ascii().is_empty(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
