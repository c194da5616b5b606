"""100 connections (DROPPED=200: more) are dropped at once, and all events about it are lost: all are live again, and none is made twice."""

import os
import signal
import threading
import time

from scene import check, compare, daemons, host, journal, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 500
COVERAGE = False
COUNT = int(os.environ.get("DROPPED", "100"))
UDEVD = ["systemd-udevd.service", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket"]


def play():
    nqns = target.many(COUNT)
    bare = host.bare_writes(nqns)
    daemons.connected_to(nqns, timeout=240)
    # All events are lost: while both daemons are frozen, there are more events than a socket buffer holds.
    pids = [each.pid for each in daemons.BOTH]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    drop = [threading.Thread(target=each.delete) for each in host.iocs()]
    for thread in drop:
        thread.start()
    for thread in drop:
        thread.join()
    check(not host.iocs(), "all are dropped", host.picture())
    flood()
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    begin = time.monotonic()
    wait_until(lambda: host.count_live_iocs() == COUNT, 240, lambda: f"{COUNT} live\n    seen: {host.count_live_iocs()}", poll=0.2)
    compare(f"{COUNT} re-connected", time.monotonic() - begin, bare, f"{COUNT} bare writes", at_most=2)
    check(len(host.iocs()) == COUNT, "one connection each", len(host.iocs()))
    if not stacd.peer:
        for each in daemons.BOTH:
            journal.wait_for("events.* lost", 5, each.name)
        wait_until(lambda: sum(each["device"] != "nvme?" for each in stacd.controllers()) == COUNT, 20, "stacd has them all", poll=0.5)
        check(len(stafd.controllers()) == 1, "stafd has its DC", stafd.controllers())


def flood():
    """Causes more kernel events than the 16 MiB socket buffer of a frozen listener can hold, so that each loses some.

    Without udevd: it would process them for minutes, and slow down what is measured.
    """
    host.run("systemctl", "stop", *UDEVD)
    event = os.open("/sys/class/mem/null/uevent", os.O_WRONLY)
    for _ in range(60000):
        os.write(event, b"change")
    os.close(event)
    host.run("systemctl", "start", *reversed(UDEVD))
