//! Bounds the log lines that announced discovery controllers cause.
//!
//! mDNS is unauthenticated. The journal drops lines of a service that writes too many: then those about trusted
//! controllers would be missing, too.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Level, LogRecord, Time};
use stas_nvme::Tid;

/// The period for which a budget holds.
const PERIOD: Duration = Duration::from_secs(600);
/// Maximum number of discovery controllers with a budget of their own.
const OWN_BUDGETS: usize = 256;

/// How many lines are logged in 10 minutes; further lines are logged at debug level (tron).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineLimits {
    /// For one discovery controller with a budget of its own.
    pub of_one: u32,
    /// For everything without a budget of its own.
    pub common: u32,
    /// For all together.
    pub all: u32,
}

/// What happens to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Logged,
    /// The last line of a budget with this limit.
    Last(u32),
    Suppressed,
}

/// One budget.
#[derive(Clone, Copy, Debug, Default)]
struct LineBudget {
    counted: u32,
    until: Time,
}

impl LineBudget {
    fn count(&mut self, now: Time, limit: u32) -> Verdict {
        if self.until <= now {
            *self = Self { counted: 0, until: now + PERIOD };
        }
        self.counted = self.counted.saturating_add(1);
        match self.counted {
            counted if counted == limit => Verdict::Last(limit),
            counted if counted > limit => Verdict::Suppressed,
            _ => Verdict::Logged,
        }
    }
}

/// The budgets of a daemon.
#[derive(Clone, Debug)]
pub struct LineBudgets {
    limits: LineLimits,
    own: BTreeMap<Tid, LineBudget>,
    common: LineBudget,
    all: LineBudget,
    /// How many lines were suppressed, and since when.
    suppressed: Option<(u64, Time)>,
}

impl LineBudgets {
    /// Creates unused budgets.
    #[must_use]
    pub fn new(limits: LineLimits) -> Self {
        Self {
            limits,
            own: BTreeMap::new(),
            common: LineBudget::default(),
            all: LineBudget::default(),
            suppressed: None,
        }
    }

    /// Counts a log line. Lowers it to debug level if there have been too many. `own` is the discovery controller whose
    /// budget it uses; `None`: the common one.
    pub fn admit(&mut self, now: Time, record: &mut LogRecord, own: Option<&Tid>) {
        if record.level == Level::Debug {
            return;
        }
        let limits = self.limits;
        let of_own = own.and_then(|dc| Some((self.own_budget(now, dc)?.count(now, limits.of_one), Some(dc))));
        let (first, dc) = of_own.unwrap_or_else(|| (self.common.count(now, limits.common), None));
        let of_all = match first {
            Verdict::Suppressed => Verdict::Suppressed,
            _ => self.all.count(now, limits.all),
        };
        let (limit, dc) = match (first, of_all) {
            (Verdict::Logged, Verdict::Logged) => return,
            (_, Verdict::Last(limit)) => (limit, None),
            (Verdict::Last(limit), Verdict::Logged) => (limit, dc),
            (Verdict::Suppressed, _) | (_, Verdict::Suppressed) => {
                record.level = Level::Debug;
                self.suppressed.get_or_insert((0, now)).0 += 1;
                return;
            }
        };
        let by = dc.map_or_else(
            || "announced discovery controllers".to_owned(),
            |dc| format!("{dc}, an announced discovery controller"),
        );
        record.text.push_str(&format!(
            "; this is the last of {limit} log lines caused by {by}: further lines are logged at debug level (tron) for \
             up to 10 minutes"
        ));
    }

    /// A discovery controller keeps its budget when it is removed: it must not get a new one by being announced again.
    fn own_budget(&mut self, now: Time, dc: &Tid) -> Option<&mut LineBudget> {
        if !self.own.contains_key(dc) && self.own.len() >= OWN_BUDGETS {
            self.own.retain(|_, budget| budget.until > now);
        }
        let has_room = self.own.contains_key(dc) || self.own.len() < OWN_BUDGETS;
        has_room.then(|| self.own.entry(dc.clone()).or_default())
    }

    /// The log line that says how many lines were suppressed: one for each period. Call it with each event.
    pub fn report_suppressed(&mut self, now: Time) -> Option<LogRecord> {
        let (count, _) = self.suppressed.take_if(|(_, since)| *since + PERIOD <= now)?;
        let text = format!(
            "{count} log lines caused by announced discovery controllers were logged at debug level only (tron) in the \
             last {} minutes",
            PERIOD.as_secs() / 60
        );
        Some(LogRecord { level: Level::Warning, tid: None, ctrl: None, text })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stas_nvme::{TidParts, Transport};

    use super::*;

    const LIMITS: LineLimits = LineLimits { of_one: 3, common: 5, all: 10 };

    fn dc(number: usize) -> Tid {
        let (traddr, trsvcid, subsysnqn) = (format!("192.0.2.{number}"), "8009".into(), "nqn.dc".into());
        Tid::new(TidParts { traddr, trsvcid, subsysnqn, ..TidParts::none(Transport::Tcp) })
    }

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    /// How many of these lines are logged.
    fn logged(budgets: &mut LineBudgets, now: Time, own: Option<&Tid>, lines: usize) -> usize {
        let is_logged = |_: &usize| {
            let mut record = LogRecord { level: Level::Info, tid: None, ctrl: None, text: String::new() };
            budgets.admit(now, &mut record, own);
            record.level == Level::Info
        };
        (0..lines).filter(is_logged).count()
    }

    #[test]
    fn the_last_line_names_the_discovery_controller_whose_budget_is_used_up() {
        let named = "announced discovery controllers";
        let one = "192.0.2.1, 8009, nqn.dc), an announced discovery controller";
        for (limits, own, last) in [
            (LIMITS, Some(dc(1)), ("3 log lines", one)),
            (LIMITS, None, ("5 log lines", named)),
            (LineLimits { all: 2, ..LIMITS }, Some(dc(1)), ("2 log lines", named)),
            (LineLimits { all: 3, ..LIMITS }, Some(dc(1)), ("3 log lines", named)),
        ] {
            let mut budgets = LineBudgets::new(limits);
            let lines = (0..20).filter_map(|_| {
                let mut record = LogRecord { level: Level::Info, tid: None, ctrl: None, text: String::new() };
                budgets.admit(at(0), &mut record, own.as_ref());
                (!record.text.is_empty()).then_some(record.text)
            });
            let lines: Vec<String> = lines.collect();
            let (number, by) = last;
            assert!(lines.len() == 1 && lines[0].contains(number) && lines[0].contains(by), "{own:?}: {lines:?}");
        }
    }

    #[test]
    fn each_budget_and_all_together_are_limited() {
        let mut budgets = LineBudgets::new(LIMITS);
        assert_eq!(logged(&mut budgets, at(0), None, 50), 5);
        assert_eq!(logged(&mut budgets, at(0), Some(&dc(1)), 50), 3);
        assert_eq!(logged(&mut budgets, at(0), Some(&dc(2)), 50), 2, "of all together");
        assert_eq!(logged(&mut budgets, at(0), Some(&dc(3)), 50), 0);
        assert_eq!(logged(&mut budgets, at(600), Some(&dc(3)), 50), 3, "the next period");
    }

    #[test]
    fn the_suppressed_lines_are_reported_with_their_number() {
        let mut budgets = LineBudgets::new(LIMITS);
        assert_eq!(logged(&mut budgets, at(0), None, 5), 5);
        assert_eq!(budgets.report_suppressed(at(700)), None);
        assert_eq!(logged(&mut budgets, at(700), None, 47), 5);
        assert_eq!(budgets.report_suppressed(at(1299)), None);
        let report = budgets.report_suppressed(at(1300)).unwrap();
        assert!(report.text.starts_with("42 log lines"), "{}", report.text);
        assert_eq!((report.level, budgets.report_suppressed(at(1300))), (Level::Warning, None));
    }

    #[test]
    fn at_most_256_discovery_controllers_have_a_budget_of_their_own() {
        let mut budgets = LineBudgets::new(LineLimits { all: u32::MAX, ..LIMITS });
        let lines: usize = (0..1000).map(|n| logged(&mut budgets, at(0), Some(&dc(n)), 1)).sum();
        assert_eq!((lines, budgets.own.len()), (OWN_BUDGETS + 5, OWN_BUDGETS));
        assert_eq!(logged(&mut budgets, at(600), Some(&dc(2000)), 9), 3);
        assert_eq!(budgets.own.len(), 1);
    }
}
