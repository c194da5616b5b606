//! Decides at which addresses of a host name its controllers are connected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::choice::{Choice, Seen};
use super::names::{NEXT_ADDRESS, Name, REFRESH};
use super::{Configured, Defaults, family_used};
use crate::conf::ControllerEntry;
use crate::context::Context;
use crate::effect::HostEffect;
use crate::timers::Timer;
use stas_nvme::{Tid, tid};

/// How far the controllers of this daemon are.
pub struct Progress<'a> {
    /// True for a controller that is live.
    pub live: &'a dyn Fn(&Tid) -> bool,
    /// True for a controller that can take the place of the same one at another address.
    pub arrived: &'a dyn Fn(&Tid) -> bool,
    /// True for a controller that has a connection, live or not.
    pub held: &'a dyn Fn(&Tid) -> bool,
    /// The failed attempts in a row of a controller.
    pub attempts: &'a dyn Fn(&Tid) -> u32,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

/// What was chosen for one name.
#[derive(Default)]
struct Chosen {
    choice: Choice,
    /// When another address may be tried; `None`: one is connected, or there is only one.
    tries_others: Option<Duration>,
    /// The controllers at all its addresses, if another one may be tried.
    others: Vec<Tid>,
}

impl Configured {
    /// Decides which addresses of each name are used, and which controllers have arrived there.
    pub(super) fn move_names(&mut self, ctx: &mut Context<'_>, defaults: &Defaults<'_>, progress: &Progress<'_>) {
        let mut entries: BTreeMap<&String, Vec<&ControllerEntry>> = BTreeMap::new();
        for entry in self.controllers.iter().filter(|entry| entry.is_name) {
            entries.entry(&entry.traddr).or_default().push(entry);
        }
        let choose = |(name, entries): (&String, Vec<&ControllerEntry>)| {
            let state = self.names.get(name)?;
            Some((name.clone(), self.choose(state, &entries, defaults, progress)))
        };
        let chosen: Vec<(String, Chosen)> = entries.into_iter().filter_map(choose).collect();
        self.may_be_used.clear();
        for (name, Chosen { choice, tries_others, others }) in chosen {
            self.may_be_used.extend(others);
            let Some(state) = self.names.get_mut(&name) else { continue };
            if state.choice.saved() != choice.saved() {
                ctx.host(HostEffect::Save);
            }
            state.choice = choice;
            if let Some(wait) = tries_others.filter(|_| state.tries_others.is_none()) {
                ctx.timers.set_earlier(Timer::LookUp(name), ctx.now + wait);
            }
            state.tries_others = tries_others;
        }
    }

    /// True for a controller at an address of a host name that is not connected yet: it may be the next that is used, so
    /// its removal is not proved.
    #[must_use]
    pub fn may_use(&self, tid: &Tid) -> bool {
        self.may_be_used.contains(tid)
    }

    /// Chooses the addresses of one name.
    fn choose(
        &self,
        state: &Name,
        entries: &[&ControllerEntry],
        defaults: &Defaults<'_>,
        progress: &Progress<'_>,
    ) -> Chosen {
        let by = |entry: &ControllerEntry, address: IpAddr| self.tid(entry, &address.to_string(), defaults);
        let at = |address: IpAddr| {
            let fitting = entries.iter().filter(move |entry| self.place(entry, state, address) == address);
            fitting.map(move |entry| by(entry, address))
        };
        let is_open = |address: IpAddr| at(address).any(|tid| !self.excludes(&tid, &tid.host_iface));
        let allowed = in_order(&state.addresses, |address| family_used(address, self.family));
        let open: Vec<IpAddr> = allowed.iter().copied().filter(|address| is_open(*address)).collect();
        let usable = if open.is_empty() { allowed } else { open };
        let seen = Seen {
            usable: &usable,
            is_live: &|address| at(address).any(|tid| (progress.live)(&tid)),
            is_held: &|address| at(address).any(|tid| (progress.held)(&tid)),
            attempts: &|address| at(address).map(|tid| (progress.attempts)(&tid)).max().unwrap_or(0),
        };
        let mut choice = state.choice.clone();
        choice.choose(&seen);
        let Some(used) = choice.used else { return Chosen { choice, ..Chosen::default() } };
        if state.found && !choice.before.is_empty() {
            let there: Vec<Tid> = entries.iter().map(|entry| by(entry, self.place(entry, state, used))).collect();
            choice.moved.extend(there.iter().filter(|tid| (progress.arrived)(tid)).cloned());
            if there.iter().all(|tid| choice.moved.contains(tid)) {
                choice.all_have_arrived(&usable);
            }
        }
        if usable.len() < 2 || (seen.is_held)(used) {
            return Chosen { choice, ..Chosen::default() };
        }
        let wait = if choice.is_known_to_work(used) { REFRESH } else { NEXT_ADDRESS };
        let others = usable.iter().flat_map(|address| at(*address)).collect();
        Chosen { choice, tries_others: Some(wait), others }
    }

    /// The address at which an entry is connected while the name uses `used`: another one if `host-traddr=` is of the
    /// other family.
    fn place(&self, entry: &ControllerEntry, state: &Name, used: IpAddr) -> IpAddr {
        if fits_host_traddr(entry, used) {
            return used;
        }
        let fits = |address: IpAddr| family_used(address, self.family) && fits_host_traddr(entry, address);
        in_order(&state.addresses, fits).first().copied().unwrap_or(used)
    }

    /// True while a name moves from one address to another.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.names.values().any(|state| state.choice.is_moving())
    }

    /// The addresses of an entry. More than one while the entry changes to a new address. An entry with an address (not
    /// a host name) of a family that is not used still lists its controller, which is then excluded. So the controller
    /// stays listed if this line is removed while another line is unreadable.
    pub(super) fn addresses(&self, entry: &ControllerEntry, defaults: &Defaults<'_>) -> Vec<String> {
        if !entry.is_name {
            return vec![entry.traddr.clone()];
        }
        let Some(state) = self.names.get(&entry.traddr) else { return Vec::new() };
        let Choice { used: Some(used), before, kept, moved, .. } = &state.choice else { return Vec::new() };
        let place = self.place(entry, state, *used);
        let has_moved = moved.contains(&self.tid(entry, &place.to_string(), defaults));
        let before = before.iter().filter(|_| !has_moved);
        let others = before.chain(kept).copied().filter(|address| fits_host_traddr(entry, *address));
        let mut all: Vec<IpAddr> = vec![place];
        all.extend(others.filter(|address| *address != place));
        all.into_iter()
            .filter(|address| family_used(*address, self.family))
            .map(|address| address.to_string())
            .collect()
    }

    /// If the `controller=` in this line lists this controller no longer because its host name has another address: the
    /// name and the address that is used now.
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
        Some((entry.traddr.as_str(), state.choice.used?)).filter(|_| was_its)
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
