"""A mounted namespace is unexported at both of its ports: one path is disconnected, the last one is kept, logged once and shown. in-use=disconnect disconnects it. An idle block device that only another user may open is disconnected."""

import os
import re

from scene import check, daemons, host, journal, stays, target, wait_until
from scene.room import MOUNTS

LIMIT = 180
NQN = "nqn.2014-08.org.nvmexpress:scene:mounted"
GIVEN = f"{NQN}-given"
PORTS = ("8009", "8010")


def play():
    with target.together():
        for number, service in enumerate(PORTS, 1):
            target.port(number, trsvcid=service)
            # A port without a subsystem does not listen: its DC would not answer, and so would prove nothing.
            target.subsystem(f"{NQN}-beside-{number}", ports=(number,))
        target.subsystem(NQN, ports=(1, 2), keeps=True)
        target.subsystem(GIVEN, ports=(1,))
    # The kernel removes a path when the target refuses to reconnect it: this must not happen early.
    dcs = [f"transport=tcp;traddr=::1;trsvcid={service}" for service in PORTS]
    daemons.connected_to([NQN, GIVEN, f"{NQN}-beside-1", f"{NQN}-beside-2"], dcs=dcs, stacd_global="reconnect-delay=100")
    wait_until(lambda: len(host.live(NQN)) == 2, 20, lambda: f"two paths\n{host.picture()}")
    mount(NQN)
    settle()
    given = host.disk(GIVEN)
    host.run("chown", "tester", f"/dev/{given}")
    host.run("chmod", "600", f"/dev/{given}")
    target.unlink(GIVEN)
    host.wait_gone(GIVEN, timeout=30)

    target.unlink(NQN, port=2)
    wait_until(lambda: len(host.with_nqn(NQN)) == 1, 30, lambda: f"the second path goes\n{host.picture()}")
    (last,) = host.with_nqn(NQN)
    check(last.trsvcid == PORTS[0], "the path that stays is the one still exported", last)

    target.unlink(NQN, port=1)
    with host.nothing_lost():
        said = journal.wait_for(f"(?i)(in use|mounted).*{last.device}|{last.device}.*(in use|mounted)", 20, "stacd")
        stays(lambda: host.with_nqn(NQN), 15, "the last path of a mounted file system")
    lines = journal.wait_for_all(re.escape(said), 1, 10, "stacd")
    check(len(lines) == 1, f"said once: {said}", f"{len(lines)} times")
    shown = [each for each in daemons.stacd.controllers() if each["device"] == last.device]
    check(shown and any("in use" in value.lower() or "mounted" in value.lower() for value in shown[0].values()),
          "`stacctl ls` shows that the path is only kept because it is in use", shown)

    configuration = host.read(daemons.stacd.conf)
    daemons.stacd.configure(f"{configuration}\n[I/O controller connection management]\nin-use=disconnect\n")
    daemons.stacd.reload()
    host.wait_gone(NQN, timeout=20)


def mount(nqn):
    device = host.disk(nqn)
    host.run("mkfs.ext4", "-q", f"/dev/{device}")
    os.makedirs(MOUNTS, exist_ok=True)
    host.run("mount", f"/dev/{device}", MOUNTS)


def settle():
    """Waits until the DCs have been connected for 30 s: then their pages prove an absence at once."""
    stays(lambda: len(host.live(NQN)) == 2, 31, "two live paths")
