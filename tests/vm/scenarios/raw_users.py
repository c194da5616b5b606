"""Storage that is used by a process, a file system in another mount namespace, an NVMe target or a lock is kept, and the reason is reported. Idle storage is disconnected, and no mount fails with EBUSY."""

import contextlib
import fcntl
import os
import shutil
import socket
import statistics
import struct
import subprocess
import threading
import time

from scene import check, daemons, host, journal, measure, note, stays, target, wait_until
from scene.daemons import stacd
from scene.room import MOUNTS

LIMIT = 600
COVERAGE = False
PROBES = 1000
ROUNDS = 7
# The daemon checks kept storage again at least this often.
AGAIN = 25
# The error of a mount that was refused because another program had the device open exclusively.
BUSY = ("busy", "EBUSY")
CFG = "/sys/kernel/config/nvmet/subsystems/scene-gateway"
USERS = "/opt/users"

# The target exports RAM disks of this machine: LVM would see each physical volume twice.
NO_RAM_DISKS = ("--config", 'devices{use_devicesfile=0 global_filter=["r|^/dev/ram|"]}')

def nqn(name):
    return f"nqn.2014-08.org.nvmexpress:scene:{name}"


EXCLUSIVE, EXPORTED, MOUNTED, LOCKED, WRITTEN, IDLE = map(nqn, ("exclusive", "exported", "mounted", "locked", "written", "idle"))


def play():
    users_of_storage()
    neighbours_of_a_probe()
    idle_storage_goes_as_fast_as_ever()


# Storage is kept for each kind of use.

def users_of_storage():
    names = (EXCLUSIVE, EXPORTED, MOUNTED, LOCKED, WRITTEN, IDLE)
    with target.together():
        target.port()
        target.subsystem(nqn("stays"))
        for name in names:
            target.subsystem(name, keeps=True)
    # Written at the target: a write through the connection would count as a use for ten minutes.
    host.run("mkfs.vfat", host.read(f"/sys/kernel/config/nvmet/subsystems/{MOUNTED}/namespaces/1/device_path"))
    daemons.connected_to([nqn("stays"), *names])
    stays(lambda: len(host.iocs()) == 7, 31, "seven connections; the page of the DC is proof from now on")
    with contextlib.ExitStack() as uses:
        release = {
            EXCLUSIVE: (uses.enter_context(opened(EXCLUSIVE, os.O_EXCL)), "held exclusively"),
            EXPORTED: (uses.enter_context(exported(EXPORTED)), "exported by this host"),
            MOUNTED: (uses.enter_context(mounted_elsewhere(MOUNTED)), "is mounted on .* in the mount namespace of process"),
            LOCKED: (uses.enter_context(locked(LOCKED)), "locked by a process"),
            WRITTEN: (uses.enter_context(written(WRITTEN)), "was written to in the last 10 minutes"),
        }
        with host.nothing_lost(only=lambda each: each.nqn != IDLE):
            with target.together():
                for name in names:
                    target.hide(name)
            host.wait_gone(IDLE, timeout=30)
            stays(lambda: all(host.live(name) for name in release), AGAIN, "storage in use stays")
            for name, (_, why) in release.items():
                journal.wait_for(f"{host.live(name)[0].device} .*{why}", 10, "stacd")
        # Storage that is free now is disconnected; storage that was written to is still in use.
        for name, (end, _) in release.items():
            if name != WRITTEN:
                end()
                host.wait_gone(name, timeout=AGAIN)
        stays(lambda: host.live(WRITTEN), 3, "what was written is kept")
    daemons.stop()


@contextlib.contextmanager
def opened(name, flags=0):
    """Opens the raw device for the block. Yields a function that closes it."""
    (device,) = host.namespaces(name)
    holder = [os.open(f"/dev/{device}", os.O_RDWR | flags)]

    def end():
        while holder:
            os.close(holder.pop())
    try:
        yield end
    finally:
        end()


@contextlib.contextmanager
def exported(name):
    (device,) = host.namespaces(name)
    os.mkdir(CFG)
    os.mkdir(f"{CFG}/namespaces/1")
    write(f"{CFG}/namespaces/1/device_path", f"/dev/{device}")
    write(f"{CFG}/namespaces/1/enable", "1")

    def end():
        if os.path.isdir(CFG):
            write(f"{CFG}/namespaces/1/enable", "0")
            os.rmdir(f"{CFG}/namespaces/1")
            os.rmdir(CFG)
    try:
        yield end
    finally:
        end()


@contextlib.contextmanager
def mounted_elsewhere(name):
    """Mounts vfat, which has no entry in /sys/fs, in a mount namespace of its own."""
    (device,) = host.namespaces(name)
    os.makedirs(MOUNTS, exist_ok=True)
    command = f"mount -t vfat -o ro /dev/{device} {MOUNTS} && echo mounted && exec sleep 1000"
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", command], stdout=subprocess.PIPE, text=True)
    check(process.stdout.readline() == "mounted\n", "a file system is mounted in a mount namespace of its own")

    def end():
        process.kill()
        process.wait()
    try:
        yield end
    finally:
        end()


@contextlib.contextmanager
def locked(name):
    """Locks as qemu does: a shared lock on one byte, which belongs to the open file."""
    with opened(name) as end:
        (device,) = host.namespaces(name)
        descriptor = next(int(fd) for fd in os.listdir("/proc/self/fd") if linked(fd) == f"/dev/{device}")
        fcntl.fcntl(descriptor, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0))
        yield end


def linked(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


@contextlib.contextmanager
def written(name):
    """Acts as a database on the raw device without a lock, whose last write was some time ago."""
    with opened(name, os.O_SYNC) as end:
        (device,) = host.namespaces(name)
        descriptor = next(int(fd) for fd in os.listdir("/proc/self/fd") if linked(fd) == f"/dev/{device}")
        os.pwrite(descriptor, b"database" * 512, 0)
        yield end


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


# The checks for storage in use disturb no other program.

def neighbours_of_a_probe():
    """One namespace is in use; the others are mounted and activated again and again."""
    crowded = nqn("crowded")
    with target.together():
        target.port()
        target.subsystem(nqn("stays"))
        target.subsystem(crowded, namespaces=3, keeps=True)
    daemons.connected_to([nqn("stays"), crowded])
    held, plain, volumes = host.namespaces(crowded)
    host.run("mkfs.ext4", "-q", f"/dev/{plain}")
    host.run("vgcreate", *NO_RAM_DISKS, "-y", "scene", f"/dev/{volumes}")
    host.run("lvcreate", *NO_RAM_DISKS, "-y", "-an", "-Zn", "-L4M", "-n", "data", "scene")
    descriptor = os.open(f"/dev/{held}", os.O_RDWR | os.O_EXCL)
    try:
        wait_until(lambda: len(host.live(crowded)) == 1, 5, "the controller is live")
        stays(lambda: host.live(crowded), 31, "a settled page")
        target.hide(crowded)
        journal.wait_for(f"{host.live(crowded)[0].device} .*is kept", 30, "stacd")
        refused = []
        stop = threading.Event()
        threads = [threading.Thread(target=again_and_again, args=(stop, refused, *pair)) for pair in (
            ((("mount", f"/dev/{plain}", MOUNTS), ("umount", MOUNTS))),
            ((("vgchange", *NO_RAM_DISKS, "-ay", "scene"), ("vgchange", *NO_RAM_DISKS, "-an", "scene"))))]
        for each in threads:
            each.start()
        answers = probe(held, PROBES)
        stop.set()
        for each in threads:
            each.join()
        check(set(answers) == {"busy"}, f"{PROBES} probes find the device busy", set(answers))
        check(not refused, "no mount and no activation is refused", refused[:3])
        check(host.live(crowded), "the controller is kept")
    finally:
        os.close(descriptor)
        host.run("vgremove", *NO_RAM_DISKS, "-ff", "-y", "scene", check=False)
    daemons.stop()


def again_and_again(stop, refused, begin, end):
    os.makedirs(MOUNTS, exist_ok=True)
    rounds = 0
    while not stop.is_set():
        for command in (begin, end):
            done = host.run(*command, check=False)
            if done.returncode and any(word in done.stderr for word in BUSY):
                refused.append((command, done.stderr))
        rounds += 1
    note(f"{begin[0]}: {rounds} rounds")


def probe(device, times):
    """Asks stas-in-use as stacd does, while the daemon also checks kept storage again."""
    number = host.read(f"/sys/class/block/{device}/dev")
    answers = []
    with socket.socket(socket.AF_UNIX) as program:
        program.connect("/run/nvme-stas/in-use.socket")
        stream = program.makefile("rw")
        for count in range(times):
            print(device, number, file=stream, flush=True)
            answers.append(stream.readline().strip())
            if count % 10 == 0:
                # An event after which stacd checks everything again, including kept storage.
                for each in host.iocs():
                    write(f"/sys/class/nvme/{each.device}/uevent", "change")
                time.sleep(0.3)  # a pace, not a condition
    return answers


# Idle storage is disconnected as fast as without a check.

def idle_storage_goes_as_fast_as_ever():
    """Runs with multipathd and LVM, which open every device."""
    names = [nqn(f"idle-{number}") for number in range(1, 3)]
    for name in os.listdir(f"{USERS}/rules.d"):
        shutil.copy(f"{USERS}/rules.d/{name}", "/run/udev/rules.d/" if os.path.isdir("/run/udev/rules.d") else "/etc/udev/rules.d/")
    host.run("udevadm", "control", "--reload")
    host.run("systemctl", "start", "multipathd.service", check=False)
    try:
        with target.together():
            target.port()
            target.subsystem(nqn("stays"))
            for name in names:
                target.subsystem(name)
        daemons.connected_to([nqn("stays"), *names])
        stays(lambda: all(host.live(name) for name in names), 31, "a settled page")
        unchecked = how_long(names[0], "disconnect")
        checked = how_long(names[1], "keep")
        measure("unlink of idle storage, compared with in-use=disconnect", checked / unchecked, "times", at_most=1.2)
    finally:
        host.run("systemctl", "stop", "multipathd.service", "multipathd.socket", check=False)
        for folder in ("/run/udev/rules.d", "/etc/udev/rules.d"):
            for name in os.listdir(f"{USERS}/rules.d"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{name}")
        host.run("udevadm", "control", "--reload")


def how_long(name, in_use):
    stacd.configure(f"[I/O controller connection management]\nin-use={in_use}\n")
    stacd.reload()
    took = []
    for _ in range(ROUNDS):
        host.wait_live(name)
        host.run("udevadm", "settle")
        before = time.monotonic()
        target.unlink(name)
        host.wait_gone(name)
        took.append(time.monotonic() - before)
        target.link(name)
    note(f"in-use={in_use}: {', '.join(f'{each:.2f}' for each in took)} s")
    return statistics.median(took)
