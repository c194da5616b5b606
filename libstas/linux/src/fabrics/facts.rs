//! Known facts about a failed connect: its options, and this host's sysfs.

use std::fs;
use std::path::Path;

use nix::net::if_::{if_indextoname, if_nametoindex};

use super::{Fabrics, module};
use stas_core::CtrlRef;
use stas_nvme::connect::kernel_version;
use stas_nvme::{Transport, tid::parse_ip};

/// Facts that distinguish the causes of an errno. Texts of absent options are empty. Contains no secrets.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) transport: Transport,
    pub(super) nqn: &'a str,
    pub(super) traddr: &'a str,
    pub(super) trsvcid: &'a str,
    pub(super) host_traddr: &'a str,
    pub(super) host_iface: &'a str,
    pub(super) host_nqn: &'a str,
    pub(super) host_id: &'a str,
    /// True if the connection is to a discovery controller.
    pub(super) discovery: bool,
    /// True if the host authenticates itself with a secret.
    pub(super) secret: bool,
    /// True for a kernel that returns EIO if the target requires a secret (before 6.10).
    pub(super) hides_required_secret: bool,
    /// True if the controller must authenticate itself, too.
    pub(super) ctrl_secret: bool,
    pub(super) tls: bool,
    /// True if the transport's module is loaded or built into the kernel.
    pub(super) has_module: bool,
    /// Existing connection with the same host NQN but another host ID, or vice versa. The kernel refuses such a
    /// combination.
    pub(super) identity_conflict: Option<Conflict>,
    /// Controller through which this host is already connected to the subsystem.
    pub(super) connected_elsewhere: Option<String>,
    pub(super) interface: Interface,
    /// Options that the kernel does not list as supported.
    pub(super) unknown_options: Vec<String>,
}

/// An existing connection with a conflicting host identity.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) device: String,
    pub(super) host_nqn: String,
    pub(super) host_id: String,
}

/// Meaning of the name in host-iface on this host.
#[derive(Debug)]
pub(super) enum Interface {
    /// host-iface is not set.
    Unnamed,
    /// The name of an interface.
    Present,
    /// An alternative name. Contains the interface's main name.
    Alternative(String),
    /// No interface has this name.
    Absent,
}

impl<'a> Facts<'a> {
    /// Collects the facts about a connect with these options.
    pub(super) fn of(fabrics: &Fabrics, transport: Transport, options: &'a str) -> Self {
        let options: Vec<(&str, &str)> =
            options.split(',').map(|option| option.split_once('=').unwrap_or((option, ""))).collect();
        let text = |name: &str| options.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| *value);
        let has = |name: &str| options.iter().any(|(key, _)| *key == name);
        let (nqn, host_nqn, host_id) = (text("nqn"), text("hostnqn"), text("hostid"));
        let class = fabrics.sys.join("class/nvme");
        let supported = fabrics.listed_options();
        let is_unknown = |name: &&str| supported.as_ref().is_some_and(|supported| !supported.has(name));
        Self {
            transport,
            nqn,
            traddr: text("traddr"),
            trsvcid: text("trsvcid"),
            host_traddr: text("host_traddr"),
            host_iface: text("host_iface"),
            host_nqn,
            host_id,
            discovery: has("discovery") || nqn == stas_nvme::DISCOVERY_NQN,
            secret: has("dhchap_secret"),
            hides_required_secret: nix::sys::utsname::uname()
                .is_ok_and(|kernel| kernel_version(&kernel.release().to_string_lossy()) < (6, 10)),
            ctrl_secret: has("dhchap_ctrl_secret"),
            tls: has("tls"),
            has_module: fabrics.sys.join("module").join(module(transport).replace('-', "_")).exists(),
            identity_conflict: identity_conflict(&class, host_nqn, host_id),
            connected_elsewhere: connected_elsewhere(&class, nqn, host_nqn),
            interface: interface(&fabrics.sys, text("host_iface")),
            unknown_options: options.iter().map(|(key, _)| *key).filter(is_unknown).map(str::to_owned).collect(),
        }
    }

    /// Address and port of the target, as text.
    pub(super) fn portal(&self) -> String {
        match self.trsvcid {
            "" => self.traddr.to_owned(),
            port => format!("{} port {port}", self.traddr),
        }
    }

    /// True if source and target address have different families.
    pub(super) fn families_differ(&self) -> bool {
        let family = |address: &str| parse_ip(address).map(|(ip, _)| ip.is_ipv4());
        matches!((family(self.traddr), family(self.host_traddr)), (Some(to), Some(from)) if to != from)
    }
}

/// All controllers: the name of the device, and a function that reads an attribute.
fn controllers(class: &Path) -> impl Iterator<Item = (String, impl Fn(&str) -> String)> {
    let names = fs::read_dir(class).into_iter().flatten().flatten();
    let devices =
        names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|n| CtrlRef::device_of(n).is_some());
    devices.map(move |device| {
        let home = class.join(&device);
        (device, move |name: &str| fs::read_to_string(home.join(name)).unwrap_or_default().trim().to_owned())
    })
}

fn identity_conflict(class: &Path, host_nqn: &str, host_id: &str) -> Option<Conflict> {
    controllers(class).find_map(|(device, attribute)| {
        let (other_nqn, other_id) = (attribute("hostnqn"), attribute("hostid"));
        let same_id = other_id.eq_ignore_ascii_case(host_id);
        let known = !other_nqn.is_empty() && !other_id.is_empty();
        let conflicts = known && (other_nqn == host_nqn) != same_id;
        conflicts.then_some(Conflict { device, host_nqn: other_nqn, host_id: other_id })
    })
}

fn connected_elsewhere(class: &Path, nqn: &str, host_nqn: &str) -> Option<String> {
    let is_path = |attribute: &dyn Fn(&str) -> String| {
        nqn != stas_nvme::DISCOVERY_NQN
            && attribute("subsysnqn") == nqn
            && attribute("hostnqn") == host_nqn
            && attribute("state") == "live"
    };
    controllers(class).find(|(_, attribute)| is_path(attribute)).map(|(device, _)| device)
}

fn interface(sys: &Path, name: &str) -> Interface {
    if name.is_empty() {
        return Interface::Unnamed;
    }
    if sys.join("class/net").join(name).exists() {
        return Interface::Present;
    }
    // The kernel also finds an interface by its alternative names, as long as they are short.
    let main_name = if_nametoindex(name).and_then(if_indextoname).ok();
    match main_name.and_then(|found| found.into_string().ok()) {
        Some(main) if main != name => Interface::Alternative(main),
        Some(_) => Interface::Present,
        None => Interface::Absent,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::fake_tree::FakeTree;

    /// A host without anything unusual except the failed connect.
    pub(in crate::fabrics) fn facts(transport: Transport) -> Facts<'static> {
        Facts {
            transport,
            nqn: "nqn.2014-08.org.example:s",
            traddr: "192.0.2.1",
            trsvcid: "4420",
            host_traddr: "",
            host_iface: "",
            host_nqn: "nqn.h",
            host_id: "2a3f2c5e-0000-4000-8000-000000000001",
            discovery: false,
            secret: false,
            hides_required_secret: false,
            ctrl_secret: false,
            tls: false,
            has_module: true,
            identity_conflict: None,
            connected_elsewhere: None,
            interface: Interface::Unnamed,
            unknown_options: Vec::new(),
        }
    }

    const OPTIONS: &str = "nqn=nqn.2014-08.org.example:s,transport=tcp,traddr=192.0.2.1,trsvcid=4420,host_iface=eth0,\
                           hostnqn=nqn.2014-08.org.example:h,hostid=2a3f2c5e-0000-4000-8000-000000000001,\
                           dhchap_secret=DHHC-1:00:x:,tos=1";

    #[test]
    fn the_options_and_sysfs_are_read() {
        let tree = FakeTree::new();
        tree.put(
            "dev/nvme-fabrics",
            "nqn=%s,transport=%s,traddr=%s,trsvcid=%s,host_iface=%s,hostnqn=%s,hostid=%s,dhchap_secret=%s",
        );
        tree.put("sys/class/net/eth0/ifindex", "2");
        tree.put("sys/module/nvme_tcp/refcnt", "0");
        tree.controller(4, "");
        let fabrics = Fabrics::new(&tree.roots());
        let found = Facts::of(&fabrics, Transport::Tcp, OPTIONS);
        assert_eq!((found.portal().as_str(), found.host_nqn), ("192.0.2.1 port 4420", "nqn.2014-08.org.example:h"));
        assert!(found.secret && found.has_module && !found.tls && !found.discovery && !found.ctrl_secret);
        assert!(matches!(found.interface, Interface::Present));
        assert_eq!(found.connected_elsewhere.as_deref(), Some("nvme4"));
        assert_eq!(found.unknown_options, ["tos"]);
        assert!(found.identity_conflict.is_none());
        assert!(!format!("{found:?}").contains("DHHC"), "secrets do not leave");
    }

    #[test]
    fn a_host_nqn_with_two_host_ids_is_a_conflict_and_so_is_a_host_id_with_two_nqns() {
        let tree = FakeTree::new();
        let ctrl = tree.controller(4, "");
        let fabrics = Fabrics::new(&tree.roots());
        for (hostnqn, hostid, conflicts) in [
            ("nqn.2014-08.org.example:h", "2A3F2C5E-0000-4000-8000-000000000001", false),
            ("nqn.2014-08.org.example:h", "2a3f2c5e-0000-4000-8000-000000000002", true),
            ("nqn.2014-08.org.example:i", "2a3f2c5e-0000-4000-8000-000000000001", true),
            ("nqn.2014-08.org.example:i", "2a3f2c5e-0000-4000-8000-000000000002", false),
        ] {
            tree.set(ctrl, "hostnqn", hostnqn);
            tree.set(ctrl, "hostid", hostid);
            let found = Facts::of(&fabrics, Transport::Tcp, OPTIONS);
            assert_eq!(found.identity_conflict.is_some(), conflicts, "{hostnqn} {hostid}");
        }
    }

    #[test]
    fn an_interface_that_is_not_there_is_distinguished_from_one_that_is() {
        let sys = Path::new("/sys");
        assert!(matches!(interface(sys, ""), Interface::Unnamed));
        assert!(matches!(interface(sys, "lo"), Interface::Present));
        assert!(matches!(interface(sys, "no-such-iface"), Interface::Absent));
        assert!(matches!(interface(sys, "an-alternative-name-that-is-long"), Interface::Absent));
    }
}
