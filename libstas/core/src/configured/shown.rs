//! Effects of the configuration that no connection shows: configured controllers that it keeps from being connected,
//! and controllers that stay connected because a part of it cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Configured, Defaults};
use crate::Time;
use crate::conf::ControllerEntry;
use crate::context::Context;
use crate::effect::{Level, LogRecord};
use crate::fleet::{Listed, MemberView, Status};
use crate::sources::{SourceId, Sources};
use crate::timers::Timer;
use stas_nvme::{Parameters, Tid};

/// Maximum number of controllers named in one log line.
const NAMED_MAX: usize = 3;

/// A configured controller that the configuration itself keeps from being connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// The controller. Its address is the host name while no address of the name is known.
    tid: Tid,
    /// [`Status::Excluded`] or [`Status::Unresolved`].
    status: Status,
    /// Why it is not connected.
    pub(super) reason: String,
    /// When its host name is looked up again.
    next_attempt: Option<Time>,
    /// The line of its `controller=`.
    pub(super) line: usize,
}

/// What was logged already.
#[derive(Clone, Debug, Default)]
pub(super) struct LoggedState {
    left_out: BTreeMap<Tid, String>,
    kept: BTreeSet<Tid>,
    why: String,
}

impl Configured {
    /// The configured controllers that are not connected because of the configuration itself, as of the last
    /// [`Configured::controllers`].
    pub(crate) fn left_out<'a>(&'a self, parameters: &'a Parameters) -> impl Iterator<Item = MemberView<'a>> {
        self.left_out.iter().map(move |left_out| MemberView {
            reason: Some(left_out.reason.clone()),
            next_attempt: left_out.next_attempt,
            ..MemberView::outside(&left_out.tid, left_out.status, parameters)
        })
    }

    /// The states of [`Configured::left_out`].
    pub(crate) fn left_out_statuses(&self) -> impl Iterator<Item = Listed<'_>> {
        self.left_out.iter().map(|left_out| {
            let status = left_out.status;
            Listed { tid: &left_out.tid, status, ctrl: None, announced_only: false }
        })
    }

    /// Why a controller of [`Configured::left_out`] is not connected.
    #[must_use]
    pub(crate) fn left_out_reason(&self, tid: &Tid) -> Option<&str> {
        self.left_out.iter().find(|left_out| left_out.tid == *tid).map(|left_out| left_out.reason.as_str())
    }

    /// True for a controller that the configuration listed at the last [`Configured::controllers`].
    #[must_use]
    pub fn lists(&self, tid: &Tid) -> bool {
        self.listed.contains(tid)
    }

    /// Why controllers that the configuration no longer lists stay connected, and how to end that. `None` if there are
    /// no such controllers.
    #[must_use]
    pub fn why_kept(&self) -> Option<String> {
        let reload = format!("`systemctl reload {}`", self.file.trim_end_matches(".conf"));
        if let Some(line) = self.lost_line {
            let what = format!("{}:{line} cannot be used and may mean it", self.file);
            return Some(format!("{what}; correct that line, then {reload}"));
        }
        let entry = self.awaited().next()?;
        let (name, at) = (&entry.traddr, format!("{}:{}", self.file, entry.line));
        Some(if self.names.get(name).is_some_and(|name| name.asked) {
            format!(
                "host name {name} ({at}) has no known address and may mean it; make the name resolvable, or correct \
                 that line, then {reload}"
            )
        } else {
            format!("host name {name} ({at}) is being looked up and may mean it")
        })
    }

    /// True for a controller that was listed by the configuration alone and is no longer listed.
    #[must_use]
    pub fn is_kept<P: Clone + PartialEq>(&self, sources: &Sources<P>, tid: &Tid) -> bool {
        let mut listing = sources.sources_of(tid).peekable();
        listing.peek().is_some() && listing.all(|id| *id == SourceId::Configured) && !self.lists(tid)
    }

    /// Logs which configured controllers are not connected, and which controllers stay connected because the
    /// configuration may list them.
    pub fn log_what_is_kept<'a, P: Clone + PartialEq>(
        &mut self,
        ctx: &mut Context<'_>,
        sources: &Sources<P>,
        tids: impl Iterator<Item = &'a Tid>,
    ) {
        let kept = match self.why_kept() {
            Some(_) => tids.filter(|tid| self.is_kept(sources, tid)).cloned().collect(),
            None => BTreeSet::new(),
        };
        self.log(ctx, kept);
    }

    /// The `controller=` entries with a host name that may mean any controller.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &ControllerEntry> {
        let named = self.controllers.iter().filter(|entry| entry.is_name);
        named.filter(|entry| self.names.get(&entry.traddr).is_none_or(|name| !name.asked || name.addresses.is_empty()))
    }

    /// Finds the configured controllers that are not connected because of the configuration itself.
    pub(super) fn find_left_out(&self, ctx: &Context<'_>, defaults: &Defaults<'_>) -> Vec<LeftOut> {
        let mut found: BTreeMap<Tid, LeftOut> = BTreeMap::new();
        for entry in &self.controllers {
            let addresses = self.addresses(entry);
            let left_out = |address: &str, (status, reason): (Status, String)| LeftOut {
                tid: self.tid(entry, address, defaults),
                status,
                reason,
                next_attempt: ctx
                    .timers
                    .get(&Timer::LookUp(entry.traddr.clone()))
                    .filter(|_| status == Status::Unresolved),
                line: entry.line,
            };
            if addresses.is_empty() {
                let missing = left_out(&entry.traddr, self.why_without_address(entry));
                found.entry(missing.tid.clone()).or_insert(missing);
            }
            for address in addresses {
                let tid = self.tid(entry, &address, defaults);
                if let Some(line) = self.excluded_by(&tid) {
                    let reason = format!("excluded by exclude= in {}:{line}", self.file);
                    found.entry(tid).or_insert_with(|| left_out(&address, (Status::Excluded, reason)));
                } else if !self.allows(&tid) {
                    found.entry(tid).or_insert_with(|| left_out(&address, self.outside_family()));
                }
            }
        }
        found.into_values().collect()
    }

    fn outside_family(&self) -> (Status, String) {
        (Status::Excluded, format!("outside ip-family={}", self.family))
    }

    /// Why an entry yields no address.
    fn why_without_address(&self, entry: &ControllerEntry) -> (Status, String) {
        let name = &entry.traddr;
        let (addresses, failed) = match self.names.get(name) {
            Some(state) => (state.addresses.as_slice(), state.failed.as_ref()),
            None => (&[][..], None),
        };
        match failed {
            _ if !addresses.is_empty() => self.outside_family(),
            Some(why) => (Status::Unresolved, format!("host name {name} cannot be resolved: {why}")),
            None => (Status::Unresolved, format!("host name {name} is being looked up")),
        }
    }

    /// The line of the first exclusion that matches a configured controller.
    fn excluded_by(&self, tid: &Tid) -> Option<usize> {
        self.exclusion_of(tid, &tid.host_iface).map(|exclusion| exclusion.line)
    }

    /// Logs once which configured controllers are excluded, and which controllers (`kept`) stay connected because a
    /// part of the configuration cannot be read.
    fn log(&mut self, ctx: &mut Context<'_>, kept: BTreeSet<Tid>) {
        let mut record = |level, tid: Option<&Tid>, text| {
            ctx.log(LogRecord { level, tid: tid.cloned(), ctrl: None, text });
        };
        let excluded = self.left_out.iter().filter(|left_out| left_out.status == Status::Excluded);
        let mut logged = BTreeMap::new();
        for left_out in excluded {
            let LeftOut { tid, reason, line, .. } = left_out;
            if self.logged.left_out.get(tid) != Some(reason) {
                let text = format!("configured in {}:{line}, but not connected: {reason}", self.file);
                record(Level::Info, Some(tid), text);
            }
            logged.insert(tid.clone(), reason.clone());
        }
        self.logged.left_out = logged;
        // While the first look-up is under way there is nothing to report.
        let is_settled = self.lost_line.is_some() || self.awaited().all(|entry| self.has_failed(&entry.traddr));
        let Some(why) = self.why_kept().filter(|_| is_settled) else { return };
        if !kept.is_empty() && (!kept.is_subset(&self.logged.kept) || why != self.logged.why) {
            let names: Vec<String> = kept.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let more = if kept.len() > NAMED_MAX { ", …" } else { "" };
            let what = match kept.len() {
                1 => "1 controller that is no longer configured is kept".to_owned(),
                count => format!("{count} controllers that are no longer configured are kept"),
            };
            let text = format!("{what}: {}{more}: {why}", names.join(", "));
            record(Level::Warning, None, text);
        }
        self.logged.kept = kept;
        self.logged.why = why;
    }

    fn has_failed(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|name| name.failed.is_some())
    }
}
