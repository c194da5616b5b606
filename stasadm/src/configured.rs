//! The value that sys.conf sets already. A missing file gets that value: at boot stas-config@.service creates missing
//! files, and the host must not get another identity than the configured one.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use libstas::conf::sys::{self, Needed, Value};
use libstas::daemon::conf_file::broken_link_error;

use crate::change::Failure;

/// The configured value for `target`, if that file is missing or empty. `None` if sys.conf sets no value of its own.
///
/// # Errors
/// [`Failure`] if sys.conf cannot be read, if a link to one of the files is broken, or if sys.conf refers to another
/// file that has no valid value now.
pub(crate) fn value(conf_file: &Path, needed: Needed, target: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(target) = target else { return Ok(None) };
    if !is_lost(Some(target))? {
        return Ok(None);
    }
    let text = match fs::read(conf_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => match broken_link_error(conf_file) {
            Some(broken) => Err(broken),
            None => return Ok(None),
        },
        text => text,
    };
    let text = text.map_err(Failure::file("cannot read", conf_file))?;
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

/// True if there is a target, and that file is missing or empty.
///
/// # Errors
/// [`Failure`] if a link in its path is broken.
pub(crate) fn is_lost(target: Option<&Path>) -> Result<bool, Failure> {
    let Some(target) = target else { return Ok(false) };
    is_empty(target).map_err(Failure::file("cannot read", target))
}

/// True if the file is missing or empty. An unreadable file counts as not empty: the later write reports the error.
///
/// # Errors
/// Fails if a link in its path is broken.
fn is_empty(file: &Path) -> io::Result<bool> {
    match fs::read(file) {
        Ok(text) => Ok(text.trim_ascii().is_empty()),
        Err(error) if error.kind() == ErrorKind::NotFound => broken_link_error(file).map_or(Ok(true), Err),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_broken_link_does_not_mean_that_nothing_is_configured() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["sys.conf", "hostnqn"] {
            symlink("not-mounted", at(name)).unwrap();
        }
        for (conf, target) in [("sys.conf", "new"), ("no.conf", "hostnqn")] {
            let error = value(&at(conf), Needed::Nqn, Some(&at(target))).unwrap_err().to_string();
            assert!(error.contains("is broken: its target not-mounted does not exist"), "{error}");
        }
        assert_eq!(value(&at("no.conf"), Needed::Nqn, Some(&at("new"))).unwrap(), None);
    }
}
