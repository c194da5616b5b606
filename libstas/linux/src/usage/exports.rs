//! Block devices that this host exports through the kernel's NVMe target.

use std::io;
use std::path::Path;

use super::block::{list, word};

/// The device paths of what the kernel's target exports: block devices, files, and whole controllers (passthru). Empty
/// without configfs or nvmet.
///
/// # Errors
/// Fails if configfs cannot be read.
pub(super) fn devices(sys: &Path) -> io::Result<Vec<String>> {
    let subsystems = sys.join("kernel/config/nvmet/subsystems");
    let mut found = Vec::new();
    for nqn in list(&subsystems)? {
        let subsystem = subsystems.join(nqn);
        let namespaces = subsystem.join("namespaces");
        let numbers = list(&namespaces)?;
        let exports = numbers.into_iter().map(|number| namespaces.join(number)).chain([subsystem.join("passthru")]);
        for export in exports {
            // A missing attribute does not rule out an export.
            if word(&export.join("enable"))?.is_none_or(|enabled| enabled != "0") {
                found.extend(word(&export.join("device_path"))?);
            }
        }
    }
    Ok(found)
}
