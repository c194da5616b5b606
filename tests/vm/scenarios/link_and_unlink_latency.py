"""A newly exported subsystem is live within three times the time of a bare connect. A subsystem that is no longer exported is disconnected within six times the time of a bare disconnect, after the 500 ms that removals wait (medians of five)."""

import statistics
import time

from scene import compare, daemons, host, reference, target, wait_until

LIMIT = 120
COVERAGE = False
ROUNDS = 5
# Seconds for which removals are collected.
QUIET = 0.5


def play():
    target.three()
    connect, disconnect = reference.connections([target.KLINGONS]), reference.disconnection(target.KLINGONS)
    daemons.connected_to(target.THREE)
    settle()
    linked, unlinked = [], []
    for _ in range(ROUNDS):
        before = time.monotonic()
        target.unlink(target.KLINGONS)
        host.wait_gone(target.KLINGONS)
        unlinked.append(time.monotonic() - before)
        before = time.monotonic()
        target.link(target.KLINGONS)
        host.wait_live(target.KLINGONS)
        linked.append(time.monotonic() - before)
    compare("link to live", statistics.median(linked), connect, "one bare write", at_most=3, peer=2.1)
    compare("unlink to gone", statistics.median(unlinked), disconnect, "one bare disconnect", at_most=6, delays=QUIET, peer=1.9)


def settle():
    """Waits until the DC has been connected for 30 s: then its page proves an absence at once."""
    born = time.monotonic()
    wait_until(lambda: time.monotonic() - born > 31, 40, "half a minute of a settled DC", poll=0.5)
