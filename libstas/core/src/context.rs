//! The context that a core passes to all its parts with an event: the time, the list of effects, timers, operation IDs,
//! jitter.

use std::panic::Location;

use super::backoff::Jitter;
use super::effect::{HostEffect, Level, LogRecord};
use super::timers::{Timer, Timers};
use super::{CtrlRef, OpId, OpIds, Time};
use stas_nvme::Tid;

/// The part of the context that a core keeps between two events.
#[derive(Clone, Debug, Default)]
pub struct Supply {
    ops: OpIds,
    jitter: Jitter,
    timers: Timers<Timer>,
}

impl Supply {
    /// Creates it. The seed determines the jitter.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { jitter: Jitter::new(seed), ..Self::default() }
    }

    /// When the next timer is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.timers.deadline()
    }
}

/// A list to which effects of the host can be appended.
pub trait HostEffects {
    /// Appends an effect.
    fn append(&mut self, effect: HostEffect);
}

impl<E: From<HostEffect>> HostEffects for &mut Vec<E> {
    fn append(&mut self, effect: HostEffect) {
        self.push(effect.into());
    }
}

/// The context of one event. It is made where the core takes the event and passed to each part by `&mut`.
///
/// The parts that both daemons share issue only effects of the host, and take `&mut Context<'_>`. The context of a
/// daemon (`Context<'_, &mut Vec<Effect>>`) has further effects; the compiler coerces a reference to it into `&mut
/// Context<'_>`.
pub struct Context<'a, Out: ?Sized = dyn HostEffects + 'a> {
    /// When the event happened.
    pub now: Time,
    /// The timers of the core.
    pub timers: &'a mut Timers<Timer>,
    ops: &'a mut OpIds,
    jitter: &'a mut Jitter,
    out: Out,
}

impl<'a, E> Context<'a, &'a mut Vec<E>> {
    /// The context of an event at that time, whose effects are appended to `out`.
    pub fn new(now: Time, supply: &'a mut Supply, out: &'a mut Vec<E>) -> Self {
        let Supply { ops, jitter, timers } = supply;
        Self { now, timers, ops, jitter, out }
    }

    /// Issues an effect of the daemon.
    pub fn push(&mut self, effect: E) {
        self.out.push(effect);
    }
}

impl<Out: HostEffects + ?Sized> Context<'_, Out> {
    /// Issues an effect of the host.
    pub fn host(&mut self, effect: HostEffect) {
        self.out.append(effect);
    }

    /// Writes a line to the log, with the caller as its code location.
    #[track_caller]
    pub fn log(&mut self, record: LogRecord) {
        self.host(HostEffect::Log(record, Location::caller()));
    }

    /// Writes a line about a controller to the log, with the caller as its code location.
    #[track_caller]
    pub fn log_about(&mut self, level: Level, tid: &Tid, ctrl: Option<CtrlRef>, text: String) {
        self.log(LogRecord { level, tid: Some(tid.clone()), ctrl, text });
    }
}

impl<Out: ?Sized> Context<'_, Out> {
    /// A new operation ID.
    pub fn next_op(&mut self) -> OpId {
        self.ops.issue()
    }

    /// The random generator of this core.
    pub fn jitter(&mut self) -> &mut Jitter {
        self.jitter
    }
}
