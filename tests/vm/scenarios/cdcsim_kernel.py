"""The kernel and nvme-cli accept cdcsim as a discovery controller (log pages, digests, a persistent connection, IPv4, IPv6), and the kernel logs no error."""

import json

from scene import cdc, check, equal, host, journal, wait_until
from scene.cdc import DISCOVERY_NQN

NEEDS_DAEMONS = False
LIMIT = 120
UNIQUE = "nqn.2014-08.org.nvmexpress:scene:cdc"


def play():
    dc = cdc.Cdc(nqn=UNIQUE)
    for number in range(10):
        dc.add(f"disk{number}", f"192.0.2.{number + 1}:4420", nqn=f"nqn.2014-08.org.nvmexpress:scene:disk{number}", zone="all")
    dc.zone_in()

    for address in ("127.0.0.1", "::1"):
        page = discover(address)
        equal(len(page["records"]), 11, f"records from {address}, itself among them")
        equal({each["subtype"] for each in page["records"]}, {"nvme subsystem", "current discovery subsystem"}, "subtypes")
        equal(page["records"][1]["traddr"], "192.0.2.1", "the first address")

    # The connections of `nvme discover` end on its side first.
    wait_until(lambda: not dc.connections(), 10, "nothing is connected", poll=0.05)
    for header, data in ((False, False), (True, False), (False, True), (True, True)):
        options = {"hdr_digest": None} if header else {}
        options |= {"data_digest": None} if data else {}
        device = host.connect(DISCOVERY_NQN, "127.0.0.1", keep_alive_tmo=5, **options)
        there = host.controller(device)
        equal((there.state, there.cntrltype, there.attribute("dctype"), there.nqn), ("live", "discovery", "cdc", UNIQUE), device)
        seen, = dc.connections()
        equal((seen["header-digest"], seen["data-digest"]), (header, data), "digests")
        page = json.loads(host.run("nvme", "discover", f"--device={device}", "--output-format=json"))
        equal(len(page["records"]), 11, f"records, header digest {header}, data digest {data}")
        log = host.run("nvme", "get-log", f"/dev/{device}", "--log-id=0", "--log-len=1024", "--raw-binary")
        check(len(log) > 400, "the supported log pages can be read", len(log))
        there.delete()
        wait_until(lambda: not dc.connections(), 5, "disconnected on both sides")

    before = dc.count("keep-alive")
    host.run("nvme", "discover", "--transport=tcp", "--traddr=127.0.0.1", "--trsvcid=8009", "--persistent", "--keep-alive-tmo=5")
    host.wait_dc()
    wait_until(lambda: dc.count("keep-alive") > before + 2, 30, "keep alive")
    seen, = dc.connections()
    equal((seen["state"], seen["kato"], seen["event-requests"]), ("connected", 5000, 1), "the persistent connection")
    dc.add("more", "192.0.2.99:4420", zone="all")
    wait_until(lambda: dc.count("event") == 1, 5, "an event for the change")

    bad = [line for line in journal.kernel().splitlines() if "nvme" in line and not any(word in line for word in FINE)]
    check(not bad, "the kernel has nothing to complain of", "\n          ".join(bad))


FINE = ("new ctrl", "creating", "mapped", "Removing ctrl", "rescanning", "Disconnecting")


def discover(address):
    return json.loads(host.run("nvme", "discover", "--transport=tcp", f"--traddr={address}", "--trsvcid=8009", "--output-format=json"))
