//! Reads `exclude=`.

use super::address::{self, Address};
use super::words::Words;
use crate::conf::complaints::{Complaints, quoted};
use crate::conf::types::Exclusion;
use stas_nvme::Transport;

/// Reads one `exclude=`. `None` if it is refused. Makes at most one complaint.
pub(crate) fn exclusion(text: &str, line: usize, complaints: &mut Complaints) -> Option<Exclusion> {
    let words = Words::read("exclude=", text);
    if words.is_empty() {
        complaints.warning(line, "exclude= names nothing; it is ignored");
        return None;
    }
    let exclusion = match read(&words, line) {
        Ok(exclusion) => exclusion,
        Err(why) => {
            complaints.error(line, format!("exclude= is refused, without that part it would exclude more: {why}"));
            return None;
        }
    };
    let by_host_traddr = !words.get("host-traddr").is_empty();
    if exclusion == (Exclusion { line, ..Exclusion::default() }) {
        complaints.warning(line, "exclude= names nothing but host-traddr, which does not count here; it is ignored");
        return None;
    }
    if by_host_traddr {
        complaints.warning(line, "exclude=: host-traddr does not count here; the rest does");
    }
    Some(exclusion)
}

fn read(words: &Words<'_>, line: usize) -> Result<Exclusion, String> {
    if let Some(why) = words.refusal_of_secret() {
        return Err(why);
    }
    if let Some(unknown) = words.unknown.first() {
        return Err(unknown.clone());
    }
    if let Some(key) = words.twice.first() {
        return Err(format!("{key} is given more than once; write an exclude= for each"));
    }
    let transport = match words.get("transport") {
        "" => None,
        text => {
            let transport = text.parse::<Transport>();
            Some(transport.map_err(|_| format!("transport: {} is not tcp, rdma, fc or loop", quoted(text)))?)
        }
    };
    let mut exclusion = Exclusion { transport, line, ..Exclusion::default() };
    for (key, text) in words.iter() {
        let name = key.name;
        let named = |why: String| format!("{name}: {why}");
        if text.is_empty() {
            return Err(format!("{name} has no value"));
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
                Some(transport) if !transport.is_ip() => return Err(format!("{transport} has no trsvcid")),
                _ => exclusion.trsvcid = Some(address::port(text).map_err(named)?),
            },
            "nqn" => exclusion.subsysnqn = Some(address::nqn(text).map_err(named)?),
            "host-iface" => exclusion.host_iface = Some(address::iface(text).map_err(named)?),
            "host-nqn" => exclusion.host_nqn = Some(address::nqn(text).map_err(named)?),
            other => return Err(format!("{other} does not tell one controller from another")),
        }
    }
    Ok(exclusion)
}
