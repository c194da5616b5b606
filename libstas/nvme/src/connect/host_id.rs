//! The host ID that belongs to a host NQN. Since Linux 6.5 the kernel requires a one-to-one mapping and answers EINVAL
//! otherwise.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::HostIdentity;

/// Prefix of an NQN that is made from a UUID (NVMe Base 2.1, 4.7).
const UUID_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// Returns the host ID for a host NQN, always the same one. `None` if the kernel has no connection with this NQN and
/// the host's own ID is not a UUID.
///
/// The first rule that applies decides:
/// - The kernel has connections with this host NQN: the ID of those connections.
/// - It is the host's own NQN: the host's own ID.
/// - A boot table has the NQN: the ID next to it in the table, because the initramfs has used it.
/// - The NQN is made from a UUID: that UUID, as in nvme-cli.
/// - Otherwise, or if the boot table or the NQN has the host's own ID: a version 8 UUID from the first 16 bytes of
///   SHA-256 over the 16 bytes of the host's own ID and the NQN.
#[must_use]
pub fn host_id_for(host_nqn: &str, identity: &HostIdentity) -> Option<Uuid> {
    if let Some((nqn, id)) = &identity.kernel_id
        && nqn == host_nqn
    {
        return Some(*id);
    }
    let own = Uuid::parse_str(identity.id.trim()).ok()?;
    if host_nqn == identity.nqn {
        return Some(own);
    }
    let boot = identity.boot_ids.get(host_nqn).copied();
    let made_of = || host_nqn.strip_prefix(UUID_NQN).and_then(|text| Uuid::try_parse(text).ok());
    boot.or_else(made_of).filter(|uuid| *uuid != own).or_else(|| {
        let digest = Sha256::new().chain_update(own.as_bytes()).chain_update(host_nqn).finalize();
        digest.first_chunk::<16>().map(|bytes| Builder::from_custom_bytes(*bytes).into_uuid())
    })
}
