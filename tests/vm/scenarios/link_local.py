"""A link-local address on two interfaces means two discovery controllers and two paths; what their pages list is connected on the same interface."""

import socket

from scene import daemons, equal, host, network, raw_dc, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 120
SHARED, ZONED = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("shared", "zoned"))
THERE = "fe80::1"
PLACE = "transport=tcp;trsvcid=8009"
IPV6 = 2


def play():
    neighbour = network.Neighbour("target")
    one = neighbour.cable("one", ["192.0.2.1/24", "fe80::a/64"], ["192.0.2.2/24", f"{THERE}/64"])
    two = neighbour.cable("two", ["198.51.100.1/24", "fe80::b/64"], ["198.51.100.2/24", f"{THERE}/64"])
    target.lives_at(neighbour)
    with target.together():
        target.port()
        target.port(2, trsvcid="4420")
        target.subsystem(SHARED)
        target.subsystem(ZONED, ports=(2,))
    two_paths(one, two)
    foreign_zone(neighbour, one)


def two_paths(one, two):
    """The page lists the address without an interface: each DC's own interface counts."""
    # The first and the last are the same controller.
    spellings = (f"traddr={THERE}%{one}", f"traddr={THERE};host-iface={two}", f"traddr={THERE};host-iface={one}")
    dcs = [f"{PLACE};{each}" for each in spellings]
    iocs = [f"controller={PLACE};nqn={SHARED};{each}\n" for each in spellings]
    daemons.configure(*dcs, stacd_more=f"[Controllers]\n{''.join(iocs)}")
    daemons.start()
    for each, found in ((stafd, host.dcs), (stacd, host.iocs)):
        wait_until(lambda: sorted(interface(path) for path in found() if path.state == "live") == [one, two], 20,
                   lambda: f"one connection on each interface\n{host.picture()}")
        wait_until(lambda: rows(each) == sorted(path.device for path in found()), 10,
                   lambda: f"one row for each connection\n    seen: {each.controllers()}", poll=0.2)
    stays(lambda: len(host.dcs()) == len(host.iocs()) == 2, 5, "no third connection")

    # One path is no longer wanted: its DC and its line are removed.
    with host.nothing_lost(only=lambda each: interface(each) == one):
        daemons.configure(dcs[0], stacd_more=f"[Controllers]\n{iocs[0]}")
        for each in daemons.BOTH:
            each.reload()
        wait_until(lambda: {interface(each) for each in host.controllers()} == {one}, 60, lambda: f"one path is left\n{host.picture()}")


def interface(connection):
    return connection.host_iface or connection.traddr.partition("%")[2]


def rows(daemon):
    """Returns the devices that `ls` prints."""
    return sorted(each["device"] for each in daemon.controllers())


def foreign_zone(neighbour, one):
    """A page lists the address with an interface of another host."""
    with neighbour.inside():
        dc = raw_dc.RawDc("::", 8010, socket.AF_INET6)
    try:
        dc.page(raw_dc.entry(ZONED, f"{THERE}%ens9", "4420", adrfam=IPV6))
        stafd.configure(f"[Service Discovery]\nzeroconf=disabled\n[Controllers]\n"
                        f"controller=transport=tcp;traddr={THERE}%{one};trsvcid=8010\n")
        stafd.restart()
        host.wait_live(ZONED)
        equal({interface(each) for each in host.live(ZONED)}, {one}, "the interface of the DC replaces it")
    finally:
        daemons.stop()
        host.disconnect_all()
        dc.close()
