"""A subsystem that the target links is live within 0.35 s, one that it unlinks is gone within 1.2 s (medians of five)."""

import statistics
import time

from scene import daemons, host, measure, target, wait_until

LIMIT = 120
COVERAGE = False
ROUNDS = 5


def play():
    target.three()
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
    measure("link to live", statistics.median(linked), "s", at_most=0.35, peer=2.1)
    measure("unlink to gone", statistics.median(unlinked), "s", at_most=1.2, peer=1.9)


def settle():
    """The DC has been connected long enough that its page is proof at once (policy 1: 30 s)."""
    born = time.monotonic()
    wait_until(lambda: time.monotonic() - born > 31, 40, "half a minute of a settled DC", poll=0.5)
