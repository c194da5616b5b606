//! Times as text.

use jiff::Timestamp;

/// A time in UTC with whole seconds: `2026-11-28T12:00:00Z`.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
