//! The history of everything that each daemon was told. The oracle decides from it, without the code of the cores,
//! whether a removal is proved.
//!
//! The cores keep states, not their input. The oracle keeps every reported page and searches this history for a proof.
//! A core must never remove a connection unless the oracle finds a proof, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::core::trust::Trust;
use libstas::core::{CtrlRef, OpId, Snapshot, Time};
use libstas::nvme::Tid;
use libstas::nvme::log_page::Entry;

use crate::files::{DcEntry, StacFile, StafFile};
use crate::mdns_oracle::MdnsOracle;
use crate::names::{Daemon, Target, short};

/// Absence from a page counts after this time, for controllers listed only on an earlier connection.
const SETTLING: Duration = Duration::from_secs(30);
/// A page that was read at least this long after the connection came up is settled (doc/architecture.md).
const SETTLED_READ: Duration = Duration::from_secs(28);
/// A doubtful page is read again after this time.
const DOUBT: Duration = Duration::from_secs(5);

/// Removals wait until no source has changed for this long.
const DEBOUNCE: Duration = Duration::from_millis(500);

/// One connection of one controller, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) ctrl: CtrlRef,
    /// The number of the connection among those of that controller.
    pub(crate) epoch: u64,
    pub(crate) since: Time,
}

/// Whose knowledge of the age of a connection counts.
#[derive(Clone, Copy, Debug)]
enum Viewpoint {
    /// The kernel's: since when the connection has been live.
    Kernel,
    /// The daemon's: since when it has seen the connection live, which may be later.
    Daemon,
}

/// A page of a discovery controller, as it reached a daemon.
#[derive(Clone, Debug)]
pub(crate) struct PageReport {
    pub(crate) at: Time,
    /// When stafd last read it.
    pub(crate) read: Time,
    /// The connection on which it was read; `None`: before this history.
    pub(crate) on: Option<Connection>,
    /// The same, also if the page had become stale when it reached stacd.
    pub(crate) listed_on: Option<Connection>,
    /// When that connection came up, as far as the daemon knows.
    pub(crate) since: Option<Time>,
    /// The run of stafd in which it was read.
    pub(crate) incarnation: u32,
    /// When it ceased to be the current page of the current connection; `None`: it still is.
    pub(crate) until: Option<Time>,
    pub(crate) listed: BTreeSet<Tid>,
    /// For stafd: the entries that the target sent.
    pub(crate) sent: Vec<Entry>,
    /// Controllers of earlier pages that one of its unclear entries may mean.
    pub(crate) protected: BTreeSet<Tid>,
    /// The protected controllers whose absence an earlier page had proved (set when the page is recorded). If only
    /// announced discovery controllers list one of them, an unclear entry does not protect it.
    pub(crate) proved_before: BTreeSet<Tid>,
    /// True if it was read again because the page before was doubtful.
    pub(crate) confirmed: bool,
    /// For stacd: true if it lists no live controller, and two or more live ones were listed before; or if the page
    /// before it on the same connection was doubtful and it lists no live controller either. Always false for stafd.
    pub(crate) doubtful: bool,
}

/// Everything that one daemon was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct DaemonHistory {
    pub(crate) pages: BTreeMap<Tid, Vec<PageReport>>,
    /// The controllers that any page has listed, and since when.
    ever: BTreeMap<Tid, Time>,
    /// Removed discovery controllers, and when the daemon was told.
    gone: BTreeMap<Tid, Gone>,
    /// When the daemon last saw that a controller was not live. Recorded only for controllers that an aged-out
    /// discovery controller had listed.
    down: BTreeMap<Tid, Time>,
    /// When the daemon last disconnected a controller whose absence was proved. Pages that listed it earlier no longer
    /// matter.
    disconnected: BTreeMap<Tid, Time>,
    /// The controllers that only announced discovery controllers list, or listed last.
    announced_only: BTreeSet<Tid>,
    /// The present run of the daemon.
    pub(crate) incarnation: u32,
    /// When the daemon last ended.
    ended: Time,
}

/// The removal of a discovery controller.
#[derive(Clone, Copy, Debug)]
struct Gone {
    at: Time,
    /// True if it aged out: this proves only the absence of controllers that are not live.
    aged_out: bool,
    /// True if it was removed for another reason first, and was reported as aged out before all controllers that it
    /// had listed were removed. The live ones of these may stay.
    aged_out_later: bool,
}

impl DaemonHistory {
    pub(crate) fn record_page(&mut self, dc: &Tid, mut page_report: PageReport) {
        let may_mean = |tid: &&Tid| self.may_mean(dc, tid, page_report.at, Viewpoint::Kernel);
        page_report.proved_before = page_report.protected.iter().filter(|tid| !may_mean(tid)).cloned().collect();
        self.mark_stale(dc, page_report.at);
        for tid in page_report.listed.iter().chain(&page_report.protected) {
            self.ever.entry(tid.clone()).or_insert(page_report.at);
        }
        self.pages.entry(dc.clone()).or_default().push(page_report);
    }

    /// True for a controller that a page lists or may mean.
    fn lists(&self, page_report: &PageReport, tid: &Tid) -> bool {
        let is_kept = || !(page_report.proved_before.contains(tid) && self.announced_only.contains(tid));
        page_report.listed.contains(tid) || (page_report.protected.contains(tid) && is_kept())
    }

    /// Records how far the sources that want a controller are trusted. `None`, while it is removed, changes nothing.
    pub(crate) fn record_trust(&mut self, tid: &Tid, trust: Option<Trust>) {
        match trust {
            Some(trust) if trust.is_announced_only() => drop(self.announced_only.insert(tid.clone())),
            Some(_) => drop(self.announced_only.remove(tid)),
            None => {}
        }
    }

    /// True if the newest page of a discovery controller was reported as doubtful in the present run of the daemon, and
    /// was read on the connection `on`, and was not confirmed. A restarted daemon does not know on which connection the
    /// controllers were listed, so it doubts no earlier page. A stale page in between neither confirms nor ends a doubt.
    pub(crate) fn is_doubted(&self, dc: &Tid, on: Option<Connection>) -> bool {
        let page_reports = self.pages.get(dc).into_iter().flatten().rev();
        let mut doubted = page_reports
            .filter(|page_report| page_report.on.is_some())
            .take_while(|page_report| page_report.doubtful && page_report.on == on && self.ended <= page_report.at);
        let Some(last) = doubted.next() else { return false };
        let first = doubted.last().unwrap_or(last);
        !last.confirmed || last.at < first.at + DOUBT
    }

    /// The newest page of a discovery controller that proves anything and was received in the present run.
    pub(crate) fn newest_fresh_report(&self, dc: &Tid) -> Option<&PageReport> {
        let page_reports = self.pages.get(dc).into_iter().flatten().rev();
        page_reports.take_while(|page_report| self.ended <= page_report.at).find(|page_report| page_report.on.is_some())
    }

    /// The page of a discovery controller is no longer current.
    pub(crate) fn mark_stale(&mut self, dc: &Tid, now: Time) {
        if let Some(last) = self.pages.get_mut(dc).and_then(|page_reports| page_reports.last_mut()) {
            last.until.get_or_insert(now);
        }
    }

    /// No page is current any more.
    fn mark_all_stale(&mut self, now: Time) {
        for last in self.pages.values_mut().filter_map(|page_reports| page_reports.last_mut()) {
            last.until.get_or_insert(now);
        }
    }

    pub(crate) fn record_removal(&mut self, dc: &Tid, now: Time, aged_out: bool) {
        self.mark_stale(dc, now);
        let last = self.last_listing(dc);
        match self.gone.get_mut(dc) {
            // The proof is valid until the discovery controller lists something again.
            Some(gone) if (gone.aged_out == aged_out || !gone.aged_out) && Some(gone.at) >= last => {
                gone.aged_out_later |= aged_out && !gone.aged_out;
            }
            _ => drop(self.gone.insert(dc.clone(), Gone { at: now, aged_out, aged_out_later: false })),
        }
    }

    /// When the last non-empty page of a discovery controller was reported.
    fn last_listing(&self, dc: &Tid) -> Option<Time> {
        let lists_any = |page_report: &&PageReport| !page_report.listed.is_empty() || !page_report.protected.is_empty();
        let mut listing = self.pages.get(dc).into_iter().flatten().rev().filter(lists_any);
        listing.next().map(|page_report| page_report.at)
    }

    /// Controllers listed by a discovery controller that aged out: their removal depends on whether they are live.
    pub(crate) fn listed_by_aged_out(&self) -> BTreeSet<Tid> {
        let has_aged_out = |gone: &Gone| gone.aged_out || gone.aged_out_later;
        let aged = self.gone.iter().filter(|(_, gone)| has_aged_out(gone)).filter_map(|(dc, _)| self.pages.get(dc));
        aged.flatten()
            .flat_map(|page_report| page_report.listed.iter().chain(&page_report.protected))
            .cloned()
            .collect()
    }

    /// The daemon sees that a controller is not live.
    pub(crate) fn record_down(&mut self, tid: Tid, now: Time) {
        self.down.insert(tid, now);
    }

    /// Forgets what a daemon was told after that time: it ended before it could save this.
    pub(crate) fn forget_after(&mut self, saved: Time) {
        self.ever.retain(|_, since| *since <= saved);
        for page_reports in self.pages.values_mut() {
            page_reports.retain(|page_report| page_report.at <= saved);
        }
    }

    /// The controllers that a discovery controller has listed and whose absence is not proved.
    pub(crate) fn claims(&self, dc: &Tid, now: Time) -> BTreeSet<Tid> {
        let ever = self.pages.get(dc).into_iter().flatten().flat_map(|page_report| page_report.listed.iter());
        let ever: BTreeSet<&Tid> = ever.collect();
        ever.into_iter().filter(|tid| self.may_mean(dc, tid, now, Viewpoint::Kernel)).cloned().collect()
    }

    /// The controllers that a discovery controller has listed and for which `is_meant` is true.
    pub(crate) fn ever_listed_where(&self, dc: &Tid, is_meant: impl Fn(&Tid) -> bool) -> BTreeSet<Tid> {
        let named = self.pages.get(dc).into_iter().flatten().flat_map(|page_report| &page_report.listed);
        named.filter(|tid| is_meant(tid)).cloned().collect()
    }

    /// All controllers that any page has ever listed.
    pub(crate) fn ever_listed(&self) -> impl Iterator<Item = &Tid> {
        self.ever.keys()
    }

    /// True for a controller that any page has ever listed.
    pub(crate) fn has_ever_listed(&self, tid: &Tid) -> bool {
        self.ever.contains_key(tid)
    }

    /// Forgets controllers that are no members and are not listed.
    pub(crate) fn forget_all_but(&mut self, members: &BTreeSet<Tid>) {
        for page_reports in self.pages.values_mut() {
            let listed = page_reports.last().map(|page_report| page_report.listed.clone()).unwrap_or_default();
            for page_report in page_reports.iter_mut() {
                let is_known = |tid: &Tid| members.contains(tid) || listed.contains(tid);
                page_report.listed.retain(is_known);
                page_report.protected.retain(is_known);
            }
        }
    }

    /// The discovery controllers that have listed a controller and have not proved its absence.
    pub(crate) fn unproved_by(&self, tid: &Tid, now: Time) -> BTreeSet<Tid> {
        self.pages.keys().filter(|dc| self.may_mean(dc, tid, now, Viewpoint::Kernel)).cloned().collect()
    }

    /// True when a page may still mean a controller, as far as the daemon can know. After a restart the daemon does not
    /// know how long a connection has been up: it counts from the time when it first saw the connection.
    pub(crate) fn may_be_meant(&self, tid: &Tid, now: Time) -> bool {
        self.pages.keys().any(|dc| self.may_mean(dc, tid, now, Viewpoint::Daemon))
    }

    /// The discovery controllers whose pages have ever listed a controller.
    pub(crate) fn ever_listed_by(&self, tid: &Tid) -> impl Iterator<Item = &Tid> {
        let lists = |reports: &Vec<PageReport>| reports.iter().any(|page_report| self.lists(page_report, tid));
        self.pages.iter().filter(move |(_, reports)| lists(reports)).map(|(dc, _)| dc)
    }

    /// True while the absence of `tid` from the pages of `dc` is not proved. It is proved when `dc` has been removed
    /// since the last page that lists `tid`, or by a later page that was read on the same connection or is settled. A
    /// doubtful page proves it only after it was read again.
    fn may_mean(&self, dc: &Tid, tid: &Tid, now: Time, viewpoint: Viewpoint) -> bool {
        let page_reports = self.pages.get(dc).map(Vec::as_slice).unwrap_or_default();
        let Some(last) = page_reports.iter().rposition(|page_report| self.lists(page_report, tid)) else {
            return false;
        };
        let (before, after) = page_reports.split_at(last + 1);
        let listed_at = before.last().map(|page_report| page_report.at);
        if self.is_gone_for(dc, tid, listed_at) {
            return false;
        }
        let listed_on = || {
            before
                .iter()
                .filter(|page_report| self.lists(page_report, tid))
                .filter_map(|page_report| page_report.listed_on)
        };
        let proves = |page_report: &PageReport| {
            let Some(on) = page_report.on else { return false };
            // A proof from an earlier run of the daemon does not count in its present run.
            if matches!(viewpoint, Viewpoint::Daemon) && page_report.incarnation != self.incarnation {
                return false;
            }
            let same = match viewpoint {
                Viewpoint::Kernel => listed_on().any(|listed| (listed.ctrl, listed.epoch) == (on.ctrl, on.epoch)),
                Viewpoint::Daemon => before.iter().any(|earlier| {
                    self.lists(earlier, tid)
                        && (earlier.incarnation, earlier.since) == (page_report.incarnation, page_report.since)
                }),
            };
            let since = match viewpoint {
                Viewpoint::Kernel => on.since,
                Viewpoint::Daemon => page_report.since.map_or(on.since, |since| since.max(on.since)),
            };
            // In the daemon's view the time of the read does not count: the daemon itself must request a settled page.
            let is_late = matches!(viewpoint, Viewpoint::Daemon) || since + SETTLED_READ <= page_report.read;
            let settled = is_late && since + SETTLING <= page_report.until.unwrap_or(now);
            let read_again = || after.iter().any(|first| first.at + DOUBT <= page_report.at);
            (same || settled) && (!page_report.doubtful || (page_report.confirmed && read_again()))
        };
        !after.iter().any(proves)
    }

    /// True if a discovery controller was removed after the last time it listed that controller, and that proves its
    /// absence.
    fn is_gone_for(&self, dc: &Tid, tid: &Tid, listed_at: Option<Time>) -> bool {
        let gone = self.gone.get(dc).filter(|gone| Some(gone.at) >= listed_at);
        gone.is_some_and(|gone| !gone.aged_out || self.down.get(tid) >= Some(&gone.at))
    }

    /// The daemon disconnects a controller whose absence is proved.
    pub(crate) fn record_disconnect(&mut self, tid: Tid, now: Time) {
        self.disconnected.insert(tid, now);
    }

    /// A discovery controller that has listed a controller and proves nothing now, because its page is stale. Its
    /// present page may list the controller.
    pub(crate) fn stale_source_of(&self, tid: &Tid) -> Option<&Tid> {
        let is_stale = |(dc, page_reports): &(&Tid, &Vec<PageReport>)| {
            let Some(listing) = page_reports.iter().rev().find(|page_report| self.lists(page_report, tid)) else {
                return false;
            };
            let is_current = page_reports.last().is_some_and(|last| last.on.is_some() && last.until.is_none());
            let is_over = self.disconnected.get(tid).is_some_and(|at| *at >= listing.at);
            !is_current && !is_over && !self.is_gone_for(dc, tid, Some(listing.at))
        };
        self.pages.iter().find(is_stale).map(|(dc, _)| dc)
    }

    /// True when the first page without the controller was reported less than [`DEBOUNCE`] ago.
    pub(crate) fn is_hasty(&self, tid: &Tid, now: Time) -> bool {
        let omitted = self.pages.iter().filter_map(|(dc, page_reports)| {
            let last = page_reports.iter().rposition(|page_report| self.lists(page_report, tid))?;
            let omitted = page_reports.get(last + 1)?.at;
            // The claim of a discovery controller that was removed before this page has already ended.
            self.gone.get(dc).is_none_or(|gone| gone.at > omitted).then_some(omitted)
        });
        omitted.max().is_some_and(|at| now < at + DEBOUNCE)
    }

    /// The discovery controllers whose pages count: those with `another_source`, those that aged out and have listed
    /// nothing since, and all targets of their referrals. Controllers that only list each other do not count.
    fn reached(&self, now: Time, another_source: impl Fn(&Tid) -> bool) -> BTreeSet<&Tid> {
        let aged_out =
            |dc: &Tid| self.gone.get(dc).is_some_and(|gone| gone.aged_out && Some(gone.at) >= self.last_listing(dc));
        let (mut edge, mut left): (Vec<&Tid>, Vec<&Tid>) =
            self.pages.keys().partition(|dc| another_source(dc) || aged_out(dc));
        let mut reached: BTreeSet<&Tid> = edge.iter().copied().collect();
        while let Some(by) = edge.pop() {
            let (listed, others): (Vec<&Tid>, Vec<&Tid>) =
                left.into_iter().partition(|dc| self.may_mean(by, dc, now, Viewpoint::Kernel));
            reached.extend(&listed);
            edge.extend(listed);
            left = others;
        }
        reached
    }

    /// Why the absence of a controller from the pages that `counts` selects is not proved; `None` if it is.
    pub(crate) fn unproved(&self, tid: &Tid, now: Time, counts: impl Fn(&Tid) -> bool) -> Option<String> {
        let dc = self.pages.keys().find(|dc| counts(dc) && self.may_mean(dc, tid, now, Viewpoint::Kernel))?;
        let listed =
            self.pages.get(dc).and_then(|page_reports| page_reports.last()).is_some_and(|last| self.lists(last, tid));
        Some(match listed {
            true => format!("{} lists it", short(dc)),
            false => format!("{} listed it, and has not proved that it no longer does", short(dc)),
        })
    }
}

/// The result of a check for storage in use.
#[derive(Clone, Debug)]
pub(crate) struct UseCheck {
    pub(crate) free: bool,
    pub(crate) in_use: bool,
    /// Other live paths at that time.
    pub(crate) others: Vec<CtrlRef>,
}

/// Checks every removal against the history of both daemons.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) staf_file: Option<StafFile>,
    pub(crate) stac_file: Option<StacFile>,
    /// The controllers that the configuration lists, since it could last be read in full.
    staf_configured: BTreeSet<Tid>,
    stac_configured: BTreeSet<Tid>,
    /// The controllers that the configuration has ever listed.
    stac_ever_configured: BTreeSet<Tid>,
    staf_ever_configured: BTreeSet<Tid>,
    /// The targets of the host names, as far as stafd was told.
    pub(crate) resolved: BTreeMap<usize, Target>,
    /// All targets that the host names have ever had.
    pub(crate) ever_resolved: BTreeSet<(usize, Target)>,
    /// The owner of stafd's bus name, as stacd knows it.
    pub(crate) owner: Option<String>,
    /// Counts fetches and applied pages of stacd.
    sequence: u64,
    fetches: BTreeMap<OpId, u64>,
    applied: BTreeMap<Tid, u64>,
    /// The pages whose change was signalled, and when.
    signalled: BTreeMap<Tid, u64>,
    /// Pages that stafd has read again on request, with an answer that may be older than a signal.
    read_again: BTreeSet<Tid>,
    /// The newest applied full fetch: its sequence number, and the discovery controllers that it listed.
    full: Option<(u64, BTreeSet<Tid>)>,
    /// The announcements that reached stafd.
    pub(crate) announced: MdnsOracle,
    /// The discovery controllers of the boot table.
    pub(crate) booted: BTreeSet<Tid>,
    /// Until this time stafd may keep absent controllers that it should have removed: it could not notice the absence.
    pub(crate) excused_until: Time,
    /// Everything that stafd was told.
    pub(crate) staf: DaemonHistory,
    /// Everything that stacd was told.
    pub(crate) stac: DaemonHistory,
    pub(crate) checks: BTreeMap<CtrlRef, UseCheck>,
    /// Connections that stacd is disconnecting and that must be kept if their storage has come into use.
    pub(crate) spares_use: BTreeSet<CtrlRef>,
    /// Connections without an interface whose controllers exclude= with an interface excludes. The exclusion does not
    /// match the connection itself, so the connection is kept when its controller is removed.
    pub(crate) spared: BTreeSet<CtrlRef>,
    /// True if exclude= has excluded an interface at any time.
    pub(crate) unbound_is_apart: bool,
    /// Disconnects requested by the present daemons, and by which.
    pub(crate) disconnecting: BTreeMap<CtrlRef, Daemon>,
    /// The newest snapshot that has reached each of the present daemons.
    pub(crate) seen: BTreeMap<Daemon, Snapshot>,
    /// The connections that referred discovery controllers used before stafd's last step.
    pub(crate) used_by_stafd: BTreeMap<Tid, CtrlRef>,
    /// The targets that had a discovery connection when stafd started. stafd cannot know whether such a connection has
    /// ever been live.
    pub(crate) found_at_start: BTreeSet<Target>,
    /// The daemons that have lost their state at any time.
    pub(crate) lost_state: BTreeSet<Daemon>,
}

impl Oracle {
    pub(crate) fn staf_loads(&mut self, file: &StafFile, now: Time) {
        self.announced.loads(now, file);
        self.excused_until = self.excused_until.max(now);
        if !file.garbled {
            self.staf_configured.clear();
        }
        // Forgets the targets of host names that are no longer configured.
        self.resolved.retain(|number, _| file.controllers.contains(&DcEntry::Name(*number)));
        self.staf_file = Some(file.clone());
        self.update_configured();
    }

    /// Updates the controllers that `controller=` of stafd.conf means.
    pub(crate) fn update_configured(&mut self) {
        let Some(file) = &self.staf_file else { return };
        let named = file.controllers.iter().filter_map(|dc| match dc {
            DcEntry::Address(target, via) => Some(target.dc(*via)),
            DcEntry::Name(number) => self.resolved.get(number).map(|target| target.dc(None)),
        });
        let named: BTreeSet<Tid> = named.collect();
        if !file.garbled {
            self.staf_configured.clear();
        }
        self.staf_ever_configured.extend(named.iter().cloned());
        self.staf_configured.extend(named);
    }

    pub(crate) fn stac_loads(&mut self, file: &StacFile, now: Time) {
        // With another ignore-iface each entry of each page stands for another controller.
        if self.stac_file.as_ref().is_some_and(|before| before.ignore_iface != file.ignore_iface) {
            self.stac.mark_all_stale(now);
        }
        if !file.garbled {
            self.stac_configured.clear();
        }
        self.stac_configured.extend(file.listed());
        self.stac_ever_configured.extend(file.listed());
        self.stac_file = Some(file.clone());
    }

    /// stacd starts a fetch from stafd.
    pub(crate) fn fetch_started(&mut self, op: OpId) {
        self.sequence += 1;
        self.fetches.insert(op, self.sequence);
    }

    /// stacd applies a page.
    pub(crate) fn page_applied(&mut self, dc: &Tid) {
        self.sequence += 1;
        self.applied.insert(dc.clone(), self.sequence);
    }

    /// stacd applies a full fetch that lists these discovery controllers.
    pub(crate) fn full_fetch_applied(&mut self, listed: BTreeSet<Tid>) {
        self.sequence += 1;
        self.full = Some((self.sequence, listed));
    }

    /// True when stacd has applied a page of that discovery controller, or a full fetch without it, since it started
    /// the fetch: the answer may be older.
    pub(crate) fn is_overtaken(&self, op: OpId, dc: &Tid) -> bool {
        let without_it = self.full.as_ref().filter(|(_, listed)| !listed.contains(dc)).map(|(number, _)| number);
        self.applied.get(dc).max(without_it) > self.fetches.get(&op)
    }

    /// stacd receives a signal that a page has changed.
    pub(crate) fn page_signalled(&mut self, dc: &Tid, now: Time) {
        self.sequence += 1;
        self.signalled.insert(dc.clone(), self.sequence);
        self.stac.mark_stale(dc, now);
    }

    /// Whether a page that reaches stacd was read again on request: for this fetch, or for the one before, whose answer
    /// preceded a signal.
    pub(crate) fn is_read_again(&mut self, op: OpId, dc: &Tid, refreshed: bool) -> bool {
        let read_again = self.read_again.remove(dc) || refreshed;
        if read_again && self.precedes_a_signal(op, dc) {
            self.read_again.insert(dc.clone());
        }
        read_again
    }

    /// True when stacd has received a signal of that page since it started the fetch: the answer may be older.
    pub(crate) fn precedes_a_signal(&self, op: OpId, dc: &Tid) -> bool {
        self.signalled.get(dc) > self.fetches.get(&op)
    }

    /// stacd learns the owner of stafd's bus name. If the owner has changed, everything from the previous owner is
    /// stale.
    pub(crate) fn stafd_is(&mut self, owner: Option<&String>, now: Time) {
        if owner.is_some() && self.owner.as_ref() == owner {
            return;
        }
        self.owner = owner.cloned();
        self.applied.clear();
        self.signalled.clear();
        self.read_again.clear();
        self.full = None;
        self.stac.mark_all_stale(now);
    }

    /// A daemon has ended: its next run has seen and requested nothing yet.
    pub(crate) fn daemon_ended(&mut self, daemon: Daemon) {
        self.seen.remove(&daemon);
        self.disconnecting.retain(|_, by| *by != daemon);
    }

    /// A snapshot reaches a daemon.
    pub(crate) fn snapshot_delivered(&mut self, daemon: Daemon, snapshot: &Snapshot) {
        if self.seen.get(&daemon).is_none_or(|seen| seen.order < snapshot.order) {
            self.seen.insert(daemon, snapshot.clone());
        }
    }

    /// stacd has ended.
    pub(crate) fn stacd_ended(&mut self, now: Time) {
        self.stafd_is(None, now);
        self.stac.ended = now;
        self.fetches.clear();
        self.full = None;
        self.checks.clear();
    }

    pub(crate) fn state_lost(&mut self, daemon: Daemon) {
        self.lost_state.insert(daemon);
        match daemon {
            Daemon::Stafd => {
                (self.staf, self.staf_configured) = (DaemonHistory::default(), BTreeSet::new());
                self.announced.forget();
            }
            Daemon::Stacd => (self.stac, self.stac_configured) = (DaemonHistory::default(), BTreeSet::new()),
        }
    }

    pub(crate) fn excludes(&self, daemon: Daemon, tid: &Tid) -> bool {
        match daemon {
            Daemon::Stafd => self.staf_file.as_ref().is_some_and(|file| file.excludes(tid)),
            Daemon::Stacd => self.stac_file.as_ref().is_some_and(|file| file.excludes(tid)),
        }
    }

    /// True for a controller that the daemon must never connect: exclude= or ip-family= excludes it.
    pub(crate) fn bars(&self, daemon: Daemon, tid: &Tid) -> bool {
        match daemon {
            Daemon::Stafd => self.staf_file.as_ref().is_some_and(|file| file.excludes(tid)),
            Daemon::Stacd => self.stac_file.as_ref().is_some_and(|file| file.bars(tid)),
        }
    }

    /// True when a source other than announcements may list that discovery controller.
    pub(crate) fn has_another_source(&self, dc: &Tid, now: Time) -> bool {
        self.staf_configured.contains(dc) || self.booted.contains(dc) || self.staf.may_be_meant(dc, now)
    }

    pub(crate) fn configured(&self, daemon: Daemon) -> &BTreeSet<Tid> {
        match daemon {
            Daemon::Stafd => &self.staf_configured,
            Daemon::Stacd => &self.stac_configured,
        }
    }

    /// True for a controller that any source of that daemon has ever listed.
    pub(crate) fn has_ever_listed(&self, daemon: Daemon, tid: &Tid) -> bool {
        match daemon {
            Daemon::Stafd => {
                self.staf_ever_configured.contains(tid)
                    || self.staf.has_ever_listed(tid)
                    || self.announced.ever(tid)
                    || self.booted.contains(tid)
            }
            Daemon::Stacd => self.stac_ever_configured.contains(tid) || self.stac.has_ever_listed(tid),
        }
    }

    /// Why it is not proved that a controller is unwanted; `None` if it is.
    pub(crate) fn unproved(&self, daemon: Daemon, tid: &Tid, now: Time) -> Option<String> {
        if self.configured(daemon).contains(tid) {
            return Some("the configuration lists it".into());
        }
        match daemon {
            Daemon::Stafd if self.booted.contains(tid) => Some("the boot table lists it".into()),
            Daemon::Stafd => self.announced.unproved(tid, now).or_else(|| {
                let another_source = |dc: &Tid| {
                    self.staf_configured.contains(dc)
                        || self.booted.contains(dc)
                        || self.announced.unproved(dc, now).is_some()
                };
                let reached = self.staf.reached(now, another_source);
                self.staf.unproved(tid, now, |dc| reached.contains(dc))
            }),
            Daemon::Stacd => self.stac.unproved(tid, now, |_| true),
        }
    }
}
