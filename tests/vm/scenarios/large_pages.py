"""64 DCs whose pages list 1,024 subsystems each: stafd keeps all pages in at most 64 MB, also after a restart, and its saved state has at most 32 MiB."""

import os

from scene import cdc, check, daemons, equal, measure, note, wait_until
from scene.daemons import stafd

LIMIT = 600
COVERAGE = False
WIDE_BOUNDS = True  # bytes, not seconds
DCS, ENTRIES = 64, 1024
FIRST_PORT = 9000
STATE = "/run/stafd"


def play():
    ports = range(FIRST_PORT, FIRST_PORT + DCS)
    dc = cdc.Cdc(listen=[f"[::1]:{port}" for port in ports])
    dc.load_members((f"nqn.2014-08.org.nvmexpress:uuid:2b1f5a52-7d33-4c1e-9f0a-{number:012}", f"198.51.100.{number % 250}:4420")
                    for number in range(ENTRIES))
    daemons.configure(*[f"transport=tcp;traddr=::1;trsvcid={port}" for port in ports])
    stafd.start()
    wait_until(all_fresh, 400, "all pages are read", poll=1.0)
    equal({pages_of(port) for port in (ports[0], ports[-1])}, {ENTRIES + 1}, "the entries of a page, with that of the DC itself")
    measure("stafd: resident with all pages", stafd.resident() / 1e6, "MB", at_most=64)
    stafd.restart()
    wait_until(all_fresh, 400, "all pages are read again", poll=1.0)
    measure("stafd: resident after a restart", stafd.resident() / 1e6, "MB", at_most=64)
    # A file *.json.new may be renamed at any time.
    saved = max(os.stat(f"{STATE}/{name}").st_size for name in os.listdir(STATE) if name.endswith(".json"))
    note(f"the largest file of the saved state: {saved / 1e6:.1f} MB")
    check(saved <= 32 << 20, "the saved state has at most 32 MiB", saved)


def all_fresh():
    listed = stafd.controllers()
    return len(listed) == DCS and all(each["log-page-state"] == "fresh" for each in listed)


def pages_of(port):
    """Returns the number of entries in the page of the DC at this port."""
    return len(stafd.call("get_log_pages", "sssssss", "tcp", "::1", port, cdc.DISCOVERY_NQN, "", "", ""))
