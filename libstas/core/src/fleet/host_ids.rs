//! The host ID used for new connections.
//!
//! Since 6.5 the kernel requires host NQNs and host IDs to map one to one: while a connection uses this host's NQN with
//! another host ID than the configured one, every connect with the configured one fails (EINVAL). So new connections
//! use the kernel's host ID until no connection has it. The two differ when /etc/nvme/hostid was lost and recreated, or
//! when the initramfs connected with another one.

use std::sync::Arc;

use uuid::Uuid;

use super::Fleet;
use crate::context::Context;
use crate::effect::{Level, LogRecord};
use stas_nvme::connect::host_id_for;
use stas_nvme::{HostIdentity, Tid};

impl Fleet {
    /// The identity for connecting a controller: the host's own, with the host ID that the kernel has for the host NQN.
    pub(super) fn identity_for(&self, tid: &Tid) -> Option<Arc<HostIdentity>> {
        let identity = self.identity.as_ref()?;
        let host_nqn = if tid.host_nqn.is_empty() { &identity.nqn } else { &tid.host_nqn };
        Some(match self.other_host_id(identity, host_nqn) {
            Some(other) => {
                Arc::new(HostIdentity { kernel_id: Some((host_nqn.clone(), other)), ..HostIdentity::clone(identity) })
            }
            None => Arc::clone(identity),
        })
    }

    /// True for the present identity, whatever host IDs the kernel has.
    pub(super) fn is_identity(&self, identity: &HostIdentity) -> bool {
        let configured = HostIdentity { kernel_id: None, ..identity.clone() };
        self.identity.as_deref() == Some(&configured)
    }

    /// The host ID of the oldest kernel connection with a host NQN, if it is not the configured one.
    fn other_host_id(&self, identity: &HostIdentity, host_nqn: &str) -> Option<Uuid> {
        let meant = host_id_for(host_nqn, identity)?;
        let mut with_nqn: Vec<_> = self.inventory.iter().filter(|ctrl| ctrl.hostnqn == host_nqn).collect();
        with_nqn.sort_by_key(|ctrl| ctrl.ctrl.inode);
        let ids = with_nqn.iter().filter_map(|ctrl| Uuid::try_parse(&ctrl.hostid).ok()).filter(|id| !id.is_nil());
        let ids: Vec<Uuid> = ids.collect();
        if ids.contains(&meant) { None } else { ids.first().copied() }
    }

    /// Reports once that the kernel's connections have another host ID than the configured one, and once that this is
    /// over.
    pub(super) fn compare_host_ids(&mut self, ctx: &mut Context<'_>) {
        let Some(identity) = &self.identity else { return };
        let (nqn, id) = (&identity.nqn, &identity.id);
        let other = self.other_host_id(identity, nqn);
        if other == self.reported_host_id {
            return;
        }
        let (level, text) = match other {
            Some(other) => (
                Level::Warning,
                format!(
                    "the kernel's connections have the host ID {other} with the host NQN {nqn}, and the configured \
                     host ID (/etc/nvme/hostid) is {id}: the kernel accepts only one host ID for a host NQN, so new \
                     connections use {other} until no connection has it any more. If you did not want another host \
                     ID: `echo {other} > /etc/nvme/hostid`"
                ),
            ),
            None => (
                Level::Info,
                format!(
                    "all connections with another host ID are gone: new connections use the host ID {id} from now on"
                ),
            ),
        };
        self.reported_host_id = other;
        ctx.log(LogRecord { level, tid: None, ctrl: None, text });
    }
}
