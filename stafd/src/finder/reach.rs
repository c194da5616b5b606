//! How far referrals are followed.
//!
//! A discovery controller that refers to itself, under another NQN with each page, would fill the host with connections.

use std::collections::BTreeSet;

use libstas::core::controller::Want;
use libstas::core::sources::SourceId;
use libstas::core::{HostEffect, Level, Notice};
use libstas::nvme::Tid;

use super::{Effect, Finder, rank};

/// So many referrals in a row are followed, from one that something else names.
const STEPS: usize = 8;

impl Finder {
    /// Leaves out new ones that only a longer row of referrals leads to. Whoever is there stays, however far it is.
    pub(super) fn leave_out_of_reach(&mut self, news: &mut Vec<(Tid, Want)>, out: &mut Vec<Effect>) {
        let is_new = |(tid, want): &(Tid, Want)| want.rank == rank::REFERRAL && !self.dcs.contains_key(tid);
        if !news.iter().any(is_new) {
            return;
        }
        let within = self.within_reach();
        let all = std::mem::take(news).into_iter();
        let (far, near): (Vec<_>, Vec<_>) = all.partition(|new| is_new(new) && !within.contains(&new.0));
        *news = near;
        for (tid, _) in far {
            self.tell_of_reach(&tid, out);
        }
    }

    /// Says once of whoever refers to that one that this goes too far.
    fn tell_of_reach(&mut self, tid: &Tid, out: &mut Vec<Effect>) {
        let by = self.sources.naming(tid).find_map(|id| match id {
            SourceId::Page(by) => Some(by.clone()),
            _ => None,
        });
        let Some(by) = by else { return };
        let Some(dc) = self.dcs.get_mut(&by) else { return };
        if std::mem::replace(&mut dc.told_of_reach, true) {
            return;
        }
        let text = format!(
            "its log page refers to {tid}, the end of a row of more than {STEPS} referrals: it is not followed \
             (if it is meant, configure it with controller=)"
        );
        out.push(Effect::Host(HostEffect::Tell(Notice { level: Level::Warning, tid: Some(by), ctrl: None, text })));
    }

    /// A row begins with whom something else than a page names, or nobody: who is kept until that is proved.
    fn within_reach(&self) -> BTreeSet<Tid> {
        let is_page = |id: &SourceId| matches!(id, SourceId::Page(_));
        let named: BTreeSet<&Tid> = self.sources.named().map(|(_, tid, _)| tid).collect();
        let kept = self.dcs.keys().filter(|tid| !named.contains(tid));
        let roots = self.sources.named().filter(|(id, ..)| !is_page(id)).map(|(_, tid, _)| tid);
        let mut reached: BTreeSet<Tid> = roots.chain(kept).cloned().collect();
        let mut edge: Vec<Tid> = reached.iter().cloned().collect();
        for _ in 0..STEPS {
            let ids: Vec<SourceId> = edge.into_iter().map(SourceId::Page).collect();
            let next = ids.iter().flat_map(|id| self.sources.named_by(id));
            edge = next.filter(|tid| reached.insert((*tid).clone())).cloned().collect();
        }
        reached
    }
}
