//! Checks the final state after the last fault.

use std::collections::BTreeSet;

use libstas::bus::contract::PageState;
use libstas::conf::DisconnectScope;
use libstas::core::CtrlRef;
use libstas::core::fleet::Status;
use libstas::core::trust::Trust;
use libstas::nvme::Tid;

use crate::checks::{may_serve, what};
use crate::files::{DcEntry, host_name};
use crate::invariants::Invariant;
use crate::kernel::{Origin, SimController};
use crate::mdns_actions::is_dead;
use crate::names::{Daemon, Iface, Subsystem, Target, Via, short};
use crate::world::World;

/// A violated invariant, with a description.
pub(crate) type Deviation = (Invariant, String);

/// A discovery controller, and the interface that its connection is bound to.
type Dc = (Target, Via);

impl World {
    /// The first deviation from the expected final state. Only called when no fault is active.
    pub(crate) fn deviation(&self) -> Option<Deviation> {
        let finder = self.staf.core.as_ref().ok_or_else(|| not_running(Daemon::Stafd));
        let connector = self.stac.core.as_ref().ok_or_else(|| not_running(Daemon::Stacd));
        if let Some(wrong) = finder.err() {
            return Some(wrong);
        }
        if let Some(wrong) = connector.err() {
            return Some(wrong);
        }
        if let Some(name) = self.name_that_moved() {
            return Some((Invariant::Converges, format!("stafd does not know the present address of {name}")));
        }
        let dcs = self.expected_dcs();
        let kept = self.kept_dcs();
        self.deviation_of_dcs(&dcs, &kept).or_else(|| self.deviation_of_iocs(&dcs, &kept))
    }

    /// A configured host name whose present target stafd does not know yet.
    fn name_that_moved(&self) -> Option<String> {
        let file = self.oracle.staf_file.as_ref()?;
        file.controllers.iter().find_map(|dc| match dc {
            DcEntry::Name(number) if self.oracle.resolved.get(number) != self.fabric.names.get(*number) => {
                Some(host_name(*number))
            }
            _ => None,
        })
    }

    fn excluded_dc(&self, target: Target, via: Via) -> bool {
        self.oracle.excludes(Daemon::Stafd, &target.dc(via))
    }

    /// The discovery controllers that must be connected: those that are configured, listed in the boot table or
    /// announced, and the targets of their referrals.
    fn expected_dcs(&self) -> BTreeSet<Dc> {
        let Some(file) = &self.oracle.staf_file else { return BTreeSet::new() };
        let configured = file.controllers.iter().filter_map(|dc| match dc {
            DcEntry::Address(target, via) => Some((*target, *via)),
            DcEntry::Name(number) => self.fabric.names.get(*number).map(|target| (*target, None)),
        });
        let received = self.mdns_net.all_receivable().into_iter().filter(|target| file.zeroconf && !is_dead(*target));
        let announced = received
            .flat_map(|target| self.mdns_net.receivable(target).into_iter().map(move |iface| (target, Some(iface))));
        let mut open: Vec<Dc> = configured.chain(announced).chain(self.plan.initial.boot.discovery.clone()).collect();
        let mut expected = BTreeSet::new();
        while let Some((target, via)) = open.pop() {
            if !self.excluded_dc(target, via) && expected.insert((target, via)) {
                open.extend(self.fabric.referred(target).into_iter().map(|other| (other, via)));
            }
        }
        expected
    }

    /// The discovery controllers that stafd has, for any reason.
    fn kept_dcs(&self) -> BTreeSet<Dc> {
        let dcs = self.staf.core.as_ref().map(stafd::finder::Finder::controllers).unwrap_or_default();
        let tids = dcs.iter().map(|dc| dc.member.tid);
        tids.filter_map(|tid| Some((Target::of(&tid.traddr)?, Iface::of(&tid.host_iface)))).collect()
    }

    fn deviation_of_dcs(&self, expected: &BTreeSet<Dc>, kept: &BTreeSet<Dc>) -> Option<Deviation> {
        let is_unheard = |target: Target| self.mdns_net.receivable(target).is_empty();
        // While a line cannot be read, it may mean what the saved state has.
        let garbled = self.oracle.staf_file.as_ref().is_some_and(|file| file.garbled);
        let may_have_answered = |target: Target| garbled || self.oracle.found_at_start.contains(&target);
        if let Some((dead, _)) =
            kept.iter().find(|(target, _)| is_dead(*target) && is_unheard(*target) && !may_have_answered(*target))
        {
            let text = format!("stafd keeps the DC of {dead}, which is no longer announced and never answered");
            return Some((Invariant::Ages, text));
        }
        for (target, via) in expected {
            let tid = target.dc(*via);
            let live = |known: &&SimController| {
                let serves = known.target == *target && known.subsystem.is_none() && known.may_use(*via);
                serves && known.is_live() && known.shown.kato != Some(0)
            };
            if self.kernel.controllers.iter().find(live).is_none() {
                return Some((Invariant::Converges, format!("{} is not connected", short(&tid))));
            }
            let view = self.staf.core.as_ref().and_then(|finder| finder.controller(&tid));
            if !view.is_some_and(|dc| dc.log_page_state == PageState::Fresh && dc.member.status == Status::Connected) {
                let text = format!("stafd does not show {} as connected with a fresh page", short(&tid));
                return Some((Invariant::Converges, text));
            }
        }
        let of_stafd = |known: &&SimController| known.subsystem.is_none() && is_made_by(known, Daemon::Stafd);
        let mut seen = BTreeSet::new();
        for known in self.kernel.controllers.iter().filter(of_stafd) {
            let (target, name) = (known.target, what(known.target, None));
            if !known.stranded && !seen.insert((target, self.path(known))) {
                return Some((Invariant::OneConnection, format!("{name} is connected twice")));
            }
            let is_expected = expected.iter().any(|(at, via)| *at == target && known.may_use(*via));
            if is_expected || self.oracle.lost_state.contains(&Daemon::Stafd) {
                continue;
            }
            let serves = may_serve(known);
            if self.is_left_alone(known) {
                continue;
            }
            if self.excluded_dc(target, known.via) {
                return Some((Invariant::Excluded, format!("{name} is excluded and connected")));
            }
            let referred = kept.iter().any(|(other, _)| self.fabric.referred(*other).contains(&target));
            let garbled = self.oracle.staf_file.as_ref().is_some_and(|file| file.garbled)
                && serves.iter().any(|tid| self.oracle.has_ever_listed(Daemon::Stafd, tid));
            let announced = serves.iter().any(|tid| self.is_kept_unannounced(tid));
            let aged = self.oracle.staf.listed_by_aged_out();
            let outlives = serves.iter().any(|tid| aged.contains(tid));
            if !referred && !garbled && !announced && !outlives && !self.is_stuck_in_a_move(target) {
                return Some((Invariant::Known, format!("{name} is connected, and no source wants it")));
            }
        }
        None
    }

    /// True for a controller that was announced: it is kept while it is connected.
    fn is_kept_unannounced(&self, dc: &Tid) -> bool {
        let view = self.staf.core.as_ref().and_then(|finder| finder.controller(dc));
        self.oracle.announced.ever(dc) && view.is_some_and(|view| view.announced.is_some())
    }

    /// True for the earlier target of a host name that leads to an excluded target now. The earlier address is dropped
    /// only when the new one is live.
    fn is_stuck_in_a_move(&self, target: Target) -> bool {
        let names = self.oracle.staf_file.iter().flat_map(|file| &file.controllers);
        let mut numbers = names.filter_map(|dc| match dc {
            DcEntry::Name(number) => Some(*number),
            DcEntry::Address(..) => None,
        });
        numbers.any(|number| {
            let now = self.fabric.names.get(number);
            now.is_some_and(|now| self.excluded_dc(*now, None)) && self.oracle.ever_resolved.contains(&(number, target))
        })
    }

    fn excluded_ioc(&self, target: Target, subsystem: Subsystem, via: Via) -> bool {
        self.oracle.excludes(Daemon::Stacd, &target.ioc(subsystem, via))
    }

    /// The I/O controllers that must be connected, if those discovery controllers are.
    fn expected_iocs(&self, dcs: &BTreeSet<Dc>) -> BTreeSet<(Target, Subsystem, Via)> {
        let listed = dcs.iter().flat_map(|(dc, via)| {
            self.fabric.listed(*dc).into_iter().map(|(target, subsystem)| (target, subsystem, *via))
        });
        let configured = self.oracle.stac_file.iter().flat_map(|file| file.controllers.iter().copied());
        let bound = |via| self.oracle.stac_file.as_ref().map_or(via, |file| file.bound(via));
        let all = listed.chain(configured).map(|(target, subsystem, via)| (target, subsystem, bound(via)));
        all.filter(|(target, subsystem, via)| !self.oracle.bars(Daemon::Stacd, &target.ioc(*subsystem, *via))).collect()
    }

    fn deviation_of_iocs(&self, dcs: &BTreeSet<Dc>, kept: &BTreeSet<Dc>) -> Option<Deviation> {
        let expected = self.expected_iocs(dcs);
        for (target, subsystem, via) in &expected {
            if !self.fabric.takes(*target, Some(*subsystem)) {
                continue;
            }
            let tid = target.ioc(*subsystem, *via);
            let live = |known: &&SimController| {
                let same = known.target == *target && known.subsystem == Some(*subsystem);
                same && known.may_use(*via) && known.is_live()
            };
            if self.kernel.controllers.iter().find(live).is_none() {
                return Some((Invariant::Converges, format!("{} is not connected", short(&tid))));
            }
            let view = self.stac.core.as_ref().and_then(|connector| connector.controller(&tid));
            if !view.is_some_and(|ioc| ioc.member.status == Status::Connected) {
                return Some((Invariant::Converges, format!("stacd does not show {} as connected", short(&tid))));
            }
        }
        let is_of = |iocs: &BTreeSet<(Target, Subsystem, Via)>, known: &SimController| {
            iocs.iter().any(|(target, subsystem, via)| {
                (*target, Some(*subsystem)) == (known.target, known.subsystem) && known.may_use(*via)
            })
        };
        let of_stacd = |known: &&SimController| known.subsystem.is_some() && is_made_by(known, Daemon::Stacd);
        let mut seen = BTreeSet::new();
        for known in self.kernel.controllers.iter().filter(of_stacd) {
            let Some(subsystem) = known.subsystem else { continue };
            let name = what(known.target, known.subsystem);
            let boots = self.plan.initial.boot.lists(known.target, known.subsystem);
            // It is kept because the boot table lists it or because the host runs from it, but not used.
            let is_last_to_system =
                self.carries_system(known) && self.other_paths(known.shown.ctrl, &self.untrusted_or_removed()) == 0;
            if (boots || is_last_to_system) && self.excluded_ioc(known.target, subsystem, known.via) {
                continue;
            }
            if !known.stranded && !seen.insert((known.target, subsystem, self.path(known))) {
                return Some((Invariant::OneConnection, format!("{name} is connected twice")));
            }
            if boots || !self.oracle.lost_state.is_empty() || is_of(&expected, known) {
                continue;
            }
            if self.is_left_alone(known) {
                continue;
            }
            if self.excluded_ioc(known.target, subsystem, known.via) {
                return Some((Invariant::Excluded, format!("{name} is excluded and connected")));
            }
            if !is_of(&self.expected_iocs(kept), known) && !self.may_stay(known) {
                return Some((Invariant::Known, format!("{name} is connected, and no source wants it")));
            }
        }
        None
    }

    /// The path that a connection takes. A connection that is not bound to an interface uses eth0. But while an
    /// exclusion matches the connection that is bound to eth0, an unbound one may be made in addition, and both are
    /// kept when the exclusion is removed.
    fn path(&self, known: &SimController) -> Via {
        if self.oracle.unbound_is_apart { known.via } else { Some(known.over) }
    }

    /// True for a connection that an exclusion does not match itself, for one that took another path after its
    /// controller was given to another connection, and for one that could be replaced while its interface was missing.
    /// Nothing is disconnected for such a reason.
    fn is_left_alone(&self, known: &SimController) -> bool {
        self.oracle.spared.contains(&known.shown.ctrl) || known.moved || known.stranded
    }

    /// The connections of stacd whose members all depend on mDNS alone or are being removed. They need not count as other
    /// paths to the storage of more trusted controllers.
    fn untrusted_or_removed(&self) -> Vec<CtrlRef> {
        let Some(connector) = &self.stac.core else { return Vec::new() };
        let iocs = connector.controllers();
        let held = |is_announced: bool| -> BTreeSet<CtrlRef> {
            let members = iocs.iter().map(|ioc| &ioc.member);
            let of_kind = members.filter(|member| member.trust.is_none_or(Trust::is_announced_only) == is_announced);
            of_kind.filter_map(|member| Some(self.unmask(member.kernel?.ctrl))).collect()
        };
        held(true).difference(&held(false)).copied().collect()
    }

    /// True if an I/O controller may be kept although no source lists it.
    fn may_stay(&self, known: &SimController) -> bool {
        let Some(file) = &self.oracle.stac_file else { return true };
        let serves = may_serve(known);
        let ctrl = known.shown.ctrl;
        let in_use = self.is_in_use(ctrl) && self.other_paths(ctrl, &self.untrusted_or_removed()) == 0;
        let garbled = file.garbled && serves.iter().any(|tid| self.oracle.has_ever_listed(Daemon::Stacd, tid));
        // stafd was killed before it could save its discovery controller, and does not know it.
        let shown: BTreeSet<_> = self
            .staf
            .core
            .as_ref()
            .map(|finder| finder.controllers().into_iter().map(|dc| dc.member.tid.clone()).collect())
            .unwrap_or_default();
        let claimants: BTreeSet<_> =
            serves.iter().flat_map(|tid| self.oracle.stac.unproved_by(tid, self.time())).collect();
        let orphaned = !claimants.is_empty() && claimants.is_disjoint(&shown);
        // A discovery controller that ages out removes only controllers that are not live.
        let aged = self.oracle.stac.listed_by_aged_out();
        let outlives = serves.iter().any(|tid| aged.contains(tid));
        in_use || garbled || orphaned || outlives || file.scope == DisconnectScope::Nothing
    }
}

/// True if a daemon connected it and it was live at any time. An attempt under way does not count.
fn is_made_by(known: &SimController, daemon: Daemon) -> bool {
    known.origin == Origin::Daemon(daemon) && known.epoch > 0
}

fn not_running(daemon: Daemon) -> Deviation {
    (Invariant::Converges, format!("{daemon} is not running"))
}
