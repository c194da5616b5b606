//! Data from discovery controllers, hosts and firmware.

use libstas::nvme::dim::Registration;
use libstas::nvme::identify::IdentifyController;
use libstas::nvme::log_page::{ENTRY_LEN, Entry, HEADER_LEN, LogPage};
use libstas::nvme::supported::SupportedLogPages;

pub(crate) fn log_page(bytes: &[u8]) {
    let Ok(page) = LogPage::parse(bytes) else { return };
    let room = bytes.len().saturating_sub(HEADER_LEN) / ENTRY_LEN;
    assert!(page.entries.len() + page.dropped.len() <= room, "more entries than bytes");
    for entry in &page.entries {
        is_fit_to_be_shown(entry);
        let mut again = Entry::from_dict(&entry.to_dict()).expect("what is put on the bus is read back");
        again.tsas = entry.tsas.clone();
        assert_eq!(&again, entry);
    }
    let again = LogPage::parse(&page.encode()).expect("what is written is read back");
    assert!(again.dropped.is_empty(), "{:?}", again.dropped);
    assert_eq!(again.entries, page.entries);
    let extended = LogPage::parse(&page.encode_extended()).expect("what is written extended is read back");
    assert_eq!(extended.entries, page.entries);
}

/// These texts are passed to the log, the bus and the kernel, where a comma ends a value.
fn is_fit_to_be_shown(entry: &Entry) {
    for text in [&entry.traddr, &entry.trsvcid, &entry.subnqn] {
        assert!(!text.contains(|c: char| c.is_control() || c == ','), "{text:?}");
    }
}

pub(crate) fn supported(bytes: &[u8]) {
    let Ok(pages) = SupportedLogPages::parse(bytes) else { return };
    let _ = pages.discovery();
    assert_eq!(SupportedLogPages::parse(&pages.encode()), Ok(pages));
}

pub(crate) fn identify(bytes: &[u8]) {
    let Ok(identify) = IdentifyController::parse(bytes) else { return };
    assert!(identify.model.chars().all(|c| (' '..='~').contains(&c)), "{:?}", identify.model);
    assert_eq!(IdentifyController::parse(&identify.encode()), Ok(identify));
}

pub(crate) fn dim(bytes: &[u8]) {
    let Ok(registration) = Registration::parse(bytes) else { return };
    assert_eq!(Registration::parse(&registration.encode()), Ok(registration));
}

/// Parses a table as it is, and again with a correct length and checksum.
pub(crate) fn nbft(bytes: &[u8]) {
    const LENGTH: usize = 4;
    const CHECKSUM: usize = 9;
    let _ = libstas::nvme::nbft::parse(bytes);
    let mut table = bytes.to_vec();
    let Ok(length) = u32::try_from(table.len()) else { return };
    let Some(place) = table.get_mut(LENGTH..LENGTH + 4) else { return };
    place.copy_from_slice(&length.to_le_bytes());
    let Some(sum) = table.get_mut(CHECKSUM) else { return };
    *sum = 0;
    let rest = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(sum) = table.get_mut(CHECKSUM) {
        *sum = rest.wrapping_neg();
    }
    let Ok(nbft) = libstas::nvme::nbft::parse(&table) else { return };
    // A list states the number of its records. Each record takes at least 32 bytes, and is in at most five lists.
    let records = nbft.hfi.len() + nbft.subsystem.len() + nbft.discovery.len() + nbft.security.len();
    assert!(records <= 5 * table.len() / 32, "{records} records in {} bytes", table.len());
    serde_json::to_string(&nbft).expect("a table can be shown as JSON");
}
