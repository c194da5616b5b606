//! The connector as the shell, the plan of a reload and the tests see it.

use std::sync::Arc;

use libstas::conf::{Complaint, StacConf, stacd};
use libstas::core::daemon_core::DaemonCore;
use libstas::core::fleet::Listed;
use libstas::core::reconciler::Reconciler;
use libstas::core::{HostEffect, HostEvent};
use libstas::nvme::Tid;
use libstas::nvme::nbft::BootTables;

use super::{Connector, Effect, Event, IocClaim, Settings};

impl DaemonCore for Connector {
    type Conf = StacConf;
    type Claim = IocClaim;

    fn parse(text: &[u8], file: &str) -> (StacConf, Vec<Complaint>) {
        stacd::parse(text, file)
    }

    fn configured(settings: Settings) -> Event {
        Event::Configured(Box::new(settings))
    }

    fn boot_tables(tables: Arc<BootTables>) -> Event {
        Event::BootTables(tables)
    }

    fn host_event(event: HostEvent) -> Event {
        Event::Host(event)
    }

    fn host_effect(effect: &Effect) -> Option<&HostEffect> {
        if let Effect::Host(host) = effect { Some(host) } else { None }
    }

    fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    fn reconciler(&self) -> &Reconciler<IocClaim> {
        &self.reconciler
    }

    fn statuses(&self) -> impl Iterator<Item = Listed<'_>> {
        self.reconciler.statuses()
    }

    fn listed_by(&self, tid: &Tid) -> String {
        self.reconciler.listed_by(tid, "listed by", self.nbft.record_of(tid).as_deref())
    }
}
