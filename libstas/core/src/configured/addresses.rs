//! Decides at which addresses of a host name its controllers are connected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::choice::{Choice, Seen, line_key};
use super::names::{NEXT_ADDRESS, Name, REFRESH};
use super::{Configured, Defaults, family_used};
use crate::conf::ControllerEntry;
use crate::context::Context;
use crate::effect::HostEffect;
use crate::timers::Timer;
use stas_nvme::{Tid, tid};

/// The connection states on which the choice of addresses depends.
pub struct Progress<'a> {
    /// True for a controller that is live.
    pub live: &'a dyn Fn(&Tid) -> bool,
    /// True if the controller can replace the one at an earlier address: it is live and, if it is a discovery
    /// controller, has a settled log page.
    pub arrived: &'a dyn Fn(&Tid) -> bool,
    /// True for a controller that has a connection, live or not, or that waits for its next poll.
    pub held: &'a dyn Fn(&Tid) -> bool,
    /// The failed attempts in a row of a controller.
    pub attempts: &'a dyn Fn(&Tid) -> u32,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

/// What was chosen for one line.
#[derive(Default)]
struct Chosen {
    choice: Choice,
    /// Wait until the next address may be tried; `None`: the used one has a connection, or there is no other.
    tries_others: Option<Duration>,
    /// The controllers at all addresses, if the next one may be tried.
    others: Vec<Tid>,
}

impl Configured {
    /// Decides at which addresses of its host name each line is connected.
    pub(super) fn choose_addresses(&mut self, ctx: &mut Context<'_>, defaults: &Defaults<'_>, progress: &Progress<'_>) {
        let named = self.controllers.iter().filter(|entry| entry.is_name);
        let choose = |entry: &ControllerEntry| {
            let state = self.names.get(&entry.traddr)?;
            Some((entry.traddr.clone(), line_key(entry), self.choose(entry, state, defaults, progress)))
        };
        let chosen: Vec<(String, String, Chosen)> = named.filter_map(choose).collect();
        let before = std::mem::take(&mut self.choices);
        self.may_be_used.clear();
        let mut waits: BTreeMap<String, Duration> = BTreeMap::new();
        for (name, key, Chosen { choice, tries_others, others }) in chosen {
            self.choices.insert(key, choice);
            self.may_be_used.extend(others);
            if let Some(wait) = tries_others {
                waits.entry(name).and_modify(|shortest| *shortest = wait.min(*shortest)).or_insert(wait);
            }
        }
        for (name, state) in &mut self.names {
            let wait = waits.remove(name);
            if let Some(wait) = wait.filter(|_| state.tries_others.is_none()) {
                ctx.timers.set_earlier(Timer::LookUp(name.clone()), ctx.now + wait);
            }
            state.tries_others = wait;
        }
        if self.choices != before {
            ctx.host(HostEffect::Save);
        }
    }

    /// True for the controllers at all addresses of a host name with several, while the used one has no connection: each
    /// may be the next that is used, so its removal is not proved.
    #[must_use]
    pub fn may_use(&self, tid: &Tid) -> bool {
        self.may_be_used.contains(tid)
    }

    /// The controllers for which [`Configured::may_use`] is true.
    pub fn may_be_used(&self) -> impl Iterator<Item = &Tid> {
        self.may_be_used.iter()
    }

    /// Chooses the addresses of one line.
    fn choose(
        &self,
        entry: &ControllerEntry,
        state: &Name,
        defaults: &Defaults<'_>,
        progress: &Progress<'_>,
    ) -> Chosen {
        let at = |address: IpAddr| self.tid(entry, &address.to_string(), defaults);
        let is_excluded = |address: IpAddr| {
            let tid = at(address);
            self.excludes(&tid, &tid.host_iface)
        };
        // If none is usable, the line is still listed, with the reason.
        let allowed = in_order(&state.addresses, |address| family_used(address, self.family));
        let mut usable = allowed.clone();
        usable.retain(|address| fits_host_traddr(entry, *address) && !is_excluded(*address));
        let usable = if usable.is_empty() { allowed } else { usable };
        let seen = Seen {
            usable: &usable,
            has_just_left: &|address| state.gone.get(&address).is_some_and(|gone| gone.counts),
            is_live: &|address| (progress.live)(&at(address)),
            is_held: &|address| (progress.held)(&at(address)),
            attempts: &|address| (progress.attempts)(&at(address)),
            has_arrived: &|address| state.found && (progress.arrived)(&at(address)),
        };
        let restored = || Choice::restore(state.saved.as_slice());
        let mut choice = self.choices.get(&line_key(entry)).cloned().unwrap_or_else(restored);
        choice.choose(&seen);
        let is_held = choice.used.is_some_and(seen.is_held);
        if usable.len() < 2 || is_held {
            return Chosen { choice, ..Chosen::default() };
        }
        let is_untried = usable.iter().any(|address| (seen.attempts)(*address) == 0);
        let wait = if is_untried && !choice.is_known_to_work() { NEXT_ADDRESS } else { REFRESH };
        let others = usable.iter().map(|address| at(*address)).collect();
        Chosen { choice, tries_others: Some(wait), others }
    }

    /// True if a new connection may change at which addresses a line is connected.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.choices.values().any(|choice| choice.is_moving() || !choice.is_known_to_work())
    }

    /// The addresses of an entry. More than one while the entry moves to another address, and while it stays connected
    /// at several. An entry with an address (not a host name) of a family that is not used still lists its controller,
    /// which is then excluded. So the controller stays listed if this line is removed while another line is unreadable.
    pub(super) fn addresses(&self, entry: &ControllerEntry) -> Vec<String> {
        if !entry.is_name {
            return vec![entry.traddr.clone()];
        }
        let Some(Choice { used: Some(used), before, kept, .. }) = self.choices.get(&line_key(entry)) else {
            return Vec::new();
        };
        let all = std::iter::once(used).chain(before).chain(kept);
        all.filter(|address| family_used(**address, self.family)).map(ToString::to_string).collect()
    }

    /// Returns the host name and the used address if this line no longer lists the controller because another address
    /// of its host name is used.
    #[must_use]
    pub fn moved_away(&self, tid: &Tid, line: usize) -> Option<(&str, IpAddr)> {
        let is_its = |entry: &&ControllerEntry| {
            entry.is_name
                && (entry.line, entry.transport, &entry.trsvcid) == (line, tid.transport(), &tid.trsvcid)
                && (entry.subsysnqn.is_empty() || entry.subsysnqn == tid.subsysnqn)
        };
        let entry = self.controllers.iter().find(is_its).filter(|_| !self.lists(tid))?;
        let state = self.names.get(&entry.traddr)?;
        let (address, _) = tid::parse_ip(&tid.traddr)?;
        let was_its = state.addresses.contains(&address) || state.gone.contains_key(&address);
        let used = self.choices.get(&line_key(entry))?.used?;
        was_its.then_some((entry.traddr.as_str(), used))
    }
}

/// The addresses that may be used, in the order in which they are tried: IPv4 first, link-local IPv6 last (it cannot be
/// connected without an interface), otherwise as the resolver gave them.
fn in_order(addresses: &[IpAddr], is_usable: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let mut usable: Vec<IpAddr> = addresses.iter().copied().filter(|address| is_usable(*address)).collect();
    usable.sort_by_key(|address| match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 2,
        IpAddr::V6(_) => 1,
    });
    usable
}

/// False if `host-traddr` of the entry is of the other family.
fn fits_host_traddr(entry: &ControllerEntry, address: IpAddr) -> bool {
    tid::parse_ip(&entry.host_traddr).is_none_or(|(source, _)| source.is_ipv4() == address.is_ipv4())
}
