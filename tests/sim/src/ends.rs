//! After the faults: is everything as it should be?

use std::collections::BTreeSet;

use libstas::conf::DisconnectScope;
use libstas::core::fleet::Status;

use crate::files::{Portal, host_name};
use crate::invariants::Invariant;
use crate::judging::{served, what};
use crate::kernel::{Controller, Maker};
use crate::names::{Subsystem, Target, Who};
use crate::world::World;

/// What is not as it should be.
pub(crate) type Wrong = (Invariant, String);

impl World {
    /// What is not yet, or no longer, as it should be. It is only asked when no fault is at work.
    pub(crate) fn unsettled(&self) -> Option<Wrong> {
        let finder = self.staf.core.as_ref().ok_or_else(|| not_running(Who::Stafd));
        let connector = self.stac.core.as_ref().ok_or_else(|| not_running(Who::Stacd));
        if let Some(wrong) = finder.err() {
            return Some(wrong);
        }
        if let Some(wrong) = connector.err() {
            return Some(wrong);
        }
        if let Some(name) = self.name_that_moved() {
            return Some((Invariant::Converges, format!("stafd does not know where {name} leads to")));
        }
        let dcs = self.meant_dcs();
        let kept = self.kept_dcs();
        self.wrong_dcs(&dcs, &kept).or_else(|| self.wrong_iocs(&dcs, &kept))
    }

    /// A configured name of which stafd does not know where it leads by now.
    fn name_that_moved(&self) -> Option<String> {
        let file = self.judge.staf_file.as_ref()?;
        file.controllers.iter().find_map(|portal| match portal {
            Portal::Name(number) if self.judge.resolved.get(number) != self.fabric.names.get(*number) => {
                Some(host_name(*number))
            }
            _ => None,
        })
    }

    fn excluded_dc(&self, target: Target) -> bool {
        self.judge.staf_file.as_ref().is_some_and(|file| file.excluded.contains(&target))
    }

    /// The targets whose discovery controllers are meant: the configured ones, and whom they refer to.
    fn meant_dcs(&self) -> BTreeSet<Target> {
        let Some(file) = &self.judge.staf_file else { return BTreeSet::new() };
        let mut open: Vec<Target> = file
            .controllers
            .iter()
            .filter_map(|portal| match portal {
                Portal::Address(target, _) => Some(*target),
                Portal::Name(number) => self.fabric.names.get(*number).copied(),
            })
            .collect();
        let mut meant = BTreeSet::new();
        while let Some(target) = open.pop() {
            if !self.excluded_dc(target) && meant.insert(target) {
                open.extend(self.fabric.referred(target));
            }
        }
        meant
    }

    /// The targets whose discovery controllers stafd keeps, for whatever reason.
    fn kept_dcs(&self) -> BTreeSet<Target> {
        let dcs = self.staf.core.as_ref().map(stafd::finder::Finder::controllers).unwrap_or_default();
        dcs.iter().filter_map(|dc| Target::of(&dc.member.tid.traddr)).collect()
    }

    fn wrong_dcs(&self, meant: &BTreeSet<Target>, kept: &BTreeSet<Target>) -> Option<Wrong> {
        for target in meant {
            let live = |known: &&Controller| {
                known.target == *target && known.subsystem.is_none() && known.is_live() && known.shown.kato != Some(0)
            };
            if self.kernel.controllers.iter().find(live).is_none() {
                return Some((Invariant::Converges, format!("{} is not connected", what(*target, None))));
            }
            let shown = [false, true].into_iter().any(|by_iface| {
                let view = self.staf.core.as_ref().and_then(|finder| finder.controller(&target.dc(by_iface)));
                view.is_some_and(|dc| dc.log_page_state == "fresh" && dc.member.status == Status::Connected)
            });
            if !shown {
                let text = format!("stafd does not show {} as connected with a fresh page", what(*target, None));
                return Some((Invariant::Converges, text));
            }
        }
        let of_stafd = |known: &&Controller| known.subsystem.is_none() && is_made_by(known, Who::Stafd);
        let mut seen = BTreeSet::new();
        for known in self.kernel.controllers.iter().filter(of_stafd) {
            let (target, name) = (known.target, what(known.target, None));
            if !seen.insert(target) {
                return Some((Invariant::OneConnection, format!("{name} is connected twice")));
            }
            if self.judge.lost_state.contains(&Who::Stafd) || meant.contains(&target) {
                continue;
            }
            if self.excluded_dc(target) {
                return Some((Invariant::Excluded, format!("{name} is excluded and connected")));
            }
            let referred = kept.iter().any(|other| self.fabric.referred(*other).contains(&target));
            let garbled = self.judge.staf_file.as_ref().is_some_and(|file| file.garbled)
                && served(known).iter().any(|tid| self.judge.ever_named(Who::Stafd, tid));
            if !referred && !garbled && !self.is_stuck_in_a_move(target) {
                return Some((Invariant::Known, format!("{name} is connected, and nobody wants it")));
            }
        }
        None
    }

    /// A host name led there, and leads to what is excluded now: the old address goes when the new one is live.
    fn is_stuck_in_a_move(&self, target: Target) -> bool {
        let names = self.judge.staf_file.iter().flat_map(|file| &file.controllers);
        let mut numbers = names.filter_map(|portal| match portal {
            Portal::Name(number) => Some(*number),
            Portal::Address(..) => None,
        });
        numbers.any(|number| {
            let now = self.fabric.names.get(number);
            now.is_some_and(|now| self.excluded_dc(*now)) && self.judge.ever_resolved.contains(&(number, target))
        })
    }

    fn excluded_ioc(&self, target: Target, subsystem: Subsystem) -> bool {
        self.judge.excludes(Who::Stacd, &target.ioc(subsystem, false))
    }

    /// The I/O controllers that are meant, if those discovery controllers are.
    fn meant_iocs(&self, dcs: &BTreeSet<Target>) -> BTreeSet<(Target, Subsystem)> {
        let listed = dcs.iter().flat_map(|dc| self.fabric.listed(*dc));
        let file = self.judge.stac_file.iter().flat_map(|file| &file.controllers);
        let configured = file.map(|(target, subsystem, _)| (*target, *subsystem));
        listed.chain(configured).filter(|(target, subsystem)| !self.excluded_ioc(*target, *subsystem)).collect()
    }

    fn wrong_iocs(&self, dcs: &BTreeSet<Target>, kept: &BTreeSet<Target>) -> Option<Wrong> {
        let meant = self.meant_iocs(dcs);
        for (target, subsystem) in &meant {
            if !self.fabric.takes(*target, Some(*subsystem)) {
                continue;
            }
            let name = what(*target, Some(*subsystem));
            let live =
                |known: &&Controller| known.target == *target && known.subsystem == Some(*subsystem) && known.is_live();
            if self.kernel.controllers.iter().find(live).is_none() {
                return Some((Invariant::Converges, format!("{name} is not connected")));
            }
            let shown = [false, true].into_iter().any(|by_iface| {
                let tid = target.ioc(*subsystem, by_iface);
                let view = self.stac.core.as_ref().and_then(|connector| connector.controller(&tid));
                view.is_some_and(|ioc| ioc.member.status == Status::Connected)
            });
            if !shown {
                return Some((Invariant::Converges, format!("stacd does not show {name} as connected")));
            }
        }
        let kept = self.meant_iocs(kept);
        let of_stacd = |known: &&Controller| known.subsystem.is_some() && is_made_by(known, Who::Stacd);
        let mut seen = BTreeSet::new();
        for known in self.kernel.controllers.iter().filter(of_stacd) {
            let Some(subsystem) = known.subsystem else { continue };
            let place = (known.target, subsystem);
            let name = what(known.target, known.subsystem);
            if !seen.insert(place) {
                return Some((Invariant::OneConnection, format!("{name} is connected twice")));
            }
            if !self.judge.lost_state.is_empty() || meant.contains(&place) {
                continue;
            }
            if self.excluded_ioc(known.target, subsystem) {
                return Some((Invariant::Excluded, format!("{name} is excluded and connected")));
            }
            if !kept.contains(&place) && !self.may_stay(known) {
                return Some((Invariant::Known, format!("{name} is connected, and nobody wants it")));
            }
        }
        None
    }

    /// Reasons for an I/O controller to stay that nobody wants.
    fn may_stay(&self, known: &Controller) -> bool {
        let Some(file) = &self.judge.stac_file else { return true };
        let serves = served(known);
        let ctrl = known.shown.ctrl;
        let in_use = self.is_in_use(ctrl) && self.other_paths(ctrl, &[]) == 0;
        let garbled = file.garbled && serves.iter().any(|tid| self.judge.ever_named(Who::Stacd, tid));
        // Its discovery controller is one that stafd does not know: stafd was killed before it could save that.
        let shown: BTreeSet<_> = self
            .staf
            .core
            .as_ref()
            .map(|finder| finder.controllers().into_iter().map(|dc| dc.member.tid.clone()).collect())
            .unwrap_or_default();
        let claimants: BTreeSet<_> =
            serves.iter().flat_map(|tid| self.judge.stac.unproved_by(tid, self.time())).collect();
        let orphaned = !claimants.is_empty() && claimants.is_disjoint(&shown);
        in_use || garbled || orphaned || file.scope == DisconnectScope::Nothing
    }
}

/// A daemon had it made, and it was live at some time: an attempt that is under way is not meant.
fn is_made_by(known: &Controller, who: Who) -> bool {
    known.maker == Maker::Daemon(who) && known.turn > 0
}

fn not_running(who: Who) -> Wrong {
    (Invariant::Converges, format!("{who} does not run"))
}
