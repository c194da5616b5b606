//! Why a connect failed: the likely causes in order, each with its remedy.
//!
//! The kernel returns the same errno for several causes, and names the cause only in its log. The transport, the
//! options and this host's sysfs narrow the causes down.

use nix::errno::Errno;

use super::facts::{Conflict, Facts, Interface};
use stas_core::Explanation;
use stas_nvme::{DISCOVERY_NQN, Transport};

/// Hint at the kernel's log, which has the details.
const LOG: &str = "`journalctl -k` tells more";

const NO_SECRET: &str = "the target requires DH-HMAC-CHAP, and no secret is configured: set dhchap-secret on the \
                         controller= line, or the host's key in /etc/nvme/hostkey";

/// Explains a failed write to /dev/nvme-fabrics.
pub(super) fn of_connect(errno: Errno, facts: &Facts<'_>) -> Explanation {
    let name = match errno.desc() {
        "Unknown errno" => format!("errno {}", errno as i32),
        _ => format!("{errno:?}"),
    };
    Explanation { errno: name, ..explain(errno, facts) }
}

fn explanation<const N: usize>(what: impl Into<String>, causes: [String; N]) -> Explanation {
    Explanation { what: what.into(), causes: causes.into(), errno: String::new() }
}

fn explain(errno: Errno, facts: &Facts<'_>) -> Explanation {
    use Errno::{
        EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINTR, EINVAL, EIO,
        EKEYEXPIRED, EKEYREJECTED, ENETUNREACH, ENODEV, ENOENT, ENOKEY, ENOMEM, EOPNOTSUPP, EPIPE, EPROTO, ESRCH,
        ETIMEDOUT,
    };

    match errno {
        EIO => refused(facts),
        EINVAL => invalid(facts),
        ENOKEY | EKEYREJECTED | EKEYEXPIRED | EACCES => not_authenticated(facts),
        ESRCH if facts.tls => explanation("no TLS handshake", ["tlshd does not run: systemctl start tlshd".to_owned()]),
        ECONNREFUSED => connection_refused(facts),
        ECONNRESET | EPIPE => closed(facts),
        EAGAIN if facts.transport == Transport::Tcp => silent(facts),
        ETIMEDOUT => timed_out(facts),
        EHOSTUNREACH | ENETUNREACH => no_route(facts),
        EADDRNOTAVAIL => wrong_source(facts),
        EAFNOSUPPORT => wrong_family(facts),
        ENODEV => no_device(facts),
        ENOENT if facts.transport == Transport::Fc => no_fc_port(facts),
        EOPNOTSUPP => {
            explanation("not supported", [format!("the kernel or the target lacks a feature that is asked for; {LOG}")])
        }
        EPROTO => explanation("protocol error", [format!("the target breaks the NVMe protocol; {LOG}")]),
        ENOMEM => explanation("the kernel is out of memory", []),
        EINTR => explanation("the attempt was interrupted", []),
        other => explanation(words(other), [LOG.to_owned()]),
    }
}

fn words(errno: Errno) -> &'static str {
    match errno.desc() {
        "Unknown errno" => "the kernel did not connect",
        desc => desc,
    }
}

/// The controller refused the Connect command. The kernel knows the status, but only logs it.
fn refused(facts: &Facts<'_>) -> Explanation {
    let not_allowed = format!("host NQN {} is not allowed there: allow it on the target", facts.host_nqn);
    let mut causes = match (facts.transport, facts.discovery, &facts.connected_elsewhere) {
        (Transport::Loop, ..) => {
            vec![format!("no loop port of this host's nvmet exports {}: link it to one", facts.nqn), not_allowed]
        }
        (_, _, Some(device)) => vec![
            format!("{} (connected as {device}) is not exported at this port: check trsvcid and traddr", facts.nqn),
            not_allowed,
        ],
        (_, true, None) => {
            vec![format!("no discovery controller {} at this port: check nqn and trsvcid", facts.nqn), not_allowed]
        }
        (_, false, None) => vec![
            format!("no subsystem {} at this port: compare nqn with {}", facts.nqn, discover(facts)),
            not_allowed,
            "the target has no controller left for this host: raise its limit".to_owned(),
        ],
    };
    if facts.hides_required_secret && !facts.secret {
        causes.push(NO_SECRET.to_owned());
    }
    Explanation { what: format!("the target refused ({LOG})"), causes, errno: String::new() }
}

fn discover(facts: &Facts<'_>) -> String {
    let mut command = format!("`nvme discover -t {} -a {}", facts.transport, facts.traddr);
    if !facts.host_traddr.is_empty() {
        command += &format!(" -w {}", facts.host_traddr);
    }
    command + "`"
}

/// The kernel refused the options or the controller's answer.
fn invalid(facts: &Facts<'_>) -> Explanation {
    let transport = facts.transport;
    if !facts.has_module {
        let module = super::module(transport);
        return explanation(format!("the kernel has no module for {transport}"), [format!("modprobe {module}")]);
    }
    if let Some(Conflict { device, host_nqn, host_id }) = &facts.identity_conflict {
        let what = "a host NQN and a host ID belong together, and the kernel has another pair";
        let cause = format!(
            "{device} is connected as {host_nqn} with host ID {host_id}, this connection asks for {} with {}: use that \
             pair (/etc/nvme/hostnqn and /etc/nvme/hostid), or disconnect {device}",
            facts.host_nqn, facts.host_id
        );
        return explanation(what, [cause]);
    }
    if let [first, ..] = facts.unknown_options.as_slice() {
        let what = format!("this kernel does not know the option {first}");
        return explanation(what, ["take it out of the configuration, or update the kernel".to_owned()]);
    }
    if facts.families_differ() {
        return wrong_family(facts);
    }
    let parameters = format!("the kernel does not take these parameters: {LOG}");
    let mut causes = match transport {
        Transport::Tcp => {
            vec![format!("not NVMe/TCP: something else answers at {}: check trsvcid", facts.portal()), parameters]
        }
        Transport::Fc => vec!["traddr and host-traddr must be nn-0xWWNN:pn-0xWWPN".to_owned(), parameters],
        Transport::Rdma | Transport::Loop => vec![parameters],
    };
    // The text of an NQN does not show whether it is a unique discovery NQN or that of an I/O subsystem. The kernel
    // finds out.
    if facts.discovery && facts.nqn != DISCOVERY_NQN {
        let nqn = facts.nqn;
        causes
            .insert(0, format!("{nqn} is perhaps an I/O subsystem, not a discovery subsystem: put it into stacd.conf"));
    }
    Explanation { what: "the connection is invalid".to_owned(), causes, errno: String::new() }
}

fn not_authenticated(facts: &Facts<'_>) -> Explanation {
    let what = "authentication failed";
    if facts.tls {
        let psk = format!("no TLS key for {} and {} is in the keyring: `nvme gen-tls-key`", facts.host_nqn, facts.nqn);
        return explanation("no TLS connection", [psk]);
    }
    if !facts.secret {
        return explanation(what, [NO_SECRET.to_owned()]);
    }
    let host = format!(
        "the target has another secret, or none, for host NQN {}: make dhchap-secret (or /etc/nvme/hostkey) equal to it",
        facts.host_nqn
    );
    let controller = "the controller's own secret is another one: make dhchap-ctrl-secret equal to it".to_owned();
    match facts.ctrl_secret {
        true => explanation(what, [host, controller]),
        false => explanation(what, [host]),
    }
}

fn connection_refused(facts: &Facts<'_>) -> Explanation {
    let listens = match facts.discovery {
        true => "check trsvcid (mostly 8009 for discovery), and that the target runs",
        false => "check trsvcid (mostly 4420), and that the target exports the subsystem there",
    };
    let what = "the target refused the connection";
    match facts.transport {
        Transport::Tcp | Transport::Rdma => {
            let nothing = format!("nothing listens at {}: {listens}", facts.portal());
            // Kernels before 6.10 also return this errno for a secret that does not match.
            let secrets =
                "the secrets of host and target do not match: compare dhchap-secret with the target's".to_owned();
            match facts.secret {
                true => explanation(what, [nothing, secrets]),
                false => explanation(what, [nothing]),
            }
        }
        Transport::Fc | Transport::Loop => explanation(what, [LOG.to_owned()]),
    }
}

fn closed(facts: &Facts<'_>) -> Explanation {
    let what = "the target closed the connection";
    match facts.transport {
        Transport::Tcp if !facts.tls => explanation(
            what,
            [
                "the port takes TLS only: connect to one without TLS".to_owned(),
                format!("not NVMe/TCP: something else listens at {}: check trsvcid", facts.portal()),
            ],
        ),
        Transport::Rdma => explanation(
            what,
            [format!("nothing listens at {}: check trsvcid, and that the target exports there", facts.portal())],
        ),
        _ => explanation(what, [LOG.to_owned()]),
    }
}

/// The kernel waited 10 s for the ICResp.
fn silent(facts: &Facts<'_>) -> Explanation {
    explanation(
        "not NVMe/TCP: the port accepts connections and does not answer",
        [
            format!("something else listens at {} (a web server?): check trsvcid", facts.portal()),
            "the target hangs: look at its log".to_owned(),
        ],
    )
}

fn timed_out(facts: &Facts<'_>) -> Explanation {
    if facts.tls {
        return explanation("the target did not answer", ["the port does not speak TLS: check trsvcid".to_owned()]);
    }
    let what = "the target did not answer in time";
    match facts.transport {
        Transport::Tcp | Transport::Rdma => explanation(
            what,
            [
                format!("it is down, or traddr {} is wrong", facts.traddr),
                format!("a firewall drops packets to {}", facts.portal()),
            ],
        ),
        Transport::Fc | Transport::Loop => explanation(what, [LOG.to_owned()]),
    }
}

fn no_route(facts: &Facts<'_>) -> Explanation {
    let mut command = format!("ip route get {}", facts.traddr);
    if !facts.host_iface.is_empty() {
        command += &format!(" oif {}", facts.host_iface);
    }
    explanation(format!("no route to {}", facts.traddr), [format!("`{command}` shows what is missing")])
}

fn wrong_source(facts: &Facts<'_>) -> Explanation {
    let what = "the source address cannot be used";
    match facts.host_traddr {
        "" => explanation(what, [format!("this host has no address that reaches {}: `ip address`", facts.traddr)]),
        given => {
            explanation(what, [format!("host-traddr {given} is no address of this host: `ip address` lists them")])
        }
    }
}

fn wrong_family(facts: &Facts<'_>) -> Explanation {
    let what = "wrong address family";
    match facts.families_differ() {
        true => explanation(
            what,
            [format!(
                "host-traddr {} and traddr {} must be both IPv4 or both IPv6: correct host-traddr or leave it out",
                facts.host_traddr, facts.traddr
            )],
        ),
        false => explanation(what, [format!("this host has no IPv6, or none for {}: `ip -6 address`", facts.traddr)]),
    }
}

fn no_device(facts: &Facts<'_>) -> Explanation {
    match (facts.transport, &facts.interface) {
        (Transport::Rdma, _) => explanation(
            format!("no RDMA device of this host reaches {}", facts.traddr),
            ["`rdma link` lists the devices and their interfaces".to_owned()],
        ),
        (Transport::Fc, _) => no_fc_port(facts),
        (_, Interface::Unnamed) => explanation("no such device", [LOG.to_owned()]),
        (_, Interface::Absent) => explanation(
            format!("host-iface {}: this host has no interface of that name", facts.host_iface),
            ["`ip link` lists them; for an alternative name set the one that it shows first".to_owned()],
        ),
        (_, Interface::Alternative(name)) => explanation(
            format!("host-iface {} is an alternative name of {name}", facts.host_iface),
            [format!("set host-iface={name}")],
        ),
        (_, Interface::Present) => explanation(
            format!("host-iface {} cannot be used", facts.host_iface),
            [format!("its link is down: `ip link show {}`", facts.host_iface)],
        ),
    }
}

fn no_fc_port(facts: &Facts<'_>) -> Explanation {
    explanation(
        format!("the FC port {} is not seen from {}", facts.traddr, facts.host_traddr),
        [
            "an address is wrong: compare both with /sys/class/fc_remote_ports and /sys/class/fc_host".to_owned(),
            "the fabric's zoning keeps the ports apart, or the target's port is not logged in".to_owned(),
        ],
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::facts::tests::facts;
    use super::*;

    const ERRNOS: [Errno; 26] = [
        Errno::EIO,
        Errno::EINVAL,
        Errno::ENOKEY,
        Errno::EKEYREJECTED,
        Errno::EKEYEXPIRED,
        Errno::EACCES,
        Errno::ESRCH,
        Errno::ECONNREFUSED,
        Errno::ECONNRESET,
        Errno::EPIPE,
        Errno::EAGAIN,
        Errno::ETIMEDOUT,
        Errno::EHOSTUNREACH,
        Errno::ENETUNREACH,
        Errno::EADDRNOTAVAIL,
        Errno::EAFNOSUPPORT,
        Errno::ENODEV,
        Errno::ENOENT,
        Errno::EOPNOTSUPP,
        Errno::EPROTO,
        Errno::ENOMEM,
        Errno::EINTR,
        Errno::EBUSY,
        Errno::EXDEV,
        Errno::EPERM,
        Errno::UnknownErrno,
    ];
    const TRANSPORTS: [Transport; 4] = [Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop];

    /// For every errno, the operator gets an explanation, the name of the error, and a remedy.
    #[test]
    fn every_errno_of_every_transport_is_reported_with_a_remedy() {
        for errno in ERRNOS {
            for transport in TRANSPORTS {
                for secret in [false, true] {
                    let said = of_connect(errno, &Facts { secret, ..facts(transport) }).to_string();
                    assert!(said.ends_with(']') && !said.contains("os error"), "{said}");
                    let needs_no_remedy = matches!(errno, Errno::ENOMEM | Errno::EINTR);
                    assert!(needs_no_remedy || said.contains(": ") || said.contains('`'), "{transport} {said}");
                    assert!(said.len() < 600, "{said}");
                }
            }
        }
    }

    #[test]
    fn before_kernel_6_10_a_missing_secret_is_the_last_cause() {
        for (hides_required_secret, secret, is_named) in
            [(true, false, true), (true, true, false), (false, false, false)]
        {
            let facts = Facts { hides_required_secret, secret, ..facts(Transport::Tcp) };
            let causes = of_connect(Errno::EIO, &facts).causes;
            let last = causes.last().unwrap();
            assert_eq!(last.contains("requires DH-HMAC-CHAP"), is_named, "{causes:?}");
            assert!(causes[0].contains("no subsystem"), "{causes:?}");
        }
    }

    #[test]
    fn the_likely_causes_come_in_order() {
        use Errno::*;
        use Transport::*;

        // Errno, transport, whether a secret is configured, and texts that must appear in this order.
        #[rustfmt::skip]
        let table: &[(Errno, Transport, bool, &[&str])] = &[
            (EIO, Tcp, false, &["the target refused", "journalctl -k", "no subsystem nqn.2014-08.org.example:s", "nvme discover -t tcp -a 192.0.2.1", "nqn.h is not allowed", "no controller left"]),
            (EIO, Rdma, true, &["no subsystem", "nvme discover -t rdma", "is not allowed"]),
            (EIO, Loop, false, &["no loop port", "is not allowed"]),
            (EINVAL, Tcp, false, &["not NVMe/TCP", "does not take these parameters", "journalctl -k"]),
            (EINVAL, Fc, false, &["nn-0xWWNN:pn-0xWWPN"]),
            (ENOKEY, Tcp, false, &["the target requires DH-HMAC-CHAP", "no secret is configured", "dhchap-secret", "/etc/nvme/hostkey"]),
            (ENOKEY, Tcp, true, &["another secret, or none, for host NQN nqn.h"]),
            (EKEYREJECTED, Rdma, true, &["another secret"]),
            (ECONNREFUSED, Tcp, false, &["nothing listens at 192.0.2.1 port 4420", "trsvcid"]),
            (ECONNREFUSED, Tcp, true, &["nothing listens", "secrets of host and target do not match"]),
            (ECONNRESET, Tcp, false, &["takes TLS only", "not NVMe/TCP"]),
            (ECONNRESET, Rdma, false, &["nothing listens"]),
            (EAGAIN, Tcp, false, &["not NVMe/TCP", "web server", "the target hangs"]),
            (ETIMEDOUT, Tcp, false, &["did not answer in time", "it is down", "firewall"]),
            (EHOSTUNREACH, Tcp, false, &["no route to 192.0.2.1", "ip route get 192.0.2.1"]),
            (EADDRNOTAVAIL, Tcp, false, &["no address that reaches"]),
            (EAFNOSUPPORT, Tcp, false, &["IPv6"]),
            (ENODEV, Rdma, false, &["no RDMA device", "rdma link"]),
            (ENODEV, Fc, false, &["is not seen from", "fc_remote_ports", "zoning"]),
            (ENOENT, Fc, false, &["is not seen from", "zoning"]),
            (EOPNOTSUPP, Tcp, false, &["lacks a feature"]),
            (EXDEV, Tcp, false, &["Cross-device link", "journalctl -k", "[EXDEV]"]),
        ];
        for (errno, transport, secret, words) in table {
            let said = of_connect(*errno, &Facts { secret: *secret, ..facts(*transport) }).to_string();
            let mut rest = said.as_str();
            for word in *words {
                let (_, after) = rest.split_once(word).unwrap_or_else(|| panic!("{word:?} is not next in {said:?}"));
                rest = after;
            }
        }
    }

    #[test]
    fn what_is_known_of_the_host_narrows_the_causes_down() {
        let tcp = || facts(Transport::Tcp);
        let conflict = Conflict { device: "nvme3".into(), host_nqn: "nqn.h".into(), host_id: "1111".into() };
        let cases = [
            (Errno::EINVAL, Facts { has_module: false, ..tcp() }, "modprobe nvme-tcp"),
            (
                Errno::EINVAL,
                Facts { identity_conflict: Some(conflict), ..tcp() },
                "nvme3 is connected as nqn.h with host ID 1111",
            ),
            (Errno::EINVAL, Facts { unknown_options: vec!["tos".into()], ..tcp() }, "does not know the option tos"),
            (Errno::EINVAL, Facts { host_traddr: "2001:db8::1", ..tcp() }, "must be both IPv4 or both IPv6"),
            (Errno::EAFNOSUPPORT, Facts { host_traddr: "2001:db8::1", ..tcp() }, "must be both IPv4 or both IPv6"),
            (
                Errno::EIO,
                Facts { connected_elsewhere: Some("nvme4".into()), ..tcp() },
                "(connected as nvme4) is not exported at this port",
            ),
            (Errno::EIO, Facts { discovery: true, ..tcp() }, "no discovery controller"),
            (Errno::ENOKEY, Facts { tls: true, ..tcp() }, "no TLS key"),
            (Errno::ESRCH, Facts { tls: true, ..tcp() }, "tlshd does not run"),
            (Errno::ETIMEDOUT, Facts { tls: true, ..tcp() }, "does not speak TLS"),
            (Errno::ENOKEY, Facts { secret: true, ctrl_secret: true, ..tcp() }, "(2) the controller's own secret"),
            (
                Errno::EADDRNOTAVAIL,
                Facts { host_traddr: "192.0.2.77", ..tcp() },
                "host-traddr 192.0.2.77 is no address",
            ),
            (
                Errno::ENODEV,
                Facts { host_iface: "eth7", interface: Interface::Absent, ..tcp() },
                "host-iface eth7: this host has no interface",
            ),
            (
                Errno::ENODEV,
                Facts { host_iface: "lan", interface: Interface::Alternative("eth0".into()), ..tcp() },
                "set host-iface=eth0",
            ),
            (Errno::ENODEV, Facts { host_iface: "eth0", interface: Interface::Present, ..tcp() }, "link is down"),
            (Errno::EHOSTUNREACH, Facts { host_iface: "eth0", ..tcp() }, "ip route get 192.0.2.1 oif eth0"),
        ];
        for (errno, facts, words) in cases {
            let said = of_connect(errno, &facts).to_string();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn an_io_subsystem_is_suspected_only_of_an_nqn_other_than_the_well_known_one() {
        const IO: &str = "nqn.2014-08.org.example:s is perhaps an I/O subsystem, not a discovery subsystem: put it into \
                          stacd.conf";
        for transport in TRANSPORTS {
            for (errno, discovery, nqn, suspected) in [
                (Errno::EINVAL, true, "nqn.2014-08.org.example:s", true),
                (Errno::EINVAL, true, DISCOVERY_NQN, false),
                (Errno::EINVAL, false, "nqn.2014-08.org.example:s", false),
                (Errno::EIO, true, "nqn.2014-08.org.example:s", false),
            ] {
                let said = of_connect(errno, &Facts { discovery, nqn, ..facts(transport) }).to_string();
                assert_eq!(said.contains(IO), suspected, "{said}");
                assert!(suspected || !said.contains("I/O subsystem"), "{said}");
            }
        }
    }
}
