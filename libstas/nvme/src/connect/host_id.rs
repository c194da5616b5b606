//! The host ID that belongs to a host NQN. Since Linux 6.5 the kernel requires a one-to-one mapping and answers EINVAL
//! otherwise.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::HostIdentity;

/// Prefix of an NQN that is made from a UUID (NVMe Base 2.1, 4.7).
const UUID_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// Returns the host ID for a host NQN: the one that the kernel's connections require ([`HostIdentity::kernel_id`]),
/// otherwise the first of [`host_ids_for`]. `None` if the host's own ID is not a UUID, unless the kernel requires one.
#[must_use]
pub fn host_id_for(host_nqn: &str, identity: &HostIdentity) -> Option<Uuid> {
    if let Some((nqn, id)) = &identity.kernel_id
        && nqn == host_nqn
    {
        return Some(*id);
    }
    host_ids_for(host_nqn, identity).first().copied()
}

/// Returns the host IDs for a host NQN, always the same ones. The first one is used, unless the kernel has it with
/// another host NQN. Empty if the host's own ID is not a UUID.
///
/// - For the host's own NQN: the host's own ID.
/// - If a boot table has the NQN: the ID next to it in the table, because the initramfs has used it. Otherwise, if the
///   NQN is made from a UUID: that UUID, as in nvme-cli. Neither if it is the host's own ID.
/// - A version 8 UUID from the first 16 bytes of SHA-256 over the 16 bytes of the host's own ID and the NQN.
#[must_use]
pub fn host_ids_for(host_nqn: &str, identity: &HostIdentity) -> Vec<Uuid> {
    let Ok(own) = Uuid::parse_str(identity.id.trim()) else { return Vec::new() };
    let boot = identity.boot_ids.get(host_nqn).copied();
    let made_of = || host_nqn.strip_prefix(UUID_NQN).and_then(|text| Uuid::try_parse(text).ok());
    let digest = Sha256::new().chain_update(own.as_bytes()).chain_update(host_nqn).finalize();
    let hashed = digest.first_chunk::<16>().map(|bytes| Builder::from_custom_bytes(*bytes).into_uuid());
    let configured = (host_nqn == identity.nqn).then_some(own);
    let of_nqn = boot.or_else(made_of).filter(|uuid| *uuid != own);
    configured.into_iter().chain(of_nqn).chain(hashed).collect()
}
