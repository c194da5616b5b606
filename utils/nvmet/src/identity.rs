//! Names that must not change between runs of `create`: UUIDs of namespaces and names of `null_blk` devices.
//!
//! After a reconnect a host compares the identifiers of a namespace with the earlier ones, and drops a namespace whose
//! identifiers have changed. So they are derived from the NQN and the namespace ID, not random.

use std::fmt;

use sha2::{Digest, Sha256};

/// The prefix of the names of all `null_blk` devices that this tool creates.
pub const NULL_BLK_PREFIX: &str = "nvmet-";

/// The name of the `null_blk` device that all namespaces share, if the configuration requests that.
pub const SHARED_NULL_BLK: &str = "nvmet-shared";

/// Length of the hash in a device name in bytes: with prefix and namespace ID the name fits the kernel's 31 characters.
const NAME_HASH_BYTES: usize = 6;

/// A UUID or NGUID: 16 bytes, formatted as by the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identifier([u8; 16]);

impl Identifier {
    /// No identifier: written to make the kernel forget one.
    pub const ZERO: Self = Self([0; 16]);

    /// Parses 32 hexadecimal digits, with or without dashes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u128::from_str_radix(&digits, 16).ok()?;
        hexadecimal.then(|| Self(number.to_be_bytes()))
    }

    /// True if all bits are zero: the kernel has no identifier.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The default UUID of a namespace: version 8 (RFC 9562, 5.8), from a hash.
    #[must_use]
    pub fn derived(nqn: &str, nsid: u32) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash(nqn, nsid)[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of the `null_blk` device of a namespace.
#[must_use]
pub fn null_blk_name(nqn: &str, nsid: u32) -> String {
    let digits: String = hash(nqn, 0).iter().take(NAME_HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("{NULL_BLK_PREFIX}{digits}-{nsid}")
}

fn hash(nqn: &str, nsid: u32) -> [u8; 32] {
    Sha256::new().chain_update(nqn).chain_update([0]).chain_update(nsid.to_be_bytes()).finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dashes_and_case_do_not_matter() {
        let plain = Identifier::parse("0123456789ABCDEF0123456789abcdef").unwrap();
        assert_eq!(plain.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(Identifier::parse(&plain.to_string()), Some(plain));
    }

    #[test]
    fn half_an_identifier_is_none() {
        assert_eq!(Identifier::parse("0123"), None);
        assert_eq!(Identifier::parse("+123456789abcdef0123456789abcdef0"), None);
        assert_eq!(Identifier::parse(""), None);
    }

    #[test]
    fn a_derived_uuid_never_changes() {
        // Hosts remember it: another value in a later release would make them drop their namespaces.
        assert_eq!(Identifier::derived("klingons", 1).to_string(), "6dba0366-64d7-84a2-b3c1-6531d5e7e823");
        assert_eq!(null_blk_name("klingons", 1), "nvmet-176c204ec35e-1");
    }

    proptest! {
        #[test]
        fn a_device_name_fits_the_kernel(nqn in "\\PC{1,223}", nsid in 1..=u32::MAX) {
            prop_assert!(null_blk_name(&nqn, nsid).len() < 32);
        }

        #[test]
        fn what_is_shown_is_read_back(bytes in any::<[u8; 16]>()) {
            let identifier = Identifier(bytes);
            prop_assert_eq!(Identifier::parse(&identifier.to_string()), Some(identifier));
        }
    }
}
