"""A DH-HMAC-CHAP secret is changed on the host and on the target, in either order, while fio runs in a mounted ext4 and connections are lost: no I/O error, and the file system stays writable."""

import os
import time

from scene import check, daemons, equal, fio, host, journal, note, stays, target, wait_until
from scene.daemons import stacd
from scene.room import MOUNTS

LIMIT = 450
NQN = "nqn.2014-08.org.nvmexpress:scene:rotated"
PORT = 4420
# The kernel's default: it waits this long before it reconnects. stacd checks every second.
RECONNECT_DELAY = 10


def play():
    if stacd.peer:
        return
    first, other, second, third, fourth = (pair() for _ in range(5))
    controllers_only = (second[0], other[1])
    target.port(2, trsvcid=str(PORT))
    target.subsystem(NQN, ports=(2,), keeps=True)
    at_target(first)
    daemons.configure()
    at_host(first, reload=False)
    daemons.start(stacd)
    host.wait_live(NQN, timeout=75)
    disk = host.disk(NQN)
    host.run("mkfs.ext4", "-q", f"/dev/{disk}")
    os.makedirs(MOUNTS, exist_ok=True)
    host.run("mount", f"/dev/{disk}", MOUNTS)
    with host.nothing_lost(), fio.verifying(f"{MOUNTS}/file", "rotation"):
        # The host changes first. The connection is lost before and after the target's keys have changed.
        at_host(second)
        journal.wait_for("keeps its former DH-HMAC-CHAP secret while it is connected", 90, "stacd")
        lose_connection()
        check(secrets() == first, "the former secrets stay while the target has them", journal.text("stacd"))
        journal.wait_for("keeps its former DH-HMAC-CHAP secret(: the target refuses the configured one| for now)", 90, "stacd")
        at_target(second)
        lose_connection()
        check(secrets() == second, "the new secrets are in use", journal.text("stacd"))

        # The target changes first, and only the controller's secret. The connection is lost after the reload.
        at_target(controllers_only)
        at_host(controllers_only)
        lose_connection()
        check(secrets() == controllers_only, "the new secret of the controller is in use", journal.text("stacd"))

        # The target changes first, both secrets.
        at_target(third)
        at_host(third)
        lose_connection()
        check(secrets() == third, "the new secrets are in use", journal.text("stacd"))

        # The host changes first, and stacd is killed before the target's keys change.
        at_host(fourth)
        stacd.wait_active(20, other_than=stacd.kill9())
        at_target(fourth)
        lose_connection()
        check(secrets() == fourth, "the new secrets are in use after a restart", journal.text("stacd"))

        # A reset when the change is complete.
        (each,) = host.with_nqn(NQN)
        with open(f"{host.CLASS}/{each.device}/reset_controller", "w") as file:
            file.write("1")
        host.wait_live(NQN, timeout=75)
        stays(lambda: host.live(NQN), 3, "live with the new secrets")
    still_writable(disk)
    text = journal.text()
    used = {key for keys in (first, other, second, third, fourth) for key in keys}
    check(not any(key in text for key in used), "no secret in the journal")


def still_writable(disk):
    """ext4 counts errors and, by default, becomes read-only after one of its journal."""
    with open(f"{MOUNTS}/last", "w") as file:
        file.write("written at the end\n")
        file.flush()
        os.fsync(file.fileno())
    equal(host.read(f"/sys/fs/ext4/{disk}/errors_count"), "0", "errors of the file system")
    host.run("umount", MOUNTS)
    host.run("e2fsck", "-f", "-n", f"/dev/{disk}")


def pair():
    """The secrets of the host and of the controller."""
    return tuple(host.run("nvme", "gen-dhchap-key", "--hmac=1").strip() for _ in range(2))


def at_host(keys, reload=True):
    key, ctrl_key = keys
    stacd.configure(f"[Global]\nreconnect-delay={RECONNECT_DELAY}\n[Controllers]\n"
                    f"controller=transport=tcp;traddr=::1;trsvcid={PORT};nqn={NQN};"
                    f"dhchap-secret={key};dhchap-ctrl-secret={ctrl_key}\n", 0o600)
    if reload:
        stacd.reload()


def at_target(keys):
    target.only_for(NQN, host.hostnqn(), *keys)


def secrets():
    """Returns the secrets of the kernel's connection."""
    (each,) = host.with_nqn(NQN)
    return tuple(each.attribute(name).strip() for name in ("dhchap_secret", "dhchap_ctrl_secret"))


def lose_connection():
    """Resets the connection and rejects packets until it is lost, then accepts packets again."""
    host.run("nft", "add table inet cut; add chain inet cut input { type filter hook input priority 0; }; "
             f"add rule inet cut input tcp dport {PORT} reject with tcp reset; "
             f"add rule inet cut input tcp sport {PORT} reject with tcp reset")
    try:
        wait_until(lambda: host.with_nqn(NQN) and not host.live(NQN), 30, lambda: f"the connection is lost\n{host.picture()}", poll=0.05)
        time.sleep(1)
    finally:
        host.run("nft", "delete table inet cut")
    before = time.monotonic()
    host.wait_live(NQN, timeout=75)
    note(f"live again after {time.monotonic() - before:.1f} s")
