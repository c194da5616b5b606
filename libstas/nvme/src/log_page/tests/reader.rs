use std::collections::VecDeque;

use super::*;
use crate::admin::{CommandError, Status};

/// A discovery controller. Each command gets the next of its pages; the last page repeats.
struct Controller {
    pages: VecDeque<Vec<u8>>,
    commands: Vec<(u64, u32)>,
}

impl Controller {
    fn with(pages: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { pages: pages.into_iter().collect(), commands: Vec::new() }
    }

    /// Answers like an ioctl: the buffer is filled, with zeros after the end of the page.
    fn answer(&mut self, offset: u64, len: u32) -> Vec<u8> {
        self.commands.push((offset, len));
        let page = if self.pages.len() > 1 { self.pages.pop_front().unwrap() } else { self.pages[0].clone() };
        let rest = page.get(offset as usize..).unwrap_or_default();
        let mut bytes = rest[..rest.len().min(len as usize)].to_vec();
        bytes.resize(len as usize, 0);
        bytes
    }

    fn read(&mut self) -> Result<LogPage, ReadError> {
        let mut reader = Reader::new(0);
        loop {
            match reader.next() {
                Step::Done(result) => return result,
                Step::Read { offset, len } => reader.feed(Ok(&self.answer(offset, len))),
            }
        }
    }
}

fn page(genctr: u64, entries: usize) -> LogPage {
    let entry = Entry::parse(&vector()).unwrap();
    let entries = (0..entries).map(|n| Entry { subnqn: format!("nqn{n}"), ..entry.clone() }).collect();
    LogPage { genctr, entries, ..LogPage::default() }
}

fn extended(entries: &[(&[u8], u32)], length: u32) -> Vec<u8> {
    let header = Header { genctr: 1, numrec: entries.len() as u64, recfmt: 0, extended: Some(length) };
    let mut page = header.encode().to_vec();
    for (entry, tel) in entries {
        page.extend(*entry);
        page.extend(tel.to_le_bytes());
        page.extend([0; 4]); // NUMEXAT and reserved bytes
        page.resize(page.len() + (*tel as usize).saturating_sub(1032).min(70_000), 0xee); // attributes
    }
    page
}

#[test]
fn a_header_is_read_field_by_field() {
    let mut bytes = [0; HEADER_LEN];
    bytes[0..8].copy_from_slice(&[0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01]); // GENCTR
    bytes[8..16].copy_from_slice(&[0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00]); // NUMREC
    bytes[16..18].copy_from_slice(&[0x01, 0x00]); // RECFMT
    let header = Header { genctr: 0x0102_0304_0506_0708, numrec: 0x0100_0000_0002, recfmt: 1, extended: None };
    assert_eq!(Header::parse(&bytes), Some(header));
    bytes[18] = 0b001; // DLPF: EXTEND
    bytes[20..24].copy_from_slice(&[0x08, 0x08, 0x00, 0x00]); // TDLPL
    assert_eq!(Header::parse(&bytes), Some(Header { extended: Some(2056), ..header }));
    bytes[18] = 0b110; // DLPF: PORTLCL, ALLSUB
    assert_eq!(Header::parse(&bytes), Some(header));
    assert_eq!(Header::parse(&bytes[..17]), None);
}

#[test]
fn the_header_comes_first_then_the_entries_in_parts_then_the_header_again() {
    let expected = page(7, 70);
    let mut dc = Controller::with([expected.encode()]);
    assert_eq!(dc.read(), Ok(expected));
    assert_eq!(dc.commands, [(0, 1024), (1024, 65_536), (66_560, 6144), (0, 1024)]);
}

#[test]
fn an_empty_page_takes_one_command() {
    let mut dc = Controller::with([page(7, 0).encode()]);
    assert_eq!(dc.read(), Ok(page(7, 0)));
    assert_eq!(dc.commands, [(0, 1024)]);
}

#[test]
fn a_page_that_moves_while_it_is_read_is_read_again() {
    let (old, new) = (page(1, 2), page(2, 3));
    let mut dc = Controller::with([old.encode(), old.encode(), new.encode()]);
    assert_eq!(dc.read(), Ok(new));
    assert_eq!(dc.commands.len(), 3 + 3);
}

#[test]
fn a_number_of_entries_that_moves_counts_as_a_change_too() {
    let (old, new) = (page(1, 2), page(1, 1));
    let mut dc = Controller::with([old.encode(), old.encode(), new.encode()]);
    assert_eq!(dc.read(), Ok(new));
}

#[test]
fn a_page_that_never_rests_is_given_up_after_six_more_reads() {
    let mut dc = Controller::with((0..100).map(|genctr| page(genctr, 1).encode()));
    assert_eq!(dc.read(), Err(ReadError::Restless(7)));
    assert_eq!(dc.commands.len(), 7 * 3);
}

#[test]
fn discover_restart_is_a_change_and_not_an_error() {
    let expected = page(3, 1).encode();
    let mut reader = Reader::new(0);
    reader.feed(Ok(&expected[..1024]));
    reader.feed(Err(CommandError::Status(Status(0x4190))));
    assert_eq!(reader.next(), Step::Read { offset: 0, len: 1024 });
    reader.feed(Ok(&expected[..1024]));
    reader.feed(Ok(&expected[1024..]));
    reader.feed(Ok(&expected[..1024]));
    assert_eq!(reader.next(), Step::Done(Ok(page(3, 1))));
}

#[test]
fn a_failed_command_ends_the_reading() {
    let mut reader = Reader::new(0);
    reader.feed(Ok(&page(3, 1).encode()[..1024]));
    let error = CommandError::Status(Status(0x4002));
    reader.feed(Err(error.clone()));
    let expected = Step::Done(Err(ReadError::Command { offset: 1024, error }));
    assert_eq!(reader.next(), expected);
    reader.feed(Ok(&[0; 1024]));
    assert_eq!(reader.next(), expected, "a late answer changes nothing");
}

#[test]
fn a_page_that_claims_too_much_is_not_read() {
    for numrec in [MAX_RECORDS + 1, 1 << 40, u64::MAX] {
        let header = Header { numrec, ..Header::default() };
        let mut dc = Controller::with([header.encode().to_vec()]);
        assert_eq!(dc.read(), Err(ReadError::TooMany(numrec)));
        assert_eq!(dc.commands.len(), 1);
    }
}

#[test]
fn an_unknown_record_format_is_not_read() {
    let of = |recfmt| Controller::with([LogPage { recfmt, ..page(1, 1) }.encode()]).read();
    assert_eq!(of(2), Err(ReadError::Format(2)));
    assert_eq!(of(1), Ok(LogPage { recfmt: 1, ..page(1, 1) }));
}

#[test]
fn malformed_entries_are_dropped_one_by_one_and_the_rest_counts() {
    let mut bytes = page(1, 6).encode();
    bytes[1024..2048].fill(0xff);
    bytes[3072 + 2] = 0;
    bytes[5120 + 512] = b',';
    let found = Controller::with([bytes]).read().unwrap();
    let nqns: Vec<_> = found.entries.iter().map(|entry| entry.subnqn.as_str()).collect();
    assert_eq!(nqns, ["nqn1", "nqn3", "nqn5"]);
    let dropped: Vec<_> = found.dropped.iter().map(|entry| (entry.index, entry.reason.clone())).collect();
    let comma = EntryError::Byte { field: Field::Traddr, byte: b',' };
    assert_eq!(dropped, [(0, EntryError::Subtype(0xff)), (2, EntryError::Subtype(0)), (4, comma)]);
}

#[test]
fn entries_that_are_claimed_and_not_there_are_dropped_as_blank() {
    let mut bytes = page(1, 1).encode();
    bytes[8] = 3;
    let found = Controller::with([bytes]).read().unwrap();
    assert_eq!((found.entries.len(), found.dropped.len()), (1, 2));
    assert!(found.dropped.iter().all(|entry| entry.reason == EntryError::Blank));
}

#[test]
fn bytes_that_end_before_the_page_does_are_an_error() {
    let bytes = page(1, 2).encode();
    assert_eq!(LogPage::parse(&bytes), Ok(page(1, 2)));
    assert_eq!(LogPage::parse(&bytes[..3071]), Err(ReadError::Short { found: 1, claimed: 2, at: 3071 }));
    assert_eq!(LogPage::parse(&bytes[..1024]), Err(ReadError::Short { found: 0, claimed: 2, at: 1024 }));
    assert_eq!(LogPage::parse(&bytes[..1000]), Err(ReadError::Short { found: 0, claimed: 0, at: 1000 }));
}

#[test]
fn extended_entries_are_found_by_their_own_lengths() {
    let mut second = vector();
    second[256..265].copy_from_slice(b"starfleet");
    let entries: [(&[u8], u32); 3] = [(&vector(), 1032), (&second, 1032 + 24), (&vector(), 4096 + 1032)];
    let length = 1024 + 1032 + 1056 + 5128;
    let found = Controller::with([extended(&entries, length)]).read().unwrap();
    let nqns: Vec<_> = found.entries.iter().map(|entry| entry.subnqn.as_str()).collect();
    assert_eq!(nqns, ["klingons", "starfleet", "klingons"]);
    assert!(found.dropped.is_empty());
}

#[test]
fn a_page_with_extended_entries_says_how_long_it_and_each_entry_is() {
    let entry = Entry::parse(&vector()).unwrap();
    let bytes = entry.encode();
    let page = LogPage { genctr: 1, recfmt: 0, entries: vec![entry.clone(), entry], dropped: Vec::new() };
    assert_eq!(page.encode_extended(), extended(&[(&bytes, 1032), (&bytes, 1032)], 1024 + 2 * 1032));
}

#[test]
fn an_extended_entry_that_claims_an_impossible_length_ends_the_reading() {
    for tel in [0, 1024, 1028, MAX_ENTRY_LEN + 4, u32::MAX] {
        let page = extended(&[(&vector(), 1032), (&vector(), tel)], 1024 + 2 * 1032);
        assert_eq!(Controller::with([page]).read(), Err(ReadError::EntryLength { index: 1, len: tel }));
    }
}

#[test]
fn an_extended_page_that_claims_more_entries_than_bytes_is_short() {
    for length in [0, 1024, 1024 + 1032, 1024 + 2 * 1032 - 4] {
        let page = extended(&[(&vector(), 1032), (&vector(), 1032)], length);
        let result = Controller::with([page]).read();
        assert!(matches!(result, Err(ReadError::Short { claimed: 2, .. })), "{length}: {result:?}");
    }
}

#[test]
fn two_pages_of_different_generations_can_say_the_same() {
    assert!(page(1, 2).says_the_same_as(&page(9, 2)));
    assert!(!page(1, 2).says_the_same_as(&page(1, 1)));
}

proptest! {
    #[test]
    fn what_is_encoded_is_read_back(
        genctr: u64,
        recfmt in 0..=1_u16,
        entries in proptest::collection::vec(any_entry(), 0..12),
    ) {
        let page = LogPage { genctr, recfmt, entries, dropped: Vec::new() };
        prop_assert_eq!(Controller::with([page.encode()]).read(), Ok(page.clone()));
        prop_assert_eq!(LogPage::parse(&page.encode_extended()), Ok(page.clone()));
        prop_assert_eq!(LogPage::parse(&page.encode()), Ok(page));
    }

    #[test]
    fn headers_are_read_back(genctr: u64, numrec: u64, recfmt: u16, extended: Option<u32>) {
        let header = Header { genctr, numrec, recfmt, extended };
        prop_assert_eq!(Header::parse(&header.encode()), Some(header));
    }

    /// For any answers: each command stays within 4 KiB and is a multiple of dwords, and reading ends.
    #[test]
    fn reading_ends_for_any_answers(
        numrec in 0..40_u64,
        extended: Option<u16>,
        genctrs in proptest::collection::vec(0..3_u64, 1..30),
        noise in proptest::collection::vec(any::<u8>(), 4096),
        cut in 0..6000_usize,
        fail in 0..60_usize,
    ) {
        let mut reader = Reader::new(0);
        let mut commands = 0;
        while let Step::Read { offset, len } = reader.next() {
            prop_assert!(len > 0 && len <= PART_MAX && len % 4 == 0 && offset % 4 == 0);
            prop_assert!(commands <= 7 * (2 + 66), "it does not end");
            let genctr = genctrs[commands % genctrs.len()];
            commands += 1;
            let header = Header { genctr, numrec, recfmt: 0, extended: extended.map(|length| u32::from(length) * 4) };
            let mut bytes = if offset == 0 { header.encode().to_vec() } else { noise.clone() };
            bytes.truncate(len as usize);
            bytes.truncate(cut.max(1));
            if commands == fail {
                reader.feed(Err(CommandError::Host("gone".into())));
            } else {
                reader.feed(Ok(&bytes));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_page_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
        let _ = LogPage::parse(&bytes);
    }

    #[test]
    fn each_entry_of_a_noisy_page_is_either_read_or_dropped(
        genctr: u64,
        noise in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut bytes = page(genctr, noise.len()).encode();
        for (n, byte) in noise.iter().enumerate() {
            bytes[1024 + n * 1024 + 2] = *byte;
        }
        let found = LogPage::parse(&bytes).unwrap();
        prop_assert_eq!(found.entries.len() + found.dropped.len(), noise.len());
    }
}
