//! Asynchronous events, as the kernel's NVME_AEN shows them: completion dword 0 (NVMe Base 2.1, 5.1.2.1).

use super::log_page;

/// A notice that the discovery log page has changed, as completion dword 0.
pub const DISCOVERY_LOG_CHANGED: u32 = Aen { kind: Aen::NOTICE, information: 0xf0, log_page: log_page::LID }.encode();

/// An asynchronous event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aen {
    /// Bits 2:0: event type.
    pub kind: u8,
    /// Bits 15:8: event information. Its values depend on the event type.
    pub information: u8,
    /// Bits 23:16: log page with the details. Reading that page re-arms events of this kind.
    pub log_page: u8,
}

impl Aen {
    /// Event type: notice.
    pub const NOTICE: u8 = 2;

    /// Splits the dword into its fields. Reserved bits are ignored.
    #[must_use]
    pub const fn decode(dword: u32) -> Self {
        let [low, information, log_page, _] = dword.to_le_bytes();
        Self { kind: low & 0b111, information, log_page }
    }

    /// Builds the dword from its fields.
    #[must_use]
    pub const fn encode(self) -> u32 {
        u32::from_le_bytes([self.kind & 0b111, self.information, self.log_page, 0])
    }

    /// True for the notice that the discovery log page has changed.
    #[must_use]
    pub const fn is_discovery_log_change(self) -> bool {
        self.encode() == DISCOVERY_LOG_CHANGED
    }
}

/// Reads the kernel's text form, for example `0x70f002`.
#[must_use]
pub fn parse(text: &str) -> Option<u32> {
    let digits = text.trim().strip_prefix("0x")?;
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, 16).ok() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_discovery_log_page_is_a_notice_of_page_70h() {
        assert_eq!(DISCOVERY_LOG_CHANGED, 0x0070_f002);
        let event = Aen::decode(0x0070_f002);
        assert_eq!(event, Aen { kind: 2, information: 0xf0, log_page: 0x70 });
        assert!(event.is_discovery_log_change());
    }

    #[test]
    fn another_event_is_another_event() {
        for dword in [0x0070_f001, 0x0070_0002, 0x000c_0302, 0x0071_f002, 0, u32::MAX] {
            assert!(!Aen::decode(dword).is_discovery_log_change(), "{dword:#x}");
        }
        assert!(Aen::decode(0xff70_f0fa).is_discovery_log_change(), "reserved bits say nothing");
    }

    #[test]
    fn only_the_kernels_hexadecimal_is_read() {
        assert_eq!(parse("0x70f002"), Some(DISCOVERY_LOG_CHANGED));
        assert_eq!(parse("0x70f002\n"), Some(DISCOVERY_LOG_CHANGED));
        for odd in ["", "0x", "70f002", "0x+1", "0x0x1", "0x100000000", "nonsense"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn what_the_kernel_writes_is_read_back(dword: u32) {
            prop_assert_eq!(parse(&format!("{dword:#08x}")), Some(dword));
            prop_assert_eq!(Aen::decode(dword).encode(), dword & 0x00ff_ff07);
        }

        #[test]
        fn any_text_is_an_event_or_none(text: String) {
            let _ = parse(&text);
        }
    }
}
