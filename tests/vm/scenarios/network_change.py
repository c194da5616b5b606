"""When an interface comes back, all waits end: DC and subsystems are connected within four times the time that the kernel needs, plus 0.6 s. Many changes in a short time have no effect."""

import resource
import time

from scene import compare, daemons, host, measure, network, note, reference, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 240
HERE, THERE = "192.0.2.1/24", "192.0.2.2/24"
STORM = 500
# Seconds: 0.1 to collect network changes, 0.5 after an earlier change.
GATHER = 0.6


def play():
    neighbour = network.Neighbour("target")
    cable = neighbour.cable("lan", HERE, THERE)
    target.lives_at(neighbour)
    with target.together():
        target.port(traddr="192.0.2.2")
        for nqn in target.THREE:
            target.subsystem(nqn)
    alone = reference.connections(target.THREE, dc=True, traddr="192.0.2.2")
    cut(cable)
    # After one attempt the kernel gives up, and the daemons connect again.
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009", stafd_global="ctrl-loss-tmo=3\nreconnect-delay=1\nkato=2",
                      stacd_global="ctrl-loss-tmo=3\nreconnect-delay=1\nkato=2",
                      stacd_more="[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.2;trsvcid=8009;nqn=" + target.KLINGONS)
    daemons.start()
    wait_until(waits_long, 60, lambda: f"both wait for over 5 s for their next attempt\n{states()}", poll=0.2)
    compare("address back to connected, from the start", restore(cable), alone, "four bare writes", at_most=4, delays=GATHER, peer=60)

    # The same after an outage in which the kernel has given up all connections.
    cut(cable)
    wait_until(lambda: not host.controllers(), 60, lambda: f"the kernel gives up\n{host.picture()}", poll=0.2)
    wait_until(waits_long, 60, lambda: f"both wait for over 5 s for their next attempt\n{states()}", poll=0.2)
    compare("address back to connected, after an outage", restore(cable), alone, "four bare writes", at_most=4, delays=GATHER, peer=60)

    # Many network changes in a short time.
    used = [each.cpu() for each in (stafd, stacd)]
    begin, begun = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with host.nothing_lost():
        for number in range(STORM):
            host.run("ip", "address", "add", f"198.51.100.{number % 200 + 1}/32", "dev", cable)
            host.run("ip", "address", "delete", f"198.51.100.{number % 200 + 1}/32", "dev", cable)
        stays(lambda: len(host.iocs()) == 3, 1, "three connections")
    took, ended = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    changing = ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime
    for each, before in zip((stafd, stacd), used):
        spent = each.cpu() - before
        note(f"{each}: {spent:.2f} s of CPU for {2 * STORM} changes in {took:.1f} s")
        measure(f"{each}: CPU in the storm, as a multiple of what the changes themselves take", spent / changing, "x", at_most=0.2)


def cut(cable):
    """Sets the interface down and removes its address."""
    host.run("ip", "link", "set", cable, "down")
    host.run("ip", "address", "flush", "dev", cable)


def restore(cable):
    """Restores the address. Returns the seconds until all three are live."""
    host.run("ip", "link", "set", cable, "up")
    before = time.monotonic()
    host.run("ip", "address", "add", HERE, "dev", cable)
    host.wait_live(*target.THREE, timeout=90)
    return time.monotonic() - before


def states():
    return stafd.controllers() + stacd.controllers()


def waits_long():
    """True if the back-off is long: then an early connect is caused by the network change."""
    waits = [each.get("next attempt", "").removeprefix("in ").removesuffix(" s") for each in states()]
    return sum(wait.isdigit() and int(wait) > 5 for wait in waits) == 2

