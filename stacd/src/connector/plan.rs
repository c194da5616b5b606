//! What a reload would do.

use libstas::conf::StacConf;
use libstas::core::Time;
use libstas::core::plan::{Addresses, PlanHooks, Planned, plan};
use libstas::nvme::Tid;

use super::{Connector, Effect, Event, Settings};

const HOOKS: PlanHooks<Connector> = PlanHooks {
    host: Event::Host,
    request: |effect| match effect {
        Effect::Host(effect) => Some(effect),
        _ => None,
    },
    fleet: |connector| &connector.reconciler.fleet,
    listed_by: Connector::listed_by,
};

impl Connector {
    /// What a reload with this configuration would do. Empty before the first configuration. This core stays as it is.
    #[must_use]
    pub fn plan(&self, now: Time, conf: StacConf, addresses: &Addresses) -> Vec<Planned> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let settings = Settings { conf, identity: settings.identity.clone() };
        plan(self, now, Event::Configured(Box::new(settings)), addresses, &HOOKS)
    }

    /// Which sources list a controller, or why it is kept although none does.
    #[must_use]
    pub fn listed_by(&self, tid: &Tid) -> String {
        self.reconciler.listed_by(tid, "listed by", self.nbft.record_of(tid).as_deref())
    }
}
