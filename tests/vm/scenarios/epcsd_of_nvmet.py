"""The kernel's DC lists itself without EPCSD but sends events. With epcsd=ignore (the default) it stays connected, and changes arrive at once."""

import json

from scene import check, daemons, equal, host, target
from scene.daemons import stafd

LIMIT = 120
EPCSD = 1 << 1


def play():
    target.three()
    target.unlink(target.KLINGONS)
    others = [nqn for nqn in target.THREE if nqn != target.KLINGONS]
    daemons.connected_to(others)
    page = json.loads(stafd.tool("dlp", "-t", "tcp", "-a", "::1", "-s", "8009", "-o", "json"))
    flags = [int(entry["eflags"]) for entry in page if entry["subnqn"] == host.DISCOVERY_NQN]
    check(flags, "the DC lists itself", page)
    check(not any(each & EPCSD for each in flags), "without EPCSD", flags)
    with host.nothing_lost():
        target.link(target.KLINGONS)
        host.wait_live(target.KLINGONS, timeout=20)
    equal(len(host.dcs()), 1, "connections to the DC")
