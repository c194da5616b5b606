"""A DC that refuses a connection with keep-alive is polled and left again; its storage stays; when it takes one, it is held."""

from scene import cdc, check, daemons, equal, host, journal, network, stays, target, wait_until
from scene.daemons import stafd

LIMIT = 150
FIRST, SECOND = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("first", "second"))


def play():
    neighbour = network.Neighbour("fabric")
    neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    target.lives_at(neighbour)
    with target.together():
        target.port(traddr="192.0.2.2", trsvcid="4420")
        target.subsystem(FIRST)
        target.subsystem(SECOND)
    dc = cdc.Cdc(lives_at=neighbour)
    dc.add("first", "192.0.2.2:4420", nqn=FIRST)
    dc.add("second", "192.0.2.2:4420", nqn=SECOND)
    dc.zone_in("first")
    dc("fault", "refuse-keep-alive")
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009")
    daemons.start()
    host.wait_live(FIRST, timeout=30)
    equal([each["kato"] for each in dc.connections()], [0], "connected without keep-alive")
    with host.nothing_lost(only=lambda each: not each.is_dc):
        wait_until(lambda: not dc.connections(), 60, "the poll ends", poll=0.2)
        stays(lambda: host.live(FIRST), 2, "its storage stays")
        dc.zone_in("second")
        check(any("polled every 15 minutes" in line for line in journal.messages("stafd")), "the journal tells of the polling")
        # The next poll need not be waited for: a reload is one.
        dc("heal")
        stafd.reload()
        host.wait_live(SECOND, timeout=10)
        check(all(each["kato"] for each in dc.connections()), "it is held now", dc.connections())
