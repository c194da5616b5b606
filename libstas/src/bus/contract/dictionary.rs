//! The contract in the dictionaries of nvme-stas: strings under the keys that `get_all_log_pages`,
//! `get_controller_log_pages` and `list_removed_controllers` answer with.

use std::time::Duration;

use serde_json::Value;

use super::{DcPage, Origin, PageState, RemovalReason, RemovedDc};
use crate::bus::{ControllerId, Dict, key};
use crate::core::Time;
use crate::nvme::Tid;
use crate::nvme::log_page::Entry;

/// Reads one element of the answer to `get_all_log_pages`, with the strings by which stafd names the discovery
/// controller. `None` when it names none.
///
/// Without a `log-page-state` the page is of nvme-stas. A page with an entry that cannot be read proves nothing: the
/// entry may name a connected controller.
#[must_use]
pub fn page(published: &Value) -> Option<(ControllerId, DcPage)> {
    let controller = strings(published.get(key::DISCOVERY_CONTROLLER)?)?;
    let id = ControllerId::from_dict(&controller);
    let dc = id.tid().ok()?;
    let word = |key: &str| controller.get(key).map(String::as_str);
    let listed = published.get(key::LOG_PAGES).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let entries = listed.iter().map(|entry| Entry::from_dict(&strings(entry)?).ok());
    let (entries, is_whole) = readable(entries);
    let state = word(key::LOG_PAGE_STATE).map_or(PageState::Unstated, PageState::from_word);
    let page = DcPage {
        dc,
        state: if is_whole { state } else { PageState::Unknown },
        connected_since: word(key::CONNECTED_SINCE).and_then(parse_moment),
        origin: word(key::ORIGIN).map(Origin::from_word).unwrap_or_default(),
        entries,
    };
    Some((id, page))
}

/// Reads the entries of a page that the stafd of nvme-stas published for `dc`.
#[must_use]
pub fn unstated_page(dc: Tid, entries: &[Dict]) -> DcPage {
    let (entries, is_whole) = readable(entries.iter().map(|entry| Entry::from_dict(entry).ok()));
    let state = if is_whole { PageState::Unstated } else { PageState::Unknown };
    DcPage { dc, state, connected_since: None, origin: Origin::Unknown, entries }
}

/// Reads one element of the answer to `list_removed_controllers`. `None` when it names no controller.
#[must_use]
pub fn removed(dict: &Dict) -> Option<RemovedDc> {
    let dc = ControllerId::from_dict(dict).tid().ok()?;
    let reason = dict.get(key::REASON).map(|word| RemovalReason::from_word(word)).unwrap_or_default();
    Some(RemovedDc { dc, reason })
}

/// Writes one element of the answer to `list_removed_controllers`.
#[must_use]
pub fn of_removed(removed: &RemovedDc) -> Dict {
    let mut dict = ControllerId::of(&removed.dc).to_dict();
    dict.insert(key::REASON.to_owned(), removed.reason.to_string());
    dict
}

/// Writes a moment: seconds on CLOCK_BOOTTIME with nine decimals.
#[must_use]
pub fn moment(time: Time) -> String {
    format!("{}.{:09}", time.0.as_secs(), time.0.subsec_nanos())
}

/// Reads what [`moment`] wrote.
#[must_use]
pub fn parse_moment(text: &str) -> Option<Time> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    let nanoseconds = Some(nanoseconds).filter(|digits| digits.len() == 9)?.parse().ok()?;
    Some(Time(Duration::new(seconds.parse().ok()?, nanoseconds)))
}

/// The entries that can be read, and whether that is all of them.
fn readable(entries: impl Iterator<Item = Option<Entry>>) -> (Vec<Entry>, bool) {
    let mut is_whole = true;
    let entries = entries.inspect(|entry| is_whole &= entry.is_some()).flatten().collect();
    (entries, is_whole)
}

/// A JSON object as a dictionary of strings; nvme-stas has a null here and there.
fn strings(value: &Value) -> Option<Dict> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Some(value.as_object()?.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}
