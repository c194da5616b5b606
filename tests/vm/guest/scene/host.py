"""The controllers of this host, read from /sys/class/nvme without starting a process."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time

from . import instruments
from .expect import Failed, Forbidden
from .numbers import note
from .uevents import Uevents
from .wait import PATIENCE, wait_until

CLASS = "/sys/class/nvme"
FABRICS = "/dev/nvme-fabrics"
DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"


@dataclasses.dataclass(frozen=True)
class Controller:
    """A controller of the kernel. `birth` distinguishes controllers that have the same name one after the other."""

    device: str
    birth: int
    transport: str
    traddr: str
    trsvcid: str
    host_traddr: str
    host_iface: str
    nqn: str
    state: str
    cntrltype: str
    hostnqn: str

    @property
    def is_dc(self):
        return self.cntrltype == "discovery" or self.nqn == DISCOVERY_NQN

    @property
    def identity(self):
        return self.device, self.birth

    def __str__(self):
        place = ",".join(part for part in (self.traddr, self.trsvcid, self.host_traddr, self.host_iface) if part)
        return f"{self.device} {self.transport} {place} {self.nqn} {self.state}"

    def attribute(self, name):
        return read(f"{CLASS}/{self.device}/{name}")

    def delete(self):
        """Disconnects it, as `nvme disconnect` does. Blocks while the kernel removes the queues."""
        write(f"{CLASS}/{self.device}/delete_controller", "1")


def read(path):
    """Returns an attribute, or an empty text if it does not exist (any more)."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def write(path, text):
    """Writes an attribute."""
    with open(path, "w") as file:
        file.write(text)


def words(path):
    """Returns an attribute, or an empty text for the words that the kernel prints before it has identified a controller."""
    text = read(path)
    return "" if text in ("(efault)", "(null)") else text


def controller(device):
    path = f"{CLASS}/{device}"
    try:
        birth = os.stat(path).st_ino
    except OSError:
        return None
    address = dict(part.partition("=")[::2] for part in read(f"{path}/address").split(",") if "=" in part)
    return Controller(device, birth, read(f"{path}/transport"), address.get("traddr", ""), address.get("trsvcid", ""),
                      address.get("host_traddr", ""), address.get("host_iface", ""), words(f"{path}/subsysnqn"),
                      read(f"{path}/state"), read(f"{path}/cntrltype"), read(f"{path}/hostnqn"))


def controllers():
    """Returns all fabrics controllers, sorted by number."""
    try:
        names = sorted(os.listdir(CLASS), key=lambda name: (len(name), name))
    except FileNotFoundError:
        return []
    return [found for found in map(controller, names) if found and found.transport not in ("pcie", "")]


def iocs():
    return [each for each in controllers() if not each.is_dc]


def dcs():
    return [each for each in controllers() if each.is_dc]


def with_nqn(nqn):
    return [each for each in controllers() if each.nqn == nqn]


def live(nqn):
    """Returns the live controllers of a subsystem."""
    return [each for each in with_nqn(nqn) if each.state == "live"]


def count_live_iocs():
    """Counts the live I/O controllers. Reads only a few attributes: fast enough for a hundred controllers."""
    count = 0
    for name in os.listdir(CLASS) if os.path.isdir(CLASS) else []:
        if read(f"{CLASS}/{name}/state") == "live" and read(f"{CLASS}/{name}/subsysnqn") != DISCOVERY_NQN \
                and read(f"{CLASS}/{name}/cntrltype") != "discovery":
            count += 1
    return count


def picture():
    """Returns all controllers as lines, for a message."""
    return "\n".join(f"        {each}" for each in controllers()) or "        no controller"


def wait_live(*nqns, timeout=30.0):
    """Waits until each subsystem has a live controller. Returns the seconds."""
    def missing():
        return [nqn for nqn in nqns if not live(nqn)]
    return wait_until(lambda: not missing(), timeout,
                      lambda: f"{', '.join(nqns)} live\n    seen: not {', '.join(missing())}\n{picture()}")[1]


def wait_gone(*nqns, timeout=30.0):
    """Waits until no controller of these subsystems is left; returns the seconds."""
    def left():
        return [nqn for nqn in nqns if with_nqn(nqn)]
    return wait_until(lambda: not left(), timeout, lambda: f"no controller of {', '.join(nqns)}\n    seen:\n{picture()}")[1]


def wait_dc(count=1, timeout=30.0):
    """Waits until that many discovery controllers are live; returns the seconds."""
    return wait_until(lambda: sum(each.state == "live" for each in dcs()) >= count, timeout,
                      lambda: f"{count} discovery controllers live\n    seen:\n{picture()}")[1]


@contextlib.contextmanager
def nothing_lost(*, only=None):
    """Checks by uevents that no existing controller is removed during the block, even if it is connected again.

    `only`: a function that selects controllers (default: all). A controller without an NQN is still being connected for the
    first time, and does not count.
    """
    kept = [each for each in controllers() if each.nqn and (only is None or only(each))]
    names = {each.device for each in kept}
    with Uevents() as events:
        yield
        removed = [event["device"] for event in events.read() if event.get("ACTION") == "remove" and event["device"] in names]
        now = {each.identity for each in controllers()}
        lost = [each for each in kept if each.device in removed or each.identity not in now]
    if lost:
        raise Forbidden(f"expected: none of {len(kept)} connections is lost\n    seen: {len(lost)} lost: "
                        + "; ".join(str(each) for each in lost[:5]) + f"\n    now there:\n{picture()}")
    if not kept:
        raise Failed("expected: connections that could be lost\n    seen: none at the start: this would prove nothing")


# Connecting and disconnecting without the daemons

def connect(nqn, traddr="::1", trsvcid="8009", transport="tcp", **options):
    """Connects by a write to /dev/nvme-fabrics, as nvme-cli does. Returns the device."""
    words = [f"transport={transport}", f"traddr={traddr}", f"nqn={nqn}"]
    if trsvcid:
        words.append(f"trsvcid={trsvcid}")
    options = {"hostnqn": hostnqn(), "hostid": hostid()} | options  # kernel 6.1 refuses a second hostnqn
    words += [f"{key}={value}" if value is not None else key for key, value in options.items()]
    descriptor = os.open(FABRICS, os.O_RDWR)
    try:
        os.write(descriptor, ",".join(words).encode())
        answer = os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)
    return "nvme" + dict(part.split("=") for part in answer.strip().split(","))["instance"]


def bare_writes(nqns, **address):
    """Measures the seconds that the kernel alone needs to connect them, one write after the other.

    The host must have no connection, and has none afterwards.
    """
    before = time.monotonic()
    for nqn in nqns:
        connect(nqn, **address)
    # Reading a hundred controllers takes time: five times a second is enough.
    wait_until(lambda: count_live_iocs() >= len(nqns), 100, f"{len(nqns)} bare writes end in live controllers", poll=0.2)
    took = time.monotonic() - before
    note(f"{len(nqns)} bare writes to /dev/nvme-fabrics: {took:.1f} s")
    disconnect_all()
    return took


def hostnqn():
    return read("/etc/nvme/hostnqn")


def hostid():
    return read("/etc/nvme/hostid")


def end_autoconnect():
    """Waits until nvme-cli's units, which the events of the new port started, have ended, and disconnects what they left.

    A second event restarts the unit. If it was reading the log page then, its connection stays.
    """
    run("udevadm", "settle")
    wait_until(lambda: not run("systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating",
                               "nvmf-connect@*", "nvmf-connect-nbft*").strip(), 30, "nvme-cli's units have ended", poll=0.1)
    for each in dcs():
        each.delete()


def disconnect_all(timeout=60.0):
    """Removes all controllers, each in a thread of its own, so that a hanging one does not delay the others."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        there = controllers()
        if not there:
            return
        threads = [threading.Thread(target=_delete, args=(each,), daemon=True) for each in there]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    raise Failed(f"expected: every controller disconnected within {timeout:g} s\n    seen:\n{picture()}")


def _delete(each):
    try:
        each.delete()
    except OSError:
        time.sleep(0.05)  # EBUSY while it connects, ENOENT while it is removed: the caller tries again


def namespaces(nqn):
    """Returns the block devices (nvme0n1) of a subsystem."""
    found = set()
    base = "/sys/class/nvme-subsystem"
    for name in os.listdir(base) if os.path.isdir(base) else []:
        if read(f"{base}/{name}/subsysnqn") == nqn:
            found |= {entry for entry in os.listdir(f"{base}/{name}") if entry.startswith("nvme") and "n" in entry[4:]
                      and "c" not in entry[4:] and os.path.exists(f"/dev/{entry}")}
    return sorted(found)


def disks(nqn, count, timeout=20):
    """Waits until a subsystem has `count` block devices, which the kernel makes some time after the controller is live. Returns
    them in the order of their namespace IDs. The kernel names them in any order."""
    found = wait_until(lambda: len(found := namespaces(nqn)) == count and found, timeout,
                       lambda: f"{count} block devices of {nqn}\n    seen: {namespaces(nqn)}", poll=0.1)[0]
    return sorted(found, key=lambda device: int(read(f"/sys/class/block/{device}/nsid")))


def disk(nqn):
    """Waits until a subsystem has its only block device, and returns it."""
    return disks(nqn, 1)[0]


def processes(name):
    """The process IDs of a program."""
    return sorted(int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if read(f"/proc/{pid}/comm") == name)


def kill_all(name):
    """Kills all processes of a program. Returns how many there were."""
    count = 0
    for pid in processes(name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


def on_debian_12():
    """True in the machine of VM_RELEASE=bookworm, which lacks some programs and features of the kernel."""
    return "VERSION_CODENAME=bookworm" in read("/etc/os-release")


def run(*command, user=None, check=True, stdin=None, timeout=60.0, env=None):
    """Runs a command and returns its standard output. A failure fails the scenario, unless `check` is false.

    `timeout`: seconds on an idle host, as in `wait_until`.
    """
    if user:
        command = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *command)
        env = instruments.of(user) | (env or {})
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=stdin, text=True, errors="replace",
                          timeout=timeout * PATIENCE, env=env and dict(os.environ, **env))
    if check and done.returncode:
        raise Failed(f"expected: `{' '.join(command)[:300]}` succeeds\n    seen: status {done.returncode}: {done.stderr.strip()[:2000]}")
    return done.stdout if check else done
