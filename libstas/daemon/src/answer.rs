//! Bounds the lists of controllers that are sent on the bus.
//!
//! The bus disconnects a daemon that sends a message longer than its `max_message_size`: 32 MiB in dbus-daemon. Any
//! host can announce discovery controllers, which list thousands of controllers. Details of these controllers are left
//! out first, so that the trusted controllers are still listed completely.

use stas_bus::{Dict, key};
use stas_core::trust::Trust;
use zbus::fdo;

/// If a list is longer than this many bytes, it is shortened: controllers that depend on mDNS alone have only the keys
/// of a list without details, and those on which commands depend.
const COMPLETE_MAX: usize = 16 << 20;
/// Length of the longest list that is sent, in bytes.
const LIST_MAX: usize = 24 << 20;
/// Maximum overhead of a key with its value on the bus, in bytes: two lengths, two NULs and the alignment.
const OVERHEAD: usize = 24;
/// Keys on which commands depend: a shortened controller has them beside [`key::BASIC`].
const NEEDED: [&str; 3] = [key::TRUST, "connected", "state"];

/// True for a key that a shortened controller keeps.
fn is_kept(key: &str) -> bool {
    key::BASIC.contains(&key) || NEEDED.contains(&key)
}

/// An upper bound of the length of a dictionary on the bus, in bytes.
fn length(dict: &Dict) -> usize {
    OVERHEAD + dict.iter().map(|(key, value)| OVERHEAD + key.len() + value.len()).sum::<usize>()
}

/// Shortens a list for the bus. If it is too long, controllers that depend on mDNS alone keep only the keys of a list
/// without details and those on which commands depend, beginning at the end of the list, until it is short enough.
///
/// # Errors
/// `LimitsExceeded` if the list is still longer than 24 MiB.
pub fn list(mut controllers: Vec<Dict>) -> fdo::Result<Vec<Dict>> {
    let announced = Trust::AnnouncedDc.to_string();
    let mut total: usize = controllers.iter().map(length).sum();
    for dict in controllers.iter_mut().rev().filter(|dict| dict.get(key::TRUST) == Some(&announced)) {
        if total <= COMPLETE_MAX {
            break;
        }
        total -= length(dict);
        dict.retain(|key, _| is_kept(key));
        total += length(dict);
    }
    if total <= LIST_MAX {
        return Ok(controllers);
    }
    let text = format!(
        "the list of {} controllers is longer than {} MiB, which is too long for the bus; request the list without \
         details, or each controller by itself (controller_info of the debug interface)",
        controllers.len(),
        LIST_MAX >> 20
    );
    Err(fdo::Error::LimitsExceeded(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use zbus::wire::serialized::Context;
    use zbus::wire::{LE, to_bytes};

    use super::*;

    /// A detailed controller with values of that length.
    fn controllers(number: usize, trust: Trust, length: usize) -> Vec<Dict> {
        let mut dict = Dict::from([(key::TRUST.to_owned(), trust.to_string())]);
        for key in
            key::BASIC.iter().chain(&NEEDED).chain(&["dlpe", "serial", "reason"]).filter(|key| **key != key::TRUST)
        {
            dict.insert((*key).to_owned(), "x".repeat(length));
        }
        vec![dict; number]
    }

    fn sent(list: &[Dict]) -> usize {
        to_bytes(Context::new(LE, 0), list).unwrap().len()
    }

    fn shortened(list: &[Dict]) -> usize {
        list.iter().filter(|dict| !dict.contains_key("dlpe")).count()
    }

    #[test]
    fn a_list_is_never_longer_than_the_bus_allows() {
        for (trusted, announced, value, expected) in [
            (0, 0, 0, Some(false)),
            (10_000, 0, 90, Some(false)),
            (0, 8_000, 90, Some(false)),
            (10, 16_384, 70, Some(true)),
            (8_000, 8_000, 90, Some(true)),
            (10_000, 10_000, 150, None),
            (20_000, 0, 90, None),
            (1, 0, 8 << 20, None),
        ] {
            let all =
                [controllers(trusted, Trust::Administrator, value), controllers(announced, Trust::AnnouncedDc, value)];
            let all = all.concat();
            let case = format!("{trusted} {announced} {value}");
            assert!(all.iter().map(length).sum::<usize>() + 4 >= sent(&all), "{case}");
            let list = match list(all.clone()) {
                Ok(list) => list,
                Err(fdo::Error::LimitsExceeded(text)) => {
                    assert!(expected.is_none() && text.contains("controller_info"), "{case}: {text}");
                    continue;
                }
                Err(error) => panic!("{case}: {error}"),
            };
            assert!(sent(&list) < 32 << 20 && list.len() == all.len(), "{case}");
            assert_eq!(Some(shortened(&list) > 0), expected, "{case}");
            assert_eq!(list[..trusted], all[..trusted], "trusted controllers are complete: {case}");
            assert!(
                list.iter().all(|dict| key::BASIC.iter().chain(&NEEDED).all(|key| dict.contains_key(*key))),
                "{case}"
            );
        }
    }
}
