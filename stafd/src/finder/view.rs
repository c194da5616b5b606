//! The data shown on D-Bus.

use std::collections::BTreeSet;

use libstas::bus::contract::{DcPage, Origin, PageState, RemovedDc, StafdView};
use libstas::core::Time;
use libstas::core::fleet::MemberView;
use libstas::core::sources::SourceId;
use libstas::nvme::Tid;
use libstas::nvme::log_page::{LogPage, Unclear};

use super::optional::Command;
use super::{DcView, Finder, Removed};

impl Finder {
    /// The discovery controllers, configured ones first.
    #[must_use]
    pub fn controllers(&self) -> Vec<DcView<'_>> {
        let trusted = self.listed_by_more_than_announcements();
        self.reconciler.fleet.views().into_iter().filter_map(|member| self.dc_view(member, &trusted)).collect()
    }

    /// One discovery controller, if it exists.
    #[must_use]
    pub fn controller(&self, tid: &Tid) -> Option<DcView<'_>> {
        self.dc_view(self.reconciler.fleet.view(tid)?, &self.listed_by_more_than_announcements())
    }

    fn dc_view<'a>(&'a self, member: MemberView<'a>, trusted: &BTreeSet<Tid>) -> Option<DcView<'a>> {
        let dc = self.dcs.get(member.tid)?;
        let presence = self.announced.presence(member.tid);
        let origin = self.origin(member.tid);
        let kept_by_configuration = self.reconciler.why_kept(&member);
        Some(DcView {
            origin,
            follows_configured: trusted.contains(member.tid),
            kept_by_configuration,
            announced: presence.map(|(announced, _)| announced),
            given_up_at: presence.and_then(|(_, at)| at).filter(|_| origin == Origin::Discovered),
            boot_record: self.nbft.record_of(member.tid),
            log_page_state: dc.page_state(),
            log_page: dc.page.as_ref(),
            log_page_failure: dc.failure.as_ref(),
            registration: match dc.optional.allows(Command::Register) {
                true => dc.registration.display_text(),
                false => Some(
                    "not registered: each of 3 attempts lost the connection; `systemctl reload stafd` tries again"
                        .to_owned(),
                ),
            },
            // Between two polls, the time of the last one.
            connected_since: dc
                .connection
                .map(|connection| connection.since)
                .or(dc.page_of.filter(|_| dc.poll_valid_until.is_some())),
            member,
        })
    }

    /// The configured discovery controllers that the configuration itself keeps from being connected. They are not
    /// published to stacd: for stacd an excluded controller is a removed one.
    #[must_use]
    pub fn left_out(&self) -> Vec<DcView<'_>> {
        let Some(settings) = &self.settings else { return Vec::new() };
        let dc = |member| DcView {
            member,
            origin: Origin::Configured,
            follows_configured: true,
            kept_by_configuration: None,
            log_page_state: PageState::Never,
            log_page: None,
            log_page_failure: None,
            registration: None,
            connected_since: None,
            announced: None,
            given_up_at: None,
            boot_record: None,
        };
        self.reconciler.left_out(&settings.conf.parameters).map(dc).collect()
    }

    fn origin(&self, tid: &Tid) -> Origin {
        match self.reconciler.sources.sources_of(tid).next() {
            Some(SourceId::Configured | SourceId::Boot) => Origin::Configured,
            Some(SourceId::Announced | SourceId::EarlierNqn) => Origin::Discovered,
            Some(SourceId::Page(_)) => Origin::Referral,
            None if self.announced.knows(tid) => Origin::Discovered,
            None => Origin::Referral,
        }
    }

    /// The discovery controllers that were removed.
    #[must_use]
    pub fn removed(&self) -> Vec<&Removed> {
        self.removed.values().collect()
    }

    /// Everything that is published to stacd.
    #[must_use]
    pub fn published(&self) -> StafdView {
        let dcs = self.controllers().iter().map(DcView::published).collect();
        StafdView { dcs, ..self.published_without_controllers() }
    }

    /// What is published to stacd beside the discovery controllers.
    #[must_use]
    pub fn published_without_controllers(&self) -> StafdView {
        StafdView {
            dcs: Vec::new(),
            removed: Some(self.removed.values().map(Removed::published).collect()),
            is_complete: self.is_complete(),
            left_out: Vec::new(),
        }
    }

    /// True when every discovery controller that any source lists is a member.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lists_all_but_announced() && self.refused.announced == 0
    }

    /// True when each line of the configuration is valid, each host name has a known address, announcements have been
    /// received, no interface of a boot table is missing, and no referral was refused because of a limit. Refused
    /// announced controllers do not count: a change is signalled, and any host could cause changes all the time.
    pub(super) fn lists_all_but_announced(&self) -> bool {
        self.settings.is_some()
            && self.reconciler.configured.why_kept().is_none()
            && !self.announced.awaits_announcements()
            && !self.nbft.lacks_interfaces()
            && self.refused.referrals == 0
            && !self.refers_too_deep
    }

    /// The discovery controllers whose log page was read in this run, with the time of the last read.
    pub fn pages_read(&self) -> impl Iterator<Item = (&Tid, Time)> {
        self.dcs.iter().filter_map(|(tid, dc)| Some((tid, dc.read_at?)))
    }
}

impl DcView<'_> {
    /// The discovery controller and its page, as published to stacd.
    #[must_use]
    pub fn published(&self) -> DcPage {
        DcPage {
            state: self.log_page_state,
            generation: self.log_page.map(|page| page.genctr),
            entries: self.log_page.map(|page| page.entries.clone()).unwrap_or_default(),
            unclear: self.unclear(),
            ..self.published_without_page()
        }
    }

    /// The discovery controller, as published to stacd, with a page that proves nothing.
    #[must_use]
    pub fn published_without_page(&self) -> DcPage {
        DcPage {
            dc: self.member.tid.clone(),
            state: PageState::Unknown,
            connected_since: self.connected_since,
            origin: self.origin,
            follows_configured: self.follows_configured,
            generation: None,
            entries: Vec::new(),
            unclear: Vec::new(),
        }
    }
}

impl DcView<'_> {
    /// The unclear entries of a fresh page.
    #[must_use]
    pub fn unclear(&self) -> Vec<Unclear> {
        self.unclear_entries().cloned().collect()
    }

    /// The unclear entries of a fresh page, not copied.
    pub fn unclear_entries(&self) -> impl Iterator<Item = &Unclear> {
        let page = self.log_page.filter(|_| self.log_page_state == PageState::Fresh);
        page.into_iter().flat_map(LogPage::unclear)
    }

    /// True if only an announcement (mDNS) lists the discovery controller, directly or by referrals.
    #[must_use]
    pub fn is_announced_only(&self) -> bool {
        self.origin.is_announced_only(self.follows_configured)
    }
}

impl Removed {
    /// The removed discovery controller, as published to stacd.
    #[must_use]
    pub fn published(&self) -> RemovedDc {
        RemovedDc { dc: self.dc.clone(), reason: self.reason }
    }
}
