"""systemd's watchdog restarts a daemon that hangs, and both daemons come back after the bus dies. No connection is lost."""

import os
import signal

from scene import check, daemons, host, target, wait_until

LIMIT = 180


def play():
    target.three()
    for each in daemons.BOTH:
        each.drop_in("watchdog", "[Service]\nWatchdogSec=10s\n")
    daemons.connected_to(target.THREE)
    with host.nothing_lost():
        for each in daemons.BOTH:
            pid = each.pid
            os.kill(pid, signal.SIGSTOP)
            each.wait_active(40, other_than=pid)
        wait_until(lambda: daemons.stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three", poll=0.2)

        pids = [each.pid for each in daemons.BOTH]
        host.run("systemctl", "kill", "--signal=KILL", "dbus.service")
        for each, pid in zip(daemons.BOTH, pids):
            each.wait_active(40, other_than=pid)
        wait_until(lambda: daemons.stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three", poll=0.2)
    check(len(host.controllers()) == 4, "one DC and three subsystems", host.picture())
