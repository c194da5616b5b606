"""From `systemctl start stafd stacd` to three connected subsystems it takes at most two and a half times the time that systemd and the kernel need without the daemons (median of three first starts)."""

import pathlib
import statistics
import time

from scene import daemons, host, measure, note, target

COVERAGE = False
STARTS = 3
# Measured ratios are 1.6 to 2.3. Under emulation the start of a program takes 0.1 s, and with the daemons systemd starts
# more programs than without.
AT_MOST = 2.5
# Directives that are removed from a unit. The rest starts, does nothing, and ends.
OF_A_DAEMON = ("Type=", "BusName=", "Exec", "Restart", "WatchdogSec=")


def play():
    target.three()
    idle = [idle_unit(each.unit) for each in daemons.BOTH]
    host.run("systemctl", "daemon-reload")
    took, ratios = [], []
    for _ in range(STARTS):
        alone = without_daemons(idle)
        took.append(first_start())
        ratios.append(took[-1] / alone)
    note("starts: " + ", ".join(f"{each:.2f} s ({ratio:.2f} x)" for each, ratio in zip(took, ratios)))
    measure("systemctl start to three subsystems live", statistics.median(took), "s", peer=11.2)
    measure("the same, as a multiple of two idle services and three bare writes", statistics.median(ratios), "x", at_most=AT_MOST)


def idle_unit(unit):
    """Creates an idle service with the dependencies, folders and restrictions of a daemon's unit."""
    lines = pathlib.Path(f"/usr/lib/systemd/system/{unit}").read_text().splitlines()
    lines = [line for line in lines if not line.startswith(OF_A_DAEMON)]
    lines.insert(lines.index("[Service]") + 1, "Type=oneshot\nExecStart=/usr/bin/true")
    name = unit.replace(".service", "-idle.service")
    (pathlib.Path(daemons.OVERRIDES) / name).write_text("\n".join(lines) + "\n")
    return name


def clean():
    """Removes all connections and the saved state of both daemons."""
    daemons.stop()
    host.disconnect_all()
    daemons.forget()
    daemons.configure()


def without_daemons(idle):
    """Measures the seconds that systemd needs to start two idle services, and the kernel to make three connections."""
    clean()
    before = time.monotonic()
    host.run("systemctl", "start", *idle)
    started = time.monotonic() - before
    return started + host.bare_writes(target.THREE)


def first_start():
    clean()
    before = daemons.start()
    host.wait_live(*target.THREE)
    return time.monotonic() - before
