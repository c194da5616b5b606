"""An FC log page with `trsvcid: none` matches the existing connections, after restarts and in the audit scope, too. A referral from the FC discovery controller to one over TCP is followed."""

import os

from scene import check, daemons, host, network, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 240
NQN = "nqn.2014-08.org.nvmexpress:scene:fc-none"
TCP = "nqn.2014-08.org.nvmexpress:scene:over-tcp"
PORT = f"{target.NVMET}/ports/9"
REFERRAL = f"{PORT}/referrals/tcp"
AUDIT = """[I/O controller connection management]
disconnect-scope=all-connections-matching-disconnect-trtypes
disconnect-trtypes=tcp+rdma+fc
"""


def play():
    local, remote = network.fibre_channel()
    target.subsystem(NQN, ports=())
    os.mkdir(PORT)
    for name, value in (("trtype", "fc"), ("adrfam", "fc"), ("traddr", remote), ("trsvcid", "none")):
        host.write(f"{PORT}/addr_{name}", value)
    link = f"{PORT}/subsystems/{NQN}"
    os.symlink(f"{target.NVMET}/subsystems/{NQN}", link)
    try:
        spelled_otherwise(local, remote)
        refers_to_tcp()
    finally:
        # While the target still exists: without it the kernel tries for minutes to reconnect FC controllers.
        daemons.stop()
        host.disconnect_all()
        if os.path.isdir(REFERRAL):
            os.rmdir(REFERRAL)
        os.unlink(link)
        os.rmdir(PORT)


def spelled_otherwise(local, remote):
    by_hand = host.connect(NQN, traddr=remote, trsvcid="", transport="fc", host_traddr=local)
    wait_until(lambda: host.live(NQN), 30, "the connection made by hand is live")
    host.end_autoconnect()
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


def refers_to_tcp():
    with target.together():
        target.port()
        target.subsystem(TCP)
    with host.nothing_lost():
        os.mkdir(REFERRAL)
        for name, value in (("trtype", "tcp"), ("adrfam", "ipv6"), ("traddr", "::1"), ("trsvcid", "8009")):
            host.write(f"{REFERRAL}/addr_{name}", value)
        host.write(f"{REFERRAL}/enable", "1")
        host.wait_live(TCP, timeout=40)
        check(sorted(each.transport for each in host.dcs()) == ["fc", "tcp"], "a DC of each transport", host.picture())
        (connection,) = host.live(TCP)
        check(not connection.host_traddr and not connection.host_iface, "no part of the FC address is used for TCP", connection)
