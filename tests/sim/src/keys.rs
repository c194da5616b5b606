//! DH-HMAC-CHAP: the key of the host (/etc/nvme/hostkey) and the key that all targets require for I/O controllers. Both
//! are changed, in either order; in the meantime connections are lost.

use std::time::Duration;

use libstas::core::{ConnectError, ConnectRequest, CtrlRef, CtrlState, HostEvent, Rotated, RotationError};
use libstas::nvme::{Purpose, Secret};

use crate::checks::may_serve;
use crate::fabric::TargetState;
use crate::invariants::Invariant;
use crate::kernel::{RECONNECT_DELAY, SimController};
use crate::mutants::Bug;
use crate::names::{Daemon, KEYS, Target, host_identity};
use crate::plan::{Action, Fault, InitialWorld, What};
use crate::rng::Rng;
use crate::world::{Incoming, QueuedEvent, Requester, World, trace};

/// Percentage of the plans in which keys are changed.
const SHARE: usize = 30;
/// After this time without a disturbance, stacd has compared the keys of all connections.
const CALM: Duration = Duration::from_secs(20);
/// Without probes a key is tried all the same.
const NO_PROBES: [Fault; 2] = [Fault::ProbesUnknown, Fault::ProbesHang];
/// EKEYREJECTED: the target refuses the key.
const KEY_REJECTED: i32 = 129;

/// The number of a key; 0: none.
pub(crate) type KeyNumber = u8;

/// The keys of the host and of the targets.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The content of /etc/nvme/hostkey.
    pub(crate) host: KeyNumber,
    /// The key that the targets require.
    targets: KeyNumber,
    /// Until then something happened that can delay stacd.
    disturbed_until: Duration,
}

impl Keys {
    /// Host and targets have the same key.
    pub(crate) fn agreed(key: KeyNumber) -> Self {
        Self { host: key, targets: key, disturbed_until: Duration::ZERO }
    }

    /// True if the targets accept the key of the host.
    pub(crate) fn agree(&self) -> bool {
        self.targets == 0 || self.host == self.targets
    }
}

/// Changes of keys, each followed by a loss of all connections; in half of the plans after everything else, which ends
/// at `quiet`.
pub(crate) fn actions(initial: &InitialWorld, seed: u64, quiet: Duration) -> Vec<Action> {
    let mut rng = Rng::new(seed, "keys");
    let mut actions = Vec::new();
    if !rng.percent(SHARE) {
        return actions;
    }
    let begin = if rng.percent(50) { quiet } else { Duration::ZERO };
    let mut at = begin + rng.ms(1_000, 30_000);
    for _ in 0..1 + rng.below(3) {
        let key = number(rng.below(KEYS.len() * 3 + 1));
        let apart = if rng.percent(50) { rng.ms(0, 2_000) } else { rng.ms(2_000, 40_000) };
        let host_first = rng.percent(50);
        actions.push(Action { at, what: What::ChangesKeys { key, host_first, apart } });
        let between = at + rng.between(Duration::ZERO, apart);
        at += apart + if rng.percent(50) { rng.ms(0, 3_000) } else { CALM + rng.ms(100, 10_000) };
        for lost in [between, at] {
            if rng.percent(70) {
                let target = Target(rng.below(initial.targets.len()));
                actions.push(Action { at: lost, what: What::DropsConnections(target) });
                if rng.percent(30) {
                    let fault = NO_PROBES[rng.below(NO_PROBES.len())];
                    let before = lost.saturating_sub(Duration::from_millis(100));
                    actions.push(Action { at: before, what: What::Fault(fault, rng.ms(5_000, 20_000)) });
                }
            }
        }
        at += rng.ms(0, 20_000);
    }
    actions
}

/// The key at the beginning.
pub(crate) fn initial(seed: u64) -> KeyNumber {
    let mut rng = Rng::new(seed, "first key");
    number(rng.below(KEYS.len() * 2 + 1))
}

/// Any of the keys; seldom 0.
fn number(roll: usize) -> KeyNumber {
    KeyNumber::try_from(if roll == 0 { 0 } else { 1 + roll % KEYS.len() }).unwrap_or_default()
}

/// The number of the key that a request contains.
fn key_of(request: &ConnectRequest) -> KeyNumber {
    let secrets = request.parameters.dhchap_secrets(request.identity.key.as_ref());
    let host = secrets.map(|secrets| secrets.host);
    let known = |key: &str| host.as_ref().is_some_and(|host: &Secret| host.reveal() == key);
    KEYS.iter().position(|key| known(key)).and_then(|at| KeyNumber::try_from(at + 1).ok()).unwrap_or_default()
}

/// The error of a connect with a key that the target does not accept.
pub(crate) fn refused() -> ConnectError {
    ConnectError::Kernel { errno: KEY_REJECTED, explanation: "authentication failed".into() }
}

impl World {
    /// An action that may delay stacd disturbs the change of keys.
    pub(crate) fn may_disturb_keys(&mut self, what: &What) {
        let harmless = match what {
            What::DropsConnections(_) => true,
            What::Fault(fault, _) => NO_PROBES.contains(fault),
            _ => false,
        };
        if !harmless {
            self.disturbs_keys(self.now + Action::lasts(what));
        }
    }

    /// Something happens that may delay stacd until that time.
    pub(crate) fn disturbs_keys(&mut self, until: Duration) {
        self.keys.disturbed_until = self.keys.disturbed_until.max(until);
    }

    /// The host or the targets get the key, and the others after that time.
    pub(crate) fn change_keys(&mut self, key: KeyNumber, host_first: bool, apart: Duration) {
        if host_first {
            self.set_host_key(key);
        } else {
            self.set_target_key(key);
        }
        self.after(apart, QueuedEvent::KeyFollows(host_first));
    }

    /// The second half of a change: afterwards both have the same key.
    pub(crate) fn key_follows(&mut self, host_first: bool) {
        if host_first {
            self.set_target_key(self.keys.host);
        } else {
            self.set_host_key(self.keys.targets);
        }
    }

    fn set_target_key(&mut self, key: KeyNumber) {
        trace!(self, "the targets require the key number {key}");
        self.keys.targets = key;
        self.disturbs_keys(self.now);
    }

    fn set_host_key(&mut self, key: KeyNumber) {
        trace!(self, "/etc/nvme/hostkey gets the key number {key}");
        self.keys.host = key;
        let mut identity = (*self.identity).clone();
        identity.key = host_identity(0, key).key;
        self.identity = std::sync::Arc::new(identity);
        self.disturbs_keys(self.now);
        self.reload_soon(Daemon::Stacd);
    }

    /// True if the target accepts the key of a connection.
    pub(crate) fn accepts_key_of(&self, known: &SimController) -> bool {
        known.subsystem.is_none() || self.keys.targets == 0 || known.key == self.keys.targets
    }

    /// The key of a connect request of a daemon.
    pub(crate) fn key_of(request: &ConnectRequest) -> KeyNumber {
        if request.purpose == Purpose::Io { key_of(request) } else { 0 }
    }

    /// The kernel removes a connection because the target refuses its key. That must not happen if host and target have
    /// agreed on another key for a while, the connection is one of stacd, and the kernel waited before it reconnected.
    pub(crate) fn refused_for_its_key(&mut self, ctrl: CtrlRef) {
        trace!(self, "kernel: {ctrl} is removed, its key is refused: {}", self.describe(ctrl));
        let Some(known) = self.kernel.get(ctrl) else { return };
        let Some(down_since) = known.down_since else { return };
        let mut targets = (0..self.plan.initial.targets.len()).map(Target);
        let all_answer = targets.all(|target| self.fabric.state(target) == TargetState::Answering);
        let is_calm = self.faults.keys().all(|fault| NO_PROBES.contains(fault))
            && all_answer
            && self.keys.disturbed_until + CALM <= down_since
            && self.keys.host == self.keys.targets
            && self.now >= down_since + RECONNECT_DELAY;
        let uses = |tid| {
            let connector = self.stac.core.as_ref()?;
            let member = connector.controller(tid)?.member;
            // stacd also shows connections of the boot table that it does not use.
            Some(
                connector.saved().members.contains(tid)
                    && member.kernel.is_some_and(|kernel| kernel.ctrl == ctrl)
                    && member.status.is_wanted(),
            )
        };
        let tids = may_serve(known);
        // What the boot table lists is kept although it is excluded, but not used.
        let is_excluded = tids.iter().any(|tid| self.oracle.excludes(Daemon::Stacd, tid));
        if is_calm && known.key != 0 && !is_excluded && tids.iter().any(|tid| uses(tid) == Some(true)) {
            self.breach(
                Invariant::Keys,
                format!("{ctrl} is lost: it has the key {}, host and target another one", known.key),
            );
        }
    }

    /// Compares the key of a connection with the one of the request, and changes it if it is lost and the target accepts
    /// the new one.
    pub(crate) fn rotate(&mut self, requester: Requester, ctrl: CtrlRef, request: Box<ConnectRequest>) {
        if !self.is_current(requester) {
            return;
        }
        let wait = self.streams.latency("rotated");
        if self.kernel.is_busy() {
            self.kernel.rotations.push_back((requester, ctrl, request));
            return;
        }
        let key = key_of(&request);
        let ctrl = self.unmask(ctrl);
        let outcome = match self.kernel.get(ctrl) {
            None => Rotated::Unknown(RotationError::Gone),
            Some(known) if known.key == key => Rotated::Current,
            Some(known) if known.key == 0 => Rotated::Impossible,
            Some(known) if known.shown.state != CtrlState::Connecting => Rotated::Later,
            Some(known) if !self.is_reachable(known) => {
                let silent = ConnectError::Kernel { errno: 110, explanation: "no answer in time".into() };
                Rotated::Unknown(RotationError::Trial(silent))
            }
            Some(_) if self.keys.targets == 0 => {
                let proof = RotationError::Trial(refused());
                Rotated::Unknown(RotationError::NoProof(Box::new(proof)))
            }
            Some(_) if self.keys.targets == key => Rotated::Written,
            Some(_) => Rotated::Refused(refused()),
        };
        let outcome =
            if self.has_bug(Bug::KeyNotWritten) && outcome == Rotated::Written { Rotated::Later } else { outcome };
        if let Some(known) = self.kernel.get_mut(ctrl).filter(|_| outcome == Rotated::Written) {
            known.key = key;
        }
        trace!(self, "the key of {ctrl}: {outcome:?}");
        let event = HostEvent::SecretsRotated { op: requester.op, outcome, blocked_for: wait };
        self.answer(requester, wait, Incoming::Host(event));
    }
}
