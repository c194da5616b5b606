//! The supported-log-pages page, LID 00h (NVMe Base 2.0, 5.16.1.1; TP8010 for the discovery page's bits).

/// Log page identifier.
pub const LID: u8 = 0x00;
/// Length of the page in bytes: 256 words, one for each log page.
pub const LEN: usize = 1024;

/// What the page says of the discovery log page, in the LID-specific half of its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscoveryLidSpecific {
    /// Extended entries.
    pub extdlpes: bool,
    /// Port-local entries only can be asked for (PLEO).
    pub pleos: bool,
    /// Entries of all subsystems can be asked for.
    pub allsubes: bool,
}

impl DiscoveryLidSpecific {
    /// Reads it from the page. `None` when the page is too short, or says that there is no discovery log page.
    #[must_use]
    pub fn parse(page: &[u8]) -> Option<Self> {
        let at = usize::from(super::log_page::LID) * 4;
        let word = page.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)?;
        let supported = word & 1 != 0;
        let specific = word >> 16;
        supported.then_some(Self {
            extdlpes: specific & 1 != 0,
            pleos: specific & (1 << 1) != 0,
            allsubes: specific & (1 << 2) != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_discovery_pages_word_is_read_at_its_place() {
        let mut page = [0_u8; LEN];
        assert_eq!(DiscoveryLidSpecific::parse(&page), None);
        page[0x70 * 4..0x70 * 4 + 4].copy_from_slice(&[0x01, 0x00, 0x02, 0x00]);
        let specific = DiscoveryLidSpecific { extdlpes: false, pleos: true, allsubes: false };
        assert_eq!(DiscoveryLidSpecific::parse(&page), Some(specific));
        assert_eq!(DiscoveryLidSpecific::parse(&page[..0x70 * 4 + 3]), None);
    }
}
