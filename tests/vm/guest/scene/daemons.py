"""stafd and stacd under systemd, of this project or of the peer (Debian's nvme-stas)."""

import json
import os
import shutil
import signal
import time

from .expect import Failed, check
from .host import read, run
from .wait import wait_until

PEER = "/opt/peer"
PEER_PYTHON = f"{PEER}/usr/lib/python3/dist-packages"
OVERRIDES = "/run/systemd/system"
# The configuration as `make install` placed it.
DEFAULTS = "/usr/share/nvme-stas/etc"


class Daemon:
    """One of the two daemons."""

    def __init__(self, name, bus):
        self.name = name
        self.unit = f"{name}.service"
        self.bus = f"org.nvmexpress.{bus}"
        self.path = f"/org/nvmexpress/{bus}"
        self.conf = f"/etc/stas/{name}.conf"
        self.peer = False

    def __str__(self):
        return self.name

    # Which project

    def use_peer(self):
        """Replaces it by the peer's daemon, with the same unit name."""
        substitute(self.unit, "/usr/sbin/")
        self.peer = True

    def installed(self):
        return run("systemctl", "show", "--value", "--property=LoadState", self.unit).strip() == "loaded"

    # Configuration

    def configure(self, text, mode=0o644):
        """Writes the whole configuration file."""
        os.makedirs("/etc/stas", exist_ok=True)
        descriptor = os.open(self.conf, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "w") as file:
            file.write(text)
        os.chmod(self.conf, mode)

    def drop_in(self, name, text):
        """Adds a drop-in to the unit, until the end of the scenario."""
        folder = f"{OVERRIDES}/{self.unit}.d"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/{name}.conf", "w") as file:
            file.write(text)
        run("systemctl", "daemon-reload")

    # Start, stop, state

    def start(self):
        start(self)

    def stop(self):
        run("systemctl", "stop", self.unit)

    def restart(self):
        run("systemctl", "restart", self.unit)

    def reload(self):
        """Reloads it by systemctl. Returns when the daemon has reported READY again."""
        run("systemctl", "reload", self.unit)

    def properties(self):
        text = run("systemctl", "show", self.unit, "--property=ActiveState,SubState,MainPID,NRestarts,Result")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    @property
    def pid(self):
        return int(self.properties()["MainPID"])

    def active(self):
        """True if it runs, also during a reload."""
        return self.properties()["ActiveState"] in ("active", "reloading")

    def kill9(self):
        """Kills it with SIGKILL. Returns the process ID that it had."""
        pid = self.pid
        check(pid, f"{self} runs before it is killed")
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_active(self, timeout, other_than=0):
        """Waits until it is active, with another process ID than `other_than`. Returns the seconds."""
        def up():
            now = self.properties()
            return now["ActiveState"] == "active" and int(now["MainPID"]) not in (0, other_than)
        return wait_until(up, timeout, lambda: f"{self} active again\n    seen: {self.properties()}", poll=0.05)[1]

    def resident(self, part="VmRSS"):
        """Returns its resident memory in bytes, or one part of it: RssAnon (its data) or RssFile (its program)."""
        for line in read(f"/proc/{self.pid}/status").splitlines():
            if line.startswith(f"{part}:"):
                return int(line.split()[1]) * 1024
        raise Failed(f"expected: {self} runs\n    seen: {self.properties()}")

    def cpu(self):
        """Returns the seconds of processor time that it has used."""
        fields = read(f"/proc/{self.pid}/stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def private(self):
        """Returns its private memory in bytes, without shared pages such as those of libraries."""
        total = 0
        for line in read(f"/proc/{self.pid}/smaps_rollup").splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) * 1024
        return total

    # On the bus

    def call(self, method, signature="", *arguments, interface=None, user=None, check=True):
        """Calls a method. Returns its only value or, with check=False, the finished busctl."""
        command = ["busctl", "--json=short", "--timeout=20", "call", self.bus, self.path, interface or self.bus, method]
        if signature:
            command += [signature, *map(str, arguments)]
        answer = run(*command, user=user, check=check)
        if not check:
            return answer
        values = json.loads(answer or '{"data": [null]}')["data"]
        return values[0] if len(values) == 1 else values

    def property(self, name, interface=None):
        answer = run("busctl", "--json=short", "get-property", self.bus, self.path, interface or f"{self.bus}.debug", name)
        return json.loads(answer)["data"]

    def set_property(self, name, signature, value, interface=None, user=None):
        """Sets a property. Returns the finished busctl."""
        return run("busctl", "set-property", self.bus, self.path, interface or f"{self.bus}.debug", name, signature, value,
                   user=user, check=False)

    def controllers(self, detailed=True):
        """Returns the dictionaries of `ls`."""
        return self.call("list_controllers", "b", "true" if detailed else "false")

    def log_pages(self):
        """stafd only: returns the log pages of all discovery controllers (get_all_log_pages)."""
        return json.loads(self.call("get_all_log_pages", "b", "true"))

    def listed_subsystems(self):
        """stafd only: returns the subsystems in all log pages, sorted."""
        return sorted({entry["subnqn"] for each in self.log_pages() for entry in each["log-pages"]
                       if entry.get("subtype") == "nvme"})

    def process_info(self):
        return json.loads(self.call("process_info", interface=f"{self.bus}.debug"))

    # Its command-line tool

    def tool(self, *arguments, user=None, check=True, peers=None):
        """Runs stafctl or stacctl. `peers`: True for the tool of the peer (default: as the daemon)."""
        name = self.name[:-1] + "ctl"
        if self.peer if peers is None else peers:
            return run(f"{PEER}/usr/bin/{name}", *arguments, user=user, check=check, env={"PYTHONPATH": PEER_PYTHON})
        return run(name, *arguments, user=user, check=check)


stafd = Daemon("stafd", "staf")
stacd = Daemon("stacd", "stac")
BOTH = (stafd, stacd)


def substitute(unit, programs):
    """Replaces our unit by the peer's, with its programs in /opt/peer."""
    with open(f"{PEER}/usr/lib/systemd/system/{unit}") as file:
        text = file.read()
    check(programs in text, f"the peer's {unit} starts a program in {programs}", text)
    text = text.replace(programs + "sta", f"{PEER}{programs}sta").replace("[Service]", f"[Service]\nEnvironment=PYTHONPATH={PEER_PYTHON}")
    os.makedirs(OVERRIDES, exist_ok=True)
    with open(f"{OVERRIDES}/{unit}", "w") as file:
        file.write(text)


def use_peer(*which):
    """Replaces the daemons by the peer's."""
    for each in which or BOTH:
        each.use_peer()
    if not which:
        substitute("stas-config@.service", "/usr/bin/")
    run("systemctl", "daemon-reload")


def configure(*dcs, stafd_global="", stacd_global="", stafd_more="", stacd_more=""):
    """Writes the usual configuration: these discovery controllers (as in controller=), no mDNS."""
    lines = "".join(f"controller={each}\n" for each in dcs or ("transport=tcp;traddr=::1;trsvcid=8009",))
    stafd.configure(f"[Global]\n{stafd_global}\n[Service Discovery]\nzeroconf=disabled\n[Controllers]\n{lines}{stafd_more}\n")
    stacd.configure(f"[Global]\n{stacd_global}\n{stacd_more}\n")


def start(*which):
    """Starts both, or these, with one `systemctl start`. Returns the time before the start (time.monotonic)."""
    before = time.monotonic()
    run("systemctl", "start", *[each.unit for each in which or BOTH])
    return before


def stop(*which, timeout=60.0):
    run("systemctl", "stop", *[each.unit for each in which or BOTH], timeout=timeout)


def kill9(timeout=15, while_frozen=None):
    """Kills both with SIGKILL at the same time, and waits until systemd has started both again.

    `while_frozen` is called with each of them before the kill, while it is stopped by SIGSTOP and writes no file.
    """
    pids = [each.pid for each in BOTH]
    check(all(pids), "both daemons run before they are killed", pids)
    if while_frozen:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda pid=pid: stopped(pid), 5, f"process {pid} is stopped", poll=0.01)
        for each in BOTH:
            while_frozen(each)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for each, pid in zip(BOTH, pids):
        each.wait_active(timeout, other_than=pid)


def stopped(pid):
    """True if all threads of the process are stopped by a signal."""
    stats = [read(f"/proc/{pid}/task/{thread}/stat") for thread in os.listdir(f"/proc/{pid}/task")]
    # A thread that has just ended has no state.
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats if stat)


def connected_to(nqns, timeout=30.0, dcs=("transport=tcp;traddr=::1;trsvcid=8009",), **configuration):
    """The usual beginning: configures and starts both, and waits until these subsystems are live and both daemons know them."""
    from . import host
    configure(*dcs, **configuration)
    start()
    host.wait_live(*nqns, timeout=timeout)
    wait_until(lambda: stafd.listed_subsystems() == sorted(set(nqns)), 10, "stafd lists them all", poll=0.1)
    # A controller is live before stacd learns its device.
    wait_until(lambda: set(nqns) <= {each["subsysnqn"] for each in stacd.controllers() if each["device"] != "nvme?"}, 10,
               lambda: f"stacd knows the devices of all\n    seen: {stacd.controllers()}", poll=0.1)


def forget():
    """Deletes their saved state."""
    for each in BOTH:
        shutil.rmtree(f"/run/{each}", ignore_errors=True)


def reset():
    """Restores the state of a new installation."""
    run("systemctl", "stop", stafd.unit, stacd.unit, check=False)  # they may not be installed
    run("systemctl", "stop", "sta?d-idle.service", check=False)
    # Without stafd, nvme-cli's udev rule acts on events that still wait in udevd: what it starts is stopped below.
    run("udevadm", "settle")
    run("systemctl", "stop", "nvmf-connect@*.service", "stas-config@*.service", "stas-config.target", "stas-alert.service",
        check=False)
    changed = False
    for name in os.listdir(OVERRIDES) if os.path.isdir(OVERRIDES) else []:
        if name.startswith("sta"):
            path = f"{OVERRIDES}/{name}"
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            changed = True
    for each in BOTH:
        each.peer = False
    if changed:
        run("systemctl", "daemon-reload")
    run("systemctl", "reset-failed", check=False)
    for path in ("/run/stafd", "/run/stacd", "/var/cache/stafd", "/var/cache/stacd", "/etc/stas"):
        shutil.rmtree(path, ignore_errors=True)
    defaults = DEFAULTS if os.path.isdir(DEFAULTS) else f"{PEER}/etc/stas"
    shutil.copytree(defaults, "/etc/stas")
    rule = "/run/udev/rules.d/70-nvmf-autoconnect.rules"
    if os.path.exists(rule):
        os.unlink(rule)
        run("udevadm", "control", "--reload")
