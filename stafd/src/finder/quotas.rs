//! Limits on what mDNS and log pages may make stafd connect: `max-announced` and `max-referrals`.
//!
//! mDNS is unauthenticated, and one log page can refer to any number of discovery controllers. Members and the
//! controllers of the saved state are never refused: what is connected now, or was connected in an earlier run, is
//! kept. Nor is a controller refused that another program, such as an earlier version, has connected. A refused candidate
//! stays listed by its source, and is admitted when the number falls below the limit. Announced controllers whose
//! connect has failed do not count. So a candidate that answers is connected even if many others do not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use libstas::core::matching;
use libstas::core::member::Want;
use libstas::core::sources::SourceId;
use libstas::core::{Level, LogRecord};
use libstas::nvme::Tid;

use super::{Context, Finder};

/// Refused announced candidates are checked again after this time: no event reports a failed connect of an admitted
/// candidate.
pub(super) const RECHECK_REFUSED_AFTER: Duration = Duration::from_secs(1);

/// The numbers of discovery controllers that are refused at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    /// Because of `max-announced`.
    pub(super) announced: usize,
    /// Because of `max-referrals`.
    pub(super) referrals: usize,
    /// True if a trusted log page refers to a refused one.
    pub(super) by_trusted: bool,
}

impl Finder {
    /// Leaves out new controllers that exceed the limits.
    pub(super) fn leave_out_beyond_quotas(&mut self, ctx: &mut Context<'_>, wanted: &mut Vec<(Tid, Want)>) {
        let refused = self.refuse(wanted);
        let before = std::mem::replace(&mut self.refused, refused);
        let Some(settings) = &self.settings else { return };
        let mut warnings = Vec::new();
        if refused.announced > 0 && before.announced == 0 {
            let text = format!(
                "{} discovery controllers found by mDNS alone are not connected, because {} are connected. To connect \
                 them, raise max-announced= in stafd.conf, or configure them with controller=",
                refused.announced, settings.conf.max_announced
            );
            warnings.push((text, true));
        }
        if refused.referrals > 0 && before.referrals == 0 {
            let text = format!(
                "{} discovery controllers are not connected, because the log page that refers to them refers to more \
                 than {}. To connect them, raise max-referrals= in stafd.conf, or configure them with controller=",
                refused.referrals, settings.conf.max_referrals
            );
            warnings.push((text, !refused.by_trusted));
        }
        for (text, is_limited) in warnings {
            let mut record = LogRecord { level: Level::Warning, tid: None, ctrl: None, text };
            if is_limited {
                self.lines.admit(ctx.now, &mut record, None);
            }
            ctx.log(record);
        }
    }

    /// Removes the new controllers that exceed the limits from `wanted`, and counts them.
    fn refuse(&self, wanted: &mut Vec<(Tid, Want)>) -> Refused {
        let mut refused = Refused::default();
        let is_new = |tid: &Tid| !self.dcs.contains_key(tid) && !self.reconciler.restored.contains(tid);
        let is_bounded =
            |(tid, want): &(Tid, Want)| (want.trust.is_announced_only() || want.listed_by.is_some()) && is_new(tid);
        let Some(settings) = &self.settings else { return refused };
        if !wanted.iter().any(is_bounded) {
            return refused;
        }
        let trusted = self.listed_by_more_than_announcements();
        let takes_room = |tid: &&Tid| {
            !trusted.contains(*tid)
                && self.reconciler.fleet.view(tid).is_some_and(|member| member.kernel.is_some() || member.attempts == 0)
        };
        let sources = &self.reconciler.sources;
        let room_of_page = |id: &SourceId| {
            // Those that it no longer refers to count, too, until they are removed.
            let followed = sources.claimed_by(id).filter(|tid| !is_new(tid)).count();
            settings.conf.max_referrals.saturating_sub(followed)
        };
        let (adoptable, links) = (self.reconciler.fleet.adoptable(), self.reconciler.fleet.links());
        let is_connected = |tid: &Tid| adoptable.iter().any(|kernel| matching::serves(kernel, tid, links));
        let mut announced = self.reconciler.fleet.tids().filter(takes_room).count();
        // Counted once for each page: a page may refer to thousands.
        let mut room: BTreeMap<&SourceId, usize> = BTreeMap::new();
        wanted.retain(|new| {
            if !is_bounded(new) {
                return true;
            }
            let (tid, want) = new;
            let is_referral = want.listed_by.is_some();
            let mut pages = sources.sources_of(tid).filter(|id| is_referral && matches!(id, SourceId::Page(_)));
            let page = pages.find(|id| *room.entry(id).or_insert_with(|| room_of_page(id)) > 0);
            let is_refusable = || !is_connected(tid);
            if is_referral && page.is_none() && is_refusable() {
                refused.referrals += 1;
                refused.by_trusted |= !want.trust.is_announced_only();
                return false;
            }
            if want.trust.is_announced_only() && announced >= settings.conf.max_announced && is_refusable() {
                refused.announced += 1;
                return false;
            }
            announced += usize::from(want.trust.is_announced_only());
            if let Some(left) = page.and_then(|id| room.get_mut(id)) {
                *left -= 1;
            }
            true
        });
        refused
    }

    /// How many discovery controllers are refused because of a limit.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.announced + self.refused.referrals
    }
}
