"""The kernel's DC lists itself without EPCSD but sends events. With epcsd=ignore (the default) it stays connected, and changes arrive at once. With epcsd=poll it is polled, and its storage stays connected."""

import json

from scene import check, daemons, equal, host, journal, stays, target, wait_until
from scene.daemons import stafd

LIMIT = 180
EPCSD = 1 << 1
# Seconds that a polled DC is connected.
POLL = 40


def play():
    target.three()
    target.unlink(target.KLINGONS)
    others = [nqn for nqn in target.THREE if nqn != target.KLINGONS]
    daemons.connected_to(others)
    page = json.loads(stafd.tool("dlp", "-t", "tcp", "-a", "::1", "-s", "8009", "-o", "json"))
    flags = [entry["eflags"]["value"] for entry in page["log_page"] if entry["subnqn"] == host.DISCOVERY_NQN]
    check(flags, "the DC lists itself", page)
    check(not any(each & EPCSD for each in flags), "without EPCSD", flags)
    with host.nothing_lost():
        target.link(target.KLINGONS)
        host.wait_live(target.KLINGONS, timeout=20)
    equal(len(host.dcs()), 1, "connections to the DC")
    polled()


def polled():
    """Between two polls the last page stays valid; a reload polls at once."""
    daemons.configure(stafd_more="[Discovery controller connection management]\nepcsd=poll\n")
    with host.nothing_lost(only=lambda each: not each.is_dc):
        stafd.reload()
        wait_until(lambda: not host.dcs(), POLL + 10, lambda: f"the DC is disconnected after the poll\n{host.picture()}", poll=0.2)
        journal.wait_for("polled every 15 minutes", 5, "stafd")
        stays(lambda: len(host.iocs()) == 3 and not host.dcs(), 5, "the storage stays connected, without the DC")
        equal(stafd.listed_subsystems(), sorted(target.THREE), "the page of the last poll")
    with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
        target.unlink(target.KLINGONS)
        stafd.reload()
        host.wait_gone(target.KLINGONS, timeout=POLL + 10)
