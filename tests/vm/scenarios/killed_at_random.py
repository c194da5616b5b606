"""The daemons are killed with -9 at random moments for a minute (KILLING=600: ten minutes), while the target changes: nothing that stays exported is lost, and at the end everything exported is connected."""

import contextlib
import os
import random
import signal
import time

from scene import daemons, equal, host, note, target, wait_until
from scene.daemons import stacd, stafd

SECONDS = int(os.environ.get("KILLING", "60"))
LIMIT = 900
COVERAGE = False
SEED = int(os.environ.get("SEED", "7"))
COME_AND_GO = [f"nqn.2014-08.org.nvmexpress:scene:now-and-then-{number}" for number in range(4)]


def play():
    target.three()
    for nqn in COME_AND_GO:
        target.subsystem(nqn, ports=())
    daemons.connected_to(target.THREE)
    rng = random.Random(SEED)
    linked, kills = set(), 0
    end = time.monotonic() + SECONDS
    with host.nothing_lost(only=lambda each: each.nqn not in COME_AND_GO):
        while time.monotonic() < end:
            nqn = rng.choice(COME_AND_GO)
            if nqn in linked:
                target.unlink(nqn)
                linked.remove(nqn)
            else:
                target.link(nqn)
                linked.add(nqn)
            # A random moment between this event and the next one.
            time.sleep(rng.uniform(0, 1.5))
            for each in rng.choice(([stafd], [stacd], [stafd, stacd])):
                # A daemon that was killed in an earlier round may end only now.
                with contextlib.suppress(ProcessLookupError):
                    if pid := each.pid:
                        os.kill(pid, signal.SIGKILL)
                        kills += 1
            if rng.random() < 0.5:
                for each in daemons.BOTH:
                    each.wait_active(15)
        for each in daemons.BOTH:
            each.wait_active(15)
        wanted = sorted({*target.THREE, *linked})
        wait_until(lambda: sorted(each.nqn for each in host.iocs() if each.state == "live") == wanted, 90,
                   lambda: f"in the end these are connected, once each: {wanted}\n    seen:\n{host.picture()}", poll=0.5)
        wait_until(lambda: len(host.dcs()) == 1, 30, lambda: f"one DC connection\n{host.picture()}")
        # What was hidden while no daemon ran is removed when the DC has been connected for 30 s and its page was read.
    wait_until(lambda: sorted(each["subsysnqn"] for each in stacd.controllers()) == wanted, 45, "stacd lists them", poll=0.5)
    equal(stafd.listed_subsystems(), wanted, "what stafd lists")
    note(f"{kills} kills in {SECONDS} s")
