//! The host ID that goes with a host NQN. From 6.5 on the kernel wants the two to map one to one, and answers EINVAL
//! otherwise.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::HostIdentity;

/// What precedes the UUID of an NQN that is made of one (NVMe Base 2.1, 4.7).
const UUID_NQN: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// The host ID for a host NQN, always the same one; `None` if the host's own ID is no UUID.
///
/// An NQN that the kernel's connections have keeps the ID that they have. The host's own NQN has the host's own ID. One of a boot table has the ID that is beside it there, for the initramfs
/// has used that. Another one has the UUID that it is made of, as nvme-cli has it too; and
/// if it is made of none, or of the host's own ID, a UUID of version 8 from the first 16 bytes of SHA-256 over the 16
/// bytes of the host's own ID and the NQN.
#[must_use]
pub fn host_id_for(host_nqn: &str, identity: &HostIdentity) -> Option<Uuid> {
    if let Some(id) = identity.kernel_ids.get(host_nqn) {
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
