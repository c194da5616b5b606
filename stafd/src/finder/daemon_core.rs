//! The finder as the shell, the plan of a reload and the tests see it.

use std::sync::Arc;

use libstas::conf::{Complaint, StafConf, stafd};
use libstas::core::daemon_core::DaemonCore;
use libstas::core::fleet::Listed;
use libstas::core::reconciler::Reconciler;
use libstas::core::{HostEffect, HostEvent};
use libstas::nvme::nbft::BootTables;
use libstas::nvme::{Parameters, Tid};

use super::{Effect, Event, Finder, Settings};

impl DaemonCore for Finder {
    type Conf = StafConf;
    type Claim = Parameters;

    fn parse(text: &[u8], file: &str) -> (StafConf, Vec<Complaint>) {
        stafd::parse(text, file)
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

    fn reconciler(&self) -> &Reconciler<Parameters> {
        &self.reconciler
    }

    fn statuses(&self) -> impl Iterator<Item = Listed<'_>> {
        // A removed controller is not shown while it is being disconnected.
        let fleet = &self.reconciler.fleet;
        self.reconciler.statuses().filter(|listed| self.dcs.contains_key(listed.tid) || !fleet.has(listed.tid))
    }

    fn listed_by(&self, tid: &Tid) -> String {
        self.reconciler.listed_by(tid, "referral of", self.nbft.record_of(tid))
    }
}
