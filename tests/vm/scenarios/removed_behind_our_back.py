"""A DC or an I/O controller that an administrator disconnects by hand is connected again after the back-off, within six times the time of a bare connect."""

import time

from scene import compare, daemons, host, reference, target

LIMIT = 90
# Longest wait in seconds before the next attempt, if the lost connection was new.
BACKOFF = 1.2


def play():
    target.three()
    one = reference.connections([target.STARFLEET])
    daemons.connected_to(target.THREE)
    with host.nothing_lost(only=lambda each: each.nqn != target.STARFLEET and not each.is_dc):
        (old,) = host.with_nqn(target.STARFLEET)
        old.delete()
        gone = time.monotonic()
        host.wait_live(target.STARFLEET)
        compare("I/O controller: removed to live", time.monotonic() - gone, one, "one bare write", at_most=6, delays=BACKOFF)

        (old,) = host.dcs()
        old.delete()
        gone = time.monotonic()
        host.wait_dc()
        compare("DC: removed to live", time.monotonic() - gone, one, "one bare write", at_most=6, delays=BACKOFF)
    # The new connection works like the old one.
    target.unlink(target.KLINGONS)
    host.wait_gone(target.KLINGONS, timeout=60)
