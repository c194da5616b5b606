"""Two machines in a network of their own: a host and a storage target.

Their network is a pair of connected sockets. The host machine controls the target machine through two virtio-serial
ports: `target` is connected to the target's agent, `target-power` to the monitor of the target's qemu (QMP), for resets.
"""

import contextlib
import socket

from .agent import Gone
from .boot import again
from .machine import Machine, Role

# Memory of the target machine in MiB. It only serves storage.
TARGET_MEMORY = 1024
# MiB that qemu needs in addition to the memory of its machine.
OVERHEAD = 512
# The target's disks /dev/vdb and /dev/vdc: files on the host, which keep their data over a reset.
DISKS, DISK_SIZE = ("disk1", "disk2"), 64 << 20


def boot(**how):
    """Boots both at the same time. Returns the host machine; its `target` is ready, too. `how`: see Machine.start."""
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
        # A reset comes without a shutdown: the installed files must be on the disk.
        target.agent.run("sync", lambda _: None, limit=120)
        # From here on, the host machine uses the connection to the target's agent.
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
    """Adds the name of the machine to failures in the block."""
    try:
        yield
    except Gone as gone:
        raise type(gone)(f"{name}: {gone}", gone.console) from gone


def target_role(wire, power):
    """Returns the role of the target. It boots again after a reset or a panic; the console shows the panic."""
    return Role(memory=TARGET_MEMORY, survives_reset=True, disks=DISKS, disk_size=DISK_SIZE, descriptors=(wire, power),
                words=("systemd.hostname=target",),
                arguments=(*card(wire, 1), "-chardev", f"socket,id=power,fd={power}", "-mon", "chardev=power,mode=control"))


def host_role(wire, power, target):
    return Role(descriptors=(wire, power),
                arguments=(*card(wire, 2), "-chardev", f"socket,id=target,path={target.folder}/agent",
                           "-device", "virtserialport,chardev=target,name=target",
                           "-chardev", f"socket,id=power,fd={power}", "-device", "virtserialport,chardev=power,name=target-power"))


def card(wire, number):
    """Returns qemu's arguments for the network card eth0 at this end of the cable."""
    return ("-netdev", f"socket,id=segment,fd={wire}",
            "-device", f"virtio-net-pci,netdev=segment,mac=52:54:00:5e:90:{number:02x},romfile=")


def enough_memory():
    needed = Role().memory + TARGET_MEMORY + 2 * OVERHEAD
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) // 1024 for line in file if line.startswith("MemAvailable:"))
    if available < needed:
        raise Gone(f"they need {needed} MiB of memory, and {available} MiB are available")
