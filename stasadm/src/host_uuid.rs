//! Determines the UUID for the host NQN.
//!
//! The same host always gets the same UUID, and the same as from nvme-stas: storage may admit the host by it.

use std::fs;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

/// The key of the hash. systemd's documentation of machine-id asks for a key per application, so that the machine ID
/// itself is not disclosed.
const APPLICATION: &[u8] = b"$nvmexpress.org$";

/// Length of a UUID as text.
const UUID_LENGTH: usize = 36;

/// The origin of the UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// /etc/machine-id
    MachineId,
    /// From the firmware: /sys/class/dmi/id/product_uuid
    Dmi,
    /// From the hypervisor: /proc/device-tree/ibm,partition-uuid
    Partition,
    /// Random: the next call returns another one.
    Random,
}

impl Source {
    /// A warning for the user, if the origin needs one.
    pub(crate) fn warning(self) -> Option<&'static str> {
        let is_random = self == Self::Random;
        is_random.then_some("this host has no machine ID and no UUID in its firmware: the NQN is random")
    }
}

/// The host NQN for a UUID (NVMe Base 2.1, 4.7).
pub(crate) fn nqn(uuid: &str) -> String {
    format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}")
}

/// The UUID of the host with the root directory `root`, from the first origin that has one.
pub(crate) fn of(root: &Path) -> (String, Source) {
    let read = |path: &str| fs::read(root.join(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let machine_id = || read("etc/machine-id").as_deref().and_then(from_machine_id);
    let dmi = || read("sys/class/dmi/id/product_uuid").as_deref().and_then(from_dmi);
    let partition = || read("proc/device-tree/ibm,partition-uuid").as_deref().and_then(uuid_text);
    machine_id()
        .map(|uuid| (uuid, Source::MachineId))
        .or_else(|| Some((dmi()?, Source::Dmi)))
        .or_else(|| Some((partition()?, Source::Partition)))
        .unwrap_or_else(|| (Uuid::new_v4().to_string(), Source::Random))
}

/// The keyed hash of the machine ID, truncated to 16 bytes and marked as a UUID of version 4.
///
/// `None` if the machine has no ID yet: the file is empty, or contains `uninitialized`.
fn from_machine_id(text: &str) -> Option<String> {
    let machine_id = Uuid::try_parse(text.get(..32)?).ok().filter(|id| !id.is_nil())?;
    let mut hash = Hmac::<Sha256>::new_from_slice(APPLICATION).ok()?;
    hash.update(machine_id.as_bytes());
    let bytes = <[u8; 16]>::try_from(hash.finalize().into_bytes().get(..16)?).ok()?;
    Some(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// Converts the first three groups from the firmware's little-endian order (SMBIOS 3.0, 7.2.1) to the network order of
/// the NQN.
fn from_dmi(text: &str) -> Option<String> {
    let uuid = uuid_text(text)?;
    let (groups, rest) = uuid.split_at_checked(18)?;
    let swapped = groups.split('-').map(|group| {
        let bytes: Vec<&str> = (0..group.len()).step_by(2).filter_map(|at| group.get(at..at + 2)).collect();
        bytes.into_iter().rev().collect::<String>()
    });
    Some(swapped.collect::<Vec<_>>().join("-") + rest)
}

/// The UUID at the start of the text, in the same spelling. All zeros or all ones do not count: some firmware has
/// these, and many hosts would share them.
fn uuid_text(text: &str) -> Option<String> {
    let text = text.get(..UUID_LENGTH)?;
    let uuid = Uuid::try_parse(text).ok()?;
    (!uuid.is_nil() && !uuid.is_max()).then(|| text.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DMI: &str = "03020100-0504-0706-0809-0a0b0c0d0e0f\n";
    const PARTITION: &str = "b7f7a8d2-51a4-4f52-9d3c-0d5c8f6f4a11\0";

    /// A host with only these files.
    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn uuid_of(files: &[(&str, &str)]) -> (String, Source) {
        of(host(files).path())
    }

    #[test]
    fn the_machine_id_gives_the_uuid_that_nvme_stas_gives() {
        // Computed with Python: uuid.UUID(bytes=hmac.new(b'$nvmexpress.org$', uuid.UUID(machine_id).bytes,
        // hashlib.sha256).digest()[:16], version=4)
        for (machine_id, expected) in [
            ("0123456789abcdef0123456789abcdef\n", "f2782346-4809-484a-9a8b-952a04b57ba4"),
            ("f0e1d2c3b4a5968778695a4b3c2d1e0f\n", "5a39b260-68ad-4c31-bef5-9bfc2c8d9a78"),
            ("00000000000000000000000000000001", "cdee1f17-fb06-413a-b2fd-337cadada086"),
        ] {
            assert_eq!(from_machine_id(machine_id).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_firmware_uuid_is_put_into_network_order() {
        assert_eq!(from_dmi(DMI).as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        // In the same spelling: NQNs are compared byte by byte.
        assert_eq!(
            from_dmi("4C4C4544-0035-4410-8053-B4C04F564433").as_deref(),
            Some("44454C4C-3500-1044-8053-B4C04F564433")
        );
    }

    #[test]
    fn the_first_source_that_has_a_uuid_counts() {
        let machine_id = ("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        let dmi = ("sys/class/dmi/id/product_uuid", DMI);
        let partition = ("proc/device-tree/ibm,partition-uuid", PARTITION);
        assert_eq!(uuid_of(&[machine_id, dmi, partition]).1, Source::MachineId);
        assert_eq!(uuid_of(&[dmi, partition]), ("00010203-0405-0607-0809-0a0b0c0d0e0f".to_owned(), Source::Dmi));
        assert_eq!(uuid_of(&[partition]), ("b7f7a8d2-51a4-4f52-9d3c-0d5c8f6f4a11".to_owned(), Source::Partition));
        assert_eq!(uuid_of(&[]).1, Source::Random);
    }

    #[test]
    fn what_is_no_uuid_is_passed_over() {
        for machine_id in ["", "\n", "uninitialized\n", "g123456789abcdef0123456789abcdef", "é", &"0".repeat(32)] {
            assert_eq!(uuid_of(&[("etc/machine-id", machine_id)]).1, Source::Random, "{machine_id:?}");
        }
        let ones = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF";
        for dmi in ["", "Not Settable", "03020100-0504-0706-0809-0a0b0c0d0e0", &ones.replace('F', "0"), ones] {
            assert_eq!(uuid_of(&[("sys/class/dmi/id/product_uuid", dmi)]).1, Source::Random, "{dmi:?}");
        }
    }

    #[test]
    fn random_uuids_differ_and_are_said_to_be_random() {
        let (first, source) = uuid_of(&[]);
        assert_ne!(first, uuid_of(&[]).0);
        assert!(source.warning().unwrap().contains("the NQN is random"));
        assert_eq!(uuid_of(&[("sys/class/dmi/id/product_uuid", DMI)]).1.warning(), None);
    }
}
