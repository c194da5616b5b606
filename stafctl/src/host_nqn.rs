//! The default host NQN of connections.

use std::fs;
use std::io;
use std::path::Path;

use libstas::conf::sys;

/// The file with the identity of the host.
pub(crate) const SYS_CONF: &str = "/etc/stas/sys.conf";

/// Why the host NQN is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostNqnError {
    /// sys.conf exists and cannot be read.
    #[error("{file} cannot be read: {error}")]
    Unreadable { file: String, error: io::Error },
    /// The host has no valid identity.
    #[error(transparent)]
    Identity(#[from] sys::IdentityError),
}

/// The host NQN that a sys.conf determines.
///
/// # Errors
/// [`HostNqnError`] if the file cannot be read, or determines no valid identity.
pub(crate) fn of(sys_conf: &Path) -> Result<String, HostNqnError> {
    let name = sys_conf.display().to_string();
    let unreadable = |error| HostNqnError::Unreadable { file: name.clone(), error };
    let text = read(sys_conf).map_err(unreadable)?.unwrap_or_default();
    let (conf, _) = sys::parse(text.as_bytes(), &name);
    let (identity, _) = conf.identity(|file| read(Path::new(file)))?;
    Ok(identity.nqn)
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_nqn_is_where_sys_conf_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("hostnqn"), "nqn.2014-08.org.example:here\n").unwrap();
        let id = "id = 1b4e28ba-2fa1-11d2-883f-0016d3cca427";
        let conf = format!("[Host]\nnqn = file://{}\n{id}\n", path("hostnqn").display());
        fs::write(path("sys.conf"), conf).unwrap();
        assert_eq!(of(&path("sys.conf")).unwrap(), "nqn.2014-08.org.example:here");
        fs::write(path("sys.conf"), format!("[Host]\nnqn = nqn.2014-08.org.example:there\n{id}\n")).unwrap();
        assert_eq!(of(&path("sys.conf")).unwrap(), "nqn.2014-08.org.example:there");
    }

    #[test]
    fn the_error_for_a_host_without_an_nqn_names_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let conf = directory.path().join("sys.conf");
        fs::write(&conf, "[Host]\nnqn = file:///nonexistent/hostnqn\n").unwrap();
        let complaint = of(&conf).unwrap_err().to_string();
        assert!(complaint.contains("/nonexistent/hostnqn") && complaint.contains("stasadm"), "{complaint}");
    }
}
