//! Registers this host with discovery controllers that keep a register of hosts (TP8010; DCTYPE ddc or cdc).
//!
//! The page is read first, because storage depends on it. Then this host is registered, on each connection, and again
//! when the symbolic name has changed. A discovery controller that refuses the registration is used nevertheless.

use std::sync::Arc;

use libstas::core::backoff::Backoff;
use libstas::core::timers::Timer;
use libstas::core::{CtrlType, Dctype, Level, LogRecord, OpId, Time};
use libstas::nvme::Tid;
use libstas::nvme::admin::DimTask;

use super::optional::Command;
use super::wire::{NotRegistered, RegisterError, RegisterRequest};
use super::{Context, Effect, Finder};

/// A wanted registration: on which connection, and under which symbolic name.
type WantedRegistration = (Time, Option<String>);

/// The state of the registration with one discovery controller.
#[derive(Clone, Debug, Default)]
pub(super) struct Registration {
    /// The registration that has succeeded.
    done: Option<WantedRegistration>,
    /// The registration that has been requested and not answered yet.
    asked: Option<(OpId, WantedRegistration)>,
    /// The registration that is not requested again: it was refused permanently, or the controller has no register.
    settled: Option<WantedRegistration>,
    /// Why this host is not registered.
    failure: Option<RegisterError>,
    backoff: Backoff,
}

impl Registration {
    /// The text for users: `registered`, or why this host is not registered; `None` if no registration is requested.
    pub(super) fn display_text(&self) -> Option<String> {
        match (&self.failure, &self.done) {
            (Some(reason), _) => Some(format!("not registered: {reason}")),
            (None, Some(_)) => Some("registered".to_owned()),
            (None, None) => None,
        }
    }

    /// The connection is gone, and its registration with it.
    pub(super) fn disconnected(&mut self) {
        *self = Self { asked: self.asked.take(), ..Self::default() };
    }
}

impl Finder {
    /// Registers this host, unless it is registered already or need not be.
    pub(super) fn register(&mut self, ctx: &mut Context<'_>, tid: &Tid) {
        let Some(settings) = &self.settings else { return };
        let Some(kernel) = self.reconciler.fleet.kernel(tid) else { return };
        let ask_type = match (kernel.cntrltype, kernel.dctype) {
            (_, Dctype::Ddc | Dctype::Cdc) => false,
            // The kernel does not report the type (before 5.18).
            (CtrlType::Unknown, Dctype::None) => true,
            (_, Dctype::None) => return,
        };
        // The register must have the host ID of the connection.
        let of_kernel = settings.identity.with_kernel_id(&kernel.hostnqn, &kernel.hostid);
        let identity = of_kernel.map_or_else(|| settings.identity.clone(), Arc::new);
        let Some(dc) = self.dcs.get_mut(tid) else { return };
        let Some(connection) = dc.connection else { return };
        if !dc.optional.allows(Command::Register) {
            return;
        }
        let desired = (connection.since, identity.symname.clone());
        let known = &mut dc.registration;
        if known.asked.is_some() || known.done.as_ref() == Some(&desired) || known.settled.as_ref() == Some(&desired) {
            return;
        }
        let registered = known.done.as_ref().is_some_and(|(since, _)| *since == connection.since);
        let task = if registered { DimTask::Update } else { DimTask::Register };
        let op = ctx.next_op();
        known.asked = Some((op, desired));
        ctx.timers.cancel(&Timer::Register(tid.clone()));
        let request = RegisterRequest { tid: tid.clone(), task, identity, ask_type };
        ctx.push(Effect::Register { op, ctrl: connection.ctrl, request: Box::new(request) });
    }

    /// Takes the answer, however late.
    pub(super) fn registered(&mut self, ctx: &mut Context<'_>, op: OpId, result: Result<(), NotRegistered>) {
        let asked = |known: &Registration| known.asked.as_ref().is_some_and(|(asked, _)| *asked == op);
        let Some((tid, dc)) = self.dcs.iter_mut().find(|(_, dc)| asked(&dc.registration)) else { return };
        let tid = tid.clone();
        let known = &mut dc.registration;
        let Some((_, desired)) = known.asked.take() else { return };
        let Some(connection) = dc.connection.filter(|connection| connection.since == desired.0) else {
            // The request belongs to an earlier connection: its answer counts only if it ended that connection.
            if result == Err(NotRegistered::Lost) {
                dc.optional.failed(Command::Register);
                self.connection_lost(ctx, &tid);
            }
            self.register(ctx, &tid);
            return;
        };
        if result == Err(NotRegistered::Lost) {
            dc.optional.failed(Command::Register);
        }
        let known = &mut dc.registration;
        let mut record = None;
        match result {
            Ok(()) => {
                dc.optional.allow_again(Command::Register);
                known.failure = None;
                known.backoff.reset();
                known.done = Some(desired);
                record = Some((Level::Info, "this host is registered".to_owned()));
            }
            // When the kernel reports the loss, it is decided whether the command has caused it.
            Err(NotRegistered::NoRegister | NotRegistered::Lost) => known.settled = Some(desired),
            Err(NotRegistered::Failed { reason, again }) => {
                let after = if again {
                    let wait = known.backoff.next(ctx.jitter());
                    ctx.timers.set(Timer::Register(tid.clone()), ctx.now + wait);
                    "it stays in use; retrying with growing intervals"
                } else {
                    known.settled = Some(desired);
                    "it stays in use; retrying after its next connect"
                };
                if known.failure.as_ref() != Some(&reason) {
                    let text = format!("it does not register this host: {reason}; {after}");
                    record = Some((Level::Warning, text));
                }
                known.failure = Some(reason);
            }
        }
        if let Some((level, text)) = record {
            let record = LogRecord { level, tid: Some(tid.clone()), ctrl: Some(connection.ctrl), text };
            ctx.log(record);
        }
        if !matches!(ctx.timers.get(&Timer::Register(tid.clone())), Some(at) if at > ctx.now) {
            // The symbolic name may have changed meanwhile.
            self.register(ctx, &tid);
        }
    }
}
