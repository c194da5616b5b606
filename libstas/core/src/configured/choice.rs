//! At which addresses of a host name a `controller=` line is connected. The *answer* is the list of addresses that the
//! resolver returned last.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::conf::ControllerEntry;

/// Maximum number of earlier addresses that are no longer in the answer. More stay only while they have a connection.
const BEFORE: usize = 8;
/// An address that was connected before counts as failed after this many attempts without success. Meanwhile the target
/// may reboot, and a discovery controller without keep-alive support may refuse the first connect of a poll.
const ATTEMPTS: u32 = 5;

/// The addresses at which a line is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// The address that is used.
    pub(super) used: Option<IpAddr>,
    /// Addresses used before, oldest first. They stay until the controller has arrived at the address used now. The
    /// name may change its address again before that.
    pub(super) before: Vec<IpAddr>,
    /// Addresses at which the controller was live while they were used. They are in the answer, or left it less than
    /// [`super::EXCLUDED_AFTER`] ago. They stay connected beside the used one: what a discovery controller that is down
    /// has listed is not disproved by another one.
    pub(super) kept: Vec<IpAddr>,
    /// Addresses at which the controller was live while they were used, and all saved ones.
    was_live: BTreeSet<IpAddr>,
}

/// What is known about the addresses of a name.
pub(super) struct Seen<'a> {
    /// The addresses of the answer that may be used, in the order in which they are tried.
    pub(super) usable: &'a [IpAddr],
    /// True for an address that left the answer a short time ago: the answer may be incomplete.
    pub(super) has_just_left: &'a dyn Fn(IpAddr) -> bool,
    /// True if the controller is live at the address.
    pub(super) is_live: &'a dyn Fn(IpAddr) -> bool,
    /// True if the controller has a connection at the address, live or not, or waits for its next poll there.
    pub(super) is_held: &'a dyn Fn(IpAddr) -> bool,
    /// The failed attempts in a row at the address.
    pub(super) attempts: &'a dyn Fn(IpAddr) -> u32,
    /// True if the controller at the address can replace the earlier ones.
    pub(super) has_arrived: &'a dyn Fn(IpAddr) -> bool,
}

impl Choice {
    /// Restores a choice from what [`Choice::saved`] returned before a restart.
    pub(super) fn restore(saved: &[IpAddr]) -> Self {
        let (used, before) =
            saved.split_first().map_or((None, Vec::new()), |(used, rest)| (Some(*used), rest.to_vec()));
        let was_live = saved.iter().copied().collect();
        Self { used, before, was_live, ..Self::default() }
    }

    /// The addresses to be saved: the used one, then the others at which the controller was live.
    pub(super) fn saved(&self) -> Vec<IpAddr> {
        let were_live = self.before.iter().filter(|address| self.was_live.contains(address));
        self.used.iter().chain(were_live).chain(&self.kept).copied().collect()
    }

    /// True while the line has earlier addresses beside the used one.
    pub(super) fn is_moving(&self) -> bool {
        !(self.before.is_empty() && self.kept.is_empty())
    }

    /// Chooses the address that is used from now on, and forgets the earlier ones if the controller has arrived there.
    pub(super) fn choose(&mut self, seen: &Seen<'_>) {
        let known = self.used.iter().chain(&self.before).chain(&self.kept).chain(seen.usable);
        let known: BTreeSet<IpAddr> = known.copied().collect();
        self.was_live.retain(|address| known.contains(address));
        // An answer without a usable address changes nothing.
        if let Some(next) = self.next(seen)
            && self.used != Some(next)
        {
            self.before.extend(self.used);
            self.used = Some(next);
        }
        self.was_live.extend(self.used.filter(|used| (seen.is_live)(*used)));
        let left = |address: &IpAddr| !seen.usable.contains(address);
        let is_missing = |address: &IpAddr| left(address) && !(seen.has_just_left)(*address);
        self.before.extend(self.kept.extract_if(.., |address| is_missing(address)));
        let used = self.used;
        self.kept.retain(|address| Some(*address) != used);
        self.before.retain(|address| Some(*address) != used);
        while self.before.iter().filter(|before| left(before)).count() > BEFORE
            && let Some(useless) = self.before.iter().position(|before| left(before) && !(seen.is_held)(*before))
        {
            self.before.remove(useless);
        }
        if used.is_some_and(|used| (seen.has_arrived)(used)) {
            let was_live = &self.was_live;
            let stays = |address: &IpAddr| !left(address) && was_live.contains(address);
            self.kept.extend(self.before.drain(..).filter(stays));
        }
    }

    fn next(&self, seen: &Seen<'_>) -> Option<IpAddr> {
        let has_failed = |address: IpAddr| {
            let limit = if self.was_live.contains(&address) { ATTEMPTS } else { 1 };
            (seen.attempts)(address) >= limit
        };
        let used = self.used.filter(|used| seen.usable.contains(used));
        let live = || seen.usable.iter().copied().find(|address| (seen.is_live)(*address));
        let untried = || seen.usable.iter().copied().find(|address| !has_failed(*address));
        match used {
            Some(used) if (seen.is_held)(used) => Some(used),
            Some(used) => live().or_else(|| untried().filter(|_| has_failed(used))).or(Some(used)),
            None => live().or_else(untried).or(seen.usable.first().copied()),
        }
    }

    /// True if the controller was live at the used address, or if that address was saved.
    pub(super) fn is_known_to_work(&self) -> bool {
        self.used.is_some_and(|used| self.was_live.contains(&used))
    }
}

/// What distinguishes a `controller=` line with a host name from other lines, over reloads and restarts.
pub(super) fn line_key(entry: &ControllerEntry) -> String {
    let ControllerEntry { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn, .. } = entry;
    format!("{transport};{traddr};{trsvcid};{subsysnqn};{host_traddr};{host_iface};{host_nqn}")
}
