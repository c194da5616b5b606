//! The Identify Controller data structure (NVMe Base 2.1, Figure 313), for kernels whose sysfs lacks these attributes
//! (before 5.18).

use std::fmt;

use super::wire::{put, trimmed, u8_at, u32_at};

/// Length of the data structure in bytes.
pub const LEN: usize = 4096;
/// Text fields: offset and length in bytes.
const SERIAL: (usize, usize) = (4, 20);
const MODEL: (usize, usize) = (24, 40);
const FIRMWARE: (usize, usize) = (64, 8);
const VER: usize = 80;
const CNTRLTYPE: usize = 111;
const SUBNQN: (usize, usize) = (768, 256);
/// Offset of DCTYPE. It follows IOCCSZ (1792), IORCSZ (1796), ICDOFF (1800), FCATT (1802), MSDBD (1803) and OFCS
/// (1804).
const DCTYPE: usize = 1806;

/// VER: the version of the specification that a controller implements (NVMe Base 2.1, Figure 36: major, minor and
/// tertiary number in 16, 8 and 8 bits). Controllers before NVMe 1.2 report 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

impl Version {
    /// NVMe 1.3.
    pub const V1_3: Self = Self(0x0001_0300);
    /// NVMe 2.0.
    pub const V2_0: Self = Self(0x0002_0000);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [tertiary, minor, major @ ..] = self.0.to_le_bytes();
        write!(f, "{}.{minor}", u16::from_le_bytes(major))?;
        if tertiary == 0 { Ok(()) } else { write!(f, ".{tertiary}") }
    }
}

/// CNTRLTYPE: controller type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ControllerType(pub u8);

impl ControllerType {
    /// 0: the controller does not report its type.
    pub const NOT_REPORTED: Self = Self(0);
    /// 1: I/O controller.
    pub const IO: Self = Self(1);
    /// 2: discovery controller.
    pub const DISCOVERY: Self = Self(2);
    /// 3: administrative controller.
    pub const ADMIN: Self = Self(3);

    /// Reads the type from a data structure or its beginning. Not reported if the bytes are missing.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(u8_at(data, CNTRLTYPE).unwrap_or_default())
    }
}

/// DCTYPE: discovery controller type (TP8010).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DiscoveryControllerType(pub u8);

impl DiscoveryControllerType {
    /// 0: the controller does not report its type.
    pub const NOT_REPORTED: Self = Self(0);
    /// 1: direct discovery controller (DDC).
    pub const DDC: Self = Self(1);
    /// 2: centralized discovery controller (CDC).
    pub const CDC: Self = Self(2);

    /// Reads the type from a data structure or its beginning. Not reported if the bytes are missing.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(u8_at(data, DCTYPE).unwrap_or_default())
    }
}

/// The fields of the data structure that this program uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentifyController {
    /// SN: serial number, without padding.
    pub serial: String,
    /// MN: model number, without padding.
    pub model: String,
    /// FR: firmware revision, without padding.
    pub firmware: String,
    /// VER: version of the specification that the controller implements.
    pub version: Version,
    /// CNTRLTYPE: I/O, discovery or administrative controller.
    pub cntrltype: ControllerType,
    /// DCTYPE: direct or centralized discovery controller.
    pub dctype: DiscoveryControllerType,
    /// NQN of the subsystem. A discovery controller may report a unique NQN instead of the well-known one (TP8013).
    pub subnqn: String,
}

/// The data structure is too short. Length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Identify Controller data structure has {0} bytes where {LEN} are needed")]
pub struct TooShort(pub usize);

impl IdentifyController {
    /// Decodes the data structure. Its texts are for display: each byte that is not printable ASCII becomes a question
    /// mark.
    ///
    /// # Errors
    /// [`TooShort`] if bytes are missing.
    pub fn parse(data: &[u8]) -> Result<Self, TooShort> {
        let data = data.get(..LEN).ok_or(TooShort(data.len()))?;
        let text = |(at, len): (usize, usize)| printable(data.get(at..at + len).unwrap_or_default());
        Ok(Self {
            serial: text(SERIAL),
            model: text(MODEL),
            firmware: text(FIRMWARE),
            version: Version(u32_at(data, VER).unwrap_or_default()),
            cntrltype: ControllerType::of(data),
            dctype: DiscoveryControllerType::of(data),
            subnqn: text(SUBNQN),
        })
    }

    /// Encodes the data structure. All other fields are zero, and a text that is too long is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut data = vec![0; LEN];
        for ((at, len), text) in [(SERIAL, &self.serial), (MODEL, &self.model), (FIRMWARE, &self.firmware)] {
            let field = &mut data[at..at + len];
            field.fill(b' ');
            put(field, text.as_bytes());
        }
        put(&mut data[SUBNQN.0..SUBNQN.0 + SUBNQN.1], self.subnqn.as_bytes());
        put(&mut data[VER..VER + 4], &self.version.0.to_le_bytes());
        data[CNTRLTYPE] = self.cntrltype.0;
        data[DCTYPE] = self.dctype.0;
        data
    }
}

fn printable(field: &[u8]) -> String {
    let show = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' };
    trimmed(field).iter().map(show).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_field_is_read_at_its_place() {
        let mut data = vec![0; LEN];
        data[4..24].copy_from_slice(b"2adb3c1f89f0        ");
        data[24..64].copy_from_slice(b"Linux                                   ");
        data[64..72].copy_from_slice(b"6.12.5-a");
        data[80..84].copy_from_slice(&[0, 0, 2, 0]);
        data[111] = 2;
        data[768..771].copy_from_slice(b"nqn");
        data[1806] = 2;
        let expected = IdentifyController {
            serial: "2adb3c1f89f0".into(),
            model: "Linux".into(),
            firmware: "6.12.5-a".into(),
            version: Version::V2_0,
            cntrltype: ControllerType::DISCOVERY,
            dctype: DiscoveryControllerType::CDC,
            subnqn: "nqn".into(),
        };
        assert_eq!(IdentifyController::parse(&data), Ok(expected));
    }

    #[test]
    fn versions_are_ordered_and_shown_as_the_specification_numbers_them() {
        let versions = [0, 0x0001_0201, 0x0001_0300, 0x0002_0000, 0x0002_0100, 0x0100_0000].map(Version);
        assert!(versions.is_sorted());
        let shown = versions.map(|version| version.to_string());
        assert_eq!(shown, ["0.0", "1.2.1", "1.3", "2.0", "2.1", "256.0"]);
        assert_eq!((versions[2], versions[3]), (Version::V1_3, Version::V2_0));
    }

    #[test]
    fn a_data_structure_that_is_too_short_is_refused() {
        assert_eq!(IdentifyController::parse(&[0; LEN - 1]), Err(TooShort(LEN - 1)));
        assert_eq!(IdentifyController::parse(&[0; LEN]), Ok(IdentifyController::default()));
    }

    #[test]
    fn a_text_cannot_reach_a_terminal_with_control_characters() {
        let mut data = vec![0; LEN];
        data[24..29].copy_from_slice(b"\x1b[2J\xff");
        assert_eq!(IdentifyController::parse(&data).unwrap().model, "?[2J?");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(
            serial in "[!-~]{0,20}",
            model in "[!-~]([ -~]{0,38}[!-~])?",
            firmware in "[!-~]{0,8}",
            subnqn in "[!-~]{0,223}",
            version: u32,
            cntrltype: u8,
            dctype: u8,
        ) {
            let version = Version(version);
            let (cntrltype, dctype) = (ControllerType(cntrltype), DiscoveryControllerType(dctype));
            let identify = IdentifyController { serial, model, firmware, version, cntrltype, dctype, subnqn };
            prop_assert_eq!(IdentifyController::parse(&identify.encode()), Ok(identify));
        }

        #[test]
        fn any_bytes_are_read_as_printable_text(data in proptest::collection::vec(any::<u8>(), LEN)) {
            let identify = IdentifyController::parse(&data).unwrap();
            for text in [identify.serial, identify.model, identify.firmware, identify.subnqn] {
                prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
