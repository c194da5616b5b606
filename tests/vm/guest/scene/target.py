"""The storage: the kernel's target, configured by nvmet. Fast or intentionally wrong changes are written to configfs directly."""

import contextlib
import dataclasses
import json
import os

from .expect import Failed, skip
from .host import on_debian_12, run

NVMET = "/sys/kernel/config/nvmet"
FILE = "/run/harness/target.conf"
KLINGONS = "klingons"
STARFLEET = "starfleet"
POWERSAN = "nqn.1988-11.com.dell:PowerSANxxx:01:20210225100113-454f73093ceb4847a7bdfc6e34ae8e28"
THREE = (KLINGONS, STARFLEET, POWERSAN)
NOBODY = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000000"


@dataclasses.dataclass
class Port:
    transport: str
    traddr: str
    trsvcid: str
    referrals: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Subsystem:
    namespaces: int
    storage: str
    ports: set
    hosts: list


_ports = {}
_subsystems = {}
_keys = {}
_together = 0
_home = None


def lives_at(neighbour):
    """Makes the target listen in the neighbour's network. Call it first."""
    global _home
    _home = neighbour


def port(number=1, transport="tcp", traddr="::", trsvcid="8009"):
    """Adds a port. The kernel listens on it as soon as a subsystem is linked to it."""
    _ports[number] = Port(transport, traddr, trsvcid)
    _apply()


def subsystem(nqn, namespaces=1, ports=(1,), keeps=False):
    """Adds a subsystem for every host, on these ports. `keeps`: its namespaces store the written data."""
    _subsystems[nqn] = Subsystem(namespaces, "brd" if keeps else "null_blk", set(ports), [])
    _apply()


def referral(name, traddr, trsvcid, port=1):
    """Adds a referral to another discovery controller to `port`."""
    _ports[port].referrals[name] = (traddr, trsvcid)
    _apply()


def only_for(nqn, hostnqn, key=None, ctrl_key=None):
    """Allows only this host to connect to the subsystem; with a key, only after authentication."""
    _subsystems[nqn].hosts = [hostnqn]
    if key:
        _keys[hostnqn] = (key, ctrl_key)
    _apply()


def hide(nqn):
    """Forbids this host to use the subsystem: the log page no longer lists it, existing connections continue to work."""
    _subsystems[nqn].hosts = [NOBODY]
    _apply()


def show(nqn):
    """Allows every host again."""
    _subsystems[nqn].hosts = []
    _apply()


def link(nqn, port=1):
    """Exports a subsystem, directly in configfs. The target sends an event on every connection to its DC."""
    with _home.inside() if _home else contextlib.nullcontext():
        os.symlink(f"{NVMET}/subsystems/{nqn}", f"{NVMET}/ports/{port}/subsystems/{nqn}")
    _subsystems[nqn].ports.add(port)


def unlink(nqn, port=1):
    """Stops exporting a subsystem, directly in configfs. The target sends events and closes its connections on this port."""
    os.unlink(f"{NVMET}/ports/{port}/subsystems/{nqn}")
    _subsystems[nqn].ports.discard(port)


def remove_port(number=1):
    """Removes a port with everything on it: all connections through it are closed."""
    path = f"{NVMET}/ports/{number}"
    for nqn in os.listdir(f"{path}/subsystems"):
        unlink(nqn, number)
    for name in list(_ports[number].referrals):
        remove_referral(name, number)
    os.rmdir(path)
    del _ports[number]


def remove_referral(name, port=1):
    os.rmdir(f"{NVMET}/ports/{port}/referrals/{name}")
    del _ports[port].referrals[name]


@contextlib.contextmanager
def together():
    """Collects the changes of the block and applies them together at its end."""
    global _together
    _together += 1
    try:
        yield
    finally:
        _together -= 1
    _apply()


def three():
    """Creates port 1 (tcp, `::`, 8009) and the three subsystems of the sample nvmet.conf."""
    with together():
        port()
        for nqn, namespaces in zip(THREE, (3, 2, 1)):
            subsystem(nqn, namespaces)


def many(count):
    """Creates port 1 and `count` subsystems with one namespace each. Returns their NQNs."""
    nqns = [f"nqn.2014-08.org.nvmexpress:scene:subsystem-{number:03}" for number in range(1, count + 1)]
    with together():
        port()
        for nqn in nqns:
            subsystem(nqn)
    return nqns


def clean():
    """Removes the target."""
    global _home
    _home = None
    for each in (_ports, _subsystems, _keys):
        each.clear()
    run("nvmet", "clean")
    if os.path.isdir(NVMET):
        left = [f"{kind}/{name}" for kind in ("ports", "subsystems", "hosts") for name in os.listdir(f"{NVMET}/{kind}")]
        if left:
            raise Failed(f"expected: `nvmet clean` leaves nothing\n    seen: {', '.join(left)}")


def _apply():
    if _together:
        return
    # The file may contain keys.
    with open(os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(_text())
    (_home.run if _home else run)("nvmet", "create", "-f", FILE)


def load_loop():
    """Loads the loop transport. The kernel of Debian 12 has none."""
    if on_debian_12():
        skip("the kernel of Debian 12 has no loop transport (CONFIG_NVME_TARGET_LOOP)")
    run("modprobe", "nvme_loop")


def _text():
    """Returns the description as TOML for nvmet. (A JSON string is also a TOML string.)"""
    if _keys and on_debian_12():
        skip("the kernel of Debian 12 has no DH-HMAC-CHAP in its target (CONFIG_NVME_TARGET_AUTH)")
    lines = ["[null_blk]", "shared = true"]
    for number, each in _ports.items():
        lines += ["[[port]]", f"id = {number}", f"transport = {json.dumps(each.transport)}", f"traddr = {json.dumps(each.traddr)}"]
        if each.transport in ("tcp", "rdma"):
            lines.append(f"trsvcid = {each.trsvcid}")
        for name, (traddr, trsvcid) in each.referrals.items():
            lines += ["[[port.referral]]", f"name = {json.dumps(name)}", 'transport = "tcp"', f"traddr = {json.dumps(traddr)}",
                      f"trsvcid = {trsvcid}"]
    for nqn, (key, ctrl_key) in _keys.items():
        lines += ["[[host]]", f"nqn = {json.dumps(nqn)}", f"dhchap_key = {json.dumps(key)}"]
        lines += [f"dhchap_ctrl_key = {json.dumps(ctrl_key)}"] if ctrl_key else []
    for nqn, each in _subsystems.items():
        lines += ["[[subsystem]]", f"nqn = {json.dumps(nqn)}", f"namespaces = {each.namespaces}",
                  f"storage = {json.dumps(each.storage)}", f"ports = {sorted(each.ports)}"]
        lines += [f"allowed_hosts = {json.dumps(each.hosts)}"] if each.hosts else []
    return "\n".join(lines) + "\n"
