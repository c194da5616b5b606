"""The target machine: a second machine at the other end of a cable, for scenarios with TARGET_MACHINE = True.

    appliance.connect(target="192.0.2.2/24", host="192.0.2.1/24")
    appliance.run("nvmet", "create", "-f", "/run/harness/target.conf")
    appliance.press_reset()
    appliance.wait_up()

Only its disks /dev/vdb and /dev/vdc keep their data over a reset.
"""

import contextlib
import os
import sys
import time

from .expect import Failed, check
from .host import run as run_here
from .wait import PATIENCE

sys.path.append("/harness")
from runner.agent import Agent, Gone, Line  # noqa: E402: the same line that the runner has to this machine

PORT = "/dev/virtio-ports/target"
POWER = "/dev/virtio-ports/target-power"
IFACE = "eth0"
# Down first: an interface that stays up does not get its link-local address back.
UNPLUG = f"ip link set {IFACE} down && ip address flush dev {IFACE}"
DISKS = ("/dev/vdb", "/dev/vdc")
# Seconds on an idle host: two machines share the processors.
BOOT_LIMIT = 300
_agent = None


def there():
    return os.path.exists(PORT)


def run(*command, check=True, timeout=60.0):
    """Runs a command there and returns its output. A failure fails the scenario, unless `check` is false."""
    said = []
    with named():
        status, why = agent().run(list(command), said.append, limit=timeout * PATIENCE)
    text = "".join(said)
    if check and status:
        raise Failed(f"expected: on the target machine, `{' '.join(command)[:300]}` succeeds\n"
                     f"    seen: status {status}{f' ({why})' if why else ''}: {text.strip()[:2000]}")
    return text


def write(path, text):
    """Writes a file there, readable by its owner only."""
    run("sh", "-c", 'umask 077; mkdir -p "$(dirname "$1")"; printf %s "$2" >"$1"', "sh", path, text)


def connect(target, host):
    """Connects both ends of the cable, with addresses such as `192.0.2.2/24`. After a reset, connect the target's end again."""
    run_here("ip", "address", "replace", host, "dev", IFACE)
    run_here("ip", "link", "set", IFACE, "up")
    run("ip", "address", "replace", target, "dev", IFACE)
    run("ip", "link", "set", IFACE, "up")


def press_reset():
    """Resets the machine without a shutdown. Returns after the reset; the machine then boots."""
    power = Line(POWER)
    try:
        answer(power, "qmp_capabilities", refusal=True)  # an earlier client may have sent it already
        answer(power, "system_reset")
        while hear(power).get("event") != "RESET":
            pass
    finally:
        power.close()


def reboot():
    """Reboots the machine as its administrator does. Returns after how many seconds it has booted."""
    begin, before = time.monotonic(), boot_id()
    agent().tell(id="reboot", run=["systemctl", "reboot"])
    agent().wait_leaving()
    wait_up()
    check(boot_id() != before, "the target machine has rebooted", before)
    return time.monotonic() - begin


def boot_id():
    return run("cat", "/proc/sys/kernel/random/boot_id").strip()


def wait_up():
    """Waits until it has booted. It is then in the state of a new machine."""
    with named():
        agent().wait_ready(BOOT_LIMIT * PATIENCE)
    run("systemctl", "is-system-running", "--wait", check=False, timeout=BOOT_LIMIT)


@contextlib.contextmanager
def named():
    """Adds to a failure that the target machine is gone, and not the host machine."""
    try:
        yield
    except Gone as gone:
        raise Gone(f"the target machine: {gone}") from gone


def agent():
    global _agent
    if _agent is None:
        if not there():
            raise Failed("expected: a target machine (TARGET_MACHINE = True)\n    seen: none")
        _agent = Agent(PORT)
        _agent.wait_ready(60 * PATIENCE)
    return _agent


def answer(power, command, refusal=False):
    power.tell(execute=command, id=command)
    while True:
        message = hear(power)
        if message.get("id") == command:
            check("return" in message or refusal, f"qemu obeys {command}", message)
            return


def hear(power):
    message = power.hear(60)
    if message is None:
        raise Gone("the target machine's qemu says nothing")
    return message


def clean():
    """Removes everything there, empties its disks, and disconnects the cable."""
    if not there():
        return
    run_here("sh", "-c", UNPLUG)
    run("sh", "-c", "systemctl stop 'scene-*'; systemctl reset-failed; modprobe -a nvmet nvmet_tcp; nvmet clean && "
                    f"rm -rf /run/harness && {UNPLUG} && for disk in {' '.join(DISKS)}; do blkdiscard -fz $disk || exit; done")


def evidence():
    if not there():
        return "(none)"
    return run("sh", "-c", "ip -brief address; nvmet ls; journalctl --no-pager --lines=60 --output=short-monotonic --no-hostname", check=False)
