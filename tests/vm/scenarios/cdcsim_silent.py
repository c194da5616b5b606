"""Sixteen DCs that accept a TCP connection and then send nothing delay other connections by at most one attempt of the kernel."""

import time

from scene import Failed, cdc, compare, daemons, host, note, reference, target, wait_until

LIMIT = 400
WIDE_BOUNDS = True  # the kernel's attempt lasts for a fixed time
STORAGE = "nqn.2014-08.org.nvmexpress:scene:storage"
LATE = "nqn.2014-08.org.nvmexpress:scene:late"
# Limit for everything except the kernel's attempt at a silent DC, in multiples of two bare writes.
AT_MOST = 5
PORTS = range(8101, 8117)


def play():
    neighbour, _ = cdc.fabric(STORAGE, LATE, trsvcid="8009")
    target.unlink(LATE)
    alone = reference.connections([STORAGE], dc=True, traddr="192.0.2.2")
    dc = cdc.Cdc(name="silent", lives_at=neighbour, listen=[f"192.0.2.2:{port}" for port in PORTS])
    dc("fault", "silent", "icresp")
    # For this time no other connect is possible on this host.
    attempt = kernels_own(PORTS[0])
    note(f"one attempt of the kernel at a silent DC: {attempt:.1f} s")
    for ports in (PORTS[:1], PORTS):
        daemons.reset()
        host.disconnect_all()
        daemons.configure(*[f"transport=tcp;traddr=192.0.2.2;trsvcid={port}" for port in (*ports, 8009)])
        daemons.start()
        # The time that systemd needs to start them does not count.
        before = time.monotonic()
        host.wait_live(STORAGE, timeout=150)
        compare(f"{len(ports)} silent: to live", time.monotonic() - before, alone, "two bare writes", at_most=AT_MOST, delays=attempt)
    before = time.monotonic()
    target.link(LATE)
    host.wait_live(LATE, timeout=150)
    compare(f"{len(PORTS)} silent: a new subsystem to live", time.monotonic() - before, alone, "two bare writes", at_most=AT_MOST, delays=attempt)
    with host.nothing_lost(only=lambda each: not each.is_dc):
        before = time.monotonic()
        # A process ends when its last kernel call returns.
        daemons.stop(timeout=attempt + 60)
        compare(f"{len(PORTS)} silent: both daemons stopped", time.monotonic() - before, alone, "two bare writes", at_most=AT_MOST, delays=attempt)
    # While a DC is connected, its events would make nvme-cli's udev rule connect everything again.
    host.disconnect_all()
    dc.stop()
    target.unlink(LATE)
    daemons.reset()
    wait_until(lambda: not host.controllers(), 30, lambda: f"nothing is left\n{host.picture()}")


def kernels_own(port):
    """Seconds that one bare write to /dev/nvme-fabrics takes there."""
    before = time.monotonic()
    try:
        host.connect(cdc.DISCOVERY_NQN, traddr="192.0.2.2", trsvcid=str(port))
    except OSError:
        return time.monotonic() - before
    raise Failed("expected: a silent DC does not answer\n    seen: it is connected")
