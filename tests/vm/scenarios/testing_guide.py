"""The commands of nvme-stas 2.x's testing guide work as written: its post-install script, its sed commands, nvmet.py and the daemons."""

import ast
import os
import shutil

from scene import check, daemons, host, wait_until
from scene.daemons import stacd, stafd
from scene.target import KLINGONS, THREE

LIMIT = 240
WORK = "/root/work"
STAS_DIR = f"{WORK}/nvme-stas"
BIN = "/run/harness/guide"
FROM_THE_GUIDE = {"STAS_DIR": STAS_DIR, "PATH": f"{BIN}:{os.environ['PATH']}"}
POST_INSTALL = r"""#!/usr/bin/env bash
#####################################################################
# Must run daemon-reload after installing nvme-stas
sudo systemctl daemon-reload

#####################################################################
# Make sure Host NQN and ID are configured 
if [ ! -d "/etc/nvme" ]; then
    sudo mkdir /etc/nvme
fi

if [ ! -s /etc/nvme/hostnqn ]; then
    sudo stasadm hostnqn -f /etc/nvme/hostnqn
fi

if [ ! -s /etc/nvme/hostid ]; then
    sudo stasadm hostid -f /etc/nvme/hostid
fi

#####################################################################
# Edit /etc/stas/stafd.conf to enable tracing and add the local 
# nvmet driver as the Discovery Controller to connect to.
FILES="stafd.conf stacd.conf"
for file in ${FILES}; do
	sudo sed -i '/^#tron=false/a tron=true' /etc/stas/${file}
done 
sudo sed -i '/^#controller=$/a controller=transport=tcp;traddr=localhost' /etc/stas/stafd.conf

"""


def play():
    clone()
    try:
        guide()
    finally:
        host.run("umount", f"{STAS_DIR}/utils")
        shutil.rmtree(WORK)
        shutil.rmtree(BIN)


def clone():
    """Provides what the guide assumes: a clone of the repository, and sudo."""
    os.makedirs(f"{STAS_DIR}/utils")
    host.run("mount", "-t", "9p", "-o", "trans=virtio,version=9p2000.L,ro", "utils", f"{STAS_DIR}/utils")
    os.makedirs(BIN)
    executable("sudo", '#!/bin/sh\nexec "$@"\n')
    executable("stas-config.sh", POST_INSTALL)


def executable(name, text):
    with open(f"{BIN}/{name}", "w") as file:
        file.write(text)
    os.chmod(f"{BIN}/{name}", 0o755)


def shell(commands):
    return host.run("bash", "-e", "-c", commands, env=FROM_THE_GUIDE, timeout=LIMIT)


def guide():
    for name in ("hostnqn", "hostid"):
        os.unlink(f"/etc/nvme/{name}")
    shell("stas-config.sh")
    check(host.hostnqn().startswith("nqn.2014-08.org.nvmexpress:uuid:") and host.hostid(), "the host has an identity",
          [host.hostnqn(), host.hostid()])

    shell("""
        cd $STAS_DIR/utils/nvmet
        sudo ./nvmet.py create
    """)
    shell("sudo systemctl start stafd stacd")
    host.wait_live(*THREE)
    check(all(each.property("tron") for each in daemons.BOTH), "both daemons trace")
    wait_until(lambda: listed(stafd) == {host.DISCOVERY_NQN}, 10, lambda: f"stafctl ls shows the DC\n{stafd.tool('ls')}")
    wait_until(lambda: listed(stacd) == set(THREE), 10, lambda: f"stacctl ls shows the subsystems\n{stacd.tool('ls')}")
    check(KLINGONS in shell("cd $STAS_DIR/utils/nvmet && sudo ./nvmet.py ls"), "nvmet.py ls shows the target")

    with host.nothing_lost(only=lambda each: each.nqn != KLINGONS):
        shell("""
            cd $STAS_DIR/utils/nvmet
            sudo ./nvmet.py unlink -p 1 -s klingons
        """)
        host.wait_gone(KLINGONS)
        wait_until(lambda: listed(stacd) == set(THREE) - {KLINGONS}, 10, lambda: f"stacctl ls without it\n{stacd.tool('ls')}")
        shell("cd $STAS_DIR/utils/nvmet && sudo ./nvmet.py link -p 1 -s klingons")
        host.wait_live(KLINGONS)

    shell("""
        cd $STAS_DIR/utils/nvmet
        sudo ./nvmet.py clean
    """)
    check(not os.listdir("/sys/kernel/config/nvmet/subsystems"), "no subsystem is left")


def listed(daemon):
    """The NQNs in the output of `ls` as scripts read it."""
    return {each["subsysnqn"] for each in ast.literal_eval(daemon.tool("ls"))}
