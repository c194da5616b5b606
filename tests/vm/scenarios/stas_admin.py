"""stafd has no capability and opens no NVMe device; stas-admin executes its admin commands. While stas-admin is killed again and again, changed log pages are read. While its socket is stopped, all stays connected and the journal tells what to start. Only root may connect to the socket."""

import os
import signal
import time

from scene import check, daemons, equal, host, journal, measure, target, wait_until
from scene.daemons import stafd
from scene.host import run

LIMIT = 300
SOCKET = "stas-admin.socket"


def play():
    target.three()
    daemons.connected_to(target.THREE)
    rights()
    try:
        killed()
        hanging()
        away()
    finally:
        run("systemctl", "start", SOCKET, check=False)
    wrong_users()


def processes():
    return host.processes("stas-admin")


def late(number):
    """A new subsystem, listed by the changed log page."""
    nqn = f"nqn.2014-08.org.nvmexpress:scene:late-{number}"
    target.subsystem(nqn, ports=())
    target.link(nqn)
    return nqn


def rights():
    """stafd has none, and stas-admin one."""
    (admin,) = processes()
    for pid, capabilities in ((stafd.pid, "0" * 16), (admin, f"{1 << 21:016x}")):
        status = dict(line.split(":\t", 1) for line in host.read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
        equal([status[key].strip() for key in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")],
              [capabilities, capabilities, "1", "2"], f"the rights of {status['Name']}")
        if pid == admin:
            measure("stas-admin: resident", int(status["VmRSS"].split()[0]) / 1000, "MB", at_most=6)
    opened = [os.readlink(f"/proc/{stafd.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{stafd.pid}/fd")]
    equal([path for path in opened if path.startswith("/dev/nvme") and path != "/dev/nvme-fabrics"], [],
          "stafd has opened no NVMe device")


def killed():
    """Kills stas-admin again and again while subsystems come."""
    with host.nothing_lost():
        kills = 0
        for number in range(5):
            nqn = late(number)
            for _ in range(4):
                kills += host.kill_all("stas-admin")
                time.sleep(0.2)  # the pace of the kills, not a condition
            host.wait_live(nqn, timeout=30)
        check(kills > 0, "processes were killed", kills)
        # The last kill may have come after the last read: the next one starts a process.
        host.wait_live(late(7), timeout=30)


def hanging():
    """A stopped process is no obstacle for longer than its life: the daemon starts another one."""
    (admin,) = processes()
    with host.nothing_lost():
        os.kill(admin, signal.SIGSTOP)
        nqn = late(5)
        time.sleep(2)  # stafd asks the stopped process in this time
        check(not host.live(nqn), "the page waits for stas-admin", host.picture())
        os.kill(admin, signal.SIGKILL)
        host.wait_live(nqn, timeout=30)


def away():
    """Nothing listens at the socket."""
    with host.nothing_lost():
        run("systemctl", "stop", SOCKET)
        host.kill_all("stas-admin")
        nqn = late(6)
        journal.wait_for("stas-admin.socket is not active.*systemctl start stas-admin.socket", 30, "stafd")
        check(not host.live(nqn), "the page cannot be read", host.picture())
        run("systemctl", "start", SOCKET)
        host.wait_live(nqn, timeout=60)
        wait_until(processes, 10, "stas-admin runs")


def wrong_users():
    """Only root may connect to the socket."""
    code = "import socket; socket.socket(socket.AF_UNIX).connect('/run/nvme-stas/admin.socket')"
    refused = run("python3", "-c", code, user="tester", check=False)
    check(refused.returncode != 0 and "PermissionError" in refused.stderr, "another user cannot connect", refused.stderr)
