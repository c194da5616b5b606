"""A DC that refuses a keep-alive timeout is polled, and its storage stays connected. When it accepts the timeout, it stays connected."""

from scene import cdc, check, daemons, host, journal, stays, wait_until
from scene.cdc import FIRST, SECOND
from scene.daemons import stafd

LIMIT = 150


def play():
    dc = cdc.in_two_steps()
    dc("fault", "refuse-keep-alive")
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009")
    daemons.start()
    host.wait_live(FIRST, timeout=30)
    # The first poll lasts 2 s; the next connection may be on its way.
    wait_until(lambda: [each["kato"] for each in dc.connections()] == [0], 30, "connected without keep-alive", poll=0.1)
    with host.nothing_lost(only=lambda each: not each.is_dc):
        wait_until(is_polling_logged, 90, "the polling is logged", poll=0.5)
        wait_until(lambda: not dc.connections(), 5, "the poll is over", poll=0.1)
        stays(lambda: host.live(FIRST), 2, "its storage stays")
        dc.zone_in("second")
        # A reload causes a poll at once.
        dc("heal")
        stafd.reload()
        host.wait_live(SECOND, timeout=10)
        check(all(each["kato"] for each in dc.connections()), "it is held now", dc.connections())


def is_polling_logged():
    return any("polled every 15 minutes" in line for line in journal.messages("stafd"))
