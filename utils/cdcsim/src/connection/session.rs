//! The session that Connect creates: a controller for one host.

use std::collections::BTreeMap;
use std::time::Duration;

use super::events::Events;
use super::properties::Properties;
use super::{Connection, Output, Phase, count};
use crate::command::connect::{ANY_CONTROLLER, CNTLID_AT, HOSTNQN_AT, SUBNQN_AT, invalid_parameter};
use crate::command::{Connect, ConnectData, status};
use crate::fault::{Fault, Stage};
use crate::world::World;

/// The offset of QID in the Connect submission queue entry.
const QID_AT: u16 = 42;
/// The offset of SQSIZE.
const SQSIZE_AT: u16 = 44;
/// The offset of KATO.
const KATO_AT: u16 = 48;

/// The controller of one host.
#[derive(Debug)]
pub struct Session {
    /// The NQN of the host.
    pub host: String,
    /// The ID of the host.
    pub host_id: [u8; 16],
    /// The subsystem NQN that the host requested.
    pub subnqn: String,
    /// The ID of the controller.
    pub cntlid: u16,
    /// Keep alive timeout in milliseconds; 0: none.
    pub kato: u32,
    /// When the host last sent something.
    pub heard: Duration,
    /// Number of commands by name, and number of events.
    pub counts: BTreeMap<&'static str, u64>,
    /// The asynchronous events of the session.
    pub events: Events,
    pub(super) properties: Properties,
    pub(super) queue: Queue,
    /// The log page, as of the last read of its header.
    pub(super) page: Vec<u8>,
}

/// The head of the submission queue. It tells the host how many more commands it may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    head: u16,
    entries: u32,
    disabled: bool,
}

impl Queue {
    pub(super) fn advance(&mut self) {
        let next = (u32::from(self.head) + 1) % self.entries;
        self.head = u16::try_from(next).unwrap_or_default();
    }

    pub(super) fn head(&self) -> u16 {
        if self.disabled { 0xffff } else { self.head }
    }
}

impl Session {
    /// When the keep alive timeout expires.
    pub(super) fn keep_alive_deadline(&self) -> Option<Duration> {
        // Twice the time that the host has announced: a simulator on a busy machine must not be too strict.
        (self.kato != 0).then(|| self.heard + Duration::from_millis(self.kato.into()) * 2)
    }
}

impl Connection {
    /// The Connect command: creates the controller, or returns an error.
    pub(super) fn connect(&mut self, now: Duration, cid: u16, connect: Connect, data: &[u8], world: &mut World) {
        let parsed = ConnectData::parse(data);
        let host = parsed.as_ref().ok().map(|data| data.host_nqn.clone());
        if world.faults.strikes(host.as_deref(), &Fault::Silent { before: Stage::Connect }) {
            self.phase = Phase::Silent(None);
            return;
        }
        let pick = |fault: &Fault| match fault {
            Fault::ConnectStatus { status } => Some(status.0),
            Fault::RefuseKeepAlive if connect.kato != 0 => Some(status::CONNECT_PARAMETERS.0),
            _ => None,
        };
        if let Some(status) = world.faults.take(host.as_deref(), pick) {
            let result = if connect.kato == 0 { 0 } else { invalid_parameter(KATO_AT, false) };
            return self.answer(cid, result, stas_nvme::admin::Status(status));
        }
        if connect.recfmt != 0 {
            return self.answer(cid, 0, status::CONNECT_FORMAT);
        }
        let data = match check(connect, parsed, world) {
            Ok(data) => data,
            Err(result) => return self.answer(cid, result, status::CONNECT_PARAMETERS),
        };
        let Some(host) = world.host(&data.host_nqn, now) else { return self.answer(cid, 0, status::CONNECT_BUSY) };
        host.count("connect");
        let cntlid = world.give_cntlid();
        let entries = u32::from(connect.sqsize) + 1;
        // The Connect command itself has used the first entry of the queue.
        let queue = Queue { head: 1, entries, disabled: connect.disable_sqflow };
        let said = format!(
            "{} connected from {} as controller {cntlid}, keep alive {} ms",
            data.host_nqn, self.peer, connect.kato
        );
        let session = Box::new(Session {
            host: data.host_nqn,
            host_id: data.host_id,
            subnqn: data.subnqn,
            cntlid,
            kato: connect.kato,
            heard: now,
            counts: BTreeMap::new(),
            events: Events::default(),
            properties: Properties::default(),
            queue,
            page: Vec::new(),
        });
        let is_silent = world.faults.strikes(Some(&session.host), &Fault::Silent { before: Stage::Command });
        self.phase = Phase::Connected(session);
        self.out.push(Output::Say(said));
        self.answer(cid, cntlid.into(), status::SUCCESS);
        if is_silent {
            self.fall_silent();
        }
    }

    /// Stops all answers.
    pub(super) fn fall_silent(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Connected(session) => Phase::Silent(Some(session)),
            _ => Phase::Silent(None),
        };
    }

    /// Counts a command of this session.
    pub(super) fn count(&mut self, what: &'static str, world: &mut World) {
        if let Phase::Connected(session) = &mut self.phase {
            count(world, &session.host, &mut session.counts, what);
        }
    }
}

/// Checks all parameters of Connect. Returns the data, or the result that names the invalid parameter.
fn check(connect: Connect, data: Result<ConnectData, u16>, world: &World) -> Result<ConnectData, u64> {
    let wrong = |at, in_data| Err(invalid_parameter(at, in_data));
    if connect.qid != 0 {
        return wrong(QID_AT, false);
    }
    if connect.sqsize == 0 {
        return wrong(SQSIZE_AT, false);
    }
    match data {
        Err(at) => wrong(at, true),
        Ok(data) if data.cntlid != ANY_CONTROLLER => wrong(CNTLID_AT, true),
        Ok(data) if !world.identity.answers_to(&data.subnqn) => wrong(SUBNQN_AT, true),
        Ok(data) if data.host_nqn.len() > stas_nvme::NQN_MAX => wrong(HOSTNQN_AT, true),
        Ok(data) => Ok(data),
    }
}
