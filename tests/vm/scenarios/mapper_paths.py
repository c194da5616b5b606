"""Without the kernel's own multipathing, device mapper combines two paths, and one of them cannot carry I/O (ANA state inaccessible). When the log pages list neither any more, the path that carries the mounted file system is kept, and the other one is disconnected."""

import contextlib
import os
import re

from scene import check, daemons, host, journal, note, stays, target, wait_until
from scene.room import MOUNTS

LIMIT = 240
FRESH_MACHINE = True
NQN = "nqn.2014-08.org.nvmexpress:scene:mapped"
PORTS = ("8009", "8010")
MODULES = ("nvme_loop", "nvme_fcloop", "nvme_fc", "nvme_rdma", "nvme_tcp", "nvmet_tcp", "nvmet_fc", "nvmet_rdma", "nvmet", "nvme", "nvme_fabrics",
           "nvme_core")
MULTIPATH = "/sys/module/nvme_core/parameters/multipath"
# The ANA group of the namespace. Group 1 exists from the start.
GROUP = 2


def play():
    reload_nvme("N")
    with target.together():
        for number, service in enumerate(PORTS, 1):
            target.port(number, trsvcid=service)
            target.subsystem(f"{NQN}-beside-{number}", ports=(number,))
        target.subsystem(NQN, ports=(1, 2), keeps=True)
    with contextlib.ExitStack() as ends:
        for number in (1, 2):
            group = f"{target.NVMET}/ports/{number}/ana_groups/{GROUP}"
            os.mkdir(group)
            ends.callback(os.rmdir, group)
            host.write(f"{group}/ana_state", "optimized")
        host.write(f"{target.NVMET}/subsystems/{NQN}/namespaces/1/ana_grpid", str(GROUP))
        # Written at the target: a write through a connection counts as a use for ten minutes.
        host.run("mkfs.ext4", "-q", host.read(f"{target.NVMET}/subsystems/{NQN}/namespaces/1/device_path"))
        dcs = [f"transport=tcp;traddr=::1;trsvcid={service}" for service in PORTS]
        daemons.connected_to([NQN, f"{NQN}-beside-1", f"{NQN}-beside-2"], dcs=dcs)
        wait_until(lambda: len(host.live(NQN)) == 2, 20, lambda: f"two paths\n{host.picture()}")
        good, bad = sorted(host.live(NQN), key=lambda each: each.trsvcid)
        disks = [disk_of(each) for each in (good, bad)]
        ends.callback(host.run, "dmsetup", "remove", "--retry", "scene", check=False)
        host.run("dmsetup", "create", "scene", "--uuid", "mpath-scene", "--table", table(disks))
        os.makedirs(MOUNTS, exist_ok=True)
        ends.callback(host.run, "umount", MOUNTS, check=False)
        host.run("mount", "-o", "ro,noload", "/dev/mapper/scene", MOUNTS)
        stays(lambda: len(host.live(NQN)) == 2, 31, "two live paths; the pages of the DCs are proof from now on")

        host.write(f"{target.NVMET}/ports/2/ana_groups/{GROUP}/ana_state", "inaccessible")
        check(not can_read(disks[1]) and can_read(disks[0]), "the target serves one path only", disks)
        target.hide(NQN)
        wait_until(lambda: [each.device for each in host.with_nqn(NQN)] == [good.device], 60,
                   lambda: f"only {good.device} is left\n{host.picture()}")
        with host.nothing_lost(only=lambda each: each.device == good.device):
            journal.wait_for(f"{good.device} is no longer wanted, but is kept: .*dm-.* is mounted on {MOUNTS}", 30, "stacd")
            stays(lambda: host.live(NQN), 15, "the path that carries the file system")
        check(can_read("mapper/scene"), "the file system's device can be read", host.picture())
        note("the path that can carry I/O was kept")


def reload_nvme(multipath):
    """Reloads nvme_core. Its parameter cannot be changed otherwise."""
    daemons.stop()
    host.disconnect_all()
    target.clean()
    loaded = {line.split()[0] for line in host.read("/proc/modules").splitlines()}
    for module in MODULES:
        if module in loaded:
            host.run("rmmod", module)
    host.run("modprobe", "nvme_core", f"multipath={multipath}")
    host.run("modprobe", "-a", "nvme_fabrics", "nvme_tcp", "nvmet", "nvmet_tcp", "dm_multipath", "dm_round_robin")
    check(host.read(MULTIPATH) == multipath, f"nvme_core has multipath={multipath}", host.read(MULTIPATH))


def disk_of(controller):
    """Waits until a path has its block device, which the kernel makes some time after the path is live. Returns it."""
    def disk():
        return next((name for name in os.listdir(f"{host.CLASS}/{controller.device}")
                     if re.fullmatch(r"nvme\d+n\d+", name) and os.path.exists(f"/dev/{name}")), None)
    return wait_until(disk, 20, lambda: f"{controller} has a block device\n{host.picture()}", poll=0.1)[0]


def table(disks):
    sectors = host.read(f"/sys/class/block/{disks[0]}/size")
    paths = " ".join(f"/dev/{disk} 1000" for disk in disks)
    return f"0 {sectors} multipath 0 0 1 1 round-robin 0 {len(disks)} 1 {paths}"


def can_read(disk):
    return host.run("dd", f"if=/dev/{disk}", "of=/dev/null", "bs=4096", "count=1", "iflag=direct", check=False).returncode == 0
