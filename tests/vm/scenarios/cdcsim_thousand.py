"""Of 1,000 entries in one log page 64 exist: these are connected, and the others do not delay them."""

import time

from scene import cdc, check, daemons, host, measure, network, note, stays, wait_until
from scene.daemons import stafd

LIMIT = 300
COVERAGE = False
REAL, ENTRIES = 64, 1000
# An address on which no program listens, and an address without a host.
REFUSED, SWALLOWED = "192.0.2.2", "198.51.100"


def play():
    nqns = [f"nqn.2014-08.org.nvmexpress:scene:real-{number:02}" for number in range(REAL)]
    neighbour, _ = cdc.fabric(*nqns)
    network.swallowing_portals(0)
    dc = cdc.Cdc(lives_at=neighbour)
    every = ENTRIES // REAL
    members = []
    for number in range(ENTRIES):
        index, is_real = number // every, number % every == 0 and number // every < REAL
        address = cdc.STORAGE if is_real else \
            f"{REFUSED}:{10000 + number}" if number % 2 else f"{SWALLOWED}.{number % 250 + 2}:{4420 + number // 250}"
        nqn = nqns[index] if is_real else f"nqn.2014-08.org.nvmexpress:scene:dead-{number:03}"
        members.append((nqn, address))
    dc.load_members(members)
    alone = host.bare_writes(nqns, traddr="192.0.2.2", trsvcid="4420")
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009")
    before = daemons.start()
    # The page changes while they are being connected.
    wait_until(lambda: host.count_live_iocs() > REAL // 4, 60, "some are live", poll=0.1)
    dc("set", "ncc", "m0", "on")
    host.wait_live(*nqns, timeout=200)
    took = time.monotonic() - before
    note(f"{REAL} of {ENTRIES} from the start: {took:.1f} s")
    measure(f"{REAL} of {ENTRIES} to live, as a multiple of {REAL} bare writes", took / alone, "x", at_most=5)
    wait_until(lambda: len(set(stafd.listed_subsystems())) == ENTRIES, 10, "stafd lists all of them", poll=0.2)
    with host.nothing_lost(only=lambda each: each.state == "live"):
        dc("set", "ncc", "m0", "off")
        stays(lambda: host.count_live_iocs() == REAL, 5, "the real ones are live", poll=0.5)
    for each in daemons.BOTH:
        measure(f"{each}, resident with {ENTRIES} entries", each.resident() / 1e6, "MB", at_most=16)
        note(f"{each}: {each.cpu():.1f} s of processor time")
    reads = dc.count("get-log-page")
    check(reads < 1500, "the page is read a few times", reads)
