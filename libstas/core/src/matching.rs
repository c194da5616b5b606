//! Decides whether a kernel connection serves a TID.

use std::net::IpAddr;

use super::effect::ConnectRequest;
use super::kernel::{Interface, KernelController, Links, Snapshot};
use stas_nvme::{DISCOVERY_NQN, Tid, Transport, tid};

/// Finds the controller in `snapshot` that serves `tid` and may be adopted, by [`best`].
#[must_use]
pub fn find<'a>(snapshot: &'a Snapshot, tid: &Tid, links: &Links, discovery: bool) -> Option<&'a KernelController> {
    best(snapshot.controllers.iter().map(|ctrl| &**ctrl), tid, links, discovery)
}

/// Finds the controller in `snapshot` that serves a request and may be adopted for it, by [`best`].
#[must_use]
pub fn find_for<'a>(snapshot: &'a Snapshot, request: &ConnectRequest, links: &Links) -> Option<&'a KernelController> {
    let controllers = snapshot.controllers.iter().map(|ctrl| &**ctrl);
    let usable = controllers.filter(|ctrl| !request.passed_over.contains(&ctrl.ctrl));
    best(usable, &request.tid, links, request.purpose.is_discovery())
}

/// True if a connection is bound to a missing interface (down or absent). Before the interfaces are known, none counts
/// as missing.
#[must_use]
pub fn is_bound_to_nothing(ctrl: &KernelController, links: &Links) -> bool {
    let up = links.named(&ctrl.host_iface).is_some_and(|interface| interface.up);
    !ctrl.host_iface.is_empty() && !links.0.is_empty() && !up
}

/// True if a connection is bound to a source address.
#[must_use]
pub fn has_source_address(ctrl: &KernelController) -> bool {
    ctrl.transport.is_ip() && tid::parse_ip(&ctrl.host_traddr).is_some()
}

/// True if a connection is bound to a missing interface, or to a source address that no interface has. While it is not
/// live, the kernel cannot restore it before the interface or the address returns.
#[must_use]
pub fn lacks_source(ctrl: &KernelController, links: &Links) -> bool {
    is_bound_to_nothing(ctrl, links) || (has_source_address(ctrl) && is_missing_address(ctrl, links))
}

/// True if a connection lacks its source, while a new one for `tid` would not: `tid` asks for another source or for
/// none.
#[must_use]
pub fn is_replaceable(ctrl: &KernelController, tid: &Tid, links: &Links) -> bool {
    lacks_source(ctrl, links) && !lacks_source(&KernelController::asked_for_by(tid, ctrl.ctrl), links)
}

/// Link-local addresses exist on every interface: if one is specified, the address must be on that one. All loopback
/// addresses are this host's, although only one is assigned.
fn is_missing_address(ctrl: &KernelController, links: &Links) -> bool {
    let Some((address, _)) = tid::parse_ip(&ctrl.host_traddr) else { return false };
    let owns = |interface: &Interface| interface.addresses.contains(&address);
    let is_there = match scope(&ctrl.host_traddr, &ctrl.host_iface) {
        Some(interface) => links.named(name_of(interface, links)).is_some_and(owns),
        None => links.0.iter().any(owns),
    };
    !links.0.is_empty() && !address.is_loopback() && !address.is_unspecified() && !is_there
}

/// The connection that serves `tid` and may be adopted. A connection with the same host-iface comes first, because no
/// other controller would adopt that connection. Then comes a live one, then the oldest.
///
/// `discovery` selects discovery controllers, otherwise I/O controllers. A controller that is being deleted is never
/// adopted, nor is the short-lived discovery connection of `nvme discover` (keep-alive 0).
#[must_use]
pub fn best<'a>(
    controllers: impl Iterator<Item = &'a KernelController>,
    tid: &Tid,
    links: &Links,
    discovery: bool,
) -> Option<&'a KernelController> {
    controllers
        .filter(|ctrl| may_be_taken_over(ctrl, discovery) && serves(ctrl, tid, links))
        .min_by_key(|ctrl| (ctrl.host_iface != tid.host_iface, !ctrl.is_live(), ctrl.ctrl.inode))
}

/// False if the controller is of the other kind, is being deleted, or is the short-lived connection of `nvme discover`.
#[must_use]
pub fn may_be_taken_over(ctrl: &KernelController, discovery: bool) -> bool {
    ctrl.is_discovery() == discovery && !ctrl.is_being_deleted() && !(discovery && ctrl.kato == Some(0))
}

/// True when this kernel connection serves `tid`. A connection whose source is unknown counts as serving it: a second
/// connection would do more harm.
#[must_use]
pub fn serves(ctrl: &KernelController, tid: &Tid, links: &Links) -> bool {
    is_same_controller(ctrl, tid, links) && is_same_host_side(ctrl, tid, links).unwrap_or(true)
}

/// Like [`serves`], but false if the source of the connection is unknown. Used to decide whether another connection may
/// be disconnected.
#[must_use]
pub fn is_known_to_serve(ctrl: &KernelController, tid: &Tid, links: &Links) -> bool {
    is_same_controller(ctrl, tid, links) && is_same_host_side(ctrl, tid, links).unwrap_or(false)
}

fn is_same_controller(ctrl: &KernelController, tid: &Tid, links: &Links) -> bool {
    ctrl.transport == tid.transport()
        && ctrl.trsvcid == tid.trsvcid
        && (tid.host_nqn.is_empty() || ctrl.hostnqn == tid.host_nqn)
        && (ctrl.subsysnqn == tid.subsysnqn || (tid.subsysnqn == DISCOVERY_NQN && ctrl.is_discovery()))
        && same_target(ctrl, tid, links)
}

/// Compares addresses as addresses. Link-local addresses exist on every interface: two equal ones are the same only on
/// the same interface, if both sides specify an interface.
fn same_target(ctrl: &KernelController, tid: &Tid, links: &Links) -> bool {
    if !tid.transport().is_ip() {
        return ctrl.traddr.eq_ignore_ascii_case(&tid.traddr);
    }
    let (Some((one, _)), Some((other, _))) = (tid::parse_ip(&ctrl.traddr), tid::parse_ip(&tid.traddr)) else {
        return ctrl.traddr == tid.traddr;
    };
    let interfaces = (scope(&ctrl.traddr, &ctrl.host_iface), scope(&tid.traddr, &tid.host_iface));
    one == other
        && match interfaces {
            (Some(one), Some(other)) => name_of(one, links) == name_of(other, links),
            _ => true,
        }
}

/// The interface of a link-local address: its scope, or the interface that the connection is bound to.
fn scope<'a>(traddr: &'a str, host_iface: &'a str) -> Option<&'a str> {
    let (_, scope) = tid::parse_link_local(traddr)?;
    scope.or(Some(host_iface)).filter(|interface| !interface.is_empty())
}

/// The name of an interface that is given by its name or by its index.
fn name_of<'a>(interface: &'a str, links: &'a Links) -> &'a str {
    let numbered = interface.parse().ok().and_then(|index| links.numbered(index));
    numbered.map_or(interface, |link| link.name.as_str())
}

/// Whether the connection has the host side (address, interface) that `tid` specifies; `None` if that is unknown.
fn is_same_host_side(ctrl: &KernelController, tid: &Tid, links: &Links) -> Option<bool> {
    match tid.transport() {
        Transport::Tcp => is_same_tcp_source(ctrl, tid, links),
        Transport::Fc => Some(ctrl.host_traddr.eq_ignore_ascii_case(&tid.host_traddr)),
        Transport::Rdma => Some(tid.host_traddr.is_empty() || same_ip(&ctrl.host_traddr, &tid.host_traddr)),
        Transport::Loop => Some(true),
    }
}

/// Compares two addresses of this host, without their scopes.
fn same_ip(one: &str, other: &str) -> bool {
    match (tid::parse_ip(one), tid::parse_ip(other)) {
        (Some((one, _)), Some((other, _))) => one == other,
        _ => one == other,
    }
}

/// Compares the source of the connection by the best knowledge available: the source address of the socket, then the
/// parameters of the connect, then the primary address of the interface that it is bound to.
fn is_same_tcp_source(ctrl: &KernelController, tid: &Tid, links: &Links) -> Option<bool> {
    match (is_same_tcp_address(ctrl, tid, links), is_same_tcp_interface(ctrl, tid, links)) {
        (Some(true), other) | (other, Some(true)) => other,
        (Some(false), _) | (_, Some(false)) => Some(false),
        (None, None) => None,
    }
}

fn is_same_tcp_address(ctrl: &KernelController, tid: &Tid, links: &Links) -> Option<bool> {
    let Some((wanted, _)) = tid::parse_ip(&tid.host_traddr) else { return Some(true) };
    let primary = || -> Option<IpAddr> {
        let bound = links.named(&ctrl.host_iface)?;
        bound.addresses.iter().find(|address| address.is_ipv4() == wanted.is_ipv4()).copied()
    };
    let source = ctrl
        .src_addr
        .map(|address| address.to_canonical())
        .or_else(|| tid::parse_ip(&ctrl.host_traddr).map(|(ip, _)| ip))
        .or_else(primary);
    source.map(|source| source == wanted)
}

fn is_same_tcp_interface(ctrl: &KernelController, tid: &Tid, links: &Links) -> Option<bool> {
    if tid.host_iface.is_empty() {
        return Some(true);
    }
    let bound = Some(ctrl.host_iface.as_str()).filter(|bound| !bound.is_empty());
    if let Some(bound) = bound.or_else(|| scope(&ctrl.traddr, "")) {
        return Some(name_of(bound, links) == tid.host_iface);
    }
    let source = ctrl.src_addr.or_else(|| tid::parse_ip(&ctrl.host_traddr).map(|(ip, _)| ip))?;
    // A source address may be on several interfaces (link-local addresses are): one of them is enough.
    let source = source.to_canonical();
    let wanted = links.named(&tid.host_iface).map(|wanted| wanted.addresses.as_slice()).unwrap_or_default();
    if wanted.contains(&source) {
        return Some(true);
    }
    // A source address that no interface has any more may have belonged to the wanted interface, unless that interface
    // has another address of the same family and scope.
    let is_of_its_kind =
        |other: &IpAddr| other.is_ipv4() == source.is_ipv4() && is_link_local(*other) == is_link_local(source);
    let may_have_moved = links.owner(source).is_none() && !wanted.iter().any(is_of_its_kind);
    (!may_have_moved).then_some(false)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
