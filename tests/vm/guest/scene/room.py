"""Cleans up before and after every scenario."""

import os
import shutil
import subprocess

from . import appliance, cdc, daemons, host, network, target

IDENTITY = {}
MOUNTS = "/mnt/scene"


def enter():
    for name in ("hostnqn", "hostid"):
        IDENTITY[name] = kept(name)
    # Loaded here, so that nvmet does not unload them: it unloads only modules that it has loaded.
    host.run("modprobe", "-a", "nvme_fabrics", "nvme_tcp", "nvmet", "nvmet_tcp", "null_blk")
    clean()


def kept(name):
    """Returns a file of the image's identity. The first call saves a copy."""
    path = f"/run/harness/{name}"
    if not os.path.exists(path):
        os.makedirs("/run/harness", exist_ok=True)
        shutil.copy(f"/etc/nvme/{name}", path)
    with open(path) as file:
        return file.read()


def clean():
    """Removes everything, in this order: mounts, daemons, network, connections, target."""
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
