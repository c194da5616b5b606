"""A DC is found on each interface on which it announces itself, also on interfaces that are added or renamed later, and never on an excluded interface."""

import json

from scene import announcer, check, compare, daemons, host, journal, network, reference, stays, target, wait_until
from scene.announcer import Service
from scene.daemons import stafd

LIMIT = 180
# Seconds: 0.3 until the changes of an interface are over, 0.5 between two rounds of the browser.
SETTLE = 0.8


def play():
    neighbour = network.Neighbour("target")
    one = neighbour.cable("one", "192.0.2.1/24", "192.0.2.2/24")
    two = neighbour.cable("two", "198.51.100.1/24", "198.51.100.2/24")
    target.lives_at(neighbour)
    with target.together():
        target.port()
        for nqn in target.THREE:
            target.subsystem(nqn)
    alone = reference.connections(target.THREE, dc=True, traddr="192.0.2.2")
    configure()
    daemons.start()
    with announcer.Announcer(neighbour, one, two) as first:
        first.announce(Service("dc", {one: ["192.0.2.2"], two: ["198.51.100.2"]}))
        both = {("192.0.2.2", one), ("198.51.100.2", two)}
        wait_until(lambda: dcs() == both, 10, lambda: f"two ways to the DC\n    seen:\n{host.picture()}")
        wait_until(lambda: len(live_iocs()) == 6, 10, lambda: f"three subsystems by two ways\n    seen:\n{host.picture()}")

        # One of them is excluded.
        with host.nothing_lost(only=lambda each: each.host_iface == one):
            configure(f"exclude=host-iface={two}")
            stafd.reload()
            wait_until(lambda: dcs() == {("192.0.2.2", one)}, 10, lambda: f"one way to the DC\n    seen:\n{host.picture()}")
            first.announce(Service("late", {two: ["198.51.100.2"]}))
            stays(lambda: all(each[1] != two for each in dcs()), 3, "nothing is connected by the excluded interface")
        configure()
        stafd.reload()
        wait_until(lambda: dcs() == both, 10, lambda: f"two ways again\n    seen:\n{host.picture()}")

        # A link-local address is valid on its interface only.
        link_local = next(each["local"] for each in json.loads(neighbour.run("ip", "-j", "address", "show", "dev", one))[0]["addr_info"]
                          if each["scope"] == "link" and each["family"] == "inet6")
        first.announce(Service("six", {one: [link_local]}))
        wait_until(lambda: (f"{link_local}%{one}", one) in dcs(), 10, lambda: f"by {link_local}\n    seen:\n{host.picture()}")

        # The same address in two networks.
        first.announce(Service("twice", {one: ["203.0.113.9"], two: ["203.0.113.9"]}))
        journal.wait_for(f"the address 203.0.113.9 is announced on {one} and {two}", 10, "stafd")
        first.announce(Service("twice", {one: ["203.0.113.9"], two: ["203.0.113.9"]}))
        first.goodbye(Service("twice", {one: ["203.0.113.9"], two: ["203.0.113.9"]}))
        # journalctl may omit lines for a moment that it has shown before.
        lines, _ = wait_until(lambda: [line for line in journal.messages("stafd") if "the network is misconfigured" in line], 10,
                             "a misconfigured network is logged")
        check(len(lines) == 1, "a misconfigured network is logged once", lines)

        # An interface is added, renamed, and another one is removed.
        three = neighbour.cable("three", "203.0.113.1/24", "203.0.113.2/24")
        with announcer.Announcer(neighbour, three) as second:
            service = Service("third", {three: ["203.0.113.2"]})
            second.announce(service)
            took = wait_until(lambda: ("203.0.113.2", three) in dcs(), 10, lambda: f"by the new interface\n    seen:\n{host.picture()}")[1]
            compare("announcement on a new interface to connected", took, alone, "four bare writes", at_most=6, delays=SETTLE)
            renamed = f"{network.PREFIX}renamed"
            host.run("ip", "link", "set", three, "down")
            host.run("ip", "link", "set", three, "name", renamed)
            host.run("ip", "link", "set", renamed, "up")
            wait_until(lambda: ("203.0.113.2", renamed) in dcs(), 20, lambda: f"by the renamed interface\n    seen:\n{host.picture()}")
            # Disconnecting an unreachable controller takes a minute: these are disconnected before the interface is removed.
            configure("exclude=traddr=203.0.113.2")
            stafd.reload()
            wait_until(lambda: not [each for each in host.controllers() if each.traddr == "203.0.113.2"], 20, host.picture)
            # After another address is added to this host, announcements are still received.
            host.run("ip", "address", "flush", "dev", renamed)
            host.run("ip", "address", "add", "203.0.113.99/24", "dev", renamed)
            second.announce(Service("fourth", {three: ["203.0.113.77"]}))
            wait_until(lambda: any(each["traddr"] == "203.0.113.77" for each in stafd.controllers()), 10,
                       lambda: f"heard with the new address\n    seen: {stafd.controllers(False)}")
        host.run("ip", "link", "delete", renamed)
        # Connections on the other interfaces are kept.
        wait_until(lambda: both <= dcs(), 10, lambda: f"the others stay\n    seen:\n{host.picture()}")
        first.announce(Service("fifth", {two: ["198.51.100.77"]}))
        wait_until(lambda: any(each["traddr"] == "198.51.100.77" for each in stafd.controllers()), 10,
                   lambda: f"heard on the others\n    seen: {stafd.controllers(False)}")


def configure(controllers=""):
    stafd.configure(f"[Global]\nkato=2\n[Controllers]\n{controllers}\n")
    daemons.stacd.configure("[Global]\nkato=2\n")


def dcs():
    return {(each.traddr, each.host_iface) for each in host.dcs() if each.state == "live"}


def live_iocs():
    return [each for each in host.iocs() if each.state == "live"]
