"""Thousands of events (EVENTS=10000: more) leave both daemons with no more memory, file descriptors or threads than after the first of them."""

import json
import os
import socket
import time

from scene import cdc, check, daemons, host, measure, note, wait_until

LIMIT = 900
COVERAGE = False
WIDE_BOUNDS = True  # bytes, not seconds
EVENTS = int(os.environ.get("EVENTS", "1000"))
# The number of first events, after which buffers and pools have their final size.
FIRST = min(1000, EVENTS // 2)
# The commands with which stafd reads the page once: its header, its entries, and its header again.
COMMANDS = 3
FIRST_NQN, SECOND_NQN = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("first", "second"))


def play():
    neighbour, _ = cdc.fabric(FIRST_NQN, SECOND_NQN)
    dc = cdc.Cdc(lives_at=neighbour)
    dc.add("first", cdc.STORAGE, nqn=FIRST_NQN)
    dc.add("second", cdc.STORAGE, nqn=SECOND_NQN)
    dc.zone_in("first", "second")
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009")
    daemons.start()
    host.wait_live(FIRST_NQN, SECOND_NQN)
    ask = Asker(dc.control)
    with host.nothing_lost(only=lambda each: each.nqn != SECOND_NQN):
        events(dc, ask, 0, FIRST)
        before = {each: used(each) for each in daemons.BOTH}
        events(dc, ask, FIRST, EVENTS)
    commands = dc.count("get-log-page")
    check(commands >= EVENTS * COMMANDS, f"each of the {EVENTS} changes was read", commands)
    for each, (memory, descriptors, threads) in before.items():
        after = used(each)
        note(f"{each}: after {FIRST} events {before[each]}, after {EVENTS} {after} (bytes, descriptors, threads)")
        measure(f"{each}: resident after {EVENTS} events, as a multiple of that after {FIRST}", after[0] / memory, "x", at_most=1.05)
        check(after[1] <= descriptors and after[2] <= threads, f"{each}: no descriptor and no thread is left over", (before[each], after))


def events(dc, ask, first, last):
    """Makes changes. Each causes a kernel event, a page read by stafd, a signal, and a page fetched by stacd."""
    for number in range(first, last):
        before = ask.commands()
        ask(command="set", what={"ncc": {"name": "first", "value": "on" if number % 2 == 0 else "off"}})
        wait_until(lambda: ask.commands() >= before + COMMANDS, 10, f"change {number} is read", poll=0.002)
        if number % 250 == 249:
            dc.zone_out("second")
            host.wait_gone(SECOND_NQN, timeout=60)
            dc.zone_in("second")
            host.wait_live(SECOND_NQN)
            # At a reload, stafd reads the page.
            before = ask.commands()
            for each in daemons.BOTH:
                each.reload()
            wait_until(lambda: ask.commands() >= before + COMMANDS, 10, "the page is read at the reload", poll=0.002)


def used(daemon):
    """Returns resident bytes, and the minimum of descriptors and of threads over three seconds: tasks use additional ones briefly."""
    pid = daemon.pid
    samples = []
    for _ in range(15):
        samples.append([len(os.listdir(f"/proc/{pid}/{kind}")) for kind in ("fd", "task")])
        time.sleep(0.2)
    return daemon.resident(), *map(min, zip(*samples))


class Asker:
    """The open control socket of cdcsim: starting a program for each command would change the measurement."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw")

    def __call__(self, **request):
        self.file.write(json.dumps(request) + "\n")
        self.file.flush()
        answer = json.loads(self.file.readline())
        check("ok" in answer, f"the simulator takes {request}", answer)
        return answer["ok"]

    def commands(self):
        return next((each["counts"].get("get-log-page", 0) for each in self(command="hosts") if each["nqn"] == host.hostnqn()), 0)
