//! The state of the simulator as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::Simulator;
use crate::world::Host;

pub(super) fn all(simulator: &Simulator) -> Value {
    let world = &simulator.world;
    json!({
        "nqn": world.identity.nqn,
        "type": world.identity.dctype,
        "listens": simulator.listens,
        "members": world.zoning().members(),
        "zones": world.zoning().zones(),
        "faults": world.faults.all(),
    })
}

/// The hosts, each with its registration and counters.
pub(super) fn hosts(simulator: &Simulator, now: Duration) -> Value {
    let connected =
        |nqn: &str| simulator.connections.values().filter(|line| line.connection.host() == Some(nqn)).count();
    let host = |(nqn, host): (&String, &Host)| {
        let registered = host.registered.as_ref().map(|registered| {
            let data = &registered.registration;
            json!({
                "host-id": uuid(data.host_id),
                "name": data.name,
                "version": data.version,
                "symbolic-name": data.symbolic_name,
                "transport": data.trtype.to_string(),
                "family": data.adrfam.to_string(),
                "traddr": data.traddr,
                "from": registered.from,
                "times": registered.times,
            })
        });
        json!({
            "nqn": nqn,
            "connections": connected(nqn),
            "generation": host.generation,
            "known-for": now.saturating_sub(host.since).as_secs(),
            "registered": registered,
            "counts": host.counts,
        })
    };
    simulator.world.hosts.iter().map(host).collect()
}

pub(super) fn connections(simulator: &Simulator, now: Duration) -> Value {
    let connection = |(id, line): (&super::Id, &super::OpenConnection)| {
        let connection = &line.connection;
        let session = connection.session();
        json!({
            "id": id.0,
            "peer": connection.peer.to_string(),
            "local": connection.local.to_string(),
            "state": connection.state(),
            "host": connection.host(),
            "host-id": session.map(|session| uuid(session.host_id)),
            "subnqn": session.map(|session| &session.subnqn),
            "cntlid": session.map(|session| session.cntlid),
            "kato": session.map(|session| session.kato),
            "header-digest": connection.digests().header,
            "data-digest": connection.digests().data,
            "event-requests": session.map(|session| session.events.waiting()),
            "silent-for": session.map(|session| now.saturating_sub(session.heard).as_secs()),
            "counts": session.map(|session| &session.counts),
        })
    };
    simulator.connections.iter().map(connection).collect()
}

/// The entries that the zones show to a host.
pub(super) fn page(simulator: &Simulator, host: &str) -> Value {
    simulator.world.zoning().entries(host).iter().map(|entry| json!(entry.to_dict())).collect()
}

/// A host ID as text.
fn uuid(bytes: [u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}
