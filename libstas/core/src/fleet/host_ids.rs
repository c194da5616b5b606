//! The host ID used for new connections.
//!
//! Since 6.5 the kernel requires host NQNs and host IDs to map one to one. It refuses a connect (EINVAL) in two cases:
//!
//! - A connection has the same host NQN with another host ID, for example because /etc/nvme/hostid was lost and
//!   recreated, or because the initramfs connected with another one. Then new connections use the kernel's host ID
//!   until no connection has it.
//! - A connection has the same host ID with another host NQN, for example because /etc/nvme/hostnqn was changed, or
//!   because the initramfs connected with the firmware's host NQN. Then new connections use the next of
//!   [`host_ids_for`]. But earlier kernels accept the configured one, and storage may be reserved for it. So this
//!   applies only after a connect was refused.
//!
//! The first case has priority. So once there is a connection with the next host ID, that one is used until no
//! connection has it, even if the first host ID is free again in the meantime.

use std::sync::Arc;

use uuid::Uuid;

use super::Fleet;
use crate::context::Context;
use crate::effect::{ConnectOutcome, Level, LogRecord};
use crate::kernel::KernelController;
use stas_nvme::connect::host_ids_for;
use stas_nvme::{HostIdentity, Tid};

/// The errno of a refused connect.
const EINVAL: i32 = 22;

impl Fleet {
    /// The identity for connecting a controller: the host's own, with the host ID that the kernel accepts for the host
    /// NQN.
    pub(super) fn identity_for(&self, tid: &Tid) -> Option<Arc<HostIdentity>> {
        let identity = self.identity.as_ref()?;
        let host_nqn = identity.nqn_for(tid);
        Some(match self.other_host_id(identity, host_nqn) {
            Some(other) => Arc::new(HostIdentity {
                kernel_id: Some((host_nqn.to_owned(), other)),
                ..HostIdentity::clone(identity)
            }),
            None => Arc::clone(identity),
        })
    }

    /// True for the present identity, whatever host IDs the kernel has.
    pub(super) fn is_identity(&self, identity: &HostIdentity) -> bool {
        let configured = HostIdentity { kernel_id: None, ..identity.clone() };
        self.identity.as_deref() == Some(&configured)
    }

    /// The host ID for new connections with a host NQN, if it is not the configured one: that of the oldest connection
    /// with this NQN; without any, the first that no other NQN has.
    fn other_host_id(&self, identity: &HostIdentity, host_nqn: &str) -> Option<Uuid> {
        let possible = host_ids_for(host_nqn, identity);
        let meant = possible.first()?;
        let mut with_nqn: Vec<_> = self.inventory.iter().filter(|ctrl| ctrl.hostnqn == host_nqn).collect();
        with_nqn.sort_by_key(|ctrl| ctrl.ctrl.inode);
        let ids: Vec<Uuid> = with_nqn.iter().filter_map(|ctrl| host_id_of(ctrl)).collect();
        if ids.contains(meant) {
            return None;
        }
        let is_usable = |id: Uuid| !self.refuses_shared_host_ids || self.holder_of(id, host_nqn).is_none();
        let free = || possible.iter().find(|id| is_usable(**id));
        ids.first().or_else(free).filter(|id| *id != meant).copied()
    }

    /// Notes that the kernel has refused a connect because of its host ID. True if a retry uses another one.
    pub(super) fn note_refused_host_id(&mut self, tid: &Tid, outcome: &ConnectOutcome) -> bool {
        let ConnectOutcome::Failed(error) = outcome else { return false };
        let Some(identity) = self.identity.as_ref().filter(|_| error.errno() == Some(EINVAL)) else { return false };
        let host_nqn = identity.nqn_for(tid);
        let meant = host_ids_for(host_nqn, identity).first().copied();
        let is_shared = meant.is_some_and(|meant| self.holder_of(meant, host_nqn).is_some());
        is_shared && !std::mem::replace(&mut self.refuses_shared_host_ids, true)
    }

    /// The oldest connection that has a host ID with another host NQN than this one.
    fn holder_of(&self, id: Uuid, host_nqn: &str) -> Option<&KernelController> {
        let others = self.inventory.iter().filter(|ctrl| !ctrl.hostnqn.is_empty() && ctrl.hostnqn != host_nqn);
        others.filter(|ctrl| host_id_of(ctrl) == Some(id)).min_by_key(|ctrl| ctrl.ctrl.inode)
    }

    /// Reports once that new connections have another host ID than the configured one, and once that this is over.
    pub(super) fn compare_host_ids(&mut self, ctx: &mut Context<'_>) {
        let Some(identity) = &self.identity else { return };
        let (nqn, id) = (&identity.nqn, &identity.id);
        let other = self.other_host_id(identity, nqn);
        if other == self.reported_host_id {
            return;
        }
        let possible = host_ids_for(nqn, identity);
        let holder = possible.first().and_then(|meant| self.holder_of(*meant, nqn));
        let (level, text) = match (other, holder) {
            (Some(other), Some(holder)) if possible.contains(&other) => (
                Level::Warning,
                format!(
                    "the configured host ID (/etc/nvme/hostid) {id} is in use with the host NQN {} ({}), and the kernel \
                     accepts only one host NQN for a host ID: new connections with this host's NQN {nqn} use the host \
                     ID {other} until no connection has it any more and the configured one is free. If the other NQN \
                     is meant to be this host's, write it to /etc/nvme/hostnqn, otherwise \
                     `echo {other} > /etc/nvme/hostid`; then `systemctl restart stafd stacd`",
                    holder.hostnqn, holder.ctrl
                ),
            ),
            (Some(other), _) => (
                Level::Warning,
                format!(
                    "the kernel's connections have the host ID {other} with the host NQN {nqn}, and the configured \
                     host ID (/etc/nvme/hostid) is {id}: the kernel accepts only one host ID for a host NQN, so new \
                     connections use {other} until no connection has it any more. If you did not want another host \
                     ID: `echo {other} > /etc/nvme/hostid`"
                ),
            ),
            (None, _) => (
                Level::Info,
                format!(
                    "no connection prevents the use of the configured host ID any more: new connections use the host \
                     ID {id} from now on"
                ),
            ),
        };
        self.reported_host_id = other;
        ctx.log(LogRecord { level, tid: None, ctrl: None, text });
    }
}

/// The host ID of a connection; `None` if it is unknown.
fn host_id_of(ctrl: &KernelController) -> Option<Uuid> {
    Uuid::try_parse(&ctrl.hostid).ok().filter(|id| !id.is_nil())
}
