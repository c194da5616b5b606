"""The same clean room before and after every scenario."""

import os
import shutil
import subprocess

from . import appliance, cdc, daemons, host, network, target

IDENTITY = {}
MOUNTS = "/mnt/scene"


def enter():
    for name in ("hostnqn", "hostid"):
        IDENTITY[name] = kept(name)
    # Loaded by us, they stay: nvmet unloads what it loaded.
    host.run("modprobe", "-a", "nvme_fabrics", "nvme_tcp", "nvmet", "nvmet_tcp", "null_blk")
    clean()


def kept(name):
    """The machine's identity as the image has it, kept aside the first time."""
    path = f"/run/harness/{name}"
    if not os.path.exists(path):
        os.makedirs("/run/harness", exist_ok=True)
        shutil.copy(f"/etc/nvme/{name}", path)
    with open(path) as file:
        return file.read()


def clean():
    """Storage is let go first, then the daemons, the network, the connections, the target."""
    while subprocess.run(["umount", "--recursive", MOUNTS], capture_output=True).returncode == 0:
        pass
    daemons.reset()
    network.clean()
    host.disconnect_all()
    cdc.clean()
    target.clean()
    appliance.clean()
    network.remove_fibre_channel()
    network.remove_neighbours()
    for name in os.listdir("/etc/nvme"):
        path = f"/etc/nvme/{name}"
        if name not in IDENTITY and os.path.isfile(path):
            os.unlink(path)
    for name, text in IDENTITY.items():
        with open(f"/etc/nvme/{name}", "w") as file:
            file.write(text)
