"""A DC or I/O connection that somebody disconnects is back within 2 s."""

import time

from scene import daemons, host, measure, target

LIMIT = 90


def play():
    target.three()
    daemons.connected_to(target.THREE)
    with host.nothing_lost(only=lambda each: each.nqn != target.STARFLEET and not each.is_dc):
        (old,) = host.with_nqn(target.STARFLEET)
        old.delete()
        gone = time.monotonic()
        host.wait_live(target.STARFLEET)
        measure("I/O controller: removed to live", time.monotonic() - gone, "s", at_most=2)

        (old,) = host.dcs()
        old.delete()
        gone = time.monotonic()
        host.wait_dc()
        measure("DC: removed to live", time.monotonic() - gone, "s", at_most=2)
    # The new connection does what the old one did.
    target.unlink(target.KLINGONS)
    host.wait_gone(target.KLINGONS, timeout=60)
