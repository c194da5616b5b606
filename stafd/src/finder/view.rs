//! What the bus shows.

use libstas::core::fleet::MemberView;
use libstas::core::sources::SourceId;
use libstas::nvme::Tid;

use super::{DcView, Finder, Removed, Settings};

impl Finder {
    /// The discovery controllers, the configured ones first.
    #[must_use]
    pub fn controllers(&self) -> Vec<DcView<'_>> {
        self.fleet.views().into_iter().filter_map(|member| self.dc_view(member)).collect()
    }

    /// One discovery controller.
    #[must_use]
    pub fn controller(&self, tid: &Tid) -> Option<DcView<'_>> {
        self.dc_view(self.fleet.view(tid)?)
    }

    fn dc_view<'a>(&'a self, member: MemberView<'a>) -> Option<DcView<'a>> {
        let dc = self.dcs.get(member.tid)?;
        let prospects = self.announced.prospects(member.tid);
        let origin = self.origin(member.tid);
        Some(DcView {
            origin,
            announced: prospects.map(|(announced, _)| announced),
            given_up_at: prospects.and_then(|(_, at)| at).filter(|_| origin == "discovered"),
            boot_record: self.booted.record_of(member.tid),
            log_page_state: dc.page_state(),
            log_page: dc.page.as_ref(),
            registration: dc.registering.words(),
            connected_since: dc.connection.map(|connection| connection.since),
            member,
        })
    }

    fn origin(&self, tid: &Tid) -> &'static str {
        match self.sources.naming(tid).next() {
            Some(SourceId::Configured | SourceId::Boot) => "configured",
            Some(SourceId::Announced | SourceId::Renamed) => "discovered",
            Some(SourceId::Page(_)) => "referral",
            None if self.announced.knew(tid) => "discovered",
            None => "referral",
        }
    }

    /// The discovery controllers that were given up.
    #[must_use]
    pub fn removed(&self) -> Vec<&Removed> {
        self.removed.values().collect()
    }

    /// The settings in force, once there are any.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }
}
