"""While an unprivileged user floods the bus for half a minute (FLOOD=600: ten minutes) with calls for all log pages and controllers, 100 on each of 100 connections, and reads no answer, the daemons keep running with little more memory and connect new subsystems."""

import contextlib
import os
import statistics
import subprocess
import time

from scene import cdc, check, daemons, equal, host, measure, note, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 900
COVERAGE = False
SECONDS = int(os.environ.get("FLOOD", "30"))
CONNECTIONS, CALLS, HOLD = 100, 100, 2
ATTACKER, BUS = "/harness/guest/flood.py", "/run/dbus/system_bus_socket"
# The entries that make the answers long. stacd excludes their address.
ENTRIES, DEAD = 2000, "198.51.100.2"
# Connects without and with the flood.
ROUNDS = 5
MB = 1e6


def play():
    names = [f"nqn.2014-08.org.nvmexpress:scene:new-{number}" for number in range(2 * ROUNDS)]
    target.three()
    with target.together():
        for name in names:
            target.subsystem(name, ports=())
    # A page that lists many subsystems that do not exist.
    cdc.Cdc(listen=("127.0.0.1:8010",)).load_members(
        (f"nqn.2014-08.org.nvmexpress:scene:dead-{number}", f"{DEAD}:{4420 + number}") for number in range(ENTRIES))
    daemons.configure("transport=tcp;traddr=::1;trsvcid=8009", "transport=tcp;traddr=127.0.0.1;trsvcid=8010",
                      stacd_more=f"[Controllers]\nexclude=traddr={DEAD}")
    daemons.start()
    host.wait_live(*target.THREE, timeout=60)
    wait_until(lambda: len(stafd.listed_subsystems()) == ENTRIES + len(target.THREE), 60, "stafd lists all", poll=0.5)
    quiet = statistics.median(to_live(name) for name in names[:ROUNDS])
    before = {each: (each.pid, each.resident()) for each in daemons.BOTH}
    most = {each: 0 for each in daemons.BOTH}
    with host.nothing_lost(), flood() as attacker:
        began = time.monotonic()
        flooded = []
        while time.monotonic() - began < SECONDS or len(flooded) < ROUNDS:
            if len(flooded) < ROUNDS:
                flooded.append(to_live(names[ROUNDS + len(flooded)]))
            for each in daemons.BOTH:
                most[each] = max(most[each], each.resident())
            check(attacker.poll() is None, "the attacker runs")
    for each, (pid, resident) in before.items():
        equal(each.pid, pid, f"the process of {each}")
        measure(f"{each}: memory grown by the flood", (most[each] - resident) / MB, "MB", at_most=16)
        note(f"{each}: {each.cpu():.1f} s of processor time")
    note(f"link to live: {quiet:.3f} s without, {statistics.median(flooded):.3f} s with the flood")
    measure("link to live with the flood, as a multiple of that without", statistics.median(flooded) / quiet, "x", at_most=20)
    equal(len(stacd.controllers(detailed=False)), len(target.THREE) + 2 * ROUNDS, "the controllers of stacd")


def to_live(name):
    """Returns the seconds from the link of a subsystem to its live connection."""
    before = time.monotonic()
    target.link(name)
    host.wait_live(name, timeout=60)
    return time.monotonic() - before


@contextlib.contextmanager
def flood():
    """Runs the attacker. It has sent calls, and is still sending them, in the body of the `with`."""
    services = [word for each, member in ((stafd, "get_all_log_pages"), (stacd, "list_controllers"))
                for word in (each.bus, each.path, each.bus, member)]
    command = ["setpriv", f"--reuid={cdc.USER}", f"--regid={cdc.USER}", "--init-groups", "python3", ATTACKER, BUS,
               *map(str, (CONNECTIONS, CALLS, 0, HOLD)), *services]
    before = sum(each.cpu() for each in daemons.BOTH)
    attacker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: sum(each.cpu() for each in daemons.BOTH) - before > 0.2, 60, "the calls arrive", poll=0.1)
        yield attacker
        sent, refused = attacker.communicate(timeout=120)[0].split()
        check(int(sent) >= CONNECTIONS * CALLS, f"at least {CONNECTIONS * CALLS} calls were sent", sent)
        note(f"{sent} calls were sent; the bus refused or closed {refused} connections")
    finally:
        attacker.kill()
        attacker.wait()
