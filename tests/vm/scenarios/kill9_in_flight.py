"""The daemons are killed with -9 while a connect is in the kernel: after it returns, they are active within three times the time that systemd needs for idle daemons, and no connection is lost."""

import os
import time

from scene import compare, daemons, host, journal, network, reference, target, wait_until

LIMIT = 180


def play():
    idle = reference.IdleDaemons().killed()
    target.three()
    daemons.connected_to(target.THREE)
    with network.silent_portal() as (port, accepted):
        silent = f"transport=tcp;traddr=127.0.0.1;trsvcid={port}"
        # A DC for stafd and an I/O controller for stacd: each has a write that hangs in the kernel.
        for each, line in ((daemons.stafd, silent), (daemons.stacd, f"{silent};nqn=nqn.2014-08.org.nvmexpress:scene:silent")):
            seen = len(accepted)
            before = host.read(each.conf)
            each.configure(f"{before}\n[Controllers]\ncontroller={line}\n")
            each.reload()
            wait_until(lambda: len(accepted) > seen and in_kernel(each.pid), 60, f"{each} has a connect in flight")
            # The pending connect ends with its killed process; no connection is lost.
            with host.nothing_lost(only=lambda connection: connection.trsvcid == "8009"):
                pid = each.kill9()
                wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 60, "the killed process ends when its connect returns")
                returned = time.monotonic()
                each.wait_active(15, other_than=pid)
                compare(f"{each}: return of the connect to active", time.monotonic() - returned, idle, "two idle daemons", at_most=3)
            # A portal with a hanging connect is only probed, without the kernel.
            each.configure(before)
            each.reload()
            wait_until(lambda: not in_kernel(each.pid), 60, f"{each} has no connect in flight")
    host.wait_live(*target.THREE)
    journal.messages()


def in_kernel(pid):
    """True if a thread of this process is in the kernel's connect, waiting for the target."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        stack = host.read(f"/proc/{pid}/task/{thread}/stack")
        if "nvmf" in stack or "nvme" in stack:
            return True
    return False
