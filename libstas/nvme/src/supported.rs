//! The Supported Log Pages log page, LID 00h (NVMe Base 2.1, 5.1.12.1.1): the log pages of a controller, and what each
//! of them supports.

use super::log_page;
use super::wire::u32_at;

/// Log page identifier.
pub const LID: u8 = 0x00;
/// Length of the page in bytes: 256 dwords, one for each log page.
pub const LEN: usize = 1024;
/// Bit 0, LSUPP: the controller supports the log page.
const LSUPP: u32 = 1 << 0;

/// The Supported Log Pages log page: the dword of each log page, indexed by its LID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedLogPages([u32; 256]);

/// The page is too short. Length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the supported-log-pages page has {0} bytes where {LEN} are needed")]
pub struct TooShort(pub usize);

/// Features of the discovery log page, from the LID specific half of its dword (NVMe Base 2.1, Figure 292).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryLidSpecific {
    /// EXTDLPES: the host can request extended entries.
    pub extdlpes: bool,
    /// PLEOS: the host can request port-local entries only. Only meaningful for direct discovery controllers.
    pub pleos: bool,
    /// ALLSUBES: the host can request entries of all subsystems.
    pub allsubes: bool,
}

impl SupportedLogPages {
    /// Decodes the page.
    ///
    /// # Errors
    /// [`TooShort`] if bytes are missing.
    pub fn parse(page: &[u8]) -> Result<Self, TooShort> {
        let words = page.get(..LEN).ok_or(TooShort(page.len()))?;
        Ok(Self(std::array::from_fn(|lid| u32_at(words, lid * 4).unwrap_or_default())))
    }

    /// Encodes the page.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The page of a controller that supports these log pages, each with its LID specific half.
    #[must_use]
    pub fn of(pages: impl IntoIterator<Item = (u8, u16)>) -> Self {
        let mut words = [0; 256];
        for (lid, specific) in pages {
            if let Some(word) = words.get_mut(usize::from(lid)) {
                *word = LSUPP | u32::from(specific) << 16;
            }
        }
        Self(words)
    }

    /// The LID specific half of a log page's dword. `None` if the controller does not support the log page.
    #[must_use]
    pub fn specific(&self, lid: u8) -> Option<u16> {
        let word = self.0.get(usize::from(lid)).copied().filter(|word| word & LSUPP != 0)?;
        u16::try_from(word >> 16).ok()
    }

    /// Features of the discovery log page. `None` if the controller does not support it.
    #[must_use]
    pub fn discovery(&self) -> Option<DiscoveryLidSpecific> {
        self.specific(log_page::LID).map(|bits| DiscoveryLidSpecific {
            extdlpes: bits & (1 << 0) != 0,
            pleos: bits & (1 << 1) != 0,
            allsubes: bits & (1 << 2) != 0,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_discovery_log_pages_word_is_read_at_its_place() {
        let mut page = [0_u8; LEN];
        assert_eq!(SupportedLogPages::parse(&page).unwrap().discovery(), None);
        page[0x1c0..0x1c4].copy_from_slice(&[0x01, 0x00, 0x02, 0x00]);
        let only_pleos = DiscoveryLidSpecific { extdlpes: false, pleos: true, allsubes: false };
        assert_eq!(SupportedLogPages::parse(&page).unwrap().discovery(), Some(only_pleos));
        page[0x1c2] = 0x05;
        let others = DiscoveryLidSpecific { extdlpes: true, pleos: false, allsubes: true };
        assert_eq!(SupportedLogPages::parse(&page).unwrap().discovery(), Some(others));
    }

    #[test]
    fn a_log_page_that_is_not_supported_can_do_nothing() {
        let mut page = [0_u8; LEN];
        page[0x1c2] = 0x07;
        assert_eq!(SupportedLogPages::parse(&page).unwrap().discovery(), None);
    }

    #[test]
    fn a_page_that_is_too_short_is_refused() {
        assert_eq!(SupportedLogPages::parse(&[0; LEN - 1]), Err(TooShort(LEN - 1)));
        assert!(SupportedLogPages::parse(&[0; LEN + 1]).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(pages: std::collections::BTreeMap<u8, u16>) {
            let page = SupportedLogPages::of(pages.clone());
            prop_assert_eq!(SupportedLogPages::parse(&page.encode()), Ok(page.clone()));
            for lid in 0..=u8::MAX {
                prop_assert_eq!(page.specific(lid), pages.get(&lid).copied());
            }
        }

        #[test]
        fn any_bytes_are_a_page_or_too_short(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(SupportedLogPages::parse(&bytes).is_ok(), bytes.len() >= LEN);
        }
    }
}
