"""The target is gone for a minute, then exports its subsystems one after the other, a second apart: no connection is lost."""

import time

from scene import daemons, host, note, stays, target, wait_until

LIMIT = 240
GONE = 60
NQNS = [f"nqn.2014-08.org.nvmexpress:scene:slow-{number}" for number in range(5)]


def play():
    with target.together():
        target.port()
        for nqn in NQNS:
            target.subsystem(nqn)
    # The kernel must not try an I/O controller before its subsystem is exported again: the target's refusal would end it
    # at once. So the I/O controllers wait much longer than the outage before they reconnect, and the DC does not.
    daemons.connected_to(NQNS, stafd_global="reconnect-delay=1", stacd_global=f"reconnect-delay={GONE + 60}\nctrl-loss-tmo=600")
    with host.nothing_lost():
        target.remove_port()
        start = time.monotonic()
        wait_until(lambda: all(each.state == "connecting" for each in host.controllers()), 10, "the outage is noticed")
        stays(lambda: len(host.iocs()) == len(NQNS), GONE - (time.monotonic() - start), "all connections are kept through the outage")
        target.port()
        for nqn in NQNS:
            # The pause of a second is part of the scenario; no connection may be lost in it.
            stays(lambda: len(host.iocs()) == len(NQNS), 1.0, "all connections are kept while the target comes back")
            target.link(nqn)
        host.wait_dc(timeout=30)
        note(f"DC back after {time.monotonic() - start:.0f} s")
        host.wait_live(*NQNS, timeout=GONE + 60)
        # Longer than the time after which a missing entry counts as proof.
        stays(lambda: len(host.iocs()) == len(NQNS), 10, "all connections are kept")
