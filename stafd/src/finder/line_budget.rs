//! Bounds the log lines that untrusted input causes.

use std::time::Duration;

use libstas::core::{Level, LogRecord, Time};

/// The period for which a budget holds.
const PERIOD: Duration = Duration::from_secs(600);

/// How many log lines untrusted input may still cause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineBudget {
    said: u32,
    until: Time,
}

impl LineBudget {
    /// Counts a log line. Lowers it to debug level if there have been too many.
    pub(super) fn admit(&mut self, now: Time, record: &mut LogRecord, limit: u32) {
        if self.until <= now {
            *self = Self { said: 0, until: now + PERIOD };
        }
        self.said = self.said.saturating_add(1);
        if self.said == limit {
            record.text.push_str(&format!(
                "; this is the last of {limit} log lines about announced discovery controllers: further lines are logged \
                 at debug level (tron) for up to 10 minutes"
            ));
        } else if self.said > limit {
            record.level = Level::Debug;
        }
    }
}
