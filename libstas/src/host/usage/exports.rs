//! Block devices that this host exports again, through the kernel's NVMe target.

use std::io;
use std::path::Path;

use super::block::{list, word};

/// The paths of the devices behind the enabled namespaces of the kernel's target; none without configfs or nvmet.
///
/// # Errors
/// When configfs cannot be read.
pub(super) fn devices(sys: &Path) -> io::Result<Vec<String>> {
    let subsystems = sys.join("kernel/config/nvmet/subsystems");
    let mut found = Vec::new();
    for nqn in list(&subsystems)? {
        let namespaces = subsystems.join(nqn).join("namespaces");
        for number in list(&namespaces)? {
            let namespace = namespaces.join(number);
            // An attribute that is missing does not rule an export out.
            if word(&namespace.join("enable"))?.is_none_or(|enabled| enabled != "0") {
                found.extend(word(&namespace.join("device_path"))?);
            }
        }
    }
    Ok(found)
}
