//! What a reload would do.

use libstas::conf::StafConf;
use libstas::core::Time;
use libstas::core::plan::{Addresses, PlanHooks, Planned, plan};
use libstas::nvme::Tid;

use super::{Effect, Event, Finder, Settings};

const HOOKS: PlanHooks<Finder> = PlanHooks {
    host: Event::Host,
    request: |effect| match effect {
        Effect::Host(effect) => Some(effect),
        _ => None,
    },
    fleet: |finder| &finder.reconciler.fleet,
    listed_by: Finder::listed_by,
};

impl Finder {
    /// What a reload with this configuration would do. Empty before the first configuration. This core stays as it is.
    #[must_use]
    pub fn plan(&self, now: Time, conf: StafConf, addresses: &Addresses) -> Vec<Planned> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let settings = Settings { conf, identity: settings.identity.clone() };
        plan(self, now, Event::Configured(Box::new(settings)), addresses, &HOOKS)
    }

    /// Which sources list a controller, or why it is kept although none does.
    #[must_use]
    pub fn listed_by(&self, tid: &Tid) -> String {
        self.reconciler.listed_by(tid, "referral of", self.nbft.record_of(tid))
    }
}
