//! The commands that a discovery controller supports.

use std::time::Duration;

use stas_nvme::admin::{DimTask, Status};
use stas_nvme::dim::Registration;
use stas_nvme::identify::Version;
use stas_nvme::{log_page, supported};

use super::{Connection, Output, Phase};
use crate::command::{Ask, Command, DataPointer, status};
use crate::fault::{Fault, Optional, Stage};
use crate::pdu::outgoing;
use crate::world::{PageRequest, Registered, TRANSFER_MAX, VERSION, World};

/// CNS of the Identify Controller data structure.
const CNS_CONTROLLER: u8 = 0x01;
/// The feature identifiers.
const ASYNCHRONOUS_EVENTS: u8 = 0x0b;
const KEEP_ALIVE_TIMER: u8 = 0x0f;

impl Connection {
    /// Performs a command of a connected host.
    pub(super) fn serve(&mut self, now: Duration, command: &Command, data: &[u8], world: &mut World) {
        self.count(command.name(), world);
        let Phase::Connected(session) = &mut self.phase else { return };
        let cid = command.cid;
        let is_fabrics = matches!(command.ask, Ask::Connect(_) | Ask::PropertyGet { .. } | Ask::PropertySet { .. });
        if !is_fabrics && !session.properties.is_enabled() {
            return self.answer(cid, 0, status::SEQUENCE);
        }
        let optional = match &command.ask {
            Ask::GetLogPage { lid: supported::LID, .. } => Some(Optional::SupportedLogPages),
            Ask::Inform(_) => Some(Optional::Register),
            _ => None,
        };
        if let Some(on) = optional
            && world.faults.strikes(Some(&session.host), &Fault::Close { on })
        {
            self.out.extend([Output::Say(format!("closed for {}", command.name())), Output::Reset]);
            self.phase = Phase::Over;
            return;
        }
        match &command.ask {
            Ask::Connect(_) => self.answer(cid, 0, status::SEQUENCE),
            Ask::PropertyGet { offset, wide } => match session.properties.get(*offset, *wide) {
                Some(value) => self.answer(cid, value, status::SUCCESS),
                None => self.answer(cid, 0, status::INVALID_FIELD),
            },
            Ask::PropertySet { offset, value } => match session.properties.set(*offset, *value) {
                Some(()) => self.answer(cid, 0, status::SUCCESS),
                None => self.answer(cid, 0, status::INVALID_FIELD),
            },
            Ask::Identify { cns: CNS_CONTROLLER } => {
                let cntlid = session.cntlid;
                let old = world.faults.strikes(Some(&session.host), &Fault::Old);
                let version = if old { Version::V1_3 } else { VERSION };
                self.give(command, &world.identity.identify(cntlid, version));
            }
            Ask::Identify { .. } => self.answer(cid, 0, status::INVALID_FIELD),
            Ask::GetLogPage { lid, lsp, retain, offset, len } => {
                self.log_page(command, *lid, *lsp, *retain, (*offset, *len), world);
            }
            Ask::SetFeatures { fid: ASYNCHRONOUS_EVENTS, value } => {
                session.events.configure(*value);
                self.answer(cid, 0, status::SUCCESS);
            }
            Ask::SetFeatures { fid: KEEP_ALIVE_TIMER, value } => {
                session.kato = *value;
                self.answer(cid, 0, status::SUCCESS);
            }
            Ask::GetFeatures { fid: ASYNCHRONOUS_EVENTS } => {
                let value = session.events.configuration();
                self.answer(cid, value.into(), status::SUCCESS);
            }
            Ask::GetFeatures { fid: KEEP_ALIVE_TIMER } => {
                let value = session.kato;
                self.answer(cid, value.into(), status::SUCCESS);
            }
            Ask::SetFeatures { .. } | Ask::GetFeatures { .. } => self.answer(cid, 0, status::INVALID_FIELD),
            Ask::AsynchronousEvent => {
                if session.events.request(cid) {
                    let sent = self.send_events(world);
                    self.out.extend(sent);
                } else {
                    self.answer(cid, 0, status::TOO_MANY_EVENTS);
                }
            }
            Ask::KeepAlive => {
                if !world.faults.strikes(Some(&session.host), &Fault::IgnoreKeepAlive) {
                    self.answer(cid, 0, status::SUCCESS);
                }
            }
            Ask::Inform(task) => {
                let status = self.inform(now, *task, data, world);
                self.answer(cid, 0, status);
            }
            Ask::Other { .. } => self.answer(cid, 0, status::INVALID_OPCODE),
        }
    }

    /// The Get Log Page command.
    fn log_page(
        &mut self,
        command: &Command,
        lid: u8,
        lsp: u8,
        retain: bool,
        (offset, len): (u64, u64),
        world: &mut World,
    ) {
        let Phase::Connected(session) = &mut self.phase else { return };
        let page = match lid {
            supported::LID => world.identity.supported_log_pages(),
            log_page::LID => {
                let host = session.host.as_str();
                if world.faults.strikes(Some(host), &Fault::Silent { before: Stage::LogPage }) {
                    return;
                }
                let pick = |fault: &Fault| match fault {
                    Fault::LogPageStatus { status } => Some(Status(status.0)),
                    _ => None,
                };
                if let Some(status) = world.faults.take(Some(host), pick) {
                    return self.answer(command.cid, 0, status);
                }
                // A page is read in parts, which all belong to the page whose header was read.
                if offset == 0 || session.page.is_empty() {
                    session.page = world.page(PageRequest { host, local: self.local, port: self.port }, lsp);
                }
                if !retain {
                    session.events.unmask();
                }
                session.page.clone()
            }
            _ => return self.answer(command.cid, 0, status::INVALID_LOG_PAGE),
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(rest) = page.get(from..).filter(|_| offset % 4 == 0) else {
            return self.answer(command.cid, 0, status::INVALID_FIELD);
        };
        if len > TRANSFER_MAX {
            return self.answer(command.cid, 0, status::INVALID_FIELD);
        }
        // The rest of the requested length is filled with zeros.
        let len = usize::try_from(len).unwrap_or_default();
        let mut part = rest.get(..len).unwrap_or(rest).to_vec();
        part.resize(len, 0);
        let pick = |fault: &Fault| match fault {
            Fault::ResetLogPage { after } if lid == log_page::LID => Some(*after),
            _ => None,
        };
        match world.faults.take(Some(&session.host), pick) {
            Some(after) => self.break_off(command.cid, &part, after as usize),
            None => self.give(command, &part),
        }
    }

    /// Sends the beginning of the data, and resets the connection.
    fn break_off(&mut self, cid: u16, data: &[u8], after: usize) {
        let mut pdus = outgoing::data(self.digests, cid, data);
        pdus.truncate(crate::pdu::SHORT_LEN + after);
        let said = format!("reset in the middle of a log page, {} bytes sent", pdus.len());
        self.out.extend([Output::Send(pdus), Output::Say(said), Output::Reset]);
        self.phase = Phase::Over;
    }

    /// Sends the data to the host, with a successful completion.
    fn give(&mut self, command: &Command, data: &[u8]) {
        match command.data {
            DataPointer::Host { len } if len as usize >= data.len() => {
                self.out.push(Output::Send(outgoing::data(self.digests, command.cid, data)));
                self.answer(command.cid, 0, status::SUCCESS);
            }
            DataPointer::Host { .. } => self.answer(command.cid, 0, status::DATA_LENGTH),
            DataPointer::Capsule { .. } | DataPointer::Unknown(_) => self.answer(command.cid, 0, status::SGL_TYPE),
        }
    }

    /// The Discovery Information Management command (TP8010).
    fn inform(&mut self, now: Duration, task: Option<DimTask>, data: &[u8], world: &mut World) -> Status {
        let Phase::Connected(session) = &self.phase else { return status::SEQUENCE };
        let nqn = session.host.clone();
        let pick = |fault: &Fault| match fault {
            Fault::RegisterStatus { status } => Some(Status(status.0)),
            _ => None,
        };
        if let Some(status) = world.faults.take(Some(&nqn), pick) {
            return status;
        }
        let Some(task) = task else { return status::INVALID_FIELD };
        let registration = match Registration::parse(data) {
            Ok(registration) if registration.host_nqn == nqn => registration,
            Ok(registration) => {
                self.out.push(Output::Say(format!("{nqn} sent a registration for {}: refused", registration.host_nqn)));
                return status::INVALID_DISCOVERY_INFORMATION;
            }
            Err(error) => {
                self.out.push(Output::Say(format!("{nqn} sent discovery information that cannot be read: {error}")));
                return status::INVALID_DISCOVERY_INFORMATION;
            }
        };
        let from = self.peer.ip().to_canonical().to_string();
        let Some(host) = world.host(&nqn, now) else { return status::CONNECT_BUSY };
        match (task, &mut host.registered) {
            (DimTask::Register, registered) => {
                let times = registered.as_ref().map_or(0, |registered| registered.times) + 1;
                self.out
                    .push(Output::Say(format!("{nqn} is registered: {}, {}", registration.name, registration.version)));
                *registered = Some(Registered { registration, times, from });
                status::SUCCESS
            }
            (DimTask::Update, Some(registered)) => {
                self.out.push(Output::Say(format!("{nqn} has updated its registration")));
                *registered = Registered { registration, times: registered.times + 1, from };
                status::SUCCESS
            }
            (DimTask::Deregister, registered @ Some(_)) => {
                self.out.push(Output::Say(format!("{nqn} has removed its registration")));
                *registered = None;
                status::SUCCESS
            }
            // There is no registration to update or remove.
            (DimTask::Update | DimTask::Deregister, None) => status::INVALID_DISCOVERY_INFORMATION,
        }
    }
}
