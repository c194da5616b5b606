"""While stafd runs, it replaces nvme-cli's udev rule: it handles its own DCs, and for other DCs it does what the rule would have done."""

import os
import time

from scene import check, daemons, host, stays, target, wait_until

LIMIT = 120
RULE = "/run/udev/rules.d/70-nvmf-autoconnect.rules"
STRANGE = "nqn.2014-08.org.nvmexpress:scene:through-a-strange-dc"


def play():
    begin = time.time()
    target.three()
    target.port(2, trsvcid="8010")
    target.subsystem(STRANGE + "-before", ports=(2,))
    daemons.connected_to(target.THREE)
    check(os.path.exists(RULE), f"{RULE} shadows nvme-cli's rule while stafd runs")
    text = host.read(RULE)
    check("nvmediscovery" in text and "0x70f002" not in text, "only the fc rule is left in it", text)

    # stafd's own DC: no other program handles its events, as soon as udevd has read the new rule (at most 3 s).
    host.run("udevadm", "control", "--reload")
    target.unlink(target.KLINGONS)
    host.wait_gone(target.KLINGONS, timeout=60)
    target.link(target.KLINGONS)
    host.wait_live(target.KLINGONS)
    check(not started(begin), "nvme-cli is not started for stafd's own DC", started(begin))

    # A DC of another program.
    host.run("nvme", "discover", "--transport=tcp", "--traddr=::1", "--trsvcid=8010", "--persistent", "--keep-alive-tmo=30")
    with host.nothing_lost():
        target.subsystem(STRANGE, ports=(2,))
        host.wait_live(STRANGE, timeout=30)
        wait_until(lambda: started(begin), 10, "nvmf-connect@ was started for the strange DC, and the journal says so", poll=0.2)
        stays(lambda: host.live(STRANGE), 3, "stacd leaves alone what nvme-cli connected")

    daemons.stafd.stop()
    wait_until(lambda: not os.path.exists(RULE), 5, f"{RULE} goes when stafd stops")


def started(since):
    """Returns the journal of nvmf-connect@ instances since the beginning of the scenario."""
    # Without any instance, journalctl ends with an error.
    return host.run("journalctl", "--quiet", f"--since=@{since:.3f}", "--output=cat", "--unit=nvmf-connect@*", check=False).stdout.splitlines()
