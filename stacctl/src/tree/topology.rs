//! The parts of the picture: host, interfaces, discovery controllers, subsystems and the paths to them.

use std::collections::{BTreeMap, BTreeSet};

use libstas::bus::{ControllerId, Dict, key};
use libstas::nvme::{Tid, shown};
use serde_json::json;
use stas_cli::listing::in_order;
use stas_cli::table::{Tone, state_of};

/// What the daemons and the kernel know.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// NQN of this host; empty if it has none.
    pub(crate) host_nqn: String,
    /// The I/O controllers of stacd.
    pub(crate) iocs: Vec<Dict>,
    /// The discovery controllers of stafd with the entries of their log pages. `None`: stafd does not answer.
    pub(crate) dcs: Option<Vec<(Dict, Vec<Dict>)>>,
    /// The interface that each device uses.
    pub(crate) interfaces: BTreeMap<String, String>,
}

/// A connection that is wanted or exists. Texts can be shown on a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its device, or `-`.
    pub(crate) device: String,
    /// `tcp 192.0.2.1 4420`.
    pub(crate) address: String,
    /// Its interface, if it is known.
    pub(crate) interface: Option<String>,
    /// Its state.
    pub(crate) state: String,
    pub(crate) tone: Tone,
    /// Why it is not connected or is kept.
    pub(crate) reason: Option<String>,
    /// The discovery controllers that list it, by their index.
    pub(crate) listed_by: Vec<usize>,
}

/// A subsystem with the paths to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subsystem {
    pub(crate) nqn: String,
    pub(crate) paths: Vec<Link>,
}

/// The whole picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) host_nqn: String,
    /// In natural order.
    pub(crate) interfaces: Vec<String>,
    pub(crate) dcs: Vec<Link>,
    pub(crate) subsystems: Vec<Subsystem>,
    /// True if stafd has answered.
    pub(crate) knows_dcs: bool,
}

impl Topology {
    pub(crate) fn of(mut known: Known) -> Self {
        let knows_dcs = known.dcs.is_some();
        let mut dcs = known.dcs.take().unwrap_or_default();
        dcs.sort_by(|(a, _), (b, _)| in_order(a, b));
        known.iocs.sort_by(in_order);
        let listed: Vec<BTreeSet<Target>> =
            dcs.iter().map(|(_, entries)| entries.iter().filter_map(target_of_entry).collect()).collect();
        let mut subsystems: BTreeMap<String, Vec<Link>> = BTreeMap::new();
        for ioc in &known.iocs {
            let mut path = link(ioc, &known.interfaces);
            let target = target(ioc);
            let lists = |page: &BTreeSet<Target>| target.as_ref().is_some_and(|target| page.contains(target));
            path.listed_by =
                listed.iter().enumerate().filter(|(_, page)| lists(page)).map(|(index, _)| index).collect();
            let nqn = ioc.get(key::SUBSYSNQN).map(String::as_str).unwrap_or_default();
            subsystems.entry(shown(nqn).into_owned()).or_default().push(path);
        }
        let dcs: Vec<Link> = dcs.iter().map(|(dc, _)| link(dc, &known.interfaces)).collect();
        let interfaces = dcs.iter().chain(subsystems.values().flatten()).filter_map(|link| link.interface.clone());
        let interfaces: BTreeSet<String> = interfaces.collect();
        let subsystems = subsystems.into_iter().map(|(nqn, paths)| Subsystem { nqn, paths });
        Self {
            host_nqn: shown(&known.host_nqn).into_owned(),
            interfaces: interfaces.into_iter().collect(),
            subsystems: subsystems.collect(),
            dcs,
            knows_dcs,
        }
    }

    /// The paths to all subsystems.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Link> {
        self.subsystems.iter().flat_map(|subsystem| &subsystem.paths)
    }
}

impl Link {
    pub(crate) fn is_connected(&self) -> bool {
        self.state == "connected"
    }

    /// Its device, or its address if it has none.
    pub(crate) fn name(&self) -> &str {
        if self.device == "-" { &self.address } else { &self.device }
    }
}

/// `2 of 3 paths connected`.
pub(crate) fn count<'a>(links: impl Iterator<Item = &'a Link>, what: &str) -> String {
    let (all, connected) =
        links.fold((0, 0), |(all, connected), link| (all + 1, connected + usize::from(link.is_connected())));
    format!("{connected} of {all} {what}{} connected", if all == 1 { "" } else { "s" })
}

fn link(controller: &Dict, interfaces: &BTreeMap<String, String>) -> Link {
    let value = |key: &str| controller.get(key).map(String::as_str).unwrap_or_default();
    let device = value(key::DEVICE);
    let bound = Some(value(key::HOST_IFACE)).filter(|interface| !interface.is_empty());
    let interface = bound.or_else(|| interfaces.get(device).map(String::as_str));
    let address = [key::TRANSPORT, key::TRADDR, key::TRSVCID].map(value).into_iter().filter(|part| !part.is_empty());
    let (state, tone) = state_of(&json!(controller));
    Link {
        device: if matches!(device, "" | "nvme?") { "-".to_owned() } else { shown(device).into_owned() },
        address: shown(&address.collect::<Vec<_>>().join(" ")).into_owned(),
        interface: interface.map(|interface| shown(interface).into_owned()),
        state,
        tone,
        reason: controller.get(key::REASON).map(|reason| shown(reason).into_owned()),
        listed_by: Vec::new(),
    }
}

/// What a log page entry and a path have in common: transport, address, port and NQN, in their canonical form.
type Target = [String; 4];

fn target(path: &Dict) -> Option<Target> {
    ControllerId::from_dict(path).tid().ok().map(|tid| parts(&tid))
}

fn target_of_entry(entry: &Dict) -> Option<Target> {
    let value = |key: &str| entry.get(key).cloned().unwrap_or_default();
    let id = ControllerId {
        transport: value("trtype"),
        traddr: value("traddr"),
        trsvcid: value("trsvcid"),
        subsysnqn: value("subnqn"),
        ..ControllerId::default()
    };
    id.tid().ok().map(|tid| parts(&tid))
}

fn parts(tid: &Tid) -> Target {
    [tid.transport().to_string(), tid.traddr.clone(), tid.trsvcid.clone(), tid.subsysnqn.clone()]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn dict(members: &[(&str, &str)]) -> Dict {
        members.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn path(device: &str, traddr: &str, nqn: &str, more: &[(&str, &str)]) -> Dict {
        let mut path = dict(&[("device", device), ("transport", "tcp"), ("traddr", traddr), ("trsvcid", "4420")]);
        path.extend(dict(&[("subsysnqn", nqn)]));
        path.extend(dict(more));
        path
    }

    /// Two subsystems: one with two paths, one that cannot be reached and has an awkward name.
    pub(crate) fn example() -> Known {
        let entry = |traddr, nqn| dict(&[("trtype", "tcp"), ("traddr", traddr), ("trsvcid", "4420"), ("subnqn", nqn)]);
        let dc = dict(&[
            ("device", "nvme0"),
            ("transport", "tcp"),
            ("traddr", "192.0.2.10"),
            ("trsvcid", "8009"),
            ("state", "connected"),
        ]);
        Known {
            host_nqn: "nqn.2014-08.org.example:host".to_owned(),
            iocs: vec![
                path("nvme2", "192.0.2.2", "nqn.a", &[("state", "reconnecting"), ("host-iface", "eth1")]),
                path("nvme1", "192.0.2.1", "nqn.a", &[("state", "connected")]),
                path(
                    "nvme?",
                    "192.0.2.3",
                    "nqn.\"b\"<&\u{1b}",
                    &[("state", "waiting"), ("reason", "connection refused")],
                ),
            ],
            dcs: Some(vec![(dc, vec![entry("192.0.2.1", "nqn.a"), entry("192.0.2.9", "nqn.a")])]),
            interfaces: BTreeMap::from(
                [("nvme0", "eth0"), ("nvme1", "eth0")].map(|(a, b)| (a.to_owned(), b.to_owned())),
            ),
        }
    }

    #[test]
    fn a_path_knows_its_interface_its_state_and_what_lists_it() {
        let topology = Topology::of(example());
        assert_eq!(topology.interfaces, ["eth0", "eth1"]);
        assert_eq!(topology.dcs[0].interface.as_deref(), Some("eth0"));
        let subsystems: Vec<&str> = topology.subsystems.iter().map(|subsystem| subsystem.nqn.as_str()).collect();
        assert_eq!(subsystems, ["nqn.\"b\"<&\\u{1b}", "nqn.a"]);
        let paths = &topology.subsystems[1].paths;
        assert_eq!((paths[0].device.as_str(), paths[0].listed_by.as_slice()), ("nvme1", &[0][..]));
        assert_eq!((paths[1].interface.as_deref(), paths[1].listed_by.is_empty()), (Some("eth1"), true));
        assert_eq!(count(paths.iter(), "path"), "1 of 2 paths connected");
        let b = &topology.subsystems[0].paths[0];
        assert_eq!((b.name(), b.interface.as_deref()), ("tcp 192.0.2.3 4420", None));
    }
}
