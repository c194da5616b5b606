"""The clock is set back by an hour and forward again, and both daemons are frozen for less and for more than the watchdog's time: no connection is lost, and the daemons catch up with all changes."""

import os
import signal
import time

from scene import compare, daemons, host, reference, stays, target
from scene.daemons import stacd, stafd

LIMIT = 240
WIDE_BOUNDS = True  # the measured times are a fraction of the limits
# The watchdog (30 s) is triggered every 15 s at the latest. The remaining 7 s are for changing the target while the daemons
# are frozen.
FROZEN = 8


def play():
    target.three()
    one = reference.connections([target.KLINGONS])
    daemons.connected_to(target.THREE)
    for offset in (-3600, 7200, -3600):
        with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
            now = time.clock_gettime(time.CLOCK_REALTIME)
            time.clock_settime(time.CLOCK_REALTIME, now + offset)
            target.unlink(target.KLINGONS)
            host.wait_gone(target.KLINGONS, timeout=60)
            target.link(target.KLINGONS)
            compare(f"linked to live after a step of the clock by {offset} s", host.wait_live(target.KLINGONS), one, "one bare write", at_most=8, delays=0.5)

    # While both are frozen, one subsystem is removed and another one is added.
    late = "nqn.2014-08.org.nvmexpress:scene:late"
    target.subsystem(late, ports=())
    pids = [each.pid for each in daemons.BOTH]
    with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        target.unlink(target.KLINGONS)
        target.link(late)
        stays(lambda: not host.with_nqn(late), FROZEN, "nobody connects")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        compare("thaw to what came meanwhile being live", host.wait_live(late), one, "one bare write", at_most=16, delays=0.5)
        host.wait_gone(target.KLINGONS, timeout=60)
    host.wait_live(target.STARFLEET, target.POWERSAN, late)
    # Longer than the watchdog's time: systemd restarts them, and no connection is lost.
    with host.nothing_lost():
        pids = [each.pid for each in daemons.BOTH]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for each, pid in ((stafd, pids[0]), (stacd, pids[1])):
            each.wait_active(60, other_than=pid)
        host.wait_live(target.STARFLEET, target.POWERSAN, late)
