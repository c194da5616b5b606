"""The kernel removes all controllers (ctrl-loss-tmo), and another program's connection gets their device numbers: it is not touched, and all storage is connected again within one and a half times the outage."""

import time

from scene import check, compare, daemons, host, stays, target, wait_until

LIMIT = 150
WIDE_BOUNDS = True  # it mostly waits, and does not need the processor
NQNS = [f"nqn.2014-08.org.nvmexpress:scene:lost-{number}" for number in range(3)]
STRANGER = "nqn.2014-08.org.nvmexpress:scene:stranger"
TIMEOUTS = "reconnect-delay=1\nctrl-loss-tmo=5"


def play():
    target.load_loop()
    with target.together():
        target.port()
        target.port(2, transport="loop", traddr="loop-one")
        for nqn in NQNS:
            target.subsystem(nqn)
        target.subsystem(STRANGER, ports=(2,))
    daemons.connected_to(NQNS, stafd_global=TIMEOUTS, stacd_global=TIMEOUTS)
    numbers = {each.device for each in host.controllers()}
    lost = time.monotonic()
    target.remove_port()
    wait_until(lambda: not host.controllers(), 60, lambda: f"the kernel gives all up\n{host.picture()}", poll=0.05)
    taken = host.connect(STRANGER, transport="loop", traddr="loop-one", trsvcid=None)
    check(taken in numbers, "the stranger has a number that was ours", taken)
    with host.nothing_lost(only=lambda each: each.nqn == STRANGER):
        # Each attempt of the daemons makes a controller that is not live, until it has failed.
        stays(lambda: [each.nqn for each in host.controllers() if each.state == "live"] == [STRANGER], 3,
              "nothing is connected where nobody listens")
        target.port()
        for nqn in NQNS:
            target.link(nqn)
        before = time.monotonic()
        host.wait_live(*NQNS, timeout=60)
        compare("target back to all live", time.monotonic() - before, before - lost, "the outage, with which the back-off grows", at_most=1.5)
        for each in daemons.BOTH:
            each.reload()
            each.restart()
        host.wait_live(*NQNS, timeout=30)
        stays(lambda: len(host.live(STRANGER)) == 1, 3, "the stranger is left alone")
