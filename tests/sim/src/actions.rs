//! Performs the actions of a plan.

use std::sync::Arc;
use std::time::Duration;

use libstas::core::{HostEvent, Owner};

use crate::kernel::Deletion;
use crate::names::{Daemon, Iface, host_identity};
use crate::plan::{Edit, Fault, What};
use crate::world::{Incoming, QueuedEvent, World, trace};

/// Connections are lost in a suspend that is longer than this.
const DEEP_SLEEP: Duration = Duration::from_secs(8);

impl World {
    pub(crate) fn perform(&mut self, what: What) {
        trace!(self, "* {what}");
        self.may_disturb_keys(&what);
        match what {
            What::Edits(edit, reload) => {
                let daemon = edit.file_of();
                self.edit(edit);
                if reload {
                    self.reload_soon(daemon);
                }
            }
            What::EditsAndReverts(edit, time) => {
                self.after(time, QueuedEvent::Action(What::Edits(edit.clone(), true)));
                let daemon = edit.file_of();
                self.edit(edit);
                self.reload_soon(daemon);
            }
            What::Reloads(daemon) => self.reload_soon(daemon),
            What::Restarts(daemon, away) => self.stop(daemon, away),
            What::Kills(daemon, away) => self.end(daemon, away),
            What::KillsAndLosesState(daemon, away) => {
                if self.incarnation(daemon).is_some() {
                    self.end(daemon, away);
                    self.lose_state(daemon);
                }
            }
            What::Freezes(daemon, time) => self.freeze(daemon, time),
            What::Suspends(time) => self.suspend(time),
            What::DisconnectsByHand(nth) => {
                if let Some(ctrl) = self.nth_controller(nth, |_| true) {
                    self.delete(Deletion::by_others(ctrl));
                }
            }
            What::OtherClaims(nth) => self.other_claims(nth),
            What::OtherDisconnects(nth) => {
                if let Some(ctrl) = self.nth_controller(nth, |known| matches!(known.shown.owner, Owner::Other(_))) {
                    self.delete(Deletion::by_others(ctrl));
                }
            }
            What::ConnectsByHand(target, subsystem, via) => {
                self.connect_by_hand(&target.ioc(subsystem, via), 5);
            }
            What::ConnectsDcByHand(target, via) => {
                self.connect_by_hand(&target.dc(via), 30);
            }
            What::Discovers(target) => {
                if let Some(ctrl) = self.connect_by_hand(&target.dc(None), 0) {
                    let wait = self.streams.stream("discover").ms(100, 3000);
                    self.after(wait, QueuedEvent::Delete(Deletion::by_others(ctrl)));
                }
            }
            What::Mounts(subsystem) => {
                if !self.fabric.in_use.remove(&subsystem) {
                    self.fabric.in_use.insert(subsystem);
                }
            }
            What::Exports(target, subsystem) => {
                let on = !self.is_exported(target, subsystem);
                self.export(target, subsystem, on);
            }
            What::Storm(target, subsystem, times, apart) => {
                let mut wait = Duration::ZERO;
                for _ in 0..times {
                    self.after(wait, QueuedEvent::Export(target, subsystem, false));
                    self.after(wait + apart, QueuedEvent::Export(target, subsystem, true));
                    wait += apart * 2;
                }
            }
            What::Zones(target, entry) => self.zone(target, entry),
            What::ListsNothing(target, time) => self.list_nothing(target, time),
            What::DamagesEntry(target, of, defect, time) => self.damage_entry(target, of, defect, time),
            What::Refers(target, other) => self.refer(target, other),
            What::ReplacesHostId(id) => self.identity = Arc::new(host_identity(id, self.keys.host)),
            What::ChangesKeys { key, host_first, apart } => self.change_keys(key, host_first, apart),
            What::Fails(target, how, time) => self.fail(target, how, time),
            What::DropsConnections(target) => self.drop_connections(target),
            What::MdnsAction(action) => self.mdns_action(action),
            What::MovesName(name, target) => {
                if let Some(leads) = self.fabric.names.get_mut(name) {
                    *leads = target;
                }
            }
            What::RoutesChange => {
                self.route = if self.route == Iface::Eth0 { Iface::Eth1 } else { Iface::Eth0 };
                self.oracle.unbound_is_apart = true;
                self.perform(What::RouteAdded);
            }
            What::RouteAdded => {
                for daemon in Daemon::BOTH {
                    let wait = self.streams.latency("route");
                    self.send(daemon, wait, Incoming::Host(HostEvent::RouteAdded));
                }
            }
            What::Fault(fault, time) => {
                *self.faults.entry(fault).or_default() += 1;
                self.after(time, QueuedEvent::FaultEnds(fault));
            }
        }
    }

    pub(crate) fn fault_ends(&mut self, fault: Fault) {
        if let Some(times) = self.faults.get_mut(&fault) {
            *times -= 1;
            if *times > 0 {
                return;
            }
        }
        self.faults.remove(&fault);
        if matches!(fault, Fault::SnapshotsFail(Daemon::Stafd) | Fault::SnapshotsSlow(Daemon::Stafd)) {
            let now = self.time();
            self.oracle.excused_until = self.oracle.excused_until.max(now);
            self.oracle.announced.snapshots_work(now);
        }
        trace!(self, "the fault has ended: {fault}");
    }

    /// The daemon reads its file when it is no longer frozen.
    pub(crate) fn reload_soon(&mut self, daemon: Daemon) {
        let frozen = match daemon {
            Daemon::Stafd => self.staf.frozen_until,
            Daemon::Stacd => self.stac.frozen_until,
        };
        if frozen > self.now {
            self.at(frozen, QueuedEvent::Action(What::Reloads(daemon)));
        } else {
            self.reload(daemon);
        }
    }

    fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Dc(dc) => toggle(&mut self.staf_file.controllers, dc),
            Edit::ExcludeDc(target) => toggle(&mut self.staf_file.excluded, target),
            Edit::GarbleStaf => self.staf_file.garbled = !self.staf_file.garbled,
            Edit::Zeroconf => self.staf_file.zeroconf = !self.staf_file.zeroconf,
            Edit::Persistence(persistence) => self.staf_file.persistence = persistence,
            Edit::Controller(target, subsystem, via) => {
                toggle(&mut self.stac_file.controllers, (target, subsystem, via));
            }
            Edit::Exclude(excluded) => toggle(&mut self.stac_file.excluded, excluded),
            Edit::GarbleStac => self.stac_file.garbled = !self.stac_file.garbled,
            Edit::Scope(scope) => self.stac_file.scope = scope,
            Edit::InUse(in_use) => self.stac_file.in_use = in_use,
            Edit::ExcludeIface(daemon, iface) => {
                self.oracle.unbound_is_apart = true;
                match daemon {
                    Daemon::Stafd => toggle(&mut self.staf_file.excluded_ifaces, iface),
                    Daemon::Stacd => toggle(&mut self.stac_file.excluded_ifaces, iface),
                }
            }
            Edit::Family(Daemon::Stafd) => self.staf_file.other_family = !self.staf_file.other_family,
            Edit::Family(Daemon::Stacd) => self.stac_file.other_family = !self.stac_file.other_family,
            Edit::IgnoreIface => self.stac_file.ignore_iface = !self.stac_file.ignore_iface,
            Edit::Trtypes => self.stac_file.other_trtypes = !self.stac_file.other_trtypes,
            Edit::Parameters(Daemon::Stafd) => self.staf_file.refused_parameter = !self.staf_file.refused_parameter,
            Edit::Parameters(Daemon::Stacd) => self.stac_file.refused_parameter = !self.stac_file.refused_parameter,
        }
    }

    /// Only the clock advances. Connections are lost in a long suspend.
    fn suspend(&mut self, time: Duration) {
        self.sleep(time);
        // A frozen stafd notices nothing until it goes on.
        let resumed = self.time() + self.staf.frozen_until.saturating_sub(self.now);
        self.oracle.excused_until = self.oracle.excused_until.max(resumed);
        self.oracle.announced.resumed(resumed);
        if time > DEEP_SLEEP {
            let all: Vec<_> = self.kernel.controllers.iter().map(|known| (known.shown.ctrl, known.epoch)).collect();
            for (ctrl, epoch) in all {
                let wait = self.streams.stream("wake").ms(0, 300);
                self.after(wait, QueuedEvent::GoesDown(ctrl, epoch));
            }
        }
    }
}

fn toggle<T: Ord>(set: &mut std::collections::BTreeSet<T>, what: T) {
    if !set.remove(&what) {
        set.insert(what);
    }
}
