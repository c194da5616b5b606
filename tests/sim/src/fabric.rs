//! The targets: their exports, their log pages, and their state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::core::Dctype;
use libstas::nvme::log_page::{Entry, LogPage, Malformed, Subtype, TrType};

use crate::names::{Subsystem, Target, entry};
use crate::plan::{Defect, EntryOf, InitialWorld, Outage};
use crate::world::{QueuedEvent, World, trace};

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetState {
    /// It answers normally.
    Answering,
    /// It refuses connections.
    Refusing,
    /// Packets to it are lost.
    Unreachable,
    /// It accepts TCP connections and sends nothing.
    Mute,
}

/// The state of one target.
#[derive(Clone, Debug)]
pub(crate) struct SimTarget {
    state: TargetState,
    /// Counts the changes of its state.
    epoch: u64,
    /// The subsystems that it exports now.
    exports: BTreeSet<Subsystem>,
    /// The subsystems that its operator has configured.
    meant: BTreeSet<Subsystem>,
    zoned: BTreeSet<(Target, Subsystem)>,
    refers: BTreeSet<Target>,
    lists_nothing: bool,
    /// What its log page lists with a wrong entry, and the number of times that each became wrong.
    damaged: BTreeMap<EntryOf, (Defect, u32)>,
    genctr: u64,
    dctype: Dctype,
}

/// All targets, and the targets of the host names.
#[derive(Clone, Debug)]
pub(crate) struct Fabric {
    pub(crate) sites: Vec<SimTarget>,
    pub(crate) names: Vec<Target>,
    pub(crate) in_use: BTreeSet<Subsystem>,
    /// The subsystem from which the host runs while it is in use.
    pub(crate) system: Option<Subsystem>,
}

impl Fabric {
    pub(crate) fn new(initial: &InitialWorld) -> Self {
        let site = |site: &crate::plan::InitialTarget| SimTarget {
            state: TargetState::Answering,
            epoch: 0,
            exports: site.exports.clone(),
            meant: site.exports.clone(),
            zoned: site.zoned.clone(),
            refers: site.refers.clone(),
            lists_nothing: false,
            damaged: BTreeMap::new(),
            genctr: 1,
            dctype: site.dctype,
        };
        Self {
            sites: initial.targets.iter().map(site).collect(),
            names: initial.names.clone(),
            in_use: initial.in_use.clone(),
            system: initial.system,
        }
    }

    fn site(&self, target: Target) -> Option<&SimTarget> {
        self.sites.get(target.0)
    }

    pub(crate) fn state(&self, target: Target) -> TargetState {
        self.site(target).map_or(TargetState::Unreachable, |site| site.state)
    }

    pub(crate) fn dctype(&self, target: Target) -> Option<Dctype> {
        self.site(target).map(|site| site.dctype)
    }

    /// True if it accepts a connection to that subsystem, or, for `None`, to its discovery controller.
    pub(crate) fn takes(&self, target: Target, subsystem: Option<Subsystem>) -> bool {
        self.site(target).is_some_and(|site| {
            site.state == TargetState::Answering && subsystem.is_none_or(|subsystem| site.exports.contains(&subsystem))
        })
    }

    /// The subsystems on its log page, each with its target.
    pub(crate) fn listed(&self, target: Target) -> BTreeSet<(Target, Subsystem)> {
        let Some(site) = self.site(target).filter(|site| !site.lists_nothing) else { return BTreeSet::new() };
        let own = site.exports.iter().map(|subsystem| (target, *subsystem));
        own.chain(site.zoned.iter().copied()).collect()
    }

    /// The targets of the referrals on its log page.
    pub(crate) fn referred(&self, target: Target) -> BTreeSet<Target> {
        let site = self.site(target).filter(|site| !site.lists_nothing);
        site.map(|site| site.refers.clone()).unwrap_or_default()
    }

    /// The entries of its discovery log page, as it sends them.
    pub(crate) fn entries(&self, target: Target) -> Vec<Entry> {
        let with_defect = |mut entry: Entry, of: EntryOf| {
            match self.site(target).and_then(|site| site.damaged.get(&of)) {
                Some((Defect::Address(address), _)) => entry.traddr = (*address).into(),
                Some((Defect::Port(port), _)) => entry.trsvcid = (*port).into(),
                Some((Defect::Nqn(nqn), _)) => entry.subnqn = (*nqn).into(),
                Some((Defect::Subtype, _)) => entry.subtype = Subtype(7),
                Some((Defect::Trtype, _)) => entry.trtype = TrType(77),
                None => {}
            }
            entry
        };
        let iocs = self.listed(target).into_iter().filter_map(|(at, subsystem)| {
            let entry = entry(at, Some(subsystem))?;
            Some(if at == target { with_defect(entry, EntryOf::Subsystem(subsystem)) } else { entry })
        });
        let referrals = self
            .referred(target)
            .into_iter()
            .filter_map(|other| Some(with_defect(entry(other, None)?, EntryOf::Dc(other))));
        iocs.chain(referrals).collect()
    }

    /// Its discovery log page with these entries, as a host decodes it.
    pub(crate) fn page(&self, target: Target, sent: &[Entry]) -> LogPage {
        let genctr = self.site(target).map_or(0, |site| site.genctr);
        let mut page = LogPage { genctr, ..LogPage::default() };
        for (index, sent) in (0..).zip(sent) {
            let bytes = sent.encode();
            match Entry::parse(&bytes) {
                Ok(entry) => page.entries.push(entry),
                Err(reason) => page.dropped.push(Malformed::new(index, reason, &bytes)),
            }
        }
        page
    }
}

impl World {
    /// Marks the log page of a target as changed.
    fn page_changes(&mut self, target: Target) {
        if let Some(site) = self.fabric.sites.get_mut(target.0) {
            site.genctr += 1;
        }
        self.announce_change(target);
    }

    /// The operator of a target links or unlinks a subsystem.
    pub(crate) fn export(&mut self, target: Target, subsystem: Subsystem, on: bool) {
        let Some(site) = self.fabric.sites.get_mut(target.0) else { return };
        let changed = if on {
            site.meant.insert(subsystem);
            site.exports.insert(subsystem)
        } else {
            site.meant.remove(&subsystem);
            site.exports.remove(&subsystem)
        };
        if !changed {
            return;
        }
        trace!(self, "{target} {} {subsystem}", if on { "exports" } else { "no longer exports" });
        if !on {
            // The target drops the connections of the subsystem.
            let thrown: Vec<_> = self
                .kernel
                .controllers
                .iter()
                .filter(|known| known.target == target && known.subsystem == Some(subsystem))
                .map(|known| (known.shown.ctrl, known.epoch))
                .collect();
            for (ctrl, epoch) in thrown {
                let wait = self.streams.stream("thrown out").ms(0, 60);
                self.after(wait, QueuedEvent::GoesDown(ctrl, epoch));
            }
        }
        self.page_changes(target);
    }

    pub(crate) fn is_exported(&self, target: Target, subsystem: Subsystem) -> bool {
        self.fabric.site(target).is_some_and(|site| site.meant.contains(&subsystem))
    }

    pub(crate) fn zone(&mut self, target: Target, entry: (Target, Subsystem)) {
        let Some(site) = self.fabric.sites.get_mut(target.0) else { return };
        let on = !site.zoned.remove(&entry);
        if on {
            site.zoned.insert(entry);
        }
        self.page_changes(target);
    }

    pub(crate) fn refer(&mut self, target: Target, other: Target) {
        let Some(site) = self.fabric.sites.get_mut(target.0) else { return };
        if !site.refers.remove(&other) {
            site.refers.insert(other);
        }
        self.page_changes(target);
    }

    pub(crate) fn list_nothing(&mut self, target: Target, time: Duration) {
        if let Some(site) = self.fabric.sites.get_mut(target.0) {
            site.lists_nothing = true;
        }
        self.page_changes(target);
        self.after(time, QueuedEvent::ListsAgain(target));
    }

    pub(crate) fn lists_again(&mut self, target: Target) {
        if let Some(site) = self.fabric.sites.get_mut(target.0) {
            site.lists_nothing = false;
        }
        trace!(self, "the log page of {target} is complete again");
        self.page_changes(target);
    }

    /// Makes a log entry wrong in this way, for that time.
    pub(crate) fn damage_entry(&mut self, target: Target, of: EntryOf, defect: Defect, time: Duration) {
        if let Some(site) = self.fabric.sites.get_mut(target.0) {
            let (now, times) = site.damaged.entry(of).or_insert((defect, 0));
            (*now, *times) = (defect, *times + 1);
        }
        self.page_changes(target);
        self.after(time, QueuedEvent::RepairEntry(target, of));
    }

    pub(crate) fn repair_entry(&mut self, target: Target, of: EntryOf) {
        let Some(site) = self.fabric.sites.get_mut(target.0) else { return };
        let Some((_, times)) = site.damaged.get_mut(&of) else { return };
        *times -= 1;
        if *times == 0 {
            site.damaged.remove(&of);
            trace!(self, "the log entry of {of} at {target} is correct again");
            self.page_changes(target);
        }
    }

    /// Exports a subsystem after a reboot, if it is still configured.
    pub(crate) fn exports_after_reboot(&mut self, target: Target, subsystem: Subsystem) {
        if self.fabric.state(target) == TargetState::Answering && self.is_exported(target, subsystem) {
            self.export(target, subsystem, true);
        }
    }

    /// A target fails.
    pub(crate) fn fail(&mut self, target: Target, how: Outage, time: Duration) {
        let Some(site) = self.fabric.sites.get_mut(target.0) else { return };
        site.state = match how {
            Outage::Refuses | Outage::Reboots => TargetState::Refusing,
            Outage::Drops => TargetState::Unreachable,
            Outage::Mute => TargetState::Mute,
        };
        site.epoch += 1;
        if how == Outage::Reboots {
            site.exports.clear();
            site.genctr = 0;
        }
        let epoch = site.epoch;
        self.after(time, QueuedEvent::Recovers(target, epoch));
        match how {
            Outage::Refuses | Outage::Reboots => self.drop_connections(target),
            Outage::Drops | Outage::Mute => self.keep_alive_expires(target, time),
        }
    }

    /// Resets the connections of a target. The kernel notices this at once.
    pub(crate) fn drop_connections(&mut self, target: Target) {
        for (ctrl, epoch, _) in self.connections(target) {
            let wait = self.streams.stream("reset").ms(0, 50);
            self.after(wait, QueuedEvent::GoesDown(ctrl, epoch));
        }
    }

    /// A target no longer answers. The kernel notices this when the keep-alive expires, if the target is still silent.
    fn keep_alive_expires(&mut self, target: Target, silent_for: Duration) {
        for (ctrl, epoch, kato) in self.connections(target) {
            let wait = Duration::from_secs(u64::from(kato.max(5))) + self.streams.stream("keep-alive").ms(0, 5000);
            if wait < silent_for {
                self.after(wait, QueuedEvent::GoesDown(ctrl, epoch));
            }
        }
    }

    fn connections(&self, target: Target) -> Vec<(libstas::core::CtrlRef, u64, u32)> {
        let of_it = self.kernel.controllers.iter().filter(|known| known.target == target);
        of_it.map(|known| (known.shown.ctrl, known.epoch, known.shown.kato.unwrap_or(5))).collect()
    }

    /// A target recovers. After a reboot it exports its subsystems one by one.
    pub(crate) fn recovers(&mut self, target: Target, epoch: u64) {
        let Some(site) = self.fabric.sites.get_mut(target.0).filter(|site| site.epoch == epoch) else { return };
        site.state = TargetState::Answering;
        let missing: Vec<Subsystem> = site.meant.difference(&site.exports).copied().collect();
        trace!(self, "{target} is back");
        let mut wait = Duration::ZERO;
        for subsystem in missing {
            wait += self.streams.stream("one by one").ms(10, 1800);
            self.after(wait, QueuedEvent::ExportsAfterReboot(target, subsystem));
        }
        // Changes of the meantime are reported now to the connections that have survived.
        self.announce_change(target);
    }
}
