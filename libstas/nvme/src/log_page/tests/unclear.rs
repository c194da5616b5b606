//! What an entry may mean from which no controller can be made.

use super::*;
use crate::{Tid, TidParts, Transport};

fn tid(traddr: &str, trsvcid: &str, nqn: &str) -> Tid {
    let none = TidParts::none(Transport::Tcp);
    Tid::new(TidParts { traddr: traddr.into(), trsvcid: trsvcid.into(), subsysnqn: nqn.into(), ..none })
}

/// What can still be read of the entry of klingons at 192.0.2.1:4420 after a change.
fn unclear(change: impl FnOnce(&mut [u8; ENTRY_LEN])) -> Unclear {
    let mut bytes = vector();
    change(&mut bytes);
    let flaw = match Entry::parse(&bytes) {
        Err(flaw) => flaw,
        Ok(entry) => {
            let dc = tid("192.0.2.1", "8009", crate::DISCOVERY_NQN);
            return Unclear::of_entry(&entry, &entry.controller(&dc).unwrap_err());
        }
    };
    Malformed::new(0, flaw, &bytes).unclear
}

#[test]
fn an_entry_with_a_readable_nqn_may_mean_that_subsystem_and_no_other() {
    type Damage = fn(&mut [u8; ENTRY_LEN]);
    let damages: [(Damage, bool); 8] = [
        (|bytes| bytes[32..64].fill(0), true),
        (|bytes| bytes[32] = b'x', true),
        (|bytes| bytes[512] = b'\n', true),
        (|bytes| bytes[512] = b'x', true),
        (|bytes| bytes[514] = 0xff, true),
        (|bytes| bytes[512..768].fill(0), false),
        (|bytes| bytes[0] = 77, false),
        (|bytes| bytes[2] = 9, false),
    ];
    for (index, (change, is_damaged)) in damages.into_iter().enumerate() {
        let entry = unclear(change);
        assert!(entry.may_mean(&tid("192.0.2.7", "4421", "klingons")), "{index}: {entry:?}");
        assert!(!entry.may_mean(&tid("192.0.2.1", "4420", "starfleet")), "{index}: {entry:?}");
        assert_eq!(entry.is_damaged, is_damaged, "{index}: {entry:?}");
    }
}

#[test]
fn an_entry_whose_nqn_is_damaged_may_mean_all_at_its_address() {
    let damages: [fn(&mut [u8; ENTRY_LEN]); 5] = [
        |bytes| bytes[256..480].fill(b'n'),
        |bytes| bytes[256..512].fill(b'n'),
        |bytes| bytes[258] = 0xff,
        |bytes| bytes[258] = b',',
        |bytes| bytes[256..265].fill(0),
    ];
    for (index, change) in damages.into_iter().enumerate() {
        let entry = unclear(change);
        assert!(entry.is_damaged);
        assert!(entry.may_mean(&tid("192.0.2.1", "4420", "starfleet")), "{index}: {entry:?}");
        assert!(entry.may_mean(&tid("::ffff:192.0.2.1", "4420", "starfleet")), "{index}: {entry:?}");
        assert!(!entry.may_mean(&tid("192.0.2.1", "4421", "starfleet")), "{index}: {entry:?}");
        assert!(!entry.may_mean(&tid("192.0.2.2", "4420", "starfleet")), "{index}: {entry:?}");
    }
}

#[test]
fn an_nqn_with_a_nul_inside_may_mean_what_stands_before_it_and_all_at_its_address() {
    let entry = unclear(|bytes| bytes[270] = b'x');
    assert!(entry.may_mean(&tid("192.0.2.9", "4420", "klingons")));
    assert!(entry.may_mean(&tid("192.0.2.1", "4420", "starfleet")));
    assert!(!entry.may_mean(&tid("192.0.2.9", "4420", "starfleet")));
}

#[test]
fn an_unreadable_port_does_not_tell_one_controller_from_another() {
    let entry = unclear(|bytes| {
        bytes[256..265].fill(0);
        bytes[32..36].copy_from_slice(b"none");
    });
    assert!(entry.may_mean(&tid("192.0.2.1", "4421", "starfleet")));
}

#[test]
fn an_entry_without_nqn_and_address_means_no_certain_controller() {
    let entry = unclear(|bytes| {
        bytes[256] = 0xff;
        bytes[512] = 0xff;
    });
    assert!(entry.is_damaged && !entry.may_mean(&tid("192.0.2.1", "4420", "klingons")));
}

#[test]
fn a_page_with_a_missing_part_is_not_whole_and_one_with_damaged_entries_is() {
    let page = |change: fn(&mut [u8])| {
        let entry = Entry::parse(&vector()).unwrap();
        let mut bytes = LogPage { entries: vec![entry.clone(), entry], ..LogPage::default() }.encode();
        change(&mut bytes[1024..2048]);
        LogPage::parse(&bytes).unwrap()
    };
    assert!(!page(|entry| entry.fill(0)).is_whole());
    let damaged = page(|entry| entry[256] = 0xff);
    assert!(damaged.is_whole());
    assert_eq!(damaged.unclear().count(), 1);
}

proptest! {
    #[test]
    fn an_entry_of_any_bytes_stays_what_it_may_mean_on_the_bus(
        bytes in proptest::collection::vec(any::<u8>(), ENTRY_LEN),
    ) {
        let entry = Malformed::new(0, EntryError::NoNqn, &bytes).unclear;
        prop_assert_eq!(serde_json::from_str::<Unclear>(&serde_json::to_string(&entry).unwrap()).unwrap(), entry);
    }

    #[test]
    fn what_an_entry_named_it_may_mean_when_any_byte_of_it_changes(at in 0..ENTRY_LEN, byte: u8) {
        let dc = tid("192.0.2.1", "8009", crate::DISCOVERY_NQN);
        let before = Entry::parse(&vector()).unwrap().controller(&dc).unwrap();
        let mut bytes = vector();
        bytes[at] = byte;
        let entry = match Entry::parse(&bytes) {
            Ok(entry) => match entry.controller(&dc) {
                Ok(_) => return Ok(()),
                Err(flaw) => Unclear::of_entry(&entry, &flaw),
            },
            Err(flaw) => Malformed::new(0, flaw, &bytes).unclear,
        };
        prop_assert!(entry.may_mean(&before), "{:?}", entry);
    }
}
