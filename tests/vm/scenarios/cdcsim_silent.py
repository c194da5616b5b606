"""Sixteen DCs that accept a connection and then fall silent delay the others by no more than one attempt. SILENT=connect: before Connect, too (2 min)."""

import os
import time

from scene import cdc, daemons, host, measure, network, target, wait_until

LIMIT = 400
STORAGE = "nqn.2014-08.org.nvmexpress:scene:storage"
LATE = "nqn.2014-08.org.nvmexpress:scene:late"
# So long the kernel waits for an answer, in seconds, while nobody else can connect; and what the rest may take.
ATTEMPT = {"icresp": 10, "connect": 60}
REST = 8
PORTS = range(8101, 8117)


def play():
    neighbour = network.Neighbour("fabric")
    neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    target.lives_at(neighbour)
    with target.together():
        target.port(traddr="192.0.2.2", trsvcid="8009")
        target.subsystem(STORAGE)
        target.subsystem(LATE)
    target.unlink(LATE)
    for stage in ("icresp", *os.environ.get("SILENT", "").split()):
        silent(neighbour, stage)


def silent(neighbour, stage):
    dc = cdc.Cdc(name=stage, lives_at=neighbour, listen=[f"192.0.2.2:{port}" for port in PORTS])
    dc("fault", "silent", stage)
    daemons.configure(*[f"transport=tcp;traddr=192.0.2.2;trsvcid={port}" for port in (*PORTS, 8009)])
    before = time.monotonic()
    daemons.start()
    host.wait_live(STORAGE, timeout=150)
    what = f"{len(PORTS)} silent before {stage}"
    measure(f"{what}: to live", time.monotonic() - before, "s", at_most=ATTEMPT[stage] + REST)
    before = time.monotonic()
    target.link(LATE)
    host.wait_live(LATE, timeout=150)
    measure(f"{what}: a new subsystem to live", time.monotonic() - before, "s", at_most=ATTEMPT[stage] + REST)
    # A write to the kernel that waits for a silent one ends with it.
    dc.stop()
    daemons.stop()
    target.unlink(LATE)
    host.disconnect_all()
    daemons.reset()
    wait_until(lambda: not host.controllers(), 30, lambda: f"nothing is left\n{host.picture()}")
