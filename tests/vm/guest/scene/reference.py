"""Reference times of this host in this boot. Time limits are multiples of them, so that they also hold on a slow host.

    idle = reference.IdleDaemons()
    compare("kill -9 to both active", took, idle.killed(), "two idle daemons", at_most=2)
    alone = reference.connections(target.THREE)

Measure them before the daemons start: the daemons would adopt or remove these connections.
"""

import os
import pathlib
import signal
import statistics
import time

from . import daemons, host
from .numbers import note
from .wait import wait_until

# Directives that an idle daemon does not copy. It copies the rest: dependencies, folders, restrictions, restart delay.
OF_A_DAEMON = ("Type=", "BusName=", "Exec", "WatchdogSec=")
ROUNDS = 3


class IdleDaemons:
    """Two services with the units of stafd and stacd that do nothing."""

    def __init__(self):
        self.both = [daemons.Daemon(f"{each}-idle", bus="none") for each in daemons.BOTH]
        for ours, idle in zip(daemons.BOTH, self.both):
            lines = pathlib.Path(f"/usr/lib/systemd/system/{ours.unit}").read_text().splitlines()
            lines = [line for line in lines if not line.startswith(OF_A_DAEMON)]
            lines.insert(lines.index("[Service]") + 1, "Type=exec\nExecStart=/usr/bin/sleep infinity")
            os.makedirs(daemons.OVERRIDES, exist_ok=True)
            (pathlib.Path(daemons.OVERRIDES) / idle.unit).write_text("\n".join(lines) + "\n")
        host.run("systemctl", "daemon-reload")

    def started(self):
        """Measures the seconds that systemd needs to start both."""
        took = []
        for _ in range(ROUNDS):
            before = daemons.start(*self.both)
            took.append(time.monotonic() - before)
            daemons.stop(*self.both)
        return told("two idle daemons started", took)

    def killed(self):
        """Measures the seconds that systemd needs to restart both after a kill -9."""
        return self.back_after("kill -9", lambda: None)

    def back_after(self, what, disturb):
        """Measures the seconds that systemd needs to restart both after a kill -9 and `disturb`."""
        took = []
        daemons.start(*self.both)
        for _ in range(ROUNDS):
            old = [each.pid for each in self.both]
            before = time.monotonic()
            for pid in old:
                os.kill(pid, signal.SIGKILL)
            disturb()
            for each, pid in zip(self.both, old):
                each.wait_active(15, other_than=pid)
            took.append(time.monotonic() - before)
        daemons.stop(*self.both)
        return told(f"two idle daemons back after {what}", took)


def connections(nqns, dc=False, **address):
    """Measures the seconds that the kernel needs to connect them (and their DC), one write after the other."""
    took = []
    for _ in range(ROUNDS):
        before = time.monotonic()
        for nqn in [*[host.DISCOVERY_NQN] * dc, *nqns]:
            host.connect(nqn, **address, **({"keep_alive_tmo": 30} if nqn == host.DISCOVERY_NQN else {}))
        host.wait_live(*nqns)
        took.append(time.monotonic() - before)
        host.disconnect_all()
    return told(f"{len(nqns) + dc} bare writes to /dev/nvme-fabrics", took)


def disconnection(nqn, **address):
    """Measures the seconds that the kernel needs to disconnect one controller."""
    took = []
    for _ in range(ROUNDS):
        host.connect(nqn, **address)
        host.wait_live(nqn)
        (connection,) = host.with_nqn(nqn)
        before = time.monotonic()
        connection.delete()
        host.wait_gone(nqn)
        took.append(time.monotonic() - before)
    return told("one bare disconnect", took)


def median(what, function, rounds=ROUNDS):
    """Measures a function several times. Returns the median in seconds."""
    took = []
    for _ in range(rounds):
        before = time.monotonic()
        function()
        took.append(time.monotonic() - before)
    return told(what, took)


def told(what, took):
    note(f"{what}: " + ", ".join(f"{each:.2f} s" for each in took))
    return statistics.median(took)


def aborted(pid, timeout=60.0):
    """Returns the seconds from now until the process has ended."""
    return wait_until(lambda: not os.path.exists(f"/proc/{pid}"), timeout, f"process {pid} ends")[1]
