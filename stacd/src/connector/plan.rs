//! What a reload would do.

use libstas::conf::StacConf;
use libstas::core::Time;
use libstas::core::plan::{Addresses, Kind, Planned, compare, rehearse};
use libstas::nvme::Tid;

use super::{Connector, Effect, Event, Settings};

const KIND: Kind<Connector> = Kind {
    tick: || Event::Tick,
    host: Event::Host,
    request: |effect| match effect {
        Effect::Host(effect) => Some(effect),
        _ => None,
    },
    fleet: |connector| &connector.reconciler.fleet,
};

impl Connector {
    /// What a reload with this configuration would do. Empty before the first configuration. This core stays as it is.
    #[must_use]
    pub fn plan(&self, now: Time, conf: StacConf, addresses: &Addresses) -> Vec<Planned> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let settings = Settings { conf, identity: settings.identity.clone() };
        let (_, before) = rehearse(self.clone(), now, Event::Tick, addresses, KIND);
        let (copy, after) = rehearse(self.clone(), now, Event::Configured(Box::new(settings)), addresses, KIND);
        compare(&before, &after, |tid| copy.listed_by(tid))
    }

    /// Which sources list a controller, or why it is kept although none does.
    #[must_use]
    pub fn listed_by(&self, tid: &Tid) -> String {
        let booted = self.booted.record_of(tid).map(|record| format!("boot table: {record}"));
        let listed = self.reconciler.listed_by(tid, "listed by").or(booted);
        listed.unwrap_or_else(|| "no source lists it any more, and its removal is not proved".to_owned())
    }
}
