"""An FC log page with `trsvcid: none` matches the existing connections, after restarts and in the audit scope, too."""

import os

from scene import check, daemons, host, network, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 240
NQN = "nqn.2014-08.org.nvmexpress:scene:fc-none"
PORT = f"{target.NVMET}/ports/9"
AUDIT = """[I/O controller connection management]
disconnect-scope=all-connections-matching-disconnect-trtypes
disconnect-trtypes=tcp+rdma+fc
"""


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def play():
    local, remote = network.fibre_channel()
    target.subsystem(NQN, ports=())
    os.mkdir(PORT)
    for name, value in (("trtype", "fc"), ("adrfam", "fc"), ("traddr", remote), ("trsvcid", "none")):
        write(f"{PORT}/addr_{name}", value)
    link = f"{PORT}/subsystems/{NQN}"
    os.symlink(f"{target.NVMET}/subsystems/{NQN}", link)
    try:
        spelled_otherwise(local, remote)
    finally:
        # While the target still exists: without it the kernel tries for minutes to reconnect FC controllers.
        daemons.stop()
        host.disconnect_all()
        os.unlink(link)
        os.rmdir(PORT)


def spelled_otherwise(local, remote):
    by_hand = host.connect(NQN, traddr=remote, trsvcid="", transport="fc", host_traddr=local)
    wait_until(lambda: host.live(NQN), 30, "the connection made by hand is live")
    daemons.configure(f"transport=fc;traddr={remote};host-traddr={local}")
    daemons.start()
    wait_until(lambda: stafd.listed_subsystems() == [NQN], 40, "stafd lists it", poll=0.1)
    wait_until(lambda: [each["device"] for each in stacd.controllers()] == [by_hand], 20,
               lambda: f"stacd has the connection made by hand\n    seen: {stacd.controllers()}", poll=0.1)
    there = {each.identity for each in host.controllers()}
    with host.nothing_lost():
        for each in (stafd, stacd):
            each.restart()
        wait_until(lambda: stafd.listed_subsystems() == [NQN], 40, "stafd lists it again", poll=0.1)
        stacd.configure(AUDIT)
        stacd.reload()
        stays(lambda: host.live(NQN), 36, "it is live in the audit scope when all pages have settled")
    check({each.identity for each in host.controllers()} == there, "no second connection was made", host.picture())
