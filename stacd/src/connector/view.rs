//! The data shown on D-Bus.

use libstas::core::fleet::MemberView;
use libstas::core::sources::SourceId;
use libstas::nvme::Tid;

use super::{Connector, IocClaim, IocView, Origin};

impl Connector {
    /// The I/O controllers, configured ones first. Last come those that the firmware connected and no source lists.
    #[must_use]
    pub fn controllers(&self) -> Vec<IocView<'_>> {
        let members = self.reconciler.fleet.views().into_iter().map(|member| self.ioc_view(member));
        members.chain(self.boot_connections()).collect()
    }

    /// One I/O controller, if it exists.
    #[must_use]
    pub fn controller(&self, tid: &Tid) -> Option<IocView<'_>> {
        let member = self.reconciler.fleet.view(tid).map(|member| self.ioc_view(member));
        member.or_else(|| self.boot_connections().into_iter().find(|ioc| ioc.member.tid == tid))
    }

    fn ioc_view<'a>(&'a self, member: MemberView<'a>) -> IocView<'a> {
        let claims = || self.reconciler.sources.claims_on(member.tid);
        let configured = claims().any(|(id, _)| *id == SourceId::Configured);
        let dlpe = claims().find_map(|(_, claim)| match claim {
            IocClaim::Entry(entry) => Some(&**entry),
            IocClaim::Configured(_) | IocClaim::EarlierNqn => None,
        });
        let boot_record = self.nbft.record_of(member.tid);
        let origin = if configured { Origin::Configured } else { Origin::Discovered };
        let kept_by_configuration = self.reconciler.why_kept(&member);
        IocView { origin, kept_by_configuration, dlpe, boot_record, member }
    }

    /// The configured I/O controllers that the configuration itself keeps from being connected.
    #[must_use]
    pub fn left_out(&self) -> Vec<IocView<'_>> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let ioc = |member| IocView {
            member,
            kept_by_configuration: None,
            dlpe: None,
            origin: Origin::Configured,
            boot_record: None,
        };
        self.reconciler.left_out(&settings.conf.parameters).map(ioc).collect()
    }
}
