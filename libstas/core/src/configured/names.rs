//! Looks up host names. The *answer* is the list of addresses that the resolver returned last.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Configured;
use super::choice::{Choice, line_key};
use crate::backoff::Backoff;
use crate::context::Context;
use crate::effect::{HostEffect, Level, LogRecord};
use crate::timers::Timer;
use crate::{OpId, ResolveError, Time};

/// A name is looked up again after this time.
pub const REFRESH: Duration = Duration::from_secs(60);
/// A look-up without an answer after this time counts as failed.
pub const ANSWER: Duration = Duration::from_secs(30);

/// Wait until the next look-up, after which another address may be tried. Applies to a name with several addresses
/// while the used one has no connection and was never live, and at least one has no failed attempt. Otherwise:
/// [`REFRESH`].
pub(super) const NEXT_ADDRESS: Duration = Duration::from_secs(10);
/// An address that left the answer stays excluded, and stays connected beside the used one, for this time, and then
/// until the next successful look-up. The log repeats that an address left only after this time.
pub const EXCLUDED_AFTER: Duration = Duration::from_secs(600);

/// Maximum number of addresses that are remembered although they are no longer in the answer.
const GONE: usize = 64;

/// Saved addresses, by host name or by the key of a `controller=` line.
pub type SavedNames = BTreeMap<String, Vec<IpAddr>>;

/// An address that is no longer in the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    since: Time,
    /// True while it still counts as an address of the name, for `exclude=` and for connections beside the used one:
    /// for [`EXCLUDED_AFTER`], or until a reload.
    pub(super) counts: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Name {
    /// The answer, in the resolver's order.
    pub(super) addresses: Vec<IpAddr>,
    /// The first saved address. Lines without a saved choice start with it.
    pub(super) saved: Option<IpAddr>,
    op: Option<OpId>,
    /// True if the present look-up has no answer after [`ANSWER`]. Its answer counts until the next look-up starts.
    is_late: bool,
    pub(super) backoff: Backoff,
    /// Why the last look-up failed, if it did.
    pub(super) failed: Option<String>,
    /// Addresses that are no longer in the answer.
    pub(super) gone: BTreeMap<IpAddr, Gone>,
    /// Addresses that the log has reported as no longer in the answer, and when.
    told: BTreeMap<IpAddr, Time>,
    /// True after a reload, until the next answer: addresses that are missing in it do not count ([`Gone::counts`]).
    is_reloaded: bool,
    /// The wait until the next look-up while a line has several addresses and no connection at the used one.
    pub(super) tries_others: Option<Duration>,
    /// When the first look-up of this run began.
    first_asked: Option<Time>,
    /// True once a look-up of this run has said what the name means, even if it has no address; or after [`ANSWER`]
    /// without such an answer.
    pub(super) asked: bool,
    /// True once a look-up of this run has found an address.
    pub(super) found: bool,
}

impl Name {
    /// The deadline for the first answer of this run.
    fn hold(&self) -> Option<Time> {
        self.first_asked.map(|first| first + ANSWER)
    }

    /// Records that the log reports this address as missing. Returns false if it did so within [`EXCLUDED_AFTER`], or
    /// if too many addresses are recorded.
    fn is_news(&mut self, address: IpAddr, now: Time) -> bool {
        self.told.retain(|_, said| now < *said + EXCLUDED_AFTER);
        self.told.len() < GONE && self.told.insert(address, now).is_none()
    }

    /// Remembers the addresses that are not in the new answer. Returns those that count ([`Gone::counts`]).
    fn leave_out_all_but(&mut self, answer: &[IpAddr], now: Time) -> Vec<IpAddr> {
        self.gone.retain(|address, _| !answer.contains(address));
        let counts = !std::mem::take(&mut self.is_reloaded);
        let left: Vec<IpAddr> = self.addresses.iter().copied().filter(|address| !answer.contains(address)).collect();
        self.gone.extend(left.iter().map(|address| (*address, Gone { since: now, counts })));
        if counts { left } else { Vec::new() }
    }

    /// Makes addresses that left the answer [`EXCLUDED_AFTER`] ago no longer count, and forgets surplus addresses.
    /// Returns true if any stopped counting.
    fn forget_gone(&mut self, now: Time) -> bool {
        let mut is_over = false;
        for gone in self.gone.values_mut().filter(|gone| gone.counts && gone.since + EXCLUDED_AFTER <= now) {
            (gone.counts, is_over) = (false, true);
        }
        while self.gone.len() > GONE
            && let Some(oldest) = self.gone.iter().min_by_key(|(_, gone)| gone.since).map(|(address, _)| *address)
        {
            self.gone.remove(&oldest);
        }
        is_over
    }

    /// Handles a reload: addresses that have left the answer no longer count, and neither do those missing in the next.
    pub(super) fn reload(&mut self) {
        self.gone.values_mut().for_each(|gone| gone.counts = false);
        self.is_reloaded = true;
    }

    /// The addresses that the name has, or had a short time ago.
    pub(super) fn present(&self) -> impl Iterator<Item = IpAddr> {
        let just_left = self.gone.iter().filter(|(_, gone)| gone.counts).map(|(address, _)| *address);
        self.addresses.iter().copied().chain(just_left)
    }
}

impl Configured {
    /// Creates it with the addresses that names had before this run.
    #[must_use]
    pub fn restore(saved: SavedNames, chosen: &SavedNames) -> Self {
        let names = saved.into_iter().map(|(name, addresses)| {
            let saved = addresses.first().copied();
            (name, Name { addresses, saved, ..Name::default() })
        });
        let choices = chosen.iter().map(|(key, addresses)| (key.clone(), Choice::restore(addresses)));
        Self { names: names.collect(), choices: choices.collect(), ..Self::default() }
    }

    /// The addresses of names, to be saved. The address that a line uses comes first.
    #[must_use]
    pub fn saved(&self) -> SavedNames {
        let names = self.names.iter().map(|(name, state)| {
            let mut lines = self.controllers.iter().filter(|entry| entry.is_name && entry.traddr == *name).peekable();
            let connects = lines.peek().is_some();
            let mut all: Vec<IpAddr> =
                lines.find_map(|line| self.choices.get(&line_key(line))?.used).into_iter().collect();
            // If only exclusions use the name, addresses that left the answer a short time ago are saved, too.
            let present: Vec<IpAddr> = if connects { state.addresses.clone() } else { state.present().collect() };
            for address in present {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
            (name.clone(), all)
        });
        names.collect()
    }

    /// The lines whose host name has several addresses, or that are connected at several, to be saved: the used
    /// address, then the others at which they are connected.
    #[must_use]
    pub fn chosen_addresses(&self) -> SavedNames {
        let named = self.controllers.iter().filter(|entry| entry.is_name);
        let lines = named.filter_map(|entry| {
            let saved = self.choices.get(&line_key(entry))?.saved();
            let is_plain = self.names.get(&entry.traddr)?.addresses.len() < 2 && saved.len() < 2;
            (!is_plain).then(|| (line_key(entry), saved))
        });
        lines.collect()
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
                    if state.op.is_none() || state.is_late {
                        state.is_late = false;
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

    /// Takes the answer to a look-up. Returns true when it changed something, when it is the first answer of this run,
    /// or when another address may be tried.
    pub fn resolved(&mut self, ctx: &mut Context<'_>, op: OpId, result: &Result<Vec<IpAddr>, ResolveError>) -> bool {
        let Some((name, state)) = self.names.iter_mut().find(|(_, state)| state.op == Some(op)) else { return false };
        state.is_late = matches!(result, Err(ResolveError::NoAnswer));
        if !state.is_late {
            state.op = None;
        }
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
                let is_same = |other: &Vec<IpAddr>| {
                    other.len() == addresses.len() && other.iter().all(|address| addresses.contains(address))
                };
                // Another order is no change.
                if is_same(&state.addresses) {
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
                        None if state.asked => "exclude= with it matches nothing",
                        None => {
                            "exclude= with it matches nothing; new controllers that it may mean are not connected \
                             until 30 s after the first look-up"
                        }
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
