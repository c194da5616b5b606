//! Reads `controller=`.

use std::collections::BTreeMap;

use super::address::{self, Address, PartError};
use super::fields::EntryFields;
use crate::conf::complaints::{Complaints, Quoted, quoted};
use crate::conf::keys::{Key, KeyStatus};
use crate::conf::parameters;
use crate::conf::settings::KeyedFile;
use crate::conf::types::ControllerEntry;
use stas_nvme::tid::{parse_ip, parse_link_local};
use stas_nvme::{DISCOVERY_NQN, Parameters, Secret, Tid, TidParts, Transport};

/// Why a `controller=` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("it has no transport (tcp, rdma, fc or loop)")]
    NoTransport,
    #[error("it has no traddr")]
    NoTraddr,
    #[error("{name}: {why}")]
    Part { name: &'static str, why: PartError },
    #[error("it has no nqn, and an I/O controller has no default")]
    NoNqn,
    /// The well-known discovery NQN in stacd.conf.
    #[error(
        "its nqn is the well-known one of discovery controllers, which have no storage; discovery controllers are \
         configured in stafd.conf"
    )]
    DiscoveryNqn,
    #[error(
        "it has no host-traddr, which fc requires: the port of this host, as nn-0x<WWNN>:pn-0x<WWPN>, in a line for each \
         port"
    )]
    NoHostTraddr,
    #[error("host-traddr and traddr have different address families")]
    TwoFamilies,
    #[error("traddr is an address on interface {scope}, and host-iface is {host_iface}")]
    TwoInterfaces { scope: Quoted, host_iface: Quoted },
}

/// Names the part that is not valid.
fn part(name: &'static str) -> impl Fn(PartError) -> Refusal {
    move |why| Refusal::Part { name, why }
}

/// The value of a secret whose key is misspelled. It is malformed, so no connection is made with it.
const MISSPELLED: &str = "misspelled";

/// Kind of the controllers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Discovery controllers: NQN and port default to the well-known NQN and the port of discovery controllers.
    Discovery,
    /// I/O controllers: an entry needs an NQN.
    Io,
}

/// Reads one `controller=`. `None` if it is refused. `keys` is the table of the file and says which connection
/// parameters have an effect there.
pub(crate) fn controller(
    text: &str,
    line: usize,
    role: Role,
    keys: &[Key],
    complaints: &mut Complaints,
) -> Option<ControllerEntry> {
    let fields = EntryFields::read("controller=", text);
    if fields.is_empty() {
        complaints.warning(line, "controller= is empty; it is ignored");
        return None;
    }
    if let Some(why) = fields.misplaced_secret() {
        complaints.error(line, format!("controller= is refused: {why}"));
        return None;
    }
    for unknown in &fields.unknown {
        complaints.unknown(line, format!("controller=: {unknown}; this part is ignored"));
    }
    if fields.is_doubtful {
        complaints.mark_doubtful(line);
    }
    for key in &fields.twice {
        complaints.warning(line, format!("controller=: {key} is set more than once; the last value is used"));
    }
    let entry = identity(&fields, line, role, complaints);
    match entry {
        Ok(entry) => Some(ControllerEntry { parameters: parameters(&fields, line, keys, complaints), ..entry }),
        Err(why) => {
            complaints.error(line, format!("controller= is refused: {why}"));
            None
        }
    }
}

/// Complains about entries for one controller that differ in their parameters.
pub(crate) fn complain_of_duplicates(controllers: &[ControllerEntry], settings: &mut KeyedFile<'_>) {
    let mut first: BTreeMap<_, &ControllerEntry> = BTreeMap::new();
    for entry in controllers {
        let ControllerEntry { transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn, .. } = entry;
        let identity = (transport, traddr, trsvcid, subsysnqn, host_traddr, host_iface, host_nqn);
        let before = first.entry(identity).or_insert(entry);
        if before.parameters != entry.parameters {
            let text = format!(
                "controller=: line {} is for the same controller and has other parameters, which are used, with the \
                 secrets and the tls= of both lines",
                before.line
            );
            settings.error(entry.line, text);
        }
    }
}

/// Reads the identity of the controller: transport, addresses, port and NQNs.
fn identity(
    fields: &EntryFields<'_>,
    line: usize,
    role: Role,
    complaints: &mut Complaints,
) -> Result<ControllerEntry, Refusal> {
    let optional = |name, read: fn(&str) -> Result<String, PartError>| match fields.get(name) {
        "" => Ok(String::new()),
        text => read(text).map_err(part(name)),
    };
    let transport = match fields.get("transport") {
        "" => return Err(Refusal::NoTransport),
        text => address::transport(text).map_err(part("transport"))?,
    };
    let (traddr, is_name) = match fields.get("traddr") {
        "" => return Err(Refusal::NoTraddr),
        text => match address::traddr(transport, text).map_err(part("traddr"))? {
            Address::Fixed(address) => (address, false),
            Address::Name(name) => (name, true),
        },
    };
    let trsvcid = trsvcid(fields, line, transport, role, complaints)?;
    let subsysnqn = optional("nqn", address::nqn)?;
    match (role, subsysnqn.as_str()) {
        (Role::Io, "") => return Err(Refusal::NoNqn),
        (Role::Io, DISCOVERY_NQN) => return Err(Refusal::DiscoveryNqn),
        _ => {}
    }
    let host_traddr = host_traddr(fields, line, transport, complaints)?;
    if let (Some((ours, _)), Some((theirs, _))) = (parse_ip(&host_traddr), parse_ip(&traddr))
        && ours.is_ipv4() != theirs.is_ipv4()
    {
        return Err(Refusal::TwoFamilies);
    }
    let host_iface = host_iface(fields, line, transport, &traddr, complaints)?;
    if let Some((_, Some(scope))) = parse_link_local(&traddr)
        && !host_iface.is_empty()
        && scope != host_iface
        && scope.parse::<u32>().is_err()
    {
        return Err(Refusal::TwoInterfaces { scope: quoted(scope), host_iface: quoted(&host_iface) });
    }
    let parts = TidParts { host_traddr, host_iface, ..TidParts::none(transport) };
    let (traddr, host_side) = match is_name {
        true => (traddr, parts),
        false => {
            let canonical = TidParts::from(Tid::new(TidParts { traddr, ..parts }));
            (canonical.traddr.clone(), canonical)
        }
    };
    Ok(ControllerEntry {
        transport,
        traddr,
        is_name,
        trsvcid,
        subsysnqn,
        host_traddr: host_side.host_traddr,
        host_iface: host_side.host_iface,
        host_nqn: optional("host-nqn", address::nqn)?,
        parameters: Parameters::default(),
        line,
    })
}

fn trsvcid(
    fields: &EntryFields<'_>,
    line: usize,
    transport: Transport,
    role: Role,
    complaints: &mut Complaints,
) -> Result<String, Refusal> {
    match fields.get("trsvcid") {
        "" => {
            let default = transport.default_trsvcid();
            if role == Role::Io && !default.is_empty() {
                complaints.warning(line, format!("controller= has no trsvcid; {default} is used"));
            }
            Ok(default.to_owned())
        }
        text if transport.is_ip() => address::port(text).map_err(part("trsvcid")),
        _ => {
            complaints.warning(line, format!("controller=: {transport} has no trsvcid; this part is ignored"));
            Ok(String::new())
        }
    }
}

fn host_traddr(
    fields: &EntryFields<'_>,
    line: usize,
    transport: Transport,
    complaints: &mut Complaints,
) -> Result<String, Refusal> {
    match fields.get("host-traddr") {
        "" if transport == Transport::Fc => Err(Refusal::NoHostTraddr),
        "" => Ok(String::new()),
        _ if transport == Transport::Loop => {
            complaints.warning(line, "controller=: loop has no host-traddr; this part is ignored");
            Ok(String::new())
        }
        text => address::host_traddr(transport, text).map_err(part("host-traddr")),
    }
}

/// Only tcp connections can be bound to an interface. For other transports, host-iface is only the scope of a link-local
/// address.
fn host_iface(
    fields: &EntryFields<'_>,
    line: usize,
    transport: Transport,
    traddr: &str,
    complaints: &mut Complaints,
) -> Result<String, Refusal> {
    match fields.get("host-iface") {
        "" => Ok(String::new()),
        text if transport == Transport::Tcp || (transport.is_ip() && parse_link_local(traddr).is_some()) => {
            address::iface(text).map_err(part("host-iface"))
        }
        _ => {
            let instead = if transport == Transport::Loop { "" } else { "; host-traddr chooses the path" };
            let text =
                format!("controller=: host-iface is not supported with {transport}; this part is ignored{instead}");
            complaints.warning(line, text);
            Ok(String::new())
        }
    }
}

/// Reads the connection parameters of the entry. They take precedence over those of `[Global]`.
fn parameters(fields: &EntryFields<'_>, line: usize, keys: &[Key], complaints: &mut Complaints) -> Parameters {
    let mut parameters = Parameters::default();
    for (key, text) in fields.iter().filter(|(_, text)| !text.is_empty()) {
        match key.name {
            "dhchap-secret" => parameters.dhchap_secret = Some(secret(key.name, text, line, complaints)),
            "dhchap-ctrl-secret" => parameters.dhchap_ctrl_secret = Some(secret(key.name, text, line, complaints)),
            _ => {}
        }
        let Some(here) = keys.iter().find(|here| here.is(key)) else { continue };
        if let KeyStatus::Ignored(why) = here.status {
            complaints.warning(line, format!("controller=: {} is ignored: {why}", key.name));
            continue;
        }
        match here.values.read(text) {
            Ok(setting) => parameters::set(&mut parameters, key.name, &setting),
            // A connection is never less secure than configured.
            Err(why) if key.name == "tls" => {
                complaints.error(line, format!("controller=: tls: {why}; it is treated as true"));
                parameters.tls = Some(parameters::REQUIRED);
            }
            Err(why) => {
                complaints.warning(line, format!("controller=: {}: {why}; that of [Global] is used", key.name));
            }
        }
    }
    if fields.lacks_secret {
        complaints.error(line, "controller=: a secret is probably meant; the controller is not connected without it");
        parameters.dhchap_secret = Some(Secret::new(MISSPELLED));
    }
    if fields.secure_channel {
        parameters.tls = Some(parameters::REQUIRED);
    }
    if parameters.tls == Some(parameters::REQUIRED) {
        complaints.error(line, format!("controller=: TLS is required: {}", parameters::NO_TLS));
    }
    parameters
}

/// Keeps a malformed secret in the entry, so that the controller is not connected without it or with another one:
/// `nvme::connect::option_string` refuses it.
fn secret(key: &str, text: &str, line: usize, complaints: &mut Complaints) -> Secret {
    Secret::dhchap(text).unwrap_or_else(|why| {
        complaints
            .error(line, format!("controller=: {key}: {why}; the controller is not connected until this is corrected"));
        Secret::new(text)
    })
}
