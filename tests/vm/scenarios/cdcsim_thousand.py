"""1,000 entries in one log page, 64 of them real: these are connected, and the dead ones hold up none of them."""

from scene import cdc, check, daemons, host, measure, network, stays, target, wait_until
from scene.daemons import stafd

LIMIT = 300
REAL, ENTRIES = 64, 1000
# Where nobody listens, and where nobody is at all.
REFUSED, SWALLOWED = "192.0.2.2", "198.51.100"


def play():
    neighbour = network.Neighbour("fabric")
    neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    network.swallowing_portals(0)
    target.lives_at(neighbour)
    nqns = [f"nqn.2014-08.org.nvmexpress:scene:real-{number:02}" for number in range(REAL)]
    with target.together():
        target.port(traddr="192.0.2.2", trsvcid="4420")
        for nqn in nqns:
            target.subsystem(nqn)
    dc = cdc.Cdc(lives_at=neighbour)
    every = ENTRIES // REAL
    lines = ["[zone.all]", "hosts = ['*']", f"members = {[f'm{number:03}' for number in range(ENTRIES)]}"]
    for number in range(ENTRIES):
        index, is_real = number // every, number % every == 0 and number // every < REAL
        address = "192.0.2.2:4420" if is_real else \
            f"{REFUSED}:{10000 + number}" if number % 2 else f"{SWALLOWED}.{number % 250 + 2}:{4420 + number // 250}"
        nqn = nqns[index] if is_real else f"nqn.2014-08.org.nvmexpress:scene:dead-{number:03}"
        lines += [f"[member.m{number:03}]", f"nqn = '{nqn}'", f"addresses = ['{address}']"]
    dc.load("\n".join(lines))
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009")
    daemons.start()
    took = host.wait_live(*nqns, timeout=200)
    measure(f"{REAL} of {ENTRIES} to live", took, "s", at_most=60)
    wait_until(lambda: len(set(stafd.listed_subsystems())) == ENTRIES, 10, "stafd lists all of them", poll=0.2)
    with host.nothing_lost(only=lambda each: each.state == "live"):
        stays(lambda: host.count_live_iocs() == REAL, 5, "the real ones are live", poll=0.5)
        dc("set", "ncc", "m000", "on")
    reads = dc.count("get-log-page")
    check(reads < 1500, "the page is read a few times", reads)
