//! Hides DH-HMAC-CHAP secrets in sysfs: older kernels let every user read them.

use super::Roots;
use super::sysfs::ControllerDir;
use stas_core::CtrlRef;

/// Attributes that contain secrets. Those of TLS contain only serial numbers of keys.
const ATTRIBUTES: [&str; 2] = ["dhchap_secret", "dhchap_ctrl_secret"];

/// Makes a controller's secrets readable for root only. Logs a secret that cannot be hidden.
pub fn hide(roots: &Roots, ctrl: CtrlRef) {
    let hidden = ControllerDir::open(roots, ctrl).and_then(|dir| {
        let Some(dir) = dir else { return Ok(()) };
        ATTRIBUTES.iter().try_for_each(|name| dir.hide(name).map(|_| ()))
    });
    if let Err(error) = hidden {
        tracing::warn!("other users may be able to read the secrets of {ctrl} in {}: {error}", roots.class().display());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::metadata;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fake_tree::FakeTree;
    use log_lines::LogLines;

    #[test]
    fn both_secrets_are_for_root_alone_and_nothing_else_is() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        tree.set(ctrl, "dhchap_secret", "a");
        tree.set(ctrl, "dhchap_ctrl_secret", "b");
        hide(&tree.roots(), ctrl);
        let mode =
            |name: &str| metadata(tree.path(format!("sys/class/nvme/nvme0/{name}"))).unwrap().permissions().mode();
        assert_eq!([mode("dhchap_secret") & 0o777, mode("dhchap_ctrl_secret") & 0o777], [0o600, 0o600]);
        assert_ne!(mode("model") & 0o777, 0o600);
    }

    #[test]
    fn a_controller_without_secrets_or_gone_is_fine() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        let log = LogLines::start();
        hide(&tree.roots(), ctrl);
        tree.remove(ctrl);
        hide(&tree.roots(), ctrl);
        assert_eq!(log.text(), "");
    }

    #[test]
    fn a_secret_that_stays_readable_is_reported() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(0, "");
        // The mode of a link that leads to itself cannot be changed.
        std::os::unix::fs::symlink("dhchap_secret", tree.path("sys/class/nvme/nvme0/dhchap_secret")).unwrap();
        let log = LogLines::start();
        hide(&tree.roots(), ctrl);
        let said = log.text();
        assert!(
            said.contains("WARN") && said.contains("other users may be able to read the secrets of nvme0"),
            "{said}"
        );
    }
}
