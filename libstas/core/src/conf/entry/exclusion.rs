//! Reads `exclude=`.

use super::address::{self, Address, PartError};
use super::fields::{EntryFields, MisplacedSecret, UnknownPart};
use crate::conf::complaints::Complaints;
use crate::conf::types::Exclusion;
use stas_nvme::Transport;

/// Why an `exclude=` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    MisplacedSecret(MisplacedSecret),
    #[error(transparent)]
    Unknown(UnknownPart),
    #[error("{0} is set more than once; write an exclude= line for each")]
    Twice(&'static str),
    #[error("{0} has no value")]
    Empty(&'static str),
    #[error("{name}: {why}")]
    Part { name: &'static str, why: PartError },
    #[error("{0} has no trsvcid")]
    NoTrsvcid(Transport),
    /// A connection parameter: it is not part of the identity of a controller.
    #[error("{0} does not identify a controller")]
    Parameter(&'static str),
}

/// Reads one `exclude=`. `None` if it is refused. Makes at most one complaint.
pub(crate) fn exclusion(text: &str, line: usize, complaints: &mut Complaints) -> Option<Exclusion> {
    let fields = EntryFields::read("exclude=", text);
    if fields.is_empty() {
        complaints.warning(line, "exclude= is empty; it is ignored");
        return None;
    }
    let exclusion = match read(&fields, line) {
        Ok(exclusion) => exclusion,
        Err(why) => {
            complaints
                .error(line, format!("exclude= is refused, because without this part it would exclude more: {why}"));
            return None;
        }
    };
    let by_host_traddr = !fields.get("host-traddr").is_empty();
    if exclusion == (Exclusion { line, ..Exclusion::default() }) {
        complaints.warning(line, "exclude= contains only host-traddr, which has no effect here; it is ignored");
        return None;
    }
    if by_host_traddr {
        complaints.warning(line, "exclude=: host-traddr has no effect here and is ignored");
    }
    Some(exclusion)
}

fn read(fields: &EntryFields<'_>, line: usize) -> Result<Exclusion, Refusal> {
    if let Some(misplaced) = fields.misplaced_secret() {
        return Err(Refusal::MisplacedSecret(misplaced));
    }
    if let Some(unknown) = fields.unknown.first() {
        return Err(Refusal::Unknown(unknown.clone()));
    }
    if let Some(key) = fields.twice.first() {
        return Err(Refusal::Twice(key));
    }
    let transport = match fields.get("transport") {
        "" => None,
        text => {
            let transport = address::transport(text);
            Some(transport.map_err(|why| Refusal::Part { name: "transport", why })?)
        }
    };
    let mut exclusion = Exclusion { transport, line, ..Exclusion::default() };
    for (key, text) in fields.iter() {
        let name = key.name;
        let named = |why| Refusal::Part { name, why };
        if text.is_empty() {
            return Err(Refusal::Empty(name));
        }
        match name {
            "transport" | "host-traddr" => {}
            "traddr" => {
                let address = match transport {
                    Some(transport) => address::traddr(transport, text),
                    None => address::any_traddr(text),
                };
                let (traddr, is_name) = match address.map_err(named)? {
                    Address::Fixed(address) => (address, false),
                    Address::Name(host) => (host, true),
                };
                (exclusion.traddr, exclusion.is_name) = (Some(traddr), is_name);
            }
            "trsvcid" => match transport {
                Some(transport) if !transport.is_ip() => return Err(Refusal::NoTrsvcid(transport)),
                _ => exclusion.trsvcid = Some(address::port(text).map_err(named)?),
            },
            "nqn" => exclusion.subsysnqn = Some(address::nqn(text).map_err(named)?),
            "host-iface" => exclusion.host_iface = Some(address::iface(text).map_err(named)?),
            "host-nqn" => exclusion.host_nqn = Some(address::nqn(text).map_err(named)?),
            other => return Err(Refusal::Parameter(other)),
        }
    }
    Ok(exclusion)
}
