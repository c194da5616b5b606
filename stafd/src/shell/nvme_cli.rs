//! Coexistence with nvme-cli 2.x, whose udev rule reacts to the same kernel events as stafd.
//!
//! While stafd runs, a rule of the same name in /run overrides it. The override keeps only what the installed rule does
//! for Fibre Channel events. For discovery controllers that stafd does not manage, stafd does what the rule would have
//! done: it restarts an instance of nvmf-connect@.service.
//!
//! stafd itself may not write below /run/udev. stafd.service starts the program stas-udev-rule, which writes the
//! override before stafd starts and removes it after stafd has ended, even if stafd was killed.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use libstas::bus::SystemdProxy;

/// The file name of nvme-cli's rule.
const RULE: &str = "70-nvmf-autoconnect.rules";
/// Distinguishes our override from a rule that another program or the administrator put there.
const MARK: &str = "# Made by stafd";

/// The override of nvme-cli's rule.
#[derive(Clone, Debug)]
pub struct UdevRuleOverride {
    installed: Vec<PathBuf>,
    shadow: PathBuf,
    /// The administrator's rule of the same name. It takes precedence over the override (udev(7)).
    configured: PathBuf,
}

impl Default for UdevRuleOverride {
    fn default() -> Self {
        let below = |directory: &str| Path::new(directory).join(RULE);
        Self {
            installed: vec![below("/usr/lib/udev/rules.d"), below("/lib/udev/rules.d")],
            shadow: below("/run/udev/rules.d"),
            configured: below("/etc/udev/rules.d"),
        }
    }
}

impl UdevRuleOverride {
    /// Installs the override. udevd notices it by itself.
    ///
    /// # Errors
    /// Fails if it cannot be written, if a foreign rule is in its place, or if the administrator has a rule of the same
    /// name in /etc. Then both programs react, which is not fatal.
    pub fn install(&self) -> io::Result<()> {
        if self.has_rule_of_the_administrator()? {
            let text = format!(
                "the administrator's rule {0} overrides stafd's rule in /run; delete {0} to let stafd's rule take effect",
                self.configured.display()
            );
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        if !self.is_ours()? {
            let text = format!("{} is not made by stafd and stays", self.shadow.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        if let Some(directory) = self.shadow.parent() {
            fs::create_dir_all(directory)?;
        }
        let beside = self.shadow.with_extension("rules.new");
        fs::write(&beside, self.content())?;
        fs::rename(&beside, &self.shadow)
    }

    /// Removes the override.
    ///
    /// # Errors
    /// Fails if it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match self.is_ours() {
            Ok(true) => fs::remove_file(&self.shadow).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// True if /etc has a file of this name with a rule in it. A link to /dev/null has none: no rule is in force.
    fn has_rule_of_the_administrator(&self) -> io::Result<bool> {
        match fs::read(&self.configured) {
            Ok(content) => Ok(!logical_lines(&String::from_utf8_lossy(&content)).is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// True if there is no override, or if it is ours.
    fn is_ours(&self) -> io::Result<bool> {
        match fs::read(&self.shadow) {
            Ok(content) => Ok(content.starts_with(MARK.as_bytes())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn content(&self) -> String {
        let mut content = format!(
            "{MARK}, and removed when it stops. It hides nvme-cli's rule of the same name:\n\
             # stafd itself answers the events of discovery controllers.\n"
        );
        let installed = self.installed.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        for rule in logical_lines(&installed) {
            if rule.contains("SUBSYSTEM==\"fc\"") && rule.contains("nvmediscovery") {
                content.push_str(&rule);
                content.push('\n');
            }
        }
        content
    }
}

/// The rules of a file, without comments, continued lines joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(part) => open.push_str(part),
            None => {
                open.push_str(line);
                lines.push(std::mem::take(&mut open));
            }
        }
    }
    lines.push(open);
    lines.retain(|line| !line.is_empty());
    lines
}

/// The instance of nvmf-connect@.service for a discovery controller.
///
/// The service decodes its instance name with `echo -e`. Characters that a unit name cannot contain are written as `\x`
/// and two digits (systemd.unit(5), as `systemctl` escapes the names that it is given).
#[must_use]
pub fn unit_name(device: u32, host_traddr: &str, host_iface: &str) -> String {
    let mut arguments = format!("--device=nvme{device}");
    for (option, value) in [("host-traddr", host_traddr), ("host-iface", host_iface)] {
        if !value.is_empty() {
            let _ = write!(arguments, "\t--{option}={value}");
        }
    }
    let mut name = String::from("nvmf-connect@");
    for byte in arguments.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'-' | b'_' | b'.' => name.push(char::from(byte)),
            _ => {
                let _ = write!(name, "\\x{byte:02x}");
            }
        }
    }
    name.push_str(".service");
    name
}

/// Asks systemd to restart a unit, without waiting for the result.
///
/// # Errors
/// Fails if systemd does not answer or does not know the unit (nvme-cli is not installed).
pub async fn restart_unit(connection: &zbus::Connection, name: &str) -> zbus::Result<()> {
    SystemdProxy::new(connection).await?.restart_unit(name, "replace").await.map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const INSTALLED: &str = r#"# Events
ACTION=="change", SUBSYSTEM=="nvme", ENV{NVME_AEN}=="0x70f002",\
  ENV{NVME_TRTYPE}=="*", RUN+="/usr/bin/systemctl --no-block restart nvmf-connect@--device=$kernel.service"

# nvme-fc transport generated events
ACTION=="change", SUBSYSTEM=="fc", ENV{FC_EVENT}=="nvmediscovery", \
  RUN+="/usr/bin/systemctl --no-block restart nvmf-connect@--device=none\t--transport=fc.service"
"#;

    fn shadow(directory: &tempfile::TempDir, installed: &str) -> UdevRuleOverride {
        let path = directory.path().join("installed.rules");
        fs::write(&path, installed).unwrap();
        let below = |folder: &str| directory.path().join(folder).join(RULE);
        UdevRuleOverride { installed: vec![path], shadow: below("run/rules.d"), configured: below("etc/rules.d") }
    }

    #[test]
    fn a_rule_of_the_administrator_makes_the_override_ineffective_unless_it_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let shadow = shadow(&directory, INSTALLED);
        fs::create_dir_all(shadow.configured.parent().unwrap()).unwrap();
        fs::write(&shadow.configured, INSTALLED).unwrap();
        let error = shadow.install().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains(&shadow.configured.display().to_string()), "{error}");
        assert!(!shadow.shadow.exists(), "it would have no effect");
        // The ways to switch a rule off (udev(7)).
        fs::write(&shadow.configured, "# nothing\n").unwrap();
        shadow.install().unwrap();
        fs::remove_file(&shadow.configured).unwrap();
        std::os::unix::fs::symlink("/dev/null", &shadow.configured).unwrap();
        shadow.install().unwrap();
        assert!(shadow.shadow.exists());
    }

    #[test]
    fn the_shadow_keeps_what_is_for_fibre_channel() {
        let directory = tempfile::tempdir().unwrap();
        let shadow = shadow(&directory, INSTALLED);
        shadow.install().unwrap();
        let content = fs::read_to_string(&shadow.shadow).unwrap();
        let rules = logical_lines(&content);
        assert_eq!(rules.len(), 1, "{content}");
        assert!(rules[0].starts_with(r#"ACTION=="change", SUBSYSTEM=="fc", ENV{FC_EVENT}=="nvmediscovery", RUN+="#));
        shadow.remove().unwrap();
        assert!(!shadow.shadow.exists());
        shadow.remove().unwrap();
    }

    #[test]
    fn a_shadow_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let shadow = shadow(&directory, INSTALLED);
        shadow.install().unwrap();
        shadow.install().unwrap();
        assert!(shadow.shadow.exists());
    }

    #[test]
    fn a_foreign_rule_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let shadow = shadow(&directory, INSTALLED);
        fs::create_dir_all(shadow.shadow.parent().unwrap()).unwrap();
        fs::write(&shadow.shadow, "ACTION==\"add\"\n").unwrap();
        assert_eq!(shadow.install().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        shadow.remove().unwrap();
        assert_eq!(fs::read_to_string(&shadow.shadow).unwrap(), "ACTION==\"add\"\n");
    }

    #[test]
    fn without_nvme_cli_the_shadow_hides_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let shadow = shadow(&directory, "");
        shadow.install().unwrap();
        assert!(logical_lines(&fs::read_to_string(&shadow.shadow).unwrap()).is_empty());
    }

    #[test]
    fn the_unit_is_named_as_the_rule_names_it() {
        assert_eq!(unit_name(4, "", ""), r"nvmf-connect@--device\x3dnvme4.service");
        assert_eq!(
            unit_name(0, "fe80::1%eth0", "eth0"),
            r"nvmf-connect@--device\x3dnvme0\x09--host-traddr\x3dfe80::1\x25eth0\x09--host-iface\x3deth0.service"
        );
        assert_eq!(
            unit_name(0, r"`a'\b/", ""),
            r"nvmf-connect@--device\x3dnvme0\x09--host-traddr\x3d\x60a\x27\x5cb\x2f.service"
        );
    }
}
