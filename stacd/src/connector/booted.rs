//! The I/O controllers that the firmware or the initramfs connected, by the boot tables (NBFT): this host may run from
//! them, so none is ever disconnected, whatever anybody says.
//!
//! A log page or the configuration may name such a controller too; then it is a member like any other, but for the
//! way in which it is parted with. If nobody names it, it is no member: it is shown, and otherwise left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use libstas::core::controller::Parting;
use libstas::core::fleet::{MemberView, Status};
use libstas::core::{CtrlRef, CtrlState, HostEffect, KernelController};
use libstas::nvme::Tid;
use libstas::nvme::nbft::BootTables;

use super::{Connector, Effect, IocView, Origin};

/// What is known of the boot tables.
#[derive(Debug, Default)]
pub(super) struct Booted {
    tables: Arc<BootTables>,
    /// Whom the tables have named since the host was booted, with the records. The firmware speaks once, before the
    /// system starts: what is no longer there was not taken back, its table could not be read.
    named: BTreeMap<Tid, String>,
    /// The kernel's controllers that a boot table names, as of the newest look.
    connected: Vec<(CtrlRef, Tid, String)>,
}

impl Booted {
    /// Takes what the tables say now.
    pub(super) fn set(&mut self, tables: Arc<BootTables>) {
        self.tables = tables;
    }

    /// Takes back whom the tables named before this run.
    pub(super) fn restore(&mut self, named: BTreeMap<Tid, String>) {
        self.named = named;
    }

    /// Whom the tables have named.
    pub(super) fn named(&self) -> &BTreeMap<Tid, String> {
        &self.named
    }

    /// The record that names that I/O controller, or has named it.
    pub(super) fn record_of(&self, tid: &Tid) -> Option<String> {
        self.tables.record_of(tid).or_else(|| self.named.get(tid).cloned())
    }

    /// How it is parted with: not at all, if a record names it.
    pub(super) fn instead(&self, how: Parting, tid: &Tid) -> Parting {
        if self.record_of(tid).is_some() { Parting::KeepForBoot } else { how }
    }

    /// Looks whom of these the tables name: connections of the kernel, and members. True when there is a new one.
    fn look<'a>(
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
        let before = self.named.len();
        self.named.extend(seen);
        self.named.len() > before
    }
}

impl Connector {
    /// Finds those that the kernel has now.
    pub(super) fn look_for_boot_connections(&mut self, out: &mut Vec<Effect>) {
        if self.booted.look(self.reconciler.fleet.inventory().iter(), self.reconciler.fleet.tids()) {
            out.push(Effect::Host(HostEffect::Save));
        }
    }

    /// Those of them that are no members.
    pub(super) fn boot_connections(&self) -> Vec<IocView<'_>> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let strangers =
            self.booted.connected.iter().filter(|(ctrl, ..)| self.reconciler.fleet.holders(*ctrl).is_empty());
        let views = strangers.filter_map(|(ctrl, tid, record)| {
            let kernel = self.reconciler.fleet.inventory().get(*ctrl)?;
            let (status, reason) = match kernel.state {
                CtrlState::Live => (Status::Connected, None),
                CtrlState::Deleting | CtrlState::Dead => (Status::Leaving, None),
                _ => (Status::Reconnecting, Some("the kernel tries to get the connection back")),
            };
            let member = MemberView {
                tid,
                status,
                kernel: Some(kernel),
                reason,
                next_attempt: None,
                attempts: 0,
                parameters: &settings.conf.parameters,
                pending: false,
                alias_of: None,
            };
            Some(IocView { member, dlpe: None, held: None, origin: Origin::Nbft, boot_record: Some(record.clone()) })
        });
        views.collect()
    }
}
