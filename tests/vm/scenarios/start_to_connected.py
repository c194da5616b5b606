"""`systemctl start stafd stacd` connects three subsystems within 2.2 times the time that idle programs in their place and bare writes need (median of three first starts)."""

import pathlib
import statistics
import time

from scene import daemons, host, measure, note, target

COVERAGE = False
STARTS = 3
# The programs that have to run before the first subsystem is connected.
UNITS = ("stafd.service", "stacd.service", "stas-admin@.service", "stas-net@.service")
AT_MOST = 2.2
# Directives that are removed from a unit. The rest starts, does nothing, and ends.
OF_A_DAEMON = ("Type=", "BusName=", "Exec", "Restart", "WatchdogSec=", "Standard")


def play():
    target.three()
    idle = [idle_unit(each) for each in UNITS]
    host.run("systemctl", "daemon-reload")
    took, ratios = [], []
    for _ in range(STARTS):
        alone = without_daemons(idle)
        took.append(first_start())
        ratios.append(took[-1] / alone)
    note("starts: " + ", ".join(f"{each:.2f} s ({ratio:.2f} x)" for each, ratio in zip(took, ratios)))
    measure("systemctl start to three subsystems live", statistics.median(took), "s", peer=11.2)
    measure("the same, as a multiple of four idle services and three bare writes", statistics.median(ratios), "x", at_most=AT_MOST)


def idle_unit(unit):
    """Creates an idle service with the dependencies, folders and restrictions of a unit."""
    lines = pathlib.Path(f"/usr/lib/systemd/system/{unit}").read_text().splitlines()
    lines = [line for line in lines if not line.startswith(OF_A_DAEMON)]
    lines.insert(lines.index("[Service]") + 1, "Type=oneshot\nExecStart=/usr/bin/true")
    name = unit.replace("@", "").replace(".service", "-idle.service")
    (pathlib.Path(daemons.OVERRIDES) / name).write_text("\n".join(lines) + "\n")
    return name


def clean():
    """Removes all connections and the saved state of both daemons."""
    daemons.stop()
    host.disconnect_all()
    daemons.forget()
    daemons.configure()


def without_daemons(idle):
    """Measures the seconds that systemd needs to start the idle services, and the kernel to make three connections."""
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
