//! The discovery controllers of the firmware's boot tables (NBFT).
//!
//! A record identifies the interface by its hardware address. The interface may come up later than stafd or get another
//! name, and a bridge or a VLAN on it has the same address. So the record is kept, and the interface is determined
//! again after each change of the interfaces. If the result changes, the new interface is added first, and the old one
//! is dropped when the new one is live. An interface that is missing at the moment changes nothing.
//!
//! The firmware writes its tables once, before the system starts. A record that is missing now belongs to a table that
//! could not be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use libstas::core::configured::Configured;
use libstas::core::sources::SourceId;
use libstas::core::{HostEffect, Level, Links, LogRecord};
use libstas::nvme::announcement::is_link_local;
use libstas::nvme::nbft::{BootController, BootInterface, BootTables};
use libstas::nvme::security::Requirement;
use libstas::nvme::{DISCOVERY_NQN, Tid, TidParts};

use super::discovery_controller::DiscoveryController;
use super::{Context, Finder};

/// What the boot tables list.
#[derive(Clone, Debug, Default)]
pub(super) struct NbftDcs {
    controllers: Vec<BootController>,
    /// The names that the interface of a record has had; the last is the present one.
    interfaces: BTreeMap<BootController, Vec<String>>,
    /// The record of each listed discovery controller.
    records: BTreeMap<Tid, String>,
    /// The listed discovery controllers for which a record requires a secure channel.
    secured: BTreeSet<Tid>,
    /// Records whose interface is missing, as logged.
    missing: BTreeSet<BootController>,
}

/// The input for deriving controllers from records.
struct DerivationInput<'a> {
    links: &'a Links,
    host_nqn: &'a str,
    /// True if connections are bound to their interface.
    bind: bool,
    configured: &'a Configured,
    /// The known discovery controllers, including those of the saved state.
    known_dcs: &'a BTreeMap<Tid, DiscoveryController>,
}

impl NbftDcs {
    /// Restores the records of earlier runs.
    pub(super) fn restore(&mut self, controllers: Vec<BootController>) {
        self.controllers = controllers;
    }

    /// All records that the tables have had.
    pub(super) fn controllers(&self) -> &[BootController] {
        &self.controllers
    }

    /// Takes the present tables. Returns true if they list something new.
    fn set(&mut self, tables: &BootTables) -> bool {
        let mut now = tables.discovery_controllers();
        let vanished = self.controllers.iter().filter(|before| !now.contains(before)).cloned().collect::<Vec<_>>();
        now.extend(vanished);
        let news = now != self.controllers;
        self.controllers = now;
        news
    }

    /// The record that lists that discovery controller.
    pub(super) fn record_of(&self, tid: &Tid) -> Option<&str> {
        self.records.get(tid).map(String::as_str)
    }

    /// Restores the interfaces of earlier runs. They are used until the present interfaces are known.
    fn remember(&mut self, before: &BTreeSet<Tid>, host_nqn: &str) {
        for controller in self.controllers.iter().filter(|controller| controller.interface.is_some()) {
            let same =
                |tid: &&Tid| !tid.host_iface.is_empty() && **tid == tid_of(controller, host_nqn, &tid.host_iface);
            let names = before.iter().filter(same).map(|tid| tid.host_iface.clone());
            self.interfaces.entry(controller.clone()).or_default().extend(names);
        }
    }

    /// Determines the present interfaces. Returns the discovery controllers that result from them.
    fn derive(&mut self, input: &DerivationInput<'_>, live: impl Fn(&Tid) -> bool) -> BTreeSet<Tid> {
        let DerivationInput { links, host_nqn, bind, configured, known_dcs } = *input;
        self.records.clear();
        self.secured.clear();
        for controller in &self.controllers {
            let mut name = |iface: &str| {
                let tid = tid_of(controller, host_nqn, iface);
                if controller.requires_secure_channel {
                    self.secured.insert(tid.clone());
                }
                self.records.entry(tid).or_insert_with(|| controller.record.clone());
            };
            // A link-local address is only unique together with an interface.
            let bind = bind || is_link_local(controller.traddr);
            let Some(wanted) = controller.interface.as_ref().filter(|_| bind) else {
                // The interface on which it was found counts for exclusions, although the connection is not bound to
                // it. Before the interfaces are known, only controllers of earlier runs are listed.
                let tid = tid_of(controller, host_nqn, "");
                let found_on = controller.interface.as_ref().and_then(|wanted| find(wanted, links)).unwrap_or_default();
                let too_early = controller.interface.is_some() && links.0.is_empty() && !known_dcs.contains_key(&tid);
                if !too_early && !configured.excludes(&tid, found_on) {
                    name("");
                }
                continue;
            };
            let now = find(wanted, links);
            let known = self.interfaces.entry(controller.clone()).or_default();
            if links.0.is_empty() || (now.is_none() && known.is_empty()) {
                // While the interface is unknown, it may be that of any known controller.
                let may_mean =
                    |tid: &&Tid| !tid.host_iface.is_empty() && **tid == tid_of(controller, host_nqn, &tid.host_iface);
                known_dcs.keys().filter(may_mean).for_each(|tid| name(&tid.host_iface));
            }
            if let Some(now) = now {
                known.retain(|before| before != now);
                if live(&tid_of(controller, host_nqn, now)) {
                    known.clear();
                }
                known.push(now.to_owned());
            }
            known.iter().for_each(|iface| name(iface));
        }
        self.records.keys().cloned().collect()
    }

    /// True while the interface of a record is missing.
    pub(super) fn lacks_interfaces(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Records whose interface is missing, each returned once.
    fn newly_missing(&mut self) -> Vec<BootController> {
        let missing = |controller: &&BootController| self.interfaces.get(*controller).is_some_and(Vec::is_empty);
        let missing: BTreeSet<BootController> = self.controllers.iter().filter(missing).cloned().collect();
        let news = missing.difference(&self.missing).cloned().collect();
        self.missing = missing;
        news
    }
}

impl Finder {
    /// Takes the boot tables.
    pub(super) fn boot_tables(&mut self, ctx: &mut Context<'_>, tables: &Arc<BootTables>) {
        if self.nbft.set(tables) {
            ctx.host(HostEffect::Save);
        }
    }

    /// Restores the interfaces that boot tables had before this run.
    pub(super) fn remember_boot_interfaces(&mut self) {
        if let Some(settings) = &self.settings {
            self.nbft.remember(&std::mem::take(&mut self.was_booted), &settings.identity.nqn);
        }
    }

    /// Updates the source of the boot tables with the present interfaces. It counts as much as the configuration.
    pub(super) fn derive_booted(&mut self, ctx: &mut Context<'_>) {
        let Some(settings) = &self.settings else { return };
        let fleet = &self.reconciler.fleet;
        let input = DerivationInput {
            links: fleet.links(),
            host_nqn: &settings.identity.nqn,
            bind: !settings.conf.ignore_iface,
            configured: &self.reconciler.configured,
            known_dcs: &self.dcs,
        };
        let listed = self.nbft.derive(&input, |tid| fleet.is_live(tid));
        let parameters = &settings.conf.parameters;
        let secured = &self.nbft.secured;
        let demanded = |tid: &Tid| match secured.contains(tid) {
            true => parameters.clone().encrypted(Requirement::Firmware),
            false => parameters.clone(),
        };
        let listed = listed.into_iter().map(|tid| (tid.clone(), demanded(&tid))).collect();
        self.reconciler.sources.set_complete(SourceId::Boot, listed);
        if fleet.links().0.is_empty() {
            return;
        }
        for BootController { record, traddr, interface, .. } in self.nbft.newly_missing() {
            let mac = interface.map(|interface| interface.mac.to_string()).unwrap_or_default();
            let text = format!(
                "boot table ({record}): no interface has the address {mac}; the discovery controller at {traddr} is \
                 connected when such an interface appears"
            );
            ctx.log(LogRecord { level: Level::Warning, tid: None, ctrl: None, text });
        }
    }
}

fn tid_of(controller: &BootController, host_nqn: &str, iface: &str) -> Tid {
    Tid::new(TidParts {
        transport: controller.transport,
        traddr: controller.traddr.to_string(),
        trsvcid: controller.trsvcid.clone(),
        subsysnqn: controller.nqn.clone().unwrap_or_else(|| DISCOVERY_NQN.to_owned()),
        host_traddr: String::new(),
        host_iface: iface.to_owned(),
        host_nqn: controller.host_nqn.clone().unwrap_or_else(|| host_nqn.to_owned()),
    })
}

/// The interface with that hardware address. If several have it (a bridge, a VLAN, a bond and its ports): the one with
/// the address of the table, otherwise one with an address that is not link-local (a port of a bond or a VLAN's parent may
/// have a link-local one), otherwise one with any address, otherwise one that is up.
fn find<'a>(wanted: &BootInterface, links: &'a Links) -> Option<&'a str> {
    let candidates = links.0.iter().filter(|link| link.mac == wanted.mac.0);
    let best = candidates.min_by_key(|link| {
        let has_it = wanted.ip.is_some_and(|ip| link.addresses.contains(&ip));
        let has_any = link.addresses.iter().any(|address| !is_link_local(*address));
        (!has_it, !has_any, link.addresses.is_empty(), !link.up, link.index)
    });
    best.map(|link| link.name.as_str())
}
