"""The system bus is restarted, and udevd is stopped and started: no connection is lost, and both daemons work again within three times the time that systemd needs for idle daemons."""

import time

from scene import compare, daemons, host, journal, reference, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 180


def play():
    idle = reference.IdleDaemons().back_after("a restart of the bus", restart_bus)
    target.three()
    daemons.connected_to(target.THREE)
    with host.nothing_lost():
        pids = [each.pid for each in daemons.BOTH]
        before = time.monotonic()
        restart_bus()
        for each, pid in zip(daemons.BOTH, pids):
            each.wait_active(30, other_than=pid)
        compare("the bus restarted, to both active", time.monotonic() - before, idle, "two idle daemons", at_most=3)
        listed()
    for each in daemons.BOTH:
        journal.wait_for("(?i)bus", 5, each.name)
    works()

    # The kernel's own events need no udevd.
    host.run("systemctl", "stop", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket", "systemd-udevd.service")
    try:
        works()
    finally:
        host.run("systemctl", "start", "systemd-udevd-kernel.socket", "systemd-udevd-control.socket", "systemd-udevd.service")
    with host.nothing_lost():
        host.run("udevadm", "trigger", "--subsystem-match=nvme")
        host.run("udevadm", "settle")
        listed()
    works()


def restart_bus():
    host.run("systemctl", "restart", "dbus.service")


def listed():
    wait_until(lambda: stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three", poll=0.2)
    wait_until(lambda: sum(each["device"] != "nvme?" for each in stacd.controllers()) == 3, 20, "stacd has all three", poll=0.2)


def works():
    """Checks that one subsystem is removed and added again, and no other is affected."""
    with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
        target.unlink(target.KLINGONS)
        host.wait_gone(target.KLINGONS, timeout=60)
        target.link(target.KLINGONS)
        host.wait_live(target.KLINGONS)
