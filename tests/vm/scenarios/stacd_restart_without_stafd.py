"""A restart of stacd while stafd is stopped loses no connection."""

from scene import daemons, equal, host, stays, target, wait_until

LIMIT = 120


def play():
    target.three()
    daemons.connected_to(target.THREE)
    with host.nothing_lost():
        daemons.stafd.stop()
        daemons.stacd.restart()
        stays(lambda: len(host.iocs()) == 3, 8, "three connections while stafd is away")
        daemons.stacd.restart()
        daemons.start(daemons.stafd)
        wait_until(lambda: daemons.stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three", poll=0.2)
        stays(lambda: len(host.iocs()) == 3, 5, "three connections after stafd is back")
    equal(len(daemons.stacd.controllers()), 3, "controllers that stacd knows")
