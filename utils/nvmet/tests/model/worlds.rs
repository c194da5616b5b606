//! Random configurations, and random items that other tools created before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nvmet::actual::{self, Actual, Given};
use nvmet::desired::{Access, Address, Brd, Desired, Host, Namespace, NullBlk, Port, Referral, Storage, Subsystem};
use nvmet::identity::{Identifier, SHARED_NULL_BLK, null_blk_name};
use nvmet::module::Module;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use stas_nvme::{Secret, Transport};

use super::Model;

/// A device for configurations; it exists in every world.
pub(crate) const GIVEN: &str = "/dev/vdb";

const SUBSYSTEMS: [&str; 4] = ["a", "b", "c", "d"];
const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
const SERVICES: [u16; 4] = [8009, 8010, 8011, 8012];

/// Any configuration that the parser can produce.
pub(crate) fn configuration() -> impl Strategy<Value = Desired> {
    let ports = subsequence(vec![1_u16, 2, 3], 0..=3);
    let parts = (ports, Just(SERVICES.to_vec()).prop_shuffle(), vec(referrals(), 3), brd(), select(vec![64, 128]));
    parts.prop_flat_map(|(ids, services, referrals, brd, shared_size)| {
        let addresses = services.into_iter().map(tcp);
        let ports: BTreeMap<u16, Port> = ids
            .into_iter()
            .zip(addresses.zip(referrals))
            .map(|(id, (address, referrals))| (id, Port { address, referrals }))
            .collect();
        let ids: Vec<u16> = ports.keys().copied().collect();
        let subsystems = btree_map(select(SUBSYSTEMS.to_vec()), subsystem(ids, shared_size), 0..=4);
        let hosts = btree_map(select(HOSTS.to_vec()), host(), 0..=2);
        (Just(ports), subsystems, hosts)
            .prop_map(move |(ports, subsystems, hosts)| wanted(ports, subsystems, hosts, brd))
    })
}

fn wanted(
    ports: BTreeMap<u16, Port>,
    subsystems: BTreeMap<&str, Subsystem>,
    hosts: BTreeMap<&str, Host>,
    brd: Brd,
) -> Desired {
    let mut wanted = Desired { ports, brd, ..Desired::default() };
    wanted.hosts = hosts.into_iter().map(|(nqn, host)| (nqn.to_owned(), host)).collect();
    for (nqn, mut subsystem) in subsystems {
        for (nsid, namespace) in &mut subsystem.namespaces {
            namespace.uuid = Identifier::derived(nqn, *nsid);
            if let Storage::NullBlk(device) = &mut namespace.storage
                && device.name.is_empty()
            {
                device.name = null_blk_name(nqn, *nsid);
            }
        }
        if let Access::Only(hosts) = &subsystem.access {
            for host in hosts {
                wanted.hosts.entry(host.clone()).or_default();
            }
        }
        wanted.subsystems.insert(nqn.to_owned(), subsystem);
    }
    wanted
}

fn tcp(service: u16) -> Address {
    Address { transport: Transport::Tcp, traddr: "::".to_owned(), trsvcid: Some(service) }
}

fn referrals() -> impl Strategy<Value = BTreeMap<String, Referral>> {
    let referral = (select(SERVICES.to_vec()), 0_u16..3).prop_map(|(service, port_id)| {
        let address = Address { traddr: "192.0.2.1".to_owned(), ..tcp(service) };
        Referral { address, port_id }
    });
    btree_map("r[12]", referral, 0..=2)
}

fn subsystem(ports: Vec<u16>, shared_size: u32) -> impl Strategy<Value = Subsystem> {
    let access = prop_oneof![
        Just(Access::Anyone),
        btree_set(select(HOSTS.to_vec()), 0..=2)
            .prop_map(|hosts| Access::Only(hosts.into_iter().map(str::to_owned).collect())),
    ];
    let count = ports.len();
    (btree_map(1_u32..4, namespace(shared_size), 0..=3), subsequence(ports, 0..=count), access)
        .prop_map(|(namespaces, ports, access)| Subsystem { namespaces, ports: BTreeSet::from_iter(ports), access })
}

fn namespace(shared_size: u32) -> impl Strategy<Value = Namespace> {
    let own = (select(vec![64_u32, 128]), any::<bool>()).prop_map(|(size_mib, memory_backed)| NullBlk {
        name: String::new(),
        size_mib,
        memory_backed,
    });
    let shared = NullBlk { name: SHARED_NULL_BLK.to_owned(), size_mib: shared_size, memory_backed: false };
    let storage = prop_oneof![
        Just(Storage::RamDisk),
        own.prop_map(Storage::NullBlk),
        Just(Storage::NullBlk(shared)),
        Just(Storage::Given(PathBuf::from(GIVEN))),
    ];
    let nguid = option::of((0_u32..2).prop_map(|nsid| Identifier::derived("nguid", nsid)));
    (storage, nguid).prop_map(|(storage, nguid)| Namespace { storage, uuid: Identifier::ZERO, nguid })
}

fn host() -> impl Strategy<Value = Host> {
    let key = || option::of("DHHC-1:00:[ab]:".prop_map(Secret::new));
    (key(), key(), option::of(Just("hmac(sha512)".to_owned()))).prop_map(|(dhchap_key, target_key, dhchap_hash)| Host {
        dhchap_ctrl_key: target_key.filter(|_| dhchap_key.is_some()),
        dhchap_key,
        dhchap_hash,
        dhchap_dhgroup: None,
    })
}

fn brd() -> impl Strategy<Value = Brd> {
    (select(vec![16, 32]), any::<bool>()).prop_map(|(size_mib, use_existing)| Brd { size_mib, use_existing })
}

/// A machine without any configuration.
pub(crate) fn empty() -> Model {
    Model { seen: Actual { given: [(PathBuf::from(GIVEN), Given::Ready)].into(), ..Actual::default() } }
}

/// A machine with items of other tools.
pub(crate) fn inhabited() -> impl Strategy<Value = Model> {
    let port = option::of((3_u16..5, select(SERVICES.to_vec())));
    let subsystem = option::of(select(vec!["d", "theirs"]));
    let host = option::of(select(vec!["h3", "them"]));
    (port, subsystem, host, any::<bool>(), 0_u32..6).prop_map(|(port, subsystem, host, keyed, disks)| {
        let mut model = empty();
        let seen = &mut model.seen;
        seen.modules.extend([Module::Nvmet, Module::NvmetTcp]);
        if let Some(nqn) = subsystem {
            let hosts = host.iter().map(|host| (*host).to_owned()).collect();
            let theirs = actual::Subsystem { hosts, ..actual::Subsystem::default() };
            seen.subsystems.insert(nqn.to_owned(), theirs);
        }
        if let Some((id, service)) = port {
            let attributes = tcp(service).attributes().into_iter().map(|(name, value)| (name.to_owned(), value));
            let exports = subsystem.iter().map(|nqn| (*nqn).to_owned()).collect();
            let theirs = actual::Port { attributes: attributes.collect(), exports, ..actual::Port::default() };
            seen.ports.insert(id, theirs);
        }
        if let Some(nqn) = host {
            let dhchap_key = if keyed { actual::Key::Set(Secret::new("theirs")) } else { actual::Key::Unset };
            seen.hosts.insert(nqn.to_owned(), actual::Host { dhchap_key, ..actual::Host::default() });
        }
        if disks > 0 {
            seen.modules.insert(Module::Brd);
            let disk = |number| (number, actual::RamDisk { size_mib: 4, in_use: number == 0 });
            seen.ram_disks = (0..disks).map(disk).collect();
        }
        model
    })
}
