"""A missing host ID or configuration file disconnects nothing and prevents no connection. A host key that is written later is used after the next reload."""

import os
import uuid

from scene import check, daemons, host, journal, stays, target, wait_until
from scene.daemons import stacd

LIMIT = 300
NEW = "nqn.2014-08.org.nvmexpress:scene:new"
BOTH_WAYS = "nqn.2014-08.org.nvmexpress:scene:both-ways"
HOSTID = "/etc/nvme/hostid"
HOSTKEY = "/etc/nvme/hostkey"
CONTROLLER = "controller=transport=tcp;traddr=::1;trsvcid=8009;nqn="


def play():
    if daemons.stafd.peer:
        return
    target.three()
    before = host.hostid()
    try:
        another_host_id(before)
        lost_host_id(before)
    finally:
        write(HOSTID, before)
    daemons.stop()
    host.disconnect_all()
    daemons.forget()
    lost_file()
    host_key_written_later()


def another_host_id(before):
    """The file and the kernel's connections have different host IDs: the log names both, and the kernel's is used."""
    daemons.connected_to(target.THREE)
    other = str(uuid.uuid4())
    write(HOSTID, other)
    with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
        host.run("systemctl", "restart", "stafd", "stacd")
        for name in ("stafd", "stacd"):
            journal.wait_for(f"the host ID {before} .*{other}", 20, name)
        target.subsystem(NEW)
        host.wait_live(NEW, timeout=60)
        target.unlink(target.KLINGONS)
        host.wait_gone(target.KLINGONS, timeout=60)
        target.link(target.KLINGONS)
        host.wait_live(target.KLINGONS, timeout=60)
    ids = {each.attribute("hostid").strip() for each in host.controllers()}
    check(ids == {before}, "all connections have the host ID that the first ones had", ids)


def lost_host_id(before):
    """stasadm writes the kernel's host ID to the file."""
    os.unlink(HOSTID)
    host.run("systemctl", "restart", "stas-config@hostid.service")
    check(host.hostid() == before, "the new host ID is the kernel's", host.hostid())


def lost_file():
    """The last good configuration stays in force over a reload and a restart; an empty file means all defaults."""
    daemons.configure()
    configuration = f"[Controllers]\n{CONTROLLER}{target.KLINGONS}\nexclude=nqn={target.STARFLEET}\n"
    stacd.configure(configuration)
    daemons.start(stacd)
    host.wait_live(target.KLINGONS)
    with host.nothing_lost():
        os.unlink(stacd.conf)
        stacd.reload()
        journal.wait_for(f"{stacd.conf} does not exist: the last good configuration stays", 10, "stacd")
        stacd.restart()
        journal.wait_for(f"{stacd.conf} does not exist.*the last good configuration, from the saved state, stays in force", 10, "stacd")
        # The log page lists a controller that the missing file excludes.
        daemons.start(daemons.stafd)
        host.wait_live(target.POWERSAN)
        stays(lambda: host.live(target.KLINGONS) and not host.live(target.STARFLEET), 3, "the lost file still counts")
        stacd.configure(configuration)
        stacd.reload()
    daemons.stop(daemons.stafd)
    os.unlink(stacd.conf)
    stacd.restart()
    with open(stacd.conf, "w"):
        pass
    stacd.reload()
    daemons.start(daemons.stafd)
    # The lost file excluded STARFLEET, and the empty one does not.
    host.wait_live(*target.THREE)
    daemons.stop()
    host.disconnect_all()


def host_key_written_later():
    """A controller that was given up without a key is connected when the key exists and stacd is reloaded."""
    key, ctrl = (host.run("nvme", "gen-dhchap-key", "--hmac=1").strip() for _ in range(2))
    target.port(2, trsvcid="4420")
    target.subsystem(BOTH_WAYS, ports=(2,))
    target.only_for(BOTH_WAYS, host.hostnqn(), key, ctrl)
    line = f"controller=transport=tcp;traddr=::1;trsvcid=4420;nqn={BOTH_WAYS};dhchap-ctrl-secret={ctrl}"
    stacd.configure(f"[Controllers]\n{line}\n", 0o600)
    daemons.start(stacd)
    wait_until(lambda: any(each.get("state") == "given up" for each in stacd.controllers()), 30,
               lambda: f"given up: it needs a secret of the host\n{stacd.controllers()}")
    try:
        write(HOSTKEY, key, 0o600)
        stacd.reload()
        host.wait_live(BOTH_WAYS, timeout=75)
        # A restart without the file: the saved state has no secret, and no connection is made without it.
        os.unlink(stacd.conf)
        with host.nothing_lost():
            stacd.restart()
            journal.wait_for("a controller that needs one is not connected until the file is back", 10, "stacd")
        check(ctrl not in host.read("/run/stacd/state.json"), "no secret is saved")
    finally:
        os.unlink(HOSTKEY)


def write(path, value, mode=0o644):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(value + "\n")
