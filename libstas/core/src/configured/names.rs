//! Looks up host names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Configured;
use super::choice::Choice;
use crate::backoff::Backoff;
use crate::context::Context;
use crate::effect::{HostEffect, Level, LogRecord};
use crate::timers::Timer;
use crate::{OpId, ResolveError, Time};

/// A name is looked up again after this time.
pub const REFRESH: Duration = Duration::from_secs(60);
/// A look-up without an answer after this time counts as failed.
pub const ANSWER: Duration = Duration::from_secs(30);

/// While a name with several addresses is not connected, it is looked up again after this time, and the next address is
/// tried.
pub(super) const NEXT_ADDRESS: Duration = Duration::from_secs(10);
/// An address that is no longer in the answer for the host name of an exclusion stays excluded for this time.
pub const EXCLUDED_AFTER: Duration = Duration::from_secs(600);

/// Maximum number of addresses of an exclusion that are no longer in the answer.
const GONE: usize = 64;

/// Host names with their addresses, as saved.
pub type SavedNames = BTreeMap<String, Vec<IpAddr>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Name {
    /// In the resolver's order.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) choice: Choice,
    pub(super) op: Option<OpId>,
    pub(super) backoff: Backoff,
    /// Why the last look-up failed, if it did.
    pub(super) failed: Option<String>,
    /// Addresses that are no longer in the answer, and since when.
    pub(super) gone: BTreeMap<IpAddr, Time>,
    /// Addresses of which the log said that they are no longer in the answer, and when.
    pub(super) told: BTreeMap<IpAddr, Time>,
    /// True after a reload, until the next answer: what the name had before no longer counts.
    pub(super) is_reloaded: bool,
    /// When it is looked up again, to try another of its addresses, while none of its controllers is connected.
    pub(super) tries_others: Option<Duration>,
    /// When the first look-up of this run began.
    pub(super) first_asked: Option<Time>,
    /// True once a look-up of this run has said what the name means, even if it has no address; or after [`ANSWER`]
    /// without such an answer.
    pub(super) asked: bool,
    /// True once a look-up of this run has found an address.
    pub(super) found: bool,
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

    /// True while a `controller=` has a host name without a known address, or a host name that this run has not looked
    /// up yet. Such an entry may mean any controller that is no longer listed by its address.
    #[must_use]
    pub fn awaits_a_name(&self) -> bool {
        self.awaited().next().is_some()
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
