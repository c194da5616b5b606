"""Invalid mDNS packets and a thousand fake services cost a limited amount of memory and CPU. A connected DC stays connected, and a real DC is found among the fake ones."""

import os
import random
import struct
import time

from scene import announcer, check, compare, daemons, host, journal, measure, network, note, stays, target, wait_until
from scene.announcer import Service, response
from scene.daemons import stafd

LIMIT = 300
FAKES = 1000
# Time limit of a probe in seconds, and the number of probes at the same time.
PROBE, AT_ONCE = 3, 64
GARBAGE = 20000


def play():
    neighbour = network.Neighbour("target")
    lan = neighbour.cable("lan", "10.0.0.1/16", ["10.0.255.1/16", "10.0.255.2/16"])
    target.lives_at(neighbour)
    with target.together():
        target.port()
        for nqn in target.THREE:
            target.subsystem(nqn)
    stafd.configure("")
    daemons.stacd.configure("")
    daemons.start()
    with announcer.Announcer(neighbour, lan) as air:
        first = Service("first", {lan: ["10.0.255.1"]})
        air.announce(first)
        host.wait_dc(1)
        wait_until(lambda: sum(each.state == "live" for each in host.iocs()) == 3, 20, host.picture)
        pid, memory = stafd.pid, stafd.resident()
        with host.nothing_lost():
            used, begin = cpu(pid), time.monotonic()
            for packet in garbage(lan, first):
                air.send(packet)
            settle(air)
            report("garbage", pid, used, begin)
            alive(pid)

            # The fake services also answer queries.
            used, begin, sender = cpu(pid), time.monotonic(), time.process_time()
            fakes = [Service(f"fake {number}", {lan: [f"10.0.{number // 250}.{number % 250 + 2}"]}) for number in range(FAKES)]
            air.announce(*fakes)
            air.announce(Service("second", {lan: ["10.0.255.2"]}))
            took = host.wait_dc(2, timeout=120)
            compare("the real one among a thousand fakes", took, FAKES / AT_ONCE * PROBE, "the probes of all of them", at_most=2.4)
            stays(lambda: stafd.pid == pid, 20, "stafd runs")
            report("a thousand fakes that answer", pid, used, begin)
            measure("CPU with a thousand fakes, as a multiple of what these take", (cpu(pid) - used) / (time.process_time() - sender), "x", at_most=2)
            check(len(stafd.controllers(False)) <= 300, "what is remembered is bounded", len(stafd.controllers(False)))

            # They change all the time: the third change costs no more than the first two.
            air.forget(*fakes)
            sizes = []
            for bout in range(3):
                used, begin = cpu(pid), time.monotonic()
                for turn in range(10):
                    air.pretend(*[Service(f"fake {bout} {turn} {number}", {lan: [f"10.0.{turn}.{number % 250 + 2}"]}, ttl=75 * 60)
                                  for number in range(FAKES)])
                settle(air)
                report("ten thousand fakes", pid, used, begin)
                sizes.append(stafd.resident())
            measure("memory grown by the third ten thousand", (sizes[2] - max(sizes[:2])) / 1e6, "MB", at_most=4)
            alive(pid)
            # Known records also use memory.
            packet = response(first.records(lan) * 8)
            used, begin = cpu(pid), time.monotonic()
            for _ in range(5000):
                air.send(packet)
            settle(air)
            report("forty thousand repetitions", pid, used, begin)
            grown = stafd.resident() - memory
            measure("memory grown by all of it", grown / 1e6, "MB", at_most=32)
        check(len(journal.messages("stafd")) < 1000, "the journal stays readable", len(journal.messages("stafd")))
        note(f"{len(journal.messages('stafd'))} lines in the journal of stafd")


def garbage(lan, service):
    """Returns random bytes, packets with changed bits, names without an end, and records with wrong lengths."""
    chance = random.Random(8009)
    good = response(service.records(lan))
    for number in range(GARBAGE):
        kind = number % 4
        if kind == 0:
            yield chance.randbytes(chance.randrange(0, 1400))
        elif kind == 1:
            packet = bytearray(good)
            for _ in range(chance.randrange(1, 12)):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            yield bytes(packet)
        elif kind == 2:
            yield good[:chance.randrange(len(good))]
        else:
            header = struct.pack("!HHHHHH", 0, 0x8400, chance.randrange(3), chance.randrange(65536), chance.randrange(3), 0)
            yield header + b"\xc0\x0c" * chance.randrange(1, 50) + chance.randbytes(40)


def settle(air):
    """Waits until stafd has processed all packets: the browser sends a query, or is idle."""
    pid = stafd.pid
    last = [cpu(pid), time.monotonic()]

    def calm():
        if time.monotonic() - last[1] < 1:
            return False
        now = cpu(pid)
        quiet = now - last[0] < 0.1
        last[:] = [now, time.monotonic()]
        return quiet
    wait_until(calm, 60, "stafd comes to rest", poll=0.2)


def alive(pid):
    check(stafd.pid == pid and stafd.active(), "the same stafd runs", stafd.properties())


def report(what, pid, used, begin):
    spent, took = cpu(pid) - used, time.monotonic() - begin
    note(f"{what}: {spent:.2f} s of CPU in {took:.1f} s, {stafd.resident() / 1e6:.1f} MB resident")
    return spent / took


def cpu(pid):
    """Returns the used seconds of CPU time."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
