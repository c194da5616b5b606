"""A subsystem is unexported and exported ten times in 2 s: its last state decides whether it is connected, and other connections are not affected."""

import time

from scene import daemons, host, measure, stays, target

LIMIT = 180
TIMES = 10


def play():
    target.three()
    daemons.connected_to(target.THREE)
    others = [nqn for nqn in target.THREE if nqn != target.KLINGONS]
    with host.nothing_lost(only=lambda each: each.nqn in others or each.is_dc):
        start = time.monotonic()
        storm(start)
        linked = time.monotonic()
        host.wait_live(target.KLINGONS, timeout=60)
        measure("storm's end to live", time.monotonic() - linked, "s")
        stays(lambda: host.live(target.KLINGONS), 8, "it stays live after the storm")
        storm(time.monotonic())
        target.unlink(target.KLINGONS)
        unlinked = time.monotonic()
        host.wait_gone(target.KLINGONS, timeout=60)
        measure("storm's end to gone", time.monotonic() - unlinked, "s")
        stays(lambda: not host.with_nqn(target.KLINGONS), 5, "it stays gone")


def storm(start):
    """Removes and adds the export ten times within two seconds."""
    for number in range(TIMES):
        target.unlink(target.KLINGONS)
        target.link(target.KLINGONS)
        time.sleep(max(0.0, start + (number + 1) * 2.0 / TIMES - time.monotonic()))  # the pace of the changes
