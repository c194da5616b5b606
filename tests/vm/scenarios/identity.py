"""A host without an identity gets the one that nvme-stas would have given it. Without an identity, the daemons report what is missing. A lost host NQN is made again from the connections that have it."""

import hashlib
import hmac
import os
import uuid

from scene import check, daemons, equal, host, journal, target, wait_until

LIMIT = 150
OTHER_ID = "6d1b8a70-0000-4000-8000-00000000000c"
OTHER_NQN = f"nqn.2014-08.org.nvmexpress:uuid:{OTHER_ID}"


def play():
    target.three()
    for name in ("hostnqn", "hostid"):
        os.unlink(f"/etc/nvme/{name}")
    # If stas-config.target is masked, the daemon must refuse to run, and name the command that helps.
    if not daemons.stafd.peer:
        host.run("systemctl", "mask", "--runtime", "stas-config@hostnqn.service", "stas-config@hostid.service")
        try:
            host.run("systemctl", "start", "stafd", check=False)
            journal.wait_for("stasadm", 10, "stafd")
        finally:
            host.run("systemctl", "stop", "stafd")
            host.run("systemctl", "unmask", "--runtime", "stas-config@hostnqn.service", "stas-config@hostid.service")

    daemons.configure()
    daemons.start()
    host.wait_live(*target.THREE)
    equal(host.hostnqn(), expected_nqn(), "/etc/nvme/hostnqn")
    uuid.UUID(host.hostid())
    check(all(each.hostnqn == expected_nqn() for each in host.controllers()), "the connections carry it", host.picture())
    before = host.hostid()
    host.run("systemctl", "restart", "stas-config.target")
    equal(host.hostid(), before, "a host ID that exists")

    # A host NQN that is not derived from the machine ID.
    daemons.stop()
    host.disconnect_all()
    for name, value in (("hostnqn", OTHER_NQN), ("hostid", OTHER_ID)):
        with open(f"/etc/nvme/{name}", "w") as file:
            file.write(f"{value}\n")
    daemons.start()
    host.wait_live(*target.THREE)
    # At first stacd connects what its saved state lists, with the earlier host NQN.
    wait_until(lambda: {each.hostnqn for each in host.controllers()} == {OTHER_NQN}, 30, "all connections have the new host NQN")
    host.wait_live(*target.THREE)
    os.unlink("/etc/nvme/hostnqn")
    host.run("systemctl", "restart", "stas-config.target")
    equal(host.hostnqn(), OTHER_NQN, "the lost host NQN")


def expected_nqn():
    """Returns the application-specific machine ID for the key `$nvmexpress.org$` as a version-4 UUID."""
    machine = bytes.fromhex(host.read("/etc/machine-id"))
    raw = bytearray(hmac.new(b"$nvmexpress.org$", machine, hashlib.sha256).digest()[:16])
    return f"nqn.2014-08.org.nvmexpress:uuid:{uuid.UUID(bytes=bytes(raw), version=4)}"
