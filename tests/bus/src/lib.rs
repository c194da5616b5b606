//! A private message bus for a test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The policy of the bus: every user may do everything.
const POLICY: &str = r#"
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow eavesdrop="true"/>
    <allow user="*"/>
"#;

/// The policy of the system bus (system.conf of dbus-daemon).
const SYSTEM_POLICY: &str = r#"
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
"#;

/// The configuration of a bus with this default policy, and with further elements.
fn configuration(policy: &str, more: &str) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default">{policy}</policy>
  {more}
</busconfig>
"#
    )
}

/// True if the test runs as root: the bus allows root more.
///
/// # Panics
/// Panics without /proc.
#[must_use]
pub fn is_root() -> bool {
    let this = std::fs::metadata("/proc/self").expect("/proc tells whose process this is");
    std::os::unix::fs::MetadataExt::uid(&this) == 0
}

/// A command that runs a program as the user nobody. Needs root.
#[must_use]
pub fn as_nobody(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

/// A running dbus-daemon. It is stopped when this value is dropped.
#[derive(Debug)]
pub struct PrivateBus {
    daemon: Child,
    address: String,
    _configuration: tempfile::NamedTempFile,
}

impl PrivateBus {
    /// Starts a bus. `None`, with the reason printed, if dbus-daemon is not installed.
    ///
    /// # Panics
    /// Panics if dbus-daemon is installed and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::with_configuration(&configuration(POLICY, ""))
    }

    /// Starts a bus with the installed policies: the daemons' files in etc/dbus-1, and what the system bus has for all
    /// services. `None` as for [`Self::start`].
    ///
    /// # Panics
    /// Panics as [`Self::start`].
    #[must_use]
    pub fn with_installed_policies() -> Option<Self> {
        Self::with_installed_policies_and("")
    }

    /// As [`Self::with_installed_policies`], with further elements of the configuration of dbus-daemon.
    ///
    /// # Panics
    /// Panics as [`Self::start`].
    #[must_use]
    pub fn with_installed_policies_and(more: &str) -> Option<Self> {
        let policies = concat!("<includedir>", env!("CARGO_MANIFEST_DIR"), "/../../etc/dbus-1</includedir>");
        Self::with_configuration(&configuration(SYSTEM_POLICY, &format!("{policies}{more}")))
    }

    #[allow(clippy::unwrap_used)]
    fn with_configuration(text: &str) -> Option<Self> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let started = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", file.path().display()))
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
        Some(Self { daemon, address, _configuration: file })
    }

    /// The address of the bus.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops the bus: all connections to it are lost.
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
