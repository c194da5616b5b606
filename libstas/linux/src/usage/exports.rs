//! Block devices that this host exports through the kernel's NVMe target.

use std::io;
use std::path::Path;

use super::block::{list, word};

/// The device paths of the enabled namespaces of the kernel's target. Empty without configfs or nvmet.
///
/// # Errors
/// Fails if configfs cannot be read.
pub(super) fn devices(sys: &Path) -> io::Result<Vec<String>> {
    let subsystems = sys.join("kernel/config/nvmet/subsystems");
    let mut found = Vec::new();
    for nqn in list(&subsystems)? {
        let namespaces = subsystems.join(nqn).join("namespaces");
        for number in list(&namespaces)? {
            let namespace = namespaces.join(number);
            // A missing attribute does not rule out an export.
            if word(&namespace.join("enable"))?.is_none_or(|enabled| enabled != "0") {
                found.extend(word(&namespace.join("device_path"))?);
            }
        }
    }
    Ok(found)
}
