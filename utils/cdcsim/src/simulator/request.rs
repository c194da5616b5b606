//! The requests of the control socket.

use std::time::Duration;

use serde_json::{Value, json};
use stas_nvme::DISCOVERY_NQN;

use super::{Action, Simulator, Vanished, show};
use crate::configuration::{Configuration, ConfigurationError, checked_nqn};
use crate::control::{OnOff, Reply, Request, Setting, Switch, ZoneChange};
use crate::fault::Fault;
use crate::zoning::{Member, Zoning, ZoningError};

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error(transparent)]
    Zoning(#[from] ZoningError),
    #[error("there is no fault {0}; see `cdcsim ctl show`")]
    NoFault(u32),
    /// A host for a fault that strikes before the host is known.
    #[error("this fault acts before the host has sent its NQN: leave out --host")]
    BeforeTheHost,
    /// A number of times for a fault that is not counted.
    #[error("this fault has a duration: use --seconds instead of --times")]
    Lasts,
    #[error("--times must be at least 1")]
    NoTimes,
}

/// The longest duration in a request: a year.
const LONG: u32 = 365 * 24 * 3600;

impl Simulator {
    /// Performs a request.
    pub fn request(&mut self, now: Duration, request: Request) -> (Reply, Vec<Action>) {
        let reply = match self.carry_out(now, request) {
            Ok(value) => Reply::Ok(value),
            Err(error) => Reply::Error(error.to_string()),
        };
        (reply, self.settle(now))
    }

    fn carry_out(&mut self, now: Duration, request: Request) -> Result<Value, RequestError> {
        match request {
            Request::Show => Ok(show::all(self)),
            Request::Hosts => Ok(show::hosts(self, now)),
            Request::Connections => Ok(show::connections(self, now)),
            Request::Page { host } => Ok(show::page(self, &host)),
            Request::Add { name, nqn, addresses, kind, ncc, epcsd, port, zones } => {
                let nqn = nqn.unwrap_or_else(|| DISCOVERY_NQN.to_owned());
                let member = Member { kind, nqn, addresses, ncc, epcsd, port, tls: false };
                self.rezone(now, |zoning| {
                    zoning.add_member(&name, member)?;
                    zones.iter().try_for_each(|zone| zoning.add_to_zone(zone, &[], std::slice::from_ref(&name)))
                })
            }
            Request::Remove { name } => self.rezone(now, |zoning| zoning.remove_member(&name)),
            Request::Zone { change: ZoneChange::Add(parts) } => {
                self.rezone(now, |zoning| zoning.add_to_zone(&parts.zone, &parts.hosts, &parts.members))
            }
            Request::Zone { change: ZoneChange::Remove(parts) } => {
                self.rezone(now, |zoning| zoning.take_from_zone(&parts.zone, &parts.hosts, &parts.members))
            }
            Request::Set { what } => self.set(now, what),
            Request::Load { text } => {
                let wanted = Configuration::parse(&text)?.zoning()?;
                self.rezone(now, |zoning| {
                    *zoning = wanted;
                    Ok(())
                })
            }
            Request::Event { host, count } => Ok(self.send_events(now, host.as_deref(), count)),
            Request::Fault { host, times, seconds, fault } => self.fail(now, host, times, seconds, fault),
            Request::Heal { id } => match (self.world.faults.heal(id), id) {
                (0, Some(id)) => Err(RequestError::NoFault(id)),
                (healed, _) => Ok(json!({ "healed": healed })),
            },
            Request::Disconnect { host } => Ok(json!({ "reset": self.reset(host.as_deref()) })),
            Request::Vanish { seconds, nqn, cntlid, empty } => {
                let nqn = nqn.map(|nqn| checked_nqn(&nqn)).transpose()?;
                let until = now + Duration::from_secs(seconds.min(LONG).into());
                let reset = self.reset(None);
                self.vanished = Some(Vanished { until, nqn, cntlid, empty });
                Ok(json!({ "reset": reset }))
            }
            Request::Stop => {
                self.actions.push(Action::Stop);
                Ok(Value::Null)
            }
        }
    }

    /// Changes members and zones, and notifies the affected hosts.
    fn rezone(
        &mut self,
        now: Duration,
        change: impl FnOnce(&mut Zoning) -> Result<(), ZoningError>,
    ) -> Result<Value, RequestError> {
        let concerned = self.world.rezone(change)?;
        self.tell(now, &concerned);
        Ok(json!({ "concerned": concerned }))
    }

    fn set(&mut self, now: Duration, what: Setting) -> Result<Value, RequestError> {
        match what {
            Setting::Ncc(Switch { name, value }) => {
                self.rezone(now, |zoning| zoning.member_mut(&name).map(|member| member.ncc = value == OnOff::On))
            }
            Setting::Epcsd(Switch { name, value }) => {
                self.rezone(now, |zoning| zoning.member_mut(&name).map(|member| member.epcsd = value == OnOff::On))
            }
            Setting::Nqn { nqn } => {
                self.world.identity.nqn = checked_nqn(&nqn)?;
                Ok(Value::Null)
            }
            Setting::Type { dctype } => {
                self.world.identity.dctype = dctype;
                Ok(Value::Null)
            }
            Setting::Cntlid { cntlid } => {
                self.world.count_cntlid_from(cntlid);
                Ok(Value::Null)
            }
        }
    }

    fn send_events(&mut self, now: Duration, host: Option<&str>, count: u32) -> Value {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        let mut concerned = 0;
        for id in ids {
            let Some(line) = self.connections.get_mut(&id) else { continue };
            if line.connection.session().is_none() || host.is_some() && line.connection.host() != host {
                continue;
            }
            concerned += 1;
            let outputs = line.connection.force_events(count, &mut self.world);
            self.put(now, id, outputs);
        }
        json!({ "connections": concerned })
    }

    fn fail(
        &mut self,
        now: Duration,
        host: Option<String>,
        times: Option<u32>,
        seconds: Option<u32>,
        fault: Fault,
    ) -> Result<Value, RequestError> {
        let knows_no_host = matches!(fault, Fault::Refuse | Fault::Silent { before: crate::fault::Stage::Icresp });
        if host.is_some() && knows_no_host {
            return Err(RequestError::BeforeTheHost);
        }
        let is_never_used = matches!(fault, Fault::Refuse | Fault::Storm { .. });
        if times.is_some() && is_never_used {
            return Err(RequestError::Lasts);
        }
        if times == Some(0) {
            return Err(RequestError::NoTimes);
        }
        let until = seconds.map(|seconds| now + Duration::from_secs(seconds.min(LONG).into()));
        Ok(json!({ "id": self.world.faults.add(fault, host, times, until) }))
    }
}
