"""The host registers with a CDC in another network. A subsystem is connected when it is added to the zone and disconnected when it is removed, and no other host gets an event."""

import socket
import time

from scene import cdc, check, compare, daemons, equal, host, network, reference, stays, target, wait_until
from scene.daemons import stafd

LIMIT = 150
FIRST, SECOND = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("first", "second"))
STRANGER = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-00000000000f"
STORAGE = "192.0.2.2:4420"
ROUNDS = 5
# Seconds for which removals are collected.
QUIET = 0.5


def play():
    neighbour = network.Neighbour("fabric")
    neighbour.cable("lan", ["192.0.2.1/24", "2001:db8::1/64"], ["192.0.2.2/24", "2001:db8::2/64"])
    target.lives_at(neighbour)
    with target.together():
        target.port(traddr="192.0.2.2", trsvcid="4420")
        target.subsystem(FIRST)
        target.subsystem(SECOND)
    address = {"traddr": "192.0.2.2", "trsvcid": "4420"}
    connect, disconnect = reference.connections([SECOND], **address), reference.disconnection(SECOND, **address)
    dc = cdc.Cdc(lives_at=neighbour, nqn="nqn.2014-08.org.nvmexpress:scene:cdc")
    dc.add("first", STORAGE, nqn=FIRST)
    dc.add("second", STORAGE, nqn=SECOND)
    dc.zone_in("first", hostnqn=host.hostnqn(), zone="ours")
    dc.zone_in("first", hostnqn=STRANGER, zone="theirs")
    stranger = host.connect(cdc.DISCOVERY_NQN, "2001:db8::2", keep_alive_tmo=30, hostnqn=STRANGER,
                            hostid="00000000-0000-4000-8000-00000000000f")

    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009")
    daemons.start()
    host.wait_live(FIRST)
    check(not host.with_nqn(SECOND), "what is not in the zone is not connected", host.picture())

    wait_until(lambda: dc.host().get("registered"), 10, lambda: f"the host registers\n    seen: {dc.host()}")
    registered = dc.host()["registered"]
    equal((registered["host-id"], registered["name"], registered["transport"], registered["family"], registered["traddr"], registered["from"], registered["times"]),
          (host.hostid(), socket.gethostname(), "tcp", "ipv4", "", "192.0.2.1", 1), "registration")
    check(registered["version"].startswith("Debian GNU/Linux"), "the host sends its operating system", registered["version"])

    with host.nothing_lost(only=lambda each: each.nqn != SECOND):
        took = [zoned_in(dc)]
        # When the DC has been connected for 30 s, its page proves an absence at once.
        born = time.monotonic()
        wait_until(lambda: time.monotonic() - born > 31, 40, "half a minute of a settled DC", poll=0.5)
        gone = [zoned_out(dc)]
        for _ in range(ROUNDS - 1):
            took.append(zoned_in(dc))
            gone.append(zoned_out(dc))
        compare("zoned in to live", sorted(took)[ROUNDS // 2], connect, "one bare write", at_most=3)
        # The event takes the same way as for a new subsystem, which takes longer than a disconnect.
        compare("zoned out to gone", sorted(gone)[ROUNDS // 2], connect + disconnect, "one bare write and one bare disconnect",
                at_most=3, delays=QUIET)

        # If a change affects one host only, only that host gets an event.
        mine, its = dc.count("event"), dc.count("event", STRANGER)
        dc("set", "ncc", "second", "on")
        dc.zone_in("second", hostnqn=STRANGER, zone="theirs")
        wait_until(lambda: dc.count("event", STRANGER) == its + 1, 5, "the stranger hears of it")
        stays(lambda: dc.count("event") == mine, 1, "this host hears nothing", poll=0.2)

        # A change of NCC causes an event for the hosts that see the member.
        dc("set", "ncc", "first", "on")
        wait_until(lambda: flags() == {FIRST: "4"}, 5, lambda: f"NCC in the page\n    seen: {flags()}", poll=0.1)
    host.controller(stranger).delete()


def zoned_in(dc):
    before = time.monotonic()
    dc.zone_in("second", hostnqn=host.hostnqn(), zone="ours")
    host.wait_live(SECOND)
    return time.monotonic() - before


def zoned_out(dc):
    before = time.monotonic()
    dc.zone_out("second", zone="ours")
    host.wait_gone(SECOND)
    return time.monotonic() - before


def flags():
    """EFLAGS of each subsystem in stafd's page."""
    return {entry["subnqn"]: entry["eflags"] for each in stafd.log_pages() for entry in each["log-pages"] if entry["subtype"] == "nvme"}
