//! The two daemons as processes: they start, save, freeze, stop and are killed.

use std::collections::BTreeSet;
use std::time::Duration;

use libstas::core::ownership::Instance;
use libstas::core::{CtrlRef, Machine, Time};
use libstas::nvme::Tid;
use stacd::connector::Connector;
use stafd::finder::Finder;

use crate::checks::may_serve;
use crate::kernel::SimController;
use crate::names::Daemon;
use crate::plan::Fault;
use crate::stale_pages::SignalledPages;
use crate::world::{Incoming, QueuedEvent, Requester, World, trace};

/// Shortest time between two saves (the shell's event loop).
const SAVE_PACE: Duration = Duration::from_millis(500);
/// Longest duration of a stop (the shell's event loop).
const STOP_LIMIT: Duration = Duration::from_secs(7);

/// The saved state of one daemon.
#[derive(Clone, Debug)]
pub(crate) enum Running {
    Staf(stafd::finder::Saved),
    Stac(stacd::connector::Saved),
}

/// The state of one daemon process.
#[derive(Debug)]
pub(crate) struct Process<M: Machine> {
    /// Its core, while it runs.
    pub(crate) core: Option<M>,
    /// Counts its starts: an answer to an earlier incarnation is dropped.
    pub(crate) incarnation: u32,
    pub(crate) frozen_until: Duration,
    /// Number of snapshots that its shell has taken.
    pub(crate) snapshots: u64,
    /// Number of writes that its core waits for.
    pub(crate) writes: u32,
    /// Its events arrive in order: none before this time.
    pub(crate) events_until: Duration,
    pub(crate) stopping: bool,
    /// It is started again after this time.
    pub(crate) away: Duration,
    save_due: bool,
    saved_at: Option<Duration>,
    saves: u64,
    on_disk: u64,
    /// The time of the state on disk.
    disk_of: Time,
    disk: Option<Running>,
}

impl<M: Machine> Default for Process<M> {
    fn default() -> Self {
        Self {
            core: None,
            incarnation: 0,
            frozen_until: Duration::ZERO,
            snapshots: 0,
            writes: 0,
            events_until: Duration::ZERO,
            stopping: false,
            away: Duration::ZERO,
            save_due: false,
            saved_at: None,
            saves: 0,
            on_disk: 0,
            disk_of: Time::default(),
            disk: None,
        }
    }
}

impl<M: Machine> Process<M> {
    fn begin(&mut self, core: M) {
        *self = Self {
            core: Some(core),
            incarnation: self.incarnation + 1,
            disk: self.disk.take(),
            disk_of: self.disk_of,
            ..Self::default()
        };
    }

    /// Its core requests a save. Returns when it is due, or `None` if one is pending already.
    fn wants_save(&mut self, now: Duration) -> Option<Duration> {
        if std::mem::replace(&mut self.save_due, true) {
            return None;
        }
        Some(self.saved_at.map_or(now, |last| now.max(last + SAVE_PACE)))
    }
}

impl World {
    pub(crate) fn incarnation(&self, daemon: Daemon) -> Option<u32> {
        match daemon {
            Daemon::Stafd => self.staf.core.as_ref().map(|_| self.staf.incarnation),
            Daemon::Stacd => self.stac.core.as_ref().map(|_| self.stac.incarnation),
        }
    }

    pub(crate) fn is_current(&self, requester: Requester) -> bool {
        self.incarnation(requester.daemon) == Some(requester.incarnation)
    }

    /// Delivers an event to the present incarnation of the daemon after that time.
    pub(crate) fn send(&mut self, daemon: Daemon, wait: Duration, incoming: Incoming) {
        if let Some(incarnation) = self.incarnation(daemon) {
            self.after(wait, QueuedEvent::Deliver(daemon, incarnation, incoming));
        }
    }

    /// Delivers an answer to the incarnation that requested it, if that one still runs.
    pub(crate) fn answer(&mut self, requester: Requester, wait: Duration, incoming: Incoming) {
        self.after(wait, QueuedEvent::Deliver(requester.daemon, requester.incarnation, incoming));
    }

    pub(crate) fn deliver(&mut self, daemon: Daemon, incarnation: u32, incoming: Incoming) {
        if self.incarnation(daemon) != Some(incarnation) {
            return;
        }
        let frozen = match daemon {
            Daemon::Stafd => self.staf.frozen_until,
            Daemon::Stacd => self.stac.frozen_until,
        };
        if frozen > self.now {
            self.defer(frozen, QueuedEvent::Deliver(daemon, incarnation, incoming));
            return;
        }
        self.process_incoming(daemon, incoming);
    }

    pub(crate) fn start(&mut self, daemon: Daemon) {
        if self.incarnation(daemon).is_some() {
            return;
        }
        let seed = self.streams.stream("jitter").roll();
        trace!(self, "{daemon} starts");
        self.disturbs_keys(self.now);
        let late = self.streams.latency("first events");
        let has_state = match daemon {
            Daemon::Stafd => self.staf.disk.is_some(),
            Daemon::Stacd => self.stac.disk.is_some(),
        };
        match daemon {
            Daemon::Stafd => {
                let mut saved = match &self.staf.disk {
                    Some(Running::Staf(saved)) => read_back(saved).unwrap_or_default(),
                    _ => stafd::finder::Saved::default(),
                };
                self.mutate_saved_by_stafd(&mut saved);
                let dcs: BTreeSet<Tid> = saved.dcs.iter().map(|saved| saved.dc.clone()).collect();
                let instances = saved.instances.clone();
                self.kernel.disown(daemon, has_state, |known| is_known(known, &dcs, instances.as_deref()));
                let connecting = self.kernel.controllers.iter().filter(|known| known.subsystem.is_none());
                self.oracle.found_at_start.extend(connecting.map(|known| known.target));
                self.staf.begin(Finder::new(saved, seed));
                self.oracle.staf.incarnation = self.staf.incarnation;
                let now = self.time();
                self.oracle.announced.stafd_starts(now, self.staf.disk_of);
                self.oracle.excused_until = now;
                self.reload(daemon);
                let incarnation = self.staf.incarnation;
                self.after(late, QueuedEvent::NameOwned(incarnation));
            }
            Daemon::Stacd => {
                let mut saved = match &self.stac.disk {
                    Some(Running::Stac(saved)) => read_back(saved).unwrap_or_default(),
                    _ => stacd::connector::Saved::default(),
                };
                self.mutate_saved_by_stacd(&mut saved);
                self.kernel
                    .disown(daemon, has_state, |known| is_known(known, &saved.members, saved.instances.as_deref()));
                self.stac.begin(Connector::new(saved, seed));
                self.reload(daemon);
                let incarnation = self.stac.incarnation;
                self.after(late, QueuedEvent::Watches(incarnation));
            }
        }
        let links = self.links.clone();
        let late = self.streams.latency("links");
        self.event(daemon, late, libstas::core::HostEvent::Links(links));
    }

    /// The daemon reads its file.
    pub(crate) fn reload(&mut self, daemon: Daemon) {
        let identity = self.identity.clone();
        match daemon {
            Daemon::Stafd if self.staf.core.is_some() => {
                let now = self.time();
                self.oracle.staf_loads(&self.staf_file, now);
                self.spare_unbound(daemon);
                let tables = self.boot_tables(daemon);
                self.feed_staf(stafd::finder::Event::BootTables(tables));
                let conf = self.mutate_conf_of_stafd(self.staf_file.conf());
                let settings = stafd::finder::Settings { conf, identity };
                self.feed_staf(stafd::finder::Event::Configured(Box::new(settings)));
            }
            Daemon::Stacd if self.stac.core.is_some() => {
                let now = self.time();
                self.oracle.stac_loads(&self.stac_file, now);
                self.spare_unbound(daemon);
                let tables = self.boot_tables(daemon);
                self.feed_stac(stacd::connector::Event::BootTables(tables));
                let conf = self.mutate_conf_of_stacd(self.stac_file.conf());
                let settings = stacd::connector::Settings { conf, identity };
                self.feed_stac(stacd::connector::Event::Configured(Box::new(settings)));
            }
            _ => {}
        }
    }

    /// Notes the connections that an exclusion by interface does not match although it matches their controllers.
    fn spare_unbound(&mut self, daemon: Daemon) {
        let excluded = |known: &&SimController| {
            known.via.is_none() && may_serve(known).iter().any(|tid| self.oracle.excludes(daemon, tid))
        };
        let spared: Vec<CtrlRef> =
            self.kernel.controllers.iter().filter(excluded).map(|known| known.shown.ctrl).collect();
        self.oracle.spared.extend(spared);
    }

    pub(crate) fn freeze(&mut self, daemon: Daemon, time: Duration) {
        let until = self.now + time;
        self.oracle.excused_until = self.oracle.excused_until.max(self.time() + time);
        match daemon {
            Daemon::Stafd => {
                self.oracle.announced.resumed(self.time() + time);
                self.staf.frozen_until = self.staf.frozen_until.max(until);
            }
            Daemon::Stacd => self.stac.frozen_until = self.stac.frozen_until.max(until),
        }
    }

    /// systemctl stop; it is started again after that time.
    pub(crate) fn stop(&mut self, daemon: Daemon, away: Duration) {
        let Some(incarnation) = self.incarnation(daemon) else { return };
        self.after(STOP_LIMIT, QueuedEvent::StopLimit(daemon, incarnation));
        match daemon {
            Daemon::Stafd => {
                (self.staf.stopping, self.staf.away, self.staf.frozen_until) = (true, away, Duration::ZERO);
                self.feed_staf(stafd::finder::Event::Stop);
            }
            Daemon::Stacd => {
                (self.stac.stopping, self.stac.away, self.stac.frozen_until) = (true, away, Duration::ZERO);
                self.feed_stac(stacd::connector::Event::Stop);
            }
        }
    }

    pub(crate) fn stop_limit(&mut self, daemon: Daemon, incarnation: u32) {
        if self.incarnation(daemon) == Some(incarnation) {
            self.stopped(daemon);
        }
    }

    /// The core has nothing left to do: its state is saved, and the process ends.
    pub(crate) fn stopped(&mut self, daemon: Daemon) {
        let away = match daemon {
            Daemon::Stafd => self.staf.away,
            Daemon::Stacd => self.stac.away,
        };
        if !self.has(Fault::SavesFail(daemon)) {
            let of = self.time();
            match daemon {
                Daemon::Stafd => {
                    self.staf.disk = self.staf.core.as_ref().map(|core| Running::Staf(core.saved()));
                    self.staf.disk_of = of;
                }
                Daemon::Stacd => {
                    self.stac.disk = self.stac.core.as_ref().map(|core| Running::Stac(core.saved()));
                    self.stac.disk_of = of;
                }
            }
        }
        trace!(self, "{daemon} has stopped");
        self.end(daemon, away);
    }

    /// Ends the process: kill -9, or the end of a stop.
    pub(crate) fn end(&mut self, daemon: Daemon, away: Duration) {
        if self.incarnation(daemon).is_none() {
            return;
        }
        match daemon {
            Daemon::Stafd => {
                self.staf.core = None;
                self.signalled_pages = SignalledPages::default();
                let now = self.time();
                self.oracle.announced.stafd_ends(now);
                self.browser_ends();
                self.oracle.staf.forget_after(self.staf.disk_of);
            }
            Daemon::Stacd => {
                self.stac.core = None;
                let now = self.time();
                self.oracle.stacd_ended(now);
                self.oracle.stac.forget_after(self.stac.disk_of);
            }
        }
        self.oracle.daemon_ended(daemon);
        self.abandon_writes(daemon);
        self.kernel.urgency.remove(&daemon);
        self.left_the_bus(daemon);
        self.after(away, QueuedEvent::Start(daemon));
    }

    pub(crate) fn lose_state(&mut self, daemon: Daemon) {
        match daemon {
            Daemon::Stafd => self.staf.disk = None,
            Daemon::Stacd => self.stac.disk = None,
        }
        self.oracle.state_lost(daemon);
    }

    pub(crate) fn save_soon(&mut self, daemon: Daemon) {
        let Some(incarnation) = self.incarnation(daemon) else { return };
        let at = match daemon {
            Daemon::Stafd => self.staf.wants_save(self.now),
            Daemon::Stacd => self.stac.wants_save(self.now),
        };
        if let Some(at) = at {
            self.at(at, QueuedEvent::Save(daemon, incarnation));
        }
    }

    pub(crate) fn save(&mut self, daemon: Daemon, incarnation: u32) {
        if self.incarnation(daemon) != Some(incarnation) {
            return;
        }
        let frozen = match daemon {
            Daemon::Stafd => self.staf.frozen_until,
            Daemon::Stacd => self.stac.frozen_until,
        };
        if frozen > self.now {
            self.at(frozen, QueuedEvent::Save(daemon, incarnation));
            return;
        }
        let state = match daemon {
            Daemon::Stafd => {
                (self.staf.save_due, self.staf.saved_at) = (false, Some(self.now));
                self.staf.saves += 1;
                self.staf.core.as_ref().map(|core| Running::Staf(core.saved()))
            }
            Daemon::Stacd => {
                (self.stac.save_due, self.stac.saved_at) = (false, Some(self.now));
                self.stac.saves += 1;
                self.stac.core.as_ref().map(|core| Running::Stac(core.saved()))
            }
        };
        if let Some(state) = state {
            let wait = self.streams.latency("disk");
            let number = match daemon {
                Daemon::Stafd => self.staf.saves,
                Daemon::Stacd => self.stac.saves,
            };
            let of = self.time();
            self.after(wait, QueuedEvent::Written(daemon, incarnation, (number, of), Box::new(state)));
        }
    }

    /// Replaces the file, unless it has a later state already. A process that has ended leaves the old one.
    pub(crate) fn written(&mut self, daemon: Daemon, incarnation: u32, (number, of): (u64, Time), state: Running) {
        if self.incarnation(daemon) != Some(incarnation) {
            return;
        }
        if self.has(Fault::SavesFail(daemon)) {
            self.after(
                Duration::from_secs(1),
                QueuedEvent::Written(daemon, incarnation, (number, of), Box::new(state)),
            );
            return;
        }
        let (on_disk, disk_of, disk) = match daemon {
            Daemon::Stafd => (&mut self.staf.on_disk, &mut self.staf.disk_of, &mut self.staf.disk),
            Daemon::Stacd => (&mut self.stac.on_disk, &mut self.stac.disk_of, &mut self.stac.disk),
        };
        if number > *on_disk {
            (*on_disk, *disk_of, *disk) = (number, of, Some(state));
        }
    }
}

/// Reads a state back from its file format: only what was written is restored.
fn read_back<T: serde::Serialize + serde::de::DeserializeOwned>(saved: &T) -> Option<T> {
    serde_json::from_str(&serde_json::to_string(saved).ok()?).ok()
}

/// True if the saved state has this connection, or the controller that it was made for. One that was made for another
/// controller may serve a saved one too, which may have a connection of its own.
fn is_known(known: &SimController, saved: &BTreeSet<Tid>, instances: Option<&[Instance]>) -> bool {
    match instances {
        Some(instances) => {
            let made_for = |tid: &Tid| tid.host_iface == known.shown.host_iface;
            instances.iter().any(|instance| instance.ctrl == known.shown.ctrl)
                || may_serve(known).iter().any(|tid| made_for(tid) && saved.contains(tid))
        }
        None => may_serve(known).iter().any(|tid| saved.contains(tid)),
    }
}
