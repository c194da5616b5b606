//! What the configuration lists: `controller=` and `exclude=`, with their host names resolved.
//!
//! A name that no longer resolves keeps its last addresses. When the used address is no longer in the answer, the new
//! one is added first, and the old one is dropped when the new one has taken its place ([`Progress::arrived`]). A name
//! server may give the addresses in another order each time: the used one is kept while it is live. If it cannot be
//! connected, the next address is added.
//!
//! A wrong or incomplete answer must not end an exclusion: an address that leaves the answer stays excluded for
//! [`EXCLUDED_AFTER`].

mod choice;
mod review;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

pub use review::{LeftOutLine, Review};

use choice::{Choice, Seen};

use super::backoff::Backoff;
use super::context::Context;
use super::effect::{HostEffect, Level, LogRecord};
use super::exclusions::{Exclusions, matches};
use super::fleet::ConfigLines;
use super::timers::Timer;
use super::{OpId, ResolveError, Time};
use crate::conf::{ControllerEntry, Exclusion, FamilyOrder, StacConf, StafConf};
use stas_nvme::{Parameters, Tid, TidParts, tid};

/// A name is looked up again after this time.
pub const REFRESH: Duration = Duration::from_secs(60);
/// A look-up without an answer after this time counts as failed.
pub const ANSWER: Duration = Duration::from_secs(30);

/// While a name with several addresses is not connected, it is looked up again after this time, and the next address is
/// tried.
const NEXT_ADDRESS: Duration = Duration::from_secs(10);
/// An address that is no longer in the answer for the host name of an exclusion stays excluded for this time.
pub const EXCLUDED_AFTER: Duration = Duration::from_secs(600);

/// Maximum number of addresses of an exclusion that are no longer in the answer.
const GONE: usize = 64;

/// Host names with their addresses, as saved.
pub type SavedNames = BTreeMap<String, Vec<IpAddr>>;

#[derive(Clone, Debug, Default)]
struct Name {
    /// In the resolver's order.
    addresses: Vec<IpAddr>,
    choice: Choice,
    op: Option<OpId>,
    backoff: Backoff,
    /// Why the last look-up failed, if it did.
    failed: Option<String>,
    /// Addresses that are no longer in the answer, and since when.
    gone: BTreeMap<IpAddr, Time>,
    /// Addresses of which the log said that they are no longer in the answer, and when.
    told: BTreeMap<IpAddr, Time>,
    /// True after a reload, until the next answer: what the name had before no longer counts.
    is_reloaded: bool,
    /// When it is looked up again, to try another of its addresses, while none of its controllers is connected.
    tries_others: Option<Duration>,
    /// When the first look-up of this run began.
    first_asked: Option<Time>,
    /// True once a look-up of this run has said what the name means, even if it has no address; or after [`ANSWER`]
    /// without such an answer.
    asked: bool,
    /// True once a look-up of this run has found an address.
    found: bool,
}

impl Name {
    /// Until when the first answer of this run is waited for.
    fn hold(&self) -> Option<Time> {
        self.first_asked.map(|first| first + ANSWER)
    }

    /// True if the log has not said for some time that this address has left the answer.
    fn is_news(&mut self, address: IpAddr, now: Time) -> bool {
        self.told.retain(|_, said| now < *said + EXCLUDED_AFTER);
        self.told.len() < GONE && self.told.insert(address, now).is_none()
    }

    /// Remembers the addresses that are not in the new answer. Returns them.
    fn leave_out_all_but(&mut self, answer: &[IpAddr], now: Time) -> Vec<IpAddr> {
        self.gone.retain(|address, _| !answer.contains(address));
        if std::mem::take(&mut self.is_reloaded) {
            return Vec::new();
        }
        let left: Vec<IpAddr> = self.addresses.iter().copied().filter(|address| !answer.contains(address)).collect();
        self.gone.extend(left.iter().map(|address| (*address, now)));
        left
    }

    /// Forgets addresses that left the answer long ago. True if there are such.
    fn forget_gone(&mut self, now: Time) -> bool {
        let before = self.gone.len();
        self.gone.retain(|_, since| now < *since + EXCLUDED_AFTER);
        while self.gone.len() > GONE
            && let Some(oldest) = self.gone.iter().min_by_key(|(_, since)| **since).map(|(address, _)| *address)
        {
            self.gone.remove(&oldest);
        }
        self.gone.len() < before
    }
}

/// `controller=` and `exclude=` of one daemon.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    controllers: Vec<ControllerEntry>,
    exclusions: Vec<Exclusion>,
    family: FamilyOrder,
    ignore_iface: bool,
    names: BTreeMap<String, Name>,
    file: String,
    lost_line: Option<usize>,
    /// The controllers that the last call of [`Configured::controllers`] returned.
    listed: BTreeSet<Tid>,
    left_out: Vec<shown::LeftOut>,
    logged: shown::LoggedState,
}

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

/// What applies to all `controller=` entries.
#[derive(Clone, Debug)]
pub struct Defaults<'a> {
    /// Connection parameters of `[Global]`.
    pub parameters: &'a Parameters,
    /// The host's own NQN.
    pub host_nqn: &'a str,
    /// The default subsystem NQN for entries without one; `None` if an entry must have one.
    pub subsysnqn: &'a str,
}

/// The settings that decide which controllers are configured and excluded.
#[derive(Clone, Debug)]
pub struct ConfigView<'a> {
    /// controller=
    pub controllers: &'a [ControllerEntry],
    /// exclude=
    pub exclusions: &'a [Exclusion],
    /// ip-family
    pub family: FamilyOrder,
    /// ignore-iface
    pub ignore_iface: bool,
    /// The name of the file, without its directory.
    pub file: &'a str,
    /// The first line that may be a `controller=` and cannot be read.
    pub lost_line: Option<usize>,
}

/// Takes these settings from a daemon's configuration.
macro_rules! view_of {
    ($conf:ty, $file:literal) => {
        impl<'a> From<&'a $conf> for ConfigView<'a> {
            fn from(conf: &'a $conf) -> Self {
                Self {
                    controllers: &conf.controllers,
                    exclusions: &conf.exclusions,
                    family: conf.ip_family,
                    ignore_iface: conf.ignore_iface,
                    file: $file,
                    lost_line: conf.lost_line,
                }
            }
        }
    };
}

view_of!(StafConf, "stafd.conf");
view_of!(StacConf, "stacd.conf");

impl Configured {
    /// Creates it with the addresses that names had before this run.
    #[must_use]
    pub fn restore(saved: SavedNames, moving: &SavedNames) -> Self {
        let names = saved.into_iter().map(|(name, addresses)| {
            let choice = match moving.get(&name) {
                Some(addresses) => Choice::restore(addresses),
                None => Choice::restore(addresses.get(..1).unwrap_or_default()),
            };
            (name, Name { addresses, choice, ..Name::default() })
        });
        let names = names.collect();
        Self { names, ..Self::default() }
    }

    /// The addresses of names, to be saved. The used address comes first.
    #[must_use]
    pub fn saved(&self) -> SavedNames {
        let names = self.names.iter().map(|(name, state)| {
            let connects = self.controllers.iter().any(|entry| entry.is_name && entry.traddr == *name);
            let used = state.choice.used.filter(|used| connects || state.addresses.contains(used));
            // What an exclusion meant a short time ago counts after a restart, too.
            let gone = state.gone.keys().filter(|_| !connects);
            let mut all: Vec<IpAddr> = used.into_iter().collect();
            for address in state.addresses.iter().chain(gone) {
                if !all.contains(address) {
                    all.push(*address);
                }
            }
            (name.clone(), all)
        });
        names.collect()
    }

    /// The names that move from one address to another, to be saved: the used address, then those used before.
    #[must_use]
    pub fn moving(&self) -> SavedNames {
        let moving = self.names.iter().map(|(name, state)| (name, state.choice.saved()));
        moving.filter(|(_, saved)| saved.len() > 1).map(|(name, saved)| (name.clone(), saved)).collect()
    }

    /// Takes a new configuration and looks up all its names.
    pub fn set(&mut self, ctx: &mut Context<'_>, view: &ConfigView<'_>) {
        let is_reload = !self.file.is_empty();
        self.controllers = view.controllers.to_vec();
        self.exclusions = view.exclusions.to_vec();
        self.family = view.family;
        self.ignore_iface = view.ignore_iface;
        self.file = view.file.to_owned();
        self.lost_line = view.lost_line;
        // Log again, after a reload, what still applies.
        self.logged = shown::LoggedState::default();
        let in_controllers = self.controllers.iter().filter(|entry| entry.is_name).map(|entry| entry.traddr.clone());
        let in_exclusions = self
            .exclusions
            .iter()
            .filter(|exclusion| exclusion.is_name)
            .filter_map(|exclusion| exclusion.traddr.clone());
        let meant: BTreeSet<String> = in_controllers.chain(in_exclusions).collect();
        self.names.retain(|name, _| meant.contains(name));
        for name in meant {
            let state = self.names.entry(name.clone()).or_default();
            state.backoff.reset();
            if is_reload {
                state.gone.clear();
                state.is_reloaded = true;
            }
            ctx.timers.set(Timer::LookUp(name), ctx.now);
        }
    }

    /// Looks up all names again, because the network has changed.
    pub fn refresh(&mut self, ctx: &mut Context<'_>) {
        for name in self.names.keys() {
            ctx.timers.set(Timer::LookUp(name.clone()), ctx.now);
        }
    }

    /// Cancels all look-ups: the daemon stops.
    pub fn stop(&self, ctx: &mut Context<'_>) {
        ctx.timers.retain(|timer| !matches!(timer, Timer::LookUp(_) | Timer::LookUpAnswer(_)));
    }

    /// Starts the look-ups that are due. Returns true when a look-up timed out and that changed something.
    pub fn tick(&mut self, ctx: &mut Context<'_>, due: &[Timer]) -> bool {
        let mut changed = false;
        for timer in due {
            match timer {
                Timer::LookUp(name) => {
                    let Some(state) = self.names.get_mut(name) else { continue };
                    if state.op.is_none() {
                        let op = ctx.next_op();
                        state.op = Some(op);
                        state.first_asked.get_or_insert(ctx.now);
                        let hold = state.hold().filter(|_| !state.asked && state.addresses.is_empty());
                        let answer = ctx.now + ANSWER;
                        ctx.timers.set(Timer::LookUpAnswer(name.clone()), hold.unwrap_or(answer).min(answer));
                        ctx.host(HostEffect::Resolve { op, name: name.clone() });
                    }
                }
                Timer::LookUpAnswer(name) => {
                    let Some(op) = self.names.get(name).and_then(|state| state.op) else { continue };
                    changed |= self.resolved(ctx, op, &Err(ResolveError::NoAnswer));
                }
                _ => {}
            }
        }
        changed
    }

    /// Takes the answer to a look-up. Returns true when it changed something, or when it is the first answer of this
    /// run.
    pub fn resolved(&mut self, ctx: &mut Context<'_>, op: OpId, result: &Result<Vec<IpAddr>, ResolveError>) -> bool {
        let Some((name, state)) = self.names.iter_mut().find(|(_, state)| state.op == Some(op)) else { return false };
        state.op = None;
        // The resolver may not work yet, for example before the network is up.
        let hold = state.hold().unwrap_or(ctx.now);
        let is_answer = matches!(result, Ok(_) | Err(ResolveError::NoAddress(_)));
        let first = !state.asked && (is_answer || hold <= ctx.now);
        state.asked |= first;
        ctx.timers.cancel(&Timer::LookUpAnswer(name.clone()));
        let connects = self.controllers.iter().any(|entry| entry.is_name && entry.traddr == *name);
        let excludes =
            self.exclusions.iter().any(|exclusion| exclusion.is_name && exclusion.traddr.as_ref() == Some(name));
        match result {
            Ok(addresses) if !addresses.is_empty() => {
                state.backoff.reset();
                state.failed = None;
                state.found = true;
                let wait = state.tries_others.unwrap_or(REFRESH);
                ctx.timers.set(Timer::LookUp(name.clone()), ctx.now + wait);
                let has_left = state.leave_out_all_but(addresses, ctx.now);
                let has_left: Vec<IpAddr> =
                    has_left.into_iter().filter(|address| state.is_news(*address, ctx.now)).collect();
                if excludes && !has_left.is_empty() {
                    let text = format!(
                        "host name {name} of exclude= no longer has the address {}: excluded for {} minutes more, or \
                         until a reload",
                        list(&has_left),
                        EXCLUDED_AFTER.as_secs() / 60
                    );
                    ctx.log(LogRecord { level: Level::Info, tid: None, ctrl: None, text });
                }
                let is_over = state.forget_gone(ctx.now);
                if state.addresses == *addresses {
                    return first || is_over || state.tries_others.is_some();
                }
                state.addresses = addresses.clone();
                ctx.host(HostEffect::Save);
                true
            }
            _ => {
                let mut again = ctx.now + state.backoff.next(ctx.jitter());
                if !state.asked {
                    again = again.min(hold);
                }
                if let Some(wait) = state.tries_others {
                    again = again.min(ctx.now + wait);
                }
                ctx.timers.set(Timer::LookUp(name.clone()), again);
                let why = result.as_ref().err().map_or_else(|| "it has no address".to_owned(), ToString::to_string);
                if state.failed.replace(why.clone()).is_none() {
                    let meanwhile = match state.addresses.first() {
                        Some(_) => "its last known addresses stay in use",
                        None if connects => "controllers that are configured with it cannot be connected",
                        None => "exclude= with it excludes nothing",
                    };
                    let text = format!("host name {name} cannot be resolved: {why}; {meanwhile}; retrying");
                    ctx.log(LogRecord { level: Level::Warning, tid: None, ctrl: None, text });
                }
                first || state.tries_others.is_some()
            }
        }
    }

    /// The configured controllers.
    pub fn controllers(
        &mut self,
        ctx: &mut Context<'_>,
        defaults: &Defaults<'_>,
        progress: &Progress<'_>,
    ) -> BTreeMap<Tid, Parameters> {
        let mut named: BTreeMap<Tid, Parameters> = BTreeMap::new();
        self.move_names(ctx, defaults, progress);
        for entry in &self.controllers {
            let parameters = entry.parameters.over(defaults.parameters);
            for address in self.addresses(entry, defaults) {
                let tid = self.tid(entry, &address, defaults);
                // If several lines list a controller, the first one applies, with the strictest security settings of
                // all of them.
                let secured = |first: &mut Parameters| first.secure_like(&parameters);
                named.entry(tid).and_modify(secured).or_insert_with(|| parameters.clone());
            }
        }
        self.listed = named.keys().cloned().collect();
        self.left_out = self.find_left_out(ctx, defaults);
        named
    }

    /// The `controller=` line of each configured controller: the first one if several list it.
    #[must_use]
    pub fn config_lines(&self, defaults: &Defaults<'_>) -> ConfigLines {
        let mut lines = BTreeMap::new();
        for (tid, line) in self.lines(defaults) {
            lines.entry(tid).or_insert(line);
        }
        ConfigLines { file: self.file.clone(), lines }
    }

    /// The name of the configuration file, without its directory.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The lines of the `controller=` entries that list these controllers.
    pub fn lines<'a>(&'a self, defaults: &'a Defaults<'_>) -> impl Iterator<Item = (Tid, usize)> + 'a {
        self.controllers.iter().flat_map(move |entry| {
            let addresses = self.addresses(entry, defaults).into_iter();
            addresses.map(move |address| (self.tid(entry, &address, defaults), entry.line))
        })
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

    /// Decides which addresses of each name are used, and which controllers have arrived there.
    fn move_names(&mut self, ctx: &mut Context<'_>, defaults: &Defaults<'_>, progress: &Progress<'_>) {
        let mut entries: BTreeMap<&String, Vec<&ControllerEntry>> = BTreeMap::new();
        for entry in self.controllers.iter().filter(|entry| entry.is_name) {
            entries.entry(&entry.traddr).or_default().push(entry);
        }
        let choose = |(name, entries): (&String, Vec<&ControllerEntry>)| {
            let state = self.names.get(name)?;
            let (choice, tries_others) = self.choose(state, &entries, defaults, progress);
            Some((name.clone(), choice, tries_others))
        };
        let chosen: Vec<(String, Choice, Option<Duration>)> = entries.into_iter().filter_map(choose).collect();
        for (name, choice, tries_others) in chosen {
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

    /// Chooses the addresses of one name. Also returns when another of them may be tried.
    fn choose(
        &self,
        state: &Name,
        entries: &[&ControllerEntry],
        defaults: &Defaults<'_>,
        progress: &Progress<'_>,
    ) -> (Choice, Option<Duration>) {
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
        let Some(used) = choice.used else { return (choice, None) };
        if state.found && !choice.before.is_empty() {
            let there: Vec<Tid> = entries.iter().map(|entry| by(entry, self.place(entry, state, used))).collect();
            choice.moved.extend(there.iter().filter(|tid| (progress.arrived)(tid)).cloned());
            if there.iter().all(|tid| choice.moved.contains(tid)) {
                choice.all_have_arrived(&usable);
            }
        }
        let tries_others = (usable.len() > 1 && !(seen.is_held)(used)).then(|| match choice.is_known_to_work(used) {
            true => REFRESH,
            false => NEXT_ADDRESS,
        });
        (choice, tries_others)
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

    /// True while a `controller=` has a host name without a known address, or a host name that this run has not looked
    /// up yet. Such an entry may mean any controller that is no longer listed by its address.
    #[must_use]
    pub fn awaits_a_name(&self) -> bool {
        self.awaited().next().is_some()
    }

    /// True while a name moves from one address to another.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.names.values().any(|state| state.choice.is_moving())
    }

    fn tid(&self, entry: &ControllerEntry, address: &str, defaults: &Defaults<'_>) -> Tid {
        let or = |own: &str, default: &str| if own.is_empty() { default.to_owned() } else { own.to_owned() };
        let tid = Tid::new(TidParts {
            transport: entry.transport,
            traddr: address.to_owned(),
            trsvcid: entry.trsvcid.clone(),
            subsysnqn: or(&entry.subsysnqn, defaults.subsysnqn),
            host_traddr: entry.host_traddr.clone(),
            host_iface: entry.host_iface.clone(),
            host_nqn: or(&entry.host_nqn, defaults.host_nqn),
        });
        if self.ignore_iface { tid.unbound() } else { tid }
    }

    /// The addresses of an entry. More than one while the entry changes to a new address. An entry with an address (not
    /// a host name) of a family that is not used still lists its controller, which is then excluded. So the controller
    /// stays listed if this line is removed while another line is unreadable.
    fn addresses(&self, entry: &ControllerEntry, defaults: &Defaults<'_>) -> Vec<String> {
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

    /// True when the administrator excluded that controller. `found_on` is the interface on which it was found. It
    /// counts even when ignore-iface keeps it out of the TID.
    #[must_use]
    pub fn excludes(&self, tid: &Tid, found_on: &str) -> bool {
        self.exclusion_of(tid, found_on).is_some()
    }

    /// The exclusion that excludes that controller. Of several, an exclusion without a host name comes first.
    #[must_use]
    pub fn exclusion_of(&self, tid: &Tid, found_on: &str) -> Option<&Exclusion> {
        let addresses = |exclusion: &Exclusion| self.addresses_of(exclusion);
        let matching =
            self.exclusions.iter().filter(|exclusion| matches(exclusion, &addresses(exclusion), tid, found_on));
        matching.min_by_key(|exclusion| exclusion.is_name)
    }

    /// The exclusions with the addresses that their host names have now.
    #[must_use]
    pub fn exclusions(&self) -> Exclusions {
        let looked_up = |exclusion: &Exclusion| (exclusion.clone(), self.addresses_of(exclusion));
        self.exclusions.iter().map(looked_up).collect()
    }

    /// The addresses that an exclusion's host name has, or had a short time ago.
    fn addresses_of(&self, exclusion: &Exclusion) -> Vec<IpAddr> {
        let name = exclusion.traddr.as_ref().filter(|_| exclusion.is_name);
        let state = name.and_then(|name| self.names.get(name));
        state.iter().flat_map(|state| state.addresses.iter().chain(state.gone.keys())).copied().collect()
    }

    /// True while an exclusion has a host name without a completed look-up, so that it may mean that controller. Its
    /// interface does not count: the controller may be found on another interface later.
    #[must_use]
    pub fn may_exclude(&self, tid: &Tid) -> bool {
        let unknown = |name: &String| self.names.get(name).is_none_or(|name| !name.asked && name.addresses.is_empty());
        let open = self.exclusions.iter().filter(|exclusion| exclusion.is_name);
        open.filter(|exclusion| exclusion.traddr.as_ref().is_some_and(unknown)).any(|exclusion| {
            let but_for_its_address = Exclusion { traddr: None, host_iface: None, ..exclusion.clone() };
            matches(&but_for_its_address, &[], tid, "")
        })
    }

    /// True when `ip-family` allows that address.
    #[must_use]
    pub fn allows(&self, tid: &Tid) -> bool {
        !tid.transport().is_ip() || tid::parse_ip(&tid.traddr).is_some_and(|(ip, _)| family_used(ip, self.family))
    }
}

fn family_used(ip: IpAddr, family: FamilyOrder) -> bool {
    match family {
        FamilyOrder::V4 => ip.is_ipv4(),
        FamilyOrder::V6 => ip.is_ipv6(),
        FamilyOrder::Both => true,
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

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
