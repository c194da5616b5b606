//! I/O controllers that the firmware or the initramfs connected, by the boot tables (NBFT). This host may run from
//! them, so they are never disconnected.
//!
//! If a log page or the configuration lists such a controller too, it is a normal member, except that its removal is
//! refused. Otherwise it is no member: it is shown and left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use libstas::core::fleet::{MemberView, Status};
use libstas::core::member::RemovalPolicy;
use libstas::core::{CtrlRef, CtrlState, HostEffect, KernelController};
use libstas::nvme::Tid;
use libstas::nvme::nbft::BootTables;

use super::{Connector, Context, IocView, Origin};

/// What the boot tables list.
#[derive(Clone, Debug, Default)]
pub(super) struct NbftIocs {
    tables: Arc<BootTables>,
    /// Every controller that a table has listed since boot, with its record. Tables do not change after boot: a
    /// controller that is missing now belongs to a table that could not be read.
    listed: BTreeMap<Tid, String>,
    /// The kernel's controllers that a boot table lists, as of the newest snapshot.
    connected: Vec<(CtrlRef, Tid, String)>,
}

impl NbftIocs {
    /// Replaces the tables.
    pub(super) fn set(&mut self, tables: Arc<BootTables>) {
        self.tables = tables;
    }

    /// Restores the controllers that the tables listed before this run.
    pub(super) fn restore(&mut self, listed: BTreeMap<Tid, String>) {
        self.listed = listed;
    }

    /// The controllers that the tables have listed, with their records.
    pub(super) fn listed(&self) -> &BTreeMap<Tid, String> {
        &self.listed
    }

    /// The record that lists an I/O controller, now or earlier.
    pub(super) fn record_of(&self, tid: &Tid) -> Option<String> {
        self.tables.record_of(tid).or_else(|| self.recorded_earlier(tid).cloned())
    }

    /// The record that listed an I/O controller earlier. A record applies to every interface of this host.
    fn recorded_earlier(&self, tid: &Tid) -> Option<&String> {
        let exact = self.listed.get(tid);
        exact.or_else(|| self.listed.iter().find(|(listed, _)| is_same_portal(listed, tid)).map(|(_, record)| record))
    }

    /// The removal policy of a controller: `how`, unless a record lists it.
    pub(super) fn policy_for(&self, how: RemovalPolicy, tid: &Tid) -> RemovalPolicy {
        if self.record_of(tid).is_some() { RemovalPolicy::KeepForBoot } else { how }
    }

    /// Finds the connections and members that the tables list. Returns true if one of them is new.
    fn snapshot<'a>(
        &mut self,
        controllers: impl Iterator<Item = &'a KernelController>,
        members: impl Iterator<Item = &'a Tid>,
    ) -> bool {
        let iocs = controllers.filter(|kernel| !kernel.is_discovery());
        let connected = iocs.filter_map(|kernel| {
            let tid = kernel.tid();
            let record = self.record_of(&tid)?;
            Some((kernel.ctrl, tid, record))
        });
        self.connected = connected.collect();
        let members = members.filter_map(|tid| Some((tid.clone(), self.tables.record_of(tid)?)));
        let seen: Vec<_> =
            self.connected.iter().map(|(_, tid, record)| (tid.clone(), record.clone())).chain(members).collect();
        let before = self.listed.len();
        self.listed.extend(seen);
        self.listed.len() > before
    }
}

/// True for two TIDs of the same subsystem port. They may differ in the interface. If only one of them has a host NQN,
/// that may be the host NQN of the other.
fn is_same_portal(one: &Tid, other: &Tid) -> bool {
    let is_same_host = one.host_nqn == other.host_nqn || one.host_nqn.is_empty() || other.host_nqn.is_empty();
    is_same_host
        && one.transport() == other.transport()
        && one.traddr == other.traddr
        && one.trsvcid == other.trsvcid
        && one.subsysnqn == other.subsysnqn
}

impl Connector {
    /// Finds the kernel's connections that the boot tables list.
    pub(super) fn look_for_boot_connections(&mut self, ctx: &mut Context<'_>) {
        if self.nbft.snapshot(self.reconciler.fleet.inventory().iter(), self.reconciler.fleet.tids()) {
            ctx.host(HostEffect::Save);
        }
    }

    /// The connections that a boot table lists and that no member uses.
    pub(super) fn boot_connections(&self) -> Vec<IocView<'_>> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let strangers = self.nbft.connected.iter().filter(|(ctrl, ..)| self.reconciler.fleet.holders(*ctrl).is_empty());
        let views = strangers.filter_map(|(ctrl, tid, record)| {
            let kernel = self.reconciler.fleet.inventory().get(*ctrl)?;
            let (status, reason) = match kernel.state {
                CtrlState::Live => (Status::Connected, None),
                CtrlState::Deleting | CtrlState::Dead => (Status::Removing, None),
                _ => (Status::Reconnecting, Some("the kernel is reconnecting it".to_owned())),
            };
            let member = MemberView {
                kernel: Some(kernel),
                ownership: Some(self.reconciler.fleet.ownership(*ctrl)),
                reason,
                ..MemberView::outside(tid, status, &settings.conf.parameters)
            };
            Some(IocView {
                member,
                dlpe: None,
                kept_by_configuration: None,
                origin: Origin::Nbft,
                boot_record: Some(record.clone()),
            })
        });
        views.collect()
    }
}
