//! The contract as dictionaries of nvme-stas: strings under the keys of the answers to `get_all_log_pages`,
//! `get_controller_log_pages` and `list_removed_controllers`.

use std::time::Duration;

use serde_json::Value;

use super::{DcPage, Origin, PageState, RemovalReason, RemovedDc};
use crate::{ControllerId, Dict, key};
use stas_core::Time;
use stas_nvme::Tid;
use stas_nvme::log_page::{DictError, Entry, Unclear};

/// Decodes one element of the answer to `get_all_log_pages`. Also returns the strings by which stafd identifies the
/// discovery controller. `None` if they identify none.
///
/// A page without `log-page-state` was published by nvme-stas. An entry that cannot be read may mean a connected
/// controller. A page with an incomplete entry proves nothing.
#[must_use]
pub fn page(published: &Value) -> Option<(ControllerId, DcPage)> {
    let controller = strings(published.get(key::DISCOVERY_CONTROLLER)?)?;
    let id = ControllerId::from_dict(&controller);
    let dc = id.tid().ok()?;
    let word = |key: &str| controller.get(key).map(String::as_str);
    let listed = published.get(key::LOG_PAGES).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Readable { entries, unclear, is_whole } = Readable::of(listed.iter().map(strings));
    let state = word(key::LOG_PAGE_STATE).map_or(PageState::Unstated, PageState::from_word);
    let page = DcPage {
        dc,
        state: if is_whole { state } else { PageState::Unknown },
        connected_since: word(key::CONNECTED_SINCE).and_then(parse_moment),
        origin: word(key::ORIGIN).map(Origin::from_word).unwrap_or_default(),
        follows_configured: false,
        generation: None,
        entries,
        unclear,
    };
    Some((id, page))
}

/// Decodes the entries of a page that the stafd of nvme-stas published for `dc`.
#[must_use]
pub fn unstated_page(dc: Tid, entries: &[Dict]) -> DcPage {
    let Readable { entries, unclear, is_whole } = Readable::of(entries.iter().cloned().map(Some));
    let state = if is_whole { PageState::Unstated } else { PageState::Unknown };
    DcPage {
        dc,
        state,
        connected_since: None,
        origin: Origin::Unknown,
        follows_configured: false,
        generation: None,
        entries,
        unclear,
    }
}

/// Decodes one element of the answer to `list_removed_controllers`. `None` if it identifies no controller.
#[must_use]
pub fn removed(dict: &Dict) -> Option<RemovedDc> {
    let dc = ControllerId::from_dict(dict).tid().ok()?;
    let reason = dict.get(key::REASON).map(|word| RemovalReason::from_word(word)).unwrap_or_default();
    Some(RemovedDc { dc, reason })
}

/// Encodes one element of the answer to `list_removed_controllers`.
#[must_use]
pub fn of_removed(removed: &RemovedDc) -> Dict {
    let mut dict = ControllerId::of(&removed.dc).to_dict();
    dict.insert(key::REASON.to_owned(), removed.reason.to_string());
    dict
}

/// Formats a time: seconds on CLOCK_BOOTTIME with nine decimals.
#[must_use]
pub fn moment(time: Time) -> String {
    format!("{}.{:09}", time.0.as_secs(), time.0.subsec_nanos())
}

/// Parses the text made by [`moment`].
#[must_use]
pub fn parse_moment(text: &str) -> Option<Time> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    let nanoseconds = Some(nanoseconds).filter(|digits| digits.len() == 9)?.parse().ok()?;
    Some(Time(Duration::new(seconds.parse().ok()?, nanoseconds)))
}

/// The entries of a page, readable and unreadable ones.
#[derive(Default)]
struct Readable {
    entries: Vec<Entry>,
    unclear: Vec<Unclear>,
    /// True if no entry is incomplete.
    is_whole: bool,
}

impl Readable {
    fn of(published: impl Iterator<Item = Option<Dict>>) -> Self {
        let mut readable = Self { is_whole: true, ..Self::default() };
        for dict in published {
            let Some(dict) = dict else {
                readable.is_whole = false;
                continue;
            };
            let field = |key: &str| dict.get(key).map(String::as_bytes).unwrap_or_default();
            match Entry::from_dict(&dict) {
                Ok(entry) => readable.entries.push(entry),
                Err(DictError::Entry(flaw)) => {
                    let unclear = Unclear::of_fields(field("subnqn"), field("traddr"), field("trsvcid"), &flaw);
                    readable.unclear.push(unclear);
                }
                Err(DictError::Missing(_) | DictError::Value { .. }) => readable.is_whole = false,
            }
        }
        readable
    }
}

/// Converts a JSON object to a dictionary of strings. nvme-stas sends null for some values: they become empty.
fn strings(value: &Value) -> Option<Dict> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Some(value.as_object()?.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}
