"""From `systemctl start stafd stacd` to three subsystems connected: at most 1.5 s (median of three first starts)."""

import shutil
import statistics
import time

from scene import daemons, host, measure, note, target

COVERAGE = False
STARTS = 3


def play():
    target.three()
    took = [first_start() for _ in range(STARTS)]
    note("starts: " + ", ".join(f"{each:.2f} s" for each in took))
    measure("systemctl start to three subsystems live", statistics.median(took), "s", at_most=1.5, peer=11.2)


def first_start():
    """A start on a host that has no connection, and daemons that know nothing from before."""
    daemons.stop()
    host.disconnect_all()
    for state in ("/run/stafd", "/run/stacd"):
        shutil.rmtree(state, ignore_errors=True)
    daemons.configure()
    before = daemons.start()
    host.wait_live(*target.THREE)
    return time.monotonic() - before
