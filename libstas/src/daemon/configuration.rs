//! Reading the files: what a missing and what an unreadable one means.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A configuration is at most this long in bytes; more is not one.
const SIZE_MAX: u64 = 16 << 20;

/// A configuration file that is there and cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {error}")]
pub struct Unreadable {
    path: String,
    error: io::Error,
}

/// Reads a configuration file. A missing one is an empty one: every setting has its default, and one line says so.
///
/// # Errors
/// The file is there and cannot be read. At a reload, keep the last good configuration.
pub fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let unreadable = |error| Unreadable { path: path.display().to_string(), error };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!("{} does not exist: every setting has its default", path.display());
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut content = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > SIZE_MAX {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {} MiB", SIZE_MAX >> 20));
        return Err(unreadable(error));
    }
    Ok(content)
}

/// Logs what a parser found wrong, each as loud as it is meant.
pub fn complain(complaints: &[crate::conf::Complaint]) {
    for complaint in complaints {
        if complaint.error {
            tracing::error!("{complaint}");
        } else {
            tracing::warn!("{complaint}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(&directory.path().join("stafd.conf")).unwrap(), b"");
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.contains(directory.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_device_is_not_read_for_ever() {
        assert!(read(Path::new("/dev/zero")).unwrap_err().to_string().contains("16 MiB"));
    }
}
