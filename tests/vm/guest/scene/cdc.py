"""A centralized discovery controller: our `cdcsim`, here or at a neighbour's, run by a user without rights."""

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
_running = []


def fabric(*nqns, trsvcid="4420"):
    """A neighbour at the other end of a cable, 192.0.2.2, whose target has these subsystems. Returns it and the cable."""
    neighbour = network.Neighbour("fabric")
    cable = neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    target.lives_at(neighbour)
    with target.together():
        target.port(traddr="192.0.2.2", trsvcid=trsvcid)
        for nqn in nqns:
            target.subsystem(nqn)
    return neighbour, cable


class Cdc:
    """One that runs until it is stopped, or the scenario is over.

    `lives_at`: the neighbour in whose network it is; `listen`: its addresses; `nqn`: its own NQN (TP8013).
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
        # One that was killed leaves its socket behind; its file is how we know that this one is ready.
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
        """Its control socket is there before anybody listens to it."""
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.control) == 0

    def __call__(self, *arguments):
        """`cdcsim ctl`, as one says it at a prompt; returns the answer. The control socket is its user's; root may, too."""
        answer = run("cdcsim", "--control", self.control, "ctl", "--output=json", *map(str, arguments))
        return json.loads(answer)

    def said(self):
        with open(self.log) as file:
            return file.read()

    # Zoning

    def add(self, name, *addresses, nqn=None, kind="nvme", zone=None):
        """A member; `addresses` as `192.0.2.2:4420`."""
        words = ["add", name, f"--kind={kind}", *[f"--address={each}" for each in addresses]]
        words += [f"--nqn={nqn}"] if nqn else []
        return self(*words, *([f"--zone={zone}"] if zone else []))

    def load(self, text):
        """Replaces all members and zones by those of a TOML text."""
        path = f"{FOLDER}/{self.name}.conf"
        with open(path, "w") as file:
            file.write(text)
        return self("load", path)

    def zone_in(self, *members, hostnqn="*", zone="all"):
        """Lets a host see these members."""
        return self("zone", "add", zone, f"--host={hostnqn}", *[f"--member={each}" for each in members])

    def zone_out(self, *members, zone="all"):
        return self("zone", "remove", zone, *[f"--member={each}" for each in members])

    # What it has seen

    def host(self, hostnqn=None):
        """What it knows of a host (default: this one); {} if it has never seen it."""
        hostnqn = hostnqn or host.hostnqn()
        return next((each for each in self("hosts") if each["nqn"] == hostnqn), {})

    def count(self, what, hostnqn=None):
        """How many commands of that name (or `event`s) there were with a host."""
        return self.host(hostnqn).get("counts", {}).get(what, 0)

    def connections(self):
        return self("connections")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        _running.remove(self)


def clean():
    """None is left."""
    for each in list(_running):
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait(10)
    _running.clear()


def evidence():
    """What they said, for people."""
    return "\n".join(f"{each.name}:\n{each.said()}" for each in _running)
