//! A message bus of a test's own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Who may do what on it: everybody everything.
const POLICY: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow eavesdrop="true"/>
    <allow user="*"/>
  </policy>
</busconfig>
"#;

/// True for tests that root runs: the bus lets root do more.
///
/// # Panics
/// Without /proc.
#[must_use]
pub fn is_root() -> bool {
    let this = std::fs::metadata("/proc/self").expect("/proc tells whose process this is");
    std::os::unix::fs::MetadataExt::uid(&this) == 0
}

/// A running dbus-daemon; it ends with this value.
#[derive(Debug)]
pub struct PrivateBus {
    daemon: Child,
    address: String,
    _policy: tempfile::NamedTempFile,
}

impl PrivateBus {
    /// Starts one. `None`, with a line that says why, where dbus-daemon is not installed.
    ///
    /// # Panics
    /// When dbus-daemon is there and does not start.
    #[must_use]
    #[allow(clippy::unwrap_used)]
    pub fn start() -> Option<Self> {
        let policy = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(policy.path(), POLICY).unwrap();
        let started = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", policy.path().display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn();
        let mut daemon = match started {
            Ok(daemon) => daemon,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: dbus-daemon is not installed (package dbus-daemon)");
                return None;
            }
            Err(error) => panic!("dbus-daemon: {error}"),
        };
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(!address.is_empty(), "dbus-daemon did not start");
        Some(Self { daemon, address, _policy: policy })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it: everybody loses the bus.
    pub fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        self.stop();
    }
}
