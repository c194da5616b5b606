"""While a connect hangs in the kernel, a reload and `ls` take at most twice their usual time, a restart waits only for the kernel, and no connection is lost."""

import math
import pathlib
import threading
import time

from scene import check, compare, daemons, host, network, reference, target, wait_until
from scene.daemons import stacd
from scene.wait import PATIENCE

LIMIT = 300
SILENT = "nqn.2014-08.org.nvmexpress:scene:silent"
# Time limit of the kernel for admin commands of new controllers; its default is 60 s.
ADMIN_TIMEOUT = "/sys/module/nvme_core/parameters/admin_timeout"
# Long enough for the measurements, also on a slow host.
ATTEMPT = math.ceil(20 * PATIENCE)


def play():
    target.three()
    daemons.connected_to(target.THREE)
    with host.nothing_lost(only=lambda each: each.trsvcid == "8009"), network.silent_portal(greets=True) as (port, accepted):
        reload_ = reference.median("reload", stacd.reload)
        ls = reference.median("ls", stacd.controllers)
        restart_ = reference.median("restart", stacd.restart)
        configuration = host.read(stacd.conf)
        pathlib.Path(ADMIN_TIMEOUT).write_text(str(ATTEMPT))
        stacd.configure(f"{configuration}\n[Controllers]\ncontroller=transport=tcp;traddr=127.0.0.1;trsvcid={port};nqn={SILENT}\n")
        stacd.reload()
        wait_until(lambda: connecting() and accepted, 30, "a connect hangs in the kernel", poll=0.05)
        hangs_until = time.monotonic() + ATTEMPT
        compare("reload while a connect hangs", reference.median("reload", stacd.reload), reload_, "a reload", at_most=2)
        check(len(stacd.controllers()) == 4, "stacctl ls answers", stacd.controllers())
        compare("ls while a connect hangs", reference.median("ls", stacd.controllers), ls, "ls", at_most=2)
        check(connecting(), "it hangs still", stacd.controllers())

        # A connect with a pending command cannot be interrupted: the process ends when the kernel gives up.
        pid = stacd.pid
        restart = threading.Thread(target=stacd.restart)
        begin = time.monotonic()
        restart.start()
        restart.join(ATTEMPT + 60)
        check(not restart.is_alive(), "the restart ends", stacd.properties())
        compare("restart while a connect hangs", time.monotonic() - begin, restart_, "a restart", at_most=2, delays=hangs_until - begin)
        stacd.wait_active(10, other_than=pid)
        host.wait_live(*target.THREE)
        wait_until(lambda: sum(each["device"] != "nvme?" for each in stacd.controllers()) == 3, 20, "stacd has all three", poll=0.2)


def connecting():
    return any(each["subsysnqn"] == SILENT and each.get("state") == "connecting" for each in stacd.controllers())
