"""A DC that announces itself is connected, with its subsystems, in at most four times the time that the kernel needs. An announcement of an address of this host is refused. A goodbye disconnects nothing. The DC is removed after the persistence time, and connected again when it is announced again."""

from scene import announcer, check, compare, daemons, host, journal, network, reference, stays, target, wait_until
from scene.announcer import Service
from scene.daemons import stafd

LIMIT = 180
PERSISTENCE = 6
# Seconds between two rounds of the browser.
PACE = 0.5
# Browsing starts again when the network changes. A goodbye that is missed then takes effect within 10 s.
UNHEARD = 15
# A shorter kato would end connections that must stay on a slow host. When its port is removed, the target closes them itself.
FAST = "ctrl-loss-tmo=2\nreconnect-delay=1\nkato=5"


def play():
    neighbour = network.Neighbour("target")
    lan = neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    target.lives_at(neighbour)
    offer()
    alone = reference.connections(target.THREE, dc=True, traddr="192.0.2.2")
    dc = Service("dc1", {lan: ["192.0.2.2"]})
    configure(PERSISTENCE)
    daemons.start()
    wait_until(lambda: not host.controllers(), 5, "nobody is announced, nothing is connected")
    with announcer.Announcer(neighbour, lan) as network_:
        # Services that exist before stafd browses answer its query; this one is announced later.
        wait_until(lambda: network_.queries, 10, "stafd asks who is there")
        network_.announce(dc)
        took = host.wait_live(*target.THREE)
        compare("announcement to DC and subsystems connected", took, alone, "four bare writes", at_most=4, delays=PACE)
        check(all(each.host_iface == lan for each in host.dcs()), f"it is connected by {lan}", host.picture())
        check(states() == [("discovered", "True", None)], "it is discovered and announced", states())

        own = Service("own", {lan: ["192.0.2.1"]})
        network_.announce(own)
        refused = lambda: [line for line in journal.messages("stafd") if "192.0.2.1, an address of this host" in line]
        wait_until(refused, 10, "an announcement of this host's own address is refused, and the journal says so")
        check([each["traddr"] for each in stafd.controllers()] == ["192.0.2.2"], "it is in no list", stafd.controllers())
        network_.goodbye(own)

        with host.nothing_lost():
            network_.goodbye(dc)
            wait_until(lambda: states() == [("discovered", "False", None)], UNHEARD, lambda: f"no longer announced\n    seen: {states()}")
            stays(lambda: len(host.iocs()) == 3, PERSISTENCE + 2, "three connections")

        # Neither announced nor connected: the persistence time runs, also over a restart of stafd.
        configure(4 * PERSISTENCE)
        stafd.reload()
        target.remove_port()
        wait_until(lambda: remaining(), 20, lambda: f"`stafctl status` shows the remaining time\n    seen: {states()}")
        before = remaining()
        check(before <= 4 * PERSISTENCE, "the remaining time is within the persistence", before)
        wait_until(lambda: 0 < remaining() < before - 3, 20, "the remaining time gets less", poll=0.2)
        stafd.restart()
        wait_until(lambda: 0 < remaining() < before - 3, 5, lambda: f"the remaining time survives a restart\n    seen: {states()}")
        over = wait_until(lambda: not stafd.controllers(), 4 * PERSISTENCE, lambda: f"it is given up\n    seen: {states()}", poll=0.2)[1]
        check(over < before, "it is given up when the persistence is over, not later", (over, before))
        reason = "aged out"
        check([each["reason"] for each in stafd.call("list_removed_controllers")] == [reason], "and listed as aged out")
        wait_until(lambda: not host.controllers(), 10, lambda: f"nothing is left of it\n    seen:\n{host.picture()}")
        journal.wait_for(rf"given up \({reason}\)", 10, "stafd")

        offer()
        network_.announce(dc)
        compare("return to DC and subsystems connected", host.wait_live(*target.THREE), alone, "four bare writes", at_most=4, delays=PACE)

        # With zeroconf=disabled it is kept until its connection is lost.
        with host.nothing_lost():
            configure(PERSISTENCE, "disabled")
            stafd.reload()
            network_.announce(Service("dc2", {lan: ["192.0.2.77"]}))
            stays(lambda: len(stafd.controllers()) == 1, 3, "nobody else is found, and this one stays")
        configure(PERSISTENCE)
        asked = network_.queries
        stafd.reload()
        wait_until(lambda: network_.queries > asked, UNHEARD, "enabled again, stafd asks again")
        wait_until(lambda: len(stafd.controllers()) == 2, UNHEARD, lambda: f"the other one is found\n    seen: {states()}")


def offer():
    with target.together():
        target.port()
        for nqn in target.THREE:
            target.subsystem(nqn)


def configure(persistence, zeroconf="enabled"):
    stafd.configure(f"[Global]\n{FAST}\n[Service Discovery]\nzeroconf={zeroconf}\n"
                    f"[Discovery controller connection management]\nzeroconf-connections-persistence={persistence}\n")
    daemons.stacd.configure(f"[Global]\n{FAST}\n")


def states():
    return sorted((each["origin"], each.get("announced"), each.get("given up in")) for each in stafd.controllers())


def remaining():
    """Returns the remaining seconds, or 0 if the persistence time does not run."""
    shown = [each.get("given up in") for each in stafd.controllers()]
    return int(shown[0].rstrip("s")) if len(shown) == 1 and shown[0] else 0
