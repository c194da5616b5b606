"""Storage that is used by a process, a file system in another mount namespace, an NVMe target or a lock is kept, and the reason is reported. Idle storage is disconnected, as fast beside multipathd, pvscan and blkid as without them. While 1,000 idle devices are opened for the check, no mount and no activation of a volume fails."""

import collections
import contextlib
import fcntl
import os
import re
import shutil
import statistics
import struct
import subprocess
import threading
import time

from scene import check, compare, daemons, host, journal, note, stays, target, wait_until
from scene.room import MOUNTS

LIMIT = 900
COVERAGE = False
# Exclusive opens of idle devices by stacd. Each check opens all of them.
PROBES, NAMESPACES = 1000, 40
# Rounds of mounts and of activations during that time, at least.
LEAST_ROUNDS = 20
# Measured disconnects.
ROUNDS = 7
# The daemon checks kept storage again at least this often.
AGAIN = 25
CFG = "/sys/kernel/config/nvmet/subsystems/scene-gateway"
USERS = "/opt/users"
RULES = "/run/udev/rules.d"


def nqn(name):
    return f"nqn.2014-08.org.nvmexpress:scene:{name}"


EXCLUSIVE, EXPORTED, MOUNTED, LOCKED, WRITTEN, IDLE = map(nqn, ("exclusive", "exported", "mounted", "locked", "written", "idle"))


def play():
    for part in (users_of_storage, neighbours_of_a_probe, idle_storage_goes_as_fast_as_ever):
        part()
        # The target has a limited number of RAM disks.
        daemons.stop()
        host.disconnect_all()
        target.clean()


# Storage is kept for each kind of use.

def users_of_storage():
    names = (EXCLUSIVE, EXPORTED, MOUNTED, LOCKED, WRITTEN, IDLE)
    with target.together():
        target.port()
        target.subsystem(nqn("stays"))
        for name in names:
            target.subsystem(name, keeps=True)
    # Written at the target: a write through the connection would count as a use for ten minutes.
    host.run("mkfs.vfat", backing(MOUNTED))
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


def backing(name, namespace=1):
    """Returns the disk of the target."""
    return host.read(f"/sys/kernel/config/nvmet/subsystems/{name}/namespaces/{namespace}/device_path")


@contextlib.contextmanager
def opened(name, flags=0):
    """Opens the raw device for the block. Yields a function that closes it."""
    device = host.disk(name)
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
    device = host.disk(name)
    os.mkdir(CFG)
    os.mkdir(f"{CFG}/namespaces/1")
    host.write(f"{CFG}/namespaces/1/device_path", f"/dev/{device}")
    host.write(f"{CFG}/namespaces/1/enable", "1")

    def end():
        if os.path.isdir(CFG):
            host.write(f"{CFG}/namespaces/1/enable", "0")
            os.rmdir(f"{CFG}/namespaces/1")
            os.rmdir(CFG)
    try:
        yield end
    finally:
        end()


@contextlib.contextmanager
def mounted_elsewhere(name):
    """Mounts vfat, which has no entry in /sys/fs, in a mount namespace of its own."""
    device = host.disk(name)
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
        device = host.disk(name)
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
        device = host.disk(name)
        descriptor = next(int(fd) for fd in os.listdir("/proc/self/fd") if linked(fd) == f"/dev/{device}")
        os.pwrite(descriptor, b"database" * 512, 0)
        yield end


# The checks for storage in use disturb no other program.

def neighbours_of_a_probe():
    """stacd opens idle devices exclusively, again and again. Meanwhile the idle devices of another controller are mounted and activated.

    That controller is kept because a third device of it is held: stacd opens the held device first, and no other one.
    """
    kept, many = nqn("kept"), nqn("many-namespaces")
    with target.together():
        target.port()
        target.subsystem(kept, namespaces=3, keeps=True)
        target.subsystem(many, namespaces=NAMESPACES)
    # Written at the target: a write through the connection counts as a use for ten minutes, and nothing is opened.
    host.run("mkfs.ext4", "-q", backing(kept, 2))
    make_group("scene", backing(kept, 3), volume=True)
    daemons.connected_to([kept, many], timeout=60)
    held, plain, volumes = host.disks(kept, 3, timeout=120)
    idle = host.disks(many, NAMESPACES, timeout=120)
    with contextlib.ExitStack() as uses:
        uses.callback(os.close, os.open(f"/dev/{held}", os.O_RDONLY | os.O_EXCL))
        uses.callback(host.run, "vgchange", *only(volumes), "-an", "scene", check=False)
        uses.callback(host.run, "umount", MOUNTS, check=False)
        stays(lambda: host.live(kept) and host.live(many), 31, "a settled page")
        target.hide(kept)
        # Another program may have held another device during the first check.
        journal.wait_for(f"{host.live(kept)[0].device} is no longer wanted, but is kept: {held} is held exclusively", 60, "stacd")
        opens, rounds, failed = probed(many, plain, volumes)
        host.wait_gone(many, timeout=60)
        check(host.live(kept), "the controller in use is kept", host.picture())
        count = sum(opens[device] for device in idle)
        note(f"{count} exclusive opens of {len(set(opens) & set(idle))} idle devices; rounds: {dict(rounds)}")
        check(not failed, "no mount and no activation fails", failed[:3])
        check(min(rounds[command] for command in ("mount", "vgchange")) >= LEAST_ROUNDS, f"at least {LEAST_ROUNDS} rounds of each", rounds)
        check(set(opens) <= set(idle), "no idle device of a kept controller is opened while another one is held", opens)


def probed(many, plain, volumes):
    """Mounts and activates until stacd has opened idle devices PROBES times. It tries to disconnect their controller, the kernel refuses that, and it checks the devices again before each retry.

    Returns the number of opens by device, the number of rounds by command, and the failed commands.
    """
    failed, rounds, stop = [], collections.Counter(), threading.Event()
    os.makedirs(MOUNTS, exist_ok=True)
    commands = ((("mount", "-o", "ro,noload", f"/dev/{plain}", MOUNTS), ("umount", MOUNTS)),
                tuple(("vgchange", *only(volumes), how, "scene") for how in ("-ay", "-an")))
    threads = [threading.Thread(target=again_and_again, args=(stop, failed, rounds, pair)) for pair in commands]
    with undeletable(host.live(many)[0].device), traced_opens() as opens:
        for each in threads:
            each.start()
        try:
            target.hide(many)
            wait_until(lambda: sum(opens().values()) >= PROBES, 180, lambda: f"{PROBES} exclusive opens of idle devices\n    seen: {opens()}", poll=1)
        finally:
            stop.set()
            for each in threads:
                each.join()
        return opens(), rounds, failed


@contextlib.contextmanager
def undeletable(device):
    """The kernel refuses to disconnect a controller: its attribute is covered by a file that takes no data."""
    attribute = os.path.realpath(f"{host.CLASS}/{device}/delete_controller")
    host.run("mount", "--bind", "/dev/full", attribute)
    try:
        yield
    finally:
        host.run("umount", "--lazy", attribute)


def again_and_again(stop, failed, rounds, pair):
    while not stop.is_set():
        for command in pair:
            done = host.run(*command, check=False, timeout=300)
            if done.returncode:
                failed.append((command, done.returncode, done.stderr))
        rounds[pair[0][0]] += 1


@contextlib.contextmanager
def traced_opens():
    """Traces the program that opens devices for stacd. Yields a function that counts its successful exclusive opens by device."""
    (pid,) = host.run("pidof", "stas-in-use").split()
    report = "/run/harness/opens"
    strace = subprocess.Popen(["strace", "--follow-forks", "--quiet=attach,exit", "--trace=openat", "--signal=none", f"--output={report}",
                               f"--attach={pid}"])

    def opens():
        # An open that is held by another program ends with -1 EBUSY.
        with open(report) as file:
            return collections.Counter(re.findall(r'openat\(\w+, "/dev/(\w+)", [^)\n]*O_EXCL[^)\n]*\) += \d', file.read()))
    try:
        wait_until(lambda: "TracerPid:\t0" not in host.read(f"/proc/{pid}/status"), 10, "strace traces stas-in-use", poll=0.1)
        yield opens
    finally:
        strace.terminate()
        strace.wait()


def only(*devices):
    """Options of LVM. It sees only these devices: the target exports RAM disks of this machine, so each group is there twice. It does not wait for udev, which has the events of many devices to process."""
    accepted = ",".join(f'"a|^/dev/{device}$|"' for device in devices)
    return "--config", f'devices{{use_devicesfile=0 global_filter=[{accepted},"r|.*|"]}} activation{{udev_sync=0 udev_rules=0}}'


def make_group(name, disk, volume=False):
    """Creates a volume group on a disk of the target, and a volume in it if asked."""
    options = only(os.path.basename(disk))
    host.run("vgcreate", *options, "-y", name, disk)
    if volume:
        host.run("lvcreate", *options, "-y", "-an", "-Zn", "-Wn", "-L4M", "-n", "data", name)


# Idle storage is disconnected as fast beside programs that open every device as without them.

def idle_storage_goes_as_fast_as_ever():
    name = nqn("idle")
    with target.together():
        target.port()
        target.subsystem(nqn("stays"))
        target.subsystem(name, keeps=True)
    # The group has no volume that could be activated, and so would be in use.
    make_group("idle", backing(name))
    with udev_rules({"60-persistent-storage.rules": "/dev/null"}):
        daemons.connected_to([nqn("stays"), name])
        stays(lambda: host.live(name), 31, "a settled page")
        alone = how_long(name, opened_by_nobody)
    with udev_rules({rule: f"{USERS}/rules.d/{rule}" for rule in os.listdir(f"{USERS}/rules.d")}):
        host.run("systemctl", "start", "multipathd.service")
        try:
            wait_until(lambda: host.run("systemctl", "is-active", "multipathd.service", check=False).stdout.strip() == "active", 30,
                       "multipathd is active")
            # With the new rules the device appears anew.
            target.unlink(name)
            host.wait_gone(name)
            link_anew(name)
            beside = how_long(name, opened_by_others)
        finally:
            host.run("systemctl", "stop", "multipathd.service", "multipathd.socket", check=False)
    compare("unlink of idle storage beside multipathd, pvscan and blkid", beside, alone, "an unlink without them", at_most=1.2)


@contextlib.contextmanager
def udev_rules(files):
    """Adds rules for the block: the names, and what they link to."""
    os.makedirs(RULES, exist_ok=True)
    for name, path in files.items():
        os.symlink(path, f"{RULES}/{name}")
    host.run("udevadm", "control", "--reload")
    try:
        yield
    finally:
        for name in files:
            os.unlink(f"{RULES}/{name}")
        host.run("udevadm", "control", "--reload")


def link_anew(name):
    # pvscan leaves files that say on which device it found a physical volume. The device number may be another one now.
    shutil.rmtree("/run/lvm", ignore_errors=True)
    target.link(name)


def properties(name):
    """Returns the properties that blkid, multipath and pvscan leave of the device of a subsystem."""
    lines = [line for device in host.namespaces(name)
             for line in host.run("udevadm", "info", "--query=property", f"/dev/{device}", check=False).stdout.splitlines()]
    return {key: value.strip("'") for key, _, value in (line.partition("=") for line in lines)
            if key in ("ID_FS_TYPE", "DM_MULTIPATH_DEVICE_PATH", "LVM_VG_NAME_COMPLETE")}


def opened_by_nobody(name):
    return len(host.namespaces(name)) == 1 and properties(name) == {}


def opened_by_others(name):
    return properties(name) == {"ID_FS_TYPE": "LVM2_member", "DM_MULTIPATH_DEVICE_PATH": "0", "LVM_VG_NAME_COMPLETE": "idle"}


def how_long(name, is_ready):
    """Returns the median of the seconds from the unlink of a subsystem to its disconnect."""
    took = []
    for _ in range(ROUNDS):
        host.wait_live(name)
        host.run("udevadm", "settle")
        wait_until(lambda: is_ready(name), 30, lambda: f"{is_ready.__name__}\n    seen: {properties(name)}", poll=0.1)
        host.run("udevadm", "settle")
        before = time.monotonic()
        target.unlink(name)
        host.wait_gone(name)
        took.append(time.monotonic() - before)
        link_anew(name)
    host.wait_live(name)
    note(f"{is_ready.__name__}: {', '.join(f'{each:.2f}' for each in took)} s")
    return statistics.median(took)
