//! The tables of ports, referrals and hosts.

use std::collections::BTreeMap;

use stas_nvme::Secret;
use toml::Spanned;

use super::Mistake;
use super::check::{self, address, word};
use super::file;
use crate::desired::{Host, Port, Referral};
use crate::dhchap;

const HASHES: [&str; 3] = ["hmac(sha256)", "hmac(sha384)", "hmac(sha512)"];
const GROUPS: [&str; 6] = ["null", "ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144", "ffdhe8192"];

pub(super) fn ports(tables: &[file::Port]) -> Result<BTreeMap<u16, Port>, Mistake> {
    let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
    for table in tables {
        let address = address(&table.transport, table.traddr.as_ref(), table.trsvcid.as_ref())?;
        if let Some((other, _)) = ports.iter().find(|(_, port)| port.address == address) {
            let problem = format!("has the address of port {other}, {address}; each port needs its own address");
            return Err(Mistake::at("id", &table.id, problem));
        }
        let port = Port { address, referrals: referrals(&table.referral)? };
        if *table.id.get_ref() == 0 || ports.insert(*table.id.get_ref(), port).is_some() {
            return Err(Mistake::at(
                "id",
                &table.id,
                "is 0 or is used twice; each port has its own number from 1 to 65535",
            ));
        }
    }
    Ok(ports)
}

fn referrals(tables: &[file::Referral]) -> Result<BTreeMap<String, Referral>, Mistake> {
    let mut referrals = BTreeMap::new();
    for table in tables {
        let address = address(&table.transport, table.traddr.as_ref(), table.trsvcid.as_ref())?;
        let referral = Referral { address, port_id: table.port_id.unwrap_or_default() };
        if referrals.insert(check::name("name", &table.name)?, referral).is_some() {
            return Err(Mistake::at("name", &table.name, "is used twice; each referral of a port has its own name"));
        }
    }
    Ok(referrals)
}

pub(super) fn hosts(tables: &[file::Host]) -> Result<BTreeMap<String, Host>, Mistake> {
    let mut hosts = BTreeMap::new();
    for table in tables {
        let host = Host {
            dhchap_key: key("dhchap_key", table.dhchap_key.as_ref())?,
            dhchap_ctrl_key: key("dhchap_ctrl_key", table.dhchap_ctrl_key.as_ref())?,
            dhchap_hash: word("dhchap_hash", table.dhchap_hash.as_ref(), &HASHES)?,
            dhchap_dhgroup: word("dhchap_dhgroup", table.dhchap_dhgroup.as_ref(), &GROUPS)?,
        };
        if let (Some(value), None) = (&table.dhchap_ctrl_key, &table.dhchap_key) {
            let problem = "is set without dhchap_key; the target authenticates itself only to a host that has one";
            return Err(Mistake::at("dhchap_ctrl_key", value, problem));
        }
        if hosts.insert(check::nqn("nqn", &table.nqn)?, host).is_some() {
            return Err(Mistake::at("nqn", &table.nqn, "is used twice; each host has one table"));
        }
    }
    Ok(hosts)
}

fn key(name: &'static str, value: Option<&Spanned<String>>) -> Result<Option<Secret>, Mistake> {
    let Some(value) = value else { return Ok(None) };
    dhchap::parse(value.get_ref()).map(Some).map_err(|error| Mistake::at(name, value, error.to_string()))
}
