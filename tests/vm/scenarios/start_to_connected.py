"""From `systemctl start stafd stacd` to three subsystems connected: at most 1.5 s."""

import time

from scene import daemons, host, measure, target


def play():
    target.three()
    daemons.configure()
    before = daemons.start()
    host.wait_live(*target.THREE)
    measure("systemctl start to three subsystems live", time.monotonic() - before, "s", at_most=1.5, peer=11.2)
