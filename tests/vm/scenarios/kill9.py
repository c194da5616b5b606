"""Both daemons are killed with -9: both are active again within three times the time that systemd needs for idle daemons, no connection is lost, and the log pages are listed as before."""

import time

from scene import check, compare, daemons, equal, host, reference, target, wait_until

LIMIT = 120


def play():
    idle = reference.IdleDaemons().killed()
    target.three()
    daemons.connected_to(target.THREE)
    pages = daemons.stafd.listed_subsystems()
    devices = {each["device"] for each in daemons.stacd.controllers()}
    with host.nothing_lost():
        before = time.monotonic()
        daemons.kill9()
        compare("kill -9 to both active", time.monotonic() - before, idle, "two idle daemons", at_most=3)
        wait_until(lambda: daemons.stafd.listed_subsystems() == pages, 10,
                   lambda: f"stafd lists {pages} again\n    seen: {daemons.stafd.listed_subsystems()}", poll=0.2)
        wait_until(lambda: {each["device"] for each in daemons.stacd.controllers()} == devices, 10,
                   lambda: f"stacd has {devices} again\n    seen: {daemons.stacd.controllers()}", poll=0.2)
        # And again at once: there must be no start limit.
        for _ in range(6):
            daemons.kill9()
        equal(daemons.stafd.listed_subsystems(), pages, "the log pages after seven deaths")
    check(len(host.iocs()) == 3 and len(host.dcs()) == 1, "three I/O controllers and one DC", host.picture())
    # The daemons still react to changes.
    target.unlink(target.KLINGONS)
    host.wait_gone(target.KLINGONS, timeout=60)
    target.link(target.KLINGONS)
    host.wait_live(target.KLINGONS)
