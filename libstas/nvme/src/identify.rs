//! The Identify Controller data structure (NVMe Base 2.1, Figure 313), for kernels whose sysfs lacks these attributes
//! (before 5.18).

use std::fmt;

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CtrlType {
    /// 1: I/O controller, with namespaces.
    Io,
    /// 2: discovery controller, without namespaces.
    Discovery,
    /// 3: administrative controller, without I/O queues.
    Admin,
    /// 0 or reserved: not reported. The kernel reports no type before 5.18, or before it has identified the controller.
    #[default]
    Unknown,
}

impl CtrlType {
    /// Each type that can be reported, with its number and the kernel's word in sysfs.
    const REPORTED: [(Self, u8, &str); 3] =
        [(Self::Io, 1, "io"), (Self::Discovery, 2, "discovery"), (Self::Admin, 3, "admin")];

    /// Reads the type from a data structure or its beginning. Unknown if the bytes are missing.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        u8_at(data, CNTRLTYPE).map_or(Self::Unknown, Self::from_number)
    }

    /// The type with this number. Unknown for a reserved number.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::REPORTED.iter().find(|known| known.1 == number).map_or(Self::Unknown, |known| known.0)
    }

    /// The type with this word in sysfs (`cntrltype`). Unknown for any other text, such as `reserved`.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::REPORTED.iter().find(|known| known.2 == word).map_or(Self::Unknown, |known| known.0)
    }

    /// The number; 0 if unknown.
    #[must_use]
    pub fn number(self) -> u8 {
        Self::REPORTED.iter().find(|known| known.0 == self).map_or(0, |known| known.1)
    }

    /// The kernel's word; empty if unknown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::REPORTED.iter().find(|known| known.0 == self).map_or("", |known| known.2)
    }
}

/// DCTYPE: discovery controller type (TP8010).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dctype {
    /// 0 or reserved: not reported, or not a discovery controller.
    #[default]
    None,
    /// 1: direct discovery controller (DDC).
    Ddc,
    /// 2: centralized discovery controller (CDC).
    Cdc,
}

impl Dctype {
    /// All types, each with its number and the kernel's word in sysfs.
    const ALL: [(Self, u8, &str); 3] = [(Self::None, 0, "none"), (Self::Ddc, 1, "ddc"), (Self::Cdc, 2, "cdc")];

    /// Reads the type from a data structure or its beginning. `None` if the bytes are missing.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        u8_at(data, DCTYPE).map_or(Self::None, Self::from_number)
    }

    /// The type with this number. `None` for a reserved number.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::ALL.iter().find(|known| known.1 == number).map_or(Self::None, |known| known.0)
    }

    /// The type with this word in sysfs (`dctype`). `None` for any other text: the kernel reports no type.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::ALL.iter().find(|known| known.2 == word).map_or(Self::None, |known| known.0)
    }

    /// The value of DCTYPE in Identify Controller.
    #[must_use]
    pub fn number(self) -> u8 {
        Self::ALL.iter().find(|known| known.0 == self).map_or(0, |known| known.1)
    }

    /// The kernel's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|known| known.0 == self).map_or("none", |known| known.2)
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
    pub cntrltype: CtrlType,
    /// DCTYPE: direct or centralized discovery controller.
    pub dctype: Dctype,
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
            cntrltype: CtrlType::of(data),
            dctype: Dctype::of(data),
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
        data[CNTRLTYPE] = self.cntrltype.number();
        data[DCTYPE] = self.dctype.number();
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
            cntrltype: CtrlType::Discovery,
            dctype: Dctype::Cdc,
            subnqn: "nqn".into(),
        };
        assert_eq!(IdentifyController::parse(&data), Ok(expected));
    }

    #[test]
    fn the_types_of_controllers_have_their_numbers_and_the_words_of_the_kernel() {
        let types = [(CtrlType::Io, 1, "io"), (CtrlType::Discovery, 2, "discovery"), (CtrlType::Admin, 3, "admin")];
        for (kind, number, word) in types {
            assert_eq!((CtrlType::from_number(number), CtrlType::from_word(word)), (kind, kind));
            assert_eq!((kind.number(), kind.as_str()), (number, word));
        }
        assert_eq!([0, 4, 255].map(CtrlType::from_number), [CtrlType::Unknown; 3]);
        assert_eq!(["", "reserved", "IO"].map(CtrlType::from_word), [CtrlType::Unknown; 3]);
        assert_eq!((CtrlType::Unknown.number(), CtrlType::Unknown.as_str()), (0, ""));
        for (kind, number, word) in [(Dctype::None, 0, "none"), (Dctype::Ddc, 1, "ddc"), (Dctype::Cdc, 2, "cdc")] {
            assert_eq!((Dctype::from_number(number), Dctype::from_word(word)), (kind, kind));
            assert_eq!((kind.number(), kind.as_str()), (number, word));
        }
        assert_eq!([3, 255].map(Dctype::from_number), [Dctype::None; 2]);
        assert_eq!(["", "reserved"].map(Dctype::from_word), [Dctype::None; 2]);
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
            let (cntrltype, dctype) = (CtrlType::from_number(cntrltype), Dctype::from_number(dctype));
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
