//! The world: the event queue and all simulated parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libstas::core::browse::BrowseEvent;
use libstas::core::{
    AdminError, ConnectRequest, CtrlRef, HostEvent, KernelController, Links, Machine, OpId, Portal, Time,
};
use libstas::nvme::log_page::Entry;
use libstas::nvme::{HostIdentity, Tid};
use stacd::connector::{Connector, FetchError};
use stafd::finder::Finder;

use crate::bus::{Bus, PublishedPage, PublishedView, REFRESH_LIMIT};
use crate::display::seconds;
use crate::fabric::Fabric;
use crate::files::{StacFile, StafFile};
use crate::invariants::{Breach, Invariant};
use crate::kernel::{Deletion, Job, Kernel};
use crate::keys::Keys;
use crate::mdns::MdnsNetwork;
use crate::mutants::Bug;
use crate::names::{self, Daemon, Iface, Subsystem, Target};
use crate::oracle::{Connection, Oracle};
use crate::plan::{EntryOf, Fault, Plan, What};
use crate::process::{Process, Running};
use crate::rng::RngStreams;
use crate::stale_pages::SignalledPages;

/// CLOCK_BOOTTIME when a run begins.
const BOOTED: Duration = Duration::from_secs(1000);
/// More ticks than this while no time passes are an endless loop.
const SPIN: u32 = 500;

/// Adds a line to the trace of the run, if a trace was requested.
macro_rules! trace {
    ($world:expr, $($words:tt)*) => {
        if $world.trace.is_some() {
            let line = format!($($words)*);
            $world.add_to_trace(&line);
        }
    };
}
pub(crate) use trace;

/// An event for a daemon.
#[derive(Debug)]
pub(crate) enum Incoming {
    Host(HostEvent),
    Staf(stafd::finder::Event),
    Stac(stacd::connector::Event),
    /// Events of stafd's browser.
    BrowseEvent(Vec<BrowseEvent>),
    /// The result of a log page read on a connection.
    PageRead(OpId, CtrlRef, Result<(libstas::nvme::log_page::LogPage, Connection), AdminError>),
    AllFetched(OpId, Result<PublishedView, FetchError>),
    /// One page; true if stafd read it again for this call.
    PageFetched(OpId, bool, Result<Option<PublishedPage>, FetchError>),
}

/// The daemon that made a request, and its incarnation at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requester {
    pub(crate) daemon: Daemon,
    pub(crate) incarnation: u32,
    pub(crate) op: OpId,
}

/// A future event.
#[derive(Debug)]
pub(crate) enum QueuedEvent {
    Action(What),
    FaultEnds(Fault),
    Deliver(Daemon, u32, Incoming),
    // Processes.
    Start(Daemon),
    StopLimit(Daemon, u32),
    Save(Daemon, u32),
    Written(Daemon, u32, (u64, Time), Box<Running>),
    // The host.
    Snapshot(Requester),
    Probed(Requester, Portal),
    Resolve(Requester, String),
    CheckUse(Requester, CtrlRef, Vec<CtrlRef>),
    Rotate(Requester, CtrlRef, Box<ConnectRequest>),
    /// The second half of a change of keys; true if the host was first.
    KeyFollows(bool),
    // The kernel.
    Enlist(Job),
    WriteEnds(u64),
    Delete(Deletion),
    Deleted(Option<Requester>, CtrlRef),
    GoesDown(CtrlRef, u64),
    Reconnects(CtrlRef, u64),
    GivesUp(CtrlRef, u64),
    // Admin commands.
    ReadSupported(Requester, CtrlRef),
    ReadPage(Requester, CtrlRef),
    // The fabric.
    Export(Target, Subsystem, bool),
    ExportsAfterReboot(Target, Subsystem),
    Recovers(Target, u64),
    ListsAgain(Target),
    RepairEntry(Target, EntryOf),
    // Announcements.
    RestartBrowser(u64),
    /// The browser with this number ended by itself; another one starts.
    BrowserReturns(u64),
    Receive(u64, Vec<Target>),
    ReceiveGoodbye(u64, Vec<Target>),
    Verified(u64, Target),
    Announces(Target),
    FloodEnds(usize),
    EndsSilence(Target, u64),
    InterfaceBack(Iface),
    /// Only with a reintroduced bug.
    DisconnectUnannounced(Target),
    // The bus.
    NameOwned(u32),
    Watches(u32),
    FetchPages(Requester),
    FetchRemoved(Requester, Vec<PublishedPage>),
    FetchPage(Requester, Tid, bool),
    RefreshPage(Requester, Tid),
    RefreshEnds(u64),
}

/// The simulated world.
pub struct World {
    pub(crate) plan: Plan,
    /// The time that has passed while the host was awake.
    pub(crate) now: Duration,
    /// The time that the host was suspended.
    asleep: Duration,
    queue: BTreeMap<(Duration, u64), QueuedEvent>,
    tickets: u64,
    /// The number of the event that happens now.
    ticket: u64,
    pub(crate) streams: RngStreams,
    pub(crate) links: Arc<Links>,
    pub(crate) identity: Arc<HostIdentity>,
    pub(crate) keys: Keys,
    /// The interface that the routes use.
    pub(crate) route: Iface,
    pub(crate) kernel: Kernel,
    pub(crate) fabric: Fabric,
    pub(crate) mdns_net: MdnsNetwork,
    pub(crate) staf_file: StafFile,
    pub(crate) stac_file: StacFile,
    pub(crate) staf: Process<Finder>,
    pub(crate) stac: Process<Connector>,
    pub(crate) bus: Bus,
    pub(crate) faults: BTreeMap<Fault, u32>,
    pub(crate) oracle: Oracle,
    /// What stafd has signalled.
    pub(crate) signalled_pages: SignalledPages,
    /// The host names of stafd's look-ups under way.
    pub(crate) resolving: BTreeMap<OpId, usize>,
    pub(crate) breach: Option<Breach>,
    /// The events so far as text, if requested.
    pub(crate) trace: Option<Vec<String>>,
    /// The reintroduced bug, if any.
    pub(crate) bug: Option<Bug>,
    /// Removed controllers whose remove event did not reach a daemon.
    pub(crate) ghosts: Vec<(Daemon, Arc<KernelController>)>,
    /// The targets that have sent a goodbye, for [`Bug::ReturnUnheard`].
    pub(crate) said_goodbye: BTreeSet<Target>,
    /// The newest read of each device, and the newest full fetch.
    pub(crate) newest_reads: BTreeMap<CtrlRef, OpId>,
    /// For each read of a log page whose answer is on its way: the entries that the target sent.
    pub(crate) sent_entries: BTreeMap<OpId, Vec<Entry>>,
    pub(crate) newest_fetch: Option<OpId>,
    ticks: (Duration, u32),
    /// Number of events that the cores of stafd and stacd have handled.
    pub(crate) events: (u64, u64),
}

impl World {
    /// Creates the initial world of a plan. With `trace`, its events are written down.
    #[must_use]
    pub fn new(plan: Plan, trace: bool) -> Self {
        let identity = names::host_identity(0, plan.initial.key);
        let mut world = Self {
            now: Duration::ZERO,
            asleep: Duration::ZERO,
            queue: BTreeMap::new(),
            tickets: 0,
            ticket: 0,
            streams: RngStreams::new(plan.seed),
            links: Arc::new(names::links(&Iface::ALL.into())),
            identity: Arc::new(identity),
            keys: Keys::agreed(plan.initial.key),
            route: Iface::Eth0,
            kernel: Kernel::default(),
            fabric: Fabric::new(&plan.initial),
            mdns_net: MdnsNetwork::new(&plan.initial),
            staf_file: plan.initial.staf.clone(),
            stac_file: plan.initial.stac.clone(),
            staf: Process::default(),
            stac: Process::default(),
            bus: Bus::default(),
            faults: BTreeMap::new(),
            oracle: Oracle::default(),
            signalled_pages: SignalledPages::default(),
            resolving: BTreeMap::new(),
            breach: None,
            trace: trace.then(Vec::new),
            bug: None,
            ghosts: Vec::new(),
            said_goodbye: BTreeSet::new(),
            newest_reads: BTreeMap::new(),
            sent_entries: BTreeMap::new(),
            newest_fetch: None,
            ticks: (Duration::ZERO, 0),
            events: (0, 0),
            plan,
        };
        world.firmware_connects();
        world.oracle.booted = world.plan.initial.boot.discovery.iter().map(|(target, via)| target.dc(*via)).collect();
        for action in std::mem::take(&mut world.plan.actions) {
            world.at(action.at, QueuedEvent::Action(action.what.clone()));
            world.plan.actions.push(action);
        }
        let late = world.streams.latency("boot");
        world.at(late, QueuedEvent::Start(Daemon::Stafd));
        let late = world.streams.latency("boot");
        world.at(late, QueuedEvent::Start(Daemon::Stacd));
        world
    }

    /// The present CLOCK_BOOTTIME.
    pub(crate) fn time(&self) -> Time {
        Time(BOOTED + self.now + self.asleep)
    }

    pub(crate) fn sleep(&mut self, time: Duration) {
        self.asleep += time;
    }

    pub(crate) fn at(&mut self, at: Duration, event: QueuedEvent) {
        self.tickets += 1;
        self.queue.insert((at.max(self.now), self.tickets), event);
    }

    /// Defers what was due now until a frozen daemon continues, in the order in which it was due.
    pub(crate) fn defer(&mut self, until: Duration, event: QueuedEvent) {
        self.queue.insert((until, self.ticket), event);
    }

    pub(crate) fn after(&mut self, wait: Duration, event: QueuedEvent) {
        self.at(self.now + wait, event);
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains_key(&fault)
    }

    pub(crate) fn add_to_trace(&mut self, line: &str) {
        let at = seconds(self.now);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>11}  {line}"));
        }
    }

    /// Records a violated invariant. Only the first one counts.
    pub(crate) fn breach(&mut self, invariant: Invariant, text: String) {
        if self.breach.is_none() {
            trace!(self, "BREACH of \"{}\": {text}", invariant.words());
            self.breach = Some(Breach { invariant, text, at: self.now });
        }
    }

    /// Advances time until `end`, or until an invariant is violated.
    pub(crate) fn run_until(&mut self, end: Duration) {
        while self.breach.is_none() {
            let wake = Daemon::BOTH.into_iter().filter_map(|daemon| Some((self.wakes_at(daemon)?, daemon))).min();
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            match (next, wake) {
                (Some(at), wake) if at <= end && wake.is_none_or(|(wake, _)| at <= wake) => {
                    self.now = at;
                    if let Some(((_, ticket), event)) = self.queue.pop_first() {
                        self.ticket = ticket;
                        self.handle_queued(event);
                    }
                }
                (_, Some((at, daemon))) if at <= end => {
                    self.now = at;
                    self.tick(daemon);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
    }

    /// When a daemon's core wants to be called.
    fn wakes_at(&self, daemon: Daemon) -> Option<Duration> {
        let (deadline, frozen) = match daemon {
            Daemon::Stafd => (self.staf.core.as_ref()?.deadline(), self.staf.frozen_until),
            Daemon::Stacd => (self.stac.core.as_ref()?.deadline(), self.stac.frozen_until),
        };
        let at = deadline?.0.saturating_sub(BOOTED + self.asleep);
        Some(at.max(self.now).max(frozen))
    }

    fn tick(&mut self, daemon: Daemon) {
        if self.ticks.0 == self.now {
            self.ticks.1 += 1;
            if self.ticks.1 > SPIN {
                let text = format!("{daemon} requests more than {SPIN} calls at the same moment");
                self.breach(Invariant::NoSpin, text);
                return;
            }
        } else {
            self.ticks = (self.now, 0);
        }
        match daemon {
            Daemon::Stafd => self.feed_staf(stafd::finder::Event::Tick),
            Daemon::Stacd => self.feed_stac(stacd::connector::Event::Tick),
        }
    }

    fn handle_queued(&mut self, event: QueuedEvent) {
        match event {
            QueuedEvent::Action(what) => self.perform(what),
            QueuedEvent::FaultEnds(fault) => self.fault_ends(fault),
            QueuedEvent::Deliver(daemon, incarnation, incoming) => self.deliver(daemon, incarnation, incoming),
            QueuedEvent::Start(daemon) => self.start(daemon),
            QueuedEvent::StopLimit(daemon, incarnation) => self.stop_limit(daemon, incarnation),
            QueuedEvent::Save(daemon, incarnation) => self.save(daemon, incarnation),
            QueuedEvent::Written(daemon, incarnation, number, state) => {
                self.written(daemon, incarnation, number, *state)
            }
            QueuedEvent::Snapshot(requester) => self.take_snapshot_now(requester),
            QueuedEvent::Probed(requester, portal) => self.probed(requester, &portal),
            QueuedEvent::Resolve(requester, name) => self.resolve(requester, &name),
            QueuedEvent::CheckUse(requester, ctrl, not_counted) => self.check_use(requester, ctrl, &not_counted),
            QueuedEvent::Rotate(requester, ctrl, request) => self.rotate(requester, ctrl, request),
            QueuedEvent::KeyFollows(host_first) => self.key_follows(host_first),
            QueuedEvent::Enlist(job) => self.enlist(job),
            QueuedEvent::WriteEnds(number) => self.write_ends(number),
            QueuedEvent::Delete(deletion) => self.delete(deletion),
            QueuedEvent::Deleted(requester, ctrl) => self.deleted(requester, ctrl),
            QueuedEvent::GoesDown(ctrl, epoch) => self.goes_down(ctrl, epoch),
            QueuedEvent::Reconnects(ctrl, epoch) => self.reconnects(ctrl, epoch),
            QueuedEvent::GivesUp(ctrl, epoch) => self.kernel_gives_up(ctrl, epoch),
            QueuedEvent::ReadSupported(requester, ctrl) => self.read_supported(requester, ctrl),
            QueuedEvent::ReadPage(requester, ctrl) => self.read_page(requester, ctrl),
            QueuedEvent::Export(target, subsystem, on) => self.export(target, subsystem, on),
            QueuedEvent::ExportsAfterReboot(target, subsystem) => self.exports_after_reboot(target, subsystem),
            QueuedEvent::Recovers(target, epoch) => self.recovers(target, epoch),
            QueuedEvent::ListsAgain(target) => self.lists_again(target),
            QueuedEvent::RepairEntry(target, of) => self.repair_entry(target, of),
            QueuedEvent::RestartBrowser(incarnation) => self.restart_browser(incarnation),
            QueuedEvent::BrowserReturns(incarnation) => self.browser_returns(incarnation),
            QueuedEvent::Receive(incarnation, targets) => self.receive(incarnation, &targets),
            QueuedEvent::ReceiveGoodbye(incarnation, targets) => self.receive_goodbye(incarnation, &targets),
            QueuedEvent::Verified(incarnation, target) => self.verified(incarnation, target),
            QueuedEvent::Announces(target) => self.announces(target),
            QueuedEvent::FloodEnds(count) => self.flood_ends(count),
            QueuedEvent::EndsSilence(target, epoch) => self.ends_silence(target, epoch),
            QueuedEvent::InterfaceBack(iface) => self.interface_back(iface),
            QueuedEvent::DisconnectUnannounced(target) => self.disconnect_unannounced(target),
            QueuedEvent::NameOwned(incarnation) => self.name_owned(incarnation),
            QueuedEvent::Watches(incarnation) => self.watches(incarnation),
            QueuedEvent::FetchPages(requester) => self.fetch_pages(requester),
            QueuedEvent::FetchRemoved(requester, pages) => self.fetch_removed(requester, pages),
            QueuedEvent::FetchPage(requester, dc, refreshed) => self.fetch_page(requester, &dc, refreshed),
            QueuedEvent::RefreshPage(requester, dc) => self.refresh_page(requester, dc),
            QueuedEvent::RefreshEnds(token) => {
                self.refreshed(token, Err(FetchError::Timeout(REFRESH_LIMIT)));
            }
        }
    }
}
