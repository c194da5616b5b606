//! The records between a daemon and stas-net: JSON in frames, each after its length (u32, big-endian).
//!
//! Every field has a type and every size a limit, in both directions. Bytes that exceed a limit, or that are not a
//! record, end the connection.

use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use stas_core::browse::{BrowseCommand, BrowseEvent, ENDPOINTS_PER_SERVICE, Endpoint};
use stas_core::{OsError, Portal, ProbeError, ProbeFailure, ProbeOutcome, ResolveError};
use stas_nvme::{announcement, shown};

/// Longest record in bytes.
pub const RECORD_MAX: usize = 64 * 1024;
/// Maximum number of services in one record, so that the longest ones stay below [`RECORD_MAX`].
pub const SERVICES_PER_RECORD: usize = 8;
/// Maximum number of addresses of a host name. Further ones are dropped.
pub const ADDRESSES_MAX: usize = 64;
/// Longest host name in bytes. DNS allows 253.
pub const NAME_MAX: usize = 255;
/// Longest full name of a service in bytes. DNS allows 255; the text form escapes some of these bytes.
pub const SERVICE_MAX: usize = 1020;
/// Longest value of a TXT record in bytes. On the network it has at most 255 bytes; each may be invalid UTF-8, and is
/// then replaced by a character of three bytes.
pub const TXT_MAX: usize = 765;
/// Longest address, port or interface name of a portal in bytes.
const PORTAL_MAX: usize = 128;
/// Longest error message in bytes.
const ERROR_MAX: usize = 256;

/// Length of a frame's head.
const HEAD: usize = 4;

/// The only task of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Resolve host names.
    Names,
    /// Probe portals.
    Probe,
    /// Browse for discovery controllers.
    Mdns,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Names => "host names",
            Self::Probe => "probes",
            Self::Mdns => "mDNS",
        })
    }
}

/// A record from a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The first record of a connection, and only that.
    Role(Role),
    /// [`Role::Names`]: resolve a name. Answered by [`Report::Resolved`].
    Resolve {
        /// Number of the request.
        id: u64,
        /// The host name.
        name: String,
    },
    /// [`Role::Probe`]: probe a portal. Answered by [`Report::Probed`].
    Probe {
        /// Number of the request.
        id: u64,
        /// The portal.
        portal: Portal,
    },
    /// [`Role::Mdns`]: a command to the browser. [`Report::Mdns`] follows.
    Browse(BrowseCommand),
}

/// A record to a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Report {
    /// The answer to [`Request::Resolve`].
    Resolved {
        /// Number of the request.
        id: u64,
        /// The addresses, or why there are none.
        result: Result<Vec<IpAddr>, Unresolved>,
    },
    /// The answer to [`Request::Probe`].
    Probed {
        /// Number of the request.
        id: u64,
        /// The verdict.
        verdict: Verdict,
    },
    /// Events of the mDNS browser.
    Mdns(Vec<MdnsEvent>),
}

/// Why a host name has no address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unresolved {
    /// The resolver answered with this error.
    Resolver(String),
    /// The resolver knows the name, but no address of it.
    NoAddress,
}

impl Unresolved {
    /// The reason, for that name.
    #[must_use]
    pub fn of(self, name: String) -> ResolveError {
        match self {
            Self::Resolver(error) => ResolveError::Resolver { name, error: OsError::new(safe(&error)) },
            Self::NoAddress => ResolveError::NoAddress(name),
        }
    }
}

/// The outcome of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The portal answers.
    Alive,
    /// The portal cannot be connected to, or does not serve NVMe/TCP.
    Dead(ProbeFailure),
    /// A local error, which says nothing about the portal.
    Unknown(String),
}

impl From<Verdict> for ProbeOutcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Alive => Self::Alive,
            Verdict::Dead(failure) => Self::Dead(failure),
            Verdict::Unknown(error) => Self::Unknown(ProbeError::Attempt(OsError::new(safe(&error)))),
        }
    }
}

/// An event of the mDNS browser, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MdnsEvent {
    /// A service is announced, or its announcement has changed.
    Announced {
        /// The full name of the service.
        service: String,
        /// The port of the SRV record.
        port: u16,
        /// The value of `p=` in the TXT record.
        p: Option<String>,
        /// The value of `nqn=` in the TXT record.
        nqn: Option<String>,
        /// Where it is announced.
        endpoints: Vec<Endpoint>,
    },
    /// The announcement ended.
    Gone(String),
    /// The browser was restarted.
    Restarted,
}

impl From<MdnsEvent> for BrowseEvent {
    /// Reads the TXT record ([`announcement::offer`]).
    fn from(event: MdnsEvent) -> Self {
        match event {
            MdnsEvent::Announced { service, port, p, nqn, endpoints } => {
                let value = |key, value: &'_ Option<String>| value.as_ref().map(|value| (key, value.clone()));
                let pairs: Vec<(&str, String)> = [value("p", &p), value("nqn", &nqn)].into_iter().flatten().collect();
                let pairs = pairs.iter().map(|(key, value)| (*key, Some(value.as_bytes())));
                let offer = announcement::offer(port, pairs);
                Self::Announced { service, offer, endpoints }
            }
            MdnsEvent::Gone(service) => Self::Gone(service),
            MdnsEvent::Restarted => Self::Restarted,
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The record is longer than [`RECORD_MAX`].
    #[error("a record of {0} bytes, where {RECORD_MAX} are allowed")]
    TooLong(usize),
    /// The record is not JSON, or has an unknown field or value.
    #[error("an unknown record ({0})")]
    Unknown(String),
    /// A value exceeds its limit.
    #[error("{0} beyond its limit")]
    Limit(&'static str),
}

/// A record of one direction.
pub trait Record: Serialize + DeserializeOwned {
    /// Checks the limits of the values.
    ///
    /// # Errors
    /// [`WireError::Limit`].
    fn check(&self) -> Result<(), WireError>;

    /// The record as a frame.
    ///
    /// # Errors
    /// [`WireError`] if it exceeds a limit, so that the other side would refuse it.
    fn frame(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let body = serde_json::to_vec(self).map_err(|error| WireError::Unknown(error.to_string()))?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= RECORD_MAX);
        let length = length.ok_or(WireError::TooLong(body.len()))?;
        Ok([&length.to_be_bytes()[..], &body].concat())
    }

    /// Reads the content of a frame.
    ///
    /// # Errors
    /// [`WireError`] if it is not a record, or exceeds a limit.
    fn parse(body: &[u8]) -> Result<Self, WireError> {
        // The message of serde_json may quote the record.
        let unknown = |error: serde_json::Error| WireError::Unknown(safe(&error.to_string()));
        let record: Self = serde_json::from_slice(body).map_err(unknown)?;
        record.check()?;
        Ok(record)
    }
}

impl Record for Request {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Role(_) => Ok(()),
            Self::Resolve { name, .. } => limit("a host name", name.len(), NAME_MAX),
            Self::Probe { portal: Portal { traddr, trsvcid, host_traddr, host_iface }, .. } => {
                let longest = [traddr, trsvcid, host_traddr, host_iface].map(String::len).into_iter().max();
                limit("a portal", longest.unwrap_or_default(), PORTAL_MAX)
            }
            Self::Browse(BrowseCommand::Reconfirm(service)) => limit("a service", service.len(), SERVICE_MAX),
            Self::Browse(_) => Ok(()),
        }
    }
}

impl Record for Report {
    fn check(&self) -> Result<(), WireError> {
        let error = |text: &String| limit("an error message", text.len(), ERROR_MAX);
        match self {
            Self::Resolved { result: Ok(addresses), .. } if addresses.is_empty() => {
                Err(WireError::Limit("the number of addresses"))
            }
            Self::Resolved { result: Ok(addresses), .. } => {
                limit("the number of addresses", addresses.len(), ADDRESSES_MAX)
            }
            Self::Resolved { result: Err(Unresolved::Resolver(text)), .. } => error(text),
            Self::Resolved { result: Err(Unresolved::NoAddress), .. } => Ok(()),
            Self::Probed { verdict: Verdict::Unknown(text), .. } => error(text),
            Self::Probed { .. } => Ok(()),
            Self::Mdns(events) => {
                limit("the number of services", events.len(), SERVICES_PER_RECORD)?;
                events.iter().try_for_each(MdnsEvent::check)
            }
        }
    }
}

impl MdnsEvent {
    /// Checks the limits of the values.
    ///
    /// # Errors
    /// [`WireError::Limit`].
    pub fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Announced { service, port: _, p, nqn, endpoints } => {
                limit("a service", service.len(), SERVICE_MAX)?;
                let longest = [p, nqn].into_iter().flatten().map(String::len).max();
                limit("a TXT record", longest.unwrap_or_default(), TXT_MAX)?;
                limit("the number of endpoints", endpoints.len(), ENDPOINTS_PER_SERVICE)
            }
            Self::Gone(service) => limit("a service", service.len(), SERVICE_MAX),
            Self::Restarted => Ok(()),
        }
    }
}

fn limit(what: &'static str, value: usize, limit: usize) -> Result<(), WireError> {
    if value > limit { Err(WireError::Limit(what)) } else { Ok(()) }
}

/// The start of an error message, within `ERROR_MAX` bytes, as it may be sent.
#[must_use]
pub fn error_text(text: &str) -> String {
    let mut end = text.len().min(ERROR_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// Text of stas-net in a form that is safe in a log.
fn safe(text: &str) -> String {
    shown(&error_text(text)).into_owned()
}

/// Cuts a stream of bytes into the contents of frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Where the bytes that arrive are to be appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Takes the next record. `None` until it is complete.
    ///
    /// # Errors
    /// [`WireError`]. The stream cannot be read any further then.
    pub fn next_record<R: Record>(&mut self) -> Result<Option<R>, WireError> {
        let Some(head) = self.bytes.first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length > RECORD_MAX {
            return Err(WireError::TooLong(length));
        }
        let Some(body) = self.bytes.get(HEAD..HEAD + length) else { return Ok(None) };
        let record = R::parse(body);
        self.bytes.drain(..HEAD + length);
        record.map(Some)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
