"""Two machines on a segment of their own, as a data centre has them: a host, and the target that it gets its storage from.

Their wire is a pair of connected sockets that nobody else has. The host machine commands the target machine by itself,
over two virtio-serial ports: `target` is the line of the target's agent, `target-power` is qemu's own (QMP), for the
reset button.
"""

import contextlib
import socket

from .agent import Gone
from .boot import again
from .machine import Machine, Role

# MiB. The target machine moves blocks, no more.
TARGET_MEMORY = 1024
# What qemu needs beside the memory of its machine.
OVERHEAD = 512
# The target's storage, /dev/vdb and /dev/vdc: files of the host, so they survive the target's reset.
DISKS, DISK_SIZE = ("disk1", "disk2"), 64 << 20


def boot(**how):
    """Boots both at once; returns the host machine, whose `target` is ready, too. `how`: see Machine.start."""
    try:
        enough_memory()
        return again(lambda: once(**how))
    except Gone as gone:
        raise Gone(f"there are no two machines: {gone}", gone.console) from gone


def once(**how):
    wire, power = socket.socketpair(), socket.socketpair()
    ends = [each.fileno() for each in (*wire, *power)]
    target = machine = None
    try:
        target = Machine.start(role=target_role(ends[0], ends[2]))
        with named("the target machine"):
            target.starts()
        machine = Machine.start(role=host_role(ends[1], ends[3], target), **how)
        machine.target = target
        for each, name in ((target, "the target machine"), (machine, "the host machine")):
            with named(name):
                each.serve()
        # It is reset without warning: what is installed must be on its disk by then.
        target.agent.run("sync", lambda _: None, limit=120)
        # From here on the line is the host machine's.
        target.agent.close()
        target.agent = None
    except BaseException:
        for each in (machine, target):
            if each:
                each.stop()
        raise
    finally:
        for each in (*wire, *power):
            each.close()
    return machine


@contextlib.contextmanager
def named(name):
    """A failure of the block says which machine it is about."""
    try:
        yield
    except Gone as gone:
        raise type(gone)(f"{name}: {gone}", gone.console) from gone


def target_role(wire, power):
    """It boots again after a reset, and after a panic, which its console keeps."""
    return Role(memory=TARGET_MEMORY, survives_reset=True, disks=DISKS, disk_size=DISK_SIZE, descriptors=(wire, power),
                words=("systemd.hostname=target",),
                arguments=(*card(wire, 1), "-chardev", f"socket,id=power,fd={power}", "-mon", "chardev=power,mode=control"))


def host_role(wire, power, target):
    return Role(descriptors=(wire, power),
                arguments=(*card(wire, 2), "-chardev", f"socket,id=target,path={target.folder}/agent",
                           "-device", "virtserialport,chardev=target,name=target",
                           "-chardev", f"socket,id=power,fd={power}", "-device", "virtserialport,chardev=power,name=target-power"))


def card(wire, number):
    """A network card, eth0, at this end of the wire."""
    return ("-netdev", f"socket,id=segment,fd={wire}",
            "-device", f"virtio-net-pci,netdev=segment,mac=52:54:00:5e:90:{number:02x},romfile=")


def enough_memory():
    needed = Role().memory + TARGET_MEMORY + 2 * OVERHEAD
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemAvailable:"))
    if available < needed:
        raise Gone(f"they need {needed} MiB of memory, and {available} MiB are available")
