"""A centralized discovery controller: cdcsim, on this host or a neighbour, run by an unprivileged user."""

import contextlib
import json
import os
import socket
import subprocess

from . import host, instruments, network, target
from .expect import Failed
from .host import run
from .wait import wait_until

USER = "tester"
FOLDER = "/run/cdcsim"
DISCOVERY_NQN = host.DISCOVERY_NQN
# Where the storage of `fabric` is.
STORAGE = "192.0.2.2:4420"
# The subsystems of `in_two_steps`.
FIRST, SECOND = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("first", "second"))
_running = []


def fabric(*nqns, trsvcid="4420"):
    """Creates a neighbour, 192.0.2.2, whose target has these subsystems. Returns the neighbour and the cable."""
    neighbour = network.Neighbour("fabric")
    cable = neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    target.lives_at(neighbour)
    with target.together():
        target.port(traddr="192.0.2.2", trsvcid=trsvcid)
        for nqn in nqns:
            target.subsystem(nqn)
    return neighbour, cable


def in_two_steps():
    """Starts a DC with two subsystems, FIRST and SECOND, of which it lists the first. `zone_in("second")` lists the other."""
    neighbour, _ = fabric(FIRST, SECOND)
    dc = Cdc(lives_at=neighbour)
    dc.add("first", STORAGE, nqn=FIRST)
    dc.add("second", STORAGE, nqn=SECOND)
    dc.zone_in("first")
    return dc


class Cdc:
    """A cdcsim that runs until it is stopped or the scenario ends.

    `lives_at`: the neighbour on which it runs; `listen`: its addresses; `nqn`: its own NQN (TP8013).
    """

    def __init__(self, name="cdc", listen=("[::]:8009",), lives_at=None, nqn=None, dctype="cdc", announce=None):
        os.makedirs(FOLDER, exist_ok=True)
        os.chmod(FOLDER, 0o1777)
        self.name = name
        self.control = f"{FOLDER}/{name}.sock"
        self.log = f"{FOLDER}/{name}.log"
        command = ["cdcsim", "--control", self.control, "run", "--verbose", f"--type={dctype}"]
        command += [f"--listen={each}" for each in listen]
        command += [f"--nqn={nqn}"] if nqn else []
        command += [f"--announce={announce}"] if announce else []
        command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *command]
        if lives_at:
            command = ["nsenter", f"--net={lives_at.path}", *command]
        # A killed cdcsim leaves its socket file. It is removed, so that the new file shows that this one is ready.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.control)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | instruments.of(USER))
        _running.append(self)
        wait_until(lambda: self.answers() or self.process.poll() is not None, 20,
                   lambda: f"{name} runs\n    seen: {self.said()}")
        if self.process.poll() is not None:
            raise Failed(f"expected: {name} runs\n    seen: it ended: {self.said()}")

    def answers(self):
        """True if it listens. Its control socket exists before that."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.control) == 0

    def __call__(self, *arguments):
        """Runs `cdcsim ctl` with these arguments, and returns the answer."""
        answer = run("cdcsim", "--control", self.control, "ctl", "--output=json", *map(str, arguments))
        return json.loads(answer)

    def said(self):
        with open(self.log) as file:
            return file.read()

    # Zoning

    def add(self, name, *addresses, nqn=None, kind="nvme", zone=None):
        """Adds a member; `addresses` such as `192.0.2.2:4420`."""
        words = ["add", name, f"--kind={kind}", *[f"--address={each}" for each in addresses]]
        words += [f"--nqn={nqn}"] if nqn else []
        return self(*words, *([f"--zone={zone}"] if zone else []))

    def load(self, text):
        """Replaces all members and zones by those of a TOML text."""
        path = f"{FOLDER}/{self.name}.conf"
        with open(path, "w") as file:
            file.write(text)
        return self("load", path)

    def load_members(self, members):
        """Replaces all members and zones by these members, NQN and address each, which are in one zone with all hosts."""
        members = list(members)
        lines = ["[zone.all]", "hosts = ['*']", f"members = {[f'm{number}' for number in range(len(members))]}"]
        for number, (nqn, address) in enumerate(members):
            lines += [f"[member.m{number}]", f"nqn = '{nqn}'", f"addresses = ['{address}']"]
        return self.load("\n".join(lines))

    def zone_in(self, *members, hostnqn="*", zone="all"):
        """Adds a host and these members to a zone."""
        return self("zone", "add", zone, f"--host={hostnqn}", *[f"--member={each}" for each in members])

    def zone_out(self, *members, zone="all"):
        return self("zone", "remove", zone, *[f"--member={each}" for each in members])

    # What it has recorded

    def host(self, hostnqn=None):
        """Returns its data about a host (default: this one), or {} if the host never connected."""
        hostnqn = hostnqn or host.hostnqn()
        return next((each for each in self("hosts") if each["nqn"] == hostnqn), {})

    def count(self, what, hostnqn=None):
        """Returns the number of commands of this name (or of `event`s) of a host."""
        return self.host(hostnqn).get("counts", {}).get(what, 0)

    def connections(self):
        return self("connections")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        _running.remove(self)


def clean():
    """Stops all instances."""
    for each in list(_running):
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(10)
    _running.clear()


def evidence():
    """Returns their output, for the log."""
    return "\n".join(f"{each.name}:\n{each.said()}" for each in _running)
