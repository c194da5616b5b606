"""A DC that closes the connection on a request for log page 00h is asked for it once; a DC of NVMe 1.3 is never asked. Both are read, and their storage is connected."""

from scene import cdc, daemons, equal, host, journal
from scene.cdc import FIRST, SECOND
from scene.daemons import stafd

LIMIT = 150


def play():
    dc = cdc.in_two_steps()
    dc("fault", "close", "supported-log-pages")
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009")
    daemons.start()
    host.wait_live(FIRST, timeout=60)
    equal(dc.said().count("closed for"), 1, "connections that log page 00h has ended")
    journal.wait_for("Get Log Page 00h", 10, "stafd")

    # Once its page was read with the entries of all ports, it is not asked after a restart, either.
    stafd.restart()
    host.wait_live(FIRST, timeout=60)
    # Without a saved state it would be asked again. A DC before NVMe 2.0 is never asked.
    dc("fault", "old")
    daemons.stop()
    daemons.forget()
    daemons.start()
    dc.zone_in("second")
    host.wait_live(SECOND, timeout=60)
    equal(dc.said().count("closed for"), 1, "connections that log page 00h has ended, after the restart")
