//! One connection: a state machine that takes the bytes of the host and returns those of the controller.
//!
//! Call [`Connection::receive`] with received bytes, [`Connection::change`] when the page of the host has changed, and
//! [`Connection::tick`] at [`Connection::deadline`]. Each returns [`Output`]s, to be performed in order.

mod admin;
mod events;
mod properties;
mod session;
mod transfer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use stas_nvme::admin::Status;

use crate::command::{Ask, Command, Completion, DataPointer, status};
use crate::fault::{Fault, Stage};
use crate::pdu::incoming::FatalStatus;
use crate::pdu::{Digests, Fatal, Framer, Incoming, outgoing};
use crate::world::World;

pub use session::Session;
use transfer::Transfers;

/// An operation on the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Close the socket when everything is sent.
    Close,
    /// Reset the connection (RST) when everything before it is handed to the network.
    Reset,
    /// Write a line to the log.
    Say(String),
}

/// The state of a connection.
#[derive(Debug)]
pub struct Connection {
    /// The address of the host.
    pub peer: SocketAddr,
    /// The local address.
    pub local: SocketAddr,
    /// The port ID of the listener.
    pub port: u16,
    phase: Phase,
    framer: Framer,
    digests: Digests,
    transfers: Transfers,
    out: Vec<Output>,
}

/// The phase of a connection.
#[derive(Debug)]
enum Phase {
    /// The TCP connection is established.
    Fresh,
    /// ICResp has been sent.
    Initialized,
    /// Connect has succeeded.
    Connected(Box<Session>),
    /// A fault has stopped all answers.
    Silent(Option<Box<Session>>),
    /// It has ended; further input is ignored.
    Over,
}

impl Connection {
    /// Creates the state for a connection accepted by the listener with that port ID.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr, port: u16) -> Self {
        Self {
            peer,
            local,
            port,
            phase: Phase::Fresh,
            framer: Framer::default(),
            digests: Digests::default(),
            transfers: Transfers::default(),
            out: Vec::new(),
        }
    }

    /// The result of Connect, while the connection exists.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Connected(session) | Phase::Silent(Some(session)) => Some(session),
            _ => None,
        }
    }

    /// The NQN of the host, once known.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.session().map(|session| session.host.as_str())
    }

    /// The negotiated digests.
    #[must_use]
    pub fn digests(&self) -> Digests {
        self.digests
    }

    /// The phase in one word.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Fresh => "fresh",
            Phase::Initialized => "initialized",
            Phase::Connected(_) => "connected",
            Phase::Silent(_) => "silent",
            Phase::Over => "over",
        }
    }

    /// Takes received bytes.
    pub fn receive(&mut self, now: Duration, bytes: &[u8], world: &mut World) -> Vec<Output> {
        if matches!(self.phase, Phase::Silent(_) | Phase::Over) {
            return Vec::new();
        }
        if let Phase::Connected(session) = &mut self.phase {
            session.heard = now;
        }
        self.framer.push(bytes);
        while !matches!(self.phase, Phase::Silent(_) | Phase::Over) {
            match self.framer.next_pdu() {
                Ok(Some(pdu)) => self.take(now, pdu, world),
                Ok(None) => break,
                Err(fatal) => self.terminate(&fatal),
            }
        }
        std::mem::take(&mut self.out)
    }

    /// The page of this host has changed.
    pub fn change(&mut self, world: &mut World) -> Vec<Output> {
        let host = self.host().map(ToOwned::to_owned);
        if world.faults.strikes(host.as_deref(), &Fault::DropEvents) {
            return Vec::new();
        }
        let times = if world.faults.strikes(host.as_deref(), &Fault::DuplicateEvents) { 2 } else { 1 };
        if let Phase::Connected(session) = &mut self.phase {
            session.events.change(times);
        }
        self.send_events(world)
    }

    /// Sends events without a change.
    pub fn force_events(&mut self, count: u32, world: &mut World) -> Vec<Output> {
        if let Phase::Connected(session) = &mut self.phase {
            session.events.force(count);
        }
        self.send_events(world)
    }

    /// When [`Connection::tick`] is due because the keep alive timeout of the host expires.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Connected(session) => session.keep_alive_deadline(),
            _ => None,
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Output> {
        if let (Phase::Connected(session), Some(deadline)) = (&self.phase, self.deadline())
            && deadline <= now
        {
            let said = format!("{} sent nothing for its keep alive timeout: closed", session.host);
            self.phase = Phase::Over;
            return vec![Output::Say(said), Output::Close];
        }
        Vec::new()
    }

    fn take(&mut self, now: Duration, pdu: Incoming, world: &mut World) {
        match (pdu, &self.phase) {
            (Incoming::Initialize { version, digests }, Phase::Fresh) => self.initialize(version, digests, world),
            (Incoming::Terminate { status, information }, _) => {
                let said =
                    format!("the host at {} terminated the connection: fatal error {status}, {information}", self.peer);
                self.out.extend([Output::Say(said), Output::Close]);
                self.phase = Phase::Over;
            }
            (Incoming::Command { entry, data }, Phase::Initialized | Phase::Connected(_)) => {
                self.command(now, &Command::parse(&entry), data, world);
            }
            (Incoming::Data { cid, ttag, offset, data, last }, Phase::Initialized | Phase::Connected(_)) => {
                match self.transfers.take(cid, ttag, offset, data, last) {
                    Ok(None) => {}
                    Ok(Some((command, data))) => self.carry_out(now, &command, data.as_deref(), world),
                    Err(at) => {
                        self.terminate(&Fatal {
                            status: FatalStatus::DataOutOfRange,
                            information: at,
                            header: Vec::new(),
                        });
                    }
                }
            }
            _ => self.terminate(&Fatal { status: FatalStatus::Sequence, information: 0, header: Vec::new() }),
        }
    }

    fn initialize(&mut self, version: u16, digests: Digests, world: &mut World) {
        if world.faults.strikes(None, &Fault::Silent { before: Stage::Icresp }) {
            self.phase = Phase::Silent(None);
            return;
        }
        if version != 0 {
            let status = FatalStatus::UnsupportedParameter;
            return self.terminate(&Fatal { status, information: 8, header: Vec::new() });
        }
        self.out.push(Output::Send(outgoing::ic_response(digests)));
        self.digests = digests;
        self.framer.agree(digests);
        self.phase = Phase::Initialized;
    }

    /// A command has arrived. Its data may have to be requested.
    fn command(&mut self, now: Duration, command: &Command, data: Option<Vec<u8>>, world: &mut World) {
        if let Phase::Connected(session) = &mut self.phase {
            session.queue.advance();
        }
        if !command.brings_data() {
            return self.carry_out(now, command, data.as_deref(), world);
        }
        match (command.data, data) {
            (_, None) => self.answer(command.cid, 0, status::TRANSPORT),
            (DataPointer::Capsule { offset, len }, Some(data)) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = data.get(from..).map(|rest| rest.get(..len as usize));
                match part {
                    Some(Some(part)) => self.carry_out(now, command, Some(part), world),
                    Some(None) => self.answer(command.cid, 0, status::DATA_LENGTH),
                    None => self.answer(command.cid, 0, status::SGL_OFFSET),
                }
            }
            (DataPointer::Host { len }, _) => match self.transfers.begin(command.clone(), len) {
                Some(ttag) => {
                    let pdu = outgoing::ready_to_transfer(self.digests, command.cid, ttag, 0, len);
                    self.out.push(Output::Send(pdu));
                }
                None => self.answer(command.cid, 0, status::DATA_LENGTH),
            },
            (DataPointer::Unknown(_), _) => self.answer(command.cid, 0, status::SGL_TYPE),
        }
    }

    /// A command and all its data have arrived. `None`: the data had a wrong digest.
    fn carry_out(&mut self, now: Duration, command: &Command, data: Option<&[u8]>, world: &mut World) {
        let Some(data) = data else { return self.answer(command.cid, 0, status::TRANSPORT) };
        match (&command.ask, &self.phase) {
            (Ask::Connect(connect), Phase::Initialized) => self.connect(now, command.cid, *connect, data, world),
            (_, Phase::Connected(_)) => self.serve(now, command, data, world),
            _ => self.answer(command.cid, 0, status::SEQUENCE),
        }
    }

    fn answer(&mut self, cid: u16, result: u64, status: Status) {
        let head = self.session().map_or(0, |session| session.queue.head());
        let completion = Completion { cid, result, head, status };
        self.out.push(Output::Send(outgoing::response(self.digests, &completion.encode())));
    }

    fn terminate(&mut self, fatal: &Fatal) {
        let said = format!(
            "the host at {} violated the protocol ({:?}, at {}): terminated",
            self.peer, fatal.status, fatal.information
        );
        self.out.extend([Output::Say(said), Output::Send(outgoing::terminate(fatal)), Output::Close]);
        self.phase = Phase::Over;
    }

    fn send_events(&mut self, world: &mut World) -> Vec<Output> {
        if let Phase::Connected(session) = &mut self.phase {
            for cid in session.events.due() {
                let result = stas_nvme::aen::DISCOVERY_LOG_CHANGED.into();
                count(world, &session.host, &mut session.counts, "event");
                let head = session.queue.head();
                let completion = Completion { cid, result, head, status: status::SUCCESS };
                self.out.push(Output::Send(outgoing::response(self.digests, &completion.encode())));
            }
        }
        std::mem::take(&mut self.out)
    }
}

/// Counts a command or event for a connection and its host.
fn count(world: &mut World, host: &str, counts: &mut BTreeMap<&'static str, u64>, what: &'static str) {
    *counts.entry(what).or_default() += 1;
    if let Some(host) = world.hosts.get_mut(host) {
        host.count(what);
    }
}
