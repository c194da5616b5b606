//! I/O controllers that this host connected while it had another NQN.
//!
//! A target decides by the host NQN what a host may see. So a log page that is read with the new NQN proves nothing
//! about controllers connected with the old one. The NQN may also have changed by accident: /etc/nvme/hostnqn was lost,
//! or an image was copied. Therefore each such I/O controller stays wanted until the same controller is listed and live
//! with the present NQN. If only stafd is restarted, it has the new NQN before stacd does.

use std::collections::{BTreeMap, BTreeSet};

use libstas::core::sources::{SourceId, Sources};
use libstas::core::{Level, LogRecord};
use libstas::nvme::{Parameters, Tid, TidParts};

use super::{Connector, Context, IocClaim};

/// The NQN of this host, and the controllers connected under earlier NQNs.
#[derive(Clone, Debug, Default)]
pub(super) struct HostNqnChange {
    host_nqn: String,
    before: BTreeSet<Tid>,
}

impl HostNqnChange {
    /// Restores the saved state.
    pub(super) fn restore(host_nqn: String, before: BTreeSet<Tid>) -> Self {
        Self { host_nqn, before }
    }

    /// The NQN of this host, empty before the first configuration.
    pub(super) fn host_nqn(&self) -> &str {
        &self.host_nqn
    }

    /// The controllers that were connected under earlier NQNs.
    pub(super) fn before(&self) -> &BTreeSet<Tid> {
        &self.before
    }

    /// Takes the NQN of this host; `members` are its I/O controllers. Returns a log line if the NQN has changed.
    fn set(&mut self, host_nqn: &str, members: &BTreeSet<Tid>) -> Option<LogRecord> {
        let before = std::mem::replace(&mut self.host_nqn, host_nqn.to_owned());
        if before.is_empty() || before == host_nqn {
            return None;
        }
        let as_before = members.iter().filter(|tid| tid.host_nqn == before);
        let count = as_before.clone().count();
        self.before.extend(as_before.cloned());
        let text = format!(
            "the host NQN was {before} and is {host_nqn} now: each of the {count} I/O controllers stays connected \
             with the old one until it is connected with the new one. If you did not want this change, put the old \
             one back into /etc/nvme/hostnqn and restart stafd and stacd"
        );
        Some(LogRecord { level: Level::Warning, tid: None, ctrl: None, text })
    }

    /// Drops controllers that are listed and live with the present NQN of stacd or stafd. `live` says whether a
    /// controller is live.
    fn settle(&mut self, sources: &Sources<IocClaim>, live: impl Fn(&Tid) -> bool) {
        if self.before.is_empty() {
            return;
        }
        let own = self.host_nqn.as_str();
        let of_stafd = sources.ids().filter_map(|id| match id {
            SourceId::Page(dc) => Some(dc.host_nqn.as_str()),
            _ => None,
        });
        let nqns: BTreeSet<&str> = of_stafd.chain([own]).collect();
        self.before.retain(|tid| {
            let is_there = |nqn: &&str| {
                let now = as_host(tid, nqn);
                live(&now) && sources.sources_of(&now).any(|id| *id != SourceId::EarlierNqn)
            };
            // A listing with the controller's own host NQN counts only if that is the present host NQN.
            !nqns.iter().filter(|nqn| **nqn == own || **nqn != tid.host_nqn).any(is_there)
        });
    }
}

fn as_host(tid: &Tid, host_nqn: &str) -> Tid {
    Tid::new(TidParts { host_nqn: host_nqn.to_owned(), ..tid.parts().clone() })
}

/// True if the two differ only in the host NQN.
pub(super) fn same_but_for_the_host(one: &Tid, other: &Tid) -> bool {
    one.host_nqn != other.host_nqn && as_host(one, &other.host_nqn) == *other
}

impl Connector {
    /// Takes the NQN of this host, which may have changed.
    pub(super) fn take_host_nqn(&mut self, ctx: &mut Context<'_>, host_nqn: &str) {
        let record = self.hostnqn_change.set(host_nqn, &self.reconciler.restored);
        record.into_iter().for_each(|record| ctx.log(record));
    }

    /// Handles a discovery controller that stafd has removed and now uses with another host NQN. A page that is read
    /// with the new host NQN proves nothing about what was listed to the earlier one.
    pub(super) fn keep_what_earlier_nqn_found(&mut self, ctx: &mut Context<'_>, dc: &Tid, host_nqn: &str) {
        let found: Vec<Tid> = self
            .reconciler
            .sources
            .listed_by(&SourceId::Page(dc.clone()))
            .filter(|tid| self.reconciler.fleet.has(tid))
            .cloned()
            .collect();
        if found.is_empty() {
            return;
        }
        let text = format!(
            "stafd now uses the host NQN {host_nqn}: each of the {} I/O controllers that it listed to {} stays \
             connected until it is connected with the new host NQN. If you did not want this change, put the old host \
             NQN back into /etc/nvme/hostnqn and restart stafd",
            found.len(),
            dc.host_nqn,
        );
        let record = LogRecord { level: Level::Warning, tid: Some(dc.clone()), ctrl: None, text };
        ctx.log(record);
        self.hostnqn_change.before.extend(found);
    }

    /// The parameters of a controller that was connected with another host NQN. No source lists it with that NQN any
    /// more, so its security settings are taken from its earlier `controller=` line and log entries.
    pub(super) fn as_secure_as_with_earlier_nqn(&self, tid: &Tid, parameters: Parameters) -> Parameters {
        let entries = self.reconciler.sources.claims_on(tid).filter_map(|(_, claim)| match claim {
            IocClaim::Entry(entry) => Some(entry),
            IocClaim::Configured(_) | IocClaim::EarlierNqn => None,
        });
        entries.fold(self.reconciler.secured.apply(tid, parameters), |parameters, entry| parameters.listed_by(entry))
    }

    /// Lists the controllers that this host connected under earlier NQNs and has not connected under the present one.
    pub(super) fn list_earlier_nqn(&mut self) {
        let mut change = std::mem::take(&mut self.hostnqn_change);
        change.settle(&self.reconciler.sources, |tid| self.reconciler.fleet.is_live(tid));
        change.before.retain(|tid| !self.is_barred(tid));
        let names: BTreeMap<Tid, IocClaim> =
            change.before.iter().map(|tid| (tid.clone(), IocClaim::EarlierNqn)).collect();
        if !names.is_empty() || self.reconciler.sources.ids().any(|id| *id == SourceId::EarlierNqn) {
            self.reconciler.sources.set_complete(SourceId::EarlierNqn, names);
        }
        self.hostnqn_change = change;
    }
}
